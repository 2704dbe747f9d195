//! The log between the stages: topics of partitions of records, read by groups that commit positions.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::time::Micros;

/// The name of a consumer group. A topic's positions are kept for each group apart.
pub type Group = str;

/// One uninterrupted assignment of a partition to one consumer. A later assignment of the same partition to
/// anybody in the group has another epoch; what is said of an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub index: u32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.index)
    }
}

/// What is written to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Chooses the partition: equal keys go to one partition, in order. Without a key any partition will do.
    pub key: Option<Bytes>,
    /// The payload; nothing for a tombstone written by others.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(String, Bytes)>,
}

impl Message {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_ref())
    }

    /// Bytes of its key, its value and its headers.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        [&self.key, &self.value].into_iter().flatten().map(Bytes::len).sum::<usize>() + headers
    }
}

/// A message as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The position of the message in its partition.
    pub offset: u64,
    /// When the log took it.
    pub appended_at: Micros,
    /// What was written.
    pub message: Message,
}

/// What a consumer yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The partition is now ours; records follow from `position` on.
    Assigned {
        /// The partition.
        partition: Partition,
        /// This assignment.
        epoch: Epoch,
        /// The offset of the next record: the committed position, or the beginning.
        position: u64,
    },
    /// Records in the order of their offsets, never empty. Offsets may have gaps (a compacted or trimmed topic).
    Records {
        /// The partition.
        partition: Partition,
        /// The assignment under which they were read.
        epoch: Epoch,
        /// The records.
        records: Vec<Received>,
    },
    /// The partition is to be given up. No more of its records are yielded under this epoch. The consumer's owner
    /// commits what it can and answers with [`Consumer::release`]; until then nobody else is assigned the partition
    /// (within the limits of the log's session), and the records of its other partitions may wait.
    Revoked {
        /// The partition.
        partition: Partition,
        /// The assignment that ends.
        epoch: Epoch,
    },
}

/// What becomes of the records of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// Kept for ever: rows cite them.
    Forever,
    /// May be dropped once every one of these groups has committed past them.
    UntilCommitted(Vec<String>),
}

/// A topic as a deployment needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: String,
    /// The number of partitions, at least 1.
    pub partitions: u32,
    /// When records may go.
    pub retention: Retention,
}

/// Why the log did not do what it was asked, by what the caller must do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Try again later: what was appended may or may not be in the log.
    #[error("{0}")]
    Unavailable(String),
    /// Stop: only a person can mend this (no room, no rights, a damaged file, an unknown topic). Names the remedy.
    #[error("{0}")]
    Fatal(String),
}

/// The log, as the stages use it. All methods may be called from many tasks at once.
#[async_trait]
pub trait Log: Send + Sync {
    /// Makes sure that the topics exist. Fails if one exists with fewer partitions.
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Appends the messages to a topic and returns once all of them are durable. On an error any part of the batch
    /// may have been written: append it again (readers tolerate repeats) or stop.
    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError>;

    /// Joins a group to read topics. Its first deliveries are assignments.
    async fn subscribe(&self, group: &Group, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError>;
}

/// One member of a group.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; waits until there is one. Safe to cancel: nothing is lost with a dropped future.
    async fn next(&mut self) -> Result<Delivery, LogError>;

    /// Commits a position: every record below the watermark has reached its next durable place. Returns when the
    /// position is durable. A stale epoch is ignored, and a watermark never moves a position backwards.
    async fn commit(&mut self, partition: &Partition, epoch: Epoch, watermark: u64) -> Result<(), LogError>;

    /// Commits several positions, each as [`commit`](Self::commit) does, in as few round trips as the log can. On an error
    /// any of them may be committed.
    async fn commit_all(&mut self, positions: &[(Partition, Epoch, u64)]) -> Result<(), LogError> {
        for (partition, epoch, watermark) in positions {
            self.commit(partition, *epoch, *watermark).await?;
        }
        Ok(())
    }

    /// Stops yielding records of a partition, without giving it up and without losing any.
    fn pause(&mut self, partition: &Partition);

    /// Goes on yielding records of a paused partition.
    fn resume(&mut self, partition: &Partition);

    /// Answers a revocation. A stale epoch is ignored.
    async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError>;

    /// Leaves the group; the partitions go to the others at once.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition.
    pub partition: Partition,
    /// The lowest offset still kept.
    pub begin: u64,
    /// The offset that the next record will get.
    pub end: u64,
}

/// A group's committed position in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: Partition,
    /// Every record below it is done with.
    pub committed: u64,
}

/// The log as an onlooker sees it: from another process, without joining a group or changing anything.
#[async_trait]
pub trait LogView: Send + Sync {
    /// All partitions of all topics, and all committed positions, as of one moment where the log can tell
    /// (the embedded log), else positions first.
    async fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError>;

    /// Up to `max` records of a partition from an offset on; empty at the end.
    async fn read(&self, partition: &Partition, from: u64, max: usize) -> Result<Vec<Received>, LogError>;
}
