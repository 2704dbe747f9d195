//! What follows from the limits: bottlenecks, opportunities, what is used up, what to do.

use std::collections::BTreeMap;

use super::evidence::{Evidence, highest};
use super::limits::{Cause, Limit};
use super::{Advice, Finding, HELPERS, used_up};
use crate::figures::{Unit, command_line, number};
use crate::model::{Asker, Benchmark, Report, together};
use crate::verdict::{Judged, JudgedBenchmark, JudgedTarget, Verdict};

type Limits = [(String, Limit)];

/// Stages that limit, each with the benchmarks that it limits.
pub(super) fn bottlenecks(judged: &Judged, seen: &[Evidence<'_>], limits: &Limits) -> Vec<Finding> {
    let mut by_stage: BTreeMap<(&str, Cause), Vec<(&Evidence<'_>, &Limit)>> = BTreeMap::new();
    for one in seen {
        let limit = limits.iter().find(|(name, _)| *name == one.benchmark.name).map(|(_, limit)| limit);
        if let Some(limit) = limit.filter(|limit| limit.cause != Cause::Schedule) {
            by_stage.entry((&limit.stage, limit.cause)).or_default().push((one, limit));
        }
    }
    by_stage.into_iter().map(|((stage, cause), of)| bottleneck(judged, stage, cause, &of)).collect()
}

/// One stage with one cause, told by the benchmark with the most messages.
fn bottleneck(judged: &Judged, stage: &str, cause: Cause, of: &[(&Evidence<'_>, &Limit)]) -> Finding {
    let names: Vec<String> = of.iter().map(|(one, _)| format!("`{}`", one.benchmark.name)).collect();
    let clearest = of.iter().max_by_key(|(one, _)| one.benchmark.load.messages);
    let figures = clearest.map(|(one, limit)| format!(". In `{}`: {}", one.benchmark.name, limit.figures)).unwrap_or_default();
    let effect = |(one, _): &(&Evidence<'_>, &Limit)| {
        let name = &one.benchmark.name;
        let verdict = judged.of(name).map_or("", |judged| judged.verdict.word());
        format!("`{name}` does {}: {verdict}", Unit::PerSecond.show(one.throughput_per_s))
    };
    let mut rules: Vec<&'static str> = of.iter().flat_map(|(_, limit)| limit.rules.iter().copied()).collect();
    rules.sort_unstable();
    rules.dedup();
    Finding {
        about: stage.to_owned(),
        text: format!("{} limits {}{figures}", cause.words(), names.join(", ")),
        effect: of.iter().map(effect).collect::<Vec<_>>().join("; "),
        answer: mitigation(stage, cause),
        rules,
    }
}

fn mitigation(stage: &str, cause: Cause) -> String {
    match cause {
        Cause::Schedule => "none is needed".to_owned(),
        Cause::Processor => format!("more cores, or {stage} on a machine of its own; then less processor time for each message"),
        Cause::InFlight => "raise `download.max_in_flight` (and `per_host`), or start another download worker".to_owned(),
        Cause::OneCore => format!("another {stage} worker, where its topic has more partitions than workers"),
        Cause::Waiting => format!("look at what {stage} waits for: the broker's acknowledgements, the disk's syncs, the origin"),
    }
}

/// What could be won, by O1 to O4.
pub(super) fn opportunities(report: &Report, judged: &Judged, seen: &[Evidence<'_>], limits: &Limits) -> Vec<Finding> {
    // The chain at work tells more than one stage alone, and that more than a schedule that is met.
    let widest = seen.iter().max_by_key(|one| {
        let load = &one.benchmark.load;
        (one.busy.len(), load.rate_per_s.is_none(), load.messages)
    });
    let by_schedule = seen.iter().filter(|one| one.benchmark.load.rate_per_s.is_some());
    let latency = by_schedule.max_by_key(|one| (one.stage_mean_s.len(), one.benchmark.load.messages));
    let mut found: Vec<Finding> = Vec::new();
    found.extend(widest.and_then(|one| dearest(one, limits)));
    found.extend(widest.and_then(helpers));
    found.extend(latency.and_then(slowest));
    found.extend(missed_budgets(report, judged));
    found
}

/// O1.
fn dearest(seen: &Evidence<'_>, limits: &Limits) -> Option<Finding> {
    let (role, cost) = highest(&seen.cpu_s_per_1000)?;
    let all: f64 = seen.cpu_s_per_1000.values().sum();
    let share = (cost / all).clamp(0.0, 1.0);
    let name = &seen.benchmark.name;
    let bound = limits.iter().any(|(of, limit)| of == name && limit.cause == Cause::Processor);
    let taken = seen.cores_taken.get(role).copied().unwrap_or(0.0);
    let of_busy = seen.machine_busy.map_or(share, |busy| (taken / (busy * seen.cores).max(1e-9)).clamp(0.0, 1.0));
    let effect = match bound {
        true => format!(
            "halved, {} more throughput at most, since the processor is the limit",
            Unit::Share.show(1.0 / (1.0 - of_busy / 2.0) - 1.0)
        ),
        false => "less load on the machine; not more throughput, since the processor is not the limit".to_owned(),
    };
    Some(Finding {
        about: format!("processor time of {role}"),
        text: format!(
            "{} CPU s per 1,000 messages in `{name}`, {} of what all workers take",
            number(cost),
            Unit::Share.show(share)
        ),
        effect,
        answer: if bound { "High" } else { "Low" }.to_owned(),
        rules: vec!["O1"],
    })
}

/// O2.
fn helpers(seen: &Evidence<'_>) -> Option<Finding> {
    let share = seen.helpers_share().filter(|share| *share >= HELPERS)?;
    let each: Vec<String> = seen
        .helpers
        .iter()
        .filter_map(|role| Some(format!("{role} {}", Unit::Cores.show(*seen.cores_taken.get(role)?))))
        .collect();
    Some(Finding {
        about: "machines".to_owned(),
        text: format!(
            "{} of the busy time in `{}` is not Longshore's (of one core: {})",
            Unit::Share.show(share),
            seen.benchmark.name,
            each.join(", ")
        ),
        effect: format!(
            "on machines of its own, {} more processor for the workers at most",
            Unit::Share.show(share / (1.0 - share).max(0.01))
        ),
        answer: "Medium".to_owned(),
        rules: vec!["O2"],
    })
}

/// O3.
fn slowest(seen: &Evidence<'_>) -> Option<Finding> {
    let (stage, mean) = highest(&seen.stage_mean_s)?;
    let share = mean / seen.stage_mean_s.values().sum::<f64>().max(1e-9);
    let hint = if stage == "record" { "; a shorter `record.freshness` trades larger files for it" } else { "" };
    Some(Finding {
        about: format!("latency of {stage}"),
        text: format!(
            "{} on average in `{}`, {} of all stages{hint}",
            Unit::Seconds.show(mean),
            seen.benchmark.name,
            Unit::Share.show(share)
        ),
        effect: format!("at most {} of the mean latency", Unit::Share.show(share)),
        answer: if share >= 0.5 { "Medium" } else { "Low" }.to_owned(),
        rules: vec!["O3"],
    })
}

/// O4: one finding for each metric, with its worst margin.
fn missed_budgets(report: &Report, judged: &Judged) -> Vec<Finding> {
    let mut worst: BTreeMap<&str, (f64, &JudgedBenchmark, &JudgedTarget)> = BTreeMap::new();
    let budgets = judged.benchmarks.iter().flat_map(|one| one.targets.iter().map(move |target| (one, target)));
    for (one, judged) in
        budgets.filter(|(one, judged)| judged.target.from == Asker::Budget && one.verdict != Verdict::Inconclusive)
    {
        let Some(margin) = judged.margin_percent.filter(|margin| *margin < 0.0) else { continue };
        let kept = worst.entry(&judged.target.metric).or_insert((margin, one, judged));
        if margin < kept.0 {
            *kept = (margin, one, judged);
        }
    }
    let full = report.benchmarks.iter().all(|one| one.load.scale >= 1.0);
    worst
        .into_iter()
        .filter_map(|(metric, (margin, one, judged))| {
            let unit = Unit::of(metric);
            Some(Finding {
                about: format!("our budget for {metric}"),
                text: format!(
                    "{} in `{}`, where our own aim is {}",
                    unit.show(judged.measured?.median),
                    one.name,
                    unit.show(judged.target.value)
                ),
                effect: format!("{:.1} % to the aim", -margin),
                answer: if full { "Medium" } else { "Low" }.to_owned(),
                rules: vec!["O4"],
            })
        })
        .collect()
}

/// Whether more cores or memory help.
pub(super) fn vertical(report: &Report, seen: &[Evidence<'_>]) -> Advice {
    let rules = vec!["S2"];
    let unpaced: Vec<&Evidence<'_>> = seen.iter().filter(|one| one.benchmark.load.rate_per_s.is_none()).collect();
    let said = |one: &&Evidence<'_>| {
        let busy = one.machine_busy?;
        let per_core = one.throughput_per_s / (busy * one.cores).max(1e-9);
        let helps = if used_up(busy) { "more cores help" } else { "more cores do not help" };
        Some(format!(
            "`{}`: {} with {} of {} cores busy, {} a busy core; {helps}",
            one.benchmark.name,
            Unit::PerSecond.show(one.throughput_per_s),
            number(busy * one.cores),
            number(one.cores),
            Unit::PerSecond.show(per_core)
        ))
    };
    let each: Vec<String> = unpaced.iter().filter_map(said).collect();
    let text = match each.is_empty() {
        true => "Not measured: no benchmark ran as fast as possible with samples of the machine.".to_owned(),
        false => format!("{}. {}", each.join(". "), memory(report)),
    };
    Advice { text, rules }
}

fn memory(report: &Report) -> String {
    let of = |benchmark: &Benchmark| {
        let sums = benchmark.repeats.iter().map(|one| together(&one.processes, &benchmark.workers, |p| p.rss_peak_bytes as f64));
        sums.flatten().fold(0.0, f64::max)
    };
    let most = report.benchmarks.iter().map(of).fold(0.0, f64::max);
    let all = report.environment.memory_bytes.max(1) as f64;
    let then = if most / all < 0.5 { ": more of it does not help" } else { "" };
    format!(
        "Memory: all workers that ran together took at most {}, {} of the machine's {}{then}.",
        Unit::Bytes.show(most),
        Unit::Share.show(most / all),
        Unit::Bytes.show(all)
    )
}

/// What is used up in which benchmark.
pub(super) fn resources(report: &Report, seen: &[Evidence<'_>]) -> Advice {
    let used: Vec<String> = seen
        .iter()
        .filter_map(|one| Some((one, one.machine_busy.filter(|busy| used_up(*busy))?)))
        .map(|(one, busy)| format!("`{}` ({})", one.benchmark.name, Unit::Share.show(busy)))
        .collect();
    let share = seen.iter().filter_map(Evidence::helpers_share).reduce(f64::max);
    let helpers = share
        .map(|share| format!(" Generator, origin, broker and reader took up to {} of what was busy.", Unit::Share.show(share)));
    let text = match used.is_empty() {
        true => format!("In no benchmark were all {} cores used up.", report.environment.cores),
        false => format!("All {} cores were used up in {}.", report.environment.cores, used.join(", ")),
    };
    Advice { text: text + &helpers.unwrap_or_default(), rules: vec!["C1", "O2"] }
}

/// What to do now, by A1.
pub(super) fn immediate(report: &Report, judged: &Judged, limits: &Limits) -> Vec<Advice> {
    let mut advice = Vec::new();
    if !report.complete {
        advice.push(Advice {
            text: format!("Run it to its end: `{}` was interrupted.", command_line(&report.command)),
            rules: vec!["A1"],
        });
    }
    for verdict in [Verdict::Fail, Verdict::Inconclusive, Verdict::Warn] {
        advice.extend(judged.benchmarks.iter().filter(|one| one.verdict == verdict).map(|one| deal_with(one, limits)));
    }
    if advice.is_empty() {
        advice.push(nothing(judged));
    }
    advice
}

fn deal_with(one: &JudgedBenchmark, limits: &Limits) -> Advice {
    let limit =
        limits.iter().find(|(name, _)| *name == one.name).map(|(_, limit)| limit).filter(|limit| limit.cause != Cause::Schedule);
    let (then, more) = match (one.verdict, limit) {
        (Verdict::Fail, _) if one.is_faulty() => {
            ("This is a fault, not slowness: keep its data and report it".to_owned(), vec![])
        }
        (Verdict::Inconclusive, _) => ("Run it again on a calmer machine, or with the load from another one".to_owned(), vec![]),
        (_, Some(limit)) => {
            (format!("Limited by {}: {}", limit.words(), mitigation(&limit.stage, limit.cause)), limit.rules.clone())
        }
        (_, None) => ("No stage is saturated: look at its stages' latencies".to_owned(), vec!["Q4"]),
    };
    let rules = ["A1"].into_iter().chain(more).collect();
    Advice { text: format!("`{}` is {}: {}. {then}.", one.name, one.verdict.word(), one.why.join("; ")), rules }
}

fn nothing(judged: &Judged) -> Advice {
    let required = judged
        .benchmarks
        .iter()
        .flat_map(|one| one.targets.iter().filter(|t| t.verdict.is_some()).map(move |target| (one, target)));
    let tightest = required
        .filter_map(|(one, target)| Some((one, target, target.margin_percent?)))
        .min_by(|(_, _, a), (_, _, b)| a.total_cmp(b));
    let margin = tightest.map(|(one, target, margin)| {
        format!(" The smallest margin is that of {} in `{}`: {margin:.1} %.", target.target.metric, one.name)
    });
    Advice { text: format!("None: every requirement is met.{}", margin.unwrap_or_default()), rules: vec!["A1"] }
}

/// What to do later: the opportunities that are worth most, and what was not measured.
pub(super) fn future(report: &Report, opportunities: &[Finding]) -> Vec<Advice> {
    let worth = |finding: &&Finding| finding.answer != "Low";
    let mut advice: Vec<Advice> = opportunities
        .iter()
        .filter(worth)
        .map(|one| Advice { text: format!("{}: {} ({}).", one.about, one.text, one.effect), rules: one.rules.clone() })
        .collect();
    if report.benchmarks.iter().any(|one| one.load.scale < 1.0) {
        let text = "Some loads were scaled down: `longshore bench run --tier full` measures at full size.".to_owned();
        advice.push(Advice { text, rules: vec!["A1"] });
    }
    if report.settings.log == "embedded" || report.environment.network == "loopback" {
        let text = "Everything ran on one machine: `--brokers`, `--store` and `--tables` measure with yours.".to_owned();
        advice.push(Advice { text, rules: vec!["O2"] });
    }
    advice
}
