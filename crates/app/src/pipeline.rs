//! The wiring: the four stages of a source over the embedded log, the local store and the tables.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use longshore_core::format::{DeadLetter, Stored, Task};
use longshore_core::retry::Ladder;
use longshore_core::source::{self, Source};
use longshore_core::{format, ids, inventory};
use longshore_lake::durable::DiskSync;
use longshore_lake::store::{LocalOptions, LocalStore, Owner, SyncMode};
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_log::EmbeddedLog;
use longshore_origin::HttpOrigin;
use longshore_stages::StageError;
use longshore_stages::download::{Download, Limits};
use longshore_stages::ingest::{Ingest, Seen};
use longshore_stages::ports::{Clock, Log, LogView, Partition, SystemClock};
use longshore_stages::progress::Progress;
use longshore_stages::record::{Gather, Record, Tables};
use longshore_stages::retry::Retry;
use longshore_stages::topics::Topics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::place::Place;

/// Everything that the stages need, checked and typed.
pub(crate) struct Plan {
    pub(crate) place: Place,
    pub(crate) source: Source,
    pub(crate) origin: longshore_origin::Settings,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) ladder: Ladder,
    pub(crate) limits: Limits,
    pub(crate) gather: Gather,
    pub(crate) gather_events: Gather,
    pub(crate) sync: bool,
}

/// The opened outside world of a running pipeline.
pub(crate) struct World {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) attachments: ExactTable,
    pub(crate) failed: ExactTable,
    pub(crate) events: ExactTable,
    pub(crate) source: Arc<Source>,
    pub(crate) topics: Topics,
    pub(crate) progress: Arc<Progress>,
    /// Attachments and poison events that are in the log already.
    pub(crate) in_log: HashSet<Uuid>,
    /// Poison letters of earlier runs.
    pub(crate) poison_before: u64,
    store: LocalStore,
    tiers: Vec<Duration>,
}

/// The stages, running.
pub(crate) struct Stages {
    tasks: JoinSet<Result<(), StageError>>,
    /// Ends ingest, download and retry.
    pub(crate) drain: CancellationToken,
    /// Makes record commit without waiting for company.
    pub(crate) hurry: CancellationToken,
    /// Ends record.
    pub(crate) drain_record: CancellationToken,
}

impl World {
    /// Opens everything for writing; the only writer of the place.
    pub(crate) async fn open(plan: &Plan) -> Result<Self> {
        let topics = Topics::of(&plan.source.name);
        let log = Arc::new(EmbeddedLog::open(&plan.place.state())?);
        log.ensure_topics(&topics.specs(&plan.ladder.delays, 1)).await?;
        let sync = if plan.sync { SyncMode::Full } else { SyncMode::Off };
        let store = LocalStore::open(&plan.place.files(), LocalOptions { sync, ..LocalOptions::new(Owner::Exclusive) })?;
        let table = |spec| {
            let root = Root::local(plan.place.table(&spec), if plan.sync { DiskSync::On } else { DiskSync::Off });
            async move { anyhow::Ok(ExactTable::open(root?, spec, Options::default()).await?) }
        };
        let name = &plan.source.name;
        let (attachments, failed, events) = tokio::try_join!(
            table(inventory::attachments_table(name)),
            table(inventory::failed_table(name)),
            table(inventory::events_table(name)),
        )?;
        let tiers = existing_tiers(log.as_ref(), &topics).await?;
        let mut world = World {
            log,
            attachments,
            failed,
            events,
            source: Arc::new(plan.source.clone()),
            topics,
            progress: Arc::default(),
            in_log: HashSet::new(),
            poison_before: 0,
            store,
            tiers,
        };
        world.look_at_log().await?;
        Ok(world)
    }

    /// Notes what earlier runs left in the log: it need not be fed again.
    async fn look_at_log(&mut self) -> Result<()> {
        let (partitions, positions) = self.log.state().await?;
        for state in partitions {
            let groups = self.topics.consumption(&state.partition.topic);
            let committed = groups.iter().map(|group| {
                let mine = positions.iter().find(|p| p.group == *group && p.partition == state.partition);
                mine.map_or(state.begin, |p| p.committed)
            });
            let keeps_all = *state.partition.topic == *self.topics.dead_letters();
            let from = if keeps_all { state.begin } else { committed.min().unwrap_or(state.begin).max(state.begin) };
            self.look_at_partition(&state.partition, from, state.end).await?;
        }
        Ok(())
    }

