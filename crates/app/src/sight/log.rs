//! The log, measured: what was appended, read and committed, how long it took, and which partitions are ours.
//!
//! A measurement costs a few atomic additions for a batch. Batches whose commit is awaited: at most [`BATCHES`] for a
//! partition; of more, the oldest are not timed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use longshore_stages::ports::{Consumer, Delivery, Epoch, Group, Log, LogError, Message, Partition, TopicSpec};
use prometheus::{Histogram, IntCounter};

use super::board::{Lamp, Part};
use super::{Assignment, Shared, Sight, lock};

/// Batches of a partition that were delivered and not committed, as far as they are timed.
const BATCHES: usize = 1_024;

/// A log that is measured.
pub(super) struct MeteredLog {
    inner: Arc<dyn Log>,
    sight: Arc<Sight>,
    /// One for each topic that is appended to.
    appends: Shared<HashMap<String, Arc<Append>>>,
}

/// The handles of a topic.
struct Append {
    sent: IntCounter,
    seconds: Histogram,
    lamp: Arc<Lamp>,
}

fn kind(error: &LogError) -> &'static str {
    match error {
        LogError::Unavailable(_) => "unavailable",
        LogError::Fatal(_) => "fatal",
    }
}

impl MeteredLog {
    pub(super) fn new(inner: Arc<dyn Log>, sight: Arc<Sight>) -> Self {
        MeteredLog { inner, sight, appends: Shared::default() }
    }

    fn append_to(&self, topic: &str) -> Arc<Append> {
        let mut appends = lock(&self.appends);
        if let Some(append) = appends.get(topic) {
            return append.clone();
        }
        let (system, meters) = (self.sight.system.as_str(), &self.sight.meters);
        let append = Arc::new(Append {
            sent: meters.sent.with_label_values(&[system, "send", topic, ""]),
            seconds: meters.operation.with_label_values(&[system, "send", topic, "", ""]),
            lamp: self.sight.board.lamp(Part::Log, &format!("nothing can be appended to the topic {topic}")),
        });
        appends.insert(topic.to_owned(), append.clone());
        append
    }
}

#[async_trait]
impl Log for MeteredLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner.ensure_topics(topics).await
    }

    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        let (append, count, began) = (self.append_to(topic), batch.len() as u64, Instant::now());
        let result = self.inner.append(topic, batch).await;
        let seconds = began.elapsed().as_secs_f64();
        append.lamp.note(&result);
        match &result {
            Ok(()) => {
                append.sent.inc_by(count);
                append.seconds.observe(seconds);
            }
            Err(error) => {
                let (system, meters) = (self.sight.system.as_str(), &self.sight.meters);
                meters.sent.with_label_values(&[system, "send", topic, kind(error)]).inc_by(count);
                meters.operation.with_label_values(&[system, "send", topic, "", kind(error)]).observe(seconds);
            }
        }
        result
    }

    async fn subscribe(&self, group: &Group, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let lamp = |what: &str| self.sight.board.lamp(Part::Log, &format!("the group {group} {what}"));
        let (reads, commits) = (lamp("cannot read"), lamp("cannot commit"));
        let result = self.inner.subscribe(group, topics).await;
        reads.note(&result);
        let (sight, group) = (self.sight.clone(), group.to_owned());
        Ok(Box::new(MeteredConsumer { inner: Some(result?), sight, group, reads, commits, partitions: HashMap::new() }))
    }
}

/// A consumer that is measured.
struct MeteredConsumer {
    /// Nothing once it is closed.
    inner: Option<Box<dyn Consumer>>,
    sight: Arc<Sight>,
    group: String,
    reads: Arc<Lamp>,
    commits: Arc<Lamp>,
    partitions: HashMap<Partition, Ours>,
}

/// A partition that is assigned to us.
struct Ours {
    epoch: Epoch,
    consumed: IntCounter,
    processed: Histogram,
    committed: Histogram,
    watermark: u64,
    /// When batches were delivered, each with the offset after its last record.
    batches: VecDeque<(u64, Instant)>,
}

impl MeteredConsumer {
    fn inner(&mut self) -> Result<&mut Box<dyn Consumer>, LogError> {
        self.inner.as_mut().ok_or_else(|| LogError::Fatal("the consumer is closed: please report it".to_owned()))
    }

