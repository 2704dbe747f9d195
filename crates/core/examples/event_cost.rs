//! What an event of the preset `xact` costs: `cargo run --release -p longshore-core --example event_cost`.

use std::hint::black_box;
use std::time::Instant;

use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::policy::known::Known;
use longshore_core::source::{Identity, Mapping, RawEvent, Source};

const ROUNDS: u32 = 20_000;

/// An event with two attachments and everything that becomes a column.
const EVENT: &str = r#"{
  "type": "verisk.claims.property.xn.estimatePackageReceived",
  "version": 1,
  "utcDateTime": "2026-11-23T19:45:32.749511+00:00",
  "traceId": "abc123",
  "eventId": null,
  "data": {
    "description": "Estimate for \"unit 4\"",
    "assignmentId": "A-77",
    "originalAssignmentId": 12345678901234567890,
    "xnAddress": "X/1", "carrierId": "C9", "estimateVersion": 3, "note": null, "author": "Ann",
    "senderReviewerName": "S", "senderReviewerEmail": "s@example.com",
    "carrierReviewerName": "R", "carrierReviewerEmail": "r@example.com",
    "dateTime": "11/23/2026 12:45 PM",
    "adm": {"coverageLoss": {"claimNumber": "CL-1"}},
    "contact": {"type": "Insured", "name": "Bo",
      "contactMethods": {"phone": {"type": "Mobile", "number": "555", "extension": 7}, "email": {"address": "bo@example.com"}}},
    "attachments": ["https://xactware.com/docs/estimate.pdf", null, "", "https://xactware.com/docs/photo.JPG?sig=secret&sv=1&se=2"]
  }
}"#;

fn main() {
    let mapping = Mapping::Xact;
    let path = PathTemplate::parse_with(mapping.default_path(), &mapping.path_columns()).expect("the preset's own path");
    let source = Source {
        name: "xact".to_owned(),
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: mapping.default_file_types(),
        path,
        route: None,
        enrich: None,
        mapping,
    };
    let known = Known::default();
    let raw = RawEvent::of(EVENT.as_bytes(), 1_795_463_132_000_000);
    measure("tasks (what ingest needs)", || {
        source.outline(&raw, &known).into_iter().flatten().flatten().for_each(|one| drop(black_box(one)))
    });
    measure("tasks and columns (what a row needs)", || drop(black_box(source.plan(&raw))));
}

fn measure(what: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{what}: {micros:.2} µs for an event of {} bytes", EVENT.len());
}
