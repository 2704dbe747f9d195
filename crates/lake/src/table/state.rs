//! The committer's own view of a table: its version and its active files.
//!
//! *Owns*: loading the view once through the library, and advancing it by reading S+1, S+2, … by name. The hot path
//! never lists and never builds a snapshot again.
//! *Memory*: about 300 bytes for each active file, and 60 for each of its row groups once asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltalake_core::kernel::{Add, LogicalFileView, Remove};
use deltalake_core::table::config::TablePropertiesExt;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use longshore_stages::ports::TableError;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use serde_json::Value;

use super::fault::{Fault, table_error};
use super::file::DataFile;
use super::guard;
use super::options::Moment;
use super::shape::parse_day;
use super::{Access, Inner};

/// Tries at loading a table while others clean its log.
const LOADS: u32 = 3;
/// A view older than this is brought up to date before it is used.
pub(crate) const FRESH: Duration = Duration::from_secs(5);

/// Files by their path.
pub(crate) type Files = BTreeMap<Path, Arc<DataFile>>;

/// The table as of one version.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) files: Arc<Files>,
    /// When it was last seen that no later version existed.
    pub(crate) confirmed: Moment,
    /// The age at which the view, or an uncommitted file, is discarded: a quarter of the shortest time for which
    /// anybody who keeps to the table's properties keeps log entries and files.
    pub(crate) stale_after: Duration,
}

impl State {
    pub(crate) fn list(&self) -> Vec<Arc<DataFile>> {
        self.files.values().cloned().collect()
    }

    pub(crate) fn insert(&mut self, file: Arc<DataFile>) {
        Arc::make_mut(&mut self.files).insert(file.path.clone(), file);
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        Arc::make_mut(&mut self.files).remove(path);
    }
}

/// One line of a commit: the actions that concern us.
#[derive(Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    #[serde(rename = "metaData")]
    metadata: Option<Value>,
    protocol: Option<Value>,
}

/// Where the commit of a version lies (Delta protocol, §Delta Log Entries).
pub(crate) fn commit_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

