//! The exact append: every row once, whoever else appends and however a commit ends.
//!
//! 1. Drop from the batch what the table has at version S.
//! 2. Write the rest as data files, and commit them as version S+1 exactly: one put that fails if S+1 is there.
//! 3. Any error means *outcome unknown*: follow the commits after S, drop the keys that they added (our own commit may
//!    be one of them), and begin again. Nothing is ever committed blindly a second time.
//!
//! A writer may sleep (a stopped process, a suspended machine) between any two of its steps and wake when the log that
//! it knew has been cleaned, where a put of S+1 would succeed and be seen by nobody. So just before the put, and once
//! more after it, the view and the files must be younger than a quarter of the retention, and S+1 must be above the
//! last checkpoint; else all is discarded and redone at the table's present version.
//!
//! *Bounds*: one append at a time per table; at most 16 days in one commit, the rest follows in the next.
//! *Promises*: 1, 2 and 3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deltalake_core::kernel::transaction::CommitData;
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use longshore_core::row::{Key, Row};
use longshore_stages::ports::{Appended, LogPosition, TableError};
use object_store::path::Path;
use object_store::{PutMode, PutOptions};
use tokio::sync::MutexGuard;

use super::Inner;
use super::fault::{Fault, table_error};
use super::file::{DataChange, DataFile, Drafted, encode};
use super::options::Moment;
use super::rows::to_batch;
use super::shape::Shape;
use super::state::{FRESH, State, commit_path};
use crate::durable::Deadline;

/// Days, and so data files, in one commit.
const MOST_DAYS: usize = 16;
/// Tries without any progress before the caller is told to try later.
const MOST_FAILURES: u32 = 6;
/// The first pause after a put that changed nothing; it doubles.
const PAUSE: Duration = Duration::from_millis(5);

/// How a put of a commit ended.
pub(crate) enum Put {
    /// The commit is in the log.
    Landed,
    /// It may be, now or later.
    Unknown(TableError),
    /// It was not tried, because what it is based on is too old.
    Stale,
}

/// What goes into one commit.
pub(crate) struct Commit {
    pub(crate) actions: Vec<Action>,
    pub(crate) operation: DeltaOperation,
    pub(crate) transactions: Vec<Transaction>,
    /// When the oldest of its data files was begun.
    pub(crate) born: Moment,
}

/// The rows of one append that are not in the table yet.
struct Batch<'a> {
    pending: BTreeMap<Key, (i32, &'a Row)>,
    done: Appended,
    /// The files of every commit that was tried, in case it landed after all.
    tried: HashMap<Path, (Arc<DataFile>, Vec<Key>)>,
}

impl<'a> Batch<'a> {
    fn new(shape: &Shape, rows: &'a [Row]) -> Result<Self, TableError> {
        let mut batch = Batch { pending: BTreeMap::new(), done: Appended::default(), tried: HashMap::new() };
        for row in rows {
            let day = shape.check(row)?;
            match batch.pending.entry(row.key) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert((day, row))),
                std::collections::btree_map::Entry::Occupied(_) => batch.done.known += 1,
            }
        }
        Ok(batch)
    }

    fn keys(&self) -> Vec<Key> {
        self.pending.keys().copied().collect()
    }

    fn known(&mut self, key: &Key) {
        self.done.known += usize::from(self.pending.remove(key).is_some());
    }

    fn added(&mut self, key: &Key) {
        self.done.added += usize::from(self.pending.remove(key).is_some());
    }

    /// The days of the next commit, each with its rows in the order of their keys.
    fn next_days(&self) -> BTreeMap<i32, Vec<&'a Row>> {
        let days: BTreeSet<i32> = self.pending.values().map(|(day, _)| *day).collect();
        let mut chosen: BTreeMap<i32, Vec<&'a Row>> = days.into_iter().take(MOST_DAYS).map(|day| (day, Vec::new())).collect();
        for (day, row) in self.pending.values() {
            if let Some(rows) = chosen.get_mut(day) {
                rows.push(row);
            }
        }
        chosen
    }
}

