//! Conclusions, environment, raw data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::analysis::{Advice, Finding, RULES};
use crate::figures::command_line;
use crate::report::Told;
use crate::report::escape::{html, html_sentence};
use crate::report::markdown::configuration;

/// The largest raw report that the page carries; a larger one lies beside it only.
const CARRIED: usize = 8 << 20;

/// All of it.
pub(super) fn all(told: &Told<'_>) -> String {
    format!("{}{}{}", analysis(told), environment(told), raw(told))
}

fn analysis(told: &Told<'_>) -> String {
    let analysis = &told.analysis;
    let one = |title: &str, advice: &Advice| format!("<li><b>{title}</b>: {}</li>\n", advised(advice));
    let rules: String = RULES.iter().map(|rule| format!("<dt>{}</dt><dd>{}</dd>", rule.id, html(rule.says))).collect();
    format!(
        "<section id=\"analysis\">\n<h2>Analysis</h2>\n<h3>Bottlenecks</h3>\n{}<h3>Opportunities</h3>\n{}<h3>Scalability</h3>\n<ul>{}{}{}</ul>\n\
         <h3>To do now</h3>\n{}<h3>To do later</h3>\n{}<details><summary>The rules that conclusions cite</summary><dl>{rules}</dl></details>\n</section>\n",
        findings(&analysis.bottlenecks, ["Impact", "Mitigation"]),
        findings(&analysis.opportunities, ["Expected", "Priority"]),
        one("More workers", &analysis.horizontal),
        one("More processor and memory", &analysis.vertical),
        one("Used up", &analysis.resources),
        list(&analysis.immediate),
        list(&analysis.future),
    )
}

fn findings(findings: &[Finding], names: [&str; 2]) -> String {
    let one = |finding: &Finding| {
        format!(
            "<li><b>{}</b>: {} {}<br/>{}: {}<br/>{}: {}</li>\n",
            html(&finding.about),
            html_sentence(&finding.text),
            cited(&finding.rules),
            names[0],
            html_sentence(&finding.effect),
            names[1],
            html_sentence(&finding.answer)
        )
    };
    let all: String = findings.iter().map(one).collect();
    if all.is_empty() { "<p>None that a rule finds.</p>\n".to_owned() } else { format!("<ol>{all}</ol>\n") }
}

fn list(advice: &[Advice]) -> String {
    let all: String = advice.iter().map(|one| format!("<li>{}</li>\n", advised(one))).collect();
    if all.is_empty() { "<p>None that a rule finds.</p>\n".to_owned() } else { format!("<ol>{all}</ol>\n") }
}

fn advised(advice: &Advice) -> String {
    format!("{} {}", html_sentence(&advice.text), cited(&advice.rules))
}

fn cited(rules: &[&str]) -> String {
    format!("<span class=\"dim\">(rule {})</span>", rules.join(", "))
}

fn environment(told: &Told<'_>) -> String {
    let environment = &told.report.environment;
    let pair = |name: &str, value: &str| format!("<dt>{}</dt><dd>{}</dd>", html(name), html(value));
    let hardware = [
        pair("Processor", &format!("{}, {} cores", environment.processor, environment.cores)),
        pair("Memory", &crate::figures::Unit::Bytes.show(environment.memory_bytes as f64)),
        pair("Storage", &environment.storage),
        pair("Network", &environment.network),
        pair("OS", &environment.os),
    ];
    let versions: String = environment.versions.iter().map(|(name, version)| pair(name, version)).collect();
    let settings: String = configuration(told.report)
        .iter()
        .map(|line| line.split_once(": ").map_or_else(|| pair(line, ""), |(name, value)| pair(name, value)))
        .collect();
    format!(
        "<section id=\"environment\">\n<h2>Environment</h2>\n<h3>Hardware and versions</h3>\n<dl>{}{versions}</dl>\n<h3>Configuration</h3>\n\
         <dl>{settings}</dl>\n<h3>Command</h3>\n<pre>{}</pre>\n</section>\n",
        hardware.concat(),
        html(&command_line(&told.report.command))
    )
}

fn raw(told: &Told<'_>) -> String {
    let text = serde_json::to_vec(told.report).unwrap_or_default();
    let carried = match text.len() {
        0 => String::new(),
        1..=CARRIED => format!(
            "<p><a download=\"report.json\" href=\"data:application/json;base64,{}\">report.json</a>, as this page carries it.</p>\n",
            STANDARD.encode(&text)
        ),
        _ => "<p>It is too large for this page.</p>\n".to_owned(),
    };
    format!(
        "<section id=\"raw\">\n<h2>Raw data</h2>\n<p>Every sample, metric and distribution is in <a href=\"report.json\"><code>report.json</code></a> \
         beside this page; <code>longshore bench report report.json</code> makes the page again.</p>\n{carried}</section>\n"
    )
}
