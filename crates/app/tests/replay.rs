//! Replay: dead letters tried once more, by `dlq replay` and by `fetch --retry-failed`.

#![allow(clippy::unwrap_used)]

mod batch;
mod service_running;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use batch::{Batch, Finished, finish, longshore, media_id, origin, until};
use serde_json::Value;
use service_running::{Service, URLS};

/// The policy under which what was rejected is judged anew.
const POLICY: [&str; 3] = ["--allow-http", "--allow-private", "127.0.0.1/32"];

fn dlq(batch: &Batch, args: &[&str]) -> Finished {
    let mut command = longshore();
    command.arg("dlq").args(args).arg("--to").arg(&batch.to);
    finish(command)
}

/// Replays, which must end with this code; returns the report.
fn replay(batch: &Batch, args: &[&str], code: i32) -> Value {
    let finished = dlq(batch, &[&["replay", "--json"], args, &POLICY].concat());
    assert_eq!(finished.code, Some(code), "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
}

fn letters(batch: &Batch) -> Vec<Value> {
    let finished = dlq(batch, &["ls", "--json", "--limit", "0"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `dlq replay` of a service, which must end with this code; returns the report.
fn replay_of(service: &Service, args: &[&str], code: i32) -> Value {
    let mut command = longshore();
    command.args(["dlq", "replay", "--json", "-c"]).arg(&service.config).args(args);
    let finished = finish(command);
    assert_eq!(finished.code, Some(code), "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
}

/// Every file below a directory with its bytes.
fn content(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn once_the_origin_is_mended_a_replay_turns_failed_into_stored() {
    let (origin, batch) = (origin(), Batch::new());
    let (mended, gone) = (origin.url("/fails-3/a.pdf"), origin.url("/missing/b.pdf"));
    let list = batch.list("urls.txt", [&mended, &gone, &origin.url("/good/c.pdf")]);
    batch.summary(&[&list], 3);
    batch.reconcile();
    let report = replay(&batch, &["--class", "transient"], 0);
    assert_eq!((&report["replayed"], &report["stored"]), (&1.into(), &0.into()), "{report}");
    batch.reconcile();
    let summary = batch.summary(&[], 3);
    assert_eq!((&summary["stored"], &summary["unresolved"]), (&1.into(), &1.into()), "{summary}");
    let inventory = batch.inventory();
    let row = inventory.stored.iter().find(|row| row.url == mended).unwrap();
    assert_eq!((row.attempts, row.id.clone()), (1, media_id(&mended)), "a life begins with no attempts");
    assert_eq!(inventory.failed.len(), 2, "what failed before stays in the history: {:?}", inventory.failed);
    inventory.objects_are_as_said(&batch.to);
    let report = replay(&batch, &["--class", "transient"], 0);
    assert_eq!((&report["replayed"], &report["stored"]), (&0.into(), &1.into()), "what is stored is not replayed: {report}");
    batch.reconcile();
}

#[test]
fn what_is_under_way_is_not_replayed_again() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", (0..5).map(|n| origin.url(&format!("/missing/{n}.pdf"))));
    batch.summary(&[&list], 3);
    assert_eq!(replay(&batch, &["--all"], 0)["replayed"], 5);
    for args in [&["--all"] as &[&str], &["--all", "--dry-run"]] {
        let report = replay(&batch, args, 0);
        assert_eq!((&report["replayed"], &report["under_way"]), (&0.into(), &5.into()), "{args:?}: {report}");
    }
    let summary = batch.summary(&["--retry-failed"], 3);
    assert_eq!(summary["replayed"], 0, "{summary}");
    assert_eq!((letters(&batch).len(), origin.total_requests()), (10, 10), "each once more");
    let poison = Batch::new();
    let list = poison.file("events.ndjson", "{broken\n");
    poison.summary(&[&list], 3);
    assert_eq!(replay(&poison, &["--all"], 0)["replayed"], 1);
    assert_eq!(replay(&poison, &["--all"], 0)["under_way"], 1);
    poison.summary(&[], 3);
    assert_eq!(letters(&poison).len(), 2);
    assert_eq!(replay(&poison, &["--all"], 0)["replayed"], 1, "it has failed again");
}

#[test]
fn the_same_letters_replayed_twice_add_no_row_twice() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", (0..5).map(|n| origin.url(&format!("/missing/{n}.pdf"))));
    batch.summary(&[&list], 3);
    let first: Vec<String> = letters(&batch).iter().map(|letter| letter["offset"].to_string()).collect();
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    for _ in 0..2 {
        assert_eq!(replay(&batch, &first, 0)["replayed"], 5);
        batch.summary(&[], 3);
    }
    batch.reconcile();
    let failed = batch.inventory().failed;
    assert_eq!(failed.len(), 10, "two lives of five attachments: {failed:?}");
    // Both copies of a life have a letter; the row is one.
    assert_eq!(letters(&batch).iter().filter(|letter| letter["life"] == 1).count(), 10);
    let report = replay(&batch, &["--all"], 0);
    assert_eq!((&report["replayed"], &report["superseded"]), (&5.into(), &10.into()), "only the latest life counts: {report}");
    batch.summary(&[], 3);
    assert_eq!(batch.inventory().failed.len(), 15);
    batch.reconcile();
}

#[test]
fn what_was_rejected_is_judged_anew() {
    let (origin, batch) = (origin(), Batch::new());
    let exe = origin.url("/good/setup.exe");
    let list = batch.list("urls.txt", [&exe]);
    batch.summary(&[&list, "--file-types", "pdf"], 3);
    let report = replay(&batch, &["--all", "--file-types", "pdf"], 3);
    assert_eq!(report["still_refused"]["rejected (file_type)"], 1, "{report}");
    assert_eq!(origin.total_requests(), 0);
    assert_eq!(replay(&batch, &["--all"], 0)["replayed"], 1);
    batch.summary(&[], 0);
    let row = &batch.inventory().stored[0];
    assert!(row.url == exe && row.path.ends_with("/good/setup.exe"), "{row:?}");
    batch.reconcile();
}

#[test]
fn fetch_retries_what_failed_of_one_class_or_of_all() {
    let (origin, batch) = (origin(), Batch::new());
    let (mended, gone) = ("/fails-3/a.pdf", "/missing/b.pdf");
    let list = batch.list("urls.txt", [origin.url(mended), origin.url(gone)]);
    batch.summary(&[&list], 3);
    let summary = batch.summary(&["--retry-failed=transient"], 3);
    assert_eq!((&summary["replayed"], &summary["stored"]), (&1.into(), &1.into()), "{summary}");
    assert_eq!((origin.requests(mended).len(), origin.requests(gone).len()), (4, 1));
    let more = batch.list("more.txt", [origin.url(gone), origin.url("/good/c.pdf")]);
    let summary = batch.summary(&[&more, "--retry-failed"], 3);
    let counts = ["replayed", "stored", "known", "unresolved"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 1], "{summary}");
    assert_eq!(origin.requests(gone).len(), 2);
    batch.reconcile();
}

#[test]
fn poison_is_replayed_with_its_life_and_does_not_grow() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.file("events.ndjson", format!("{{\"at\": \"{}\"}}\n{{broken\n", origin.url("/good/a.pdf")));
    batch.summary(&[&list], 3);
    for life in 1..=3 {
        let report = replay(&batch, &["--class", "poison"], 0);
        assert_eq!((&report["replayed"], &report["superseded"]), (&2.into(), &(2 * (life - 1)).into()), "{report}");
        let summary = batch.summary(&[], 3);
        assert_eq!(summary["unresolved"], 2, "{summary}");
    }
    let mut lives: Vec<u64> = letters(&batch).iter().map(|letter| letter["life"].as_u64().unwrap()).collect();
    lives.sort_unstable();
    assert_eq!(lives, [0, 0, 1, 1, 2, 2, 3, 3]);
    let shown = dlq(&batch, &["show", "7", "--json"]);
    assert!(shown.stdout.contains("events.ndjson:"), "the place it was read at is kept: {shown:?}");
    batch.reconcile();
}

#[test]
fn an_event_that_was_cut_cannot_be_replayed_and_it_is_said() {
    let batch = Batch::new();
    let list = batch.file("events.ndjson", "x".repeat(3 << 20));
    batch.summary(&[&list], 3);
    let report = replay(&batch, &["--all"], 3);
    let why = report["not_replayable"].as_object().unwrap().keys().next().unwrap();
    assert!(report["replayed"] == 0 && why.contains("only its beginning was kept"), "{report}");
    assert!(!batch.to.join("failed.ndjson").exists(), "half an event is no input");
}

#[test]
fn letters_are_chosen_by_id_reason_host_and_age() {
    let (origin, batch) = (origin(), Batch::new());
    let gone = origin.url("/missing/a.pdf");
    let list = batch.list("urls.txt", [&gone, "http://127.0.0.2:9/b.pdf"]);
    batch.summary(&[&list], 3);
    let by = dlq(&batch, &["ls", "--by", "reason", "--json"]);
    assert_eq!(by.stdout.lines().count(), 2, "{by:?}");
    assert!(by.stdout.contains(r#"{"count":1,"reason":"http_status"}"#), "{by:?}");
    assert_eq!(dlq(&batch, &["ls", "--reason", "http_status", "--json"]).stdout.lines().count(), 1);
    let offset = letters(&batch).iter().find(|l| l["reason"] == "http_status").unwrap()["offset"].to_string();
    for (args, replayed) in [
        (&["--reason", "http_status"] as &[&str], 1),
        (&["--host", "127.0.0.1"], 1),
        (&["--host", "example.com"], 0),
        (&["--older", "1h"], 0),
        (&["--newer", "1h", "--class", "permanent"], 1),
        (&[&media_id(&gone)], 1),
        (&[&offset], 1),
    ] {
        let report = replay(&batch, &[args, &["--dry-run"]].concat(), 0);
        assert_eq!(report["replayed"], replayed, "{args:?}: {report}");
    }
    // An offset means that very letter, whatever came after it.
    replay(&batch, &[&offset], 0);
    batch.summary(&[], 3);
    assert_eq!(replay(&batch, &[&offset, "--dry-run"], 0)["replayed"], 1);
    let unknown = media_id("nobody");
    assert_eq!(replay(&batch, &[&unknown], 3)["unknown"], serde_json::json!([unknown]));
}

#[test]
fn a_dry_run_changes_nothing() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", [origin.url("/missing/a.pdf")]);
    batch.summary(&[&list], 3);
    let before = content(&batch.to);
    assert_eq!(replay(&batch, &["--all", "--dry-run"], 0)["replayed"], 1);
    let after: BTreeMap<_, _> = content(&batch.to);
    // Who looks at the log leaves SQLite's index of its write-ahead log, and that empty.
    let left = |path: &Path, bytes: &[u8]| path.ends_with("log.db-shm") || path.ends_with("log.db-wal") && bytes.is_empty();
    let changed = after.iter().filter(|(path, bytes)| before.get(*path) != Some(bytes));
    let changed: Vec<_> = changed.filter(|(path, bytes)| !left(path, bytes)).map(|(path, _)| path).collect();
    assert!(changed.is_empty(), "{changed:?}");
    batch.summary(&[], 3);
    assert_eq!(origin.total_requests(), 1);
}

#[test]
fn a_replay_that_would_mean_everything_has_to_be_asked_for() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", [origin.url("/missing/a.pdf")]);
    batch.summary(&[&list], 3);
    for (args, code, says) in [
        (&["replay"] as &[&str], 2, "--all"),
        (&["replay", "--all", "7"], 2, "exclude each other"),
        (&["replay", "--class", "broken"], 2, "transient, permanent, rejected or poison"),
        (&["replay", "--reason", "bad_luck"], 2, "--by reason"),
        (&["replay", "x"], 2, "neither an offset"),
        (&["replay", "--all", "--rate", "fast"], 2, "100/s"),
        (&["replay", "--all", "--rate", "0/s"], 2, "100/s"),
        (&["ls", "--by", "colour"], 2, "reason"),
    ] {
        let finished = dlq(&batch, args);
        assert_eq!(finished.code, Some(code), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains(says), "{args:?}: {finished:?}");
    }
    let finished = batch.fetch(&["--retry-failed=stored"]);
    assert!(finished.code == Some(2) && finished.stderr.contains("--retry-failed"), "{finished:?}");
}

#[test]
fn a_service_that_runs_is_asked_and_one_that_does_not_needs_not_be() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let running = service.start(&[]);
    let (mended, gone) = (origin.url("/fails-3/a.pdf"), origin.url("/missing/b.pdf"));
    let more: Vec<String> = (0..30).map(|n| origin.url(&format!("/missing/more-{n}.pdf"))).collect();
    assert_eq!(service.post("urls", &[&[mended.clone(), gone][..], &more].concat()).status, 202);
    until("all have failed", || service.count("urls", "failed") == 32);
    assert_eq!(replay_of(&service, &["--all", "--dry-run"], 0)["replayed"], 32);
    let report = replay_of(&service, &["--class", "transient"], 0);
    assert_eq!(report["replayed"], 1, "{report}");
    until("the mended one is stored", || service.count("urls", "attachments") == 1);
    let begun = std::time::Instant::now();
    let report = replay_of(&service, &["--all", "--rate", "20/s"], 0);
    // Of 20 a second, one request does those of some seconds; what is left is asked for with the next.
    assert_eq!((&report["replayed"], &report["stored"]), (&31.into(), &1.into()), "{report}");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(1_400), "31 of 20/s took {:?}", begun.elapsed());
    until("they have failed again", || service.count("urls", "failed") == 63);
    let unknown = media_id("nobody");
    assert_eq!(replay_of(&service, &[&unknown], 3)["unknown"], serde_json::json!([unknown]));
    let mut command = longshore();
    command.args(["dlq", "replay", "--all", "--allow-http", "-c"]).arg(&service.config);
    let finished = finish(command);
    assert!(finished.code == Some(2) && finished.stderr.contains("leave out the policy flags"), "{finished:?}");
    service.stop(running);
    let report = replay_of(&service, &["--host", "127.0.0.1"], 0);
    assert_eq!((&report["replayed"], &report["superseded"]), (&31.into(), &31.into()), "{report}");
    let running = service.start(&[]);
    until("they have failed a third time", || service.count("urls", "failed") == 94);
    service.stop(running);
    service.reconcile();
}

