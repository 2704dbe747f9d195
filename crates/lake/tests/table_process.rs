//! Writers in processes of their own: racing, and asleep while the log that they knew is cleaned.
#![allow(clippy::unwrap_used, missing_docs)]

mod table_support;

use std::path::Path as OsPath;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use longshore_lake::table::{ExactTable, Options};
use longshore_stages::ports::{Table, TableError};
use rustix::process::{Pid, Signal, getpid, kill_process};
use table_support::*;
use tempfile::tempdir;

/// Runs one of the tests marked `ignore` below in a process of its own.
fn child(name: &str, directory: &OsPath, argument: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("TABLE", directory)
        .env("ARGUMENT", argument)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn child_that_races() {
    let first: u64 = told("ARGUMENT").parse().unwrap();
    let table = open(OsPath::new(&told("TABLE"))).await;
    for n in 0..40 {
        let from = (first + n * 7) % 40 * 5;
        table.append(&rows(from..from + 10), &[]).await.unwrap();
        table.maintain().await.unwrap();
    }
    table.close().await.unwrap();
}

#[tokio::test]
async fn processes_that_race_with_the_same_keys_double_and_lose_nothing() {
    let dir = tempdir().unwrap();
    let children: Vec<Child> = ["0", "13", "26"].map(|first| child("child_that_races", dir.path(), first)).into();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_holds(dir.path(), 0..205).await;
}

const RETENTION: Duration = Duration::from_secs(2);

fn short() -> Options {
    Options { retention: RETENTION, put_timeout: Duration::from_millis(400), ..Options::default() }
}

/// Stops itself in the middle of its append, at the place that it was told.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn child_that_sleeps() {
    let place = told("ARGUMENT");
    let armed = AtomicBool::new(true);
    let judge = move |path: &object_store::path::Path| {
        let here = match place.as_str() {
            "data" => path.as_ref().ends_with(".parquet"),
            _ => is_commit(path),
        };
        if here && armed.swap(false, Ordering::Relaxed) {
            kill_process(getpid(), Signal::STOP).unwrap();
            std::thread::sleep(Duration::from_millis(100)); // the stop takes a moment to reach every thread
            if place == "commit without deadline" {
                return Fate::WellWhenever;
            }
        }
        Fate::Well
    };
    let root = Faulty::over(root(OsPath::new(&told("TABLE"))), judge);
    let table = ExactTable::open(root, spec(), short()).await.unwrap();
    let mut added = 0;
    while added < 5 {
        match table.append(&rows(0..5), &[]).await {
            Ok(appended) => added += appended.added,
            Err(error) => assert!(matches!(error, TableError::Unavailable(_)), "{error}"),
        }
    }
    assert_eq!(table.known(&keys(0..5)).await.unwrap(), [true; 5]);
}

fn wait_until_stopped(child: &Child) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
            return;
        }
        assert!(Instant::now() < deadline, "the child never stopped");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The child sleeps while the table goes on past its version, which is then cleaned away. Afterwards the number of the
/// version that it wanted to write is free again: the trap.
async fn sleep_past_the_clean_up(place: &str) -> bool {
    let dir = tempdir().unwrap();
    let table = ExactTable::open(root(dir.path()), spec(), short()).await.unwrap();
    let mut child = child("child_that_sleeps", dir.path(), place);
    wait_until_stopped(&child);
    for n in 5..10 {
        table.append(&rows(n..n + 1), &[]).await.unwrap();
    }
    tokio::time::sleep(RETENTION + Duration::from_millis(200)).await;
    table.append(&rows(10..11), &[]).await.unwrap();
    table.compact_now().await.unwrap();
    table.checkpoint_now().await.unwrap();
    tokio::time::sleep(RETENTION + Duration::from_millis(200)).await;
    table.append(&rows(11..12), &[]).await.unwrap();
    table.checkpoint_now().await.unwrap();
    table.vacuum_now().await.unwrap();
    let wanted = dir.path().join("_delta_log/00000000000000000001.json");
    assert!(!wanted.exists(), "the log was not cleaned");
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    assert!(child.wait().unwrap().success());
    assert_holds(dir.path(), 0..12).await;
    assert_eq!(table.known(&keys(0..12)).await.unwrap(), [true; 12]);
    wanted.exists()
}

#[tokio::test]
async fn a_writer_that_sleeps_before_its_data_is_written_loses_nothing() {
    assert!(!sleep_past_the_clean_up("data").await, "a ghost commit");
}

#[tokio::test]
async fn a_writer_that_sleeps_before_its_commit_loses_nothing() {
    assert!(!sleep_past_the_clean_up("commit").await, "a ghost commit");
}

/// On a store that knows no deadline the ghost can be written, but its writer notices and begins again.
#[tokio::test]
async fn a_writer_that_sleeps_inside_its_commit_loses_nothing() {
    assert!(sleep_past_the_clean_up("commit without deadline").await, "the trap did not work");
}
