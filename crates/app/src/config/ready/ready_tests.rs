//! Each key arrives where it is used, and defaults are those of the parts themselves.

use std::time::Duration;

use longshore_core::file_type::OnMismatch;
use longshore_core::source::Identity;

use super::*;
use crate::config::{Surroundings, load_with};

const EVERYTHING: &str = "
log: sqlite:state/log.db
store: objects
tables: inventory
store_sync: off
shutdown_grace: 7s
sources:
  - name: other
    preset: urls
    topic: shared
    allow_hosts: [a.example]
  - name: mine
    map: {event_id: id, attachments: files}
    columns: {claim: claim.id}
    topic: shared
    when: {header: type, equals: claim}
    identity: exact
    allow_hosts: [b.example]
    allow_ports: [443, 8443]
    allow_private: [10.1.0.0/16]
    allow_http: true
    max_redirects: 2
    cross_host_redirects: false
    file_types: [PDF, .jpg]
    on_type_mismatch: warn
    max_size: 2GiB
    path: '{claim}/{name}'
    headers: {Accept: application/pdf}
    credentials: [{host: '*.b.example', headers: {Authorization: 'Bearer ${env:TOKEN}'}}]
    transient_statuses: [500]
    retry: [1s, 2m]
    refresh: {url: 'https://api.example/{media_id}/{claim}/{owner}', url_at: new.url}
    enrich:
      url: 'https://api.example/{id}'
      fields: {id: event.id}
      columns: {owner: owner}
      retry: [3s]
      max_in_flight: 9
      per_second: 50
download: {max_in_flight: 10, per_host: 3, memory: 4MiB, timeouts: {connect: 1s, first_byte: 2s, idle: 3s, total: 4s}}
record: {freshness: 1s, events_freshness: 2s, max_rows: 77}
http: {listen: '127.0.0.1:0', token: '${env:TOKEN}', max_body: 1MiB, max_backlog: 5}
";

fn load(text: &str) -> (Ready, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("longshore.yaml");
    std::fs::write(&file, text).expect("write");
    let variables = [("TOKEN".to_owned(), "a-token-that-is-long-enough".to_owned())].into();
    let around = Surroundings { variables, ..Surroundings::beside(&file) };
    match load_with(&file, Purpose::Run, around) {
        Ok(ready) => (ready, directory.path().to_owned()),
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn each_key_arrives_where_it_is_used() {
    let (Ready { plan, http, .. }, base) = load(EVERYTHING);
    let place = &plan.place;
    assert_eq!(
        (place.log.directory(), &place.files, &place.tables),
        (Some(base.join("state").as_path()), &base.join("objects"), &base.join("inventory"))
    );
    assert!(!plan.sync);
    let Limits { max_in_flight, per_host, memory, grace, .. } = plan.limits;
    assert_eq!((max_in_flight, per_host, memory, grace), (10, 3, 4 << 20, Duration::from_secs(7)));
    let (now, later) = (plan.gather, plan.gather_events);
    assert_eq!((now.freshness.as_secs(), later.freshness.as_secs(), now.max_rows, later.max_rows), (1, 2, 77, 77));
    assert_eq!((http.listen.port(), http.max_body, http.max_backlog), (0, 1 << 20, 5));
    assert_eq!(http.token.expect("token").expose(), "a-token-that-is-long-enough");
}

#[test]
fn each_key_of_a_source_arrives_where_it_is_used() {
    let (Ready { plan, .. }, _) = load(EVERYTHING);
    let (lane, setup) = (&plan.place.lanes[1], &plan.setups[1]);
    assert_eq!(
        (lane.name(), lane.topics.raw().as_str(), lane.topics.events().as_str()),
        ("mine", "shared", "mine.events.enriched")
    );
    assert_eq!((lane.source.identity, lane.source.file_types.on_mismatch), (Identity::Exact, OnMismatch::Warn));
    assert_eq!(lane.source.file_types.allowed, Some(["jpg".to_owned(), "pdf".to_owned()].into()));
    assert!(lane.source.route.is_some() && plan.place.lanes[0].source.route.is_some());
    assert!(lane.shape.attachments.contains(&"claim".to_owned()) && lane.shape.attachments.contains(&"owner".to_owned()));
    let policy = &lane.source.policy;
    assert_eq!((policy.allow_http, policy.max_redirects, policy.allow_cross_host_redirects), (true, 2, false));
    assert_eq!(
        (policy.max_size, policy.allow_ports.clone(), policy.allow_private.len()),
        (Some(2 << 30), Some(vec![443, 8443]), 1)
    );
    assert!(policy.check_url("https://b.example/x").is_ok() && policy.check_url("https://a.example/x").is_err());
    let origin = &setup.origin;
    assert_eq!((&origin.policy, origin.transient_statuses.as_slice(), origin.per_host), (policy, &[500][..], 3));
    let Timeouts { connect, first_byte, idle, total } = origin.timeouts;
    assert_eq!([connect, first_byte, idle, total].map(|time| time.as_secs()), [1, 2, 3, 4]);
    assert_eq!(origin.credentials[0].1[0].1.expose(), "Bearer a-token-that-is-long-enough");
    assert_eq!(setup.headers, [("Accept".to_owned(), "application/pdf".to_owned())]);
    assert_eq!(setup.ladder.delays, [Duration::from_secs(1), Duration::from_secs(120)]);
    assert!(format!("{:?}", setup.refresh.as_ref().expect("refresh")).contains("api.example"));
    let enrich = setup.enrich.as_ref().expect("enrich");
    assert_eq!(
        (enrich.limits.max_in_flight, enrich.limits.per_second, enrich.delays.as_slice()),
        (9, Some(50), &[Duration::from_secs(3)][..])
    );
    assert_eq!(enrich.fields.names().collect::<Vec<_>>(), ["id"]);
}

#[test]
fn the_defaults_are_those_of_the_parts() {
    let (Ready { plan, http, warnings }, base) = load("sources: [{name: xact, preset: xact, allow_hosts: [a.example]}]");
    assert!(warnings.is_empty());
    assert_eq!(plan.place.log.directory(), Some(base.join("lake/.longshore").as_path()));
    assert_eq!((plan.place.files.clone(), plan.place.tables.clone()), (base.join("lake/files"), base.join("lake/tables")));
    let (origin, own) = (&plan.setups[0].origin, longshore_origin::Settings::default());
    assert_eq!(
        (origin.timeouts, &origin.transient_statuses, origin.per_host),
        (own.timeouts, &own.transient_statuses, own.per_host)
    );
    let policy = longshore_core::policy::Policy { allow_hosts: origin.policy.allow_hosts.clone(), ..Default::default() };
    assert_eq!(origin.policy, policy);
    let minutes = plan.setups[0].ladder.delays.iter().map(|delay| delay.as_secs() / 60).collect::<Vec<_>>();
    assert_eq!(minutes, [5, 10, 20, 40]);
    assert_eq!((plan.limits.memory, plan.limits.slots(), plan.limits.grace.as_secs()), (48 << 20, 256, 25));
    assert_eq!(
        (plan.gather.freshness.as_millis(), plan.gather_events.freshness.as_secs(), plan.gather.max_rows),
        (300, 10, 10_000)
    );
    assert!(plan.sync && http.token.is_none() && http.listen.ip().is_loopback());
    assert_eq!(plan.place.lanes[0].topics.raw(), "xact.events.raw");
}
