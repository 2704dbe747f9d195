//! Compaction: few files per day, so that a look-up asks few and readers open few.
//!
//! Files are merged with others of their size (tiers by powers of four), so that a row is rewritten once per tier:
//! O(log n) times. The merged file is built beside the appends; only its commit takes their lock. The commit is the
//! same compare-and-swap: when it loses to commits that left its inputs alone it tries again, and when an input is
//! gone it gives up.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake_core::kernel::Action;
use deltalake_core::protocol::DeltaOperation;
use longshore_stages::ports::TableError;

use super::append::{Commit, Put};
use super::digest::Places;
use super::fault::Fault;
use super::file::{DataChange, DataFile};
use super::merge::merge;
use super::state::State;
use super::{ExactTable, Inner};

/// Rows of the largest file of the lowest tier.
pub(crate) const LOWEST_TIER: u64 = 1_024;
/// A tier that holds so many files of one day is due.
const TIER_FILES: usize = 8;
/// The same for the lowest tier.
const LOWEST_TIER_FILES: usize = 16;
/// The most files of one merge.
const MOST_INPUTS: usize = 24;
/// Encoded bytes that a merge may hold of its inputs: their row groups in hand.
const INPUT_MEMORY: u64 = 10 << 20;
/// The same of a merge of small files, which may go on beside another.
const SMALL_INPUT_MEMORY: u64 = 5 << 20;
/// The largest row group of an input, about.
const GROUP_BYTES: u64 = 2_500 << 10;
/// With more files than that, any day with two files is due.
const MANY_FILES: usize = 800;
/// Tries at a commit that neither lands nor is beaten.
const MOST_FAILURES: u32 = 5;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files that were merged.
    pub merged: usize,
    /// Files that hold their rows now.
    pub written: usize,
    /// Rows that were rewritten.
    pub rows: u64,
}

impl Compacted {
    fn and(self, other: Self) -> Self {
        Compacted { merged: self.merged + other.merged, written: self.written + other.written, rows: self.rows + other.rows }
    }
}

/// The files of one day that are merged next.
pub(crate) struct Due {
    day: i32,
    files: Vec<Arc<DataFile>>,
}

/// How much is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zeal {
    /// Of the lowest tier, to which small commits add: what is due.
    Small,
    /// Of the other tiers; of all when there are too many files.
    Large,
    /// Every day with several files of fewer rows than this.
    AllBelow(u64),
}

impl ExactTable {
    /// Merges the files of each day into one, as far as they are below [`super::Options::compact_up_to_rows`].
    ///
    /// # Errors
    /// Those of the store. What was merged until then stays merged.
    pub async fn compact_now(&self) -> Result<Compacted, TableError> {
        self.inner.may_write()?;
        let _turns = self.inner.both_turns().await;
        self.inner.compact(Zeal::AllBelow(self.inner.options.compact_up_to_rows)).await
    }
}

impl Inner {
    /// Merges until nothing is due any more, or a merge was beaten by others.
    pub(crate) async fn compact(&self, zeal: Zeal) -> Result<Compacted, TableError> {
        let mut done = Compacted::default();
        while let Some(one) = self.compact_next(zeal).await? {
            done = done.and(one);
        }
        Ok(done)
    }

    /// Makes the next merge; nothing if none is due, or it was beaten by others.
    pub(crate) async fn compact_next(&self, zeal: Zeal) -> Result<Option<Compacted>, TableError> {
        let due = {
            let mut state = self.state().await?;
            self.refresh(&mut state).await?;
            due(&state, zeal, self.options.compact_up_to_rows)
        };
        match due {
            Some(due) => self.compact_one(&due).await,
            None => Ok(None),
        }
    }

    async fn compact_one(&self, due: &Due) -> Result<Option<Compacted>, TableError> {
        let born = self.options.moment();
        let (drafted, places) = match merge(self, &due.files, due.day).await {
            Ok(merged) => merged,
            Err(Fault::Gone(_)) => {
                let mut state = self.state.lock().await;
                return self.reload(&mut state).await.map(|()| None);
            }
            Err(fault) => return Err(fault.into_table_error(&self.root.display())),
        };
        let now = self.options.now_ms();
        let mut actions = vec![Action::Add(drafted.add(&self.shape, now, DataChange::No))];
        actions.extend(due.files.iter().map(|file| Action::Remove(file.remove(&self.shape, now))));
        let rows = drafted.file.rows.unwrap_or(0);
        let landed = self.commit_merge(due, (Arc::new(drafted.file), places), &actions, born).await?;
        Ok(landed.then_some(Compacted { merged: due.files.len(), written: 1, rows }))
    }

