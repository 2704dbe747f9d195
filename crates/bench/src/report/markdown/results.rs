//! The results: a block for each benchmark, also for those that were not run.

use super::tier;
use crate::analysis::steps;
use crate::figures::{Unit, number};
use crate::model::{Asker, Benchmark, Distribution, Repeat, Target};
use crate::report::Told;
use crate::report::catalogue::{Block, CHAPTERS, Line, block};
use crate::report::escape::{block as fenced, code, markdown as text, sentence};
use crate::report::facts::{
    all_workers, latency, ledger, load, over, quantile, roles, rule, shown, summary, title, worst_worker,
};
use crate::verdict::Spread;

/// The chapter.
pub(super) fn chapter(told: &Told<'_>) -> String {
    let mut chapters: Vec<String> = CHAPTERS
        .iter()
        .map(|chapter| {
            let blocks: Vec<String> = chapter.blocks.iter().map(|block| known(told, block)).collect();
            format!("### {}\n\n{}", chapter.title, blocks.join("\n\n"))
        })
        .collect();
    let others: Vec<String> =
        told.report.benchmarks.iter().filter(|one| block(&one.name).is_none()).map(|one| other(told, one)).collect();
    if !others.is_empty() {
        chapters.push(format!("### Other Benchmarks\n\n{}", others.join("\n\n")));
    }
    format!("## Benchmark Results\n\n{}", chapters.join("\n\n---\n\n"))
}

fn known(told: &Told<'_>, block: &Block) -> String {
    match told.report.benchmarks.iter().find(|one| one.name == block.name) {
        Some(one) => measured(told, one, block.title, block.lines),
        None => format!(
            "#### {}\n**Test**: `{}`  \n**Description**: {}\n\n**Results**: not run: this report is of the tier {}, or other benchmarks \
             were asked for.",
            block.title,
            block.name,
            block.description,
            tier(told.report.tier)
        ),
    }
}

fn other(told: &Told<'_>, one: &Benchmark) -> String {
    let lines = [Line::Messages("Messages Processed", ""), Line::Time, Line::PeakCpu, Line::PeakMemory];
    measured(told, one, &text(&one.name), &lines)
}

fn measured(told: &Told<'_>, one: &Benchmark, heading: &str, lines: &[Line]) -> String {
    let word = told.judged.of(&one.name).map_or("–", |judged| judged.verdict.word());
    let many = match one.repeats.len() {
        0 => "not run to its end".to_owned(),
        1 => "one run".to_owned(),
        count => format!("median of {count} repeats (lowest – highest)"),
    };
    let figures: Vec<String> = lines.iter().map(|line| fenced(&said(one, *line))).chain(further(one, lines)).collect();
    let mut parts = vec![
        format!(
            "#### {heading}\n**Test**: {}  \n**Description**: {}  \n**Load**: {}",
            code(&one.name),
            text(&one.description),
            text(&load(one))
        ),
        format!("**Results**: {many}\n```\n{}\n\nStatus: {word}\n```", figures.join("\n")),
    ];
    parts.push(told.analysis.limit_of(&one.name).map_or("**Limited by**: nothing was measured".to_owned(), |limit| {
        format!("**Limited by**: {}: {} _(rule {})_", sentence(&limit.words()), sentence(&limit.figures), limit.rules.join(", "))
    }));
    parts.push(format!("**Ledger**: {}", text(&ledger(one))));
    parts.extend(each("Broken", one, |repeat| &repeat.broken));
    parts.extend(each("Inconclusive", one, |repeat| &repeat.inconclusive));
    parts.extend(table_of_stages(one));
    parts.extend(table_of_roles(one));
    parts.join("\n\n")
}

fn each(what: &str, one: &Benchmark, of: fn(&Repeat) -> &Vec<String>) -> Option<String> {
    let each: Vec<&str> = one.repeats.iter().flat_map(|repeat| of(repeat).iter().map(String::as_str)).collect();
    (!each.is_empty()).then(|| format!("**{what}**: {}", text(&each.join("; "))))
}

/// Messages of which each has a row: those that were sent, without what is missing.
fn processed(one: &Benchmark) -> String {
    let count = |repeat: &Repeat| {
        let sent = repeat.generator.as_ref().map_or(one.load.messages, |generator| generator.sent);
        (repeat.ledger.produced > 0).then(|| sent.saturating_sub(repeat.ledger.missing) as f64)
    };
    shown_or_not(Unit::Count, over(one, count))
}

/// The time that messages spent in each stage, in the order in which they come through.
fn table_of_stages(one: &Benchmark) -> Option<String> {
    let row = |stage: &&str| {
        let of = |figure: fn(&Distribution) -> Option<f64>| {
            let spread = over(one, |repeat| repeat.stage_latency.get(*stage).and_then(figure));
            spread.map(|spread| Unit::Seconds.show(spread.median))
        };
        let figures = [of(|seen| Some(seen.mean_s)), of(|seen| seen.at(0.5)), of(|seen| seen.at(0.95)), of(|seen| seen.at(0.99))];
        let figures = figures.into_iter().collect::<Option<Vec<_>>>()?;
        Some(format!("| {stage} | {} |", figures.join(" | ")))
    };
    let rows: Vec<String> = ["send", "ingest", "download", "record"].iter().filter_map(row).collect();
    let head = "| Stage | Mean | p50 | p95 | p99 |\n|---|---|---|---|---|";
    (!rows.is_empty()).then(|| format!("{head}\n{}", rows.join("\n")))
}

