//! What the demo tells: for people and as JSON.

use std::fmt;
use std::path::Path;

use longshore_core::reconcile::Fault;
use serde::Serialize;

use super::check::Outcome;
use super::origin::Origin;
use super::script::Script;
use crate::fetch::Summary;

/// The most differences that are shown to people.
const SHOWN: usize = 20;

/// One line of the comparison.
#[derive(Debug, Serialize)]
struct Line {
    /// What the attachments have in common.
    name: &'static str,
    /// How they must end.
    predicted: String,
    /// How many there are.
    size: usize,
    /// How many of them ended so.
    as_predicted: usize,
}

/// The whole.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether everything was as predicted.
    pub(super) as_predicted: bool,
    groups: Vec<Line>,
    differences: Vec<String>,
    /// What `reconcile --deep` found.
    faults: Vec<String>,
    /// How often an address was dialled that must not be.
    forbidden_dials: u64,
    requests: u64,
    most_at_once: u64,
    summary: Summary,
}

/// What is said before the run.
pub(super) fn opening(origin: &Origin, script: &Script, events: &Path) -> String {
    format!(
        "A local origin serves good, failing, slow and hostile files at http://{}\n\
         {} events, {} of them repeated, are in {}\n\
         Now: longshore fetch\n",
        origin.address(),
        script.lines.len(),
        script.repeated,
        events.display()
    )
}

impl Report {
    pub(super) fn new(script: &Script, outcome: Outcome, faults: &[Fault], origins: [&Origin; 2], summary: Summary) -> Self {
        let groups: Vec<Line> = script
            .groups
            .iter()
            .zip(outcome.as_predicted)
            .map(|(group, as_predicted)| Line { name: group.name, predicted: group.end.clone(), size: group.size, as_predicted })
            .collect();
        let faults: Vec<String> = faults.iter().map(told).collect();
        let forbidden_dials = origins.iter().map(|origin| origin.canary_dials()).sum();
        Report {
            as_predicted: outcome.differences.is_empty() && faults.is_empty() && forbidden_dials == 0,
            groups,
            differences: outcome.differences,
            faults,
            forbidden_dials,
            requests: origins.iter().map(|origin| origin.total_requests()).sum(),
            most_at_once: origins.iter().map(|origin| origin.most_at_once()).max().unwrap_or(0),
            summary,
        }
    }

    fn problems(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<&String> = self.differences.iter().chain(&self.faults).collect();
        for problem in problems.iter().take(SHOWN) {
            writeln!(f, "  NOT AS PREDICTED  {problem}")?;
        }
        if problems.len() > SHOWN {
            writeln!(f, "  … and {} more; --json shows all", problems.len() - SHOWN)?;
        }
        Ok(())
    }
}

fn told(fault: &Fault) -> String {
    let id = fault.id.map(|id| format!("{id} ")).unwrap_or_default();
    format!("reconcile: {}: {id}{}", fault.kind.as_str(), fault.place)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<32}{:<30}{:>8}{:>15}", "what", "predicted", "events", "as predicted")?;
        for line in &self.groups {
            let mark = if line.size == line.as_predicted { "" } else { "  ✗" };
            writeln!(f, "{:<32}{:<30}{:>8}{:>15}{mark}", line.name, line.predicted, line.size, line.as_predicted)?;
        }
        let dials = self.forbidden_dials;
        writeln!(f, "\nOrigin      {} requests, {} at once at most; {dials} forbidden dials", self.requests, self.most_at_once)?;
        writeln!(f, "Reconcile   every id, every file, every byte: {} faults", self.faults.len())?;
        self.problems(f)?;
        let verdict = if self.as_predicted { "Everything ended as predicted." } else { "NOT everything ended as predicted." };
        writeln!(f, "{verdict}\n\n{}", self.summary)?;
        let to = &self.summary.to;
        writeln!(f, "Try next\n  longshore status --to {to}\n  longshore inventory --to {to} --where 'file_type=PDF'")?;
        writeln!(f, "  longshore inventory --to {to} --table failed\n  longshore dlq ls --to {to}")?;
        writeln!(f, "  longshore reconcile --to {to} --deep")
    }
}
