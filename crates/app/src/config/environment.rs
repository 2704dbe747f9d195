//! The environment twins of keys: `LONGSHORE_RECORD__FRESHNESS=1s` is `record.freshness: 1s`.
//!
//! A twin is `LONGSHORE_`, then the path in capitals with `__` between its parts, `-` as `_`; an entry of `sources` is
//! named by its number or its name. Lists are written with commas, maps and sections as YAML on one line.

use std::collections::BTreeMap;

use super::keys::{Kind, keys_in};
use super::node::{Entry, Node, Value};
use super::problem::{At, Findings};
use super::suggest::nearest;
use super::yaml;

/// What all twins begin with.
const PREFIX: &str = "LONGSHORE_";
/// What begins like a twin and is none.
const OTHERS: [&str; 2] = [crate::TRACING_VARIABLE, crate::TRACING_FORMAT_VARIABLE];

/// One step into the nodes.
#[derive(Debug, Clone)]
enum Step {
    Key(&'static str),
    Entry(usize),
}

/// Where a twin leads.
struct Twin {
    steps: Vec<Step>,
    path: String,
    kind: Kind,
}

/// Writes what the environment says over what the file says.
pub(crate) fn overlay(top: &mut Node, variables: &BTreeMap<String, String>, found: &mut Findings) {
    let mut ours: Vec<(&String, &String)> = variables.iter().filter(|(name, _)| is_ours(name)).collect();
    // A whole section first, then what is in it.
    ours.sort_by_key(|(name, _)| (name.matches("__").count(), name.len(), (*name).clone()));
    for (name, text) in ours {
        let at = At::Environment(name.clone());
        let mut twins = BTreeMap::new();
        enumerate("", top, PREFIX, &[], &mut twins);
        match twins.remove(name.as_str()) {
            None => unknown(name, &at, twins.keys().map(String::as_str), found),
            Some(twin) => match value(twin.kind, text, &at) {
                Ok(node) => set(top, &twin.steps, node, &at),
                Err(message) => found.error(&at, twin.path, message),
            },
        }
    }
}

/// Kubernetes gives every container variables for the services around it, and a service may be called `longshore`.
fn is_ours(name: &str) -> bool {
    let service = |rest: &str| rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_");
    name.strip_prefix(PREFIX).is_some_and(|rest| !service(rest)) && !OTHERS.contains(&name)
}

fn unknown<'a>(name: &str, at: &At, twins: impl Iterator<Item = &'a str>, found: &mut Findings) {
    let hint = nearest(name, twins).map_or_else(
        || "'config show' lists the keys; remove the variable or correct its name".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    let message = format!("no key has this variable as its twin; {hint}");
    if name.contains("__") { found.error(at, "", message) } else { found.warn(at, "", message) }
}

/// All twins of the keys below a section, with the entries that are there now.
fn enumerate(section: &str, node: &Node, prefix: &str, steps: &[Step], twins: &mut BTreeMap<String, Twin>) {
    for key in keys_in(section) {
        let name = format!("{prefix}{}", key.name().to_ascii_uppercase());
        let steps = [steps, &[Step::Key(key.name())]].concat();
        let nothing = Node { at: At::Default, value: Value::Nothing };
        let child = child(node, key.name()).unwrap_or(&nothing);
        match (key.kind, &child.value) {
            (Kind::Entries, Value::List(entries)) => {
                for (n, entry) in entries.iter().enumerate() {
                    let steps = [steps.as_slice(), &[Step::Entry(n)]].concat();
                    for label in labels(n, entry) {
                        enumerate(&key.inside(), entry, &format!("{name}__{label}__"), &steps, twins);
                    }
                }
            }
            (Kind::Section | Kind::Feature, _) => enumerate(&key.inside(), child, &format!("{name}__"), &steps, twins),
            _ => {}
        }
        // Where two entries have one label, the first has it.
        twins.entry(name).or_insert(Twin { steps, path: key.path.to_owned(), kind: key.kind });
    }
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
        _ => None,
    }
}

/// How an entry is named in a variable: by its number, and by its name.
fn labels(n: usize, entry: &Node) -> Vec<String> {
    let mut labels = vec![n.to_string()];
    if let Some(Value::Text(name)) = child(entry, "name").map(|node| &node.value) {
        labels.push(name.to_ascii_uppercase().replace('-', "_"));
    }
    labels
}

fn value(kind: Kind, text: &str, at: &At) -> Result<Node, String> {
    let flow = text.trim_start().starts_with(['[', '{']);
    let node = match kind {
        Kind::Texts | Kind::TextOrTexts | Kind::Integers(..) | Kind::Times(..) if !flow => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Node { at: at.clone(), value: Value::List(items.map(|item| Node::text(at.clone(), item)).collect()) }
        }
        Kind::Texts
        | Kind::TextOrTexts
        | Kind::Integers(..)
        | Kind::Times(..)
        | Kind::Map(_)
        | Kind::Section
        | Kind::Feature
        | Kind::Entries => yaml::read_strictly(text).map_err(|problem| problem.message)?,
        _ => Node::text(at.clone(), text),
    };
    Ok(node.moved_to(at))
}

/// Puts the node at the end of the steps; sections on the way are made.
fn set(node: &mut Node, steps: &[Step], new: Node, at: &At) {
    let Some((step, rest)) = steps.split_first() else {
        *node = new;
        return;
    };
    match step {
        Step::Entry(n) => {
            if let Value::List(entries) = &mut node.value
                && let Some(entry) = entries.get_mut(*n)
            {
                set(entry, rest, new, at);
            }
        }
        Step::Key(key) => {
            // Anything else that stands there is refused later, where the file has it.
            if node.value == Value::Nothing {
                *node = Node { at: at.clone(), value: Value::Map(Vec::new()) };
            }
            if let Value::Map(entries) = &mut node.value {
                let there = entries.iter().position(|entry| entry.key == *key);
                let n = there.unwrap_or_else(|| {
                    let nothing = Node { at: at.clone(), value: Value::Nothing };
                    entries.push(Entry { key: (*key).to_owned(), at: at.clone(), node: nothing });
                    entries.len() - 1
                });
                set(&mut entries[n].node, rest, new, at);
            }
        }
    }
}
