//! The preset `xact`: claims events, read without a tree of values in between.
//!
//! Values stay slices of the event until they are kept, and numbers keep their digits: two ids of twenty digits that a
//! float could not tell apart are two ids. A key that is read and stands twice at its level makes the event poison,
//! since nobody can say which one was meant; keys that are not read may repeat.

use std::borrow::Cow;

use serde::Deserialize;

use super::json;
use super::outline::check_count;
use super::xact_scan::scan;
use super::xact_shape::{Data, DataField, Envelope, List, Raw};
use super::{CARRIED_BYTES, Decoded, Item, Link, Purpose, RawEvent, poison};
use crate::format::Columns;
use crate::ids::{self, XACT_EVENT_NAMESPACE};
use crate::outcome::Failure;
use crate::policy::redact::redact_url;

/// The version of this mapping.
pub(super) const VERSION: &str = "xact/1";
/// The default object path.
pub(super) const PATH: &str = "{status_subtype}/{assignment_id}/{trace_id}/{filename}";
/// What object paths may name beside the fields of every source.
pub(super) const PATH_COLUMNS: [&str; 4] = ["status_subtype", "assignment_id", "estimate_version", "filename"];
/// Further columns of `attachments`.
pub(super) const ATTACHMENT_COLUMNS: [&str; 2] = ["status_subtype", "assignment_id"];
/// Further columns of `events`.
pub(super) const EVENT_COLUMNS: [&str; 23] = [
    "status_subtype",
    "version",
    "description",
    "assignment_id",
    "original_assignment_id",
    "xn_address",
    "carrier_id",
    "estimate_version",
    "note",
    "author",
    "sender_reviewer_name",
    "sender_reviewer_email",
    "carrier_reviewer_name",
    "carrier_reviewer_email",
    "event_datetime_mdt",
    "attachments",
    "claim_number",
    "contact_type",
    "contact_name",
    "contact_phone_type",
    "contact_phone_number",
    "contact_phone_extension",
    "contact_email_address",
];

/// Said of an entry that is no URL.
const ODD: &str = "an entry in the list of attachments is not a text";
/// What stands in paths where the event does not say.
const UNKNOWN: &str = "unknown";

pub(super) fn decode(raw: &RawEvent<'_>, purpose: Purpose) -> Result<Decoded, Failure> {
    let text = json::text_of("the event", raw.bytes)?;
    let envelope = scan(text).map_or_else(|| read("the event", text), Ok)?;
    match &envelope.data {
        DataField::Missing => decode_event(&envelope, &Data::default(), purpose),
        DataField::Object(data) => decode_event(&envelope, data, purpose),
        DataField::Text(text) if text.trim() == "null" => decode_event(&envelope, &Data::default(), purpose),
        DataField::Text(text) => decode_event(&envelope, &read("the text in `data`", text.trim())?, purpose),
        DataField::Other(kind) => Err(poison(format!("`data` is {kind}; expected an object, or a text that holds one"))),
    }
}

/// Reads a JSON object into a shape that knows its keys.
fn read<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Failure> {
    json::check_depth(what, text)?;
    if text.is_empty() {
        return Err(poison(format!("{what} is empty")));
    }
    if !text.starts_with('{') {
        return Err(poison(format!("{what} is not a JSON object")));
    }
    serde_json::from_str(text).map_err(|error| json::fault(what, &error))
}

fn decode_event(envelope: &Envelope<'_>, data: &Data<'_>, purpose: Purpose) -> Result<Decoded, Failure> {
    let event_type = event_type(envelope.event_type)?;
    let trace_id = trace_id(envelope)?;
    let version = version(envelope.version)?;
    let (items, without_list) = items(&data.attachments)?;
    let subtype = subtype(&event_type);
    Ok(Decoded {
        columns: if purpose == Purpose::Row {
            event_columns(data, subtype, version.into_owned(), &items)
        } else {
            Columns::new()
        },
        event_id: (purpose == Purpose::Row).then(|| ids::v5(&XACT_EVENT_NAMESPACE, &[trace_id.as_bytes()]).to_string()),
        task_columns: task_columns(data, subtype),
        event_time: event_time(envelope.event_time),
        trace_id: Some(trace_id),
        event_type: (purpose == Purpose::Row).then(|| event_type.clone().into_owned()),
        items,
        without_list,
    })
}

