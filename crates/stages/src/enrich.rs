//! Enrich: raw events → events with an answer, for sources whose events carry an id and no URL.
//!
//! *Owns*: one call for each event, the calls at once and their pace, the breaker for the endpoint, the way from a call's
//! outcome to a topic. *Does not own*: the call (Lookup), what the answer means (the source's mapping, at ingestion),
//! waiting (a Retry stage of its own, which brings what is due back to a topic that only this stage reads).
//!
//! ```text
//! raw ─┬▶ [queue: ≤ WINDOW and ≤ QUEUED_BYTES, and a delivery a partition] ─▶ [≤ max_in_flight calls, ≤ per_second] ─▶ enriched
//! due ─┘                                                                       │  │
//!  ▲                                                                           │  └▶ dlq: exhausted, permanent, poison
//!  └── retry ◀── tiers ◀───────────────────────────────────────────────────────┘
//! ```
//! States: consuming → draining (no new calls; those under way end or the grace does) → left. While the endpoint
//! is down nothing starts but one probe now and then, so that an outage burns no events.
//! Promises: 1 and 3 (an offset finishes once its event is in the next topic), 4, 5.

mod queue;
mod wrap;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::breaker::Breaker;
use longshore_core::call::{Call, CallTemplate, Fields};
use longshore_core::format::{self, Climb, DeadLetter, ErrorNote, HEADER_INPUT, HEADER_LIFE};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::retry::{self, Ladder, Next};
use longshore_core::source::Source;
use longshore_core::time::{Micros, SECOND};
use longshore_core::tracker::{Started, Tracker};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::StageError;
use crate::ingest::{headers_of_poison, input_of, raw_event};
use crate::letters::{Parcel, Post};
use crate::patience::Patience;
use crate::ports::{Clock, Consumer, Delivery, Epoch, Log, Lookup, Partition, Received, Store};
use crate::progress::Progress;
use crate::told::{self, At};
use crate::topics::Topics;
pub use queue::QUEUED_BYTES;
use queue::Queue;
use wrap::{enriched, fits};

/// Offsets of a partition that may be unfinished before it is paused.
pub const WINDOW: usize = 256;
/// How often watermarks are committed.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// The stage and what it works with.
pub struct Enrich {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Where what is too large for the log goes.
    pub store: Arc<dyn Store>,
    /// Its topics.
    pub topics: Topics,
    /// The source: its name, and which events are its own.
    pub source: Arc<Source>,
    /// The endpoint.
    pub lookup: Arc<dyn Lookup>,
    /// What it is asked.
    pub call: CallTemplate,
    /// What the call needs of an event.
    pub fields: Fields,
    /// The retry tiers of its own.
    pub ladder: Ladder,
    /// Bounds.
    pub limits: EnrichLimits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub progress: Arc<Progress>,
}

/// Bounds of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrichLimits {
    /// Calls at once, at least 1.
    pub max_in_flight: usize,
    /// Calls begun in a second, evenly spread; any number when nothing.
    pub per_second: Option<u32>,
    /// How long calls under way may go on once the stage drains.
    pub grace: Duration,
}

/// One event that waits for its call, or whose outcome is to be appended.
struct Job {
    partition: Partition,
    epoch: Epoch,
    record: Received,
}

impl Job {
    fn at(&self) -> At {
        At::new(&self.partition, self.record.offset)
    }
}

/// An event that is done with here once its message is durable.
struct Outgoing {
    job: Job,
    topic: String,
    parcel: Parcel,
}

/// What came of a call.
struct Ended {
    job: Job,
    outcome: Result<Bytes, Failure>,
}

/// What is to be done with a record.
enum Step {
    Call(Box<Call>),
    /// It is nobody's, or another source's.
    Skip,
    Bury(Failure),
}

