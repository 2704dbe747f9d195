//! The offset tracker: out-of-order completion, in-order commits.
//!
//! For each assigned partition it keeps a bounded window of the offsets that were started and not yet committed.
//! The *watermark* is the offset below which everything has been finished; it is all that may be committed
//! (promise 3). A completion that belongs to an older assignment changes nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// What came of an attempt to start an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The offset is in the window.
    Yes,
    /// The window is full: pause the partition, and start the offset again once the watermark has moved.
    Full,
    /// The assignment is not the present one, or the offset was started before: drop the record.
    Stale,
}

/// Tracks all partitions of one consumer. `P` names a partition, `E` an assignment (epoch).
#[derive(Debug)]
pub struct Tracker<P, E> {
    window: usize,
    partitions: HashMap<P, Assignment<E>>,
}

#[derive(Debug)]
struct Assignment<E> {
    epoch: E,
    /// Started and not yet below the watermark, in the order of their offsets.
    slots: VecDeque<Slot>,
    /// One more than the highest offset started; the position at first.
    next: u64,
    committed: u64,
}

#[derive(Debug)]
struct Slot {
    offset: u64,
    finished: bool,
}

impl<E> Assignment<E> {
    fn watermark(&self) -> u64 {
        self.slots.front().map_or(self.next, |slot| slot.offset)
    }
}

impl<P: Eq + Hash + Clone, E: Copy + Eq> Tracker<P, E> {
    /// A tracker that holds at most `window` offsets of each partition.
    pub fn new(window: usize) -> Self {
        Tracker { window: window.max(1), partitions: HashMap::new() }
    }

    /// Begins an assignment at a position, in place of any earlier one.
    pub fn assign(&mut self, partition: P, epoch: E, position: u64) {
        let assignment = Assignment { epoch, slots: VecDeque::new(), next: position, committed: position };
        self.partitions.insert(partition, assignment);
    }

    /// Ends an assignment: what still completes under it counts no more.
    pub fn revoke(&mut self, partition: &P, epoch: E) {
        if self.partitions.get(partition).is_some_and(|a| a.epoch == epoch) {
            self.partitions.remove(partition);
        }
    }

    /// Notes that work on an offset begins. Offsets rise within an assignment; they may have gaps.
    pub fn start(&mut self, partition: &P, epoch: E, offset: u64) -> Started {
        let Some(assignment) = self.partitions.get_mut(partition).filter(|a| a.epoch == epoch) else {
            return Started::Stale;
        };
        if offset < assignment.next {
            return Started::Stale;
        }
        if assignment.slots.len() >= self.window {
            return Started::Full;
        }
        assignment.slots.push_back(Slot { offset, finished: false });
        assignment.next = offset + 1;
        Started::Yes
    }

    /// Notes that an offset has reached its next durable place. Returns whether that was news.
    pub fn finish(&mut self, partition: &P, epoch: E, offset: u64) -> bool {
        let Some(assignment) = self.partitions.get_mut(partition).filter(|a| a.epoch == epoch) else {
            return false;
        };
        let Ok(at) = assignment.slots.binary_search_by_key(&offset, |slot| slot.offset) else {
            return false;
        };
        let news = !std::mem::replace(&mut assignment.slots[at].finished, true);
        while assignment.slots.front().is_some_and(|slot| slot.finished) {
            assignment.slots.pop_front();
        }
        news
    }

    /// The watermark of an assignment, or nothing if the assignment is not the present one.
    pub fn watermark(&self, partition: &P, epoch: E) -> Option<u64> {
        self.partitions.get(partition).filter(|a| a.epoch == epoch).map(Assignment::watermark)
    }

    /// All watermarks that moved since they were last noted as committed.
    pub fn uncommitted(&self) -> Vec<(P, E, u64)> {
        let moved = self.partitions.iter().filter(|(_, a)| a.watermark() > a.committed);
        moved.map(|(p, a)| (p.clone(), a.epoch, a.watermark())).collect()
    }

    /// Notes that a watermark is committed.
    pub fn committed(&mut self, partition: &P, epoch: E, watermark: u64) {
        if let Some(assignment) = self.partitions.get_mut(partition).filter(|a| a.epoch == epoch) {
            assignment.committed = assignment.committed.max(watermark);
        }
    }

    /// The number of offsets in a partition's window: started, and not below the watermark.
    pub fn in_window(&self, partition: &P) -> usize {
        self.partitions.get(partition).map_or(0, |a| a.slots.len())
    }

    /// The lowest unfinished offset of a partition, if any is in the window.
    pub fn head(&self, partition: &P) -> Option<u64> {
        self.partitions.get(partition).and_then(|a| a.slots.front()).map(|slot| slot.offset)
    }

