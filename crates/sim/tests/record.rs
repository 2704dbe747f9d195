//! What the tables say when two outcomes of one attachment meet.

use std::time::Duration;

use longshore_core::format::{self, DeadLetter, ErrorNote, Stored};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_sim::{End, World, WorldOptions};
use longshore_stages::ports::{Log, Message};

const MINUTE: Duration = Duration::from_secs(60);

/// A task that was passed by others has two copies: one may be stored, and the other fail later.
#[tokio::test(start_paused = true)]
async fn a_failure_of_what_is_stored_adds_no_row() {
    let mut world = World::new(0, WorldOptions::default()).await;
    let url = "https://files.example.com/a.txt".to_owned();
    world.send([url.clone()]).await;
    world.start();
    world.finish(MINUTE).await;

    let results = world.log.records(&world.topics.results());
    let stored: Stored = format::decode(results[0].message.value.as_ref().expect("a result")).expect("a result");
    let pending = world.log.records(&world.topics.pending());
    let task = format::decode(pending[0].message.value.as_ref().expect("a task")).expect("a task");
    let failure = Failure::new(Class::Permanent, Reason::HttpStatus, "404").with_status(404);
    let letter = DeadLetter::of_task(task, ErrorNote::of(&failure, stored.downloaded_at + 1));
    let message = Message { value: Some(format::encode(&letter).into()), ..Message::default() };
    world.log.append(&world.topics.dead_letters(), &[message]).await.expect("appended");
    world.finish(MINUTE).await;

    world.check();
    assert_eq!(world.ends()[&url], End::Stored(1));
    assert_eq!(world.tables[1].rows(), [], "stored wins");
}
