//! Every metric that is exported: name, kind, unit, labels, meaning. `docs/operations.md` has the same, which a test
//! compares.
//!
//! Names and labels are those of OpenTelemetry's semantic conventions (messaging, HTTP, process) as Prometheus spells them,
//! where there are such; Longshore's own begin with `longshore_`. A label takes few values, known beforehand: sources,
//! stages, topics, partitions, and closed lists. Never a host, a URL, a path or an id.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, Result};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often which size was seen.
    Histogram,
}

impl Kind {
    /// As the exposition has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: &'static str,
    /// Its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn counter(name: &'static str, unit: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels, help }
}

const fn gauge(name: &'static str, unit: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn histogram(name: &'static str, unit: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit, labels, help }
}

const SENT_LABELS: &[&str] = &["messaging_system", "messaging_operation_name", "messaging_destination_name", "error_type"];
const GROUP_LABELS: &[&str] =
    &["messaging_system", "messaging_operation_name", "messaging_destination_name", "messaging_consumer_group_name"];
const OPERATION_LABELS: &[&str] = &[
    "messaging_system",
    "messaging_operation_name",
    "messaging_destination_name",
    "messaging_consumer_group_name",
    "error_type",
];
const STAGE_LABELS: &[&str] = &["source", "stage", "topic", "partition"];

pub(crate) const SENT: Metric = counter(
    "messaging_client_sent_messages_total",
    "messages",
    SENT_LABELS,
    "Messages that were appended to a topic, or failed to be.",
);
pub(crate) const CONSUMED: Metric =
    counter("messaging_client_consumed_messages_total", "messages", GROUP_LABELS, "Messages that a group was given to read.");
pub(crate) const OPERATION: Metric = histogram(
    "messaging_client_operation_duration_seconds",
    "seconds",
    OPERATION_LABELS,
    "How long an append of a batch (send) and a commit of a position (commit) took.",
);
pub(crate) const PROCESS: Metric = histogram(
    "messaging_process_duration_seconds",
    "seconds",
    GROUP_LABELS,
    "From the delivery of a batch to the commit of the position after it; with retry tiers it has their delay in it.",
);

const CLIENT_LABELS: &[&str] = &["source", "http_request_method", "http_response_status_code", "error_type"];

pub(crate) const CLIENT: Metric = histogram(
    "http_client_request_duration_seconds",
    "seconds",
    CLIENT_LABELS,
    "One attempt of a download, from the wait for a connection to the end of the body, redirects included.",
);
pub(crate) const CLIENT_ACTIVE: Metric =
    gauge("http_client_active_requests", "requests", &["source", "http_request_method"], "Attempts of downloads under way.");
pub(crate) const SERVER: Metric = histogram(
    "http_server_request_duration_seconds",
    "seconds",
    &["http_request_method", "http_route", "http_response_status_code"],
    "How long this process took to answer a request.",
);

pub(crate) const EVENTS: Metric =
    counter("longshore_events_total", "events", &["source"], "Events that ingest has decoded or refused.");
pub(crate) const EVENTS_EMPTY: Metric =
    counter("longshore_events_without_attachments_total", "events", &["source"], "Events in which no attachment was found.");
pub(crate) const EVENTS_NULL: Metric = counter(
    "longshore_null_messages_total",
    "messages",
    &["source"],
    "Messages without a value in the input, which nobody looks at.",
);
pub(crate) const TASKS: Metric = counter("longshore_tasks_total", "tasks", &["source"], "Tasks that ingest has made.");
pub(crate) const REPEATS: Metric = counter(
    "longshore_repeated_attachments_total",
    "attachments",
    &["source"],
    "Attachments that came again shortly after; no second task was made.",
);
pub(crate) const ATTACHMENTS: Metric = counter(
    "longshore_attachments_total",
    "attachments",
    &["source", "outcome", "reason"],
    "Attachments that came to an end here, by outcome class and reason; a repeat or a replay ends again.",
);
pub(crate) const DEAD_LETTERS: Metric = counter(
    "longshore_dead_letters_total",
    "letters",
    &["source", "outcome", "reason"],
    "Dead letters written, poison events among them.",
);
pub(crate) const STORED_BYTES: Metric =
    counter("longshore_stored_bytes_total", "bytes", &["source"], "Bytes of the attachments stored.");
pub(crate) const READ_BYTES: Metric =
    counter("longshore_read_bytes_total", "bytes", &["source"], "Bytes of bodies read from origins, kept or not.");
pub(crate) const TYPE_WARNINGS: Metric = counter(
    "longshore_type_warnings_total",
    "attachments",
    &["source"],
    "Attachments stored although their content is not what their name says.",
);
pub(crate) const RETRIES: Metric =
    counter("longshore_retries_total", "attempts", &["source"], "Attempts that failed and went to a retry tier.");
pub(crate) const WAITS: Metric = counter(
    "longshore_waits_total",
    "tasks",
    &["source"],
    "Tasks put into a tier because their host said wait; no attempt is spent.",
);
pub(crate) const MOVES: Metric = counter(
    "longshore_moves_total",
    "tasks",
    &["source"],
    "Tasks moved into a tier because they held up others; no attempt is spent.",
);
pub(crate) const IN_FLIGHT: Metric = gauge("longshore_downloads_in_flight", "downloads", &["source"], "Downloads under way.");
pub(crate) const PARKED: Metric =
    gauge("longshore_tasks_parked", "tasks", &["source"], "Tasks held back because their host said wait or does not answer.");
