//! Any bytes as an event of every preset: planning never panics, and what it accepts is fit for the stages.

#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use longshore_core::file_type::FileTypes;
use longshore_core::path::{PathTemplate, is_sanitised};
use longshore_core::policy::Policy;
use longshore_core::source::{EnrichMapping, Identity, Mapping, PRESETS, RawEvent, Source};

/// A source for each preset, one with expressions of a user, and one whose events are enriched.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let field = |name: &str, expression: &str| (name.to_owned(), expression.to_owned());
    let fields = [
        field("trace_id", "id"),
        field("event_time", "time || utcDateTime"),
        field("attachments", "data.attachments[].{url: @, file_name: name, headers: headers} || data.attachments"),
        field("kind", "type"),
    ];
    let mut sources: Vec<Source> =
        PRESETS.iter().map(|name| source(Mapping::preset(name).expect("a preset"))).collect();
    sources.push(source(Mapping::new(None, &fields).expect("a mapping")));
    let enrich = EnrichMapping::new(Some("data.attachments || Records[].s3.object.key"), &[]).expect("a mapping");
    sources.push(Source { enrich: Some(enrich), ..source(Mapping::Xact) });
    sources
});

/// What makes an event a CloudEvent in binary mode.
static BINARY: LazyLock<Vec<(String, Bytes)>> = LazyLock::new(|| {
    let header = |name: &str, value: &'static str| (name.to_owned(), Bytes::from_static(value.as_bytes()));
    vec![
        header("ce_specversion", "1.0"),
        header("ce_id", "1"),
        header("ce_source", "/s"),
        header("ce_type", "t"),
        header("content-type", "application/json"),
    ]
});

const EVENT: &[u8] = br#"{"type":"t","traceId":"1","data":{"assignmentId":1}}"#;

fn source(mapping: Mapping) -> Source {
    let columns = mapping.path_columns();
    let path = PathTemplate::parse_with(mapping.default_path(), &columns).expect("a template");
    Source {
        name: "fuzz".to_owned(),
        identity: Identity::Unsigned,
        policy: Policy { allow_http: true, ..Policy::default() },
        file_types: FileTypes::any(),
        path,
        route: None,
        enrich: None,
        mapping,
    }
}

fn check(source: &Source, raw: &RawEvent<'_>) {
    let Ok(planned) = source.plan(raw) else { return };
    assert_eq!(source.plan(raw).as_ref(), Ok(&planned), "two plans of one event differ");
    let event = planned.event().expect("without a route every event is ours");
    let ids: HashSet<_> = event.attachments.iter().map(|a| a.task.media_id).collect();
    assert_eq!(ids.len(), event.attachments.len(), "an attachment stands twice");
    for attachment in &event.attachments {
        let refused = attachment.refused.is_some();
        assert_eq!(refused, attachment.task.path.is_empty(), "refused, or with a path");
        assert!(refused || is_sanitised(&attachment.task.path));
    }
    source.shape().event_row(&source.mapping_version(), &event, raw, raw.ingested_at);
}

fuzz_target!(|bytes: &[u8]| {
    let plain = RawEvent::of(bytes, 1_795_463_132_000_000);
    for source in SOURCES.iter() {
        check(source, &plain);
        check(source, &RawEvent { headers: &BINARY, ..plain });
        check(source, &RawEvent { bytes: EVENT, enrichment: Some(bytes), ..plain });
    }
});
