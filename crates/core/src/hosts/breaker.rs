//! The circuit breaker of one host (Nygard, Release It!): a host that does not answer is left alone for a while.
//!
//! ```text
//! Closed ── FAILURES in a row ──▶ Open(until) ── time over: one probe ──▶ HalfOpen ── it answers ──▶ Closed
//!                                     ▲                                      │
//!                                     └──────── no answer: twice as long ────┘
//! ```

use super::Signal;
use crate::time::{Micros, SECOND};

/// So many downloads in a row that speak of a dead host open its breaker: the first round of a host that is new.
pub const FAILURES: u32 = 8;
/// How long a breaker stays open the first time, in microseconds.
pub const FIRST_OPEN: Micros = 5 * SECOND;
/// The longest time that a breaker stays open, in microseconds.
pub const LONGEST_OPEN: Micros = 300 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaker {
    /// The host answers, as far as is known.
    Closed { failures: u32 },
    /// Nothing is asked of the host until then; then one download may try.
    Open { until: Micros, pause: Micros },
    /// That one download is under way.
    HalfOpen { pause: Micros },
}

impl Breaker {
    pub(super) const NEW: Breaker = Breaker::Closed { failures: 0 };

    /// Notes what a download said of the host; `running` others are still under way.
    pub(super) fn hear(&mut self, signal: Signal, running: usize, now: Micros) {
        *self = match (*self, signal) {
            (Breaker::Closed { failures }, Signal::Dead) if failures + 1 >= FAILURES => open(FIRST_OPEN, now),
            (Breaker::Closed { failures }, Signal::Dead) => Breaker::Closed { failures: failures + 1 },
            (Breaker::HalfOpen { pause }, Signal::Dead) => open(pause.saturating_mul(2), now),
            (Breaker::HalfOpen { .. }, Signal::Strained | Signal::Faulty) => Breaker::NEW,
            // The probe ended without asking: another one may go at once.
            (Breaker::HalfOpen { pause }, Signal::Silent) if running == 0 => Breaker::Open { until: now, pause },
            (_, Signal::Good | Signal::Alive) => Breaker::NEW,
            (unmoved, _) => unmoved,
        };
    }

    /// Notes that a download begins.
    pub(super) fn start(&mut self) {
        if let Breaker::Open { pause, .. } = *self {
            *self = Breaker::HalfOpen { pause };
        }
    }
}

fn open(pause: Micros, now: Micros) -> Breaker {
    let pause = pause.min(LONGEST_OPEN);
    Breaker::Open { until: now.saturating_add(pause), pause }
}
