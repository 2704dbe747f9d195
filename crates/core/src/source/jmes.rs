//! Any JSON event, read by JMESPath expressions.

use std::collections::{BTreeMap, BTreeSet};

use jmespath::{Rcvar, Variable};
use sha2::{Digest, Sha256};

use super::expression::{Expression, MapError};
use super::{CARRIED_BYTES, Decoded, RawEvent, entries, json, poison};
use crate::format::Columns;
use crate::ids;
use crate::inventory::Shape;
use crate::outcome::Failure;
use crate::path;

/// The fields that are no columns.
const FIELDS: [&str; 5] = ["trace_id", "event_id", "event_time", "event_type", "attachments"];
/// The longest name of a column, in bytes.
const NAME_BYTES: usize = 64;

/// Where an event holds what. Fields: `trace_id`, `event_id`, `event_time`, `event_type`, `attachments`; any other
/// name is a column of all three tables.
///
/// - Without `trace_id`, the trace id is the event id, or else an id of the event's bytes.
/// - `attachments` may give a text, a list of texts, an object or a list of objects with the keys `url`, `file_name`
///   (also `filename`, `name`), `checksum` (`sha256:<hex>`, or 64 hex digits) and `headers` (an object of texts); null
///   is none.
#[derive(Debug, Clone, PartialEq)]
pub struct JmesMapping {
    expressions: BTreeMap<String, Expression>,
}

impl JmesMapping {
    /// Builds the mapping of fields with their expressions. The error names the field, and in an expression that does
    /// not parse the column.
    pub fn new(fields: &[(String, String)]) -> Result<Self, MapError> {
        let mut expressions = BTreeMap::new();
        for (field, text) in fields {
            if !FIELDS.contains(&field.as_str()) {
                check_column(field)?;
            }
            if expressions.insert(field.clone(), Expression::parse(field, text)?).is_some() {
                return Err(MapError::new(field, "the field is given twice"));
            }
        }
        Ok(JmesMapping { expressions })
    }

    /// Built-in fields, overridden by the user's.
    pub(super) fn with_defaults(defaults: &[(&str, &str)], fields: &[(String, String)]) -> Result<Self, MapError> {
        let given = |name: &str| fields.iter().any(|(field, _)| field == name);
        let defaults = defaults.iter().filter(|(name, _)| !given(name)).map(|(n, e)| ((*n).to_owned(), (*e).to_owned()));
        JmesMapping::new(&fields.iter().cloned().chain(defaults).collect::<Vec<_>>())
    }

    /// The names of the further columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.expressions.keys().map(String::as_str).filter(|name| !FIELDS.contains(name))
    }

    /// Changes with each change of an expression.
    pub(super) fn version(&self) -> String {
        format!("jmes/{}", digest(self.expressions.values().map(Expression::text).zip(self.expressions.keys())))
    }

    pub(super) fn decode(&self, raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
        let text = json::text_of("the event", raw.bytes)?;
        self.decode_value(&json::parse("the event", text)?, raw)
    }

    pub(super) fn decode_value(&self, event: &Rcvar, raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
        let event_id = bounded("event_id", self.scalar("event_id", event)?)?;
        let trace_id = match (bounded("trace_id", self.scalar("trace_id", event)?)?, &event_id) {
            (Some(id), _) => id,
            (None, _) if self.expressions.contains_key("trace_id") => {
                return Err(poison("the expression for `trace_id` gives nothing"));
            }
            (None, Some(id)) => id.clone(),
            (None, None) => ids::event_key(raw.bytes).to_string(),
        };
        let found = self.value("attachments", event)?;
        let (items, without_list) = entries::items(&found)?;
        let columns = self.column_values(event)?;
        Ok(Decoded {
            trace_id: Some(trace_id),
            event_id,
            event_type: self.expressions.get("event_type").map(|e| e.column(event)).transpose()?.flatten(),
            event_time: super::bounded_time(self.value("event_time", event)?.as_string().map(String::as_str)),
            task_columns: columns.iter().map(|(name, value)| (name.clone(), super::cut(value.clone(), CARRIED_BYTES))).collect(),
            columns,
            items,
            without_list,
        })
    }

    fn column_values(&self, event: &Rcvar) -> Result<Columns, Failure> {
        let mut columns = Columns::new();
        for (name, expression) in self.expressions.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())) {
            columns.extend(expression.column(event)?.map(|value| (name.clone().into(), value)));
        }
        Ok(columns)
    }

    fn value(&self, field: &str, event: &Rcvar) -> Result<Rcvar, Failure> {
        self.expressions.get(field).map_or_else(|| Ok(Rcvar::new(Variable::Null)), |expression| expression.value(event))
    }

    fn scalar(&self, field: &str, event: &Rcvar) -> Result<Option<String>, Failure> {
        self.expressions.get(field).map_or(Ok(None), |expression| expression.scalar(event))
    }
}

fn bounded(field: &str, id: Option<String>) -> Result<Option<String>, Failure> {
    match id {
        Some(id) if id.len() > CARRIED_BYTES => {
            Err(poison(format!("`{field}` is {} bytes long; at most {CARRIED_BYTES} are accepted", id.len())))
        }
        id => Ok(id),
    }
}

/// Whether a column of ours may have this name.
pub(super) fn check_column(name: &str) -> Result<(), MapError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !starts || !name.chars().all(plain) || name.len() > NAME_BYTES {
        let fields = FIELDS.join("`, `");
        let message =
            format!("neither a field (`{fields}`) nor a column's name: lower-case letters, digits and `_`, at most {NAME_BYTES}");
        return Err(MapError::new(name, message));
    }
    if own_columns().contains(name) {
        return Err(MapError::new(name, "the tables have a column of that name already; choose another"));
    }
    if path::FIELDS.contains(&name) || name == path::FILE_NAME {
        return Err(MapError::new(name, "object paths have a field of that name already; choose another"));
    }
    Ok(())
}

fn own_columns() -> BTreeSet<String> {
    let shape = Shape::of("");
    let tables = [shape.attachments_table(), shape.failed_table(), shape.events_table()];
    tables.into_iter().flat_map(|table| table.columns).map(|column| column.name).collect()
}

/// 8 hex digits over pairs of texts.
pub(super) fn digest<'a>(pairs: impl Iterator<Item = (&'a str, &'a String)>) -> String {
    let mut hash = Sha256::new();
    for (expression, name) in pairs {
        hash.update(format!("{name}={expression}\0"));
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "jmes_tests.rs"]
mod tests;
