//! How far the groups of a source are behind, as of one moment of the log.

use std::collections::BTreeMap;

use anyhow::Result;
use longshore_stages::ports::LogView;

use crate::pipeline::{OpenLane, Role, Roles};
use crate::place::Lane;
use crate::walk::Moment;

/// Records that record has yet to read, over all sources.
pub(super) async fn unrecorded(log: &dyn LogView, lanes: &[OpenLane], roles: &Roles) -> Result<u64> {
    if !roles.has(Role::Record) {
        return Ok(0);
    }
    let moment = Moment::of(log).await?;
    Ok(lanes.iter().map(|open| of_record(&moment, &open.lane)).sum())
}

/// The topics in which records wait that no source of the configuration reads, and how many: what a source, a topic or an
/// `enrich` left that is configured no more.
pub(super) async fn left_behind(log: &dyn LogView, lanes: &[Lane]) -> Result<BTreeMap<String, u64>> {
    let moment = Moment::of(log).await?;
    let mut left = BTreeMap::new();
    for state in &moment.partitions {
        let (topic, waiting) = (&*state.partition.topic, moment.unread(state));
        if waiting > 0 && lanes.iter().all(|lane| lane.topics.consumption(topic).is_empty()) {
            *left.entry(topic.to_owned()).or_default() += waiting;
        }
    }
    Ok(left)
}

fn of_record(moment: &Moment, lane: &Lane) -> u64 {
    let topics = &lane.topics;
    behind(moment, &topics.results(), &topics.record_results_group())
        + behind(moment, &topics.dead_letters(), &topics.record_failures_group())
        + behind(moment, &topics.events(), &topics.record_events_group())
}

/// Tasks that wait for a download or are in one, and those that wait in a tier.
pub(super) fn tasks(moment: &Moment, lane: &Lane) -> u64 {
    let topics = &lane.topics;
    let tiers = moment.partitions.iter().filter(|state| topics.tier_delay(&state.partition.topic).is_some());
    let retrying: u64 = tiers.map(|state| state.end - moment.committed(&topics.retry_group(), state).min(state.end)).sum();
    behind(moment, &topics.pending(), &topics.download_group()) + retrying
}

/// The records of a topic that a group has yet to read.
fn behind(moment: &Moment, topic: &str, group: &str) -> u64 {
    moment.topic(topic).map(|state| state.end.saturating_sub(moment.committed(group, state))).sum()
}
