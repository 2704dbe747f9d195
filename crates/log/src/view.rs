//! Looking at the log without taking part: from the writing process or from another one.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use longshore_stages::ports::{LogError, LogView, Partition, PartitionState, Position, Received};
use tokio::task::JoinError;

use crate::read::{self, Limit, Readers};
use crate::{error, file};

/// A read returns at most about this many bytes of values, whatever its `max`; read on from the last offset.
const READ_BYTES: usize = 16 << 20;

/// The log of a directory, open for reading only. Several may be open beside the one writer.
#[derive(Debug)]
pub struct EmbeddedView {
    readers: Arc<Readers>,
}

impl EmbeddedView {
    pub(crate) fn open(dir: &Path) -> Result<Self, LogError> {
        let readers = Arc::new(Readers::new(file::path(dir)));
        readers.with(|_, _| Ok(()))?;
        Ok(Self { readers })
    }
}

#[async_trait]
impl LogView for EmbeddedView {
    async fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
        state(&self.readers).await
    }

    async fn read(&self, partition: &Partition, from: u64, max: usize) -> Result<Vec<Received>, LogError> {
        read(&self.readers, partition, from, max).await
    }
}

pub(crate) async fn state(readers: &Arc<Readers>) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
    let readers = Arc::clone(readers);
    joined(tokio::task::spawn_blocking(move || readers.with(read::state))).await
}

pub(crate) async fn read(
    readers: &Arc<Readers>,
    partition: &Partition,
    from: u64,
    max: usize,
) -> Result<Vec<Received>, LogError> {
    let (readers, partition) = (Arc::clone(readers), partition.clone());
    let limit = Limit { records: max, bytes: READ_BYTES };
    joined(tokio::task::spawn_blocking(move || {
        readers.with(|conn, file| {
            let lane = read::find_lane(conn, file, &partition)?;
            Ok(read::records(conn, file, &partition, lane, from, limit)?.records)
        })
    }))
    .await
}

/// The result of work on a blocking thread; the runtime's end is the log's end.
pub(crate) async fn joined<T>(work: impl Future<Output = Result<Result<T, LogError>, JoinError>>) -> Result<T, LogError> {
    work.await.unwrap_or_else(|e| Err(LogError::Unavailable(format!("a read of the log was given up: {e}"))))
}

/// Refuses to go on with a closed log.
pub(crate) fn open_still(readers: &Readers) -> Result<(), LogError> {
    if readers.is_closed() { Err(error::closed(readers.file())) } else { Ok(()) }
}
