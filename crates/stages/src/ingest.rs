//! Ingest: events → pending.
//!
//! *Owns*: decoding events through the source's mapping, the first judgement on each URL, and a bounded memory of the
//! attachments seen recently (an optimisation: what it misses, the tables catch).
//! *Does not own*: fetching, retries, the events table (record makes its rows of the same plan).
//!
//! ```text
//! events ─▶ [one batch of the log] ─▶ plan ─▶ pending   (a task)
//!                                         └─▶ dlq       (a refused attachment, a poison event)
//! ```
//! Queues: none of its own; at most one batch is in memory, and [`SEEN`] ids.
//! Promises: 1 (each attachment becomes a task or a dead letter), 3 (commits after both are durable), 10.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::format::{
    self, DeadLetter, Enriched, ErrorNote, FormatError, HEADER_INPUT, HEADER_LIFE, HEADER_TRUNCATED, HEADER_URL_FIELD,
};
use longshore_core::outcome::Failure;
use longshore_core::source::{Attachment, RawEvent, Source};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::StageError;
use crate::patience::Patience;
use crate::ports::{Clock, Delivery, Log, Message, Partition, Received};
use crate::progress::Progress;
use crate::record;
use crate::topics::Topics;

/// How many attachments are remembered as seen.
pub const SEEN: usize = 262_144;

/// The stage and what it works with.
pub struct Ingest {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Its topics.
    pub topics: Topics,
    /// The source's mapping and policy.
    pub source: Arc<Source>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub progress: Arc<Progress>,
    /// Attachments that have a task in the log already.
    pub seen: Seen,
    /// How long it goes on trying once it drains.
    pub grace: Duration,
}

/// A bounded set of ids, oldest out first.
#[derive(Debug, Default)]
pub struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Seen {
    /// Adds an id; returns whether it is new.
    pub fn insert(&mut self, id: Uuid) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// An event as its message holds it: the same for ingest and for the events table.
pub(crate) struct Unwrapped<'a> {
    received: &'a Received,
    /// The event's bytes, without the answer that enriches it.
    pub(crate) event: Cow<'a, [u8]>,
    answer: Option<&'a [u8]>,
}

impl<'a> Unwrapped<'a> {
    /// Reads a message of the source's events topic, which an enriched source fills itself.
    pub(crate) fn read(source: &Source, received: &'a Received) -> Result<Self, FormatError> {
        let value = received.message.value.as_deref().unwrap_or_default();
        if source.enrich.is_none() {
            return Ok(Unwrapped { received, event: Cow::Borrowed(value), answer: None });
        }
        let Enriched { event, answer } = Enriched::decode(value)?;
        Ok(Unwrapped { received, event, answer: Some(answer) })
    }

    /// The event for the source's mapping.
    pub(crate) fn raw(&self) -> RawEvent<'_> {
        raw_event(self.received, &self.event, self.answer)
    }
}

/// The raw event of a message.
pub(crate) fn raw_event<'a>(received: &'a Received, bytes: &'a [u8], enrichment: Option<&'a [u8]>) -> RawEvent<'a> {
    let text = |name| received.message.header(name).and_then(|v| std::str::from_utf8(v).ok());
    RawEvent {
        bytes,
        headers: &received.message.headers,
        url_field: text(HEADER_URL_FIELD),
        truncated: text(HEADER_TRUNCATED).and_then(|v| v.parse().ok()),
        ingested_at: received.appended_at,
        enrichment,
    }
}

#[derive(Default)]
struct Output {
    pending: Vec<Message>,
    dead_letters: Vec<Message>,
}

