//! A fleet on one machine: a directory with a configuration, a broker, and the processes of the real binary.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod chaos;
pub(crate) mod plan;
pub(crate) mod producer;
pub(crate) mod verdict;
pub(crate) mod workers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use longshore_sim::services::kafka::Broker;
use serde_json::Value;

use crate::batch::{Finished, finish, longshore};

/// A directory with `longshore.yaml`, files, tables and logs. It is kept when the test fails.
#[derive(Debug)]
pub(crate) struct Fleet {
    root: Root,
    log: String,
    source: &'static str,
}

#[derive(Debug)]
struct Root(Option<tempfile::TempDir>);

impl Drop for Root {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.0.take().map(tempfile::TempDir::keep).unwrap_or_default();
            eprintln!("kept: {0}; what the processes said: {0}/logs/*.log, the broker: {0}/kafka/broker.log", kept.display());
        }
    }
}

impl Fleet {
    /// A fleet with a broker of its own and its topics, and no process yet.
    pub(crate) fn with_broker(session_timeout: Duration) -> (Fleet, Mutex<Broker>) {
        let root = tempfile::tempdir().unwrap();
        let broker = Broker::start_in(&root.path().join("kafka"));
        let fleet = Self::on(root, broker.address(), "xact", session_timeout);
        fleet.create_topics();
        (fleet, Mutex::new(broker))
    }

    /// A fleet whose source has this name, on a broker that is somebody else's and may be away. It has no topics yet.
    pub(crate) fn on(root: tempfile::TempDir, broker: &str, source: &'static str, session_timeout: Duration) -> Fleet {
        let configuration = configuration(broker, source, session_timeout);
        std::fs::write(root.path().join("longshore.yaml"), configuration).unwrap();
        std::fs::create_dir_all(root.path().join("logs")).unwrap();
        Fleet { log: broker.to_owned(), root: Root(Some(root)), source }
    }

    pub(crate) fn create_topics(&self) {
        let created = self.finish("topics", &["create"]);
        assert_eq!(created.code, Some(0), "{created:?}");
    }

    /// The topic that events arrive in.
    pub(crate) fn events(&self) -> String {
        format!("{}.events.raw", self.source)
    }

    /// The topic of this name among those of downloads: `pending`, `results`, `dlq`.
    pub(crate) fn downloads(&self, name: &str) -> String {
        format!("{}.downloads.{name}", self.source)
    }

    /// The broker's address.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.0.as_ref().unwrap().path()
    }

    /// Where objects are.
    pub(crate) fn files(&self) -> PathBuf {
        self.root().join("files")
    }

    /// `longshore COMMAND ARGS -c …`
    pub(crate) fn command(&self, command: &str, args: &[&str]) -> Command {
        let mut made = longshore();
        made.arg(command).args(args).arg("-c").arg(self.root().join("longshore.yaml")).current_dir(self.root());
        made
    }

    /// Runs a command to its end.
    pub(crate) fn finish(&self, command: &str, args: &[&str]) -> Finished {
        finish(self.command(command, args))
    }

    /// All rows of a table, each as it stands there.
    pub(crate) fn rows(&self, table: &str) -> Vec<BTreeMap<String, Value>> {
        let finished = self.finish("inventory", &["--table", table, "--limit", "0", "--json"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> u64 {
        let finished = self.finish("inventory", &["--table", table, "--count"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished.stdout.trim().parse().unwrap()
    }

    /// What waits anywhere, over all stages; nothing while the log does not answer.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let finished = self.finish("status", &["--json"]);
        let status: Value = serde_json::from_str(&finished.stdout).ok()?;
        let stages = status["stages"].as_array()?;
        (!stages.is_empty()).then(|| stages.iter().map(|stage| stage["waiting"].as_u64().unwrap_or(1)).sum())
    }

    /// `longshore reconcile --deep`, which must find nothing but objects without rows, whose paths have this in them.
    pub(crate) fn reconcile(&self, leftovers: &str) {
        let finished = self.finish("reconcile", &["--deep", "--json"]);
        let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
        assert_eq!(finished.code, Some(0), "reconcile: {report:#}");
        let orphans = report["checked"]["objects"]["orphans"].as_array().unwrap();
        println!("reconciled; objects without a row: {}", orphans.len());
        for orphan in orphans {
            assert!(orphan.as_str().unwrap().contains(leftovers), "{orphan}");
        }
    }
}

/// Records linger in the producer, so that one which is acknowledged before the broker has it would be lost with its process.
fn configuration(broker: &str, source: &str, session_timeout: Duration) -> String {
    format!(
        "
log: kafka://{broker}
kafka:
  properties: {{session.timeout.ms: '{}', linger.ms: '300', message.timeout.ms: '5000'}}
store: ./files
tables: ./tables
shutdown_grace: 10s
record: {{events_freshness: 1s}}
download: {{timeouts: {{connect: 2s, first_byte: 5s, idle: 2s, total: 10s}}}}
sources:
  - name: {source}
    preset: xact
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    retry: [300ms, 1s, 3s]
",
        session_timeout.as_millis()
    )
}
