//! What can be seen of a running service: its metrics, whether it is ready, and whether its work gets done.
//!
//! *Owns*: the registry, the measuring of the ports (decorators around them: no stage knows of it), the faults that they
//! meet, and the sampling of the lag. *Does not own*: the counters of the stages (they are read where they are), the HTTP
//! route, and any decision: those are in `longshore_core::health`.
//!
//! ```text
//! stages ─▶ MeteredLog, MeteredOrigin, MeteredStore, MeteredTable ─▶ log, origin, store, tables
//!               │ how much, how long            │ failed since
//!               ▼                               ▼
//!            registry ─▶ GET /metrics         board ─▶ GET /health/ready
//!               ▲                               ▲
//!   lag gauges ─┴── a sample at most every 5 s ─┴─ watchdog (work waits, nothing completes)
//! ```
//! Bounds: one series for each source, stage, topic and partition, and for each word of closed lists.
//! Promises: 9 (no host, URL, path or id in a label or a reason).

mod board;
mod lanes;
mod log;
pub mod names;
mod observed;
mod onlooker;
mod origin;
mod process;
mod store;
mod table;
mod watch;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_stages::ports::{Log, Origin, Partition, Store, Table};
use longshore_stages::progress::Progress;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry, Result, TextEncoder};
use tokio_util::sync::CancellationToken;

pub(crate) use self::board::Unready;
use self::board::{Board, Part};
use self::lanes::Lanes;
pub(crate) use self::onlooker::Onlooker;
pub(crate) use self::table::Versioned;
pub(crate) use self::watch::{Watch, Watched};

/// The content type of the text exposition format.
pub(crate) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// What several tasks look at.
type Shared<T> = Arc<Mutex<T>>;

/// A partition that is assigned to a group of this process.
type Assignment = (String, Partition);

/// Everything that is seen of one process.
pub(crate) struct Sight {
    /// `messaging_system` of the log.
    system: String,
    registry: Registry,
    meters: Meters,
    lanes: Lanes,
    board: Board,
    assigned: Shared<BTreeSet<Assignment>>,
    /// Positions that were moved by commits.
    commits: AtomicU64,
    lag: watch::Lag,
}

/// The metrics that the decorators and the server write to.
struct Meters {
    sent: IntCounterVec,
    consumed: IntCounterVec,
    operation: HistogramVec,
    process: HistogramVec,
    client: HistogramVec,
    client_active: IntGaugeVec,
    server: HistogramVec,
    store: HistogramVec,
    adopted: IntCounterVec,
    table_commit: HistogramVec,
    table_rows: HistogramVec,
    table_known: IntCounterVec,
    table_version: IntGaugeVec,
}

impl Meters {
    fn new(registry: &Registry) -> Result<Self> {
        Ok(Meters {
            sent: names::SENT.counters(registry)?,
            consumed: names::CONSUMED.counters(registry)?,
            operation: names::OPERATION.histograms(registry)?,
            process: names::PROCESS.histograms(registry)?,
            client: names::CLIENT.histograms(registry)?,
            client_active: names::CLIENT_ACTIVE.gauges(registry)?,
            server: names::SERVER.histograms(registry)?,
            store: names::STORE.histograms(registry)?,
            adopted: names::ADOPTED.counters(registry)?,
            table_commit: names::TABLE_COMMIT.histograms(registry)?,
            table_rows: names::TABLE_ROWS.histograms(registry)?,
            table_known: names::ROWS_KNOWN.counters(registry)?,
            table_version: names::TABLE_VERSION.gauges(registry)?,
        })
    }
}

impl Sight {
    /// Of a process whose log is of this kind, for example `kafka`.
    pub(crate) fn new(system: &str) -> Result<Arc<Self>> {
        let registry = Registry::new();
        let (lanes, board, lag) = (Lanes::default(), Board::new(), watch::Lag::default());
        lanes::register(&registry, lanes.clone())?;
        process::register(&registry)?;
        lag.register(&registry)?;
        register_ready(&registry, board.clone())?;
        let (system, assigned, commits) = (system.to_owned(), Shared::default(), AtomicU64::new(0));
        Ok(Arc::new(Sight { system, meters: Meters::new(&registry)?, registry, lanes, board, assigned, commits, lag }))
    }

