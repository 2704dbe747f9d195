//! One row per key, whatever goes wrong: the promises 1, 2 and 3 of the inventory.
#![allow(clippy::unwrap_used, missing_docs)]

mod table_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use longshore_core::row::Cell;
use longshore_lake::table::{ExactTable, Options, to_cells};
use longshore_stages::ports::{Appended, LogPosition, Partition, Table, TableError};
use table_support::*;
use tempfile::tempdir;

#[tokio::test]
async fn a_row_is_added_once_and_known_ever_after() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    let position = LogPosition { partition: Partition { topic: "results".into(), index: 0 }, watermark: 41 };
    let mut batch = rows(0..100);
    batch.extend(rows(0..10));
    assert_eq!(table.append(&batch, &[position]).await.unwrap(), Appended { added: 100, known: 10 });
    assert_eq!(table.append(&rows(50..150), &[]).await.unwrap(), Appended { added: 50, known: 50 });
    assert_eq!(table.append(&[], &[]).await.unwrap(), Appended::default());
    let again = open(dir.path()).await;
    assert_eq!(again.append(&rows(0..150), &[]).await.unwrap(), Appended { added: 0, known: 150 });
    let mut expected = vec![true; 150];
    expected.extend([false; 50]);
    assert_eq!(again.known(&keys(0..200)).await.unwrap(), expected);
    assert_eq!(again.count().await.unwrap(), 150);
    assert_holds(dir.path(), 0..150).await;
}

#[tokio::test]
async fn the_same_key_on_another_day_and_at_another_time_adds_no_row() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    table.append(&rows(0..10), &[]).await.unwrap();
    for day in [TODAY - 400, TODAY + 1] {
        let repeated: Vec<_> = (0..10).map(|n| row(n, day)).collect();
        assert_eq!(table.append(&repeated, &[]).await.unwrap(), Appended { added: 0, known: 10 });
        let reversed: Vec<_> = repeated.into_iter().rev().collect();
        assert_eq!(table.append(&reversed, &[]).await.unwrap(), Appended { added: 0, known: 10 }, "in another order");
    }
    assert_holds(dir.path(), 0..10).await;
}

/// The compactions that run beside lose their answers just as often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_commits_with_lost_answers_double_and_lose_nothing() {
    let dir = tempdir().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let judge = move |path: &object_store::path::Path| {
        if !is_commit(path) {
            return Fate::Well;
        }
        match count.fetch_add(1, Ordering::Relaxed) % 50 {
            0 => Fate::DoneButSilent,
            1 => Fate::Late(Duration::from_millis(45)),
            2..=12 => Fate::Error,
            _ => Fate::DoneButError,
        }
    };
    let options = Options { put_timeout: Duration::from_millis(40), ..Options::default() };
    let table = ExactTable::open(Faulty::over(root(dir.path()), judge), spec(), options).await.unwrap();
    for n in 0..1_000 {
        let batch = vec![row(n, TODAY), row(n + 1, TODAY)];
        while let Err(error) = table.append(&batch, &[]).await {
            assert!(matches!(error, TableError::Unavailable(_)), "{error}");
        }
        table.maintain().await.unwrap();
    }
    assert!(table.version().await >= 1_000);
    assert_holds(dir.path(), 0..1_001).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_race_with_the_same_keys_double_and_lose_nothing() {
    let dir = tempdir().unwrap();
    let mut writers = Vec::new();
    for writer in 0..3_u64 {
        let table = open(dir.path()).await;
        writers.push(tokio::spawn(async move {
            let mut added = 0;
            for n in 0..40 {
                let from = ((n + writer * 13) % 40) * 5;
                added += table.append(&rows(from..from + 10), &[]).await.unwrap().added;
            }
            added
        }));
    }
    let mut added = 0;
    for writer in writers {
        added += writer.await.unwrap();
    }
    assert_eq!(added, 205);
    assert_holds(dir.path(), 0..205).await;
}

#[tokio::test]
async fn a_commit_holds_sixteen_days_at_most() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    let spread: Vec<_> = (0..40).map(|n| row(n, TODAY - n as i32)).collect();
    assert_eq!(table.append(&spread, &[]).await.unwrap(), Appended { added: 40, known: 0 });
    assert_eq!(table.version().await, 3);
    assert_eq!(table.file_count().await.unwrap(), 40);
    assert_holds(dir.path(), 0..40).await;
}

#[tokio::test]
async fn hostile_texts_come_back_as_they_went_in() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    let texts = [
        "\"quoted\" and 'quoted'".to_owned(),
        "line\r\nline\u{2028}line".into(),
        "nul\0nul".into(),
        "x".repeat(100 * 1024),
        "\u{10FFFF}".repeat(50),
        "\u{D7FF}\u{E000}\u{FFFF}".into(),
        "{\"add\":{}}\n{\"remove\":{}}".into(),
        String::new(),
    ];
    let hostile: Vec<_> = texts.iter().enumerate().map(|(n, text)| row_with(n as u64, TODAY, text)).collect();
    table.append(&hostile, &[]).await.unwrap();
    let again = open(dir.path()).await;
    let mut found: Vec<_> = all_cells(&again, &["note", "event_date"]).await;
    found.sort_by_key(|cells| text(&cells[0]).to_owned());
    let mut expected: Vec<_> = texts.iter().map(|t| vec![Cell::Text(t.clone()), Cell::Date(TODAY)]).collect();
    expected.sort_by_key(|cells| text(&cells[0]).to_owned());
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_full_disk_stops_with_the_remedy_and_the_same_rows_go_in_later() {
    let dir = tempdir().unwrap();
    let full = Arc::new(AtomicU64::new(1));
    let switch = full.clone();
    let judge = move |path: &object_store::path::Path| match switch.load(Ordering::Relaxed) {
        1 if path.as_ref().ends_with(".parquet") => Fate::DiskFull,
        2 if is_commit(path) => Fate::DiskFull,
        _ => Fate::Well,
    };
    let table = ExactTable::open(Faulty::over(root(dir.path()), judge), spec(), Options::default()).await.unwrap();
    for stage in [1, 2] {
        full.store(stage, Ordering::Relaxed);
        match table.append(&rows(0..10), &[]).await {
            Err(TableError::Fatal(text)) => {
                assert!(text.contains("disk is full") && text.contains(dir.path().to_str().unwrap()), "{text}")
            }
            other => panic!("{other:?}"),
        }
    }
    full.store(0, Ordering::Relaxed);
    assert_eq!(table.append(&rows(0..10), &[]).await.unwrap().added, 10);
    assert_holds(dir.path(), 0..10).await;
}

/// A search skips row groups by their filters and never misses a row.
#[tokio::test]
async fn a_search_finds_what_a_scan_finds() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    for part in 0..4 {
        table.append(&rows(part * 100..(part + 1) * 100), &[]).await.unwrap();
    }
    let wanted = vec![text(&row(150, TODAY).cells[1]).to_owned()];
    let read: Vec<_> = table.search(&["media_id", "trace_id"], "trace_id", &wanted).await.unwrap().try_collect().await.unwrap();
    let cells: Vec<_> = read.iter().flat_map(|batch| to_cells(batch).unwrap()).collect();
    assert_eq!(cells.iter().filter(|cells| text(&cells[1]) == wanted[0]).count(), 1);
    assert_eq!(cells.len(), 100, "three of the four files were skipped");
    let unfiltered: Vec<_> = table.search(&["note"], "note", &["x".into()]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(unfiltered.iter().map(|batch| batch.num_rows()).sum::<usize>(), 400, "a column without filters is read whole");
}
