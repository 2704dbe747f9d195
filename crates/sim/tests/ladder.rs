//! Retries and waits: in time, in number, and to the end.

use std::time::Duration;

use longshore_core::retry::Ladder;
use longshore_sim::{Answer, End, FILE, World, WorldOptions, seeds};
use longshore_stages::progress::Progress;

fn url(number: usize) -> String {
    format!("https://files.example.com/{number}.txt")
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_twice_is_stored_at_the_third_attempt_and_not_before_it_is_due() {
    for seed in seeds(1) {
        let mut world = World::new(seed, WorldOptions::default()).await;
        world.origin.answer("https://files", &[Answer::Status(500), Answer::Status(503), FILE]);
        world.start();
        world.send([url(1)]).await;
        world.pass(Duration::from_millis(150)).await;
        world.send([url(2)]).await;
        world.finish(MINUTE).await;
        world.check();
        for url in [url(1), url(2)] {
            assert_eq!(world.ends()[&url], End::Stored(3));
            let asked = world.origin.asked(&url);
            let waited: Vec<i64> = asked.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000).collect();
            assert!((200..260).contains(&waited[0]) && (400..460).contains(&waited[1]), "ms between attempts: {waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_always_fails_climbs_the_ladder_once_and_ends_as_a_dead_letter() {
    let mut world = World::new(0, WorldOptions::default()).await;
    world.origin.answer("https://files", &[Answer::Short]);
    world.start();
    world.send([url(1)]).await;
    world.finish(MINUTE).await;
    world.check();
    assert!(matches!(&world.ends()[&url(1)], End::Failed(status, message)
        if status == "transient" && message.starts_with("wrong_length")));
    let letter = &world.dead_letters()[0];
    assert_eq!(letter.task.as_ref().map(|task| task.attempts), Some(4));
    assert!(letter.first_error.as_ref().is_some_and(|first| first.at < letter.error.at));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_wait_for_ever_is_asked_a_hundred_times_and_four() {
    let mut world = World::new(0, WorldOptions::default()).await;
    world.origin.answer("https://files", &[Answer::Wait(Duration::from_millis(100))]);
    world.start();
    world.send([url(1)]).await;
    world.finish(60 * MINUTE).await;
    world.check();
    assert_eq!(world.origin.asked(&url(1)).len(), 104, "a hundred waits, then one attempt for each tier and the last");
    assert_eq!(Progress::get(&world.progress.waits), 100);
    assert!(matches!(&world.ends()[&url(1)], End::Failed(status, _) if status == "transient"));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_after_a_day_and_a_longer_retry_after_is_cut() {
    let ladder = Ladder::new([60, 600, 3_600].map(Duration::from_secs).to_vec());
    let mut world = World::new(0, WorldOptions { ladder, ..WorldOptions::default() }).await;
    world.origin.answer("https://files", &[Answer::Wait(Duration::from_secs(1_000_000))]);
    world.start();
    world.send([url(1)]).await;
    let took = world.finish(40 * 60 * MINUTE).await;
    world.check();
    let asked = world.origin.asked(&url(1));
    let hour = 3_600_000_000;
    assert!((hour..hour + 2_000_000).contains(&(asked[1] - asked[0])), "Retry-After is honoured up to an hour");
    let hours = took.as_secs() / 3_600;
    assert!((24..30).contains(&hours), "a day of waits and then the ladder, but it took {hours} hours");
}
