//! Download: pending → results, a retry tier, or the dead letters; always exactly one append for each task.
//!
//! *Owns*: the windows of its partitions (out-of-order completion, in-order commits), the download slots and who gets
//! them (core's `Hosts`), the way from an attempt's outcome to the topic it goes to (core's ladder).
//! *Does not own*: how a URL is opened (Origin), how bytes become durable (Store), waiting (retry), rows (record).
//!
//! ```text
//! pending ─▶ [window: ≤ W a partition] ─▶ hosts' queues ─▶ [slots: ≤ max_in_flight, ≤ per_host a host] ─ fetch
//!                                                          [≤ PUBLISHING whole bodies] ◀── slot freed ──┘
//!                                                             └─ durable ─▶ [≤ OUTCOMES] ─ sink ─▶ results
//!                                                                                               ├▶ retry tier
//!                                                             offset finished ◀── acknowledged ─┴▶ dlq
//! ```
//! States: consuming → draining (no new work; what is under way ends or the grace does) → left.
//! A window never stalls. It is as long as from its head to the last offset started, finished ones among them. So, when
//! it is half full: if the head has run for half a minute, or runs at a host that is known not to answer, a copy of its
//! task goes to a tier and its offset completes, while the running download goes on (it tells of its success only); if
//! the head waits for a host that may not be asked now, all that waits for this host goes to a tier at once.
//! Promises: 1, 3, 4, 5, 7, 8.

mod attempt;
mod leaving;
mod sink;
mod slots;
mod worker;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use longshore_core::format::{self, FormatError, Task};
use longshore_core::hosts::{Breaking, Hosts, Signal, Standing, authority};
use longshore_core::policy::expiry;
use longshore_core::retry::{Hindrance, Ladder};
use longshore_core::source::Source;
use longshore_core::time::Micros;
use longshore_core::tracker::{Started, Tracker};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::StageError;
use crate::letters::Post;
use crate::patience::Patience;
use crate::ports::{Clock, Consumer, Delivery, Epoch, Log, Origin, Partition, Received, Store};
use crate::progress::Progress;
use crate::record::poison;
use crate::refresh::Refresh;
use crate::told::At;
use crate::topics::Topics;
use leaving::Leaving;
use sink::{Outgoing, Sink};
use slots::Slots;
use worker::{Given, News, Worker};

/// How long the head of a half-full window may run before the others pass it, unless the limits say otherwise.
pub const STUCK: Duration = Duration::from_secs(30);
/// How often watermarks are committed.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Tasks that stay in the window for a host that does not answer: one tries, the others wait in a tier.
const PROBES: usize = 1;
/// What is left to the way to the log after the downloads' grace.
const LAST_APPENDS: Duration = Duration::from_secs(2);
/// Outcomes on their way to the log.
const OUTCOMES: usize = 2_048;

/// What a download owns while it is under way: what its connection has read ahead, the piece in hand, and the beginning of
/// its upload. It is taken from the budget before the request is sent.
const BUFFERS: u64 = 3;
/// The least that each of them may hold, in bytes.
const BUFFER_BYTES: u64 = 64 << 10;
/// More does not make a download faster, in bytes.
const ENOUGH_BYTES: u64 = 256 << 10;
/// The least memory that a download needs, in bytes.
pub const TRANSFER_BYTES: u64 = BUFFERS * BUFFER_BYTES;

/// Bounds of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Downloads at once, over all hosts.
    pub max_in_flight: usize,
    /// Downloads at once from one host.
    pub per_host: usize,
    /// The budget of all downloads under way, in bytes; [`TRANSFER_BYTES`] for each.
    pub memory: u64,
    /// Offsets in a partition's window.
    pub window: usize,
    /// Whole bodies that wait to become durable; each holds a file, not memory.
    pub publishing: usize,
    /// How long downloads under way may go on once the stage drains.
    pub grace: Duration,
    /// How long the head of a half-full window may run before the others pass it; [`STUCK`].
    pub stuck: Duration,
}

impl Limits {
    /// The download slots: as many as are allowed and the memory has room for, at least one.
    pub fn slots(&self) -> usize {
        let room = usize::try_from(self.memory / TRANSFER_BYTES).unwrap_or(usize::MAX);
        self.max_in_flight.min(room).max(1)
    }