/// Asks the service to replay as `dlq replay` does; returns its report.
fn ask(service: &Service, wish: &Value) -> Value {
    let body = wish.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    let head = "POST /v1/dlq/urls/replay HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_replay_in_pieces_ends_where_everything_fails_again_at_once() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let running = service.start(&[]);
    let urls: Vec<String> = (0..7).map(|n| origin.url(&format!("/missing/{n}.pdf"))).collect();
    assert_eq!(service.post("urls", &urls).status, 202);
    until("all have failed", || service.idle() && service.count("urls", "failed") == 7);
    let (mut wish, mut replayed, mut pieces) = (serde_json::json!({ "limit": 2 }), 0, 0);
    loop {
        let report = ask(&service, &wish);
        replayed += report["replayed"].as_u64().unwrap();
        pieces += 1;
        until("they have failed again", || service.idle() && service.count("urls", "failed") as u64 == 7 + replayed);
        assert!(pieces <= 4, "it does not end: {report}");
        let Some(next) = report["next"].as_u64() else { break };
        wish = serde_json::json!({ "limit": 2, "from": next, "until": report["until"] });
    }
    assert_eq!((replayed, service.count("urls", "failed")), (7, 14));
    assert_eq!(service.stop(running).code, Some(0));
    service.reconcile();
}

#[test]
fn what_waits_in_a_tier_of_a_service_is_under_way() {
    let (origin, service) = (origin(), Service::new(&URLS.replace("[200ms, 400ms]", "[]"), ""));
    let running = service.start(&[]);
    assert_eq!(service.post("urls", &[origin.url("/fails-99/a.pdf")]).status, 202);
    until("it has failed", || service.idle() && service.count("urls", "failed") == 1);
    assert_eq!(service.stop(running).code, Some(0));
    let patient = std::fs::read_to_string(&service.config).unwrap().replace("retry: []", "retry: [10m]");
    std::fs::write(&service.config, patient).unwrap();
    let running = service.start(&[]);
    assert_eq!(replay_of(&service, &["--all"], 0)["replayed"], 1);
    until("it waits for its next attempt", || service.waiting("retry 10m") == 1);
    let report = replay_of(&service, &["--all"], 0);
    assert_eq!((&report["replayed"], &report["under_way"]), (&0.into(), &1.into()), "{report}");
    assert_eq!(origin.total_requests(), 2);
    service.stop(running);
}
