//! The wiring: the stages of each source over a log, the local store and the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use longshore_core::policy::known::Known;
use longshore_core::retry::Ladder;
use longshore_lake::durable::DiskSync;
use longshore_lake::store::{LocalOptions, LocalStore, Owner, SyncMode};
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_origin::{HttpOrigin, Settings};
use longshore_stages::StageError;
use longshore_stages::download::{Download, Limits};
use longshore_stages::enrich::{Enrich, EnrichLimits};
use longshore_stages::ingest::{Ingest, Seen};
use longshore_stages::ports::{Clock, Log, LogView, Retention, Store, SystemClock, TopicSpec};
use longshore_stages::progress::Progress;
use longshore_stages::record::{self, Gather, Record};
use longshore_stages::refresh::Refresh;
use longshore_stages::retry::Retry;
use longshore_stages::topics::{Scale, Topics};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Enriching;
use crate::open_log::OpenLog;
use crate::place::{self, Lane, Place};
use crate::sight::{Onlooker, Sight};
use crate::slow;

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
    /// The log as the stages use it, and as onlookers see it.
    pub(crate) log: Arc<dyn Log>,
    pub(crate) view: Arc<dyn LogView>,
    /// What both are of.
    pub(crate) open: OpenLog,
    /// One for each of the place's lanes, in their order.
    pub(crate) lanes: Vec<OpenLane>,
    pub(crate) store: LocalStore,
    sight: Onlooker,
}

/// Who writes the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    Ours,
    Others,
}

/// A lane with what is open of it.
pub(crate) struct OpenLane {
    pub(crate) lane: Lane,
    /// Of a process that writes them, or is the only one.
    pub(crate) tables: Option<OpenTables>,
    pub(crate) progress: Arc<Progress>,
    /// The delays of all retry tiers in the log, also those that an earlier configuration left.
    tiers: Vec<Duration>,
    /// The same of enriching.
    enrich_tiers: Vec<Duration>,
}

/// The tables of a source, open for writing.
pub(crate) struct OpenTables {
    pub(crate) attachments: ExactTable,
    pub(crate) failed: ExactTable,
    pub(crate) events: ExactTable,
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
    /// Makes ingest and download commit positions at once when nothing is under way.
    pub(crate) ended: CancellationToken,
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
        let open = OpenLog::open(&plan.place.log)?;
        open.log().ensure_topics(&topics(plan)).await?;
        let (partitions, _) = open.view(&plan.place).state().await?;
        let topics: Vec<String> = partitions.into_iter().map(|state| state.partition.topic.to_string()).collect();
        Self::over(plan, open, Tables::Ours, &topics).await
    }

    /// The same with everything that its stages do measured.
    pub(crate) fn seen_by(self, sight: &Arc<Sight>) -> Self {
        self.lanes.iter().for_each(|open| sight.lane(open.lane.name(), open.progress.clone()));
        World { sight: Onlooker::Sight(sight.clone()), ..self }
    }

    /// The same for a process of these roles over an open log that has these topics.
    pub(crate) async fn shared(plan: &Plan, open: OpenLog, roles: &Roles, topics: &[String]) -> Result<Self> {
        let tables = if roles.has(Role::Record) { Tables::Ours } else { Tables::Others };
        Self::over(plan, open, tables, topics).await
    }

    async fn over(plan: &Plan, open: OpenLog, tables: Tables, topics: &[String]) -> Result<Self> {
        let (log, view) = (open.log(), open.view(&plan.place));
        let owner = if open.is_shared() { Owner::Shared } else { Owner::Exclusive };
        let sync = if plan.sync { SyncMode::Full } else { SyncMode::Off };
        let store = LocalStore::open(&plan.place.files, LocalOptions { sync, ..LocalOptions::new(owner) })?;
        let mut lanes = Vec::with_capacity(plan.place.lanes.len());
        for lane in &plan.place.lanes {
            lanes.push(OpenLane::open(plan, lane, topics, tables).await?);
        }
        Ok(World { log, view, open, lanes, store, sight: Onlooker::Nobody })
    }

    /// All tables of all lanes that are open.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &ExactTable> {
        self.lanes.iter().flat_map(|open| &open.tables).flat_map(OpenTables::all)
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
            ended: CancellationToken::new(),
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
        let (log, store) = (self.sight.log(self.log.clone()), self.sight.store(Arc::new(self.store.clone())));
        let wiring = Wiring { plan, open, setup, log, store, clock: Arc::new(SystemClock), sight: &self.sight };
        if roles.has(Role::Ingest) {
            stages.upstream.spawn(wiring.ingest(stages.ended.clone()).run(stages.drain.clone()));
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
            let download = wiring.download(stages.slots.clone(), stages.ended.clone())?;
            stages.upstream.spawn(download.run(stages.drain.clone()));
        }
        if let Some(tables) = open.tables.as_ref().filter(|_| roles.has(Role::Record)) {
            stages.record.spawn(wiring.record(tables, stages.hurry.clone()).run(stages.drain_record.clone()));
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
    sight: &'a Onlooker,
}

