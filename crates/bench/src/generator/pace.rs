//! The schedule, and how well it was kept.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::plan::GeneratorPlan;
use crate::times::Times;

/// From the connection to the first message of a schedule: what a connection takes is no part of it.
const BEFORE_START_US: i64 = 500_000;
/// How often one who waits looks whether he is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What a generator and who listens to it share.
pub(super) struct Course {
    /// Messages that were acknowledged.
    pub(super) sent: Arc<AtomicU64>,
    /// Says when to stop.
    pub(super) stop: CancellationToken,
    started: Mutex<Option<oneshot::Sender<i64>>>,
}

/// What a generator came to.
pub(super) struct Sent {
    pub(super) count: u64,
    pub(super) seconds: f64,
    pub(super) late: Times,
    pub(super) started_unix_us: i64,
    pub(super) stopped: bool,
}

impl Course {
    /// A course, and who hears of its start.
    pub(super) fn new(stop: CancellationToken) -> (Arc<Self>, oneshot::Receiver<i64>) {
        let (start, started) = oneshot::channel();
        (Arc::new(Course { sent: Arc::default(), stop, started: Mutex::new(Some(start)) }), started)
    }

    /// The schedule begins.
    pub(super) fn begin(&self, plan: &GeneratorPlan) -> Pace {
        let pace = Pace::new(plan, self.stop.clone());
        if let Some(start) = self.started.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = start.send(pace.start_unix_us);
        }
        pace
    }
}

/// A schedule under way.
pub(super) struct Pace {
    plan: GeneratorPlan,
    stop: CancellationToken,
    start: Instant,
    start_unix_us: i64,
    late: Times,
}

impl Pace {
    fn new(plan: &GeneratorPlan, stop: CancellationToken) -> Self {
        let (now, now_us) = (Instant::now(), unix_us());
        let wait = if plan.rate_per_s.is_some() { BEFORE_START_US } else { 0 };
        let start_unix_us = plan.start_unix_us.unwrap_or(now_us + wait);
        let apart = Duration::from_micros(start_unix_us.abs_diff(now_us));
        let start = if start_unix_us >= now_us { now.checked_add(apart) } else { now.checked_sub(apart) };
        Pace { plan: plan.clone(), stop, start: start.unwrap_or(now), start_unix_us, late: Times::default() }
    }

    /// When a message is intended to be sent.
    pub(super) fn due(&self, number: u64) -> Instant {
        let after = self.plan.due_us(number).unwrap_or(0);
        self.start + Duration::from_micros(u64::try_from(after).unwrap_or(0))
    }

    /// Waits for a message's time on this thread; false when to stop.
    pub(super) fn wait(&self, number: u64) -> bool {
        if let Some(pause) = self.stall(number) {
            self.wait_until(Instant::now() + pause);
        }
        self.wait_until(self.due(number))
    }

    fn wait_until(&self, due: Instant) -> bool {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.is_cancelled() {
                return !self.stop.is_cancelled();
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// How long the generator is to stand still before a message, in a test of the suite.
    pub(super) fn stall(&self, number: u64) -> Option<Duration> {
        let stall = self.plan.stall.filter(|stall| stall.at == number)?;
        Some(Duration::from_millis(stall.for_ms))
    }

    /// Notes that a message has just been handed over.
    pub(super) fn sent(&mut self, number: u64) {
        if self.plan.rate_per_s.is_some() {
            let late = Instant::now().saturating_duration_since(self.due(number));
            self.late.add(late);
        }
    }

    /// Ends with so many messages acknowledged.
    pub(super) fn end(self, count: u64) -> Sent {
        let Pace { stop, start, start_unix_us, late, .. } = self;
        let seconds = Instant::now().saturating_duration_since(start).as_secs_f64();
        Sent { count, seconds, late, started_unix_us: start_unix_us, stopped: stop.is_cancelled() }
    }
}

/// Microseconds since 1970.
pub(super) fn unix_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
