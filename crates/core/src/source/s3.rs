//! The preset `s3-notification`: objects that came into a bucket.
//!
//! Reads the `Records` of S3 and of stores that speak like it, straight or in an SNS envelope, and EventBridge's
//! `Object Created`. Only `ObjectCreated:*` makes attachments; other events, and the test event, are accepted without.
//!
//! The trace id is an UUIDv5 of bucket, key and the version, sequencer or etag of each object, so that a redelivery,
//! in whatever envelope, is the same event, and an object written anew is another one.

use std::borrow::Cow;
use std::fmt::Write as _;

use jmespath::{Rcvar, Variable};
use uuid::Uuid;

use super::entries::odd;
use super::expression::MapError;
use super::jmes::digest;
use super::json::{self, filled};
use super::outline::check_count;
use super::{Decoded, Item, Link, RawEvent, poison};
use crate::format::Columns;
use crate::ids;
use crate::outcome::Failure;
use crate::path::percent_decoded;

/// Further columns of all three tables.
pub(super) const COLUMNS: [&str; 4] = ["bucket", "object_key", "object_etag", "object_size"];
/// Where objects are fetched where the user does not say.
const URL: &str = "https://{bucket}.s3.{region}.amazonaws.com/{key}";
/// The region of a record that names none.
const REGION: &str = "us-east-1";
/// The fields of the template.
const FIELDS: [&str; 3] = ["{bucket}", "{region}", "{key}"];

/// Where the objects of notifications are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Mapping {
    url: String,
}

impl S3Mapping {
    /// Builds the mapping; its one field is `url`, a template of `{bucket}`, `{region}` and `{key}`, by default
    /// `https://{bucket}.s3.{region}.amazonaws.com/{key}`.
    pub fn new(fields: &[(String, String)]) -> Result<Self, MapError> {
        let mut mapping = S3Mapping { url: URL.to_owned() };
        for (field, value) in fields {
            if field != "url" {
                return Err(MapError::new(field, "the preset s3-notification has one field only, `url`"));
            }
            check_template(value)?;
            mapping.url = value.trim().to_owned();
        }
        Ok(mapping)
    }

    pub(super) fn version(&self) -> String {
        match self.url.as_str() {
            URL => "s3-notification/1".to_owned(),
            url => format!("s3-notification/1+{}", digest([(url, &"url".to_owned())].into_iter())),
        }
    }

    pub(super) fn decode(&self, raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
        let event = json::parse("the event", json::text_of("the event", raw.bytes)?)?;
        let event = unwrapped(event)?;
        match &*event.get_field("Records") {
            Variable::Array(records) => self.of_records(records),
            _ if filled(&event.get_field("Event")) == Some("s3:TestEvent") => Ok(without_objects("s3:TestEvent", raw.bytes)),
            _ if event.get_field("detail").is_object() => self.of_bridge(&event, raw),
            _ => Err(poison("no list `Records` and no object `detail`: not a notification of S3, SNS or EventBridge")),
        }
    }

    fn of_records(&self, records: &[Rcvar]) -> Result<Decoded, Failure> {
        check_count(records.len())?;
        let first = |name: &str| records.first().and_then(|record| filled(&record.get_field(name)).map(str::to_owned));
        let objects: Vec<Result<Object, Item>> = records.iter().map(|record| Object::of_record(record)).collect();
        let seeds = records.iter().map(|record| seed(record, &record.get_field("s3"))).collect();
        Ok(self.decoded(objects, seeds, first("eventName"), first("eventTime")))
    }

    fn of_bridge(&self, event: &Variable, raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
        let (detail, kind) = (event.get_field("detail"), event.get_field("detail-type"));
        let kind = filled(&kind).ok_or_else(|| poison("`detail-type` is missing"))?;
        if !kind.starts_with("Object ") {
            return Ok(without_objects(kind, raw.bytes));
        }
        // Here, and only here, keys come as they are.
        let object =
            (kind == "Object Created").then(|| Object::of(event, &detail, str::to_owned, filled(&event.get_field("region"))));
        let time = filled(&event.get_field("time")).map(str::to_owned);
        let mut decoded = self.decoded(object.into_iter().collect(), vec![seed(event, &detail)], Some(kind.to_owned()), time);
        decoded.event_id = filled(&event.get_field("id")).map(str::to_owned);
        Ok(decoded)
    }

    fn decoded(
        &self,
        objects: Vec<Result<Object, Item>>,
        seeds: Vec<String>,
        event_type: Option<String>,
        event_time: Option<String>,
    ) -> Decoded {
        let columns = objects.iter().flatten().next().map(Object::columns).unwrap_or_default();
        let seed = format!("longshore:s3:{}", seeds.join("\n"));
        Decoded {
            trace_id: Some(ids::v5(&Uuid::NAMESPACE_URL, &[seed.as_bytes()]).to_string()),
            event_type,
            event_time: super::bounded_time(event_time.as_deref()),
            columns,
            items: objects.into_iter().filter_map(|object| object.map_or_else(Some, |object| self.item(&object))).collect(),
            ..Decoded::default()
        }
    }

