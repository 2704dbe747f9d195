//! The tables of verdicts.

use super::{badge, table};
use crate::model::Benchmark;
use crate::report::Told;
use crate::report::catalogue::HEADLINES;
use crate::report::escape::html;
use crate::report::facts::{budgets, margin, required, rule, shown_verdict, summary, title};
use crate::verdict::{JudgedBenchmark, JudgedTarget};

/// Every target: what was asked, what was measured.
pub(super) fn verdicts(told: &Told<'_>) -> String {
    let head = ["Benchmark", "Requirement", "Target", "Measured (lowest – highest)", "Margin", "Verdict", "Own budget"];
    let rows: Vec<Vec<String>> = told.judged.benchmarks.iter().enumerate().flat_map(|(at, one)| of_benchmark(at, one)).collect();
    format!(
        "<section id=\"verdicts\">\n<h2>Verdicts</h2>\n<p class=\"dim\">Measured is the median of the repeats. A budget is Longshore's own, \
         harder aim; it makes no verdict.</p>\n{}</section>\n",
        table("Verdicts", &head, &[2, 3, 4], &rows)
    )
}

fn of_benchmark(at: usize, one: &JudgedBenchmark) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = required(one).map(|target| row(at, one, target)).collect();
    if !rows.is_empty() {
        return rows;
    }
    let [dash, none] = ["–", "–"].map(str::to_owned);
    let (verdict, budgets) = (badge(one.verdict.word(), ""), html(&budgets(one, "")));
    vec![vec![link(at, one), "correctness".to_owned(), "ledger holds".to_owned(), dash, none, verdict, budgets]]
}

fn link(at: usize, one: &JudgedBenchmark) -> String {
    format!("<a href=\"#b{at}\">{}</a>", html(&one.name))
}

fn row(at: usize, one: &JudgedBenchmark, judged: &JudgedTarget) -> Vec<String> {
    let metric = &judged.target.metric;
    vec![
        link(at, one),
        html(&title(metric)),
        html(&rule(&judged.target)),
        html(&summary(metric, judged.measured)),
        margin(judged.margin_percent),
        badge(shown_verdict(one, judged), ""),
        html(&budgets(one, metric)),
    ]
}

/// The requirements' own table.
pub(super) fn headlines(told: &Told<'_>) -> String {
    let row = |line: &crate::report::catalogue::Headline| {
        let judged = told.judged.of(line.benchmark);
        let target = judged.and_then(|one| one.targets.iter().find(|t| t.target.metric == line.metric && t.verdict.is_some()));
        let (measured, word) = match (judged, target) {
            (Some(one), Some(target)) => (summary(line.metric, target.measured), shown_verdict(one, target)),
            _ => ("not run".to_owned(), "–"),
        };
        [line.title, line.requirement, line.target, line.baseline]
            .map(html)
            .into_iter()
            .chain([html(&measured), badge(word, "")])
            .collect()
    };
    let rows: Vec<Vec<String>> = HEADLINES.iter().map(row).collect();
    let head = ["Metric", "NFR", "Target", "Baseline of the system before", "Measured", "Verdict"];
    format!(
        "<section id=\"targets\">\n<h2>Performance targets</h2>\n{}</section>\n",
        table("Performance targets", &head, &[], &rows)
    )
}

/// The metrics of each repeat, as they were measured.
pub(super) fn raw(benchmark: &Benchmark) -> String {
    let mut metrics: Vec<&String> = benchmark.repeats.iter().flat_map(|repeat| repeat.metrics.keys()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let value =
        |metric: &String, at: usize| benchmark.repeats[at].metrics.get(metric).map_or("–".to_owned(), ToString::to_string);
    let row = |metric: &&String| {
        let values = (0..benchmark.repeats.len()).map(|at| value(metric, at));
        std::iter::once(format!("<code>{}</code>", html(metric))).chain(values).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = metrics.iter().map(row).collect();
    let names: Vec<String> = (1..=benchmark.repeats.len()).map(|at| format!("repeat {at}")).collect();
    let head: Vec<&str> = std::iter::once("metric").chain(names.iter().map(String::as_str)).collect();
    let numbers: Vec<usize> = (1..head.len()).collect();
    format!("<details><summary>Every metric of every repeat</summary>\n{}</details>\n", table("Metrics", &head, &numbers, &rows))
}
