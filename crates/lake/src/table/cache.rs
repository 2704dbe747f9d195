//! What look-ups keep in memory, within given numbers of bytes: the one used longest ago goes first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use longshore_core::row::Key;

/// A map that holds at most so many bytes of values.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    budget: usize,
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Copy, V: Clone> Cache<K, V> {
    pub(crate) fn new(budget: usize) -> Self {
        Cache { inner: Mutex::new(Inner { budget, entries: HashMap::new(), bytes: 0, clock: 0 }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: K) -> Option<V> {
        let mut inner = self.lock();
        inner.clock += 1;
        let now = inner.clock;
        inner.entries.get_mut(&key).map(|entry| {
            entry.used = now;
            entry.value.clone()
        })
    }

    /// Keeps the value, unless it alone is larger than the budget.
    pub(crate) fn put(&self, key: K, value: V, bytes: usize) {
        let mut inner = self.lock();
        if bytes > inner.budget {
            return;
        }
        inner.clock += 1;
        let used = inner.clock;
        inner.remove(key);
        inner.bytes += bytes;
        inner.entries.insert(key, Entry { value, bytes, used });
        inner.keep_to_budget();
    }

    /// From now on, so many bytes.
    pub(crate) fn limit(&self, budget: usize) {
        let mut inner = self.lock();
        inner.budget = budget;
        inner.keep_to_budget();
    }

    /// Forgets what no longer passes.
    pub(crate) fn retain(&self, keep: impl Fn(&K) -> bool) {
        let mut inner = self.lock();
        inner.entries.retain(|key, _| keep(key));
        inner.bytes = inner.entries.values().map(|e| e.bytes).sum();
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

impl<K: Hash + Eq + Copy, V> Inner<K, V> {
    fn remove(&mut self, key: K) {
        if let Some(old) = self.entries.remove(&key) {
            self.bytes -= old.bytes;
        }
    }

    /// Goes a tenth below it, so that this is seldom needed.
    fn keep_to_budget(&mut self) {
        if self.bytes <= self.budget {
            return;
        }
        let target = self.budget - self.budget / 10;
        let mut by_age: Vec<(u64, K)> = self.entries.iter().map(|(key, entry)| (entry.used, *key)).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_age {
            if self.bytes <= target {
                break;
            }
            self.remove(key);
        }
    }
}

/// The keys of one row group, sorted.
#[derive(Debug)]
pub(crate) struct KeyColumn {
    ids: Vec<u128>,
    /// One for each id; empty where the id alone is the key.
    sequences: Vec<i64>,
}

impl KeyColumn {
    pub(crate) fn new(mut keys: Vec<Key>, with_sequence: bool) -> Self {
        if !keys.is_sorted() {
            keys.sort_unstable();
        }
        let sequences = if with_sequence { keys.iter().map(|k| k.sequence).collect() } else { Vec::new() };
        KeyColumn { ids: keys.into_iter().map(|k| k.id.as_u128()).collect(), sequences }
    }

    /// Which of these keys, sorted, are there: their places. Both sides are walked once, by leaps that double.
    pub(crate) fn holds(&self, keys: &[&Key]) -> Vec<usize> {
        let (mut held, mut at) = (Vec::new(), 0);
        for (place, key) in keys.iter().enumerate() {
            let id = key.id.as_u128();
            at += leap(&self.ids[at..], id);
            let same = self.ids[at..].iter().take_while(|one| **one == id).count();
            let found = if self.sequences.is_empty() {
                same > 0 && key.sequence == 0
            } else {
                self.sequences[at..at + same].contains(&key.sequence)
            };
            held.extend(found.then_some(place));
        }
        held
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ids.len() * 16 + self.sequences.len() * 8 + 96
    }
}

/// How many of the sorted ids lie before this one: cheap if they are few.
fn leap(ids: &[u128], id: u128) -> usize {
    let mut bound = 1;
    while bound <= ids.len() && ids[bound - 1] < id {
        bound *= 2;
    }
    let from = bound / 2;
    from + ids[from..bound.min(ids.len())].partition_point(|one| *one < id)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_budget_holds_and_the_oldest_goes() {
        let cache = Cache::new(100);
        for i in 0..50 {
            cache.put(i, i, 10);
            cache.get(0);
            assert!(cache.bytes() <= 100);
        }
        assert_eq!(cache.get(0), Some(0));
        assert_eq!(cache.get(49), Some(49));
        assert_eq!(cache.get(1), None);
        cache.put(99, 99, 101);
        assert_eq!(cache.get(99), None);
        cache.limit(30);
        assert!(cache.bytes() <= 30 && cache.get(49) == Some(49));
    }

    fn key(id: u128, sequence: i64) -> Key {
        Key { id: Uuid::from_u128(id), sequence }
    }

    fn found(column: &KeyColumn, keys: &[Key]) -> Vec<usize> {
        column.holds(&keys.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_key_is_found_by_id_and_sequence() {
        let lives = KeyColumn::new(vec![key(2, 1), key(2, 0), key(1, 0)], true);
        assert_eq!(found(&lives, &[key(1, 0), key(1, 1), key(2, 0), key(2, 1), key(2, 2), key(3, 0)]), [0, 2, 3]);
        let ids = KeyColumn::new(vec![key(2, 0)], false);
        assert_eq!(found(&ids, &[key(1, 0), key(2, 0), key(2, 1)]), [1]);
        assert_eq!(found(&KeyColumn::new(Vec::new(), false), &[key(1, 0)]), [0_usize; 0]);
    }

    #[test]
    fn every_key_is_found_and_no_other_however_far_apart() {
        for (step, count) in [(1, 100), (2, 1_000), (97, 3)] {
            let column = KeyColumn::new((0..count).map(|n| key(n * step, 0)).collect(), false);
            let asked: Vec<Key> = (0..count * step + 5).step_by(3).map(|id| key(id, 0)).collect();
            let there = |at: &usize| (asked[*at].id.as_u128()).is_multiple_of(step) && asked[*at].id.as_u128() < count * step;
            assert_eq!(found(&column, &asked), (0..asked.len()).filter(there).collect::<Vec<_>>());
        }
    }
}
