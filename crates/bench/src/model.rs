//! What a run of the suite found out: the JSON report, from which everything else is derived.
//!
//! *Owns*: the names of the fields and their units; [`SCHEMA`] changes when a reader of an older report would misread a
//! newer one. *Does not own*: how anything is measured, judged or shown.
//!
//! Times are seconds, sizes bytes, rates per second, CPU shares of one core (1.0 is one core busy), unless a name says
//! otherwise. Raw figures are kept: a verdict can be made again from the file alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the report's form.
pub const SCHEMA: u32 = 1;

/// A whole run of the suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`] of whoever wrote it.
    pub schema: u32,
    /// Which benchmarks, and how large.
    pub tier: Tier,
    /// The exact command, word by word.
    pub command: Vec<String>,
    /// When it began and, unless it was killed, ended; RFC 3339, UTC.
    pub started_at: String,
    /// See `started_at`.
    pub finished_at: Option<String>,
    /// Whether every benchmark that was asked for ran to its end.
    pub complete: bool,
    /// The machine and the versions.
    pub environment: Environment,
    /// What was configured.
    pub settings: Settings,
    /// What was measured, in the order of the suite.
    pub benchmarks: Vec<Benchmark>,
}

/// How much of the suite is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// What fits into two minutes, scaled down.
    Fast,
    /// Everything at full size, but scaling to 20 workers and the soak.
    Full,
    /// Everything.
    Release,
}

/// The machine and the versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's model.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: u32,
    /// Memory of the machine (or of the container, where it has less).
    pub memory_bytes: u64,
    /// The file system of the store and the tables, such as `ext4` or `tmpfs`, and whether it is kept on a disk.
    pub storage: String,
    /// What lies between the parts, such as `loopback`.
    pub network: String,
    /// The operating system and its kernel.
    pub os: String,
    /// Names and versions: `longshore`, `rustc`, `kafka`, `librdkafka`.
    pub versions: BTreeMap<String, String>,
}

/// What was configured, as far as figures depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `kafka` or `embedded`.
    pub log: String,
    /// The brokers, and whether the suite started them.
    pub brokers: Option<String>,
    /// Whether the suite started the broker.
    pub own_broker: bool,
    /// Where files go.
    pub store: String,
    /// Where tables go.
    pub tables: String,
    /// Partitions of the topics of events and tasks.
    pub partitions: u32,
    /// The records' compression.
    pub compression: String,
    /// Further names and values: batch sizes, freshness, downloads in flight.
    pub values: BTreeMap<String, String>,
}

/// One benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// Its name, such as `end_to_end_latency`.
    pub name: String,
    /// What it measures, in a sentence.
    pub description: String,
    /// The chapter of the report.
    pub category: Category,
    /// What the system was given to do.
    pub load: Load,
    /// What must hold.
    pub targets: Vec<Target>,
    /// The processes under test: role and how many, such as `download` 3.
    pub workers: BTreeMap<String, u32>,
    /// How many downloads each of them may have in flight, where that is known.
    #[serde(default)]
    pub in_flight: Option<u32>,
    /// Each run of it.
    pub repeats: Vec<Repeat>,
}

/// The chapters of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// How much, as fast as possible.
    Throughput,
    /// How long from the intended time of sending to the row.
    Latency,
    /// Memory, CPU, connections.
    Resources,
    /// More workers.
    Scaling,
    /// Workers that stop, start and are killed.
    Failure,
    /// For a long time.
    Soak,
}

/// What the system was given to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Events, tasks or results.
    pub messages: u64,
    /// What they are: `events`, `tasks` or `results`.
    pub of: String,
    /// Messages a second by schedule; none is as fast as possible.
    pub rate_per_s: Option<f64>,
    /// Of each file.
    pub file_bytes: Option<u64>,
    /// Before the first byte of each answer of the origin.
    pub origin_delay_s: Option<f64>,
    /// The share of the full size that was taken; 1 is all of it.
    pub scale: f64,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The metric of [`Repeat::metrics`] that it speaks of.
    pub metric: String,
    /// Which side of `value` is good.
    pub good: Good,
    /// The bound, in the metric's unit.
    pub value: f64,
    /// Who asks for it.
    pub from: Asker,
}