struct Running {
    stage: Enrich,
    consumer: Box<dyn Consumer>,
    post: Post,
    tracker: Tracker<Partition, Epoch>,
    queue: Queue,
    paused: HashSet<Partition>,
    calls: JoinSet<Ended>,
    breaker: Breaker,
    /// When the pace lets the next call begin.
    next_call: Micros,
}

impl Enrich {
    /// Runs until `drain` is cancelled; then lets the calls under way end, commits and leaves.
    pub async fn run(self, drain: CancellationToken) -> Result<(), StageError> {
        let (raw, due) = (self.topics.raw(), self.topics.enrich_due());
        let patience = Patience::new(drain.clone(), self.limits.grace);
        let consumer = patience.join(self.log.as_ref(), &self.topics.enrich_group(), &[&raw, &due]).await?;
        let post = Post { log: self.log.clone(), store: self.store.clone(), patience };
        let mut running = Running {
            stage: self,
            consumer,
            post,
            tracker: Tracker::new(usize::MAX),
            queue: Queue::default(),
            paused: HashSet::new(),
            calls: JoinSet::new(),
            breaker: Breaker::default(),
            next_call: Micros::MIN,
        };
        running.consume(&drain).await?;
        running.drain().await
    }

    /// What is to be done with a record.
    fn step(&self, partition: &Partition, record: &Received) -> Step {
        let Some(event) = record.message.value.as_deref() else {
            Progress::add(&self.progress.skipped_nulls, 1);
            return Step::Skip;
        };
        match self.call(partition, event, record) {
            Ok(Some(call)) => Step::Call(Box::new(call)),
            Ok(None) => Step::Skip,
            Err(failure) => Step::Bury(failure),
        }
    }

    fn call(&self, partition: &Partition, event: &[u8], record: &Received) -> Result<Option<Call>, Failure> {
        let poison = |message| Failure::new(Class::Poison, Reason::Undecodable, message);
        let raw = raw_event(record, event, None);
        // What has waited in a tier is ours, whatever the sources of the input agree on by now.
        if !self.is_due_again(partition) && !self.source.takes(&raw)? {
            return Ok(None);
        }
        if let Some(length) = raw.truncated {
            return Err(poison(format!("the event is {length} bytes long, longer than is accepted")));
        }
        fits("the event has", &record.message)?;
        let fields = self.fields.read(event)?;
        self.call.render(&fields).map(Some).map_err(|error| poison(error.to_string()))
    }

    /// Whether the partition's events come back from a tier, and not from the input.
    fn is_due_again(&self, partition: &Partition) -> bool {
        *partition.topic == *self.topics.enrich_due()
    }

    /// Where an event goes, and as what, after its call.
    fn outgoing(&self, ended: Ended) -> Outgoing {
        let Ended { job, outcome } = ended;
        match outcome.and_then(|answer| enriched(&job.record.message, &answer)) {
            Ok(message) => Outgoing { topic: self.topics.events(), parcel: message.into(), job },
            Err(failure) => self.failed(job, &failure),
        }
    }

    fn failed(&self, job: Job, failure: &Failure) -> Outgoing {
        let climb = if self.is_due_again(&job.partition) { Climb::read(&job.record.message.headers) } else { Climb::default() };
        let (mut task, now) = (climb.task(), self.clock.now());
        match retry::after(&self.ladder, &mut task, failure, now) {
            Next::Tier(index) if index < self.ladder.delays.len() => {
                let mut message = job.record.message.clone();
                if message.header(HEADER_INPUT).is_none() {
                    let input = input_of(&job.partition, &job.record);
                    message.headers.push((HEADER_INPUT.to_owned(), Bytes::from(input)));
                }
                Climb::of(&task).write(&mut message.headers);
                // What the ladder writes may be what is too much.
                if fits("the event has", &message).is_err() {
                    return self.dead_letter(job, failure, task.first_error);
                }
                let delay = self.ladder.delays[index];
                told::enrich_retry(&job.at(), &self.source.name, &task, failure, delay.as_millis() as u64);
                Outgoing { topic: self.topics.enrich_tier(delay), parcel: message.into(), job }
            }
            _ => self.dead_letter(job, failure, task.first_error),
        }
    }

