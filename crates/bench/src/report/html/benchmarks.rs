//! A section for each benchmark, and a word on those that were not run.

use super::{badge, plots, table, tables};
use crate::figures::Unit;
use crate::model::Benchmark;
use crate::report::Told;
use crate::report::catalogue::{CHAPTERS, block};
use crate::report::escape::{html, html_sentence};
use crate::report::facts::{ledger, load, roles};
use crate::report::markdown::tier;

/// All of them.
pub(super) fn all(told: &Told<'_>) -> String {
    let sections: String = told.report.benchmarks.iter().enumerate().map(|(at, one)| section(told, at, one)).collect();
    let ran = |name: &str| told.report.benchmarks.iter().any(|one| one.name == name);
    let known = CHAPTERS.iter().flat_map(|chapter| chapter.blocks);
    let absent: Vec<String> =
        known.filter(|block| !ran(block.name)).map(|block| format!("<code>{}</code>", block.name)).collect();
    let absent = match absent.is_empty() {
        true => String::new(),
        false => format!("<p>Not run, by the tier ({}) or by choice: {}.</p>\n", tier(told.report.tier), absent.join(", ")),
    };
    format!("<section id=\"benchmarks\">\n<h2>Benchmarks</h2>\n{absent}{sections}</section>\n")
}

fn section(told: &Told<'_>, at: usize, one: &Benchmark) -> String {
    let judged = told.judged.of(&one.name);
    let title = block(&one.name).map_or(one.name.as_str(), |block| block.title);
    let word = judged.map_or("–", |judged| judged.verdict.word());
    let why = judged
        .filter(|judged| !judged.why.is_empty())
        .map(|judged| format!("<dt>Why</dt><dd>{}</dd>", html(&judged.why.join("; "))));
    let limit = told.analysis.limit_of(&one.name).map_or("nothing was measured".to_owned(), |limit| {
        let rules = limit.rules.join(", ");
        format!("{}: {} <span class=\"dim\">(rule {rules})</span>", html_sentence(&limit.words()), html_sentence(&limit.figures))
    });
    format!(
        "<section id=\"b{at}\">\n<h3>{} {}</h3>\n<p>{}</p>\n<dl><dt>Name</dt><dd><code>{}</code></dd><dt>Load</dt><dd>{}</dd>\
         <dt>Repeats</dt><dd>{}</dd>{}<dt>Limited by</dt><dd>{limit}</dd><dt>Ledger</dt><dd>{}</dd></dl>\n{}{}{}</section>\n",
        html(title),
        badge(word, ""),
        html(&one.description),
        html(&one.name),
        html(&load(one)),
        repeats(one),
        why.unwrap_or_default(),
        html(&ledger(one)),
        plots::pictures(one),
        of_roles(one),
        tables::raw(one),
    )
}

fn repeats(one: &Benchmark) -> String {
    let each: Vec<String> = one.repeats.iter().map(|repeat| Unit::Seconds.show(repeat.duration_s)).collect();
    let late = one.repeats.iter().filter_map(|repeat| repeat.generator.as_ref()?.late_p99_s).reduce(f64::max);
    let late = late.map(|late| format!("; the generator was at most {} late for 99 of 100 messages", Unit::Seconds.show(late)));
    if each.is_empty() { "none".to_owned() } else { format!("{} ({}){}", each.len(), each.join(", "), late.unwrap_or_default()) }
}

fn of_roles(one: &Benchmark) -> String {
    let row = |role: &crate::report::facts::Role| {
        vec![
            html(&role.name),
            if role.worker { "under test" } else { "helps" }.to_owned(),
            role.processes.to_string(),
            Unit::Cores.show(role.cpu_mean),
            Unit::Cores.show(role.cpu_peak),
            Unit::Bytes.show(role.rss_mean_bytes),
            Unit::Bytes.show(role.rss_peak_bytes),
        ]
    };
    let rows: Vec<Vec<String>> = roles(one).iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["Role", "", "Processes", "Mean CPU", "Peak CPU", "Mean memory", "Peak memory"];
    table("Processor and memory by role", &head, &[2, 3, 4, 5, 6], &rows)
}
