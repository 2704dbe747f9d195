//! Following the tables of a run while it goes on: each row goes into the accounts as it is seen.
//!
//! *Owns*: a thread that looks at both tables every `EVERY`, and one that takes objects out of the store, where a run would
//! fill the disk with them. *Does not own*: how they are read ([`crate::reader`]), what
//! the rows must be ([`crate::ledger`]).
//!
//! ```text
//! tables ─▶ reader, every 10 ms ─▶ accounts: 2 bits for each message
//!                               ├▶ arrivals: 16 bytes for each measured message
//!                               └▶ objects: each is compared with its row, and removed
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::failure::Failure;
use crate::generator::{Expected, Load};
use crate::ledger::{Accounts, Checked, Part, Phase};
use crate::reader::{COLUMNS, Follower, Seen};

/// From one look to the next, when nothing new was there.
const EVERY: Duration = Duration::from_millis(10);

/// Rows whose objects wait to be taken; then the reader waits.
const WAITING: usize = 16_384;

/// What becomes of the objects of rows that were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// They stay in the store.
    Stay,
    /// Each is compared with its row and removed from this store.
    Go(PathBuf),
}

/// Follows until it is dropped.
#[derive(Debug)]
pub struct Follow {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    remover: Option<JoinHandle<()>>,
}

type Taken = (Seen, Expected);

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    books: Mutex<Books>,
    /// Different rows of both tables.
    rows: AtomicU64,
    broken: Mutex<Option<crate::Error>>,
}

#[derive(Debug, Default)]
struct Books {
    accounts: Accounts,
    measured: Vec<Load>,
    arrivals: Vec<Arrival>,
}

/// A row of a measured load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its message's number.
    pub number: u64,
    /// When it was seen, in microseconds since 1970.
    pub seen_us: i64,
}

impl Follow {
    /// Follows the tables of stored and of failed attachments.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(attachments: PathBuf, failed: PathBuf, objects: Objects) -> Result<Self, Failure> {
        let mut follow = Follow { shared: Arc::new(Shared::default()), reader: None, remover: None };
        let (shared, [stored, failed]) = (&follow.shared, [attachments, failed].map(|table| Follower::open(&table, &COLUMNS)));
        let mut taken = None;
        if let Objects::Go(store) = objects {
            let (sender, receiver) = sync_channel(WAITING);
            taken = Some(sender);
            let shared = shared.clone();
            follow.remover = Some(thread("remover", move || take(&receiver, &store, &shared))?);
        }
        let shared = shared.clone();
        follow.reader = Some(thread("reader", move || look(stored, failed, taken.as_ref(), &shared))?);
        Ok(follow)
    }

    /// The messages of this load are expected from now on.
    pub fn expect(&self, load: Load, phase: Phase) -> Part {
        let mut books = lock(&self.shared.books);
        if phase == Phase::Measured {
            books.measured.push(load.clone());
        }
        books.accounts.expect(load, phase)
    }

    /// Does something with the accounts.
    pub fn accounts<T>(&self, with: impl FnOnce(&mut Accounts) -> T) -> T {
        with(&mut lock(&self.shared.books).accounts)
    }

    /// The rows of the measured load, in the order in which they were seen.
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.shared.books).arrivals.clone()
    }

    /// Fails when the tables cannot be read.
    ///
    /// # Errors
    /// With what the reader said.
    pub fn check(&self) -> Result<(), Failure> {
        match lock(&self.shared.broken).take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// A counter that others may keep.
    pub fn counter(&self) -> RowCounter {
        RowCounter(self.shared.clone())
    }

    /// Follows no more, and gives the accounts away.
    ///
    /// # Errors
    /// As [`Follow::check`], of what broke at the end.
    pub fn close(mut self) -> Result<Accounts, Failure> {
        self.end();
        self.check()?;
        Ok(std::mem::take(&mut lock(&self.shared.books).accounts))
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Relaxed);
        // The reader first: it hands over to the other.
        for thread in [self.reader.take(), self.remover.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many rows there are.
#[derive(Debug, Clone)]
pub struct RowCounter(Arc<Shared>);

impl RowCounter {
    /// Different rows of both tables.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Relaxed)
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(Failure::io(format!("cannot start a thread for the {name}")))
}

fn look(mut stored: Follower, mut failed: Follower, taken: Option<&SyncSender<Taken>>, shared: &Shared) {
    loop {
        // What came until the end is looked at, also where nobody waits for it any more.
        let is_last = shared.stop.load(Relaxed);
        let looked = stored.look().and_then(|stored| Ok((stored, failed.look()?)));
        let (stored, failed) = match looked {
            Ok(rows) => rows,
            Err(error) => {
                *lock(&shared.broken) = Some(error);
                return;
            }
        };
        if stored.is_empty() && failed.is_empty() {
            if is_last {
                return;
            }
            std::thread::sleep(EVERY);
            continue;
        }
        let mut of_objects = Vec::new();
        let mut books = lock(&shared.books);
        for row in stored {
            let new = books.note(&row, Accounts::stored);
            if new
                && taken.is_some()
                && let Some(expected) = books.accounts.expected(&row)
            {
                of_objects.push((row, expected));
            }
        }
        failed.iter().for_each(|row| _ = books.note(row, Accounts::failed));
        shared.rows.store(books.accounts.rows(), Relaxed);
        drop(books);
        if let Some(taken) = taken {
            // It ends early only when it is broken.
            of_objects.into_iter().for_each(|one| _ = taken.send(one));
        }
    }
}

fn take(objects: &Receiver<Taken>, store: &Path, shared: &Shared) {
    let mut checked = Checked::default();
    for (row, expected) in objects {
        if let Err(error) = checked.take(&row, &expected, store) {
            *lock(&shared.broken) = Some(error);
            return;
        }
    }
    lock(&shared.books).accounts.checked(checked);
}

impl Books {
    /// Whether it was new.
    fn note(&mut self, row: &Seen, take: fn(&mut Accounts, &Seen)) -> bool {
        let before = self.accounts.rows();
        take(&mut self.accounts, row);
        let new = self.accounts.rows() > before;
        let number = |trace_id: &str| self.measured.iter().find_map(|load| load.number(trace_id));
        if let Some(number) = row.trace_id.as_deref().and_then(number).filter(|_| new) {
            self.arrivals.push(Arrival { number, seen_us: row.seen_unix_us });
        }
        new
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
