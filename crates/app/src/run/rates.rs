//! What was done since it was last said, for each source that did anything.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use indicatif::{HumanBytes, HumanCount};
use longshore_stages::progress::Progress;
use tokio::time::Instant;

use super::standing;
use crate::pipeline::{OpenLane, World};
use crate::service::Service;
use crate::walk::Moment;

/// The counters of a source at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    events: u64,
    stored: u64,
    bytes: u64,
    retries: u64,
    failed: u64,
    rows: u64,
}

impl Counts {
    fn of(progress: &Progress) -> Self {
        let get = Progress::get;
        let rows = [&progress.rows_stored, &progress.rows_failed, &progress.rows_events];
        Counts {
            events: get(&progress.events),
            stored: get(&progress.stored),
            bytes: get(&progress.stored_bytes),
            retries: get(&progress.retries),
            failed: get(&progress.failed),
            rows: rows.into_iter().map(get).sum(),
        }
    }

    fn since(self, earlier: Self) -> Self {
        Counts {
            events: self.events - earlier.events,
            stored: self.stored - earlier.stored,
            bytes: self.bytes - earlier.bytes,
            retries: self.retries - earlier.retries,
            failed: self.failed - earlier.failed,
            rows: self.rows - earlier.rows,
        }
    }
}

/// What was said last.
pub(super) struct Rates {
    lanes: Vec<(String, Arc<Progress>, Counts)>,
    service: Arc<Service>,
    at: Instant,
}

impl Rates {
    pub(super) fn new(world: &World, service: &Arc<Service>) -> Self {
        let lane = |open: &OpenLane| (open.lane.name().to_owned(), open.progress.clone(), Counts::default());
        Rates { lanes: world.lanes.iter().map(lane).collect(), service: service.clone(), at: Instant::now() }
    }

    /// A line for each source in which something happened.
    pub(super) async fn lines(&mut self, world: &World) -> Result<Vec<String>> {
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        self.at = Instant::now();
        let mut moment = None;
        let mut lines = Vec::new();
        for ((name, progress, last), open) in self.lanes.iter_mut().zip(&world.lanes) {
            let now = Counts::of(progress);
            if now == *last {
                continue;
            }
            if moment.is_none() {
                moment = Some(Moment::of(world.view.as_ref()).await?);
            }
            let waiting = moment.as_ref().map_or(0, |moment| standing::tasks(moment, &open.lane));
            lines.push(line(name, now.since(*last), seconds, waiting));
            *last = now;
        }
        Ok(lines)
    }

    /// What was done in all.
    pub(super) fn total(&self) -> String {
        let sum = |count: fn(&Counts) -> u64| self.lanes.iter().map(|(_, progress, _)| count(&Counts::of(progress))).sum::<u64>();
        format!(
            "{} events received over HTTP, {} read, {} files stored ({}), {} failed",
            HumanCount(self.service.accepted.load(Relaxed)),
            HumanCount(sum(|c| c.events)),
            HumanCount(sum(|c| c.stored)),
            HumanBytes(sum(|c| c.bytes)),
            HumanCount(sum(|c| c.failed)),
        )
    }
}

fn line(source: &str, did: Counts, seconds: f64, waiting: u64) -> String {
    format!(
        "{source}: {:.0} events/s, {:.0} files/s, {}/s, {} retries, {} failed, {} rows, {} tasks wait",
        did.events as f64 / seconds,
        did.stored as f64 / seconds,
        HumanBytes((did.bytes as f64 / seconds) as u64),
        HumanCount(did.retries),
        HumanCount(did.failed),
        HumanCount(did.rows),
        HumanCount(waiting),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_done_since_the_last() {
        let before = Counts { events: 100, stored: 90, bytes: 900, retries: 1, failed: 2, rows: 150 };
        let now = Counts { events: 1_100, stored: 590, bytes: 5_120_900, retries: 4, failed: 2, rows: 1_650 };
        assert_eq!(
            line("xact", now.since(before), 10.0, 12),
            "xact: 100 events/s, 50 files/s, 500.00 KiB/s, 3 retries, 0 failed, 1,500 rows, 12 tasks wait"
        );
    }
}
