//! What an operator, a machine or a broker may do to a running fleet, one thing at a time: nothing lost, nothing doubled.
//!
//! Processes of the real binary on a real Kafka, each role on its own.

#![allow(clippy::unwrap_used)]

mod batch;
mod fleet;

use std::time::Duration;

use batch::until;
use fleet::plan::Plan;
use fleet::workers::{ROLES, Workers, said};
use fleet::{Fleet, producer, verdict};
use longshore::demo::origin::{Options, Origin};
use longshore_sim::services::kafka::{Broker, shared};
use rustix::process::Signal;

const SESSION: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(60);
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

/// A fleet, an origin, and what was sent so far.
struct Story {
    origin: Origin,
    fleet: Fleet,
    plan: Plan,
}

impl Story {
    /// On the broker that all stories share, with topics of its own.
    fn new(source: &'static str) -> Story {
        let story = Self::on(shared().address(), source);
        story.fleet.create_topics();
        story
    }

    fn on(broker: &str, source: &'static str) -> Story {
        let origin = Origin::start(Options { largest: 4_000, ..Options::default() }).unwrap();
        let fleet = Fleet::on(tempfile::tempdir().unwrap(), broker, source, SESSION);
        Story { origin, fleet, plan: Plan::default() }
    }

    /// Events that arrive at once.
    fn send(&mut self, prefix: &str, events: u64) {
        let events = self.plan.add_files(&self.origin, prefix, events);
        producer::send(self.fleet.log(), &self.fleet.events(), &events, Duration::ZERO);
    }

    fn until_terminal(&self, workers: &mut Workers<'_>) {
        verdict::until_terminal(&self.fleet, &self.plan, workers, CALM);
    }

    /// After this everything that was sent is where it should be, once.
    fn ends_well(&self, mut workers: Workers<'_>) {
        self.until_terminal(&mut workers);
        workers.stop();
        verdict::check(&self.fleet, &self.origin, &self.plan);
        self.fleet.reconcile("no object without a row");
    }
}

/// A record worker that slept through its session still holds rows, and a view of the table, from before.
#[test]
fn a_zombie_that_wakes_after_another_took_over() {
    let mut story = Story::new("zombie");
    story.send("early", 300);
    let (origin, fleet) = (&story.origin, &story.fleet);
    let events = story.plan.add_files(origin, "late", 600);
    let mut workers = Workers::start(fleet, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| producer::send(fleet.log(), &fleet.events(), &events, Duration::from_secs(8)));
        // Each in turn, so that the one with the partition is among them.
        for sleeper in workers.with_role("record") {
            workers.signal(sleeper, Signal::STOP);
            std::thread::sleep(SESSION * 2);
            workers.signal(sleeper, Signal::CONT);
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    workers.watch();
    story.ends_well(workers);
}

/// The topic of events is deleted and made anew: its offsets begin again below those that were committed.
#[test]
fn a_topic_that_is_deleted_and_made_again() {
    let mut story = Story::new("recreated");
    story.send("before", 200);
    let fleet = &story.fleet;
    let mut workers = Workers::start(fleet, 1);
    verdict::until_terminal(fleet, &story.plan, &mut workers, CALM);
    shared().topics(&["--delete", "--topic", &fleet.events()]);
    std::thread::sleep(Duration::from_secs(2));
    fleet.create_topics();
    let after = story.plan.add_files(&story.origin, "after", 100);
    producer::send(fleet.log(), &fleet.events(), &after, Duration::from_secs(1));
    story.ends_well(workers);
}

#[test]
fn partitions_that_are_added_while_it_runs() {
    let mut story = Story::new("wider");
    let fleet = &story.fleet;
    let events = story.plan.add_files(&story.origin, "all", 400);
    let workers = Workers::start(fleet, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| producer::send(fleet.log(), &fleet.events(), &events, Duration::from_secs(10)));
        std::thread::sleep(Duration::from_secs(2));
        for topic in [fleet.events(), fleet.downloads("pending")] {
            shared().topics(&["--alter", "--topic", &topic, "--partitions", "16"]);
        }
    });
    story.ends_well(workers);
}

/// The groups of a fleet that does not run go back to the beginning: everything is done again, and adds nothing.
#[test]
fn offsets_that_an_operator_resets_to_the_earliest() {
    let mut story = Story::new("again");
    story.send("all", 300);
    let mut workers = Workers::start(&story.fleet, 1);
    story.until_terminal(&mut workers);
    workers.stop();
    let groups = shared().tool(GROUPS, &["--list"]);
    let ours: Vec<&str> = groups.lines().filter(|group| group.contains("again")).collect();
    assert!(ours.len() >= 4, "{groups}");
    for group in ours {
        shared().tool(GROUPS, &["--group", group, "--reset-offsets", "--to-earliest", "--all-topics", "--execute"]);
    }
    let before = story.origin.total_requests();
    story.ends_well(Workers::start(&story.fleet, 1));
    let again = story.origin.total_requests() - before;
    assert!(again > 0, "nothing was done again: was anything reset?");
}

#[test]
fn a_rolling_restart_of_every_role_under_load() {
    let mut story = Story::new("rolling");
    let fleet = &story.fleet;
    let events = story.plan.add_files(&story.origin, "all", 1_000);
    let mut workers = Workers::start(fleet, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| producer::send(fleet.log(), &fleet.events(), &events, Duration::from_secs(15)));
        for role in ROLES {
            for _ in 0..2 {
                workers.leave(workers.with_role(role)[0]);
                while !workers.none_leaving() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                workers.join(role);
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    });
    story.ends_well(workers);
}

#[test]
fn a_broker_that_is_away_for_a_while_costs_only_time() {
    let mut broker = Broker::start();
    let mut story = Story::on(broker.address(), "away");
    story.fleet.create_topics();
    let fleet = &story.fleet;
    let events = story.plan.add_files(&story.origin, "all", 600);
    let mut workers = Workers::start(fleet, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| producer::send(fleet.log(), &fleet.events(), &events, Duration::from_secs(6)));
        std::thread::sleep(Duration::from_secs(3));
        broker.kill();
        std::thread::sleep(SESSION * 4);
        broker.restart();
    });
    workers.watch();
    story.ends_well(workers);
}

#[test]
fn processes_that_start_before_the_broker_wait_and_say_so() {
    let mut broker = Broker::start();
    let mut story = Story::on(broker.address(), "patient");
    story.fleet.create_topics();
    story.send("all", 100);
    broker.stop();
    let mut workers = Workers::start(&story.fleet, 1);
    until("each says what it waits for", || said(&story.fleet).matches(broker.address()).count() >= ROLES.len());
    workers.watch();
    broker.restart();
    story.ends_well(workers);
}
