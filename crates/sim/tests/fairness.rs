//! A slow, dead or throttling host slows its own downloads only (promise 7); a window never stalls.

use std::time::Duration;

use longshore_core::hosts::FAILURES;
use longshore_core::retry::Ladder;
use longshore_sim::{Answer, End, FILE, Stage, World, WorldOptions};
use longshore_stages::progress::Progress;

const MINUTE: Duration = Duration::from_secs(60);

fn urls(host: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("https://{host}.example.com/{n}.txt")).collect()
}

/// When the last of these was stored.
fn last(world: &World, urls: &[String]) -> Duration {
    urls.iter().map(|url| world.stored_at(url).unwrap_or(Duration::MAX)).max().expect("some")
}

fn tiers(seconds: &[u64]) -> WorldOptions {
    let ladder = Ladder::new(seconds.iter().map(|s| Duration::from_secs(*s)).collect());
    WorldOptions { ladder, ..WorldOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_parked_host_with_5000_tasks_delays_nobody_behind_it() {
    let mut world = World::new(0, tiers(&[1, 5, 30])).await;
    let (parked, others) = (urls("busy", 5_000), urls("quick", 50));
    world.origin.answer("https://busy", &[Answer::Wait(Duration::from_secs(30))]);
    world.send(parked.iter().chain(&others).cloned()).await;
    world.start();
    world.pass(Duration::from_secs(20)).await;
    let took = last(&world, &others);
    assert!(took < Duration::from_secs(2), "the others took {took:?}, while the host is parked for 30 s");
    assert!(Progress::get(&world.progress.moved) > 4_000);
    world.origin.answer("https://busy", &[FILE]);
    world.finish(60 * MINUTE).await;
    world.check();
    assert!(world.ends().values().all(|end| matches!(end, End::Stored(_))), "a wait spends no attempt");
}

#[tokio::test(start_paused = true)]
async fn without_tiers_a_throttling_host_is_asked_once_for_each_task_and_holds_nobody_up() {
    let mut world = World::new(0, tiers(&[])).await;
    let (busy, others) = (urls("busy", 5_000), urls("quick", 50));
    world.origin.answer("https://busy", &[Answer::Wait(60 * MINUTE)]);
    world.send(busy.iter().chain(&others).cloned()).await;
    world.start();
    let took = world.finish(MINUTE).await;
    world.check();
    assert_eq!(world.origin.requests("https://busy"), 5_000);
    assert!(last(&world, &others) <= took);
    let ends = world.ends();
    assert!(busy.iter().all(|url| matches!(&ends[url], End::Failed(status, _) if status == "transient")), "{:?}", ends[&busy[0]]);
}

#[tokio::test(start_paused = true)]
async fn one_long_download_at_the_head_is_passed_after_half_a_minute() {
    let mut world = World::new(0, tiers(&[60])).await;
    let (long, others) = (urls("long", 1), urls("quick", 1_000));
    world.origin.answer("https://long", &[Answer::File(10 * MINUTE)]);
    world.send(long.iter().chain(&others).cloned()).await;
    world.start();
    world.pass(Duration::from_secs(40)).await;
    let took = last(&world, &others);
    assert!(took < Duration::from_secs(32), "a window of 256 is full until its head is passed after 30 s; it took {took:?}");
    assert_eq!(world.stored_at(&long[0]), None, "it still runs");
    world.finish(60 * MINUTE).await;
    world.check();
    assert_eq!(world.store.count(), 1_001, "the copy adopts the object");
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_at_the_head_of_the_list_costs_the_others_one_connect_timeout() {
    let timeout = Duration::from_secs(5);
    let mut world = World::new(0, tiers(&[1, 5, 30])).await;
    let (dead, others) = (urls("dead", 2_000), urls("quick", 500));
    world.origin.answer("https://dead", &[Answer::Dead(timeout)]);
    world.send(dead.iter().chain(&others).cloned()).await;
    world.start();
    world.pass(Duration::from_secs(9)).await;
    let took = last(&world, &others);
    assert!(took < timeout + Duration::from_secs(1), "the others took {took:?}");
    let asked = world.origin.requests("https://dead");
    assert!(asked <= FAILURES as usize + 4, "left alone from its first round on, but for what replaced it: {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_is_given_up_after_a_while_and_asked_little() {
    let mut options = tiers(&[1, 5, 30]);
    options.ladder.max_dark = Duration::from_secs(120);
    let mut world = World::new(0, options).await;
    world.origin.answer("https://dead", &[Answer::Dead(Duration::from_secs(5))]);
    world.send(urls("dead", 300)).await;
    world.start();
    let took = world.finish(30 * MINUTE).await;
    world.check();
    assert!(took < 10 * MINUTE, "it took {took:?}");
    let ended_as_told = |end: &End| {
        matches!(end, End::Failed(status, message)
        if status == "transient" && (message.starts_with("connect: the host did not answer") || message.starts_with("connect_timeout")))
    };
    assert!(world.ends().values().all(ended_as_told), "{:?}", world.ends());
    assert!(world.origin.requests("https://dead") < 60, "asked {} times", world.origin.requests("https://dead"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_back_is_noticed_by_a_probe_and_all_of_it_is_stored() {
    let mut world = World::new(0, tiers(&[1, 5, 30])).await;
    world.origin.answer("https://back", &[Answer::Dead(Duration::from_secs(5))]);
    world.send(urls("back", 1_000)).await;
    world.start();
    world.pass(MINUTE).await;
    world.origin.answer("https://back", &[FILE]);
    let took = world.finish(30 * MINUTE).await;
    world.check();
    assert!(world.ends().values().all(|end| matches!(end, End::Stored(_))));
    assert!(took < 5 * MINUTE, "it took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn two_stages_share_the_slots_and_both_finish() {
    let mut options = tiers(&[1]);
    (options.limits.max_in_flight, options.partitions) = (2, 4);
    let mut world = World::new(0, options).await;
    world.origin.answer("https://", &[Answer::File(Duration::from_millis(100))]);
    let all: Vec<String> = (0..10).flat_map(|host| urls(&format!("h{host}"), 20)).collect();
    world.send(all).await;
    world.start();
    world.start_one(Stage::Download);
    let took = world.finish(MINUTE).await;
    world.check();
    assert!(took >= Duration::from_secs(10), "200 downloads of 100 ms, two at a time, took {took:?}");
    assert!(took < Duration::from_secs(13), "200 downloads of 100 ms, two at a time, took {took:?}");
}

/// Five downloads of this length are under way when their partition is taken away; returns how often each was asked for.
async fn asked_around_a_rebalance(length: Duration) -> Vec<usize> {
    let mut world = World::new(0, tiers(&[1])).await;
    world.origin.answer("https://slow", &[Answer::File(length), FILE]);
    let slow = urls("slow", 5);
    world.send(slow.clone()).await;
    world.start();
    world.pass(Duration::from_secs(1)).await;
    world.start_one(Stage::Download);
    world.pass(Duration::from_millis(100)).await;
    world.log.rebalance("urls.download");
    world.pass(Duration::from_secs(4)).await;
    let asked = slow.iter().map(|url| world.origin.asked(url).len()).collect();
    world.finish(MINUTE).await;
    world.pass(Duration::from_secs(20)).await;
    world.check();
    assert_eq!(world.restarts, 0, "{:?}", world.last_error);
    asked
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_given_up_once_what_is_under_way_there_is_done_and_nobody_does_it_again() {
    assert_eq!(asked_around_a_rebalance(Duration::from_millis(2_500)).await, [1; 5]);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_for_a_rebalance_is_done_again_by_the_new_owner_and_the_old_one_changes_nothing() {
    assert_eq!(asked_around_a_rebalance(Duration::from_secs(12)).await, [2; 5]);
}
