//! What keeps a table cheap while it grows: checkpoints, log clean-up, compaction and vacuum.
//!
//! *Owns*: when each is due, and the two background tasks that do them: one merges the small files, to which each
//! commit adds, so that these stay few while the other merges large ones for seconds, and covers what look-ups still ask by
//! itself (see `digest`). `maintain` only looks and starts them, so appends never wait for more than one commit of each.
//! *Never deletes* anything younger than the retention: neither a file that an older version still names, nor one that
//! nobody names yet.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deltalake_core::DeltaTable;
use deltalake_core::protocol::checkpoints;
use deltalake_core::table::config::TablePropertiesExt;
use futures::TryStreamExt;
use longshore_stages::ports::TableError;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;

use super::compact::{Compacted, Zeal};
use super::fault::{Fault, table_error};
use super::options::Moment;
use super::state::{State, is_hidden};
use super::{ExactTable, Inner};

/// Files of fewer rows are merged when a table is closed.
const TIDY_ROWS: u64 = 262_144;
/// A table that is closed gets a checkpoint if it has so many commits since the last.
const TIDY_COMMITS: u64 = 10;

/// What a vacuum did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vacuumed {
    /// Files that were deleted.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpointed {
    /// The version that readers now start from.
    pub version: u64,
    /// Expired log entries that were deleted.
    pub log_files_deleted: usize,
}

/// What happened last, and the tasks in flight.
pub(crate) struct Upkeep {
    pub(crate) checkpoint: AtomicU64,
    jobs: std::sync::Mutex<Jobs>,
}

type Task = JoinHandle<Result<(), TableError>>;

struct Jobs {
    /// Merges small files.
    small: Option<Task>,
    /// Does all else.
    large: Option<Task>,
    vacuumed: Moment,
}

impl Upkeep {
    pub(crate) fn new(now: Moment) -> Self {
        Upkeep { checkpoint: AtomicU64::new(0), jobs: std::sync::Mutex::new(Jobs { small: None, large: None, vacuumed: now }) }
    }
}

impl ExactTable {
    /// Writes a checkpoint of the present version and deletes log entries that have expired.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn checkpoint_now(&self) -> Result<Checkpointed, TableError> {
        self.inner.may_write()?;
        let _turn = self.inner.upkeep.lock().await;
        self.inner.checkpoint().await
    }

    /// Deletes files that left the table, or never became part of it, longer ago than the retention.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn vacuum_now(&self) -> Result<Vacuumed, TableError> {
        self.inner.may_write()?;
        let _turn = self.inner.upkeep.lock().await;
        self.inner.vacuum().await
    }

    /// Waits for the upkeep in flight and leaves a tidy table: small files merged, a checkpoint if many commits came
    /// since the last. The table can still be used.
    ///
    /// # Errors
    /// Those of the store; the rows are safe whatever it returns.
    pub async fn close(&self) -> Result<(), TableError> {
        self.inner.may_write()?;
        let running = {
            let mut jobs = self.inner.jobs();
            [jobs.small.take(), jobs.large.take()]
        };
        all_ended(running).await?;
        let _turns = self.inner.both_turns().await;
        let _: Compacted = self.inner.compact(Zeal::AllBelow(TIDY_ROWS)).await?;
        let commits = self.inner.commits_since_checkpoint(&*self.inner.state().await?);
        if commits >= TIDY_COMMITS {
            self.inner.checkpoint().await?;
        }
        Ok(())
    }

    /// Starts what is due. An error of the last run is reported here once.
    pub(crate) async fn maintain_now(&self) -> Result<(), TableError> {
        self.inner.may_write()?;
        let finished = {
            let mut jobs = self.inner.jobs();
            [jobs.small.take_if(|task| task.is_finished()), jobs.large.take_if(|task| task.is_finished())]
        };
        all_ended(finished).await?;
        let mut jobs = self.inner.jobs();
        let Some(due) = self.inner.due(&jobs) else { return Ok(()) };
        if due.small {
            let inner = self.inner.clone();
            jobs.small = Some(tokio::spawn(async move { inner.merge_small().await }));
        }
        if due.large || due.vacuum {
            if due.vacuum {
                jobs.vacuumed = self.inner.options.moment();
            }
            let inner = self.inner.clone();
            jobs.large = Some(tokio::spawn(async move { inner.run(due.vacuum).await }));
        }
        Ok(())
    }
}

