use super::*;
use crate::outcome::Class;
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::source::{Event, Identity, Mapping, Planned, RawEvent, Route, Source, When};

const EVENT: &[u8] = br#"{"type":"a.b","traceId":"t","data":{"assignmentId":"A","attachments":["https://h/own.pdf"]}}"#;

fn columns(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn source(enrich: EnrichMapping) -> Source {
    let mapping = Mapping::Xact;
    let known = [mapping.path_columns(), enrich.columns().collect()].concat();
    Source {
        name: "xact".into(),
        path: PathTemplate::parse_with("{policy}/{filename}", &known).expect("template"),
        file_types: mapping.default_file_types(),
        mapping,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        route: None,
        enrich: Some(enrich),
    }
}

fn plan(source: &Source, answer: Option<&[u8]>) -> Result<Event, Failure> {
    let raw = RawEvent { enrichment: answer, ..RawEvent::of(EVENT, 0) };
    source.plan(&raw).map(|planned| planned.event().expect("ours"))
}

fn urls(event: &Event) -> Vec<&str> {
    event.attachments.iter().map(|a| a.task.url.as_str()).collect()
}

#[test]
fn the_answer_gives_attachments_and_columns() {
    let source = source(EnrichMapping::new(Some("files[].href"), &columns(&[("policy", "policy.no")])).expect("mapping"));
    let answer = br#"{"files":[{"href":"https://h/x.pdf"},{"href":"https://h/y.pdf"}],"policy":{"no":42}}"#;
    let event = plan(&source, Some(answer)).expect("decodes");
    assert_eq!(urls(&event), ["https://h/x.pdf", "https://h/y.pdf"]);
    assert_eq!((event.columns["policy"].as_str(), event.columns["assignment_id"].as_str()), ("42", "A"));
    assert_eq!(event.attachments[0].task.path, "42/A_x.pdf");
    let shape = source.shape();
    for columns in [shape.attachments, shape.failed, shape.events] {
        assert!(columns.contains(&"policy".to_owned()));
    }
}

#[test]
fn an_event_with_its_answer_stays_ours_whatever_the_route_says() {
    let when = When::Header { name: "kind".into(), any_of: vec!["xact".into()] };
    let route = Route::new(&[("xact".to_owned(), Some(when)), ("rest".to_owned(), None)], "xact").expect("route");
    let of_all = source(EnrichMapping::new(Some("files"), &columns(&[("policy", "p")])).expect("mapping"));
    let source = Source { route: Some(route), ..of_all };
    assert_eq!(urls(&plan(&source, Some(b"{\"files\":[\"https://h/x.pdf\"]}")).expect("decodes")), ["https://h/x.pdf"]);
    assert_eq!(source.plan(&RawEvent::of(EVENT, 0)), Ok(Planned::Elsewhere));
}

#[test]
fn without_an_expression_the_events_own_attachments_stay() {
    let source = source(EnrichMapping::new(None, &columns(&[("policy", "p")])).expect("mapping"));
    assert_eq!(urls(&plan(&source, Some(b"{\"p\":\"1\"}")).expect("decodes")), ["https://h/own.pdf"]);
    assert_eq!(urls(&plan(&source, None).expect("decodes")), ["https://h/own.pdf"]);
}

#[test]
fn an_answer_without_attachments_leaves_none() {
    let source = source(EnrichMapping::new(Some("files"), &columns(&[("policy", "p")])).expect("mapping"));
    for (answer, without_list) in [(&b"{}"[..], false), (b"{\"files\":[]}", false), (b"{\"files\":7}", true)] {
        let event = plan(&source, Some(answer)).expect("decodes");
        assert!(event.attachments.is_empty());
        assert_eq!(event.without_list, without_list);
    }
}

#[test]
fn an_answer_that_is_no_json_is_poison() {
    let source = source(EnrichMapping::new(Some("files"), &columns(&[("policy", "p")])).expect("mapping"));
    for answer in [&b""[..], b"<html>", b"\xff", b"{\"a\":1,\"a\":2}"] {
        let failure = plan(&source, Some(answer)).expect_err("poison");
        assert_eq!(failure.class, Class::Poison);
        assert!(failure.message.contains("the answer"), "{}", failure.message);
    }
}

#[test]
fn the_version_follows_the_expressions() {
    let version =
        |attachments| source(EnrichMapping::new(attachments, &columns(&[("policy", "p")])).expect("mapping")).mapping_version();
    assert!(version(None).starts_with("xact/1+enrich/"));
    assert_ne!(version(Some("a")), version(Some("b")));
}

#[test]
fn wrong_expressions_and_names_are_refused() {
    assert_eq!(EnrichMapping::new(Some("a["), &[]).expect_err("wrong").field, "attachments");
    assert!(EnrichMapping::new(None, &columns(&[("media_id", "a")])).is_err());
    assert!(EnrichMapping::new(None, &columns(&[("a", "b"), ("a", "c")])).is_err());
}
