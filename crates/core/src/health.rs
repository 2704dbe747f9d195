//! When a process counts as ready: what it works with does what it is asked, and work that waits gets done.
//!
//! *Owns*: how long a fault is tolerated, which work may wait, and when waiting becomes a stall. *Does not own*: who calls
//! whom, and what is shown of it. Time is a duration since any fixed moment, by a clock that never goes back.

use std::time::Duration;

/// How long calls may fail before it is told.
pub const TOLERATED: Duration = Duration::from_secs(5);
/// How long after its last failure a caller may be silent, until a success of others speaks for it too; longer than the
/// longest wait between two of its tries.
pub const SILENT: Duration = Duration::from_secs(15);

/// The calls of one kind to one part of the outside world: whether the last one failed, and none has succeeded since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble(Option<Failing>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failing {
    since: Duration,
    last: Duration,
}

impl Trouble {
    /// A call failed.
    pub fn failed(&mut self, now: Duration) {
        let since = self.0.map_or(now, |failing| failing.since);
        self.0 = Some(Failing { since, last: now });
    }

    /// A call succeeded.
    pub fn succeeded(&mut self) {
        self.0 = None;
    }

    /// A call of another kind to the same part succeeded. It clears what nobody has complained of for a while: who failed
    /// once and now waits for something to come says nothing of success.
    pub fn answered(&mut self, now: Duration) {
        self.0 = self.0.filter(|failing| now.saturating_sub(failing.last) < SILENT);
    }

    /// Since when the calls fail, once that is longer than [`TOLERATED`].
    pub fn since(&self, now: Duration) -> Option<Duration> {
        self.0.map(|failing| failing.since).filter(|since| now.saturating_sub(*since) > TOLERATED)
    }
}

/// What waits for one stage, in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Records that are not done with.
    pub records: u64,
    /// How long the first of them has been in the log, where that is known.
    pub oldest: Option<Duration>,
    /// How long the stage lets a record lie on purpose: the delay of a retry tier, the freshness of a table.
    pub may_lie: Duration,
    /// Whom it waits for.
    pub stage: Stage,
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Downloads, whose hosts may make them wait.
    Download,
    /// Any other.
    Other,
}

/// The downloads of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Downloads {
    /// Under way.
    pub in_flight: u64,
    /// Held back because their hosts said wait, or do not answer.
    pub parked: u64,
}

/// Whether anything that waits at a source could be done now. A record that lies until it is due, and a task of a parked
/// host, could not.
pub fn work_waits(waiting: &[Waiting], downloads: Downloads) -> bool {
    let due = |one: &Waiting| one.may_lie.is_zero() || one.oldest.is_some_and(|oldest| oldest > one.may_lie);
    let parked = |one: &Waiting| one.stage == Stage::Download && downloads.parked > 0;
    downloads.in_flight > 0 || waiting.iter().any(|one| one.records > 0 && due(one) && !parked(one))
}

/// Notices when work waits and nothing is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    patience: Duration,
    completed: u64,
    /// Since when work has waited without anything being completed.
    since: Option<Duration>,
}

impl Watchdog {
    /// One that tells of a stall after this time.
    pub fn new(patience: Duration) -> Self {
        Watchdog { patience, completed: 0, since: None }
    }

    /// Takes in whether work waits, and how much was completed in all, in any unit that only grows. Returns since when
    /// nothing gets done, once that is as long as its patience.
    pub fn look(&mut self, work_waits: bool, completed: u64, now: Duration) -> Option<Duration> {
        if !work_waits || completed != self.completed {
            self.since = None;
        }
        self.completed = completed;
        if work_waits {
            self.since.get_or_insert(now);
        }
        self.since.filter(|since| now.saturating_sub(*since) >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fault_is_told_when_it_lasts_and_forgotten_with_the_first_success() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.since(s(100)), None);
        trouble.failed(s(10));
        trouble.failed(s(14));
        assert_eq!((trouble.since(s(15)), trouble.since(s(16))), (None, Some(s(10))), "more than five seconds");
        trouble.succeeded();
        assert_eq!(trouble.since(s(99)), None);
        trouble.failed(s(100));
        assert_eq!((trouble.since(s(104)), trouble.since(s(106))), (None, Some(s(100))), "a new fault begins anew");
    }

    #[test]
    fn the_success_of_others_clears_only_what_nobody_complains_of_any_more() {
        let mut trouble = Trouble::default();
        trouble.failed(s(0));
        trouble.failed(s(10));
        trouble.answered(s(24));
        assert_eq!(trouble.since(s(24)), Some(s(0)), "it may be about to fail again");
        trouble.answered(s(25));
        assert_eq!(trouble.since(s(25)), None);
    }

    fn waiting(stage: Stage, records: u64, oldest: u64, may_lie: u64) -> Waiting {
        Waiting { records, oldest: Some(s(oldest)), may_lie: s(may_lie), stage }
    }

    #[test]
    fn work_waits_where_it_could_be_done() {
        let none = Downloads::default();
        assert!(!work_waits(&[], none) && !work_waits(&[waiting(Stage::Other, 0, 0, 0)], none));
        assert!(work_waits(&[waiting(Stage::Other, 1, 0, 0)], none));
        assert!(work_waits(&[Waiting { oldest: None, ..waiting(Stage::Other, 1, 0, 0) }], none), "its age does not matter");
        assert!(work_waits(&[], Downloads { in_flight: 1, parked: 9 }));
    }

    #[test]
    fn a_tier_that_waits_for_its_due_time_is_no_work_and_an_overdue_one_is() {
        let none = Downloads::default();
        assert!(!work_waits(&[waiting(Stage::Other, 7, 299, 300)], none));
        assert!(work_waits(&[waiting(Stage::Other, 7, 301, 300)], none));
        assert!(!work_waits(&[Waiting { oldest: None, ..waiting(Stage::Other, 7, 0, 300) }], none), "nobody knows");
    }

    #[test]
    fn tasks_of_a_parked_host_are_no_work_but_excuse_nobody_else() {
        let parked = Downloads { in_flight: 0, parked: 3 };
        assert!(!work_waits(&[waiting(Stage::Download, 3, 900, 0)], parked));
        assert!(work_waits(&[waiting(Stage::Download, 3, 900, 0)], Downloads::default()));
        assert!(work_waits(&[waiting(Stage::Download, 3, 900, 0), waiting(Stage::Other, 1, 1, 0)], parked));
    }

    #[test]
    fn a_stall_is_work_that_waits_while_nothing_is_completed() {
        let mut dog = Watchdog::new(s(120));
        assert_eq!(dog.look(true, 5, s(0)), None);
        assert_eq!(dog.look(true, 5, s(119)), None);
        assert_eq!(dog.look(true, 5, s(120)), Some(s(0)));
        assert_eq!(dog.look(true, 6, s(130)), None, "something was completed");
        assert_eq!(dog.look(true, 6, s(249)), None);
        assert_eq!(dog.look(true, 6, s(250)), Some(s(130)));
        assert_eq!(dog.look(false, 6, s(251)), None, "nothing waits any more");
        assert_eq!(dog.look(true, 6, s(300)), None, "an idle time is no stall");
    }

    #[test]
    fn steady_work_is_never_a_stall_however_much_waits() {
        let mut dog = Watchdog::new(s(2));
        assert!((0..1_000).all(|n| dog.look(true, n, s(n)).is_none()));
    }
}
