//! Record: results → `attachments`, dead letters → `attachments_failed`, events → `events`.
//!
//! *Owns*: gathering rows into commits, and the rule *stored wins* (a failure of an attachment that is stored adds no
//! row). *Does not own*: exactness by key (the Table port), the shape of rows (core), compaction's decisions.
//!
//! ```text
//! results ─▶ [≤ max_rows, ≤ freshness] ─▶ attachments          each committer: gather, append, commit the
//! dlq     ─▶ [≤ max_rows, ≤ freshness] ─▶ attachments_failed   watermark, then maintenance if due; rows that
//! events  ─▶ [≤ max_rows, ≤ 10 s     ] ─▶ events               arrive meanwhile wait in the log
//! ```
//! A result that cannot be read becomes a dead letter; what is too large of it goes to the store first.
//! Promises: 1, 2, 3 (the watermark is committed after the rows are durable), 5, 10.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::format::{self, DeadLetter, ErrorNote, FormatError, Stored};
use longshore_core::headers;
use longshore_core::inventory::{self, Shape};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::row::Row;
use longshore_core::source::Source;
use longshore_core::time::Micros;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::StageError;
use crate::ingest::{Unwrapped, newer};
use crate::letters::{Parcel, Post};
use crate::patience::Patience;
use crate::ports::{Clock, Consumer, Delivery, Epoch, Log, LogPosition, Partition, Received, Store, Table};
use crate::progress::Progress;
use crate::told::{self, At};
use crate::topics::Topics;

/// When gathered rows are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gather {
    /// The longest a row waits for its commit to begin.
    pub freshness: Duration,
    /// The most rows in one commit.
    pub max_rows: usize,
    /// The most bytes of records in one commit, about.
    pub max_bytes: usize,
}

/// The three tables of a source.
#[derive(Clone)]
pub struct Tables {
    /// `{source}_attachments`.
    pub attachments: Arc<dyn Table>,
    /// `{source}_attachments_failed`.
    pub failed: Arc<dyn Table>,
    /// `{source}_events`.
    pub events: Arc<dyn Table>,
}

/// The stage and what it works with.
#[derive(Clone)]
pub struct Record {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Where what is too large for the log goes.
    pub store: Arc<dyn Store>,
    /// Its topics.
    pub topics: Topics,
    /// The source, for the rows of its events.
    pub source: Arc<Source>,
    /// The tables' further columns.
    pub shape: Shape,
    /// The inventory.
    pub tables: Tables,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub progress: Arc<Progress>,
    /// For results and dead letters.
    pub gather: Gather,
    /// For events, whose table commits seldom.
    pub gather_events: Gather,
    /// Once cancelled, rows are committed as soon as nothing more is at hand: the input has ended.
    pub hurry: CancellationToken,
    /// How long it goes on trying once it drains.
    pub grace: Duration,
}

impl Record {
    /// Runs the three committers until `drain` is cancelled; each commits what it has gathered, then leaves.
    pub async fn run(self, drain: CancellationToken) -> Result<(), StageError> {
        let topics = self.topics.clone();
        let patience = Patience::new(drain.clone(), self.grace);
        let results = self.committer(topics.record_results_group(), topics.results(), self.gather, &patience);
        let failures = self.committer(topics.record_failures_group(), topics.dead_letters(), self.gather, &patience);
        let events = self.committer(topics.record_events_group(), topics.events(), self.gather_events, &patience);
        let post = Post { log: self.log.clone(), store: self.store.clone(), patience: patience.clone() };
        tokio::try_join!(
            results.run(Results(self.clone(), topics.dead_letters(), post), self.tables.attachments.clone(), &drain),
            failures.run(Failures(self.clone(), patience.clone()), self.tables.failed.clone(), &drain),
            events.run(Events(self.clone()), self.tables.events.clone(), &drain),
        )?;
        Ok(())
    }

    fn committer(&self, group: String, topic: String, gather: Gather, patience: &Patience) -> Committer {
        let (log, progress, hurry) = (self.log.clone(), self.progress.clone(), self.hurry.clone());
        Committer { log, progress, hurry, group, topic, gather, patience: patience.clone() }
    }
}

/// Makes rows of the records of one topic.
#[async_trait]
trait Planner: Send {
    async fn rows(&mut self, partition: &Partition, records: &[Received]) -> Result<Vec<Row>, StageError>;
    /// The counter of rows added.
    fn counter<'a>(&self, progress: &'a Progress) -> &'a AtomicU64;
}

