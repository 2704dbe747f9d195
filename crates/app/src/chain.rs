//! The stages of a source in the order of the work, and how far each is behind, as an onlooker of the log sees it.
//!
//! *Owns*: which group reads which topic for which stage. *Does not own*: what is shown of it (`status`, `lag`, metrics).
//! Reads of heads: at most [`READS`] at once, each given up after [`READ_TIMEOUT`].

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use longshore_core::time::Micros;
use longshore_stages::ports::{Clock, LogView, PartitionState, SystemClock};
use longshore_stages::topics::{Topics, spell_delay};

use crate::pipeline::Role;
use crate::place::Lane;
use crate::walk::Moment;

/// Heads of partitions that are read at once.
const READS: usize = 8;
/// The longest that the reading of a head may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// A stage: a group that reads a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// As it is shown.
    pub(crate) name: String,
    /// Whose work it is.
    pub(crate) role: Role,
    pub(crate) topic: String,
    pub(crate) group: String,
    /// How long the stage lets each record lie on purpose; zero but for retry tiers.
    pub(crate) delay: Duration,
}

impl Link {
    fn new(name: &str, role: Role, topic: String, group: String) -> Self {
        Link { name: name.to_owned(), role, topic, group, delay: Duration::ZERO }
    }

    fn tier(kind: &str, delay: Duration, topic: String, group: String) -> Self {
        Link { delay, ..Link::new(&format!("{kind} {}", spell_delay(delay)), Role::Retry, topic, group) }
    }
}

/// Where a stage stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) source: String,
    pub(crate) link: Link,
    pub(crate) state: PartitionState,
    pub(crate) committed: u64,
    /// How long the first record that is not done with has been in the log; nothing where none waits, or where it cannot
    /// be read.
    pub(crate) oldest: Option<Micros>,
}

impl Standing {
    /// Records that are not done with.
    pub(crate) fn waiting(&self) -> u64 {
        self.state.end.saturating_sub(self.committed)
    }
}

/// The stages of a source in the order of the work.
pub(crate) fn links(topics: &Topics, moment: &Moment) -> Vec<Link> {
    let tiers = |delay_of: &dyn Fn(&str) -> Option<Duration>| {
        let delays = moment.partitions.iter().filter_map(|state| delay_of(&state.partition.topic));
        delays.collect::<BTreeSet<Duration>>()
    };
    let mut links = Vec::new();
    if topics.raw() != topics.events() {
        links.push(Link::new("enrich", Role::Ingest, topics.raw(), topics.enrich_group()));
        links.push(Link::new("enrich again", Role::Ingest, topics.enrich_due(), topics.enrich_group()));
        let tier = |delay| Link::tier("enrich retry", delay, topics.enrich_tier(delay), topics.enrich_retry_group());
        links.extend(tiers(&|topic| topics.enrich_tier_delay(topic)).into_iter().map(tier));
    }
    links.push(Link::new("ingest", Role::Ingest, topics.events(), topics.ingest_group()));
    links.push(Link::new("download", Role::Download, topics.pending(), topics.download_group()));
    let tier = |delay| Link::tier("retry", delay, topics.tier(delay), topics.retry_group());
    links.extend(tiers(&|topic| topics.tier_delay(topic)).into_iter().map(tier));
    links.push(Link::new("record attachments", Role::Record, topics.results(), topics.record_results_group()));
    links.push(Link::new("record failed", Role::Record, topics.dead_letters(), topics.record_failures_group()));
    links.push(Link::new("record events", Role::Record, topics.events(), topics.record_events_group()));
    links
}

/// Where the stages of a source that are wanted stand, in the order of the work.
pub(crate) async fn standings(view: &dyn LogView, moment: &Moment, lane: &Lane, wanted: impl Fn(&Link) -> bool) -> Vec<Standing> {
    let mut standings = Vec::new();
    for link in links(&lane.topics, moment).into_iter().filter(wanted) {
        for state in moment.topic(&link.topic) {
            let committed = moment.committed(&link.group, state);
            let (source, link, state) = (lane.name().to_owned(), link.clone(), state.clone());
            standings.push(Standing { source, link, state, committed, oldest: None });
        }
    }
    let aged = futures::stream::iter(standings).map(|standing| aged(view, standing));
    aged.buffered(READS).collect().await
}

/// The same with the age of its oldest record. One that cannot be read has no age; `reconcile` names it.
async fn aged(view: &dyn LogView, mut standing: Standing) -> Standing {
    if standing.waiting() > 0 {
        let read = view.read(&standing.state.partition, standing.committed, 1);
        let records = tokio::time::timeout(READ_TIMEOUT, read).await.ok().and_then(Result::ok);
        let head = records.as_deref().and_then(<[_]>::first);
        standing.oldest = head.map(|record| SystemClock.now().saturating_sub(record.appended_at).max(0));
    }
    standing
}
