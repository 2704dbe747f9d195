//! `longshore fetch` as a user meets it: inputs, runs that go on, stops, retries, policy.

#![allow(clippy::unwrap_used)]

mod batch;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use batch::{Batch, longshore, media_id, origin, sha256, signal, until, wait};
use longshore::demo::origin::Origin;
use rustix::process::Signal;

fn urls(origin: &Origin, behaviour: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| origin.url(&format!("/{behaviour}/{n}.pdf"))).collect()
}

fn set(urls: &[String]) -> BTreeSet<&str> {
    urls.iter().map(String::as_str).collect()
}

fn gzip(content: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn every_shape_of_input_gives_the_same_ids() {
    let origin = origin();
    let urls = urls(&origin, "good", 0..4);
    let lines = |line: &dyn Fn(&String) -> String| urls.iter().map(line).collect::<String>();
    let plain = format!("# a comment\n\n{}  \r\n", lines(&|url| format!("  {url}\r\n\n")));
    let csv = format!("note,where\n{}", lines(&|url| format!("\"a, b\",{url}\n")));
    let inputs: [(&str, Vec<u8>, &[&str]); 8] = [
        ("a.txt", plain.clone().into(), &[]),
        ("a.ndjson", lines(&|url| format!("{{\"id\": 1, \"url\": \"{url}\"}}\n\n")).into(), &[]),
        ("b.ndjson", lines(&|url| format!("{{\"at\": \"{url}\"}}\n")).into(), &["--url-col", "at"]),
        ("a.csv", csv.clone().into(), &["--url-col", "where"]),
        ("b.csv", csv.into(), &["--url-col", "2"]),
        ("a.tsv", lines(&|url| format!("{url}\tx\n")).into(), &[]),
        ("a.txt.gz", gzip(&plain), &[]),
        ("packed", gzip(&plain), &[]),
    ];
    for (name, content, flags) in inputs {
        let batch = Batch::new();
        let input = batch.file(name, content);
        let summary = batch.summary(&[&[input.as_str()], flags].concat(), 0);
        assert_eq!(summary["lines"], 4, "{name}: {summary}");
        let inventory = batch.inventory();
        assert_eq!(inventory.exact().0.keys().copied().collect::<BTreeSet<_>>(), set(&urls), "{name}");
        inventory.objects_are_as_said(&batch.to);
    }
}

#[test]
fn a_list_may_come_through_a_pipe() {
    let (origin, batch) = (origin(), Batch::new());
    let urls = urls(&origin, "good", 0..3);
    let mut child = batch.command(&["-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(urls.join("\n").as_bytes()).unwrap();
    let finished = wait(child);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(batch.inventory().urls(), set(&urls));
}

#[test]
fn an_input_that_cannot_be_read_is_named() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("good.txt", urls(&origin, "good", 0..1));
    let missing = batch.root.path().join("missing.txt");
    let cut = batch.file("cut.txt.gz", &gzip(&"https://example.com/\n".repeat(1_000))[..40]);
    for wrong in [missing.to_str().unwrap(), batch.root.path().to_str().unwrap(), &cut] {
        let finished = batch.fetch(&[&list, wrong]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(wrong), "{wrong} is not named: {finished:?}");
        let begun = batch.to.exists();
        assert_eq!(begun, *wrong == cut, "what cannot be opened is said before anything is made");
    }
    assert_eq!(batch.inventory().stored.len(), 1, "what could be read was fetched");
    let finished = batch::finish({
        let mut command = longshore();
        command.args(["fetch", "--to"]).arg(batch.root.path().join("nothing"));
        command
    });
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("INPUT") && finished.stderr.contains("nothing"), "{finished:?}");
}

#[test]
fn the_same_list_again_downloads_nothing_and_a_longer_one_only_what_is_new() {
    let (origin, batch) = (origin(), Batch::new());
    let old = [urls(&origin, "good", 0..20), urls(&origin, "missing", 0..3)].concat();
    let list = batch.list("urls.txt", old.iter().chain(&old[..5]));
    let first = batch.summary(&[&list], 3);
    let told = ["lines", "stored", "failed", "unresolved"].map(|key| first[key].as_u64().unwrap());
    assert_eq!(told, [28, 20, 3, 3], "{first}");
    assert_eq!(first["causes"], serde_json::json!([{"class": "permanent", "reason": "http_status", "count": 3}]));
    let bytes: i64 = batch.inventory().stored.iter().map(|row| row.bytes).sum();
    assert_eq!(first["bytes"].as_i64(), Some(bytes));
    assert_eq!(origin.total_requests(), 23);

    let again = batch.summary(&[&list], 3);
    assert_eq!((again["stored"].as_u64(), again["known"].as_u64(), again["failed"].as_u64()), (Some(0), Some(28), Some(0)));
    assert_eq!(origin.total_requests(), 23, "something was asked for again");

    let longer = batch.list("longer.txt", urls(&origin, "good", 15..30));
    let third = batch.summary(&[&longer], 3);
    assert_eq!((third["stored"].as_u64(), third["known"].as_u64()), (Some(10), Some(5)), "{third}");
    assert_eq!(origin.total_requests(), 33);
    assert_eq!(batch.inventory().exact().0.len(), 30);
    batch.reconcile();
}

#[test]
fn a_signal_drains_and_the_next_run_goes_on_without_the_list() {
    for stop in [Signal::INT, Signal::TERM] {
        let (origin, batch) = (origin(), Batch::new());
        let urls = urls(&origin, "slow-500", 0..150);
        let list = batch.list("urls.txt", &urls);
        let child = batch.command(&[&list]).spawn().unwrap();
        until("downloads are under way", || origin.total_requests() >= 64);
        signal(&child, stop);
        let finished = wait(child);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stdout.contains("Go on with"), "{finished:?}");
        let (asked, stored) = (origin.total_requests(), batch.inventory().stored.len() as u64);
        assert!(asked < 150 && stored > 0, "{stored} of {asked} requests under way were let end");
        let finished = batch.fetch(&[]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(batch.inventory().exact().0.keys().copied().collect::<BTreeSet<_>>(), set(&urls));
        assert_eq!(origin.total_requests(), 150, "what had ended was asked for again");
        batch.reconcile();
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", urls(&origin, "slow-1900", 0..8));
    let child = batch.command(&[&list]).spawn().unwrap();
    until("downloads are under way", || origin.total_requests() == 8);
    let begun = Instant::now();
    signal(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, Signal::INT);
    let finished = wait(child);
    assert!(begun.elapsed() < Duration::from_millis(1_500), "it took {:?}", begun.elapsed());
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("nothing is lost"), "{finished:?}");
    assert_eq!(batch.fetch(&[]).code, Some(0));
    assert_eq!(batch.inventory().exact().0.len(), 8);
    batch.reconcile();
}

#[test]
fn retries_wait_for_their_time_and_are_counted() {
    let (origin, batch) = (origin(), Batch::new());
    let list = batch.list("urls.txt", [origin.url("/fails-2/a.pdf"), origin.url("/fails-3/b.pdf")]);
    let summary = batch.summary(&[&list], 3);
    assert_eq!(summary["retries"], 4, "{summary}");
    let inventory = batch.inventory();
    assert_eq!((inventory.stored[0].attempts, inventory.stored.len()), (3, 1));
    let failed = &inventory.failed[0];
    assert_eq!((failed.status.as_str(), failed.retries), ("transient", 2), "{failed:?}");
    let asked = origin.requests("/fails-2/a.pdf");
    let waits: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() == 2 && waits[0] >= Duration::from_millis(200) && waits[1] >= Duration::from_millis(400), "{waits:?}");
}

