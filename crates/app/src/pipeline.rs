//! The wiring: the stages of each source over the embedded log, the local store and the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use longshore_core::retry::Ladder;
use longshore_lake::durable::DiskSync;
use longshore_lake::store::{LocalOptions, LocalStore, Owner, SyncMode};
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_log::EmbeddedLog;
use longshore_origin::HttpOrigin;
use longshore_stages::StageError;
use longshore_stages::download::{Download, Limits};
use longshore_stages::enrich::{Enrich, EnrichLimits};
use longshore_stages::ingest::{Ingest, Seen};
use longshore_stages::ports::{Clock, Log, LogView, Retention, Store, SystemClock, TopicSpec};
use longshore_stages::progress::Progress;
use longshore_stages::record::{Gather, Record, Tables};
use longshore_stages::refresh::Refresh;
use longshore_stages::retry::Retry;
use longshore_stages::topics::Topics;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Enriching;
use crate::place::{self, Lane, Place};

/// Everything that the stages need, checked and typed.
pub(crate) struct Plan {
    pub(crate) place: Place,
    /// One for each of the place's lanes, in their order.
    pub(crate) setups: Vec<Setup>,
    pub(crate) limits: Limits,
    pub(crate) gather: Gather,
    pub(crate) gather_events: Gather,
    pub(crate) sync: bool,
}

/// What a source's stages need beside its lane.
pub(crate) struct Setup {
    pub(crate) origin: longshore_origin::Settings,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) refresh: Option<Refresh>,
    pub(crate) enrich: Option<Enriching>,
    pub(crate) ladder: Ladder,
}

/// The opened outside world of a running pipeline.
pub(crate) struct World {
    pub(crate) log: Arc<EmbeddedLog>,
    /// One for each of the place's lanes, in their order.
    pub(crate) lanes: Vec<OpenLane>,
    pub(crate) store: LocalStore,
}

/// A lane with its tables open.
pub(crate) struct OpenLane {
    pub(crate) lane: Lane,
    pub(crate) attachments: ExactTable,
    pub(crate) failed: ExactTable,
    pub(crate) events: ExactTable,
    pub(crate) progress: Arc<Progress>,
    /// The delays of all retry tiers in the log, also those that an earlier configuration left.
    tiers: Vec<Duration>,
    /// The same of enriching.
    enrich_tiers: Vec<Duration>,
}

/// A part of the work that a process may have, for all of its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Makes tasks of events; enriches them before, where that is configured.
    Ingest,
    /// Fetches the attachments of tasks.
    Download,
    /// Brings tasks back when their delay is over.
    Retry,
    /// Writes the tables.
    Record,
}

impl Role {
    /// As it is written and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Download => "download",
            Role::Retry => "retry",
            Role::Record => "record",
        }
    }
}

/// The roles of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every role.
    pub(crate) fn all() -> Self {
        use clap::ValueEnum;
        Roles(Role::value_variants().iter().copied().collect())
    }

    /// These, or all where none is named.
    pub(crate) fn of(named: &[Role]) -> Self {
        if named.is_empty() { Self::all() } else { Roles(named.iter().copied().collect()) }
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// The roles, in the order of the work.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Role> {
        self.0.iter().copied()
    }

    /// What nobody does.
    pub(crate) fn absent(&self) -> impl Iterator<Item = Role> {
        Self::all().0.into_iter().filter(|role| !self.has(*role))
    }
}

/// The stages, running.
pub(crate) struct Stages {
    /// All but record.
    upstream: JoinSet<Result<(), StageError>>,
    record: JoinSet<Result<(), StageError>>,
    /// Ends all but record.
    pub(crate) drain: CancellationToken,
    /// Makes record commit without waiting for company.
    pub(crate) hurry: CancellationToken,
    /// Ends record.
    pub(crate) drain_record: CancellationToken,
    /// The download slots of all sources.
    slots: Arc<Semaphore>,
}

impl World {
    /// Opens everything for writing; the only writer of the place.
    pub(crate) async fn open(plan: &Plan) -> Result<Self> {
        let log = Arc::new(EmbeddedLog::open(&plan.place.state)?);
        log.ensure_topics(&topics(plan)).await?;
        let sync = if plan.sync { SyncMode::Full } else { SyncMode::Off };
        let store = LocalStore::open(&plan.place.files, LocalOptions { sync, ..LocalOptions::new(Owner::Exclusive) })?;
        let mut lanes = Vec::with_capacity(plan.place.lanes.len());
        for lane in &plan.place.lanes {
            lanes.push(OpenLane::open(plan, lane, log.as_ref()).await?);
        }
        Ok(World { log, lanes, store })
    }

