//! The end of a run, for people and as JSON.

use std::fmt;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use longshore_lake::table::ExactTable;
use longshore_stages::progress::Progress;
use serde::Serialize;

use super::failed_file::Open;
use super::watch::Watch;
use crate::pipeline::{OpenLane, OpenTables, Plan};

/// Failures of one kind.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cause {
    /// The outcome class.
    pub(crate) class: &'static str,
    /// The reason.
    pub(crate) reason: &'static str,
    /// How many in this run.
    pub(crate) count: u64,
}

/// What a run did and where it left things.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// Lines of the input that were read.
    pub(crate) lines: u64,
    /// Of these, lines whose attachment was known already.
    pub(crate) known: u64,
    /// Attachments that came again with the same URL within this run.
    pub(crate) repeats: u64,
    /// Events in which no attachment was found.
    pub(crate) without_attachments: u64,
    /// What is likely wrong with the run, though nothing failed.
    pub(crate) warning: Option<String>,
    /// Attachments that this run added to the inventory.
    pub(crate) stored: u64,
    /// Dead letters of this run.
    pub(crate) failed: u64,
    /// They by cause.
    pub(crate) causes: Vec<Cause>,
    /// Attachments and events, of this and earlier runs, that have failed and are not stored.
    pub(crate) unresolved: u64,
    /// The file with what has failed, in the form of an input.
    pub(crate) failed_file: Option<String>,
    /// Failures of earlier runs that this one tried once more.
    pub(crate) replayed: u64,
    /// Attempts that were put off.
    pub(crate) retries: u64,
    /// Bytes of the files stored by this run.
    pub(crate) bytes: u64,
    /// The run's length.
    pub(crate) seconds: f64,
    /// Stored files a second.
    pub(crate) files_per_second: f64,
    /// The part that held the others up.
    pub(crate) slowest: String,
    /// Inputs that could not be read to their end, and why.
    pub(crate) unreadable: Vec<String>,
    /// Whether it was stopped before the end.
    pub(crate) interrupted: bool,
    /// Why it gave up before the end, or failed at it: more failures than allowed.
    pub(crate) gave_up: Option<String>,
    /// Where the files are.
    pub(crate) files: String,
    /// Where the tables are.
    pub(crate) tables: Vec<String>,
    /// The directory.
    pub(crate) to: String,
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) unreadable: Vec<String>,
    pub(super) took: Duration,
    pub(super) interrupted: bool,
    pub(super) gave_up: Option<String>,
    pub(super) replayed: u64,
}

impl Summary {
    pub(super) fn of(open: &OpenLane, plan: &Plan, failed: &Open, watch: &Watch, ended: Ended) -> Self {
        let progress = &open.progress;
        let causes = progress.causes().into_iter();
        let causes: Vec<Cause> =
            causes.map(|((class, reason), count)| Cause { class: class.as_str(), reason: reason.as_str(), count }).collect();
        let stored = Progress::get(&progress.rows_stored);
        let seconds = ended.took.as_secs_f64();
        let totals = watch.totals();
        Summary {
            lines: totals.lines,
            known: totals.known,
            repeats: Progress::get(&progress.repeats),
            without_attachments: Progress::get(&progress.without_attachments),
            warning: warning(progress),
            stored,
            failed: Progress::get(&progress.failed),
            causes,
            unresolved: failed.count,
            failed_file: failed.file.as_ref().map(|file| file.display().to_string()),
            replayed: ended.replayed,
            retries: Progress::get(&progress.retries),
            bytes: Progress::get(&progress.stored_bytes),
            seconds,
            files_per_second: stored as f64 / seconds.max(0.001),
            slowest: watch.slowest(),
            unreadable: ended.unreadable,
            interrupted: ended.interrupted,
            gave_up: ended.gave_up,
            files: plan.place.files.display().to_string(),
            tables: open.tables.iter().flat_map(OpenTables::all).map(ExactTable::location).collect(),
            to: plan.place.root.display().to_string(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = HumanCount;
        writeln!(f, "Stored   {} files, {}", count(self.stored), HumanBytes(self.bytes))?;
        writeln!(f, "Failed   {}", count(self.failed))?;
        for cause in &self.causes {
            writeln!(f, "         {:>8}  {}: {}", count(cause.count), cause.class, cause.reason)?;
        }
        if self.replayed > 0 {
            writeln!(f, "Retried  {} failures of earlier runs", count(self.replayed))?;
        }
        if self.known > 0 {
            writeln!(f, "Known    {} lines were done or under way before", count(self.known))?;
        }
        if self.unresolved > self.failed {
            writeln!(f, "Open     {} failures in all, with those of earlier runs", count(self.unresolved))?;
        }
        if self.repeats > 0 {
            writeln!(f, "Repeats  {} attachments came again with the same URL", count(self.repeats))?;
        }
        if let Some(warning) = &self.warning {
            writeln!(f, "Warning  {warning}")?;
        }
        writeln!(f, "Took     {:.1} s, {:.0} files/s, {} retries", self.seconds, self.files_per_second, count(self.retries))?;
        writeln!(f, "Slowest  {}", self.slowest)?;
        writeln!(f, "\nFiles    {}", self.files)?;
        for table in &self.tables {
            writeln!(f, "Table    {table}")?;
        }
        self.snippets(f)?;
        if self.interrupted {
            writeln!(f, "\nStopped before the end. Go on with the same command, or: longshore fetch --to {}", self.to)?;
        } else if self.unresolved > 0 {
            writeln!(f, "\nWhat failed and why: longshore dlq ls --to {}", self.to)?;
            writeln!(f, "Try it once more:    longshore fetch --to {} --retry-failed", self.to)?;
        }
        Ok(())
    }
}

/// A run in which no event had an attachment most likely looked for them at the wrong place.
fn warning(progress: &Progress) -> Option<String> {
    let (events, without) = (Progress::get(&progress.events), Progress::get(&progress.without_attachments));
    (events > 0 && without == events).then(|| {
        format!("no attachment was found in any of {events} events: is the expression for `attachments` right? (longshore map EVENT.json)")
    })
}

impl Summary {
    fn snippets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(table) = self.tables.first() else { return Ok(()) };
        writeln!(f, "\nRead it with")?;
        writeln!(f, "  polars   pl.read_delta(\"{table}\")")?;
        writeln!(f, "  DuckDB   INSTALL delta; LOAD delta; SELECT * FROM delta_scan('{table}');")?;
        writeln!(f, "  Spark    spark.read.format(\"delta\").load(\"{table}\")")
    }
}
