//! The documentation names what the code has, no less and no more: outcomes, reasons, columns and metrics.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use longshore::sight::names::{METRICS, Metric};
use longshore_core::file_type::FileTypes;
use longshore_core::inventory::Shape;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::row::TableSpec;
use longshore_core::source::{Identity, Mapping, PRESETS, Source};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names that an enum of outcome.rs spells, in the arms of its `as_str`.
fn names_of(kind: &str) -> BTreeSet<String> {
    let source = read("crates/core/src/outcome.rs");
    let arms = source.lines().filter_map(|line| line.trim().strip_prefix(kind)?.split_once(" => \""));
    let names: BTreeSet<String> = arms.map(|(_, rest)| rest.split('"').next().unwrap().to_owned()).collect();
    assert!(names.len() > 4, "the names in outcome.rs are written in another way: {names:?}");
    names
}

/// What stands below the heading that begins so, down to the next heading of its level or above.
fn section(document: &str, heading: &str) -> String {
    let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
    let mut lines = document.lines().skip_while(|line| !line.starts_with(heading));
    let first = lines.next().unwrap_or_else(|| panic!("there is no heading '{heading}'"));
    let own = lines.take_while(|line| level(line) == 0 || level(line) > level(first));
    own.collect::<Vec<_>>().join("\n")
}

/// The rows of the tables in a text; each cell without its back quotes.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    lines.map(cells).collect()
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

#[test]
fn every_class_is_documented_and_no_other() {
    let document = read("docs/outcomes.md");
    let documented = set(rows(&section(&document, "## Classes")).into_iter().map(|row| row[0].clone()));
    assert_eq!(documented, names_of("Class::"));
}

#[test]
fn every_reason_is_documented_and_no_other_with_all_that_is_to_be_said() {
    let document = read("docs/outcomes.md");
    let rows = rows(&section(&document, "## Every outcome"));
    assert_eq!(set(rows.iter().map(|row| row[0].clone())), names_of("Reason::"));
    let classes = names_of("Class::");
    for row in &rows {
        assert_eq!(row.len(), 5, "reason, class, causes, seen, what to do: {row:?}");
        assert!(classes.contains(&row[1]) && row[1] != "stored", "{row:?}");
        assert!(row[2..].iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
    assert_eq!(set(rows.iter().map(|row| &row[..2])).len(), rows.len(), "each pair has one line");
    let used = set(rows.iter().map(|row| row[1].clone()));
    let unused: Vec<_> = classes.difference(&used).collect();
    assert_eq!(unused, ["stored"]);
}

/// The pairs of class and reason that the code writes side by side.
fn pairs_in_code() -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for crate_name in ["core", "origin", "stages", "lake"] {
        visit(&root().join("crates").join(crate_name).join("src"), &mut |source| {
            // Tests stand at the end of a file, and may pair what they like.
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for rest in code.split("Failure::new(Class::").skip(1) {
                let rest: String = rest.split_whitespace().collect();
                let Some((class, reason)) = rest.split_once(",Reason::") else { continue };
                let word = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap().to_owned();
                if class.chars().all(char::is_alphabetic) {
                    pairs.insert((snake(&word(reason)), snake(class)));
                }
            }
        });
    }
    pairs
}

fn visit(directory: &Path, look: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            visit(&path, look);
        } else if name.ends_with(".rs") && !name.ends_with("_tests.rs") {
            look(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// `HttpStatus` as it is shown: `http_status`.
fn snake(name: &str) -> String {
    let spell = |(at, c): (usize, char)| {
        if c.is_uppercase() && at > 0 { format!("_{}", c.to_lowercase()) } else { c.to_lowercase().to_string() }
    };
    name.chars().enumerate().map(spell).collect()
}

#[test]
fn every_pair_of_class_and_reason_in_the_code_is_documented() {
    let document = read("docs/outcomes.md");
    let documented = set(rows(&section(&document, "## Every outcome")).into_iter().map(|row| (row[0].clone(), row[1].clone())));
    let pairs = pairs_in_code();
    assert!(pairs.len() > 15, "failures are written in another way: {pairs:?}");
    let missing: Vec<_> = pairs.difference(&documented).collect();
    assert!(missing.is_empty(), "add them to docs/outcomes.md: {missing:?}");
}

#[test]
fn every_column_is_documented_in_its_order() {
    let (document, shape) = (read("docs/tables.md"), Shape::of("urls"));
    for (heading, spec) in [
        ("## `{source}_attachments`", shape.attachments_table()),
        ("## `{source}_attachments_failed`", shape.failed_table()),
        ("## `{source}_events`", shape.events_table()),
    ] {
        let documented: Vec<String> = rows(&section(&document, heading)).into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(documented, names(&spec), "{heading}");
    }
}

#[test]
fn every_metric_is_documented_as_it_is_exported_and_no_other() {
    let documented = rows(&section(&read("docs/operations.md"), "## Metrics"));
    let documented: Vec<Vec<String>> = documented.into_iter().filter(|row| row.len() == 5).collect();
    let labels = |metric: &Metric| metric.labels.join("`, `");
    let known = METRICS.iter().map(|metric| {
        let labels = if metric.labels.is_empty() { "none".to_owned() } else { labels(metric) };
        [metric.name, metric.kind.as_str(), metric.unit, &labels, metric.help].map(str::to_owned).to_vec()
    });
    assert_eq!(documented, known.collect::<Vec<_>>());
}

fn names(spec: &TableSpec) -> Vec<String> {
    spec.columns.iter().map(|column| column.name.clone()).collect()
}

fn source(preset: &str) -> Source {
    Source {
        name: "s".to_owned(),
        mapping: Mapping::preset(preset).unwrap(),
        identity: Identity::default(),
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{media_id}").unwrap(),
        route: None,
        enrich: None,
    }
}

#[test]
fn every_column_of_every_preset_is_documented_and_no_other() {
    let document = read("docs/tables.md");
    for preset in PRESETS {
        let shape = source(preset).shape();
        let of = |table: &'static str, columns: &[String]| {
            columns.iter().map(move |c| (c.clone(), table.to_owned())).collect::<Vec<_>>()
        };
        let all = [of("attachments", &shape.attachments), of("failed", &shape.failed), of("events", &shape.events)];
        let rows = rows(&section(&document, &format!("### `{preset}`")));
        let each = |row: &Vec<String>| row[1].split(", ").map(|table| (row[0].clone(), table.to_owned())).collect::<Vec<_>>();
        assert_eq!(set(rows.iter().flat_map(each)), set(all.concat()), "{preset}");
    }
}
