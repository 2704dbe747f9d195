//! The exact inventory: Delta tables to which every row is appended once by key, for ever, without a state store.
//!
//! Every data file carries Bloom filters on its key, and a commit is a compare-and-swap on the table's version. The
//! modules, from the protocol down:
//!
//! - `append`: the protocol: drop what is known, commit as S+1, treat every error as *outcome unknown*
//! - `lookup`, `digest`, `cache`: which files hold these keys
//! - `state`, `guard`: the view of the table, how it advances, and what it refuses
//! - `engine`: how the library reads the log
//! - `file`, `stats`, `rows`, `shape`: data files, and rows in them
//! - `upkeep`, `compact`, `merge`: checkpoints, log clean-up, compaction and vacuum
//! - `scan`: reading the rows
//! - `probe`: does the store create atomically at all?
//!
//! *Memory*, whatever the size of the table: `Options::filter_memory` + `Options::key_memory` + 8 MiB of footers, about
//! 300 bytes for each active file and 60 for each row group, the rows of the batch in hand twice, and what two merges hold
//! (see `merge`; 15 MiB of inputs as they lie on disk).

mod append;
mod cache;
mod compact;
mod digest;
mod engine;
mod fault;
mod file;
mod guard;
mod lookup;
mod merge;
mod options;
mod probe;
mod root;
mod rows;
mod scan;
mod shape;
mod state;
mod stats;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use longshore_core::row::{Key, Row, TableSpec};
use longshore_stages::ports::{Appended, LogPosition, Table, TableError};
use object_store::ObjectStore;
use tokio::sync::Mutex;

use self::fault::{Fault, table_error};
use self::lookup::Lookup;
use self::shape::Shape;
use self::state::State;
use self::upkeep::Upkeep;

pub use self::compact::Compacted;
pub use self::options::Options;
pub use self::root::Root;
pub use self::rows::to_cells;
pub use self::upkeep::{Checkpointed, Vacuumed};
pub use deltalake_core::arrow;

/// The tables of one place: each in a directory of its name.
#[derive(Clone)]
pub struct DeltaTables {
    root: Root,
    options: Options,
}

impl DeltaTables {
    /// Tables below `root`, all kept with these options.
    pub fn new(root: Root, options: Options) -> Self {
        DeltaTables { root, options }
    }

    /// Opens or creates the table of this shape. See [`ExactTable::open`].
    ///
    /// # Errors
    /// Those of [`ExactTable::open`].
    pub async fn open(&self, spec: TableSpec) -> Result<ExactTable, TableError> {
        ExactTable::open(self.root.child(&spec.name), spec, self.options.clone()).await
    }

    /// Opens the table of this shape for reading. See [`ExactTable::open_read_only`].
    ///
    /// # Errors
    /// Those of [`ExactTable::open_read_only`].
    pub async fn open_read_only(&self, spec: TableSpec) -> Result<Option<ExactTable>, TableError> {
        ExactTable::open_read_only(self.root.child(&spec.name), spec, self.options.clone()).await
    }
}

/// One Delta table. Cheap to clone; the clones share one view of the table.
#[derive(Clone)]
pub struct ExactTable {
    inner: Arc<Inner>,
}

/// Whether the table may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    Write,
}

pub(crate) struct Inner {
    root: Root,
    store: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    shape: Arc<Shape>,
    options: Options,
    lookup: Lookup,
    access: Access,
    /// Held for the whole of an append: commits of one process never contend with each other.
    state: Mutex<State>,
    /// Held by whoever merges small files.
    small_merges: Mutex<()>,
    /// Held by whoever merges larger ones, checkpoints or vacuums.
    upkeep: Mutex<()>,
    schedule: Upkeep,
}

impl ExactTable {
    /// Opens the table at `root`, creating it if there is none. Tests the store once per place.
    ///
    /// # Errors
    /// `Fatal` when something else stands there, the table is not of this shape, or the store does not create
    /// atomically; `Unavailable` when the store cannot be reached.
    pub async fn open(root: Root, spec: TableSpec, options: Options) -> Result<Self, TableError> {
        root.sweep().await;
        let inner = Inner::unopened(root, spec, options, Access::Write);
        probe::check(&inner.root, &inner.store).await?;
        let state = match inner.load().await? {
            Some(state) => state,
            None => inner.create().await?,
        };
        inner.schedule.checkpoint.store(inner.last_checkpoint().await?, std::sync::atomic::Ordering::Relaxed);
        Ok(inner.opened(state))
    }

