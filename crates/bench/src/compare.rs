//! Two reports beside each other: what became slower, and whether that may be said at all.
//!
//! *Owns*: the thresholds of the requirements, and what makes two reports comparable. *Does not own*: verdicts on targets;
//! how runs are interleaved.
//!
//! - Throughput may fall by 10 %, then it warns, and by 20 %, then it fails. p95 may rise by 15 and 30 %, memory by 20 and
//!   40 %. What is exactly at a threshold is still within it. Medians are compared.
//! - Reports of other machines, tiers, scales or configurations are not comparable: [`differences`] names each. What is being
//!   compared may differ: the versions of Longshore, its compiler and its client library.
//! - A benchmark that is inconclusive on either side is not compared: it warns. A wrong ledger of the new side fails; one of
//!   the base leaves nothing to compare with, and warns. So does a benchmark that only the base has.

use serde::Serialize;

use crate::figures::{Unit, percent, split_workers};
use crate::model::{Benchmark, Load, Report};
use crate::verdict::{Judged, JudgedBenchmark, Spread, judge};

/// What is concluded; later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Within the thresholds, or without one.
    Fine,
    /// Beyond the first, or not to be said.
    Warning,
    /// Beyond the second.
    Failure,
}

impl Change {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "WARNING",
            Self::Failure => "FAILURE",
        }
    }
}

/// By how much a metric may become worse, in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    /// Beyond this it is a warning.
    pub warning: f64,
    /// Beyond this it is a failure.
    pub failure: f64,
    /// Whether it is worse when it falls.
    pub falls: bool,
}

/// The threshold of a metric, if the requirements have one for it.
pub fn threshold(metric: &str) -> Option<Threshold> {
    let memory = metric.starts_with("rss") && metric.ends_with("peak_bytes");
    match split_workers(metric).0 {
        "throughput_per_s" => Some(Threshold { warning: 10.0, failure: 20.0, falls: true }),
        "latency_p95_s" => Some(Threshold { warning: 15.0, failure: 30.0, falls: false }),
        _ if memory => Some(Threshold { warning: 20.0, failure: 40.0, falls: false }),
        _ => None,
    }
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The worst of all.
    pub change: Change,
    /// What makes the reports incomparable, and was allowed.
    pub differences: Vec<Difference>,
    /// The benchmarks of both, in the order of the base, then those that only the new one has.
    pub benchmarks: Vec<Compared>,
}

/// A benchmark on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// The worst of its metrics, or what its note comes to.
    pub change: Change,
    /// Why nothing is compared; none where it is.
    pub note: Option<String>,
    /// Metrics of both sides: those with a threshold first.
    pub metrics: Vec<Metric>,
}

/// A metric on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Before.
    pub base: Spread,
    /// Now.
    pub new: Spread,
    /// The change of the median in per cent of the base; none from zero.
    pub percent: Option<f64>,
    /// What it comes to.
    pub change: Change,
    /// The threshold, if there is one.
    pub threshold: Option<Threshold>,
    /// Whether the repeats of the two sides overlap: then the change may be noise.
    pub overlaps: bool,
}

impl Metric {
    /// The change in words, such as `−12.5 %`.
    pub fn shown_change(&self) -> String {
        self.percent.map_or_else(|| "–".to_owned(), percent)
    }

    /// Both sides in the metric's unit.
    pub fn shown_sides(&self) -> (String, String) {
        let unit = Unit::of(&self.name);
        (unit.show(self.base.median), unit.show(self.new.median))
    }
}

/// Something that makes two reports incomparable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub what: String,
    /// In the base.
    pub base: String,
    /// In the new one.
    pub new: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} in the base, {} in the new report", self.what, self.base, self.new)
    }
}

/// Compares two reports. Whoever calls decides what [`Comparison::differences`] means.
pub fn compare(base: &Report, new: &Report) -> Comparison {
    let judged = (judge(base), judge(new));
    let mut benchmarks: Vec<Compared> = base.benchmarks.iter().map(|one| beside(one, new, &judged)).collect();
    let only_new = new.benchmarks.iter().filter(|one| find(base, &one.name).is_none());
    benchmarks.extend(only_new.map(|one| noted(&one.name, Change::Fine, "only in the new report")));
    let change = benchmarks.iter().map(|one| one.change).max().unwrap_or(Change::Warning);
    Comparison { change, differences: differences(base, new), benchmarks }
}

