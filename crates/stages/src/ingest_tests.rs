use std::sync::Mutex;

use async_trait::async_trait;
use longshore_core::file_type::FileTypes;
use longshore_core::letters::RECORD_BYTES;
use longshore_core::outcome::Reason;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::source::{EnrichMapping, Identity, MAX_ATTACHMENTS, Mapping};
use longshore_core::time::Micros;

use super::*;
use crate::ports::{Consumer, Epoch, LogError, TopicSpec};
use crate::shelf::Shelf;

/// What was done to the log, in its order.
#[derive(Debug, Clone, PartialEq)]
enum Done {
    Appended { topic: String, messages: usize, bytes: usize },
    Committed(u64),
}

/// One delivery, and then nothing.
#[derive(Default)]
struct OneDelivery {
    records: Mutex<Vec<Received>>,
    done: Arc<Mutex<Vec<Done>>>,
    drain: CancellationToken,
}

struct Shared(Arc<OneDelivery>);

#[async_trait]
impl Log for Shared {
    async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        assert!(batch.iter().all(|message| message.bytes() <= RECORD_BYTES), "no broker takes it");
        let bytes = batch.iter().map(Message::bytes).sum();
        let done = Done::Appended { topic: topic.to_owned(), messages: batch.len(), bytes };
        self.0.done.lock().expect("log").push(done);
        Ok(())
    }

    async fn subscribe(&self, _: &str, _: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(Shared(self.0.clone())))
    }
}

#[async_trait]
impl Consumer for Shared {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        let records = std::mem::take(&mut *self.0.records.lock().expect("log"));
        if records.is_empty() {
            self.0.drain.cancel();
            std::future::pending::<()>().await;
        }
        Ok(Delivery::Records { partition: Partition { topic: "s.events".into(), index: 0 }, epoch: Epoch(1), records })
    }

    async fn commit(&mut self, _: &Partition, _: Epoch, watermark: u64) -> Result<(), LogError> {
        self.0.done.lock().expect("log").push(Done::Committed(watermark));
        Ok(())
    }

    fn pause(&mut self, _: &Partition) {}

    fn resume(&mut self, _: &Partition) {}

    async fn release(&mut self, _: &Partition, _: Epoch) -> Result<(), LogError> {
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Micros {
        0
    }

    fn random(&self) -> u64 {
        0
    }
}

fn source(mapping: Mapping) -> Source {
    Source {
        name: "s".into(),
        mapping,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{media_id}").expect("path"),
        route: None,
        enrich: None,
    }
}

/// Runs the stage over these events; returns what it did to the log and what it counted.
async fn ingest(source: Source, events: Vec<Vec<u8>>) -> (Result<(), StageError>, Vec<Done>, Arc<Progress>) {
    ingest_with(source, events, &Shelf::default()).await
}

/// The same with this store.
async fn ingest_with(source: Source, events: Vec<Vec<u8>>, shelf: &Shelf) -> (Result<(), StageError>, Vec<Done>, Arc<Progress>) {
    let received = |(offset, event): (u64, Vec<u8>)| Received {
        offset,
        appended_at: 0,
        message: Message { value: Some(event.into()), ..Message::default() },
    };
    let log = Arc::new(OneDelivery { records: Mutex::new((0..).zip(events).map(received).collect()), ..OneDelivery::default() });
    let (ended, progress) = run(source, &log, shelf).await;
    let done = log.done.lock().expect("log").clone();
    (ended, done, progress)
}

async fn run(source: Source, log: &Arc<OneDelivery>, shelf: &Shelf) -> (Result<(), StageError>, Arc<Progress>) {
    let progress = Arc::<Progress>::default();
    let stage = Ingest {
        log: Arc::new(Shared(log.clone())),
        store: Arc::new(shelf.clone()),
        topics: Topics::of("s"),
        source: Arc::new(source),
        clock: Arc::new(Still),
        progress: progress.clone(),
        seen: Seen::default(),
        known: Default::default(),
        ended: CancellationToken::new(),
        grace: Duration::from_secs(1),
    };
    (stage.run(log.drain.clone()).await, progress)
}

