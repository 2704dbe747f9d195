//! What happens to one task between its slot and its append.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::FutureExt;
use longshore_core::format::{DeadLetter, ErrorNote, Task};
use longshore_core::hosts::{Signal, authority};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::retry::{self, Hindrance, Ladder, Next};
use longshore_core::time::Micros;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Download;
use super::attempt::{Arrived, Tools, Trouble, fetch, publish};
use super::sink::Outgoing;
use crate::letters::Parcel;
use crate::message;
use crate::ports::StoreError;
use crate::progress::Progress;
use crate::told::{self, At};
use crate::topics::Topics;

/// Index of the results among the [`destinations`].
const RESULTS: usize = 0;
/// Index of the dead letters among the [`destinations`].
pub(super) const DEAD_LETTERS: usize = 1;
/// How long a task waits when the store is away.
const STORE_AWAY: Duration = Duration::from_secs(5);

/// The topics that outcomes go to.
pub(super) fn destinations(topics: &Topics, ladder: &Ladder) -> Vec<String> {
    let tiers = ladder.delays.iter().map(|delay| topics.tier(*delay));
    [topics.results(), topics.dead_letters()].into_iter().chain(tiers).collect()
}

/// Index of a retry tier among the [`destinations`].
pub(super) fn tier(index: usize) -> usize {
    2 + index
}

/// What the stage's loop must know.
pub(super) enum News {
    /// A download has given its slot back.
    SlotFreed { host: String, signal: Signal, park_until: Option<Micros> },
    /// The store needs a person.
    StoreBroken(String),
}

/// A task, and where it stands.
pub(super) struct Given {
    pub(super) task: Task,
    pub(super) at: At,
}

/// What all workers share.
pub(super) struct Worker {
    tools: Tools,
    ladder: Ladder,
    publishing: Semaphore,
    outcomes: mpsc::Sender<Outgoing>,
    news: mpsc::Sender<News>,
}

impl Worker {
    pub(super) fn new(stage: &Download, outcomes: mpsc::Sender<Outgoing>, news: mpsc::Sender<News>) -> Self {
        let tools = Tools {
            origin: stage.origin.clone(),
            store: stage.store.clone(),
            source: stage.source.clone(),
            headers: stage.headers.clone(),
            refresh: stage.refresh.clone(),
            clock: stage.clock.clone(),
            progress: stage.progress.clone(),
        };
        let publishing = Semaphore::new(stage.limits.publishing.max(1));
        Worker { tools, ladder: stage.ladder.clone(), publishing, outcomes, news }
    }

    /// Sends an outcome to the sink.
    pub(super) async fn send(self: Arc<Self>, outgoing: Outgoing) {
        // The sink is gone only when the stage has failed, and then the offset stays uncommitted.
        let _ = self.outcomes.send(outgoing).await;
    }

    /// Runs one job in its slot, frees the slot, and sends the outcome.
    pub(super) async fn run(self: Arc<Self>, job: u64, given: Arc<Given>, passed: Arc<AtomicBool>, slot: OwnedSemaphorePermit) {
        let task = &given.task;
        let fetched = AssertUnwindSafe(fetch(&self.tools, task)).catch_unwind().await;
        let outcome = match fetched {
            Ok(Ok(arrived)) => self.publish(arrived, &given, slot).await,
            Ok(Err(trouble)) => {
                self.free_slot(task, slot, said(&trouble), self.park_until(&trouble)).await;
                Err(trouble)
            }
            Err(_) => {
                self.free_slot(task, slot, Signal::Silent, None).await;
                Err(Trouble::Task(Failure::new(Class::Transient, Reason::Internal, "the download panicked")))
            }
        };
        let outgoing = match outcome {
            Ok(outgoing) => Some(outgoing),
            // A copy of the task is on its way already: it will find out for itself.
            Err(Trouble::Task(_) | Trouble::Elsewhere(_) | Trouble::Store(StoreError::Unavailable(_)))
                if passed.load(Relaxed) =>
            {
                None
            }
            Err(Trouble::Task(failure) | Trouble::Elsewhere(failure)) => Some(self.failed(&given, &failure)),
            Err(Trouble::Store(StoreError::Unavailable(error))) => Some(self.store_away(&given, &error)),
            Err(Trouble::Store(StoreError::Name(error))) => {
                Some(self.failed(&given, &Failure::new(Class::Permanent, Reason::Internal, error)))
            }
            Err(Trouble::Store(StoreError::Fatal(error))) => {
                let _ = self.news.send(News::StoreBroken(error)).await;
                None
            }
        };
        if let Some((topic, parcel)) = outgoing {
            self.send(Outgoing { topic, parcel, job }).await;
        }
    }