fn event_type(value: Option<Raw<'_>>) -> Result<Cow<'_, str>, Failure> {
    let text = value.and_then(text).ok_or_else(|| poison("`type` is missing or not a text"))?;
    bounded("type", trimmed(text))
}

/// The part after the last dot, or all of it.
fn subtype(event_type: &str) -> &str {
    let last = event_type.rsplit('.').next().unwrap_or_default().trim();
    if last.is_empty() { event_type } else { last }
}

fn trace_id(envelope: &Envelope<'_>) -> Result<String, Failure> {
    for (name, value) in [("traceId", envelope.trace_id), ("trace_id", envelope.trace_id_too)] {
        let Some(value) = value else { continue };
        let id = scalar(value).ok_or_else(|| poison(format!("`{name}` is {}, not a text or a number", kind(value))))?;
        if !id.trim().is_empty() {
            return bounded(name, trimmed(id)).map(Cow::into_owned);
        }
    }
    Err(poison("`traceId` is missing or empty"))
}

/// A text that every event needs and each of its tasks carries.
fn bounded<'a>(name: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Failure> {
    match text.len() {
        0 => Err(poison(format!("`{name}` is empty"))),
        1..=CARRIED_BYTES => Ok(text),
        length => Err(poison(format!("`{name}` is {length} bytes long; at most {CARRIED_BYTES} are accepted"))),
    }
}

