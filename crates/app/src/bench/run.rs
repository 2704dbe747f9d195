//! `longshore bench run`: what is said meanwhile, and the exit code.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_bench::failure::Failure;
use longshore_bench::figures::Unit;
use longshore_bench::model::Benchmark;
use longshore_bench::process::Binary;
use longshore_bench::report;
use longshore_bench::run::{self, News, Options};
use longshore_bench::verdict::judge_benchmark;
use longshore_core::time;
use longshore_stages::ports::{Clock, SystemClock};

use super::{RunArgs, show};
use crate::exit;
use crate::fetch::{Stop, raise_open_files};
use crate::render;
use crate::voice::Voice;

/// Says how it goes on standard error.
pub(super) struct Told(pub(super) Voice);

impl News for Told {
    fn progress(&self, line: &str) {
        self.0.say(line);
    }

    fn ended(&self, benchmark: &Benchmark) {
        for repeat in &benchmark.repeats {
            let shown = |metric: &str| Some(format!("{metric} {}", Unit::of(metric).show(*repeat.metrics.get(metric)?)));
            let mut figures: Vec<String> = benchmark.targets.iter().filter_map(|target| shown(&target.metric)).collect();
            figures.sort_unstable();
            figures.dedup();
            self.0.say(&format!("  {}", figures.join(", ")));
        }
        let judged = judge_benchmark(benchmark);
        let why = if judged.why.is_empty() { String::new() } else { format!(": {}", judged.why.join("; ")) };
        self.0.say(&format!("  {}{why}", judged.verdict.word()));
    }
}

pub(super) async fn run(args: RunArgs) -> Result<u8> {
    let voice = Voice::plain();
    let stop = Stop::on_signals(voice)?;
    raise_open_files();
    let (json, options) = (args.json, options(args)?);
    let news = Told(voice);
    let (report, leftovers) = run::run(&options, &news, &stop.draining()).await.map_err(failed)?;
    let written = report::write(&report, &options.out)?;
    if json {
        render::print_json(&serde_json::to_value(&report)?)?;
    } else {
        render::print(show::table(&report::Told::of(&report)))?;
    }
    for path in written.iter().filter(|path| path.extension().is_some_and(|kind| kind == "md" || kind == "html")) {
        voice.say(&format!("The report is in {}", path.display()));
    }
    leftovers.remove(&news);
    if !report.complete {
        voice.warn("interrupted: the report holds what was measured before");
        return Ok(exit::FAILED);
    }
    Ok(show::code(&report))
}

/// What ends a run, with its exit code.
pub(super) fn failed(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Usage(what) => anyhow::anyhow!(what).context(exit::Usage),
        failure => failure.into(),
    }
}

fn options(args: RunArgs) -> Result<Options> {
    let program = std::env::current_exe().context("cannot find out what program this is")?;
    Ok(Options {
        out: args.out.unwrap_or_else(|| stamped("bench")),
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

/// `./NAME-<UTC time>`.
pub(super) fn stamped(name: &str) -> PathBuf {
    let now = time::format(SystemClock.now());
    let seconds = now.split('.').next().unwrap_or(&now).replace([':', '-'], "");
    Path::new(".").join(format!("{name}-{seconds}Z"))
}
