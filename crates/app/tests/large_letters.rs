//! Dead letters that are too large for the log: their bytes lie in the object store, and every command finds them there.

#![allow(clippy::unwrap_used)]

mod batch;
mod service_running;

use std::path::PathBuf;

use batch::{Batch, Finished, finish, longshore, origin, sha256, until};
use serde_json::Value;
use service_running::{Service, URLS};

fn command(batch: &Batch, args: &[&str]) -> Finished {
    let mut command = longshore();
    command.args(args).arg("--to").arg(&batch.to);
    finish(command)
}

/// A command's report, which must end with this code.
fn json(batch: &Batch, args: &[&str], code: i32) -> Value {
    let finished = command(batch, &[args, &["--json"]].concat());
    assert_eq!(finished.code, Some(code), "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
}

/// The objects that dead letters refer to.
fn objects(files: PathBuf) -> Vec<PathBuf> {
    let directories = std::fs::read_dir(files.join(".dead-letters")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        directories.flat_map(|of_source| std::fs::read_dir(of_source).unwrap()).map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

/// An event of about 1 MiB whose note is far too long for an id, and whose id is right.
fn event(id: &str, url: &str) -> String {
    let note = format!("{}?token=tell-nobody", "n".repeat(1_040_000));
    serde_json::json!({ "id": id, "files": [url], "note": note }).to_string()
}

#[test]
fn an_event_of_a_mebibyte_is_kept_whole_and_replayed_once_the_mapping_is_right() {
    let (origin, batch) = (origin(), Batch::new());
    let (good, broken) = (event("claim-1", &origin.url("/good/a.pdf")), format!("{{{}", "[".repeat(1 << 19)));
    let list = batch.file("events.ndjson", format!("{good}\n{broken}\n"));
    let summary = batch.summary(&[&list, "--map", "attachments=files", "--map", "trace_id=note"], 3);
    assert_eq!((&summary["stored"], &summary["unresolved"]), (&0.into(), &2.into()), "{summary}");

    // Whole in the store, by their content; small in the log.
    let kept = objects(batch.to.join("files"));
    let mut contents: Vec<Vec<u8>> = kept.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(kept.iter().zip(&contents).all(|(path, bytes)| path.ends_with(sha256(bytes))), "{kept:?}");
    contents.sort();
    let mut expected = vec![good.clone().into_bytes(), broken.clone().into_bytes()];
    expected.sort();
    assert_eq!(contents, expected);
    batch.reconcile_with_leftovers("nowhere");

    // Everybody finds them.
    let shown = json(&batch, &["dlq", "show", "0"], 0);
    assert_eq!((&shown["object"]["state"], &shown["original"]["bytes"]), (&"there".into(), &good.len().into()));
    assert!(shown["original"]["text"].as_str().unwrap().starts_with(r#"{"files":["#), "the event itself is shown");
    let trace = json(&batch, &["trace", "claim-1"], 0);
    assert_eq!(trace["steps"][0]["stage"], "dead letter", "{trace}");
    let failed = std::fs::read_to_string(batch.to.join("failed.ndjson")).unwrap();
    assert_eq!(failed.lines().collect::<Vec<_>>(), [&good, &broken]);

    // With the right mapping one is stored, and the other fails again with the same object.
    let summary = batch.summary(&["--map", "attachments=files", "--map", "trace_id=id", "--retry-failed"], 3);
    assert_eq!(
        (&summary["replayed"], &summary["stored"], &summary["unresolved"]),
        (&2.into(), &1.into(), &1.into()),
        "{summary}"
    );
    assert_eq!(objects(batch.to.join("files")), kept);
    batch.reconcile_with_leftovers("nowhere");
    assert_eq!(std::fs::read_to_string(batch.to.join("failed.ndjson")).unwrap().trim_end(), broken);
    assert_eq!(json(&batch, &["dlq", "replay", "--all", "--dry-run"], 0)["replayed"], 1);
}

#[test]
fn an_object_that_is_gone_or_was_changed_is_told_by_every_command_and_stops_none() {
    let batch = Batch::new();
    let lines = ["[", "(", "<"].map(|byte| format!("{{{}", byte.repeat(1 << 19)));
    let list = batch.file("events.ndjson", format!("{}\n", lines.join("\n")));
    batch.summary(&[&list], 3);
    let kept = objects(batch.to.join("files"));
    std::fs::remove_file(&kept[0]).unwrap();
    let bytes = std::fs::read(&kept[1]).unwrap();
    std::fs::write(&kept[1], bytes.iter().map(|_| b'?').collect::<Vec<_>>()).unwrap();

    let report = json(&batch, &["dlq", "replay", "--all"], 3);
    let why = report["not_replayable"].as_object().unwrap();
    let (said, count) = why.iter().next().unwrap();
    assert!(report["replayed"] == 1 && count == 2 && said.contains("not in the object store"), "{report}");
    for (depth, faults) in [("--objects", 1), ("--deep", 2)] {
        let report = json(&batch, &["reconcile", depth], 3);
        let kinds: Vec<&Value> = report["faults"].as_array().unwrap().iter().map(|fault| &fault["kind"]).collect();
        assert_eq!(kinds, vec!["letter_object"; faults], "{report}");
        assert!(report["faults"][0]["place"].as_str().unwrap().contains("downloads.dlq/0@"), "{report}");
        assert_eq!(report["checked"]["objects"]["dead_letters"], 3, "{report}");
    }
    let states: Vec<Value> =
        (0..3).map(|n| json(&batch, &["dlq", "show", &n.to_string()], 0)["object"]["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| *state == "there").count(), 1, "{states:?}");
    batch.summary(&[], 3);
    assert_eq!(std::fs::read_to_string(batch.to.join("failed.ndjson")).unwrap().lines().count(), 1, "what is gone is no input");
}

/// A URL may be most of an event: its row is bounded, and the letter whole.
#[test]
fn a_url_of_a_megabyte_is_a_failed_row_and_comes_back_whole() {
    let batch = Batch::new();
    let url = format!("https://user:tell-nobody@h.example/{}?sig=tell-nobody", "u".repeat(1_000_000));
    let list = batch.list("urls.txt", [&url]);
    batch.summary(&[&list], 3);
    let failed = batch.inventory().failed;
    assert!(failed.len() == 1 && failed[0].url.len() < 100_000, "{}", failed[0].url.len());
    assert!(!failed[0].url.contains("tell-nobody") && objects(batch.to.join("files")).len() == 1);
    batch.reconcile_with_leftovers("nowhere");
    let line = std::fs::read_to_string(batch.to.join("failed.ndjson")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["url"], url);
    let report = json(&batch, &["dlq", "replay", "--all"], 3);
    assert_eq!(report["still_refused"]["rejected (invalid_url)"], 1, "{report}");
    let shown = command(&batch, &["dlq", "show", "0"]);
    assert!(shown.code == Some(0) && !shown.stdout.contains("tell-nobody"), "a secret is shown");
}

#[test]
fn a_service_that_runs_reads_them_back() {
    let (service, event) = (Service::new(URLS, ""), format!("{{{}", "[".repeat(1 << 19)));
    let running = service.start(&[]);
    assert_eq!(service.post("urls", &[event]).status, 202);
    let letters = || {
        let listed = service.finish("dlq", &["ls", "--json"]);
        listed.stdout.lines().count()
    };
    until("it is a dead letter", || service.idle() && letters() == 1);
    let replayed = service.finish("dlq", &["replay", "--all"]);
    assert!(replayed.code == Some(0) && replayed.stdout.contains("Replayed 1"), "{replayed:?}");
    until("it has failed again", || service.idle() && letters() == 2);
    let files = service.root.path().join("lake/files");
    assert_eq!(objects(files).len(), 1);
    assert_eq!(service.stop(running).code, Some(0));
    service.reconcile();
}