fn version(value: Option<Raw<'_>>) -> Result<Cow<'_, str>, Failure> {
    let Some(value) = value else { return Ok(Cow::Borrowed("1")) };
    scalar(value).ok_or_else(|| poison(format!("`version` is {}; expected a number or a text", kind(value))))
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// The time, verbatim; what cannot be one is none.
fn event_time(value: Option<Raw<'_>>) -> Option<String> {
    super::bounded_time(value.and_then(text).as_deref())
}

fn items(list: &List<'_>) -> Result<(Vec<Item>, bool), Failure> {
    let List::Entries(entries) = list else { return Ok((Vec::new(), matches!(list, List::Other))) };
    check_count(entries.iter().flatten().count())?;
    let item = |value: &Raw<'_>| match text(*value) {
        Some(url) if url.trim().is_empty() => None,
        Some(url) => Some(Item::Url(Link { url: url.trim().to_owned(), ..Link::default() })),
        None => Some(Item::Odd { json: value.0.to_owned(), why: ODD }),
    };
    Ok((entries.iter().flatten().filter_map(item).collect(), false))
}

/// What paths and rows of attachments need.
fn task_columns(data: &Data<'_>, subtype: &str) -> Columns {
    let mut columns = Columns::from([(Cow::Borrowed("status_subtype"), subtype.to_owned())]);
    for (name, value) in [("assignment_id", data.assignment_id), ("estimate_version", data.estimate_version)] {
        let value = value.map(column).filter(|value| !value.trim().is_empty());
        columns.extend(value.map(|value| (Cow::Borrowed(name), super::cut(value.into_owned(), CARRIED_BYTES))));
    }
    columns
}

fn event_columns(data: &Data<'_>, subtype: &str, version: String, items: &[Item]) -> Columns {
    let claim = data.adm.0.as_ref().and_then(|adm| adm.coverage_loss.0.as_ref());
    let contact = data.contact.0.as_ref();
    let methods = contact.and_then(|contact| contact.methods.0.as_ref());
    let phone = methods.and_then(|methods| methods.phone.0.as_ref());
    let email = methods.and_then(|methods| methods.email.0.as_ref());
    let values = [
        ("description", data.description),
        ("assignment_id", data.assignment_id.filter(|value| !column(*value).trim().is_empty())),
        ("original_assignment_id", data.original_assignment_id),
        ("xn_address", data.xn_address),
        ("carrier_id", data.carrier_id),
        ("estimate_version", data.estimate_version),
        ("note", data.note),
        ("author", data.author),
        ("sender_reviewer_name", data.sender_reviewer_name),
        ("sender_reviewer_email", data.sender_reviewer_email),
        ("carrier_reviewer_name", data.carrier_reviewer_name),
        ("carrier_reviewer_email", data.carrier_reviewer_email),
        ("event_datetime_mdt", data.date_time),
        ("claim_number", claim.and_then(|claim| claim.claim_number)),
        ("contact_type", contact.and_then(|contact| contact.contact_type)),
        ("contact_name", contact.and_then(|contact| contact.name)),
        ("contact_phone_type", phone.and_then(|phone| phone.phone_type)),
        ("contact_phone_number", phone.and_then(|phone| phone.number)),
        ("contact_phone_extension", phone.and_then(|phone| phone.extension)),
        ("contact_email_address", email.and_then(|email| email.address)),
    ];
    let given = values.into_iter().filter_map(|(name, value)| Some((Cow::Borrowed(name), column(value?).into_owned())));
    let mut columns: Columns = given.collect();
    columns.insert(Cow::Borrowed("status_subtype"), subtype.to_owned());
    columns.insert(Cow::Borrowed("version"), version);
    columns.extend(attachments_column(items).map(|urls| (Cow::Borrowed("attachments"), urls)));
    columns
}

/// The URLs, comma-joined, without their signatures.
fn attachments_column(items: &[Item]) -> Option<String> {
    let url = |item: &Item| if let Item::Url(link) = item { Some(redact_url(&link.url)) } else { None };
    let urls: Vec<String> = items.iter().filter_map(url).collect();
    (!urls.is_empty()).then(|| urls.join(","))
}

/// A value as a column has it: texts as they are, all else as its JSON.
fn column(value: Raw<'_>) -> Cow<'_, str> {
    text(value).unwrap_or(Cow::Borrowed(value.0))
}

/// A text, or the digits of a number.
fn scalar(value: Raw<'_>) -> Option<Cow<'_, str>> {
    let is_number = value.0.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number { Some(Cow::Borrowed(value.0)) } else { text(value) }
}

/// A text; nothing where the value is another kind, or has an escape that stands for no character.
fn text(value: Raw<'_>) -> Option<Cow<'_, str>> {
    let inner = value.0.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(value.0).ok().map(Cow::Owned)
}

fn kind(value: Raw<'_>) -> &'static str {
    match value.0.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a text with an escape that is no character",
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    }
}

/// The last part of the object path.
pub(super) fn file_name(url: &str, path: &str, columns: &Columns) -> String {
    let column = |name: &str| columns.get(name).map_or(UNKNOWN, String::as_str);
    let (assignment, name) = (column("assignment_id"), url_name(url, path));
    match column("status_subtype") {
        "firstNoticeOfLossReceived" => [assignment, "_FNOL_", &name].concat(),
        "estimatePackageReceived" => [assignment, "_", column("estimate_version"), "_", &name].concat(),
        _ => [assignment, "_", &name].concat(),
    }
}

/// The last segment of the URL's path as it is written there, its extension in lower case.
fn url_name<'a>(url: &'a str, parsed: &'a str) -> Cow<'a, str> {
    let written = || {
        let rest = url.split_once("://")?.1.split(['?', '#']).next()?;
        Some(rest.split_once('/').map_or("", |(_, path)| path))
    };
    let path = written().unwrap_or(parsed);
    match path.rsplit('/').next().unwrap_or_default() {
        "" => Cow::Borrowed(UNKNOWN),
        name => match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && !is_lower(extension) => {
                Cow::Owned([stem, ".", &extension.to_lowercase()].concat())
            }
            _ => Cow::Borrowed(name),
        },
    }
}

/// Whether a text is plainly in lower case already.
fn is_lower(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase())
}

#[cfg(test)]
#[path = "xact_model_tests.rs"]
pub(super) mod model_tests;
#[cfg(test)]
#[path = "xact_tests.rs"]
mod tests;
