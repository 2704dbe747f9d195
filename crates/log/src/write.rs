//! What one transaction of the writer does, and what becomes true once it is durable.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use longshore_core::time::Micros;
use longshore_stages::ports::{LogError, Message, Partition, Retention, TopicSpec};
use rusqlite::Connection;

use crate::catalog::{Catalog, Lane, Topic};
use crate::codec;

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Change {
    /// Append messages to a topic.
    Append(Arc<Topic>, Vec<Message>),
    /// Commit a group's position.
    Commit {
        /// The topic.
        topic: Arc<Topic>,
        /// Its partition.
        lane: Arc<Lane>,
        /// The group.
        group: String,
        /// Everything below it is done with.
        watermark: u64,
    },
}

impl Change {
    /// The records it writes.
    pub(crate) fn records(&self) -> usize {
        match self {
            Self::Append(_, batch) => batch.len(),
            Self::Commit { .. } => 1,
        }
    }

    /// The bytes it writes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(_, batch) => batch.iter().map(weight).sum(),
            Self::Commit { .. } => 64,
        }
    }
}

fn weight(message: &Message) -> usize {
    let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    64 + length(&message.key) + length(&message.value) + headers
}

/// Where partitions end and who committed what, once the transaction is durable. Dropped when it fails.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    ends: HashMap<i64, (Arc<Lane>, u64)>,
    grown: Vec<Arc<Topic>>,
    committed: Vec<(Arc<Topic>, Arc<Lane>, String, u64)>,
}

impl Draft {
    /// Writes a change into the open transaction.
    pub(crate) fn write(&mut self, conn: &Connection, change: &Change, now: Micros) -> rusqlite::Result<()> {
        match change {
            Change::Append(topic, batch) => self.append(conn, topic, batch, now),
            Change::Commit { topic, lane, group, watermark } => {
                write_position(conn, lane.id, group, *watermark)?;
                self.committed.push((Arc::clone(topic), Arc::clone(lane), group.clone(), *watermark));
                Ok(())
            }
        }
    }

    fn append(&mut self, conn: &Connection, topic: &Arc<Topic>, batch: &[Message], now: Micros) -> rusqlite::Result<()> {
        let mut insert = conn.prepare_cached(INSERT)?;
        for message in batch {
            let lane = lane_of(topic, message);
            let (_, end) = self.ends.entry(lane.id).or_insert_with(|| (Arc::clone(lane), lane.end()));
            let id = codec::row_id(lane.id, *end);
            *end += 1;
            let headers = codec::encode_headers(&message.headers);
            let parts = [message.key.as_deref(), message.value.as_deref(), headers.as_deref()];
            insert.execute((id, now, parts[0], parts[1], parts[2], codec::checksum(id, now, parts)))?;
        }
        if !self.grown.iter().any(|t| t.id == topic.id) {
            self.grown.push(Arc::clone(topic));
        }
        Ok(())
    }

    /// Writes the partitions' new ends; the last thing before the commit.
    pub(crate) fn write_ends(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut update = conn.prepare_cached("UPDATE partitions SET next_offset = ?2 WHERE id = ?1")?;
        self.ends.values().try_for_each(|(lane, end)| update.execute((lane.id, end)).map(drop))
    }

    /// Makes it known and wakes who waits; returns the partitions in which a position may have moved.
    pub(crate) fn publish(self) -> Vec<(Arc<Topic>, Arc<Lane>)> {
        self.ends.values().for_each(|(lane, end)| lane.set_end(*end));
        self.grown.iter().for_each(|topic| topic.wake());
        let moved = |(topic, lane, group, watermark): (_, Arc<Lane>, String, u64)| {
            lane.advance(&group, watermark);
            (topic, lane)
        };
        self.committed.into_iter().map(moved).collect()
    }
}

const INSERT: &str = "INSERT INTO records(id, appended_at, key, value, headers, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

fn lane_of<'a>(topic: &'a Topic, message: &Message) -> &'a Arc<Lane> {
    let index = match &message.key {
        Some(key) => codec::partition_of(key, topic.partitions()),
        None => topic.next_keyless(),
    };
    &topic.lanes[index as usize]
}

fn write_position(conn: &Connection, lane: i64, group: &str, watermark: u64) -> rusqlite::Result<()> {
    const UPSERT: &str = "INSERT INTO positions(group_name, partition_id, committed) VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET committed = max(committed, excluded.committed)";
    conn.prepare_cached(UPSERT)?.execute((group, lane, watermark)).map(drop)
}

/// Says why a topic cannot be as wanted, if so.
pub(crate) fn refusal(catalog: &Catalog, spec: &TopicSpec) -> Option<LogError> {
    let existing = catalog.get(&spec.name).map(|topic| topic.partitions());
    let text = match existing {
        _ if spec.partitions == 0 => format!("topic {}: 0 partitions asked for: give it at least 1", spec.name),
        _ if i64::from(spec.partitions) >= codec::LANE_LIMIT => {
            format!("topic {}: {} partitions are too many", spec.name, spec.partitions)
        }
        Some(count) if count < spec.partitions => format!(
            "topic {}: it has {count} partitions, {} are wanted, and keys would move: ask for {count} or use a new topic",
            spec.name, spec.partitions
        ),
        _ => return None,
    };
    Some(LogError::Fatal(text))
}

/// Writes a topic's row, its partitions if it is new, and its retention. Returns the topic if it is new.
pub(crate) fn ensure_topic(conn: &Connection, catalog: &Catalog, spec: &TopicSpec) -> rusqlite::Result<Option<Topic>> {
    let existing = catalog.get(&spec.name).map(|topic| topic.id);
    let id = match existing {
        Some(id) => id,
        None => {
            conn.execute("INSERT INTO topics(name, partitions, retention) VALUES (?1, ?2, '')", (&spec.name, spec.partitions))?;
            conn.last_insert_rowid()
        }
    };
    write_retention(conn, id, &spec.retention)?;
    if existing.is_some() {
        return Ok(None);
    }
    let name: Arc<str> = spec.name.as_str().into();
    let lanes = (0..spec.partitions).map(|index| new_lane(conn, id, &name, index)).collect::<rusqlite::Result<_>>()?;
    Ok(Some(Topic::new(id, name, lanes, spec.retention.clone())))
}

fn new_lane(conn: &Connection, topic: i64, name: &Arc<str>, index: u32) -> rusqlite::Result<Arc<Lane>> {
    conn.execute("INSERT INTO partitions(topic_id, partition) VALUES (?1, ?2)", (topic, index))?;
    Ok(Arc::new(Lane::new(conn.last_insert_rowid(), Partition { topic: Arc::clone(name), index }, 0, 0)))
}

fn write_retention(conn: &Connection, topic: i64, retention: &Retention) -> rusqlite::Result<()> {
    let (name, groups) = match retention {
        Retention::Forever => ("forever", &[][..]),
        Retention::UntilCommitted(groups) => ("until_committed", groups.as_slice()),
    };
    conn.execute("UPDATE topics SET retention = ?2 WHERE id = ?1", (topic, name))?;
    conn.execute("DELETE FROM topic_groups WHERE topic_id = ?1", [topic])?;
    let mut insert = conn.prepare_cached("INSERT OR IGNORE INTO topic_groups(topic_id, group_name) VALUES (?1, ?2)")?;
    groups.iter().try_for_each(|group| insert.execute((topic, group)).map(drop))
}
