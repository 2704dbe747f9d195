//! An object store on local disks that keeps what it acknowledged.
//!
//! *Owns*: how bytes reach a disk. `object_store`'s own local store never calls fsync; this one writes a temporary
//! file, syncs it, links it to its name (which fails when the name is taken: nothing is replaced), and syncs the
//! directory, and every directory that it had to make.
//! *Does not own*: what the bytes mean, and which errors stop the process (see [`disk_fault`]).
//!
//! Temporary files are named `.tmp-…#0`: listings of this store leave them out, and readers of tables ignore them.
//! What a crash leaves of them is removed by [`Durable::sweep`].

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as OsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

const STORE: &str = "local disk";
const TEMPORARY: &str = ".tmp-";

/// Whether what is acknowledged survives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskSync {
    /// Files and directories are synced before they are acknowledged.
    #[default]
    On,
    /// Nothing is synced: for throwaway data. Still all or nothing for readers, and still create-if-absent.
    Off,
}

/// After this moment a file must not become visible any more: travels in [`PutOptions::extensions`].
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub SystemTime);

/// A failed operation on a file, with its path. Found again in an error's chain of sources by [`disk_fault`].
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct DiskError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    fn at(action: &'static str, path: &OsPath) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| DiskError { action, path, source }
    }
}

impl From<DiskError> for Error {
    fn from(error: DiskError) -> Self {
        let path = error.path.display().to_string();
        match error.source.kind() {
            io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: Box::new(error) },
            _ => Error::Generic { store: STORE, source: Box::new(error) },
        }
    }
}

/// What only a person can mend about a disk, if that is why an operation failed: one sentence that names the remedy.
pub fn disk_fault(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && let Some(remedy) = remedy(io.kind())
        {
            return Some(format!("{remedy}, then run the same command again"));
        }
        next = cause.source();
    }
    None
}

fn remedy(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull => Some("the disk is full: make room"),
        io::ErrorKind::QuotaExceeded => Some("the disk quota is used up: make room or raise it"),
        io::ErrorKind::ReadOnlyFilesystem => Some("the file system is read-only: remount it writable or choose another place"),
        io::ErrorKind::PermissionDenied => {
            Some("permission is denied: give this user the right to write there or choose another place")
        }
        io::ErrorKind::NotADirectory => Some("a file stands where a directory is needed: move it away or choose another place"),
        _ => None,
    }
}

/// The whole file system as an object store, rooted at `/`.
#[derive(Debug, Clone)]
pub struct Durable {
    disk: Arc<LocalFileSystem>,
    sync: DiskSync,
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable(file:///)")
    }
}

impl Durable {
    /// A store with this policy.
    pub fn new(sync: DiskSync) -> Self {
        Durable { disk: Arc::new(LocalFileSystem::new()), sync }
    }

    /// Removes temporary files below `root` that nobody has written to for `idle`; returns how many. A writer that
    /// is still at work on one loses that write and gets an error, never half a file.
    pub async fn sweep(root: PathBuf, idle: Duration) -> usize {
        tokio::task::spawn_blocking(move || sweep(&root, idle)).await.unwrap_or(0)
    }