    async fn look_at_partition(&mut self, partition: &Partition, mut from: u64, end: u64) -> Result<()> {
        while from < end {
            let records = self.log.read(partition, from, 1_000).await?;
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            for record in &records {
                let Some(value) = &record.message.value else { continue };
                let field = record.message.header(format::HEADER_URL_FIELD).and_then(|f| std::str::from_utf8(f).ok());
                self.look_at_record(&partition.topic, value, field);
            }
        }
        Ok(())
    }

    fn look_at_record(&mut self, topic: &str, value: &[u8], url_field: Option<&str>) {
        let id = match topic {
            t if t == self.topics.events() => {
                Some(source::media_id_of(value, url_field).unwrap_or_else(|| ids::event_key(value)))
            }
            t if t == self.topics.results() => format::decode::<Stored>(value).ok().map(|s| s.media_id),
            t if t == self.topics.dead_letters() => self.look_at_letter(value),
            _ => format::decode::<Task>(value).ok().map(|t| t.media_id),
        };
        self.in_log.extend(id);
    }

    fn look_at_letter(&mut self, value: &[u8]) -> Option<Uuid> {
        use base64::Engine as _;
        let letter = format::decode::<DeadLetter>(value).ok()?;
        match letter.task {
            Some(task) => Some(task.media_id),
            None => {
                self.poison_before += 1;
                let original = base64::engine::general_purpose::STANDARD.decode(letter.original?).ok()?;
                Some(ids::event_key(&original))
            }
        }
    }

    /// Starts the stages.
    pub(crate) fn start(&self, plan: &Plan) -> Result<Stages> {
        let stages = Stages {
            tasks: JoinSet::new(),
            drain: CancellationToken::new(),
            hurry: CancellationToken::new(),
            drain_record: CancellationToken::new(),
        };
        self.spawn_all(plan, stages)
    }

    fn spawn_all(&self, plan: &Plan, mut stages: Stages) -> Result<Stages> {
        let log: Arc<dyn Log> = self.log.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (source, progress) = (self.source.clone(), self.progress.clone());
        let ingest = Ingest {
            log: log.clone(),
            source: source.clone(),
            clock: clock.clone(),
            progress: progress.clone(),
            seen: Seen::default(),
        };
        let retry = Retry { log: log.clone(), source: source.name.clone(), delays: self.tiers.clone(), clock: clock.clone() };
        let download = Download {
            log: log.clone(),
            origin: Arc::new(HttpOrigin::new(plan.origin.clone())?),
            store: Arc::new(self.store.clone()),
            source: source.clone(),
            headers: plan.headers.clone(),
            ladder: plan.ladder.clone(),
            limits: plan.limits,
            clock: clock.clone(),
            progress: progress.clone(),
        };
        let tables = Tables {
            attachments: Arc::new(self.attachments.clone()),
            failed: Arc::new(self.failed.clone()),
            events: Arc::new(self.events.clone()),
        };
        let (gather, gather_events, hurry) = (plan.gather, plan.gather_events, stages.hurry.clone());
        let record = Record { log, source, tables, clock, progress, gather, gather_events, hurry };
        stages.tasks.spawn(ingest.run(stages.drain.clone()));
        stages.tasks.spawn(retry.run(stages.drain.clone()));
        stages.tasks.spawn(download.run(stages.drain.clone()));
        stages.tasks.spawn(record.run(stages.drain_record.clone()));
        Ok(stages)
    }
}

/// The delays of all retry tiers in the log, also those that an earlier configuration left.
async fn existing_tiers(log: &EmbeddedLog, topics: &Topics) -> Result<Vec<Duration>> {
    let (partitions, _) = log.state().await?;
    let mut delays: Vec<Duration> = partitions.iter().filter_map(|s| topics.tier_delay(&s.partition.topic)).collect();
    delays.sort_unstable();
    delays.dedup();
    Ok(delays)
}

impl Stages {
    /// Waits for the next stage to end; nothing when all have.
    pub(crate) async fn next_end(&mut self) -> Option<Result<()>> {
        let ended = self.tasks.join_next().await?;
        Some(match ended {
            Ok(result) => result.map_err(anyhow::Error::from),
            Err(error) => Err(anyhow::anyhow!("a stage broke down: {error}")),
        })
    }

    /// How many stages still run.
    pub(crate) fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Stops everything at once, without draining.
    pub(crate) async fn abort(&mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
    }
}