    /// What a connection may read ahead, in bytes: fewer slots have more of the memory each.
    pub fn buffer(&self) -> usize {
        let share = self.memory / self.slots() as u64 / BUFFERS;
        usize::try_from(share.clamp(BUFFER_BYTES, ENOUGH_BYTES)).unwrap_or(usize::MAX)
    }
}

/// The stage and what it works with.
pub struct Download {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Its topics.
    pub topics: Topics,
    /// Where attachments come from.
    pub origin: Arc<dyn Origin>,
    /// Where they go.
    pub store: Arc<dyn Store>,
    /// The source's policy.
    pub source: Arc<Source>,
    /// Headers sent with every request.
    pub headers: Vec<(String, String)>,
    /// Where a new URL is to be had for one that has expired, if anywhere.
    pub refresh: Option<Refresh>,
    /// The retry tiers.
    pub ladder: Ladder,
    /// Bounds.
    pub limits: Limits,
    /// The download slots, one permit each; [`Limits::slots`] of them, shared by all download stages of a process.
    pub slots: Arc<Semaphore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub progress: Arc<Progress>,
    /// Once cancelled, positions are committed as soon as nothing is under way: the input has ended.
    pub ended: CancellationToken,
}

/// One started offset.
struct Job {
    partition: Partition,
    epoch: Epoch,
    offset: u64,
    given: Arc<Given>,
    running_since: Option<Instant>,
    /// Whether a copy of the task went ahead: then only success is told of the download that still runs.
    passed: Arc<AtomicBool>,
}

impl Job {
    fn new(epoch: Epoch, given: Arc<Given>) -> Self {
        let At { partition, offset } = given.at.clone();
        Job { partition, epoch, offset, given, running_since: None, passed: Arc::default() }
    }
}

/// The stage while it runs.
struct Running {
    stage: Download,
    consumer: Box<dyn Consumer>,
    tracker: Tracker<Partition, Epoch>,
    jobs: HashMap<u64, Job>,
    next_job: u64,
    hosts: Hosts<u64>,
    slots: Slots,
    /// Records that came while their window was full; their partition is paused.
    held: HashMap<Partition, (Epoch, VecDeque<Received>)>,
    /// Partitions that are being given up.
    leaving: Leaving,
    workers: JoinSet<()>,
    worker: Arc<Worker>,
    news: mpsc::Receiver<News>,
    done: mpsc::Receiver<Vec<u64>>,
}

impl Download {
    /// Runs until `drain` is cancelled; then lets what is under way end within the grace, commits and leaves.
    pub async fn run(self, drain: CancellationToken) -> Result<(), StageError> {
        let topics = self.topics.clone();
        let pending = topics.pending();
        let patience = Patience::new(drain.clone(), self.limits.grace + LAST_APPENDS);
        let consumer = patience.join(self.log.as_ref(), &topics.download_group(), &[&pending]).await?;
        let (outcomes, outgoing) = mpsc::channel(OUTCOMES);
        let (reports, done) = mpsc::channel(8);
        let (news_sender, news) = mpsc::channel(OUTCOMES);
        let worker = Arc::new(Worker::new(&self, outcomes, news_sender));
        let post = Post { log: self.log.clone(), store: self.store.clone(), patience };
        let sink = Sink { post, topics: worker::destinations(&topics, &self.ladder) };
        let mut sink = tokio::spawn(sink.run(outgoing, reports));
        let mut running = Running {
            tracker: Tracker::new(self.limits.window),
            hosts: Hosts::new(self.limits.per_host, if self.ladder.delays.is_empty() { Breaking::Off } else { Breaking::On }),
            slots: Slots::new(self.slots.clone()),
            stage: self,
            consumer,
            jobs: HashMap::new(),
            next_job: 0,
            held: HashMap::new(),
            leaving: Leaving::default(),
            workers: JoinSet::new(),
            worker,
            news,
            done,
        };
        running.consume(&drain, &mut sink).await?;
        running.drain(sink).await
    }
}

type SinkTask = tokio::task::JoinHandle<Result<(), StageError>>;

fn sink_ended(ended: Result<Result<(), StageError>, tokio::task::JoinError>) -> StageError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => StageError("download: the way to the log ended early".into()),
        Err(error) => StageError(format!("download: the way to the log broke: {error}")),
    }
}

