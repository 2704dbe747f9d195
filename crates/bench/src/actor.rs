//! The origin and the generator as processes of their own.
//!
//! *Owns*: their processes and what they tell. *Does not own*: what they do ([`crate::origin`], [`crate::generator`]).
//!
//! ```text
//! harness ─▶ longshore bench origin              "ready PORT"
//!         ─▶ longshore bench generate PLAN.json  one JSON object a line ─▶ [watch: the latest] ─▶ harness
//! ```
//! Their standard input is a pipe that closes with the harness, and they are tied to it like the workers.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::generator::{GeneratorPlan, Told};
use crate::model::Generator;
use crate::origin::Stats;
use crate::process::Binary;

/// The longest that an origin may take to listen, and to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// An origin; it ends when dropped.
#[derive(Debug)]
pub struct OriginProcess {
    _child: Child,
    _lifeline: Option<ChildStdin>,
    pid: u32,
    port: u16,
}

impl OriginProcess {
    /// Starts one in this directory; returns when it listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(binary: &Binary, directory: &Path) -> Result<Self, Failure> {
        let mut command = binary.own(&["bench".into(), "origin".into()]);
        command.current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Failure::io("cannot start the origin"))?;
        let (pid, lifeline) = (child.id().unwrap_or_default(), child.stdin.take());
        let mut lines = lines(&mut child)?;
        let said = tokio::time::timeout(ANSWERS_WITHIN, lines.next_line()).await;
        let line = said.ok().and_then(Result::ok).flatten().unwrap_or_default();
        match line.strip_prefix("ready ").and_then(|port| port.trim().parse().ok()) {
            Some(port) => Ok(OriginProcess { _child: child, _lifeline: lifeline, pid, port }),
            None => Err(Failure::Late(format!("the origin did not come up; it said {line:?}"))),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has counted.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn stats(&self) -> Result<Stats, Failure> {
        let body = ask(&self.address(), "GET", "/-/stats").await?;
        serde_json::from_str(&body).map_err(|error| Failure::Late(format!("the origin answered {body:?}: {error}")))
    }

    /// Lets it count anew.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reset(&self) -> Result<(), Failure> {
        ask(&self.address(), "POST", "/-/reset").await.map(drop)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>, Failure> {
    let stdout = child.stdout.take().ok_or_else(|| Failure::Late("a process has no standard output".to_owned()))?;
    Ok(BufReader::new(stdout).lines())
}

/// Asks an HTTP server on this machine one thing; the answer's body.
///
/// # Errors
/// When it does not answer in time, or with another status than one of success.
pub async fn ask(address: &str, method: &str, path: &str) -> Result<String, Failure> {
    let late = || Failure::Late(format!("http://{address}{path} did not answer within {} s", ANSWERS_WITHIN.as_secs()));
    tokio::time::timeout(ANSWERS_WITHIN, exchange(address, method, path)).await.map_err(|_| late())?
}

async fn exchange(address: &str, method: &str, path: &str) -> Result<String, Failure> {
    let failed = || Failure::io(format!("cannot ask http://{address}{path}"));
    let mut stream = TcpStream::connect(address).await.map_err(failed())?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(failed())?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 2") => Ok(body.to_owned()),
        _ => Err(Failure::Late(format!("http://{address}{path} answered {}", answer.lines().next().unwrap_or("nothing")))),
    }
}

/// How far a generator is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// The intended time of the first message, in microseconds since 1970, once it is known.
    pub started_unix_us: Option<i64>,
    /// Messages that were acknowledged.
    pub sent: u64,
    /// What it came to, at the end.
    pub done: Option<Generator>,
    /// Whether its process has ended.
    pub ended: bool,
}

/// A generator; it ends when dropped.
#[derive(Debug)]
pub struct GeneratorProcess {
    child: Child,
    _lifeline: Option<ChildStdin>,
    pid: u32,
    course: watch::Receiver<Course>,
    log: std::path::PathBuf,
}

impl GeneratorProcess {
    /// Starts one on a plan, which is written down in this directory under a name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &Binary, directory: &Path, name: &str, plan: &GeneratorPlan) -> Result<Self, Failure> {
        let (file, log) = (directory.join(format!("{name}.json")), directory.join(format!("{name}.log")));
        let text = serde_json::to_vec(plan).unwrap_or_default();
        std::fs::write(&file, text).map_err(Failure::io(format!("cannot write {}", file.display())))?;
        let said = std::fs::File::create(&log).map_err(Failure::io(format!("cannot write {}", log.display())))?;
        let mut command = binary.own(&["bench".into(), "generate".into(), OsString::from(&file)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().map_err(Failure::io("cannot start the generator"))?;
        let (pid, lifeline) = (child.id().unwrap_or_default(), child.stdin.take());
        let (tell, course) = watch::channel(Course::default());
        tokio::spawn(listen(lines(&mut child)?, tell));
        Ok(GeneratorProcess { child, _lifeline: lifeline, pid, course, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How far it is, now and later.
    pub fn course(&self) -> watch::Receiver<Course> {
        self.course.clone()
    }

    /// What it came to; waits for its end.
    ///
    /// # Errors
    /// When it failed: with what it said.
    pub async fn done(mut self) -> Result<(Generator, i64), Failure> {
        let ended = self.course.wait_for(|course| course.ended).await.map(|course| course.clone()).unwrap_or_default();
        let _ = self.child.wait().await;
        match (ended.done, ended.started_unix_us) {
            (Some(done), Some(started)) => Ok((done, started)),
            _ => {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default().trim().to_owned();
                Err(Failure::Died { name: "generator".to_owned(), said })
            }
        }
    }
}

async fn listen(mut lines: Lines<BufReader<ChildStdout>>, tell: watch::Sender<Course>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(told) = serde_json::from_str::<Told>(&line) else { continue };
        tell.send_modify(|course| match told {
            Told::Started { started_unix_us } => course.started_unix_us = Some(started_unix_us),
            Told::Sent { sent } => course.sent = sent,
            Told::Done { done, started_unix_us, .. } => {
                course.sent = done.sent;
                (course.started_unix_us, course.done) = (Some(started_unix_us), Some(done));
            }
        });
    }
    tell.send_modify(|course| course.ended = true);
}
