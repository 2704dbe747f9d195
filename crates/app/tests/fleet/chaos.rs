//! What happens to a fleet while events arrive: kills, members that come and go, a broker that restarts.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use longshore::demo::content::Dice;
use longshore_sim::services::kafka::Broker;

use super::workers::{ROLES, Workers};

/// The most processes of one role.
const MOST: usize = 3;
/// The fewest.
const FEWEST: usize = 2;
/// How often processes are looked at.
const TICK: Duration = Duration::from_millis(20);

/// From one fault of a kind to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    /// A process is killed and started again.
    pub(crate) kill: Duration,
    /// A process joins or leaves.
    pub(crate) member: Duration,
    /// The broker restarts, in turn after a stop in order and after a kill.
    pub(crate) broker: Duration,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) kills: u64,
    pub(crate) joined: u64,
    pub(crate) left: u64,
    pub(crate) broker_restarts: u64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { kills, joined, left, broker_restarts } = self;
        write!(f, "{kills} kills, {joined} joined, {left} left, {broker_restarts} restarts of the broker")
    }
}

/// Faults at their intervals, by a seed.
#[derive(Debug)]
pub(crate) struct Chaos {
    intervals: Intervals,
    seed: u64,
}

/// Says that it is over when it is dropped, by a panic too: the broker's thread would go on for ever.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Something that is due again and again.
struct Every {
    interval: Duration,
    next: Instant,
}

impl Every {
    fn new(interval: Duration) -> Self {
        Every { interval, next: Instant::now() + interval }
    }

    fn is_due(&mut self) -> bool {
        let due = Instant::now() >= self.next;
        if due {
            self.next += self.interval;
        }
        due
    }
}

impl Chaos {
    pub(crate) fn new(intervals: Intervals, seed: u64) -> Self {
        Chaos { intervals, seed }
    }

    /// Does it for a time; afterwards the broker runs.
    pub(crate) fn run(&self, workers: &mut Workers<'_>, broker: &Mutex<Broker>, time: Duration) -> Told {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let restarting = scope.spawn(|| self.restart_broker(broker, &over));
            let ends = EndsWith(&over);
            let mut told = self.disturb(workers, time, &|| restarting.is_finished());
            drop(ends);
            told.broker_restarts = restarting.join().unwrap();
            told
        })
    }

    fn disturb(&self, workers: &mut Workers<'_>, time: Duration, broken: &dyn Fn() -> bool) -> Told {
        let (mut told, mut dice) = (Told::default(), Dice::new(self.seed));
        let (mut kill, mut member) = (Every::new(self.intervals.kill), Every::new(self.intervals.member));
        let begun = Instant::now();
        while begun.elapsed() < time && !broken() {
            workers.watch();
            if kill.is_due() {
                workers.kill_and_restart(below(&mut dice, workers.alive.len()));
                told.kills += 1;
            }
            if member.is_due() {
                join_or_leave(workers, &mut dice, &mut told);
            }
            std::thread::sleep(TICK);
        }
        told
    }

    fn restart_broker(&self, broker: &Mutex<Broker>, over: &AtomicBool) -> u64 {
        let (mut due, mut restarts) = (Every::new(self.intervals.broker), 0);
        while !over.load(SeqCst) {
            if due.is_due() {
                let mut broker = broker.lock().unwrap();
                if restarts % 2 == 0 {
                    broker.kill()
                } else {
                    broker.stop()
                }
                broker.restart();
                restarts += 1;
            }
            std::thread::sleep(TICK);
        }
        restarts
    }
}

/// One joins where there are few, or leaves where there are many; a coin decides where both can be.
fn join_or_leave(workers: &mut Workers<'_>, dice: &mut Dice, told: &mut Told) {
    let few: Vec<_> = ROLES.into_iter().filter(|role| workers.of(role) < MOST).collect();
    let many = |workers: &Workers<'_>, n: usize| workers.of(workers.alive[n].role) > FEWEST;
    let leavers: Vec<_> = (0..workers.alive.len()).filter(|n| many(workers, *n)).collect();
    let joins = leavers.is_empty() || (!few.is_empty() && dice.below(2) == 0);
    if joins {
        workers.join(few[below(dice, few.len())]);
        told.joined += 1;
    } else {
        workers.leave(leavers[below(dice, leavers.len())]);
        told.left += 1;
    }
}

fn below(dice: &mut Dice, count: usize) -> usize {
    usize::try_from(dice.below(count as u64)).unwrap()
}
