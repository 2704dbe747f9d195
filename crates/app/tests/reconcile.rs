//! `longshore reconcile`: a whole directory passes, and each kind of damage is named.

#![allow(clippy::unwrap_used)]

mod small_lake;

use small_lake::{Lake, media_id, serve};

const ATTACHMENTS: &str = "urls_attachments";
const FAILED: &str = "urls_attachments_failed";
const EVENTS: &str = "urls_events";
const LETTERS: &str = "urls.downloads.dlq";

/// Three files, two that fail and an event that cannot be decoded. The first dead letter is that of the first failure.
fn finished() -> (Lake, Vec<String>) {
    let (lake, server) = (Lake::new(), serve());
    let urls: Vec<String> = ["ok/1", "gone/1", "ok/2", "ok/3", "gone/2"].iter().map(|path| format!("{server}/{path}")).collect();
    lake.fetch(&urls[..2]);
    lake.fetch(&[urls.clone(), vec!["{\"url\": 5".to_owned()]].concat());
    (lake, urls)
}

/// Damages a copy and expects these faults, and no others.
fn expect(lake: &Lake, args: &[&str], expected: &[String], damage: impl FnOnce(&Lake)) {
    let copy = lake.copy();
    damage(&copy);
    let (code, faults) = copy.faults(args);
    assert_eq!(faults, expected, "{args:?}");
    assert_eq!(code, if expected.is_empty() { 0 } else { 3 });
}

#[test]
fn each_damage_to_what_is_finished_is_named() {
    let (lake, urls) = finished();
    let ids: Vec<String> = urls.iter().map(|url| media_id(url)).collect();
    let each = |of: &[usize], fault: &dyn Fn(&str) -> String| {
        let mut faults: Vec<String> = of.iter().map(|at| fault(&ids[*at])).collect();
        faults.sort();
        faults
    };
    let (stored, failed) = ([0, 2, 3], [1, 4]);
    expect(&lake, &["--deep"], &[], |_| {});
    let lost = each(&stored, &|id| format!("lost {id} accepted in {EVENTS}"));
    expect(&lake, &[], &lost, |lake| lake.delete_rows(ATTACHMENTS));
    let all: Vec<usize> = stored.iter().chain(&failed).copied().collect();
    let orphaned = each(&all, &|id| format!("no_event {id} {EVENTS}"));
    expect(&lake, &[], &orphaned, |lake| lake.delete_rows(EVENTS));
    let twice = each(&stored, &|id| format!("stored_twice {id} {ATTACHMENTS}"));
    expect(&lake, &[], &twice, |lake| lake.double_rows(ATTACHMENTS));
    let twice = each(&failed, &|id| format!("failed_twice {id} {FAILED}, life 0"));
    expect(&lake, &[], &twice, |lake| lake.double_rows(FAILED));
    let without_row = each(&failed, &|id| format!("no_failed_row {id} {LETTERS}, life 0"));
    expect(&lake, &[], &without_row, |lake| lake.delete_rows(FAILED));
    let without_letter = format!("no_dead_letter {} {FAILED}, life 0", ids[1]);
    expect(&lake, &[], &[without_letter, format!("missing_record - {LETTERS}/0@0")], |lake| {
        assert!(lake.delete_record(LETTERS, 0).unwrap().contains(&ids[1]));
    });
    let copy = lake.copy();
    copy.double_rows(EVENTS);
    let (code, faults) = copy.faults(&[]);
    assert!(code == 3 && faults.len() == 5 && faults.iter().all(|fault| fault.starts_with("event_twice ")), "{faults:?}");
}

#[test]
fn a_poison_letter_that_is_gone_is_named() {
    let (lake, _) = finished();
    let offset = (1..=2).find(|offset| lake.copy().delete_record(LETTERS, *offset).unwrap().contains("\"poison\"")).unwrap();
    expect(&lake, &[], &[format!("missing_record - {LETTERS}/0@{offset}")], |lake| drop(lake.delete_record(LETTERS, offset)));
}

