//! The preset `urls`: one URL in each event, as plain text, as a JSON text, or in a field of a JSON object.

use serde_json::Value;
use uuid::Uuid;

use super::{Decoded, Item, Link, RawEvent, poison};
use crate::ids;
use crate::outcome::Failure;

/// The version of this mapping.
pub(super) const VERSION: &str = "urls/1";

/// The names under which a JSON event may hold its URL, tried in this order.
const URL_FIELDS: [&str; 7] = ["url", "attachment_url", "attachmentUrl", "URL", "href", "link", "uri"];

/// The media id of an event of the preset `urls` without judging it: for skipping quickly what is known.
pub fn media_id_of(bytes: &[u8], url_field: Option<&str>) -> Option<Uuid> {
    let decoded = read(bytes, url_field).ok()?;
    match decoded.items.first()? {
        Item::Url(link) => Some(ids::url_media_id(&link.url)),
        Item::Odd(_) => None,
    }
}

pub(super) fn decode(raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
    read(raw.bytes, raw.url_field)
}

fn read(bytes: &[u8], url_field: Option<&str>) -> Result<Decoded, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|e| poison(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    let text = text.trim().trim_start_matches('\u{feff}');
    match text.as_bytes().first() {
        Some(b'{') => decode_object(text, url_field),
        Some(b'"') => of_url(serde_json::from_str(text).map_err(|e| poison(format!("not a JSON text: {e}")))?),
        Some(b'[') => Err(poison("a JSON list; expected an object with a field `url`, one a line")),
        _ => of_url(text.to_owned()),
    }
}

fn of_url(url: String) -> Result<Decoded, Failure> {
    let url = url.trim().to_owned();
    if url.is_empty() {
        return Err(poison("the event's URL is empty"));
    }
    Ok(Decoded { items: vec![Item::Url(Link { url, ..Link::default() })], ..Decoded::default() })
}

fn decode_object(text: &str, url_field: Option<&str>) -> Result<Decoded, Failure> {
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
    let (event_id, event_time) = (text_of(object.get("id")), text_of(object.get("event_time")));
    Ok(Decoded { event_id, event_time, ..of_url(url)? })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_type::FileTypes;
    use crate::outcome::{Class, Reason};
    use crate::path::PathTemplate;
    use crate::policy::Policy;
    use crate::source::{Attachment, Event, Identity, Mapping, Source};

    fn source() -> Source {
        Source {
            name: "urls".into(),
            mapping: Mapping::Urls,
            identity: Identity::Unsigned,
            policy: Policy::default(),
            file_types: FileTypes::default(),
            path: PathTemplate::parse("{host}/{path}").expect("template"),
        }
    }

    fn plan(bytes: &[u8]) -> Result<Event, Failure> {
        source().plan(&RawEvent { bytes, headers: &[], url_field: None, truncated: None, ingested_at: 1_795_463_132_000_000 })
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
            headers: &[],
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
        let raw = RawEvent {
            bytes: b"https://example.com/a",
            headers: &[],
            url_field: None,
            truncated: Some(10_000_000),
            ingested_at: 0,
        };
        assert!(source().plan(&raw).expect_err("poison").message.contains("10000000 bytes"));
    }
}
