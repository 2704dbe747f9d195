//! The figures of a benchmark that every form of the report shows.

use crate::figures::{Unit, median, percent, split_workers};
use crate::model::{Asker, Benchmark, Distribution, Good, Process, Repeat, Target, together};
use crate::verdict::{JudgedBenchmark, JudgedTarget, Overruled, Spread};

/// A target as it is written, such as `≥ 1,000/s`.
pub fn rule(target: &Target) -> String {
    let sign = match target.good {
        Good::AtLeast => "≥",
        Good::Below => "<",
        Good::AtMost => "≤",
    };
    format!("{sign} {}", Unit::of(&target.metric).show(target.value))
}

/// The verdict of a target; where the run as a whole decided, that one: a PASS beside a lost row misleads.
pub fn shown_verdict(one: &JudgedBenchmark, judged: &JudgedTarget) -> &'static str {
    match (one.overruled, judged.verdict) {
        (_, None) => "–",
        (None, Some(own)) => own.word(),
        (Some(Overruled::Ledger), _) => "FAIL (ledger)",
        (Some(Overruled::Worker), _) => "FAIL (worker)",
        (Some(Overruled::Load), _) => "INCONCLUSIVE",
    }
}

/// What was measured with its spread, such as `1,250/s (1,190 – 1,300)`.
pub fn summary(metric: &str, spread: Option<Spread>) -> String {
    spread.map_or_else(|| "not measured".to_owned(), |spread| shown(Unit::of(metric), spread))
}

/// A spread in its unit; the range only where there is one.
pub(super) fn shown(unit: Unit, spread: Spread) -> String {
    let median = unit.show(spread.median);
    let (low, high) = (unit.number(spread.min), unit.number(spread.max));
    if spread.repeats > 1 && low != high { format!("{median} ({low} – {high})") } else { median }
}

/// A margin as it is written; a dash without one.
pub(super) fn margin(margin: Option<f64>) -> String {
    margin.map_or_else(|| "–".to_owned(), percent)
}

/// The own budgets beside a target: that of its metric; beside the first target also those that stand beside none.
pub(super) fn budgets(judged: &JudgedBenchmark, metric: &str) -> String {
    let of_budget = |one: &&JudgedTarget| one.target.from == Asker::Budget;
    let required = |metric: &str| required(judged).any(|one| one.target.metric == metric);
    let first = required_metric(judged) == metric;
    let own = judged.targets.iter().filter(of_budget).filter(|one| one.target.metric == metric).map(budget_words);
    let others = judged
        .targets
        .iter()
        .filter(of_budget)
        .filter(|one| first && one.target.metric != metric && !required(&one.target.metric));
    let others = others.map(|one| {
        format!("{} {} ({})", title(&one.target.metric), budget_words(one), summary(&one.target.metric, one.measured))
    });
    let all: Vec<String> = own.chain(others).collect();
    if all.is_empty() { "–".to_owned() } else { all.join("; ") }
}

/// The targets that make the verdict.
pub fn required(judged: &JudgedBenchmark) -> impl Iterator<Item = &JudgedTarget> {
    judged.targets.iter().filter(|one| one.target.from == Asker::Requirement)
}

/// The metric of the first of them; empty without any.
fn required_metric(judged: &JudgedBenchmark) -> &str {
    required(judged).next().map_or("", |one| one.target.metric.as_str())
}

/// A budget in words, such as `< 1 s: met, +42 %`.
fn budget_words(of: &JudgedTarget) -> String {
    let rule = rule(&of.target);
    match (of.measured, of.margin_percent) {
        (None, _) => format!("{rule}: not measured"),
        (Some(_), None) => rule,
        (Some(_), Some(by)) if by >= 0.0 => format!("{rule}: met, {}", percent(by)),
        (Some(_), Some(by)) => format!("{rule}: missed, {}", percent(by)),
    }
}

/// What a metric is called.
pub fn title(metric: &str) -> String {
    let known = match metric {
        "throughput_per_s" => "Throughput",
        "latency_p50_s" => "Latency p50",
        "latency_p95_s" => "Latency p95",
        "latency_p99_s" => "Latency p99",
        "latency_max_s" => "Latency max",
        "latency_mean_s" => "Latency mean",
        "latency_p95_growth" => "Growth of latency p95",
        "rss_peak_bytes" => "Peak memory of a worker",
        "rss_chain_peak_bytes" => "Peak memory of ingest, download and record",
        "rss_sum_peak_bytes" => "Peak memory of all workers",
        "rss_growth_bytes" => "Growth of memory",
        "temp_files_left" => "Temporary files left",
        "concurrency_peak" => "Max concurrent downloads",
        "recovery_s" => "Recovery time",
        "drain_s" => "Time from the last event sent to the last row",
        "cpu_mean" => "Mean CPU of the busiest worker",
        "lost" => "Attachments lost",
        "doubled" => "Attachments counted twice",
        "partition_spread" => "Unevenness of partitions",
        "efficiency" => "Share of linear scaling",
        "machine_busy" => "Busy share of the machine",
        other => return of_workers(other).unwrap_or_else(|| other.to_owned()),
    };
    known.to_owned()
}

fn of_workers(metric: &str) -> Option<String> {
    let (name, workers) = split_workers(metric);
    let workers = workers?;
    Some(format!("{} with {workers} workers", title(name)))
}

/// Over the repeats, of those that have it.
pub(super) fn over(benchmark: &Benchmark, figure: impl Fn(&Repeat) -> Option<f64>) -> Option<Spread> {
    Spread::of(benchmark.repeats.iter().filter_map(figure).filter(|value| value.is_finite()).collect())
}

