//! Who reads which partition: the groups of this process.
//!
//! A topic's partitions, in order, are dealt round-robin to the members that read it, in the order of their joining. A partition
//! that goes to another member is first revoked; it is assigned anew, under a new epoch, once its holder has let go of it:
//! by releasing it, closing, or being dropped. Epochs count up for as long as the process lives, over all groups and logs.
//!
//! A partition of a group: Free ──▶ Held(member, epoch) ──▶ Leaving(member, epoch) ──▶ Free.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use longshore_stages::ports::Epoch;
use tokio::sync::Notify;

use crate::catalog::{Lane, Topic, locked};

static EPOCHS: AtomicU64 = AtomicU64::new(1);
static MEMBERS: AtomicU64 = AtomicU64::new(1);

/// A member, by the order of joining.
pub(crate) type MemberId = u64;

/// What a member is told, in order.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// The partition is yours.
    Assigned(Arc<Topic>, Arc<Lane>, Epoch),
    /// Give the partition up.
    Revoked(Arc<Lane>, Epoch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Held,
    Leaving,
}

#[derive(Debug)]
struct Slot {
    member: MemberId,
    epoch: Epoch,
    phase: Phase,
}

#[derive(Debug)]
struct Seat {
    topics: Vec<Arc<Topic>>,
    notices: VecDeque<Notice>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct GroupState {
    seats: BTreeMap<MemberId, Seat>,
    slots: HashMap<i64, Slot>,
}

/// All groups by name.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: Mutex<HashMap<String, GroupState>>,
}

impl Groups {
    /// Adds a member and deals the partitions anew.
    pub(crate) fn join(&self, group: &str, topics: Vec<Arc<Topic>>, wake: Arc<Notify>) -> MemberId {
        let id = MEMBERS.fetch_add(1, Ordering::Relaxed);
        let mut groups = locked(&self.groups);
        let state = groups.entry(group.to_owned()).or_default();
        state.seats.insert(id, Seat { topics, notices: VecDeque::new(), wake });
        state.deal();
        id
    }

    /// Removes a member; what it held goes to the others.
    pub(crate) fn leave(&self, group: &str, member: MemberId) {
        let mut groups = locked(&self.groups);
        let Some(state) = groups.get_mut(group) else { return };
        state.seats.remove(&member);
        state.slots.retain(|_, slot| slot.member != member);
        state.deal();
        if state.seats.is_empty() {
            groups.remove(group);
        }
    }

    /// A member lets go of a revoked partition. False when it has not been asked to, or holds it no more.
    pub(crate) fn release(&self, group: &str, member: MemberId, lane: i64, epoch: Epoch) -> bool {
        let mut groups = locked(&self.groups);
        let Some(state) = groups.get_mut(group) else { return false };
        let leaving = |slot: &Slot| slot.member == member && slot.epoch == epoch && slot.phase == Phase::Leaving;
        if !state.slots.get(&lane).is_some_and(leaving) {
            return false;
        }
        state.slots.remove(&lane);
        state.deal();
        true
    }

    /// The next thing to tell a member.
    pub(crate) fn notice(&self, group: &str, member: MemberId) -> Option<Notice> {
        locked(&self.groups).get_mut(group)?.seats.get_mut(&member)?.notices.pop_front()
    }

    /// Wakes every member, so that it sees that the log is closed.
    pub(crate) fn wake_all(&self) {
        locked(&self.groups).values().flat_map(|state| state.seats.values()).for_each(|seat| seat.wake.notify_one());
    }
}

impl GroupState {
    /// Compares who should hold each partition with who does, and tells the members what changes.
    fn deal(&mut self) {
        for (topic, lane, owner) in self.hands() {
            match self.slots.get_mut(&lane.id) {
                None => self.assign(&topic, &lane, owner),
                Some(slot) if slot.member != owner && slot.phase == Phase::Held => {
                    slot.phase = Phase::Leaving;
                    let (member, epoch) = (slot.member, slot.epoch);
                    self.tell(member, Notice::Revoked(lane, epoch));
                }
                Some(_) => {}
            }
        }
    }

    fn assign(&mut self, topic: &Arc<Topic>, lane: &Arc<Lane>, member: MemberId) {
        let epoch = Epoch(EPOCHS.fetch_add(1, Ordering::Relaxed));
        self.slots.insert(lane.id, Slot { member, epoch, phase: Phase::Held });
        self.tell(member, Notice::Assigned(Arc::clone(topic), Arc::clone(lane), epoch));
    }

    fn tell(&mut self, member: MemberId, notice: Notice) {
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.notices.push_back(notice);
            seat.wake.notify_one();
        }
    }

    /// Who should hold each partition.
    fn hands(&self) -> Vec<(Arc<Topic>, Arc<Lane>, MemberId)> {
        let mut readers: BTreeMap<i64, (Arc<Topic>, Vec<MemberId>)> = BTreeMap::new();
        for (member, seat) in &self.seats {
            for topic in &seat.topics {
                readers.entry(topic.id).or_insert_with(|| (Arc::clone(topic), Vec::new())).1.push(*member);
            }
        }
        let deal = |(topic, members): (Arc<Topic>, Vec<MemberId>)| {
            let lanes = topic.lanes.clone();
            lanes.into_iter().enumerate().map(move |(n, lane)| (Arc::clone(&topic), lane, members[n % members.len()]))
        };
        readers.into_values().flat_map(deal).collect()
    }
}