impl Ingest {
    /// Runs until `drain` is cancelled, then commits and leaves.
    pub async fn run(mut self, drain: CancellationToken) -> Result<(), StageError> {
        let topics = self.topics.clone();
        let events = topics.events();
        let patience = Patience::new(drain.clone(), self.grace);
        let mut consumer = patience.join(self.log.as_ref(), &topics.ingest_group(), &[&events]).await?;
        loop {
            let delivery = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                delivery = consumer.next() => delivery,
            };
            match delivery.map_err(|e| StageError(e.to_string()))? {
                Delivery::Assigned { .. } => {}
                Delivery::Revoked { partition, epoch } => {
                    consumer.release(&partition, epoch).await?;
                }
                Delivery::Records { partition, epoch, records } => {
                    let next = records.last().map_or(0, |r| r.offset + 1);
                    let output = self.plan(&partition, &records);
                    self.append(&patience, &topics, output).await?;
                    consumer.commit(&partition, epoch, next).await?;
                    Progress::add(&self.progress.events, records.len() as u64);
                }
            }
        }
        Ok(consumer.close().await?)
    }

    fn plan(&mut self, partition: &Partition, records: &[Received]) -> Output {
        let mut output = Output::default();
        let nulls = records.iter().filter(|r| r.message.value.is_none()).count();
        Progress::add(&self.progress.skipped_nulls, nulls as u64);
        for record in records.iter().filter(|r| r.message.value.is_some()) {
            let unwrapped = match Unwrapped::read(&self.source, record) {
                Ok(unwrapped) => unwrapped,
                Err(error) => {
                    let (name, clock) = (&self.source.name, self.clock.as_ref());
                    output.dead_letters.push(record::poison(name, "enriched", record, &error, clock, &self.progress));
                    continue;
                }
            };
            match self.source.plan_tasks(&unwrapped.raw()) {
                Ok(planned) => {
                    let event = planned.event();
                    let without_list = event.as_ref().is_some_and(|event| event.without_list);
                    Progress::add(&self.progress.without_list, u64::from(without_list));
                    for attachment in event.map(|event| event.attachments).unwrap_or_default() {
                        self.attachment(attachment, partition, record, &mut output);
                    }
                }
                Err(failure) => {
                    output.dead_letters.push(self.poison(failure, Some(&unwrapped.event), partition, record));
                }
            }
        }
        output
    }

    fn attachment(&mut self, attachment: Attachment, partition: &Partition, record: &Received, output: &mut Output) {
        if !self.seen.insert(attachment.task.media_id) {
            return;
        }
        let key = Some(Bytes::from(attachment.task.trace_id.clone()));
        match attachment.refused {
            None => {
                Progress::add(&self.progress.tasks, 1);
                let value = Some(format::encode(&attachment.task).into());
                output.pending.push(Message { key, value, headers: Vec::new() });
            }
            Some(failure) => {
                self.progress.count_failure(failure.class, failure.reason);
                let mut letter = DeadLetter::of_task(attachment.task, ErrorNote::of(&failure, self.clock.now()));
                letter.input = Some(input_of(partition, record));
                output.dead_letters.push(Message { key, value: Some(format::encode(&letter).into()), headers: Vec::new() });
            }
        }
    }

    fn poison(&self, failure: Failure, original: Option<&[u8]>, partition: &Partition, record: &Received) -> Message {
        self.progress.count_failure(failure.class, failure.reason);
        let error = ErrorNote::of(&failure, self.clock.now());
        let life = format::life_of(record.message.header(HEADER_LIFE));
        let letter = DeadLetter::of_poison(&self.source.name, error, original, input_of(partition, record));
        let letter = DeadLetter { life, ..letter };
        let (key, headers) = (record.message.key.clone(), headers_of_poison(record, life));
        Message { key, value: Some(format::encode(&letter).into()), headers }
    }

    async fn append(&self, patience: &Patience, topics: &Topics, output: Output) -> Result<(), StageError> {
        let (pending, dead) = (topics.pending(), topics.dead_letters());
        let append = |topic, batch: Vec<Message>| async move {
            if batch.is_empty() {
                return Ok(());
            }
            patience.until_done("appending tasks", || self.log.append(topic, batch.clone())).await
        };
        let (tasks, letters) = tokio::join!(append(&pending, output.pending), append(&dead, output.dead_letters));
        tasks.and(letters)
    }
}

/// The headers of the dead letter of an event: the event's own, so that a replay gives it back as it came, and its life.
pub(crate) fn headers_of_poison(record: &Received, life: u32) -> Vec<(String, Bytes)> {
    let own = record.message.headers.iter().filter(|(name, _)| name != HEADER_LIFE).cloned();
    own.chain([(HEADER_LIFE.to_owned(), Bytes::from(life.to_string()))]).collect()
}

/// Where an event was read, for people.
pub(crate) fn input_of(partition: &Partition, record: &Received) -> String {
    let header = record.message.header(HEADER_INPUT).map(|v| String::from_utf8_lossy(v).into_owned());
    header.unwrap_or_else(|| format!("{partition}@{}", record.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_remembered_within_bounds() {
        let mut seen = Seen::default();
        assert!(seen.insert(Uuid::from_u128(0)));
        assert!(!seen.insert(Uuid::from_u128(0)));
        for id in 1..=SEEN as u128 {
            assert!(seen.insert(Uuid::from_u128(id)));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (SEEN, SEEN));
        assert!(seen.insert(Uuid::from_u128(0)), "the oldest was forgotten");
    }
}