    /// All tables of all lanes.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &ExactTable> {
        self.lanes.iter().flat_map(|open| [&open.attachments, &open.failed, &open.events])
    }

    /// Leaves everything in good order for those who come next.
    pub(crate) async fn close(&self) -> Result<()> {
        for table in self.tables() {
            table.close().await?;
        }
        Ok(())
    }

    /// Starts the stages of these roles.
    pub(crate) fn start(&self, plan: &Plan, roles: &Roles) -> Result<Stages> {
        let mut stages = Stages {
            upstream: JoinSet::new(),
            record: JoinSet::new(),
            drain: CancellationToken::new(),
            hurry: CancellationToken::new(),
            drain_record: CancellationToken::new(),
            slots: Arc::new(Semaphore::new(plan.limits.slots())),
        };
        for (open, setup) in self.lanes.iter().zip(&plan.setups) {
            self.spawn_lane(plan, open, setup, roles, &mut stages)?;
        }
        Ok(stages)
    }

    fn spawn_lane(&self, plan: &Plan, open: &OpenLane, setup: &Setup, roles: &Roles, stages: &mut Stages) -> Result<()> {
        let (log, store) = (self.log.clone(), Arc::new(self.store.clone()));
        let wiring = Wiring { plan, open, setup, log, store, clock: Arc::new(SystemClock) };
        if roles.has(Role::Ingest) {
            stages.upstream.spawn(wiring.ingest().run(stages.drain.clone()));
            if let Some(enrich) = wiring.enrich() {
                stages.upstream.spawn(enrich.run(stages.drain.clone()));
            }
        }
        if roles.has(Role::Retry) {
            stages.upstream.spawn(wiring.retry().run(stages.drain.clone()));
            if setup.enrich.is_some() {
                stages.upstream.spawn(wiring.enrich_retry().run(stages.drain.clone()));
            }
        }
        if roles.has(Role::Download) {
            let download = wiring.download(stages.slots.clone())?;
            stages.upstream.spawn(download.run(stages.drain.clone()));
        }
        if roles.has(Role::Record) {
            stages.record.spawn(wiring.record(stages.hurry.clone()).run(stages.drain_record.clone()));
        }
        Ok(())
    }
}

/// What the stages of a lane are made of.
struct Wiring<'a> {
    plan: &'a Plan,
    open: &'a OpenLane,
    setup: &'a Setup,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Wiring<'_> {
    fn topics(&self) -> Topics {
        self.open.lane.topics.clone()
    }

    fn grace(&self) -> Duration {
        self.plan.limits.grace
    }

    fn ingest(&self) -> Ingest {
        Ingest {
            log: self.log.clone(),
            store: self.store.clone(),
            topics: self.topics(),
            source: self.open.lane.source.clone(),
            clock: self.clock.clone(),
            progress: self.open.progress.clone(),
            seen: Seen::default(),
            grace: self.grace(),
        }
    }

    fn enrich(&self) -> Option<Enrich> {
        let how = self.setup.enrich.as_ref()?;
        Some(Enrich {
            log: self.log.clone(),
            store: self.store.clone(),
            topics: self.topics(),
            source: self.open.lane.source.clone(),
            lookup: how.lookup.clone(),
            call: how.call.clone(),
            fields: how.fields.clone(),
            ladder: Ladder::new(how.delays.clone()),
            limits: EnrichLimits { grace: self.grace(), ..how.limits },
            clock: self.clock.clone(),
            progress: self.open.progress.clone(),
        })
    }

    fn retry(&self) -> Retry {
        let topics = self.topics();
        let tiers = self.open.tiers.iter().map(|delay| (topics.tier(*delay), *delay)).collect();
        self.waiting(topics.retry_group(), tiers, topics.pending())
    }

    fn enrich_retry(&self) -> Retry {
        let topics = self.topics();
        let tiers = self.open.enrich_tiers.iter().map(|delay| (topics.enrich_tier(*delay), *delay)).collect();
        self.waiting(topics.enrich_retry_group(), tiers, topics.enrich_due())
    }

    fn waiting(&self, group: String, tiers: BTreeMap<String, Duration>, to: String) -> Retry {
        Retry { log: self.log.clone(), group, tiers, to, clock: self.clock.clone(), grace: self.grace() }
    }

    fn download(&self, slots: Arc<Semaphore>) -> Result<Download> {
        Ok(Download {
            log: self.log.clone(),
            topics: self.topics(),
            origin: Arc::new(HttpOrigin::new(self.setup.origin.clone())?),
            store: self.store.clone(),
            source: self.open.lane.source.clone(),
            headers: self.setup.headers.clone(),
            refresh: self.setup.refresh.clone(),
            ladder: self.setup.ladder.clone(),
            limits: self.plan.limits,
            slots,
            clock: self.clock.clone(),
            progress: self.open.progress.clone(),
        })
    }

    fn record(&self, hurry: CancellationToken) -> Record {
        let Lane { source, topics, shape } = self.open.lane.clone();
        let tables = Tables {
            attachments: Arc::new(self.open.attachments.clone()),
            failed: Arc::new(self.open.failed.clone()),
            events: Arc::new(self.open.events.clone()),
        };
        Record {
            log: self.log.clone(),
            store: self.store.clone(),
            topics,
            source,
            shape,
            tables,
            clock: self.clock.clone(),
            progress: self.open.progress.clone(),
            gather: self.plan.gather,
            gather_events: self.plan.gather_events,
            hurry,
            grace: self.grace(),
        }
    }
}

