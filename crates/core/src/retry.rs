//! The retry ladder: where a task goes after an attempt that failed.

use std::time::Duration;

use crate::format::{ErrorNote, Task};
use crate::outcome::{Class, Failure, Reason};
use crate::time::Micros;

/// The fixed delays of the retry tiers and the bounds on waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// One tier for each delay, shortest first. An attempt more than there are tiers is the last.
    pub delays: Vec<Duration>,
    /// How often a throttled task may wait without spending an attempt.
    pub max_waits: u32,
    /// How long a throttled task may wait in all, from its first wait on.
    pub max_waiting: Duration,
    /// How long a task may wait in all for a host that does not answer, from its first wait on.
    pub max_dark: Duration,
    /// The longest `Retry-After` that is honoured whole.
    pub max_retry_after: Duration,
}

impl Ladder {
    /// The ladder of a service: `Retry-After` up to one hour, up to 100 waits or 24 hours.
    pub fn new(delays: Vec<Duration>) -> Self {
        let day = Duration::from_secs(24 * 3600);
        Ladder { delays, max_waits: 100, max_waiting: day, max_dark: day, max_retry_after: Duration::from_secs(3600) }
    }

    /// `Retry-After` as far as we honour it.
    pub fn wait(&self, failure: &Failure) -> Duration {
        failure.retry_after.unwrap_or_default().min(self.max_retry_after)
    }
}

/// Where a task goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To the retry tier with this index.
    Tier(usize),
    /// To the dead letters.
    DeadLetter,
}

/// Decides what becomes of a task whose attempt failed, and writes the failure into the task.
pub fn after(ladder: &Ladder, task: &mut Task, failure: &Failure, now: Micros) -> Next {
    note(task, failure, now);
    match failure.class {
        Class::Throttled if may_wait(ladder, task, now) => wait(ladder, task, failure, now),
        Class::Throttled | Class::Transient => spend(ladder, task),
        Class::Permanent => {
            task.attempts += 1;
            Next::DeadLetter
        }
        Class::Stored | Class::Rejected | Class::Poison => Next::DeadLetter,
    }
}

/// Why a task is moved out of the way of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// Its host asked us to wait.
    Parked,
    /// Its host does not answer.
    Dark,
    /// It stands at the head of a stuck window.
    Head,
    /// The store is away.
    Store,
}

impl Hindrance {
    fn limit(self, ladder: &Ladder) -> Duration {
        match self {
            Hindrance::Dark => ladder.max_dark,
            Hindrance::Parked | Hindrance::Head | Hindrance::Store => ladder.max_waiting,
        }
    }

    /// The failure of a task that has waited for as long as it may.
    pub fn failure(self) -> Failure {
        let (reason, message) = match self {
            Hindrance::Parked => (Reason::HostThrottled, "the host asked to wait for too long"),
            Hindrance::Dark => (Reason::Connect, "the host did not answer for too long"),
            Hindrance::Head => (Reason::HeadOfLine, "held up other tasks for too long"),
            Hindrance::Store => (Reason::Internal, "the store was away for too long"),
        };
        Failure::new(Class::Transient, reason, message)
    }
}

/// Moves a task out of the way without an attempt spent. The tier is the one nearest `delay`, doubled with each move;
/// bounded by the task's age only, beyond which each move is an attempt that failed. Nothing where there is no tier to
/// wait in: the task keeps its place.
pub fn move_off(ladder: &Ladder, task: &mut Task, why: Hindrance, delay: Duration, now: Micros) -> Option<Next> {
    if ladder.delays.is_empty() {
        return None;
    }
    if has_waited(task, now) > micros(why.limit(ladder)) {
        note(task, &why.failure(), now);
        return Some(spend(ladder, task));
    }
    let doubled = delay.saturating_mul(1 << task.moves.min(16));
    task.moves += 1;
    task.waiting_since.get_or_insert(now);
    Some(Next::Tier(nearest(&ladder.delays, doubled)))
}

fn note(task: &mut Task, failure: &Failure, now: Micros) {
    let note = ErrorNote::of(failure, now);
    task.first_error.get_or_insert_with(|| note.clone());
    task.last_error = Some(note);
}

fn may_wait(ladder: &Ladder, task: &Task, now: Micros) -> bool {
    !ladder.delays.is_empty() && task.waits < ladder.max_waits && has_waited(task, now) <= micros(ladder.max_waiting)
}

