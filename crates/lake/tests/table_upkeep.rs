//! Compaction, checkpoints, log clean-up and vacuum while rows arrive: the table stays cheap and exact.
#![allow(clippy::unwrap_used, missing_docs)]

mod table_support;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use deltalake_core::parquet::file::reader::{FileReader, SerializedFileReader};
use longshore_core::row::{Key, Row};
use longshore_lake::table::{Compacted, ExactTable, Options};
use longshore_stages::ports::{Appended, Table};
use table_support::*;
use tempfile::tempdir;

async fn append_each(table: &ExactTable, numbers: std::ops::Range<u64>) {
    for n in numbers {
        table.append(&[row(n, TODAY)], &[]).await.unwrap();
    }
}

fn files_in(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path());
    entries.filter(|p| p.to_string_lossy().ends_with(ending)).collect()
}

fn day_directory(table: &Path) -> PathBuf {
    table.join("event_date=2026-11-23")
}

#[tokio::test]
async fn files_of_a_day_become_one_sorted_file_with_filters() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    for start in (0..5_000).step_by(500) {
        table.append(&rows(start..start + 500), &[]).await.unwrap();
    }
    table.append(&[row(5_000, TODAY - 1)], &[]).await.unwrap();
    let done = table.compact_now().await.unwrap();
    assert_eq!((done.merged, done.written, done.rows), (10, 1, 5_000));
    assert_eq!(table.file_count().await.unwrap(), 2);
    assert_eq!(table.append(&rows(0..5_000), &[]).await.unwrap(), Appended { added: 0, known: 5_000 });
    assert_holds(dir.path(), 0..5_001).await;
    let ids: Vec<String> = all_cells(&table, &["media_id"]).await.iter().map(|c| text(&c[0]).to_owned()).skip(1).collect();
    assert!(ids.is_sorted());
    assert_eq!(filters(dir.path(), "media_id"), 5_000 + 5_000 + 1);
    assert_eq!(filters(dir.path(), "trace_id"), 5_000 + 5_000 + 1);
    assert_eq!(filters(dir.path(), "note"), 0);
}

/// Rows in row groups whose column carries a Bloom filter, over all data files on disk.
fn filters(table: &Path, column: &str) -> i64 {
    let days = std::fs::read_dir(table).unwrap().flatten().map(|e| e.path());
    let files = days.filter(|d| d.to_string_lossy().contains("event_date=")).flat_map(|d| files_in(&d, ".parquet"));
    let rows = files.map(|path| {
        let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let groups = reader.metadata().row_groups().iter();
        let with_filter = groups
            .filter(|g| g.columns().iter().any(|c| c.column_path().string() == column && c.bloom_filter_offset().is_some()));
        with_filter.map(|g| g.num_rows()).sum::<i64>()
    });
    rows.sum()
}

#[tokio::test]
async fn a_compaction_between_two_appends_of_another_writer_adds_no_second_row() {
    let dir = tempdir().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    append_each(&one, 0..20).await;
    assert_eq!(other.append(&rows(15..25), &[]).await.unwrap(), Appended { added: 5, known: 5 });
    append_each(&one, 25..30).await;
    assert!(one.compact_now().await.unwrap().merged > 1);
    assert_eq!(one.append(&rows(0..30), &[]).await.unwrap(), Appended { added: 0, known: 30 }, "also rows of the other");
    assert_eq!(other.append(&rows(0..32), &[]).await.unwrap(), Appended { added: 2, known: 30 });
    assert_eq!(other.compact_now().await.unwrap().rows, 32);
    assert_eq!(one.append(&rows(0..33), &[]).await.unwrap(), Appended { added: 1, known: 32 });
    assert_holds(dir.path(), 0..33).await;
}

