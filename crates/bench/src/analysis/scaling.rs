//! More workers: rule S1.

use serde::Serialize;

use super::evidence::Evidence;
use super::{Advice, LINEAR, SATURATED};
use crate::figures::{Unit, number};
use crate::model::{Benchmark, Category, Report};
use crate::verdict::Spread;

/// One number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// How many.
    pub workers: u32,
    /// Messages a second, if it was measured.
    pub per_s: Option<f64>,
    /// The share of linear scaling, from the fewest workers; 1 for these.
    pub efficiency: f64,
}

/// The numbers of workers that a benchmark tried (`efficiency_wN`, `throughput_wN_per_s`), rising.
pub fn steps(benchmark: &Benchmark) -> Vec<Step> {
    let median = |metric: String| Spread::of_metric(benchmark, &metric).map(|spread| spread.median);
    let mut counts: Vec<u32> =
        benchmark.repeats.iter().flat_map(|repeat| repeat.metrics.keys()).filter_map(|name| count(name)).collect();
    counts.sort_unstable();
    counts.dedup();
    let per_s = |workers: u32| median(format!("throughput_w{workers}_per_s"));
    let first = counts.first().and_then(|workers| Some((*workers, per_s(*workers)?)));
    let computed =
        |workers: u32| first.and_then(|(few, base)| Some(per_s(workers)? / base / (f64::from(workers) / f64::from(few))));
    let step = |workers: u32| {
        let efficiency = median(format!("efficiency_w{workers}")).or_else(|| computed(workers))?;
        Some(Step { workers, per_s: per_s(workers), efficiency })
    };
    counts.iter().filter_map(|workers| step(*workers)).collect()
}

fn count(metric: &str) -> Option<u32> {
    let rest = metric.strip_prefix("efficiency_w").or_else(|| metric.strip_prefix("throughput_w")?.strip_suffix("_per_s"))?;
    rest.parse().ok()
}

/// Whether more workers help.
pub(super) fn horizontal(report: &Report, seen: &[Evidence<'_>]) -> Advice {
    let rules = vec!["S1"];
    let scaled = seen.iter().find(|one| one.benchmark.category == Category::Scaling && !steps(one.benchmark).is_empty());
    let Some(scaled) = scaled else {
        return Advice { text: "Not measured: `horizontal_scaling` was not run.".to_owned(), rules };
    };
    let steps = steps(scaled.benchmark);
    let said: Vec<String> = steps.iter().map(say).collect();
    let good = steps.iter().rev().find(|step| step.efficiency >= LINEAR);
    let upto = match good {
        Some(step) if Some(step) == steps.last() => format!("It scales to all {} workers that were tried", step.workers),
        Some(step) => format!("It scales to {} workers", step.workers),
        None => "It does not scale".to_owned(),
    };
    let end = machine(report, scaled, steps.last().is_some_and(|step| step.efficiency >= LINEAR));
    let text = format!("{upto} with {} of linear or more: {}.{end}", Unit::Share.show(LINEAR), said.join(", "));
    Advice { text, rules }
}

fn say(step: &Step) -> String {
    let rate = step.per_s.map(|rate| format!(" {},", Unit::PerSecond.show(rate))).unwrap_or_default();
    format!("{} workers{rate} {} of linear", step.workers, Unit::Share.show(step.efficiency))
}

/// Whose limit it is where it ends.
fn machine(report: &Report, scaled: &Evidence<'_>, all: bool) -> String {
    let cores = report.environment.cores;
    let busiest = scaled
        .benchmark
        .repeats
        .iter()
        .filter_map(|repeat| repeat.samples.iter().map(|sample| sample.machine_busy).reduce(f64::max))
        .reduce(f64::max);
    match busiest {
        None => String::new(),
        Some(busy) if busy >= SATURATED => {
            format!(" The machine's {cores} cores were up to {} busy: they end it.", Unit::Share.show(busy))
        }
        Some(busy) if all => format!(
            " The machine's {} cores were at most {} busy: there is room for more.",
            number(f64::from(cores)),
            Unit::Share.show(busy)
        ),
        Some(busy) => format!(" The machine's {cores} cores were at most {} busy: they do not end it.", Unit::Share.show(busy)),
    }
}
