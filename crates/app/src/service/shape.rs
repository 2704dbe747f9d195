//! What a body holds, by its content type: one event, an event a line, or CloudEvents (HTTP binding 1.0.2 §3).

use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use longshore_core::path::percent_decoded;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::admission::MAX_EVENTS;
use super::{MAX_EVENT, Refusal};

/// The shape of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// One event in JSON.
    Json,
    /// One event a line.
    Lines,
    /// One CloudEvent in JSON; the content type goes along.
    Structured(Bytes),
    /// A list of CloudEvents in JSON.
    Batch,
    /// The data of one CloudEvent, whose attributes are headers.
    Binary(Vec<(String, Bytes)>),
}

/// One event of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) bytes: Bytes,
    /// Its line in the body, or its number in the list, from 1.
    pub(super) line: u64,
    /// Headers of the message that it becomes.
    pub(super) headers: Vec<(String, Bytes)>,
}

impl Shape {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let encoding = headers.get(header::CONTENT_ENCODING).map_or(&b"identity"[..], |value| value.as_bytes());
        if !encoding.eq_ignore_ascii_case(b"identity") {
            return Err(unsupported("a packed body is not taken", "send it without Content-Encoding"));
        }
        let value = headers.get(header::CONTENT_TYPE);
        let written = value.map(|value| Bytes::copy_from_slice(value.as_bytes())).unwrap_or_default();
        let media_type = written.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match media_type.as_slice() {
            b"application/cloudevents+json" => Ok(Shape::Structured(written)),
            b"application/cloudevents-batch+json" => Ok(Shape::Batch),
            _ if headers.contains_key("ce-specversion") => Ok(Shape::Binary(attributes(headers, written))),
            b"application/json" => Ok(Shape::Json),
            b"application/x-ndjson" | b"application/ndjson" | b"application/jsonl" | b"text/plain" => Ok(Shape::Lines),
            _ => Err(unsupported("the content type is not one that events come in", TYPES)),
        }
    }

    /// The events of a body.
    pub(super) fn events(self, body: &Bytes) -> Result<Vec<Posted>, Refusal> {
        match self {
            Shape::Json => one_json(body, Vec::new()),
            Shape::Structured(written) => one_json(body, vec![("content-type".to_owned(), written)]),
            Shape::Lines => lines(body),
            Shape::Batch => batch(body),
            Shape::Binary(headers) => Ok(vec![Posted { bytes: fitting(body.clone(), 1)?, line: 1, headers }]),
        }
    }
}

const TYPES: &str = "send Content-Type: application/json for one event, application/x-ndjson or text/plain for one a line, \
                     application/cloudevents+json or application/cloudevents-batch+json";

fn unsupported(error: &str, remedy: &str) -> Refusal {
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, remedy)
}

/// The attributes as the log has them: `ce_` before the name, values without percent-encoding (§3.1.3).
fn attributes(headers: &HeaderMap, content_type: Bytes) -> Vec<(String, Bytes)> {
    let attribute = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        let name = name.as_str().strip_prefix("ce-")?;
        let value = percent_decoded(&String::from_utf8_lossy(value.as_bytes()));
        Some((format!("ce_{name}"), Bytes::from(value)))
    };
    let own = (!content_type.is_empty()).then(|| ("content-type".to_owned(), content_type));
    headers.iter().filter_map(attribute).chain(own).collect()
}

fn fitting(bytes: Bytes, line: u64) -> Result<Bytes, Refusal> {
    if bytes.len() <= MAX_EVENT {
        return Ok(bytes);
    }
    let error = format!("the event in line {line} has {} bytes, and {MAX_EVENT} are allowed; no event was taken", bytes.len());
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send it without what nobody needs, or leave it out"))
}

fn one_json(body: &Bytes, headers: Vec<(String, Bytes)>) -> Result<Vec<Posted>, Refusal> {
    let bytes = fitting(body.slice_ref(body.trim_ascii()), 1)?;
    serde_json::from_slice::<IgnoredAny>(&bytes).map_err(|error| no_json("one JSON value", &error))?;
    Ok(vec![Posted { bytes, line: 1, headers }])
}

/// A parser's words on a place, without what stands there.
fn no_json(expected: &str, error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    let error = format!("the body is not {expected}: see line {line}, column {column}");
    Refusal::new(StatusCode::BAD_REQUEST, error, "correct it; for one event a line send Content-Type: application/x-ndjson")
}

fn lines(body: &Bytes) -> Result<Vec<Posted>, Refusal> {
    let mut events = Vec::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if !line.is_empty() {
            add(&mut events, Posted { bytes: fitting(body.slice_ref(line), number)?, line: number, headers: Vec::new() })?;
        }
    }
    Ok(events)
}

fn add(events: &mut Vec<Posted>, event: Posted) -> Result<(), Refusal> {
    if events.len() == MAX_EVENTS {
        return Err(too_many());
    }
    events.push(event);
    Ok(())
}

