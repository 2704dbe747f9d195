//! The embedded log between processes: killed writers, second writers, onlookers.
//!
//! The children are this test binary, run again with the role in the environment.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use longshore_log::EmbeddedLog;
use longshore_stages::ports::{Delivery, Log, LogError, LogView, Message, Partition, Retention, TopicSpec};

const ROLE: &str = "LONGSHORE_LOG_TEST_ROLE";
const DIR: &str = "LONGSHORE_LOG_TEST_DIR";
const RUN: &str = "LONGSHORE_LOG_TEST_RUN";
const TASKS: u32 = 4;

fn topics() -> [TopicSpec; 1] {
    [TopicSpec { name: "t".to_owned(), partitions: 2, retention: Retention::Forever }]
}

fn child(role: &str, dir: &Path, run: u32) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_of_another_test", "--ignored", "--nocapture", "--quiet"])
        .env(ROLE, role)
        .env(DIR, dir)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Not a test: what a child does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn a_child_of_another_test() {
    let role = std::env::var(ROLE).expect("run by another test");
    let dir = std::path::PathBuf::from(std::env::var(DIR).unwrap());
    match role.as_str() {
        "append" => append_until_killed(&dir, std::env::var(RUN).unwrap().parse().unwrap()).await,
        "second" => println!("\nsaid {:?}", EmbeddedLog::open(&dir).map(drop)),
        "look" => look(&dir).await,
        other => panic!("unknown role {other}"),
    }
}

/// Batches of 1 to 20 records that name their run, task, number and size; each is reported once acknowledged.
async fn append_until_killed(dir: &Path, run: u32) {
    let log = Arc::new(EmbeddedLog::open(dir).unwrap());
    log.ensure_topics(&topics()).await.unwrap();
    for task in 0..TASKS {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for number in 0.. {
                let size = 1 + (number * 7 + task) % 20;
                let text = format!("{run} {task} {number} {size}");
                let part = |n: u32| Message {
                    key: Some(n.to_le_bytes().to_vec().into()),
                    value: Some(Bytes::from(text.clone())),
                    headers: vec![],
                };
                log.append("t", &(0..size).map(part).collect::<Vec<_>>()).await.unwrap();
                println!("ack {text}");
            }
        });
    }
    commit_all(&log).await;
}

async fn commit_all(log: &EmbeddedLog) {
    let mut consumer = log.subscribe("g", &["t"]).await.unwrap();
    loop {
        if let Delivery::Records { partition, epoch, records } = consumer.next().await.unwrap() {
            let end = records.last().unwrap().offset + 1;
            consumer.commit(&partition, epoch, end).await.unwrap();
            println!("position {} {end}", partition.index);
        }
    }
}

/// What a killed child had reported.
#[derive(Default)]
struct Reported {
    batches: Vec<String>,
    positions: BTreeMap<u32, u64>,
}

impl Reported {
    fn note(&mut self, line: &str) {
        if let Some(batch) = line.strip_prefix("ack ") {
            self.batches.push(batch.to_owned());
        } else if let Some((partition, end)) = line.strip_prefix("position ").and_then(|l| l.split_once(' ')) {
            self.positions.insert(partition.parse().unwrap(), end.parse().unwrap());
        }
    }
}

#[tokio::test]
async fn kill_nine_loses_and_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = Reported::default();
    for run in 0..8 {
        let (mut child, mut out) = child("append", dir.path(), run);
        wait_for_acks(&mut out, &mut reported, 20 + 15 * run as usize);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        whole.lines().for_each(|line| reported.note(line));
        // First as the kill left it, looking on; then recovered by a writer.
        check(&EmbeddedLog::open_read_only(dir.path()).unwrap(), &reported).await;
        check(&EmbeddedLog::open(dir.path()).unwrap(), &reported).await;
    }
}

fn wait_for_acks(out: &mut BufReader<ChildStdout>, reported: &mut Reported, acks: usize) {
    let wanted = reported.batches.len() + acks;
    let mut line = String::new();
    while reported.batches.len() < wanted {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        reported.note(line.trim_end());
    }
}

/// Every reported batch is there once and whole; every other one is there once and whole or not at all.
async fn check(view: &dyn LogView, reported: &Reported) {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for index in 0..2 {
        let partition = Partition { topic: "t".into(), index };
        for record in view.read(&partition, 0, 1_000_000).await.unwrap() {
            *found.entry(String::from_utf8(record.message.value.unwrap().to_vec()).unwrap()).or_default() += 1;
        }
    }
    for (batch, count) in &found {
        let size: u32 = batch.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(*count, size, "batch {batch:?} is torn or doubled");
    }
    let missing: Vec<&String> = reported.batches.iter().filter(|batch| !found.contains_key(*batch)).collect();
    assert!(missing.is_empty(), "acknowledged but missing: {missing:?}");
    let (_, positions) = view.state().await.unwrap();
    for (index, end) in &reported.positions {
        let position = positions.iter().find(|p| p.partition.index == *index).expect("a committed position is missing");
        assert!(position.committed >= *end, "partition {index}: {} was {end}", position.committed);
    }
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path()).unwrap();
    let (mut second, mut out) = child("second", dir.path(), 0);
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    second.wait().unwrap();
    let pid = format!("process {}", std::process::id());
    for part in ["Err(Fatal(", dir.path().to_str().unwrap(), &pid, "only one process may write"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(matches!(EmbeddedLog::open(dir.path()), Err(LogError::Fatal(_))), "refused in the same process too");
    drop(log);
    EmbeddedLog::open(dir.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_looks_on_while_this_one_writes() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path()).unwrap();
    log.ensure_topics(&topics()).await.unwrap();
    let (mut onlooker, mut out) = child("look", dir.path(), 0);
    let watching = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        (onlooker.wait().unwrap().success(), said)
    });
    for n in 0..400 {
        let part = |m: usize| Message { value: Some(Bytes::from(format!("{}", n * 10 + m))), ..Message::default() };
        log.append("t", &(0..10).map(part).collect::<Vec<_>>()).await.unwrap();
    }
    let (success, said) = tokio::time::timeout(Duration::from_secs(20), watching).await.unwrap().unwrap();
    assert!(success && said.contains("seen 4000"), "{said}");
}

/// Follows both partitions until 4,000 records have been seen, each offset in turn.
async fn look(dir: &Path) {
    let view = EmbeddedLog::open_read_only(dir).unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut next = [0_u64; 2];
    while next.iter().sum::<u64>() < 4_000 {
        assert!(Instant::now() < deadline, "only {next:?} came");
        for index in 0..2 {
            let partition = Partition { topic: "t".into(), index };
            for record in view.read(&partition, next[index as usize], 500).await.unwrap() {
                assert_eq!(record.offset, next[index as usize]);
                next[index as usize] += 1;
            }
        }
    }
    println!("\nseen {}", next.iter().sum::<u64>());
}
