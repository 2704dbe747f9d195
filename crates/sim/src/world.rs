//! A world: the ports, the stages that run between them, and what must be true of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::file_type::FileTypes;
use longshore_core::format::{self, DeadLetter, Stored};
use longshore_core::inventory::Shape;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::retry::Ladder;
use longshore_core::row::{Cell, Row};
use longshore_core::source::{Identity, Mapping, Source};
use longshore_stages::StageError;
use longshore_stages::download::{Download, Limits};
use longshore_stages::ingest::{Ingest, Seen};
use longshore_stages::ports::{Clock, Log, Message};
use longshore_stages::progress::Progress;
use longshore_stages::record::{Gather, Record, Tables};
use longshore_stages::retry::Retry;
use longshore_stages::topics::Topics;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Faults, SimClock, SimLog, SimOrigin, SimStore, SimTable};

/// The name of the only source.
const SOURCE: &str = "urls";

/// How a world is set up.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Bounds of the download stage.
    pub limits: Limits,
    /// The retry tiers.
    pub ladder: Ladder,
    /// Partitions of the topics that may have several.
    pub partitions: u32,
}

impl Default for WorldOptions {
    fn default() -> Self {
        WorldOptions {
            limits: Limits {
                max_in_flight: 64,
                per_host: 8,
                memory: 64 << 20,
                window: 256,
                publishing: 64,
                grace: Duration::from_secs(25),
                stuck: Duration::from_secs(30),
            },
            ladder: Ladder::new([200, 400, 800].map(Duration::from_millis).to_vec()),
            partitions: 1,
        }
    }
}

/// One of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// events → pending.
    Ingest,
    /// pending → results, tiers, dead letters.
    Download,
    /// tiers → pending.
    Retry,
    /// results, dead letters, events → tables.
    Record,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 4] = [Stage::Ingest, Stage::Download, Stage::Retry, Stage::Record];
}

/// How an attachment ended, by its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A row in `attachments`; so many attempts.
    Stored(i64),
    /// A row in `attachments_failed`: its status and its message.
    Failed(String, String),
}

/// The world.
pub struct World {
    /// Its seed.
    pub seed: u64,
    /// Its faults.
    pub faults: Arc<Faults>,
    /// Time.
    pub clock: Arc<SimClock>,
    /// The log.
    pub log: SimLog,
    /// The hosts.
    pub origin: Arc<SimOrigin>,
    /// The store.
    pub store: SimStore,
    /// The tables: `attachments`, `failed`, `events`.
    pub tables: [SimTable; 3],
    /// What the stages count.
    pub progress: Arc<Progress>,
    /// The topics.
    pub topics: Topics,
    options: WorldOptions,
    source: Arc<Source>,
    slots: Arc<Semaphore>,
    stages: JoinSet<(Stage, Result<(), StageError>)>,
    drain: CancellationToken,
    sent: BTreeSet<String>,
    began: Instant,
    /// Stages that ended by an error and were started again.
    pub restarts: u64,
    /// Why the last of them ended.
    pub last_error: Option<String>,
}

impl World {
    /// A world with topics and without events; no stage runs yet.
    pub async fn new(seed: u64, options: WorldOptions) -> Self {
        let (faults, clock) = (Arc::new(Faults::new(seed)), Arc::new(SimClock::new(seed)));
        let (log, topics) = (SimLog::new(clock.clone(), faults.clone()), Topics::of(SOURCE));
        let mut specs = topics.specs(&options.ladder.delays, longshore_stages::topics::Scale::EMBEDDED);
        for spec in specs.iter_mut().filter(|s| s.name == topics.events() || s.name == topics.pending()) {
            spec.partitions = options.partitions;
        }
        log.ensure_topics(&specs).await.expect("topics");
        World {
            seed,
            origin: Arc::new(SimOrigin::new(clock.clone())),
            store: SimStore::new(faults.clone()),
            tables: ["attachments", "failed", "events"].map(|name| SimTable::new(name, faults.clone())),
            progress: Arc::default(),
            slots: Arc::new(Semaphore::new(options.limits.slots())),
            source: Arc::new(source()),
            stages: JoinSet::new(),
            drain: CancellationToken::new(),
            sent: BTreeSet::new(),
            began: Instant::now(),
            restarts: 0,
            last_error: None,
            faults,
            clock,
            log,
            topics,
            options,
        }
    }

    /// Appends events, one for each URL.
    pub async fn send(&mut self, urls: impl IntoIterator<Item = String>) {
        let urls: Vec<String> = urls.into_iter().collect();
        let message = |url: &String| Message { key: Some(url.clone().into()), value: Some(url.clone().into()), headers: vec![] };
        let batch: Vec<Message> = urls.iter().map(message).collect();
        self.sent.extend(urls);
        while self.log.append(&self.topics.events(), &batch).await.is_err() {}
    }

