//! Reading records, positions and bounds, each in one short transaction; every record is verified.
//!
//! A reader that keeps a transaction open would stop the write-ahead log from being reused, so nothing here outlives a call.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use longshore_stages::ports::{LogError, Message, Partition, PartitionState, Position, Received};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::catalog::locked;
use crate::file::{self, Reader};
use crate::{codec, error};

/// Connections kept for the next read; more are opened when needed and closed after use.
const IDLE_CONNECTIONS: usize = 4;

/// How much one read may bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Records.
    pub(crate) records: usize,
    /// Bytes of values; one record comes whatever its size.
    pub(crate) bytes: usize,
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The records, in order.
    pub(crate) records: Vec<Received>,
    /// Where to read on.
    pub(crate) next: u64,
}

/// The reading connections of one log.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Reader>>,
    closed: AtomicBool,
}

impl Readers {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, idle: Mutex::default(), closed: AtomicBool::new(false) }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Closes the idle connections and refuses further reads.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        locked(&self.idle).clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Runs one read on a connection that nobody else uses. A connection that met an error is not used again.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Connection, &Path) -> Result<T, LogError>) -> Result<T, LogError> {
        if self.is_closed() {
            return Err(error::closed(&self.file));
        }
        let idle = locked(&self.idle).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => file::open_reader(&self.file)?,
        };
        let found = read(&reader.conn, &self.file)?;
        self.keep(reader);
        Ok(found)
    }

    fn keep(&self, reader: Reader) {
        let mut idle = locked(&self.idle);
        if reader.lasting && idle.len() < IDLE_CONNECTIONS && !self.is_closed() {
            idle.push(reader);
        }
    }
}

/// The id of a partition in the file; an error when there is no such partition.
pub(crate) fn find_lane(conn: &Connection, file: &Path, partition: &Partition) -> Result<i64, LogError> {
    const FIND: &str = "SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic_id WHERE t.name = ?1 AND p.partition = ?2";
    let found = conn
        .prepare_cached(FIND)
        .and_then(|mut find| find.query_row((partition.topic.as_ref(), partition.index), |row| row.get(0)).optional())
        .map_err(|e| error::sqlite(file, format_args!("cannot look up {partition}"), &e))?;
    found.ok_or_else(|| {
        LogError::Fatal(format!("log {}: there is no partition {partition}: check the topic's name", file.display()))
    })
}

/// Reads a partition from an offset on. Offsets below the lowest one kept are passed over; any other that is missing, and any
/// record that differs from what was written, is an error that names it.
pub(crate) fn records(
    conn: &Connection,
    file: &Path,
    partition: &Partition,
    lane: i64,
    from: u64,
    limit: Limit,
) -> Result<Batch, LogError> {
    let said =
        |offset: u64, e: rusqlite::Error| error::sqlite(file, format_args!("cannot read {partition} at offset {offset}"), &e);
    let tx = conn.unchecked_transaction().map_err(|e| said(from, e))?;
    let (begin, end) = bounds(&tx, lane).map_err(|e| said(from, e))?;
    let mut batch = Batch { records: Vec::new(), next: from.max(begin) };
    let mut bytes = 0;
    let mut select = tx.prepare_cached(SELECT).map_err(|e| said(from, e))?;
    let last = codec::row_id(lane, end);
    let mut rows = select.query((codec::row_id(lane, batch.next), last, limit.records)).map_err(|e| said(batch.next, e))?;
    while let Some(row) = rows.next().map_err(|e| said(batch.next, e))? {
        let record = verified(row, codec::row_id(lane, batch.next))
            .map_err(|e| said(batch.next, e))?
            .map_err(|what| error::damaged(file, format_args!("{partition} at offset {}: {what}", batch.next)))?;
        bytes += record.message.value.as_ref().map_or(0, Bytes::len);
        batch.next += 1;
        batch.records.push(record);
        if bytes >= limit.bytes {
            return Ok(batch);
        }
    }
    if batch.next < end && batch.records.len() < limit.records {
        return Err(error::damaged(file, format_args!("{partition} at offset {}: {MISSING}", batch.next)));
    }
    Ok(batch)
}

const SELECT: &str =
    "SELECT id, appended_at, key, value, headers, crc FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
const MISSING: &str = "the record is missing";

fn bounds(conn: &Connection, lane: i64) -> rusqlite::Result<(u64, u64)> {
    let mut select = conn.prepare_cached("SELECT begin, next_offset FROM partitions WHERE id = ?1")?;
    select.query_row([lane], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The record of a row if it is the expected one and what was written; else what is wrong with it.
fn verified(row: &Row<'_>, expected: i64) -> rusqlite::Result<Result<Received, &'static str>> {
    let id = row.get(0)?;
    if id != expected {
        return Ok(Err(MISSING));
    }
    let appended_at = row.get(1)?;
    let blob = |column| row.get_ref(column).and_then(|value| Ok(value.as_blob_or_null()?));
    let (key, value, headers) = (blob(2)?, blob(3)?, blob(4)?);
    if codec::checksum(id, appended_at, [key, value, headers]) != row.get::<_, u32>(5)? {
        return Ok(Err("the record is not what was written (its checksum is wrong)"));
    }
    let Some(headers) = codec::decode_headers(headers) else { return Ok(Err("its headers cannot be read")) };
    let message = Message { key: key.map(Bytes::copy_from_slice), value: value.map(Bytes::copy_from_slice), headers };
    Ok(Ok(Received { offset: codec::offset_of(id), appended_at, message }))
}

/// All partitions and positions as of one moment, in order of their names.
pub(crate) fn state(conn: &Connection, file: &Path) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
    let read = || {
        let tx = conn.unchecked_transaction()?;
        Ok((partition_states(&tx)?, positions(&tx)?))
    };
    read().map_err(|e| error::sqlite(file, "cannot read the state", &e))
}

fn partition_states(conn: &Connection) -> rusqlite::Result<Vec<PartitionState>> {
    const ALL: &str =
        "SELECT t.name, p.partition, p.begin, p.next_offset FROM partitions p JOIN topics t ON t.id = p.topic_id ORDER BY 1, 2";
    let mut select = conn.prepare_cached(ALL)?;
    let rows = select.query_map([], |row| {
        let partition = Partition { topic: row.get(0)?, index: row.get(1)? };
        Ok(PartitionState { partition, begin: row.get(2)?, end: row.get(3)? })
    })?;
    rows.collect()
}

fn positions(conn: &Connection) -> rusqlite::Result<Vec<Position>> {
    const ALL: &str = "SELECT g.group_name, t.name, p.partition, g.committed FROM positions g
        JOIN partitions p ON p.id = g.partition_id JOIN topics t ON t.id = p.topic_id ORDER BY 1, 2, 3";
    let mut select = conn.prepare_cached(ALL)?;
    let rows = select.query_map([], |row| {
        let partition = Partition { topic: row.get(1)?, index: row.get(2)? };
        Ok(Position { group: row.get(0)?, partition, committed: row.get(3)? })
    })?;
    rows.collect()
}
