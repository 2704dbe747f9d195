//! The generator against a real broker: what it says was sent is there, on time, and can be read by the stages.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_bench::Error;
use longshore_bench::generator::{Expected, GeneratorPlan, Kind, Load, Stall, Target, Told, run};
use longshore_bench::model;
use longshore_core::format::{self, Stored, Task};
use longshore_log::kafka::{KafkaLog, Settings};
use longshore_sim::services::kafka;
use longshore_stages::ports::{Log, LogView, Received, Retention, TopicSpec};
use tokio_util::sync::CancellationToken;
use world::{all, plan};

const PARTITIONS: u32 = 3;

/// A broker with the topic of a plan whose source nobody else has.
struct Kafka {
    log: KafkaLog,
    plan: GeneratorPlan,
}

async fn kafka(kind: Kind, count: u64) -> Kafka {
    let brokers = tokio::task::spawn_blocking(|| kafka::shared().address().to_owned()).await.unwrap();
    let log = KafkaLog::new(Settings::new(&brokers)).unwrap();
    let source = format!("s{}", uuid::Uuid::new_v4().simple());
    let to = Target::Kafka { brokers, properties: BTreeMap::new() };
    let plan = GeneratorPlan { to, source, ..plan(kind, count) };
    let name = Load::new(&plan).unwrap().topic().to_owned();
    let topic = TopicSpec { name, partitions: PARTITIONS, retention: Retention::UntilCommitted(Vec::new()) };
    log.ensure_topics(&[topic]).await.unwrap();
    Kafka { log, plan }
}

impl Kafka {
    /// All records of the plan's topic, by their keys.
    async fn records(&self) -> BTreeMap<String, Received> {
        let topic = Load::new(&self.plan).unwrap().topic().to_owned();
        let only = topic.clone();
        let view =
            self.log.view(Box::new(move |topic: &str| if topic == only { vec!["looking".to_owned()] } else { Vec::new() }));
        let mut records = BTreeMap::new();
        for state in view.state().await.unwrap().0.into_iter().filter(|state| *state.partition.topic == *topic) {
            let mut next = state.begin;
            while next < state.end {
                let read = view.read(&state.partition, next, 1_000).await.unwrap();
                next = read.last().map_or(state.end, |record| record.offset + 1);
                for record in read {
                    let key = String::from_utf8(record.message.key.clone().unwrap().to_vec()).unwrap();
                    assert!(records.insert(key, record).is_none(), "a record stands there twice");
                }
            }
        }
        records
    }
}

/// What a generator told, and how it ended.
#[derive(Debug, Default)]
struct Course {
    told: Vec<Told>,
}

impl Course {
    fn done(&self) -> (model::Generator, i64, bool) {
        match self.told.last() {
            Some(Told::Done { done, started_unix_us, stopped }) => (done.clone(), *started_unix_us, *stopped),
            other => panic!("ended with {other:?}"),
        }
    }
}

async fn generate(plan: &GeneratorPlan, stop: CancellationToken) -> Result<Course, Error> {
    let mut course = Course::default();
    let running = run(plan.clone(), stop, |told| {
        course.told.push(told.clone());
        Ok(())
    });
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("the generator does not end")?;
    Ok(course)
}

async fn sent(plan: &GeneratorPlan) -> Course {
    generate(plan, CancellationToken::new()).await.unwrap()
}