/// Which side of a target is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Good {
    /// Higher is better; the target itself is met.
    AtLeast,
    /// Lower is better; the target itself is not met.
    Below,
    /// Lower is better; the target itself is met.
    AtMost,
}

/// Who asks for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asker {
    /// The requirement: it makes the verdict.
    Requirement,
    /// Longshore's own, harder budget: it stands beside the requirement and makes no verdict.
    Budget,
}

/// One run of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// When its measured part began; RFC 3339, UTC.
    pub started_at: String,
    /// How long the warm-up before that took.
    pub warm_up_s: f64,
    /// How long the measured part took.
    pub duration_s: f64,
    /// Figures by name; names end in their unit (`throughput_per_s`, `latency_p95_s`, `rss_peak_bytes`, `cpu_mean`).
    pub metrics: BTreeMap<String, f64>,
    /// The distribution of the time from the intended sending to the row, where it was measured.
    pub latency: Option<Distribution>,
    /// The same for each stage, by its name.
    pub stage_latency: BTreeMap<String, Distribution>,
    /// Each process under test, and those that help: `generator`, `origin`, `broker`, `reader`.
    pub processes: Vec<Process>,
    /// Each second, what there was to see.
    pub samples: Vec<Sample>,
    /// What was done to the system meanwhile, such as `kill download-2`.
    pub marks: Vec<Mark>,
    /// Whether the load came as it was meant to.
    pub generator: Option<Generator>,
    /// Whether everything is there, once.
    pub ledger: Ledger,
    /// Why this run says nothing; empty when it does.
    pub inconclusive: Vec<String>,
    /// What workers did that no load excuses: ended unasked, or not well when asked. Empty when none did.
    #[serde(default)]
    pub broken: Vec<String>,
}

/// A distribution of times, from an HDR histogram.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean_s: f64,
    /// The highest.
    pub max_s: f64,
    /// (share of the values, at most so many seconds), rising; holds at least 0.5, 0.9, 0.95, 0.99 and 0.999.
    pub quantiles: Vec<(f64, f64)>,
}

/// A process of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its name, such as `download-2`.
    pub name: String,
    /// Its role: `ingest`, `download`, `retry`, `record`, `all`, or `generator`, `origin`, `broker`, `reader`.
    pub role: String,
    /// Whether it is under test.
    pub worker: bool,
    /// CPU seconds in the measured part.
    pub cpu_s: f64,
    /// The mean share of a core in the measured part, and that of its busiest second.
    pub cpu_mean: f64,
    /// See `cpu_mean`.
    pub cpu_peak: f64,
    /// Resident memory, the mean of the samples.
    pub rss_mean_bytes: f64,
    /// The most of it (`VmHWM`, or the highest sample where there is none).
    pub rss_peak_bytes: u64,
}

impl Process {
    /// The run that it belongs to, where several were put together: their processes are named `RUN/NAME`.
    pub fn run(&self) -> Option<&str> {
        self.name.split_once('/').map(|(run, _)| run)
    }
}

/// A figure of the workers that ran at the same time: of runs that were put together that of the highest, and of workers that
/// were started again each generation by itself. `workers` has the number of processes of each role.
pub fn together(processes: &[Process], workers: &BTreeMap<String, u32>, figure: impl Fn(&Process) -> f64) -> Option<f64> {
    let mut runs: BTreeMap<Option<&str>, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for process in processes.iter().filter(|process| process.worker) {
        runs.entry(process.run()).or_default().entry(&process.role).or_default().push(figure(process));
    }
    let of_role = |run: Option<&str>, role: &str, figures: &[f64]| {
        let generation =
            workers.get(role).filter(|count| run.is_none() && **count > 0).map_or(figures.len(), |count| *count as usize);
        figures.chunks(generation).map(|chunk| chunk.iter().sum()).fold(0.0, f64::max)
    };
    let sums = runs.iter().map(|(run, roles)| roles.iter().map(|(role, figures)| of_role(*run, role, figures)).sum::<f64>());
    sums.reduce(f64::max)
}

