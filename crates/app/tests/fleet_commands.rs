//! What people do with a service on Kafka: send to it, look at it, follow an id, replay what failed, prove it.

#![allow(clippy::unwrap_used)]

mod batch;
mod fleet;

use std::time::Duration;

use batch::until;
use fleet::Fleet;
use fleet::workers::Workers;
use longshore::demo::origin::{Options, Origin};
use longshore_sim::services::kafka::shared;
use serde_json::{Value, json};

const SESSION: Duration = Duration::from_secs(6);

fn event(trace: &str, url: &str) -> String {
    json!({ "type": "a.documentsReceived", "traceId": trace, "data": { "attachments": [url] } }).to_string()
}

fn json_of(fleet: &Fleet, command: &str, args: &[&str]) -> Value {
    let finished = fleet.finish(command, args);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{command}: {e}: {finished:?}"))
}

#[test]
fn a_service_on_kafka_is_sent_to_looked_at_and_replayed() {
    let origin = Origin::start(Options { largest: 4_000, ..Options::default() }).unwrap();
    let fleet = Fleet::on(tempfile::tempdir().unwrap(), shared().address(), "looked", SESSION);
    assert_eq!(fleet.finish("topics", &["check"]).code, Some(3), "no topic is there");
    let early = fleet.finish("run", &[]);
    assert!(early.code == Some(1) && early.stderr.contains("looked.downloads.pending"), "{early:?}");
    fleet.create_topics();
    assert_eq!(fleet.finish("topics", &["check"]).code, Some(0));

    // Four attempts in a life, and the origin fails five times: the second life stores it.
    let (good, stubborn, gone) = (origin.url("/good/1.pdf"), origin.url("/fails-5/2.pdf"), origin.url("/missing/3.pdf"));
    let lines = [event("t-good", &good), event("t-stubborn", &stubborn), event("t-gone", &gone), "no JSON".to_owned()];
    let file = fleet.root().join("events.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let workers = Workers::start(&fleet, 1);
    let sent = json_of(&fleet, "send", &[file.to_str().unwrap(), "--json"]);
    assert_eq!((&sent["sent"], &sent["topic"]), (&4.into(), &"looked.events.raw".into()));
    until("one is stored and two have failed", || fleet.count("attachments") == 1 && fleet.count("failed") == 2);

    let letters = fleet.finish("dlq", &["ls", "--json"]);
    assert_eq!(letters.stdout.lines().count(), 3, "poison is a letter, too: {letters:?}");
    assert_eq!(fleet.finish("dlq", &["ls", "--by", "reason"]).code, Some(0));
    let trace = fleet.finish("trace", &["t-stubborn"]);
    assert!(trace.code == Some(0) && trace.stdout.contains("looked.downloads.dlq"), "{trace:?}");

    let replayed = json_of(&fleet, "dlq", &["replay", "--class", "transient", "--json"]);
    assert_eq!(replayed["replayed"], 1, "{replayed:#}");
    until("the second life has stored it", || fleet.count("attachments") == 2);
    let again = json_of(&fleet, "dlq", &["replay", "--class", "transient", "--json"]);
    assert_eq!(again["replayed"], 0, "it is stored: {again:#}");

    until("nothing waits", || fleet.waiting() == Some(0));
    let lag = json_of(&fleet, "lag", &["--json"]);
    assert_eq!(lag["total"]["waiting"], 0, "{lag:#}");
    let pending = lag["stages"].as_array().unwrap().iter().filter(|one| one["topic"] == "looked.downloads.pending");
    // Three tasks, three tries more of the stubborn one, and its second life, which takes two.
    assert_eq!(pending.map(|one| one["committed"].as_u64().unwrap()).sum::<u64>(), 8);
    workers.stop();
    fleet.reconcile("no object without a row");
    assert_eq!(origin.requests("/fails-5/2.pdf").len(), 6);
}
