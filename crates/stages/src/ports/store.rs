//! Where files go.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its path below the store's root, with `/` between components.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// Where an upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The path really used: the one asked for, or, where other bytes stood there, the name plus the first 16 hex
    /// digits of the content's SHA-256.
    pub path: String,
    /// Whether equal bytes stood there already.
    pub adopted: bool,
}

/// Why the store did not do what it was asked, by what the caller must do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
    /// Stop: only a person can mend this (no room, read-only, no rights). Names the remedy.
    #[error("{0}")]
    Fatal(String),
    /// This path cannot be an object's here, others can: the task's failure.
    #[error("{0}")]
    Name(String),
}

/// An object store. Objects are never overwritten.
#[async_trait]
pub trait Store: Send + Sync {
    /// Starts an upload. Nothing is visible until it is published; dropping it leaves nothing.
    async fn begin(&self) -> Result<Box<dyn Upload>, StoreError>;

    /// Looks at one object.
    async fn stat(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError>;

    /// All objects, in no particular order, without what is in flight.
    fn list(&self) -> BoxStream<'static, Result<ObjectMeta, StoreError>>;

    /// Reads an object in pieces of at most 1 MiB; nothing if it is not there.
    async fn read(&self, path: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError>;
}

/// An upload in flight.
#[async_trait]
pub trait Upload: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the object visible under `path` (`/` between components, no `.` or `..`), complete, and returns once
    /// that is durable. `sha256` is the digest of what was written. Calls from many tasks share one sync.
    async fn publish(self: Box<Self>, path: &str, sha256: [u8; 32]) -> Result<Published, StoreError>;
}
