#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::row::{Key, Row};
use longshore_log::EmbeddedLog;
use longshore_stages::ports::{
    Appended, Body, Delivery, LogError, LogPosition, Message, ObjectMeta, Opened, Published, Request, StoreError, TableError,
    Upload,
};

use super::*;
use crate::pipeline::{Role, Roles};
use crate::place::Lane;
use crate::settings::Definition;

/// What is exported, by name and labels.
fn values(sight: &Sight) -> BTreeMap<String, f64> {
    let text = sight.render();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    samples.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

fn lane() -> Lane {
    Lane::of(Definition::default().source().unwrap())
}

async fn log(directory: &tempfile::TempDir) -> Arc<EmbeddedLog> {
    let log = Arc::new(EmbeddedLog::open(directory.path()).unwrap());
    log.ensure_topics(&lane().topics.specs(&[Duration::from_secs(300)], longshore_stages::topics::Scale::EMBEDDED))
        .await
        .unwrap();
    log
}

fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|n| Message { value: Some(Bytes::from(format!("{n}"))), ..Message::default() }).collect()
}

fn watched(log: Arc<EmbeddedLog>) -> Watched {
    let freshness = Duration::from_secs(10);
    Watched { view: log, lanes: vec![lane()], roles: Roles::all(), freshness, patience: Duration::from_millis(400) }
}

#[tokio::test]
async fn what_goes_through_the_log_is_counted_and_timed() {
    let directory = tempfile::tempdir().unwrap();
    let (sight, inner) = (Sight::new("embedded").unwrap(), log(&directory).await);
    let log = sight.log(inner.clone());
    log.append("urls.events.raw", &messages(7)).await.unwrap();
    let mut consumer = log.subscribe("urls.ingest", &["urls.events.raw"]).await.unwrap();
    let Delivery::Assigned { partition, epoch, .. } = consumer.next().await.unwrap() else { panic!() };
    assert_eq!(lock(&sight.assigned).len(), 1);
    let Delivery::Records { records, .. } = consumer.next().await.unwrap() else { panic!() };
    assert_eq!(records.len(), 7);
    consumer.commit(&partition, epoch, 3).await.unwrap();
    let group = "messaging_consumer_group_name=\"urls.ingest\",messaging_destination_name=\"urls.events.raw\"";
    let process = format!(
        "messaging_process_duration_seconds_count{{{group},messaging_operation_name=\"process\",messaging_system=\"embedded\"}}"
    );
    assert_eq!(values(&sight)[&process], 0.0, "the batch is not done with");
    consumer.commit(&partition, epoch, 7).await.unwrap();
    let seen = values(&sight);
    assert_eq!(seen[&process], 1.0);
    assert_eq!(
        seen[&format!(
            "messaging_client_consumed_messages_total{{{group},messaging_operation_name=\"poll\",messaging_system=\"embedded\"}}"
        )],
        7.0
    );
    let sent = "error_type=\"\",messaging_destination_name=\"urls.events.raw\",messaging_operation_name=\"send\",messaging_system=\"embedded\"";
    assert_eq!(seen[&format!("messaging_client_sent_messages_total{{{sent}}}")], 7.0);
    assert_eq!(sight.completed(), 2, "two positions were moved");
    consumer.commit(&partition, epoch, 7).await.unwrap();
    assert_eq!(sight.completed(), 2, "and not a third time");
    consumer.close().await.unwrap();
    assert!(lock(&sight.assigned).is_empty());
}

#[tokio::test]
async fn a_log_that_fails_is_counted_by_kind_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let (sight, inner) = (Sight::new("embedded").unwrap(), log(&directory).await);
    inner.close().await.unwrap();
    let error = sight.log(inner).append("urls.events.raw", &messages(2)).await.unwrap_err();
    let kind = if matches!(error, LogError::Fatal(_)) { "fatal" } else { "unavailable" };
    let series = format!(
        "messaging_client_sent_messages_total{{error_type=\"{kind}\",messaging_destination_name=\"urls.events.raw\",messaging_operation_name=\"send\",messaging_system=\"embedded\"}}"
    );
    assert_eq!(values(&sight)[&series], 2.0);
    let lamp = sight.board.lamp(Part::Log, "nothing can be appended to the topic urls.events.raw");
    assert!(lamp.is_lit());
}

