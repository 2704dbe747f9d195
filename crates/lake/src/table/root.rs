//! Where tables live: an object store and a path in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use longshore_stages::ports::TableError;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use super::engine::Bounded;
use crate::durable::{DiskSync, Durable};

/// A temporary file that nobody has written to for so long was left by a crash.
const LEFTOVER: Duration = Duration::from_secs(600);

/// A directory in an object store: of one table, or of all tables.
#[derive(Clone)]
pub struct Root {
    store: Arc<dyn ObjectStore>,
    url: Url,
    path: Path,
    local: Option<PathBuf>,
}

impl Root {
    /// A directory on a local disk. Relative paths start at the working directory; it need not exist yet.
    ///
    /// # Errors
    /// `Fatal` when the path cannot be expressed as a URL.
    pub fn local(directory: impl Into<PathBuf>, sync: DiskSync) -> Result<Self, TableError> {
        let directory: PathBuf = directory.into();
        let unusable =
            || TableError::Fatal(format!("{} cannot be the directory of a table: choose another", directory.display()));
        let absolute = std::path::absolute(&directory).map_err(|_| unusable())?;
        let url = Url::from_directory_path(&absolute).map_err(|()| unusable())?;
        let path = Path::from_absolute_path(&absolute).map_err(|_| unusable())?;
        Ok(Root { store: Arc::new(Durable::new(sync)), url, path, local: Some(absolute) })
    }

    /// A path in any object store whose single puts can be create-only. `url` is the location as others know it.
    pub fn object_store(store: Arc<dyn ObjectStore>, url: Url, path: Path) -> Self {
        Root { store, url, path, local: None }
    }

    /// A directory in this one.
    pub fn child(&self, name: &str) -> Self {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name).push("");
        }
        let local = self.local.as_ref().map(|l| l.join(name));
        Root { store: self.store.clone(), url, path: self.path.clone().join(name), local }
    }

    /// The same place behind another store that wraps this one's: to inject faults, to count, to limit.
    pub fn wrapped(mut self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        self.store = wrap(self.store);
        self
    }

    /// The location as people know it: a path on a local disk, else the URL.
    pub fn display(&self) -> String {
        self.local.as_ref().map_or_else(|| self.url.to_string(), |l| l.display().to_string())
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The store whose root is this directory.
    pub(crate) fn scoped(&self) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(self.store.clone(), self.path.clone()))
    }

    pub(crate) fn log_store(&self) -> LogStoreRef {
        Arc::new(Bounded(default_logstore(self.scoped(), self.store.clone(), &self.url, &StorageConfig::default())))
    }

    /// Removes what a crash left of files that never became visible.
    pub(crate) async fn sweep(&self) -> usize {
        match &self.local {
            Some(directory) => Durable::sweep(directory.clone(), LEFTOVER).await,
            None => 0,
        }
    }
}