fn find<'a>(report: &'a Report, name: &str) -> Option<&'a Benchmark> {
    report.benchmarks.iter().find(|one| one.name == name)
}

fn noted(name: &str, change: Change, note: &str) -> Compared {
    Compared { name: name.to_owned(), change, note: Some(note.to_owned()), metrics: Vec::new() }
}

fn beside(base: &Benchmark, new: &Report, (judged_base, judged_new): &(Judged, Judged)) -> Compared {
    let name = &base.name;
    let Some(new) = find(new, name) else { return noted(name, Change::Warning, "missing in the new report") };
    let sides = [("new", judged_new, Change::Failure), ("base", judged_base, Change::Warning)];
    for (side, judged, weight) in sides {
        if let Some(one) = judged.of(name).filter(|one| one.is_faulty()) {
            return noted(name, weight, &format!("not compared: {side}: {}", one.why.join("; ")));
        }
    }
    for (side, judged, _) in sides {
        if let Some(one) = judged.of(name).filter(|one| says_nothing(one)) {
            return noted(name, Change::Warning, &format!("not compared: {side} is INCONCLUSIVE: {}", one.why.join("; ")));
        }
    }
    let metrics = metrics(base, new);
    if metrics.is_empty() {
        return noted(name, Change::Warning, "not compared: the two have no metric in common");
    }
    let change = metrics.iter().map(|one| one.change).max().unwrap_or(Change::Warning);
    Compared { name: name.clone(), change, note: None, metrics }
}

fn says_nothing(one: &JudgedBenchmark) -> bool {
    one.verdict == crate::verdict::Verdict::Inconclusive
}

fn metrics(base: &Benchmark, new: &Benchmark) -> Vec<Metric> {
    let mut names: Vec<&String> = base.repeats.iter().flat_map(|repeat| repeat.metrics.keys()).collect();
    names.sort_unstable_by_key(|name| (threshold(name).is_none(), *name));
    names.dedup();
    names.into_iter().filter_map(|name| metric(base, new, name)).collect()
}

fn metric(base: &Benchmark, new: &Benchmark, name: &str) -> Option<Metric> {
    let (base, new) = (Spread::of_metric(base, name)?, Spread::of_metric(new, name)?);
    let percent = (base.median != 0.0).then(|| (new.median - base.median) / base.median.abs() * 100.0);
    let threshold = threshold(name);
    let change = match (threshold, percent) {
        (Some(threshold), Some(percent)) => weigh(threshold, percent),
        _ => Change::Fine,
    };
    let overlaps = base.min <= new.max && new.min <= base.max;
    Some(Metric { name: name.to_owned(), base, new, percent, change, threshold, overlaps })
}

/// What a change in per cent comes to.
pub fn weigh(threshold: Threshold, percent: f64) -> Change {
    let worse = if threshold.falls { -percent } else { percent };
    // Medians are products of decimal fractions: what is at the threshold may come out this much above.
    let beyond = |bound: f64| worse > bound + 1e-7;
    match (beyond(threshold.failure), beyond(threshold.warning)) {
        (true, _) => Change::Failure,
        (false, true) => Change::Warning,
        (false, false) => Change::Fine,
    }
}