/// Gives what it was told to, in order.
struct Scripted(Mutex<VecDeque<std::result::Result<Opened, Failure>>>);

#[async_trait]
impl Origin for Scripted {
    async fn open(&self, _: Request) -> std::result::Result<Opened, Failure> {
        lock(&self.0).pop_front().unwrap()
    }
}

/// A body of one piece, then an end or a failure.
struct Piece(Option<Failure>, bool);

#[async_trait]
impl Body for Piece {
    async fn chunk(&mut self) -> std::result::Result<Option<Bytes>, Failure> {
        if !std::mem::replace(&mut self.1, true) {
            return Ok(Some(Bytes::from_static(b"piece")));
        }
        self.0.take().map_or(Ok(None), Err)
    }
}

fn opened(status: u16, failure: Option<Failure>) -> std::result::Result<Opened, Failure> {
    let body = Box::new(Piece(failure, false));
    Ok(Opened { status, content_type: None, content_length: None, etag: None, body })
}

#[tokio::test]
async fn an_attempt_is_counted_once_by_how_it_ended() {
    let failure = |reason| Failure::new(Class::Transient, reason, "https://secret.example/path");
    let script = [
        opened(200, None),
        opened(200, None),
        opened(206, Some(failure(Reason::WrongLength))),
        Err(failure(Reason::HttpStatus).with_status(503)),
        Err(failure(Reason::Dns)),
        Err(failure(Reason::HttpStatus).with_status(777)),
    ];
    let count = script.len();
    let sight = Sight::new("embedded").unwrap();
    let origin = sight.origin("urls", Arc::new(Scripted(Mutex::new(script.into()))));
    for n in 0..count {
        let Ok(mut opened) = origin.open(Request::default()).await else { continue };
        let active = "http_client_active_requests{http_request_method=\"GET\",source=\"urls\"}";
        assert_eq!(values(&sight)[active], 1.0);
        // The second one is dropped before its end.
        while n != 1 && matches!(opened.body.chunk().await, Ok(Some(_))) {}
        drop(opened);
        assert_eq!(values(&sight)[active], 0.0);
    }
    let seen = values(&sight);
    let of = |error: &str, status: &str| {
        seen[&format!(
            "http_client_request_duration_seconds_count{{error_type=\"{error}\",http_request_method=\"GET\",http_response_status_code=\"{status}\",source=\"urls\"}}"
        )]
    };
    let expected = [
        ("", "200"),
        ("abandoned", "200"),
        ("wrong_length", "206"),
        ("http_status", "503"),
        ("dns", ""),
        ("http_status", "other"),
    ];
    assert!(expected.iter().all(|(error, status)| of(error, status) == 1.0), "{seen:#?}");
    assert_eq!(seen.keys().filter(|name| name.starts_with("http_client_request_duration_seconds_count")).count(), expected.len());
    assert!(!sight.render().contains("secret.example"));
}

/// A store, an upload and a table that fail as long as they are told to.
#[derive(Clone, Default)]
struct Fails(Arc<Mutex<Option<&'static str>>>);

impl Fails {
    fn result<T>(&self, fine: T) -> std::result::Result<T, StoreError> {
        match *lock(&self.0) {
            None => Ok(fine),
            Some("name") => Err(StoreError::Name("no such name".to_owned())),
            Some(_) => Err(StoreError::Unavailable("away".to_owned())),
        }
    }
}

#[async_trait]
impl Upload for Fails {
    async fn write(&mut self, _: Bytes) -> std::result::Result<(), StoreError> {
        self.result(())
    }

    async fn publish(self: Box<Self>, path: &str, _: [u8; 32]) -> std::result::Result<Published, StoreError> {
        self.result(Published { path: path.to_owned(), adopted: true })
    }
}

#[async_trait]
impl Store for Fails {
    async fn begin(&self) -> std::result::Result<Box<dyn Upload>, StoreError> {
        self.result(Box::new(self.clone()))
    }

    async fn stat(&self, _: &str) -> std::result::Result<Option<ObjectMeta>, StoreError> {
        Ok(None)
    }

    fn list(&self) -> BoxStream<'static, std::result::Result<ObjectMeta, StoreError>> {
        Box::pin(futures::stream::empty())
    }

    async fn read(
        &self,
        _: &str,
    ) -> std::result::Result<Option<BoxStream<'static, std::result::Result<Bytes, StoreError>>>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Table for Fails {
    async fn append(&self, rows: &[Row], _: &[LogPosition]) -> std::result::Result<Appended, TableError> {
        self.result(()).map_err(|error| TableError::Unavailable(error.to_string()))?;
        Ok(Appended { added: rows.len(), known: 2 })
    }

    async fn known(&self, keys: &[Key]) -> std::result::Result<Vec<bool>, TableError> {
        Ok(vec![false; keys.len()])
    }

    async fn maintain(&self) -> std::result::Result<(), TableError> {
        Ok(())
    }
}

