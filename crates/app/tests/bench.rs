//! The benchmark suite through the real binary, small: what it measures, that it catches what it should, and that nothing
//! that it started outlives it.

#![allow(clippy::unwrap_used)]

mod batch;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use batch::{Finished, finish, longshore, signal};
use longshore_bench::model::{Report, SCHEMA};
use longshore_bench::verdict::{Verdict, judge};
use longshore_sim::services::kafka::shared;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::{Pid, Signal, kill_process};

/// A directory for the suite.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Bench { root: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = longshore();
        command.args(["bench", "run"]).args(args).arg("--out").arg(self.out());
        command
    }

    /// On the broker that all tests share.
    fn run(&self, args: &[&str]) -> Finished {
        finish(self.command(&[args, &["--brokers", shared().address()]].concat()))
    }

    fn report(&self) -> Report {
        serde_json::from_slice(&std::fs::read(self.out().join("report.json")).unwrap()).unwrap()
    }

    /// Topics and groups of this suite's sources that are on the shared broker.
    fn on_the_broker(&self) -> Vec<String> {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", shared().address()).create().unwrap();
        let metadata = client.fetch_metadata(None, Duration::from_secs(10)).unwrap();
        let groups = client.fetch_group_list(None, Duration::from_secs(10)).unwrap();
        let topics = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let all: Vec<String> = topics.chain(groups.groups().iter().map(|group| group.name().to_owned())).collect();
        let worlds = std::fs::read_dir(self.out().join("work")).unwrap();
        let sources: Vec<String> = worlds.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!sources.is_empty());
        all.into_iter().filter(|name| sources.iter().any(|source| name.contains(source.as_str()))).collect()
    }

    /// Waits until the broker has forgotten all of it, or all but groups whose members were not asked to leave.
    fn is_forgotten(&self, all: bool) {
        let until = Instant::now() + Duration::from_secs(15);
        loop {
            let mut left = self.on_the_broker();
            left.retain(|name| all || !name.starts_with("bench.bench-"));
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "these stay: {left:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Files that runs have left in the store.
    fn has_files(&self) -> bool {
        std::fs::read_dir(self.out().join("files")).unwrap().next().is_some()
    }

    /// Processes that name this directory, or work in it: their ids, commands and places.
    fn running(&self) -> Vec<(Pid, String)> {
        let root = self.root.path().to_str().unwrap();
        let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let place = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            Some((pid, format!("{} in {}", String::from_utf8_lossy(&line).replace('\0', " "), place.display())))
        });
        all.filter(|(_, line)| line.contains(root)).collect()
    }

    fn processes(&self) -> Vec<String> {
        self.running().into_iter().map(|(_, line)| line).collect()
    }

    /// Nothing that was started in this directory runs any more, or soon.
    fn is_left_alone(&self) {
        let until = Instant::now() + Duration::from_secs(15);
        while !self.processes().is_empty() {
            assert!(Instant::now() < until, "these go on: {:#?}", self.processes());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A suite that has one benchmark behind it and is in the middle of the next.
fn under_way(bench: &Bench, more: &[&str]) -> Child {
    let args = ["event_ingestion_throughput", "end_to_end_latency", "--scale", "0.1", "--repeats", "1"];
    let mut child = bench.command(&[&args, more].concat()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let second = said.find(|line| line.starts_with("end_to_end_latency")).unwrap();
    // The pipe stays open for as long as the suite says something.
    std::thread::spawn(move || said.count());
    assert_eq!(second, "end_to_end_latency 1/1");
    let until = Instant::now() + Duration::from_secs(60);
    while !has_workers(bench) {
        assert!(Instant::now() < until, "no worker came up: {:#?}", bench.processes());
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn has_workers(bench: &Bench) -> bool {
    bench.processes().iter().filter(|line| line.contains(" run -c ")).count() >= 4
}

fn ended(mut child: Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None if Instant::now() > until => panic!("the suite goes on"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn a_small_run_measures_everything_it_says() {
    let bench = Bench::new();
    let args = ["end_to_end_latency", "event_ingestion_throughput", "--scale", "0.2", "--repeats", "2", "--brokers"];
    let mut command = bench.command(&[&args[..], &[shared().address()]].concat());
    // What the environment says of somebody's service must not lead a run there.
    let elsewhere = bench.root.path().join("elsewhere");
    command.env("LONGSHORE_TABLES", &elsewhere).env("LONGSHORE_STORE", &elsewhere).env("LONGSHORE_KAFKA__GROUP_PREFIX", "his");
    let finished = finish(command);
    assert!(!elsewhere.exists() && !bench.has_files(), "{finished:?}");
    bench.is_forgotten(true);
    assert!(matches!(finished.code, Some(0 | 3)), "{finished:?}");
    let report = bench.report();
    assert!(report.complete && report.schema == SCHEMA && report.finished_at.is_some(), "{finished:?}");
    let names: Vec<&str> = report.benchmarks.iter().map(|benchmark| benchmark.name.as_str()).collect();
    assert_eq!(names, ["event_ingestion_throughput", "end_to_end_latency"], "the order is the suite's");
    for name in ["longshore", "rustc", "kafka", "librdkafka"] {
        assert!(report.environment.versions.contains_key(name), "{name}: {:?}", report.environment);
    }
    assert!(report.command.iter().any(|word| word == "--scale"), "{:?}", report.command);
    let (ingest, chain) = (&report.benchmarks[0], &report.benchmarks[1]);
    assert!((ingest.load.scale - 0.2).abs() < 1e-9 && ingest.load.messages == 2_000, "{:?}", ingest.load);
    for repeat in ingest.repeats.iter().chain(&chain.repeats) {
        assert!(repeat.ledger.holds(), "{:?}; {finished:?}", repeat.ledger);
        assert!(repeat.ledger.objects_checked > 0 && repeat.warm_up_s > 0.0 && repeat.duration_s > 0.0, "{repeat:?}");
    }
    assert_eq!((ingest.repeats.len(), chain.repeats.len()), (2, 2));
    assert_eq!(ingest.repeats[0].ledger.stored, 2_000 + 300, "what came before is in the ledger too");
    assert!(ingest.repeats[0].metrics["throughput_per_s"] > 100.0, "{:?}", ingest.repeats[0].metrics);
    let repeat = &chain.repeats[0];
    assert_eq!(repeat.ledger.stored, 200 + 300);
    assert_eq!(repeat.generator.as_ref().unwrap().sent, 200);
    let latency = repeat.latency.as_ref().unwrap();
    assert!(latency.count == 200 && latency.at(0.5).unwrap() > 0.02 && latency.max_s < 60.0, "{latency:?}");
    for stage in ["ingest", "download", "record"] {
        assert_eq!(repeat.stage_latency[stage].count, 200, "{stage}");
    }
    assert!(repeat.stage_latency["download"].at(0.5).unwrap() >= 0.02, "the origin waits 20 ms");
    for role in ["ingest", "download", "retry", "record"] {
        let mut mine = repeat.processes.iter().filter(|process| process.role == role);
        assert!(mine.any(|process| process.worker && process.rss_peak_bytes > 5_000_000), "{role}: {:?}", repeat.processes);
    }
    for role in ["generator", "origin", "reader"] {
        assert!(repeat.processes.iter().any(|process| process.role == role && !process.worker), "{role}");
    }
    assert!(repeat.samples.iter().any(|sample| sample.lag.contains_key("download")), "{:?}", repeat.samples);
    bench.is_left_alone();
}

#[test]
fn what_goes_wrong_is_caught() {
    for (benchmark, fault, scale, expected) in [
        ("result_processor_throughput", "slow-result", "0.02", Verdict::Fail),
        ("end_to_end_latency", "double-row", "0.1", Verdict::Fail),
        ("end_to_end_latency", "lose-event", "0.1", Verdict::Fail),
        ("event_ingestion_throughput", "lose-event", "0.1", Verdict::Fail),
        ("end_to_end_latency", "stall-generator", "0.6", Verdict::Inconclusive),
    ] {
        let bench = Bench::new();
        let finished = bench.run(&[benchmark, "--fault", fault, "--scale", scale, "--repeats", "1"]);
        let report = bench.report();
        let judged = judge(&report);
        let repeat = &report.benchmarks[0].repeats[0];
        assert_eq!(judged.verdict, expected, "{fault}: {judged:?}; {repeat:?}; {finished:?}");
        assert_eq!(finished.code, Some(3), "{fault}: {finished:?}");
        let ledger = &repeat.ledger;
        assert_eq!(bench.has_files(), !ledger.holds(), "{fault}: what shows the fault stays, and nothing else");
        match fault {
            "slow-result" => assert!(ledger.holds() && repeat.metrics["throughput_per_s"] < 60.0, "{repeat:?}"),
            "double-row" => assert!(ledger.doubled > 0 && ledger.missing == 0, "{ledger:?}"),
            "lose-event" => assert!(ledger.doubled == 0 && ledger.missing == 1, "{ledger:?}"),
            _ => assert!(ledger.holds() && repeat.inconclusive[0].contains("schedule"), "{repeat:?}"),
        }
    }
}

#[test]
fn ctrl_c_leaves_a_valid_report_and_no_process() {
    let bench = Bench::new();
    let child = under_way(&bench, &["--brokers", shared().address()]);
    assert!(!bench.on_the_broker().is_empty());
    let second = bench.run(&["end_to_end_latency"]);
    assert!(second.code == Some(1) && second.stderr.contains("another suite works in"), "{second:?}");
    signal(&child, Signal::INT);
    assert_eq!(ended(child), Some(1), "it was not done");
    let report = bench.report();
    assert!(!report.complete && report.finished_at.is_some(), "{report:?}");
    let names: Vec<&str> = report.benchmarks.iter().map(|benchmark| benchmark.name.as_str()).collect();
    assert_eq!(names, ["event_ingestion_throughput"]);
    assert!(report.benchmarks[0].repeats[0].ledger.holds());
    bench.is_left_alone();
    bench.is_forgotten(false);
}

#[test]
fn ctrl_c_while_the_broker_starts_leaves_a_valid_report_too() {
    let bench = Bench::new();
    let mut child = bench.command(&["end_to_end_latency"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    said.find(|line| line == "Starting a Kafka broker").unwrap();
    signal(&child, Signal::INT);
    assert_eq!(ended(child), Some(1), "it was not done");
    assert!(said.any(|line| line.contains("interrupted")));
    let report = bench.report();
    assert!(!report.complete && report.benchmarks.is_empty() && report.settings.own_broker, "{report:?}");
    assert!(std::fs::read_to_string(bench.out().join("report.md")).unwrap().contains("the run did not come to its end"));
    bench.is_left_alone();
}

#[test]
fn a_killed_suite_leaves_no_process() {
    let bench = Bench::new();
    // Workers whose broker went with the suite would end by themselves.
    let mut child = under_way(&bench, &["--brokers", shared().address()]);
    child.kill().unwrap();
    child.wait().unwrap();
    bench.is_left_alone();
    assert!(!bench.report().complete, "what was measured before is there");
}

#[test]
fn brokers_that_do_not_answer_are_named_before_anything_is_measured() {
    let bench = Bench::new();
    let finished = finish(bench.command(&["end_to_end_latency", "--brokers", "127.0.0.1:1"]));
    assert!(finished.code == Some(1) && finished.stderr.contains("Kafka does not answer at 127.0.0.1:1"), "{finished:?}");
    assert!(!bench.out().join("report.json").exists());
}

#[test]
fn a_worker_that_dies_fails_its_benchmark_and_its_data_stay() {
    let bench = Bench::new();
    let child = under_way(&bench, &["--brokers", shared().address()]);
    let record = bench.running().into_iter().filter(|(_, line)| line.contains(" --role record"));
    record.for_each(|(pid, _)| kill_process(pid, Signal::KILL).unwrap());
    assert_eq!(ended(child), Some(3));
    let report = bench.report();
    let judged = judge(&report);
    assert_eq!(judged.verdict, Verdict::Fail, "{judged:?}");
    let last = judged.benchmarks.last().unwrap();
    assert!(last.name == "end_to_end_latency" && last.why[0].contains("record-1 ended unasked"), "{judged:?}");
    assert!(bench.has_files(), "they show what happened");
    bench.is_left_alone();
}

#[test]
fn a_name_that_is_none_is_answered_with_those_that_are() {
    let bench = Bench::new();
    let finished = finish(bench.command(&["end_to_end_latencies"]));
    assert_eq!(finished.code, Some(2), "{finished:?}");
    for name in ["end_to_end_latencies", "event_ingestion_throughput", "soak"] {
        assert!(finished.stderr.contains(name), "{finished:?}");
    }
    assert!(!Path::new(&bench.out()).exists(), "nothing was made");
}

#[test]
fn the_list_has_every_benchmark_with_its_targets() {
    let mut command = longshore();
    command.args(["bench", "list", "--json"]);
    let finished = finish(command);
    let list: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 17);
    let latency = list.iter().find(|one| one["name"] == "end_to_end_latency").unwrap();
    assert_eq!(latency["load"]["messages"], 1_000);
    assert!(
        latency["targets"].as_array().unwrap().iter().any(|target| target["metric"] == "latency_p95_s" && target["value"] == 5.0)
    );
}
