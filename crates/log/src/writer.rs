//! The one thread that writes: group commit, trimming, and keeping the files small.
//!
//! ```text
//! Serving ──(queue empty)──▶ Idle: trim, then give pages back, then empty the write-ahead log ──(request)──▶ Serving
//!    └──(Stop, or nobody left to ask)──▶ Stopped: what is queued is written, the log marked clean, the lock released
//! ```
//!
//! Whatever waits in the queue (up to 8,192 records or 8 MiB) is written in one transaction with one fsync, then all are answered.
//! The queue holds at most 16 MiB: whoever appends waits for room. Trimming rides along with busy transactions, in proportion
//! to what they append, and goes on in steps of 2,000 records when nothing else is to do.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use longshore_stages::ports::{Clock, LogError, SystemClock, TopicSpec};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::catalog::Catalog;
use crate::lock::DirLock;
use crate::trim::{Step, Trimmer};
use crate::write::{Change, Draft, ensure_topic, refusal};
use crate::{error, file};

/// A transaction takes in no further request beyond these.
const GROUP_RECORDS: usize = 8_192;
const GROUP_BYTES: usize = 8 << 20;
/// Records deleted in one step.
const TRIM_ROWS: u64 = 2_000;
/// A write-ahead log above this is emptied although requests wait (at most once a second).
const WAL_LIMIT_BYTES: u64 = 32 << 20;
/// Free pages above this are given back to the file system when idle: 16 MiB, in steps of 4 MiB.
const FREE_PAGES: i64 = 4_096;
/// How long the queue must be empty before trimming, and before the write-ahead log is emptied.
const TRIM_AFTER: Duration = Duration::from_millis(5);
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

/// The answer to a request.
pub(crate) type Answer = oneshot::Sender<Result<(), LogError>>;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Write this; the permit is its room in the queue.
    Write(Change, Answer, OwnedSemaphorePermit),
    /// Make sure of topics.
    Ensure(Vec<TopicSpec>, Answer),
    /// Close the log.
    Stop(Answer),
}

/// The writer's state.
pub(crate) struct Writer {
    conn: Connection,
    file: PathBuf,
    catalog: Arc<Catalog>,
    requests: Receiver<Request>,
    held: VecDeque<Request>,
    trimmer: Trimmer,
    checkpoint_due: bool,
    last_forced: Option<Instant>,
    _lock: DirLock,
}

impl Writer {
    pub(crate) fn new(
        conn: Connection,
        file: PathBuf,
        catalog: Arc<Catalog>,
        requests: Receiver<Request>,
        lock: DirLock,
    ) -> Self {
        let trimmer = Trimmer::of(&catalog);
        Self {
            conn,
            file,
            catalog,
            requests,
            held: VecDeque::new(),
            trimmer,
            checkpoint_due: true,
            last_forced: None,
            _lock: lock,
        }
    }

    /// Serves until told to stop or nobody is left to ask.
    pub(crate) fn run(mut self) {
        loop {
            let served = match self.next_request() {
                Ok(request) => self.serve(request),
                Err(RecvTimeoutError::Timeout) => self.tidy(),
                Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(None),
            };
            if let ControlFlow::Break(answer) = served {
                return self.stop(answer);
            }
        }
    }

    fn next_request(&mut self) -> Result<Request, RecvTimeoutError> {
        if let Some(request) = self.held.pop_front() {
            return Ok(request);
        }
        if self.trimmer.debt() > 0 {
            return self.requests.recv_timeout(TRIM_AFTER);
        }
        if self.checkpoint_due {
            return self.requests.recv_timeout(CHECKPOINT_AFTER);
        }
        self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
    }

    fn serve(&mut self, request: Request) -> ControlFlow<Option<Answer>> {
        match request {
            Request::Write(change, answer, room) => self.write_group((change, answer, room)),
            Request::Ensure(specs, answer) => drop(answer.send(self.ensure(&specs))),
            Request::Stop(answer) => return ControlFlow::Break(Some(answer)),
        }
        ControlFlow::Continue(())
    }

    /// Writes a request together with those that wait behind it.
    fn write_group(&mut self, first: (Change, Answer, OwnedSemaphorePermit)) {
        let group = self.gather(first);
        let outcome = self.transact(&group);
        for (_, answer, room) in group {
            drop(room);
            drop(answer.send(outcome.clone()));
        }
        self.checkpoint_due = true;
        self.bound_wal();
    }