#[async_trait]
impl Versioned for Fails {
    async fn seen_version(&self) -> u64 {
        41
    }
}

#[tokio::test]
async fn a_store_is_measured_and_a_bad_name_is_no_fault_of_its() {
    let (sight, fails) = (Sight::new("embedded").unwrap(), Fails::default());
    let store = sight.store(Arc::new(fails.clone()));
    let lamp = sight.board.lamp(Part::Store, "files cannot be written");
    let upload = || async { store.begin().await };
    let (named, away) = (upload().await.unwrap(), upload().await.unwrap());
    *lock(&fails.0) = Some("name");
    named.publish("a", [0; 32]).await.unwrap_err();
    assert!(!lamp.is_lit());
    *lock(&fails.0) = Some("away");
    away.publish("a", [0; 32]).await.unwrap_err();
    assert!(lamp.is_lit());
    *lock(&fails.0) = None;
    upload().await.unwrap().publish("a", [0; 32]).await.unwrap();
    assert!(!lamp.is_lit());
    let seen = values(&sight);
    let of = |operation: &str, error: &str| {
        seen[&format!("longshore_store_operation_duration_seconds_count{{error_type=\"{error}\",operation=\"{operation}\"}}")]
    };
    assert_eq!([of("begin", ""), of("publish", ""), of("publish", "name"), of("publish", "unavailable")], [3.0, 1.0, 1.0, 1.0]);
    assert_eq!(seen["longshore_objects_adopted_total"], 1.0);
}

#[tokio::test]
async fn a_table_tells_its_version_after_each_commit() {
    let (sight, fails) = (Sight::new("embedded").unwrap(), Fails::default());
    let table = sight.table("urls", "failed", Arc::new(fails.clone()));
    table.append(&[], &[]).await.unwrap();
    *lock(&fails.0) = Some("away");
    table.append(&[], &[]).await.unwrap_err();
    let seen = values(&sight);
    assert_eq!(seen["longshore_table_version{source=\"urls\",table=\"failed\"}"], 41.0);
    assert_eq!(seen["longshore_rows_known_total{source=\"urls\",table=\"failed\"}"], 2.0);
    let commits = "longshore_table_commit_duration_seconds_count";
    assert_eq!(seen[&format!("{commits}{{error_type=\"unavailable\",source=\"urls\",table=\"failed\"}}")], 1.0);
    assert_eq!(seen[&format!("{commits}{{error_type=\"\",source=\"urls\",table=\"failed\"}}")], 1.0);
    assert!(sight.board.lamp(Part::Table, "the table failed of urls cannot be written").is_lit());
}

#[test]
fn the_counters_of_the_stages_are_exported_where_they_are() {
    let (sight, progress) = (Sight::new("embedded").unwrap(), Arc::new(Progress::default()));
    sight.lane("urls", progress.clone());
    Progress::add(&progress.stored, 3);
    Progress::add(&progress.rows_failed, 5);
    Progress::add(&progress.in_flight, 2);
    progress.count_failure(Class::Permanent, Reason::HttpStatus);
    progress.count_failure(Class::Poison, Reason::Undecodable);
    let seen = values(&sight);
    let of = |name: &str, outcome: &str, reason: &str| {
        seen.get(&format!("{name}{{outcome=\"{outcome}\",reason=\"{reason}\",source=\"urls\"}}")).copied()
    };
    assert_eq!(of("longshore_attachments_total", "stored", ""), Some(3.0), "{seen:#?}");
    assert_eq!(of("longshore_attachments_total", "permanent", "http_status"), Some(1.0));
    assert_eq!(of("longshore_attachments_total", "poison", "undecodable"), None);
    assert_eq!(of("longshore_dead_letters_total", "poison", "undecodable"), Some(1.0));
    assert_eq!(seen["longshore_rows_total{source=\"urls\",table=\"failed\"}"], 5.0);
    assert_eq!(seen["longshore_downloads_in_flight{source=\"urls\"}"], 2.0);
}