pub(crate) const PUBLISHING: Metric =
    gauge("longshore_files_publishing", "files", &["source"], "Files that are complete and wait to become durable.");

pub(crate) const STORE: Metric = histogram(
    "longshore_store_operation_duration_seconds",
    "seconds",
    &["operation", "error_type"],
    "How long the store took to begin and to publish an object; for write, failures only.",
);
pub(crate) const ADOPTED: Metric =
    counter("longshore_objects_adopted_total", "objects", &[], "Objects that were there already, with the same bytes.");

const TABLE_LABELS: &[&str] = &["source", "table"];

pub(crate) const ROWS: Metric = counter("longshore_rows_total", "rows", TABLE_LABELS, "Rows added to a table.");
pub(crate) const ROWS_KNOWN: Metric =
    counter("longshore_rows_known_total", "rows", TABLE_LABELS, "Rows that came again; the table had their key.");
pub(crate) const TABLE_COMMIT: Metric = histogram(
    "longshore_table_commit_duration_seconds",
    "seconds",
    &["source", "table", "error_type"],
    "How long it took to look up the keys of a batch and to commit what is new.",
);
pub(crate) const TABLE_ROWS: Metric =
    histogram("longshore_table_commit_rows", "rows", TABLE_LABELS, "Rows of a batch that was committed, known ones among them.");
pub(crate) const TABLE_VERSION: Metric = gauge(
    "longshore_table_version",
    "version",
    TABLE_LABELS,
    "The table's version after the last commit of this process; none before the first.",
);

pub(crate) const LAG: Metric = gauge(
    "longshore_consumer_lag_messages",
    "messages",
    STAGE_LABELS,
    "Messages that a stage is not done with; every process with the stage's role shows all partitions, so take the maximum.",
);
pub(crate) const LAG_SECONDS: Metric = gauge(
    "longshore_consumer_lag_seconds",
    "seconds",
    STAGE_LABELS,
    "How long the first message that a stage is not done with has been in the log; 0 where none waits.",
);
pub(crate) const LAG_SAMPLES: Metric = counter(
    "longshore_lag_samples_total",
    "samples",
    &["result"],
    "How often the lag was looked at (ok), and how often that failed (error) and the last values stand.",
);
pub(crate) const READY: Metric = gauge("longshore_ready", "state", &[], "1 where /health/ready says ready, else 0.");
pub(crate) const BUILD: Metric = gauge("longshore_build_info", "build", &["version"], "Always 1; the version is in the label.");

pub(crate) const CPU: Metric = counter("process_cpu_seconds_total", "seconds", &[], "Processor time spent, user and system.");
pub(crate) const RESIDENT: Metric = gauge("process_resident_memory_bytes", "bytes", &[], "Memory that is resident.");
pub(crate) const VIRTUAL: Metric = gauge("process_virtual_memory_bytes", "bytes", &[], "Address space.");
pub(crate) const OPEN_FDS: Metric = gauge("process_open_fds", "descriptors", &[], "Open file descriptors.");
pub(crate) const MAX_FDS: Metric = gauge("process_max_fds", "descriptors", &[], "The most file descriptors that may be open.");
pub(crate) const STARTED: Metric =
    gauge("process_start_time_seconds", "seconds", &[], "When the process started, since 1970-01-01T00:00:00Z.");

/// All of them, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    SENT,
    CONSUMED,
    OPERATION,
    PROCESS,
    CLIENT,
    CLIENT_ACTIVE,
    SERVER,
    EVENTS,
    EVENTS_EMPTY,
    EVENTS_NULL,
    TASKS,
    REPEATS,
    ATTACHMENTS,
    DEAD_LETTERS,
    STORED_BYTES,
    READ_BYTES,
    TYPE_WARNINGS,
    RETRIES,
    WAITS,
    MOVES,
    IN_FLIGHT,
    PARKED,
    PUBLISHING,
    STORE,
    ADOPTED,
    ROWS,
    ROWS_KNOWN,
    TABLE_COMMIT,
    TABLE_ROWS,
    TABLE_VERSION,
    LAG,
    LAG_SECONDS,
    LAG_SAMPLES,
    READY,
    BUILD,
    CPU,
    RESIDENT,
    VIRTUAL,
    OPEN_FDS,
    MAX_FDS,
    STARTED,
];

/// Bounds of durations in seconds: OpenTelemetry's, and beyond them for what takes minutes.
const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// Bounds of numbers of rows.
const COUNTS: &[f64] = &[1.0, 10.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 100_000.0];

impl Metric {
    /// The help as it is exported: what it says, and the unit.
    pub fn help(&self) -> String {
        format!("{} Unit: {}.", self.help, self.unit)
    }

    pub(super) fn opts(&self) -> Opts {
        Opts::new(self.name, self.help())
    }

    pub(super) fn counters(&self, registry: &Registry) -> Result<IntCounterVec> {
        let made = IntCounterVec::new(self.opts(), self.labels)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn gauges(&self, registry: &Registry) -> Result<IntGaugeVec> {
        let made = IntGaugeVec::new(self.opts(), self.labels)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn histograms(&self, registry: &Registry) -> Result<HistogramVec> {
        let bounds = if self.unit == "seconds" { SECONDS } else { COUNTS };
        let made = HistogramVec::new(HistogramOpts::from(self.opts()).buckets(bounds.to_vec()), self.labels)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }
}
