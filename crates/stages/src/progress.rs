//! What the stages have done so far, for progress bars and summaries.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use longshore_core::outcome::{Class, Reason};

/// Counters of one run. All of them only grow, but for the gauges, which say so.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events that ingest has decoded or refused.
    pub events: AtomicU64,
    /// Messages without a value in the input, which nobody looks at.
    pub skipped_nulls: AtomicU64,
    /// Events where something else stands where the list of attachments is expected; it was taken for none.
    pub without_list: AtomicU64,
    /// Events in which no attachment was found.
    pub without_attachments: AtomicU64,
    /// Attachments that came again with the same URL shortly after; no second task was made.
    pub repeats: AtomicU64,
    /// Tasks that ingest has made.
    pub tasks: AtomicU64,
    /// Attachments stored by this run's downloads.
    pub stored: AtomicU64,
    /// Their bytes.
    pub stored_bytes: AtomicU64,
    /// Attempts that failed and went to a retry tier.
    pub retries: AtomicU64,
    /// Times that a task went to a tier because its host said wait; no attempt was spent.
    pub waits: AtomicU64,
    /// Tasks that were moved out of the way of others into a tier; no attempt was spent.
    pub moved: AtomicU64,
    /// Dead letters written.
    pub failed: AtomicU64,
    /// Bytes read from origins, kept or not.
    pub read_bytes: AtomicU64,
    /// Gauge: downloads under way.
    pub in_flight: AtomicU64,
    /// Gauge: tasks that wait for a parked host or in a retry tier.
    pub parked: AtomicU64,
    /// Gauge: files that are complete and wait to become durable.
    pub publishing: AtomicU64,
    /// Rows added to `attachments`.
    pub rows_stored: AtomicU64,
    /// Rows added to `attachments_failed`.
    pub rows_failed: AtomicU64,
    /// Rows added to `events`.
    pub rows_events: AtomicU64,
    /// Files stored although their content is not what their name says (`on_mismatch: warn`).
    pub type_warnings: AtomicU64,
    causes: Mutex<BTreeMap<(Class, Reason), u64>>,
}

impl Progress {
    /// Adds to a counter or a gauge.
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Relaxed);
    }

    /// Takes from a gauge.
    pub fn take(gauge: &AtomicU64, by: u64) {
        gauge.fetch_sub(by, Relaxed);
    }

    /// Reads a counter or a gauge.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    /// Counts a dead letter by its cause.
    pub fn count_failure(&self, class: Class, reason: Reason) {
        Self::add(&self.failed, 1);
        *lock(&self.causes).entry((class, reason)).or_default() += 1;
    }

    /// Dead letters written so far, by class and reason.
    pub fn causes(&self) -> BTreeMap<(Class, Reason), u64> {
        lock(&self.causes).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