#[tokio::test]
async fn the_lag_of_our_roles_is_sampled_and_survives_a_log_that_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let (sight, log) = (Sight::new("embedded").unwrap(), log(&directory).await);
    log.append("urls.events.raw", &messages(4)).await.unwrap();
    log.append("urls.downloads.pending", &messages(2)).await.unwrap();
    let watched = Watched { roles: Roles::of(&[Role::Ingest, Role::Retry]), ..watched(log.clone()) };
    tokio::time::sleep(Duration::from_millis(20)).await;
    watched.sample(&sight).await;
    let seen = values(&sight);
    let of = |name: &str, stage: &str, topic: &str| {
        seen.get(&format!(
            "longshore_consumer_lag_{name}{{partition=\"0\",source=\"urls\",stage=\"{stage}\",topic=\"urls.{topic}\"}}"
        ))
    };
    assert_eq!(of("messages", "ingest", "events.raw"), Some(&4.0), "{seen:#?}");
    assert!(of("seconds", "ingest", "events.raw").is_some_and(|seconds| (0.02..60.0).contains(seconds)), "{seen:#?}");
    assert_eq!(of("seconds", "retry 5m", "downloads.retry.5m"), Some(&0.0));
    assert_eq!(of("messages", "download", "downloads.pending"), None, "another process's");
    log.close().await.unwrap();
    watched.sample(&sight).await;
    let after = values(&sight);
    assert_eq!(after["longshore_lag_samples_total{result=\"error\"}"], 1.0);
    assert_eq!(
        after.get("longshore_consumer_lag_messages{partition=\"0\",source=\"urls\",stage=\"ingest\",topic=\"urls.events.raw\"}"),
        Some(&4.0)
    );
}

#[tokio::test]
async fn readiness_goes_off_when_assigned_work_waits_and_comes_back_when_some_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let (sight, inner) = (Sight::new("embedded").unwrap(), log(&directory).await);
    sight.lane("urls", Arc::default());
    let log = sight.log(inner.clone());
    log.append("urls.events.raw", &messages(4)).await.unwrap();
    let _watch = Watch::start(sight.clone(), watched(inner));
    let becomes = async |ready: bool| {
        let wait = async {
            while sight.unready().is_empty() != ready {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sight.unready(), [], "nobody here has the partition");
    let mut consumer = log.subscribe("urls.ingest", &["urls.events.raw"]).await.unwrap();
    let Delivery::Assigned { partition, epoch, .. } = consumer.next().await.unwrap() else { panic!() };
    assert!(becomes(false).await);
    assert_eq!(sight.unready()[0].part, Part::Work);
    assert_eq!(values(&sight)["longshore_ready"], 0.0);
    consumer.commit(&partition, epoch, 1).await.unwrap();
    assert!(becomes(true).await, "something was completed");
    assert!(becomes(false).await, "three still wait");
    consumer.commit(&partition, epoch, 4).await.unwrap();
    assert!(becomes(true).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sight.unready(), [], "nothing waits");
}

#[test]
fn every_metric_has_a_help_and_a_unit_and_says_its_kind_in_its_name() {
    for metric in names::METRICS {
        assert!(metric.help.ends_with('.') && !metric.unit.is_empty(), "{}", metric.name);
        let total = metric.name.ends_with("_total");
        assert_eq!(total, metric.kind == names::Kind::Counter, "{}", metric.name);
        for unit in ["seconds", "bytes"].iter().filter(|unit| **unit == metric.unit) {
            assert!(metric.name.trim_end_matches("_total").ends_with(unit), "{}", metric.name);
        }
        let own = ["messaging_", "http_", "process_", "longshore_"].iter().any(|prefix| metric.name.starts_with(prefix));
        assert!(own, "{}", metric.name);
        assert!(metric.labels.iter().all(|label| !["host", "url", "path", "id", "media_id", "trace_id"].contains(label)));
    }
    let distinct: BTreeSet<&str> = names::METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(distinct.len(), names::METRICS.len());
}
