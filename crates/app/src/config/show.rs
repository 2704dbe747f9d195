//! What a configuration amounts to: every key with its value and where that is from. Secrets are hidden.

use serde_json::{Value, json};

use super::keys::{KEYS, Kind};
use super::problem::At;
use super::typed::{Item, Section, Spot, Typed};
use crate::place::Lane;

/// Where the values after `#` begin at the least.
const COLUMN: usize = 48;

/// Writes out what follows from a source's name and preset, so that it is shown as well.
pub(crate) fn write_out(top: &mut Section, lanes: &[Lane]) {
    let Some(Typed::Entries(sources)) = top.items.iter_mut().find(|item| item.key.path == "sources").map(|item| &mut item.value)
    else {
        return;
    };
    for (section, lane) in sources.iter_mut().zip(lanes) {
        let text = |text: &str| Spot { at: At::Default, text: text.to_owned(), shown: text.to_owned(), references: Vec::new() };
        let types = lane.source.file_types.allowed.as_ref();
        let types = types.map_or_else(|| vec![text("any")], |types| types.iter().map(|one| text(one)).collect());
        let derived = [
            ("sources[].topic", Typed::Text(text(&lane.topics.raw()))),
            ("sources[].file_types", Typed::Texts(types)),
            ("sources[].path", Typed::Text(text(lane.source.mapping.default_path()))),
        ];
        for (path, value) in derived {
            let position = |path: &str| KEYS.iter().position(|key| key.path == path);
            if let Some(key) = KEYS.iter().find(|key| key.path == path).filter(|key| section.lacks(key.name())) {
                let at = section.items.partition_point(|item| position(item.key.path) < position(path));
                section.items.insert(at, Item { key, at: At::Default, value });
            }
        }
    }
}

/// As YAML, with the origin of each value behind it.
pub(crate) fn as_yaml(file: &str, top: &Section) -> String {
    let mut text = String::new();
    lines(file, top, 0, &mut text);
    text
}

fn lines(file: &str, section: &Section, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    for item in &section.items {
        let name = item.key.name();
        match &item.value {
            Typed::Section(inner) if inner.items.is_empty() => line(&format!("{pad}{name}: {{}}"), &origin(file, item), text),
            Typed::Section(inner) => {
                text.push_str(&format!("{pad}{name}:\n"));
                lines(file, inner, indent + 2, text);
            }
            Typed::Entries(entries) => {
                text.push_str(&format!("{pad}{name}:\n"));
                for entry in entries {
                    let mut inner = String::new();
                    lines(file, entry, indent + 4, &mut inner);
                    let dash = format!("{pad}  - ");
                    text.push_str(&inner.replacen(&" ".repeat(indent + 4), &dash, 1));
                }
            }
            Typed::Map(entries) if !entries.is_empty() => {
                text.push_str(&format!("{pad}{name}:\n"));
                for (name, _, spot) in entries {
                    line(
                        &format!("{pad}  {}: {}", quote(name), quote(&spot.shown)),
                        &from(file, &spot.at, &spot.references),
                        text,
                    );
                }
            }
            _ => line(&format!("{pad}{name}: {}", single(item)), &origin(file, item), text),
        }
    }
}

fn line(content: &str, origin: &str, text: &mut String) {
    text.push_str(&format!("{content:<COLUMN$} # {origin}\n"));
}

fn single(item: &Item) -> String {
    match &item.value {
        Typed::Text(spot) => quote(&spot.shown),
        Typed::Flag(flag) => flag.to_string(),
        Typed::Number(number) => item.key.spell(*number),
        Typed::Texts(spots) => format!("[{}]", spots.iter().map(|s| quote(&s.shown)).collect::<Vec<_>>().join(", ")),
        Typed::Numbers(numbers) => {
            format!("[{}]", numbers.iter().map(|(_, n)| item.key.spell(*n)).collect::<Vec<_>>().join(", "))
        }
        Typed::Map(_) | Typed::Section(_) | Typed::Entries(_) => "{}".to_owned(),
    }
}

/// A text as YAML reads it back.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@-*".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.');
    let word = !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if begins && word && text.chars().all(plain) && !text.ends_with(':') { text.to_owned() } else { json!(text).to_string() }
}

/// Where a value is from: the file's line, the environment, or the default, and what it refers to.
fn origin(file: &str, item: &Item) -> String {
    let references: Vec<String> = match &item.value {
        Typed::Text(spot) => spot.references.clone(),
        Typed::Texts(spots) => spots.iter().flat_map(|spot| spot.references.clone()).collect(),
        _ => Vec::new(),
    };
    from(file, &item.at, &references)
}

fn from(file: &str, at: &At, references: &[String]) -> String {
    let place = match at {
        At::File { line, .. } => format!("{file}:{line}"),
        other => other.shown(file),
    };
    if references.is_empty() { place } else { format!("{place}, from {}", references.join(", ")) }
}

/// As a flat list for programs: path, value and origin.
pub(crate) fn as_json(file: &str, top: &Section) -> Value {
    let mut values = Vec::new();
    flat(file, top, &mut values);
    json!({ "file": file, "values": values })
}

fn flat(file: &str, section: &Section, values: &mut Vec<Value>) {
    for item in &section.items {
        let path = section.path_of(item.key.name());
        let mut push = |path: &str, value: Value, from: String| values.push(json!({ "key": path, "value": value, "from": from }));
        match &item.value {
            Typed::Section(inner) => flat(file, inner, values),
            Typed::Entries(entries) => entries.iter().for_each(|entry| flat(file, entry, values)),
            Typed::Map(entries) => {
                for (name, _, spot) in entries {
                    push(&format!("{path}.{name}"), spot.shown.as_str().into(), from(file, &spot.at, &spot.references));
                }
            }
            value => push(&path, json_of(item, value), origin(file, item)),
        }
    }
}

fn json_of(item: &Item, value: &Typed) -> Value {
    let number = |n: u64| match item.key.kind {
        Kind::Integer(..) | Kind::Integers(..) => n.into(),
        _ => Value::from(item.key.spell(n)),
    };
    let texts = |spots: &[Spot]| spots.iter().map(|spot| Value::from(spot.shown.as_str())).collect();
    match value {
        Typed::Text(spot) => spot.shown.as_str().into(),
        Typed::Flag(flag) => (*flag).into(),
        Typed::Number(n) => number(*n),
        Typed::Texts(spots) => texts(spots),
        Typed::Numbers(numbers) => numbers.iter().map(|(_, n)| number(*n)).collect(),
        Typed::Map(_) | Typed::Section(_) | Typed::Entries(_) => Value::Null,
    }
}
