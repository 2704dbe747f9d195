use longshore_core::file_type::FileTypes;
use longshore_core::format::Enriched;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::source::{EnrichMapping, Identity, Mapping};

use super::*;

fn received(value: Vec<u8>) -> Received {
    Received { offset: 7, appended_at: 0, message: Message { value: Some(value.into()), ..Message::default() } }
}

#[test]
fn an_enriched_event_of_a_newer_longshore_stops_the_stage_and_is_not_left_out() {
    let source = Source {
        name: "s".into(),
        mapping: Mapping::Xact,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{media_id}").expect("path"),
        route: None,
        enrich: Some(EnrichMapping::new(Some("files"), &[]).expect("mapping")),
    };
    let rows = |value: Vec<u8>| event_rows(&source, &source.shape(), "s.events", &[received(value)], 0);
    let enriched = Enriched { event: br#"{"type":"a","traceId":"t"}"#[..].into(), answer: b"{}" }.encode().expect("JSON");
    assert_eq!(rows(enriched).expect("rows").len(), 1);
    assert_eq!(rows(b"rubbish".to_vec()).expect("rows").len(), 0);
    let stopped = rows(br#"{"v":9,"other":1}"#.to_vec()).expect_err("a newer format").to_string();
    assert!(stopped.contains("s.events at offset 7") && stopped.contains("format version 9"), "{stopped}");
}
