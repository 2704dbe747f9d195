//! What `fetch` can do beside fetching: dry runs, a limit on failures, `failed.ndjson`, presets and mappings, odd inputs.

#![allow(clippy::unwrap_used)]

mod batch;

use std::os::unix::fs::PermissionsExt;

use batch::{Batch, FLAGS, Finished, finish, longshore, origin};
use longshore::demo::origin::Origin;
use serde_json::{Value, json};

fn xact(origin: &Origin, trace_id: &str, paths: &[&str]) -> String {
    let urls: Vec<String> = paths.iter().map(|path| origin.url(path)).collect();
    let data = json!({ "assignmentId": "A1", "attachments": urls });
    let event = json!({
        "type": "verisk.claims.property.xn.documentsReceived", "version": 1,
        "utcDateTime": "2026-11-23T19:45:32.749511+00:00", "traceId": trace_id, "data": data
    });
    format!("{event}\n")
}

/// The rows of a table of the source.
fn rows(batch: &Batch, table: &str) -> Vec<Value> {
    let mut command = longshore();
    command.args(["inventory", "--json", "--limit", "0", "--table", table, "--to"]).arg(&batch.to);
    let finished = finish(command);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_failed_is_an_input_for_another_directory() {
    let (origin, batch, other) = (origin(), Batch::new(), Batch::new());
    let (mended, gone) = (origin.url("/fails-3/a.pdf?sig=secret"), origin.url("/missing/b.pdf"));
    let event = json!({ "url": mended, "id": "E7", "event_time": "2026-11-20T10:00:00Z" });
    let list =
        batch.file("events.ndjson", format!("{event}\n{{\"url\": \"{gone}\"}}\n{{broken\n\"{}\"\n", origin.url("/good/c.pdf")));
    batch.summary(&[&list], 3);
    let path = batch.to.join("failed.ndjson");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "URLs carry their signatures");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() == 3 && text.contains("\n{broken\n") || text.starts_with("{broken\n"), "{text}");
    let line: Value = text.lines().find(|line| line.contains("fails-3")).map(|l| serde_json::from_str(l).unwrap()).unwrap();
    assert_eq!((&line["url"], &line["id"], &line["event_time"]), (&json!(mended), &json!("E7"), &json!("2026-11-20T10:00:00Z")));
    let error = &line["longshore_error"];
    assert_eq!((&error["class"], &error["reason"], &error["attempts"]), (&json!("transient"), &json!("http_status"), &json!(3)));
    let summary = other.summary(&[path.to_str().unwrap()], 3);
    assert_eq!((&summary["lines"], &summary["stored"], &summary["unresolved"]), (&json!(3), &json!(1), &json!(2)), "{summary}");
    let event = rows(&other, "events").into_iter().find(|row| row["event_id"] == "E7").unwrap();
    assert!(event["event_time"].as_str().unwrap().starts_with("2026-11-20"), "{event}");
    other.reconcile();
    let summary = batch.summary(&["--retry-failed"], 3);
    assert_eq!(summary["unresolved"], 2, "{summary}");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2, "what is stored is in it no more");
}

#[test]
fn it_goes_away_when_nothing_is_failed() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", [origin.url("/fails-3/a.pdf")]);
    let summary = batch.summary(&[&list], 3);
    let path = batch.to.join("failed.ndjson");
    assert_eq!(summary["failed_file"], path.to_str().unwrap());
    assert!(path.exists());
    assert_eq!(batch.summary(&["--retry-failed"], 0)["failed_file"], Value::Null);
    assert!(!path.exists() && !batch.to.join("failed.ndjson.new").exists());
}

#[test]
fn events_of_another_preset_come_back_whole_and_once() {
    let (origin, batch, other) = (origin(), Batch::new(), Batch::new());
    let failing = xact(&origin, "t1", &["/missing/a.pdf", "/missing/b.pdf", "/good/c.pdf"]);
    let list = batch.file("events.ndjson", format!("{failing}{}", xact(&origin, "t2", &["/good/d.pdf"])));
    let summary = batch.summary(&[&list, "--preset", "xact"], 3);
    assert_eq!((&summary["stored"], &summary["unresolved"]), (&json!(2), &json!(2)), "{summary}");
    batch.reconcile();
    let path = batch.to.join("failed.ndjson");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), failing, "the event as it came, once");
    let summary = other.summary(&[path.to_str().unwrap(), "--preset", "xact"], 3);
    assert_eq!((&summary["stored"], &summary["unresolved"]), (&json!(1), &json!(2)), "{summary}");
    // The directory knows its source by now.
    let summary = batch.summary(&["--retry-failed"], 3);
    assert_eq!((&summary["replayed"], &summary["unresolved"]), (&json!(2), &json!(2)), "{summary}");
    assert!(batch.to.join("tables/xact_attachments").is_dir() && !batch.to.join("tables/urls_attachments").exists());
    let path = rows(&batch, "attachments").into_iter().find(|row| row["trace_id"] == "t2").unwrap()["blob_path"].clone();
    assert_eq!(path, "documentsReceived/A1/t2/A1_d.pdf", "the preset's path");
    batch.reconcile();
}

