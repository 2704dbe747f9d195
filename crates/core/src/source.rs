//! Sources: how an event becomes tasks.
//!
//! [`Source::plan`] is the one place that accepts or rejects: ingest makes tasks and dead letters of its answer, and
//! the events table makes its row of the same answer, so that the two can never disagree.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::file_type::{self, FileTypes};
use crate::format::{Task, VERSION};
use crate::ids;
use crate::outcome::{Class, Failure, Reason};
use crate::path::{PathFields, PathTemplate, UrlParts};
use crate::policy::Policy;
use crate::policy::redact::identity;
use crate::time::{self, Micros};

/// The version of the mapping below; rows of the events table carry it.
pub const MAPPING_VERSION: &str = "urls/1";

/// The names under which a JSON event may hold its URL, tried in this order.
const URL_FIELDS: [&str; 7] = ["url", "attachment_url", "attachmentUrl", "URL", "href", "link", "uri"];

/// One kind of event with its policy. The preset is `urls`: one URL in each event, as plain text, as a JSON text or
/// as a JSON object that holds it in a field.
#[derive(Debug, Clone)]
pub struct Source {
    /// The source's name; its topics and tables begin with it.
    pub name: String,
    /// What may be fetched.
    pub policy: Policy,
    /// Which types of files may be stored.
    pub file_types: FileTypes,
    /// Where objects go.
    pub path: PathTemplate,
}

/// An event as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct RawEvent<'a> {
    /// The event's bytes.
    pub bytes: &'a [u8],
    /// The field that holds the URL, where it is not one of the usual ones.
    pub url_field: Option<&'a str>,
    /// The whole length in bytes, if only the beginning was kept.
    pub truncated: Option<u64>,
    /// When the log took it.
    pub ingested_at: Micros,
}

/// An event that could be decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Groups what belongs together; the key of its messages.
    pub trace_id: String,
    /// The event's own id, if it has one.
    pub event_id: Option<String>,
    /// The event's time, verbatim.
    pub event_time: Option<String>,
    /// Its attachments, each once.
    pub attachments: Vec<Attachment>,
}

/// One attachment of an event, and whether it may be fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// The task; for a refused attachment its path is empty.
    pub task: Task,
    /// Why our policy refuses it.
    pub refused: Option<Failure>,
}

impl Source {
    /// Decodes an event and judges each of its attachments. An error is a poison event.
    pub fn plan(&self, raw: &RawEvent<'_>) -> Result<Event, Failure> {
        if let Some(length) = raw.truncated {
            return Err(poison(format!("the event is {length} bytes long, longer than is accepted")));
        }
        let decoded = decode(raw.bytes, raw.url_field)?;
        let url = decoded.url.trim();
        if url.is_empty() {
            return Err(poison("the event's URL is empty"));
        }
        let media_id = ids::url_media_id(url);
        let trace_id = media_id.to_string();
        let event_time = decoded.event_time.clone();
        let attachment = self.attachment(media_id, &trace_id, url, event_time.clone(), raw.ingested_at);
        Ok(Event { trace_id, event_id: decoded.event_id, event_time, attachments: vec![attachment] })
    }

    fn attachment(
        &self,
        media_id: Uuid,
        trace_id: &str,
        url: &str,
        event_time: Option<String>,
        ingested_at: Micros,
    ) -> Attachment {
        let mut task = Task {
            v: VERSION,
            source: self.name.clone(),
            trace_id: trace_id.to_owned(),
            media_id,
            url: url.to_owned(),
            event_time,
            ingested_at,
            ..Task::default()
        };
        let refused = match self.judge(&task) {
            Ok(path) => {
                task.path = path;
                None
            }
            Err(failure) => Some(failure),
        };
        Attachment { task, refused }
    }

    /// The object path of a task whose URL is allowed, or why it is not.
    fn judge(&self, task: &Task) -> Result<String, Failure> {
        let checked = self.policy.check_url(&task.url)?;
        let extension = file_type::extension_of(checked.url.path(), checked.url.query());
        self.file_types.check_extension(extension.as_deref())?;
        let unusable = || Failure::new(Class::Rejected, Reason::InvalidUrl, "the URL names no host");
        let url = UrlParts::of(&identity(&task.url)).ok_or_else(unusable)?;
        let day = time::partition_day(task.event_time.as_deref().and_then(time::parse_event_time), task.ingested_at);
        let event_date = time::format(i64::from(day) * time::DAY)[..10].to_owned();
        let (media_id, trace_id) = (task.media_id.to_string(), task.trace_id.clone());
        Ok(self.path.render(&PathFields { url, media_id, trace_id, event_date, columns: BTreeMap::new() }))
    }

    /// Judges what a body really is, by its declared type and its first bytes; returns the column `file_type`.
    pub fn judge_body(&self, url: &str, content_type: Option<&str>, first_bytes: &[u8]) -> Result<String, Failure> {
        let parsed = Url::parse(url).ok();
        let extension = parsed.and_then(|url| file_type::extension_of(url.path(), url.query()));
        let declared = file_type::declared_type(content_type);
        self.file_types.check(extension.as_deref(), declared, first_bytes).map(|verdict| verdict.file_type)
    }
}

/// The media id of an event of the preset `urls` without judging it: for skipping quickly what is known.
pub fn media_id_of(bytes: &[u8], url_field: Option<&str>) -> Option<Uuid> {
    let decoded = decode(bytes, url_field).ok()?;
    let url = decoded.url.trim();
    (!url.is_empty()).then(|| ids::url_media_id(url))
}

struct Decoded<'a> {
    url: Cow<'a, str>,
    event_id: Option<String>,
    event_time: Option<String>,
}

