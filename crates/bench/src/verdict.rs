//! Verdicts: what a report says about its targets.
//!
//! *Owns*: the rules below. *Does not own*: the targets, which stand in the report; how a verdict is shown.
//!
//! 1. A target is judged by the median of the repeats. Met: PASS. Short by at most [`TOLERANCE`] of the target: WARN.
//!    Short by more: FAIL. A target of zero has no tolerance.
//! 2. A repeat that has not measured the target's metric leaves the target INCONCLUSIVE, whatever the others say.
//! 3. A benchmark is as good as the worst of its targets; FAIL is worse than INCONCLUSIVE, since what failed was measured.
//! 4. Any inconclusive repeat makes the benchmark INCONCLUSIVE, also where a target failed: the load was not what it should
//!    have been, so its figures say nothing.
//! 5. A ledger that does not hold makes it FAIL, whatever else is there, inconclusive repeats too: a row that is lost or
//!    doubled is a fact under any load. So does a worker that ended unasked, or not well when asked.
//! 6. A report is as good as the worst of its benchmarks. One that is incomplete, or has none, is INCONCLUSIVE at best.
//! 7. Budgets are shown with their margin and make no verdict.

use serde::Serialize;

use crate::figures::median;
use crate::model::{Asker, Benchmark, Good, Ledger, Repeat, Report, Target};

/// How far a target may be missed with a warning: the share of it that noise of shared machines explains.
pub const TOLERANCE: f64 = 0.2;

/// What is concluded; later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Met.
    Pass,
    /// Missed by at most [`TOLERANCE`].
    Warn,
    /// Nothing can be said.
    Inconclusive,
    /// Missed by more, or the ledger does not hold.
    Fail,
}

impl Verdict {
    /// As reports write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Fail => "FAIL",
        }
    }
}

/// A judged report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Of the whole.
    pub verdict: Verdict,
    /// What else than a target led to it; empty for a plain PASS.
    pub why: Vec<String>,
    /// In the order of the report.
    pub benchmarks: Vec<JudgedBenchmark>,
}

/// A judged benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedBenchmark {
    /// Its name.
    pub name: String,
    /// Of the benchmark.
    pub verdict: Verdict,
    /// What led to it, if it is not PASS.
    pub why: Vec<String>,
    /// What decided instead of the targets, if something did.
    pub overruled: Option<Overruled>,
    /// Requirements and budgets, in the order of the report.
    pub targets: Vec<JudgedTarget>,
}

/// What decides instead of the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Overruled {
    /// A ledger does not hold (rule 5).
    Ledger,
    /// A worker ended unasked, or not well when asked (rule 5).
    Worker,
    /// A repeat is inconclusive (rule 4).
    Load,
}

/// A judged target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedTarget {
    /// What was asked for.
    pub target: Target,
    /// What was measured, if it was.
    pub measured: Option<Spread>,
    /// How much better than the target the median is, in per cent of the target; negative is worse. None without a
    /// measurement, and for a target of zero.
    pub margin_percent: Option<f64>,
    /// None for a budget.
    pub verdict: Option<Verdict>,
}

/// A metric over the repeats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// How many repeats have it.
    pub repeats: usize,
}

impl Spread {
    /// Of these values; none without any.
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let (min, max) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        let repeats = values.len();
        median(values).map(|median| Self { median, min, max, repeats })
    }

    /// Of a metric over the repeats of a benchmark; repeats without it, or with something that is no number, are left out.
    pub fn of_metric(benchmark: &Benchmark, metric: &str) -> Option<Self> {
        let value = |repeat: &Repeat| repeat.metrics.get(metric).copied().filter(|value| value.is_finite());
        Self::of(benchmark.repeats.iter().filter_map(value).collect())
    }
}

impl Judged {
    /// The benchmark of this name.
    pub fn of(&self, name: &str) -> Option<&JudgedBenchmark> {
        self.benchmarks.iter().find(|judged| judged.name == name)
    }
}

impl JudgedBenchmark {
    /// Whether a fault decided, and not a figure (rule 5).
    pub fn is_faulty(&self) -> bool {
        matches!(self.overruled, Some(Overruled::Ledger | Overruled::Worker))
    }
}

/// Judges a report by the rules of this module.
pub fn judge(report: &Report) -> Judged {
    let benchmarks: Vec<JudgedBenchmark> = report.benchmarks.iter().map(judge_benchmark).collect();
    let mut why: Vec<String> = Vec::new();
    let mut verdict = benchmarks.iter().map(|one| one.verdict).max().unwrap_or(Verdict::Inconclusive);
    if benchmarks.is_empty() {
        why.push("no benchmark was run".to_owned());
    }
    if !report.complete {
        verdict = verdict.max(Verdict::Inconclusive);
        why.push("the run did not come to its end".to_owned());
    }
    for worse in [Verdict::Fail, Verdict::Inconclusive, Verdict::Warn] {
        let names: Vec<&str> = benchmarks.iter().filter(|one| one.verdict == worse).map(|one| one.name.as_str()).collect();
        if !names.is_empty() {
            why.push(format!("{}: {}", worse.word(), names.join(", ")));
        }
    }
    Judged { verdict, why, benchmarks }
}

