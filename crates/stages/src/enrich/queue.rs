//! The events that wait for their call, and their memory.

use std::collections::VecDeque;

use longshore_core::call::Call;

use super::Job;
use crate::ports::{Epoch, Partition};

/// Bytes of events and calls that may wait, over all partitions, before those that bring more are paused.
pub const QUEUED_BYTES: usize = 8 << 20;

/// First in, first out.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<(Job, Call)>,
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, job: Job, call: Call) {
        self.bytes += bytes(&job, &call);
        self.jobs.push_back((job, call));
    }

    pub(super) fn pop(&mut self) -> Option<(Job, Call)> {
        let (job, call) = self.jobs.pop_front()?;
        self.bytes -= bytes(&job, &call);
        Some((job, call))
    }

    /// Drops what came under an assignment that has ended.
    pub(super) fn revoke(&mut self, partition: &Partition, epoch: Epoch) {
        self.jobs.retain(|(job, _)| job.partition != *partition || job.epoch != epoch);
        self.bytes = self.jobs.iter().map(|(job, call)| bytes(job, call)).sum();
    }

    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= QUEUED_BYTES
    }

    pub(super) fn is_half_empty(&self) -> bool {
        self.bytes <= QUEUED_BYTES / 2
    }
}

fn bytes(job: &Job, call: &Call) -> usize {
    job.record.message.bytes() + call.url.len() + call.body.as_ref().map_or(0, |body| body.len())
}