impl Wiring<'_> {
    fn topics(&self) -> Topics {
        self.open.lane.topics.clone()
    }

    fn grace(&self) -> Duration {
        self.plan.limits.grace
    }

    fn ingest(&self, ended: CancellationToken) -> Ingest {
        Ingest {
            log: self.log.clone(),
            store: self.store.clone(),
            topics: self.topics(),
            source: self.open.lane.source.clone(),
            clock: self.clock.clone(),
            progress: self.open.progress.clone(),
            seen: Seen::default(),
            known: Known::default(),
            ended,
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

    fn download(&self, slots: Arc<Semaphore>, ended: CancellationToken) -> Result<Download> {
        let settings = Settings { buffer: self.plan.limits.buffer(), ..self.setup.origin.clone() };
        Ok(Download {
            log: self.log.clone(),
            topics: self.topics(),
            origin: self.sight.origin(self.open.lane.name(), Arc::new(HttpOrigin::new(settings)?)),
            store: self.store.clone(),
            source: self.open.lane.source.clone(),
            headers: self.setup.headers.clone(),
            refresh: self.setup.refresh.clone(),
            ladder: self.setup.ladder.clone(),
            limits: self.plan.limits,
            slots,
            clock: self.clock.clone(),
            progress: self.open.progress.clone(),
            ended,
        })
    }

    fn record(&self, tables: &OpenTables, hurry: CancellationToken) -> Record {
        let Lane { source, topics, shape } = self.open.lane.clone();
        let tables = record::Tables {
            attachments: slow::table(self.sight.table(&source.name, "attachments", tables.attachments.clone())),
            failed: self.sight.table(&source.name, "failed", tables.failed.clone()),
            events: self.sight.table(&source.name, "events", tables.events.clone()),
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
    /// Its tables, of a process that has them open.
    pub(crate) fn ours(&self) -> Result<&OpenTables> {
        self.tables.as_ref().context("the tables are not open in this process: please report it")
    }

    /// Its tables as onlookers take them.
    pub(crate) fn tables(&self) -> Option<place::Tables> {
        let OpenTables { attachments, failed, events } = self.tables.as_ref()?;
        let [attachments, failed, events] = [attachments, failed, events].map(|table| Some(table.clone()));
        Some(place::Tables { attachments, failed, events })
    }

    async fn open(plan: &Plan, lane: &Lane, topics: &[String], whose: Tables) -> Result<Self> {
        let tables = match whose {
            Tables::Ours => Some(OpenTables::open(plan, lane).await?),
            Tables::Others => None,
        };
        let tiers = existing_tiers(topics, |topic| lane.topics.tier_delay(topic));
        let enrich_tiers = existing_tiers(topics, |topic| lane.topics.enrich_tier_delay(topic));
        Ok(OpenLane { lane: lane.clone(), tables, progress: Arc::default(), tiers, enrich_tiers })
    }
}

impl OpenTables {
    /// Attachments, failures, events.
    pub(crate) fn all(&self) -> [&ExactTable; 3] {
        [&self.attachments, &self.failed, &self.events]
    }

    async fn open(plan: &Plan, lane: &Lane) -> Result<Self> {
        let table = |spec| {
            let root = Root::local(plan.place.table(&spec), if plan.sync { DiskSync::On } else { DiskSync::Off });
            async move { anyhow::Ok(ExactTable::open(root?, spec, Options::default()).await?) }
        };
        let shape = &lane.shape;
        let (attachments, failed, events) =
            tokio::try_join!(table(shape.attachments_table()), table(shape.failed_table()), table(shape.events_table()))?;
        Ok(OpenTables { attachments, failed, events })
    }
}

/// The topics of all sources; one that several share is kept until all of them have read it.
pub(crate) fn topics(plan: &Plan) -> Vec<TopicSpec> {
    topics_of(plan, if plan.place.log.directory().is_some() { Scale::EMBEDDED } else { Scale::KAFKA })
}

/// The same with so many partitions.
pub(crate) fn topics_of(plan: &Plan, scale: Scale) -> Vec<TopicSpec> {
    let mut all: BTreeMap<String, TopicSpec> = BTreeMap::new();
    for (lane, setup) in plan.place.lanes.iter().zip(&plan.setups) {
        let enriching = setup.enrich.iter().flat_map(|enrich| lane.topics.enrich_specs(&enrich.delays, scale));
        for spec in lane.topics.specs(&setup.ladder.delays, scale).into_iter().chain(enriching) {
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
fn existing_tiers(topics: &[String], delay_of: impl Fn(&str) -> Option<Duration>) -> Vec<Duration> {
    let delays: BTreeSet<Duration> = topics.iter().filter_map(|topic| delay_of(topic)).collect();
    delays.into_iter().collect()
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