/// What makes two reports incomparable; empty where nothing does.
pub fn differences(base: &Report, new: &Report) -> Vec<Difference> {
    let mut found = Found::default();
    let (a, b) = (&base.environment, &new.environment);
    found.look("processor", &a.processor, &b.processor);
    found.look("cores", a.cores, b.cores);
    if memory_differs(a.memory_bytes, b.memory_bytes) {
        found.look("memory", Unit::Bytes.show(a.memory_bytes as f64), Unit::Bytes.show(b.memory_bytes as f64));
    }
    found.look("storage", &a.storage, &b.storage);
    found.look("network", &a.network, &b.network);
    found.look("operating system", &a.os, &b.os);
    found.look("version of kafka", version(base, "kafka"), version(new, "kafka"));
    found.look("build", version(base, "build"), version(new, "build"));
    found.look("tier", format!("{:?}", base.tier).to_lowercase(), format!("{:?}", new.tier).to_lowercase());
    configuration(&mut found, base, new);
    for one in &base.benchmarks {
        if let Some(other) = find(new, &one.name) {
            loads(&mut found, one, other);
        }
    }
    found.0
}

fn version(report: &Report, of: &str) -> String {
    report.environment.versions.get(of).map_or("none", String::as_str).to_owned()
}

/// What the system keeps for itself moves by a little between starts.
fn memory_differs(a: u64, b: u64) -> bool {
    a.abs_diff(b) as f64 > a.max(b) as f64 * 0.02
}

fn configuration(found: &mut Found, base: &Report, new: &Report) {
    let (a, b) = (&base.settings, &new.settings);
    found.look("log", &a.log, &b.log);
    found.look("own broker", a.own_broker, b.own_broker);
    if !(a.own_broker && b.own_broker) {
        found.look("brokers", a.brokers.as_deref().unwrap_or("none"), b.brokers.as_deref().unwrap_or("none"));
    }
    found.look("store", kind_of_place(&a.store), kind_of_place(&b.store));
    found.look("tables", kind_of_place(&a.tables), kind_of_place(&b.tables));
    found.look("partitions", a.partitions, b.partitions);
    found.look("compression", &a.compression, &b.compression);
    let mut names: Vec<&String> = a.values.keys().chain(b.values.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let value = |of: &crate::model::Settings, name: &str| of.values.get(name).map_or("unset".to_owned(), String::clone);
    for name in names {
        found.look(name, value(a, name), value(b, name));
    }
}

/// Local directories are one kind: their file system is part of the environment. Other stores are their own.
fn kind_of_place(place: &str) -> &str {
    if place.contains("://") && !place.starts_with("file://") { place } else { "a local directory" }
}

fn loads(found: &mut Found, base: &Benchmark, new: &Benchmark) {
    let name = &base.name;
    found.look(&format!("{name}: scale"), base.load.scale, new.load.scale);
    // What is scaled has other numbers: the scale says it.
    if base.load.scale == new.load.scale {
        for ((what, base), (_, new)) in figures(&base.load).into_iter().zip(figures(&new.load)) {
            found.look(&format!("{name}: {what}"), base, new);
        }
    }
    let workers =
        |one: &Benchmark| one.workers.iter().map(|(role, count)| format!("{role} {count}")).collect::<Vec<_>>().join(", ");
    found.look(&format!("{name}: workers"), workers(base), workers(new));
}

fn figures(load: &Load) -> [(&'static str, String); 4] {
    let text = |value: Option<f64>| value.map_or("none".to_owned(), |value| value.to_string());
    [
        ("messages", load.messages.to_string()),
        ("messages a second", text(load.rate_per_s)),
        ("bytes of a file", text(load.file_bytes.map(|bytes| bytes as f64))),
        ("delay of the origin in seconds", text(load.origin_delay_s)),
    ]
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn look<T: ToString + PartialEq>(&mut self, what: &str, base: T, new: T) {
        if base != new {
            self.0.push(Difference { what: what.to_owned(), base: base.to_string(), new: new.to_string() });
        }
    }
}

/// One report of several runs of the same benchmarks on one side: the repeats of all, in the order of the runs. None of none.
pub fn merged(runs: Vec<Report>) -> Option<Report> {
    let mut runs = runs.into_iter();
    let mut all = runs.next()?;
    for run in runs {
        all.complete &= run.complete;
        all.finished_at = run.finished_at;
        for one in run.benchmarks {
            match all.benchmarks.iter_mut().find(|there| there.name == one.name) {
                Some(there) => there.repeats.extend(one.repeats),
                None => all.benchmarks.push(one),
            }
        }
    }
    Some(all)
}
