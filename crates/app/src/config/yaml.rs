//! From the text of a YAML file to nodes with their places.
//!
//! Owns syntax: what cannot be read, keys that stand twice, anchors, and the bounds that keep a hostile file harmless.
//! Does not own: which keys there are.
//!
//! The parser is asked event by event, so that depth costs no stack; an alias is a copy, and copies are counted.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::node::{Entry, Node, Value};
use super::problem::{At, Problem};

/// The largest file, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
/// The deepest nesting of lists and maps; a right configuration needs 5.
pub(crate) const MAX_DEPTH: usize = 16;
/// The most values in a file, those that aliases repeat included.
pub(crate) const MAX_NODES: usize = 50_000;

/// Reads one document, and names the keys that stand twice; of those the first counts. Any other error ends the reading.
pub(crate) fn read(text: &str) -> Result<(Node, Vec<Problem>), Problem> {
    let mut reading = Reading::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error, text))?;
        reading.take(event, span)?;
    }
    let nothing = Node { at: At::START, value: Value::Nothing };
    Ok((reading.document.unwrap_or(nothing), reading.twice))
}

/// Reads text that nobody else writes, or that has one line: any error is the last word.
pub(crate) fn read_strictly(text: &str) -> Result<Node, Problem> {
    let (node, twice) = read(text)?;
    twice.into_iter().next().map_or(Ok(node), Err)
}

/// A list or map that is not complete yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, At)>,
}

#[derive(Default)]
struct Reading {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    document: Option<Node>,
    nodes: usize,
    twice: Vec<Problem>,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), &at)?;
                self.count(1, 0, &at)?;
                self.complete(Node { at, value: scalar(&text, style) }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(Value::List(Vec::new()), at, anchor, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.begin(Value::Map(Vec::new()), at, anchor, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.complete(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.count(node.size(), node.depth(), &at)?;
                    self.complete(node, 0)
                }
                None => Err(problem(at, "this alias stands inside the value that it repeats; write the value out")),
            },
            Event::DocumentStart(_) if self.document.is_some() => {
                Err(problem(at, "a second document begins here; keep one, without further '---' lines"))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the bounds; what an alias repeats counts as if it were written out.
    fn count(&mut self, nodes: usize, depth: usize, at: &At) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.open.len() + depth > MAX_DEPTH {
            return Err(problem(at.clone(), format!("nested deeper than {MAX_DEPTH} levels; no key needs that")));
        }
        if self.nodes > MAX_NODES {
            return Err(problem(at.clone(), format!("more than {MAX_NODES} values, with what aliases repeat; take fewer")));
        }
        Ok(())
    }

    fn begin(&mut self, value: Value, at: At, anchor: usize, tag: Option<&Tag>) -> Result<(), Problem> {
        refuse_tag(tag, &at)?;
        self.count(1, 1, &at)?;
        self.open.push(Open { node: Node { at, value }, anchor, key: None });
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.document = Some(node);
            return Ok(());
        };
        match (&mut parent.node.value, parent.key.take()) {
            (Value::Map(entries), Some((key, at))) => match entries.iter().find(|e| e.key == key) {
                Some(first) => self.twice.push(duplicate(&first.at, at, key)),
                None => entries.push(Entry { key, at, node }),
            },
            (Value::Map(_), None) => parent.key = Some(key_of(node)?),
            (Value::List(items), _) => items.push(node),
            _ => {}
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Nothing,
        _ => Value::Text(text.to_owned()),
    }
}

fn key_of(node: Node) -> Result<(String, At), Problem> {
    match node.value {
        Value::Text(key) => Ok((key, node.at)),
        _ => Err(problem(node.at, "a key must be a plain word")),
    }
}

fn duplicate(first: &At, at: At, key: String) -> Problem {
    let line = if let At::File { line, .. } = first { *line } else { 0 };
    Problem { at, key, message: format!("stands here a second time, first in line {line}; remove one of the two") }
}

/// Types of values are said by the key; tags of the core schema change nothing and are let through.
fn refuse_tag(tag: Option<&Tag>, at: &At) -> Result<(), Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(problem(at.clone(), "YAML tags (!word) have no meaning here; remove it, or put the value in quotes"))
        }
        _ => Ok(()),
    }
}

fn syntax(error: &ScanError, text: &str) -> Problem {
    let mut at = place(error.marker());
    let remedy = match error.info() {
        info if info.contains('\t') || info.contains("tab") => "indent with spaces",
        info if info.contains("simple key") || info.contains("expected ':'") || info.contains("could not find") => {
            at = last_written(at, text);
            "look at this line for a missing ':' or a wrong indentation"
        }
        info if info.contains("anchor") => "define it above with '&name', or put a text that begins with '*' in quotes",
        _ => "look for a missing quote, bracket or ':' at or above this line; values with special characters need quotes",
    };
    problem(at, format!("not valid YAML: {}; {remedy}", error.info()))
}

/// The parser notices a missing colon only in a later line: goes back to the last one with something in it.
fn last_written(at: At, text: &str) -> At {
    match at {
        At::File { line, column: 1 } => {
            let before = text.lines().take(line.saturating_sub(1)).enumerate();
            let written = before.filter(|(_, text)| !text.trim().is_empty()).last();
            written.map_or(At::START, |(n, text)| At::File { line: n + 1, column: text.len() - text.trim_start().len() + 1 })
        }
        elsewhere => elsewhere,
    }
}

fn problem(at: At, message: impl Into<String>) -> Problem {
    Problem { at, key: String::new(), message: message.into() }
}

/// The parser counts columns from 0.
fn place(mark: &Marker) -> At {
    At::File { line: mark.line().max(1), column: mark.col() + 1 }
}