#[test]
fn letters_that_are_not_what_was_written_are_named() {
    let (lake, _) = finished();
    lake.damage_records();
    let (code, faults) = lake.faults(&[]);
    let damaged = faults.iter().filter(|fault| fault.starts_with(&format!("damaged_record - {LETTERS}/0@"))).count();
    assert_eq!((code, damaged), (3, 3), "{faults:?}");
    assert_eq!(faults.iter().filter(|fault| fault.starts_with("no_dead_letter")).count(), 2, "{faults:?}");
}

#[test]
fn each_damage_to_objects_is_named() {
    let (lake, urls) = finished();
    let id = media_id(&urls[2]);
    let rows = lake.rows(&["--where", &format!("media_id={id}")]);
    let path = rows[0]["blob_path"].as_str().unwrap().to_owned();
    let object = |lake: &Lake| lake.dir.join("files").join(&path);
    let missing = format!("object_missing {id} {path}");
    expect(&lake, &[], &[], |lake| std::fs::remove_file(object(lake)).unwrap());
    expect(&lake, &["--objects"], &[missing], |lake| std::fs::remove_file(object(lake)).unwrap());
    let length = std::fs::metadata(object(&lake)).unwrap().len();
    let shorter = format!("object_size {id} {path}: 3 bytes, its row says {length}");
    expect(&lake, &["--objects"], &[shorter], |lake| {
        std::fs::remove_file(object(lake)).unwrap();
        std::fs::write(object(lake), "abc").unwrap();
    });
    let flip = |lake: &Lake| {
        let mut bytes = std::fs::read(object(lake)).unwrap();
        bytes[0] ^= 1;
        std::fs::remove_file(object(lake)).unwrap();
        std::fs::write(object(lake), bytes).unwrap();
    };
    expect(&lake, &["--objects"], &[], flip);
    let copy = lake.copy();
    flip(&copy);
    let (code, faults) = copy.faults(&["--deep"]);
    assert!(
        code == 3 && faults.len() == 1 && faults[0].starts_with(&format!("object_content {id} {path}: SHA-256 ")),
        "{faults:?}"
    );
    let copy = lake.copy();
    std::fs::write(copy.dir.join("files/stray.txt"), "x").unwrap();
    let output = copy.run(&["reconcile", "--objects", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["checked"]["objects"]["orphans"], serde_json::json!(["stray.txt"]), "an object without a row is named");
    assert_eq!(output.status.code(), Some(0), "and is no fault");
}

#[test]
fn what_a_killed_fetch_left_in_flight_is_no_fault_and_what_is_missing_of_it_is() {
    let (lake, server) = (Lake::new(), serve());
    let urls: Vec<String> = ["ok/1", "hang/1", "hang/2"].iter().map(|path| format!("{server}/{path}")).collect();
    let mut fetch = lake.start_fetch(&urls);
    lake.wait_for("one stored file and three events", |status| {
        status["tables"][0]["rows"] == 1 && status["tables"][2]["rows"] == 3 && status["running"] == true
    });
    let live = lake.faults(&["--deep"]);
    fetch.kill().unwrap();
    fetch.wait().unwrap();
    assert_eq!(live, (0, Vec::new()), "on a live system");
    lake.wait_for("the end of the process", |status| status["running"] == false && status["writer"].is_null());
    expect(&lake, &["--deep"], &[], |_| {});
    expect(&lake, &["--objects"], &[], |lake| std::fs::write(lake.dir.join("files/half.txt"), "x").unwrap());
    let says = |offset: &i64| lake.copy().delete_record("urls.downloads.pending", *offset);
    let offset = (0..3).find(|offset| says(offset).is_some_and(|task| task.contains("hang/2"))).unwrap();
    let lost = format!("lost {} accepted in {EVENTS}", media_id(&urls[2]));
    expect(&lake, &[], &[lost, format!("missing_record - urls.downloads.pending/0@{offset}")], |lake| {
        lake.delete_record("urls.downloads.pending", offset);
    });
}
