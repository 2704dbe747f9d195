//! The schema accepts what is right: checked with as much of JSON Schema as it uses for structure.

use super::*;
use crate::config::{init, keys};

/// What is wrong with a node by the schema: unknown and missing keys, and values of another shape.
fn faults(schema: &Value, node: &Node, path: &str) -> Vec<String> {
    match &node.value {
        node::Value::Map(entries) => {
            let known = |key: &str| {
                schema["properties"].get(key).or_else(|| Some(&schema["additionalProperties"]).filter(|s| s.is_object()))
            };
            let there = entries.iter().flat_map(|entry| match known(&entry.key) {
                Some(schema) => faults(schema, &entry.node, &format!("{path}.{}", entry.key)),
                None => vec![format!("{path}.{}: unknown", entry.key)],
            });
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing =
                required.filter(|key| entries.iter().all(|entry| entry.key != *key)).map(|key| format!("{path}.{key}: missing"));
            there.chain(missing).chain(shape(schema, "object", path)).collect()
        }
        node::Value::List(items) => {
            let each = items.iter().enumerate().flat_map(|(n, item)| faults(&schema["items"], item, &format!("{path}[{n}]")));
            each.chain(shape(schema, "array", path)).collect()
        }
        node::Value::Nothing => shape(schema, "null", path),
        node::Value::Text(_) => {
            let collection = |kind| schema["type"] == kind;
            if collection("object") || collection("array") { vec![format!("{path}: a single value")] } else { Vec::new() }
        }
    }
}

fn shape(schema: &Value, kind: &str, path: &str) -> Vec<String> {
    let allowed = match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(many) => many.iter().any(|one| one == kind),
        _ => schema["anyOf"].as_array().is_some_and(|any| any.iter().any(|one| one["type"] == kind)),
    };
    if allowed { Vec::new() } else { vec![format!("{path}: {kind}")] }
}

fn read(text: &str) -> Node {
    yaml::read_strictly(text).expect("YAML")
}

/// `#key: value` becomes `key: value`.
fn uncomment(line: &str) -> String {
    let start = line.trim_start();
    if start.starts_with('#') && !start.starts_with("# ") { line.replacen('#', "", 1) } else { line.to_owned() }
}

#[test]
fn what_init_writes_passes_with_its_defaults_and_without() {
    for preset in keys::PRESETS {
        let written = init::file(preset);
        assert_eq!(faults(&schema(), &read(&written), ""), Vec::<String>::new());
        let uncommented: Vec<String> = written.lines().map(uncomment).collect();
        assert_eq!(faults(&schema(), &read(&uncommented.join("\n")), ""), Vec::<String>::new());
    }
}

#[test]
fn what_is_wrong_does_not_pass() {
    let wrong = "stor: x\nrecord: {freshnes: 1s}\nsources:\n  - {preset: xact, allow_hosts: a.example}\ndownload: [1]\n";
    let expected = [
        ".stor: unknown",
        ".record.freshnes: unknown",
        ".sources[0].allow_hosts: a single value",
        ".sources[0].name: missing",
        ".download: array",
    ];
    assert_eq!(faults(&schema(), &read(wrong), ""), expected);
}

#[test]
fn every_default_and_every_example_is_yaml() {
    for key in keys::KEYS {
        let texts = [key.example, if let Fallback::Is(yaml) = key.default { yaml } else { "" }];
        for text in texts.iter().filter(|text| !text.is_empty()) {
            assert!(yaml::read_strictly(text).is_ok(), "{}: {text}", key.path);
        }
        assert!(!key.doc.is_empty() && key.doc.ends_with('.'), "{}", key.path);
    }
}
