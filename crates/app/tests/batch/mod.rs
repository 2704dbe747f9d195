//! The real binary on a directory, and what it left there, read without its help where that is possible.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use longshore::demo::origin::{Options, Origin};
use longshore::place::Place;
use longshore_core::row::Cell;
use longshore_lake::table::{ExactTable, to_cells};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The longest that any run of the binary may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// A directory for one test: the lake in it, and lists beside it.
pub(crate) struct Batch {
    pub(crate) root: TempDir,
    pub(crate) to: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; nothing when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A row of `attachments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) path: String,
    pub(crate) bytes: i64,
    pub(crate) sha256: String,
    pub(crate) attempts: i64,
}

/// A row of `attachments_failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) retries: i64,
}

/// Both tables, each row as it stands there.
#[derive(Debug)]
pub(crate) struct Inventory {
    pub(crate) stored: Vec<Stored>,
    pub(crate) failed: Vec<Failed>,
}

/// An origin of small files.
pub(crate) fn origin() -> Origin {
    Origin::start(Options { largest: 4_000, ..Options::default() }).unwrap()
}

/// The binary.
pub(crate) fn longshore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_remove("LONGSHORE_TRACING")
        .env_remove("LONGSHORE_TRACING_FORMAT");
    command
}

/// The flags of every fetch here.
pub(crate) const FLAGS: [&str; 9] =
    ["--allow-http", "--allow-private", "127.0.0.1/32", "--per-host", "64", "--retry", "200ms,400ms", "--timeout-total", "2s"];

impl Batch {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("lake");
        Batch { root, to }
    }

    /// Writes a file beside the lake; returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.root.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a plain list.
    pub(crate) fn list<S: AsRef<str>>(&self, name: &str, urls: impl IntoIterator<Item = S>) -> String {
        let lines: String = urls.into_iter().map(|url| format!("{}\n", url.as_ref())).collect();
        self.file(name, lines)
    }

    /// `longshore fetch ARGS --to …`
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = longshore();
        command.arg("fetch").args(args).args(FLAGS).arg("--to").arg(&self.to);
        command
    }

    /// Runs a fetch to its end.
    pub(crate) fn fetch(&self, args: &[&str]) -> Finished {
        finish(self.command(args))
    }

    /// Runs a fetch, which must end with this code, and returns its summary.
    pub(crate) fn summary(&self, args: &[&str], code: i32) -> serde_json::Value {
        let mut command = self.command(args);
        command.arg("--json");
        let finished = finish(command);
        assert_eq!(finished.code, Some(code), "{finished:?}");
        serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
    }

    /// `longshore reconcile --deep`, which must find nothing.
    pub(crate) fn reconcile(&self) {
        let mut command = longshore();
        command.args(["reconcile", "--deep", "--to"]).arg(&self.to);
        let finished = finish(command);
        assert_eq!(finished.code, Some(0), "reconcile: {finished:?}");
    }

    /// The same where killed downloads may have left objects that no row claims, but only below this part of a path:
    /// an origin that never sends the same bytes twice leaves nothing to adopt.
    pub(crate) fn reconcile_with_leftovers(&self, below: &str) {
        let mut command = longshore();
        command.args(["reconcile", "--deep", "--json", "--to"]).arg(&self.to);
        let finished = finish(command);
        assert_eq!(finished.code, Some(0), "reconcile: {finished:?}");
        let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
        for orphan in report["checked"]["objects"]["orphans"].as_array().unwrap() {
            assert!(orphan.as_str().unwrap().contains(below), "{orphan}");
        }
    }

    pub(crate) fn inventory(&self) -> Inventory {
        inventory(&self.to)
    }
}

/// Runs a command to its end, within [`LIMIT`].
pub(crate) fn finish(mut command: Command) -> Finished {
    wait(command.spawn().unwrap())
}

/// Waits for a child that somebody started, within [`LIMIT`].
pub(crate) fn wait(mut child: Child) -> Finished {
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("still running after {LIMIT:?}; it said {}", stderr.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Finished { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits until something is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a child that is running.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The id that a URL must get.
pub(crate) fn media_id(url: &str) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, url.as_bytes()).to_string()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn inventory(to: &Path) -> Inventory {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::existing(to).unwrap();
        let tables = place.open_tables(place.only().unwrap()).await.unwrap();
        let columns = ["media_id", "attachment_url", "blob_path", "bytes_downloaded", "sha256", "attempts"];
        let stored = rows(tables.attachments.as_ref(), &columns).await.into_iter().map(|mut c| Stored {
            attempts: number(c.pop()),
            sha256: text(c.pop()),
            bytes: number(c.pop()),
            path: text(c.pop()),
            url: text(c.pop()),
            id: text(c.pop()),
        });
        let columns = ["media_id", "attachment_url", "status", "error_message", "retry_count"];
        let failed = rows(tables.failed.as_ref(), &columns).await.into_iter().map(|mut c| Failed {
            retries: number(c.pop()),
            message: text(c.pop()),
            status: text(c.pop()),
            url: text(c.pop()),
            id: text(c.pop()),
        });
        Inventory { stored: stored.collect(), failed: failed.collect() }
    })
}

async fn rows(table: Option<&ExactTable>, columns: &[&str]) -> Vec<Vec<Cell>> {
    let Some(table) = table else { return Vec::new() };
    let batches: Vec<_> = table.scan(columns).await.unwrap().try_collect().await.unwrap();
    batches.iter().flat_map(|batch| to_cells(batch).unwrap()).collect()
}

fn text(cell: Option<Cell>) -> String {
    match cell {
        Some(Cell::Text(text)) => text,
        other => panic!("not a text: {other:?}"),
    }
}

fn number(cell: Option<Cell>) -> i64 {
    match cell {
        Some(Cell::Int64(number)) => number,
        other => panic!("not a number: {other:?}"),
    }
}

impl Inventory {
    /// The stored rows by URL; fails where an id has two rows, or rows in both tables.
    pub(crate) fn exact(&self) -> (BTreeMap<&str, &Stored>, BTreeMap<&str, &Failed>) {
        let stored: BTreeMap<_, _> = self.stored.iter().map(|row| (row.url.as_str(), row)).collect();
        let failed: BTreeMap<_, _> = self.failed.iter().map(|row| (row.url.as_str(), row)).collect();
        let ids: BTreeSet<_> = self.stored.iter().map(|r| &r.id).chain(self.failed.iter().map(|r| &r.id)).collect();
        assert_eq!(ids.len(), self.stored.len() + self.failed.len(), "an id has two rows");
        assert_eq!(stored.len() + failed.len(), ids.len(), "a URL has two ids");
        for (url, id) in stored.values().map(|r| (&r.url, &r.id)).chain(failed.values().map(|r| (&r.url, &r.id))) {
            assert_eq!(*id, media_id(url), "{url}");
        }
        (stored, failed)
    }

    /// Every row's size and digest must be those of the object at its path, and no two rows share an object.
    pub(crate) fn objects_are_as_said(&self, to: &Path) {
        let paths: BTreeSet<_> = self.stored.iter().map(|row| &row.path).collect();
        assert_eq!(paths.len(), self.stored.len(), "two rows share an object");
        for row in &self.stored {
            let bytes = std::fs::read(to.join("files").join(&row.path)).unwrap_or_else(|e| panic!("{e}: {row:?}"));
            assert_eq!((row.bytes, &row.sha256), (bytes.len() as i64, &sha256(&bytes)), "{row:?}");
        }
    }

    pub(crate) fn urls(&self) -> BTreeSet<&str> {
        self.stored.iter().map(|row| row.url.as_str()).collect()
    }
}
