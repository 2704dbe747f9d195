//! What is shown of a judged report: the table of verdicts, and the exit code.

use anyhow::Result;
use longshore_bench::model::Report;
use longshore_bench::report::{Told, required, rule, shown_verdict, summary, title};
use longshore_bench::verdict::{JudgedBenchmark, JudgedTarget, Verdict};
use serde_json::{Value, json};

use crate::{exit, render};

/// The table of verdicts, what stands behind those that are not PASS, and the verdict of the whole.
pub(super) fn table(told: &Told<'_>) -> String {
    let mut table = render::table(["benchmark", "metric", "target", "measured", "margin", "verdict"]);
    for one in &told.judged.benchmarks {
        table.add_rows(required(one).map(|target| row(one, target)));
        if required(one).next().is_none() {
            let cells = [one.name.as_str(), "correctness", "ledger holds", "", "", one.verdict.word()];
            table.add_row(cells.map(render::harmless));
        }
    }
    let behind = told.judged.benchmarks.iter().filter(|one| !one.why.is_empty());
    let behind: String = behind.map(|one| format!("\n{}: {}: {}", one.verdict.word(), one.name, one.why.join("; "))).collect();
    let whole = if told.report.complete { "" } else { " (it was interrupted)" };
    let lines = format!("{}\n{}\nAll in all: {}{whole}", table.trim_fmt(), behind, told.judged.verdict.word());
    lines.lines().map(render::harmless).collect::<Vec<_>>().join("\n")
}

fn row(one: &JudgedBenchmark, judged: &JudgedTarget) -> [String; 6] {
    let metric = &judged.target.metric;
    let margin = judged.margin_percent.map(|margin| format!("{margin:+.1} %")).unwrap_or_default();
    let cells = [
        one.name.clone(),
        title(metric),
        rule(&judged.target),
        summary(metric, judged.measured),
        margin,
        shown_verdict(one, judged).to_owned(),
    ];
    cells.map(|cell| render::harmless(&cell))
}

/// Verdicts and conclusions for programs.
pub(super) fn as_json(told: &Told<'_>) -> Result<Value> {
    Ok(json!({ "judged": told.judged, "analysis": told.analysis, "complete": told.report.complete }))
}

/// Whether the figures are good enough: with a warning they are.
pub(super) fn code(report: &Report) -> u8 {
    match longshore_bench::verdict::judge(report).verdict {
        Verdict::Pass | Verdict::Warn => exit::DONE,
        Verdict::Inconclusive | Verdict::Fail => exit::FOUND,
    }
}
