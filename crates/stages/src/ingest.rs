//! Ingest: events → pending.
//!
//! *Owns*: decoding events through the source's mapping, the first judgement on each URL, and a bounded memory of the
//! attachments seen recently (an optimisation: what it misses, the tables catch).
//! *Does not own*: fetching, retries, the events table (record makes its rows of the same plan).
//!
//! ```text
//!                            ┌▶ plan ─▶ [a chunk: ≤ CHUNK_MESSAGES, ≤ CHUNK_BYTES] ─▶ pending  (a task)
//! events ─▶ [≤ 8 batches] ─┤                                                      └─▶ dlq      (a refused attachment, a poison
//!                            └▶ …                                                                event; what is too large:
//!                                                                                                store first)
//! position ◀── every COMMIT_EVERY ◀── in order ◀── the batch is durable
//! ```
//! Queues: at most eight batches of the log are in memory, each with a chunk of its output, and ids ([`SEEN`]).
//! Promises: 1 (each attachment becomes a task or a dead letter), 3 (commits a batch after all its chunks, and all batches
//! before it, are durable), 5, 10.

mod way;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use longshore_core::format::{
    self, DeadLetter, Enriched, ErrorNote, FormatError, HEADER_INPUT, HEADER_LIFE, HEADER_TRUNCATED, HEADER_URL_FIELD, Task,
};
use longshore_core::headers::carried;
use longshore_core::ids;
use longshore_core::outcome::Failure;
use longshore_core::policy::known::Known;
use longshore_core::source::{Attachment, Outline, RawEvent, Source};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::StageError;
use crate::letters::{Parcel, Post};
use crate::message;
use crate::patience::Patience;
use crate::ports::{Clock, Consumer, Delivery, Log, Message, Partition, Received, Store};
use crate::progress::Progress;
use crate::record;
use crate::told::{self, At};
use crate::topics::Topics;
use way::{Position, Way};

/// How many attachments are remembered as seen, about: there are as many buckets of three, in 4 MiB.
pub const SEEN: usize = 65_536;
/// The most messages that are gathered before they are appended.
const CHUNK_MESSAGES: usize = 2_000;
/// The bytes of messages that are gathered before they are appended, about: one event may make many times its own size.
const CHUNK_BYTES: usize = 1 << 20;
/// How often positions are committed.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// The stage and what it works with.
pub struct Ingest {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Where what is too large for the log goes.
    pub store: Arc<dyn Store>,
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
    /// Origins that the source's policy has allowed.
    pub known: Known,
    /// Once cancelled, positions are committed as soon as nothing is under way: the input has ended.
    pub ended: CancellationToken,
    /// How long it goes on trying once it drains.
    pub grace: Duration,
}

/// Which attachments were seen, and with which URL: about the last [`SEEN`]. Some are forgotten sooner.
///
/// An attachment that comes again with another URL is signed anew, perhaps because the first signature has expired: it
/// is tried, and costs repeated work where the first one did.
///
/// The first 16 bits of ids are spread evenly and say which bucket is theirs; of those in a bucket the oldest is forgotten.
/// A bucket is a cache line: memory is far away where tables are large, and one lock would be handed to and fro.
#[derive(Debug)]
pub struct Seen(Box<[Bucket]>);

/// The ids seen last, the latest first. None of them is 0, which stands for nothing.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket(Mutex<[u128; 3]>);

impl Default for Seen {
    fn default() -> Self {
        Seen((0..SEEN).map(|_| Bucket::default()).collect())
    }
}

impl Seen {
    /// Adds an attachment with its exact URL; returns whether it is new.
    pub fn insert(&self, id: Uuid, url: &str) -> bool {
        let seen = (id.as_u128() ^ u128::from(ids::url_hash(url))) | 1;
        let mut bucket = self.0[(seen >> 112) as usize % SEEN].0.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.contains(&seen) {
            return false;
        }
        bucket.rotate_right(1);
        bucket[0] = seen;
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

/// What is to be appended.
#[derive(Default)]
struct Output {
    pending: Vec<Parcel>,
    dead_letters: Vec<Parcel>,
    bytes: usize,
}

impl Output {
    fn task(&mut self, message: Message) {
        self.bytes += message.bytes();
        self.pending.push(message.into());
    }

    fn dead_letter(&mut self, letter: Parcel) {
        self.bytes += letter.bytes();
        self.dead_letters.push(letter);
    }

    fn is_full(&self) -> bool {
        self.pending.len() + self.dead_letters.len() >= CHUNK_MESSAGES || self.bytes >= CHUNK_BYTES
    }
}

/// Where a record was read, and what of its headers goes on with its tasks.
struct Place<'a> {
    partition: &'a Partition,
    record: &'a Received,
    carried: Vec<(String, Bytes)>,
}

impl<'a> Place<'a> {
    fn new(partition: &'a Partition, record: &'a Received) -> Self {
        Place { partition, record, carried: carried(&record.message.headers) }
    }

