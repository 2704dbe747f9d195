//! The thread that gives complete files their names, many for the price of one sync.
//!
//! A cycle: take what waits → sync (its data is durable now, and so are the names given in the cycle before, which are
//! acknowledged) → give the names. With nothing new to take, one more sync acknowledges the rest. Where syncs are fast,
//! cycles keep a pace: the thread would be woken for each single file otherwise, which costs more than the file's name.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use longshore_stages::ports::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::root::{Root, Way};
use super::temporary::{Placing, Temporary};
use super::{LocalOptions, SyncMode};

/// The most uploads that share a sync, so that one cycle stays short.
const CYCLE: usize = 512;
/// How long a cycle takes at least when another one follows.
const PACE: Duration = Duration::from_millis(1);

/// A complete file, and its claim on one of the places in the queue.
pub(super) struct Sealed {
    temporary: Temporary,
    _place: OwnedSemaphorePermit,
}

/// What came of a request.
pub(super) enum Reply {
    /// Durable and visible at this path.
    Placed(String),
    /// Something stands at this path; the file is handed back.
    Taken(Sealed, String),
}

type Answer = oneshot::Sender<Result<Reply, StoreError>>;

/// What the thread is asked for.
enum Request {
    /// Give the file this path.
    Place(Box<Sealed>, String, Answer),
    /// Make durable what stands at this path.
    Settle(String, Answer),
}

/// The queue to the thread. The thread ends when the last handle is dropped and its queue is empty.
pub(super) struct Publisher {
    queue: Sender<Request>,
    places: Arc<Semaphore>,
    root: Arc<Root>,
}

impl Publisher {
    /// Starts the thread.
    pub(super) fn start(root: Arc<Root>, options: &LocalOptions) -> Result<Self, StoreError> {
        // Bounded by the places: every request of a file holds one, and settling takes over that of its file.
        let (queue, requests) = channel();
        let mut cycles = Cycles { root: root.clone(), named: Vec::new() };
        std::thread::Builder::new()
            .name("store-sync".into())
            .spawn(move || cycles.run(&requests))
            .map_err(|error| root.error("start the sync thread", &error))?;
        Ok(Publisher { queue, places: Arc::new(Semaphore::new(options.max_sealed.max(1))), root })
    }

    /// Waits for a place in the queue, without which no file may be complete and nameless.
    pub(super) async fn reserve(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        self.places.clone().acquire_owned().await.map_err(|_| gone())
    }

    /// Gives the file its path, durably.
    pub(super) async fn place(&self, mut sealed: Sealed, path: &str) -> Result<Reply, StoreError> {
        match self.root.sync {
            SyncMode::Off => named(&self.root, &mut sealed, path, &mut Way::default()).map(|placing| reply(sealed, placing)),
            SyncMode::Full => self.ask(|answer| Request::Place(Box::new(sealed), path.to_string(), answer)).await,
        }
    }

    /// Makes durable what stands at a path.
    pub(super) async fn settle(&self, path: &str) -> Result<(), StoreError> {
        if self.root.sync == SyncMode::Full {
            self.ask(|answer| Request::Settle(path.to_string(), answer)).await?;
        }
        Ok(())
    }

