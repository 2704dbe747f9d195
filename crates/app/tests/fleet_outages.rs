//! What a fleet cannot do for a while: append, or write a table. It says so, skips nothing, and goes on by itself.

#![allow(clippy::unwrap_used)]

mod batch;
mod fleet;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use batch::until;
use fleet::plan::Plan;
use fleet::workers::{Workers, said};
use fleet::{Fleet, producer, verdict};
use longshore::demo::origin::{Options, Origin};
use longshore_sim::services::kafka::shared;

const SESSION: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(90);

fn fleet(source: &'static str) -> (Origin, Fleet) {
    let origin = Origin::start(Options { largest: 4_000, ..Options::default() }).unwrap();
    let fleet = Fleet::on(tempfile::tempdir().unwrap(), shared().address(), source, SESSION);
    fleet.create_topics();
    (origin, fleet)
}

/// What `/health/ready` of some process of the fleet answers with that is not ready; empty while all are.
fn unready(fleet: &Fleet) -> String {
    let said = said(fleet);
    let addresses = said.lines().filter_map(|line| line.trim().strip_prefix("http://")?.split(": POST").next());
    addresses.map(ask).filter(|answer| answer.contains("503")).collect()
}

fn ask(address: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = write!(stream, "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

fn configure(topic: &str, setting: &str) {
    let what = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", setting];
    shared().tool("kafka.admin.ConfigCommand", &what);
}

fn ends_well(fleet: &Fleet, origin: &Origin, plan: &Plan, mut workers: Workers<'_>) {
    verdict::until_terminal(fleet, plan, &mut workers, CALM);
    workers.stop();
    verdict::check(fleet, origin, plan);
    fleet.reconcile("no object without a row");
}

/// Topics that take no record of a useful size any more, until an operator changes that back.
#[test]
fn appends_that_the_broker_refuses_are_made_again_until_it_takes_them() {
    let (origin, fleet) = fleet("refused");
    let mut plan = Plan::default();
    let events = plan.add_files(&origin, "all", 300);
    let topics = ["pending", "results"].map(|name| fleet.downloads(name));
    topics.iter().for_each(|topic| configure(topic, "max.message.bytes=100"));
    let mut workers = Workers::start(&fleet, 1);
    producer::send(fleet.log(), &fleet.events(), &events, Duration::ZERO);
    until("some process is not ready, because of the log", || unready(&fleet).contains("\"log\""));
    assert!(said(&fleet).contains("max.message.bytes"), "the remedy is said: {}", said(&fleet));
    workers.watch();
    topics.iter().for_each(|topic| configure(topic, "max.message.bytes=2097152"));
    until("all are ready again", || unready(&fleet).is_empty());
    ends_well(&fleet, &origin, &plan, workers);
}

#[test]
fn rows_wait_in_the_log_while_a_table_cannot_be_written() {
    let (origin, fleet) = fleet("unwritable");
    let mut plan = Plan::default();
    let first = plan.add_files(&origin, "first", 50);
    let mut workers = Workers::start(&fleet, 1);
    producer::send(fleet.log(), &fleet.events(), &first, Duration::ZERO);
    verdict::until_terminal(&fleet, &plan, &mut workers, CALM);

    let commits = fleet.root().join("tables/unwritable_attachments/_delta_log");
    let aside = fleet.root().join("aside");
    std::fs::rename(&commits, &aside).unwrap();
    // A link to itself: nothing can be opened below it, and that may pass.
    std::os::unix::fs::symlink(&commits, &commits).unwrap();
    let second = plan.add_files(&origin, "second", 200);
    producer::send(fleet.log(), &fleet.events(), &second, Duration::ZERO);
    until("record is not ready, because of a table", || unready(&fleet).contains("\"table\""));
    workers.watch();
    std::fs::remove_file(&commits).unwrap();
    std::fs::rename(&aside, &commits).unwrap();
    until("it is ready again", || unready(&fleet).is_empty());
    ends_well(&fleet, &origin, &plan, workers);
}