impl OpenLane {
    /// Its tables as onlookers take them.
    pub(crate) fn tables(&self) -> place::Tables {
        let [attachments, failed, events] = [&self.attachments, &self.failed, &self.events].map(|table| Some(table.clone()));
        place::Tables { attachments, failed, events }
    }

    async fn open(plan: &Plan, lane: &Lane, log: &EmbeddedLog) -> Result<Self> {
        let table = |spec| {
            let root = Root::local(plan.place.table(&spec), if plan.sync { DiskSync::On } else { DiskSync::Off });
            async move { anyhow::Ok(ExactTable::open(root?, spec, Options::default()).await?) }
        };
        let shape = &lane.shape;
        let (attachments, failed, events) =
            tokio::try_join!(table(shape.attachments_table()), table(shape.failed_table()), table(shape.events_table()))?;
        let tiers = existing_tiers(log, |topic| lane.topics.tier_delay(topic)).await?;
        let enrich_tiers = existing_tiers(log, |topic| lane.topics.enrich_tier_delay(topic)).await?;
        Ok(OpenLane { lane: lane.clone(), attachments, failed, events, progress: Arc::default(), tiers, enrich_tiers })
    }
}

/// The topics of all sources; one that several share is kept until all of them have read it.
pub(crate) fn topics(plan: &Plan) -> Vec<TopicSpec> {
    let mut all: BTreeMap<String, TopicSpec> = BTreeMap::new();
    for (lane, setup) in plan.place.lanes.iter().zip(&plan.setups) {
        let enriching = setup.enrich.iter().flat_map(|enrich| lane.topics.enrich_specs(&enrich.delays, 1));
        for spec in lane.topics.specs(&setup.ladder.delays, 1).into_iter().chain(enriching) {
            match all.get_mut(&spec.name).map(|known| (&mut known.retention, &spec.retention)) {
                Some((Retention::UntilCommitted(groups), Retention::UntilCommitted(more))) => groups.extend(more.iter().cloned()),
                Some(_) => {}
                None => drop(all.insert(spec.name.clone(), spec)),
            }
        }
    }
    all.into_values().collect()
}

/// The delays of all retry tiers in the log, also those that an earlier configuration left.
async fn existing_tiers(log: &EmbeddedLog, delay_of: impl Fn(&str) -> Option<Duration>) -> Result<Vec<Duration>> {
    let (partitions, _) = log.state().await?;
    let mut delays: Vec<Duration> = partitions.iter().filter_map(|s| delay_of(&s.partition.topic)).collect();
    delays.sort_unstable();
    delays.dedup();
    Ok(delays)
}

impl Stages {
    /// Waits for the next stage to end; nothing when all have.
    pub(crate) async fn next_end(&mut self) -> Option<Result<()>> {
        let ended = tokio::select! {
            Some(ended) = self.upstream.join_next() => ended,
            Some(ended) = self.record.join_next() => ended,
            else => return None,
        };
        Some(match ended {
            Ok(result) => result.map_err(anyhow::Error::from),
            Err(error) => Err(anyhow::anyhow!("a stage broke down: {error}")),
        })
    }

    /// How many stages still run.
    pub(crate) fn running(&self) -> usize {
        self.upstream.len() + self.record.len()
    }

    /// Whether anybody still makes work for record.
    pub(crate) fn upstream_runs(&self) -> bool {
        !self.upstream.is_empty()
    }

    /// Stops everything at once, without draining.
    pub(crate) async fn abort(&mut self) {
        self.upstream.shutdown().await;
        self.record.shutdown().await;
    }
}
