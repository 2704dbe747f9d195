//! Dead letters that are too large for the log: their bytes are in the store before anybody is told of them.

use std::time::Duration;

use bytes::Bytes;
use longshore_core::letters::RECORD_BYTES;
use longshore_sim::{Fault, World, WorldOptions};
use longshore_stages::letters::read_back;
use longshore_stages::ports::{Log, Message};

const MINUTE: Duration = Duration::from_secs(60);
const EVENTS: u8 = 5;

/// An event of 1 MiB that nobody can decode.
fn poison(number: u8) -> Bytes {
    let mut bytes = vec![b'{'; 1 << 20];
    bytes[1] = b'0' + number;
    bytes.into()
}

async fn world() -> World {
    let mut world = World::new(0, WorldOptions::default()).await;
    let message = |number| Message { key: None, value: Some(poison(number)), headers: Vec::new() };
    world.log.append(&world.topics.events(), &(0..EVENTS).map(message).collect::<Vec<_>>()).await.expect("appended");
    // What cannot be read among our own records is kept in the same way.
    for topic in [world.topics.pending(), world.topics.results()] {
        world.log.append(&topic, &[message(EVENTS)]).await.expect("appended");
    }
    world.send(["https://files.example.com/good.txt".to_owned()]).await;
    world
}

/// No letter may ever refer to what is not there.
fn no_letter_refers_to_nothing(world: &World) {
    for kept in world.dead_letters().into_iter().filter_map(|letter| letter.kept) {
        assert_eq!(world.store.object(&kept.path).map(|bytes| bytes.len() as u64), Some(kept.bytes));
    }
}

/// Every event has its letter, and each object is there once, whatever was repeated.
async fn check(world: &World) {
    world.check();
    let mut originals = Vec::new();
    for record in world.log.records(&world.topics.dead_letters()) {
        assert!(record.message.bytes() < RECORD_BYTES);
    }
    for letter in world.dead_letters() {
        let whole = read_back(&world.store, letter, Vec::new()).await.expect("read").expect("there").0;
        originals.push(longshore_core::replay::original(&whole).expect("its bytes"));
    }
    originals.sort_unstable();
    originals.dedup();
    assert_eq!(originals, (0..=EVENTS).map(|number| poison(number).to_vec()).collect::<Vec<_>>());
    assert_eq!(world.store.count(), usize::from(EVENTS) + 1 + 1, "an object for each, and the file");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_does_each_letter_has_its_object_once() {
    for call in ["store begin", "store write", "store publish", "log append urls.downloads.dlq"] {
        for fault in [Fault::Before, Fault::After] {
            let mut world = world().await;
            // Of each stage one call, at least.
            (0..4).for_each(|_| world.faults.once(call, fault));
            world.start();
            world.finish(10 * MINUTE).await;
            assert_eq!((world.faults.struck(call), world.restarts), (4, 0), "{call}: {:?}", world.last_error);
            check(&world).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_stages_wait_and_skip_nothing() {
    let mut world = world().await;
    (0..10_000).for_each(|_| world.faults.once("store begin", Fault::Before));
    world.start();
    world.pass(MINUTE).await;
    assert!(world.dead_letters().is_empty() && !world.is_done(), "a letter went before its bytes");
    assert!(!world.log.is_done(&world.topics.ingest_group(), &world.topics.events()), "a commit went before its letter");
    assert_eq!(world.restarts, 0, "{:?}", world.last_error);
    while world.faults.cancel_one("store begin") {}
    world.finish(10 * MINUTE).await;
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_moment_no_letter_refers_to_nothing_and_none_is_lost() {
    for moment in (0..60).step_by(3) {
        let mut world = world().await;
        world.start();
        world.pass(Duration::from_millis(moment)).await;
        world.crash().await;
        no_letter_refers_to_nothing(&world);
        world.start();
        world.finish(10 * MINUTE).await;
        check(&world).await;
    }
}
