//! One member of a group: what it holds, what it reads next.
//!
//! Notices of the group come before records. Records come one partition after the other, a batch at a time; the batch being read
//! belongs to the member, not to the future that waits for it, so a dropped `next` loses nothing.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_stages::ports::{Consumer, Delivery, Epoch, LogError, Partition};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::catalog::{Lane, Topic};
use crate::embedded::Inner;
use crate::group::{MemberId, Notice};
use crate::read::{self, Batch, Limit};
use crate::view::{joined, open_still};

/// The most that one delivery brings.
const BATCH: Limit = Limit { records: 1_000, bytes: 1 << 20 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Flowing,
    Paused,
    /// Revoked: nothing more is yielded, commits are still taken.
    Ending,
}

#[derive(Debug)]
struct Held {
    topic: Arc<Topic>,
    lane: Arc<Lane>,
    epoch: Epoch,
    position: u64,
    flow: Flow,
}

#[derive(Debug)]
struct Fetch {
    epoch: Epoch,
    work: JoinHandle<Result<Batch, LogError>>,
}

/// A consumer of the embedded log.
#[derive(Debug)]
pub(crate) struct Member {
    log: Arc<Inner>,
    group: String,
    id: MemberId,
    wake: Arc<Notify>,
    held: Vec<Held>,
    turn: usize,
    fetch: Option<Fetch>,
}

impl Member {
    pub(crate) fn join(log: Arc<Inner>, group: &str, mut topics: Vec<Arc<Topic>>) -> Self {
        topics.sort_by_key(|topic| topic.id);
        topics.dedup_by_key(|topic| topic.id);
        let wake = Arc::new(Notify::new());
        topics.iter().for_each(|topic| topic.watch(&wake));
        let id = log.groups().join(group, topics, Arc::clone(&wake));
        Self { log, group: group.to_owned(), id, wake, held: Vec::new(), turn: 0, fetch: None }
    }

    fn take_notice(&mut self) -> Option<Delivery> {
        match self.log.groups().notice(&self.group, self.id)? {
            Notice::Assigned(topic, lane, epoch) => {
                let position = lane.position(&self.group);
                let partition = lane.partition.clone();
                self.held.push(Held { topic, lane, epoch, position, flow: Flow::Flowing });
                Some(Delivery::Assigned { partition, epoch, position })
            }
            Notice::Revoked(lane, epoch) => {
                self.held.iter_mut().filter(|held| held.epoch == epoch).for_each(|held| held.flow = Flow::Ending);
                Some(Delivery::Revoked { partition: lane.partition.clone(), epoch })
            }
        }
    }

    /// Starts reading the next partition in turn that flows and has records.
    fn start_fetch(&mut self) {
        let count = self.held.len();
        let ready = |n: &usize| self.held[*n].flow == Flow::Flowing && self.held[*n].position < self.held[*n].lane.end();
        let Some(chosen) = (0..count).map(|n| (self.turn + n) % count).find(ready) else { return };
        self.turn = chosen + 1;
        let held = &self.held[chosen];
        let (readers, lane, from) = (Arc::clone(self.log.readers()), Arc::clone(&held.lane), held.position);
        let work = tokio::task::spawn_blocking(move || {
            readers.with(|conn, file| read::records(conn, file, &lane.partition, lane.id, from, BATCH))
        });
        self.fetch = Some(Fetch { epoch: held.epoch, work });
    }

    /// Hands out what was read, unless the partition has been paused or revoked meanwhile (it is then read again later).
    fn deliver(&mut self, epoch: Epoch, batch: Batch) -> Option<Delivery> {
        let held = self.held.iter_mut().find(|held| held.epoch == epoch && held.flow == Flow::Flowing)?;
        held.position = batch.next;
        let partition = held.lane.partition.clone();
        (!batch.records.is_empty()).then_some(Delivery::Records { partition, epoch, records: batch.records })
    }

    fn find(&mut self, partition: &Partition) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| held.lane.partition == *partition)
    }

    fn set_flow(&mut self, partition: &Partition, from: Flow, to: Flow) {
        if let Some(held) = self.find(partition).filter(|held| held.flow == from) {
            held.flow = to;
        }
    }

    /// Waits for the read under way; nothing when a wake-up came first.
    async fn wait(&mut self) -> Option<(Epoch, Result<Batch, LogError>)> {
        let Some(fetch) = &mut self.fetch else {
            self.wake.notified().await;
            return None;
        };
        let epoch = fetch.epoch;
        let read = tokio::select! {
            read = joined(&mut fetch.work) => read,
            () = self.wake.notified() => return None,
        };
        self.fetch = None;
        Some((epoch, read))
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        loop {
            open_still(self.log.readers())?;
            if let Some(delivery) = self.take_notice() {
                return Ok(delivery);
            }
            if self.fetch.is_none() {
                self.start_fetch();
            }
            let Some((epoch, read)) = self.wait().await else { continue };
            if let Some(delivery) = self.deliver(epoch, read?) {
                return Ok(delivery);
            }
        }
    }

    async fn commit(&mut self, partition: &Partition, epoch: Epoch, watermark: u64) -> Result<(), LogError> {
        let Some(held) = self.find(partition).filter(|held| held.epoch == epoch) else { return Ok(()) };
        let (topic, lane) = (Arc::clone(&held.topic), Arc::clone(&held.lane));
        // The end known in memory may lag behind what a read has found in the file and handed out.
        let end = lane.end().max(held.position);
        if watermark > end {
            return Err(LogError::Fatal(format!(
                "group {} would commit {watermark} in {partition}, which ends at {end}: this is a fault of the program, report it",
                self.group
            )));
        }
        if lane.committed(&self.group).is_some_and(|committed| committed >= watermark) {
            return Ok(());
        }
        self.log.commit(&topic, &lane, &self.group, watermark).await
    }

    fn pause(&mut self, partition: &Partition) {
        self.set_flow(partition, Flow::Flowing, Flow::Paused);
    }

    fn resume(&mut self, partition: &Partition) {
        self.set_flow(partition, Flow::Paused, Flow::Flowing);
    }

    async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError> {
        let Some(lane) = self.find(partition).filter(|held| held.epoch == epoch).map(|held| held.lane.id) else { return Ok(()) };
        if self.log.groups().release(&self.group, self.id, lane, epoch) {
            self.held.retain(|held| held.epoch != epoch);
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.log.groups().leave(&self.group, self.id);
    }
}
