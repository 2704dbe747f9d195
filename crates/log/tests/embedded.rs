//! What the embedded log promises beyond the port: trimming, small files, one fsync for many, and saying what is damaged.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use longshore_log::EmbeddedLog;
use longshore_stages::ports::{
    Consumer, Delivery, Log, LogError, LogView, Message, Partition, PartitionState, Retention, TopicSpec,
};
use tempfile::TempDir;

const OFFSET_BITS: u32 = 40;

fn spec(name: &str, partitions: u32, retention: Retention) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention }
}

fn until(groups: &[&str]) -> Retention {
    Retention::UntilCommitted(groups.iter().map(|g| (*g).to_owned()).collect())
}

fn values(count: usize, bytes: usize) -> Vec<Message> {
    let value = Bytes::from(vec![b'x'; bytes]);
    (0..count).map(|_| Message { value: Some(value.clone()), ..Message::default() }).collect()
}

fn first(topic: &str) -> Partition {
    Partition { topic: topic.into(), index: 0 }
}

async fn open(dir: &TempDir, topics: &[TopicSpec]) -> EmbeddedLog {
    let log = EmbeddedLog::open(dir.path()).unwrap();
    log.ensure_topics(topics).await.unwrap();
    log
}

/// Joins a group and commits a position in the only partition of a topic.
async fn commit(log: &EmbeddedLog, group: &str, topic: &str, watermark: u64) {
    let mut consumer = log.subscribe(group, &[topic]).await.unwrap();
    let Delivery::Assigned { partition, epoch, .. } = consumer.next().await.unwrap() else { panic!("no assignment") };
    consumer.commit(&partition, epoch, watermark).await.unwrap();
    consumer.close().await.unwrap();
}

async fn bounds(view: &dyn LogView, topic: &str) -> PartitionState {
    let (states, _) = view.state().await.unwrap();
    states.into_iter().find(|s| s.partition == first(topic)).unwrap()
}

async fn until_begin(log: &EmbeddedLog, topic: &str, begin: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while bounds(log, topic).await.begin != begin {
        assert!(Instant::now() < deadline, "{topic} begins at {}, not {begin}", bounds(log, topic).await.begin);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn trimming_keeps_what_any_named_group_still_needs() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("work", 1, until(&["a", "b"])), spec("kept", 1, Retention::Forever)]).await;
    for topic in ["work", "kept"] {
        log.append(topic, &values(6_000, 10)).await.unwrap();
        commit(&log, "a", topic, 6_000).await;
        commit(&log, "c", topic, 6_000).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bounds(&log, "work").await.begin, 0, "group b has committed nothing");
    commit(&log, "b", "work", 5_001).await;
    commit(&log, "b", "kept", 5_001).await;
    until_begin(&log, "work", 5_001).await;
    assert_eq!(log.read(&first("work"), 0, 10_000).await.unwrap().len(), 999);
    assert_eq!(log.read(&first("work"), 0, 1).await.unwrap()[0].offset, 5_001);
    assert_eq!(log.read(&first("kept"), 0, 10_000).await.unwrap().len(), 6_000);
}

#[tokio::test]
async fn offsets_go_on_after_everything_was_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("work", 1, until(&["a"]))]).await;
    log.append("work", &values(2_500, 10)).await.unwrap();
    commit(&log, "a", "work", 2_500).await;
    until_begin(&log, "work", 2_500).await;
    log.close().await.unwrap();
    let log = EmbeddedLog::open(dir.path()).unwrap();
    log.append("work", &values(1, 10)).await.unwrap();
    assert_eq!(log.read(&first("work"), 0, 10).await.unwrap()[0].offset, 2_500);
    let mut consumer = log.subscribe("late", &["work"]).await.unwrap();
    let assigned = consumer.next().await.unwrap();
    assert!(matches!(assigned, Delivery::Assigned { position: 2_500, .. }), "{assigned:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(&dir, &[spec("t", 1, Retention::Forever)]).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            for _ in 0..20 {
                log.append("t", &values(1, 100)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let mut times: Vec<i64> = log.read(&first("t"), 0, 2_000).await.unwrap().iter().map(|r| r.appended_at).collect();
    assert_eq!(times.len(), 1_280);
    times.dedup();
    assert!(times.len() < 320, "1,280 appends took {} transactions", times.len());
}

#[tokio::test]
async fn a_long_partition_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("long", 1, Retention::Forever), spec("short", 1, Retention::Forever)]).await;
    log.append("long", &values(20_000, 10)).await.unwrap();
    log.append("short", &values(1, 10)).await.unwrap();
    let mut consumer = log.subscribe("g", &["long", "short"]).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(consumer.next().await.unwrap());
    }
    let short = |d: &Delivery| matches!(d, Delivery::Records { partition, .. } if *partition == first("short"));
    assert!(deliveries.iter().any(short), "two assignments, one batch of each");
    let largest = |d: &Delivery| if let Delivery::Records { records, .. } = d { records.len() } else { 0 };
    assert_eq!(deliveries.iter().map(largest).max(), Some(1_000));
}

