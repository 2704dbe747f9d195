//! Where a deployment's files, tables and log are, and which sources it has: a batch directory, or what a
//! configuration names.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use longshore_core::inventory::Shape;
use longshore_core::row::TableSpec;
use longshore_core::source::Source;
use longshore_lake::durable::DiskSync;
use longshore_lake::store::LocalStore;
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_log::EmbeddedLog;
use longshore_log::kafka::{self, KafkaLog};
use longshore_stages::ports::LogView;
use longshore_stages::topics::Topics;

use crate::cli::PlaceArgs;
use crate::config::{self, DEFAULT_FILE, Purpose};
use crate::exit;
use crate::settings::Definition;

/// The definitions of a batch directory's sources, below its state directory.
const SOURCES: &str = "sources.json";
/// The directory of a batch unless another is named.
const DEFAULT_DIRECTORY: &str = "./lake";

/// A source with its topics and the columns of its tables.
#[derive(Debug, Clone)]
pub struct Lane {
    /// How its events are read, and what may be fetched.
    pub source: Arc<Source>,
    /// Its topics and groups.
    pub topics: Topics,
    /// Its tables.
    pub shape: Shape,
}

impl Lane {
    /// A source on the topics that bear its name.
    pub fn of(source: Source) -> Self {
        let topics = Topics::of(&source.name);
        Lane { shape: source.shape(), source: Arc::new(source), topics }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.source.name
    }
}

/// Where a log is.
#[derive(Debug, Clone)]
pub enum LogPlace {
    /// The embedded one, in this directory.
    Embedded(PathBuf),
    /// On the brokers that these settings name.
    Kafka(Box<kafka::Settings>),
}

impl LogPlace {
    /// The directory of an embedded log.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            LogPlace::Embedded(directory) => Some(directory),
            LogPlace::Kafka(_) => None,
        }
    }

    /// The one process that writes to it, if any. A log on Kafka has no such one.
    pub fn writer(&self) -> Result<Option<String>> {
        Ok(self.directory().map(longshore_log::writer_of).transpose()?.flatten())
    }

    /// What kind of log it is, as metrics name it.
    pub fn system(&self) -> &'static str {
        match self {
            LogPlace::Embedded(_) => "embedded",
            LogPlace::Kafka(_) => "kafka",
        }
    }

    /// Whether somebody may be working on it.
    pub fn is_at_work(&self) -> Result<bool> {
        Ok(self.directory().is_none() || self.writer()?.is_some())
    }
}

impl std::fmt::Display for LogPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogPlace::Embedded(directory) => write!(f, "{}", directory.display()),
            LogPlace::Kafka(settings) => write!(f, "kafka://{}", settings.brokers),
        }
    }
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory or the configuration file that it was named by.
    pub root: PathBuf,
    /// Where objects are.
    pub files: PathBuf,
    /// Where the tables are.
    pub tables: PathBuf,
    /// Where the log is.
    pub log: LogPlace,
    /// The sources, in the order in which they were defined.
    pub lanes: Vec<Lane>,
}

/// The tables of a source as onlookers see them; a table that has no commit yet is absent.
pub struct Tables {
    /// `{source}_attachments`.
    pub attachments: Option<ExactTable>,
    /// `{source}_attachments_failed`.
    pub failed: Option<ExactTable>,
    /// `{source}_events`.
    pub events: Option<ExactTable>,
}

impl Place {
    /// The layout of a batch in a directory, which need not exist yet.
    pub fn batch(directory: &Path, lanes: Vec<Lane>) -> Result<Self> {
        let root = std::path::absolute(directory).with_context(|| format!("the directory {}", directory.display()))?;
        let (files, tables, state) = (root.join("files"), root.join("tables"), root.join(".longshore"));
        Ok(Place { root, files, tables, log: LogPlace::Embedded(state), lanes })
    }

    /// The place that the flags of a looking command name.
    pub fn named(args: &PlaceArgs) -> Result<Self> {
        let place = match (&args.to, &args.config) {
            (Some(directory), _) => Self::existing(directory)?,
            (None, Some(file)) => Self::configured(file)?,
            (None, None) if Path::new(DEFAULT_FILE).exists() => Self::configured(Path::new(DEFAULT_FILE))?,
            (None, None) => Self::existing(Path::new(DEFAULT_DIRECTORY))?,
        };
        match &args.source {
            Some(name) => place.narrowed(name),
            None => Ok(place),
        }
    }