    /// Offsets started and not finished, over all partitions.
    pub fn unfinished(&self) -> usize {
        self.partitions.values().flat_map(|a| &a.slots).filter(|slot| !slot.finished).count()
    }

    /// The present assignments.
    pub fn assignments(&self) -> impl Iterator<Item = (&P, E)> {
        self.partitions.iter().map(|(p, a)| (p, a.epoch))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// SplitMix64 (Steele, Lea, Flood 2014): a schedule repeats from its seed.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % sides
        }
    }

    /// What must be true, kept the simple way.
    struct Model {
        epoch: u64,
        position: u64,
        next: u64,
        open: BTreeSet<u64>,
    }

    fn check(tracker: &Tracker<u8, u64>, model: &Model, window: usize, seed: u64) {
        let watermark = tracker.watermark(&0, model.epoch).expect("assigned");
        let lowest = model.open.first().copied();
        assert!(lowest.is_none_or(|lowest| watermark <= lowest), "seed {seed}: committed past an unfinished offset");
        assert_eq!(watermark, lowest.unwrap_or(model.next), "seed {seed}: the watermark lags");
        assert!(watermark >= model.position, "seed {seed}: the watermark went back");
        assert!(tracker.in_window(&0) <= window, "seed {seed}: the window is exceeded");
    }

    fn step(tracker: &mut Tracker<u8, u64>, model: &mut Model, dice: &mut Dice, window: usize, seed: u64) {
        match dice.roll(10) {
            0..=4 => {
                let offset = model.next + dice.roll(8) / 6;
                match tracker.start(&0, model.epoch, offset) {
                    Started::Yes => {
                        model.open.insert(offset);
                        model.next = offset + 1;
                    }
                    Started::Full => assert_eq!(tracker.in_window(&0), window, "seed {seed}: full too early"),
                    Started::Stale => panic!("seed {seed}: a new offset is not stale"),
                }
            }
            5..=7 => {
                let Some(&offset) = model.open.iter().nth(dice.roll(model.open.len().max(1) as u64) as usize) else { return };
                assert!(tracker.finish(&0, model.epoch, offset), "seed {seed}");
                assert!(!tracker.finish(&0, model.epoch, offset), "seed {seed}: finished twice");
                model.open.remove(&offset);
            }
            8 => {
                let before = tracker.watermark(&0, model.epoch);
                let stale = model.epoch - 1;
                if let Some(&offset) = model.open.first() {
                    assert!(!tracker.finish(&0, stale, offset), "seed {seed}: a stale completion counted");
                }
                assert_eq!(tracker.start(&0, stale, model.next), Started::Stale, "seed {seed}");
                tracker.revoke(&0, stale);
                tracker.committed(&0, stale, u64::MAX);
                assert_eq!(tracker.watermark(&0, model.epoch), before, "seed {seed}: a stale epoch changed something");
                assert_eq!(tracker.uncommitted().len(), usize::from(before > Some(model.position)), "seed {seed}");
            }
            _ => {
                // The next assignment begins at the committed watermark: all that was open comes again.
                let watermark = tracker.watermark(&0, model.epoch).expect("assigned");
                model.epoch += 1;
                (model.position, model.next) = (watermark, watermark);
                model.open.clear();
                tracker.assign(0, model.epoch, watermark);
            }
        }
    }

    #[test]
    fn no_schedule_commits_past_an_unfinished_offset() {
        for seed in 0..120_000u64 {
            let mut dice = Dice(seed);
            let window = 1 + dice.roll(12) as usize;
            let position = dice.roll(1_000);
            let mut tracker = Tracker::new(window);
            let mut model = Model { epoch: 1, position, next: position, open: BTreeSet::new() };
            tracker.assign(0, 1, position);
            for _ in 0..dice.roll(60) {
                step(&mut tracker, &mut model, &mut dice, window, seed);
                check(&tracker, &model, window, seed);
            }
        }
    }

    #[test]
    fn partitions_are_apart_and_what_is_committed_is_not_offered_again() {
        let mut tracker = Tracker::new(4);
        tracker.assign("a", 1, 10);
        tracker.assign("b", 1, 0);
        assert_eq!(tracker.start(&"a", 1, 10), Started::Yes);
        assert_eq!(tracker.start(&"b", 1, 0), Started::Yes);
        assert!(tracker.finish(&"a", 1, 10));
        assert_eq!(tracker.uncommitted(), vec![("a", 1, 11)]);
        tracker.committed(&"a", 1, 11);
        assert!(tracker.uncommitted().is_empty());
        assert_eq!((tracker.head(&"a"), tracker.head(&"b")), (None, Some(0)));
        assert_eq!(tracker.start(&"a", 1, 10), Started::Stale, "an offset is started once");
        tracker.revoke(&"b", 1);
        assert!(!tracker.finish(&"b", 1, 0));
        assert_eq!(tracker.unfinished(), 0);
    }
}