    async fn blocking<T: Send + 'static>(task: impl FnOnce() -> std::result::Result<T, DiskError> + Send + 'static) -> Result<T> {
        Ok(tokio::task::spawn_blocking(task).await??)
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let replace = match opts.mode {
            PutMode::Create => Replace::Never,
            PutMode::Overwrite => Replace::Always,
            PutMode::Update(_) => return Err(not_implemented("put with PutMode::Update")),
        };
        let target = self.disk.path_to_filesystem(location)?;
        let (sync, deadline) = (self.sync, opts.extensions.get::<Deadline>().copied());
        Self::blocking(move || {
            let mut draft = Draft::create(target, sync)?;
            payload.iter().try_for_each(|piece| draft.write(piece))?;
            draft.publish(replace, deadline)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (target, sync) = (self.disk.path_to_filesystem(location)?, self.sync);
        let draft = Self::blocking(move || Draft::create(target, sync)).await?;
        Ok(Box::new(Upload { draft: Some(Arc::new(draft)), written: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.disk.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.disk.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.disk.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.disk.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.disk.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.disk.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy"))
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.into(), implementer: STORE.into() }
}

/// What publishing does when the name is taken.
#[derive(Clone, Copy)]
enum Replace {
    Never,
    Always,
}

/// A file in the making. Dropping it leaves nothing.
#[derive(Debug)]
struct Draft {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    sync: DiskSync,
}

impl Draft {
    fn create(target: PathBuf, sync: DiskSync) -> std::result::Result<Self, DiskError> {
        let parent = parent(&target);
        make_directories(parent, sync)?;
        let temporary = parent.join(format!("{TEMPORARY}{}#0", uuid::Uuid::new_v4()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(DiskError::at("create a file in", parent))?;
        Ok(Draft { file, temporary, target, sync })
    }

    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), DiskError> {
        self.file.write_all(bytes).map_err(DiskError::at("write", &self.target))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::result::Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(DiskError::at("write", &self.target))
    }

    fn publish(&self, replace: Replace, deadline: Option<Deadline>) -> std::result::Result<(), DiskError> {
        if self.sync == DiskSync::On {
            self.file.sync_data().map_err(DiskError::at("sync", &self.target))?;
        }
        if deadline.is_some_and(|d| SystemTime::now() > d.0) {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the write took so long that it was given up");
            return Err(DiskError::at("publish", &self.target)(late));
        }
        match replace {
            Replace::Always => std::fs::rename(&self.temporary, &self.target),
            Replace::Never => link_new(&self.temporary, &self.target),
        }
        .map_err(DiskError::at("create", &self.target))?;
        sync_directory(parent(&self.target), self.sync)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// Gives the file its name if the name is free. File systems without hard links (FAT, some network shares) take a
/// rename that does not replace.
fn link_new(temporary: &OsPath, target: &OsPath) -> io::Result<()> {
    let linked = std::fs::hard_link(temporary, target);
    match &linked {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) || e.kind() == io::ErrorKind::Unsupported => {
            let (from, to) = (rustix::fs::CWD, rustix::fs::CWD);
            rustix::fs::renameat_with(from, temporary, to, target, rustix::fs::RenameFlags::NOREPLACE).map_err(io::Error::from)
        }
        _ => linked,
    }
}

fn parent(path: &OsPath) -> &OsPath {
    path.parent().unwrap_or(OsPath::new("/"))
}

/// Makes the directory and its ancestors, and syncs the parent of each one that was missing.
fn make_directories(directory: &OsPath, sync: DiskSync) -> std::result::Result<(), DiskError> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = parent(directory);
    make_directories(above, sync)?;
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(DiskError::at("make the directory", directory)(io::ErrorKind::NotADirectory.into()))
        }
        Err(e) => Err(DiskError::at("make the directory", directory)(e)),
        Ok(()) => sync_directory(above, sync),
    }
}

fn sync_directory(directory: &OsPath, sync: DiskSync) -> std::result::Result<(), DiskError> {
    match sync {
        DiskSync::Off => Ok(()),
        DiskSync::On => File::open(directory).and_then(|d| d.sync_all()).map_err(DiskError::at("sync the directory", directory)),
    }
}

fn sweep(directory: &OsPath, idle: Duration) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().map(|entry| sweep_entry(&entry, idle)).sum()
}

fn sweep_entry(entry: &std::fs::DirEntry, idle: Duration) -> usize {
    let Ok(kind) = entry.file_type() else { return 0 };
    if kind.is_dir() {
        return sweep(&entry.path(), idle);
    }
    if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
        return 0;
    }
    let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok()).unwrap_or_default();
    usize::from(age >= idle && std::fs::remove_file(entry.path()).is_ok())
}

/// A file that is written in parts. As with every object store, a finished upload replaces what had the name: only
/// names that nobody else chooses are written this way.
#[derive(Debug)]
struct Upload {
    draft: Option<Arc<Draft>>,
    written: u64,
}

fn ended() -> Error {
    Error::Generic { store: STORE, source: "the upload has ended".into() }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.written;
        self.written += data.content_length() as u64;
        let Some(draft) = self.draft.clone() else { return async { Err(ended()) }.boxed() };
        Durable::blocking(move || {
            let mut at = offset;
            data.iter().try_for_each(|piece| {
                draft.write_at(piece, at)?;
                at += piece.len() as u64;
                Ok(())
            })
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let draft = self.draft.take().ok_or_else(ended)?;
        Durable::blocking(move || draft.publish(Replace::Always, None)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.draft = None;
        Ok(())
    }
}