    async fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<Reply, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(request(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Sealed {
    pub(super) fn new(temporary: Temporary, place: OwnedSemaphorePermit) -> Self {
        Sealed { temporary, _place: place }
    }
}

fn gone() -> StoreError {
    StoreError::Fatal("the object store's sync thread has ended, and nothing can become durable any more: start again".into())
}

fn named(root: &Root, sealed: &mut Sealed, path: &str, way: &mut Way) -> Result<Placing, StoreError> {
    sealed.temporary.place(path, way).map_err(|error| root.name_error(&error))
}

fn reply(sealed: Sealed, placing: Placing) -> Reply {
    match placing {
        Placing::Placed(path) => Reply::Placed(path),
        Placing::Taken(path) => Reply::Taken(sealed, path),
    }
}

/// The thread's own state.
struct Cycles {
    root: Arc<Root>,
    /// Named in the cycle before, at most [`CYCLE`]; acknowledged after the next sync.
    named: Vec<(String, Answer)>,
}

impl Cycles {
    fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            let mut batch = Vec::new();
            if self.named.is_empty() {
                match requests.recv() {
                    Ok(first) => batch.push(first),
                    Err(_) => return,
                }
            }
            batch.extend(requests.try_iter().take(CYCLE - batch.len()));
            let began = Instant::now();
            self.cycle(batch);
            if !self.named.is_empty() {
                std::thread::sleep(PACE.saturating_sub(began.elapsed()));
            }
        }
    }

    fn cycle(&mut self, batch: Vec<Request>) {
        match self.root.sync_all() {
            Ok(()) => {
                self.named.drain(..).for_each(|(path, answer)| tell(answer, Ok(Reply::Placed(path))));
                let mut way = Way::default();
                batch.into_iter().for_each(|request| self.act(request, &mut way));
            }
            Err(error) => {
                let error = self.root.error("make files durable", &error);
                let waiting = batch.into_iter().map(Request::into_answer);
                self.named.drain(..).map(|(_, answer)| answer).chain(waiting).for_each(|answer| tell(answer, Err(error.clone())));
            }
        }
    }

    fn act(&mut self, request: Request, way: &mut Way) {
        match request {
            Request::Settle(path, answer) => tell(answer, Ok(Reply::Placed(path))),
            // Whoever gave up waiting must not find the object later.
            Request::Place(_, _, answer) if answer.is_closed() => {}
            Request::Place(mut sealed, path, answer) => match self.give_name(&mut sealed, &path, way) {
                Ok(Placing::Placed(path)) => self.named.push((path, answer)),
                Ok(Placing::Taken(path)) => tell(answer, Ok(Reply::Taken(*sealed, path))),
                Err(error) => tell(answer, Err(error)),
            },
        }
    }

    fn give_name(&self, sealed: &mut Sealed, path: &str, way: &mut Way) -> Result<Placing, StoreError> {
        sealed.temporary.sync().map_err(|error| self.root.error("make a file durable", &error))?;
        named(&self.root, sealed, path, way)
    }
}

impl Request {
    fn into_answer(self) -> Answer {
        match self {
            Request::Place(_, _, answer) | Request::Settle(_, answer) => answer,
        }
    }
}

/// Nobody may be waiting any more.
fn tell(answer: Answer, reply: Result<Reply, StoreError>) {
    let _ = answer.send(reply);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Owner;
    use super::*;

    /// A name is only durable after the sync that follows it.
    #[tokio::test]
    async fn a_file_is_acknowledged_one_sync_after_it_got_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(dir.path(), &LocalOptions::new(Owner::Exclusive)).unwrap());
        let mut cycles = Cycles { root: root.clone(), named: Vec::new() };
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let sealed = Box::new(Sealed::new(Temporary::create(root).unwrap(), place));
        let (answer, mut answered) = oneshot::channel();
        cycles.cycle(vec![Request::Place(sealed, "a/x".into(), answer)]);
        assert!(dir.path().join("a/x").exists());
        assert!(answered.try_recv().is_err(), "its name is not durable yet");
        cycles.cycle(Vec::new());
        assert!(matches!(answered.try_recv(), Ok(Ok(Reply::Placed(path))) if path == "a/x"));
    }

    /// To ask a thread that is gone again and again would end nothing.
    #[tokio::test]
    async fn without_its_thread_the_store_stops() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(dir.path(), &LocalOptions::new(Owner::Exclusive)).unwrap());
        let (queue, requests) = channel();
        drop(requests);
        let publisher = Publisher { queue, places: Arc::new(Semaphore::new(1)), root };
        assert!(matches!(publisher.settle("x").await, Err(StoreError::Fatal(message)) if message.contains("start again")));
    }

    /// What the file system refuses about one name says nothing about the store.
    #[tokio::test]
    async fn a_name_that_the_file_system_refuses_fails_alone() {
        let options = LocalOptions::new(Owner::Exclusive);
        for options in [options, LocalOptions { sync: SyncMode::Off, ..options }] {
            let dir = tempfile::tempdir().unwrap();
            let root = Arc::new(Root::open(dir.path(), &options).unwrap());
            let publisher = Publisher::start(root.clone(), &options).unwrap();
            for (path, placed) in [("d/".to_owned() + &"n".repeat(300), false), ("d/n".to_owned(), true)] {
                let sealed = Sealed::new(Temporary::create(root.clone()).unwrap(), publisher.reserve().await.unwrap());
                match publisher.place(sealed, &path).await {
                    Ok(Reply::Placed(_)) => assert!(placed),
                    Err(StoreError::Name(_)) => assert!(!placed),
                    _ => panic!("{path}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn an_upload_that_was_given_up_gets_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(dir.path(), &LocalOptions::new(Owner::Exclusive)).unwrap());
        let mut cycles = Cycles { root: root.clone(), named: Vec::new() };
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let sealed = Box::new(Sealed::new(Temporary::create(root).unwrap(), place));
        let (answer, answered) = oneshot::channel();
        drop(answered);
        cycles.cycle(vec![Request::Place(sealed, "x".into(), answer)]);
        assert!(!dir.path().join("x").exists());
    }
}
