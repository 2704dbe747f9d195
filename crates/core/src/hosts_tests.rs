use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::time::SECOND;

fn hosts(per_host: usize) -> Hosts<u32> {
    Hosts::new(per_host, Breaking::On)
}

fn with_jobs(per_host: usize, jobs: u32) -> Hosts<u32> {
    let mut hosts = hosts(per_host);
    (0..jobs).for_each(|job| hosts.push("h", job, 0));
    hosts
}

fn start_all(hosts: &mut Hosts<u32>, now: Micros) -> Vec<u32> {
    std::iter::from_fn(|| hosts.pop(now)).collect()
}

fn end(hosts: &mut Hosts<u32>, jobs: usize, signal: Signal, now: Micros) {
    for _ in 0..jobs {
        hosts.done("h", signal, now);
    }
}

#[test]
fn a_host_whose_jobs_have_nowhere_to_wait_is_not_parked() {
    let mut hosts = Hosts::new(2, Breaking::Off);
    (0..2).for_each(|job| hosts.push("h", job, 0));
    assert_eq!(hosts.pop(0), Some(0));
    hosts.park("h", 50, 0);
    assert_eq!((hosts.done("h", Signal::Strained, 0), hosts.pop(0)), (Standing::Open, Some(1)));
}

#[test]
fn hosts_take_turns_and_keep_their_cap() {
    let mut hosts = Hosts::new(2, Breaking::On);
    for job in 0..4 {
        hosts.push("a", format!("a{job}"), 0);
    }
    hosts.push("b", "b0".into(), 0);
    let order: Vec<_> = std::iter::from_fn(|| hosts.pop(0)).collect();
    assert_eq!(order, ["a0", "b0", "a1"]);
    assert_eq!((hosts.queued(), hosts.queued_of("a")), (2, 2));
    hosts.done("a", Signal::Good, 0);
    assert_eq!(hosts.pop(0).as_deref(), Some("a2"));
    assert_eq!(hosts.pop(0), None);
}

#[test]
fn urgent_jobs_of_a_host_go_first_and_the_others_in_order() {
    let mut hosts = with_jobs(1, 2);
    hosts.push_urgent("h", 7, 0);
    hosts.push_urgent("h", 8, 0);
    let mut order = Vec::new();
    while let Some(job) = hosts.pop(0) {
        order.push(job);
        hosts.done("h", Signal::Good, 0);
    }
    assert_eq!(order, [7, 8, 0, 1]);
}

#[test]
fn a_parked_host_waits_and_holds_nobody_up() {
    let mut hosts = hosts(2);
    hosts.push("slow", 1, 0);
    assert_eq!(hosts.pop(0), Some(1));
    hosts.push("slow", 2, 0);
    hosts.park("slow", 50, 0);
    assert_eq!(hosts.done("slow", Signal::Alive, 0), Standing::Parked(50));
    hosts.push("quick", 3, 0);
    assert_eq!(hosts.pop(10), Some(3));
    assert_eq!((hosts.pop(49), hosts.has_turn(49)), (None, false));
    assert_eq!((hosts.parked(49), hosts.standing("slow", 49)), (1, Standing::Parked(50)));
    assert_eq!((hosts.has_turn(50), hosts.pop(50)), (true, Some(2)));
}

#[test]
fn an_idle_host_is_forgotten_but_bad_news_of_it_is_remembered() {
    let mut hosts = hosts(1);
    hosts.push("a", 1, 0);
    hosts.pop(0);
    hosts.done("a", Signal::Good, 0);
    assert!(hosts.hosts.is_empty());
    hosts.push("a", 2, 0);
    hosts.pop(0);
    hosts.park("a", 9, 0);
    hosts.done("a", Signal::Strained, 0);
    assert_eq!(hosts.standing("a", 5), Standing::Parked(9));
    assert_eq!((hosts.hosts.len(), hosts.idle.len()), (1, 1));
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let mut hosts = hosts(1);
    for number in 0..REMEMBERED + 10 {
        let name = format!("h{number}");
        hosts.push(&name, 0, 0);
        assert_eq!(hosts.pop(0), Some(0));
        hosts.park(&name, 9, 0);
        hosts.done(&name, Signal::Strained, 0);
    }
    assert_eq!((hosts.hosts.len(), hosts.idle.len()), (REMEMBERED, REMEMBERED));
    assert_eq!((hosts.standing("h9", 0), hosts.standing("h10", 0)), (Standing::Open, Standing::Parked(9)));
}