/// Waits for all of them; the first error is what came of it.
async fn all_ended(tasks: [Option<Task>; 2]) -> Result<(), TableError> {
    let mut all = Ok(());
    for task in tasks.into_iter().flatten() {
        let one = ended(task).await;
        all = all.and(one);
    }
    all
}

async fn ended(task: Task) -> Result<(), TableError> {
    match task.await {
        Ok(Err(TableError::Unavailable(error))) => {
            tracing::warn!(%error, "upkeep of a table did not succeed and is tried again later");
            Ok(())
        }
        Ok(result) => result,
        Err(error) => Err(TableError::Unavailable(format!("upkeep of a table broke off: {error}"))),
    }
}

/// What is to be started.
#[derive(Debug, Clone, Copy)]
struct Due {
    small: bool,
    /// A large merge, a checkpoint, or a file to cover.
    large: bool,
    vacuum: bool,
}

impl Inner {
    fn jobs(&self) -> std::sync::MutexGuard<'_, Jobs> {
        self.schedule.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// No task of upkeep goes on while these are held.
    pub(crate) async fn both_turns(&self) -> (MutexGuard<'_, ()>, MutexGuard<'_, ()>) {
        (self.small_merges.lock().await, self.upkeep.lock().await)
    }

    /// Looks without waiting: while anybody holds the table, nothing is due, and nothing for a task that goes on.
    fn due(&self, jobs: &Jobs) -> Option<Due> {
        let state = self.state.try_lock().ok()?;
        let free = jobs.large.is_none();
        Some(Due {
            small: jobs.small.is_none() && self.compaction_due(&state, Zeal::Small),
            large: free
                && (self.checkpoint_due(&state)
                    || self.compaction_due(&state, Zeal::Large)
                    || self.lookup.worth_covering(state.files.values()).is_some()),
            vacuum: free && jobs.vacuumed.age(&self.options) > self.vacuum_period(),
        })
    }

    fn checkpoint_due(&self, state: &State) -> bool {
        self.commits_since_checkpoint(state) >= self.options.checkpoint_every
    }

    fn commits_since_checkpoint(&self, state: &State) -> u64 {
        state.version.saturating_sub(self.schedule.checkpoint.load(Ordering::Relaxed))
    }

    fn vacuum_period(&self) -> Duration {
        (self.options.retention / 24).max(Duration::from_secs(1))
    }

    async fn merge_small(&self) -> Result<(), TableError> {
        let _turn = self.small_merges.lock().await;
        self.compact(Zeal::Small).await.map(drop)
    }

    /// Large merges are many in a row when there is much to do: a checkpoint waits for one of them at most. What look-ups
    /// still ask by itself is covered when all else is done.
    async fn run(&self, vacuum: bool) -> Result<(), TableError> {
        let _turn = self.upkeep.lock().await;
        if vacuum {
            self.vacuum().await?;
        }
        loop {
            let checkpoint = self.checkpoint_due(&*self.state().await?);
            if checkpoint {
                self.checkpoint().await?;
            }
            if self.compact_next(Zeal::Large).await?.is_none() && !self.cover_next().await? {
                return Ok(());
            }
        }
    }

    /// Whether a file was covered.
    async fn cover_next(&self) -> Result<bool, TableError> {
        let Some(file) = self.lookup.worth_covering(self.state().await?.files.values()) else { return Ok(false) };
        match self.lookup.cover(&file).await {
            Ok(()) => Ok(true),
            // It is no longer part of the table.
            Err(Fault::Gone(_)) => Ok(false),
            Err(fault) => Err(fault.into_table_error(&self.root.display())),
        }
    }

    async fn loaded(&self) -> Result<DeltaTable, TableError> {
        let mut table = DeltaTable::new(self.log.clone());
        table.load().await.map_err(|e| table_error(&format!("loading the table at {}", self.root.display()), &e))?;
        Ok(table)
    }