#[tokio::test]
async fn a_batch_of_large_values_is_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("t", 1, Retention::Forever)]).await;
    log.append("t", &values(10, 400_000)).await.unwrap();
    let mut consumer = log.subscribe("g", &["t"]).await.unwrap();
    consumer.next().await.unwrap();
    let Delivery::Records { records, .. } = consumer.next().await.unwrap() else { panic!("no records") };
    assert_eq!(records.len(), 3);
}

const RECORDS: u64 = 200_000;
const BATCH: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_stay_small_while_records_pass_through() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(&dir, &[spec("t", 1, until(&["g"]))]).await);
    let done = Arc::new(AtomicU64::new(0));
    let mut consumer = log.subscribe("g", &["t"]).await.unwrap();
    let counter = Arc::clone(&done);
    let consuming = tokio::spawn(async move { consume(&mut *consumer, &counter).await });
    let looking = tokio::spawn(look_on(dir.path().to_owned(), Arc::clone(&done)));
    let (mut wal, mut db) = (0, 0);
    for batch in 0..RECORDS / BATCH as u64 {
        while batch * BATCH as u64 > done.load(Ordering::Acquire) + 20_000 {
            tokio::task::yield_now().await;
        }
        log.append("t", &values(BATCH, 400)).await.unwrap();
        wal = wal.max(size(dir.path(), "log.db-wal"));
        db = db.max(size(dir.path(), "log.db"));
    }
    consuming.await.unwrap();
    looking.await.unwrap();
    assert!(wal < 64 << 20, "the write-ahead log grew to {wal} bytes");
    assert!(db < 48 << 20, "the file grew to {db} bytes, for at most 20,000 records of 400 bytes at a time");
}

async fn consume(consumer: &mut dyn Consumer, done: &AtomicU64) {
    while done.load(Ordering::Acquire) < RECORDS {
        if let Delivery::Records { partition, epoch, records } = consumer.next().await.unwrap() {
            let end = records.last().unwrap().offset + 1;
            consumer.commit(&partition, epoch, end).await.unwrap();
            done.store(end, Ordering::Release);
        }
    }
}

async fn look_on(dir: std::path::PathBuf, done: Arc<AtomicU64>) {
    let view = EmbeddedLog::open_read_only(&dir).unwrap();
    while done.load(Ordering::Acquire) < RECORDS {
        let from = done.load(Ordering::Acquire);
        view.read(&first("t"), from, 1_000).await.unwrap();
        view.state().await.unwrap();
    }
}

fn size(dir: &Path, name: &str) -> u64 {
    std::fs::metadata(dir.join(name)).map_or(0, |m| m.len())
}

#[tokio::test]
async fn an_idle_log_empties_its_write_ahead_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("t", 1, Retention::Forever)]).await;
    log.append("t", &values(5_000, 400)).await.unwrap();
    assert!(size(dir.path(), "log.db-wal") > 1 << 20);
    let deadline = Instant::now() + Duration::from_secs(5);
    while size(dir.path(), "log.db-wal") > 0 {
        assert!(Instant::now() < deadline, "still {} bytes", size(dir.path(), "log.db-wal"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A closed log of 100 records, changed behind its back.
async fn tampered(sql: &str) -> (TempDir, EmbeddedLog) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("other", 3, Retention::Forever), spec("t", 1, Retention::Forever)]).await;
    log.append("t", &values(100, 10)).await.unwrap();
    log.close().await.unwrap();
    let conn = rusqlite::Connection::open(dir.path().join("log.db")).unwrap();
    let lane: i64 = conn.query_row("SELECT max(id) FROM partitions", [], |row| row.get(0)).unwrap();
    assert_eq!(conn.execute(sql, [(lane << OFFSET_BITS) + 42]).unwrap(), 1);
    drop(conn);
    let log = EmbeddedLog::open(dir.path()).unwrap();
    (dir, log)
}

