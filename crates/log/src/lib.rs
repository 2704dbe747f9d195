//! The log between the stages: embedded in one SQLite file, with nothing to install, or on Apache Kafka ([`kafka`]).
//!
//! Of the embedded log:
//!
//! **Owns** the file `log.db` and its directory lock, the durability of what is appended and committed, the groups and their
//! assignments, the trimming of what every group is done with. **Does not own** what the records mean, nor when to commit.
//!
//! ```text
//! append, commit, ensure_topics ──▶ queue (16 MiB) ──▶ writer thread ──▶ one transaction, one fsync ──▶ answers, wake-ups
//! next ◀── one batch (1,000 records, 1 MiB) ◀── reader connections (short transactions) ◀── log.db
//! ```
//!
//! One process writes; any number may look on ([`EmbeddedView`]). Groups live inside the writing process.
//! [`mod@conformance`] holds the promises of the `Log` port as a suite that every adapter runs.

mod catalog;
mod codec;
pub mod conformance;
mod consumer;
mod embedded;
mod error;
mod file;
mod group;
pub mod kafka;
mod lock;
mod read;
mod trim;
mod view;
mod write;
mod writer;

pub use embedded::EmbeddedLog;
pub use lock::writer_of;
pub use view::EmbeddedView;
