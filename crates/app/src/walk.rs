//! Walking along a partition past whatever is missing or damaged in it.

use std::ops::Range;

use anyhow::Result;
use longshore_stages::ports::{LogError, LogView, Partition, PartitionState, Position, Received};

/// Records in one read.
const STEP: usize = 1_000;

/// What a step of the walk found.
pub(crate) enum Step {
    /// Records, in order; never empty.
    Records(Vec<Received>),
    /// This offset is missing or damaged; the log's words on it.
    Hole(u64, String),
}

/// A walk through the offsets of one partition.
pub(crate) struct Walk<'a> {
    view: &'a dyn LogView,
    partition: &'a Partition,
    range: Range<u64>,
}

impl<'a> Walk<'a> {
    /// Through these offsets, as far as the partition holds them.
    pub(crate) fn new(view: &'a dyn LogView, partition: &'a Partition, range: Range<u64>) -> Self {
        Walk { view, partition, range }
    }

    /// The next step; nothing at the end.
    ///
    /// A read that meets damage fails as a whole, so it is tried again with fewer records, down to the damaged one.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>> {
        let mut max = STEP;
        while !self.range.is_empty() {
            let from = self.range.start;
            match self.view.read(self.partition, from, max).await {
                Ok(mut records) => {
                    records.retain(|record| record.offset < self.range.end);
                    let Some(last) = records.last() else { break };
                    self.range.start = last.offset + 1;
                    return Ok(Some(Step::Records(records)));
                }
                Err(LogError::Fatal(_)) if max > 1 => max /= 10,
                Err(LogError::Fatal(said)) => {
                    self.range.start = from + 1;
                    return Ok(Some(Step::Hole(from, said)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

/// The log's bounds and positions as of one moment.
pub(crate) struct Moment {
    /// All partitions.
    pub(crate) partitions: Vec<PartitionState>,
    positions: Vec<Position>,
}

impl Moment {
    /// As of now.
    pub(crate) async fn of(view: &dyn LogView) -> Result<Self> {
        let (partitions, positions) = view.state().await?;
        Ok(Moment { partitions, positions })
    }

    /// The partitions of a topic.
    pub(crate) fn topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a PartitionState> {
        self.partitions.iter().filter(move |state| *state.partition.topic == *topic)
    }

    /// Where a group goes on reading.
    pub(crate) fn committed(&self, group: &str, state: &PartitionState) -> u64 {
        let mine = self.positions.iter().find(|p| p.group == group && p.partition == state.partition);
        mine.map_or(state.begin, |position| position.committed.max(state.begin))
    }

    /// How many records some group that has ever read here has yet to read; all of them where none has.
    pub(crate) fn unread(&self, state: &PartitionState) -> u64 {
        let here = self.positions.iter().filter(|position| position.partition == state.partition);
        let furthest_behind = here.map(|position| position.committed).min().unwrap_or(state.begin);
        state.end.saturating_sub(furthest_behind.max(state.begin))
    }
}
