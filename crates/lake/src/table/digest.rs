//! What keys are in many files at once: a key that the digest does not know is in none of them, and most keys are new.
//!
//! A file is *covered* when the digest has all its keys: those of our own commits come when they land. The output of a
//! merge is covered if its inputs were; what these had not, the merge adds while it reads. Files of other writers, and
//! those from before the table was opened, are asked one by one until they are merged here, or look-ups have asked so often
//! that reading their keys pays (see `lookup` and `upkeep`).
//!
//! ```text
//! keys ─▶ blocks 0, 1, 2, …, each as large as all before it      file ─▶ the blocks that its keys are in
//! ```
//!
//! *Memory*: at most the budget; 3.3 bytes for each key, and about as much again for those to come. When it is used up,
//! blocks go that no covered file has keys in; while there are none, nothing more is covered.
//!
//! *Source*: a cuckoo filter (Fan, Andersen, Kaminsky, Mitzenmacher: "Cuckoo Filter: Practically Better Than Bloom",
//! 2014) of four fingerprints of 24 bits a bucket: one false hit in two million keys and blocks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_core::row::Key;

/// Buckets of the first block.
const FIRST_BUCKETS: usize = 1 << 14;
/// Keys that are added while nobody can ask.
const AT_ONCE: usize = 1_024;
/// How often a fingerprint may push another from its bucket.
const PUSHES: usize = 256;

/// The numbers of blocks that have certain keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places(BTreeSet<u64>);

impl Places {
    pub(crate) fn and(mut self, other: Places) -> Places {
        self.0.extend(other.0);
        self
    }
}

/// The keys of the covered files.
pub(crate) struct Digest {
    budget: usize,
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blocks: Vec<Block>,
    /// How many blocks there ever were.
    made: u64,
    /// Where the keys of each file are.
    covered: HashMap<u64, Places>,
}

/// What the digest knows of some files and keys at one moment.
pub(crate) struct Answer {
    /// For each file, whether it is covered.
    pub(crate) covered: Vec<bool>,
    /// For each key, whether a covered file may hold it.
    pub(crate) suspect: Vec<bool>,
}

impl Digest {
    pub(crate) fn new(budget: usize) -> Self {
        Digest { budget, hasher: RandomState::new(), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for all of them at one moment: a file covered later may hold keys that were no suspects.
    pub(crate) fn ask(&self, files: impl Iterator<Item = u64>, keys: &[&Key]) -> Answer {
        let marks: Vec<Mark> = keys.iter().map(|key| Mark::of(self.hasher.hash_one(key))).collect();
        let inner = self.lock();
        let mut suspect = vec![false; keys.len()];
        for block in &inner.blocks {
            marks.iter().zip(&mut suspect).for_each(|(mark, suspect)| *suspect |= block.may_hold(*mark));
        }
        Answer { covered: files.map(|file| inner.covered.contains_key(&file)).collect(), suspect }
    }

    /// Adds all keys of a file, which is covered by that; no other file has any of them.
    pub(crate) fn cover(&self, file: u64, keys: &[Key]) {
        if let Some(places) = self.add(keys, |_, _| None) {
            self.covers(file, places);
        }
    }

    /// Adds keys of a file that is read, where they are not there from before, and says where they are; nothing when there
    /// was no room for all.
    pub(crate) fn learn(&self, keys: &[Key]) -> Option<Places> {
        self.add(keys, |inner, mark| inner.blocks.iter().find(|block| block.may_hold(mark)).map(|block| block.number))
    }

    fn add(&self, keys: &[Key], there: impl Fn(&Inner, Mark) -> Option<u64>) -> Option<Places> {
        let mut places = Places::default();
        for some in keys.chunks(AT_ONCE) {
            let marks: Vec<Mark> = some.iter().map(|key| Mark::of(self.hasher.hash_one(key))).collect();
            let mut inner = self.lock();
            for mark in marks {
                let place = there(&inner, mark).or_else(|| inner.add(mark, self.budget))?;
                places.0.insert(place);
            }
        }
        Some(places)
    }

    /// Whether so many keys could be added.
    pub(crate) fn has_room_for(&self, keys: usize) -> bool {
        let inner = self.lock();
        let used: usize = inner.blocks.iter().filter(|block| block.is_needed(&inner.covered)).map(Block::bytes).sum();
        let free = self.budget.saturating_sub(used) / FIRST_BYTES * FIRST_BUCKETS;
        keys <= keys_of(free) + inner.blocks.last().filter(|last| last.is_needed(&inner.covered)).map_or(0, Block::room)
    }

    /// Where the keys of the file are, if it is covered.
    pub(crate) fn places(&self, file: u64) -> Option<Places> {
        self.lock().covered.get(&file).cloned()
    }

    /// Says that the digest has all keys of the file, there.
    pub(crate) fn covers(&self, file: u64, places: Places) {
        let mut inner = self.lock();
        let there: BTreeSet<u64> = inner.blocks.iter().map(|block| block.number).collect();
        if places.0.is_subset(&there) {
            inner.covered.insert(file, places);
        }
    }

    /// Forgets which other files are covered.
    pub(crate) fn forget_all_but(&self, active: &HashSet<u64>) {
        self.lock().covered.retain(|file, _| active.contains(file));
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes()
    }
}

impl Inner {
    fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::bytes).sum()
    }