/// The time that this share of the messages took at most: the metric, else from the distribution.
pub(super) fn quantile(benchmark: &Benchmark, share: f64) -> Option<Spread> {
    let metric = format!("latency_p{}_s", (share * 1_000.0).round() / 10.0);
    let at = |repeat: &Repeat| repeat.latency.as_ref().and_then(|seen| seen.at(share));
    Spread::of_metric(benchmark, &metric).or_else(|| over(benchmark, at))
}

/// Another figure of the latency.
pub(super) fn latency(benchmark: &Benchmark, figure: impl Fn(&Distribution) -> f64) -> Option<Spread> {
    over(benchmark, |repeat| repeat.latency.as_ref().map(&figure))
}

/// The highest of a figure among the workers.
pub(super) fn worst_worker(benchmark: &Benchmark, figure: impl Fn(&Process) -> f64) -> Option<Spread> {
    over(benchmark, |repeat| workers(repeat).map(&figure).reduce(f64::max))
}

/// A figure of all workers together that ran at the same time.
pub(super) fn all_workers(benchmark: &Benchmark, figure: impl Fn(&Process) -> f64) -> Option<Spread> {
    over(benchmark, |repeat| together(&repeat.processes, &benchmark.workers, &figure))
}

fn workers(repeat: &Repeat) -> impl Iterator<Item = &Process> {
    repeat.processes.iter().filter(|process| process.worker)
}

/// A role over the repeats: its name, whether it is under test, processes, and the medians of its mean and peak CPU (of the
/// busiest process) and its peak memory (of the largest).
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) worker: bool,
    pub(super) processes: usize,
    pub(super) cpu_mean: f64,
    pub(super) cpu_peak: f64,
    pub(super) rss_mean_bytes: f64,
    pub(super) rss_peak_bytes: f64,
}

/// The roles of a benchmark: those under test first, by name.
pub(super) fn roles(benchmark: &Benchmark) -> Vec<Role> {
    // What was started after the measured part was never sampled.
    let all = benchmark.repeats.iter().flat_map(|repeat| &repeat.processes).filter(|process| process.rss_peak_bytes > 0);
    let mut names: Vec<(bool, &str)> = all.map(|process| (!process.worker, process.role.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(|(helper, name)| role(benchmark, name, !helper)).collect()
}

fn role(benchmark: &Benchmark, name: &str, worker: bool) -> Option<Role> {
    let of = |process: &&Process| process.role == name && process.worker == worker;
    let highest = |figure: &dyn Fn(&Process) -> f64| {
        let each = benchmark.repeats.iter().filter_map(|repeat| repeat.processes.iter().filter(of).map(figure).reduce(f64::max));
        median(each.collect())
    };
    Some(Role {
        name: name.to_owned(),
        worker,
        processes: benchmark.repeats.iter().map(|repeat| at_once(repeat, name)).max()?,
        cpu_mean: highest(&|process| process.cpu_mean)?,
        cpu_peak: highest(&|process| process.cpu_peak)?,
        rss_mean_bytes: highest(&|process| process.rss_mean_bytes)?,
        rss_peak_bytes: highest(&|process| process.rss_peak_bytes as f64)?,
    })
}

/// How many processes of a role there were at once, as the samples have it; all that there were, without samples.
pub(super) fn at_once(repeat: &Repeat, role: &str) -> usize {
    let of: Vec<&str> = repeat.processes.iter().filter(|one| one.role == role).map(|one| one.name.as_str()).collect();
    let sampled = repeat.samples.iter().map(|sample| of.iter().filter(|name| sample.cpu.contains_key(**name)).count()).max();
    sampled.filter(|most| *most > 0).unwrap_or(of.len())
}

/// The ledger in words, of the first repeat that has a fault, else of all repeats together.
pub(super) fn ledger(benchmark: &Benchmark) -> String {
    if benchmark.repeats.is_empty() {
        return "none: it was not run".to_owned();
    }
    let wrong = benchmark.repeats.iter().find_map(|repeat| crate::verdict::faults(&repeat.ledger));
    wrong.unwrap_or_else(|| {
        let sum = |of: &dyn Fn(&Repeat) -> u64| crate::figures::number(benchmark.repeats.iter().map(of).sum::<u64>() as f64);
        format!(
            "holds: {} produced = {} stored + {} failed; none missing, doubled or strange; {} objects compared byte for byte",
            sum(&|repeat| repeat.ledger.produced),
            sum(&|repeat| repeat.ledger.stored),
            sum(&|repeat| repeat.ledger.failed),
            sum(&|repeat| repeat.ledger.objects_checked)
        )
    })
}

/// What a benchmark was given to do, in words.
pub(super) fn load(benchmark: &Benchmark) -> String {
    let load = &benchmark.load;
    let count = crate::figures::number(load.messages as f64);
    let pace = load.rate_per_s.map_or("as fast as possible".to_owned(), |rate| format!("at {}", Unit::PerSecond.show(rate)));
    let bytes = load.file_bytes.map(|bytes| format!(", files of {} KB", crate::figures::number(bytes as f64 / 1e3)));
    let delay = load
        .origin_delay_s
        .filter(|delay| *delay > 0.0)
        .map(|delay| format!(", {} ms before each answer", crate::figures::number(delay * 1e3)));
    let scale = (load.scale != 1.0).then(|| format!("; scaled down to {} of the full size", Unit::Share.show(load.scale)));
    let extra: String = [bytes, delay, scale].into_iter().flatten().collect();
    format!("{count} {} {pace}{extra}", load.of)
}
