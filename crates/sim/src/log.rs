//! A log in memory, with groups, revocations and faults.
//!
//! A partition of a group: free ──▶ held(member, epoch) ──▶ leaving(member, epoch) ──▶ free. A member that is dropped
//! without a word has crashed: what it had not committed comes again.
//!
//! The log audits the download stage: a task's offset may be committed only once an outcome of the task was appended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::format::{self, DeadLetter, Stored, Task};
use longshore_stages::ports::{
    Clock, Consumer, Delivery, Epoch, Group, Log, LogError, LogView, Message, Partition, PartitionState, Position, Received,
    TopicSpec,
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{Fault, Faults, SimClock, locked};

/// How long an append takes to become durable.
const APPEND: Duration = Duration::from_millis(1);
/// Records in one delivery at most.
const FETCH: usize = 500;

type Member = u64;

/// The log.
#[derive(Clone)]
pub struct SimLog(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    clock: Arc<SimClock>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<Partition, Vec<Received>>,
    committed: BTreeMap<(String, Partition), u64>,
    groups: HashMap<String, Members>,
    last_member: Member,
    last_epoch: u64,
    audit: Audit,
}

#[derive(Default)]
struct Members {
    members: BTreeMap<Member, Seat>,
    slots: HashMap<Partition, Slot>,
    /// Shifts who gets what, so that a rebalance moves partitions.
    turn: usize,
}

struct Seat {
    topics: HashSet<Arc<str>>,
    notices: VecDeque<Delivery>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    member: Member,
    epoch: Epoch,
    leaving: bool,
}

/// Outcomes appended and not yet used up by a commit, of each attachment.
#[derive(Default)]
struct Audit {
    outcomes: HashMap<Uuid, i64>,
    faults: Vec<String>,
}

impl SimLog {
    /// An empty log.
    pub fn new(clock: Arc<SimClock>, faults: Arc<Faults>) -> Self {
        SimLog(Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), clock, faults }))
    }

    /// Takes every partition of a group from its holders, to be dealt anew.
    pub fn rebalance(&self, group: &str) {
        let mut state = locked(&self.0.state);
        if let Some(members) = state.groups.get_mut(group) {
            members.turn += 1;
            let held: Vec<Partition> = members.slots.iter().filter(|(_, s)| !s.leaving).map(|(p, _)| p.clone()).collect();
            held.into_iter().for_each(|partition| members.revoke(&partition));
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// All records of a topic, over its partitions.
    pub fn records(&self, topic: &str) -> Vec<Received> {
        let state = locked(&self.0.state);
        state.partitions.iter().filter(|(p, _)| *p.topic == *topic).flat_map(|(_, records)| records.clone()).collect()
    }

    /// Whether a group has committed all of a topic.
    pub fn is_done(&self, group: &str, topic: &str) -> bool {
        let state = locked(&self.0.state);
        let mut all = state.partitions.iter().filter(|(p, _)| *p.topic == *topic);
        all.all(|(p, records)| state.committed(group, p) == records.len() as u64)
    }

    /// What was committed although it should not have been.
    pub fn faults_found(&self) -> Vec<String> {
        locked(&self.0.state).audit.faults.clone()
    }

    fn write(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        let now = self.0.clock.now();
        let mut state = locked(&self.0.state);
        let count = state.partitions.keys().filter(|p| *p.topic == *topic).count();
        if count == 0 {
            return Err(LogError::Fatal(format!("there is no topic {topic}")));
        }
        for message in batch {
            state.audit.appended(topic, message);
            let hash = message.key.iter().flatten().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add((*byte).into()));
            let partition = Partition { topic: topic.into(), index: hash % count as u32 };
            let records = state.partitions.entry(partition).or_default();
            records.push(Received { offset: records.len() as u64, appended_at: now, message: message.clone() });
        }
        drop(state);
        self.0.changed.notify_waiters();
        Ok(())
    }
}

impl Audit {
    fn appended(&mut self, topic: &str, message: &Message) {
        let Some(value) = &message.value else { return };
        let id = if topic.ends_with(".results") {
            format::decode::<Stored>(value).ok().map(|stored| stored.media_id)
        } else if topic.ends_with(".dlq") {
            format::decode::<DeadLetter>(value).ok().and_then(|letter| letter.task).map(|task| task.media_id)
        } else if topic.contains(".retry.") {
            format::decode::<Task>(value).ok().map(|task| task.media_id)
        } else {
            None
        };
        if let Some(id) = id {
            *self.outcomes.entry(id).or_default() += 1;
        }
    }

