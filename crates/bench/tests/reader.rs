//! The independent reader over tables that Longshore's own writer made.
#![allow(clippy::unwrap_used)]

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longshore_bench::generator::{Expected, Kind};
use longshore_bench::reader::{COLUMNS, Follower, Seen};
use longshore_core::row::Row;
use longshore_lake::durable::DiskSync;
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_stages::ports::Table;
use tempfile::tempdir;
use world::{all, attachments, failed_row, failures, plan, row, shape, stored};

fn some(count: u64) -> Vec<Expected> {
    all(&plan(Kind::Events, count))
}

async fn append(table: &ExactTable, of: &[Expected]) {
    let rows: Vec<Row> = of.iter().map(row).collect();
    table.append(&rows, &[]).await.unwrap();
}

/// All that there is now, however many looks it takes.
fn rest(follower: &mut Follower) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let more = follower.look().unwrap();
        if more.is_empty() {
            return seen;
        }
        seen.extend(more);
    }
}

fn ids(seen: &[Seen]) -> Vec<String> {
    let mut ids: Vec<_> = seen.iter().map(|row| row.trace_id.clone().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn wanted(of: &[Expected]) -> Vec<String> {
    of.iter().map(|one| one.trace_id.clone()).collect()
}

fn commits(table: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(table.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path());
    let mut commits: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    commits.sort_unstable();
    commits
}

#[tokio::test]
async fn rows_are_seen_once_each_as_they_come() {
    let dir = tempdir().unwrap();
    let (path, ours) = (dir.path().join("xact_attachments"), some(500));
    let mut follower = Follower::open(&path, &COLUMNS);
    assert_eq!(follower.look().unwrap(), [], "there is no table yet");
    let table = attachments(&path).await;
    assert_eq!(follower.look().unwrap(), [], "there are no rows yet");
    append(&table, &ours[..200]).await;
    append(&table, &ours[200..300]).await;
    assert_eq!(ids(&rest(&mut follower)), wanted(&ours[..300]));
    assert_eq!(follower.look().unwrap(), []);
    append(&table, &ours[250..]).await;
    assert_eq!(ids(&rest(&mut follower)), wanted(&ours[300..]), "those that were known are no rows");
}

#[tokio::test]
async fn a_row_is_read_as_it_was_written() {
    let dir = tempdir().unwrap();
    let one = some(1).remove(0);
    append(&attachments(dir.path()).await, std::slice::from_ref(&one)).await;
    let seen = rest(&mut Follower::open(dir.path(), &COLUMNS)).remove(0);
    let written = stored(&one);
    let expected = Seen {
        trace_id: Some(one.trace_id.clone()),
        media_id: Some(one.media_id.to_string()),
        sha256: Some(written.sha256),
        bytes_downloaded: Some(2_048),
        blob_path: Some(written.blob_path),
        downloaded_at_us: Some(world::DAY + 1_000),
        created_at_us: Some(world::DAY + 3_000),
        seen_unix_us: seen.seen_unix_us,
    };
    assert_eq!(seen, expected);
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64 - seen.seen_unix_us;
    assert!((0..60_000_000).contains(&age), "seen {age} µs ago");
    let ids_only = rest(&mut Follower::open(dir.path(), &["trace_id"])).remove(0);
    assert_eq!((ids_only.trace_id, ids_only.media_id, ids_only.sha256), (Some(one.trace_id), None, None));
}

#[tokio::test]
async fn failures_have_rows_too() {
    let dir = tempdir().unwrap();
    let ours = some(30);
    let rows: Vec<Row> = ours.iter().map(failed_row).collect();
    failures(dir.path()).await.append(&rows, &[]).await.unwrap();
    let seen = rest(&mut Follower::open(dir.path(), &COLUMNS));
    assert_eq!(ids(&seen), wanted(&ours));
    assert!(seen.iter().all(|row| row.sha256.is_none() && row.media_id.is_some()));
}

#[tokio::test]
async fn a_compaction_shows_no_row_again() {
    let dir = tempdir().unwrap();
    let (table, ours) = (attachments(dir.path()).await, some(400));
    let mut before = Follower::open(dir.path(), &COLUMNS);
    for part in ours[..300].chunks(50) {
        append(&table, part).await;
    }
    assert_eq!(rest(&mut before).len(), 300);
    assert_eq!(table.compact_now().await.unwrap().merged, 6);
    append(&table, &ours[300..]).await;
    assert_eq!(ids(&rest(&mut before)), wanted(&ours[300..]));
    assert_eq!(ids(&rest(&mut Follower::open(dir.path(), &COLUMNS))), wanted(&ours), "a later reader sees the same");
}

#[tokio::test]
async fn a_row_that_was_added_twice_is_seen_twice() {
    let dir = tempdir().unwrap();
    let ours = some(20);
    append(&attachments(dir.path()).await, &ours).await;
    add_again(dir.path());
    let seen = ids(&rest(&mut Follower::open(dir.path(), &COLUMNS)));
    let twice: Vec<_> = wanted(&ours).into_iter().flat_map(|id| [id.clone(), id]).collect();
    assert_eq!(seen, twice);
}

/// Commits the newest commit once more, as a writer might that does not look: its file under another name.
fn add_again(table: &Path) {
    let all = commits(table);
    let newest = fs::read_to_string(all.last().unwrap()).unwrap();
    fs::write(table.join(format!("_delta_log/{:020}.json", all.len())), newest).unwrap();
}

#[tokio::test]
async fn many_rows_come_in_several_looks() {
    let dir = tempdir().unwrap();
    let (table, ours) = (attachments(dir.path()).await, some(45_000));
    for part in ours.chunks(9_000) {
        append(&table, part).await;
    }
    let mut follower = Follower::open(dir.path(), &["trace_id"]);
    let sizes: Vec<_> = std::iter::repeat_with(|| follower.look().unwrap().len()).take(4).collect();
    assert_eq!(sizes, [27_000, 18_000, 0, 0]);
}

#[tokio::test]
async fn what_no_inventory_does_is_an_error_and_not_a_row_less() {
    let dir = tempdir().unwrap();
    append(&attachments(dir.path()).await, &some(5)).await;
    let next = dir.path().join(format!("_delta_log/{:020}.json", commits(dir.path()).len()));
    let add = r#"{"add":{"path":"x.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true"#;
    for (commit, said) in [
        (r#"{"remove":{"path":"x.parquet","dataChange":true}}"#.to_owned(), "removes rows"),
        (format!(r#"{add},"deletionVector":{{"storageType":"u"}}}}}}"#), "marks rows"),
        ("rubbish".to_owned(), "cannot be read"),
        (format!("{add}}}}}"), "x.parquet"),
    ] {
        fs::write(&next, &commit).unwrap();
        let mut follower = Follower::open(dir.path(), &COLUMNS);
        let error = follower.look().expect_err(&commit).to_string();
        assert!(error.contains(said) && error.contains(&*dir.path().to_string_lossy()), "{error}");
    }
    fs::write(&next, r#"{"remove":{"path":"x.parquet","dataChange":false}}"#).unwrap();
    assert_eq!(rest(&mut Follower::open(dir.path(), &COLUMNS)).len(), 5);
}

#[tokio::test]
async fn a_log_that_was_cleaned_before_it_was_read_is_an_error() {
    let dir = tempdir().unwrap();
    let options = Options { retention: Duration::from_secs(1), ..Options::default() };
    let root = Root::local(dir.path(), DiskSync::Off).unwrap();
    let table = ExactTable::open(root, shape().attachments_table(), options).await.unwrap();
    for part in some(30).chunks(10) {
        append(&table, part).await;
        table.checkpoint_now().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    assert!(commits(dir.path()).len() < 4, "nothing was cleaned");
    let error = Follower::open(dir.path(), &COLUMNS).look().expect_err("commits are gone").to_string();
    assert!(error.contains("followed too slowly"), "{error}");
}

#[tokio::test]
async fn paths_in_the_log_may_be_encoded() {
    let dir = tempdir().unwrap();
    append(&attachments(dir.path()).await, &some(3)).await;
    let newest = commits(dir.path()).pop().unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    fs::write(&newest, text.replace("event_date=", "event%5Fdate%3d")).unwrap();
    assert_eq!(rest(&mut Follower::open(dir.path(), &COLUMNS)).len(), 3);
}
