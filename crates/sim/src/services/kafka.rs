//! A real Apache Kafka broker for one test.
//!
//! *Owns*: a directory with the broker's data, its port, and a process of `dev/kafka run`, whose child the broker is.
//! *Does not own*: topics and records; take any client.
//!
//! ```text
//! test ──pipe──▶ dev/kafka run ──▶ java         the pipe closes: the broker ends, however the test ended
//! ```
//! Nothing is left behind: not by a panic, nor when the test's process is killed. A broker that was stopped or killed
//! comes back by [`Broker::restart`] with the same data at the same address, as a machine does.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The longest that a broker may take to end when asked; then it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// How often a start is tried: another process may take the free port first.
const STARTS: u32 = 3;

/// A broker; it ends when dropped.
#[derive(Debug)]
pub struct Broker {
    directory: Directory,
    address: String,
    running: Option<Running>,
}

#[derive(Debug)]
enum Directory {
    Ours(TempDir),
    Theirs(PathBuf),
}

/// `dev/kafka run` and the broker that it said it started.
#[derive(Debug)]
struct Running {
    script: Child,
    broker: Pid,
}

/// One broker for all tests of this process, started at the first call. It ends with the process.
///
/// # Panics
/// As [`Broker::start`].
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

impl Broker {
    /// Starts a broker without topics; returns when it answers, about three seconds later.
    ///
    /// # Panics
    /// When it does not come up; the message says what to install.
    pub fn start() -> Broker {
        Self::begin(Directory::Ours(tempfile::tempdir().expect("a temporary directory")))
    }

    /// The same in a directory that stays.
    ///
    /// # Panics
    /// As [`Broker::start`].
    pub fn start_in(directory: &Path) -> Broker {
        std::fs::create_dir_all(directory).expect("the broker's directory");
        Self::begin(Directory::Theirs(directory.to_owned()))
    }

    fn begin(directory: Directory) -> Broker {
        let begun = (0..STARTS).find_map(|_| run(&directory, &["--port", "0"]).inspect_err(|said| eprintln!("{said}")).ok());
        let Some((running, address)) = begun else {
            panic!(
                "no Kafka broker: it needs Java 17 and Maven (Debian: openjdk-17-jre-headless, maven); what dev/kafka said stands above"
            );
        };
        Broker { directory, address, running: Some(running) }
    }

    /// `127.0.0.1:PORT`, the same for as long as the value lives.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its data and its log (`broker.log`) are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the broker, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.broker.as_raw_nonzero().get().unsigned_abs())
    }

    /// Ends it in order, as for maintenance. Nothing happens when it does not run.
    pub fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let _ = kill_process(running.broker, Signal::TERM);
        let asked = Instant::now();
        while running.script.try_wait().is_ok_and(|ended| ended.is_none()) {
            if asked.elapsed() > STOPS_WITHIN {
                running.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it on the spot (SIGKILL). Nothing happens when it does not run.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    /// Starts it again on its data and its port, after [`stop`](Self::stop) if it runs.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.stop();
        let (running, address) = run(&self.directory, &[]).unwrap_or_else(|said| panic!("the broker did not come back: {said}"));
        assert_eq!(address, self.address, "it came back elsewhere");
        self.running = Some(running);
    }

    /// Runs one of Kafka's own tools, such as `topics --list`, to its end, as `dev/kafka` does; returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn topics(&self, arguments: &[&str]) -> String {
        let mut command = script("topics", self.directory.path());
        command.args(arguments);
        printed(command)
    }

    /// Runs a class of Kafka's tools with `--bootstrap-server` and these arguments; returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(path_of_script());
        command.args(["tool", class, "--bootstrap-server", &self.address]).args(arguments);
        printed(command)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Directory::Ours(directory) => directory.path(),
            Directory::Theirs(directory) => directory,
        }
    }

    /// Ours is dropped with the value, and by the script when the test is killed before that.
    fn flags(&self) -> &[&str] {
        match self {
            Directory::Ours(_) => &["--throw-away"],
            Directory::Theirs(_) => &[],
        }
    }
}

impl Running {
    fn kill(&mut self) {
        let _ = kill_process(self.broker, Signal::KILL);
        // Open until the script has ended: to wait for a child closes its input, and then the data would go.
        let _input = self.script.stdin.take();
        let _ = self.script.wait();
    }
}

fn path_of_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/kafka")
}

fn script(command: &str, directory: &Path) -> Command {
    let mut started = Command::new(path_of_script());
    started.arg(command).arg("--dir").arg(directory);
    started
}

/// Starts the script, and waits for its line `ready ADDRESS pid PID`; fails with all that it said.
fn run(directory: &Directory, flags: &[&str]) -> Result<(Running, String), String> {
    let mut command = script("run", directory.path());
    command.args(flags).args(directory.flags());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = command.spawn().map_err(|e| format!("{}: {e}", path_of_script().display()))?;
    let mut line = String::new();
    if let Some(stdout) = script.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    match ready(&line) {
        Some((address, broker)) => Ok((Running { script, broker }, address)),
        None => Err(last_words(script)),
    }
}

/// What `ready 127.0.0.1:9092 pid 17` says.
fn ready(line: &str) -> Option<(String, Pid)> {
    let mut words = line.split_whitespace();
    let (Some("ready"), Some(address), Some("pid"), Some(pid)) = (words.next(), words.next(), words.next(), words.next()) else {
        return None;
    };
    Some((address.to_owned(), Pid::from_raw(pid.parse().ok()?)?))
}

/// What a script that failed had to say.
fn last_words(mut script: Child) -> String {
    let mut said = String::new();
    if let Some(stderr) = script.stderr.as_mut() {
        let _ = stderr.read_to_string(&mut said);
    }
    let _ = script.wait();
    said
}

fn printed(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("dev/kafka can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