    fn dead_letter(&self, job: Job, failure: &Failure, first_error: Option<ErrorNote>) -> Outgoing {
        let error = ErrorNote::of(failure, self.clock.now());
        let (record, input) = (&job.record, input_of(&job.partition, &job.record));
        let life = format::life_of(record.message.header(HEADER_LIFE));
        let letter = DeadLetter {
            first_error,
            life,
            ..DeadLetter::of_event(&self.source.name, error, record.message.value.as_deref(), input)
        };
        self.progress.count_failure(letter.status, letter.error.reason);
        told::dead_letter(&job.at(), &letter);
        let mut headers = headers_of_poison(record, life);
        Climb::remove(&mut headers);
        let parcel = Parcel::letter(record.message.key.clone(), letter, headers);
        Outgoing { topic: self.topics.dead_letters(), parcel, job }
    }
}

impl Running {
    async fn consume(&mut self, drain: &CancellationToken) -> Result<(), StageError> {
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        commit.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.dispatch();
            self.resume();
            let wait = self.wait();
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                Some(ended) = self.calls.join_next(), if !self.calls.is_empty() => self.settle(ended).await?,
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                _ = commit.tick() => self.commit().await?,
                delivery = self.consumer.next() => {
                    let delivery = delivery?;
                    self.deliver(delivery).await?;
                }
            }
        }
    }

    fn room(&self) -> bool {
        self.calls.len() < self.stage.limits.max_in_flight.max(1)
    }

    /// Starts what may start.
    fn dispatch(&mut self) {
        while self.room() && !self.queue.is_empty() {
            let now = self.stage.clock.now();
            if self.next_call > now || !self.breaker.start(now) {
                return;
            }
            let Some((job, call)) = self.queue.pop() else { return };
            if let Some(rate) = self.stage.limits.per_second {
                self.next_call = now.saturating_add(SECOND / i64::from(rate.max(1)));
            }
            let lookup = self.stage.lookup.clone();
            self.calls.spawn(async move { Ended { job, outcome: lookup.ask(call).await } });
        }
    }

    /// How long until a call that only waits for the pace or the breaker may begin.
    fn wait(&self) -> Option<Duration> {
        if self.queue.is_empty() || !self.room() {
            return None;
        }
        let until = self.breaker.opens_at().unwrap_or(Micros::MIN).max(self.next_call);
        let micros = until.checked_sub(self.stage.clock.now()).filter(|micros| *micros > 0)?;
        Some(Duration::from_micros(micros.unsigned_abs()))
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), StageError> {
        match delivery {
            Delivery::Assigned { partition, epoch, position } => {
                self.paused.remove(&partition);
                self.tracker.assign(partition, epoch, position);
            }
            Delivery::Records { partition, epoch, records } => self.admit(&partition, epoch, records).await?,
            Delivery::Revoked { partition, epoch } => {
                self.commit().await?;
                self.tracker.revoke(&partition, epoch);
                self.queue.revoke(&partition, epoch);
                self.paused.remove(&partition);
                self.consumer.release(&partition, epoch).await?;
            }
        }
        Ok(())
    }

    /// Queues the records that need a call; what needs none is settled at once.
    async fn admit(&mut self, partition: &Partition, epoch: Epoch, records: Vec<Received>) -> Result<(), StageError> {
        let mut outgoing = Vec::new();
        for record in records {
            if self.tracker.start(partition, epoch, record.offset) != Started::Yes {
                continue;
            }
            let step = self.stage.step(partition, &record);
            let job = Job { partition: partition.clone(), epoch, record };
            match step {
                Step::Call(call) => self.queue.push(job, *call),
                Step::Skip => drop(self.tracker.finish(partition, epoch, job.record.offset)),
                Step::Bury(failure) => outgoing.push(self.stage.dead_letter(job, &failure, None)),
            }
        }
        let full = self.tracker.in_window(partition) >= WINDOW || self.queue.is_full();
        if full && self.paused.insert(partition.clone()) {
            self.consumer.pause(partition);
        }
        self.append(outgoing).await
    }

    /// Takes in what has ended, all that is there.
    async fn settle(&mut self, first: Result<Ended, JoinError>) -> Result<(), StageError> {
        let mut outgoing = Vec::new();
        let mut next = Some(first);
        while let Some(ended) = next {
            let ended = ended.map_err(|error| StageError(format!("enrich: a call broke down, please report it: {error}")))?;
            self.note(&ended.outcome);
            outgoing.push(self.stage.outgoing(ended));
            next = self.calls.try_join_next();
        }
        self.append(outgoing).await
    }

    /// Tells the breaker.
    fn note(&mut self, outcome: &Result<Bytes, Failure>) {
        let now = self.stage.clock.now();
        match outcome {
            Err(failure) if failure.class == Class::Throttled => {
                let wait = Micros::try_from(self.stage.ladder.wait(failure).as_micros()).unwrap_or(Micros::MAX);
                self.breaker.throttled(now.saturating_add(wait));
            }
            Err(failure) if failure.class == Class::Transient => {
                self.breaker.failed(now);
                if let Some(until) = self.breaker.opens_at() {
                    let wait_ms = until.saturating_sub(now) / 1_000;
                    tracing::warn!(source = %self.stage.source.name, %failure, wait_ms, "the endpoint that enriches events is down");
                }
            }
            Ok(_) | Err(_) => self.breaker.answered(),
        }
    }

    /// Appends, and finishes the offsets of what is durable.
    async fn append(&mut self, outgoing: Vec<Outgoing>) -> Result<(), StageError> {
        let mut batches: BTreeMap<String, Vec<Parcel>> = BTreeMap::new();
        let mut jobs = Vec::with_capacity(outgoing.len());
        for Outgoing { job, topic, parcel } in outgoing {
            batches.entry(topic).or_default().push(parcel);
            jobs.push(job);
        }
        let post = &self.post;
        let append =
            |(topic, batch): (String, Vec<Parcel>)| async move { post.append("appending enriched events", &topic, batch).await };
        futures::future::try_join_all(batches.into_iter().map(append)).await?;
        for Job { partition, epoch, record } in jobs {
            self.tracker.finish(&partition, epoch, record.offset);
        }
        Ok(())
    }

    /// Lets partitions go on for which there is room again.
    fn resume(&mut self) {
        if self.queue.is_half_empty() {
            let (tracker, consumer) = (&self.tracker, &mut self.consumer);
            let ready = self.paused.extract_if(|partition| tracker.in_window(partition) <= WINDOW / 2);
            ready.for_each(|partition| consumer.resume(&partition));
        }
    }

    async fn commit(&mut self) -> Result<(), StageError> {
        for (partition, epoch, watermark) in self.tracker.uncommitted() {
            self.consumer.commit(&partition, epoch, watermark).await?;
            self.tracker.committed(&partition, epoch, watermark);
        }
        Ok(())
    }

    /// Ends: no new calls; those under way have until the end of the grace.
    async fn drain(mut self) -> Result<(), StageError> {
        self.queue.clear();
        let deadline = Instant::now() + self.stage.limits.grace;
        while !self.calls.is_empty() {
            tokio::select! {
                Some(ended) = self.calls.join_next() => self.settle(ended).await?,
                () = tokio::time::sleep_until(deadline) => self.calls.shutdown().await,
            }
        }
        self.commit().await?;
        Ok(self.consumer.close().await?)
    }
}

#[cfg(test)]
#[path = "enrich_tests.rs"]
mod tests;