#[test]
fn what_was_seen_is_remembered_within_bounds() {
    let seen = Seen::default();
    let spread = |number: usize| Uuid::from_u128((number % SEEN) as u128 * (1 << 112) + (number / SEEN) as u128 * (1 << 64));
    let room = 3 * SEEN;
    for number in 0..room {
        assert!(seen.insert(spread(number), "a"));
    }
    for number in 0..room {
        assert!(!seen.insert(spread(number), "a"), "all for which there is room are remembered");
    }
    assert!(seen.insert(spread(room), "a"));
    assert!(seen.insert(spread(0), "a"), "the oldest of its bucket was forgotten");
    assert!(!seen.insert(spread(2 * SEEN), "a"), "a younger one was not");
    assert!(seen.insert(spread(2 * SEEN), "b"), "another URL");
}

#[test]
fn ids_as_they_are_find_their_way_into_all_buckets() {
    let (seen, url) = (Seen::default(), |number: usize| format!("https://h.example/{number}.pdf"));
    let mut insert = |number| seen.insert(ids::url_media_id(&url(number)), &url(number));
    assert!((0..SEEN).all(&mut insert), "all are new");
    let last = SEEN / 2;
    let kept = (SEEN - last..SEEN).filter(|number| !insert(*number)).count();
    assert!(kept > last * 95 / 100, "{kept} of the last {last} are remembered");
}

#[tokio::test]
async fn a_url_that_was_signed_anew_is_tried_and_one_that_comes_again_as_it_was_is_not() {
    let signed = |signature: &str| format!("https://h.example/a.pdf?sig={signature}&sv=1&se=2030-01-01").into_bytes();
    let (ended, done, progress) = ingest(source(Mapping::Urls), vec![signed("one"), signed("two"), signed("one")]).await;
    ended.expect("drained");
    let get = Progress::get;
    assert_eq!((get(&progress.tasks), get(&progress.repeats), get(&progress.events)), (2, 1, 3));
    assert!(matches!(&done[..], [Done::Appended { messages: 2, .. }, Done::Committed(3)]), "{done:?}");
}

