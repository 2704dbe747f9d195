//! What the rules look at: the means of a benchmark's samples and processes, over its repeats.
//!
//! *Owns*: the sums. *Does not own*: what follows from them.

use std::collections::BTreeMap;

use crate::figures::{mean, median};
use crate::model::{Benchmark, Process, Repeat, Report, Sample};
use crate::verdict::Spread;

/// A measured part that is shorter than this has hardly a sample.
const SAMPLED_S: f64 = 2.0;

/// The figures of a benchmark that rules speak of. Those of repeats are medians.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The benchmark.
    pub benchmark: &'a Benchmark,
    /// Cores of the machine.
    pub cores: f64,
    /// Messages a second.
    pub throughput_per_s: f64,
    /// The same over the whole measured part: of runs that were put together the former is that of the fastest.
    pub mean_per_s: f64,
    /// Whether the measured part is too short for samples of a second: then nothing is said of queues and of the machine.
    pub short: bool,
    /// Messages before each stage that somebody works on, the mean over the measured part.
    pub lag: BTreeMap<String, f64>,
    /// Of each role under test: the share of a core that its busiest process took, on average; by rule U1 where it is short.
    pub busy: BTreeMap<String, f64>,
    /// Of every role: the cores that all its processes took, on average.
    pub cores_taken: BTreeMap<String, f64>,
    /// Of each role under test: CPU seconds per 1,000 messages.
    pub cpu_s_per_1000: BTreeMap<String, f64>,
    /// Roles that are not under test.
    pub helpers: Vec<String>,
    /// The share of the machine that was busy, on average; none without samples.
    pub machine_busy: Option<f64>,
    /// The mean time in each stage, in seconds.
    pub stage_mean_s: BTreeMap<String, f64>,
    /// How many downloads one process may have in flight, where it is known.
    pub in_flight: Option<f64>,
}

impl<'a> Evidence<'a> {
    /// Of a benchmark that ran; none of one that came to nothing.
    pub fn of(report: &Report, benchmark: &'a Benchmark) -> Option<Self> {
        let throughput_per_s = throughput(benchmark)?;
        let over = |by_name: &dyn Fn(&Repeat) -> BTreeMap<String, f64>| medians(benchmark.repeats.iter().map(by_name));
        let messages = benchmark.load.messages.max(1) as f64;
        let mut helpers: Vec<String> = processes(benchmark).filter(|one| !one.worker).map(|one| one.role.clone()).collect();
        helpers.sort();
        helpers.dedup();
        let short = median(benchmark.repeats.iter().map(|repeat| repeat.duration_s).collect())? < SAMPLED_S;
        let seen = |repeat: &&Repeat| !short && repeat.duration_s > 0.0;
        Some(Self {
            benchmark,
            short,
            cores: f64::from(report.environment.cores.max(1)),
            throughput_per_s,
            mean_per_s: counted(benchmark, is_joined).unwrap_or(throughput_per_s),
            lag: medians(benchmark.repeats.iter().filter(seen).map(mean_lag))
                .into_iter()
                .filter(|(stage, _)| works(benchmark, stage))
                .collect(),
            busy: over(&|repeat| {
                by_role(repeat, |one| one.worker, f64::max, |one| if short { by_time(repeat, one) } else { one.cpu_mean })
            }),
            // Runs that were put together have each process once for each, so that only their time as a whole divides it.
            cores_taken: over(&|repeat| by_role(repeat, |_| true, |a, b| a + b, |one| by_time(repeat, one))),
            cpu_s_per_1000: over(&|repeat| by_role(repeat, |one| one.worker, |a, b| a + b, |one| one.cpu_s * 1_000.0 / messages)),
            helpers,
            machine_busy: median(benchmark.repeats.iter().filter(seen).filter_map(machine_busy).collect()),
            stage_mean_s: over(&|repeat| repeat.stage_latency.iter().map(|(stage, seen)| (stage.clone(), seen.mean_s)).collect()),
            in_flight: benchmark.in_flight.map(f64::from),
        })
    }

    /// The role under test with the busiest process, and how busy that is.
    pub fn busiest(&self) -> Option<(&str, f64)> {
        highest(&self.busy)
    }