/// The damage is said by both ways of reading, with the file, the partition and the offset; what lies before it is delivered.
async fn assert_said(sql: &str, what: &str) {
    let (dir, log) = tampered(sql).await;
    let mut said = vec![log.read(&first("t"), 0, 1_000).await.unwrap_err()];
    assert_eq!(log.read(&first("t"), 0, 42).await.unwrap().len(), 42);
    let mut consumer = log.subscribe("g", &["t"]).await.unwrap();
    consumer.next().await.unwrap();
    said.push(consumer.next().await.unwrap_err());
    said.push(consumer.next().await.unwrap_err());
    for error in said {
        let LogError::Fatal(text) = &error else { panic!("{error:?}") };
        let file = dir.path().join("log.db");
        for part in [file.to_str().unwrap(), "t/0", "offset 42", what, "restore"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_value_is_said() {
    assert_said("UPDATE records SET value = CAST('xxxxxxxxxy' AS BLOB) WHERE id = ?1", "checksum").await;
}

#[tokio::test]
async fn a_changed_time_is_said() {
    assert_said("UPDATE records SET appended_at = appended_at + 1 WHERE id = ?1", "checksum").await;
}

#[tokio::test]
async fn a_missing_record_is_said() {
    assert_said("DELETE FROM records WHERE id = ?1", "missing").await;
}

#[tokio::test]
async fn missing_records_at_the_end_are_said() {
    let (_dir, log) = tampered("UPDATE partitions SET next_offset = 142 WHERE id = ?1 >> 40").await;
    let said = log.read(&first("t"), 0, 1_000).await.unwrap_err().to_string();
    assert!(said.contains("t/0 at offset 100") && said.contains("missing"), "{said}");
}

/// Opening a log whose file was changed fails both for writing and for reading, and says so.
async fn assert_refused(damage: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("t", 1, Retention::Forever)]).await;
    log.append("t", &values(2_000, 100)).await.unwrap();
    log.close().await.unwrap();
    let file = dir.path().join("log.db");
    damage(&file);
    let writer = EmbeddedLog::open(dir.path()).map(drop);
    let reader = EmbeddedLog::open_read_only(dir.path()).map(drop);
    for outcome in [writer, reader] {
        let Err(LogError::Fatal(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains(file.to_str().unwrap()) && text.contains("damaged"), "{text}");
    }
}

#[tokio::test]
async fn a_truncated_file_is_said() {
    let cut = |bytes| move |file: &Path| std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(bytes).unwrap();
    assert_refused(cut(40_000)).await;
    assert_refused(cut(4_096)).await;
    assert_refused(cut(0)).await;
}

#[tokio::test]
async fn a_garbage_file_is_said() {
    assert_refused(|file| std::fs::write(file, vec![0x5a; 65_536]).unwrap()).await;
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, &[spec("t", 1, Retention::Forever)]).await;
    let mut consumer = log.subscribe("g", &["t"]).await.unwrap();
    consumer.next().await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next().await });
    tokio::task::yield_now().await;
    log.close().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("a consumer waits for ever").unwrap();
    assert!(matches!(ended, Err(LogError::Fatal(_))), "{ended:?}");
    assert!(matches!(log.append("t", &values(1, 1)).await, Err(LogError::Fatal(_))));
    assert!(matches!(log.state().await, Err(LogError::Fatal(_))));
    EmbeddedLog::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_missing_log_is_not_made_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let Err(LogError::Fatal(text)) = EmbeddedLog::open_read_only(dir.path()) else { panic!("opened") };
    assert!(text.contains("there is no log here"), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
