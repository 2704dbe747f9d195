//! An Apache Kafka of the suite's own, where no brokers are named.
//!
//! *Owns*: a directory with the broker's data and log, and a process of `dev/kafka run`, whose child the broker is.
//! *Does not own*: topics.
//!
//! ```text
//! harness ──pipe──▶ dev/kafka run ──▶ java         the pipe closes: the broker ends, however the harness ended
//! ```

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::failure::Failure;

/// The script, which is the repository's own.
const SCRIPT: &str = include_str!("../../../dev/kafka");
/// How often a start is tried: another process may take the free port first.
const STARTS: u32 = 3;
/// The longest that a start may take; the first one ever fetches Kafka.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// The longest that it may take to end; then it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// A broker; it ends when dropped.
#[derive(Debug)]
pub struct Broker {
    script: Child,
    /// Its end is the broker's end.
    lifeline: Option<ChildStdin>,
    address: String,
    pid: u32,
}

/// The version of Kafka that is started.
pub fn version() -> &'static str {
    let line = SCRIPT.lines().find_map(|line| line.strip_prefix("readonly VERSION="));
    line.unwrap_or("unknown")
}

impl Broker {
    /// Starts a broker without topics, whose data lie in this directory and go with it.
    ///
    /// # Errors
    /// When it does not come up: with what to install.
    pub async fn start(directory: &Path) -> Result<Self, Failure> {
        let script = install(directory)?;
        let mut said = String::new();
        for _ in 0..STARTS {
            match run(&script, &directory.join("data")).await? {
                Ok(broker) => return Ok(broker),
                Err(last_words) => said = last_words,
            }
        }
        Err(Failure::Missing(format!(
            "no Kafka broker could be started: {}. It needs Java 17 and Maven (Debian: openjdk-17-jre-headless, maven); or name brokers of \
             yours by --brokers HOST:PORT, or take --log embedded",
            said.trim().replace('\n', "; ")
        )))
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process id of the broker.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs no more.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.script.try_wait(), Ok(None))
    }

    /// Ends it, and removes its data.
    pub async fn end(mut self) {
        drop(self.lifeline.take());
        if tokio::time::timeout(ENDS_WITHIN, self.script.wait()).await.is_err() {
            let _ = self.script.kill().await;
        }
    }
}

/// Writes the script down.
fn install(directory: &Path) -> Result<PathBuf, Failure> {
    let path = directory.join("kafka");
    let failed = || Failure::io(format!("cannot write {}", path.display()));
    std::fs::create_dir_all(directory).map_err(failed())?;
    let mut file = std::fs::File::create(&path).map_err(failed())?;
    file.write_all(SCRIPT.as_bytes()).map_err(failed())?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).map_err(failed())?;
    Ok(path)
}

/// Starts the script, and waits for its line `ready ADDRESS pid PID`; else what it said last.
async fn run(script: &Path, data: &Path) -> Result<Result<Broker, String>, Failure> {
    let mut command = Command::new("bash");
    command.arg(script).arg("run").arg("--dir").arg(data).args(["--port", "0", "--throw-away", "--lasting"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut script = command.spawn().map_err(Failure::io("cannot run bash"))?;
    let lifeline = script.stdin.take();
    let line = tokio::time::timeout(READY_WITHIN, first_line(&mut script)).await.unwrap_or_default();
    match ready(&line) {
        Some((address, pid)) => Ok(Ok(Broker { script, lifeline, address, pid })),
        None => Ok(Err(last_words(script, lifeline).await)),
    }
}

async fn first_line(script: &mut Child) -> String {
    let mut line = String::new();
    if let Some(stdout) = script.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line).await;
    }
    line
}

/// What `ready 127.0.0.1:9092 pid 17` says.
fn ready(line: &str) -> Option<(String, u32)> {
    let mut words = line.split_whitespace();
    let (Some("ready"), Some(address), Some("pid"), Some(pid)) = (words.next(), words.next(), words.next(), words.next()) else {
        return None;
    };
    Some((address.to_owned(), pid.parse().ok()?))
}

/// What a script that failed had to say.
async fn last_words(mut script: Child, lifeline: Option<ChildStdin>) -> String {
    drop(lifeline);
    let mut said = String::new();
    if let Some(mut stderr) = script.stderr.take() {
        let _ = tokio::time::timeout(ENDS_WITHIN, stderr.read_to_string(&mut said)).await;
    }
    let _ = script.kill().await;
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_says_its_version_and_when_it_is_ready() {
        assert!(version().starts_with(|c: char| c.is_ascii_digit()), "{}", version());
        assert_eq!(ready("ready 127.0.0.1:9092 pid 17\n"), Some(("127.0.0.1:9092".to_owned(), 17)));
        assert_eq!(ready("dev/kafka: no\n"), None);
    }
}
