//! From nodes to typed values: unknown keys, missing keys and values of another kind are found here, all at once, and
//! defaults are filled in. What the values mean together is looked at later (`ready`).

use super::keys::{Fallback, Key, Kind, keys_in};
use super::node::{Entry, Node, Value};
use super::problem::{At, Findings};
use super::reference::{Surroundings, resolve};
use super::scalar;
use super::suggest::nearest;
use super::typed::{Item, Section, Spot, Typed, join};
use super::{keys, yaml};

/// What checking needs beside the nodes.
pub(crate) struct Check<'a> {
    pub(crate) around: &'a Surroundings,
    pub(crate) found: &'a mut Findings,
}

impl Check<'_> {
    /// The whole configuration.
    pub(crate) fn top(&mut self, node: &Node) -> Section {
        self.section("", "", node)
    }

    /// A section: `table` is its path in the table of keys, `path` that in messages.
    fn section(&mut self, table: &str, path: &str, node: &Node) -> Section {
        let nothing = Vec::new();
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Nothing => &nothing,
            _ => {
                let known: Vec<&str> = keys_in(table).map(Key::name).collect();
                let message =
                    format!("expects keys, and there is {}; write 'key: value' lines, with {}", node.kind(), known.join(", "));
                self.found.error(&node.at, path, message);
                return Section {
                    at: node.at.clone(),
                    path: path.to_owned(),
                    items: Vec::new(),
                    wrong: keys_in(table).map(Key::name).collect(),
                };
            }
        };
        for entry in entries.iter().filter(|e| keys_in(table).all(|key| key.name() != e.key)) {
            self.found.error(&entry.at, join(path, &entry.key), unknown(table, &entry.key));
        }
        let mut section = Section { at: node.at.clone(), path: path.to_owned(), items: Vec::new(), wrong: Vec::new() };
        for key in keys_in(table) {
            let entry = entries.iter().find(|entry| entry.key == key.name());
            match self.item(key, entry, &join(path, key.name()), &node.at) {
                Some(item) => section.items.push(item),
                None if entry.is_some() => section.wrong.push(key.name()),
                None => {}
            }
        }
        section
    }

    fn item(&mut self, key: &'static Key, entry: Option<&Entry>, path: &str, section_at: &At) -> Option<Item> {
        match entry {
            Some(entry) => {
                // A section is named where its key is; a value where it stands itself.
                let at = if key.is_section() { &entry.at } else { &entry.node.at };
                let value = self.value(key, &entry.node, path)?;
                Some(Item { key, at: at.clone(), value })
            }
            None => self.absent(key, path, section_at),
        }
    }

    fn absent(&mut self, key: &'static Key, path: &str, section_at: &At) -> Option<Item> {
        let node = match key.default {
            Fallback::Required => {
                let example = if key.example.is_empty() { String::new() } else { format!(" (for example {})", key.example) };
                let message = format!("is missing; add {}:{example} {}", key.name(), lower_first(key.doc));
                self.found.error(section_at, path, message);
                return None;
            }
            Fallback::Is(yaml) => default_node(yaml),
            Fallback::Absent if key.kind == Kind::Section => Node { at: At::Default, value: Value::Nothing },
            Fallback::Absent | Fallback::Depends(_) => return None,
        };
        let value = self.value(key, &node, path)?;
        Some(Item { key, at: At::Default, value })
    }

    fn value(&mut self, key: &'static Key, node: &Node, path: &str) -> Option<Typed> {
        if !key.if_empty.is_empty() && node.value == Value::List(Vec::new()) {
            self.found.error(&node.at, path, format!("is an empty list: {}", key.if_empty));
        }
        match (key.kind, &node.value) {
            (Kind::Section | Kind::Feature, _) => Some(Typed::Section(self.section(&key.inside(), path, node))),
            (Kind::Map(_), Value::Nothing) => Some(Typed::Map(Vec::new())),
            (_, Value::Nothing) => self.refuse(&node.at, path, "has no value; write one, or remove the line for the default"),
            (Kind::Entries, Value::List(nodes)) => Some(Typed::Entries(self.entries(key, nodes, path))),
            (Kind::Map(_), Value::Map(entries)) => Some(Typed::Map(self.map(key, entries, path))),
            (Kind::Texts | Kind::TextOrTexts, Value::List(nodes)) => Some(Typed::Texts(self.texts(nodes, path))),
            (Kind::TextOrTexts, Value::Text(_)) => Some(Typed::Texts(vec![self.spot(node, path)?])),
            (Kind::Integers(..) | Kind::Times(..), Value::List(nodes)) => {
                let numbers = nodes.iter().enumerate().filter_map(|(n, node)| {
                    let path = format!("{path}[{n}]");
                    let spot = self.spot(node, &path)?;
                    let number = scalar::number(&spot.text, &spot.shown, key.kind);
                    Some((spot.at.clone(), self.found.keep(&spot.at, &path, number)?))
                });
                Some(Typed::Numbers(numbers.collect()))
            }
            (kind, Value::Text(_)) if is_single(kind) => self.single(key, node, path),
            _ => self.refuse(&node.at, path, wrong_kind(key, node)),
        }
    }

    fn refuse<T>(&mut self, at: &At, path: &str, message: impl Into<String>) -> Option<T> {
        self.found.error(at, path, message);
        None
    }

    fn entries(&mut self, key: &'static Key, nodes: &[Node], path: &str) -> Vec<Section> {
        let table = key.inside();
        nodes.iter().enumerate().map(|(n, node)| self.section(&table, &format!("{path}[{n}]"), node)).collect()
    }

    fn texts(&mut self, nodes: &[Node], path: &str) -> Vec<Spot> {
        nodes.iter().enumerate().filter_map(|(n, node)| self.spot(node, &format!("{path}[{n}]"))).collect()
    }

    fn map(&mut self, key: &'static Key, entries: &[Entry], path: &str) -> Vec<(String, At, Spot)> {
        let spots = entries.iter().filter_map(|entry| {
            let path = join(path, &entry.key);
            let mut spot = self.spot(&entry.node, &path)?;
            if key.hides(&entry.key) {
                self.hide(&mut spot, &path);
            }
            Some((entry.key.clone(), entry.at.clone(), spot))
        });
        spots.collect()
    }

    /// A single value as text, its references replaced.
    fn spot(&mut self, node: &Node, path: &str) -> Option<Spot> {
        let Value::Text(written) = &node.value else {
            return self.refuse(&node.at, path, format!("expects a single value, and there is {}; write one text", node.kind()));
        };
        let resolved = self.found.keep(&node.at, path, resolve(written, self.around))?;
        resolved.values.iter().for_each(|value| self.found.hide(value));
        Some(Spot { at: node.at.clone(), text: resolved.text, shown: resolved.shown, references: resolved.references })
    }

    fn single(&mut self, key: &'static Key, node: &Node, path: &str) -> Option<Typed> {
        let mut spot = self.spot(node, path)?;
        let (text, shown) = (spot.text.as_str(), spot.shown.as_str());
        match key.kind {
            Kind::Flag => self.found.keep(&node.at, path, scalar::flag(text, shown)).map(Typed::Flag),
            Kind::Choice(words) => {
                self.found.keep(&node.at, path, scalar::choice(text, shown, words))?;
                Some(Typed::Text(spot))
            }
            Kind::Integer(..) | Kind::Time(..) | Kind::Size(..) => {
                self.found.keep(&node.at, path, scalar::number(text, shown, key.kind)).map(Typed::Number)
            }
            _ if spot.text.trim().is_empty() => {
                self.refuse(&node.at, path, "is empty; write a text, or remove the line for the default")
            }
            _ => {
                if key.hides(key.name()) {
                    self.hide(&mut spot, path);
                }
                Some(Typed::Text(spot))
            }
        }
    }

    /// Makes a secret of a text.
    fn hide(&mut self, spot: &mut Spot, path: &str) {
        let written = spot.references.is_empty() && matches!(spot.at, At::File { .. });
        if written && !spot.text.is_empty() {
            let remedy = "a secret in plain text; write ${env:NAME} or ${file:/path} and keep it out of this file";
            self.found.warn(&spot.at, path, remedy);
        }
        self.found.hide(&spot.text);
        spot.shown = "***".to_owned();
    }
}