#[test]
fn what_a_host_holds_beyond_its_share_can_be_taken() {
    let mut hosts = with_jobs(1, 5);
    hosts.push_urgent("h", 9, 0);
    assert_eq!(hosts.take_excess("h", 3, 0), [2, 3, 4]);
    assert_eq!((hosts.queued(), hosts.take_excess("h", 3, 0).len(), hosts.take_excess("b", 0, 0).len()), (3, 0, 0));
    assert_eq!(hosts.pop(0), Some(9));
    assert_eq!(hosts.take_excess("h", 0, 0), [0, 1]);
    hosts.done("h", Signal::Good, 0);
    assert_eq!((hosts.pop(0), hosts.hosts.len()), (None, 0));
}

#[test]
fn draining_takes_what_waits_and_leaves_what_runs() {
    let mut hosts = with_jobs(1, 3);
    assert_eq!(hosts.pop(0), Some(0));
    assert_eq!(hosts.drain(), [1, 2]);
    assert_eq!(hosts.queued(), 0);
    hosts.push("h", 7, 0);
    assert_eq!(hosts.pop(0), None, "the running one still counts");
    hosts.done("h", Signal::Good, 0);
    assert_eq!(hosts.pop(0), Some(7));
}

#[test]
fn a_host_that_gives_files_gets_more_at_once_up_to_the_cap() {
    let mut hosts = with_jobs(64, 1_000);
    let mut rounds = Vec::new();
    while rounds.last() != Some(&64) {
        let started = start_all(&mut hosts, 0).len();
        rounds.push(started);
        end(&mut hosts, started, Signal::Good, 0);
    }
    assert_eq!(rounds, [8, 16, 32, 64]);
}

#[test]
fn a_complaint_halves_the_limit_once_a_round_and_a_round_of_successes_adds_one() {
    let mut hosts = with_jobs(8, 1_000);
    let mut round = |signal| {
        let started = start_all(&mut hosts, 0).len();
        end(&mut hosts, started, signal, 0);
        started
    };
    let sizes: Vec<_> = [Signal::Strained, Signal::Good, Signal::Good, Signal::Strained, Signal::Strained, Signal::Strained]
        .map(&mut round)
        .to_vec();
    assert_eq!(sizes, [8, 4, 5, 6, 3, 1]);
    assert_eq!(round(Signal::Strained), 1, "never none");
}

/// The downloads that a host gets at once, after `rounds` in which every nth file fails.
fn limit_after(rounds: usize, nth: usize) -> usize {
    let mut hosts = with_jobs(64, 100_000);
    for round in 0..rounds {
        for number in 0..start_all(&mut hosts, 0).len() {
            hosts.done("h", if (round + number) % nth == 0 { Signal::Faulty } else { Signal::Good }, 0);
        }
    }
    start_all(&mut hosts, 0).len()
}

#[test]
fn a_host_with_some_broken_files_gets_as_many_as_another_and_one_that_mostly_fails_does_not() {
    assert_eq!(limit_after(60, 20), 64, "one file in twenty");
    assert_eq!(limit_after(60, 10), 64, "one in ten");
    assert!(limit_after(60, 2) <= 16, "every other one: {}", limit_after(60, 2));
    assert!(limit_after(60, 1) >= START / 2, "all of them: {}", limit_after(60, 1));
}

#[test]
fn what_does_not_speak_of_the_host_changes_nothing() {
    let mut hosts = with_jobs(8, 1_000);
    for _ in 0..20 {
        assert_eq!(start_all(&mut hosts, 0).len(), 8);
        for number in 0..8 {
            hosts.done("h", if number % 2 == 0 { Signal::Silent } else { Signal::Alive }, 0);
        }
    }
}

/// Starts all that may start and lets it fail as of a dead host; returns how many that were.
fn fail_all(hosts: &mut Hosts<u32>, now: Micros) -> usize {
    let started = start_all(hosts, now).len();
    end(hosts, started, Signal::Dead, now);
    started
}

