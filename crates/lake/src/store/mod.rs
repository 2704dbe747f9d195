//! The `Store` port on a local directory.
//!
//! Owns promise 8: an object is visible at its path only when complete, durable before its upload is acknowledged, and
//! never overwritten. Does not own which path an attachment gets (`longshore_core::path`), nor the lock that keeps a
//! second writer away: whoever opens the store says whether he holds it ([`Owner`]).
//!
//! ```text
//! begin ─▶ write … ─▶ publish ─▶ queue (bounded by max_sealed) ─▶ one thread: sync ─▶ link ─▶ sync ─▶ acknowledged
//!          ≤ 16 KiB in memory,    the file is complete            what came meanwhile shares the next sync
//!          then a nameless file   but has no name
//! ```
//!
//! - A file has no name until it is complete and its data durable (`O_TMPFILE`, then `linkat`), so that a crash leaves
//!   nothing. Where the file system knows no nameless files they are kept in `.longshore-uploads/` and renamed without
//!   replacing; what a crash leaves there is removed when the next exclusive owner opens the store.
//! - One `syncfs` makes the data of a whole cycle durable, and the names that the cycle before gave. It writes out the
//!   whole file system, so a store shares its speed with whatever else is written there.
//! - Names given by others are never trusted: no symbolic link below the root is followed, neither to write nor to read.
//!
//! Where the path is taken: equal bytes are adopted; other bytes, a directory or a link make the upload go to the name
//! plus `-` and the first 16 hex digits of its SHA-256 (all 64 if that is taken by other bytes too). Where a component
//! that should be a directory is a file or a link, `~dir` is added to it.

mod error;
mod inspect;
mod publisher;
mod root;
mod temporary;
mod upload;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use longshore_stages::ports::{ObjectMeta, Store, StoreError, Upload};

use publisher::Publisher;
use root::Root;
use upload::LocalUpload;

/// The most uploads that may be complete but not yet named, whatever the limit on open files.
const MAX_SEALED: usize = 1024;

/// Who opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The only writer, who holds the lock: what a crash left behind is removed.
    Exclusive,
    /// One of several writers.
    Shared,
    /// An onlooker: nothing is created, changed or removed, and no upload can begin.
    Reader,
}

/// Whether an upload is durable when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Data and name survive a power failure.
    Full,
    /// For throwaway data (`store.sync: off`): a power failure may lose or truncate what was written shortly before.
    Off,
}

/// How files are kept until they get their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Without a name where the file system can, else under a temporary one.
    Auto,
    /// Always under a temporary name.
    Named,
}

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOptions {
    /// Who opens it.
    pub owner: Owner,
    /// Whether acknowledged means durable.
    pub sync: SyncMode,
    /// How unfinished files are kept.
    pub unfinished: Unfinished,
    /// The most uploads that may wait for their sync, each of which holds an open file. The default is a quarter of the
    /// limit on open files, at most 1,024.
    pub max_sealed: usize,
}

impl LocalOptions {
    /// The defaults for an owner: durable, nameless files.
    pub fn new(owner: Owner) -> Self {
        LocalOptions { owner, sync: SyncMode::Full, unfinished: Unfinished::Auto, max_sealed: default_max_sealed() }
    }
}

fn default_max_sealed() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / 4).unwrap_or(MAX_SEALED).clamp(16, MAX_SEALED)
}

/// An object store in a local directory. Cheap to clone.
#[derive(Clone)]
pub struct LocalStore {
    root: Arc<Root>,
    publisher: Option<Arc<Publisher>>,
}

impl LocalStore {
    /// Opens the directory, which a writer creates if need be. Fails when it cannot be read or, by a writer, written.
    pub fn open(directory: &Path, options: LocalOptions) -> Result<Self, StoreError> {
        let root = Arc::new(Root::open(directory, &options)?);
        let publisher = match options.owner {
            Owner::Reader => None,
            Owner::Exclusive | Owner::Shared => Some(Arc::new(Publisher::start(root.clone(), &options)?)),
        };
        Ok(LocalStore { root, publisher })
    }

    /// Opens the directory to look only.
    pub fn open_read_only(directory: &Path) -> Result<Self, StoreError> {
        Self::open(directory, LocalOptions::new(Owner::Reader))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn begin(&self) -> Result<Box<dyn Upload>, StoreError> {
        match &self.publisher {
            Some(publisher) => Ok(Box::new(LocalUpload::new(self.root.clone(), publisher.clone()))),
            None => Err(StoreError::Fatal(format!("{} is open for reading only; open it as a writer", self.root.shown()))),
        }
    }

    async fn stat(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
        inspect::stat(&self.root, path)
    }

    fn list(&self) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        inspect::list(self.root.clone())
    }

    async fn read(&self, path: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        inspect::read(self.root.clone(), path)
    }
}