    pub(crate) async fn checkpoint(&self) -> Result<Checkpointed, TableError> {
        let failed =
            |e: &deltalake_core::DeltaTableError| table_error(&format!("writing a checkpoint of {}", self.root.display()), e);
        let table = self.loaded().await?;
        let version = table.version().unwrap_or(0);
        checkpoints::create_checkpoint(&table, None).await.map_err(|e| failed(&e))?;
        self.schedule.checkpoint.fetch_max(version, Ordering::Relaxed);
        let log_files_deleted = checkpoints::cleanup_metadata(&table, None).await.map_err(|e| failed(&e))?;
        tracing::debug!(table = %self.shape.spec.name, version, log_files_deleted, "checkpoint");
        Ok(Checkpointed { version, log_files_deleted })
    }

    pub(crate) async fn vacuum(&self) -> Result<Vacuumed, TableError> {
        let what = || format!("vacuuming the table at {}", self.root.display());
        let table = self.loaded().await?;
        let snapshot = table.snapshot().map_err(|e| table_error(&what(), &e))?;
        let retention = self.options.retention.max(snapshot.table_config().deleted_file_retention_duration());
        let cutoff = self.options.now_ms() - i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let mut kept: HashSet<Path> = snapshot.log_data().iter().map(|view| view.object_store_path()).collect();
        let tombstones = snapshot.all_tombstones(self.log.as_ref());
        let young = tombstones.try_filter(|t| std::future::ready(t.deletion_timestamp().is_none_or(|at| at >= cutoff)));
        let young: Vec<_> =
            young.map_ok(|t| Path::parse(t.path().as_ref())).try_collect().await.map_err(|e| table_error(&what(), &e))?;
        kept.extend(young.into_iter().flatten());
        let expired = |object: &ObjectMeta| {
            let old = object.last_modified.timestamp_millis() < cutoff;
            std::future::ready(old && !is_hidden(&object.location) && !kept.contains(&object.location))
        };
        let objects: Vec<ObjectMeta> =
            self.store.list(None).try_filter(expired).try_collect().await.map_err(|e| table_error(&what(), &e))?;
        let mut done = Vacuumed::default();
        for object in objects {
            match self.store.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(table_error(&what(), &e)),
            }
            done = Vacuumed { files: done.files + 1, bytes: done.bytes + object.size };
        }
        self.root.sweep().await;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::row::{Cell, Column, Key, Kind, Row, TableSpec};
    use longshore_stages::ports::{Appended, Table};
    use uuid::Uuid;

    use super::*;
    use crate::durable::DiskSync;
    use crate::table::{Options, Root};

    fn spec() -> TableSpec {
        let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false };
        TableSpec {
            name: "ids".into(),
            columns: vec![column("id", Kind::Text), column("day", Kind::Date)],
            key_id: 0,
            key_sequence: None,
            filtered: vec![0],
            partition: 1,
        }
    }

    fn rows(numbers: std::ops::Range<u64>) -> Vec<Row> {
        let key = |n: u64| Key { id: Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n), sequence: 0 };
        let row = |key: Key| Row { key, cells: vec![Cell::Text(key.id.to_string()), Cell::Date(20_780)] };
        numbers.map(key).map(row).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn files_that_this_process_did_not_write_are_asked_by_themselves_for_a_while_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = async || {
            let root = Root::local(directory.path(), DiskSync::Off).expect("a directory");
            ExactTable::open(root, spec(), Options::default()).await.expect("a table")
        };
        let append = async |table: &ExactTable, rows: &[Row]| table.append(rows, &[]).await.expect("it goes in");
        let earlier = open().await;
        for from in [0, 2_000, 4_000] {
            append(&earlier, &rows(from..from + 2_000)).await;
        }
        let table = open().await;
        let uncovered = async || {
            let files = table.inner.state().await.expect("it is there").list();
            let covered = table.inner.lookup.digest.ask(files.iter().map(|file| file.id), &[]).covered;
            covered.into_iter().filter(|covered| !covered).count()
        };
        assert_eq!(uncovered().await, 3);
        for n in 10_000..10_200 {
            assert_eq!(append(&table, &rows(n..n + 1)).await.added, 1);
            table.maintain().await.expect("it goes well");
            if uncovered().await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(uncovered().await, 0);
        assert_eq!(append(&table, &rows(0..6_001)).await, Appended { added: 1, known: 6_000 });
    }
}
