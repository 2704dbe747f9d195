//! What the stages say of single pieces of work, as events with fields.
//!
//! *Owns*: the names of events and fields, and what may stand in them. Never a URL, a file name, a payload or a signature,
//! at no level (promise 9): of a failure its class, reason and status, not its sentence. Ids are an event's to choose: one
//! that is a URL is shown without its secrets, and none is shown beyond [`ID_CHARS`].

use longshore_core::format::{DeadLetter, ErrorNote, Stored, Task};
use longshore_core::outcome::Failure;
use longshore_core::policy::redact::redact_url;
use longshore_core::retry::Hindrance;

use crate::ports::{Delivery, Partition};

/// How much of an id is shown.
const ID_CHARS: usize = 128;

/// Where a record stands that was worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) partition: Partition,
    pub(crate) offset: u64,
}

impl At {
    pub(crate) fn new(partition: &Partition, offset: u64) -> Self {
        At { partition: partition.clone(), offset }
    }
}

/// An event's id as it may be shown.
fn id(text: &str) -> String {
    redact_url(text).chars().take(ID_CHARS).collect()
}

/// An event with the fields that every piece of work has.
macro_rules! tell {
    ($level:ident, $at:expr, $($rest:tt)+) => {
        tracing::$level!(
            topic = &*$at.partition.topic,
            partition = $at.partition.index,
            offset = $at.offset,
            $($rest)+
        )
    };
}

/// A task or an event has ended as a dead letter.
pub(crate) fn dead_letter(at: &At, letter: &DeadLetter) {
    let (source, class, life) = (letter.source.as_str(), letter.status.as_str(), letter.life);
    let ErrorNote { reason, http_status, .. } = &letter.error;
    let (reason, http_status) = (reason.as_str(), *http_status);
    match &letter.task {
        Some(Task { trace_id, media_id, attempts, .. }) => tell!(
            info, at, source, trace_id = id(trace_id), %media_id, class, reason, http_status, attempts, life, "dead letter"
        ),
        None => tell!(info, at, source, class, reason, http_status, life, "dead letter of an event"),
    }
}

/// A task waits for its next attempt, or until its host may be asked.
pub(crate) fn retry(at: &At, task: &Task, failure: &Failure, tier_ms: u64) {
    let Task { source, trace_id, media_id, attempts, waits, .. } = task;
    let (class, reason, http_status) = (failure.class.as_str(), failure.reason.as_str(), failure.http_status);
    tell!(
        debug, at, source, trace_id = id(trace_id), %media_id, class, reason, http_status, attempts, waits, tier_ms, "to be tried again"
    );
}

/// An event waits for the next time that it may be enriched.
pub(crate) fn enrich_retry(at: &At, source: &str, task: &Task, failure: &Failure, tier_ms: u64) {
    let (class, reason, http_status) = (failure.class.as_str(), failure.reason.as_str(), failure.http_status);
    let (attempts, waits) = (task.attempts, task.waits);
    tell!(debug, at, source, class, reason, http_status, attempts, waits, tier_ms, "event to be enriched again");
}

/// A task was moved out of the way of others.
pub(crate) fn moved(at: &At, task: &Task, why: Hindrance, tier_ms: u64) {
    let Task { source, trace_id, media_id, attempts, moves, .. } = task;
    tell!(debug, at, source, trace_id = id(trace_id), %media_id, ?why, attempts, moves, tier_ms, "moved out of the way");
}

/// An attachment is stored; its result is on its way.
pub(crate) fn stored(at: &At, stored: &Stored) {
    let Stored { source, trace_id, media_id, bytes_downloaded: bytes, attempts, file_type, .. } = stored;
    tell!(debug, at, source, trace_id = id(trace_id), %media_id, bytes, attempts, file_type, "stored");
}

/// A partition has come to this member of a group, or leaves it.
pub(crate) fn delivery(group: &str, delivery: &Delivery) {
    let of = |partition: &Partition| (partition.topic.to_string(), partition.index);
    match delivery {
        Delivery::Assigned { partition, epoch, position } => {
            let (topic, partition) = of(partition);
            tracing::debug!(group, topic, partition, epoch = epoch.0, position, "partition assigned");
        }
        Delivery::Revoked { partition, epoch } => {
            let (topic, partition) = of(partition);
            tracing::debug!(group, topic, partition, epoch = epoch.0, "partition revoked");
        }
        Delivery::Records { .. } => {}
    }
}

/// Rows are in their table.
pub(crate) fn committed(topic: &str, added: usize, known: usize) {
    tracing::debug!(topic, added, known, "rows committed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_within_bounds_and_without_what_is_secret_in_it() {
        assert_eq!(id("claim-7"), "claim-7");
        assert_eq!(id("https://u:p@h/a?sig=s"), "https://h/a?sig=REDACTED");
        assert_eq!(id(&"\u{e9}".repeat(500)).chars().count(), ID_CHARS);
    }
}
