//! How many downloads a host gets at once: additive increase, multiplicative decrease (Chiu & Jain 1989).
//!
//! It begins with a few and adds one with each success, until the host first complains (slow start, Jacobson 1988);
//! from then on it adds one for each window of successes. A complaint halves it; what was under way by then does not
//! halve it again. Latency alone changes nothing.
//!
//! A file that fails is no complaint by itself: a host of which one file in twenty is broken bears as much as any
//! other, and halving at each of them would leave it a handful of downloads. Failures complain once they are many:
//! more than [`TOLERATED`] of the last ones, in a moving average; and they take nothing below [`START`], or what is left
//! at the end of a list, which is what fails, would be tried one by one.

/// Downloads at once from a host of which nothing is known yet.
pub const START: usize = 8;

/// The share of failing files that is no complaint, in 1,024ths: a quarter.
const TOLERATED: u32 = 256;
/// How many of the last downloads the share is about of.
const REMEMBERED: u32 = 16;

/// The concurrency of one host. `1 ≤ limit ≤ cap`, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rate {
    limit: usize,
    cap: usize,
    /// Successes since the limit last moved.
    successes: usize,
    phase: Phase,
    /// The share of failing files among the last downloads, in 1,024ths.
    failing: u32,
    /// Downloads that were under way when the limit was last halved.
    excused: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    SlowStart,
    Steady,
}

impl Rate {
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Rate { limit: cap.min(START), cap, successes: 0, phase: Phase::SlowStart, failing: 0, excused: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a host with this limit is treated worse than one that nothing is known of.
    pub(super) fn is_reduced(&self) -> bool {
        self.limit < self.cap.min(START)
    }

    /// Notes a download that ended without a word on the limit.
    pub(super) fn ended(&mut self) {
        self.excused = self.excused.saturating_sub(1);
    }

    pub(super) fn succeeded(&mut self) {
        self.failing -= self.failing / REMEMBERED;
        self.ended();
        self.successes += 1;
        if self.phase == Phase::SlowStart || self.successes >= self.limit {
            self.successes = 0;
            self.limit = (self.limit + 1).min(self.cap);
        }
    }

    /// Notes a file that failed, while `running` other downloads are under way.
    pub(super) fn failed(&mut self, running: usize) {
        self.failing += (1_024 - self.failing) / REMEMBERED;
        if self.failing > TOLERATED && self.limit > START { self.complained(running) } else { self.ended() }
    }

    /// Notes a complaint, while `running` other downloads are under way.
    pub(super) fn complained(&mut self, running: usize) {
        if self.excused > 0 {
            return self.ended();
        }
        (self.limit, self.successes, self.phase) = ((self.limit / 2).max(1), 0, Phase::Steady);
        self.excused = running;
    }
}
