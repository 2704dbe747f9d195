//! An in-memory world with faults and a seed, in which the real stages run under tokio's paused clock. For tests only.
//!
//! ```text
//! SimLog ◀──▶ ingest, download, retry, record ◀──▶ SimOrigin, SimStore, SimTable        all faults: [`Faults`]
//! ```
//! A test runs on `#[tokio::test(start_paused = true)]`: time passes only when everybody waits, so that a day takes
//! milliseconds. All chance comes from [`Dice`] with the world's seed; a world that fails says how to repeat it.
//!
//! Beside that world, [`services`] start the real servers that some tests need.
#![allow(clippy::unwrap_used)]

mod dice;
mod faults;
mod log;
mod origin;
pub mod services;
mod store;
mod table;
mod world;

pub use dice::{Dice, SimClock, seeds};
pub use faults::{Fault, Faults};
pub use log::SimLog;
pub use origin::{Answer, FILE, SimOrigin};
pub use store::SimStore;
pub use table::SimTable;
pub use world::{End, Stage, World, WorldOptions};

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