    /// Whether the merge is part of the table now. An output whose commit did not land is left to the vacuum; beside it stands
    /// where the digest has its keys.
    async fn commit_merge(
        &self,
        due: &Due,
        (output, places): (Arc<DataFile>, Option<Places>),
        actions: &[Action],
        born: super::options::Moment,
    ) -> Result<bool, TableError> {
        let mut failures = 0;
        loop {
            let mut state = self.state().await?;
            if state.files.contains_key(&output.path) {
                self.merged(&mut state, output, places);
                return Ok(true);
            }
            if !due.files.iter().all(|file| state.files.contains_key(&file.path)) {
                return Ok(false);
            }
            let operation = DeltaOperation::Optimize { predicate: None, target_size: i64::MAX };
            let commit = Commit { actions: actions.to_vec(), operation, transactions: Vec::new(), born };
            let before = state.version;
            match self.commit(&mut state, commit).await? {
                Put::Landed => {
                    due.files.iter().for_each(|file| state.remove(&file.path));
                    self.merged(&mut state, output, places);
                    return Ok(true);
                }
                Put::Stale => return self.reload(&mut state).await.map(|()| false),
                Put::Unknown(error) => {
                    self.refresh(&mut state).await?;
                    failures = if state.version > before { 0 } else { failures + 1 };
                    if failures >= MOST_FAILURES || (failures > 0 && matches!(error, TableError::Fatal(_))) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The output of a merge is part of the table, and its inputs are no longer: what is known of these goes after it is known
    /// of the output.
    fn merged(&self, state: &mut State, output: Arc<DataFile>, places: Option<Places>) {
        if let Some(places) = places {
            self.lookup.digest.covers(output.id, places);
        }
        state.insert(output);
        self.lookup.forget_all_but(state.files.values().map(|file| file.id));
    }

    /// Whether there is something to merge.
    pub(crate) fn compaction_due(&self, state: &State, zeal: Zeal) -> bool {
        due(state, zeal, self.options.compact_up_to_rows).is_some()
    }
}

fn due(state: &State, zeal: Zeal, up_to_rows: u64) -> Option<Due> {
    let mut days: BTreeMap<i32, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in state.files.values().filter(|f| f.rows.unwrap_or(0) < up_to_rows) {
        if let Some(day) = file.day {
            days.entry(day).or_default().push(file.clone());
        }
    }
    let crowded = state.files.len() > MANY_FILES;
    match zeal {
        Zeal::AllBelow(rows) => days.into_iter().find_map(|(day, mut files)| {
            files.retain(|f| f.rows.unwrap_or(0) < rows);
            choose(day, files, INPUT_MEMORY)
        }),
        // Then any file may be merged with any other of its day, by one task alone.
        Zeal::Small if crowded => None,
        Zeal::Small => days.iter().find_map(|(day, files)| due_tier(*day, files, |tier| tier == 0, SMALL_INPUT_MEMORY)),
        Zeal::Large => {
            let asked = |tier| crowded || tier > 0;
            let tiered = days.iter().find_map(|(day, files)| due_tier(*day, files, asked, INPUT_MEMORY));
            let fullest = || {
                let (day, files) = days.iter().max_by_key(|(_, files)| files.len())?;
                choose(*day, files.clone(), INPUT_MEMORY)
            };
            tiered.or_else(|| if crowded { fullest() } else { None })
        }
    }
}

/// The lowest of these tiers that is full.
fn due_tier(day: i32, files: &[Arc<DataFile>], asked: impl Fn(u32) -> bool, memory: u64) -> Option<Due> {
    let mut tiers: BTreeMap<u32, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files {
        let tier = tier(file.rows.unwrap_or(0));
        if asked(tier) {
            tiers.entry(tier).or_default().push(file.clone());
        }
    }
    let enough = |tier: u32| if tier == 0 { LOWEST_TIER_FILES } else { TIER_FILES };
    let lowest = tiers.into_iter().find(|(tier, files)| files.len() >= enough(*tier));
    lowest.and_then(|(_, files)| choose(day, files, memory))
}

/// 0 below 1,024 rows, then one more for each factor of four.
fn tier(rows: u64) -> u32 {
    (rows / LOWEST_TIER).checked_ilog(4).map_or(0, |tier| tier + 1)
}

/// The smallest of the files, as many as a merge may hold in this memory; nothing if that is only one.
fn choose(day: i32, mut files: Vec<Arc<DataFile>>, most: u64) -> Option<Due> {
    files.sort_unstable_by_key(|f| f.rows);
    let mut memory = 0;
    let fits = |file: &Arc<DataFile>| {
        memory += file.bytes.min(GROUP_BYTES);
        memory <= most
    };
    let chosen: Vec<_> = files.into_iter().take(MOST_INPUTS).take_while(fits).collect();
    (chosen.len() > 1).then_some(Due { day, files: chosen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_of_a_tier_leaves_the_tier() {
        for rows in [1_024_u64, 4_095, 4_096, 65_536, 1_000_000] {
            assert!(tier(rows * TIER_FILES as u64) > tier(rows), "{rows}");
        }
        assert_eq!((tier(0), tier(1_023), tier(1_024), tier(4_096)), (0, 0, 1, 2));
    }

    fn state(files: impl IntoIterator<Item = (i32, u64)>) -> State {
        let file = |(n, (day, rows)): (usize, (i32, u64))| {
            let path = object_store::path::Path::from(format!("{n}.parquet"));
            (path.clone(), Arc::new(DataFile::new(path, Some(day), 100 * rows, Some(rows))))
        };
        let files = files.into_iter().enumerate().map(file).collect();
        let confirmed = super::super::Options::default().moment();
        State { version: 1, files: Arc::new(files), confirmed, stale_after: std::time::Duration::from_secs(1) }
    }

    fn rows(state: &State, zeal: Zeal) -> Vec<u64> {
        let found = due(state, zeal, 4_000_000);
        found.map_or(Vec::new(), |due| due.files.iter().filter_map(|file| file.rows).collect())
    }

    #[test]
    fn each_of_the_two_tasks_has_tiers_of_its_own() {
        let state = state([[(1, 100); 16].as_slice(), &[(1, 20_000); 8]].concat());
        assert_eq!((rows(&state, Zeal::Small), rows(&state, Zeal::Large)), (vec![100; 16], vec![20_000; 5]), "10 MiB of inputs");
    }

    #[test]
    fn when_files_are_too_many_one_task_alone_merges() {
        let day = |day| [(day, 100); 15];
        let many = state((0..54).flat_map(day));
        assert!(many.files.len() > MANY_FILES && rows(&many, Zeal::Small).is_empty());
        assert_eq!(rows(&many, Zeal::Large), [100; 15]);
        let few = state((0..53).flat_map(day));
        assert!(rows(&few, Zeal::Small).is_empty() && rows(&few, Zeal::Large).is_empty(), "no tier of a day is full");
    }
}
