//! Following the tables of a run while it goes on: each row goes into the accounts as it is seen.
//!
//! *Owns*: a thread that looks at both tables every `EVERY`. *Does not own*: how they are read ([`crate::reader`]), what
//! the rows must be ([`crate::ledger`]).
//!
//! ```text
//! tables ─▶ reader, every 10 ms ─▶ accounts: 2 bits for each message
//!                               └▶ arrivals: 16 bytes for each measured message
//! ```

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::failure::Failure;
use crate::generator::Load;
use crate::ledger::{Accounts, Part, Phase};
use crate::reader::{COLUMNS, Follower, Seen};

/// From one look to the next, when nothing new was there.
const EVERY: Duration = Duration::from_millis(10);

/// Follows until it is dropped.
#[derive(Debug)]
pub struct Follow {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

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
    pub fn start(attachments: PathBuf, failed: PathBuf) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let [stored, failed] = [attachments, failed].map(|table| Follower::open(&table, &COLUMNS));
        let thread = std::thread::Builder::new().name("reader".to_owned()).spawn(move || look(stored, failed, &seen));
        let thread = thread.map_err(Failure::io("cannot start a thread for the reader"))?;
        Ok(Follow { shared, thread: Some(thread) })
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
    pub fn close(mut self) -> Accounts {
        self.end();
        std::mem::take(&mut lock(&self.shared.books).accounts)
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
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

fn look(mut stored: Follower, mut failed: Follower, shared: &Shared) {
    while !shared.stop.load(Relaxed) {
        let looked = stored.look().and_then(|stored| Ok((stored, failed.look()?)));
        let (stored, failed) = match looked {
            Ok(rows) => rows,
            Err(error) => {
                *lock(&shared.broken) = Some(error);
                return;
            }
        };
        if stored.is_empty() && failed.is_empty() {
            std::thread::sleep(EVERY);
            continue;
        }
        let mut books = lock(&shared.books);
        stored.iter().for_each(|row| books.note(row, Accounts::stored));
        failed.iter().for_each(|row| books.note(row, Accounts::failed));
        shared.rows.store(books.accounts.rows(), Relaxed);
    }
}

impl Books {
    fn note(&mut self, row: &Seen, take: fn(&mut Accounts, &Seen)) {
        let before = self.accounts.rows();
        take(&mut self.accounts, row);
        let new = self.accounts.rows() > before;
        let number = |trace_id: &str| self.measured.iter().find_map(|load| load.number(trace_id));
        if let Some(number) = row.trace_id.as_deref().and_then(number).filter(|_| new) {
            self.arrivals.push(Arrival { number, seen_us: row.seen_unix_us });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