#[test]
fn any_json_is_mapped_by_expressions_that_the_directory_remembers() {
    let (origin, batch) = (origin(), Batch::new());
    let order = |n: u32| json!({ "no": n, "shop": "north", "files": [{ "href": origin.url(&format!("/good/{n}.pdf")) }] });
    let list = batch.file("orders.ndjson", format!("{}\n{}\n", order(1), order(2)));
    let map = ["--map", "attachments=files[].href", "--map", "event_id=no", "--map", "shop=shop", "--path", "{shop}/{name}"];
    batch.summary(&[&[list.as_str()], &map[..]].concat(), 0);
    let stored = rows(&batch, "attachments");
    assert!(stored.len() == 2 && stored.iter().all(|row| row["shop"] == "north" && row["source"] == "mapped"), "{stored:?}");
    assert!(stored.iter().any(|row| row["blob_path"] == "north/1.pdf"), "{stored:?}");
    batch.reconcile();
    let more = batch.file("more.ndjson", format!("{}\n{}\n", order(2), order(3)));
    let summary = batch.summary(&[&more], 0);
    assert_eq!((&summary["known"], &summary["stored"]), (&json!(1), &json!(1)), "{summary}");
    batch.reconcile();
}

#[test]
fn too_many_failures_stop_the_run() {
    let (origin, batch) = (origin(), Batch::new());
    let bad = (0..400).map(|n| origin.url(&format!("/missing/{n}.pdf")));
    let list = batch.list("urls.txt", bad.chain((0..400).map(|n| origin.url(&format!("/slow-20/{n}.pdf")))));
    let finished = batch.fetch(&[&list, "--max-failed", "5"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("more than --max-failed 5") && finished.stderr.contains("--retry-failed"), "{finished:?}");
    assert!(origin.total_requests() < 800, "it went on to the end");
    batch.reconcile();
    let summary = batch.summary(&[], 3);
    assert_eq!(summary["unresolved"], 400, "the next run does the rest: {summary}");
    batch.reconcile();
}

#[test]
fn a_share_of_failures_counts_at_the_end_of_a_small_run() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", [origin.url("/missing/a.pdf"), origin.url("/good/b.pdf")]);
    let finished = batch.fetch(&[&list, "--max-failed", "10%"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("1 of 2 attachments failed, more than --max-failed 10%"), "{finished:?}");
    assert_eq!(batch.inventory().stored.len(), 1, "small runs are not stopped");
    let other = Batch::new();
    assert_eq!(other.fetch(&[&list, "--max-failed", "50%"]).code, Some(3));
}

#[test]
fn a_dry_run_asks_nobody_and_writes_nothing() {
    let (origin, batch) = (origin(), Batch::new());
    let good = origin.url("/good/a.pdf");
    let canary = format!("http://{}/b.pdf", origin.canary());
    let list = batch.file("urls.ndjson", format!("\"{good}\"\n\"{canary}\"\n{{broken\n\"{}\"\n", origin.url("/good/c.exe")));
    let flags = ["--dry-run", "--file-types", "pdf"];
    let finished = batch.fetch(&[&[list.as_str(), "--json"], &flags[..]].concat());
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let said: Vec<Value> = finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<_> = said.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["allowed", "rejected", "poison", "rejected"]);
    assert!(said[0]["path"].as_str().unwrap().ends_with("/good/a.pdf"), "{said:?}");
    assert!(said[2]["input"].as_str().unwrap().ends_with("urls.ndjson:3"), "{said:?}");
    let finished = batch.fetch(&[&[list.as_str()], &flags[..]].concat());
    assert!(finished.stdout.contains("4 events, 3 attachments: 1 allowed, 2 refused; 1 events cannot be read"), "{finished:?}");
    assert!(finished.stdout.contains("1 file_type") && finished.stdout.contains("1 forbidden_address"), "{finished:?}");
    assert_eq!(batch.fetch(&[&list, "--dry-run", "--limit", "1"]).code, Some(0));
    assert!(!batch.to.exists(), "it made the directory");
    assert_eq!((origin.total_requests(), origin.canary_dials()), (0, 0));
}