    /// Appends an event for a URL with these headers.
    pub async fn send_with(&mut self, url: &str, headers: Vec<(String, Bytes)>) {
        let message = Message { key: Some(url.to_owned().into()), value: Some(url.to_owned().into()), headers };
        self.sent.insert(url.to_owned());
        self.log.append(&self.topics.events(), &[message]).await.expect("appended");
    }

    /// Appends any bytes as an event.
    pub async fn send_bytes(&self, value: Option<&'static [u8]>) {
        let message = Message { key: None, value: value.map(Bytes::from_static), headers: vec![] };
        self.log.append(&self.topics.events(), &[message]).await.expect("appended");
    }

    /// Starts one of each stage.
    pub fn start(&mut self) {
        Stage::ALL.into_iter().for_each(|stage| self.start_one(stage));
    }

    /// Starts one more of a stage, as another process would.
    pub fn start_one(&mut self, stage: Stage) {
        let drain = self.drain.clone();
        match stage {
            Stage::Ingest => drop(self.stages.spawn(named(stage, self.ingest().run(drain)))),
            Stage::Download => drop(self.stages.spawn(named(stage, self.download().run(drain)))),
            Stage::Retry => drop(self.stages.spawn(named(stage, self.retry().run(drain)))),
            Stage::Record => drop(self.stages.spawn(named(stage, self.record().run(drain)))),
        }
    }

    /// Kills everything, without a word to anybody.
    pub async fn crash(&mut self) {
        self.stages.shutdown().await;
        self.slots = Arc::new(Semaphore::new(self.options.limits.slots()));
    }

    /// Tells the stages to end and waits until they have; returns how they ended.
    pub async fn drain(&mut self) -> Vec<(Stage, Result<(), StageError>)> {
        self.drain.cancel();
        let mut ended = Vec::new();
        while let Some(end) = self.stages.join_next().await {
            ended.push(end.expect("a stage panicked"));
        }
        self.drain = CancellationToken::new();
        ended
    }