    /// The block that has it now.
    fn add(&mut self, mark: Mark, budget: usize) -> Option<u64> {
        if self.blocks.last().is_none_or(|last| last.room() == 0) {
            self.grow(budget)?;
        }
        let last = self.blocks.last_mut()?;
        last.add(mark);
        Some(last.number)
    }

    /// Makes a block as large as all that there are, or as there is room for.
    fn grow(&mut self, budget: usize) -> Option<()> {
        let mut free = budget.saturating_sub(self.bytes());
        if free < FIRST_BYTES {
            let Inner { blocks, covered, .. } = self;
            blocks.retain(|block| block.is_needed(covered));
            free = budget.saturating_sub(self.bytes());
        }
        let most = (free / BUCKET_BYTES).checked_ilog2().map_or(0, |log| 1 << log);
        let buckets = (self.bytes() / BUCKET_BYTES).next_power_of_two().clamp(FIRST_BUCKETS, most.max(FIRST_BUCKETS));
        if most < buckets {
            return None;
        }
        self.blocks.push(Block::new(self.made, buckets));
        self.made += 1;
        Some(())
    }
}

type Fingerprint = [u8; 3];
type Bucket = [Fingerprint; 4];

const BUCKET_BYTES: usize = size_of::<Bucket>();
const FIRST_BYTES: usize = FIRST_BUCKETS * BUCKET_BYTES;
/// No key has this one.
const FREE: Fingerprint = [0; 3];

/// How many keys so many buckets take before pushing gets long: of 40 places in 10, 37.
const fn keys_of(buckets: usize) -> usize {
    buckets * 37 / 10
}

/// What is left of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    fingerprint: Fingerprint,
    bucket: usize,
}

impl Mark {
    fn of(hash: u64) -> Self {
        let [a, b, c, ..] = hash.to_be_bytes();
        let fingerprint = if [a, b, c] == FREE { [0, 0, 1] } else { [a, b, c] };
        Mark { fingerprint, bucket: hash as u32 as usize }
    }
}

/// A cuckoo filter of fixed size.
struct Block {
    number: u64,
    /// A power of two.
    buckets: Vec<Bucket>,
    keys: usize,
    /// Those that found no bucket.
    homeless: Vec<Fingerprint>,
}

impl Block {
    fn new(number: u64, buckets: usize) -> Self {
        Block { number, buckets: vec![[FREE; 4]; buckets], keys: 0, homeless: Vec::new() }
    }

    fn bytes(&self) -> usize {
        self.buckets.len() * BUCKET_BYTES
    }

    /// Whether one of the files has keys in it.
    fn is_needed(&self, covered: &HashMap<u64, Places>) -> bool {
        covered.values().any(|places| places.0.contains(&self.number))
    }

    /// How many more keys it takes.
    fn room(&self) -> usize {
        keys_of(self.buckets.len()).saturating_sub(self.keys)
    }

    /// The two buckets of a fingerprint that may be in this one: each follows from the other.
    fn homes(&self, bucket: usize, fingerprint: Fingerprint) -> [usize; 2] {
        let [a, b, c] = fingerprint;
        // An odd factor spreads 24 bits over 32 (Knuth, The Art of Computer Programming 3, 6.4).
        let step = u32::from_be_bytes([0, a, b, c]).wrapping_mul(0x9E37_79B1);
        let mask = self.buckets.len() - 1;
        [bucket & mask, (bucket ^ (step >> 3) as usize) & mask]
    }

    fn may_hold(&self, mark: Mark) -> bool {
        let homes = self.homes(mark.bucket, mark.fingerprint);
        homes.iter().any(|home| self.buckets[*home].contains(&mark.fingerprint)) || self.homeless.contains(&mark.fingerprint)
    }

