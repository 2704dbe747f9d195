//! What the process knows of the topics without asking the file: where partitions begin and end, who has committed what,
//! and whom to wake. The writer alone changes it, after its transaction is durable.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use longshore_stages::ports::{LogError, Partition, Retention};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Notify;

use crate::error;

/// Takes a lock that no panic can leave half-changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A partition's place in the file and its bounds.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Its id in the table `partitions`.
    pub(crate) id: i64,
    /// The partition.
    pub(crate) partition: Partition,
    begin: AtomicU64,
    end: AtomicU64,
    committed: Mutex<HashMap<String, u64>>,
}

impl Lane {
    pub(crate) fn new(id: i64, partition: Partition, begin: u64, end: u64) -> Self {
        Self { id, partition, begin: begin.into(), end: end.into(), committed: Mutex::default() }
    }

    /// The lowest offset kept.
    pub(crate) fn begin(&self) -> u64 {
        self.begin.load(Ordering::Acquire)
    }

    /// The next offset to be given.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn set_begin(&self, begin: u64) {
        self.begin.store(begin, Ordering::Release);
    }

    pub(crate) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// What a group has committed; nothing when it never did.
    pub(crate) fn committed(&self, group: &str) -> Option<u64> {
        locked(&self.committed).get(group).copied()
    }

    /// Where a group reads on: what it has committed, or the beginning.
    pub(crate) fn position(&self, group: &str) -> u64 {
        self.committed(group).unwrap_or(0).max(self.begin())
    }

    /// Moves a group's position forward.
    pub(crate) fn advance(&self, group: &str, watermark: u64) {
        let mut committed = locked(&self.committed);
        match committed.get_mut(group) {
            Some(position) => *position = watermark.max(*position),
            None => drop(committed.insert(group.to_owned(), watermark)),
        }
    }
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its id in the table `topics`.
    pub(crate) id: i64,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its partitions, by number.
    pub(crate) lanes: Vec<Arc<Lane>>,
    retention: Mutex<Retention>,
    next_keyless: AtomicU32,
    waiting: Mutex<Vec<Weak<Notify>>>,
}

impl Topic {
    pub(crate) fn new(id: i64, name: Arc<str>, lanes: Vec<Arc<Lane>>, retention: Retention) -> Self {
        Self { id, name, lanes, retention: Mutex::new(retention), next_keyless: AtomicU32::new(0), waiting: Mutex::default() }
    }

    /// The number of partitions.
    pub(crate) fn partitions(&self) -> u32 {
        u32::try_from(self.lanes.len()).unwrap_or(u32::MAX)
    }

    /// The partition of the next record without a key.
    pub(crate) fn next_keyless(&self) -> u32 {
        self.next_keyless.fetch_add(1, Ordering::Relaxed) % self.partitions().max(1)
    }

    pub(crate) fn set_retention(&self, retention: Retention) {
        *locked(&self.retention) = retention;
    }

    /// The offset below which nobody needs a partition's records. A topic that names no group keeps everything.
    pub(crate) fn needed_from(&self, lane: &Lane) -> u64 {
        let committed = match &*locked(&self.retention) {
            Retention::Forever => 0,
            Retention::UntilCommitted(groups) => groups.iter().map(|g| lane.committed(g).unwrap_or(0)).min().unwrap_or(0),
        };
        committed.min(lane.end())
    }

    /// Wakes this member whenever the topic grows.
    pub(crate) fn watch(&self, member: &Arc<Notify>) {
        let mut waiting = locked(&self.waiting);
        waiting.retain(|w| w.strong_count() > 0);
        waiting.push(Arc::downgrade(member));
    }

    pub(crate) fn wake(&self) {
        locked(&self.waiting).iter().filter_map(Weak::upgrade).for_each(|member| member.notify_one());
    }
}

/// All topics by name.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

impl Catalog {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn put(&self, topic: Topic) {
        let topic = Arc::new(topic);
        self.topics.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&topic.name), topic);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Reads the topics, partitions and positions of a file.
    pub(crate) fn load(conn: &Connection, file: &Path) -> Result<Self, LogError> {
        let said = |e| error::sqlite(file, "cannot read its topics", &e);
        if let Some(topic) = incomplete_topic(conn).map_err(said)? {
            return Err(error::damaged(file, format_args!("the topic {topic} has not all its partitions")));
        }
        load(conn).map_err(said)
    }
}

fn incomplete_topic(conn: &Connection) -> rusqlite::Result<Option<String>> {
    const FIND: &str = "SELECT name FROM topics t WHERE partitions < 1 OR partitions <>
        (SELECT count(*) FROM partitions p WHERE p.topic_id = t.id AND p.partition BETWEEN 0 AND t.partitions - 1)";
    conn.query_row(FIND, [], |row| row.get(0)).optional()
}

fn load(conn: &Connection) -> rusqlite::Result<Catalog> {
    let catalog = Catalog::default();
    let mut rows = conn.prepare("SELECT id, name, retention FROM topics")?;
    let topics = rows.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Arc<str>>(1)?, row.get::<_, String>(2)?)))?;
    for topic in topics {
        let (id, name, retention) = topic?;
        let retention =
            if retention == "forever" { Retention::Forever } else { Retention::UntilCommitted(load_groups(conn, id)?) };
        let lanes = load_lanes(conn, id, &name)?;
        catalog.put(Topic::new(id, name, lanes, retention));
    }
    Ok(catalog)
}

fn load_groups(conn: &Connection, topic: i64) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached("SELECT group_name FROM topic_groups WHERE topic_id = ?1")?
        .query_map([topic], |row| row.get(0))?
        .collect()
}

fn load_lanes(conn: &Connection, topic: i64, name: &Arc<str>) -> rusqlite::Result<Vec<Arc<Lane>>> {
    let mut rows =
        conn.prepare_cached("SELECT id, partition, begin, next_offset FROM partitions WHERE topic_id = ?1 ORDER BY partition")?;
    let lanes = rows.query_map([topic], |row| {
        let partition = Partition { topic: Arc::clone(name), index: row.get(1)? };
        Ok(Lane::new(row.get(0)?, partition, row.get(2)?, row.get(3)?))
    })?;
    let mut positions = conn.prepare_cached("SELECT group_name, committed FROM positions WHERE partition_id = ?1")?;
    let mut loaded = Vec::new();
    for lane in lanes {
        let lane = lane?;
        for position in positions.query_map([lane.id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
            let (group, committed) = position?;
            lane.advance(&group, committed);
        }
        loaded.push(Arc::new(lane));
    }
    Ok(loaded)
}
