//! Two programs in turns on one machine: other, this, other, this, …
//!
//! *Owns*: the turns, and the report of each side, made of all its rounds. Absolute figures drift on a machine that others
//! use; what drifts meets both sides alike when they take turns, and medians leave out the odd one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use longshore_bench::compare::{Comparison, compare, merged};
use longshore_bench::model::{Benchmark, Report};
use longshore_bench::process::Binary;
use longshore_bench::report;
use longshore_bench::run::{self, News, Options};
use tokio_util::sync::CancellationToken;

use super::{TierName, TurnsArgs, other};
use crate::bench::run::{Told, failed, stamped};
use crate::fetch::{Stop, raise_open_files};
use crate::voice::Voice;

/// The side of the other program.
const BASE: &str = "base";

/// A side of the comparison.
struct Side {
    name: &'static str,
    program: PathBuf,
    version: String,
    rounds: Vec<Report>,
}

/// Runs both in turns, writes the report of each, and compares.
pub(super) async fn compared(against: &str, names: &[String], args: &TurnsArgs) -> Result<Comparison> {
    let voice = Voice::plain();
    let stop = Stop::on_signals(voice)?.draining();
    raise_open_files();
    let out = args.out.clone().unwrap_or_else(|| stamped("bench-compare"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let out = out.canonicalize().with_context(|| out.display().to_string())?;
    let this = std::env::current_exe().context("cannot find out what program this is")?;
    let base = other::program(against, &out, args.target_dir.as_deref(), voice, &stop).await?;
    let mut sides = [Side::of(BASE, base).await?, Side::of("new", this.clone()).await?];
    for round in 1..=args.rounds {
        for side in &mut sides {
            let options = options(names, args, &this, &side.program, out.join(format!("round-{round}-{}", side.name)));
            let report = turn(&options, side.name, round, args.rounds, voice, &stop).await?;
            side.rounds.push(report);
        }
    }
    let [base, new] = sides.map(|side| side.whole(&out));
    Ok(compare(&base?, &new?))
}

async fn turn(options: &Options, side: &str, round: u32, rounds: u32, voice: Voice, stop: &CancellationToken) -> Result<Report> {
    let news = Turn { told: Told(voice), of: format!("{side}, round {round} of {rounds}") };
    let (report, leftovers) = run::run(options, &news, stop).await.map_err(failed)?;
    leftovers.remove(&news);
    if !report.complete {
        bail!("interrupted in round {round}: what was measured is in {}", options.out.display());
    }
    Ok(report)
}

fn options(names: &[String], args: &TurnsArgs, this: &Path, tested: &Path, out: PathBuf) -> Options {
    Options {
        names: names.to_vec(),
        tier: args.tier.into(),
        out,
        brokers: args.brokers.clone(),
        store: args.store.clone(),
        tables: args.tables.clone(),
        log: args.log.into(),
        // The rounds are repeats already, but in the fast tier, which repeats nothing without need.
        repeats: if matches!(args.tier, TierName::Fast) { None } else { Some(1) },
        soak: args.soak,
        binary: Binary { harness: this.to_owned(), tested: tested.to_owned() },
        command: std::env::args().collect(),
        scale: args.scale,
        fault: None,
    }
}

impl Side {
    async fn of(name: &'static str, program: PathBuf) -> Result<Self> {
        let version = other::version(&program).await?;
        Ok(Self { name, program, version, rounds: Vec::new() })
    }

    /// The report of all rounds, written below a directory of its name.
    fn whole(self, out: &Path) -> Result<Report> {
        let mut whole = merged(self.rounds).context("no round was run")?;
        let versions = &mut whole.environment.versions;
        versions.insert("longshore".to_owned(), self.version);
        if self.name == BASE {
            // What it was built with, it does not say.
            versions.retain(|name, _| name != "rustc" && name != "librdkafka");
        }
        report::write(&whole, &out.join(self.name))?;
        Ok(whole)
    }
}

/// Says whose turn it is.
struct Turn {
    told: Told,
    of: String,
}

impl News for Turn {
    fn progress(&self, line: &str) {
        self.told.progress(&format!("{}: {line}", self.of));
    }

    fn ended(&self, benchmark: &Benchmark) {
        self.told.ended(benchmark);
    }
}