fn decode<'a>(bytes: &'a [u8], url_field: Option<&str>) -> Result<Decoded<'a>, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|e| poison(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    let text = text.trim().trim_start_matches('\u{feff}');
    match text.as_bytes().first() {
        Some(b'{') => decode_object(text, url_field),
        Some(b'"') => {
            let url: String = serde_json::from_str(text).map_err(|e| poison(format!("not a JSON text: {e}")))?;
            Ok(Decoded { url: url.into(), event_id: None, event_time: None })
        }
        Some(b'[') => Err(poison("a JSON list; expected an object with a field `url`, one a line")),
        _ => Ok(Decoded { url: text.into(), event_id: None, event_time: None }),
    }
}

fn decode_object<'a>(text: &str, url_field: Option<&str>) -> Result<Decoded<'a>, Failure> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|e| poison(format!("not a JSON object: {e}")))?;
    let found = match url_field {
        Some(field) => object.get(field),
        None => URL_FIELDS.iter().find_map(|field| object.get(*field)),
    };
    let url = match found {
        Some(Value::String(url)) => url.clone(),
        Some(other) => return Err(poison(format!("the URL field holds {}, not a text", kind_of(other)))),
        None => return Err(poison(missing_field(&object, url_field))),
    };
    Ok(Decoded { url: url.into(), event_id: text_of(object.get("id")), event_time: text_of(object.get("event_time")) })
}

fn missing_field(object: &serde_json::Map<String, Value>, url_field: Option<&str>) -> String {
    let wanted = url_field.map_or_else(|| URL_FIELDS.join("`, `"), str::to_owned);
    let there: Vec<&str> = object.keys().map(String::as_str).take(12).collect();
    format!("no field `{wanted}`; the event has: {} (name the right one with --url-col)", there.join(", "))
}

fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn poison(message: impl Into<String>) -> Failure {
    Failure::new(Class::Poison, Reason::Undecodable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            name: "urls".into(),
            policy: Policy::default(),
            file_types: FileTypes::default(),
            path: PathTemplate::parse("{host}/{path}").expect("template"),
        }
    }

    fn plan(bytes: &[u8]) -> Result<Event, Failure> {
        source().plan(&RawEvent { bytes, url_field: None, truncated: None, ingested_at: 1_795_463_132_000_000 })
    }

    fn only(bytes: &[u8]) -> Attachment {
        let mut event = plan(bytes).expect("decodes");
        assert_eq!(event.attachments.len(), 1);
        event.attachments.remove(0)
    }

    #[test]
    fn every_spelling_of_an_event_is_the_same_attachment() {
        let plain = only(b"https://example.com/docs/a.pdf");
        assert_eq!(plain.refused, None);
        assert_eq!(plain.task.path, "example.com/docs/a.pdf");
        assert_eq!(plain.task.trace_id, plain.task.media_id.to_string());
        for line in [
            &b"  https://example.com/docs/a.pdf\r"[..],
            b"\"https://example.com/docs/a.pdf\"",
            b"{\"url\": \"https://example.com/docs/a.pdf\"}",
            b"\xef\xbb\xbf{\"id\": 7, \"attachmentUrl\": \" https://example.com/docs/a.pdf \"}",
        ] {
            assert_eq!(only(line).task.media_id, plain.task.media_id, "{}", String::from_utf8_lossy(line));
            assert_eq!(media_id_of(line, None), Some(plain.task.media_id));
        }
    }

    #[test]
    fn a_named_field_wins() {
        let raw = RawEvent {
            bytes: br#"{"url":"https://a.example/1","doc":"https://b.example/2"}"#,
            url_field: Some("doc"),
            truncated: None,
            ingested_at: 0,
        };
        let event = source().plan(&raw).expect("decodes");
        assert_eq!(event.attachments[0].task.url, "https://b.example/2");
    }

    #[test]
    fn what_cannot_be_decoded_is_poison_with_a_reason() {
        for (line, says) in [
            (&b"{\"url\": \"https://exa"[..], "not a JSON object"),
            (b"{\"url\": 7}", "holds a number"),
            (b"{\"link_to\": \"x\"}", "the event has: link_to"),
            (b"[\"https://example.com\"]", "a JSON list"),
            (b"\xff\xfe", "not UTF-8 at byte 0"),
            (b"{\"url\": \"\"}", "URL is empty"),
        ] {
            let failure = plan(line).expect_err("poison");
            assert_eq!((failure.class, failure.reason), (Class::Poison, Reason::Undecodable));
            assert!(failure.message.contains(says), "{} does not say {says}", failure.message);
        }
    }

    #[test]
    fn deep_nesting_is_poison_and_not_a_crash() {
        let mut line = b"{\"url\":".to_vec();
        line.extend(std::iter::repeat_n(b'[', 10_000));
        assert_eq!(plan(&line).expect_err("poison").class, Class::Poison);
    }

    #[test]
    fn a_refused_attachment_keeps_its_id_and_has_no_path() {
        let refused = only(b"http://169.254.169.254/latest/meta-data");
        assert_eq!(refused.refused.map(|f| f.class), Some(Class::Rejected));
        assert_eq!(refused.task.path, "");
        let nonsense = only(b"not a url at all");
        assert_eq!(nonsense.refused.map(|f| f.reason), Some(Reason::InvalidUrl));
    }

    #[test]
    fn an_event_that_was_cut_is_poison() {
        let raw = RawEvent { bytes: b"https://example.com/a", url_field: None, truncated: Some(10_000_000), ingested_at: 0 };
        assert!(source().plan(&raw).expect_err("poison").message.contains("10000000 bytes"));
    }
}