    /// Opens the table at `root` without ever writing to it; nothing if there is none.
    ///
    /// # Errors
    /// As [`ExactTable::open`].
    pub async fn open_read_only(root: Root, spec: TableSpec, options: Options) -> Result<Option<Self>, TableError> {
        let inner = Inner::unopened(root, spec, options, Access::ReadOnly);
        Ok(inner.load().await?.map(|state| inner.opened(state)))
    }

    /// The version that this process has seen.
    pub async fn version(&self) -> u64 {
        self.inner.state.lock().await.version
    }

    /// Where the table is: a path on a local disk, else the URL.
    pub fn location(&self) -> String {
        self.inner.root.display()
    }

    /// The table's shape.
    pub fn spec(&self) -> &TableSpec {
        &self.inner.shape.spec
    }
}

impl Inner {
    fn unopened(root: Root, spec: TableSpec, options: Options, access: Access) -> Unopened {
        let (store, log, shape) = (root.scoped(), root.log_store(), Arc::new(Shape::new(spec)));
        let lookup = Lookup::new(store.clone(), shape.clone(), &options);
        let nothing =
            State { version: 0, files: Arc::default(), confirmed: options.moment(), stale_after: options.retention / 4 };
        let (small_merges, upkeep) = (Mutex::new(()), Mutex::new(()));
        let schedule = Upkeep::new(options.moment());
        let state = Mutex::new(nothing);
        Unopened(Inner { root, store, log, shape, options, lookup, access, state, small_merges, upkeep, schedule })
    }

    async fn create(&self) -> Result<State, TableError> {
        let what = || format!("creating a table at {}", self.root.display());
        let interval = Some(self.options.interval());
        let created = CreateBuilder::new()
            .with_log_store(self.log.clone())
            .with_table_name(&self.shape.spec.name)
            .with_columns(self.shape.delta_columns())
            .with_partition_columns([self.shape.partition_name()])
            .with_configuration([
                ("delta.logRetentionDuration", interval.clone()),
                ("delta.deletedFileRetentionDuration", interval),
            ])
            .with_save_mode(SaveMode::Ignore)
            .await;
        // Whoever else created it meanwhile: what is there now decides.
        let there = self.load().await?;
        there.ok_or_else(|| match created {
            Err(error) => table_error(&what(), &error),
            Ok(_) => TableError::Unavailable(format!("{}: it is gone again", what())),
        })
    }

    fn may_write(&self) -> Result<(), TableError> {
        match self.access {
            Access::Write => Ok(()),
            Access::ReadOnly => {
                Err(TableError::Fatal(format!("the table at {} was opened for reading only", self.root.display())))
            }
        }
    }

    async fn known(&self, keys: &[Key]) -> Result<Vec<bool>, TableError> {
        loop {
            let (version, files) = {
                let mut state = self.state.lock().await;
                self.refresh(&mut state).await?;
                (state.version, state.list())
            };
            match self.lookup.holds(&files, keys).await {
                Err(Fault::Gone(what)) => {
                    let mut state = self.state.lock().await;
                    self.reload(&mut state).await?;
                    if state.version == version {
                        return Err(Fault::Gone(what).into_table_error(&self.root.display()));
                    }
                }
                other => return other.map_err(|fault| fault.into_table_error(&self.root.display())),
            }
        }
    }
}

/// A table without its view.
struct Unopened(Inner);

impl std::ops::Deref for Unopened {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Unopened {
    fn opened(self, state: State) -> ExactTable {
        ExactTable { inner: Arc::new(Inner { state: Mutex::new(state), ..self.0 }) }
    }
}

#[async_trait]
impl Table for ExactTable {
    async fn append(&self, rows: &[Row], positions: &[LogPosition]) -> Result<Appended, TableError> {
        self.inner.may_write()?;
        self.inner.append(rows, positions).await
    }

    async fn known(&self, keys: &[Key]) -> Result<Vec<bool>, TableError> {
        self.inner.known(keys).await
    }

    async fn maintain(&self) -> Result<(), TableError> {
        self.maintain_now().await
    }
}
