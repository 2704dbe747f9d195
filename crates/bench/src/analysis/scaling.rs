//! More workers: rule S1.

use serde::Serialize;

use super::evidence::Evidence;
use super::{Advice, LINEAR};
use crate::figures::{Unit, split_workers};
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

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.per_s.map(|rate| format!("{}, ", Unit::PerSecond.show(rate))).unwrap_or_default();
        let workers = if self.workers == 1 { "worker" } else { "workers" };
        write!(f, "{} {workers}: {rate}{} of linear", self.workers, Unit::Share.show(self.efficiency))
    }
}

/// The numbers of workers that a benchmark tried (`efficiency_wN`, `throughput_per_s_wN`), rising.
pub fn steps(benchmark: &Benchmark) -> Vec<Step> {
    let median = |metric: String| Spread::of_metric(benchmark, &metric).map(|spread| spread.median);
    let mut counts: Vec<u32> =
        benchmark.repeats.iter().flat_map(|repeat| repeat.metrics.keys()).filter_map(|name| count(name)).collect();
    counts.sort_unstable();
    counts.dedup();
    let per_s = |workers: u32| median(format!("throughput_per_s_w{workers}"));
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
    let (name, workers) = split_workers(metric);
    workers.filter(|_| ["efficiency", "throughput_per_s"].contains(&name))
}

/// Whether more workers help.
pub(super) fn horizontal(report: &Report, seen: &[Evidence<'_>]) -> Advice {
    let rules = vec!["S1"];
    let scaled = seen.iter().find(|one| one.benchmark.category == Category::Scaling && !steps(one.benchmark).is_empty());
    let Some(scaled) = scaled else {
        return Advice { text: "Not measured: `horizontal_scaling` was not run.".to_owned(), rules };
    };
    let steps = steps(scaled.benchmark);
    let said: Vec<String> = steps.iter().map(ToString::to_string).collect();
    let best = steps.iter().rev().find(|step| step.efficiency >= LINEAR);
    let upto = match best {
        Some(step) if Some(step) == steps.last() => format!("It scales to all {} workers that were tried", step.workers),
        Some(step) => format!("It scales to {} workers", step.workers),
        None => "It does not scale".to_owned(),
    };
    let text =
        format!("{upto} with {} of linear or more: {}. {}", Unit::Share.show(LINEAR), said.join("; "), end(report, scaled));
    Advice { text, rules }
}

/// Where the machine ends it, if it does.
fn end(report: &Report, scaled: &Evidence<'_>) -> String {
    let cores = report.environment.cores;
    let median = |metric: &str| Spread::of_metric(scaled.benchmark, metric).map(|spread| spread.median);
    let busy =
        |workers: f64| median(&format!("machine_busy_w{workers}")).map(|busy| format!(", {} busy", Unit::Share.show(busy)));
    match median("limit_workers") {
        Some(workers) => {
            let busy = busy(workers).unwrap_or_default();
            format!(
                "With {workers} workers the machine's {cores} cores are used up{busy}: that is its limit, and what is asked for ends below it."
            )
        }
        None => format!("The machine's {cores} cores were not used up: they set no limit."),
    }
}
