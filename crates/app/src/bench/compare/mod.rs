//! `longshore bench compare`: what became slower.
//!
//! *Owns*: which two reports are compared, what is shown, and exit codes. *Does not own*: thresholds, and what makes reports
//! incomparable (`longshore_bench::compare`).

mod against;
mod other;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use longshore_bench::compare::{Change, Compared, Comparison, Difference, Metric, compare};
use longshore_bench::report;

use super::{LogName, TierName};
use crate::settings::parse_duration;
use crate::{exit, render};

/// `longshore bench compare`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore bench compare old/report.json new/report.json\n  longshore bench compare --against v0.1.0 --tier fast\n  \
                        longshore bench compare --against ./longshore-before sustained_throughput --rounds 5\n\n\
                        A throughput that fell by more than 10 % is a warning, by more than 20 % a failure; a p95 that rose by 15 and 30 %, memory by 20 and 40 %.\n\
                        Reports of other machines, tiers, scales or configurations are refused, and what differs is said.\n\n\
                        Exit codes: 0 nothing became worse; 1 failure, or it could not be done; 2 wrong usage, or not comparable; 3 warning."
)]
pub(super) struct CompareArgs {
    /// The report before and the report now (`report.json`, or its directory); with --against the benchmarks [default: all of the tier]
    #[arg(value_name = "BASE NEW | NAME")]
    words: Vec<String>,
    /// Compare this program with another, in turns on this machine: a binary, or a revision of git, which is built
    #[arg(long, value_name = "GIT_REV|BINARY")]
    against: Option<String>,
    /// Compare although machines or configurations differ
    #[arg(long)]
    allow_different: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What is run in turns.
    #[command(flatten)]
    turns: TurnsArgs,
}

/// What is run in turns.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --against")]
pub(super) struct TurnsArgs {
    /// How much of each benchmark
    #[arg(long, value_name = "TIER", default_value = "fast", requires = "against")]
    tier: TierName,
    /// How often each side runs: other, this, other, this, …
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100), requires = "against")]
    rounds: u32,
    /// How long the soak lasts
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration, requires = "against")]
    soak: Duration,
    /// The directory for the reports of both sides and all that is made meanwhile [default: ./bench-compare-<time>]
    #[arg(long, value_name = "DIR", requires = "against")]
    out: Option<PathBuf>,
    /// Where the other revision is built; kept for the next time [default: below --out, and removed]
    #[arg(long, value_name = "DIR", requires = "against")]
    target_dir: Option<PathBuf>,
    /// Brokers `host:port`, several with commas between [default: a broker of its own]
    #[arg(long, value_name = "BROKERS", requires = "against")]
    brokers: Option<String>,
    /// The directory for files
    #[arg(long, value_name = "DIR", requires = "against")]
    store: Option<String>,
    /// The directory for tables
    #[arg(long, value_name = "DIR", requires = "against")]
    tables: Option<String>,
    /// The log between the stages
    #[arg(long, value_name = "LOG", default_value = "kafka", requires = "against")]
    log: LogName,
    /// For tests of the suite: the share of each load that is taken
    #[arg(long, hide = true, default_value_t = 1.0, requires = "against")]
    scale: f64,
}

pub(super) async fn run(args: CompareArgs) -> Result<u8> {
    let comparison = match &args.against {
        Some(other) => against::compared(other, &args.words, &args.turns).await?,
        None => of_files(&args.words)?,
    };
    let differs = !comparison.differences.is_empty();
    // Two programs in turns on one machine: what differs is what the programs say of themselves, and is shown.
    if differs && !args.allow_different && args.against.is_none() {
        return Err(refused(&comparison.differences).context(exit::Usage));
    }
    if args.json {
        render::print_json(&serde_json::to_value(&comparison)?)?;
    } else {
        render::print(as_text(&comparison))?;
    }
    Ok(code(comparison.change))
}

fn of_files(words: &[String]) -> Result<Comparison> {
    let [base, new] = words else {
        let wrong = anyhow!("name two reports, BASE and NEW, or --against a revision or a binary (see --help)");
        return Err(wrong.context(exit::Usage));
    };
    let (base, new) = (report::read(base.as_ref())?, report::read(new.as_ref())?);
    Ok(compare(&base, &new))
}

fn refused(differences: &[Difference]) -> anyhow::Error {
    let each: Vec<String> = differences.iter().map(|one| format!("  {one}")).collect();
    anyhow!(
        "these reports are not comparable:\n{}\nrun both on one machine with one configuration, or say --allow-different",
        each.join("\n")
    )
}

fn code(change: Change) -> u8 {
    match change {
        Change::Fine => exit::DONE,
        Change::Warning => exit::FOUND,
        Change::Failure => exit::FAILED,
    }
}

/// What has a threshold, and what is not compared.
fn as_text(comparison: &Comparison) -> String {
    let mut table = render::table(["benchmark", "metric", "base", "new", "change", "allowed", ""]);
    for one in &comparison.benchmarks {
        table.add_rows(one.metrics.iter().filter(|metric| metric.threshold.is_some()).map(|metric| row(one, metric)));
    }
    let notes = comparison
        .benchmarks
        .iter()
        .filter_map(|one| Some(format!("\n{}: {}: {}", one.change.word(), one.name, one.note.as_ref()?)));
    let differences = comparison.differences.iter().map(|one| format!("\ndiffers: {one}"));
    let behind: String = differences.chain(notes).collect();
    let verdict = match comparison.change {
        Change::Fine => "nothing became worse than the thresholds allow",
        Change::Warning => "WARNING: something became worse, or could not be compared",
        Change::Failure => "FAILURE: something became much worse, or is wrong",
    };
    let text = format!("{}\n{behind}\n{verdict}", table.trim_fmt());
    text.lines().map(render::harmless).collect::<Vec<_>>().join("\n")
}

fn row(one: &Compared, metric: &Metric) -> [String; 7] {
    let (base, new) = metric.shown_sides();
    let allowed = metric.threshold.map(|t| format!("{}{} %", if t.falls { "−" } else { "+" }, t.warning)).unwrap_or_default();
    let noise = if metric.change != Change::Fine && metric.overlaps { " (the repeats overlap)" } else { "" };
    let word = format!("{}{noise}", metric.change.word());
    let cells = [one.name.clone(), report::title(&metric.name), base, new, metric.shown_change(), allowed, word];
    cells.map(|cell| render::harmless(&cell))
}

/// Where git and cargo are asked: the directory that the user is in.
fn here() -> Result<PathBuf> {
    let here = std::env::current_dir().context("the current directory")?;
    if !here.exists() {
        bail!("{} is gone", here.display());
    }
    Ok(here)
}
