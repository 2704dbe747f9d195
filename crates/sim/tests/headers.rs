//! What an event's headers say goes with its work, hop by hop, and through a replay.

use std::time::Duration;

use bytes::Bytes;
use longshore_core::format::{self, DeadLetter, HEADER_INPUT, HEADER_LIFE};
use longshore_core::headers::{TRACEPARENT, TRACESTATE};
use longshore_core::replay::{Replay, replay};
use longshore_sim::{Answer, FILE, World, WorldOptions};
use longshore_stages::message;
use longshore_stages::ports::{Log, Message};

const MINUTE: Duration = Duration::from_secs(60);

/// A trace for each event, told apart by its parent id.
fn parent(event: u64) -> Bytes {
    Bytes::from(format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", event + 1))
}

fn header(name: &str, value: impl Into<Bytes>) -> (String, Bytes) {
    (name.to_owned(), value.into())
}

fn traced(event: u64) -> Vec<(String, Bytes)> {
    vec![
        header(HEADER_INPUT, "list.txt:7"),
        header(TRACEPARENT, parent(event)),
        header(TRACESTATE, "vendor=1"),
        header("ce_id", "mine"),
        header("longshore-later", "kept"),
    ]
}

/// The messages of a topic that hold this text.
fn messages(world: &World, topic: &str, text: &str) -> Vec<Message> {
    let holds = |m: &Message| m.value.as_ref().is_some_and(|value| String::from_utf8_lossy(value).contains(text));
    world.log.records(topic).into_iter().map(|record| record.message).filter(holds).collect()
}

/// Each message that a topic has of an event must carry the event's trace, in this life, and nothing else.
fn carries(world: &World, topic: &str, text: &str, event: u64, life: u32) {
    let life = (life > 0).then(|| header(HEADER_LIFE, life.to_string()));
    let trace = [header(TRACEPARENT, parent(event)), header(TRACESTATE, "vendor=1"), header("longshore-later", "kept")];
    let expected: Vec<_> = life.into_iter().chain(trace).collect();
    let found = messages(world, topic, text);
    assert!(!found.is_empty(), "{text} is not in {topic}");
    for message in found {
        assert_eq!(message.headers, expected, "{text} in {topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_to_the_task_the_tiers_the_result_the_letter_and_the_replay() {
    let mut world = World::new(0, WorldOptions::default()).await;
    world.origin.answer("https://files.example.com/second", &[Answer::Status(500), FILE]);
    world.origin.answer("https://files.example.com/missing", &[Answer::Status(404)]);
    let url = |name: &str| format!("https://files.example.com/{name}");
    for (event, name) in (0..).zip(["good", "second", "missing"]) {
        world.send_with(&url(name), traced(event)).await;
    }
    world.send_with("http://files.example.com/refused", traced(3)).await;
    world.start();
    world.finish(MINUTE).await;
    world.check();
    let topics = world.topics.clone();
    let tier = topics.tier(Duration::from_millis(200));
    for (topic, name, event) in [
        (topics.pending(), "/good", 0),
        (topics.results(), "/good", 0),
        (topics.pending(), "/second", 1),
        (tier, "/second", 1),
        (topics.results(), "/second", 1),
        (topics.dead_letters(), "/missing", 2),
        (topics.dead_letters(), "/refused", 3),
    ] {
        carries(&world, &topic, name, event, 0);
    }
    assert_eq!(messages(&world, &topics.pending(), "/second").len(), 2, "the tier has given it back");

    // The letter is replayed, and fails again: in its next life it is still a part of its trace.
    let letter = messages(&world, &topics.dead_letters(), "/missing").remove(0);
    let parsed: DeadLetter = format::decode(letter.value.as_ref().expect("a letter")).expect("a letter");
    let replayed = replay(world.source(), parsed, &letter.headers).expect("a task");
    let Replay::Task(task) = replayed else { panic!("no task: {replayed:?}") };
    let before = world.dead_letters().len();
    world.log.append(&topics.pending(), &[message::of(&task)]).await.expect("appended");
    world.finish(MINUTE).await;
    assert_eq!(world.dead_letters().len(), before + 1);
    let last = messages(&world, &topics.dead_letters(), "/missing").pop().expect("a letter");
    assert_eq!((last.header(HEADER_LIFE), last.header(TRACEPARENT)), (Some(&b"1"[..]), Some(&*parent(2))));
    assert_eq!(last.key.as_deref(), letter.key.as_deref(), "keyed by the event");
}

#[tokio::test(start_paused = true)]
async fn poison_keeps_all_headers_and_comes_back_with_them() {
    let world = World::new(0, WorldOptions::default()).await;
    let message = Message { key: None, value: Some(Bytes::from_static(b"{")), headers: traced(5) };
    world.log.append(&world.topics.events(), &[message]).await.expect("appended");
    // Without a trace none is made up.
    let plain = Message { key: None, value: Some(Bytes::from_static(b"{}")), headers: Vec::new() };
    world.log.append(&world.topics.events(), &[plain]).await.expect("appended");
    let mut world = world;
    world.start();
    world.finish(MINUTE).await;
    let letters = world.log.records(&world.topics.dead_letters());
    let expected: Vec<_> = traced(5).into_iter().chain([header(HEADER_LIFE, "0")]).collect();
    assert_eq!(letters[0].message.headers, expected);
    assert_eq!(letters[1].message.headers, [header(HEADER_LIFE, "0")]);
    let Ok(Replay::Event { headers, .. }) = replay(world.source(), world.dead_letters().remove(0), &expected) else {
        panic!("not replayed")
    };
    assert!(headers.contains(&header(TRACEPARENT, parent(5))) && headers.contains(&header(HEADER_LIFE, "1")), "{headers:?}");
}

/// A task that cannot be read has no life, and its letter still tells of which trace it was.
#[tokio::test(start_paused = true)]
async fn a_broken_task_leaves_its_trace_in_its_letter() {
    let mut world = World::new(0, WorldOptions::default()).await;
    let headers = vec![header(TRACEPARENT, parent(9)), header(HEADER_LIFE, "4"), header("other", "x")];
    let broken = Message { key: None, value: Some(Bytes::from_static(b"no task")), headers };
    world.log.append(&world.topics.pending(), &[broken]).await.expect("appended");
    world.start();
    world.finish(MINUTE).await;
    let letters = world.log.records(&world.topics.dead_letters());
    assert_eq!(letters[0].message.headers, [header(TRACEPARENT, parent(9))]);
}
