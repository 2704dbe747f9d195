//! The JSON Schema of the configuration (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::keys::{Fallback, Key, Kind, keys_in};
use super::node::{self, Node};
use super::yaml;

/// What a reference looks like, which may stand for any single value.
const REFERENCE: &str = "\\$\\{(env|file):[^}]+\\}";

/// The whole schema.
pub(crate) fn schema() -> Value {
    let mut schema = section("");
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Longshore".into();
    schema["description"] = "The configuration of the service; see docs/configuration.md".into();
    schema
}

fn section(table: &str) -> Value {
    let properties: Map<String, Value> = keys_in(table).map(|key| (key.name().to_owned(), property(key))).collect();
    let required: Vec<&str> = keys_in(table).filter(|key| key.default == Fallback::Required).map(Key::name).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Section => {
            let mut schema = section(&key.inside());
            schema["type"] = json!(["object", "null"]);
            schema
        }
        Kind::Feature => section(&key.inside()),
        Kind::Entries => json!({ "type": "array", "items": section(&key.inside()) }),
        Kind::Map(_) => json!({ "type": ["object", "null"], "additionalProperties": text() }),
        Kind::Texts => json!({ "type": "array", "items": text() }),
        Kind::TextOrTexts => json!({ "anyOf": [text(), { "type": "array", "items": text() }] }),
        Kind::Integers(..) | Kind::Times(..) => json!({ "type": "array", "items": single(key.kind) }),
        kind => single(kind),
    };
    schema["description"] = key.doc.into();
    if let Fallback::Is(yaml) = key.default {
        schema["default"] = default(key.kind, yaml);
    }
    schema
}

fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn single(kind: Kind) -> Value {
    let or_reference = |schema: Value| json!({ "anyOf": [schema, { "type": "string", "pattern": REFERENCE }] });
    match kind {
        Kind::Flag => or_reference(json!({ "type": "boolean" })),
        Kind::Choice(words) => or_reference(json!({ "enum": words })),
        Kind::Integer(least, most) | Kind::Integers(least, most) => {
            or_reference(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Kind::Time(..) | Kind::Times(..) => or_reference(json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })),
        Kind::Size(..) => {
            let unit = "^[0-9]+ *([kKmMgG]([iI]?[bB])?|[tT][iI][bB]|[bB])?$";
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": unit }, { "type": "string", "pattern": REFERENCE }] })
        }
        _ => text(),
    }
}

/// A default as JSON.
fn default(kind: Kind, yaml: &str) -> Value {
    yaml::read_strictly(yaml).map(|node| as_json(kind, &node)).unwrap_or(Value::Null)
}

fn as_json(kind: Kind, node: &Node) -> Value {
    match (&node.value, kind) {
        (node::Value::List(items), _) => items.iter().map(|item| as_json(kind, item)).collect(),
        (node::Value::Text(text), Kind::Flag | Kind::Integer(..) | Kind::Integers(..)) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        (node::Value::Text(text), _) => text.as_str().into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