    /// The log, measured.
    pub(crate) fn log(self: &Arc<Self>, log: Arc<dyn Log>) -> Arc<dyn Log> {
        Arc::new(log::MeteredLog::new(log, self.clone()))
    }

    /// The origin of a source, measured.
    pub(crate) fn origin(&self, source: &str, origin: Arc<dyn Origin>) -> Arc<dyn Origin> {
        let active = self.meters.client_active.with_label_values(&[source, "GET"]);
        Arc::new(origin::MeteredOrigin::new(origin, source, &self.meters.client, active))
    }

    /// The store, measured.
    pub(crate) fn store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let adopted = self.meters.adopted.with_label_values::<&str>(&[]);
        let lamp = self.board.lamp(Part::Store, "files cannot be written");
        Arc::new(store::MeteredStore::new(store, &self.meters.store, adopted, lamp))
    }

    /// A table of a source, measured; `kind` is `attachments`, `failed` or `events`.
    pub(crate) fn table(&self, source: &str, kind: &str, table: Arc<dyn Versioned>) -> Arc<dyn Table> {
        let meters = &self.meters;
        let labels = [source, kind];
        Arc::new(table::MeteredTable {
            inner: table,
            labels: labels.map(str::to_owned),
            seconds: meters.table_commit.clone(),
            fine: meters.table_commit.with_label_values(&[source, kind, ""]),
            rows: meters.table_rows.with_label_values(&labels),
            known: meters.table_known.with_label_values(&labels),
            version: meters.table_version.clone(),
            lamp: self.board.lamp(Part::Table, &format!("the table {kind} of {source} cannot be written")),
        })
    }

    /// Exports what the stages of a source count.
    pub(crate) fn lane(&self, source: &str, progress: Arc<Progress>) {
        let mut lanes = lock(&self.lanes);
        lanes.retain(|(name, _)| name != source);
        lanes.push((source.to_owned(), progress));
    }

    /// The process counts as stopping once this is cancelled.
    pub(crate) fn stops_with(&self, draining: CancellationToken) {
        self.board.stops_with(draining);
    }

    /// The process waits for this before it does anything; `None` once it has begun.
    pub(crate) fn waits_for(&self, what: Option<&'static str>) {
        self.board.set_starting(what);
    }

    /// Takes in how long a request to this process took. All three come from closed lists.
    pub(crate) fn served(&self, method: &str, route: &str, status: &str, took: Duration) {
        self.meters.server.with_label_values(&[method, route, status]).observe(took.as_secs_f64());
    }

    /// All metrics, in Prometheus' text exposition format.
    pub(crate) fn render(&self) -> String {
        let encoded = TextEncoder::new().encode_to_string(&self.registry.gather());
        encoded.unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics cannot be written out: please report it");
            String::new()
        })
    }

    /// Why the process is not ready; nothing where it is.
    pub(crate) fn unready(&self) -> Vec<Unready> {
        self.board.reasons()
    }

    /// A position was moved.
    fn completes(&self) {
        self.commits.fetch_add(1, Relaxed);
    }

    /// A number that grows whenever anything is completed.
    fn completed(&self) -> u64 {
        let lanes = lock(&self.lanes);
        let stages = lanes.iter().map(|(_, progress)| lanes::completed(progress)).fold(0, u64::wrapping_add);
        stages.wrapping_add(self.commits.load(Relaxed))
    }
}

fn register_ready(registry: &Registry, board: Board) -> Result<()> {
    let ready = move |_: &names::Metric| vec![(Vec::new(), if board.reasons().is_empty() { 1.0 } else { 0.0 })];
    observed::register(registry, &[names::READY], Box::new(ready))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
