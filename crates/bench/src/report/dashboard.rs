//! Lists for benchmark dashboards: name, unit, value.
//!
//! *Owns*: `benchmarks.json` and its two halves. Dashboards take one direction for a whole list (github-action-benchmark's
//! `customBiggerIsBetter` and `customSmallerIsBetter`), so there is a list for each, and one of all with the direction in
//! `extra`. Metrics without a known direction are in none.

use serde::Serialize;

use super::facts::shown;
use crate::figures::Unit;
use crate::model::{Benchmark, Good, Report};
use crate::verdict::Spread;

/// One line of a dashboard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// `benchmark/metric`.
    pub name: String,
    /// The unit of `value`, such as `1/s`, `s`, `MB`, `%`.
    pub unit: &'static str,
    /// The median of the repeats.
    pub value: f64,
    /// Half of what lies between the lowest and the highest repeat, such as `± 12.5`; none of one repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// The direction, and the median with its spread.
    pub extra: String,
    #[serde(skip)]
    good: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Bigger,
    Smaller,
}

/// Every metric of a report whose direction is known.
pub fn entries(report: &Report) -> Vec<Entry> {
    report.benchmarks.iter().flat_map(of_benchmark).collect()
}

/// Those where more is better.
pub(super) fn bigger(all: &[Entry]) -> Vec<&Entry> {
    all.iter().filter(|entry| entry.good == Side::Bigger).collect()
}

/// Those where less is better.
pub(super) fn smaller(all: &[Entry]) -> Vec<&Entry> {
    all.iter().filter(|entry| entry.good == Side::Smaller).collect()
}

fn of_benchmark(benchmark: &Benchmark) -> Vec<Entry> {
    let mut metrics: Vec<&String> = benchmark.repeats.iter().flat_map(|repeat| repeat.metrics.keys()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    metrics.into_iter().filter_map(|metric| entry(benchmark, metric)).collect()
}

fn entry(benchmark: &Benchmark, metric: &str) -> Option<Entry> {
    let (spread, good) = (Spread::of_metric(benchmark, metric)?, side(benchmark, metric)?);
    let unit = Unit::of(metric);
    let half = unit.scaled(spread.max - spread.min) / 2.0;
    let direction = match good {
        Side::Bigger => "bigger is better",
        Side::Smaller => "smaller is better",
    };
    Some(Entry {
        name: format!("{}/{metric}", benchmark.name),
        unit: match unit.name() {
            "/s" => "1/s",
            "" => "count",
            name => name,
        },
        value: rounded(unit.scaled(spread.median)),
        range: (spread.repeats > 1).then(|| format!("± {}", rounded(half))),
        extra: format!("{direction}; median of {}: {}", spread.repeats, shown(unit, spread)),
        good,
    })
}

/// Six digits: a file that is kept in a repository should not change by noise that nobody measures.
fn rounded(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

/// By the target that speaks of it, else by its unit.
fn side(benchmark: &Benchmark, metric: &str) -> Option<Side> {
    if let Some(target) = benchmark.targets.iter().find(|target| target.metric == metric) {
        return Some(if target.good == Good::AtLeast { Side::Bigger } else { Side::Smaller });
    }
    match Unit::of(metric) {
        Unit::PerSecond => Some(Side::Bigger),
        Unit::Share if metric.contains("efficiency") => Some(Side::Bigger),
        Unit::Seconds if metric.starts_with("latency") => Some(Side::Smaller),
        Unit::Bytes if metric.starts_with("rss") => Some(Side::Smaller),
        Unit::Cores => Some(Side::Smaller),
        _ => None,
    }
}
