//! The inventory.

use async_trait::async_trait;
use longshore_core::row::{Key, Row};

use super::Partition;

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Rows that were added.
    pub added: usize,
    /// Rows whose key was in the table already, or came twice in the batch.
    pub known: usize,
}

/// The log position that a commit reaches, written beside the rows for diagnosis only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    /// The partition.
    pub partition: Partition,
    /// Every record below it is in the table after the commit.
    pub watermark: u64,
}

/// Why the table did not do what it was asked, by what the caller must do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Try again later with the same rows.
    #[error("{0}")]
    Unavailable(String),
    /// Stop: only a person can mend this (a foreign table, no room, read-only). Names the remedy.
    #[error("{0}")]
    Fatal(String),
}

/// A table of rows that are appended exactly once by key.
#[async_trait]
pub trait Table: Send + Sync {
    /// Adds the rows whose key the table does not have, and returns once they are durable. Calling again with the
    /// same rows adds nothing, whoever does it and however the first call ended.
    async fn append(&self, rows: &[Row], positions: &[LogPosition]) -> Result<Appended, TableError>;

    /// Tells for each key whether the table has it, by id and sequence.
    async fn known(&self, keys: &[Key]) -> Result<Vec<bool>, TableError>;

    /// Does what is due of compaction, checkpoints and log clean-up; returns at once when nothing is.
    async fn maintain(&self) -> Result<(), TableError>;
}
