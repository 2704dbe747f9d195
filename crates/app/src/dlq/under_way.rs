//! What was replayed before and has not ended yet: it is not replayed once more.
//!
//! The unfinished part of each topic between the input and the tables is read once. Memory: that of [`UnderWay`], and one
//! read of the log.

use anyhow::Result;
use longshore_core::format::{self, Enriched, HEADER_LIFE, Stored, Task};
use longshore_core::ids;
use longshore_core::replay::{Subject, UnderWay};
use longshore_stages::ports::{LogView, Received};
use longshore_stages::topics::Topics;

use crate::place::Lane;
use crate::walk::{Moment, Step, Walk};

/// Looks for the replayed tasks and events of a source that have neither been recorded nor failed again.
///
/// What a stage moves on while the look lasts may be missed; replaying that twice is harmless.
pub(super) async fn look(view: &dyn LogView, lane: &Lane) -> Result<UnderWay> {
    let (mut under_way, topics) = (UnderWay::default(), &lane.topics);
    let (moment, letters) = (Moment::of(view).await?, topics.dead_letters());
    for state in moment.partitions.iter().filter(|state| *state.partition.topic != *letters) {
        let topic: &str = &state.partition.topic;
        let groups = topics.consumption(topic);
        let Some(committed) = groups.iter().map(|group| moment.committed(group, state)).min() else { continue };
        let mut walk = Walk::new(view, &state.partition, committed..state.end);
        while let Some(step) = walk.next().await? {
            let Step::Records(records) = step else { continue };
            for record in &records {
                note(&mut under_way, topics, topic, record);
            }
        }
    }
    Ok(under_way)
}

fn note(under_way: &mut UnderWay, topics: &Topics, topic: &str, record: &Received) {
    let life = format::life_of(record.message.header(HEADER_LIFE));
    // Most are in their first life: what they are need not be read.
    if life > 0
        && let Some(subject) = record.message.value.as_deref().and_then(|value| subject(topics, topic, value))
    {
        under_way.note(subject, life);
    }
}

/// What a record of this topic is about; nothing where it cannot be read.
fn subject(topics: &Topics, topic: &str, value: &[u8]) -> Option<Subject> {
    let event = |bytes: &[u8]| Some(Subject::Event(ids::event_key(bytes)));
    let task = || format::decode::<Task>(value).ok().map(|task| Subject::Attachment(task.media_id));
    match topic {
        t if t == topics.raw() || t == topics.enrich_due() || topics.enrich_tier_delay(t).is_some() => event(value),
        // The answer stands beside the event there.
        t if t == topics.events() => event(&Enriched::decode(value).ok()?.event),
        t if t == topics.results() => format::decode::<Stored>(value).ok().map(|stored| Subject::Attachment(stored.media_id)),
        t if t == topics.pending() || topics.tier_delay(t).is_some() => task(),
        _ => None,
    }
}
