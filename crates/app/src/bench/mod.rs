//! `longshore bench`: the benchmark suite from the command line.
//!
//! *Owns*: flags, what is printed, exit codes; the hidden commands by which the suite starts its own processes.
//! *Does not own*: benchmarks, measuring, verdicts (`longshore-bench`).

mod compare;
mod list;
mod report;
mod run;
mod service;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use longshore_bench::model::Tier;
use longshore_bench::run::LogKind;
use longshore_bench::run::fault::Fault;

use crate::settings::parse_duration;

/// `longshore bench`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore bench list\n  longshore bench run --tier fast --out ./bench\n  longshore bench report ./bench\n  \
                        longshore bench compare --against v0.1.0\n\n\
                        Exit codes: 0 done, and every verdict is PASS or WARN; 1 failed; 2 wrong usage; 3 a verdict is FAIL or INCONCLUSIVE."
)]
pub struct BenchArgs {
    /// What to do.
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum BenchCommand {
    /// Show the benchmarks with their loads and targets
    #[command(after_help = "Example:\n  longshore bench list --json")]
    List(ListArgs),
    /// Run benchmarks, and write a report
    Run(Box<RunArgs>),
    /// Write the files of a report once more, and show its verdicts
    Report(report::ReportArgs),
    /// Say what became slower: between two reports, or between this program and another
    Compare(Box<compare::CompareArgs>),
    /// Becomes a program that ends with the process that started it
    #[command(hide = true)]
    Tied(service::TiedArgs),
    /// Serves files until standard input is closed
    #[command(hide = true)]
    Origin(service::OriginArgs),
    /// Sends the messages of a plan
    #[command(hide = true)]
    Generate(service::GenerateArgs),
}

/// `longshore bench list`
#[derive(Debug, Clone, Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `longshore bench run`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore bench run --tier fast --out ./bench\n  longshore bench run end_to_end_latency --repeats 5\n  \
                        longshore bench run --tier full --brokers broker-1:9092 --store /mnt/files --tables /mnt/tables\n  \
                        longshore bench run --tier release --soak 12h\n\nWithout --brokers it starts a broker of its own, which needs Java 17 and Maven. \
                        Ctrl-C ends everything that it started and leaves a report of what was measured.\n\n\
                        Exit codes: 0 done, and every verdict is PASS or WARN; 1 failed, or interrupted; 2 wrong usage; 3 a verdict is FAIL or INCONCLUSIVE."
)]
struct RunArgs {
    /// The benchmarks [default: all of the tier]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How much: the short ones scaled down, below two minutes on two cores; all at full size but scaling to 20 workers and the soak; everything
    #[arg(long, value_name = "TIER", default_value = "fast")]
    tier: TierName,
    /// The directory for the report and all that is made meanwhile [default: ./bench-<time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Brokers `host:port`, several with commas between [default: a broker of its own]
    #[arg(long, value_name = "BROKERS")]
    brokers: Option<String>,
    /// The directory for files; each run has its own below it [default: below --out]
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
    /// The directory for tables; each run has its own below it [default: below --out]
    #[arg(long, value_name = "DIR")]
    tables: Option<String>,
    /// The log between the stages; with the embedded one all roles are in one process, and what needs several is left out
    #[arg(long, value_name = "LOG", default_value = "kafka")]
    log: LogName,
    /// How often each is run [default: 3 for short ones, 1 for long ones and in the fast tier]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: Option<u32>,
    /// How long the soak lasts
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    soak: Duration,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// For tests of the suite: the share of each load that is taken
    #[arg(long, hide = true, default_value_t = 1.0)]
    scale: f64,
    /// For tests of the suite: what is to go wrong
    #[arg(long, hide = true)]
    fault: Option<Fault>,
}

/// How much of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TierName {
    Fast,
    Full,
    Release,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Fast => Tier::Fast,
            TierName::Full => Tier::Full,
            TierName::Release => Tier::Release,
        }
    }
}

/// The log between the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogName {
    Kafka,
    Embedded,
}

impl From<LogName> for LogKind {
    fn from(name: LogName) -> Self {
        match name {
            LogName::Kafka => LogKind::Kafka,
            LogName::Embedded => LogKind::Embedded,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: BenchArgs) -> Result<u8> {
    match args.command {
        BenchCommand::List(args) => list::run(args.json),
        BenchCommand::Run(args) => run::run(*args).await,
        BenchCommand::Report(args) => report::run(&args),
        BenchCommand::Compare(args) => compare::run(*args).await,
        BenchCommand::Tied(args) => service::tied(&args),
        BenchCommand::Origin(args) => service::origin(args).await,
        BenchCommand::Generate(args) => service::generate(args).await,
    }
}