impl Inner {
    /// Reads the table as it is now; nothing if there is none.
    pub(crate) async fn load(&self) -> Result<Option<State>, TableError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_load().await {
                Err(error) if tries < LOADS => tracing::debug!(%error, "loading the table again"),
                Err(error) => return Err(self.unreadable(&error)),
                Ok(None) => return self.refuse_foreign_files().await.map(|()| None),
                Ok(Some((table, started))) => return self.view(&table, started).await.map(Some),
            }
        }
    }

    async fn try_load(&self) -> Result<Option<(DeltaTable, Moment)>, DeltaTableError> {
        let started = self.options.moment();
        if !self.log.is_delta_table_location().await? {
            return Ok(None);
        }
        let mut table = DeltaTable::new(self.log.clone());
        table.load().await?;
        Ok(Some((table, started)))
    }

    /// The library loads nothing that it does not understand: such a table is not ours. Troubles of the store pass.
    fn unreadable(&self, error: &DeltaTableError) -> TableError {
        let what = format!("loading the table at {}", self.root.display());
        let of_the_store = format!("{error:?}").contains("ObjectStore") || format!("{error:?}").contains("IOError");
        match table_error(&what, error) {
            TableError::Unavailable(text) if !of_the_store => {
                TableError::Fatal(format!("{text}. Move what is there away, or choose another place"))
            }
            sorted => sorted,
        }
    }

    async fn refuse_foreign_files(&self) -> Result<(), TableError> {
        let first = self.store.list(None).try_filter(|o| std::future::ready(!is_hidden(&o.location))).try_next().await;
        match first.map_err(|e| table_error(&format!("looking at {}", self.root.display()), &e))? {
            None => Ok(()),
            Some(object) => Err(TableError::Fatal(format!(
                "{} holds files but no table ({} is one of them). Move them away, or choose another place",
                self.root.display(),
                object.location
            ))),
        }
    }

    async fn view(&self, table: &DeltaTable, confirmed: Moment) -> Result<State, TableError> {
        let failed = |e: &DeltaTableError| table_error(&format!("loading the table at {}", self.root.display()), e);
        let snapshot = table.snapshot().map_err(|e| failed(&e))?;
        let place = self.root.display();
        guard::check_protocol(&place, &to_value(snapshot.protocol())?)?;
        guard::check_metadata(&place, &self.shape, &to_value(snapshot.metadata())?)?;
        let views = snapshot.snapshot().file_views(self.log.as_ref(), None);
        let views: Vec<_> = views.try_collect().await.map_err(|e| failed(&e))?;
        let files = views.iter().map(|view| self.to_file(&Listed::from(view))).collect::<Result<Vec<_>, _>>()?;
        let files = files.into_iter().map(|file| (file.path.clone(), file)).collect();
        let properties = snapshot.table_config();
        let kept = properties.log_retention_duration().min(properties.deleted_file_retention_duration());
        self.check_retention(kept)?;
        let stale_after = kept.min(self.options.retention) / 4;
        Ok(State { version: snapshot.version(), files: Arc::new(files), confirmed, stale_after })
    }

    /// A write must fit into a quarter of the retention, else none can ever be known to be safe.
    fn check_retention(&self, kept: Duration) -> Result<(), TableError> {
        let enough = (4 * self.options.put_timeout).min(self.options.retention);
        if kept >= enough || self.access == Access::ReadOnly {
            return Ok(());
        }
        Err(TableError::Fatal(format!(
            "the table at {} keeps its log or its deleted files for {} s only, so that a file may be deleted before it is committed. \
             Set its properties delta.logRetentionDuration and delta.deletedFileRetentionDuration to 'interval 1 days', \
             or choose another place",
            self.root.display(),
            kept.as_secs()
        )))
    }

    /// Reads the table anew, keeping what is remembered of files that are still there.
    pub(crate) async fn reload(&self, state: &mut State) -> Result<(), TableError> {
        let gone = || {
            TableError::Fatal(format!(
                "the table at {} is gone. Restore it, or run again to create a new one",
                self.root.display()
            ))
        };
        let mut fresh = self.load().await?.ok_or_else(gone)?;
        for (path, file) in Arc::make_mut(&mut fresh.files) {
            if let Some(known) = state.files.get(path) {
                *file = known.clone();
            }
        }
        tracing::debug!(table = %self.shape.spec.name, from = state.version, to = fresh.version, "reloaded");
        *state = fresh;
        self.lookup.forget_all_but(state.files.values().map(|file| file.id));
        Ok(())
    }

    /// Advances the view by the commits after it; returns the files that these added with new rows, also those that
    /// were removed again.
    pub(crate) async fn follow(&self, state: &mut State) -> Result<Vec<Arc<DataFile>>, Fault> {
        let mut added = Vec::new();
        loop {
            if state.confirmed.age(&self.options) > state.stale_after {
                return Err(Fault::Gone(format!("version {} was seen too long ago", state.version)));
            }
            let started = self.options.moment();
            let Some(bytes) = self.read_commit(state.version + 1).await? else {
                state.confirmed = started;
                return Ok(added);
            };
            self.apply(state, &bytes, &mut added)?;
        }
    }

    async fn read_commit(&self, version: u64) -> Result<Option<Bytes>, Fault> {
        let path = commit_path(version);
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Fault::Table(table_error(&format!("reading {path} of {}", self.root.display()), &e))),
        }
    }

    fn apply(&self, state: &mut State, bytes: &[u8], added: &mut Vec<Arc<DataFile>>) -> Result<(), Fault> {
        let place = self.root.display();
        let lines = self.parse(state.version + 1, bytes)?;
        for line in &lines {
            line.protocol.as_ref().map_or(Ok(()), |p| guard::check_protocol(&place, p))?;
            line.metadata.as_ref().map_or(Ok(()), |m| guard::check_metadata(&place, &self.shape, m))?;
        }
        if lines.iter().any(|line| line.metadata.is_some()) {
            // Still our table, but its retention may have changed.
            return Err(Fault::Gone(format!("version {} changes the table's properties", state.version + 1)));
        }
        let removed = lines.iter().filter_map(|l| l.remove.as_ref()).map(|r| to_path(&r.path));
        let removed: Vec<Path> = removed.collect();
        let adds = lines.iter().filter_map(|l| l.add.as_ref());
        let files =
            adds.map(|add| Ok((add.data_change, self.to_file(&Listed::from(add))?))).collect::<Result<Vec<_>, TableError>>()?;
        removed.iter().for_each(|path| state.remove(path));
        for (data_change, file) in files {
            state.insert(file.clone());
            added.extend(data_change.then_some(file));
        }
        state.version += 1;
        Ok(())
    }

    fn parse(&self, version: u64, bytes: &[u8]) -> Result<Vec<Line>, TableError> {
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let parsed: Result<Vec<Line>, _> = lines.map(serde_json::from_slice).collect();
        parsed.map_err(|e| {
            TableError::Fatal(format!(
                "version {version} of the table at {} cannot be read ({e}): the log is damaged. Restore {}",
                self.root.display(),
                commit_path(version)
            ))
        })
    }

    fn to_file(&self, listed: &Listed) -> Result<Arc<DataFile>, TableError> {
        let refused = |what: &str| {
            let (place, path) = (self.root.display(), &listed.path);
            TableError::Fatal(format!(
                "the table at {place} has {what} ({path}), which we do not keep. Undo it, or choose another place"
            ))
        };
        if listed.deletion_vector {
            return Err(refused("a deletion vector"));
        }
        if listed.path.contains("://") || listed.path.starts_with('/') {
            return Err(refused("a file outside of its directory"));
        }
        let bytes = u64::try_from(listed.bytes).map_err(|_| refused("a file of negative size"))?;
        let day = listed.partition.get(self.shape.partition_name()).and_then(|day| parse_day(day.as_deref()?));
        Ok(Arc::new(DataFile::new(to_path(&listed.path), day, bytes, listed.rows)))
    }

    /// The version that readers start from; 0 when there is none.
    pub(crate) async fn last_checkpoint(&self) -> Result<u64, TableError> {
        let path = Path::from("_delta_log/_last_checkpoint");
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(serde_json::from_slice::<Value>(&bytes).ok().and_then(|v| v["version"].as_u64()).unwrap_or(0)),
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(e) => Err(table_error(&format!("reading {path} of {}", self.root.display()), &e)),
        }
    }
}

