use super::*;
use crate::outcome::Class;
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::source::{Event, Identity, Mapping, Source};

const STRUCTURED: &str = r#"{"specversion":"1.0","id":"7","source":"/claims","type":"filed","time":"2026-11-23T19:45:32Z",
    "subject":"s-1","dataref":"https://h/ref.pdf","data":{"url":"https://h/a.pdf","urls":["https://h/b.pdf"],
    "attachments":["https://h/c.pdf",{"url":"https://h/d","name":"D.pdf"},null]}}"#;

fn source(fields: &[(&str, &str)]) -> Source {
    let fields: Vec<_> = fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mapping = Mapping::new(Some("cloudevents"), &fields).expect("mapping");
    Source {
        name: "ce".into(),
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: mapping.default_file_types(),
        path: PathTemplate::parse(mapping.default_path()).expect("template"),
        mapping,
        route: None,
        enrich: None,
    }
}

fn plan(headers: &[(&str, &str)], body: &str) -> Result<Event, Failure> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned()))).collect();
    let raw = RawEvent { headers: &headers, ..RawEvent::of(body.as_bytes(), 0) };
    source(&[]).plan(&raw).map(|planned| planned.event().expect("ours"))
}

fn urls(event: &Event) -> Vec<&str> {
    event.attachments.iter().map(|a| a.task.url.as_str()).collect()
}

fn refusal(headers: &[(&str, &str)], body: &str) -> String {
    let failure = plan(headers, body).expect_err(body);
    assert_eq!(failure.class, Class::Poison);
    failure.message
}

const BINARY: [(&str, &str); 4] = [("ce_specversion", "1.0"), ("ce_id", "7"), ("ce_source", "/claims"), ("ce_type", "filed")];

#[test]
fn a_structured_event_is_read() {
    let event = plan(&[("content-type", "application/cloudevents+json")], STRUCTURED).expect("decodes");
    assert_eq!((event.trace_id.as_str(), event.event_id.as_deref()), ("/claims/7", Some("7")));
    assert_eq!((event.event_type.as_deref(), event.event_time.as_deref()), (Some("filed"), Some("2026-11-23T19:45:32Z")));
    let all = ["https://h/ref.pdf", "https://h/a.pdf", "https://h/b.pdf", "https://h/c.pdf", "https://h/d"];
    assert_eq!(urls(&event), all);
    assert_eq!(event.attachments[4].task.file_name.as_deref(), Some("D.pdf"));
    assert_eq!((event.columns["ce_source"].as_str(), event.columns["ce_subject"].as_str()), ("/claims", "s-1"));
}

#[test]
fn a_binary_event_is_the_same_event_over_kafka_and_http() {
    let body = r#"{"url":"https://h/a.pdf"}"#;
    let kafka = plan(&BINARY, body).expect("decodes");
    let http = [("Ce-Specversion", "1.0"), ("Ce-Id", "%37"), ("Ce-Source", "/claims"), ("Ce-Type", "filed")];
    let same = format!(r#"{{"specversion":"1.0","id":"7","source":"/claims","type":"filed","data":{body}}}"#);
    for other in [plan(&http, body), plan(&[], &same)] {
        let other = other.expect("decodes");
        assert_eq!((&other.trace_id, urls(&other)), (&kafka.trace_id, urls(&kafka)));
        assert_eq!(other.attachments[0].task.media_id, kafka.attachments[0].task.media_id);
    }
}

#[test]
fn the_body_of_a_binary_event_is_read_by_its_declared_type() {
    let with = |content_type: &'static str| [&BINARY[..], &[("content-type", content_type)]].concat();
    let body = r#"{"url":"https://h/a.pdf"}"#;
    for json in ["application/json; charset=utf-8", "text/json", "application/vnd.claims+json"] {
        assert_eq!(urls(&plan(&with(json), body).expect(json)), ["https://h/a.pdf"], "{json}");
    }
    assert!(plan(&with("text/plain"), body).expect("a text").attachments.is_empty());
    assert!(plan(&with("application/json"), "").expect("no data").attachments.is_empty());
    assert!(refusal(&with("application/json"), "nonsense").contains("the data of the event is not JSON"));
    assert!(refusal(&BINARY, r#"{"url":"https:"#).contains("the data of the event ends too early"));
    assert!(refusal(&BINARY, r#"{"url":"a","url":"b"}"#).contains("stands twice"));
    let raw_headers: Vec<_> = with("image/png").iter().map(|(n, v)| ((*n).to_owned(), Bytes::from((*v).to_owned()))).collect();
    let raw = RawEvent { headers: &raw_headers, ..RawEvent::of(b"\x89PNG\xff", 0) };
    assert!(source(&[]).plan(&raw).is_ok());
}

#[test]
fn what_must_be_there_is_named_where_it_is_missing() {
    for name in REQUIRED {
        let mut event: serde_json::Value = serde_json::from_str(STRUCTURED).expect("JSON");
        for missing in [None, Some(""), Some("  ")] {
            match missing {
                None => drop(event.as_object_mut().and_then(|members| members.remove(name))),
                Some(text) => event[name] = text.into(),
            }
            let message = refusal(&[], &event.to_string());
            assert_eq!(message, format!("the CloudEvents attribute `{name}` is missing or empty"));
        }
        let headers: Vec<_> = BINARY.into_iter().filter(|(header, _)| !header.ends_with(name)).collect();
        assert_eq!(refusal(&headers, "{}"), format!("the CloudEvents attribute `{name}` is missing or empty"));
    }
}

#[test]
fn other_shapes_are_poison_with_a_reason() {
    assert!(refusal(&[], "[]").contains("a batch of CloudEvents"));
    assert!(refusal(&[], "7").contains("the event is a number"));
    let twice = [&BINARY[..], &[("ce-id", "8")]].concat();
    assert!(refusal(&twice, "{}").contains("`id` stands twice"));
}

#[test]
fn base64_data_is_read_where_it_is_json() {
    let event = |data: &str| format!(r#"{{"specversion":"1.0","id":"7","source":"s","type":"t","data_base64":{data}}}"#);
    let json = STANDARD.encode(r#"{"url":"https://h/a.pdf"}"#);
    assert_eq!(urls(&plan(&[], &event(&format!("\"{json}\""))).expect("decodes")), ["https://h/a.pdf"]);
    assert!(plan(&[], &event(&format!("\"{}\"", STANDARD.encode(b"\x89PNG")))).expect("bytes").attachments.is_empty());
    for wrong in ["\"%%%\"", "7"] {
        assert!(refusal(&[], &event(wrong)).contains("`data_base64` is not base64"), "{wrong}");
    }
}

#[test]
fn the_users_expressions_win_and_add() {
    let source = source(&[("trace_id", "data.claim"), ("attachments", "data.docs"), ("branch", "data.branch")]);
    let body = br#"{"specversion":"1.0","id":"7","source":"s","type":"t","data":{"claim":"c1","docs":["https://h/x"],"url":"https://h/y","branch":"b"}}"#;
    let event = source.plan(&RawEvent::of(body, 0)).expect("decodes").event().expect("ours");
    assert_eq!((event.trace_id.as_str(), urls(&event)), ("c1", vec!["https://h/x"]));
    assert_eq!(source.shape().events, ["branch", "ce_source", "ce_subject"]);
    assert_ne!(source.mapping_version(), super::super::Mapping::preset("cloudevents").expect("preset").version());
}
