//! A small directory made by the real binary from a server of a few lines, and ways to damage it behind its back.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Answers `/ok/…` with a body, never answers `/hang/…`, and has nothing else. Ends with the test's process.
pub(crate) fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || stream.ok().and_then(answer));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    while let Some(Ok(request)) = lines.next() {
        while !lines.next()?.ok()?.is_empty() {}
        let path = request.split(' ').nth(1)?;
        if path.starts_with("/hang/") {
            std::thread::sleep(Duration::from_secs(60));
            return None;
        }
        let status = if path.starts_with("/ok/") { "200 OK" } else { "404 Not Found" };
        let body = format!("the file {path}\n");
        write!(stream, "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
    None
}

/// A directory with a lake in it.
pub(crate) struct Lake {
    _root: TempDir,
    pub(crate) dir: PathBuf,
}

/// `longshore` with these arguments on a directory.
pub(crate) fn longshore(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command
        .args(args)
        .arg("--to")
        .arg(dir)
        .stdin(Stdio::null())
        .env_remove("LONGSHORE_TRACING")
        .env_remove("LONGSHORE_TRACING_FORMAT");
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Lake {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Lake { dir: root.path().join("lake"), _root: root }
    }

    /// A copy to be damaged.
    pub(crate) fn copy(&self) -> Self {
        let copy = Lake::new();
        copy_dir(&self.dir, &copy.dir);
        copy
    }

    fn fetch_command(&self, lines: &[String]) -> Command {
        let list = self.dir.with_extension("txt");
        std::fs::write(&list, lines.join("\n")).unwrap();
        let flags = ["--allow-http", "--allow-private", "127.0.0.0/8", "--retry", "none", "--quiet"];
        let mut command = longshore(&self.dir, &["fetch", list.to_str().unwrap()]);
        command.args(flags);
        command
    }

    pub(crate) fn fetch(&self, lines: &[String]) {
        let output = self.fetch_command(lines).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    }

    pub(crate) fn start_fetch(&self, lines: &[String]) -> Child {
        self.fetch_command(lines).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        longshore(&self.dir, args).output().unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {output:?}"))
    }

    /// The rows that `inventory` shows.
    pub(crate) fn rows(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[&["inventory", "--json"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until `status` shows what is expected.
    pub(crate) fn wait_for(&self, what: &str, so: impl Fn(&Value) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let output = self.run(&["status", "--json"]);
            if serde_json::from_slice(&output.stdout).is_ok_and(|status| so(&status)) {
                return;
            }
            assert!(Instant::now() < until, "waited in vain for {what}: {output:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes a record out of the log; returns what it said, or nothing when there is none.
    pub(crate) fn delete_record(&self, topic: &str, offset: i64) -> Option<String> {
        let db = rusqlite::Connection::open(self.dir.join(".longshore/log.db")).unwrap();
        let find = "SELECT value FROM log_records WHERE topic = ?1 AND offset = ?2";
        let value: Vec<u8> = db.query_row(find, (topic, offset), |row| row.get(0)).ok()?;
        let find = "SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic_id WHERE t.name = ?1";
        let partition: i64 = db.query_row(find, [topic], |row| row.get(0)).unwrap();
        assert_eq!(db.execute("DELETE FROM records WHERE id = ?1", [(partition << 40) | offset]).unwrap(), 1);
        Some(String::from_utf8(value).unwrap())
    }

    /// Changes what every record of the log says, without mending its checksum.
    pub(crate) fn damage_records(&self) {
        let db = rusqlite::Connection::open(self.dir.join(".longshore/log.db")).unwrap();
        assert!(db.execute("UPDATE records SET appended_at = appended_at + 1", []).unwrap() > 0);
    }

    fn log_of(&self, table: &str) -> PathBuf {
        self.dir.join("tables").join(table).join("_delta_log")
    }

    /// The `add` actions of a table's active files.
    fn adds(&self, table: &str) -> Vec<Value> {
        let mut commits: Vec<_> = std::fs::read_dir(self.log_of(table)).unwrap().map(|entry| entry.unwrap().path()).collect();
        commits.retain(|path| path.extension().is_some_and(|e| e == "json"));
        commits.sort();
        let text: String = commits.iter().map(|path| std::fs::read_to_string(path).unwrap() + "\n").collect();
        let mut adds: Vec<Value> = Vec::new();
        for mut action in text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            adds.retain(|add| add["path"] != action["remove"]["path"]);
            adds.extend(action.get_mut("add").map(Value::take));
        }
        assert!(!adds.is_empty(), "{table} has no rows");
        adds
    }

    fn commit(&self, table: &str, action: &Value) {
        let log = self.log_of(table);
        let next = (0..).map(|version: u64| log.join(format!("{version:020}.json"))).find(|path| !path.exists()).unwrap();
        std::fs::write(next, format!("{action}\n")).unwrap();
    }

    /// Takes all data files, with their rows, out of a table.
    pub(crate) fn delete_rows(&self, table: &str) {
        for add in self.adds(table) {
            let remove = json!({ "path": add["path"], "deletionTimestamp": add["modificationTime"], "dataChange": true });
            self.commit(table, &json!({ "remove": remove }));
        }
    }

    /// Adds a copy of each data file, with its rows, to a table.
    pub(crate) fn double_rows(&self, table: &str) {
        let root = self.dir.join("tables").join(table);
        for mut add in self.adds(table) {
            let from = add["path"].as_str().unwrap().to_owned();
            let to = from.replace(".parquet", "-2.parquet");
            std::fs::copy(root.join(from), root.join(&to)).unwrap();
            add["path"] = to.into();
            self.commit(table, &json!({ "add": add }));
        }
    }

    /// `reconcile` with its exit code; the faults as `kind id place`.
    pub(crate) fn faults(&self, args: &[&str]) -> (i32, Vec<String>) {
        let output = self.run(&[&["reconcile", "--json"], args].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let text = |fault: &Value| {
            let field = |name: &str| fault[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", field("kind"), field("id"), field("place"))
        };
        (output.status.code().unwrap(), report["faults"].as_array().unwrap().iter().map(text).collect())
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The id that a URL must get.
pub(crate) fn media_id(url: &str) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, url.as_bytes()).to_string()
}
