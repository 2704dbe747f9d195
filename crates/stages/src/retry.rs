//! Retry: tiers → pending.
//!
//! *Owns*: the waiting. One topic for each fixed delay, so first in is first due: it looks at the head only.
//! *Does not own*: the decision to retry (core's ladder, asked by download), dead letters.
//!
//! ```text
//! retry.1s ─▶ [≤ HELD records, ≤ HELD_BYTES, and a delivery] ─┐
//! retry.5s ─▶ [≤ HELD records, ≤ HELD_BYTES, and a delivery] ─┼─ due? ─▶ pending
//! ```
//! A partition with [`HELD`] records or [`HELD_BYTES`] in memory is paused, not given up, until its head is due: a
//! consumer may wait for 40 minutes and stay a member of its group.
//! A record is due its delay after the log took it. Where that clock ran ahead of ours, or ours was set back, it is
//! due its delay after we first saw it: nothing waits longer.
//! Promises: 1, 3 (commits a task's offset once it is in pending), 4, 5.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::time::Micros;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::StageError;
use crate::patience::Patience;
use crate::ports::{Clock, Consumer, Delivery, Epoch, Log, Message, Partition, Received};

/// How many records of a partition are held in memory before it is paused.
pub const HELD: usize = 2_000;
/// How many bytes of a partition's records are held in memory before it is paused.
pub const HELD_BYTES: usize = 4 << 20;
/// How many tasks go back to pending in one append.
const BATCH: usize = 1_000;

/// The stage and what it works with.
pub struct Retry {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Its group.
    pub group: String,
    /// The topics of all tiers that exist, also those of an earlier configuration, with their delays.
    pub tiers: BTreeMap<String, Duration>,
    /// Where due records go.
    pub to: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long it goes on trying once the stage drains.
    pub grace: Duration,
}

struct Tier {
    epoch: Epoch,
    delay: Duration,
    held: VecDeque<Held>,
    /// Bytes of what is held.
    bytes: usize,
    paused: bool,
}

/// A record that waits.
struct Held {
    record: Received,
    seen: Instant,
}

impl Held {
    /// How long until it is due; zero once it is.
    fn wait(&self, delay: Duration, now: Micros) -> Duration {
        let taken = self.record.appended_at.saturating_add(Micros::try_from(delay.as_micros()).unwrap_or(Micros::MAX));
        let by_log = Duration::from_micros(u64::try_from(taken.saturating_sub(now)).unwrap_or(0));
        by_log.min(delay.saturating_sub(self.seen.elapsed()))
    }
}

impl Tier {
    fn new(epoch: Epoch, delay: Duration) -> Self {
        Tier { epoch, delay, held: VecDeque::new(), bytes: 0, paused: false }
    }

    fn wait(&self, now: Micros) -> Option<Duration> {
        self.held.front().map(|head| head.wait(self.delay, now))
    }

    fn hold(&mut self, records: Vec<Received>) {
        let seen = Instant::now();
        self.bytes += records.iter().map(|record| record.message.bytes()).sum::<usize>();
        self.held.extend(records.into_iter().map(|record| Held { record, seen }));
    }

    /// What is due at the head, and the offset after it; nothing when nothing is.
    fn due(&self, now: Micros) -> Option<(Vec<Message>, u64)> {
        let due = self.held.iter().take(BATCH).take_while(|held| held.wait(self.delay, now).is_zero());
        let due: Vec<&Received> = due.map(|held| &held.record).collect();
        Some((due.iter().map(|record| record.message.clone()).collect(), due.last()?.offset + 1))
    }

    fn drop_first(&mut self, count: usize) {
        self.bytes -= self.held.drain(..count).map(|held| held.record.message.bytes()).sum::<usize>();
    }

    fn is_full(&self) -> bool {
        self.held.len() >= HELD || self.bytes >= HELD_BYTES
    }

    fn is_half_empty(&self) -> bool {
        self.held.len() < HELD / 2 && self.bytes < HELD_BYTES / 2
    }
}

