//! The table must be what we know: anything else is refused before a row is written to it.
//!
//! Looked at when a table is loaded and whenever a commit of others changes its metadata or its protocol (Delta
//! protocol, §Change Metadata, §Protocol Evolution).

use std::collections::BTreeMap;

use deltalake_core::kernel::StructType;
use longshore_stages::ports::TableError;
use serde_json::Value;

use super::shape::Shape;

/// The highest protocol versions that have no features beyond what we keep.
const READER: u64 = 1;
const WRITER: u64 = 2;

/// Refuses a table whose `protocol` action asks for more than plain reading and appending.
pub(crate) fn check_protocol(place: &str, protocol: &Value) -> Result<(), TableError> {
    let version = |name: &str| protocol.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let (reader, writer) = (version("minReaderVersion"), version("minWriterVersion"));
    if reader <= READER && writer <= WRITER {
        return Ok(());
    }
    Err(refuse(place, &format!("it needs Delta reader {reader} and writer {writer}, we keep {READER} and {WRITER}")))
}

/// Refuses a table whose `metaData` action is not what we created.
pub(crate) fn check_metadata(place: &str, shape: &Shape, metadata: &Value) -> Result<(), TableError> {
    let refused = |what: String| refuse(place, &what);
    let partitioned: Vec<&str> =
        metadata["partitionColumns"].as_array().map(|c| c.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    if partitioned != [shape.partition_name()] {
        return Err(refused(format!("it is partitioned by {partitioned:?} instead of [{:?}]", shape.partition_name())));
    }
    if let Some(property) = foreign_property(metadata) {
        return Err(refused(format!("it has the property {property}, which we do not keep")));
    }
    check_schema(shape, metadata["schemaString"].as_str().unwrap_or_default()).map_err(refused)
}

fn refuse(place: &str, what: &str) -> TableError {
    TableError::Fatal(format!(
        "the table at {place} is not the one that Longshore keeps there: {what}. Move it away, undo the change, or choose another place"
    ))
}

fn foreign_property(metadata: &Value) -> Option<String> {
    let properties = metadata["configuration"].as_object()?;
    let is_foreign = |name: &str, value: &str| match name {
        "delta.columnMapping.mode" => value != "none",
        "delta.enableDeletionVectors"
        | "delta.enableChangeDataFeed"
        | "delta.enableRowTracking"
        | "delta.enableInCommitTimestamps" => value == "true",
        _ => name.starts_with("delta.constraints."),
    };
    let found = properties.iter().find(|(name, value)| is_foreign(name, value.as_str().unwrap_or_default()))?;
    Some(format!("{}={}", found.0, found.1.as_str().unwrap_or_default()))
}

fn check_schema(shape: &Shape, text: &str) -> Result<(), String> {
    let found: Value = serde_json::from_str(text).map_err(|e| format!("its schema cannot be read ({e})"))?;
    let ours = StructType::try_new(shape.delta_columns()).map_err(|e| e.to_string())?;
    let ours = serde_json::to_value(&ours).map_err(|e| e.to_string())?;
    let (found, ours) = (by_name(&found), by_name(&ours));
    for (name, field) in &ours {
        let theirs = found.get(name).ok_or_else(|| format!("it has no column `{name}`"))?;
        check_field(name, field, theirs)?;
    }
    match found.keys().find(|name| !ours.contains_key(*name)) {
        Some(name) => Err(format!("it has a column `{name}` that we do not know")),
        None => Ok(()),
    }
}

fn check_field(name: &str, ours: &Value, theirs: &Value) -> Result<(), String> {
    if ours["type"] != theirs["type"] {
        return Err(format!("its column `{name}` has the type {} instead of {}", theirs["type"], ours["type"]));
    }
    if ours["nullable"] == Value::Bool(true) && theirs["nullable"] != Value::Bool(true) {
        return Err(format!("its column `{name}` does not take nulls"));
    }
    let rule = theirs["metadata"].as_object().and_then(|m| m.keys().find(|k| k.starts_with("delta.")));
    rule.map_or(Ok(()), |rule| Err(format!("its column `{name}` has the rule {rule}")))
}

fn by_name(schema: &Value) -> BTreeMap<String, Value> {
    let fields = schema["fields"].as_array().cloned().unwrap_or_default();
    fields.into_iter().map(|f| (f["name"].as_str().unwrap_or_default().to_owned(), f)).collect()
}
