//! Where one run of a benchmark takes place: a directory with a configuration, a source of its own, its topics.
//!
//! *Owns*: the configuration, names that nobody else has, the topics, where files and tables go. *Does not own*: processes.
//!
//! ```text
//! OUT/work/SOURCE/longshore.yaml, *.log        STORE/SOURCE/… files        TABLES/SOURCE/… tables
//! ```

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_stages::topics::Topics;

use crate::failure::Failure;
use crate::process::{Binary, finished};

/// What the names of consumer groups begin with.
pub const GROUP_PREFIX: &str = "bench";
/// The delays of retries: nothing should need any.
pub const RETRY: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(5)];
/// Memory of one download, as the configuration counts it.
const OF_A_DOWNLOAD: u64 = 192 << 10;
/// The least memory for downloads that is configured.
const LEAST_MEMORY: u64 = 48 << 20;

/// Where everything of a run goes.
#[derive(Debug, Clone)]
pub struct Places {
    /// Configurations and logs.
    pub work: PathBuf,
    /// Files.
    pub store: PathBuf,
    /// Tables.
    pub tables: PathBuf,
    /// The log between the stages.
    pub log: LogAt,
}

/// The log between the stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAt {
    /// These brokers.
    Kafka(String),
    /// A file in the run's directory.
    Embedded,
}

/// What a run wants of its world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The source's name.
    pub source: String,
    /// Partitions of the topics of events and tasks.
    pub partitions: u32,
    /// Downloads in flight in each process.
    pub in_flight: u32,
}

/// The world of one run.
#[derive(Debug, Clone)]
pub struct World {
    /// The directory with the configuration.
    pub directory: PathBuf,
    /// Where files go.
    pub files: PathBuf,
    /// Where tables go.
    pub tables: PathBuf,
    /// The log.
    pub log: LogAt,
    /// The source's topics and groups.
    pub topics: Topics,
}

impl World {
    /// Makes the directory, the configuration and, on Kafka, the topics.
    ///
    /// # Errors
    /// When a directory cannot be made, or the topics not be created.
    pub async fn make(places: &Places, wanted: &Wanted, binary: &Binary) -> Result<Self, Failure> {
        let world = World {
            directory: places.work.join(&wanted.source),
            files: places.store.join(&wanted.source),
            tables: places.tables.join(&wanted.source),
            log: places.log.clone(),
            topics: Topics::of(&wanted.source),
        };
        let failed = || Failure::io(format!("cannot make {}", world.directory.display()));
        std::fs::create_dir_all(&world.directory).map_err(failed())?;
        std::fs::write(world.configuration(), world.yaml(wanted)).map_err(failed())?;
        if let LogAt::Kafka(_) = &world.log {
            world.create_topics(wanted.partitions, binary).await?;
        }
        Ok(world)
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        self.topics.source()
    }

    /// The configuration's file.
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("longshore.yaml")
    }

    /// The directory of one of the source's tables: `attachments`, `attachments_failed`, `events`.
    pub fn table(&self, name: &str) -> PathBuf {
        self.tables.join(format!("{}_{name}", self.source()))
    }

    /// The directory of the embedded log.
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }

    async fn create_topics(&self, partitions: u32, binary: &Binary) -> Result<(), Failure> {
        let partitions = partitions.to_string();
        let mut args: Vec<OsString> = ["topics", "create", "--json", "--partitions", &partitions, "-c"].map(Into::into).into();
        args.push(self.configuration().into());
        finished(binary.tested(&args), "longshore topics create").await.map(drop)
    }

    fn yaml(&self, wanted: &Wanted) -> String {
        let in_flight = wanted.in_flight;
        let memory = (u64::from(in_flight) * OF_A_DOWNLOAD).max(LEAST_MEMORY);
        let retry = RETRY.iter().fold(String::new(), |mut all, delay| {
            let _ = write!(all, "{}{}s", if all.is_empty() { "" } else { ", " }, delay.as_secs());
            all
        });
        let log = match &self.log {
            LogAt::Kafka(brokers) => format!("kafka://{brokers}"),
            LogAt::Embedded => format!("sqlite:{}", self.log_directory().join("log.db").display()),
        };
        let kafka = match &self.log {
            LogAt::Kafka(_) => format!("kafka: {{group_prefix: {GROUP_PREFIX}}}\n"),
            LogAt::Embedded => String::new(),
        };
        format!(
            "log: {log}
{kafka}store: {files}
tables: {tables}
shutdown_grace: 10s
download: {{max_in_flight: {in_flight}, per_host: {in_flight}, memory: {memory}}}
sources:
  - name: {source}
    preset: xact
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    retry: [{retry}]
",
            files = quoted(&self.files),
            tables = quoted(&self.tables),
            source = self.source(),
        )
    }
}

/// A path as a YAML text.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}
