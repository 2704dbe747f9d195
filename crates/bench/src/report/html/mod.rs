//! The report as one HTML page: it loads nothing, and works without scripts.
//!
//! *Owns*: the page's parts and their order: the verdict first. *Does not own*: the words of conclusions and figures, which
//! are those of the Markdown. Everything from the report is escaped; the page forbids itself to load anything.
//! It is well-formed XML too, so that a strict reader can check it.

mod benchmarks;
mod closing;
mod plots;
mod style;
mod svg;
mod tables;

use super::Told;
use super::escape::html;
use super::markdown::tier;
use crate::figures::command_line;
use crate::verdict::Verdict;

/// The whole page.
pub(super) fn document(told: &Told<'_>) -> String {
    let report = told.report;
    let title = format!("Longshore benchmarks: {}", told.judged.verdict.word());
    let why: String = told.judged.why.iter().map(|why| format!("<li>{}</li>", html(why))).collect();
    let why = if why.is_empty() { why } else { format!("<ul>{why}</ul>\n") };
    let ended = report.finished_at.as_ref().map_or("not finished".to_owned(), |at| format!("ended {}", html(at)));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n<title>{title}</title>\n\
         <style>{}</style>\n</head>\n<body>\n<header>\n<h1>Longshore benchmarks</h1>\n<p>{}</p>\n{why}\
         <p class=\"dim\">Tier {}, {} benchmarks, begun {}, {ended}. <code>{}</code></p>\n{}</header>\n<main>\n{}{}{}{}</main>\n</body>\n</html>\n",
        style::CSS,
        badge(told.judged.verdict.word(), "big"),
        tier(report.tier),
        report.benchmarks.len(),
        html(&report.started_at),
        html(&command_line(&report.command)),
        contents(told),
        tables::verdicts(told),
        tables::headlines(told),
        benchmarks::all(told),
        closing::all(told),
    )
}

fn contents(told: &Told<'_>) -> String {
    let link = |(at, one): (usize, &crate::model::Benchmark)| format!("<a href=\"#b{at}\">{}</a>", html(&one.name));
    let each: Vec<String> = told.report.benchmarks.iter().enumerate().map(link).collect();
    let ends = ["analysis", "environment", "raw"].map(|id| format!("<a href=\"#{id}\">{id}</a>"));
    format!("<nav aria-label=\"Contents\"><p>{}</p></nav>\n", each.into_iter().chain(ends).collect::<Vec<_>>().join(" · "))
}

/// A verdict, by its word and by its colour.
fn badge(word: &str, size: &str) -> String {
    let known = [Verdict::Pass, Verdict::Warn, Verdict::Inconclusive, Verdict::Fail].map(Verdict::word);
    let class = known.iter().find(|known| word.starts_with(**known)).copied().unwrap_or("NONE");
    let size = if size.is_empty() { String::new() } else { format!(" {size}") };
    format!("<span class=\"v {class}{size}\">{}</span>", html(word))
}

/// A table in a frame that scrolls; on a phone each row is a card, whose cells say what they are of. Cells are HTML; those of the columns in `numbers` are numbers.
fn table(caption: &str, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) -> String {
    let class = |at: usize| if numbers.contains(&at) { " class=\"n\"" } else { "" };
    let heads: String =
        head.iter().enumerate().map(|(at, name)| format!("<th scope=\"col\"{}>{}</th>", class(at), html(name))).collect();
    let of = |at: usize| html(head[at].split(" (").next().unwrap_or_default());
    let cell = |(at, cell): (usize, &String)| match (cell.as_str(), numbers.contains(&at)) {
        ("–", false) => format!("<td class=\"none\" data-of=\"{}\">–</td>", of(at)),
        ("–", true) => format!("<td class=\"n none\" data-of=\"{}\">–</td>", of(at)),
        _ => format!("<td{} data-of=\"{}\">{cell}</td>", class(at), of(at)),
    };
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table aria-label=\"{label}\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{}</tbody></table></div>\n",
        rows.iter().map(row).collect::<String>(),
        label = html(caption)
    )
}
