//! The ledger: each fault is found, and counted once.
#![allow(clippy::unwrap_used)]

mod world;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use longshore_bench::content;
use longshore_bench::follow::{Follow, Objects};
use longshore_bench::generator::{Expected, GeneratorPlan, Kind, Load};
use longshore_bench::ledger::{Accounts, Checked, Part, Phase};
use longshore_bench::model::Ledger;
use longshore_bench::reader::{COLUMNS, Follower, Seen};
use longshore_stages::ports::Table;
use tempfile::tempdir;
use world::{all, attachments, plan, row, stored};

/// What is wrong with a row, and how it comes to be so.
type Fault = (&'static str, fn(&mut Seen));

const START: i64 = 1_800_000_000_000_000;

fn seen(one: &Expected) -> Seen {
    let stored = stored(one);
    Seen {
        trace_id: Some(stored.trace_id),
        media_id: Some(stored.media_id.to_string()),
        sha256: Some(stored.sha256),
        bytes_downloaded: Some(stored.bytes_downloaded as i64),
        blob_path: Some(stored.blob_path),
        ..Seen::default()
    }
}

fn accounts(plan: &GeneratorPlan) -> (Accounts, Part) {
    let mut accounts = Accounts::default();
    let part = accounts.expect(Load::new(plan).unwrap(), Phase::Measured);
    (accounts, part)
}

/// What is in the ledger when all rows of a plan of 100 came, some of them changed on the way.
fn ledger_of(change: impl Fn(u64, &mut Seen)) -> Ledger {
    let plan = plan(Kind::Events, 100);
    let (mut accounts, _) = accounts(&plan);
    for one in all(&plan) {
        let mut row = seen(&one);
        change(one.number, &mut row);
        accounts.stored(&row);
    }
    accounts.ledger()
}

fn right() -> Ledger {
    Ledger { produced: 100, stored: 100, ..Ledger::default() }
}

#[test]
fn a_run_without_faults_holds() {
    let ledger = ledger_of(|_, _| ());
    assert_eq!(ledger, right());
    assert!(ledger.holds());
}

#[test]
fn a_wrong_row_is_one_fault_whatever_is_wrong_with_it() {
    let faults: [Fault; 4] = [
        ("hash", |row| row.sha256 = Some("00".repeat(32))),
        ("no hash", |row| row.sha256 = None),
        ("size", |row| row.bytes_downloaded = Some(2_047)),
        ("both", |row| (row.sha256, row.bytes_downloaded) = (None, None)),
    ];
    for (name, fault) in faults {
        let ledger = ledger_of(|number, row| {
            if number == 7 {
                fault(row)
            }
        });
        assert_eq!(ledger, Ledger { wrong_hash: 1, ..right() }, "{name}");
        assert!(!ledger.holds());
    }
}

#[test]
fn a_row_that_nobody_asked_for_is_strange_and_no_other_row_is_it() {
    let faults: [Fault; 7] = [
        ("run", |row| row.trace_id = Some("r2-0000000007".into())),
        ("number", |row| row.trace_id = Some("r1-0000000100".into())),
        ("no number", |row| row.trace_id = Some("r1-x".into())),
        ("another spelling", |row| row.trace_id = Some("r1-7".into())),
        ("no id", |row| row.trace_id = None),
        ("another attachment", |row| row.media_id = Some(uuid::Uuid::from_u128(7).to_string())),
        ("no attachment", |row| row.media_id = None),
    ];
    for (name, fault) in faults {
        let ledger = ledger_of(|number, row| {
            if number == 7 {
                fault(row)
            }
        });
        assert_eq!(ledger, Ledger { stored: 99, missing: 1, strange: 1, ..right() }, "{name}");
    }
}

#[test]
fn rows_beyond_the_first_are_doubled_in_either_table() {
    let plan = plan(Kind::Events, 100);
    let (mut accounts, _) = accounts(&plan);
    let rows: Vec<Seen> = all(&plan).iter().map(seen).collect();
    rows[..60].iter().for_each(|row| accounts.stored(row));
    rows[60..].iter().for_each(|row| accounts.failed(row));
    assert_eq!(accounts.ledger(), Ledger { stored: 60, failed: 40, ..right() });
    assert!(accounts.ledger().holds() && accounts.is_complete());
    accounts.stored(&rows[3]);
    accounts.stored(&Seen { sha256: None, ..rows[3].clone() });
    accounts.failed(&rows[70]);
    assert_eq!(accounts.ledger(), Ledger { stored: 60, failed: 40, doubled: 3, ..right() });
    // Stored and failed as well: no table has it twice, and yet there is a row too many.
    accounts.failed(&rows[4]);
    assert_eq!(accounts.ledger(), Ledger { stored: 60, failed: 41, doubled: 3, ..right() });
}

#[test]
fn what_has_no_row_is_missing_as_far_as_it_was_acknowledged() {
    let plan = plan(Kind::Events, 100);
    let (mut accounts, part) = accounts(&plan);
    let rows: Vec<Seen> = all(&plan).iter().map(seen).collect();
    rows[..70].iter().filter(|row| **row != rows[64]).for_each(|row| accounts.stored(row));
    assert_eq!(accounts.ledger(), Ledger { stored: 69, missing: 31, ..right() });
    accounts.acknowledged(part, 70);
    assert_eq!(accounts.ledger(), Ledger { produced: 70, stored: 69, missing: 1, ..right() });
    assert!(!accounts.is_complete());
    accounts.stored(&rows[64]);
    assert!(accounts.is_complete() && accounts.ledger().holds());
    assert_eq!((accounts.rows(), accounts.rows_of(part)), (70, 70));
}

#[test]
fn plans_are_told_apart_by_their_numbers_and_a_warm_up_has_no_times() {
    let warm_up = GeneratorPlan { rate_per_s: Some(10.0), start_unix_us: Some(START), ..plan(Kind::Events, 50) };
    let measured = GeneratorPlan { first: 50, count: 40, start_unix_us: None, ..warm_up.clone() };
    let mut accounts = Accounts::default();
    let first = accounts.expect(Load::new(&warm_up).unwrap(), Phase::WarmUp);
    let second = accounts.expect(Load::new(&measured).unwrap(), Phase::Measured);
    accounts.started(second, START);
    for one in all(&warm_up).iter().chain(&all(&measured)) {
        let intended = START + one.number.checked_sub(50).unwrap_or(one.number) as i64 * 100_000;
        let (downloaded, created) = (Some(intended + 10_000), Some(intended + 210_000));
        let row = Seen { downloaded_at_us: downloaded, created_at_us: created, ..seen(one) };
        accounts.stored(&Seen { seen_unix_us: intended + 250_000, ..row });
    }
    assert_eq!((accounts.rows_of(first), accounts.rows_of(second)), (50, 40));
    assert_eq!(accounts.ledger(), Ledger { produced: 90, stored: 90, ..Ledger::default() });
    let near = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found - wanted).abs() < wanted / 500.0);
    let whole = accounts.latency().unwrap();
    assert!(whole.count == 40 && near(whole.at(0.5), 0.25) && near(Some(whole.max_s), 0.25), "{whole:?}");
    let stages = accounts.stage_latency();
    for (name, seconds) in [("download", 0.01), ("record", 0.2), ("commit", 0.04)] {
        assert!(near(stages[name].at(0.99), seconds), "{name}: {stages:?}");
    }
}

