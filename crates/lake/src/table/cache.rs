//! What look-ups keep in memory, within fixed numbers of bytes: the one used longest ago goes first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use longshore_core::row::Key;
use uuid::Uuid;

/// A map that holds at most `budget` bytes of values.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    budget: usize,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
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
        Cache { budget, inner: Mutex::new(Inner { entries: HashMap::new(), bytes: 0, clock: 0 }) }
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
        if bytes > self.budget {
            return;
        }
        let mut inner = self.lock();
        inner.clock += 1;
        let used = inner.clock;
        inner.remove(key);
        inner.bytes += bytes;
        inner.entries.insert(key, Entry { value, bytes, used });
        if inner.bytes > self.budget {
            inner.shrink(self.budget - self.budget / 10);
        }
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

    fn shrink(&mut self, target: usize) {
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
    ids: Vec<Uuid>,
    /// One for each id; empty where the id alone is the key.
    sequences: Vec<i64>,
}

impl KeyColumn {
    pub(crate) fn new(mut keys: Vec<Key>, with_sequence: bool) -> Self {
        if !keys.is_sorted() {
            keys.sort_unstable();
        }
        let sequences = if with_sequence { keys.iter().map(|k| k.sequence).collect() } else { Vec::new() };
        KeyColumn { ids: keys.into_iter().map(|k| k.id).collect(), sequences }
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        if self.sequences.is_empty() {
            return key.sequence == 0 && self.ids.binary_search(&key.id).is_ok();
        }
        let first = self.ids.partition_point(|id| *id < key.id);
        let same_id = self.ids[first..].iter().zip(&self.sequences[first..]).take_while(|(id, _)| **id == key.id);
        same_id.into_iter().any(|(_, sequence)| *sequence == key.sequence)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ids.len() * 16 + self.sequences.len() * 8 + 96
    }
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn a_key_is_found_by_id_and_sequence() {
        let key = |id: u128, sequence| Key { id: Uuid::from_u128(id), sequence };
        let lives = KeyColumn::new(vec![key(2, 1), key(2, 0), key(1, 0)], true);
        assert!(lives.contains(&key(2, 0)) && lives.contains(&key(2, 1)) && lives.contains(&key(1, 0)));
        assert!(!lives.contains(&key(2, 2)) && !lives.contains(&key(1, 1)) && !lives.contains(&key(3, 0)));
        let ids = KeyColumn::new(vec![key(2, 0)], false);
        assert!(ids.contains(&key(2, 0)) && !ids.contains(&key(2, 1)));
    }
}