fn too_many() -> Refusal {
    let error = format!("the body has more than {MAX_EVENTS} events; none was taken");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send fewer at once")
}

fn batch(body: &Bytes) -> Result<Vec<Posted>, Refusal> {
    let Elements(elements) = serde_json::from_slice(body).map_err(|error| no_json("a JSON list", &error))?;
    let mut events = Vec::new();
    for (number, element) in (1..).zip(elements) {
        let bytes = fitting(body.slice_ref(element.get().as_bytes()), number)?;
        add(&mut events, Posted { bytes, line: number, headers: Vec::new() })?;
    }
    Ok(events)
}

/// The elements of a JSON list as they are written; of more than [`MAX_EVENTS`] only one more.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> serde::Deserialize<'de> for Elements<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= MAX_EVENTS
            && let Some(element) = list.next_element()?
        {
            elements.push(element);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Elements(elements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pairs: &[(&'static str, &'static str)]) -> Result<Shape, StatusCode> {
        let header = |(name, value): &(&'static str, &'static str)| {
            (header::HeaderName::from_static(name), header::HeaderValue::from_static(value))
        };
        Shape::of(&pairs.iter().map(header).collect()).map_err(|refusal| refusal.status)
    }

    fn texts(shape: Shape, body: &'static str) -> Vec<(u64, String)> {
        let events = shape.events(&Bytes::from_static(body.as_bytes())).expect("events");
        events.into_iter().map(|event| (event.line, String::from_utf8(event.bytes.to_vec()).expect("text"))).collect()
    }

    fn status(shape: Shape, body: impl Into<Bytes>) -> StatusCode {
        shape.events(&body.into()).expect_err("refused").status
    }

    #[test]
    fn a_content_type_says_the_shape_and_others_are_refused() {
        assert_eq!(shape(&[("content-type", "application/json; charset=utf-8")]), Ok(Shape::Json));
        assert_eq!(shape(&[("content-type", "Text/Plain")]), Ok(Shape::Lines));
        assert_eq!(shape(&[("content-type", "application/cloudevents-batch+json")]), Ok(Shape::Batch));
        let refused = Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(shape(&[("content-type", "application/x-www-form-urlencoded")]), refused);
        assert_eq!(shape(&[]), refused);
        assert_eq!(shape(&[("content-type", "application/json"), ("content-encoding", "gzip")]), refused);
    }

    #[test]
    fn one_event_may_be_printed_over_many_lines_and_must_be_one() {
        assert_eq!(texts(Shape::Json, "\n{\n  \"a\": 1\n}\n"), [(1, "{\n  \"a\": 1\n}".to_owned())]);
        for wrong in ["", "{", "{} {}", "{}\n{}", "nonsense"] {
            assert_eq!(status(Shape::Json, wrong), StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    #[test]
    fn blank_lines_count_and_are_no_events() {
        assert_eq!(texts(Shape::Lines, "\n{\"a\":1}\r\n\n  x  "), [(2, "{\"a\":1}".to_owned()), (4, "x".to_owned())]);
        assert_eq!(texts(Shape::Lines, ""), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_too_many_are_refused() {
        let mut body = b"{}\n".to_vec();
        body.resize(3 + MAX_EVENT, b'x');
        assert_eq!(Shape::Lines.events(&body.clone().into()).expect("fits").len(), 2);
        body.push(b'x');
        let refusal = Shape::Lines.events(&body.into()).expect_err("refused");
        assert!(format!("{refusal:?}").contains("line 2"), "{refusal:?}");
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(status(Shape::Lines, "1\n".repeat(MAX_EVENTS + 1)), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(status(Shape::Batch, format!("[{}1]", "1,".repeat(MAX_EVENTS))), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn a_batch_keeps_each_event_to_the_letter() {
        assert_eq!(texts(Shape::Batch, "[ {\"a\": 1.0} ,\n[2]]"), [(1, "{\"a\": 1.0}".to_owned()), (2, "[2]".to_owned())]);
        assert_eq!(texts(Shape::Batch, "[]"), []);
        assert_eq!(status(Shape::Batch, "{}"), StatusCode::BAD_REQUEST);
        assert_eq!(status(Shape::Batch, "[{}"), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_attributes_of_a_binary_event_become_headers() {
        let pairs =
            [("ce-specversion", "1.0"), ("ce-subject", "Euro%20%E2%82%AC"), ("content-type", "image/png"), ("x-other", "1")];
        let Ok(Shape::Binary(mut headers)) = shape(&pairs) else { panic!("not binary") };
        headers.sort();
        let named = |name: &str, value: &'static str| (name.to_owned(), Bytes::from_static(value.as_bytes()));
        assert_eq!(headers, [named("ce_specversion", "1.0"), named("ce_subject", "Euro €"), named("content-type", "image/png")]);
        let structured = shape(&[("content-type", "application/cloudevents+json")]).expect("structured");
        let events = structured.events(&Bytes::from_static(b"{}")).expect("one");
        assert_eq!(events[0].headers, [named("content-type", "application/cloudevents+json")]);
    }
}