    /// Lets time pass; stages that end by an error are started again.
    pub async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return,
                Some(ended) = self.stages.join_next() => self.restart(ended),
            }
        }
    }

    fn restart(&mut self, ended: Result<(Stage, Result<(), StageError>), tokio::task::JoinError>) {
        let (stage, result) = ended.unwrap_or_else(|error| panic!("a stage broke down: {error}. {}", self.repeat()));
        self.restarts += 1;
        self.last_error = result.err().map(|error| error.0);
        self.start_one(stage);
    }

    /// Lets time pass until every topic is read to its end, at most so long. Returns how long it took.
    pub async fn finish(&mut self, at_most: Duration) -> Duration {
        let begun = Instant::now();
        let step = (at_most / 2_000).max(Duration::from_millis(50));
        while !self.is_done() {
            assert!(begun.elapsed() < at_most, "unfinished after {at_most:?}: {:#?}. {}", self.unfinished(), self.repeat());
            self.pass(step).await;
        }
        begun.elapsed()
    }

    fn unfinished(&self) -> Vec<String> {
        let topics = self
            .topics
            .specs(&self.options.ladder.delays, longshore_stages::topics::Scale::EMBEDDED)
            .into_iter()
            .map(|spec| spec.name);
        let pairs = topics.flat_map(|topic| self.topics.consumption(&topic).into_iter().map(move |group| (group, topic.clone())));
        pairs.filter(|(group, topic)| !self.log.is_done(group, topic)).map(|(group, topic)| format!("{group}: {topic}")).collect()
    }

    /// Whether every topic is read to its end.
    pub fn is_done(&self) -> bool {
        self.unfinished().is_empty()
    }

    /// How each attachment ended, by its URL.
    pub fn ends(&self) -> BTreeMap<String, End> {
        let failed = self.tables[1].rows().into_iter().map(|row| {
            let end = End::Failed(text(&row, 4), text(&row, 5));
            (text(&row, 3), end)
        });
        let stored = self.tables[0].rows().into_iter().map(|row| (text(&row, 3), End::Stored(number(&row, 10))));
        failed.chain(stored).collect()
    }

    /// When the result of a URL came into the log, counted from the world's beginning.
    pub fn stored_at(&self, url: &str) -> Option<Duration> {
        let began = self.clock.now() - i64::try_from(self.began.elapsed().as_micros()).expect("a short world");
        let records = self.log.records(&self.topics.results());
        let found = records.iter().find(|r| r.message.value.as_ref().is_some_and(|v| is_of(v, url)))?;
        Some(Duration::from_micros((found.appended_at - began).unsigned_abs()))
    }

    /// The only source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let records = self.log.records(&self.topics.dead_letters());
        records.iter().filter_map(|r| format::decode(r.message.value.as_ref()?).ok()).collect()
    }

    /// Asserts what is true of every world that has finished: nothing lost, nothing twice, no commit before its time.
    pub fn check(&self) {
        assert_eq!(self.log.faults_found(), Vec::<String>::new(), "{}", self.repeat());
        let of = |table: &SimTable| table.rows().iter().map(|row| text(row, 3)).collect::<Vec<String>>();
        let (stored, failed) = (of(&self.tables[0]), of(&self.tables[1]));
        for url in &self.sent {
            let rows = [&stored, &failed].map(|rows| rows.iter().filter(|row| *row == url).count());
            let terminal = matches!(rows, [1, 0] | [0, 1]);
            assert!(terminal, "{url} has {} rows in attachments, {} in failed. {}", rows[0], rows[1], self.repeat());
        }
        assert_eq!(stored.len() + failed.len(), self.sent.len(), "rows of nobody. {}", self.repeat());
        assert_eq!(self.tables[2].rows().len(), self.sent.len(), "events. {}", self.repeat());
        for row in self.tables[0].rows() {
            let (url, path) = (text(&row, 3), text(&row, 4));
            assert_eq!(self.store.object(&path), Some(SimOrigin::file(&url)), "{url}. {}", self.repeat());
        }
    }

    /// The command that repeats this world.
    pub fn repeat(&self) -> String {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        format!("Repeat with: SIM_SEED={} cargo test -p longshore-sim {test}", self.seed)
    }

    fn ingest(&self) -> Ingest {
        Ingest {
            log: Arc::new(self.log.clone()),
            store: Arc::new(self.store.clone()),
            topics: self.topics.clone(),
            source: self.source.clone(),
            clock: self.clock.clone(),
            progress: self.progress.clone(),
            seen: Seen::default(),
            known: Default::default(),
            ended: CancellationToken::new(),
            grace: self.options.limits.grace,
        }
    }

    fn download(&self) -> Download {
        Download {
            log: Arc::new(self.log.clone()),
            topics: self.topics.clone(),
            origin: self.origin.clone(),
            store: Arc::new(self.store.clone()),
            source: self.source.clone(),
            headers: Vec::new(),
            refresh: None,
            ladder: self.options.ladder.clone(),
            limits: self.options.limits,
            slots: self.slots.clone(),
            clock: self.clock.clone(),
            progress: self.progress.clone(),
            ended: CancellationToken::new(),
        }
    }

    fn retry(&self) -> Retry {
        Retry {
            log: Arc::new(self.log.clone()),
            group: self.topics.retry_group(),
            tiers: self.options.ladder.delays.iter().map(|delay| (self.topics.tier(*delay), *delay)).collect(),
            to: self.topics.pending(),
            clock: self.clock.clone(),
            grace: self.options.limits.grace,
        }
    }

    fn record(&self) -> Record {
        let gather = Gather { freshness: Duration::from_millis(300), max_rows: 1_000, max_bytes: 1 << 20 };
        let [attachments, failed, events] = self.tables.clone().map(Arc::new);
        Record {
            log: Arc::new(self.log.clone()),
            store: Arc::new(self.store.clone()),
            topics: self.topics.clone(),
            source: self.source.clone(),
            shape: Shape::of(SOURCE),
            tables: Tables { attachments, failed, events },
            clock: self.clock.clone(),
            progress: self.progress.clone(),
            gather,
            gather_events: gather,
            hurry: CancellationToken::new(),
            grace: self.options.limits.grace,
        }
    }
}

async fn named(stage: Stage, run: impl Future<Output = Result<(), StageError>> + Send) -> (Stage, Result<(), StageError>) {
    (stage, run.await)
}

fn source() -> Source {
    Source {
        name: SOURCE.into(),
        mapping: Mapping::Urls,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{host}/{path}").expect("a template"),
        route: None,
        enrich: None,
    }
}

fn is_of(value: &Bytes, url: &str) -> bool {
    format::decode::<Stored>(value).is_ok_and(|stored| stored.url == url)
}

fn text(row: &Row, column: usize) -> String {
    match &row.cells[column] {
        Cell::Text(text) => text.clone(),
        other => panic!("no text in column {column}: {other:?}"),
    }
}

fn number(row: &Row, column: usize) -> i64 {
    match row.cells[column] {
        Cell::Int64(number) => number,
        ref other => panic!("no number in column {column}: {other:?}"),
    }
}