#[test]
fn retry_after_is_honoured_and_spends_no_attempt() {
    let (throttling, other, batch) = (origin(), origin(), Batch::new());
    let list = batch.list("urls.txt", [throttling.url("/throttle/a.pdf"), other.url("/good/b.pdf")]);
    assert_eq!(batch.fetch(&[&list]).code, Some(0));
    let asked = throttling.requests("/throttle/a.pdf");
    assert_eq!(asked.len(), 2);
    assert!(asked[1] - asked[0] >= Duration::from_secs(1), "{:?}", asked[1] - asked[0]);
    assert!(other.requests("/good/b.pdf")[0] < asked[1], "the throttling host held up another");
    assert!(batch.inventory().stored.iter().all(|row| row.attempts == 1), "{:?}", batch.inventory());
}

#[test]
fn what_is_not_wanted_is_refused() {
    let (origin, batch) = (origin(), Batch::new());
    let (page, exe, pdf) = (origin.url("/wrong-type/a.pdf"), origin.url("/good/setup.exe"), origin.url("/good/a.pdf"));
    let local = "http://127.0.0.2:9/a.pdf".to_owned();
    let list = batch.list("urls.txt", [&page, &exe, &pdf, &local]);
    batch.summary(&[&list, "--file-types", "pdf"], 3);
    let inventory = batch.inventory();
    assert_eq!(inventory.urls(), BTreeSet::from([pdf.as_str()]));
    let failed = inventory.exact().1;
    assert_eq!(failed[page.as_str()].status, "permanent");
    assert_eq!(failed[exe.as_str()].status, "rejected");
    assert!(failed[local.as_str()].message.starts_with("forbidden_address: "));
    assert!(origin.requests("/good/setup.exe").is_empty(), "a refused type was asked for");
}

