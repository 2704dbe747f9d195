//! What a service tells of its work, at the most talkative: each piece with its fields, and nothing that is secret or names
//! people.

#![allow(clippy::unwrap_used)]

mod batch;
mod service_running;

use batch::{origin, until};
use serde_json::json;
use service_running::Service;

const SECRET: &str = "tell-nobody-3c81d2";

const CLAIMS: &str = "
sources:
  - name: claims
    map: {trace_id: id, attachments: 'files[].{url: url, file_name: name, headers: headers}'}
    columns: {note: note}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{filename}'
    retry: [200ms, 400ms]
    headers: {X-Every: tell-nobody-3c81d2}
";

/// The lines of an event of this name.
fn lines<'a>(said: &'a str, what: &str, fields: &[&str]) -> Vec<&'a str> {
    let lines = said.lines().filter(|line| line.contains("longshore_stages") && line.contains(what));
    lines.filter(|line| fields.iter().all(|field| line.contains(field))).collect()
}

#[test]
fn every_outcome_is_told_with_its_fields_and_no_secret_at_any_level() {
    let (origin, service) = (origin(), Service::new(CLAIMS, ""));
    let event = |id: &str, path: &str| {
        let url = origin.url(&format!("{path}/{SECRET}.pdf?token={SECRET}&name={SECRET}"));
        let file = json!({ "url": url, "name": format!("{SECRET}-{id}.pdf"), "headers": { "X-Own": SECRET } });
        json!({ "id": id, "files": [file], "note": SECRET }).to_string()
    };
    let events = [
        event("good", "/good"),
        event("again", "/fails-1"),
        event("gone", "/missing"),
        event("never", "/fails-99"),
        event("refused", "/good").replace("http://127.0.0.1", "http://10.0.0.1"),
        format!("{{{SECRET}"),
        format!("{{{SECRET}{}", "[".repeat(1 << 19)),
    ];
    let running = service.start_telling_all();
    for event in &events {
        assert_eq!(service.post("claims", std::slice::from_ref(event)).status, 202);
    }
    until("all have ended", || {
        service.idle() && service.count("claims", "attachments") == 2 && service.count("claims", "failed") == 3
    });
    assert_eq!(service.stop(running).code, Some(0));
    let said = std::fs::read_to_string(service.root.path().join("said.log")).unwrap();

    let pending = ["topic=\"claims.downloads.pending\"", "partition=0", "offset=", "source=\"claims\"", "media_id="];
    let input = ["topic=\"claims.events.raw\"", "partition=0", "offset=", "source=\"claims\""];
    for (level, what, at, fields, count) in [
        (
            "INFO",
            "dead letter",
            &pending[..],
            &["trace_id=\"gone\"", "class=\"permanent\"", "http_status=404", "attempts=1"][..],
            1,
        ),
        ("INFO", "dead letter", &pending, &["trace_id=\"never\"", "class=\"transient\"", "http_status=500", "attempts=3"], 1),
        ("INFO", "dead letter", &input, &["trace_id=\"refused\"", "class=\"rejected\"", "reason=\"host\""], 1),
        ("INFO", "dead letter of an event", &input, &["class=\"poison\"", "reason=\"undecodable\""], 2),
        ("DEBUG", "to be tried again", &pending, &["trace_id=\"again\"", "reason=\"http_status\"", "tier_ms=200"], 1),
        ("DEBUG", "to be tried again", &pending, &["trace_id=\"never\"", "tier_ms=400"], 1),
        ("DEBUG", "stored", &pending, &["trace_id=\"again\"", "attempts=2", "bytes="], 1),
        ("DEBUG", "stored", &pending, &["trace_id=\"good\"", "attempts=1"], 1),
        ("DEBUG", "due again", &["topic=\"claims.downloads.retry.400ms\""], &["records=1"], 1),
    ] {
        let found = lines(&said, what, &[&[level], at, fields].concat());
        assert_eq!(found.len(), count, "{level} {what} {at:?} {fields:?}: {:#?}", lines(&said, what, &[]));
    }
    assert!(!lines(&said, "rows committed", &["DEBUG", "topic=\"claims.downloads.dlq\"", "added="]).is_empty());
    assert!(!lines(&said, "partition assigned", &["DEBUG", "group=\"claims.download\"", "position=0"]).is_empty());

    let secret = said.lines().find(|line| line.contains(SECRET));
    assert_eq!(secret, None, "told");
    let url = said.lines().find(|line| line.contains("longshore_stages") && line.contains("://"));
    assert_eq!(url, None, "a URL is told");
}
