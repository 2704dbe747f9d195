//! A circuit breaker for one endpoint (Nygard, *Release It!*, 2007): while it is down nobody is sent there but one probe
//! after each wait.

use std::time::Duration;

use crate::time::Micros;

/// Failures in a row after which the endpoint counts as down.
pub const FAILURES: u32 = 10;
/// The first wait before a probe; it doubles with each probe that fails.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait before a probe.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether calls may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls are made; so many failed in a row.
    Closed { failures: u32 },
    /// No call before `until`; then one, as a probe.
    Open { until: Micros, wait: Duration },
    /// The probe is under way.
    Probing { wait: Duration },
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker(State::Closed { failures: 0 })
    }
}

impl Breaker {
    /// Whether a call may start now. A `true` after a wait makes this call the probe: it must be reported.
    pub fn start(&mut self, now: Micros) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { until, wait } if until <= now => {
                self.0 = State::Probing { wait };
                true
            }
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// When the next call may start: nothing when one may now, or when the probe decides.
    pub fn opens_at(&self) -> Option<Micros> {
        match self.0 {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } | State::Probing { .. } => None,
        }
    }

    /// How long a call that may not start had better wait: until the next probe may, or as long as the probe under way
    /// waited for its turn.
    pub fn wait(&self, now: Micros) -> Duration {
        match self.0 {
            State::Open { until, .. } => Duration::from_micros(until.saturating_sub(now).max(0).unsigned_abs()),
            State::Probing { wait } => wait,
            State::Closed { .. } => Duration::ZERO,
        }
    }

    /// Whether calls are made as usual.
    pub fn is_closed(&self) -> bool {
        matches!(self.0, State::Closed { .. })
    }

    /// Notes an answer, whatever it says: the endpoint is up. While a wait goes on it changes nothing: a call that began
    /// earlier does not speak for those that the endpoint asked us to hold back.
    pub fn answered(&mut self) {
        if !matches!(self.0, State::Open { .. }) {
            self.0 = State::Closed { failures: 0 };
        }
    }

    /// Notes a call that came to nothing and may later succeed.
    pub fn failed(&mut self, now: Micros) {
        self.0 = match self.0 {
            State::Closed { failures } if failures + 1 < FAILURES => State::Closed { failures: failures + 1 },
            State::Closed { .. } => open(FIRST_WAIT, now),
            State::Probing { wait } => open((wait * 2).min(LONGEST_WAIT), now),
            // A call that began earlier tells nothing new.
            State::Open { until, wait } => State::Open { until, wait },
        }
    }

    /// Notes that the endpoint asked for no call before `until`.
    pub fn throttled(&mut self, until: Micros) {
        self.0 = match self.0 {
            State::Open { until: already, wait } => State::Open { until: already.max(until), wait },
            State::Closed { .. } | State::Probing { .. } => State::Open { until, wait: FIRST_WAIT },
        }
    }
}

fn open(wait: Duration, now: Micros) -> State {
    let micros = Micros::try_from(wait.as_micros()).unwrap_or(Micros::MAX);
    State::Open { until: now.saturating_add(micros), wait }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    fn down() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert!(breaker.start(0));
            breaker.failed(0);
        }
        breaker
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            (1..FAILURES).for_each(|_| breaker.failed(0));
            breaker.answered();
        }
        assert!(breaker.is_closed());
        assert!(!down().start(SECOND - 1) && down().start(SECOND));
    }

    #[test]
    fn one_probe_at_a_time_and_each_that_fails_doubles_the_wait() {
        let (mut breaker, mut now, mut waits) = (down(), 0, Vec::new());
        for _ in 0..8 {
            let until = breaker.opens_at().expect("open");
            waits.push((until - now) / SECOND);
            now = until;
            assert!(breaker.start(now) && !breaker.start(now), "one probe");
            breaker.failed(now);
            breaker.failed(now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(breaker.start(breaker.opens_at().expect("open")));
        breaker.answered();
        assert!(breaker.start(now) && breaker.start(now));
    }

    #[test]
    fn who_may_not_call_is_told_how_long_to_wait_during_the_probe_too() {
        assert_eq!(Breaker::default().wait(0), Duration::ZERO);
        let mut breaker = down();
        assert_eq!(breaker.wait(SECOND / 4), Duration::from_millis(750));
        assert!(breaker.start(SECOND));
        assert_eq!(breaker.wait(SECOND), FIRST_WAIT, "the probe decides");
    }

    #[test]
    fn a_throttle_waits_as_asked() {
        let mut breaker = Breaker::default();
        breaker.throttled(90 * SECOND);
        breaker.throttled(30 * SECOND);
        breaker.answered();
        assert!(!breaker.start(90 * SECOND - 1) && breaker.start(90 * SECOND));
        breaker.failed(90 * SECOND);
        assert_eq!(breaker.opens_at(), Some(92 * SECOND));
    }
}
