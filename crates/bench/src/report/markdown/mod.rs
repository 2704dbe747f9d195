//! The report in Markdown: the headings of the requirements' template in their order, and the verdict before them.

mod closing;
mod results;

pub(in crate::report) use closing::configuration;

use super::Told;
use super::catalogue::HEADLINES;
use super::escape::{code, markdown as text, sentence};
use super::facts::{budgets, margin, required, rule, shown_verdict, summary, title};
use crate::model::Tier;
use crate::verdict::{JudgedBenchmark, JudgedTarget};

/// The whole document.
pub(super) fn document(told: &Told<'_>) -> String {
    let parts = [
        "# Kafka Pipeline Performance Benchmarks".to_owned(),
        "Performance benchmark results and analysis of Longshore, a Kafka-based attachment processing pipeline.".to_owned(),
        verdict(told),
        overview(told),
        targets(told),
        running(),
        results::chapter(told),
        "---".to_owned(),
        closing::analysis(told),
        closing::recommendations(told),
        closing::environment(told),
        closing::regression(),
        closing::appendix(told),
    ];
    parts.join("\n\n") + "\n"
}

/// The name of a tier.
pub(in crate::report) fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Fast => "fast",
        Tier::Full => "full",
        Tier::Release => "release",
    }
}

fn verdict(told: &Told<'_>) -> String {
    let mut lines = vec!["## Verdict".to_owned(), format!("**{}**", told.judged.verdict.word())];
    lines.extend((!told.judged.why.is_empty()).then(|| {
        let why: Vec<String> = told.judged.why.iter().map(|why| format!("- {}", text(why))).collect();
        why.join("\n")
    }));
    let head = "| Benchmark | Requirement | Target | Measured (lowest – highest) | Margin | Verdict | Own budget |\n|---|---|---|---|---|---|---|";
    let rows: Vec<String> = told.judged.benchmarks.iter().flat_map(rows).collect();
    lines.push(format!("{head}\n{}", rows.join("\n")));
    let noted: Vec<String> = told.judged.benchmarks.iter().filter(|one| !one.why.is_empty()).map(note).collect();
    lines.extend((!noted.is_empty()).then(|| noted.join("\n")));
    lines.push(
        "Measured is the median of the repeats. A budget is Longshore's own, harder aim: it is shown with its margin and makes no verdict."
            .to_owned(),
    );
    lines.join("\n\n")
}

fn note(one: &JudgedBenchmark) -> String {
    format!("- {} is {}: {}", code(&one.name), one.verdict.word(), text(&one.why.join("; ")))
}

/// A row for each requirement. Correctness counts where nothing is asked.
fn rows(one: &JudgedBenchmark) -> Vec<String> {
    let rows: Vec<String> = required(one).map(|target| row(one, target)).collect();
    match rows.is_empty() {
        true => vec![format!(
            "| {} | correctness | ledger holds | – | – | {} | {} |",
            code(&one.name),
            one.verdict.word(),
            budgets(one, "")
        )],
        false => rows,
    }
}

fn row(one: &JudgedBenchmark, judged: &JudgedTarget) -> String {
    let metric = &judged.target.metric;
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        code(&one.name),
        text(&title(metric)),
        rule(&judged.target),
        summary(metric, judged.measured),
        margin(judged.margin_percent),
        shown_verdict(one, judged),
        text(&budgets(one, metric))
    )
}

fn overview(told: &Told<'_>) -> String {
    let report = told.report;
    let scaled: Vec<String> = report.benchmarks.iter().filter(|one| one.load.scale != 1.0).map(|one| code(&one.name)).collect();
    let small = match scaled.is_empty() {
        true => "Every load has its full size.".to_owned(),
        false => format!("Scaled down: {}.", scaled.join(", ")),
    };
    format!(
        "## Overview\n\nThis document contains performance benchmark results validating the pipeline against Non-Functional Requirements \
         (NFRs) defined in the implementation plan. Nothing is mocked: a real log, a real HTTP origin, a real store and Delta tables, \
         every worker a process of its own.\n\nTier {}, {} benchmarks, begun {}{}. {small} Beside this document lie `report.html` \
         (the same with plots) and `report.json` (every figure).",
        tier(report.tier),
        report.benchmarks.len(),
        text(&report.started_at),
        report.finished_at.as_ref().map_or(", not finished".to_owned(), |at| format!(", ended {}", text(at))),
    )
}

fn targets(told: &Told<'_>) -> String {
    let row = |line: &super::catalogue::Headline| {
        let judged = told.judged.of(line.benchmark);
        let target = judged.and_then(|one| one.targets.iter().find(|t| t.target.metric == line.metric && t.verdict.is_some()));
        let (measured, margin, verdict, budget) = match (judged, target) {
            (Some(one), Some(target)) => (
                summary(line.metric, target.measured),
                margin(target.margin_percent),
                shown_verdict(one, target),
                text(&budgets(one, line.metric)),
            ),
            _ => ("not run".to_owned(), "–".to_owned(), "–", "–".to_owned()),
        };
        format!(
            "| {} | {} | {} | {} | {measured} | {margin} | {verdict} | {budget} |",
            line.title, line.target, line.baseline, line.requirement
        )
    };
    let rows: Vec<String> = HEADLINES.iter().map(row).collect();
    format!(
        "## Performance Targets\n\n| Metric | Target | Current Baseline | NFR ID | Measured | Margin | Verdict | Own budget |\n\
         |--------|--------|------------------|--------|----------|--------|---------|------------|\n{}\n\n\
         The baseline is that of the system that the requirements were written for.",
        rows.join("\n")
    )
}

fn running() -> String {
    let fenced = |lines: &str| format!("```bash\n{lines}\n```");
    [
        "## Running Benchmarks".to_owned(),
        "### Quick Test (Fast Benchmarks Only)".to_owned(),
        fenced("longshore bench run --tier fast"),
        "### Full Test Suite (Including Slow Benchmarks)".to_owned(),
        fenced("longshore bench run --tier full --out ./bench\nlongshore bench run --tier release --out ./bench    # with the soak of an hour"),
        "### Individual Benchmark Categories".to_owned(),
        fenced(
            "# What there is\nlongshore bench list\n\n# Throughput benchmarks\nlongshore bench run event_ingestion_throughput \
             download_worker_throughput result_processor_throughput sustained_throughput\n\n# Latency benchmarks\nlongshore bench run \
             end_to_end_latency latency_under_load latency_percentiles\n\n# Resource usage benchmarks\nlongshore bench run \
             memory_usage_under_load download_concurrency consumer_lag_recovery cpu_usage_under_load",
        ),
    ]
    .join("\n\n")
}

/// A numbered list of our own sentences, each with the rules that it stands on; `none` where it is empty.
fn numbered(items: impl IntoIterator<Item = String>, none: &str) -> String {
    let lines: Vec<String> = items.into_iter().enumerate().map(|(at, item)| format!("{}. {item}", at + 1)).collect();
    if lines.is_empty() { none.to_owned() } else { lines.join("\n") }
}

/// The rules that a conclusion cites.
fn cited(rules: &[&str]) -> String {
    format!("_(rule {})_", rules.join(", "))
}

/// Advice with its rules.
fn advised(advice: &crate::analysis::Advice) -> String {
    format!("{} {}", sentence(&advice.text), cited(&advice.rules))
}