fn value<T: serde::de::DeserializeOwned>(records: &BTreeMap<String, Received>, one: &Expected) -> T {
    format::decode(records[&one.trace_id].message.value.as_deref().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_there_and_core_reads_what_was_expected_in_them() {
    let mut kafka = kafka(Kind::Events, 500).await;
    (kafka.plan.first, kafka.plan.missing_every) = (1_000, Some(10));
    let (done, _, stopped) = sent(&kafka.plan).await.done();
    assert_eq!((done.sent, done.late_p99_s, done.late_max_s, stopped), (500, None, None, false));
    assert!(done.rate_per_s > 100.0, "{done:?}");
    let (records, mapping) = (kafka.records().await, longshore_core::source::Mapping::Xact);
    assert_eq!(records.len(), 500);
    let source = longshore_core::source::Source {
        name: kafka.plan.source.clone(),
        path: longshore_core::path::PathTemplate::parse_with(mapping.default_path(), &mapping.path_columns()).unwrap(),
        mapping,
        identity: Default::default(),
        policy: longshore_core::policy::Policy {
            allow_http: true,
            allow_private: vec!["127.0.0.0/8".parse().unwrap()],
            ..Default::default()
        },
        file_types: longshore_core::file_type::FileTypes::xact(),
        route: None,
        enrich: None,
    };
    for one in all(&kafka.plan) {
        let record = &records[&one.trace_id];
        let bytes = record.message.value.clone().unwrap();
        assert!((600..1_100).contains(&bytes.len()), "{} bytes", bytes.len());
        let raw = longshore_core::source::RawEvent::of(&bytes, record.appended_at);
        let event = source.plan(&raw).unwrap().event().unwrap();
        assert_eq!((event.trace_id.as_str(), event.attachments.len()), (one.trace_id.as_str(), 1));
        let attachment = &event.attachments[0];
        assert_eq!(attachment.refused, None);
        assert_eq!((attachment.task.media_id, attachment.task.url.as_str()), (one.media_id, one.url.as_str()));
        let time = longshore_core::time::event_time(event.event_time.as_deref(), record.appended_at).expect("a plausible time");
        assert!((record.appended_at - time).abs() < 60_000_000, "{:?}", event.event_time);
        assert_eq!(one.missing, one.number % 10 == 9);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_what_ingest_makes_of_the_events() {
    let kafka = kafka(Kind::Tasks, 200).await;
    assert_eq!(sent(&kafka.plan).await.done().0.sent, 200);
    let (records, mut paths) = (kafka.records().await, HashSet::new());
    for one in all(&kafka.plan) {
        let task: Task = value(&records, &one);
        assert_eq!((task.trace_id, task.media_id, task.url), (one.trace_id.clone(), one.media_id, one.url.clone()));
        assert_eq!(
            (task.source.as_str(), task.attempts, task.columns["status_subtype"].as_str()),
            (kafka.plan.source.as_str(), 0, "documentsReceived")
        );
        let place = format!("documentsReceived/A{number:08}/{}/A{number:08}_{number:08}.pdf", one.trace_id, number = one.number);
        assert_eq!(task.path, place);
        assert!(paths.insert(task.path));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_what_download_makes_of_the_tasks() {
    let kafka = kafka(Kind::Results, 200).await;
    assert_eq!(sent(&kafka.plan).await.done().0.sent, 200);
    let records = kafka.records().await;
    for one in all(&kafka.plan) {
        let stored: Stored = value(&records, &one);
        assert_eq!((stored.media_id, stored.bytes_downloaded, stored.attempts), (one.media_id, 2_048, 1));
        assert_eq!(stored.sha256, longshore_bench::content::sha256(&one.path, one.bytes));
        assert!(stored.blob_path.ends_with(".pdf") && stored.downloaded_at > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_kept_and_no_message_goes_early() {
    let mut kafka = kafka(Kind::Events, 300).await;
    kafka.plan.rate_per_s = Some(150.0);
    let begun = Instant::now();
    let course = sent(&kafka.plan).await;
    assert!(begun.elapsed() >= Duration::from_millis(2_400), "300 at 150/s after 0.5 s took {:?}", begun.elapsed());
    let (done, started, _) = course.done();
    assert_eq!(course.told.first(), Some(&Told::Started { started_unix_us: started }), "said before the first message");
    assert!(course.told.iter().any(|told| matches!(told, Told::Sent { sent } if (1..300).contains(sent))), "{:?}", course.told);
    let late = done.late_p99_s.expect("lateness is told");
    assert!(late < 0.5 && late <= done.late_max_s.unwrap(), "{done:?}");
    assert!((100.0..=155.0).contains(&done.rate_per_s), "{done:?}");
    let records = kafka.records().await;
    for one in all(&kafka.plan) {
        let intended = started + kafka.plan.due_us(one.number).unwrap();
        // The broker keeps milliseconds.
        assert!(records[&one.trace_id].appended_at >= intended - 2_000, "message {} went early", one.number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_makes_what_follows_late_and_is_told() {
    let mut kafka = kafka(Kind::Events, 200).await;
    (kafka.plan.rate_per_s, kafka.plan.stall) = (Some(200.0), Some(Stall { at: 100, for_ms: 900 }));
    let (done, ..) = sent(&kafka.plan).await.done();
    let (p99, max) = (done.late_p99_s.unwrap(), done.late_max_s.unwrap());
    // Almost all that come after it: the schedule of the last of them ends before the stall does.
    assert!(p99 > 0.7 && (0.85..2.0).contains(&max), "{done:?}");
    assert_eq!((done.sent, kafka.records().await.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_be_lost_on_purpose() {
    let mut kafka = kafka(Kind::Tasks, 50).await;
    kafka.plan.lose = Some(20);
    assert_eq!(sent(&kafka.plan).await.done().0.sent, 50);
    let (records, ours) = (kafka.records().await, all(&kafka.plan));
    assert_eq!(records.len(), 49);
    assert!(!records.contains_key(&ours[20].trace_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stopped_says_how_far_it_came() {
    let mut kafka = kafka(Kind::Events, 100_000).await;
    kafka.plan.rate_per_s = Some(500.0);
    let stop = CancellationToken::new();
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        later.cancel();
    });
    let (done, _, stopped) = generate(&kafka.plan, stop).await.unwrap().done();
    let records = kafka.records().await;
    assert!(stopped && done.sent > 50 && done.sent < 5_000, "{done:?}");
    assert_eq!(records.len() as u64, done.sent);
    assert!(all(&kafka.plan)[..records.len()].iter().all(|one| records.contains_key(&one.trace_id)), "the first ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_no_message() {
    let mut kafka = kafka(Kind::Events, 10).await;
    kafka.plan.source = format!("{}x", kafka.plan.source);
    let error = generate(&kafka.plan, CancellationToken::new()).await.expect_err("there is no such topic").to_string();
    assert!(error.contains(&format!("no topic {}.events.raw", kafka.plan.source)), "{error}");
}

#[test]
fn a_plan_that_is_none_is_refused_with_its_reason() {
    let good = plan(Kind::Tasks, 10);
    let bad = [
        (GeneratorPlan { run: "r-1".into(), ..good.clone() }, "run"),
        (GeneratorPlan { run: String::new(), ..good.clone() }, "run"),
        (GeneratorPlan { rate_per_s: Some(0.0), ..good.clone() }, "rate_per_s"),
        (GeneratorPlan { rate_per_s: Some(f64::NAN), ..good.clone() }, "rate_per_s"),
        (GeneratorPlan { missing_every: Some(0), ..good.clone() }, "missing_every"),
        (GeneratorPlan { origin: "ftp://host".into(), ..good.clone() }, "ftp"),
    ];
    for (plan, named) in bad {
        let error = Load::new(&plan).map(drop).expect_err(named).to_string();
        assert!(error.contains(named), "{error}");
    }
    let json = serde_json::to_string(&good).unwrap();
    assert_eq!(serde_json::from_str::<GeneratorPlan>(&json).unwrap(), good);
    assert!(serde_json::from_str::<GeneratorPlan>(&json.replace("\"count\"", "\"amount\"")).is_err());
}

#[test]
fn batches_hold_each_message_once() {
    let plan = GeneratorPlan { first: 5, ..plan(Kind::Events, 25) };
    let load = Load::new(&plan).unwrap();
    let batches: Vec<_> = load.batches(10, world::DAY).collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let keys: Vec<_> = batches.concat().into_iter().map(|message| message.key.unwrap()).collect();
    assert_eq!(keys, all(&plan).into_iter().map(|one| one.trace_id).collect::<Vec<_>>());
    assert_eq!(
        keys.iter().map(|key| load.number(std::str::from_utf8(key).unwrap())).collect::<Vec<_>>(),
        (5..30).map(Some).collect::<Vec<_>>()
    );
}

const PLAN: &str = "LONGSHORE_BENCH_TEST_PLAN";

/// Not a test: what a child does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn a_child_of_another_test() {
    let plan = serde_json::from_str(&std::env::var(PLAN).expect("run by another test")).unwrap();
    println!();
    longshore_bench::generator::generate(plan).await.unwrap();
}

/// Ends with the test, whatever becomes of it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A generator in a process of its own, and the lines that it prints.
fn process(plan: &GeneratorPlan) -> (Ended, impl Iterator<Item = Told> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_of_another_test", "--ignored", "--nocapture", "--quiet"])
        .env(PLAN, serde_json::to_string(plan).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (Ended(child), lines.filter_map(|line| serde_json::from_str(&line.unwrap()).ok()))
}

/// Reads of a process; one that says nothing for too long is ended with the test.
async fn within<T: Send + 'static>(reading: impl FnOnce() -> T + Send + 'static) -> T {
    let read = tokio::time::timeout(Duration::from_secs(20), tokio::task::spawn_blocking(reading)).await;
    read.expect("the process goes on").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_prints_what_it_did_and_ends_while_its_input_is_open() {
    let kafka = kafka(Kind::Events, 100).await;
    let (mut child, told) = process(&kafka.plan);
    let told: Vec<Told> = within(|| told.collect()).await;
    assert!(matches!(told.first(), Some(Told::Started { started_unix_us }) if *started_unix_us > 0), "{told:?}");
    assert!(matches!(told.last(), Some(Told::Done { done, stopped: false, .. }) if done.sent == 100), "{told:?}");
    assert!(child.0.wait().unwrap().success());
    assert_eq!(kafka.records().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_ends_with_its_parent() {
    let mut kafka = kafka(Kind::Events, 1_000_000).await;
    kafka.plan.rate_per_s = Some(200.0);
    let (mut child, mut told) = process(&kafka.plan);
    let (sent, told) = within(move || (told.any(|told| matches!(told, Told::Sent { sent } if sent > 0)), told)).await;
    assert!(sent, "nothing was sent");
    drop(child.0.stdin.take());
    let last = within(move || told.last()).await;
    assert!(matches!(&last, Some(Told::Done { done, stopped: true, .. }) if done.sent < 100_000), "{last:?}");
    assert!(child.0.wait().unwrap().success());
}