impl Running {
    async fn consume(&mut self, drain: &CancellationToken, sink: &mut SinkTask) -> Result<(), StageError> {
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        commit.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.dispatch();
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                ended = &mut *sink => return Err(sink_ended(ended)),
                Some(jobs) = self.done.recv() => {
                    finish(&mut self.jobs, &mut self.tracker, jobs);
                    self.readmit()?;
                    self.release_left().await?;
                }
                Some(news) = self.news.recv() => self.hear(news)?,
                Some(ended) = self.workers.join_next(), if !self.workers.is_empty() => unbroken(ended)?,
                () = self.slots.freed() => {}
                _ = commit.tick() => self.tick().await?,
                () = self.stage.ended.cancelled(), if self.is_uncommitted() => self.commit().await?,
                delivery = self.consumer.next() => {
                    let delivery = delivery?;
                    self.deliver(delivery).await?;
                }
            }
        }
    }

    /// Starts what may start.
    fn dispatch(&mut self) {
        let now = self.stage.clock.now();
        while self.hosts.has_turn(now) {
            let Some(slot) = self.slots.take() else { return };
            let Some(id) = self.hosts.pop(now) else { continue };
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if self.leaving.has(&job.partition, job.epoch) || self.tracker.watermark(&job.partition, job.epoch).is_none() {
                self.forget(id, now);
                continue;
            }
            job.running_since = Some(Instant::now());
            Progress::add(&self.stage.progress.in_flight, 1);
            self.workers.spawn(self.worker.clone().run(id, job.given.clone(), job.passed.clone(), slot));
        }
        self.slots.leave();
    }

    /// A job whose partition is another's by now, or soon: the new owner does it.
    fn forget(&mut self, id: u64, now: Micros) {
        if let Some(job) = self.jobs.remove(&id) {
            self.hosts.done(&authority(&job.given.task.url), Signal::Silent, now);
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), StageError> {
        match delivery {
            Delivery::Assigned { partition, epoch, position } => {
                self.held.remove(&partition);
                self.leaving.forget(&partition);
                self.tracker.assign(partition, epoch, position);
            }
            Delivery::Records { partition, epoch, records } => self.admit(&partition, epoch, records.into())?,
            Delivery::Revoked { partition, epoch } => self.leave(partition, epoch).await?,
        }
        Ok(())
    }

    /// Puts records into the window, as many as fit; the rest is held and the partition paused.
    fn admit(&mut self, partition: &Partition, epoch: Epoch, mut records: VecDeque<Received>) -> Result<(), StageError> {
        if let Some((held_epoch, held)) = self.held.get_mut(partition)
            && *held_epoch == epoch
        {
            held.extend(records);
            return Ok(());
        }
        while let Some(record) = records.pop_front() {
            match self.tracker.start(partition, epoch, record.offset) {
                Started::Yes => self.enqueue(partition, epoch, record)?,
                Started::Stale => {}
                Started::Full => {
                    records.push_front(record);
                    self.consumer.pause(partition);
                    self.held.insert(partition.clone(), (epoch, records));
                    self.pass_stuck_head(partition);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, partition: &Partition, epoch: Epoch, record: Received) -> Result<(), StageError> {
        let id = self.next_job;
        self.next_job += 1;
        let (partition, offset) = (partition.clone(), record.offset);
        let task = match &record.message.value {
            None => Err(None),
            Some(value) => format::decode::<Task>(value).map_err(Some),
        };
        match task {
            Ok(mut task) => {
                task.take_headers(&record.message.headers);
                let given = Arc::new(Given { task, at: At { partition, offset } });
                self.jobs.insert(id, Job::new(epoch, given.clone()));
                self.queue(id, &given.task);
            }
            Err(None) => {
                self.tracker.finish(&partition, epoch, offset);
            }
            Err(Some(error @ FormatError::Newer(_))) => {
                return Err(StageError(format!("task at offset {offset} of {partition}: {error}")));
            }
            Err(Some(error)) => {
                let given = Given { task: Task::default(), at: At { partition: partition.clone(), offset } };
                self.jobs.insert(id, Job::new(epoch, Arc::new(given)));
                self.bury(id, &partition, &record, &error);
            }
        }
        Ok(())
    }

    /// Queues a job at its host; or moves it off, if its host may not be asked now and holds its share of the window.
    fn queue(&mut self, id: u64, task: &Task) {
        let (host, now) = (authority(&task.url), self.stage.clock.now());
        let standing = self.hosts.standing(&host, now);
        if let Some((why, until, share)) = self.hindrance(standing)
            && self.hosts.queued_of(&host) >= share
            && self.move_off(id, why, wait(until, now))
        {
            return;
        }
        match expiry::is_urgent(&task.url, now) {
            true => self.hosts.push_urgent(&host, id, now),
            false => self.hosts.push(&host, id, now),
        }
    }

    /// Why a host's jobs have to wait, until when, and how many of them may do so in the window.
    fn hindrance(&self, standing: Standing) -> Option<(Hindrance, Micros, usize)> {
        match standing {
            Standing::Open => None,
            Standing::Parked(until) => Some((Hindrance::Parked, until, (self.stage.limits.window / 4).max(1))),
            Standing::Broken(until) => Some((Hindrance::Dark, until, PROBES)),
        }
    }

    /// Sends a copy of a job's task to a tier; the job is done once the copy is durable. False where the task can go
    /// nowhere and keeps its place.
    fn move_off(&mut self, id: u64, why: Hindrance, delay: Duration) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let Some((topic, parcel)) = self.worker.move_off(&job.given, why, delay) else { return false };
        job.passed.store(true, Relaxed);
        self.workers.spawn(self.worker.clone().send(Outgoing { topic, parcel, job: id }));
        true
    }

    /// Moves off what a host holds beyond its share, so that others get in.
    fn make_room(&mut self, host: &str, why: Hindrance, share: usize, delay: Duration) {
        let now = self.stage.clock.now();
        for id in self.hosts.take_excess(host, share, now) {
            if !self.move_off(id, why, delay) {
                self.hosts.push(host, id, now);
            }
        }
    }

    fn bury(&mut self, id: u64, partition: &Partition, record: &Received, error: &FormatError) {
        let stage = &self.stage;
        let parcel = poison(&stage.source.name, partition, record, error, stage.clock.as_ref(), &stage.progress);
        self.workers.spawn(self.worker.clone().send(Outgoing { topic: worker::DEAD_LETTERS, parcel, job: id }));
    }

    /// Lets held records in once their window is half empty again.
    fn readmit(&mut self) -> Result<(), StageError> {
        let half = self.stage.limits.window / 2;
        let ready: Vec<Partition> = self.held.keys().filter(|p| self.tracker.in_window(p) <= half).cloned().collect();
        for partition in ready {
            if let Some((epoch, records)) = self.held.remove(&partition) {
                self.admit(&partition, epoch, records)?;
                if !self.held.contains_key(&partition) {
                    self.consumer.resume(&partition);
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News) -> Result<(), StageError> {
        match news {
            News::SlotFreed { host, signal, park_until } => {
                Progress::take(&self.stage.progress.in_flight, 1);
                let now = self.stage.clock.now();
                if let Some(until) = park_until {
                    self.hosts.park(&host, until, now);
                }
                let standing = self.hosts.done(&host, signal, now);
                if let Some((why, until, share)) = self.hindrance(standing) {
                    self.make_room(&host, why, share, wait(until, now));
                }
                Ok(())
            }
            News::StoreBroken(message) => Err(StageError(message)),
        }
    }

    async fn tick(&mut self) -> Result<(), StageError> {
        let now = self.stage.clock.now();
        self.stage.progress.parked.store(self.hosts.parked(now) as u64, Relaxed);
        self.pass_stuck_heads();
        self.commit().await?;
        self.release_left().await
    }

    /// Whether nothing is under way, and something may be committed.
    fn is_uncommitted(&self) -> bool {
        self.jobs.is_empty() && !self.tracker.uncommitted().is_empty()
    }

    async fn commit(&mut self) -> Result<(), StageError> {
        let positions = self.tracker.uncommitted();
        if positions.is_empty() {
            return Ok(());
        }
        self.consumer.commit_all(&positions).await?;
        for (partition, epoch, watermark) in positions {
            self.tracker.committed(&partition, epoch, watermark);
        }
        Ok(())
    }

    fn pass_stuck_heads(&mut self) {
        let half = self.stage.limits.window / 2;
        let full = self.tracker.assignments().filter(|(p, _)| self.tracker.in_window(p) >= half);
        let full: Vec<Partition> = full.map(|(p, _)| p.clone()).collect();
        full.iter().for_each(|partition| self.pass_stuck_head(partition));
    }

    /// Lets the others pass the head of a window: if it has run for too long; at once if it runs at a host that does not
    /// answer; at once if its host may not be asked now, and all that waits with it goes along. A host that merely has
    /// much to do comes to its jobs in turn.
    fn pass_stuck_head(&mut self, partition: &Partition) {
        let Some(head) = self.tracker.head(partition) else { return };
        let is_head = |job: &Job| job.offset == head && job.partition == *partition && !job.passed.load(Relaxed);
        let Some((&id, job)) = self.jobs.iter().find(|(_, job)| is_head(job)) else { return };
        let (stuck, now) = (self.stage.limits.stuck, self.stage.clock.now());
        let (host, running_since) = (authority(&job.given.task.url).into_owned(), job.running_since);
        match (running_since, self.hindrance(self.hosts.standing(&host, now))) {
            (Some(since), _) if since.elapsed() >= stuck => drop(self.move_off(id, Hindrance::Head, stuck)),
            (Some(_), Some((Hindrance::Dark, until, _))) => drop(self.move_off(id, Hindrance::Head, wait(until, now))),
            (None, Some((why, until, _))) => self.make_room(&host, why, 0, wait(until, now)),
            (_, _) => {}
        }
    }

    /// Ends: no new work; what is under way has until the end of the grace.
    async fn drain(mut self, sink: SinkTask) -> Result<(), StageError> {
        for id in self.hosts.drain() {
            self.jobs.remove(&id);
        }
        let deadline = Instant::now() + self.stage.limits.grace;
        while !self.workers.is_empty() {
            tokio::select! {
                Some(jobs) = self.done.recv() => finish(&mut self.jobs, &mut self.tracker, jobs),
                Some(news) = self.news.recv() => { self.hear(news)?; }
                Some(ended) = self.workers.join_next() => unbroken(ended)?,
                () = tokio::time::sleep_until(deadline) => self.workers.abort_all(),
            }
        }
        // Without workers nobody holds the way to the sink: it ends when it has appended what is left.
        let Running { worker, mut done, mut jobs, mut tracker, mut consumer, .. } = self;
        drop(worker);
        while let Some(ids) = done.recv().await {
            finish(&mut jobs, &mut tracker, ids);
        }
        sink.await.map_err(|e| StageError(e.to_string()))??;
        consumer.commit_all(&tracker.uncommitted()).await?;
        Ok(consumer.close().await?)
    }
}

fn wait(until: Micros, now: Micros) -> Duration {
    Duration::from_micros(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

/// A worker that broke down has left its task without an outcome: the stage must not go on as if nothing were.
fn unbroken(ended: Result<(), tokio::task::JoinError>) -> Result<(), StageError> {
    match ended {
        Err(error) if error.is_panic() => Err(StageError(format!("download: a worker broke down, please report it: {error}"))),
        _ => Ok(()),
    }
}

/// Notes that the outcomes of these jobs are durable.
fn finish(jobs: &mut HashMap<u64, Job>, tracker: &mut Tracker<Partition, Epoch>, ids: Vec<u64>) {
    for id in ids {
        if let Some(job) = jobs.remove(&id) {
            tracker.finish(&job.partition, job.epoch, job.offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_keep_within_their_memory() {
        let limits = |max_in_flight, memory| Limits {
            max_in_flight,
            memory,
            per_host: 1,
            window: 1,
            publishing: 1,
            grace: Duration::ZERO,
            stuck: STUCK,
        };
        assert_eq!(limits(256, 48 << 20).slots(), 256, "the defaults fit each other");
        assert_eq!(limits(1_000, 48 << 20).slots(), 256);
        assert_eq!(limits(10, 0).slots(), 1);
        for (max_in_flight, kib) in [(256, 64), (128, 128), (64, 256), (1, 256), (10_000, 64)] {
            let limits = limits(max_in_flight, 48 << 20);
            assert_eq!(limits.buffer(), kib << 10, "{max_in_flight} at once");
            assert!((limits.slots() * limits.buffer()) as u64 * BUFFERS <= limits.memory);
        }
    }
}