    fn at(&self) -> At {
        At::new(self.partition, self.record.offset)
    }
}

impl Ingest {
    /// Runs until `drain` is cancelled, then commits and leaves.
    pub async fn run(self, drain: CancellationToken) -> Result<(), StageError> {
        let (group, events) = (self.topics.ingest_group(), self.topics.events());
        let patience = Patience::new(drain.clone(), self.grace);
        let mut consumer = patience.join(self.log.as_ref(), &group, &[&events]).await?;
        let post = Arc::new(Post { log: self.log.clone(), store: self.store.clone(), patience });
        let (ingest, mut way) = (Arc::new(self), Way::default());
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        commit.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                records = way.settle(), if !way.is_idle() => Progress::add(&ingest.progress.events, records?),
                _ = commit.tick() => way.commit(consumer.as_mut()).await?,
                () = ingest.ended.cancelled(), if way.is_uncommitted() => way.commit(consumer.as_mut()).await?,
                delivery = consumer.next(), if way.has_room() => match delivery? {
                    Delivery::Assigned { .. } => {}
                    Delivery::Records { partition, epoch, records } => {
                        let (next, count) = (records.last().map_or(0, |r| r.offset + 1), records.len() as u64);
                        let position = Position { partition: partition.clone(), epoch, next, records: count };
                        way.begin(ingest.clone().batch(post.clone(), partition, records), position);
                    }
                    Delivery::Revoked { partition, epoch } => {
                        ingest.finish(&mut way, consumer.as_mut()).await?;
                        consumer.release(&partition, epoch).await?;
                    }
                },
            }
        }
        ingest.finish(&mut way, consumer.as_mut()).await?;
        Ok(consumer.close().await?)
    }

    /// Waits until everything under way is durable, and commits it.
    async fn finish(&self, way: &mut Way, consumer: &mut dyn Consumer) -> Result<(), StageError> {
        Progress::add(&self.progress.events, way.settle_all().await?);
        way.commit(consumer).await
    }

    /// Appends what a batch of records makes, chunk by chunk; all of it is durable when this returns.
    async fn batch(self: Arc<Self>, post: Arc<Post>, partition: Partition, records: Vec<Received>) -> Result<(), StageError> {
        let nulls = records.iter().filter(|r| r.message.value.is_none()).count();
        Progress::add(&self.progress.skipped_nulls, nulls as u64);
        let mut output = Output::default();
        for record in records.iter().filter(|r| r.message.value.is_some()) {
            self.event(&post, &Place::new(&partition, record), &mut output).await?;
        }
        self.append(&post, output).await
    }

    async fn event(&self, post: &Post, place: &Place<'_>, output: &mut Output) -> Result<(), StageError> {
        let record = place.record;
        let unwrapped = match Unwrapped::read(&self.source, record) {
            Ok(unwrapped) => unwrapped,
            Err(error @ FormatError::Newer(_)) => return Err(newer(&place.partition.topic, record, &error)),
            Err(error) => {
                let (name, clock) = (&self.source.name, self.clock.as_ref());
                output.dead_letter(record::poison(name, place.partition, record, &error, clock, &self.progress));
                return self.append_if_full(post, output).await;
            }
        };
        match self.source.outline(&unwrapped.raw(), &self.known) {
            Ok(None) => Ok(()),
            Ok(Some(outline)) => self.attachments(post, outline, place, output).await,
            Err(failure) => {
                output.dead_letter(self.poison(failure, Some(&unwrapped.event), place));
                self.append_if_full(post, output).await
            }
        }
    }

    async fn attachments(
        &self,
        post: &Post,
        outline: Outline<'_>,
        place: &Place<'_>,
        output: &mut Output,
    ) -> Result<(), StageError> {
        Progress::add(&self.progress.without_list, u64::from(outline.without_list()));
        let mut count = 0;
        for attachment in outline {
            count += 1;
            self.attachment(attachment, place, output);
            self.append_if_full(post, output).await?;
        }
        Progress::add(&self.progress.without_attachments, u64::from(count == 0));
        Ok(())
    }

    fn attachment(&self, attachment: Attachment, place: &Place<'_>, output: &mut Output) {
        if !self.seen.insert(attachment.task.media_id, &attachment.task.url) {
            return Progress::add(&self.progress.repeats, 1);
        }
        let task = Task { carried: place.carried.clone(), ..attachment.task };
        match attachment.refused {
            None => {
                Progress::add(&self.progress.tasks, 1);
                output.task(message::of(&task));
            }
            Some(failure) => {
                self.progress.count_failure(failure.class, failure.reason);
                let mut letter = DeadLetter::of_task(task.clone(), ErrorNote::of(&failure, self.clock.now()));
                letter.input = Some(input_of(place.partition, place.record));
                told::dead_letter(&place.at(), &letter);
                output.dead_letter(Parcel::letter_of(&task, letter));
            }
        }
    }

    fn poison(&self, failure: Failure, original: Option<&[u8]>, place: &Place<'_>) -> Parcel {
        let Place { partition, record, .. } = place;
        self.progress.count_failure(failure.class, failure.reason);
        let error = ErrorNote::of(&failure, self.clock.now());
        let life = format::life_of(record.message.header(HEADER_LIFE));
        let letter = DeadLetter::of_poison(&self.source.name, error, original, input_of(partition, record));
        let letter = DeadLetter { life, ..letter };
        told::dead_letter(&place.at(), &letter);
        let (key, headers) = (record.message.key.clone(), headers_of_poison(record, life));
        Parcel::letter(key, letter, headers)
    }

    async fn append_if_full(&self, post: &Post, output: &mut Output) -> Result<(), StageError> {
        if output.is_full() { self.append(post, std::mem::take(output)).await } else { Ok(()) }
    }

    async fn append(&self, post: &Post, output: Output) -> Result<(), StageError> {
        let (pending, dead) = (self.topics.pending(), self.topics.dead_letters());
        let (tasks, letters) = tokio::join!(
            post.append("appending tasks", &pending, output.pending),
            post.append("appending dead letters", &dead, output.dead_letters)
        );
        tasks.and(letters)
    }
}

/// Stops the stage at a record that a newer Longshore wrote: a dead letter of it could never be replayed.
pub(crate) fn newer(topic: &str, record: &Received, error: &FormatError) -> StageError {
    StageError(format!("{topic} at offset {}: {error}", record.offset))
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
#[path = "ingest_tests.rs"]
mod tests;
