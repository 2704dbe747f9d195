use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use longshore_core::call::Method;
use longshore_core::file_type::FileTypes;
use longshore_core::letters::RECORD_BYTES;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::replay::{Replay, replay};
use longshore_core::source::{EnrichMapping, Field, Identity, Mapping, Route, When};
use tokio::sync::Notify;

use super::*;
use crate::ingest::Unwrapped;
use crate::ports::{LogError, Message, TopicSpec};
use crate::retry::Retry;
use crate::shelf::Shelf;

/// Records in one delivery.
const DELIVERY: usize = 4;

/// Topics of one partition in memory, for one consumer in each group.
#[derive(Default)]
struct MemoryLog {
    topics: Mutex<HashMap<String, Vec<Received>>>,
    committed: Arc<Mutex<HashMap<String, u64>>>,
    /// How many records of a topic were given out.
    given: Mutex<HashMap<String, usize>>,
    news: Notify,
    /// A topic that takes nothing.
    broken: Mutex<Option<String>>,
}

impl MemoryLog {
    fn read(&self, topic: &str, from: usize) -> Vec<Received> {
        self.topics.lock().expect("log").get(topic).map(|records| records[from.min(records.len())..].to_vec()).unwrap_or_default()
    }

    fn committed(&self, topic: &str) -> u64 {
        self.committed.lock().expect("log").get(topic).copied().unwrap_or(0)
    }
}

struct MemoryConsumer {
    log: Arc<MemoryLog>,
    partitions: Vec<(Partition, usize, bool)>,
    assigned: usize,
}

/// The port is a trait of `&self`, and a consumer must hold the log.
struct Shared(Arc<MemoryLog>);

#[async_trait]
impl Log for Shared {
    async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        if self.0.broken.lock().expect("log").as_deref() == Some(topic) {
            return Err(LogError::Unavailable("the disk is away".into()));
        }
        let input = topic.ends_with(".raw");
        assert!(input || batch.iter().all(|message| message.bytes() <= RECORD_BYTES), "no broker takes it");
        let mut topics = self.0.topics.lock().expect("log");
        let records = topics.entry(topic.to_owned()).or_default();
        for message in batch {
            let offset = records.len() as u64;
            records.push(Received { offset, appended_at: TokioClock.now(), message: message.clone() });
        }
        self.0.news.notify_waiters();
        Ok(())
    }

    async fn subscribe(&self, _: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let partition = |topic: &&str| (Partition { topic: (*topic).into(), index: 0 }, 0, false);
        let partitions = topics.iter().map(partition).collect();
        Ok(Box::new(MemoryConsumer { log: self.0.clone(), partitions, assigned: 0 }))
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        if let Some((partition, ..)) = self.partitions.get(self.assigned) {
            self.assigned += 1;
            return Ok(Delivery::Assigned { partition: partition.clone(), epoch: Epoch(1), position: 0 });
        }
        let log = self.log.clone();
        loop {
            let news = log.news.notified();
            for (partition, position, paused) in &mut self.partitions {
                let mut records = log.read(&partition.topic, *position);
                records.truncate(DELIVERY);
                if !*paused && !records.is_empty() {
                    *position += records.len();
                    log.given.lock().expect("log").insert(partition.topic.to_string(), *position);
                    return Ok(Delivery::Records { partition: partition.clone(), epoch: Epoch(1), records });
                }
            }
            news.await;
        }
    }

    async fn commit(&mut self, partition: &Partition, _: Epoch, watermark: u64) -> Result<(), LogError> {
        self.log.committed.lock().expect("log").insert(partition.topic.to_string(), watermark);
        Ok(())
    }

    fn pause(&mut self, partition: &Partition) {
        self.partitions.iter_mut().filter(|(own, ..)| own == partition).for_each(|(.., paused)| *paused = true);
    }

    fn resume(&mut self, partition: &Partition) {
        self.partitions.iter_mut().filter(|(own, ..)| own == partition).for_each(|(.., paused)| *paused = false);
    }

    async fn release(&mut self, _: &Partition, _: Epoch) -> Result<(), LogError> {
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

thread_local! {
    static START: std::cell::OnceCell<Instant> = const { std::cell::OnceCell::new() };
}

/// The time of the paused runtime, which has one thread.
struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Micros {
        START.with(|start| i64::try_from(start.get_or_init(Instant::now).elapsed().as_micros()).expect("short"))
    }

    fn random(&self) -> u64 {
        0
    }
}