#[test]
fn without_a_schedule_there_are_no_times() {
    let plan = plan(Kind::Results, 10);
    let (mut accounts, part) = accounts(&plan);
    accounts.started(part, START);
    all(&plan).iter().for_each(|one| accounts.stored(&Seen { seen_unix_us: START + 5, ..seen(one) }));
    assert_eq!((accounts.latency(), accounts.stage_latency().len()), (None, 0));
}

/// A table of so many rows, and their objects.
async fn lake(directory: &Path, plan: &GeneratorPlan) -> Accounts {
    let (table, store) = (directory.join("xact_attachments"), directory.join("files"));
    let rows: Vec<_> = all(plan).iter().map(row).collect();
    attachments(&table).await.append(&rows, &[]).await.unwrap();
    for one in all(plan) {
        let path = store.join(stored(&one).blob_path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content::body(&one.path, one.bytes).flatten().collect::<Vec<u8>>()).unwrap();
    }
    let (mut accounts, _) = accounts(plan);
    let seen = Follower::open(&table, &COLUMNS).look().unwrap();
    seen.iter().for_each(|row| accounts.stored(row));
    accounts
}

#[tokio::test]
async fn objects_are_compared_with_their_rows() {
    let dir = tempdir().unwrap();
    let plan = plan(Kind::Events, 100);
    let (table, store) = (dir.path().join("xact_attachments"), dir.path().join("files"));
    let mut accounts = lake(dir.path(), &plan).await;
    let whole = accounts.check_objects(&table, &store, u64::MAX).unwrap();
    assert_eq!(whole, Checked { every: 1, objects: 100, bytes: 204_800, wrong: 0 });
    assert_eq!(accounts.ledger(), Ledger { objects_checked: 100, ..right() });

    let object = |number: usize| store.join(stored(&all(&plan)[number]).blob_path);
    fs::remove_file(object(3)).unwrap();
    fs::write(object(4), "other bytes").unwrap();
    let mut bytes = fs::read(object(5)).unwrap();
    bytes[2_047] ^= 1;
    fs::write(object(5), bytes).unwrap();
    let checked = accounts.check_objects(&table, &store, u64::MAX).unwrap();
    assert_eq!((checked.objects, checked.wrong), (100, 3));
    assert_eq!(accounts.ledger(), Ledger { objects_checked: 200, wrong_hash: 3, ..right() });
}

