//! The workers: processes of the real binary, started, watched and ended.
//!
//! *Owns*: their names, their logs, their ends. *Does not own*: what they do, or what is measured of them.
//!
//! ```text
//! harness ─▶ bench tied ─▶ longshore run --role X       SIGTERM, then SIGKILL; killed with the harness, however that ends
//! ```
//! Each is tied to the harness by the kernel ([`crate::tie`]), and is killed when its value is dropped.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};

pub use rustix::process::Signal;

use crate::failure::Failure;
use crate::suite::Role;
use crate::tie;

/// The longest that a worker may take to end when asked: the grace of its configuration, and time for the rest.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// How many lines of what a process said are shown.
const LAST_LINES: usize = 12;

/// A process of the real binary.
#[derive(Debug)]
pub struct Worker {
    /// Its name, such as `download-2`.
    pub name: String,
    /// Its role.
    pub role: Role,
    child: Child,
    pid: u32,
    log: PathBuf,
}

/// What is started.
#[derive(Debug, Clone)]
pub struct Binary {
    /// The program that knows `bench tied`: the harness itself.
    pub harness: PathBuf,
    /// The program under test.
    pub tested: PathBuf,
}

impl Binary {
    /// A command of the program under test that ends with the harness.
    pub fn tested(&self, args: &[OsString]) -> Command {
        Self::tied(&self.harness, &self.tested, args)
    }

    /// A command of the harness's own program that ends with the harness.
    pub fn own(&self, args: &[OsString]) -> Command {
        Self::tied(&self.harness, &self.harness, args)
    }

    /// What the caller's environment says of a service of his is not for ours: a run would go into his store.
    fn tied(harness: &Path, program: &Path, args: &[OsString]) -> Command {
        let mut command = Command::from(tie::command(harness, program, args));
        let of_a_service = |name: &OsString| name.to_string_lossy().starts_with("LONGSHORE_");
        std::env::vars_os().map(|(name, _)| name).filter(of_a_service).for_each(|name| _ = command.env_remove(name));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

impl Worker {
    /// Starts a process of this role in a directory with a `longshore.yaml`, with one more variable in its environment where
    /// that is wanted; what it says goes to `NAME.log` there.
    ///
    /// # Errors
    /// When the program cannot be run, or the log not be written.
    pub fn start(
        binary: &Binary,
        directory: &Path,
        name: String,
        role: Role,
        variable: Option<(&str, &str)>,
    ) -> Result<Self, Failure> {
        let log = directory.join(format!("{name}.log"));
        let mut args: Vec<OsString> = vec!["run".into(), "-c".into(), directory.join("longshore.yaml").into()];
        if role != Role::All {
            args.extend(["--role".into(), role.name().into()]);
        }
        let failed = || Failure::io(format!("cannot write {}", log.display()));
        let said = File::create(&log).map_err(failed())?;
        let mut command = binary.tested(&args);
        command.env("LONGSHORE_HTTP__LISTEN", "127.0.0.1:0").envs(variable).current_dir(directory);
        command.stdout(said.try_clone().map_err(failed())?).stderr(said);
        let child = command.spawn().map_err(Failure::io(format!("cannot run {}", binary.tested.display())))?;
        let pid = child.id().unwrap_or_default();
        Ok(Worker { name, role, child, pid, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its own HTTP server listens, once it has said so.
    pub fn address(&self) -> Option<String> {
        let said = std::fs::read_to_string(&self.log).ok()?;
        let (_, rest) = said.split_once("  http://")?;
        Some(rest.split(": POST").next()?.to_owned())
    }

    /// Fails when it has ended although nobody asked it to.
    ///
    /// # Errors
    /// With its last words.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::Died { name: self.name.clone(), said: self.end_as(status) }),
            Err(error) => Err(Failure::Died { name: self.name.clone(), said: error.to_string() }),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }

    /// Kills it on the spot (SIGKILL), as a crash would.
    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// Waits for its end after SIGTERM; kills it when that does not come.
    ///
    /// # Errors
    /// When it had to be killed, or ended otherwise than well.
    pub async fn ended(mut self) -> Result<(), Failure> {
        let Ok(ended) = tokio::time::timeout(ENDS_WITHIN, self.child.wait()).await else {
            let _ = self.child.kill().await;
            let said = format!("was killed, since it ran for {} s after SIGTERM", ENDS_WITHIN.as_secs());
            return Err(Failure::Command { command: self.name, said });
        };
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Command { said: self.end_as(status), command: self.name }),
            Err(error) => Err(Failure::Command { command: self.name, said: error.to_string() }),
        }
    }

    fn end_as(&self, status: ExitStatus) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("ended with {status}, having said: {}", last.join(" | "))
    }
}

/// Sends a signal to a process that is a child of ours and was not waited for.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Runs a command of the program under test to its end; returns what it printed.
///
/// # Errors
/// When it ends with another code than 0, with what it said.
pub async fn finished(mut command: Command, name: &str) -> Result<String, Failure> {
    let output = command.output().await.map_err(Failure::io(format!("cannot run {name}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
    Err(Failure::Command { command: name.to_owned(), said: format!("ended with {}: {said}", output.status) })
}
