//! The files of a report: whole, in order, well-formed, and harmless whatever stands in them.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::path::Path;

use fixtures::*;
use longshore_bench::model::*;
use longshore_bench::report::{self, ReportError, Told};
use serde_json::Value;

/// The headings of the requirements' template.
const TEMPLATE: &str = "# Kafka Pipeline Performance Benchmarks
## Overview
## Performance Targets
## Running Benchmarks
### Quick Test (Fast Benchmarks Only)
### Full Test Suite (Including Slow Benchmarks)
### Individual Benchmark Categories
## Benchmark Results
### Throughput Benchmarks
#### Event Ingestion Throughput
#### Download Worker Throughput
#### Result Processor Throughput
#### Sustained Throughput
### Latency Benchmarks
#### End-to-End Latency
#### Latency Under Load
#### Latency Percentiles
### Resource Usage Benchmarks
#### Memory Usage Under Load
#### Download Concurrency
#### Consumer Lag Recovery
#### CPU Usage Under Load
## Performance Analysis
### Bottlenecks Identified
### Optimization Opportunities
### Scalability Assessment
## Recommendations
### Immediate Actions
### Future Improvements
## Test Environment
### Hardware Specifications
### Software Versions
### Test Configuration
## Regression Testing
### Performance Regression Thresholds
## Appendix
### Benchmark Methodology
#### Throughput Measurement
#### Latency Measurement
#### Resource Monitoring
### Interpreting Results
#### Pass/Fail Criteria
#### Margin for Test Environment";

/// What the template has no place for.
const MORE: [&str; 6] =
    ["Peak Load", "Horizontal Scaling", "Consumer Failure", "Group Coordination", "Offset Commit Behaviour", "Soak"];

fn every() -> Vec<(&'static str, Report)> {
    vec![
        ("good", good()),
        ("troubled", troubled()),
        ("interrupted", interrupted()),
        ("empty", report()),
        ("without a run", throughput(&[])),
        ("hostile", hostile()),
    ]
}

/// Headings outside fenced blocks.
fn headings(markdown: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced && line.starts_with('#') {
            found.push(line);
        }
    }
    assert!(!fenced, "a block that does not end");
    found
}

#[test]
fn the_markdown_has_every_heading_of_the_template_in_its_order_and_nothing_to_be_filled_in() {
    for (name, report) in every() {
        let markdown = report::markdown(&Told::of(&report));
        let mut found = headings(&markdown).into_iter();
        for heading in TEMPLATE.lines() {
            assert!(found.any(|one| one == heading), "{name}: {heading} is missing or out of order");
        }
        for title in MORE {
            assert!(headings(&markdown).contains(&format!("#### {title}").as_str()), "{name}: {title}");
        }
        for left in ["[TBD]", "TBD", "To be filled", "[PASS/FAIL]", "NaN", "inf/s"] {
            assert!(!markdown.contains(left), "{name}: {left}\n{markdown}");
        }
    }
}

#[test]
fn the_verdict_comes_first() {
    let markdown = report::markdown(&Told::of(&troubled()));
    assert_eq!(headings(&markdown)[1], "## Verdict");
    let table: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |start: &str| *table.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {table:#?}"));
    assert!(row("| `sustained_throughput` | Throughput | ≥ 1,000/s | 700/s (690 – 710) | −30 % | FAIL |").ends_with("| – |"));
    row("| `event_ingestion_throughput` | Throughput | ≥ 1,000/s | 900/s | −10 % | WARN |");
    row("| `latency_under_load` | Latency p95 | < 5 s | 0.45 s (0.4 – 0.5) | +91 % | INCONCLUSIVE |");
    row("| `offset_commit_behaviour` | Attachments lost | ≤ 0 | 0 | – | FAIL (ledger) |");
    assert!(markdown.contains("1 missing"), "the ledger's fault is told");
}

#[test]
fn requirements_stand_beside_baselines_and_own_budgets() {
    let markdown = report::markdown(&Told::of(&good()));
    for line in [
        "| End-to-end latency (p95) | < 5 seconds | 60-120 seconds | NFR-1.1 | 0.35 s (0.34 – 0.36) | +93 % | PASS | < 1 s: met, +65 % |",
        "| Consumer lag recovery | < 10 minutes for 100k backlog | N/A | NFR-1.4 | not run | – | – | – |",
    ] {
        assert!(markdown.contains(line), "{line}\n{markdown}");
    }
    let first = "| `event_ingestion_throughput` | Throughput | ≥ 1,000/s | 52,000/s (50,440 – 54,080) | +5,100 % | PASS | \
                 Peak memory of a worker < 128 MB: missed, −2.3 % (131 MB) |";
    assert!(markdown.contains(first), "a budget that stands beside no requirement stands beside the first: {markdown}");
    assert!(markdown.contains("Latency p95: 0.35 s (0.34 – 0.36) (Target: < 5 s)"), "{markdown}");
    assert!(markdown.contains("Share of linear scaling: 92 % (Target: ≥ 80 %)\n1 worker: 98/s, 100 % of linear\n"), "{markdown}");
    assert!(markdown.contains("#### Soak\n**Test**: `soak`") && markdown.contains("not run: this report is of the tier full"));
}

#[test]
fn the_page_is_well_formed_and_loads_nothing() {
    for (name, report) in every() {
        let page = report::html(&Told::of(&report));
        let tags = tags(&page).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        for (tag, attributes) in &tags {
            assert!(!["script", "iframe", "object", "embed", "base", "form", "img"].contains(&tag.as_str()), "{name}: <{tag}>");
            for (attribute, value) in attributes {
                assert!(!attribute.starts_with("on"), "{name}: {attribute}");
                let loads = ["href", "src", "action", "data", "srcset"].contains(&attribute.as_str());
                let inside = value.starts_with('#') || value.starts_with("data:") || value == "report.json";
                assert!(!loads || inside, "{name}: {attribute}={value}");
            }
        }
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("http"), "{name}");
        assert!(page.contains("default-src 'none'") && page.contains("lang=\"en\"") && page.contains("width=device-width"));
        assert!(!page.contains("NaN"), "{name}");
    }
}

