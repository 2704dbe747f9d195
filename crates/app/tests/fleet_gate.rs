//! The fleet exact under failure: many processes of the real binary on a real Kafka, killed, joined, left and cut off from
//! their broker while events arrive; then every event has its rows and its objects, once.
//!
//! Small by default, a minute. `LONGSHORE_GATE=full` runs it whole (100,000 events over more than three minutes; six in all),
//! `LONGSHORE_SEED=n` repeats a run's events, choices and intervals. The machine's own timing stays its own.
//! `dev/mutate` breaks the code on purpose and expects this test to go red.

#![allow(clippy::unwrap_used)]

mod batch;
mod fleet;

use std::time::{Duration, Instant};

use fleet::chaos::{Chaos, Intervals};
use fleet::plan::Plan;
use fleet::workers::Workers;
use fleet::{Fleet, producer, verdict};
use longshore::demo::origin::{Options, Origin};

/// What is done, and for how long.
struct Size {
    events: u64,
    /// How long events arrive, and faults happen.
    arrival: Duration,
    session_timeout: Duration,
    intervals: Intervals,
    /// The least number of kills that make it a gate.
    kills: u64,
}

/// How long after the last fault every event must have ended.
const TERMINAL_WITHIN: Duration = Duration::from_secs(120);

fn size() -> Size {
    let seconds = Duration::from_secs;
    match std::env::var("LONGSHORE_GATE").as_deref() {
        Ok("full") => Size {
            events: 100_000,
            arrival: seconds(200),
            session_timeout: seconds(6),
            intervals: Intervals { kill: seconds(2), member: seconds(5), broker: seconds(30) },
            kills: 60,
        },
        _ => Size {
            events: 4_000,
            arrival: seconds(30),
            session_timeout: seconds(3),
            intervals: Intervals { kill: Duration::from_millis(1_500), member: seconds(5), broker: seconds(12) },
            kills: 12,
        },
    }
}

fn seed() -> u64 {
    let chosen = std::env::var("LONGSHORE_SEED").ok().and_then(|seed| seed.parse().ok());
    chosen.unwrap_or_else(|| u64::from(std::process::id()))
}

#[test]
fn the_fleet_is_exact_under_failure() {
    let (size, seed) = (size(), seed());
    println!("repeat with: LONGSHORE_SEED={seed} cargo test -p longshore --test fleet_gate");
    let origin = Origin::start(Options { seed, largest: 8_000, delay: Duration::from_millis(2) }).unwrap();
    let plan = Plan::new(&origin, size.events, seed);
    let (fleet, broker) = Fleet::with_broker(size.session_timeout);
    let mut workers = Workers::start(&fleet, 2);

    let chaos = Chaos::new(size.intervals, seed);
    let told = std::thread::scope(|scope| {
        let producing = scope.spawn(|| producer::send(fleet.log(), &fleet.events(), &plan.sends, size.arrival));
        let told = chaos.run(&mut workers, &broker, size.arrival);
        producing.join().unwrap();
        told
    });
    println!("{told}");
    assert!(told.kills >= size.kills, "{} kills are no gate", told.kills);

    let calm = Instant::now();
    verdict::until_terminal(&fleet, &plan, &mut workers, TERMINAL_WITHIN);
    println!("all terminal {:.0?} after the faults", calm.elapsed());
    workers.stop();
    verdict::check(&fleet, &origin, &plan);
    fleet.reconcile("/changing-");
}