#[test]
fn a_file_above_the_largest_size_fails_and_leaves_nothing() {
    let (origin, batch) = (origin(), Batch::new());
    let sized = |n: &usize| origin.file(&format!("/good/{n}.pdf")).len();
    let large: Vec<usize> = (0..40).filter(|n| sized(n) > 1_000).collect();
    let expected = (0..40).len() - large.len();
    assert!(!large.is_empty() && expected > 0, "the seed gives files of one size only");
    let list = batch.list("urls.txt", [urls(&origin, "good", 0..40), urls(&origin, "endless", 0..1)].concat());
    batch.summary(&[&list, "--max-size", "1000"], 3);
    let inventory = batch.inventory();
    assert_eq!((inventory.stored.len(), inventory.failed.len()), (expected, large.len() + 1));
    assert!(inventory.failed.iter().all(|row| row.message.starts_with("too_large: ")), "{:?}", inventory.failed);
    batch.reconcile();
}

#[test]
fn one_path_with_different_queries_is_different_files() {
    let (origin, batch) = (origin(), Batch::new());
    let urls = ["/good/a.pdf", "/good/a.pdf?page=1", "/good/a.pdf?page=2"].map(|path| origin.url(path));
    let list = batch.list("urls.txt", &urls);
    batch.summary(&[&list], 0);
    let inventory = batch.inventory();
    let stored = inventory.exact().0;
    for url in &urls {
        let path = url.split_once(&origin.address().to_string()).unwrap().1;
        assert_eq!(stored[url.as_str()].sha256, sha256(&origin.file(path)), "{url}");
        assert_eq!(stored[url.as_str()].id, media_id(url));
    }
    inventory.objects_are_as_said(&batch.to);
}

#[test]
fn different_bytes_for_one_path_are_kept_apart_and_each_row_has_its_own() {
    let (origin, batch) = (origin(), Batch::new());
    let urls = ["/changing/a.pdf?1", "/changing/a.pdf?2", "/changing/a.pdf?3"].map(|path| origin.url(path));
    let list = batch.list("urls.txt", &urls);
    batch.summary(&[&list, "--path", "all/{ext}/same.pdf"], 0);
    let inventory = batch.inventory();
    assert_eq!(inventory.exact().0.len(), 3);
    inventory.objects_are_as_said(&batch.to);
    batch.reconcile();
}

/// Whoever reads the summary may have seen enough.
#[test]
fn a_summary_that_nobody_reads_to_its_end_changes_no_exit_code() {
    let (batch, origin) = (Batch::new(), origin());
    let list = batch.list("urls.txt", [origin.url("/good/1.pdf"), origin.url("/missing/2.pdf")]);
    let mut child = batch.command(&[&list]).spawn().unwrap();
    drop(child.stdout.take());
    let finished = wait(child);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}
