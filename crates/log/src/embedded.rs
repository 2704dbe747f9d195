//! The log of one process: opening, the queue to the writer, and the `Log` and `LogView` ports.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use longshore_stages::ports::{
    Consumer, Group, Log, LogError, LogView, Message, Partition, PartitionState, Position, Received, TopicSpec,
};
use tokio::sync::{Semaphore, oneshot};

use crate::catalog::{Catalog, Lane, Topic, locked};
use crate::consumer::Member;
use crate::group::Groups;
use crate::lock::DirLock;
use crate::read::Readers;
use crate::view;
use crate::write::Change;
use crate::writer::{Answer, Request, Writer};
use crate::{error, file};

/// The queue's room is handed out in pieces of 4 KiB, 16 MiB in all; a larger request takes all of it.
const ROOM_PIECE_BYTES: usize = 4 << 10;
const ROOM_PIECES: u32 = 4_096;
/// Requests that take no room (topics, closing) fit besides.
const EXTRA_REQUESTS: usize = 64;

/// The embedded log, open for writing. See the crate's page for how it works.
///
/// Closed by [`EmbeddedLog::close`], or when it and all its consumers are dropped (dropping the last of them waits for the
/// writer thread: some milliseconds).
#[derive(Debug)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
}

/// What the log and its consumers share.
#[derive(Debug)]
pub(crate) struct Inner {
    file: PathBuf,
    catalog: Arc<Catalog>,
    groups: Groups,
    readers: Arc<Readers>,
    requests: SyncSender<Request>,
    room: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log of a directory for writing, making the directory and the log when they do not exist.
    ///
    /// Blocks: some milliseconds, after an unclean stop up to about 0.1 s more.
    ///
    /// # Errors
    /// `Fatal` when another process (or this one) has the log open for writing, when the directory or file cannot be read or
    /// written, and when the file is damaged or of another format.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        std::fs::create_dir_all(dir).map_err(|e| error::io(dir, "cannot make the directory", &e))?;
        let lock = DirLock::take(dir)?;
        let conn = file::open_writer(dir)?;
        let file = file::path(dir);
        let catalog = Arc::new(Catalog::load(&conn, &file)?);
        let (requests, queue) = sync_channel(ROOM_PIECES as usize + EXTRA_REQUESTS);
        let writer = Writer::new(conn, file.clone(), Arc::clone(&catalog), queue, lock);
        let thread = std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|e| error::io(&file, "cannot start the writer thread", &e))?;
        let inner = Inner {
            readers: Arc::new(Readers::new(file.clone())),
            file,
            catalog,
            groups: Groups::default(),
            requests,
            room: Arc::new(Semaphore::new(ROOM_PIECES as usize)),
            writer: Mutex::new(Some(thread)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens the log of a directory to look on, also while another process writes to it or after one was killed.
    ///
    /// # Errors
    /// `Fatal` when there is no log, it cannot be read, or it is damaged or of another format.
    pub fn open_read_only(dir: &Path) -> Result<view::EmbeddedView, LogError> {
        view::EmbeddedView::open(dir)
    }

    /// Writes what is queued, empties the write-ahead log and releases the directory. Consumers and further calls then fail.
    ///
    /// # Errors
    /// `Fatal` when the file cannot be closed properly (nothing acknowledged is lost), or the log is already closed.
    pub async fn close(&self) -> Result<(), LogError> {
        self.inner.readers.close();
        self.inner.groups.wake_all();
        let closed = self.inner.ask(Request::Stop).await;
        self.inner.join();
        closed
    }
}

impl Inner {
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let unknown = || LogError::Fatal(format!("log {}: there is no topic {name}: make it first", self.file.display()));
        self.catalog.get(name).ok_or_else(unknown)
    }

    /// Writes a change and returns when it is durable.
    async fn write(&self, change: Change) -> Result<(), LogError> {
        let pieces = change.bytes().div_ceil(ROOM_PIECE_BYTES).clamp(1, ROOM_PIECES as usize);
        let pieces = u32::try_from(pieces).unwrap_or(ROOM_PIECES);
        let room = Arc::clone(&self.room).acquire_many_owned(pieces).await.map_err(|_| error::closed(&self.file))?;
        self.ask(|answer| Request::Write(change, answer, room)).await
    }

    /// Commits a group's position.
    pub(crate) async fn commit(&self, topic: &Arc<Topic>, lane: &Arc<Lane>, group: &str, watermark: u64) -> Result<(), LogError> {
        let (topic, lane) = (Arc::clone(topic), Arc::clone(lane));
        self.write(Change::Commit { topic, lane, group: group.to_owned(), watermark }).await
    }

    async fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        match self.requests.try_send(request(answer)) {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(error::closed(&self.file))),
            Err(TrySendError::Full(_)) => {
                Err(LogError::Unavailable(format!("log {}: its queue is full: try again", self.file.display())))
            }
            Err(TrySendError::Disconnected(_)) => Err(error::closed(&self.file)),
        }
    }

    fn join(&self) {
        let thread = locked(&self.writer).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(log = %self.file.display(), "the writer thread panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.readers.close();
        let (answer, _) = oneshot::channel();
        // The queue cannot be full: whoever filled it holds a reference to us.
        drop(self.requests.try_send(Request::Stop(answer)));
        self.join();
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let topics = topics.to_vec();
        self.inner.ask(|answer| Request::Ensure(topics, answer)).await
    }

    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        let topic = self.inner.topic(topic)?;
        if batch.is_empty() {
            return Ok(());
        }
        self.inner.write(Change::Append(topic, batch.to_vec())).await
    }

    async fn subscribe(&self, group: &Group, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        if self.inner.readers.is_closed() {
            return Err(error::closed(&self.inner.file));
        }
        let topics = topics.iter().map(|name| self.inner.topic(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(Member::join(Arc::clone(&self.inner), group, topics)))
    }
}

#[async_trait]
impl LogView for EmbeddedLog {
    async fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
        view::state(&self.inner.readers).await
    }

    async fn read(&self, partition: &Partition, from: u64, max: usize) -> Result<Vec<Received>, LogError> {
        view::read(&self.inner.readers, partition, from, max).await
    }
}