impl Inner {
    pub(crate) async fn append(&self, rows: &[Row], positions: &[LogPosition]) -> Result<Appended, TableError> {
        let mut batch = Batch::new(&self.shape, rows)?;
        if batch.pending.is_empty() {
            return Ok(batch.done);
        }
        let mut state = self.state().await?;
        self.drop_known(&mut state, &mut batch).await?;
        let (mut failures, mut stale) = (0, 0);
        while !batch.pending.is_empty() {
            let before = state.version;
            match self.attempt(&mut state, &mut batch, positions).await? {
                Put::Landed => stale = 0,
                Put::Stale => {
                    stale += 1;
                    self.give_up_stale(stale)?;
                    self.reload(&mut state).await?;
                    self.drop_known(&mut state, &mut batch).await?;
                }
                Put::Unknown(error) => {
                    self.recover(&mut state, &mut batch).await?;
                    failures = if state.version > before { 0 } else { failures + 1 };
                    give_up(error, failures).await?;
                }
            }
        }
        Ok(batch.done)
    }

    /// A view or a file that is too old each time it was just made is no accident of sleep.
    fn give_up_stale(&self, stale: u32) -> Result<(), TableError> {
        if stale < MOST_FAILURES {
            return Ok(());
        }
        Err(TableError::Unavailable(format!(
            "writing to the table at {} took longer than a quarter of its retention, {stale} times in a row: the store is too slow, or the clock jumps",
            self.root.display()
        )))
    }

