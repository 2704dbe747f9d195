//! Reading JSON that strangers wrote: what is refused, and how it is said.
//!
//! No message holds a value of the payload, since values name people. Keys are named, cut short.

use std::collections::BTreeMap;
use std::fmt;

use jmespath::{Rcvar, Variable};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::error::Category;

use crate::outcome::Failure;
use crate::source::poison;

/// How deep lists and objects may be nested: what serde_json reads without overflowing its stack.
pub(super) const MAX_DEPTH: usize = 127;

/// How much of a key is named in a message, in characters.
const NAMED_CHARS: usize = 80;

/// Says what is wrong with `what`, which is not the JSON that was expected: one sentence, with the place.
pub(super) fn fault(what: &str, error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let said = text.rsplit_once(" at line ").map_or(text.as_str(), |(said, _)| said);
    let said = match error.classify() {
        _ if said == "recursion limit exceeded" => return too_deep(what),
        Category::Eof => format!("{what} ends too early"),
        Category::Data => match said.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(key) => format!("{what} is ambiguous: {}", twice(key)),
            None => format!("{what} is ambiguous: {said}"),
        },
        Category::Syntax | Category::Io => format!("{what} is not JSON: {said}"),
    };
    poison(format!("{said} (line {}, column {})", error.line(), error.column()))
}

/// What is said of a key that an object has two times.
pub(super) fn twice(key: &str) -> String {
    format!("the key `{}` stands twice", named(key))
}

/// A key as messages show it.
pub(super) fn named(key: &str) -> String {
    key.chars().take(NAMED_CHARS).collect()
}

/// Text without the white space and the byte order mark around it.
pub(super) fn text_of<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|e| poison(format!("{what} is not UTF-8 at byte {}", e.valid_up_to())))?;
    Ok(text.trim().trim_start_matches('\u{feff}').trim_start())
}

/// Refuses what is nested deeper than [`MAX_DEPTH`]. For readers that skip what they do not know, and so never notice.
pub(super) fn check_depth(what: &str, text: &str) -> Result<(), Failure> {
    // Counting alone is many times faster, and settles it for nearly all events.
    if openers(text) <= MAX_DEPTH || deepest(text) <= MAX_DEPTH { Ok(()) } else { Err(too_deep(what)) }
}

/// How many brackets open. `{` and `[` differ in one bit; sums of bytes are what the compiler makes vectors of.
fn openers(text: &str) -> usize {
    let of = |chunk: &[u8]| usize::from(chunk.iter().map(|b| u8::from(b | 0x20 == b'{')).sum::<u8>());
    text.as_bytes().chunks(255).map(of).sum()
}

fn too_deep(what: &str) -> Failure {
    poison(format!("{what} is nested deeper than {MAX_DEPTH} levels"))
}

fn deepest(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Any JSON as a tree of values for JMESPath; refuses keys that stand twice, at any level.
pub(super) fn parse(what: &str, text: &str) -> Result<Rcvar, Failure> {
    if text.is_empty() {
        return Err(poison(format!("{what} is empty")));
    }
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|error| fault(what, &error))
}

/// What a value is called in messages.
pub(super) fn kind(value: &Variable) -> &'static str {
    match value {
        Variable::Null => "null",
        Variable::Bool(_) => "true or false",
        Variable::Number(_) => "a number",
        Variable::String(_) => "a text",
        Variable::Array(_) => "a list",
        Variable::Object(_) => "an object",
        Variable::Expref(_) => "an expression",
    }
}

/// A text that is not blank, trimmed.
pub(super) fn filled(value: &Variable) -> Option<&str> {
    value.as_string().map(|text| text.trim()).filter(|text| !text.is_empty())
}

struct Strict(Rcvar);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(|value| Strict(Rcvar::new(value)))
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Variable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Variable, E> {
        Ok(Variable::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Variable, E> {
        Ok(Variable::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Variable, E> {
        Ok(Variable::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Variable, E> {
        Ok(Variable::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Variable, E> {
        Ok(Number::from_f64(value).map_or(Variable::Null, Variable::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Variable, E> {
        Ok(Variable::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Variable, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Variable::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variable, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(Error::custom(twice(&key)));
            }
            let Strict(value) = map.next_value()?;
            members.insert(key, value);
        }
        Ok(Variable::Object(members))
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