    fn item(&self, object: &Object) -> Option<Item> {
        if !object.created {
            return None;
        }
        let fill = |template: &str| {
            let filled = template.replace("{bucket}", &object.bucket).replace("{region}", &object.region);
            filled.replace("{key}", &encoded(&object.key))
        };
        let mut url = fill(&self.url);
        if let Some(version) = &object.version {
            url.push(if url.contains('?') { '&' } else { '?' });
            url = url + "versionId=" + &encoded(version);
        }
        Some(Item::Url(Link { url, columns: object.columns(), ..Link::default() }))
    }
}

/// The notification in an SNS envelope, or the event itself. (<https://docs.aws.amazon.com/sns>: `Message` is a text.)
fn unwrapped(event: Rcvar) -> Result<Rcvar, Failure> {
    if !event.is_object() {
        return Err(poison(format!("the event is {}, not a notification", json::kind(&event))));
    }
    let is_envelope = event.get_field("Records").is_null() && event.get_field("detail").is_null();
    match &*event.get_field("Message") {
        Variable::String(message) if is_envelope => json::parse("the text in `Message`", message.trim()),
        _ => Ok(event),
    }
}

/// An accepted event that tells of no new object.
fn without_objects(event_type: &str, bytes: &[u8]) -> Decoded {
    let trace_id = Some(ids::event_key(bytes).to_string());
    Decoded { trace_id, event_type: Some(event_type.to_owned()), ..Decoded::default() }
}

/// What tells one change of an object from all others, under redelivery too.
fn seed(record: &Variable, detail: &Variable) -> String {
    let (bucket, object) = (detail.get_field("bucket").get_field("name"), detail.get_field("object"));
    let names = ["sequencer", "versionId", "version-id", "eTag", "etag"];
    let marks = names.iter().filter_map(|name| filled(&object.get_field(name)).map(str::to_owned));
    let mark = marks.take(1).next().unwrap_or_else(|| record.get_field("eventTime").to_string());
    format!("{bucket}/{}@{mark}", object.get_field("key"))
}

/// An object that a record names.
struct Object {
    created: bool,
    bucket: String,
    region: String,
    /// Decoded.
    key: String,
    version: Option<String>,
    etag: Option<String>,
    size: Option<String>,
}

impl Object {
    fn of_record(record: &Variable) -> Result<Self, Item> {
        let event_name = record.get_field("eventName");
        let name = filled(&event_name).unwrap_or_default();
        let created = name.trim_start_matches("s3:").starts_with("ObjectCreated");
        // Form encoding: `+` is a space (S3 user guide, event message structure).
        let decode = |key: &str| percent_decoded(&key.replace('+', " "));
        match Object::of(record, &record.get_field("s3"), decode, filled(&record.get_field("awsRegion"))) {
            Err(_) if !created && !name.is_empty() => Ok(Object::gone()),
            object => object.map(|object| Object { created, ..object }),
        }
    }

    /// A record that tells of no new object needs no names.
    fn gone() -> Self {
        let (bucket, region, key) = Default::default();
        Object { created: false, bucket, region, key, version: None, etag: None, size: None }
    }

    fn of(record: &Variable, detail: &Variable, decode: impl Fn(&str) -> String, region: Option<&str>) -> Result<Self, Item> {
        let object = detail.get_field("object");
        let one_of = |names: [&str; 2]| names.iter().find_map(|name| filled(&object.get_field(name)).map(str::to_owned));
        let (bucket, key) = (detail.get_field("bucket").get_field("name"), object.get_field("key"));
        let bucket = filled(&bucket).ok_or_else(|| odd(record, "a record names no bucket"))?;
        let key = key.as_string().filter(|key| !key.is_empty()).ok_or_else(|| odd(record, "a record names no key"))?;
        let (key, region) = (decode(key), region.unwrap_or(REGION));
        if !is_name(bucket) || !is_name(region) {
            return Err(odd(record, "the bucket or the region of a record is not a name"));
        }
        if key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(odd(record, "no URL can name a key with a segment `.` or `..`"));
        }
        let size = object.get_field("size");
        Ok(Object {
            created: true,
            bucket: bucket.to_owned(),
            region: region.to_owned(),
            key,
            version: one_of(["versionId", "version-id"]).filter(|version| version != "null"),
            etag: one_of(["eTag", "etag"]),
            size: size.is_number().then(|| size.to_string()),
        })
    }

    fn columns(&self) -> Columns {
        let given = |text: &String| !text.is_empty();
        let values = [Some(&self.bucket), Some(&self.key), self.etag.as_ref(), self.size.as_ref()];
        let columns = COLUMNS.iter().zip(values).filter_map(|(name, value)| Some((name, value.filter(|v| given(v))?)));
        columns.map(|(name, value)| (Cow::Borrowed(*name), value.clone())).collect()
    }
}

/// What may stand in a host or a path without meaning anything there.
fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Percent-encodes all but `/` and what needs no encoding anywhere (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn check_template(template: &str) -> Result<(), MapError> {
    let wrong = |message: String| Err(MapError::new("url", format!("{message}; the default is {URL}")));
    let rest = FIELDS.iter().fold(template.to_owned(), |rest, field| rest.replace(field, ""));
    match template.trim().split_once("://") {
        None => wrong(format!("the template `{template}` has no scheme")),
        Some(_) if rest.contains(['{', '}']) => wrong(format!("`{template}` may use {} only", FIELDS.join(", "))),
        Some(_) if !template.contains("{key}") => wrong(format!("the template `{template}` lacks {{key}}")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