    /// The view, for a writer. One that is some seconds old is brought up to date first, which spares a commit that
    /// would lose.
    pub(crate) async fn state(&self) -> Result<MutexGuard<'_, State>, TableError> {
        let mut state = self.state.lock().await;
        if state.confirmed.age(&self.options) > FRESH {
            self.refresh(&mut state).await?;
        }
        Ok(state)
    }

    /// Brings the view up to date.
    pub(crate) async fn refresh(&self, state: &mut State) -> Result<(), TableError> {
        match self.follow(state).await {
            Ok(_) => Ok(()),
            Err(Fault::Gone(_)) => self.reload(state).await,
            Err(fault) => Err(fault.into_table_error(&self.root.display())),
        }
    }

    /// Step 1, over the whole table.
    async fn drop_known(&self, state: &mut State, batch: &mut Batch<'_>) -> Result<(), TableError> {
        loop {
            let files = state.list();
            match self.drop_held(state, &files, batch).await {
                Err(Fault::Gone(what)) => {
                    let before = state.version;
                    self.reload(state).await?;
                    if state.version == before {
                        return Err(Fault::Gone(what).into_table_error(&self.root.display()));
                    }
                }
                other => return other.map_err(|fault| fault.into_table_error(&self.root.display())),
            }
        }
    }

    /// Drops what these files hold. A file of ours among them is a commit that landed.
    async fn drop_held(&self, state: &mut State, files: &[Arc<DataFile>], batch: &mut Batch<'_>) -> Result<(), Fault> {
        let (own, others): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|f| batch.tried.contains_key(&f.path));
        for file in own {
            self.landed(state, batch, &file.path);
        }
        let keys = batch.keys();
        let held = self.lookup.holds(&others, &keys).await?;
        keys.iter().zip(held).filter(|(_, held)| *held).for_each(|(key, _)| batch.known(key));
        Ok(())
    }

    /// A file that we wrote is part of the table: its rows are added, and its keys are remembered.
    fn landed(&self, state: &mut State, batch: &mut Batch<'_>, path: &Path) {
        let Some((file, keys)) = batch.tried.remove(path) else { return };
        self.lookup.remember(&file, &keys);
        if state.files.contains_key(path) {
            state.insert(file);
        }
        keys.iter().for_each(|key| batch.added(key));
    }

    /// Step 2.
    async fn attempt(&self, state: &mut State, batch: &mut Batch<'_>, positions: &[LogPosition]) -> Result<Put, TableError> {
        let born = self.options.moment();
        let drafted = self.write(batch).await?;
        let now = self.options.now_ms();
        let actions = drafted.iter().map(|(d, _)| Action::Add(d.add(&self.shape, now, DataChange::Yes))).collect();
        let transactions = positions.iter().map(|p| transaction(p, now)).collect();
        let mut paths = Vec::new();
        for (draft, keys) in drafted {
            paths.push(draft.file.path.clone());
            batch.tried.insert(draft.file.path.clone(), (Arc::new(draft.file), keys));
        }
        let put = self.commit(state, Commit { actions, operation: self.write_operation(), transactions, born }).await?;
        if matches!(put, Put::Landed) {
            for path in paths {
                if let Some((file, _)) = batch.tried.get(&path) {
                    state.insert(file.clone());
                }
                self.landed(state, batch, &path);
            }
        }
        Ok(put)
    }

    fn write_operation(&self) -> DeltaOperation {
        let partition_by = Some(vec![self.shape.partition_name().to_owned()]);
        DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None }
    }

    /// Writes the next days' rows, one file a day.
    async fn write(&self, batch: &Batch<'_>) -> Result<Vec<(Drafted, Vec<Key>)>, TableError> {
        let mut encoded = Vec::new();
        for (day, rows) in batch.next_days() {
            let arrow = to_batch(&self.shape, &rows).map_err(|e| table_error("encoding rows", &e))?;
            let (draft, bytes) = encode(&self.shape, day, &arrow)?;
            encoded.push((draft, bytes, rows.iter().map(|row| row.key).collect::<Vec<_>>()));
        }
        let puts = encoded.into_iter().map(|(draft, bytes, keys)| async move {
            self.put_file(&draft.file.path, bytes).await?;
            Ok((draft, keys))
        });
        futures::future::try_join_all(puts).await
    }

    async fn put_file(&self, path: &Path, bytes: Bytes) -> Result<(), TableError> {
        let what = || format!("writing {path} of the table at {}", self.root.display());
        self.put_new(path, bytes).await.map_err(|e| table_error(&what(), &e))
    }

    /// One put-if-absent within the timeout.
    pub(crate) async fn put_new(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        let limit = self.options.put_timeout;
        let mut options = PutOptions::from(PutMode::Create);
        options.extensions.insert(Deadline(SystemTime::now() + limit));
        let timed_out = || object_store::Error::Generic { store: "table", source: format!("no answer within {limit:?}").into() };
        match tokio::time::timeout(limit, self.store.put_opts(path, bytes.into(), options)).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(timed_out()),
        }
    }

    /// Puts version S+1. The view advances only when it is certain that the commit is in the log.
    pub(crate) async fn commit(&self, state: &mut State, commit: Commit) -> Result<Put, TableError> {
        let version = state.version + 1;
        let failed = |e: &(dyn std::error::Error + 'static)| {
            table_error(&format!("committing version {version} of {}", self.root.display()), e)
        };
        let data = CommitData::new(commit.actions, commit.operation, HashMap::new(), commit.transactions);
        let bytes = data.get_bytes().map_err(|e| failed(&e))?;
        if state.confirmed.age(&self.options) > FRESH && self.last_checkpoint().await? >= version {
            return Ok(Put::Stale);
        }
        if self.is_stale(state, state.confirmed) || self.is_stale(state, commit.born) {
            return Ok(Put::Stale);
        }
        let started = self.options.moment();
        match self.put_new(&commit_path(version), bytes).await {
            Ok(()) if self.is_stale(state, started) => Ok(Put::Unknown(TableError::Unavailable(format!(
                "this process slept while it committed version {version} of {}",
                self.root.display()
            )))),
            Ok(()) => {
                (state.version, state.confirmed) = (version, started);
                Ok(Put::Landed)
            }
            Err(e) => Ok(Put::Unknown(failed(&e))),
        }
    }

    fn is_stale(&self, state: &State, since: Moment) -> bool {
        since.age(&self.options) > state.stale_after
    }

    /// Step 3. When a commit or a file that would have to be read is gone, the whole table is asked again.
    async fn recover(&self, state: &mut State, batch: &mut Batch<'_>) -> Result<(), TableError> {
        let followed = match self.follow(state).await {
            Ok(added) => self.drop_held(state, &added, batch).await,
            Err(fault) => Err(fault),
        };
        match followed {
            Ok(()) => Ok(()),
            Err(Fault::Gone(_)) => {
                self.reload(state).await?;
                self.drop_known(state, batch).await
            }
            Err(fault) => Err(fault.into_table_error(&self.root.display())),
        }
    }
}

/// After a put that nobody's commit explains: pause, or tell the caller.
async fn give_up(error: TableError, failures: u32) -> Result<(), TableError> {
    if failures == 0 {
        return Ok(());
    }
    if failures >= MOST_FAILURES || matches!(error, TableError::Fatal(_)) {
        return Err(error);
    }
    tracing::debug!(%error, failures, "a commit's outcome is unknown and nothing landed; trying again");
    tokio::time::sleep(PAUSE * 2_u32.pow(failures - 1)).await;
    Ok(())
}

fn transaction(position: &LogPosition, now_ms: i64) -> Transaction {
    let watermark = i64::try_from(position.watermark).unwrap_or(i64::MAX);
    Transaction::new_with_last_update(format!("longshore:{}", position.partition), watermark, Some(now_ms))
}
