//! `longshore bench run`: what is said meanwhile, and the exit code.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_bench::failure::Failure;
use longshore_bench::model::{Benchmark, Report};
use longshore_bench::process::Binary;
use longshore_bench::run::{self, News, Options, REPORT};
use longshore_core::time;
use longshore_stages::ports::{Clock, SystemClock};

use super::RunArgs;
use crate::exit;
use crate::fetch::{Stop, raise_open_files};
use crate::render;
use crate::voice::Voice;

/// Says how it goes on standard error.
struct Told(Voice);

impl News for Told {
    fn progress(&self, line: &str) {
        self.0.say(line);
    }

    fn ended(&self, benchmark: &Benchmark) {
        for repeat in &benchmark.repeats {
            let figures = benchmark.targets.iter().filter_map(|target| {
                let value = repeat.metrics.get(&target.metric)?;
                Some(format!("{} {}", target.metric, shown(&target.metric, *value)))
            });
            let mut figures: Vec<String> = figures.collect();
            figures.dedup();
            self.0.say(&format!("  {}: {}", benchmark.name, figures.join(", ")));
            repeat.inconclusive.iter().for_each(|why| self.0.warn(&format!("{}: it says nothing: {why}", benchmark.name)));
            if !repeat.ledger.holds() {
                self.0.warn(&format!("{}: the ledger is wrong: {:?}", benchmark.name, repeat.ledger));
            }
        }
    }
}

fn shown(metric: &str, value: f64) -> String {
    match metric {
        name if name.ends_with("_bytes") => format!("{:.0} MB", value / 1e6),
        name if name.ends_with("_s") && !name.ends_with("_per_s") => format!("{value:.3} s"),
        name if name.ends_with("_per_s") => format!("{value:.0}/s"),
        _ => format!("{value:.2}"),
    }
}

pub(super) async fn run(args: RunArgs) -> Result<u8> {
    let voice = Voice::plain();
    let stop = Stop::on_signals(voice)?;
    raise_open_files();
    let (json, options) = (args.json, options(args)?);
    let report = match run::run(&options, &Told(voice), &stop.draining()).await {
        Ok(report) => report,
        Err(Failure::Usage(what)) => return Err(anyhow::anyhow!(what).context(exit::Usage)),
        Err(failure) => return Err(failure.into()),
    };
    let out = options.out;
    if json {
        render::print_json(&serde_json::to_value(&report)?)?;
    }
    voice.say(&format!("The report is in {}", out.join(REPORT).display()));
    Ok(code(&report, voice))
}

fn code(report: &Report, voice: Voice) -> u8 {
    if !report.complete {
        voice.warn("interrupted: the report holds what was measured before");
        return exit::FAILED;
    }
    let repeats = || report.benchmarks.iter().flat_map(|benchmark| &benchmark.repeats);
    let wrong = repeats().any(|repeat| !repeat.inconclusive.is_empty() || !repeat.ledger.holds());
    if wrong { exit::FOUND } else { exit::DONE }
}

fn options(args: RunArgs) -> Result<Options> {
    let program = std::env::current_exe().context("cannot find out what program this is")?;
    Ok(Options {
        out: args.out.unwrap_or_else(default_out),
        names: args.names,
        tier: args.tier.into(),
        brokers: args.brokers,
        store: args.store,
        tables: args.tables,
        log: args.log.into(),
        repeats: args.repeats,
        soak: args.soak,
        binary: Binary { harness: program.clone(), tested: program },
        command: std::env::args().collect(),
        scale: args.scale,
        fault: args.fault,
    })
}

/// `./bench-<UTC time>`.
fn default_out() -> PathBuf {
    let now = time::format(SystemClock.now());
    let seconds = now.split('.').next().unwrap_or(&now).replace([':', '-'], "");
    Path::new(".").join(format!("bench-{seconds}Z"))
}
