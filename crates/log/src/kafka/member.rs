//! One member of a group, as its stage holds it. The work is done by a thread of its own, see [`super::poller`].
//!
//! ```text
//! stage ◀─ next ── notices, [≤ 2 batches] ◀── thread ◀── partition queues (read ahead, bounded by bytes)
//!       ── commit, release, pause ─▶ wishes ─▶ thread ─▶ librdkafka ─▶ broker
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use longshore_stages::ports::{Consumer, Delivery, Epoch, LogError, Partition};
use tokio::sync::{Notify, oneshot};

use crate::catalog::locked;

/// Batches that wait for the stage; those of paused partitions wait besides, at most so many of each.
const BATCHES: usize = 2;
/// How long the thread may take to leave the group.
const LEAVING: Duration = Duration::from_secs(10);

/// What the stage wants of the thread.
#[derive(Debug)]
pub(super) enum Wish {
    Commit { partition: Partition, epoch: Epoch, watermark: u64, answer: Answer },
    Release { partition: Partition, epoch: Epoch, answer: Answer },
    Close,
}

pub(super) type Answer = oneshot::Sender<Result<(), LogError>>;
type Answered = oneshot::Receiver<Result<(), LogError>>;

/// The thread is gone; why, `next` says.
fn ended() -> LogError {
    LogError::Unavailable("the Kafka consumer has ended".to_owned())
}

/// What the stage and the thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the stage.
    arrived: Notify,
    /// Wakes the thread. It has a lock of its own: the client library calls it while it holds locks of its own.
    awake: Mutex<bool>,
    wake: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Assignments and revocations in their order, before any records.
    pub(super) notices: VecDeque<Delivery>,
    /// At most [`BATCHES`], and those of paused partitions.
    pub(super) records: VecDeque<(Partition, Epoch, Delivery)>,
    pub(super) paused: HashSet<Partition>,
    /// What may be committed and released: from the assignment until the release is answered.
    pub(super) held: HashMap<Partition, Epoch>,
    pub(super) wishes: Vec<Wish>,
    /// Said once, then forgotten.
    pub(super) trouble: Option<String>,
    /// Said for ever.
    pub(super) broken: Option<String>,
}

impl Shared {
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut locked(&self.state))
    }

    /// Tells the stage something.
    pub(super) fn tell(&self, change: impl FnOnce(&mut State)) {
        self.with(change);
        self.arrived.notify_one();
    }

    /// Wakes the thread.
    pub(super) fn wake(&self) {
        *locked(&self.awake) = true;
        self.wake.notify_one();
    }

    /// Sleeps until woken, or for this long.
    pub(super) fn sleep(&self, longest: Duration) {
        let awake = locked(&self.awake);
        let waited = self.wake.wait_timeout_while(awake, longest, |awake| !*awake);
        let (mut awake, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        *awake = false;
    }
}

impl State {
    /// Whether a batch of this partition is wanted.
    pub(super) fn wants(&self, partition: &Partition) -> bool {
        let waiting = self.records.iter().filter(|(of, ..)| !self.paused.contains(of)).count();
        waiting < BATCHES && !self.paused.contains(partition)
    }

    /// What is to be handed out next.
    fn next(&mut self) -> Option<Result<Delivery, LogError>> {
        if let Some(notice) = self.notices.pop_front() {
            return Some(Ok(notice));
        }
        if let Some(text) = &self.broken {
            return Some(Err(LogError::Fatal(text.clone())));
        }
        if let Some(text) = self.trouble.take() {
            return Some(Err(LogError::Unavailable(text)));
        }
        let flowing = self.records.iter().position(|(partition, ..)| !self.paused.contains(partition))?;
        self.records.remove(flowing).map(|(_, _, delivery)| Ok(delivery))
    }
}

/// A consumer of Kafka.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    pub(super) fn new(shared: Arc<Shared>, thread: JoinHandle<()>) -> Self {
        Member { shared, thread: Some(thread) }
    }

    /// Tells the thread what is wanted of an assignment, if it still is one; what comes is the answer.
    fn wish(&self, partition: &Partition, epoch: Epoch, wish: impl FnOnce(Answer) -> Wish) -> Option<Answered> {
        let (answer, answered) = oneshot::channel();
        self.shared.with(|state| {
            let mine = state.held.get(partition) == Some(&epoch);
            mine.then(|| state.wishes.push(wish(answer)))
        })?;
        Some(answered)
    }

    fn leave(&self) {
        self.shared.with(|state| state.wishes.push(Wish::Close));
        self.shared.wake();
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        loop {
            if let Some(next) = self.shared.with(State::next) {
                // There is room for another batch.
                self.shared.wake();
                return next;
            }
            self.shared.arrived.notified().await;
        }
    }

    async fn commit(&mut self, partition: &Partition, epoch: Epoch, watermark: u64) -> Result<(), LogError> {
        self.commit_all(&[(partition.clone(), epoch, watermark)]).await
    }

    async fn commit_all(&mut self, positions: &[(Partition, Epoch, u64)]) -> Result<(), LogError> {
        let wishes = positions.iter().filter_map(|(partition, epoch, watermark)| {
            let (partition, epoch, watermark) = (partition.clone(), *epoch, *watermark);
            self.wish(&partition.clone(), epoch, |answer| Wish::Commit { partition, epoch, watermark, answer })
        });
        let wishes: Vec<_> = wishes.collect();
        self.shared.wake();
        for answered in wishes {
            answered.await.unwrap_or_else(|_| Err(ended()))?;
        }
        Ok(())
    }

    fn pause(&mut self, partition: &Partition) {
        self.shared.with(|state| state.paused.insert(partition.clone()));
    }

    fn resume(&mut self, partition: &Partition) {
        self.shared.with(|state| state.paused.remove(partition));
        self.shared.wake();
    }

    async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError> {
        let wish = |answer| Wish::Release { partition: partition.clone(), epoch, answer };
        let Some(answered) = self.wish(partition, epoch, wish) else { return Ok(()) };
        self.shared.wake();
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn close(mut self: Box<Self>) -> Result<(), LogError> {
        self.leave();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let left = tokio::task::spawn_blocking(move || thread.join());
        match tokio::time::timeout(LEAVING, left).await {
            Ok(_) => Ok(()),
            Err(_) => {
                tracing::warn!("a consumer group could not be left in time; the broker notices by its session timeout");
                Ok(())
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}
