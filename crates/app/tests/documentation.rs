//! The documentation names what the code has: outcomes, reasons and columns.

#![allow(clippy::unwrap_used)]

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The words that stand between `before` and the next quotation mark.
fn words<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

fn missing<'a>(words: Vec<&'a str>, document: &str) -> Vec<&'a str> {
    words.into_iter().filter(|word| !document.contains(&format!("| `{word}` |"))).collect()
}

#[test]
fn every_outcome_and_reason_is_documented() {
    let source = read("crates/core/src/outcome.rs");
    let named = words(&source, "=> \"");
    assert!(named.len() > 20, "the names in outcome.rs are written in another way: {named:?}");
    assert_eq!(missing(named, &read("docs/outcomes.md")), Vec::<&str>::new(), "add them to docs/outcomes.md");
}

#[test]
fn every_column_is_documented() {
    let source = read("crates/core/src/inventory.rs");
    let named = words(&source, " column(\"");
    assert!(named.len() > 30, "the columns in inventory.rs are written in another way: {named:?}");
    assert_eq!(missing(named, &read("docs/tables.md")), Vec::<&str>::new(), "add them to docs/tables.md");
}