    async fn publish(&self, arrived: Arrived, given: &Given, slot: OwnedSemaphorePermit) -> Result<(usize, Parcel), Trouble> {
        // The slot is kept until there is room to wait for the disk: that is how a slow disk slows the downloads.
        let room = self.publishing.acquire().await;
        self.free_slot(&given.task, slot, arrived.signal(), None).await;
        let progress = &self.tools.progress;
        Progress::add(&progress.publishing, 1);
        let published = publish(arrived).await;
        Progress::take(&progress.publishing, 1);
        drop(room);
        let stored = published?;
        Progress::add(&progress.stored, 1);
        Progress::add(&progress.stored_bytes, stored.bytes_downloaded);
        told::stored(&given.at, &stored);
        Ok((RESULTS, message::of_result(&given.task, &stored).into()))
    }

    async fn free_slot(&self, task: &Task, slot: OwnedSemaphorePermit, signal: Signal, park_until: Option<Micros>) {
        drop(slot);
        let host = authority(&task.url).into_owned();
        let _ = self.news.send(News::SlotFreed { host, signal, park_until }).await;
    }

    /// Until when a host asked us to wait, if it did.
    fn park_until(&self, trouble: &Trouble) -> Option<Micros> {
        let Trouble::Task(failure) = trouble else { return None };
        if failure.class != Class::Throttled || failure.reason == Reason::Lookup {
            return None;
        }
        let wait = Micros::try_from(self.ladder.wait(failure).as_micros()).unwrap_or(Micros::MAX);
        Some(self.tools.clock.now().saturating_add(wait))
    }

    fn failed(&self, given: &Given, failure: &Failure) -> (usize, Parcel) {
        let (mut task, waits) = (given.task.clone(), given.task.waits);
        let now = self.tools.clock.now();
        match retry::after(&self.ladder, &mut task, failure, now) {
            Next::Tier(index) => {
                let progress = &self.tools.progress;
                Progress::add(if task.waits > waits { &progress.waits } else { &progress.retries }, 1);
                told::retry(&given.at, &task, failure, self.tier_ms(index));
                (tier(index), message::of(&task).into())
            }
            Next::DeadLetter => self.dead_letter(&given.at, task, failure, now),
        }
    }

    fn tier_ms(&self, index: usize) -> u64 {
        self.ladder.delays.get(index).map_or(0, |delay| delay.as_millis() as u64)
    }

    /// The dead letter of a task that ends with this failure.
    pub(super) fn dead_letter(&self, at: &At, task: Task, failure: &Failure, now: Micros) -> (usize, Parcel) {
        let letter = DeadLetter::of_task(task.clone(), ErrorNote::of(failure, now));
        self.tools.progress.count_failure(letter.status, letter.error.reason);
        told::dead_letter(at, &letter);
        (DEAD_LETTERS, Parcel::letter_of(&task, letter))
    }

    /// The store is away: no fault of the task, which waits without an attempt spent.
    fn store_away(&self, given: &Given, error: &str) -> (usize, Parcel) {
        tracing::warn!(%error, media_id = %given.task.media_id, "the store is away");
        self.move_off(given, Hindrance::Store, STORE_AWAY).unwrap_or_else(|| {
            let failure = Failure::new(Class::Transient, Reason::Internal, format!("the store is away: {error}"));
            self.dead_letter(&given.at, given.task.clone(), &failure, self.tools.clock.now())
        })
    }

    /// Where a task goes that is in the way of others, or cannot be served now; nothing where it can go nowhere.
    pub(super) fn move_off(&self, given: &Given, why: Hindrance, delay: Duration) -> Option<(usize, Parcel)> {
        let (mut task, attempts, now) = (given.task.clone(), given.task.attempts, self.tools.clock.now());
        match retry::move_off(&self.ladder, &mut task, why, delay, now)? {
            Next::Tier(index) => {
                let progress = &self.tools.progress;
                Progress::add(if task.attempts > attempts { &progress.retries } else { &progress.moved }, 1);
                told::moved(&given.at, &task, why, self.tier_ms(index));
                Some((tier(index), message::of(&task).into()))
            }
            // It runs: its own end decides.
            Next::DeadLetter if why == Hindrance::Head => None,
            Next::DeadLetter => {
                let failure = why.failure();
                Some(self.dead_letter(&given.at, task, &failure, now))
            }
        }
    }
}

/// What an attempt that failed says of its host.
fn said(trouble: &Trouble) -> Signal {
    match trouble {
        Trouble::Task(failure) => Signal::of(failure),
        Trouble::Elsewhere(_) | Trouble::Store(_) => Signal::Silent,
    }
}
