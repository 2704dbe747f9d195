//! What keys are in many files at once: a key that the digest does not know is in none of them, and most keys are new.
//!
//! A file is *covered* when the digest has all its keys: those of our own commits come when they land. The output of a
//! merge is covered if its inputs were; what these had not, the merge adds while it reads. Files of other writers, and
//! those from before the table was opened, are asked one by one until they are merged here.
//!
//! ```text
//! keys ─▶ blocks 0, 1, 2, …, each as large as all before it      file ─▶ the blocks that its keys are in
//! ```
//!
//! *Memory*: at most the budget, 3.3 bytes for each key and at most as much again for those to come. When it is used up,
//! blocks go whose files are all gone; while there are none, files are not covered any more.
//!
//! *Source*: a cuckoo filter (Fan, Andersen, Kaminsky, Mitzenmacher: "Cuckoo Filter: Practically Better Than Bloom",
//! 2014) of four fingerprints of 24 bits a bucket: one false hit in two million keys and blocks.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_core::row::Key;

/// Buckets of the first block.
const FIRST_BUCKETS: usize = 1 << 14;
/// How often a fingerprint may push another from its bucket.
const PUSHES: usize = 256;

/// Which blocks have the keys of a file: the numbers of the first and of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    first: u64,
    last: u64,
}

impl Span {
    /// Of no keys.
    pub(crate) const NONE: Span = Span { first: u64::MAX, last: 0 };

    /// The shortest that has both.
    pub(crate) fn and(self, other: Span) -> Span {
        Span { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    fn has(self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
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
    covered: HashMap<u64, Span>,
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

    /// Adds all keys of a file, which is covered by that.
    pub(crate) fn cover(&self, file: u64, keys: &[Key]) {
        if let Some(span) = self.add(keys) {
            self.covers(file, span);
        }
    }

    /// Adds keys, and says where they are; nothing when there was no room for all.
    pub(crate) fn add(&self, keys: &[Key]) -> Option<Span> {
        let mut inner = self.lock();
        let mut span = Span::NONE;
        for key in keys {
            let number = inner.add(Mark::of(self.hasher.hash_one(key)), self.budget)?;
            span = span.and(Span { first: number, last: number });
        }
        Some(span)
    }

    /// Whether so many keys could be added.
    pub(crate) fn has_room_for(&self, keys: usize) -> bool {
        let inner = self.lock();
        let free = self.budget.saturating_sub(inner.bytes()) / BUCKET_BYTES * KEYS_OF_TEN_BUCKETS / 10;
        keys <= free + inner.blocks.last().map_or(0, Block::room)
    }

    /// Where the keys of the file are, if it is covered.
    pub(crate) fn span(&self, file: u64) -> Option<Span> {
        self.lock().covered.get(&file).copied()
    }

    /// Says that the digest has all keys of the file, there.
    pub(crate) fn covers(&self, file: u64, span: Span) {
        let mut inner = self.lock();
        let there = inner.blocks.iter().filter(|block| span.has(block.number)).count() as u64;
        if span == Span::NONE || there == span.last - span.first + 1 {
            inner.covered.insert(file, span);
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
        if free < FIRST_BUCKETS * BUCKET_BYTES {
            let Inner { blocks, covered, .. } = self;
            blocks.retain(|block| covered.values().any(|span| span.has(block.number)));
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
/// How many keys ten buckets take before pushing gets long.
const KEYS_OF_TEN_BUCKETS: usize = 37;
/// No key has this one.
const FREE: Fingerprint = [0; 3];

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

    /// How many more keys it takes.
    fn room(&self) -> usize {
        (self.buckets.len() * KEYS_OF_TEN_BUCKETS / 10).saturating_sub(self.keys)
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

    const FIRST_BYTES: usize = FIRST_BUCKETS * BUCKET_BYTES;
    const FIRST_KEYS: u64 = (FIRST_BUCKETS * KEYS_OF_TEN_BUCKETS / 10) as u64;

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
        assert!(covers(&digest, 1) && covers(&digest, 2) && !digest.has_room_for(1));
        let gone = digest.span(1).expect("it is covered");
        digest.cover(3, &keys(FIRST_KEYS * 2..FIRST_KEYS * 2 + 1));
        assert!(!covers(&digest, 3) && suspects(&digest, &keys(0..FIRST_KEYS * 2)) as u64 == FIRST_KEYS * 2);
        digest.forget_all_but(&HashSet::from([2]));
        digest.cover(4, &keys(FIRST_KEYS * 2..FIRST_KEYS * 2 + 1));
        assert!(!covers(&digest, 1) && covers(&digest, 2) && covers(&digest, 4));
        assert_eq!(suspects(&digest, &keys(0..FIRST_KEYS)), 0, "its block is gone");
        digest.covers(5, gone);
        digest.covers(6, gone.and(digest.span(4).expect("it is covered")));
        assert!(!covers(&digest, 5) && !covers(&digest, 6), "their keys went before this was said");
        assert!(digest.has_room_for(1) && digest.bytes() <= FIRST_BYTES * 2);
    }

    #[test]
    fn without_room_nothing_is_covered() {
        let digest = Digest::new(FIRST_BYTES - 1);
        digest.cover(1, &keys(0..10));
        assert!(!covers(&digest, 1) && suspects(&digest, &keys(0..10)) == 0 && digest.bytes() == 0);
    }
}
