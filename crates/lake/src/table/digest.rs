//! One Bloom filter over the keys of many files: a key that it does not know is in none of them, and most keys are new.
//!
//! A file is *covered* when all its keys were added: those of our own commits when they land. The output of a merge is
//! covered if its inputs were; what these had not, the merge adds while it reads. Files of other writers, and those from
//! before the table was opened, are asked one by one until they are merged here.
//!
//! *Memory*: at most the budget, in blocks that come as they are needed. When it is used up the oldest block goes, and the
//! files with keys in it are covered no more.
//!
//! *Source*: split-block Bloom filters as in Parquet, of 16 bits for each key: about 1 false hit in 1,000.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use deltalake_core::parquet::bloom_filter::Sbbf;
use longshore_core::row::Key;

/// Bytes for each key.
const KEY_BYTES: usize = 2;
/// Bytes of the first block; each is four times as large as the one before, up to the largest and half of the budget.
const FIRST_BYTES: usize = 128 << 10;
/// Bytes of the largest block.
const MOST_BYTES: usize = 2 << 20;

/// When keys were added: the number of their block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Since(u64);

impl Since {
    /// Of no keys.
    pub(crate) const NOW: Since = Since(u64::MAX);
}

/// The keys of the covered files, as a filter knows them.
pub(crate) struct Digest {
    budget: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blocks: VecDeque<Block>,
    /// How many blocks went before the first that is left.
    gone: u64,
    /// The oldest block with keys of the file.
    covered: HashMap<u64, Since>,
}

struct Block {
    filter: Sbbf,
    bytes: usize,
    keys: usize,
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
        Digest { budget, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for all of them at one moment: a file covered later may hold keys that were no suspects.
    pub(crate) fn ask(&self, files: impl Iterator<Item = u64>, keys: &[&Key]) -> Answer {
        let inner = self.lock();
        let covered = files.map(|file| inner.covered.contains_key(&file)).collect();
        Answer { covered, suspect: keys.iter().map(|key| inner.may_hold(key)).collect() }
    }

    /// Adds all keys of a file, which is covered by that.
    pub(crate) fn cover(&self, file: u64, keys: &[Key]) {
        if let Some(since) = self.add(keys) {
            self.cover_since(file, since);
        }
    }

    /// Adds keys; nothing when there is no room for any.
    pub(crate) fn add(&self, keys: &[Key]) -> Option<Since> {
        self.lock().add(keys, self.budget)
    }

    /// Whether so many keys of older files leave room for those of the latest commits.
    pub(crate) fn has_room_for(&self, keys: usize) -> bool {
        keys.saturating_mul(KEY_BYTES) <= MOST_BYTES.min(self.budget / 2)
    }

    /// Since when the file is covered.
    pub(crate) fn covered_since(&self, file: u64) -> Option<Since> {
        self.lock().covered.get(&file).copied()
    }

    /// Says that all keys of the file were added since then.
    pub(crate) fn cover_since(&self, file: u64, since: Since) {
        let mut inner = self.lock();
        if since.0 >= inner.gone {
            inner.covered.insert(file, since);
        }
    }

    /// Forgets which other files are covered.
    pub(crate) fn forget_all_but(&self, active: &HashSet<u64>) {
        self.lock().covered.retain(|file, _| active.contains(file));
    }
}

impl Inner {
    fn may_hold(&self, key: &Key) -> bool {
        let bytes = bytes(key);
        self.blocks.iter().any(|block| block.filter.check(bytes.as_slice()))
    }

    fn add(&mut self, keys: &[Key], budget: usize) -> Option<Since> {
        let mut since = None;
        for key in keys {
            if self.blocks.back().is_none_or(Block::is_full) {
                self.grow(budget)?;
            }
            let block = self.blocks.back_mut()?;
            block.filter.insert(bytes(key).as_slice());
            block.keys += 1;
            since = since.or(Some(Since(self.gone + self.blocks.len() as u64 - 1)));
        }
        since
    }

    /// Makes a block, within the budget; nothing where that is too small for two.
    fn grow(&mut self, budget: usize) -> Option<()> {
        let most = MOST_BYTES.min(budget / 2);
        let bytes = match self.blocks.back() {
            Some(last) if last.bytes * 4 <= most => last.bytes * 4,
            Some(last) => last.bytes,
            None if FIRST_BYTES <= most => FIRST_BYTES,
            None => return None,
        };
        while self.blocks.iter().map(|block| block.bytes).sum::<usize>() + bytes > budget {
            self.blocks.pop_front();
            self.gone += 1;
        }
        self.covered.retain(|_, since| since.0 >= self.gone);
        self.blocks.push_back(Block { filter: Sbbf::new_with_num_of_bytes(bytes), bytes, keys: 0 });
        Some(())
    }
}

impl Block {
    fn is_full(&self) -> bool {
        self.keys * KEY_BYTES >= self.bytes
    }
}

fn bytes(key: &Key) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(key.id.as_bytes());
    bytes[16..].copy_from_slice(&key.sequence.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

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
    fn all_keys_of_covered_files_are_suspects_and_few_others() {
        let digest = Digest::new(16 << 20);
        (0..50).for_each(|file| digest.cover(file, &keys(file * 10_000..(file + 1) * 10_000)));
        assert!((0..50).all(|file| covers(&digest, file)) && !covers(&digest, 50));
        assert_eq!(suspects(&digest, &keys(0..500_000)), 500_000);
        let others = suspects(&digest, &keys(500_000..1_000_000));
        assert!(others < 1_500, "{others} false hits");
        let again = Key { sequence: 1, ..keys(7..8)[0] };
        assert_eq!(suspects(&digest, &[again]), 0, "another life of a key is another key");
    }

    #[test]
    fn files_whose_keys_had_to_go_are_covered_no_more() {
        let digest = Digest::new(FIRST_BYTES * 2);
        let of_a_block = (FIRST_BYTES / KEY_BYTES) as u64;
        digest.cover(1, &keys(0..of_a_block));
        digest.cover(2, &keys(of_a_block - 10..of_a_block + 10));
        let (first, second) = (digest.covered_since(1).expect("it is covered"), digest.covered_since(2).expect("it is"));
        assert!(first < second && covers(&digest, 1) && covers(&digest, 2));
        digest.cover(3, &keys(of_a_block..of_a_block * 2));
        assert!(!covers(&digest, 1) && covers(&digest, 2) && covers(&digest, 3));
        assert_eq!(suspects(&digest, &keys(of_a_block - 10..of_a_block * 2)), FIRST_BYTES / KEY_BYTES + 10);
        digest.cover_since(4, first);
        assert!(!covers(&digest, 4), "its keys went before this was said");
        digest.cover(5, &keys(0..of_a_block * 3));
        assert!((1..6).all(|file| !covers(&digest, file)), "not even its own first keys are left");
        assert!(digest.lock().blocks.iter().map(|block| block.bytes).sum::<usize>() <= FIRST_BYTES * 2);
    }

    #[test]
    fn without_room_nothing_is_covered() {
        let digest = Digest::new(FIRST_BYTES * 2 - 1);
        digest.cover(1, &keys(0..10));
        assert!(!covers(&digest, 1) && suspects(&digest, &keys(0..10)) == 0 && !digest.has_room_for(FIRST_BYTES));
    }

    #[test]
    fn only_active_files_stay_covered() {
        let digest = Digest::new(16 << 20);
        digest.cover(1, &keys(0..10));
        digest.cover(2, &keys(10..20));
        digest.forget_all_but(&HashSet::from([2]));
        assert!(!covers(&digest, 1) && covers(&digest, 2));
    }
}