struct Committer {
    log: Arc<dyn Log>,
    progress: Arc<Progress>,
    hurry: CancellationToken,
    group: String,
    topic: String,
    gather: Gather,
    patience: Patience,
}

/// Rows that wait for their commit, and what may be committed to the log after it.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: usize,
    next: BTreeMap<Partition, (Epoch, u64)>,
    deadline: Option<Instant>,
}

/// What ended a gathering.
enum Gathered {
    Batch,
    Revoked(Partition, Epoch),
    Drained,
}

impl Committer {
    async fn run(self, mut planner: impl Planner, table: Arc<dyn Table>, drain: &CancellationToken) -> Result<(), StageError> {
        let mut consumer = self.patience.join(self.log.as_ref(), &self.group, &[&self.topic]).await?;
        loop {
            let mut batch = Batch::default();
            let gathered = self.gather(&mut planner, consumer.as_mut(), &mut batch, drain).await?;
            self.commit(&planner, consumer.as_mut(), table.as_ref(), batch).await?;
            match gathered {
                Gathered::Batch => {}
                Gathered::Revoked(partition, epoch) => {
                    consumer.release(&partition, epoch).await?;
                }
                Gathered::Drained => break,
            }
        }
        Ok(consumer.close().await?)
    }

    async fn gather(
        &self,
        planner: &mut impl Planner,
        consumer: &mut dyn Consumer,
        batch: &mut Batch,
        drain: &CancellationToken,
    ) -> Result<Gathered, StageError> {
        while batch.rows.len() < self.gather.max_rows && batch.bytes < self.gather.max_bytes {
            let delivery = tokio::select! {
                biased;
                () = drain.cancelled() => return Ok(Gathered::Drained),
                delivery = consumer.next() => delivery?,
                () = self.due(batch.deadline), if batch.deadline.is_some() => return Ok(Gathered::Batch),
            };
            match delivery {
                Delivery::Assigned { .. } => {}
                Delivery::Revoked { partition, epoch } => return Ok(Gathered::Revoked(partition, epoch)),
                Delivery::Records { partition, epoch, records } => {
                    let next = records.last().map_or(0, |r| r.offset + 1);
                    batch.bytes += records.iter().filter_map(|r| r.message.value.as_ref()).map(|v| v.len()).sum::<usize>();
                    batch.rows.extend(planner.rows(&partition, &records).await?);
                    batch.next.insert(partition, (epoch, next));
                    batch.deadline.get_or_insert_with(|| Instant::now() + self.gather.freshness);
                }
            }
            if batch.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break;
            }
        }
        Ok(Gathered::Batch)
    }

    /// Returns when a gathered batch should wait no longer.
    async fn due(&self, deadline: Option<Instant>) {
        /// How long a hurried committer waits for company, so that a trickle does not become a commit a row.
        const BREATH: Duration = Duration::from_millis(5);
        let until = deadline.unwrap_or_else(Instant::now);
        let hurried = async {
            self.hurry.cancelled().await;
            tokio::time::sleep(BREATH).await;
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = hurried => {}
        }
    }

    async fn commit(
        &self,
        planner: &impl Planner,
        consumer: &mut dyn Consumer,
        table: &dyn Table,
        batch: Batch,
    ) -> Result<(), StageError> {
        if !batch.rows.is_empty() {
            let position = |(partition, (_, next)): (&Partition, &(Epoch, u64))| LogPosition {
                partition: partition.clone(),
                watermark: *next,
            };
            let positions: Vec<_> = batch.next.iter().map(position).collect();
            let appended = self.patience.until_done("committing rows", || table.append(&batch.rows, &positions)).await?;
            Progress::add(planner.counter(&self.progress), appended.added as u64);
            told::committed(&self.topic, appended.added, appended.known);
        }
        let next: Vec<_> = batch.next.into_iter().map(|(partition, (epoch, next))| (partition, epoch, next)).collect();
        consumer.commit_all(&next).await?;
        self.patience.until_done("maintaining a table", || table.maintain()).await
    }
}

/// results → attachments.
struct Results(Record, String, Post);