/// Ours and other engines' own files, which are no data.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.parts().any(|part| (part.as_ref().starts_with('_') && !part.as_ref().contains('=')) || part.as_ref().starts_with('.'))
}

fn to_value(action: &impl serde::Serialize) -> Result<Value, TableError> {
    serde_json::to_value(action).map_err(|e| TableError::Fatal(format!("the table's metadata cannot be read: {e}")))
}

fn to_path(text: &str) -> Path {
    Path::parse(text).unwrap_or_else(|_| Path::from(text))
}

/// A file as the log lists it.
struct Listed {
    path: String,
    partition: HashMap<String, Option<String>>,
    bytes: i64,
    rows: Option<u64>,
    deletion_vector: bool,
}

impl From<&LogicalFileView> for Listed {
    fn from(view: &LogicalFileView) -> Self {
        Listed {
            path: view.path().into_owned(),
            partition: view.partition_values_map(),
            bytes: view.size(),
            rows: view.num_records().map(|n| n as u64),
            deletion_vector: view.deletion_vector_descriptor().is_some(),
        }
    }
}

impl From<&Add> for Listed {
    fn from(add: &Add) -> Self {
        let stats = add.stats.as_deref().and_then(|s| serde_json::from_str::<Value>(s).ok());
        Listed {
            path: add.path.clone(),
            partition: add.partition_values.clone(),
            bytes: add.size,
            rows: stats.and_then(|s| s["numRecords"].as_u64()),
            deletion_vector: add.deletion_vector.is_some(),
        }
    }
}
