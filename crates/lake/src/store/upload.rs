//! An upload: bytes in memory at first, then in a file without a place, then published.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::path::{sanitise, with_suffix};
use longshore_stages::ports::{Published, StoreError, Upload};
use sha2::{Digest, Sha256};

use super::publisher::{Publisher, Reply, Sealed};
use super::root::Root;
use super::temporary::Temporary;

/// How much an upload keeps in memory before it opens a file. A small file costs open, write, link and close; of a larger
/// one no byte is copied on its way.
const IN_MEMORY: usize = 16 * 1024;
/// Up to this size writes go to the page cache straight from the async thread, which takes microseconds; a larger file
/// may be made to wait for the disk and is written from a thread that may.
const DIRECT: u64 = 1024 * 1024;

/// Where the bytes are.
enum Written {
    Memory(Vec<u8>),
    File(Temporary),
    /// A write failed or was given up half-way: what is there is not the object.
    Spoilt,
}

/// An upload in flight. Dropping it leaves nothing.
pub(super) struct LocalUpload {
    root: Arc<Root>,
    publisher: Arc<Publisher>,
    written: Written,
    length: u64,
}

impl LocalUpload {
    pub(super) fn new(root: Arc<Root>, publisher: Arc<Publisher>) -> Self {
        LocalUpload { root, publisher, written: Written::Memory(Vec::new()), length: 0 }
    }

    /// Takes the file out; until it is put back the upload is spoilt.
    fn take_file(&mut self) -> Result<Temporary, StoreError> {
        match std::mem::replace(&mut self.written, Written::Spoilt) {
            Written::File(file) => Ok(file),
            Written::Memory(bytes) => self.create(&bytes),
            Written::Spoilt => Err(StoreError::Unavailable("an earlier write of this upload failed; begin it again".into())),
        }
    }

    fn create(&self, bytes: &[u8]) -> Result<Temporary, StoreError> {
        let created = Temporary::create(self.root.clone()).and_then(|mut file| file.write(bytes).map(|()| file));
        created.map_err(|error| self.root.error("write a file", &error))
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let mut file = self.take_file()?;
        let written = if self.length <= DIRECT {
            file.write(&bytes).map(|()| file)
        } else {
            blocking(move || file.write(&bytes).map(|()| file)).await?
        };
        self.written = Written::File(written.map_err(|error| self.root.error("write a file", &error))?);
        Ok(())
    }

    async fn is_equal(&self, path: &str, sha256: [u8; 32]) -> Result<bool, StoreError> {
        let (root, path, length) = (self.root.clone(), path.to_string(), self.length);
        blocking(move || holds(&root, &path, length, sha256)).await
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.length += bytes.len() as u64;
        match &mut self.written {
            Written::Memory(held) if held.len() + bytes.len() <= IN_MEMORY => {
                held.extend_from_slice(&bytes);
                Ok(())
            }
            _ => self.append(bytes).await,
        }
    }

    async fn publish(mut self: Box<Self>, path: &str, sha256: [u8; 32]) -> Result<Published, StoreError> {
        let place = self.publisher.reserve().await?;
        let mut sealed = Sealed::new(self.take_file()?, place);
        let path = sanitise(path);
        for name in NAMES {
            match self.publisher.place(sealed, &name.of(&path, sha256)).await? {
                Reply::Placed(path) => return Ok(Published { path, adopted: false }),
                Reply::Taken(_, path) if self.is_equal(&path, sha256).await? => {
                    self.publisher.settle(&path).await?;
                    return Ok(Published { path, adopted: true });
                }
                Reply::Taken(back, _) => sealed = back,
            }
        }
        Err(StoreError::Unavailable(format!("all names for one object are taken by other bytes in {}", self.root.shown())))
    }
}

/// Where an object goes: the path asked for, and the next ones when other bytes stand there.
const NAMES: [Name; 3] = [Name::Asked, Name::WithDigits(16), Name::WithDigits(64)];

enum Name {
    Asked,
    /// So many hex digits of the content's SHA-256 are added.
    WithDigits(usize),
}

impl Name {
    fn of<'a>(&self, path: &'a str, sha256: [u8; 32]) -> Cow<'a, str> {
        let Name::WithDigits(digits) = *self else { return Cow::Borrowed(path) };
        let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        Cow::Owned(with_suffix(path, &format!("-{}", &hex[..digits])))
    }
}

/// Whether a regular file of this length and digest stands at the path. One that we may not read is not ours to adopt.
fn holds(root: &Root, path: &str, length: u64, sha256: [u8; 32]) -> bool {
    let Ok(Some((mut file, standing))) = root.open_file(path) else { return false };
    if standing != length {
        return false;
    }
    let mut digest = Sha256::new();
    let mut buffer = vec![0; IN_MEMORY];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return <[u8; 32]>::from(digest.finalize()) == sha256,
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Runs on a thread that may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Unavailable(format!("a disk operation was given up: {error}")))
}