type Answers = Box<dyn Fn(&str, usize) -> Result<&'static str, Failure> + Send + Sync>;

/// Answers each call after 10 ms, by its URL and how often that was asked.
struct Endpoint {
    answer: Answers,
    asked: Mutex<Vec<(String, Micros)>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Lookup for Endpoint {
    async fn ask(&self, call: Call) -> Result<Bytes, Failure> {
        let id = call.url.rsplit('/').next().unwrap_or_default().to_owned();
        let times = {
            let mut asked = self.asked.lock().expect("asked");
            asked.push((id.clone(), TokioClock.now()));
            asked.iter().filter(|(one, _)| *one == id).count()
        };
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.now.fetch_sub(1, SeqCst);
        (self.answer)(&id, times).map(|text| Bytes::from_static(text.as_bytes()))
    }
}

struct World {
    log: Arc<MemoryLog>,
    endpoint: Arc<Endpoint>,
    shelf: Shelf,
    source: Arc<Source>,
    topics: Topics,
    progress: Arc<Progress>,
    ladder: Ladder,
    limits: EnrichLimits,
}

const ANSWER: &str = r#"{"files":["https://files.example.com/a.pdf"]}"#;

fn world(answer: impl Fn(&str, usize) -> Result<&'static str, Failure> + Send + Sync + 'static) -> World {
    let source = Source {
        name: "claims".into(),
        mapping: Mapping::Xact,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{media_id}").expect("path"),
        route: None,
        enrich: Some(EnrichMapping::new(Some("files"), &[]).expect("mapping")),
    };
    World {
        log: Arc::default(),
        endpoint: Arc::new(Endpoint {
            answer: Box::new(answer),
            asked: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }),
        shelf: Shelf::default(),
        source: Arc::new(source),
        topics: Topics::of("claims").enriched(),
        progress: Arc::default(),
        ladder: Ladder::new([200, 400].map(Duration::from_millis).to_vec()),
        limits: EnrichLimits { max_in_flight: 4, per_second: None, grace: Duration::from_secs(5) },
    }
}

impl World {
    async fn send(&self, events: impl IntoIterator<Item = Vec<u8>>) {
        let header = ("own".to_owned(), Bytes::from_static(b"x"));
        let message =
            |event: Vec<u8>| Message { key: Some("k".into()), value: Some(event.into()), headers: vec![header.clone()] };
        let batch: Vec<Message> = events.into_iter().map(message).collect();
        Shared(self.log.clone()).append(&self.topics.raw(), &batch).await.expect("append");
    }

    /// Runs both stages for this much of the paused clock.
    async fn run(&self, time: Duration) {
        self.try_run(time).await.expect("stages");
    }

    async fn try_run(&self, time: Duration) -> Result<(), StageError> {
        let drain = CancellationToken::new();
        let stage = Enrich {
            log: Arc::new(Shared(self.log.clone())),
            store: Arc::new(self.shelf.clone()),
            topics: self.topics.clone(),
            source: self.source.clone(),
            lookup: self.endpoint.clone(),
            call: CallTemplate::parse(Method::Get, "https://api.example.com/claims/{id}", Vec::new(), None).expect("call"),
            fields: Fields::parse([("id", "id")]).expect("fields"),
            ladder: self.ladder.clone(),
            limits: self.limits,
            clock: Arc::new(TokioClock),
            progress: self.progress.clone(),
        };
        let retry = Retry {
            log: Arc::new(Shared(self.log.clone())),
            group: self.topics.enrich_retry_group(),
            tiers: self.ladder.delays.iter().map(|delay| (self.topics.enrich_tier(*delay), *delay)).collect(),
            to: self.topics.enrich_due(),
            clock: Arc::new(TokioClock),
            grace: self.limits.grace,
        };
        let ends = drain.clone();
        let end = async move {
            tokio::time::sleep(time).await;
            ends.cancel();
            Ok(())
        };
        tokio::try_join!(stage.run(drain.clone()), retry.run(drain), end).map(drop)
    }

    fn letters(&self) -> Vec<DeadLetter> {
        let records = self.log.read(&self.topics.dead_letters(), 0);
        records.iter().map(|r| format::decode(r.message.value.as_deref().expect("value")).expect("letter")).collect()
    }