#[async_trait]
impl Planner for Results {
    async fn rows(&mut self, partition: &Partition, records: &[Received]) -> Result<Vec<Row>, StageError> {
        let mut rows = Vec::with_capacity(records.len());
        let mut poison = Vec::new();
        for record in records {
            let Some(value) = &record.message.value else { continue };
            match format::decode::<Stored>(value) {
                Ok(stored) => rows.push(self.0.shape.attachment_row(&stored, self.0.clock.now())),
                Err(error @ FormatError::Newer(_)) => {
                    return Err(StageError(format!("{} at offset {}: {error}", self.1, record.offset)));
                }
                Err(error) => poison.push(self.poison(partition, record, &error)),
            }
        }
        self.2.append("appending dead letters", &self.1, poison).await?;
        Ok(rows)
    }

    fn counter<'a>(&self, progress: &'a Progress) -> &'a AtomicU64 {
        &progress.rows_stored
    }
}

impl Results {
    fn poison(&self, partition: &Partition, record: &Received, error: &FormatError) -> Parcel {
        poison(&self.0.source.name, partition, record, error, self.0.clock.as_ref(), &self.0.progress)
    }
}

/// The dead letter of a record of one of our own topics that cannot be read.
pub(crate) fn poison(
    source: &str,
    partition: &Partition,
    record: &Received,
    error: &FormatError,
    clock: &dyn Clock,
    progress: &Progress,
) -> Parcel {
    progress.count_failure(Class::Poison, Reason::Undecodable);
    let failure = Failure::new(Class::Poison, Reason::Undecodable, error.to_string());
    let (note, original) = (ErrorNote::of(&failure, clock.now()), record.message.value.as_deref());
    let letter = DeadLetter::of_poison(source, note, original, format!("{partition}@{}", record.offset));
    told::dead_letter(&At::new(partition, record.offset), &letter);
    let headers = headers::carried(&record.message.headers);
    Parcel::letter(record.message.key.clone(), letter, headers)
}

/// dlq → attachments_failed.
struct Failures(Record, Patience);

#[async_trait]
impl Planner for Failures {
    async fn rows(&mut self, _: &Partition, records: &[Received]) -> Result<Vec<Row>, StageError> {
        let now = self.0.clock.now();
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let Some(value) = &record.message.value else { continue };
            match format::decode::<DeadLetter>(value) {
                Ok(letter) => rows.extend(self.0.shape.failed_row(&letter, now)),
                Err(error @ FormatError::Newer(_)) => {
                    return Err(StageError(format!("dead letter at offset {}: {error}", record.offset)));
                }
                Err(error) => {
                    tracing::warn!(offset = record.offset, %error, "a dead letter cannot be read; it stays in its topic")
                }
            }
        }
        let keys: Vec<_> = rows.iter().map(|row| inventory::key(row.key.id)).collect();
        let attachments = &self.0.tables.attachments;
        let stored = self.1.until_done("looking up stored attachments", || attachments.known(&keys)).await?;
        let mut stored = stored.into_iter();
        rows.retain(|_| !stored.next().unwrap_or(false));
        Ok(rows)
    }

    fn counter<'a>(&self, progress: &'a Progress) -> &'a AtomicU64 {
        &progress.rows_failed
    }
}

/// events → events.
struct Events(Record);

#[async_trait]
impl Planner for Events {
    async fn rows(&mut self, _: &Partition, records: &[Received]) -> Result<Vec<Row>, StageError> {
        let Record { source, shape, topics, clock, .. } = &self.0;
        event_rows(source, shape, &topics.events(), records, clock.now())
    }

    fn counter<'a>(&self, progress: &'a Progress) -> &'a AtomicU64 {
        &progress.rows_events
    }
}

/// The rows of the events that the source accepts. An error is a record that a newer Longshore wrote.
fn event_rows(source: &Source, shape: &Shape, topic: &str, records: &[Received], now: Micros) -> Result<Vec<Row>, StageError> {
    let version = source.mapping_version();
    let row = |record: &Received| {
        let unwrapped = match Unwrapped::read(source, record) {
            Ok(unwrapped) => unwrapped,
            Err(error @ FormatError::Newer(_)) => return Some(Err(newer(topic, record, &error))),
            // Ingest has made a dead letter of it.
            Err(_) => return None,
        };
        let raw = unwrapped.raw();
        let event = source.plan_row(&raw).ok()?.event()?;
        Some(Ok(shape.event_row(&version, &event, &raw, now)))
    };
    records.iter().filter(|r| r.message.value.is_some()).filter_map(row).collect()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
