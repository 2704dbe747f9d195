use super::*;
use crate::file_type::FileTypes;
use crate::outcome::{Class, Reason};
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::policy::known::Known;
use crate::source::{Identity, Mapping, RawEvent};

fn source(mapping: Mapping) -> Source {
    Source {
        name: "s".into(),
        mapping,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{media_id}").expect("template"),
        route: None,
        enrich: None,
    }
}

fn jmes(event: &str) -> (Source, Vec<u8>) {
    let fields = [("event_id", "id"), ("attachments", "files")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    (source(Mapping::new(None, &fields).expect("mapping")), event.into())
}

/// An event of each mapping that reads lists, with so many attachments.
fn events(count: usize) -> Vec<(Source, Vec<u8>)> {
    let urls: Vec<String> = (0..count).map(|n| format!("\"https://h.example/{n}\"")).collect();
    let records = vec![r#"{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}"#; count];
    let urls = urls.join(",");
    let cloud = format!(r#"{{"specversion":"1.0","id":"a","source":"s","type":"t","data":{{"urls":[{urls}]}}}}"#);
    vec![
        jmes(&format!(r#"{{"id":"a","files":[{urls}]}}"#)),
        (
            source(Mapping::Xact),
            format!(r#"{{"type":"a","traceId":"t","data":"{{\"attachments\":[{}]}}"}}"#, urls.replace('"', "\\\"")).into_bytes(),
        ),
        (source(Mapping::preset("cloudevents").expect("preset")), cloud.into_bytes()),
        (
            source(Mapping::preset("s3-notification").expect("preset")),
            format!(r#"{{"Records":[{}]}}"#, records.join(",")).into_bytes(),
        ),
    ]
}

#[test]
fn an_event_with_more_attachments_than_are_accepted_is_poison_whatever_reads_it() {
    for (source, event) in events(MAX_ATTACHMENTS) {
        assert!(source.outline(&RawEvent::of(&event, 0), &Known::default()).is_ok(), "{:?}", source.mapping);
    }
    for (source, event) in events(MAX_ATTACHMENTS + 1) {
        let raw = RawEvent::of(&event, 0);
        for refused in
            [source.outline(&raw, &Known::default()).map(drop), source.plan(&raw).map(drop), source.plan_row(&raw).map(drop)]
        {
            let refused = refused.expect_err("too many");
            assert_eq!((refused.class, refused.reason), (Class::Poison, Reason::Undecodable));
            assert_eq!(refused.message, "the event names 20001 attachments; at most 20000 are accepted");
        }
    }
}

#[test]
fn entries_that_are_nothing_are_not_counted() {
    let nulls = vec!["null"; MAX_ATTACHMENTS + 1].join(",");
    let (source, event) = jmes(&format!(r#"{{"id":"a","files":[{nulls},"https://h.example/a"]}}"#));
    let count = source.outline(&RawEvent::of(&event, 0), &Known::default()).map(|outline| outline.map_or(0, Iterator::count));
    assert_eq!(count, Ok(1));
}

#[test]
fn an_answer_with_too_many_attachments_is_refused_too() {
    let (source, event) = jmes(r#"{"id":"a"}"#);
    let enrich = Some(crate::source::EnrichMapping::new(Some("files"), &[]).expect("mapping"));
    let answer = format!(r#"{{"files":[{}]}}"#, vec!["\"https://h.example/a\""; MAX_ATTACHMENTS + 1].join(","));
    let raw = RawEvent { enrichment: Some(answer.as_bytes()), ..RawEvent::of(&event, 0) };
    let refused = Source { enrich, ..source }.plan(&raw).expect_err("too many");
    assert!(refused.message.contains("at most 20000"), "{}", refused.message);
}

#[test]
fn an_event_one_by_one_is_the_same_as_all_at_once() {
    let (source, event) = jmes(r#"{"id":"a","files":["https://h.example/a",7,"https://h.example/a","ftp://h.example/b",null]}"#);
    let raw = RawEvent::of(&event, 5);
    let all = source.plan(&raw).expect("decodes").event().expect("ours");
    let known = Known::default();
    let outline = source.outline(&raw, &known).expect("decodes").expect("ours");
    assert_eq!((all.attachments.len(), outline.collect::<Vec<_>>()), (3, all.attachments.clone()));
    let row = source.plan_row(&raw).expect("decodes").event().expect("ours");
    assert_eq!((row.attachments.len(), row.key(&raw)), (0, all.key(&raw)));
    assert_eq!(row.media_ids, all.attachments.iter().map(|a| a.task.media_id).collect::<Vec<_>>());
    assert_eq!(crate::source::Event { attachments: all.attachments.clone(), ..row }, all);
}
