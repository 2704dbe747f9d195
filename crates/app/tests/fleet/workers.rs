//! The processes of a fleet, and what is done to them.
//!
//! A process that ends by itself fails the test: nothing that happens here is a reason to.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Fleet;
use crate::batch::{signal, until};

/// Each role has processes of its own.
pub(crate) const ROLES: [&str; 4] = ["ingest", "download", "retry", "record"];
/// `shutdown_grace`, and time for the rest.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// What stands in a log before what a process says.
const STARTED: &str = "── started";

/// A process of one role.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) role: &'static str,
    number: u32,
    child: Child,
    log: PathBuf,
}

/// All that run.
#[derive(Debug)]
pub(crate) struct Workers<'a> {
    fleet: &'a Fleet,
    pub(crate) alive: Vec<Worker>,
    /// Told to stop, and not yet seen to have ended.
    leaving: Vec<(Worker, Instant)>,
    next: u32,
}

impl<'a> Workers<'a> {
    /// None yet.
    pub(crate) fn none(fleet: &'a Fleet) -> Self {
        Workers { fleet, alive: Vec::new(), leaving: Vec::new(), next: 1 }
    }

    /// This many of each role.
    pub(crate) fn start(fleet: &'a Fleet, each: u32) -> Self {
        let mut workers = Self::none(fleet);
        for role in ROLES {
            (0..each).for_each(|_| workers.join(role));
        }
        workers
    }

    /// One more of a role.
    pub(crate) fn join(&mut self, role: &'static str) {
        let number = self.next;
        self.next += 1;
        self.alive.push(spawn(self.fleet, role, number));
    }

    /// Kills one (SIGKILL) and starts it again at once.
    pub(crate) fn kill_and_restart(&mut self, index: usize) {
        let killed = &mut self.alive[index];
        killed.child.kill().unwrap();
        let status = killed.child.wait().unwrap();
        assert_eq!(status.code(), None, "{} had ended by itself: {status}; {}", killed.role, killed.log.display());
        *killed = spawn(self.fleet, killed.role, killed.number);
    }

    /// Tells one to stop (SIGTERM); [`watch`](Self::watch) sees it end. One that has just been started may not hear it yet.
    pub(crate) fn leave(&mut self, index: usize) {
        let worker = self.alive.swap_remove(index);
        until("it has said something", || worker.has_spoken());
        signal(&worker.child, Signal::TERM);
        self.leaving.push((worker, Instant::now()));
    }

    /// How many of a role run.
    pub(crate) fn of(&self, role: &str) -> usize {
        self.with_role(role).len()
    }

    /// Fails when one has ended that should not have, or not ended that should have.
    pub(crate) fn watch(&mut self) {
        for worker in &mut self.alive {
            let ended = worker.child.try_wait().unwrap();
            assert_eq!(ended, None, "{} {} ended by itself; {}", worker.role, worker.number, worker.log.display());
        }
        self.leaving.retain_mut(|(worker, told)| match worker.child.try_wait().unwrap() {
            Some(status) => {
                worker.ended_well(status);
                false
            }
            None => {
                let waited = told.elapsed();
                assert!(waited < STOPS_WITHIN, "{} runs {waited:?} after SIGTERM; {}", worker.role, worker.log.display());
                true
            }
        });
    }

    /// Stops all in order; each must end well.
    pub(crate) fn stop(mut self) {
        while !self.alive.is_empty() {
            self.leave(0);
        }
        while !self.none_leaving() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The places of those of a role, the newest last.
    pub(crate) fn with_role(&self, role: &str) -> Vec<usize> {
        (0..self.alive.len()).filter(|n| self.alive[*n].role == role).collect()
    }

    /// Whether all that were told to stop have ended.
    pub(crate) fn none_leaving(&mut self) -> bool {
        self.watch();
        self.leaving.is_empty()
    }

    /// Sends a signal to one.
    pub(crate) fn signal(&self, index: usize, signal_: Signal) {
        signal(&self.alive[index].child, signal_);
    }
}

/// What all processes have said so far.
pub(crate) fn said(fleet: &Fleet) -> String {
    let logs = std::fs::read_dir(fleet.root().join("logs")).unwrap();
    logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap()).collect()
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        for worker in self.alive.iter_mut().chain(self.leaving.iter_mut().map(|(worker, _)| worker)) {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

impl Worker {
    fn has_spoken(&self) -> bool {
        std::fs::read_to_string(&self.log).unwrap().lines().last().is_some_and(|line| !line.starts_with(STARTED))
    }

    fn ended_well(&self, status: ExitStatus) {
        assert_eq!(status.code(), Some(0), "{} {} after SIGTERM: {status}; {}", self.role, self.number, self.log.display());
    }
}

/// Starts a process; what it says is added to the log of its number.
fn spawn(fleet: &Fleet, role: &'static str, number: u32) -> Worker {
    let log = fleet.root().join(format!("logs/{role}-{number}.log"));
    let mut said = File::options().create(true).append(true).open(&log).unwrap();
    let mut command = fleet.command("run", &["--role", role]);
    command.env("LONGSHORE_HTTP__LISTEN", "127.0.0.1:0");
    command.stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
    writeln!(said, "{STARTED}").unwrap();
    let child = command.spawn().unwrap();
    Worker { role, number, child, log }
}
