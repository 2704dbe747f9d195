//! Each call of each stage made to fail once: nothing is lost, nothing is there twice.

use std::time::Duration;

use longshore_sim::{Answer, End, FILE, Fault, Stage, World, WorldOptions, seeds};

const MINUTE: Duration = Duration::from_secs(60);

/// Every call that a stage makes.
const CALLS: [&str; 26] = [
    "log append urls.downloads.pending",
    "log append urls.downloads.results",
    "log append urls.downloads.dlq",
    "log append urls.downloads.retry.200ms",
    "log next urls.ingest",
    "log next urls.download",
    "log next urls.retry",
    "log next urls.record.results",
    "log next urls.record.dlq",
    "log next urls.record.events",
    "log commit urls.ingest",
    "log commit urls.download",
    "log commit urls.retry",
    "log commit urls.record.results",
    "log commit urls.record.dlq",
    "log commit urls.record.events",
    "store begin",
    "store write",
    "store publish",
    "table attachments append",
    "table attachments known",
    "table attachments maintain",
    "table failed append",
    "table failed maintain",
    "table events append",
    "table events maintain",
];

fn url(behaviour: &str, number: usize) -> String {
    format!("https://files.example.com/{behaviour}/{number}.txt")
}

/// A world of files, of some that come at the second attempt, and of some that never do.
async fn mixed(seed: u64, options: WorldOptions) -> World {
    let mut world = World::new(seed, options).await;
    world.origin.answer("https://files.example.com/second", &[Answer::Status(500), FILE]);
    world.origin.answer("https://files.example.com/missing", &[Answer::Status(404)]);
    world.send((0..30).flat_map(|n| [url("good", n), url("second", n), url("missing", n)])).await;
    world
}

fn check(world: &World) {
    world.check();
    for (url, end) in world.ends() {
        let expected = !url.contains("/missing/");
        assert_eq!(matches!(end, End::Stored(_)), expected, "{url}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_call_may_fail_once_and_nothing_is_lost_or_doubled() {
    for call in CALLS {
        for fault in [Fault::Before, Fault::After] {
            let mut world = mixed(0, WorldOptions::default()).await;
            world.faults.once(call, fault);
            world.start();
            world.finish(10 * MINUTE).await;
            assert_eq!(world.faults.struck(call), 1, "nobody called: {call}");
            assert_eq!(world.restarts, 0, "it passes, and no stage may end of it: {call}: {:?}", world.last_error);
            check(&world);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_given_up_although_the_log_is_away_for_a_moment() {
    for fault in [Fault::Before, Fault::After] {
        let mut world = mixed(0, WorldOptions { partitions: 4, ..WorldOptions::default() }).await;
        world.faults.once("log release urls.download", fault);
        world.start();
        world.pass(Duration::from_millis(20)).await;
        world.log.rebalance("urls.download");
        world.finish(10 * MINUTE).await;
        assert_eq!((world.faults.struck("log release urls.download"), world.restarts), (1, 0), "{:?}", world.last_error);
        check(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_panics_is_tried_again() {
    let mut world = World::new(0, WorldOptions::default()).await;
    world.origin.answer("https://files", &[Answer::Panic, FILE]);
    world.start();
    world.send((0..10).map(|n| url("good", n))).await;
    world.finish(MINUTE).await;
    world.check();
    assert!(world.ends().values().all(|end| *end == End::Stored(2)), "{:?}", world.ends());
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_moment_it_goes_on_where_it_was() {
    for moment in (1..400).step_by(13) {
        let mut world = mixed(0, WorldOptions::default()).await;
        world.start();
        world.pass(Duration::from_millis(moment)).await;
        world.crash().await;
        world.start();
        world.finish(10 * MINUTE).await;
        check(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_within_the_grace_although_the_table_is_away_and_nothing_is_lost() {
    let mut world = mixed(0, WorldOptions::default()).await;
    for _ in 0..1_000 {
        world.faults.once("table attachments append", Fault::Before);
    }
    world.start();
    world.pass(Duration::from_secs(2)).await;
    let begun = tokio::time::Instant::now();
    let ended = world.drain().await;
    assert!(begun.elapsed() <= Duration::from_secs(28), "it took {:?}", begun.elapsed());
    let told: Vec<_> = ended.iter().filter_map(|(stage, end)| end.as_ref().err().map(|error| (stage, &error.0))).collect();
    assert!(matches!(&told[..], [(Stage::Record, message)] if message.contains("committing rows")), "{told:?}");
    while world.faults.cancel_one("table attachments append") {}
    world.start();
    world.finish(10 * MINUTE).await;
    check(&world);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_counted() {
    let mut world = World::new(0, WorldOptions::default()).await;
    world.start();
    world.send_bytes(None).await;
    world.send_bytes(Some(b"{")).await;
    world.finish(MINUTE).await;
    let get = longshore_stages::progress::Progress::get;
    assert_eq!((get(&world.progress.skipped_nulls), get(&world.progress.failed), world.dead_letters().len()), (1, 1, 1));
}

/// All faults at once, kills and rebalances among them.
#[tokio::test(start_paused = true)]
async fn any_mixture_of_faults_loses_nothing_and_doubles_nothing() {
    for seed in seeds(40) {
        let dice = longshore_sim::Dice::new(seed);
        let options = WorldOptions { partitions: 1 + dice.roll(4) as u32, ..WorldOptions::default() };
        let mut world = mixed(seed, options).await;
        world.origin.answer("https://files.example.com/second/1", &[Answer::Short, Answer::Panic, FILE]);
        world.origin.answer("https://files.example.com/second/2", &[Answer::Wait(Duration::from_millis(300)), FILE]);
        world.faults.often(dice.roll(60));
        world.start();
        for _ in 0..dice.roll(8) {
            world.pass(Duration::from_millis(dice.roll(400))).await;
            match dice.roll(4) {
                0 => {
                    world.crash().await;
                    world.start();
                }
                1 => world.start_one(Stage::Download),
                2 => world.start_one(Stage::Ingest),
                _ => world.log.rebalance("urls.download"),
            }
        }
        world.pass(Duration::from_secs(2)).await;
        world.faults.often(0);
        world.finish(60 * MINUTE).await;
        world.check();
    }
}