#[test]
fn every_picture_has_words_and_says_what_was_done_to_the_system() {
    let page = report::html(&Told::of(&good()));
    let pictures: Vec<_> = tags(&page).unwrap().into_iter().filter(|(tag, _)| tag == "svg").collect();
    let spoken =
        |attributes: &Vec<(String, String)>| attributes.iter().any(|(name, _)| name == "aria-label" || name == "aria-hidden");
    assert!(pictures.len() > 50 && pictures.iter().all(|(_, attributes)| spoken(attributes)), "{}", pictures.len());
    for words in
        ["Latency by share of the messages", "Messages a second", "Messages waiting before each stage", "Resident memory by role"]
    {
        assert!(page.contains(&format!("<b>{words}</b>")), "{words}");
    }
    assert!(page.contains("Throughput by number of workers: linear up to 1,176 /s, measured up to 1,080 /s"));
    assert!(page.contains("class=\"mark\"") && page.contains(">kill download-2</text>"));
}

#[test]
fn words_from_outside_are_never_markup() {
    let told = hostile();
    let (page, markdown) = (report::html(&Told::of(&told)), report::markdown(&Told::of(&told)));
    assert!(!page.contains("<script") && !page.contains("<img"), "markup in the page");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let mut fenced = false;
    for line in markdown.lines() {
        fenced ^= line.starts_with("```");
        let outside_code: String = line.split('`').step_by(2).collect();
        assert!(fenced || !outside_code.contains("<script") && !outside_code.contains("<img"), "{line}");
        assert!(!line.starts_with("# h"), "a heading from outside");
        let (bare, pipes) = (line.replace("\\|", ""), |text: &str| text.matches('|').count());
        let columns = if line.starts_with("| `</script>") { 8 } else { pipes(&bare) };
        assert_eq!(pipes(&bare), columns, "a column from outside: {line}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("a/b");
    let written = report::write(&good(), &into).unwrap();
    let names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        ["report.json", "report.md", "report.html", "benchmarks.json", "benchmarks-bigger.json", "benchmarks-smaller.json"]
    );
    let told = |report: &Report| report::markdown(&Told::of(report));
    let read = report::read(&into.join("report.json")).unwrap();
    assert!(told(&read) == told(&good()), "the figures are those that were measured");
    assert!(report::read(&into).unwrap() == read, "a directory is its report");
    report::write(&interrupted(), &into).unwrap();
    assert!(!report::read(&into).unwrap().complete, "written over");
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), names.len(), "nothing else is left");
}

#[test]
fn what_took_no_part_is_not_shown_as_if_it_had_taken_nothing() {
    let mut report = good();
    let asleep = Process {
        cpu_mean: 0.0,
        cpu_peak: 0.0,
        cpu_s: 0.0,
        rss_mean_bytes: 0.0,
        rss_peak_bytes: 0,
        ..process("x-1", "sleeper", 0.0, 0)
    };
    report.benchmarks[0].repeats[0].processes.push(asleep);
    let told = Told::of(&report);
    assert!(!report::markdown(&told).contains("sleeper") && !report::html(&told).contains("sleeper"));
}