#[tokio::test]
async fn a_sample_of_the_objects_keeps_to_its_bytes() {
    let dir = tempdir().unwrap();
    let plan = plan(Kind::Events, 100);
    let mut accounts = lake(dir.path(), &plan).await;
    let (table, store) = (dir.path().join("xact_attachments"), dir.path().join("files"));
    let sample = accounts.check_objects(&table, &store, 25 * 2_048).unwrap();
    assert_eq!(sample, Checked { every: 4, objects: 25, bytes: 25 * 2_048, wrong: 0 });
}

#[tokio::test]
async fn objects_that_are_right_go_as_their_rows_are_seen() {
    let dir = tempdir().unwrap();
    let plan = plan(Kind::Events, 100);
    let store = dir.path().join("files");
    lake(dir.path(), &plan).await;
    let object = |number: usize| store.join(stored(&all(&plan)[number]).blob_path);
    fs::remove_file(object(3)).unwrap();
    fs::write(object(4), "other bytes").unwrap();
    fs::write(store.join("another"), "nobody's").unwrap();
    // The table comes when the rows are expected.
    let table = dir.path().join("followed");
    let follow = Follow::start(table.clone(), dir.path().join("none"), Objects::Go(store.clone())).unwrap();
    follow.expect(Load::new(&plan).unwrap(), Phase::Measured);
    fs::rename(dir.path().join("xact_attachments"), table).unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    while follow.counter().rows() < 100 {
        assert!(Instant::now() < limit, "{:?}", follow.check());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(follow.close().unwrap().ledger(), Ledger { objects_checked: 100, wrong_hash: 2, ..right() });
    assert!((0..100).all(|number| object(number).exists() == (number == 4)));
    let left: Vec<_> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).collect();
    let expected = [store.join("another"), object(4).parent().unwrap().to_owned()];
    assert!(left.len() == 2 && expected.iter().all(|path| left.contains(path)), "{left:?}");
}

#[test]
fn an_object_stays_whose_row_is_wrong_and_one_outside_is_not_touched() {
    let dir = tempdir().unwrap();
    let plan = plan(Kind::Events, 1);
    let (one, store) = (all(&plan).remove(0), dir.path().join("files"));
    let body: Vec<u8> = content::body(&one.path, one.bytes).flatten().collect();
    let outside = dir.path().join("outside.pdf");
    fs::create_dir(&store).unwrap();
    fs::write(&outside, &body).unwrap();
    fs::write(store.join("inside.pdf"), &body).unwrap();
    let wrong = Seen { sha256: Some("00".repeat(32)), ..seen(&one) };
    let mut checked = Checked::default();
    for path in ["inside.pdf", "../outside.pdf", outside.to_str().unwrap(), "not-there.pdf"] {
        for row in [&wrong, &seen(&one)] {
            let row = Seen { blob_path: Some(path.to_owned()), ..row.clone() };
            checked.take(&row, &one, &store).unwrap();
            assert!(outside.exists());
            assert_eq!(store.join("inside.pdf").exists(), checked.objects < 2, "removed only for the row that is right");
        }
    }
    assert_eq!((checked.objects, checked.wrong), (8, 3), "a wrong row was counted when it was seen");
}

#[tokio::test]
async fn a_row_that_points_out_of_the_store_has_no_object() {
    let dir = tempdir().unwrap();
    let plan = plan(Kind::Events, 1);
    let one = all(&plan).remove(0);
    let mut outside = stored(&one);
    outside.blob_path = "../outside.pdf".into();
    let (table, store) = (dir.path().join("xact_attachments"), dir.path().join("files"));
    fs::create_dir(&store).unwrap();
    fs::write(dir.path().join("outside.pdf"), content::body(&one.path, one.bytes).flatten().collect::<Vec<u8>>()).unwrap();
    attachments(&table).await.append(&[world::shape().attachment_row(&outside, world::DAY)], &[]).await.unwrap();
    let (mut accounts, _) = accounts(&plan);
    Follower::open(&table, &COLUMNS).look().unwrap().iter().for_each(|row| accounts.stored(row));
    assert_eq!(accounts.check_objects(&table, &store, u64::MAX).unwrap().wrong, 1);
}

#[tokio::test]
async fn files_without_a_place_are_left_over_and_others_are_not() {
    let dir = tempdir().unwrap();
    let mut accounts = lake(dir.path(), &plan(Kind::Events, 10)).await;
    let (store, tables) = (dir.path().join("files"), dir.path());
    assert_eq!(accounts.check_left_over(&store, tables).unwrap(), 0);
    fs::create_dir(store.join(".longshore-uploads")).unwrap();
    fs::write(store.join(".longshore-uploads/0123"), "half a file").unwrap();
    fs::write(tables.join("xact_attachments/_delta_log/.tmp-0123#0"), "half a commit").unwrap();
    assert_eq!(accounts.check_left_over(&store, tables).unwrap(), 2);
    assert_eq!(accounts.ledger().left_over, 2);
    assert!(!accounts.ledger().holds());
}
