//! Input that is fed once more, and input that is far larger than it looks: the real binary.

#![allow(clippy::unwrap_used)]

mod batch;

use batch::{Batch, finish, origin};
use serde_json::json;

/// A signature that was good until this year, as Azure makes them.
fn signed(url: &str, year: u32) -> String {
    format!("{url}?sig=a{year}&sv=1&se={year}-01-01T00%3A00%3A00Z")
}

#[test]
fn a_fresh_signature_for_what_has_expired_is_tried_by_the_next_run_and_the_same_one_is_not() {
    let (origin, batch) = (origin(), Batch::new());
    let url = origin.url("/good/1.pdf");
    let numbers = |summary: &serde_json::Value| {
        ["stored", "failed", "known", "repeats", "unresolved"].map(|key| summary[key].as_u64().unwrap_or(99))
    };
    let old = batch.list("old.txt", [signed(&url, 2020), signed(&url, 2020)]);
    assert_eq!(numbers(&batch.summary(&[&old], 3)), [0, 1, 0, 1, 1]);
    assert_eq!(numbers(&batch.summary(&[&old], 3)), [0, 0, 2, 0, 1]);
    let other = batch.list("other.txt", [signed(&url, 2021)]);
    assert_eq!(numbers(&batch.summary(&[&other], 3)), [0, 1, 0, 0, 1], "it failed once more, and is one failure");
    assert_eq!(numbers(&batch.summary(&[&other], 3)), [0, 0, 1, 0, 1]);
    assert_eq!((batch.inventory().failed.len(), origin.total_requests()), (1, 0));

    let fresh = batch.list("fresh.txt", [signed(&url, 2099)]);
    assert_eq!(numbers(&batch.summary(&[&fresh], 0)), [1, 0, 0, 0, 0]);
    assert_eq!(numbers(&batch.summary(&[&old, &other, &fresh], 0)), [0, 0, 4, 0, 0]);
    assert_eq!((batch.inventory().stored.len(), origin.total_requests()), (1, 1));
    batch.reconcile();
}

#[test]
fn a_fresh_signature_in_the_same_run_is_tried() {
    let (origin, batch) = (origin(), Batch::new());
    let url = origin.url("/good/1.pdf");
    let list = batch.list("urls.txt", [signed(&url, 2020), signed(&url, 2099)]);
    let summary = batch.summary(&[&list], 0);
    assert_eq!((&summary["stored"], &summary["unresolved"]), (&json!(1), &json!(0)), "{summary}");
    batch.reconcile();
}

#[test]
fn a_corrected_mapping_finds_what_a_wrong_one_has_missed() {
    let (origin, batch) = (origin(), Batch::new());
    let event = |n: usize| format!("{{\"id\":\"e{n}\",\"files\":[\"{}\"]}}\n", origin.url(&format!("/good/{n}.pdf")));
    let events = batch.file("events.ndjson", (0..3).map(event).collect::<String>());
    let wrong = [&events, "--map", "event_id=id", "--map", "attachments=file"];
    let right = [&events, "--map", "event_id=id", "--map", "attachments=files"];
    let numbers = |summary: &serde_json::Value| ["stored", "known", "without_attachments"].map(|key| summary[key].as_u64());
    let first = batch.summary(&wrong, 0);
    assert_eq!(numbers(&first), [Some(0), Some(0), Some(3)]);
    assert!(first["warning"].as_str().unwrap().contains("in any of 3 events"), "{first}");
    assert_eq!(numbers(&batch.summary(&wrong, 0)), [Some(0), Some(3), Some(0)]);

    let mut command = batch.command(&right);
    command.arg("--json");
    let finished = finish(command);
    let summary = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
    assert_eq!((numbers(&summary), &summary["warning"]), ([Some(3), Some(0), Some(0)], &json!(null)));
    assert!(finished.stderr.contains("The mapping of") && finished.stderr.contains("changed"), "{finished:?}");
    let again = batch.fetch(&right);
    assert!(again.stdout.contains("Known    3 lines") && !again.stderr.contains("changed"), "{again:?}");
    assert_eq!(origin.total_requests(), 3);
    batch.reconcile();
}

#[cfg(target_os = "linux")]
mod memory {
    use std::process::Child;
    use std::time::Duration;

    use super::*;

    /// How much more an odd event may cost than none, in kB. Measured: 166,000, about 40,000 of it in the window of the
    /// downloads, which holds up to 4,096 tasks of 9 kB each.
    const MOST_KB: u64 = 190_000;

    /// The most memory that a process has held so far, in kB; nothing once it has ended.
    fn peak_kb(child: &Child) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// Fetches these events with eight columns of the same long text; returns the peak in kB and the summary.
    fn fetch(events: &str) -> (u64, serde_json::Value) {
        let batch = Batch::new();
        let file = batch.file("events.ndjson", events);
        let maps: Vec<String> = (0..8).map(|n| format!("c{n}=text")).chain(["attachments=files".to_owned()]).collect();
        let mut command = batch.command(&[&file, "--json"]);
        for map in &maps {
            command.args(["--map", map]);
        }
        let child = command.spawn().unwrap();
        let (watched, mut peak) = (std::cell::RefCell::new(child), 0);
        while let Some(now) = peak_kb(&watched.borrow()) {
            peak = peak.max(now);
            std::thread::sleep(Duration::from_millis(2));
        }
        let finished = batch::wait(watched.into_inner());
        assert!(matches!(finished.code, Some(0 | 3)), "{finished:?}");
        (peak, serde_json::from_str(&finished.stdout).unwrap())
    }

    fn event(count: usize, entry: impl Fn(usize) -> String) -> String {
        let entries: Vec<String> = (0..count).map(entry).collect();
        format!("{{\"text\":\"{}\",\"files\":[{}]}}\n", "x".repeat(1_000), entries.join(","))
    }

    /// Promise 5: what an event costs is bounded, however many attachments it names and whatever each carries along.
    #[test]
    fn an_event_with_a_great_many_attachments_costs_little_memory() {
        let (baseline, _) = fetch(&event(0, |_| String::new()));
        let (most, summary) = fetch(&event(20_000, |n| format!("\"http://h/{n}?sig=a&sv=1&se=2020-01-01\"")));
        assert_eq!(summary["failed"], 20_000, "all are tasks, and their signatures have expired: {summary}");
        let (too_many, summary) = fetch(&event(130_000, |n| n.to_string()));
        assert_eq!(summary["causes"], json!([{"class": "poison", "reason": "undecodable", "count": 1}]));
        eprintln!("peaks in kB: {baseline} without, {most} with 20,000, {too_many} with 130,000 attachments");
        assert!(most < baseline + MOST_KB && too_many < baseline + MOST_KB, "{baseline} {most} {too_many}");
    }
}
