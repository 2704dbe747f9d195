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

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_stages::ports::{Partition, Retention};
    use proptest::prelude::*;

    fn topic(id: i64, partitions: u32) -> Arc<Topic> {
        let name: Arc<str> = format!("t{id}").into();
        let lane = |index| {
            let partition = Partition { topic: Arc::clone(&name), index };
            Arc::new(Lane::new(id * 100 + i64::from(index), partition, 0, 0))
        };
        let lanes = (0..partitions).map(lane).collect();
        Arc::new(Topic::new(id, Arc::clone(&name), lanes, Retention::Forever))
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(bool, bool),
        Leave(usize),
        Poll(usize),
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(a, b)| Step::Join(a, b)),
            any::<usize>().prop_map(Step::Leave),
            any::<usize>().prop_map(Step::Poll),
            any::<usize>().prop_map(Step::Poll),
            any::<usize>().prop_map(Step::Release),
        ]
    }

    /// The members as they see themselves: what they hold, and what they were asked to give up.
    #[derive(Default)]
    struct World {
        groups: Groups,
        members: Vec<(MemberId, Vec<i64>)>,
        holding: HashMap<i64, (MemberId, Epoch)>,
        asked: Vec<(MemberId, i64, Epoch)>,
        latest: HashMap<i64, Epoch>,
    }

    impl World {
        fn apply(&mut self, step: &Step, topics: &[Arc<Topic>]) {
            let pick = |n: usize| self.members.get(n % self.members.len().max(1)).map(|(id, _)| *id);
            match step {
                Step::Join(a, b) => {
                    let wanted: Vec<_> = topics.iter().zip([*a, *b]).filter(|(_, w)| *w).map(|(t, _)| Arc::clone(t)).collect();
                    let ids = wanted.iter().map(|t| t.id).collect();
                    self.members.push((self.groups.join("g", wanted, Arc::default()), ids));
                }
                Step::Leave(n) => pick(*n).into_iter().for_each(|id| self.leave(id)),
                Step::Poll(n) => {
                    if let Some(id) = pick(*n) {
                        self.poll(id);
                    }
                }
                Step::Release(n) if !self.asked.is_empty() => self.release(n % self.asked.len()),
                Step::Release(_) => {}
            }
        }

        fn leave(&mut self, id: MemberId) {
            self.members.retain(|(member, _)| *member != id);
            self.asked.retain(|(member, ..)| *member != id);
            self.holding.retain(|_, (member, _)| *member != id);
            self.groups.leave("g", id);
        }

        fn poll(&mut self, id: MemberId) -> bool {
            match self.groups.notice("g", id) {
                Some(Notice::Assigned(_, lane, epoch)) => {
                    assert_eq!(self.holding.insert(lane.id, (id, epoch)), None, "two members hold a partition");
                    assert!(self.latest.insert(lane.id, epoch).is_none_or(|before| before < epoch), "epochs do not count up");
                    true
                }
                Some(Notice::Revoked(lane, epoch)) => {
                    assert_eq!(self.holding.get(&lane.id), Some(&(id, epoch)));
                    self.asked.push((id, lane.id, epoch));
                    true
                }
                None => false,
            }
        }

        fn release(&mut self, n: usize) {
            let (id, lane, epoch) = self.asked.swap_remove(n);
            self.holding.remove(&lane);
            assert!(self.groups.release("g", id, lane, epoch));
            assert!(!self.groups.release("g", id, lane, epoch), "released twice");
        }

        fn settle(&mut self) {
            loop {
                let ids: Vec<MemberId> = self.members.iter().map(|(id, _)| *id).collect();
                let polled = ids.into_iter().filter(|id| self.poll(*id)).count() > 0;
                if self.asked.is_empty() && !polled {
                    return;
                }
                (0..self.asked.len()).for_each(|_| self.release(0));
            }
        }

        /// Every partition that somebody reads has a holder that reads it, and shares differ by one at most.
        fn assert_fair(&self, topics: &[Arc<Topic>]) {
            for topic in topics {
                let mut shares: HashMap<MemberId, usize> =
                    self.members.iter().filter(|(_, ids)| ids.contains(&topic.id)).map(|(id, _)| (*id, 0)).collect();
                if shares.is_empty() {
                    continue;
                }
                for lane in &topic.lanes {
                    let holder = self.holding.get(&lane.id).expect("nobody holds a partition").0;
                    *shares.get_mut(&holder).expect("held by one who does not read the topic") += 1;
                }
                let (least, most) = (shares.values().min(), shares.values().max());
                assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{shares:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_partition_has_one_holder_at_a_time_and_never_none_for_long(steps in prop::collection::vec(step(), 0..80)) {
            let topics = [topic(1, 5), topic(2, 1)];
            let mut world = World::default();
            steps.iter().for_each(|step| world.apply(step, &topics));
            world.settle();
            world.assert_fair(&topics);
        }
    }
}
