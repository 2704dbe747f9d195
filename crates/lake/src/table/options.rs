//! What can be chosen about a table, and the measure of age that a writer which slept cannot cheat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_core::time::Micros;
use longshore_stages::ports::{Clock, SystemClock};

/// One day: the retention that tables are created with.
const DAY: Duration = Duration::from_secs(86_400);

/// How a table is kept. The defaults are for production; tests shorten the times.
#[derive(Clone)]
pub struct Options {
    /// How long log entries and files that are no longer part of the table are kept for readers of older versions,
    /// and after which a writer's own view counts as stale (a quarter of it). Written into a new table's properties.
    pub retention: Duration,
    /// How long one write to the store may take before its outcome counts as unknown. Less than a quarter of the
    /// retention.
    pub put_timeout: Duration,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
    /// Bytes of filters kept in memory: as much as it needs for the one over the keys of many files, the rest for the Bloom
    /// filters of single files, of which what does not fit is read again.
    pub filter_memory: usize,
    /// Bytes of decoded keys kept in memory: those of the row groups asked last.
    pub key_memory: usize,
    /// Rows of the largest file that compaction still rewrites.
    pub compact_up_to_rows: u64,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            retention: DAY,
            put_timeout: Duration::from_secs(10),
            checkpoint_every: 100,
            filter_memory: 32 << 20,
            key_memory: 8 << 20,
            compact_up_to_rows: 4_000_000,
            clock: Arc::new(SystemClock),
        }
    }
}

impl Options {
    pub(crate) fn moment(&self) -> Moment {
        Moment { steady: Instant::now(), wall: self.clock.now() }
    }

    /// The retention as Delta writes it (`interval 1 days`).
    pub(crate) fn interval(&self) -> String {
        match self.retention.as_secs() {
            86_400 => "interval 1 days".into(),
            seconds => format!("interval {seconds} seconds"),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now() / 1000
    }
}

/// A point in time on two clocks: the steady one stops while a machine is suspended, the wall clock may be set back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    steady: Instant,
    wall: Micros,
}

impl Moment {
    /// The longer of what the two clocks say.
    pub(crate) fn age(&self, options: &Options) -> Duration {
        let wall = u64::try_from(options.clock.now() - self.wall).unwrap_or(0);
        self.steady.elapsed().max(Duration::from_micros(wall))
    }
}