#[test]
fn a_dead_host_is_probed_by_one_job_at_a_time_and_ever_less_often() {
    let mut hosts = with_jobs(8, 1_000);
    assert_eq!(fail_all(&mut hosts, 0), FAILURES as usize, "its first round says it");
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..9 {
        let Standing::Broken(until) = hosts.standing("h", now) else { panic!("closed at {now}") };
        pauses.push((until - now) / SECOND);
        assert_eq!(hosts.pop(until - 1), None);
        now = until;
        assert_eq!(fail_all(&mut hosts, now), 1);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn one_answer_closes_the_breaker_and_the_next_pause_is_short_again() {
    for answer in [Signal::Good, Signal::Alive, Signal::Strained, Signal::Faulty] {
        let mut hosts = with_jobs(8, 1_000);
        fail_all(&mut hosts, 0);
        assert_eq!(fail_all(&mut hosts, FIRST_OPEN), 1);
        let now = 3 * FIRST_OPEN;
        assert!(hosts.pop(now).is_some());
        assert_eq!(hosts.done("h", answer, now), Standing::Open);
        for _ in 0..FAILURES {
            hosts.pop(now).expect("closed");
            hosts.done("h", Signal::Dead, now);
        }
        assert_eq!(hosts.standing("h", now), Standing::Broken(now + FIRST_OPEN));
    }
}

#[test]
fn a_probe_that_never_asked_makes_way_for_the_next() {
    let mut hosts = with_jobs(8, 1_000);
    fail_all(&mut hosts, 0);
    assert!(hosts.pop(FIRST_OPEN).is_some());
    assert!(matches!(hosts.standing("h", FIRST_OPEN), Standing::Broken(_)));
    hosts.done("h", Signal::Silent, FIRST_OPEN);
    assert_eq!(start_all(&mut hosts, FIRST_OPEN).len(), 1);
}

#[test]
fn an_answer_of_an_older_download_closes_an_open_breaker() {
    let mut hosts = with_jobs(64, 1_000);
    for _ in 0..3 {
        let started = start_all(&mut hosts, 0).len();
        end(&mut hosts, started, Signal::Good, 0);
    }
    start_all(&mut hosts, 0);
    end(&mut hosts, FAILURES as usize, Signal::Dead, 0);
    assert!(matches!(hosts.standing("h", 0), Standing::Broken(_)));
    assert_eq!(hosts.done("h", Signal::Good, 0), Standing::Open);
}

#[test]
fn without_a_place_to_wait_the_breaker_stays_closed() {
    let mut hosts = Hosts::new(8, Breaking::Off);
    (0..100).for_each(|job| hosts.push("h", job, 0));
    for _ in 0..50 {
        assert!(fail_all(&mut hosts, 0) > 0);
    }
}

#[test]
fn failures_say_what_they_say_of_the_host() {
    let of = |class, reason, status: Option<u16>| {
        let failure = Failure::new(class, reason, "");
        Signal::of(&Failure { http_status: status, ..failure })
    };
    use Class::{Permanent, Rejected, Throttled, Transient};
    for (signal, failures) in [
        (Signal::Dead, &[(Transient, Reason::Connect, None), (Transient, Reason::HttpStatus, Some(502))][..]),
        (Signal::Dead, &[(Transient, Reason::Dns, None), (Transient, Reason::IdleTimeout, None)]),
        (Signal::Strained, &[(Throttled, Reason::HostThrottled, Some(503)), (Transient, Reason::HttpStatus, Some(429))]),
        (Signal::Faulty, &[(Transient, Reason::HttpStatus, Some(500)), (Transient, Reason::HttpStatus, Some(505))]),
        (Signal::Faulty, &[(Transient, Reason::Protocol, None), (Transient, Reason::WrongLength, None)]),
        (
            Signal::Alive,
            &[
                (Transient, Reason::TotalTimeout, None),
                (Permanent, Reason::HttpStatus, Some(404)),
                (Permanent, Reason::Expired, Some(403)),
            ],
        ),
        (Signal::Silent, &[(Permanent, Reason::Expired, None), (Rejected, Reason::ForbiddenAddress, None)]),
        (Signal::Silent, &[(Throttled, Reason::Lookup, Some(429)), (Transient, Reason::Internal, None)]),
    ] {
        for (class, reason, status) in failures {
            assert_eq!(of(*class, *reason, *status), signal, "{reason} {status:?}");
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8),
    PushUrgent(u8),
    Pop,
    Done(usize, Signal),
    Park(u8, Micros),
    TakeExcess(u8, usize),
    Pass(Micros),
}

fn signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        2 => Just(Signal::Good),
        1 => Just(Signal::Alive),
        1 => Just(Signal::Strained),
        2 => Just(Signal::Faulty),
        4 => Just(Signal::Dead),
        1 => Just(Signal::Silent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8).prop_map(Step::Push),
        1 => (0..3u8).prop_map(Step::PushUrgent),
        5 => Just(Step::Pop),
        4 => (any::<usize>(), signal()).prop_map(|(n, s)| Step::Done(n, s)),
        1 => (0..3u8, 0..20 * SECOND).prop_map(|(h, t)| Step::Park(h, t)),
        1 => (0..3u8, 0..4usize).prop_map(|(h, n)| Step::TakeExcess(h, n)),
        2 => (0..10 * SECOND).prop_map(Step::Pass),
    ]
}

/// What must be true, kept the simple way.
struct Model {
    cap: usize,
    now: Micros,
    hosts: Hosts<(u8, u32)>,
    next: u32,
    waiting: HashSet<(u8, u32)>,
    running: Vec<(u8, u32)>,
    parked: [Micros; 3],
}

impl Model {
    fn push(&mut self, host: u8) -> (String, (u8, u32)) {
        let job = (host, self.next);
        self.next += 1;
        assert!(self.waiting.insert(job));
        (host.to_string(), job)
    }

    fn running_of(&self, host: u8) -> usize {
        self.running.iter().filter(|(h, _)| *h == host).count()
    }

    fn pop(&mut self) {
        let Some(job) = self.hosts.pop(self.now) else {
            assert!(!self.hosts.has_turn(self.now), "a turn that gives nothing stays a turn");
            return self.nobody_is_forgotten();
        };
        assert!(self.waiting.remove(&job), "{job:?} came out twice, or never went in");
        self.running.push(job);
        assert!(self.running_of(job.0) <= self.cap, "more than the cap run");
        assert!(self.parked[usize::from(job.0)] <= self.now, "the host is parked");
    }

    /// Whoever has jobs, and may run none, has a reason.
    fn nobody_is_forgotten(&self) {
        for host in 0..3u8 {
            let name = host.to_string();
            let Some(entry) = self.hosts.hosts.get(&*name).filter(|h| h.queued() > 0) else { continue };
            let excused = !entry.has_room() || entry.standing(self.now) != Standing::Open;
            assert!(excused, "host {host} has jobs and got no turn: {entry:?}");
            assert!(entry.running > 0 || matches!(entry.place, Place::Waiting(_)), "nothing will wake host {host}: {entry:?}");
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Push(host) => {
                let (name, job) = self.push(host);
                self.hosts.push(&name, job, self.now);
            }
            Step::PushUrgent(host) => {
                let (name, job) = self.push(host);
                self.hosts.push_urgent(&name, job, self.now);
            }
            Step::Pop => self.pop(),
            Step::Done(n, signal) if !self.running.is_empty() => {
                let (host, _) = self.running.swap_remove(n % self.running.len());
                self.hosts.done(&host.to_string(), signal, self.now);
            }
            Step::Done(..) => {}
            Step::Park(host, wait) => {
                let (name, until) = (host.to_string(), self.now + wait);
                if self.hosts.hosts.contains_key(&*name) {
                    let parked = &mut self.parked[usize::from(host)];
                    *parked = (*parked).max(until);
                }
                self.hosts.park(&name, until, self.now);
            }
            Step::TakeExcess(host, keep) => {
                for job in self.hosts.take_excess(&host.to_string(), keep, self.now) {
                    assert!(self.waiting.remove(&job), "{job:?} was taken out twice");
                }
            }
            Step::Pass(time) => self.now += time,
        }
        assert_eq!(self.hosts.queued(), self.waiting.len());
        let limits = self.hosts.hosts.values().map(|h| h.rate.limit());
        assert!(limits.into_iter().all(|limit| (1..=self.cap).contains(&limit)), "the limit leaves its bounds");
    }

    /// With time and answers every job comes out.
    fn run_dry(&mut self) {
        for _ in 0..10_000 {
            if self.waiting.is_empty() {
                return;
            }
            self.pop();
            for (host, _) in std::mem::take(&mut self.running) {
                self.hosts.done(&host.to_string(), Signal::Good, self.now);
            }
            self.now += SECOND;
        }
        panic!("{} jobs never came out", self.waiting.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_job_comes_out_once_and_never_more_than_the_cap_run(
        cap in 1..12usize,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let hosts = Hosts::new(cap, Breaking::On);
        let (waiting, running) = (HashSet::new(), Vec::new());
        let mut model = Model { cap, now: 0, hosts, next: 0, waiting, running, parked: [0; 3] };
        steps.iter().for_each(|step| model.apply(step));
        model.run_dry();
    }
}
