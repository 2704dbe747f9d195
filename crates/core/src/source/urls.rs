//! The preset `urls`: one URL in each event, as plain text, as a JSON text, or in a field of a JSON object.

use jmespath::Variable;
use uuid::Uuid;

use super::{Decoded, Item, Link, RawEvent, json, poison};
use crate::ids;
use crate::outcome::Failure;

/// The version of this mapping.
pub(super) const VERSION: &str = "urls/1";

/// The names under which a JSON event may hold its URL, tried in this order.
const URL_FIELDS: [&str; 7] = ["url", "attachment_url", "attachmentUrl", "URL", "href", "link", "uri"];

/// The media id of an event of the preset `urls` without judging it: for skipping quickly what is known.
pub fn media_id_of(bytes: &[u8], url_field: Option<&str>) -> Option<Uuid> {
    url_of(bytes, url_field).map(|url| ids::url_media_id(&url))
}

/// The URL of an event of the preset `urls`, as its task has it; nothing where the event cannot be decoded.
pub fn url_of(bytes: &[u8], url_field: Option<&str>) -> Option<String> {
    match read(bytes, url_field).ok()?.items.into_iter().next()? {
        Item::Url(link) => Some(link.url),
        Item::Odd { .. } => None,
    }
}

pub(super) fn decode(raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
    read(raw.bytes, raw.url_field)
}

fn read(bytes: &[u8], url_field: Option<&str>) -> Result<Decoded, Failure> {
    let text = json::text_of("the event", bytes)?;
    match text.as_bytes().first() {
        Some(b'{') => decode_object(text, url_field),
        Some(b'"') => of_url(serde_json::from_str(text).map_err(|error| json::fault("the event", &error))?),
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
    let event = json::parse("the event", text)?;
    let fields = url_field.map_or(URL_FIELDS.to_vec(), |field| vec![field]);
    let found = fields.iter().find_map(|field| event.as_object()?.get(*field));
    let url = match found.map(|value| &**value) {
        Some(Variable::String(url)) => url.clone(),
        Some(other) => return Err(poison(format!("the URL field holds {}, not a text", json::kind(other)))),
        None => return Err(poison(missing_field(&event, &fields))),
    };
    let (event_id, event_time) = (text_of(&event.get_field("id")), text_of(&event.get_field("event_time")));
    Ok(Decoded { event_id, event_time, ..of_url(url)? })
}

fn missing_field(event: &Variable, wanted: &[&str]) -> String {
    let keys = event.as_object().into_iter().flat_map(|members| members.keys());
    let there: Vec<String> = keys.take(12).map(|key| json::named(key)).collect();
    let wanted = wanted.join("`, `");
    format!("no field `{wanted}`; the event has: {} (name the right one with --url-col)", there.join(", "))
}

fn text_of(value: &Variable) -> Option<String> {
    match value {
        Variable::Number(number) => Some(number.to_string()),
        value => json::filled(value).map(str::to_owned),
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
            route: None,
            enrich: None,
        }
    }

    fn plan(bytes: &[u8]) -> Result<Event, Failure> {
        planned(&RawEvent::of(bytes, 1_795_463_132_000_000))
    }

    fn planned(raw: &RawEvent<'_>) -> Result<Event, Failure> {
        source().plan(raw).map(|planned| planned.event().expect("ours"))
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
        let bytes = br#"{"url":"https://a.example/1","doc":"https://b.example/2"}"#;
        let event = planned(&RawEvent { url_field: Some("doc"), ..RawEvent::of(bytes, 0) }).expect("decodes");
        assert_eq!(event.attachments[0].task.url, "https://b.example/2");
    }

    #[test]
    fn what_cannot_be_decoded_is_poison_with_a_reason() {
        for (line, says) in [
            (&b"{\"url\": \"https://exa"[..], "the event ends too early"),
            (b"{\"url\": 7}", "holds a number"),
            (b"{\"link_to\": \"x\"}", "the event has: link_to"),
            (b"[\"https://example.com\"]", "a JSON list"),
            (b"\xff\xfe", "not UTF-8 at byte 0"),
            (b"{\"url\": \"\"}", "URL is empty"),
            (b"{\"url\": \"https://a\", \"url\": \"https://b\"}", "the key `url` stands twice"),
            (b"{\"url\": \"https://a\", \"x\": {\"y\": 1, \"y\": 2}}", "the key `y` stands twice"),
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
        let raw = RawEvent { truncated: Some(10_000_000), ..RawEvent::of(b"https://example.com/a", 0) };
        assert!(planned(&raw).expect_err("poison").message.contains("10000000 bytes"));
    }
}
