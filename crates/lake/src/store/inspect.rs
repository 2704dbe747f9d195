//! Looking at what is in the store: one object, all objects, an object's bytes. Nothing is changed.

use std::fs::{DirEntry, File, ReadDir};
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt, iter, try_unfold, unfold};
use longshore_stages::ports::{ObjectMeta, StoreError};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::root::Root;
use super::upload::blocking;

/// How much is read at once.
const PIECE: usize = 256 * 1024;
/// How many objects are handed over at once, and how many such batches wait.
const BATCH: usize = 256;
const BATCHES: usize = 4;
/// What begins like this at the root is Longshore's own: uploads in flight, a batch directory's state.
const OWN: &str = ".longshore";

type Batch = Vec<Result<ObjectMeta, StoreError>>;

/// Looks at one object.
pub(super) fn stat(root: &Root, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
    let opened = root.open_file(path).map_err(|error| root.error("look at an object", &error))?;
    Ok(opened.map(|(_, bytes)| ObjectMeta { path: path.to_string(), bytes }))
}

/// Reads one object in pieces.
pub(super) fn read(root: Arc<Root>, path: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
    let opened = root.open_file(path).map_err(|error| root.error("read an object", &error))?;
    let Some((file, _)) = opened else { return Ok(None) };
    let pieces = try_unfold((root, file), |(root, file)| async move {
        let (file, piece) = blocking(move || read_piece(file)).await?;
        let piece = piece.map_err(|error| root.error("read an object", &error))?;
        Ok((!piece.is_empty()).then_some((piece, (root, file))))
    });
    Ok(Some(pieces.boxed()))
}

fn read_piece(mut file: File) -> (File, io::Result<Bytes>) {
    let mut piece = Vec::new();
    let read = Read::by_ref(&mut file).take(PIECE as u64).read_to_end(&mut piece);
    (file, read.map(|_| Bytes::from(piece)))
}

/// Walks the store on a thread of its own, which waits when its listener is slow and ends when he has gone.
pub(super) fn list(root: Arc<Root>) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
    let start = async move {
        let (batches, listener) = channel(BATCHES);
        tokio::task::spawn_blocking(move || Walk { root, batches, batch: Vec::new() }.run());
        unfold(
            listener,
            |mut listener: Receiver<Batch>| async move { listener.recv().await.map(|batch| (iter(batch), listener)) },
        )
    };
    futures::stream::once(start).flatten().flatten().into_stream().boxed()
}

/// The listener has gone.
struct Unheard;

struct Walk {
    root: Arc<Root>,
    batches: Sender<Batch>,
    batch: Batch,
}

impl Walk {
    fn run(mut self) {
        let top = self.root.path().to_path_buf();
        let walked = std::fs::read_dir(top).map(|entries| self.walk(entries));
        if let Err(error) = walked {
            self.batch.push(Err(self.root.error("list objects", &error)));
        }
        let _ = self.hand_over();
    }

    /// Depth first, with one open directory for each level.
    fn walk(&mut self, top: ReadDir) {
        let mut levels = vec![(String::new(), top)];
        while let Some((prefix, entries)) = levels.last_mut() {
            let Some(entry) = entries.next() else {
                levels.pop();
                continue;
            };
            let visited = entry.and_then(|entry| visit(prefix, &entry));
            let heard = match visited {
                Ok(Visited::Directory(prefix, entries)) => {
                    levels.push((prefix, entries));
                    Ok(())
                }
                Ok(Visited::Object(meta)) => self.yields(Ok(meta)),
                Ok(Visited::Other) => Ok(()),
                // Removed while we walk.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => self.yields(Err(self.root.error("list objects", &error))),
            };
            if heard.is_err() {
                return;
            }
        }
    }

    fn yields(&mut self, item: Result<ObjectMeta, StoreError>) -> Result<(), Unheard> {
        self.batch.push(item);
        if self.batch.len() < BATCH { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Unheard> {
        let batch = std::mem::take(&mut self.batch);
        self.batches.blocking_send(batch).map_err(|_| Unheard)
    }
}

/// What an entry of a directory is.
enum Visited {
    Directory(String, ReadDir),
    Object(ObjectMeta),
    /// Ours, or neither a file nor a directory: links are not followed.
    Other,
}

fn visit(prefix: &str, entry: &DirEntry) -> io::Result<Visited> {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if prefix.is_empty() && name.starts_with(OWN) {
        return Ok(Visited::Other);
    }
    let kind = entry.file_type()?;
    if kind.is_dir() {
        return Ok(Visited::Directory(format!("{prefix}{name}/"), std::fs::read_dir(entry.path())?));
    }
    if !kind.is_file() {
        return Ok(Visited::Other);
    }
    Ok(Visited::Object(ObjectMeta { path: format!("{prefix}{name}"), bytes: entry.metadata()?.len() }))
}
