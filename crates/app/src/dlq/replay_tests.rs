#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use longshore_core::format::{self, DeadLetter, Enriched, ErrorNote, HEADER_LIFE, Stored, Task};
use longshore_core::outcome::{Class, Reason};
use longshore_lake::store::{LocalOptions, LocalStore, Owner};
use longshore_stages::ports::{Message, Partition, Received};
use uuid::Uuid;

use super::*;
use crate::settings::Definition;
use longshore_log::EmbeddedLog;

const TABLES: Tables = Tables { attachments: None, failed: None, events: None };

/// A source whose events are enriched, on a log in a directory of its own.
struct World {
    log: EmbeddedLog,
    lane: Lane,
    store: LocalStore,
    _directory: tempfile::TempDir,
}

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(directory.path()).unwrap();
    let mut lane = Lane::of(Definition::default().source().unwrap());
    lane.topics = lane.topics.enriched();
    let delays = [std::time::Duration::from_secs(600)];
    for specs in [
        lane.topics.specs(&delays, longshore_stages::topics::Scale::EMBEDDED),
        lane.topics.enrich_specs(&delays, longshore_stages::topics::Scale::EMBEDDED),
    ] {
        log.ensure_topics(&specs).await.unwrap();
    }
    let store = LocalStore::open(&directory.path().join("files"), LocalOptions::new(Owner::Exclusive)).unwrap();
    World { log, lane, store, _directory: directory }
}

fn task(n: u128) -> Task {
    let (url, path) = (format!("https://example.com/{n}"), format!("{n}"));
    Task { v: format::VERSION, media_id: Uuid::from_u128(n), url, path, ..Task::default() }
}

fn note() -> ErrorNote {
    ErrorNote { class: Class::Permanent, reason: Reason::HttpStatus, message: "404".into(), http_status: Some(404), at: 7 }
}

fn failed(n: u128, life: u32) -> DeadLetter {
    DeadLetter::of_task(Task { life, ..task(n) }, note())
}

fn message(life: u32, value: impl Into<Bytes>) -> Message {
    let life = (HEADER_LIFE.to_owned(), Bytes::from(life.to_string()));
    Message { key: None, value: Some(value.into()), headers: vec![life] }
}

impl World {
    async fn fail(&self, letters: impl IntoIterator<Item = DeadLetter>) {
        let batch: Vec<_> = letters.into_iter().map(|letter| message(letter.life, format::encode(&letter))).collect();
        self.log.append(&self.lane.topics.dead_letters(), &batch).await.unwrap();
    }

    async fn all(&self, topic: String) -> Vec<Received> {
        self.log.read(&Partition { topic: topic.into(), index: 0 }, 0, 1_000).await.unwrap()
    }

    /// Lets every task that is pending from this offset on fail; returns how many there were.
    async fn fail_pending(&self, from: u64) -> u64 {
        let tasks = self.all(self.lane.topics.pending()).await.into_iter().filter(|record| record.offset >= from);
        let letters: Vec<_> = tasks
            .map(|record| {
                let task: Task = format::decode(record.message.value.as_deref().unwrap()).unwrap();
                let life = format::life_of(record.message.header(HEADER_LIFE));
                failed(task.media_id.as_u128(), life)
            })
            .collect();
        let count = letters.len() as u64;
        self.fail(letters).await;
        count
    }

    async fn replay(&self, wish: &Wish) -> Report {
        replay(&self.log, Some(&self.log), &self.lane, &TABLES, Some(&self.store), wish).await.unwrap()
    }
}

#[tokio::test]
async fn in_pieces_each_letter_is_replayed_once_even_if_it_fails_again_at_once() {
    let world = world().await;
    world.fail((0..10).map(|n| failed(n, 0))).await;
    let mut wish = Some(Wish { limit: 3, ..Wish::default() });
    let (mut replayed, mut pieces) = (0, 0);
    while let Some(this) = wish {
        let report = world.replay(&this).await;
        assert_eq!(report.until, Some(10));
        assert_eq!(world.fail_pending(replayed).await, report.replayed);
        if pieces == 0 {
            // One of those that are left comes once more in its first life: that hides nothing.
            world.fail([failed(9, 0)]).await;
        }
        replayed += report.replayed;
        pieces += 1;
        assert!(pieces <= 5, "it does not end: {report:?}");
        wish = this.after(&report);
    }
    assert_eq!(replayed, 10);
    assert_eq!(world.all(world.lane.topics.dead_letters()).await.len(), 21);
}

#[tokio::test]
async fn what_another_replay_saw_fail_in_between_is_not_replayed_by_both() {
    let world = world().await;
    world.fail((0..4).map(|n| failed(n, 0))).await;
    let first = Wish { limit: 2, ..Wish::default() };
    let report = world.replay(&first).await;
    world.fail([failed(2, 1)]).await;
    let report = world.replay(&first.after(&report).unwrap()).await;
    assert_eq!((report.replayed, report.superseded, report.next), (1, 1, None));
}

#[tokio::test]
async fn what_is_under_way_anywhere_is_not_replayed_once_more() {
    let world = world().await;
    let topics = &world.lane.topics;
    let delay = std::time::Duration::from_secs(600);
    let poison = |n: u128| DeadLetter::of_poison("urls", note(), Some(format!("{{broken {n}").as_bytes()), "list:1".into());
    world.fail((0..5).map(|n| failed(n, 1)).chain((5..10).map(poison))).await;
    let stored = |n: u128| Stored {
        v: format::VERSION,
        source: "urls".into(),
        trace_id: n.to_string(),
        media_id: Uuid::from_u128(n),
        url: String::new(),
        blob_path: String::new(),
        file_type: "PDF".into(),
        content_type: None,
        bytes_downloaded: 1,
        sha256: String::new(),
        etag: None,
        attempts: 1,
        event_time: None,
        ingested_at: 0,
        downloaded_at: 0,
        columns: Default::default(),
    };
    let event = |n: u128| format!("{{broken {n}").into_bytes();
    let enriched = |n: u128| Enriched { event: event(n).into(), answer: b"{}" }.encode().unwrap();
    // Of each kind one in its next life; the last of the letters' own life, which says nothing.
    for (topic, life, value) in [
        (topics.pending(), 2, format::encode(&task(0))),
        (topics.tier(delay), 2, format::encode(&task(1))),
        (topics.results(), 2, format::encode(&stored(2))),
        (topics.pending(), 1, format::encode(&task(3))),
        (topics.raw(), 1, event(5)),
        (topics.events(), 1, enriched(6)),
        (topics.enrich_due(), 1, event(7)),
        (topics.enrich_tier(delay), 1, event(8)),
        (topics.raw(), 0, event(9)),
    ] {
        world.log.append(&topic, &[message(life, value)]).await.unwrap();
    }
    for dry_run in [true, false] {
        let report = world.replay(&Wish { dry_run, ..Wish::default() }).await;
        assert_eq!((report.under_way, report.replayed), (7, 3), "{report:?}");
    }
    let report = world.replay(&Wish::default()).await;
    assert_eq!((report.under_way, report.replayed), (10, 0), "{report:?}");
    assert!(report.to_string().contains("skipped 10: replayed before and still under way"), "{report}");
    // Nor does naming the very letter.
    let named = Wish { ids: vec!["0".into()], ..Wish::default() };
    assert_eq!(world.replay(&named).await.under_way, 1);
}