fn is_single(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Secret | Kind::Flag | Kind::Choice(_) | Kind::Integer(..) | Kind::Time(..) | Kind::Size(..))
}

fn wrong_kind(key: &Key, node: &Node) -> String {
    let (expects, remedy) = match key.kind {
        Kind::Entries => ("a list of sections", format!("begin each with '- ', as in {}:\\n  - …", key.name())),
        Kind::Map(_) => ("names with texts", format!("write {}: {{name: text}}", key.name())),
        Kind::Texts | Kind::Integers(..) | Kind::Times(..) => ("a list", format!("write {}: [one, another]", key.name())),
        Kind::TextOrTexts => ("a text or a list of texts", format!("write {}: [one, another]", key.name())),
        _ => ("a single value", format!("write {}: value", key.name())),
    };
    let example = if key.example.is_empty() {
        remedy.replace("\\n  ", " ")
    } else {
        format!("write for example {}: {}", key.name(), key.example)
    };
    format!("expects {expects}, and there is {}; {example}", node.kind())
}

/// What to say about a key that is not known.
fn unknown(table: &str, key: &str) -> String {
    if key == "<<" {
        return "merge keys are not supported; repeat the keys, or use an alias (*name) for a whole value".to_owned();
    }
    if let Some(near) = nearest(key, keys_in(table).map(Key::name)) {
        return format!("unknown key; did you mean {near}?");
    }
    if let Some(elsewhere) = keys::KEYS.iter().find(|k| k.name() == key) {
        return format!("unknown key here; it belongs to {}", elsewhere.path);
    }
    let known: Vec<&str> = keys_in(table).map(Key::name).collect();
    format!("unknown key; known here are {}", known.join(", "))
}

fn default_node(yaml: &str) -> Node {
    // Each default is read by a test; a broken one would count as absent.
    let node = yaml::read_strictly(yaml).unwrap_or(Node { at: At::Default, value: Value::Nothing });
    node.moved_to(&At::Default)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
