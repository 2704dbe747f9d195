//! Giving a partition up: what is under way there may end first, so that the next owner does not do it again.
//!
//! ```text
//! revoked ─▶ leaving: nothing more of it is started ── its downloads are durable, or [`LEAVING`] is over ─▶ commit ─▶ released
//! ```
//! What has not ended by then is dropped by epoch: its outcome is appended, and its offset is the next owner's.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Job, Running};
use crate::StageError;
use crate::ports::{Epoch, Partition};

/// How long a revocation waits for downloads under way, at most; the group waits for its answer.
const LEAVING: Duration = Duration::from_secs(3);

/// The partitions that are being given up.
#[derive(Debug, Default)]
pub(super) struct Leaving(HashMap<Partition, (Epoch, Instant)>);

impl Leaving {
    pub(super) fn has(&self, partition: &Partition, epoch: Epoch) -> bool {
        self.0.get(partition).is_some_and(|(leaving, _)| *leaving == epoch)
    }

    /// It is ours again, by another assignment: the old one is over.
    pub(super) fn forget(&mut self, partition: &Partition) {
        self.0.remove(partition);
    }

    /// Those for which nobody has anything to wait for.
    fn over(&self, busy: impl Fn(&Partition, Epoch) -> bool) -> Vec<(Partition, Epoch)> {
        let now = Instant::now();
        let over = self.0.iter().filter(|(partition, (epoch, until))| *until <= now || !busy(partition, *epoch));
        over.map(|(partition, (epoch, _))| (partition.clone(), *epoch)).collect()
    }
}

impl Running {
    /// Begins to give a partition up.
    pub(super) async fn leave(&mut self, partition: Partition, epoch: Epoch) -> Result<(), StageError> {
        self.held.remove(&partition);
        let until = Instant::now() + LEAVING.min(self.stage.limits.grace);
        self.leaving.0.insert(partition, (epoch, until));
        self.release_left().await
    }

    /// Releases the partitions of which nothing is under way any more.
    pub(super) async fn release_left(&mut self) -> Result<(), StageError> {
        if self.leaving.0.is_empty() {
            return Ok(());
        }
        let under_way = |job: &Job| job.running_since.is_some() || job.passed.load(std::sync::atomic::Ordering::Relaxed);
        let busy = |partition: &Partition, epoch: Epoch| {
            self.jobs.values().any(|job| job.partition == *partition && job.epoch == epoch && under_way(job))
        };
        let over = self.leaving.over(busy);
        if over.is_empty() {
            return Ok(());
        }
        self.commit().await?;
        for (partition, epoch) in over {
            self.leaving.0.remove(&partition);
            self.tracker.revoke(&partition, epoch);
            self.consumer.release(&partition, epoch).await?;
        }
        Ok(())
    }
}
