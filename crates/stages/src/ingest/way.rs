//! Ingest's batches under way: several are made into tasks and appended at once, and their positions follow in order.

use std::collections::{BTreeMap, VecDeque};

use tokio_util::task::AbortOnDropHandle;

use crate::StageError;
use crate::ports::{Consumer, Epoch, Partition};

/// Batches under way at once: enough to plan one while others are on their way into the log.
const BATCHES: usize = 8;

/// The position after the last record of a batch, and how many records it has.
pub(super) struct Position {
    pub(super) partition: Partition,
    pub(super) epoch: Epoch,
    pub(super) next: u64,
    pub(super) records: u64,
}

struct UnderWay {
    work: AbortOnDropHandle<Result<(), StageError>>,
    position: Position,
}

/// Batches under way, oldest first, and what may be committed.
#[derive(Default)]
pub(super) struct Way {
    under_way: VecDeque<UnderWay>,
    done: BTreeMap<Partition, (Epoch, u64)>,
}

impl Way {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether nothing is under way, and something may be committed.
    pub(super) fn is_uncommitted(&self) -> bool {
        self.is_idle() && !self.done.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < BATCHES
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self, work: impl Future<Output = Result<(), StageError>> + Send + 'static, position: Position) {
        let work = AbortOnDropHandle::new(tokio::spawn(work));
        self.under_way.push_back(UnderWay { work, position });
    }

    /// Waits until the oldest batch is durable; returns how many records it had.
    ///
    /// Safe to cancel: the batch stays the oldest until it has ended.
    pub(super) async fn settle(&mut self) -> Result<u64, StageError> {
        let Some(oldest) = self.under_way.front_mut() else { return Ok(0) };
        let ended = (&mut oldest.work).await;
        ended.map_err(|error| StageError(format!("ingest: a batch broke down, please report it: {error}")))??;
        let Some(UnderWay { position, .. }) = self.under_way.pop_front() else { return Ok(0) };
        self.done.insert(position.partition, (position.epoch, position.next));
        Ok(position.records)
    }

    /// Waits until all of them are durable; returns how many records they had.
    pub(super) async fn settle_all(&mut self) -> Result<u64, StageError> {
        let mut records = 0;
        while !self.is_idle() {
            records += self.settle().await?;
        }
        Ok(records)
    }

    /// Commits the positions of what is durable.
    pub(super) async fn commit(&mut self, consumer: &mut dyn Consumer) -> Result<(), StageError> {
        if self.done.is_empty() {
            return Ok(());
        }
        let positions = std::mem::take(&mut self.done).into_iter().map(|(partition, (epoch, next))| (partition, epoch, next));
        Ok(consumer.commit_all(&positions.collect::<Vec<_>>()).await?)
    }
}