#[test]
fn a_report_of_before_a_field_was_added_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut value = serde_json::to_value(good()).unwrap();
    value["benchmarks"][0].as_object_mut().unwrap().remove("in_flight").unwrap();
    let path = dir.path().join("r.json");
    std::fs::write(&path, value.to_string()).unwrap();
    assert_eq!(report::read(&path).unwrap().benchmarks[0].in_flight, None);
}

#[test]
fn a_report_of_another_form_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.json");
    std::fs::write(&path, r#"{"schema": 7, "other": true}"#).unwrap();
    assert!(matches!(report::read(&path), Err(ReportError::Schema { found: 7, .. })));
    for broken in ["", "[]", "{\"schema\": 1}"] {
        std::fs::write(&path, broken).unwrap();
        assert!(matches!(report::read(&path), Err(ReportError::Form { .. })), "{broken}");
    }
    assert!(matches!(report::read(Path::new("/nowhere/r.json")), Err(ReportError::File { .. })));
}

#[test]
fn dashboards_get_names_units_and_directions() {
    let dir = tempfile::tempdir().unwrap();
    report::write(&good(), dir.path()).unwrap();
    let read = |name: &str| -> Vec<Value> { serde_json::from_slice(&std::fs::read(dir.path().join(name)).unwrap()).unwrap() };
    let (all, bigger, smaller) = (read("benchmarks.json"), read("benchmarks-bigger.json"), read("benchmarks-smaller.json"));
    assert_eq!(all.len(), bigger.len() + smaller.len());
    let find = |list: &[Value], name: &str| list.iter().find(|one| one["name"] == name).cloned();
    let rate = find(&bigger, "sustained_throughput/throughput_per_s").unwrap();
    assert_eq!((&rate["unit"], &rate["value"]), (&"1/s".into(), &4_200.0.into()));
    assert_eq!(rate["range"], "± 147");
    assert!(rate["extra"].as_str().unwrap().starts_with("bigger is better; median of 3"), "{rate}");
    let memory = find(&smaller, "memory_usage_under_load/rss_chain_peak_bytes").unwrap();
    assert_eq!((&memory["unit"], memory["value"].as_f64().unwrap().round()), (&"MB".into(), 249.0));
    assert!(
        find(&smaller, "latency_percentiles/latency_p99_s").is_some()
            && find(&bigger, "latency_percentiles/latency_p99_s").is_none()
    );
    for one in &all {
        assert!(one["value"].is_f64() && one["unit"].is_string() && one["name"].is_string(), "{one}");
    }
}

type Tag = (String, Vec<(String, String)>);

/// The tags of a page that is well-formed to the letter: every tag closed in order, every attribute quoted, every `&` an entity.
fn tags(page: &str) -> Result<Vec<Tag>, String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").ok_or("no doctype")?;
    let (mut open, mut found) = (Vec::<String>::new(), Vec::new());
    while let Some(at) = rest.find('<') {
        entities(&rest[..at])?;
        if rest[..at].contains('>') && open.last().is_none_or(|tag| tag != "style") {
            return Err(format!("a bare > in: {}", &rest[..at]));
        }
        let end = rest[at..].find('>').ok_or("a tag without an end")? + at;
        let inside = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(closed) = inside.strip_prefix('/') {
            let expected = open.pop().ok_or_else(|| format!("</{closed}> closes nothing"))?;
            if expected != closed {
                return Err(format!("<{expected}> is closed by </{closed}>"));
            }
            continue;
        }
        let (inside, empty) = inside.strip_suffix('/').map_or((inside, false), |inside| (inside, true));
        let tag = attributes(inside)?;
        if !empty {
            open.push(tag.0.clone());
        }
        found.push(tag);
    }
    if open.is_empty() && rest.trim().is_empty() { Ok(found) } else { Err(format!("left open: {open:?}, left over: {rest}")) }
}

fn attributes(inside: &str) -> Result<Tag, String> {
    let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("no tag: <{inside}>"));
    }
    let mut found = Vec::new();
    while !rest.trim().is_empty() {
        let (attribute, after) = rest.split_once("=\"").ok_or_else(|| format!("<{inside}>"))?;
        let (value, after) = after.split_once('"').ok_or_else(|| format!("<{inside}>"))?;
        entities(value)?;
        found.push((attribute.trim().to_owned(), value.to_owned()));
        rest = after;
    }
    Ok((name.to_owned(), found))
}

fn entities(text: &str) -> Result<(), String> {
    let known = |piece: &str| ["lt;", "gt;", "amp;", "quot;", "#39;"].iter().any(|entity| piece.starts_with(entity));
    let wrong = text.split('&').skip(1).find(|piece| !known(piece));
    wrong.map_or(Ok(()), |piece| Err(format!("a bare & before: {piece}")))
}
