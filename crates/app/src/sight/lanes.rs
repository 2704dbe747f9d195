//! What the stages count for each source, exported.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use longshore_core::health::Downloads;
use longshore_core::outcome::Class;
use longshore_stages::progress::Progress;
use prometheus::{Registry, Result};

use super::names::{self, Metric};
use super::observed::{self, Values};
use super::{Shared, lock};

/// The sources of a process, with what their stages count.
pub(super) type Lanes = Shared<Vec<(String, Arc<Progress>)>>;

const EXPORTED: &[Metric] = &[
    names::EVENTS,
    names::EVENTS_EMPTY,
    names::EVENTS_NULL,
    names::TASKS,
    names::REPEATS,
    names::ATTACHMENTS,
    names::DEAD_LETTERS,
    names::STORED_BYTES,
    names::READ_BYTES,
    names::TYPE_WARNINGS,
    names::RETRIES,
    names::WAITS,
    names::MOVES,
    names::IN_FLIGHT,
    names::PARKED,
    names::PUBLISHING,
    names::ROWS,
];

pub(super) fn register(registry: &Registry, lanes: Lanes) -> Result<()> {
    let read =
        move |metric: &Metric| lock(&lanes).iter().flat_map(|(source, progress)| values(metric, source, progress)).collect();
    observed::register(registry, EXPORTED, Box::new(read))
}

fn values(metric: &Metric, source: &str, progress: &Progress) -> Values {
    if metric.name == names::ATTACHMENTS.name {
        let stored = ended(source, "stored", "", Progress::get(&progress.stored));
        // A poison event has no attachments that anybody could count.
        return [stored].into_iter().chain(causes(source, progress, |class| class != Class::Poison)).collect();
    }
    if metric.name == names::DEAD_LETTERS.name {
        return causes(source, progress, |_| true);
    }
    if metric.name == names::ROWS.name {
        let tables =
            [("attachments", &progress.rows_stored), ("failed", &progress.rows_failed), ("events", &progress.rows_events)];
        return tables.map(|(table, rows)| (vec![source.to_owned(), table.to_owned()], number(rows))).into();
    }
    counter(metric, progress).map(|value| (vec![source.to_owned()], number(value))).into_iter().collect()
}

fn counter<'a>(metric: &Metric, progress: &'a Progress) -> Option<&'a AtomicU64> {
    let counters = [
        (names::EVENTS, &progress.events),
        (names::EVENTS_EMPTY, &progress.without_attachments),
        (names::EVENTS_NULL, &progress.skipped_nulls),
        (names::TASKS, &progress.tasks),
        (names::REPEATS, &progress.repeats),
        (names::STORED_BYTES, &progress.stored_bytes),
        (names::READ_BYTES, &progress.read_bytes),
        (names::TYPE_WARNINGS, &progress.type_warnings),
        (names::RETRIES, &progress.retries),
        (names::WAITS, &progress.waits),
        (names::MOVES, &progress.moved),
        (names::IN_FLIGHT, &progress.in_flight),
        (names::PARKED, &progress.parked),
        (names::PUBLISHING, &progress.publishing),
    ];
    counters.into_iter().find(|(named, _)| named.name == metric.name).map(|(_, counter)| counter)
}

fn causes(source: &str, progress: &Progress, wanted: impl Fn(Class) -> bool) -> Values {
    let causes = progress.causes().into_iter().filter(|((class, _), _)| wanted(*class));
    causes.map(|((class, reason), count)| ended(source, class.as_str(), reason.as_str(), count)).collect()
}

fn ended(source: &str, class: &str, reason: &str, count: u64) -> (Vec<String>, f64) {
    (vec![source.to_owned(), class.to_owned(), reason.to_owned()], count as f64)
}

fn number(counter: &AtomicU64) -> f64 {
    Progress::get(counter) as f64
}

/// A number that grows with whatever the stages of a source complete, bytes read among it.
pub(super) fn completed(progress: &Progress) -> u64 {
    let counters = [
        &progress.events,
        &progress.tasks,
        &progress.stored,
        &progress.read_bytes,
        &progress.retries,
        &progress.waits,
        &progress.moved,
        &progress.failed,
        &progress.rows_stored,
        &progress.rows_failed,
        &progress.rows_events,
    ];
    counters.into_iter().map(Progress::get).fold(0, u64::wrapping_add)
}

/// The downloads of a source.
pub(super) fn downloads(progress: &Progress) -> Downloads {
    Downloads { in_flight: Progress::get(&progress.in_flight), parked: Progress::get(&progress.parked) }
}