    fn asked(&self) -> Vec<(String, Micros)> {
        self.endpoint.asked.lock().expect("asked").clone()
    }
}

fn event(id: &str) -> Vec<u8> {
    format!(r#"{{"type":"a.b","traceId":"t-{id}","id":"{id}"}}"#).into_bytes()
}

fn transient() -> Failure {
    Failure::new(Class::Transient, Reason::HttpStatus, "503").with_status(503)
}

fn throttled(seconds: u64) -> Failure {
    let failure = Failure::new(Class::Throttled, Reason::HostThrottled, "429");
    Failure { retry_after: Some(Duration::from_secs(seconds)), ..failure }
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_on_with_its_answer_and_becomes_a_task() {
    let world = world(|_, _| Ok(ANSWER));
    world.send((0..300).map(|n| event(&n.to_string()))).await;
    world.run(Duration::from_secs(5)).await;
    let enriched = world.log.read(&world.topics.events(), 0);
    assert_eq!((enriched.len(), world.asked().len(), world.log.committed(&world.topics.raw())), (300, 300, 300));
    assert_eq!(world.endpoint.most.load(SeqCst), 4, "calls at once");
    let first = &enriched[0];
    assert_eq!((first.message.key.as_deref(), first.message.headers.len()), (Some(&b"k"[..]), 1));
    let unwrapped = Unwrapped::read(&world.source, first).expect("wrapped");
    assert_eq!(*unwrapped.event, event("0"));
    let planned = world.source.plan(&unwrapped.raw()).expect("decoded").event().expect("ours");
    assert_eq!(planned.attachments[0].task.url, "https://files.example.com/a.pdf");
    assert_eq!(planned.trace_id, "t-0");
}

#[tokio::test(start_paused = true)]
async fn a_failure_climbs_the_tiers_and_is_enriched_at_the_third_attempt() {
    let world = world(|_, times| if times < 3 { Err(transient()) } else { Ok(ANSWER) });
    world.send([event("7")]).await;
    world.run(Duration::from_secs(5)).await;
    let times: Vec<Micros> = world.asked().iter().map(|(_, at)| *at).collect();
    assert_eq!(times.len(), 3);
    assert!(times[1] - times[0] >= 200_000 && times[2] - times[1] >= 400_000, "not before they are due: {times:?}");
    let enriched = world.log.read(&world.topics.events(), 0);
    let names: Vec<&str> = enriched[0].message.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((enriched.len(), names), (1, vec!["own", HEADER_INPUT]), "what the ladder wrote is gone");
    assert!(world.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_enriched_is_a_dead_letter_with_its_bytes() {
    let world = world(|id, times| match id {
        "gone" => Err(Failure::new(Class::Permanent, Reason::HttpStatus, "404").with_status(404)),
        _ if times == 1 => Err(transient()),
        _ => Err(transient().with_status(500)),
    });
    world.send([event("gone"), event("down"), b"{\"id\":".to_vec(), b"\xFF".to_vec(), b"{\"no\":1}".to_vec()]).await;
    world.run(Duration::from_secs(5)).await;
    let mut letters = world.letters();
    letters.sort_by_key(|letter| letter.input.clone());
    let told: Vec<_> = letters.iter().map(|l| (l.input.as_deref().unwrap_or_default(), l.status, l.error.http_status)).collect();
    assert_eq!(
        told,
        [
            ("claims.events.raw/0@0", Class::Permanent, Some(404)),
            ("claims.events.raw/0@1", Class::Transient, Some(500)),
            ("claims.events.raw/0@2", Class::Poison, None),
            ("claims.events.raw/0@3", Class::Poison, None),
            ("claims.events.raw/0@4", Class::Poison, None),
        ]
    );
    assert_eq!(letters[1].first_error.as_ref().and_then(|e| e.http_status), Some(503), "the first error is kept");
    assert_eq!(
        letters[1].original,
        DeadLetter::of_event("", letters[1].error.clone(), Some(&event("down")), String::new()).original
    );
    assert!(letters.iter().all(|letter| letter.task.is_none()));
    for record in world.log.read(&world.topics.dead_letters(), 0) {
        let letter = format::decode(record.message.value.as_deref().expect("value")).expect("letter");
        let replayed = replay(&world.source, letter, &record.message.headers).expect("replayable");
        let Replay::Event { headers, .. } = replayed else { panic!("no event") };
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, [HEADER_INPUT, HEADER_LIFE, "own"]);
    }
    assert_eq!(world.asked().len(), 4, "one, and three attempts; poison is never asked about");
    assert_eq!(world.log.committed(&world.topics.raw()), 5);
    assert!(world.log.read(&world.topics.events(), 0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_burns_few_events() {
    let world = world(|_, _| Err(transient()));
    world.send((0..500).map(|n| event(&n.to_string()))).await;
    world.run(Duration::from_secs(300)).await;
    let calls = world.asked().len();
    assert!((10..30).contains(&calls), "{calls} calls in five minutes of outage");
    assert!(world.log.committed(&world.topics.raw()) < 30, "the others wait");
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_once_the_endpoint_is_back() {
    let back = Duration::from_secs(100).as_micros() as i64;
    let world = world(move |_, _| if TokioClock.now() < back { Err(transient()) } else { Ok(ANSWER) });
    world.send((0..100).map(|n| event(&n.to_string()))).await;
    world.run(Duration::from_secs(200)).await;
    let (enriched, lost) = (world.log.read(&world.topics.events(), 0).len(), world.letters().len());
    assert_eq!(enriched + lost, 100, "every event has its end");
    assert!(lost < 20, "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_throttling_endpoint_is_left_alone_and_no_attempt_is_spent() {
    let world = world(|_, times| if times == 1 { Err(throttled(30)) } else { Ok(ANSWER) });
    world.send([event("1")]).await;
    world.run(Duration::from_secs(60)).await;
    let times: Vec<Micros> = world.asked().iter().map(|(_, at)| *at).collect();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= 30_000_000, "{times:?}");
    assert_eq!(world.log.read(&world.topics.events(), 0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_kept() {
    let mut world = world(|_, _| Ok(ANSWER));
    world.limits = EnrichLimits { per_second: Some(5), ..world.limits };
    world.send((0..10).map(|n| event(&n.to_string()))).await;
    world.run(Duration::from_secs(5)).await;
    let times: Vec<Micros> = world.asked().iter().map(|(_, at)| *at).collect();
    assert_eq!(times.len(), 10);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 200_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_input_cannot_claim_attempts() {
    let world = world(|_, _| Err(transient()));
    let mut message = Message { value: Some(event("1").into()), ..Message::default() };
    Climb { attempts: 99, ..Climb::default() }.write(&mut message.headers);
    Shared(world.log.clone()).append(&world.topics.raw(), &[message]).await.expect("append");
    world.run(Duration::from_secs(5)).await;
    assert_eq!(world.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_calls_end_and_commits_what_is_durable() {
    let world = world(|_, _| Ok(ANSWER));
    world.send((0..100).map(|n| event(&n.to_string()))).await;
    world.run(Duration::from_millis(15)).await;
    let enriched = world.log.read(&world.topics.events(), 0).len();
    assert_eq!(enriched, 8, "two rounds of four calls");
    assert_eq!(world.log.committed(&world.topics.raw()), 8);
}

#[tokio::test(start_paused = true)]
async fn an_offset_is_committed_only_after_its_event_is_durable() {
    let world = world(|_, _| Ok(ANSWER));
    *world.log.broken.lock().expect("log") = Some(world.topics.events());
    world.send([event("1"), b"{".to_vec()]).await;
    let told = world.try_run(Duration::from_secs(60)).await.expect_err("given up").0;
    assert!(told.contains("the disk is away"), "{told}");
    assert_eq!((world.log.committed(&world.topics.raw()), world.letters().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn events_of_other_sources_are_passed_over() {
    let mut world = world(|_, _| Ok(ANSWER));
    let when = When::Field { field: Field::parse("kind").expect("field"), any_of: vec!["claim".into()] };
    let sources = [("claims".to_owned(), Some(when)), ("rest".to_owned(), None)];
    Arc::make_mut(&mut world.source).route = Some(Route::new(&sources, "claims").expect("route"));
    let of_kind = |kind: &str, id: u32| format!(r#"{{"kind":"{kind}","id":{id}}}"#).into_bytes();
    world.send([of_kind("other", 1), of_kind("claim", 2), of_kind("other", 3), b"{".to_vec()]).await;
    world.run(Duration::from_secs(5)).await;
    assert_eq!(world.asked().iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!((world.letters().len(), world.log.committed(&world.topics.raw())), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn the_events_that_wait_are_bounded_by_their_bytes_and_all_are_enriched_in_the_end() {
    let back = Duration::from_secs(60).as_micros() as i64;
    let world = world(move |_, _| if TokioClock.now() < back { Err(throttled(60)) } else { Ok(ANSWER) });
    let large = |n: usize| format!(r#"{{"type":"a.b","traceId":"t","id":{n},"text":"{}"}}"#, "x".repeat(900_000)).into_bytes();
    world.send((0..60).map(large)).await;
    world.run(Duration::from_secs(30)).await;
    let given = world.log.given.lock().expect("log")[&world.topics.raw()];
    let most = QUEUED_BYTES / 900_000 + 1 + DELIVERY + world.limits.max_in_flight;
    assert!((8..=most).contains(&given), "{given} events of 0.9 MB are in memory");
    world.run(Duration::from_secs(300)).await;
    assert_eq!(world.log.committed(&world.topics.raw()), 60);
    let ends: HashSet<_> = world.log.read(&world.topics.events(), 0).into_iter().map(|r| r.message.value).collect();
    assert_eq!(ends.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn what_waited_in_a_tier_stays_ours_whatever_the_sources_agree_on_by_now() {
    let mut world = world(|_, _| Ok(ANSWER));
    let when = When::Field { field: Field::parse("kind").expect("field"), any_of: vec!["claim".into()] };
    let sources = [("claims".to_owned(), Some(when)), ("rest".to_owned(), None)];
    Arc::make_mut(&mut world.source).route = Some(Route::new(&sources, "claims").expect("route"));
    let message = Message { value: Some(event("1").into()), ..Message::default() };
    for topic in [world.topics.raw(), world.topics.enrich_due()] {
        Shared(world.log.clone()).append(&topic, std::slice::from_ref(&message)).await.expect("append");
    }
    world.run(Duration::from_secs(5)).await;
    assert_eq!((world.asked().len(), world.log.read(&world.topics.events(), 0).len()), (1, 1));
    assert_eq!((world.log.committed(&world.topics.raw()), world.log.committed(&world.topics.enrich_due())), (1, 1));
}

/// An event of this size that can be read and names a claim.
fn event_of(id: &str, bytes: usize) -> Vec<u8> {
    let short = event(id);
    let padding = "x".repeat(bytes - short.len() - 10);
    format!("{{\"pad\":\"{padding}\",{}", std::str::from_utf8(&short[1..]).expect("text")).into_bytes()
}

/// No broker takes more than about a megabyte; what is larger must neither jam the stage nor be lost.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_with_its_answer_is_a_dead_letter_with_its_bytes_in_the_store() {
    static LONG: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!("{{\"files\":[],\"x\":\"{}\"}}", "y".repeat(300_000)));
    let world = world(|_, _| Ok(&LONG));
    let sizes = [600_000, 800_000, 990_000, 1 << 20];
    world.send(sizes.iter().map(|bytes| event_of(&bytes.to_string(), *bytes)).chain([event("small")])).await;
    world.run(Duration::from_secs(5)).await;
    assert_eq!(world.log.committed(&world.topics.raw()), 5, "nothing is jammed");
    let asked: Vec<String> = world.asked().into_iter().map(|(id, _)| id).collect();
    assert!(!asked.contains(&sizes[3].to_string()) && asked.len() == 4, "alone too large, it is not asked about: {asked:?}");
    assert_eq!(world.log.read(&world.topics.events(), 0).len(), 2);
    let letters = world.letters();
    assert_eq!((letters.len(), world.shelf.paths().len()), (3, 3));
    for (letter, bytes) in letters.into_iter().zip([sizes[3], sizes[1], sizes[2]]) {
        assert_eq!((letter.status, letter.error.reason), (Class::Permanent, Reason::TooLarge));
        let (letter, headers) =
            crate::letters::read_back(&world.shelf, letter, letter_headers()).await.expect("read").expect("there");
        let Ok(Replay::Event { bytes: replayed, .. }) = replay(&world.source, letter, &headers) else { panic!("not replayed") };
        assert_eq!(replayed, event_of(&bytes.to_string(), bytes));
    }
}

fn letter_headers() -> Vec<(String, Bytes)> {
    vec![(HEADER_LIFE.to_owned(), Bytes::from_static(b"0"))]
}

#[tokio::test(start_paused = true)]
async fn a_large_event_waits_in_a_tier_while_there_is_room_for_what_the_ladder_writes() {
    let world = world(|_, _| Err(transient()));
    let (waits, full) = (event_of("waits", 990_000), event_of("full", 999_990));
    world.send([waits, full]).await;
    world.run(Duration::from_secs(5)).await;
    let letters = world.letters();
    let told: Vec<_> = letters.iter().map(|l| (l.status, l.error.http_status)).collect();
    assert_eq!(told, [(Class::Transient, Some(503)); 2]);
    let asked = |id: &str| world.asked().iter().filter(|(one, _)| one == id).count();
    assert_eq!((asked("waits"), asked("full")), (3, 1));
}