    /// The batch in this directory, which must hold a run's state.
    pub fn existing(directory: &Path) -> Result<Self> {
        let mut place = Self::batch(directory, Vec::new())?;
        if !place.state().is_dir() {
            bail!(
                "{} holds no Longshore data (no .longshore directory in it): name the directory of a fetch with --to, or a configuration with -c",
                place.root.display()
            );
        }
        place.lanes = place.definitions()?.iter().map(|one| Ok(Lane::of(one.source()?))).collect::<Result<_>>()?;
        Ok(place)
    }

    /// The place of the service with this configuration, which must have run before.
    pub fn configured(file: &Path) -> Result<Self> {
        let place = config::load(file, Purpose::Look).context(exit::Configuration)?.plan.place;
        if let LogPlace::Embedded(directory) = &place.log
            && !directory.is_dir()
        {
            let (log, file) = (directory.display(), file.display());
            bail!("{log}, where {file} has the log, does not exist yet: start the service with longshore run -c {file}");
        }
        Ok(place)
    }

    /// The same place with one of its sources.
    fn narrowed(mut self, name: &str) -> Result<Self> {
        let names = self.names();
        self.lanes.retain(|lane| lane.name() == name);
        if self.lanes.is_empty() {
            let wrong = format!("--source {name}: there is no such source in {}; it has {names}", self.root.display());
            return Err(anyhow::Error::msg(wrong).context(exit::Usage));
        }
        Ok(self)
    }

    /// The source of this name, or the only one.
    pub fn source(&self, name: Option<&str>) -> Result<&Lane> {
        let Some(name) = name else { return self.only() };
        let known = || format!("--source {name}: there is no such source in {}; it has {}", self.root.display(), self.names());
        self.lanes.iter().find(|lane| lane.name() == name).with_context(known)
    }

    /// The only source.
    pub fn only(&self) -> Result<&Lane> {
        match self.lanes.as_slice() {
            [lane] => Ok(lane),
            _ => {
                let several = format!("{} has several sources: name one with --source ({})", self.root.display(), self.names());
                Err(anyhow::Error::msg(several).context(exit::Usage))
            }
        }
    }

    fn names(&self) -> String {
        self.lanes.iter().map(Lane::name).collect::<Vec<_>>().join(", ")
    }

    /// The state directory of a batch.
    pub fn state(&self) -> &Path {
        self.log.directory().unwrap_or(&self.root)
    }

    /// How the sources of this batch directory were defined; the preset `urls` where nothing was written down.
    pub fn definitions(&self) -> Result<Vec<Definition>> {
        let path = self.state().join(SOURCES);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(vec![Definition::default()]),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Writes down how a source of this batch directory is defined, so that others can look at it.
    pub fn define(&self, definition: &Definition) -> Result<()> {
        let path = self.state().join(SOURCES);
        let mut all = if path.exists() { self.definitions()? } else { Vec::new() };
        if all.contains(definition) {
            return Ok(());
        }
        all.retain(|one| one.name != definition.name);
        all.push(definition.clone());
        let temporary = self.state().join(format!("{SOURCES}.new"));
        // Synced before it takes the name, so that a power cut leaves the old or the new one, and never half of it.
        let write = || {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&all)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// The directory of a table.
    pub fn table(&self, spec: &TableSpec) -> PathBuf {
        self.tables.join(&spec.name)
    }

    /// The log as an onlooker sees it.
    pub fn log_view(&self) -> Result<Arc<dyn LogView>> {
        Ok(match &self.log {
            LogPlace::Embedded(directory) => Arc::new(EmbeddedLog::open_read_only(directory)?),
            LogPlace::Kafka(settings) => self.view_of(&KafkaLog::new((**settings).clone())?),
        })
    }

    /// A log on Kafka as an onlooker at these sources' topics sees it.
    pub fn view_of(&self, log: &KafkaLog) -> Arc<dyn LogView> {
        let topics: Vec<Topics> = self.lanes.iter().map(|lane| lane.topics.clone()).collect();
        let readers = move |topic: &str| {
            let mut groups: Vec<String> = topics.iter().flat_map(|topics| topics.consumption(topic)).collect();
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        Arc::new(log.view(Box::new(readers)))
    }

    /// The store as an onlooker sees it.
    pub fn store_view(&self) -> Result<LocalStore> {
        Ok(LocalStore::open_read_only(&self.files)?)
    }

    /// The tables of a source as an onlooker sees them.
    pub async fn open_tables(&self, lane: &Lane) -> Result<Tables> {
        let open = |spec: TableSpec| async move {
            let root = Root::local(self.table(&spec), DiskSync::Off)?;
            anyhow::Ok(ExactTable::open_read_only(root, spec, Options::default()).await?)
        };
        Ok(Tables {
            attachments: open(lane.shape.attachments_table()).await?,
            failed: open(lane.shape.failed_table()).await?,
            events: open(lane.shape.events_table()).await?,
        })
    }
}