impl Retry {
    /// Runs until `drain` is cancelled, then leaves.
    pub async fn run(self, drain: CancellationToken) -> Result<(), StageError> {
        let names: Vec<&str> = self.tiers.keys().map(String::as_str).collect();
        if names.is_empty() {
            drain.cancelled().await;
            return Ok(());
        }
        let patience = Patience::new(drain.clone(), self.grace);
        let mut consumer = patience.join(self.log.as_ref(), &self.group, &names).await?;
        let mut tiers = BTreeMap::new();
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                () = tokio::time::sleep(self.wait(&tiers)), if tiers.values().any(|t: &Tier| !t.held.is_empty()) => {
                    self.release_due(&patience, consumer.as_mut(), &mut tiers).await?;
                }
                delivery = consumer.next() => {
                    let delivery = delivery?;
                    self.take(consumer.as_mut(), &mut tiers, delivery).await?;
                }
            }
        }
        Ok(consumer.close().await?)
    }

    /// How long until the first head is due.
    fn wait(&self, tiers: &BTreeMap<Partition, Tier>) -> Duration {
        let now = self.clock.now();
        tiers.values().filter_map(|tier| tier.wait(now)).min().unwrap_or(Duration::MAX)
    }

    async fn release_due(
        &self,
        patience: &Patience,
        consumer: &mut dyn Consumer,
        tiers: &mut BTreeMap<Partition, Tier>,
    ) -> Result<(), StageError> {
        for (partition, tier) in tiers {
            let Some((batch, next)) = tier.due(self.clock.now()) else { continue };
            patience.until_done("appending due tasks", || self.log.append(&self.to, &batch)).await?;
            tier.drop_first(batch.len());
            tracing::debug!(
                topic = &*partition.topic,
                partition = partition.index,
                records = batch.len(),
                to = self.to,
                "due again"
            );
            consumer.commit(partition, tier.epoch, next).await?;
            if tier.paused && tier.is_half_empty() {
                tier.paused = false;
                consumer.resume(partition);
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        consumer: &mut dyn Consumer,
        tiers: &mut BTreeMap<Partition, Tier>,
        delivery: Delivery,
    ) -> Result<(), StageError> {
        match delivery {
            Delivery::Assigned { partition, epoch, .. } => {
                let delay = self.tiers.get(&*partition.topic).copied().unwrap_or_default();
                tiers.insert(partition, Tier::new(epoch, delay));
            }
            Delivery::Records { partition, epoch, records } => {
                let Some(tier) = tiers.get_mut(&partition).filter(|t| t.epoch == epoch) else { return Ok(()) };
                tier.hold(records);
                if !tier.paused && tier.is_full() {
                    tier.paused = true;
                    consumer.pause(&partition);
                }
            }
            Delivery::Revoked { partition, epoch } => {
                tiers.retain(|p, tier| *p != partition || tier.epoch != epoch);
                consumer.release(&partition, epoch).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const DELAY: Duration = Duration::from_secs(5);

    fn received(offset: u64, appended_at: Micros, bytes: usize) -> Received {
        let message = Message { value: Some(Bytes::from(vec![b'x'; bytes])), ..Message::default() };
        Received { offset, appended_at, message }
    }

    fn tier(records: Vec<Received>) -> Tier {
        let mut tier = Tier::new(Epoch(1), DELAY);
        tier.hold(records);
        tier
    }

    #[test]
    fn a_partition_is_full_by_records_or_by_bytes_and_gives_back_what_it_held() {
        assert!(!tier((0..10).map(|n| received(n, 0, 100)).collect()).is_full());
        assert!(tier((0..HELD as u64).map(|n| received(n, 0, 1)).collect()).is_full());
        let mut large = tier((0..4).map(|n| received(n, 0, 1 << 20)).collect());
        assert!(large.is_full(), "four events of 1 MiB");
        large.drop_first(2);
        assert!(!large.is_half_empty());
        large.drop_first(2);
        assert!(large.is_half_empty() && large.bytes == 0);
        assert!(tier(vec![received(0, 0, HELD_BYTES + 1)]).due(5_000_000).is_some(), "one record is held, whatever its size");
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_waits_for_its_delay_and_no_longer_whatever_the_clocks_say() {
        let (now, hour) = (1_000_000_000_000, 3_600_000_000);
        let wait = |tier: &Tier, now| tier.wait(now).map(|wait| wait.as_secs());
        assert_eq!(wait(&tier(vec![received(0, now - 3_000_000, 1)]), now), Some(2));
        assert_eq!(wait(&tier(vec![received(0, now - hour, 1)]), now), Some(0), "it waited in the log");
        let ahead = tier(vec![received(0, now + hour, 1)]);
        let set_back = tier(vec![received(0, now, 1)]);
        assert_eq!((wait(&ahead, now), wait(&set_back, now - hour)), (Some(5), Some(5)));
        tokio::time::advance(DELAY).await;
        assert!(ahead.due(now).is_some() && set_back.due(now - hour).is_some());
    }
}