    fn committed(&mut self, record: &Received) {
        let Some(Ok(task)) = record.message.value.as_ref().map(|value| format::decode::<Task>(value)) else { return };
        let left = self.outcomes.entry(task.media_id).or_default();
        *left -= 1;
        if *left < 0 {
            self.faults.push(format!("offset {} of {} was committed before its outcome was in the log", record.offset, task.url));
        }
    }
}

impl Members {
    fn revoke(&mut self, partition: &Partition) {
        let Some(slot) = self.slots.get_mut(partition) else { return };
        slot.leaving = true;
        let (member, epoch) = (slot.member, slot.epoch);
        if let Some(seat) = self.members.get_mut(&member) {
            seat.notices.push_back(Delivery::Revoked { partition: partition.clone(), epoch });
        }
    }
}

impl State {
    fn committed(&self, group: &str, partition: &Partition) -> u64 {
        self.committed.get(&(group.to_owned(), partition.clone())).copied().unwrap_or(0)
    }

    /// Compares who should hold each partition with who does.
    fn deal(&mut self, group: &str) {
        let all: Vec<Partition> = self.partitions.keys().cloned().collect();
        for partition in all {
            let position = self.committed(group, &partition);
            let Some(members) = self.groups.get_mut(group) else { return };
            let readers = members.members.iter().filter(|(_, seat)| seat.topics.contains(&partition.topic));
            let readers: Vec<Member> = readers.map(|(member, _)| *member).collect();
            if readers.is_empty() {
                continue;
            }
            let owner = readers[(partition.index as usize + members.turn) % readers.len()];
            match members.slots.get(&partition) {
                None => {
                    self.last_epoch += 1;
                    let epoch = Epoch(self.last_epoch);
                    members.slots.insert(partition.clone(), Slot { member: owner, epoch, leaving: false });
                    if let Some(seat) = members.members.get_mut(&owner) {
                        seat.notices.push_back(Delivery::Assigned { partition, epoch, position });
                    }
                }
                Some(slot) if slot.member != owner && !slot.leaving => members.revoke(&partition),
                Some(_) => {}
            }
        }
    }

    fn commit(&mut self, group: &str, member: Member, partition: &Partition, epoch: Epoch, watermark: u64) {
        let slot = self.groups.get(group).and_then(|members| members.slots.get(partition));
        if !slot.is_some_and(|slot| slot.member == member && slot.epoch == epoch) {
            return;
        }
        let (before, records) = (self.committed(group, partition), &self.partitions[partition]);
        if watermark > records.len() as u64 {
            self.audit.faults.push(format!("{group} committed {watermark} of {partition}, which ends before"));
        }
        if group.ends_with(".download") {
            let newly = records.iter().filter(|r| (before..watermark).contains(&r.offset));
            newly.for_each(|record| self.audit.committed(record));
        }
        self.committed.insert((group.to_owned(), partition.clone()), before.max(watermark));
    }
}

fn away() -> LogError {
    LogError::Unavailable("the log is away".into())
}

#[async_trait]
impl Log for SimLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let mut state = locked(&self.0.state);
        for spec in topics {
            for index in 0..spec.partitions {
                state.partitions.entry(Partition { topic: spec.name.as_str().into(), index }).or_default();
            }
        }
        Ok(())
    }

    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        let fault = self.0.faults.strike(&format!("log append {topic}"));
        tokio::time::sleep(APPEND).await;
        if fault == Some(Fault::Before) {
            return Err(away());
        }
        self.write(topic, batch)?;
        if fault.is_some() { Err(away()) } else { Ok(()) }
    }

    async fn subscribe(&self, group: &Group, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let mut state = locked(&self.0.state);
        state.last_member += 1;
        let member = state.last_member;
        let seat = Seat { topics: topics.iter().map(|topic| (*topic).into()).collect(), notices: VecDeque::new() };
        state.groups.entry(group.to_owned()).or_default().members.insert(member, seat);
        state.deal(group);
        drop(state);
        self.0.changed.notify_waiters();
        let (log, group) = (self.clone(), group.to_owned());
        Ok(Box::new(SimConsumer { log, group, member, cursors: BTreeMap::new(), paused: HashSet::new() }))
    }
}

