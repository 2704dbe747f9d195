//! The real binary as a service on a directory of its own, and what is said to it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::batch::{Finished, finish, longshore, signal, wait};

/// A service with its configuration.
pub(crate) struct Service {
    pub(crate) root: TempDir,
    pub(crate) config: PathBuf,
    pub(crate) port: u16,
    /// What every command of it has in its environment.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// Two sources on one topic, told apart by a field.
pub(crate) const CLAIMS_AND_OTHERS: &str = "
sources:
  - &source
    name: claims
    topic: all.events
    map: {trace_id: id, attachments: files}
    when: {field: kind, equals: claim}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{host}/{path}'
    retry: [200ms, 400ms]
  - name: others
    topic: all.events
    map: {trace_id: id, attachments: files}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{host}/{path}'
    retry: [200ms, 400ms]
";

/// One source of URLs.
pub(crate) const URLS: &str = "
sources:
  - name: urls
    preset: urls
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    retry: [200ms, 400ms]
";

impl Service {
    /// With these sources, and further keys of `http`.
    pub(crate) fn new(sources: &str, http: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = root.path().join("longshore.yaml");
        let listen =
            format!("http:\n  listen: 127.0.0.1:{port}\n  {http}\nshutdown_grace: 10s\nrecord: {{events_freshness: 200ms}}\n");
        std::fs::write(&config, format!("{listen}{}", sources.replace("&source\n    ", ""))).unwrap();
        Service { root, config, port, environment: Vec::new() }
    }

    /// `longshore COMMAND ARGS -c …`
    pub(crate) fn command(&self, command: &str, args: &[&str]) -> Command {
        let mut started = longshore();
        started.arg(command).args(args).arg("-c").arg(&self.config).current_dir(self.root.path());
        started.envs(self.environment.iter().copied());
        started
    }

    /// Runs a command to its end.
    pub(crate) fn finish(&self, command: &str, args: &[&str]) -> Finished {
        finish(self.command(command, args))
    }

    /// Starts the service; returns once it is ready.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.started(self.command("run", args))
    }

    /// The same of a command that the caller made.
    pub(crate) fn started(&self, mut command: Command) -> Child {
        let mut child = command.spawn().unwrap();
        while self.get("/health/ready").is_none_or(|answer| answer.status != 200) {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said(&mut child));
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// Starts the service; all that it says, down to the last detail, goes to a file in its directory.
    pub(crate) fn start_telling_all(&self) -> Child {
        let mut command = self.command("run", &[]);
        let said = File::options().create(true).append(true).open(self.root.path().join("said.log")).unwrap();
        command.env("LONGSHORE_TRACING", "trace").stderr(said);
        self.started(command)
    }

    /// The first file of its directory in which a text stands, whatever it is.
    pub(crate) fn keeps(&self, text: &str) -> Option<String> {
        stands_in(self.root.path(), text)
    }

    /// Tells the service to stop, and waits until it has.
    pub(crate) fn stop(&self, child: Child) -> Finished {
        signal(&child, rustix::process::Signal::TERM);
        wait(child)
    }

    /// Asks for a path; nothing when no answer in JSON came.
    pub(crate) fn get(&self, path: &str) -> Option<Answer> {
        self.exchange(&Self::asking(path), b"")
    }

    /// Asks for a path; returns the head of the answer and its body, whatever it is.
    pub(crate) fn text(&self, path: &str) -> (String, String) {
        self.speak(&Self::asking(path), b"").unwrap()
    }

    fn asking(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    }

    /// Posts a body; nothing when no answer came.
    pub(crate) fn try_post(&self, source: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        let length = body.len();
        let head = format!(
            "POST /v1/events/{source} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.exchange(&head, body)
    }

    /// Posts lines.
    pub(crate) fn post(&self, source: &str, lines: &[String]) -> Answer {
        self.try_post(source, "Content-Type: application/x-ndjson\r\n", lines.join("\n").as_bytes()).unwrap()
    }

    fn exchange(&self, head: &str, body: &[u8]) -> Option<Answer> {
        let (head, body) = self.speak(head, body)?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head, body: serde_json::from_str(&body).ok()? })
    }

    fn speak(&self, head: &str, body: &[u8]) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        stream.write_all(head.as_bytes()).ok()?;
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    }

    /// The rows of a source's table: URL and object path or message.
    pub(crate) fn rows(&self, source: &str, table: &str) -> Vec<BTreeMap<String, Value>> {
        let finished = self.finish("inventory", &["--source", source, "--table", table, "--limit", "0", "--json"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The URLs of a source's stored attachments, sorted, each as often as it has a row.
    pub(crate) fn stored(&self, source: &str) -> Vec<String> {
        let text = |row: &BTreeMap<String, Value>| row["attachment_url"].as_str().unwrap().to_owned();
        let mut urls: Vec<String> = self.rows(source, "attachments").iter().map(text).collect();
        urls.sort_unstable();
        urls
    }

    /// How many rows a source's table has.
    pub(crate) fn count(&self, source: &str, table: &str) -> usize {
        self.rows(source, table).len()
    }

    /// `longshore reconcile --deep`, which must find nothing.
    pub(crate) fn reconcile(&self) {
        let finished = self.finish("reconcile", &["--deep"]);
        assert_eq!(finished.code, Some(0), "reconcile: {finished:?}");
    }

    fn stages(&self) -> Vec<Value> {
        let finished = self.finish("status", &["--json"]);
        let status: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
        status["stages"].as_array().unwrap().clone()
    }

    /// What waits for the stages of this name.
    pub(crate) fn waiting(&self, stage: &str) -> u64 {
        let stages = self.stages();
        stages.iter().filter(|one| one["stage"] == stage).map(|one| one["waiting"].as_u64().unwrap()).sum()
    }

    /// Whether every stage has read everything.
    pub(crate) fn idle(&self) -> bool {
        let stages = self.stages();
        !stages.is_empty() && stages.iter().all(|stage| stage["waiting"] == 0)
    }
}

fn stands_in(directory: &Path, text: &str) -> Option<String> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() {
            return stands_in(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes()).then(|| path.display().to_string())
    })
}

fn said(child: &mut Child) -> String {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    said
}
