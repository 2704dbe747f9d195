//! The preset `cloudevents`: CloudEvents 1.0, structured (one JSON object) or binary (attributes in headers).
//!
//! Both are made one value, the structured form, which the expressions of the mapping then read.
//! Sources: CloudEvents spec v1.0.2 §3; Kafka protocol binding §3.2 (`ce_`); HTTP protocol binding §3.1 (`ce-`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jmespath::{Rcvar, Variable};

use super::expression::MapError;
use super::jmes::JmesMapping;
use super::json::{self, filled};
use super::{Decoded, RawEvent, poison};
use crate::outcome::Failure;
use crate::path::percent_decoded;

/// What is read where the user gives no other expression. A source and an id together are unique (§3.1.1).
const DEFAULTS: [(&str, &str); 7] = [
    ("trace_id", "join('/', [source, id])"),
    ("event_id", "id"),
    ("event_type", "type"),
    ("event_time", "time"),
    ("attachments", "[dataref, data.url, data.urls, data.attachments][]"),
    ("ce_source", "source"),
    ("ce_subject", "subject"),
];

/// The attributes that every event must have.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

pub(super) fn mapping(fields: &[(String, String)]) -> Result<JmesMapping, MapError> {
    JmesMapping::with_defaults(&DEFAULTS, fields)
}

pub(super) fn decode(mapping: &JmesMapping, raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
    mapping.decode_value(&structured(raw)?, raw)
}

/// The event in its structured form.
fn structured(raw: &RawEvent<'_>) -> Result<Rcvar, Failure> {
    let attributes = attributes(raw.headers)?;
    let binary = REQUIRED.iter().any(|name| attributes.contains_key(*name));
    let members = if binary { from_headers(attributes, raw)? } else { from_body(raw)? };
    let empty = |name: &&&str| members.get(**name).and_then(|value| filled(value)).is_none();
    match REQUIRED.iter().find(empty) {
        Some(name) => Err(poison(format!("the CloudEvents attribute `{name}` is missing or empty"))),
        None => Ok(Rcvar::new(Variable::Object(members))),
    }
}

type Members = BTreeMap<String, Rcvar>;

fn text(text: impl Into<String>) -> Rcvar {
    Rcvar::new(Variable::String(text.into()))
}

/// The attributes in headers, by their lower-case names.
fn attributes(headers: &[(String, Bytes)]) -> Result<BTreeMap<String, String>, Failure> {
    let mut attributes = BTreeMap::new();
    for (header, value) in headers {
        let header = header.to_ascii_lowercase();
        let Some(name) = header.strip_prefix("ce_").or_else(|| header.strip_prefix("ce-")) else { continue };
        let value = std::str::from_utf8(value).map_err(|_| poison(format!("the header `{header}` is not UTF-8")))?;
        // Over HTTP, what is not printable ASCII is percent-encoded (HTTP binding §3.1.3.2).
        let value = if header.starts_with("ce-") { percent_decoded(value) } else { value.to_owned() };
        if attributes.insert(name.to_owned(), value).is_some() {
            return Err(poison(format!("the CloudEvents attribute `{name}` stands twice in the headers")));
        }
    }
    Ok(attributes)
}

fn from_headers(attributes: BTreeMap<String, String>, raw: &RawEvent<'_>) -> Result<Members, Failure> {
    let mut members: Members = attributes.into_iter().map(|(name, value)| (name, text(value))).collect();
    let is_type = |name: &String| name.eq_ignore_ascii_case("content-type");
    let content_type = raw.headers.iter().find(|(name, _)| is_type(name)).map(|(_, value)| String::from_utf8_lossy(value));
    if let Some(data) = data(raw.bytes, content_type.as_deref())? {
        members.insert("data".to_owned(), data);
    }
    Ok(members)
}

/// The body of a binary event: JSON where it is declared, or where nothing is declared and it is JSON; else a text.
fn data(body: &[u8], content_type: Option<&str>) -> Result<Option<Rcvar>, Failure> {
    let essence = content_type.map(|declared| declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let Ok(body) = json::text_of("the data of the event", body) else {
        return if essence.as_deref().is_none_or(is_json) { Err(poison("the data of the event is not UTF-8")) } else { Ok(None) };
    };
    match essence {
        _ if body.is_empty() => Ok(None),
        Some(essence) if is_json(&essence) => json::parse("the data of the event", body).map(Some),
        None if body.starts_with(['{', '[', '"']) => json::parse("the data of the event", body).map(Some),
        _ => Ok(Some(text(body))),
    }
}

fn is_json(essence: &str) -> bool {
    essence.ends_with("/json") || essence.ends_with("+json")
}

fn from_body(raw: &RawEvent<'_>) -> Result<Members, Failure> {
    let event = json::parse("the event", json::text_of("the event", raw.bytes)?)?;
    let mut members = match &*event {
        Variable::Object(members) => members.clone(),
        Variable::Array(_) => return Err(poison("a batch of CloudEvents; send one event a message")),
        other => return Err(poison(format!("the event is {}, not a CloudEvent", json::kind(other)))),
    };
    let encoded = members.get("data_base64").filter(|_| !members.contains_key("data")).cloned();
    if let Some(data) = encoded.map(|encoded| decoded(&encoded)).transpose()?.flatten() {
        members.insert("data".to_owned(), data);
    }
    Ok(members)
}

/// What `data_base64` holds, where that is JSON.
fn decoded(encoded: &Variable) -> Result<Option<Rcvar>, Failure> {
    let bytes = encoded.as_string().and_then(|text| STANDARD.decode(text.trim()).ok());
    let bytes = bytes.ok_or_else(|| poison("`data_base64` is not base64"))?;
    let text = json::text_of("data_base64", &bytes).ok().filter(|text| text.starts_with(['{', '[', '"']));
    text.map(|text| json::parse("`data_base64`", text)).transpose()
}

#[cfg(test)]
#[path = "cloudevents_tests.rs"]
mod tests;
