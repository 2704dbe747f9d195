//! Retry: tiers → pending.
//!
//! *Owns*: the waiting. One topic for each fixed delay, so first in is first due: it looks at the head only.
//! *Does not own*: the decision to retry (core's ladder, asked by download), dead letters.
//!
//! ```text
//! retry.1s ─▶ [≤ 2 × HELD records] ─┐
//! retry.5s ─▶ [≤ 2 × HELD records] ─┼─ due? ─▶ pending
//! ```
//! A partition with [`HELD`] records in memory is paused, not given up, until its head is due: a consumer may wait
//! for 40 minutes and stay a member of its group.
//! Promises: 1, 3 (commits a task's offset once it is in pending), 4, 5.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::time::Micros;
use tokio_util::sync::CancellationToken;

use crate::StageError;
use crate::patience::Patience;
use crate::ports::{Clock, Consumer, Delivery, Epoch, Log, Message, Partition, Received};

/// How many records of a partition are held in memory before it is paused.
pub const HELD: usize = 2_000;
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
    delay: Micros,
    held: VecDeque<Received>,
    paused: bool,
}

impl Tier {
    fn due(&self) -> Option<Micros> {
        self.held.front().map(|head| head.appended_at.saturating_add(self.delay))
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
        let first = tiers.values().filter_map(Tier::due).min().unwrap_or(Micros::MAX);
        let micros = first.saturating_sub(self.clock.now()).max(0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    async fn release_due(
        &self,
        patience: &Patience,
        consumer: &mut dyn Consumer,
        tiers: &mut BTreeMap<Partition, Tier>,
    ) -> Result<(), StageError> {
        for (partition, tier) in tiers {
            let now = self.clock.now();
            let due = tier.held.iter().take(BATCH).take_while(|r| r.appended_at.saturating_add(tier.delay) <= now).count();
            let batch: Vec<Message> = tier.held.iter().take(due).map(|r| r.message.clone()).collect();
            let Some(next) = due.checked_sub(1).and_then(|last| tier.held.get(last)).map(|r| r.offset + 1) else { continue };
            patience.until_done("appending due tasks", || self.log.append(&self.to, batch.clone())).await?;
            tier.held.drain(..due);
            consumer.commit(partition, tier.epoch, next).await?;
            if tier.paused && tier.held.len() < HELD / 2 {
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
                let delay = Micros::try_from(delay.as_micros()).unwrap_or(Micros::MAX);
                tiers.insert(partition, Tier { epoch, delay, held: VecDeque::new(), paused: false });
            }
            Delivery::Records { partition, epoch, records } => {
                let Some(tier) = tiers.get_mut(&partition).filter(|t| t.epoch == epoch) else { return Ok(()) };
                tier.held.extend(records);
                if !tier.paused && tier.held.len() >= HELD {
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