/// One second of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the measured part began; below zero in the warm-up.
    pub at_s: f64,
    /// CPU share of each process in this second, by its name.
    pub cpu: BTreeMap<String, f64>,
    /// Resident memory of each process, by its name.
    pub rss_bytes: BTreeMap<String, u64>,
    /// Messages that were sent so far.
    pub sent: Option<u64>,
    /// Rows that were seen so far.
    pub rows: u64,
    /// Messages behind, by the name of the stage that has to read them.
    pub lag: BTreeMap<String, u64>,
    /// Share of the whole machine that was busy, all cores together.
    pub machine_busy: f64,
}

/// Something that was done to the system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// When, as in [`Sample::at_s`].
    pub at_s: f64,
    /// What.
    pub what: String,
}

/// How the generator kept its schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Messages that the log acknowledged.
    pub sent: u64,
    /// How much later than intended, for 99 of 100 messages, and for the latest; none without a schedule.
    pub late_p99_s: Option<f64>,
    /// See `late_p99_s`.
    pub late_max_s: Option<f64>,
    /// Messages a second that it came to.
    pub rate_per_s: f64,
}

/// Whether everything is there, once: counted by a reader that shares no code with the writer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Different attachments that were given to the system and acknowledged by the log.
    pub produced: u64,
    /// Different rows in `attachments`.
    pub stored: u64,
    /// Different rows in `attachments_failed`.
    pub failed: u64,
    /// Rows beyond the first of an attachment.
    pub doubled: u64,
    /// Attachments in neither table.
    pub missing: u64,
    /// Rows of attachments that nobody asked for.
    pub strange: u64,
    /// Rows or objects whose hash or size is not that of what the origin served.
    pub wrong_hash: u64,
    /// Objects whose bytes were compared with their row.
    pub objects_checked: u64,
    /// Files left over in places that must be empty.
    pub left_over: u64,
}

impl Ledger {
    /// Whether nothing is lost, doubled or wrong.
    pub fn holds(&self) -> bool {
        let faults = self.doubled + self.missing + self.strange + self.wrong_hash + self.left_over;
        faults == 0 && self.produced == self.stored + self.failed
    }
}

impl Distribution {
    /// The time that this share of the values is at most, if the distribution has the share.
    pub fn at(&self, share: f64) -> Option<f64> {
        self.quantiles.iter().find(|(of, _)| (of - share).abs() < 1e-9).map(|(_, seconds)| *seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_ran_together_are_added() {
        let process = |name: &str, role: &str, bytes: u64| Process {
            name: name.to_owned(),
            role: role.to_owned(),
            worker: true,
            cpu_s: 0.0,
            cpu_mean: 0.0,
            cpu_peak: 0.0,
            rss_mean_bytes: 0.0,
            rss_peak_bytes: bytes,
        };
        let sum = |all: &[Process], counts: &[(&str, u32)]| {
            let counts = counts.iter().map(|(role, count)| ((*role).to_owned(), *count)).collect();
            together(all, &counts, |one| one.rss_peak_bytes as f64)
        };
        let once = [process("ingest-1", "ingest", 1), process("download-1", "download", 2), process("download-2", "download", 4)];
        assert_eq!(sum(&once, &[("ingest", 1), ("download", 2)]), Some(7.0));
        assert_eq!(sum(&once, &[("ingest", 1), ("download", 1)]), Some(5.0), "started again, the second has more");
        let joined = [
            process("w1/download-1", "download", 3),
            process("w2/download-1", "download", 2),
            process("w2/download-2", "download", 2),
        ];
        assert_eq!(sum(&joined, &[("download", 2)]), Some(4.0), "one run after the other");
        assert_eq!(sum(&[], &[]), None);
    }
}