#[test]
fn odd_inputs_are_events_or_named() {
    let (origin, batch) = (origin(), Batch::new());
    let good = origin.url("/good/a.pdf");
    let csv = [b"id,url\n1,https://h/\xff\xfe\n2,".as_slice(), good.as_bytes(), b"\n3,\"never closed\n4,not a url\n"].concat();
    let table = batch.file("list.csv", csv);
    let long = batch.file("long.txt", format!("{}\n{}\n", "x".repeat(10 << 20), origin.url("/good/b.pdf")));
    let nul = batch.file("nul.txt", format!("https://h/\0\0\n\0\n{}\n", origin.url("/good/c.pdf")));
    let summary = batch.summary(&[&table, &long, &nul], 3);
    assert_eq!(summary["stored"], 3, "{summary}");
    let mut command = longshore();
    command.args(["dlq", "ls", "--json", "--class", "poison", "--to"]).arg(&batch.to);
    assert!(finish(command).stdout.lines().count() >= 2);
    batch.reconcile();
    let directory = batch.root.path().join("lists");
    std::fs::create_dir(&directory).unwrap();
    let zip = batch.file("list.zip", b"PK\x03\x04rest");
    for (input, says) in [(directory.to_str().unwrap(), "is a directory"), (&zip, "unzip -p"), ("nowhere.csv", "nowhere.csv")] {
        let finished = Batch::new().fetch(&[input]);
        assert!(finished.code == Some(1) && finished.stderr.contains(says), "{finished:?}");
    }
}

#[test]
fn wrong_flags_are_told_with_the_remedy() {
    let batch = Batch::new();
    let list = batch.list("urls.txt", ["https://example.com/a"]);
    let wrong = |flags: &[&str]| -> Finished { batch.fetch(&[&[list.as_str()], flags].concat()) };
    for (flags, says) in [
        (&["--map", "attachments=files["] as &[&str], "--map attachments: the expression `files[` is wrong at column"),
        (&["--map", "attachments"], "FIELD=EXPRESSION"),
        (&["--map", "Ü=x"], "--map Ü"),
        (&["--preset", "xcat"], "xact"),
        (&["--preset", "xact", "--map", "a=b"], "the preset xact is fixed"),
        (&["--source", "../../etc"], "--source '../../etc'"),
        (&["--path", "{nonsense}"], "{host}"),
        (&["--max-failed", "200%"], "50 or 1%"),
        (&["--max-failed", "few"], "50 or 1%"),
        (&["--limit", "5"], "--dry-run"),
        (&["--dry-run", "--retry-failed"], "cannot be used with"),
        (&["--retry-failed=everything"], "transient, permanent, rejected or poison"),
    ] {
        let finished = wrong(flags);
        assert!(finished.code == Some(2) && finished.stderr.contains(says), "{flags:?}: {finished:?}");
        assert!(!batch.to.exists(), "{flags:?} left something behind");
    }
    let mut command = longshore();
    command.args(["fetch", "--dry-run"]).args(FLAGS);
    let finished = finish(command);
    assert!(finished.code == Some(2) && finished.stderr.contains("name one"), "{finished:?}");
}

#[test]
fn a_source_keeps_its_preset_and_several_are_told_apart() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", [origin.url("/good/a.pdf")]);
    batch.summary(&[&list], 0);
    let finished = batch.fetch(&[&list, "--preset", "xact", "--source", "urls"]);
    assert!(finished.code == Some(2) && finished.stderr.contains("of the preset urls"), "{finished:?}");
    let events = batch.file("events.ndjson", xact(&origin, "t1", &["/good/b.pdf"]));
    batch.summary(&[&events, "--preset", "xact"], 0);
    let finished = batch.fetch(&[]);
    assert!(finished.code == Some(2) && finished.stderr.contains("--source (urls, xact)"), "{finished:?}");
    batch.summary(&["--source", "urls"], 0);
    batch.reconcile();
}
