//! Which records nobody needs any more, and deleting them in small steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{Catalog, Lane, Topic};
use crate::codec;

/// Bytes of values that one step deletes at most (one record goes whatever its size).
const STEP_BYTES: u64 = 4 << 20;

/// The partitions with records to delete.
#[derive(Debug, Default)]
pub(crate) struct Trimmer {
    due: BTreeMap<i64, (Arc<Topic>, Arc<Lane>)>,
}

/// What a step deletes, in the open transaction; it counts once that is durable.
#[derive(Debug)]
pub(crate) struct Step {
    lane: Arc<Lane>,
    begin: u64,
}

impl Trimmer {
    /// Everything that may be trimmed in a log just opened.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let mut trimmer = Self::default();
        for topic in catalog.all() {
            topic.lanes.iter().for_each(|lane| trimmer.notice(&topic, lane));
        }
        trimmer
    }

    /// A position moved, or a retention changed: look at the partition.
    pub(crate) fn notice(&mut self, topic: &Arc<Topic>, lane: &Arc<Lane>) {
        if topic.needed_from(lane) > lane.begin() {
            self.due.insert(lane.id, (Arc::clone(topic), Arc::clone(lane)));
        }
    }

    /// The number of records to delete.
    pub(crate) fn debt(&self) -> u64 {
        self.due.values().map(owed).sum()
    }

    /// Forgets what was due, after a failure; the next commit brings it back.
    pub(crate) fn give_up(&mut self) {
        self.due.clear();
    }

    /// Deletes up to `rows` records of the partition that has the most to delete, so that a busy one starves no other.
    pub(crate) fn step(&self, conn: &Connection, rows: u64) -> rusqlite::Result<Option<Step>> {
        let Some((topic, lane)) = self.due.values().max_by_key(|due| owed(due)) else { return Ok(None) };
        let target = topic.needed_from(lane).max(lane.begin());
        let begin = cut(conn, lane, target, rows)?.unwrap_or(target);
        let mut delete = conn.prepare_cached("DELETE FROM records WHERE id >= ?1 AND id < ?2")?;
        delete.execute((codec::row_id(lane.id, lane.begin()), codec::row_id(lane.id, begin)))?;
        conn.prepare_cached("UPDATE partitions SET begin = ?2 WHERE id = ?1")?.execute((lane.id, begin))?;
        Ok(Some(Step { lane: Arc::clone(lane), begin }))
    }

    /// The step is durable.
    pub(crate) fn done(&mut self, step: &Step) {
        step.lane.set_begin(step.begin);
        self.due.retain(|_, (topic, lane)| topic.needed_from(lane) > lane.begin());
    }
}

fn owed((topic, lane): &(Arc<Topic>, Arc<Lane>)) -> u64 {
    topic.needed_from(lane).saturating_sub(lane.begin())
}

/// The first offset that a step leaves alone; nothing when it reaches the target.
fn cut(conn: &Connection, lane: &Lane, target: u64, rows: u64) -> rusqlite::Result<Option<u64>> {
    // The length of a blob is in its row's header: no value is read for this.
    const CUT: &str = "SELECT id FROM (SELECT id, row_number() OVER w AS nth, sum(size) OVER w AS bytes
        FROM (SELECT id, ifnull(length(value), 0) AS size FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3 + 1) WINDOW w AS (ORDER BY id))
        WHERE nth > ?3 OR (nth > 1 AND bytes > ?4) ORDER BY id LIMIT 1";
    let (from, to) = (codec::row_id(lane.id, lane.begin()), codec::row_id(lane.id, target));
    let found = conn.prepare_cached(CUT)?.query_row((from, to, rows, STEP_BYTES), |row| row.get(0)).optional()?;
    Ok(found.map(codec::offset_of))
}