    fn add(&mut self, mark: Mark) {
        if self.may_hold(mark) {
            return;
        }
        self.keys += 1;
        let (mut fingerprint, [mut home, other]) = (mark.fingerprint, self.homes(mark.bucket, mark.fingerprint));
        if !self.buckets[home].contains(&FREE) {
            home = other;
        }
        for push in 0..PUSHES {
            let bucket = &mut self.buckets[home];
            if let Some(free) = bucket.iter_mut().find(|slot| **slot == FREE) {
                *free = fingerprint;
                return;
            }
            let slot = (push + usize::from(fingerprint[2])) % bucket.len();
            std::mem::swap(&mut bucket[slot], &mut fingerprint);
            [_, home] = self.homes(home, fingerprint);
        }
        self.homeless.push(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const FIRST_KEYS: u64 = keys_of(FIRST_BUCKETS) as u64;
    /// Fingerprints that two keys may have in common, by chance.
    const SAME: u64 = 5;

    fn keys(numbers: std::ops::Range<u64>) -> Vec<Key> {
        numbers.map(|n| Key { id: Uuid::from_u64_pair(n, !n), sequence: 0 }).collect()
    }

    fn suspects(digest: &Digest, keys: &[Key]) -> usize {
        let keys: Vec<&Key> = keys.iter().collect();
        digest.ask(std::iter::empty(), &keys).suspect.iter().filter(|suspect| **suspect).count()
    }

    fn covers(digest: &Digest, file: u64) -> bool {
        digest.ask(std::iter::once(file), &[]).covered == [true]
    }

    #[test]
    fn all_keys_of_covered_files_are_suspects_and_hardly_any_others() {
        let digest = Digest::new(32 << 20);
        (0..50).for_each(|file| digest.cover(file, &keys(file * 10_000..(file + 1) * 10_000)));
        assert!((0..50).all(|file| covers(&digest, file)) && !covers(&digest, 50));
        assert_eq!(suspects(&digest, &keys(0..500_000)), 500_000);
        let others = suspects(&digest, &keys(500_000..1_000_000));
        assert!(others < 10, "{others} false hits");
        let again = Key { sequence: 1, ..keys(7..8)[0] };
        assert_eq!(suspects(&digest, &[again]), 0, "another life of a key is another key");
        assert!(digest.bytes() <= 500_000 * 4 * 2, "{} bytes", digest.bytes());
        let homeless: usize = digest.lock().blocks.iter().map(|block| block.homeless.len()).sum();
        assert!(homeless < 5, "{homeless} of 500,000 found no bucket");
    }

    #[test]
    fn a_block_takes_more_than_it_should_and_forgets_nothing() {
        let mut block = Block::new(0, 64);
        let marks: Vec<Mark> = keys(0..400).iter().map(|key| Mark::of(RandomState::new().hash_one(key))).collect();
        marks.iter().for_each(|mark| block.add(*mark));
        assert!(marks.iter().all(|mark| block.may_hold(*mark)) && block.homeless.len() >= 400 - 256);
        let before = block.keys;
        marks.iter().for_each(|mark| block.add(*mark));
        assert_eq!(block.keys, before, "none is added twice");
    }

    #[test]
    fn when_it_is_full_files_are_not_covered_until_others_are_gone() {
        let digest = Digest::new(FIRST_BYTES * 2);
        digest.cover(1, &keys(0..FIRST_KEYS));
        digest.cover(2, &keys(FIRST_KEYS..FIRST_KEYS * 2));
        assert!(covers(&digest, 1) && covers(&digest, 2) && !digest.has_room_for(1 + SAME as usize));
        let gone = digest.places(1).expect("it is covered");
        let (both, third) = (keys(0..FIRST_KEYS * 2), keys(FIRST_KEYS * 2..FIRST_KEYS * 2 + 1 + SAME));
        digest.cover(3, &third);
        assert!(!covers(&digest, 3) && suspects(&digest, &both) == both.len());
        digest.forget_all_but(&HashSet::from([2]));
        assert!(digest.has_room_for(third.len()));
        digest.cover(4, &third);
        assert!(!covers(&digest, 1) && covers(&digest, 2) && covers(&digest, 4));
        assert!(suspects(&digest, &keys(0..FIRST_KEYS)) as u64 <= SAME, "its block is gone");
        digest.covers(5, gone.clone());
        digest.covers(6, gone.and(digest.places(4).expect("it is covered")));
        assert!(!covers(&digest, 5) && !covers(&digest, 6), "their keys went before this was said");
        assert!(digest.bytes() <= FIRST_BYTES * 2);
    }

    #[test]
    fn keys_that_are_there_are_learnt_where_they_are() {
        let digest = Digest::new(FIRST_BYTES * 4);
        digest.cover(1, &keys(0..FIRST_KEYS));
        let learnt = digest.learn(&keys(0..FIRST_KEYS + 2 * SAME)).expect("there is room");
        assert_eq!((learnt.0.len(), digest.bytes()), (2, FIRST_BYTES * 2));
        assert_eq!(digest.learn(&keys(0..FIRST_KEYS)), digest.places(1));
        digest.covers(2, learnt);
        digest.forget_all_but(&HashSet::from([2]));
        assert!(covers(&digest, 2));
        digest.cover(3, &keys(FIRST_KEYS * 2..FIRST_KEYS * 5));
        let known = keys(0..FIRST_KEYS + 2 * SAME);
        assert_eq!(suspects(&digest, &known), known.len(), "what is in use stays");
    }

    #[test]
    fn without_room_nothing_is_covered() {
        let digest = Digest::new(FIRST_BYTES - 1);
        digest.cover(1, &keys(0..10));
        assert!(!covers(&digest, 1) && suspects(&digest, &keys(0..10)) == 0 && digest.bytes() == 0);
    }
}