fn has_waited(task: &Task, now: Micros) -> Micros {
    now.saturating_sub(task.waiting_since.unwrap_or(now))
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

fn wait(ladder: &Ladder, task: &mut Task, failure: &Failure, now: Micros) -> Next {
    task.waits += 1;
    task.waiting_since.get_or_insert(now);
    Next::Tier(nearest(&ladder.delays, ladder.wait(failure)))
}

fn spend(ladder: &Ladder, task: &mut Task) -> Next {
    task.attempts += 1;
    let tier = task.attempts as usize - 1;
    if tier < ladder.delays.len() { Next::Tier(tier) } else { Next::DeadLetter }
}

/// The shortest delay that is long enough, else the longest.
fn nearest(delays: &[Duration], wanted: Duration) -> usize {
    delays.iter().position(|delay| *delay >= wanted).unwrap_or(delays.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    fn ladder() -> Ladder {
        Ladder::new([1, 5, 30].map(Duration::from_secs).to_vec())
    }

    fn transient() -> Failure {
        Failure::new(Class::Transient, Reason::HttpStatus, "500").with_status(500)
    }

    fn throttled(seconds: u64) -> Failure {
        let failure = Failure::new(Class::Throttled, Reason::HostThrottled, "429").with_status(429);
        Failure { retry_after: Some(Duration::from_secs(seconds)), ..failure }
    }

    #[test]
    fn each_transient_failure_climbs_one_tier_and_then_it_is_a_dead_letter() {
        let (ladder, mut task) = (ladder(), Task::default());
        let next: Vec<_> = (0..4).map(|now| after(&ladder, &mut task, &transient(), now)).collect();
        assert_eq!(next, [Next::Tier(0), Next::Tier(1), Next::Tier(2), Next::DeadLetter]);
        assert_eq!(task.attempts, 4);
        assert_eq!(task.first_error.as_ref().map(|e| e.at), Some(0));
        assert_eq!(task.last_error.as_ref().map(|e| e.at), Some(3));
    }

    #[test]
    fn a_throttled_task_waits_without_spending_an_attempt() {
        let (ladder, mut task) = (ladder(), Task::default());
        assert_eq!(after(&ladder, &mut task, &throttled(4), 0), Next::Tier(1));
        assert_eq!(after(&ladder, &mut task, &throttled(4_000), 0), Next::Tier(2));
        assert_eq!((task.attempts, task.waits), (0, 2));
        for _ in 2..100 {
            after(&ladder, &mut task, &throttled(1), 0);
        }
        assert_eq!((task.attempts, task.waits), (0, 100));
        assert_eq!(after(&ladder, &mut task, &throttled(1), 0), Next::Tier(0));
        assert_eq!((task.attempts, task.waits), (1, 100), "the 101st wait is a transient failure");
    }

    #[test]
    fn waiting_ends_after_a_day() {
        let (ladder, mut task) = (ladder(), Task::default());
        after(&ladder, &mut task, &throttled(1), 0);
        after(&ladder, &mut task, &throttled(1), 86_401 * SECOND);
        assert_eq!(task.attempts, 1);
    }

    #[test]
    fn what_cannot_succeed_goes_to_the_dead_letters_at_once() {
        let ladder = ladder();
        for class in [Class::Permanent, Class::Rejected] {
            let failure = Failure::new(class, Reason::HttpStatus, "no");
            assert_eq!(after(&ladder, &mut Task::default(), &failure, 0), Next::DeadLetter);
        }
        let none = Ladder::new(Vec::new());
        assert_eq!(after(&none, &mut Task::default(), &transient(), 0), Next::DeadLetter);
        assert_eq!(after(&none, &mut Task::default(), &throttled(1), 0), Next::DeadLetter);
    }

    #[test]
    fn moving_off_spends_no_attempt_and_waits_longer_each_time() {
        let (ladder, mut task) = (ladder(), Task::default());
        let mut off = |seconds, now| move_off(&ladder, &mut task, Hindrance::Head, Duration::from_secs(seconds), now);
        let tiers: Vec<_> = (0..4).map(|now| off(1, now)).collect();
        assert_eq!(tiers, [0, 1, 1, 2].map(|tier| Some(Next::Tier(tier))));
        assert_eq!(off(0, 86_401 * SECOND), Some(Next::Tier(0)));
        assert_eq!((task.attempts, task.waits, task.waiting_since), (1, 0, Some(0)), "after a day, a move is an attempt");
        assert_eq!(task.first_error.map(|e| e.reason), Some(Reason::HeadOfLine));
    }

    #[test]
    fn each_hindrance_has_its_patience_and_its_reason() {
        let ladder = Ladder { max_dark: Duration::from_secs(60), ..ladder() };
        for (why, patience, reason) in [
            (Hindrance::Dark, 60, Reason::Connect),
            (Hindrance::Parked, 86_400, Reason::HostThrottled),
            (Hindrance::Store, 86_400, Reason::Internal),
        ] {
            let mut task = Task { waiting_since: Some(0), attempts: 3, ..Task::default() };
            let at = |now| now * SECOND;
            assert_eq!(move_off(&ladder, &mut task, why, Duration::ZERO, at(patience)), Some(Next::Tier(0)), "{why:?}");
            assert_eq!((task.attempts, &task.last_error), (3, &None));
            assert_eq!(move_off(&ladder, &mut task, why, Duration::ZERO, at(patience) + 1), Some(Next::DeadLetter), "{why:?}");
            assert_eq!(task.last_error.map(|e| e.reason), Some(reason));
        }
        let none = Ladder::new(Vec::new());
        let mut task = Task::default();
        assert_eq!(move_off(&none, &mut task, Hindrance::Parked, Duration::ZERO, 0), None);
        assert_eq!(task, Task::default());
    }
}