#[tokio::test]
async fn more_keys_than_memory_for_filters_are_known_all_the_same() {
    let dir = tempdir().unwrap();
    let options = Options { filter_memory: 512 << 10, key_memory: 0, ..Options::default() };
    let table = ExactTable::open(root(dir.path()), spec(), options.clone()).await.unwrap();
    let all = || (0..200_000).step_by(10_000);
    for n in all() {
        table.append(&rows(n..n + 10_000), &[]).await.unwrap();
        if n == 70_000 {
            table.compact_now().await.unwrap();
        }
    }
    let again = ExactTable::open(root(dir.path()), spec(), options).await.unwrap();
    again.compact_now().await.unwrap();
    for table in [table, again] {
        for n in all() {
            assert_eq!(table.append(&rows(n..n + 10_000), &[]).await.unwrap(), Appended { added: 0, known: 10_000 });
        }
    }
    assert_eq!(open(dir.path()).await.count().await.unwrap(), 200_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compactors_and_appenders_that_race_lose_and_double_nothing() {
    let dir = tempdir().unwrap();
    let mut tasks = Vec::new();
    for who in 0..2_u64 {
        let table = open(dir.path()).await;
        tasks.push(tokio::spawn(async move {
            for n in 0..60 {
                table.append(&rows(n * 5 + who..n * 5 + 8), &[]).await.unwrap();
            }
        }));
        let table = open(dir.path()).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..15 {
                table.compact_now().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_holds(dir.path(), 0..303).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_keeps_files_and_log_small_while_rows_arrive() {
    let dir = tempdir().unwrap();
    let options = Options { checkpoint_every: 20, ..Options::default() };
    let table = ExactTable::open(root(dir.path()), spec(), options).await.unwrap();
    for n in 0..150 {
        table.append(&rows(n * 10..n * 10 + 10), &[]).await.unwrap();
        table.maintain().await.unwrap();
    }
    table.close().await.unwrap();
    assert_eq!(table.file_count().await.unwrap(), 1);
    assert!(!files_in(&dir.path().join("_delta_log"), ".checkpoint.parquet").is_empty());
    assert_holds(dir.path(), 0..1_500).await;
    assert_eq!(table.maintain().await, Ok(()));
}

#[tokio::test]
async fn vacuum_deletes_what_is_old_and_nothing_younger() {
    let dir = tempdir().unwrap();
    let options = Options { retention: Duration::from_secs(2), ..Options::default() };
    let table = ExactTable::open(root(dir.path()), spec(), options).await.unwrap();
    append_each(&table, 0..5).await;
    // The files are old, but they leave the table only now: readers of the version before still need them.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    std::fs::write(day_directory(dir.path()).join("part-orphan.parquet"), "nobody's").unwrap();
    table.compact_now().await.unwrap();
    let young = table.vacuum_now().await.unwrap();
    assert_eq!(young.files, 0);
    assert_eq!(files_in(&day_directory(dir.path()), ".parquet").len(), 7);
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(table.vacuum_now().await.unwrap().files, 6);
    assert_eq!(files_in(&day_directory(dir.path()), ".parquet").len(), 1);
    assert_holds(dir.path(), 0..5).await;
}

#[tokio::test]
async fn expired_log_entries_go_and_the_table_opens_from_its_checkpoint() {
    let dir = tempdir().unwrap();
    let options = Options { retention: Duration::from_secs(1), ..Options::default() };
    let table = ExactTable::open(root(dir.path()), spec(), options.clone()).await.unwrap();
    append_each(&table, 0..5).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    append_each(&table, 5..10).await;
    let done = table.checkpoint_now().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    append_each(&table, 10..12).await;
    let again = table.checkpoint_now().await.unwrap();
    assert!(done.version == 10 && again.version == 12 && again.log_files_deleted >= 5, "{done:?} {again:?}");
    assert!(!dir.path().join("_delta_log/00000000000000000001.json").exists());
    let reopened = ExactTable::open(root(dir.path()), spec(), options).await.unwrap();
    assert_eq!(reopened.append(&rows(0..13), &[]).await.unwrap(), Appended { added: 1, known: 12 });
    assert_holds(dir.path(), 0..13).await;
}

#[tokio::test]
async fn a_history_keeps_one_row_per_life() {
    let dir = tempdir().unwrap();
    let mut spec = spec();
    spec.key_sequence = Some(3);
    let life = |n: u64, life: i64| {
        let mut row: Row = row(n, TODAY);
        row.cells[3] = longshore_core::row::Cell::Int64(life);
        Row { key: Key { id: key(n).id, sequence: life }, ..row }
    };
    let table = ExactTable::open(root(dir.path()), spec.clone(), Options::default()).await.unwrap();
    assert_eq!(table.append(&[life(1, 0), life(1, 1), life(1, 0)], &[]).await.unwrap(), Appended { added: 2, known: 1 });
    table.append(&[life(2, 0)], &[]).await.unwrap();
    table.compact_now().await.unwrap();
    let again = ExactTable::open(root(dir.path()), spec, Options::default()).await.unwrap();
    assert_eq!(again.append(&[life(1, 1), life(1, 2), life(2, 0)], &[]).await.unwrap(), Appended { added: 1, known: 2 });
    let keys = [life(1, 0).key, life(1, 2).key, life(1, 3).key, life(2, 1).key];
    assert_eq!(again.known(&keys).await.unwrap(), [true, true, false, false]);
}

/// Runs a compaction and, just before it commits, something else on the same table.
async fn compact_while<F: Future<Output = ()>>(directory: &Path, meanwhile: impl FnOnce(ExactTable) -> F) -> Compacted {
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let gate = std::sync::Mutex::new(Some((started, may_go_on)));
    let judge = move |path: &object_store::path::Path| {
        let first = if is_commit(path) { gate.lock().unwrap().take() } else { None };
        if let Some((started, may_go_on)) = first {
            started.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
        Fate::Well
    };
    let table = ExactTable::open(Faulty::over(root(directory), judge), spec(), Options::default()).await.unwrap();
    let compaction = tokio::spawn(async move { table.compact_now().await.unwrap() });
    tokio::task::spawn_blocking(move || has_started.recv().unwrap()).await.unwrap();
    meanwhile(open(directory).await).await;
    go_on.send(()).unwrap();
    compaction.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_is_beaten_by_rows_goes_on_and_by_a_compaction_gives_up() {
    let dir = tempdir().unwrap();
    append_each(&open(dir.path()).await, 0..6).await;
    let beaten_by_rows = compact_while(dir.path(), async |table| append_each(&table, 6..8).await).await;
    assert!(beaten_by_rows.rows >= 6, "{beaten_by_rows:?}");
    append_each(&open(dir.path()).await, 8..12).await;
    compact_while(dir.path(), async |table| assert!(table.compact_now().await.unwrap().merged > 1)).await;
    assert_holds(dir.path(), 0..12).await;
    let newest = files_in(&dir.path().join("_delta_log"), ".json").into_iter().max().unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    assert!(
        text.contains("OPTIMIZE") && text.contains("\"dataChange\":false") && !text.contains("\"dataChange\":true"),
        "{text}"
    );
}