/// Promises 3 and 5: an event may make many times its own size, and its offset waits for all of it.
#[tokio::test]
async fn a_large_event_is_appended_in_chunks_and_committed_after_the_last() {
    let columns: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let fields = columns.iter().map(|name| (name.clone(), "text".to_owned()));
    let fields: Vec<_> = fields.chain([("attachments".to_owned(), "files".to_owned())]).collect();
    let urls: Vec<String> = (0..MAX_ATTACHMENTS).map(|n| format!("\"https://h/{n}\"")).collect();
    let event = format!(r#"{{"text":"{}","files":[{}]}}"#, "x".repeat(1_000), urls.join(","));
    let mapping = Mapping::new(None, &fields).expect("mapping");
    let (ended, done, progress) = ingest(source(mapping), vec![event.into_bytes()]).await;
    ended.expect("drained");
    assert_eq!((done.last(), Progress::get(&progress.tasks)), (Some(&Done::Committed(1)), MAX_ATTACHMENTS as u64));
    let (mut total, largest) = (0, CHUNK_BYTES + 16_000);
    for chunk in &done[..done.len() - 1] {
        let Done::Appended { messages, bytes, .. } = chunk else { panic!("committed before all was durable: {chunk:?}") };
        assert!(*messages <= CHUNK_MESSAGES && *bytes <= largest, "{chunk:?}");
        total += messages;
    }
    assert_eq!(total, MAX_ATTACHMENTS);
}

#[tokio::test]
async fn an_event_with_too_many_attachments_is_one_dead_letter() {
    let fields = [("attachments".to_owned(), "@".to_owned())];
    let event = format!("[{}]", vec!["\"https://h/a\""; MAX_ATTACHMENTS + 1].join(","));
    let (ended, done, progress) =
        ingest(source(Mapping::new(None, &fields).expect("mapping")), vec![event.into_bytes(), b"[]".to_vec()]).await;
    ended.expect("drained");
    let get = Progress::get;
    assert_eq!((get(&progress.tasks), get(&progress.failed), get(&progress.without_attachments)), (0, 1, 1));
    assert!(
        matches!(&done[..], [Done::Appended { messages: 1, topic, .. }, Done::Committed(2)] if topic.ends_with("dlq")),
        "{done:?}"
    );
}

#[tokio::test]
async fn an_enriched_event_of_a_newer_longshore_stops_the_stage() {
    let enrich = Some(EnrichMapping::new(Some("files"), &[]).expect("mapping"));
    let (ended, done, progress) =
        ingest(Source { enrich, ..source(Mapping::Xact) }, vec![br#"{"v":9,"other":1}"#.to_vec()]).await;
    let stopped = ended.expect_err("a newer format").to_string();
    assert!(stopped.contains("s.events at offset 0") && stopped.contains("format version 9"), "{stopped}");
    assert_eq!((done, Progress::get(&progress.failed)), (Vec::new(), 0));
}

/// No broker takes a letter of 1.4 MiB: an event's bytes go to the store, each once.
#[tokio::test]
async fn the_bytes_of_a_large_poison_event_are_in_the_store_and_the_letter_says_where() {
    let broken = |byte| vec![byte; 1 << 20];
    let (shelf, events) = (Shelf::default(), vec![broken(b'{'), broken(b'['), broken(b'{')]);
    let (ended, done, progress) = ingest_with(source(Mapping::Xact), events, &shelf).await;
    ended.expect("drained");
    assert_eq!(Progress::get(&progress.failed), 3);
    let appended: usize = done.iter().map(|one| if let Done::Appended { messages, .. } = one { *messages } else { 0 }).sum();
    assert_eq!((appended, done.last()), (3, Some(&Done::Committed(3))));
    let objects = shelf.0.lock().expect("shelf").clone();
    assert_eq!(objects.values().collect::<Vec<_>>().len(), 2, "equal bytes are one object");
    assert!(objects.iter().all(|(path, bytes)| path.starts_with(".dead-letters/s/") && bytes.len() == 1 << 20));
}

#[tokio::test]
async fn headers_of_any_size_make_no_record_that_is_too_large() {
    let log = Arc::new(OneDelivery::default());
    let headers = vec![("theirs".to_owned(), Bytes::from(vec![b'h'; 900_000])), ("longshore-x".into(), "y".into())];
    let key = Some(Bytes::from(vec![b'k'; 200_000]));
    for value in ["{broken", "https://h.example/a", "http://h.example/refused"] {
        let message = Message { key: key.clone(), value: Some(value.into()), headers: headers.clone() };
        let mut records = log.records.lock().expect("log");
        let offset = records.len() as u64;
        records.push(Received { offset, appended_at: 0, message });
    }
    let shelf = Shelf::default();
    let (ended, progress) = run(source(Mapping::Urls), &log, &shelf).await;
    ended.expect("drained");
    assert_eq!((Progress::get(&progress.tasks), Progress::get(&progress.failed), shelf.paths().len()), (1, 2, 1));
}

/// What an event says of an attachment may be most of the event; a task of it would be too large with what its attempts add.
#[tokio::test]
async fn an_attachment_of_which_too_much_is_said_is_refused_and_its_letter_is_kept() {
    let fields = [("attachments".to_owned(), "files[].{url: url, file_name: name}".to_owned())];
    let event = |name: usize, url: usize| {
        format!(r#"{{"files":[{{"url":"https://h/{}","name":"{}"}}]}}"#, "u".repeat(url), "n".repeat(name)).into_bytes()
    };
    let (shelf, mapping) = (Shelf::default(), Mapping::new(None, &fields).expect("mapping"));
    let events = vec![event(10, 10), event(140_000, 11), event(900_000, 12), event(13, 900_000)];
    let (ended, _, progress) = ingest_with(source(mapping), events, &shelf).await;
    ended.expect("drained");
    let causes: Vec<_> = progress.causes().into_iter().collect();
    let refused = |reason| (longshore_core::outcome::Class::Rejected, reason);
    assert_eq!(causes, [(refused(Reason::InvalidUrl), 1), (refused(Reason::TooLarge), 2)]);
    assert_eq!((Progress::get(&progress.tasks), shelf.paths().len()), (1, 2), "a letter of 140 kB stays in the log");
}