    fn take_in(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Assigned { partition, epoch, position } => self.assigned(partition, *epoch, *position),
            Delivery::Records { partition, epoch, records } => {
                let Some(ours) = self.partitions.get_mut(partition).filter(|ours| ours.epoch == *epoch) else { return };
                ours.consumed.inc_by(records.len() as u64);
                let next = records.last().map_or(0, |record| record.offset + 1);
                if ours.batches.len() >= BATCHES {
                    ours.batches.pop_front();
                }
                ours.batches.push_back((next, Instant::now()));
            }
            Delivery::Revoked { .. } => {}
        }
    }

    fn assigned(&mut self, partition: &Partition, epoch: Epoch, position: u64) {
        let (system, meters) = (self.sight.system.as_str(), &self.sight.meters);
        let (topic, group) = (&*partition.topic, self.group.as_str());
        let ours = Ours {
            epoch,
            consumed: meters.consumed.with_label_values(&[system, "poll", topic, group]),
            processed: meters.process.with_label_values(&[system, "process", topic, group]),
            committed: meters.operation.with_label_values(&[system, "commit", topic, group, ""]),
            watermark: position,
            batches: VecDeque::new(),
        };
        self.partitions.insert(partition.clone(), ours);
        lock(&self.sight.assigned).insert(self.assignment(partition));
    }

    fn assignment(&self, partition: &Partition) -> Assignment {
        (self.group.clone(), partition.clone())
    }

    fn given_up(&mut self, partition: &Partition, epoch: Epoch) {
        if self.partitions.get(partition).is_some_and(|ours| ours.epoch == epoch) {
            self.partitions.remove(partition);
            lock(&self.sight.assigned).remove(&self.assignment(partition));
        }
    }

    fn moved(&mut self, partition: &Partition, epoch: Epoch, watermark: u64, seconds: f64) {
        let Some(ours) = self.partitions.get_mut(partition).filter(|ours| ours.epoch == epoch) else { return };
        ours.committed.observe(seconds);
        while let Some((_, delivered)) = ours.batches.front().filter(|(next, _)| *next <= watermark) {
            ours.processed.observe(delivered.elapsed().as_secs_f64());
            ours.batches.pop_front();
        }
        if watermark > ours.watermark {
            ours.watermark = watermark;
            self.sight.completes();
        }
    }
}

#[async_trait]
impl Consumer for MeteredConsumer {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        let result = self.inner()?.next().await;
        self.reads.note(&result);
        if let Ok(delivery) = &result {
            self.take_in(delivery);
        }
        result
    }

    async fn commit(&mut self, partition: &Partition, epoch: Epoch, watermark: u64) -> Result<(), LogError> {
        self.commit_all(&[(partition.clone(), epoch, watermark)]).await
    }

    async fn commit_all(&mut self, positions: &[(Partition, Epoch, u64)]) -> Result<(), LogError> {
        let began = Instant::now();
        let result = self.inner()?.commit_all(positions).await;
        let seconds = began.elapsed().as_secs_f64();
        self.commits.note(&result);
        for (partition, epoch, watermark) in positions {
            match &result {
                Ok(()) => self.moved(partition, *epoch, *watermark, seconds),
                Err(error) => {
                    let labels = [self.sight.system.as_str(), "commit", &*partition.topic, self.group.as_str(), kind(error)];
                    self.sight.meters.operation.with_label_values(&labels).observe(seconds);
                }
            }
        }
        result
    }

    fn pause(&mut self, partition: &Partition) {
        if let Some(inner) = &mut self.inner {
            inner.pause(partition);
        }
    }

    fn resume(&mut self, partition: &Partition) {
        if let Some(inner) = &mut self.inner {
            inner.resume(partition);
        }
    }

    async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError> {
        let result = self.inner()?.release(partition, epoch).await;
        if result.is_ok() {
            self.given_up(partition, epoch);
        }
        result
    }

    async fn close(mut self: Box<Self>) -> Result<(), LogError> {
        match self.inner.take() {
            Some(inner) => inner.close().await,
            None => Ok(()),
        }
    }
}

impl Drop for MeteredConsumer {
    fn drop(&mut self) {
        let mut assigned = lock(&self.sight.assigned);
        for partition in self.partitions.keys() {
            assigned.remove(&(self.group.clone(), partition.clone()));
        }
    }
}
