//! What a test of the suite lets go wrong, to see that it is caught. Each is done for real, and by the harness.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::follow::{Follow, RowCounter};
use crate::generator::{GeneratorPlan, Stall};
use crate::process::{Signal, Worker, send};
use crate::suite::Role;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Each result takes 20 ms more.
    SlowResult,
    /// Rows stand twice in the table.
    DoubleRow,
    /// An event is counted and not sent.
    LoseEvent,
    /// The generator stands still for a while.
    StallGenerator,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = BTreeMap::from([
            ("slow-result", Fault::SlowResult),
            ("double-row", Fault::DoubleRow),
            ("lose-event", Fault::LoseEvent),
            ("stall-generator", Fault::StallGenerator),
        ]);
        known.get(text).copied().ok_or_else(|| format!("expected one of {}", known.into_keys().collect::<Vec<_>>().join(", ")))
    }
}

/// How long the generator stands still.
const STANDS: Duration = Duration::from_millis(1_500);
/// What each result takes more.
const MORE: Duration = Duration::from_millis(20);
/// How long the worker is held at most before it may answer its group, and for how long it may.
const HELD: Duration = Duration::from_millis(1_000);
const FREE: Duration = Duration::from_millis(10);

/// A pause at half of a plan.
pub(super) fn stall(plan: &GeneratorPlan) -> Stall {
    Stall { at: plan.first + plan.count / 2, for_ms: u64::try_from(STANDS.as_millis()).unwrap_or(0) }
}

/// Holds workers for 20 ms for each row that they make; until it is dropped.
#[derive(Debug)]
pub(super) struct Slowing {
    task: JoinHandle<()>,
    pids: Vec<u32>,
}

impl Drop for Slowing {
    fn drop(&mut self) {
        self.task.abort();
        self.pids.iter().for_each(|pid| send(*pid, Signal::CONT));
    }
}

/// Slows the workers that record.
pub(super) fn slow(workers: &[Worker], follow: &Follow) -> Option<Slowing> {
    let records = |worker: &&Worker| matches!(worker.role, Role::Record | Role::All);
    let pids: Vec<u32> = workers.iter().filter(records).map(Worker::pid).collect();
    let task = tokio::spawn(hold(pids.clone(), follow.counter()));
    (!pids.is_empty()).then_some(Slowing { task, pids })
}

/// A row costs its time when it is seen, whatever is recorded meanwhile.
async fn hold(pids: Vec<u32>, rows: RowCounter) {
    let (mut seen, mut owed) = (rows.rows(), Duration::ZERO);
    loop {
        let now = rows.rows();
        owed += MORE * u32::try_from(now - seen).unwrap_or(u32::MAX);
        seen = now;
        if !owed.is_zero() {
            let turn = owed.min(HELD);
            pids.iter().for_each(|pid| send(*pid, Signal::STOP));
            tokio::time::sleep(turn).await;
            pids.iter().for_each(|pid| send(*pid, Signal::CONT));
            owed -= turn;
        }
        tokio::time::sleep(FREE).await;
    }
}

/// Adds a data file of a table to it once more, under another name, in a commit of our own: each of its rows stands twice.
pub(super) fn double_rows(table: &Path) -> Result<(), Failure> {
    let log = table.join("_delta_log");
    let commits = commits(&log)?;
    let (last, next) = match commits.last() {
        Some((number, _)) => (number, number + 1),
        None => return Err(Failure::Late(format!("{} has no commit", table.display()))),
    };
    let added = commits.iter().rev().find_map(|(_, path)| added(path));
    let mut action = added.ok_or_else(|| Failure::Late(format!("{} has no rows up to version {last}", table.display())))?;
    let path = action["add"]["path"].as_str().unwrap_or_default().to_owned();
    let copied = path.replace(".parquet", "-again.parquet");
    let failed = || Failure::io(format!("cannot double a file of {}", table.display()));
    std::fs::copy(table.join(decoded(&path)), table.join(decoded(&copied))).map_err(failed())?;
    action["add"]["path"] = copied.into();
    std::fs::write(log.join(format!("{next:020}.json")), format!("{action}\n")).map_err(failed())
}

/// The commits of a table, in order.
fn commits(log: &Path) -> Result<Vec<(u64, PathBuf)>, Failure> {
    let entries = std::fs::read_dir(log).map_err(Failure::io(format!("cannot list {}", log.display())))?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok();
    let mut commits: Vec<_> = entries.flatten().filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    commits.sort_unstable();
    Ok(commits)
}

/// The first data file with new rows that a commit adds.
fn added(commit: &Path) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(commit).ok()?;
    let mut actions = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    actions.find(|action| action["add"]["dataChange"].as_bool() == Some(true))
}

/// Paths of the log are percent-encoded; ours have nothing but `=` and `:` to encode.
fn decoded(path: &str) -> String {
    path.replace("%3D", "=").replace("%3A", ":")
}