/// Judges one benchmark by the same rules.
pub fn judge_benchmark(benchmark: &Benchmark) -> JudgedBenchmark {
    let targets: Vec<JudgedTarget> = benchmark.targets.iter().map(|target| judge_target(benchmark, target)).collect();
    let mut verdict = targets.iter().filter_map(|one| one.verdict).max().unwrap_or(Verdict::Pass);
    let mut why: Vec<String> = targets.iter().filter_map(reason).collect();
    if benchmark.repeats.is_empty() {
        verdict = Verdict::Inconclusive;
        why = vec!["it was not run".to_owned()];
    }
    let inconclusive = in_repeats(benchmark, |repeat| repeat.inconclusive.clone());
    let wrong = in_repeats(benchmark, |repeat| faults(&repeat.ledger).into_iter().collect());
    let broken = in_repeats(benchmark, |repeat| repeat.broken.clone());
    let (overruled, verdict) = match (wrong.is_empty(), broken.is_empty(), inconclusive.is_empty()) {
        (false, ..) => (Some(Overruled::Ledger), Verdict::Fail),
        (true, false, _) => (Some(Overruled::Worker), Verdict::Fail),
        (true, true, false) => (Some(Overruled::Load), Verdict::Inconclusive),
        (true, true, true) => (None, verdict),
    };
    why.splice(0..0, wrong.into_iter().chain(broken).chain(inconclusive));
    JudgedBenchmark { name: benchmark.name.clone(), verdict, why, overruled, targets }
}

/// What is to be said of each repeat, with its number where there are several.
fn in_repeats(benchmark: &Benchmark, say: impl Fn(&Repeat) -> Vec<String>) -> Vec<String> {
    let several = benchmark.repeats.len() > 1;
    let numbered = |at: usize, text: String| if several { format!("repeat {}: {text}", at + 1) } else { text };
    let each = benchmark.repeats.iter().enumerate();
    each.flat_map(|(at, repeat)| say(repeat).into_iter().map(move |text| numbered(at, text))).collect()
}

/// What is wrong with a ledger, if it does not hold.
pub fn faults(ledger: &Ledger) -> Option<String> {
    if ledger.holds() {
        return None;
    }
    let counts = [
        (ledger.missing, "missing"),
        (ledger.doubled, "doubled"),
        (ledger.strange, "strange"),
        (ledger.wrong_hash, "with a wrong hash or size"),
        (ledger.left_over, "left over"),
    ];
    let mut said: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let (produced, ended) = (ledger.produced, ledger.stored + ledger.failed);
    if produced != ended {
        said.push(format!("{produced} produced, but {} stored and {} failed", ledger.stored, ledger.failed));
    }
    Some(format!("the ledger does not hold: {}", said.join(", ")))
}

fn reason(judged: &JudgedTarget) -> Option<String> {
    let metric = &judged.target.metric;
    match judged.verdict? {
        Verdict::Pass => None,
        Verdict::Inconclusive => Some(format!("{metric} was not measured in every repeat")),
        Verdict::Warn | Verdict::Fail => Some(match judged.margin_percent {
            Some(margin) => format!("{metric} misses its target by {:.1} %", -margin),
            None => format!("{metric} misses its target"),
        }),
    }
}

fn judge_target(benchmark: &Benchmark, target: &Target) -> JudgedTarget {
    let measured = Spread::of_metric(benchmark, &target.metric);
    let everywhere = measured.filter(|spread| spread.repeats == benchmark.repeats.len());
    let verdict = match (target.from, everywhere) {
        (Asker::Budget, _) => None,
        (Asker::Requirement, None) => Some(Verdict::Inconclusive),
        (Asker::Requirement, Some(spread)) => Some(verdict_on(target, spread.median)),
    };
    let margin_percent = measured.and_then(|spread| margin(target, spread.median));
    JudgedTarget { target: target.clone(), measured, margin_percent, verdict }
}

/// Rule 1 for one value.
pub fn verdict_on(target: &Target, value: f64) -> Verdict {
    // Products of decimal fractions are off by less than this share.
    let slack = target.value.abs() * 1e-9;
    let (met, close) = match target.good {
        Good::AtLeast => (value >= target.value, value >= target.value * (1.0 - TOLERANCE) - slack),
        Good::AtMost => (value <= target.value, value <= target.value * (1.0 + TOLERANCE) + slack),
        Good::Below => (value < target.value, value <= target.value * (1.0 + TOLERANCE) + slack),
    };
    match (met, close) {
        (true, _) => Verdict::Pass,
        (false, true) => Verdict::Warn,
        (false, false) => Verdict::Fail,
    }
}

fn margin(target: &Target, value: f64) -> Option<f64> {
    let better = match target.good {
        Good::AtLeast => value - target.value,
        Good::AtMost | Good::Below => target.value - value,
    };
    (target.value != 0.0).then(|| better / target.value.abs() * 100.0)
}
