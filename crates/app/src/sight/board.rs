//! Faults that calls met, and what of them is to be told: `/health/ready`.
//!
//! *Owns*: who failed since when, and the words for it. *Does not own*: how long a fault is tolerated
//! (`longshore_core::health`). What an error says stays in the log lines: health needs no token, and errors name files.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use longshore_core::health::Trouble;
use longshore_core::time::Micros;
use longshore_stages::ports::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::{Shared, lock};

/// A part of the outside world, or of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The log.
    Log,
    /// The object store.
    Store,
    /// A table.
    Table,
    /// The process itself.
    Work,
}

impl Part {
    /// As it is shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Part::Log => "log",
            Part::Store => "store",
            Part::Table => "table",
            Part::Work => "work",
        }
    }
}

/// Why the process is not ready.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unready {
    pub(crate) part: Part,
    /// What is wrong, in words that hold nothing from outside.
    pub(crate) what: String,
    pub(crate) since: Micros,
}

/// All faults of a process.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    began: Instant,
    began_at: Micros,
    lamps: Shared<Vec<Arc<Lamp>>>,
    stalled: Shared<Option<Duration>>,
    stopping: Shared<Stopping>,
    /// What the process waits for before it does anything.
    starting: Shared<Option<&'static str>>,
}

/// Whether the process was told to stop, and when that was noticed.
#[derive(Debug, Default)]
struct Stopping {
    draining: CancellationToken,
    since: Option<Duration>,
}

/// The calls of one kind.
#[derive(Debug)]
pub(crate) struct Lamp {
    part: Part,
    what: String,
    began: Instant,
    /// Whether there is any trouble: most calls succeed, and ask nothing but this.
    lit: AtomicBool,
    trouble: Mutex<Trouble>,
}

impl Board {
    pub(super) fn new() -> Self {
        let (began, began_at) = (Instant::now(), SystemClock.now());
        let (lamps, stalled, stopping, starting) = Default::default();
        Board { began, began_at, lamps, stalled, stopping, starting }
    }

    /// The lamp of this name, the same for all who ask.
    pub(super) fn lamp(&self, part: Part, what: &str) -> Arc<Lamp> {
        let mut lamps = lock(&self.lamps);
        if let Some(lamp) = lamps.iter().find(|lamp| lamp.part == part && lamp.what == what) {
            return lamp.clone();
        }
        let (lit, trouble) = (AtomicBool::new(false), Mutex::default());
        let lamp = Arc::new(Lamp { part, what: what.to_owned(), began: self.began, lit, trouble });
        lamps.push(lamp.clone());
        lamp
    }

    /// The time as the decisions know it.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A part answered a call of another kind.
    pub(super) fn answered(&self, part: Part) {
        let now = self.now();
        for lamp in lock(&self.lamps).iter().filter(|lamp| lamp.part == part && lamp.lit.load(Relaxed)) {
            lock(&lamp.trouble).answered(now);
        }
    }

    /// Since when nothing gets done, or that something does.
    pub(super) fn set_stalled(&self, since: Option<Duration>) {
        *lock(&self.stalled) = since;
    }

    /// The process stops once this is cancelled.
    pub(super) fn stops_with(&self, draining: CancellationToken) {
        lock(&self.stopping).draining = draining;
    }

    /// The process waits for this before it does anything; for nothing any more.
    pub(super) fn set_starting(&self, what: Option<&'static str>) {
        *lock(&self.starting) = what;
    }

    fn stopping(&self, now: Duration) -> Option<Duration> {
        let mut stopping = lock(&self.stopping);
        stopping.draining.is_cancelled().then(|| *stopping.since.get_or_insert(now))
    }

    /// Everything that is wrong now.
    pub(crate) fn reasons(&self) -> Vec<Unready> {
        let now = self.now();
        let unready = |part, what: &str, since| Unready { part, what: what.to_owned(), since: self.moment(since) };
        let lamps = lock(&self.lamps);
        let failing = lamps.iter().filter_map(|lamp| Some(unready(lamp.part, &lamp.what, lamp.since(now)?)));
        let stalled = *lock(&self.stalled);
        let stalled = stalled.map(|since| unready(Part::Work, "work waits and nothing is completed", since));
        let stopping = self.stopping(now).map(|since| unready(Part::Work, "the process is stopping", since));
        let starting = *lock(&self.starting);
        let starting = starting.map(|what| unready(Part::Work, what, Duration::ZERO));
        let mut reasons: Vec<Unready> = failing.chain(stalled).chain(stopping).chain(starting).collect();
        reasons.sort_unstable();
        reasons
    }

    fn moment(&self, since: Duration) -> Micros {
        self.began_at.saturating_add(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Lamp {
    /// Takes in how a call ended.
    pub(super) fn note<T, E>(&self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.succeeded(),
            Err(_) => self.failed(),
        }
    }

    pub(super) fn succeeded(&self) {
        if self.lit.load(Relaxed) {
            let mut trouble = lock(&self.trouble);
            trouble.succeeded();
            self.lit.store(false, Relaxed);
        }
    }

    pub(super) fn failed(&self) {
        let mut trouble = lock(&self.trouble);
        trouble.failed(self.began.elapsed());
        self.lit.store(true, Relaxed);
    }

    /// Whether the last call failed.
    #[cfg(test)]
    pub(super) fn is_lit(&self) -> bool {
        self.lit.load(Relaxed)
    }

    fn since(&self, now: Duration) -> Option<Duration> {
        if self.lit.load(Relaxed) { lock(&self.trouble).since(now) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board_that_began(ago: Duration) -> Board {
        let began = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
        Board { began, began_at: SystemClock.now() - ago.as_micros() as i64, ..Board::new() }
    }

    #[test]
    fn a_lamp_tells_of_a_fault_that_lasts_and_goes_out_with_a_success() {
        let board = board_that_began(Duration::from_secs(60));
        let lamp = board.lamp(Part::Store, "files cannot be written");
        let fails: Result<(), ()> = Err(());
        lamp.note(&fails);
        assert_eq!(board.reasons(), [], "it may be over at once");
        lock(&lamp.trouble).succeeded();
        lock(&lamp.trouble).failed(Duration::from_secs(10));
        let reasons = board.reasons();
        assert_eq!(reasons.len(), 1);
        assert_eq!((reasons[0].part, reasons[0].what.as_str()), (Part::Store, "files cannot be written"));
        assert_eq!(reasons[0].since, board.began_at + 10_000_000);
        lamp.note(&Ok::<(), ()>(()));
        assert_eq!(board.reasons(), []);
    }

    #[test]
    fn one_of_each_name_and_a_stall_is_a_reason_too() {
        let board = board_that_began(Duration::from_secs(60));
        assert!(Arc::ptr_eq(&board.lamp(Part::Log, "a"), &board.lamp(Part::Log, "a")));
        assert!(!Arc::ptr_eq(&board.lamp(Part::Log, "a"), &board.lamp(Part::Table, "a")));
        board.set_stalled(Some(Duration::from_secs(7)));
        lock(&board.lamp(Part::Log, "a").trouble).failed(Duration::from_secs(1));
        board.lamp(Part::Log, "a").lit.store(true, Relaxed);
        let parts: Vec<Part> = board.reasons().iter().map(|reason| reason.part).collect();
        assert_eq!(parts, [Part::Log, Part::Work]);
        board.answered(Part::Log);
        board.set_stalled(None);
        assert_eq!(board.reasons(), [], "the log answered others, and nobody has complained since");
    }
}