#[async_trait]
impl LogView for SimLog {
    async fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
        let state = locked(&self.0.state);
        let partition = |(p, records): (&Partition, &Vec<Received>)| PartitionState {
            partition: p.clone(),
            begin: 0,
            end: records.len() as u64,
        };
        let position = |((group, partition), committed): (&(String, Partition), &u64)| Position {
            group: group.clone(),
            partition: partition.clone(),
            committed: *committed,
        };
        Ok((state.partitions.iter().map(partition).collect(), state.committed.iter().map(position).collect()))
    }

    async fn read(&self, partition: &Partition, from: u64, max: usize) -> Result<Vec<Received>, LogError> {
        let state = locked(&self.0.state);
        let records = state.partitions.get(partition).into_iter().flatten();
        Ok(records.filter(|record| record.offset >= from).take(max).cloned().collect())
    }
}

struct SimConsumer {
    log: SimLog,
    group: String,
    member: Member,
    cursors: BTreeMap<Partition, (Epoch, u64)>,
    paused: HashSet<Partition>,
}

impl SimConsumer {
    fn poll(&mut self) -> Option<Delivery> {
        let mut state = locked(&self.log.0.state);
        let notice = state.groups.get_mut(&self.group)?.members.get_mut(&self.member)?.notices.pop_front();
        match &notice {
            Some(Delivery::Assigned { partition, epoch, position }) => {
                self.paused.remove(partition);
                self.cursors.insert(partition.clone(), (*epoch, *position));
            }
            Some(Delivery::Revoked { partition, .. }) => drop(self.cursors.remove(partition)),
            _ => {}
        }
        if notice.is_some() {
            return notice;
        }
        for (partition, (epoch, cursor)) in self.cursors.iter_mut().filter(|(p, _)| !self.paused.contains(p)) {
            let records: Vec<Received> = state.partitions[partition].iter().skip(*cursor as usize).take(FETCH).cloned().collect();
            if let Some(last) = records.last() {
                *cursor = last.offset + 1;
                return Some(Delivery::Records { partition: partition.clone(), epoch: *epoch, records });
            }
        }
        None
    }
}

#[async_trait]
impl Consumer for SimConsumer {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        let shared = self.log.0.clone();
        if shared.faults.strike(&format!("log next {}", self.group)).is_some() {
            return Err(away());
        }
        loop {
            let changed = shared.changed.notified();
            if let Some(delivery) = self.poll() {
                return Ok(delivery);
            }
            changed.await;
        }
    }

    async fn commit(&mut self, partition: &Partition, epoch: Epoch, watermark: u64) -> Result<(), LogError> {
        let fault = self.log.0.faults.strike(&format!("log commit {}", self.group));
        if fault != Some(Fault::Before) {
            locked(&self.log.0.state).commit(&self.group, self.member, partition, epoch, watermark);
        }
        if fault.is_some() { Err(away()) } else { Ok(()) }
    }

    fn pause(&mut self, partition: &Partition) {
        self.paused.insert(partition.clone());
    }

    fn resume(&mut self, partition: &Partition) {
        self.paused.remove(partition);
    }

    async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError> {
        let fault = self.log.0.faults.strike(&format!("log release {}", self.group));
        if fault == Some(Fault::Before) {
            return Err(away());
        }
        let mut state = locked(&self.log.0.state);
        let mine = |slot: &Slot| slot.member == self.member && slot.epoch == epoch && slot.leaving;
        if let Some(members) = state.groups.get_mut(&self.group)
            && members.slots.get(partition).is_some_and(mine)
        {
            members.slots.remove(partition);
            state.deal(&self.group);
        }
        drop(state);
        self.log.0.changed.notify_waiters();
        if fault.is_some() { Err(away()) } else { Ok(()) }
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

impl Drop for SimConsumer {
    fn drop(&mut self) {
        let mut state = locked(&self.log.0.state);
        if let Some(members) = state.groups.get_mut(&self.group) {
            members.members.remove(&self.member);
            members.slots.retain(|_, slot| slot.member != self.member);
        }
        state.deal(&self.group);
        drop(state);
        self.log.0.changed.notify_waiters();
    }
}
