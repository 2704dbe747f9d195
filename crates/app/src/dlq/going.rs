//! Replayed letters on their way into the log: gathered into appends, at a rate.

use std::time::Duration;

use anyhow::Result;
use longshore_core::replay::Replay;
use longshore_stages::message;
use longshore_stages::ports::{Log, Message};
use tokio::time::Instant;

use crate::place::Lane;

/// The most letters that are appended at once.
const BATCH: usize = 500;
/// The bytes that are gathered before they are appended, about: an event may have 1 MiB.
const BATCH_BYTES: usize = 4 << 20;

/// What is on its way into the log.
pub(super) struct Going<'a> {
    log: Option<&'a dyn Log>,
    lane: &'a Lane,
    pace: Pace,
    batch: Batch,
}

impl<'a> Going<'a> {
    /// Into a source's topics, at most at this rate a second; without a log, letters are only counted.
    pub(super) fn new(log: Option<&'a dyn Log>, lane: &'a Lane, rate: Option<u32>) -> Self {
        Going { log, lane, pace: Pace::new(rate), batch: Batch::default() }
    }

    /// Appends it with others; it is in the log after the next [`Going::flush`].
    pub(super) async fn send(&mut self, replay: Replay) -> Result<()> {
        if self.log.is_some() {
            self.batch.push(replay);
        }
        if self.batch.is_full(self.pace.batch) { self.flush().await } else { Ok(()) }
    }

    /// Appends what is left.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let Some(log) = self.log else { return Ok(()) };
        let Batch { replays, .. } = std::mem::take(&mut self.batch);
        if replays.is_empty() {
            return Ok(());
        }
        self.pace.wait(replays.len()).await;
        let (mut tasks, mut events) = (Vec::new(), Vec::new());
        for replay in replays {
            match replay {
                Replay::Task(task) => tasks.push(message::of(&task)),
                Replay::Event { bytes, headers } => events.push(Message { key: None, value: Some(bytes), headers }),
            }
        }
        let topics = &self.lane.topics;
        for (topic, batch) in [(topics.pending(), tasks), (topics.raw(), events)] {
            if !batch.is_empty() {
                log.append(&topic, &batch).await?;
            }
        }
        Ok(())
    }
}

/// What goes in one append.
#[derive(Default)]
struct Batch {
    replays: Vec<Replay>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, replay: Replay) {
        self.bytes += match &replay {
            Replay::Task(task) => task.url.len(),
            Replay::Event { bytes, .. } => bytes.len(),
        };
        self.replays.push(replay);
    }

    fn is_full(&self, most: usize) -> bool {
        self.replays.len() >= most || self.bytes >= BATCH_BYTES
    }
}

/// Keeps to a rate.
struct Pace {
    each: Duration,
    batch: usize,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<u32>) -> Self {
        let rate = rate.filter(|rate| *rate > 0);
        let each = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        // A tenth of a second's worth at a time, so that the rate is even.
        let batch = rate.map_or(BATCH, |rate| (rate as usize / 10).clamp(1, BATCH));
        Pace { each, batch, next: Instant::now() }
    }

    async fn wait(&mut self, count: usize) {
        tokio::time::sleep_until(self.next).await;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.next = self.next.max(Instant::now()) + self.each.saturating_mul(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_by_letters_or_by_bytes() {
        let (mut small, mut large) = (Batch::default(), Batch::default());
        for n in 1..=4 {
            small.push(Replay::Event { bytes: "{".into(), headers: Vec::new() });
            large.push(Replay::Event { bytes: vec![b'x'; 1 << 20].into(), headers: Vec::new() });
            assert_eq!((small.is_full(4), large.is_full(BATCH)), (n == 4, n == 4), "{n}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept() {
        let (mut pace, begun) = (Pace::new(Some(100)), Instant::now());
        for _ in 0..20 {
            pace.wait(pace.batch).await;
        }
        let took = begun.elapsed();
        assert!((Duration::from_millis(1_890)..Duration::from_millis(2_000)).contains(&took), "200 of 100/s took {took:?}");
        let (mut free, begun) = (Pace::new(None), Instant::now());
        free.wait(free.batch).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
