//! What a test of the suite lets go wrong, to see that it is caught. Each is done for real.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::failure::Failure;
use crate::generator::{GeneratorPlan, Stall};

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
/// The variable by which a debug build of a worker is told how many milliseconds more each result takes.
const SLOW_RESULT: &str = "TEST_SLOW_RESULT_MS";
/// How many that are.
const MORE_MS: &str = "20";

/// A pause at half of a plan.
pub(super) fn stall(plan: &GeneratorPlan) -> Stall {
    Stall { at: plan.first + plan.count / 2, for_ms: u64::try_from(STANDS.as_millis()).unwrap_or(0) }
}

/// What is set in the environment of the workers.
pub(super) fn environment(fault: Option<Fault>) -> Option<(&'static str, &'static str)> {
    (fault == Some(Fault::SlowResult)).then_some((SLOW_RESULT, MORE_MS))
}

/// Fails when a fault cannot be had of this program.
///
/// # Errors
/// With the remedy.
pub(super) fn check(fault: Option<Fault>) -> Result<(), Failure> {
    match fault {
        Some(Fault::SlowResult) if !cfg!(debug_assertions) => {
            Err(Failure::Usage("slow results are for debug builds alone: cargo build without --release".to_owned()))
        }
        _ => Ok(()),
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
