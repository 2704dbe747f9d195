//! Watching a run: how far it is, whether it is done, and which part of it is the slowest.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use longshore_stages::ports::{PartitionState, Position};
use longshore_stages::progress::Progress;
use longshore_stages::topics::Topics;

use super::LOOK_EVERY;
use super::feed::Totals;
use crate::pipeline::{OpenLane, Plan, World};

/// What was seen at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) lines: u64,
    pub(crate) known: u64,
    /// Tasks that wait for a download or are in one.
    pub(crate) pending: u64,
    /// Tasks that wait in retry tiers.
    pub(crate) retrying: u64,
    pub(crate) stored: u64,
    pub(crate) bytes: u64,
    pub(crate) retries: u64,
    pub(crate) parked: u64,
    pub(crate) failed: u64,
    /// Ingest, download and retry have read everything.
    pub(crate) upstream_idle: bool,
    /// Record has read everything.
    pub(crate) recorded: bool,
    /// Everybody has read everything.
    pub(crate) idle: bool,
}

/// The parts of the chain that can hold the others up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Input,
    Waiting,
    Downloads,
    Disk,
    Inventory,
}

/// Watches a run.
pub(crate) struct Watch {
    slots: u64,
    per_host: usize,
    max_in_flight: usize,
    seen: Seen,
    /// For how long each part held the others up, by what was seen at the end of that time.
    held: BTreeMap<Part, Duration>,
    looked: Instant,
}

impl Watch {
    pub(crate) fn new(plan: &Plan) -> Self {
        let limits = plan.limits;
        Watch {
            slots: (limits.publishing as u64) * 8 / 10,
            per_host: limits.per_host,
            max_in_flight: limits.max_in_flight,
            seen: Seen::default(),
            held: BTreeMap::new(),
            looked: Instant::now(),
        }
    }

    /// Whether everything was done when last looked.
    pub(crate) fn idle(&self) -> bool {
        self.seen.idle
    }

    /// Whether nothing is being downloaded or waits for it, so that only commits can be left.
    pub(crate) fn is_near_the_end(&self, progress: &Progress) -> bool {
        Progress::get(&progress.in_flight) + Progress::get(&progress.publishing) + self.seen.parked == 0
    }

    /// Whether the last look is so long ago that the next one is due, whatever there is to see.
    pub(crate) fn is_due(&self) -> bool {
        self.looked.elapsed() >= LOOK_EVERY
    }

    /// What was seen when last looked.
    pub(crate) fn totals(&self) -> &Seen {
        &self.seen
    }

    /// Looks.
    pub(crate) async fn look(&mut self, world: &World, open: &OpenLane, totals: &Totals) -> Result<Seen> {
        let topics = &open.lane.topics;
        let (partitions, positions) = world.view.state().await?;
        let waits = |topic: &str| waiting(topics, &partitions, &positions, |t| t == topic);
        let progress = &open.progress;
        let is_tier = |t: &str| topics.tier_delay(t).is_some();
        let (pending, events) = (waits(&topics.pending()), events_wait(topics, &partitions, &positions, &topics.ingest_group()));
        let retrying = waiting(topics, &partitions, &positions, is_tier);
        let everything = waiting(topics, &partitions, &positions, |_| true);
        let recorded_waits = events_wait(topics, &partitions, &positions, &topics.record_events_group());
        self.seen = Seen {
            lines: totals.lines.load(Relaxed),
            known: totals.known.load(Relaxed),
            pending,
            retrying,
            stored: Progress::get(&progress.stored),
            bytes: Progress::get(&progress.stored_bytes),
            retries: Progress::get(&progress.retries),
            parked: Progress::get(&progress.parked) + retrying,
            failed: Progress::get(&progress.failed),
            upstream_idle: pending + retrying + events == 0,
            recorded: waits(&topics.results()) + waits(&topics.dead_letters()) + recorded_waits == 0,
            idle: everything == 0,
        };
        self.sample(progress, events);
        Ok(self.seen.clone())
    }

    fn sample(&mut self, progress: &Progress, events: u64) {
        let part = if Progress::get(&progress.publishing) >= self.slots {
            Part::Disk
        } else if Progress::get(&progress.in_flight) > 0 {
            Part::Downloads
        } else if self.seen.retrying > 0 || self.seen.parked > 0 {
            Part::Waiting
        } else if events > 0 || !self.seen.upstream_idle {
            Part::Input
        } else {
            Part::Inventory
        };
        // Looks are not evenly spread: they come faster towards the end.
        let looked = std::mem::replace(&mut self.looked, Instant::now());
        *self.held.entry(part).or_default() += self.looked - looked;
    }

    /// Names the part that held the others up for most of the time, and what would help.
    pub(crate) fn slowest(&self) -> String {
        let Some((part, held)) = self.held.iter().max_by_key(|(_, held)| **held) else {
            return "nothing: there was nothing to do".into();
        };
        if self.seen.stored + self.seen.failed == 0 {
            return "nothing: there was nothing to do".into();
        }
        let share = held.as_micros() * 100 / self.held.values().sum::<Duration>().as_micros().max(1);
        let what = match part {
            Part::Input => "reading the input and making tasks".into(),
            Part::Waiting => "waiting for retries and hosts that asked to wait (see --retry and --max-wait)".into(),
            Part::Downloads => format!(
                "downloading (at most {} at once, {} from one host: more with --max-in-flight and --per-host, if the hosts allow it)",
                self.max_in_flight, self.per_host
            ),
            Part::Disk => "the disk: files waited for their sync (--no-sync for throwaway data)".into(),
            Part::Inventory => "committing rows to the inventory".into(),
        };
        format!("{what}, {share} % of the time")
    }
}

/// Records that some group has yet to read, over the topics that are asked for.
fn waiting(topics: &Topics, partitions: &[PartitionState], positions: &[Position], wanted: impl Fn(&str) -> bool) -> u64 {
    let mut sum = 0;
    for state in partitions.iter().filter(|s| wanted(&s.partition.topic)) {
        let groups = topics.consumption(&state.partition.topic);
        sum += groups.iter().map(|group| lag(state, positions, group)).max().unwrap_or(0);
    }
    sum
}

fn events_wait(topics: &Topics, partitions: &[PartitionState], positions: &[Position], group: &str) -> u64 {
    let events = partitions.iter().filter(|s| *s.partition.topic == *topics.events());
    events.map(|state| lag(state, positions, group)).sum()
}

fn lag(state: &PartitionState, positions: &[Position], group: &str) -> u64 {
    let mine = positions.iter().find(|p| p.group == group && p.partition == state.partition);
    state.end.saturating_sub(mine.map_or(state.begin, |p| p.committed))
}