    /// The share of the machine that those who help took; none without a word on the machine.
    pub fn helpers_share(&self) -> Option<f64> {
        let taken: f64 = self.helpers.iter().filter_map(|role| self.cores_taken.get(role)).sum();
        let all = self.machine_busy? * self.cores;
        (all > 0.0).then(|| (taken / all).min(1.0))
    }
}

/// The entry with the highest value; the first by name of several.
pub(super) fn highest(of: &BTreeMap<String, f64>) -> Option<(&str, f64)> {
    let first_highest = |best: (&'_ String, &'_ f64), next: (&'_ String, &'_ f64)| next.1 > best.1;
    let mut entries = of.iter();
    let mut best = entries.next()?;
    for next in entries {
        if first_highest(best, next) {
            best = next;
        }
    }
    Some((best.0.as_str(), *best.1))
}

/// The median throughput: as measured, else messages divided by the time.
pub(super) fn throughput(benchmark: &Benchmark) -> Option<f64> {
    let measured = Spread::of_metric(benchmark, "throughput_per_s").map(|spread| spread.median);
    measured.or_else(|| counted(benchmark, |_| true))
}

/// The median of messages divided by the time, of these repeats.
fn counted(benchmark: &Benchmark, of: impl Fn(&Repeat) -> bool) -> Option<f64> {
    let ran = benchmark.repeats.iter().filter(|repeat| repeat.duration_s > 0.0 && of(repeat));
    median(ran.map(|repeat| benchmark.load.messages as f64 / repeat.duration_s).collect())
}

/// Whether several runs were put together.
fn is_joined(repeat: &Repeat) -> bool {
    repeat.processes.iter().any(|process| process.run().is_some())
}

fn processes(benchmark: &Benchmark) -> impl Iterator<Item = &Process> {
    benchmark.repeats.iter().flat_map(|repeat| &repeat.processes)
}

/// The samples of the measured part.
pub(super) fn measured(repeat: &Repeat) -> impl Iterator<Item = &Sample> {
    repeat.samples.iter().filter(|sample| sample.at_s >= 0.0 && sample.at_s <= repeat.duration_s + 1.0)
}

fn mean_lag(repeat: &Repeat) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (stage, lag) in measured(repeat).flat_map(|sample| &sample.lag) {
        sums.entry(stage.clone()).or_default().push(*lag as f64);
    }
    sums.into_iter().filter_map(|(stage, lags)| mean(lags).map(|mean| (stage, mean))).collect()
}

/// Whether somebody reads what waits before a stage: behind a stage that is measured alone, messages wait for nobody, and the
/// processes of the others were not there to be sampled.
fn works(benchmark: &Benchmark, stage: &str) -> bool {
    let sampled: Vec<&str> = processes(benchmark).filter(|one| one.worker).map(|one| one.role.as_str()).collect();
    let is_one = |role: &str| if sampled.is_empty() { benchmark.workers.contains_key(role) } else { sampled.contains(&role) };
    (sampled.is_empty() && benchmark.workers.is_empty()) || is_one(stage) || is_one("all")
}

/// What a process took of a core in all, by the time of the measured part: before and after it had nothing to do.
fn by_time(repeat: &Repeat, process: &Process) -> f64 {
    if repeat.duration_s > 0.0 { process.cpu_s / repeat.duration_s } else { process.cpu_mean }
}

fn machine_busy(repeat: &Repeat) -> Option<f64> {
    mean(measured(repeat).map(|sample| sample.machine_busy))
}

/// One figure of each role, from those of its processes.
fn by_role(
    repeat: &Repeat,
    take: impl Fn(&Process) -> bool,
    join: impl Fn(f64, f64) -> f64,
    figure: impl Fn(&Process) -> f64,
) -> BTreeMap<String, f64> {
    let mut roles = BTreeMap::new();
    for process in repeat.processes.iter().filter(|one| take(one)) {
        let figure = figure(process);
        roles.entry(process.role.clone()).and_modify(|so_far| *so_far = join(*so_far, figure)).or_insert(figure);
    }
    roles
}

/// The median of each entry over the repeats that have it.
fn medians(repeats: impl Iterator<Item = BTreeMap<String, f64>>) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, value) in repeats.flatten() {
        values.entry(name).or_default().push(value);
    }
    values.into_iter().filter_map(|(name, values)| median(values).map(|median| (name, median))).collect()
}