    fn gather(&mut self, first: (Change, Answer, OwnedSemaphorePermit)) -> Vec<(Change, Answer, OwnedSemaphorePermit)> {
        let (mut records, mut bytes) = (first.0.records(), first.0.bytes());
        let mut group = vec![first];
        while records < GROUP_RECORDS && bytes < GROUP_BYTES && self.held.is_empty() {
            match self.requests.try_recv() {
                Ok(Request::Write(change, answer, room)) => {
                    records += change.records();
                    bytes += change.bytes();
                    group.push((change, answer, room));
                }
                Ok(other) => self.held.push_back(other),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        group
    }

    fn transact(&mut self, group: &[(Change, Answer, OwnedSemaphorePermit)]) -> Result<(), LogError> {
        let said = |doing: &str, e: &rusqlite::Error| error::sqlite(&self.file, doing, e);
        let now = SystemClock.now();
        let mut draft = Draft::default();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| said("cannot write", &e))?;
        for (change, ..) in group {
            draft.write(&tx, change, now).map_err(|e| said("cannot write", &e))?;
        }
        draft.write_ends(&tx).map_err(|e| said("cannot write", &e))?;
        let records = group.iter().map(|(change, ..)| change.records() as u64).sum();
        let trimmed = trim_along(&self.trimmer, &tx, records).map_err(|e| said("cannot trim", &e))?;
        tx.commit().map_err(|e| said("cannot commit", &e))?;
        for (topic, lane) in draft.publish() {
            self.trimmer.notice(&topic, &lane);
        }
        trimmed.iter().for_each(|step| self.trimmer.done(step));
        Ok(())
    }

    fn ensure(&mut self, specs: &[TopicSpec]) -> Result<(), LogError> {
        specs.iter().try_for_each(|spec| self.ensure_one(spec))
    }

    fn ensure_one(&mut self, spec: &TopicSpec) -> Result<(), LogError> {
        if let Some(refusal) = refusal(&self.catalog, spec) {
            return Err(refusal);
        }
        let said = |e| error::sqlite(&self.file, format_args!("cannot make the topic {}", spec.name), &e);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(said)?;
        let topic = ensure_topic(&tx, &self.catalog, spec).map_err(said)?;
        tx.commit().map_err(said)?;
        topic.into_iter().for_each(|topic| self.catalog.put(topic));
        if let Some(topic) = self.catalog.get(&spec.name) {
            topic.set_retention(spec.retention.clone());
            topic.lanes.iter().for_each(|lane| self.trimmer.notice(&topic, lane));
        }
        Ok(())
    }

    /// One step of what is to do when nobody asks for anything.
    fn tidy(&mut self) -> ControlFlow<Option<Answer>> {
        if let Err(e) = self.tidy_step() {
            // Appends meet the same cause and report it; here it only delays the tidying.
            tracing::warn!(log = %self.file.display(), error = %e, "could not tidy the log");
            self.trimmer.give_up();
            self.checkpoint_due = false;
        }
        ControlFlow::Continue(())
    }

    fn tidy_step(&mut self) -> rusqlite::Result<()> {
        if self.trimmer.debt() > 0 {
            self.checkpoint_due = true;
            return self.trim();
        }
        if self.conn.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0))? > FREE_PAGES {
            return give_pages_back(&self.conn);
        }
        self.checkpoint_due = !checkpoint(&self.conn)?;
        Ok(())
    }

    fn trim(&mut self) -> rusqlite::Result<()> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let step = self.trimmer.step(&tx, TRIM_ROWS)?;
        tx.commit()?;
        step.iter().for_each(|step| self.trimmer.done(step));
        Ok(())
    }

    /// Readers that follow each other closely can keep SQLite from starting the write-ahead log anew: make it happen.
    fn bound_wal(&mut self) {
        let recent = self.last_forced.is_some_and(|at| at.elapsed() < CHECKPOINT_AFTER);
        if recent || file::wal_bytes(&self.file) < WAL_LIMIT_BYTES {
            return;
        }
        self.last_forced = Some(Instant::now());
        if let Err(e) = checkpoint(&self.conn) {
            tracing::warn!(log = %self.file.display(), error = %e, "could not empty the write-ahead log");
        }
    }

    /// Writes what is still queued, then closes the file.
    fn stop(mut self, answer: Option<Answer>) {
        while let Some(request) = self.held.pop_front().or_else(|| self.requests.try_recv().ok()) {
            if let ControlFlow::Break(Some(other)) = self.serve(request) {
                drop(other.send(Ok(())));
            }
        }
        let closed = close(self.conn).map_err(|e| error::sqlite(&self.file, "cannot close it", &e));
        drop(self._lock);
        answer.into_iter().for_each(|answer| drop(answer.send(closed.clone())));
    }
}

/// Trims as part of a busy transaction, at the pace at which it appends.
fn trim_along(trimmer: &Trimmer, conn: &Connection, appended: u64) -> rusqlite::Result<Option<Step>> {
    if trimmer.debt() < TRIM_ROWS {
        return Ok(None);
    }
    trimmer.step(conn, appended.max(TRIM_ROWS))
}

/// Moves the write-ahead log into the file and empties it; false when a reader is in the way.
fn checkpoint(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
}

fn give_pages_back(conn: &Connection) -> rusqlite::Result<()> {
    // Each step of the statement frees one page.
    let mut vacuum = conn.prepare_cached("PRAGMA incremental_vacuum(1024)")?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

fn close(conn: Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE state SET clean = 1", [])?;
    checkpoint(&conn)?;
    conn.close().map_err(|(_, e)| e)
}