fn table_of_roles(one: &Benchmark) -> Option<String> {
    let rows: Vec<String> = roles(one)
        .iter()
        .map(|role| {
            let kind = if role.worker { "under test" } else { "helps" };
            format!(
                "| {} | {kind} | {} | {} | {} | {} | {} |",
                text(&role.name),
                role.processes,
                Unit::Cores.show(role.cpu_mean),
                Unit::Cores.show(role.cpu_peak),
                Unit::Bytes.show(role.rss_mean_bytes),
                Unit::Bytes.show(role.rss_peak_bytes)
            )
        })
        .collect();
    let head = "| Role | | Processes | Mean CPU | Peak CPU | Mean memory | Peak memory |\n|---|---|---|---|---|---|---|";
    (!rows.is_empty()).then(|| format!("{head}\n{}", rows.join("\n")))
}

/// A line of the template, filled.
fn said(one: &Benchmark, line: Line) -> String {
    let asked = |metric: &str| asked(one, &[metric]);
    match line {
        Line::Messages(label, "") => format!("{label}: {}", processed(one)),
        Line::Messages(label, unit) => format!("{label}: {} {unit}", processed(one)),
        Line::Time => format!(
            "Processing Time: {}",
            shown_or_not(Unit::Seconds, over(one, |repeat| Some(repeat.duration_s).filter(|time| *time > 0.0)))
        ),
        Line::Rate(label, unit) => {
            let counted = || over(one, |repeat| Some(one.load.messages as f64 / repeat.duration_s));
            let rate = Spread::of_metric(one, "throughput_per_s").or_else(counted);
            format!("{label}: {} {unit}{}", shown_or_not(Unit::Count, rate), asked("throughput_per_s"))
        }
        Line::Metric(label, metric, unit) => {
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            format!("{label}: {}{unit}{}", summary(metric, Spread::of_metric(one, metric)), asked(metric))
        }
        Line::Quantile(label, share) => {
            format!(
                "Latency {label}: {}{}",
                shown_or_not(Unit::Seconds, quantile(one, share)),
                asked(&format!("latency_{label}_s"))
            )
        }
        Line::MeanLatency => format!("Latency mean: {}", shown_or_not(Unit::Seconds, latency(one, |seen| seen.mean_s))),
        Line::MaxLatency => format!("Latency max: {}", shown_or_not(Unit::Seconds, latency(one, |seen| seen.max_s))),
        Line::Recovery => recovery(one),
        Line::PeakCpu => format!(
            "Peak CPU: {} (100 % is one core; the busiest worker)",
            shown_or_not(Unit::Cores, worst_worker(one, |p| p.cpu_peak))
        ),
        Line::MeanCpu => {
            let measured = Spread::of_metric(one, "cpu_mean").or_else(|| worst_worker(one, |process| process.cpu_mean));
            format!("Mean CPU: {}{}", shown_or_not(Unit::Cores, measured), asked("cpu_mean"))
        }
        Line::PeakMemory => memory("Peak Memory", one, |process| process.rss_peak_bytes as f64),
        Line::MeanMemory => memory("Mean Memory", one, |process| process.rss_mean_bytes),
    }
}

fn memory(label: &str, one: &Benchmark, figure: impl Fn(&crate::model::Process) -> f64) -> String {
    let (largest, all) = (worst_worker(one, &figure), all_workers(one, &figure));
    format!(
        "{label}: {} in the largest worker, {} in all workers",
        shown_or_not(Unit::Bytes, largest),
        shown_or_not(Unit::Bytes, all)
    )
}

fn recovery(one: &Benchmark) -> String {
    let Some(spread) = Spread::of_metric(one, "recovery_s") else { return "Recovery Time: not measured".to_owned() };
    let minutes = number((spread.median / 6.0).round() / 10.0);
    format!("Recovery Time: {} ({minutes} min){}", shown(Unit::Seconds, spread), asked(one, &["recovery_s"]))
}

/// The requirements that no line of the template speaks of.
fn further(one: &Benchmark, lines: &[Line]) -> Vec<String> {
    let covered = |target: &Target| {
        lines.iter().any(|line| match *line {
            Line::Rate(..) => target.metric == "throughput_per_s",
            Line::Metric(_, metric, _) => target.metric == metric,
            Line::Quantile(label, _) => target.metric == format!("latency_{label}_s"),
            Line::Recovery => target.metric == "recovery_s",
            Line::MeanCpu => target.metric == "cpu_mean",
            _ => false,
        })
    };
    let asked_for = one.targets.iter().filter(|target| target.from == Asker::Requirement && !covered(target));
    asked_for
        .map(|target| {
            let metric = &target.metric;
            let measured = summary(metric, Spread::of_metric(one, metric));
            fenced(&format!("{}: {measured}{}", title(metric), asked(one, &[metric])))
        })
        .chain(steps(one).iter().map(ToString::to_string))
        .collect()
}

/// The requirement on one of these metrics, as it stands behind a figure.
fn asked(one: &Benchmark, metrics: &[&str]) -> String {
    let target = one.targets.iter().find(|target| target.from == Asker::Requirement && metrics.contains(&target.metric.as_str()));
    target.map(|target| format!(" (Target: {})", rule(target))).unwrap_or_default()
}

fn shown_or_not(unit: Unit, spread: Option<Spread>) -> String {
    spread.map_or_else(|| "not measured".to_owned(), |spread| shown(unit, spread))
}
