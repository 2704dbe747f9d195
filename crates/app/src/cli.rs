//! What the user types.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::settings::{parse_duration, parse_size};
use crate::voice::Voice;

/// Turns events that carry attachment URLs into files and one exact inventory.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// How this command says things on standard error.
    pub fn voice(&self) -> Voice {
        match &self.command {
            Command::Run(args) => args.voice(),
            _ => Voice::plain(),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download the files of a list of URLs into a directory with an exact inventory
    Fetch(Box<FetchArgs>),
    /// Run the whole chain against a local server with good, failing, slow and hostile files
    Demo(DemoArgs),
    /// Run the service: events in, files and an exact inventory out
    Run(crate::run::RunArgs),
    /// Append events to a source of the service, running or not
    Send(crate::send::SendArgs),
    /// Show where every stage of a directory stands
    Status(StatusArgs),
    /// Show how far every stage is behind, in messages and in seconds
    Lag(LagArgs),
    /// Look at the rows of the inventory
    Inventory(InventoryArgs),
    /// Prove that nothing is lost and nothing is counted twice
    Reconcile(ReconcileArgs),
    /// Explain the policy's verdict on a URL, without contacting anybody
    CheckUrl(crate::check_url::CheckUrlArgs),
    /// Show the tasks that an event would become, without contacting anybody
    Map(crate::map::MapArgs),
    /// Follow one event or attachment through every stage
    Trace(crate::trace::TraceArgs),
    /// Look at the dead letters, and replay them
    Dlq(crate::dlq::args::DlqArgs),
    /// Make and check the topics that a service needs on Kafka
    Topics(crate::topics::TopicsArgs),
    /// Measure what this machine, or brokers and stores of yours, make of Longshore
    Bench(Box<crate::bench::BenchArgs>),
    /// Write, check and explain the configuration of a service
    Config(ConfigArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// Which directory or service a command looks at.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// The directory that `fetch --to` wrote [default: what ./longshore.yaml names, if there is one, else ./lake]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub to: Option<PathBuf>,
    /// The configuration of the service
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only this source, where there are several
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What may be fetched, and where it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Policy")]
pub struct PolicyArgs {
    /// Allow this host only (repeatable); `*.example.com` stands for its subdomains [default: any public host]
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Allow this private network, for example 10.0.0.0/8 (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub allow_private: Vec<String>,
    /// Allow http as well as https
    #[arg(long)]
    pub allow_http: bool,
    /// Allow these file types only, for example pdf,jpg [default: the preset's list; any, where it has none]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub file_types: Vec<String>,
    /// The largest file, for example 500MB or 2GiB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_size: Option<u64>,
    /// The object path, from {host} {path} {name} {ext} {media_id} {trace_id} {event_date} {filename}
    /// [default: the preset's, mostly {host}/{path}]
    #[arg(long, value_name = "TEMPLATE")]
    pub path: Option<String>,
}

/// `longshore fetch`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore fetch urls.txt --to ./lake\n  longshore fetch events.ndjson.gz more.csv --url-col link --to ./lake\n  \
                        cat urls.txt | longshore fetch - --to ./lake\n  longshore fetch urls.txt --dry-run\n  \
                        longshore fetch --to ./lake --retry-failed\n  longshore fetch events.ndjson --preset xact --to ./lake\n  \
                        longshore fetch orders.ndjson --map 'attachments=files[].href' --map event_id=id --to ./lake\n\nExit codes: 0 all stored; 1 failed; 2 wrong usage; 3 finished, but some attachments failed."
)]
pub struct FetchArgs {
    /// Lists of URLs: NDJSON, CSV, TSV or plain, also gzipped; `-` is standard input. Without any, an interrupted run goes on
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// The directory for files, tables and state
    #[arg(long, value_name = "DIR", default_value = "./lake")]
    pub to: PathBuf,
    /// The column (name, or number from 1) or JSON field that holds the URL
    #[arg(long, value_name = "COLUMN")]
    pub url_col: Option<String>,
    /// How events are read, what is tried again, and when to give up.
    #[command(flatten)]
    pub run: crate::fetch::args::RunArgs,
    /// Policy flags.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// A request header `Name: value` (repeatable); not forwarded to other hosts on a redirect
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// Downloads at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_in_flight: u32,
    /// Memory for downloads under way; each takes 192 KiB or up to four times that, as there is room, whatever the size of its file
    #[arg(long, value_name = "SIZE", default_value = "48MiB", value_parser = parse_size)]
    pub memory: u64,
    /// Downloads at once from one host
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub per_host: u32,
    /// Delays of the retries; an attempt more than there are delays is the last. `none` for no retry
    #[arg(long, value_name = "DELAYS", default_value = "1s,5s,30s")]
    pub retry: String,
    /// The longest wait for a host that answers with Retry-After
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub max_wait: Duration,
    /// Longest wait for a connection
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub timeout_connect: Duration,
    /// Longest wait for the first byte of an answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub timeout_first_byte: Duration,
    /// Longest wait for the next byte
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub timeout_idle: Duration,
    /// Longest time for one attempt
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    pub timeout_total: Duration,
    /// Do not sync files to disk: faster, and a power cut may lose or cut files (for throwaway data)
    #[arg(long)]
    pub no_sync: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `longshore demo`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  longshore demo --to ./demo\n\nExit codes: 0 every outcome was as predicted; 1 not.")]
pub struct DemoArgs {
    /// Where to keep what it makes [default: a new directory under the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `longshore status`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  longshore status --to ./lake --watch")]
pub struct StatusArgs {
    /// The directory.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Repeat every second until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// `longshore lag`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore lag -c longshore.yaml --watch\n  longshore lag --to ./lake --source urls --json")]
pub struct LagArgs {
    /// The directory.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Repeat every second until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// `longshore inventory`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore inventory --to ./lake --where 'file_type=PDF' --where 'bytes_downloaded>1000000'\n  \
                        longshore inventory --to ./lake --table failed --json"
)]
pub struct InventoryArgs {
    /// The directory.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which table: attachments, failed or events
    #[arg(long, value_name = "TABLE", default_value = "attachments")]
    pub table: String,
    /// A condition COLUMN OP VALUE with = != < <= > >= or ~ (contains); repeat it for more, all must hold
    #[arg(long = "where", value_name = "CONDITION")]
    pub conditions: Vec<String>,
    /// Columns to show, separated by commas [default: the most telling ones; all with --json]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// The most rows to show; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Print the number of rows only
    #[arg(long)]
    pub count: bool,
}

/// `longshore reconcile`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  longshore reconcile --to ./lake --objects --deep\n\nExit codes: 0 nothing is wrong; 1 failed; 3 faults were found."
)]
pub struct ReconcileArgs {
    /// The directory.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Look at events of this day and later only, for example 2026-11-23
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// Check that each row's object exists with the row's size, and name objects without a row
    #[arg(long)]
    pub objects: bool,
    /// Read each object and compare its SHA-256 too
    #[arg(long)]
    pub deep: bool,
}

/// `longshore config`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore config init --preset xact\n  longshore config check -c longshore.yaml\n\n\
                        Exit codes: 0 done; 1 failed; 2 wrong usage; 78 wrong configuration.")]
pub struct ConfigArgs {
    /// What to do with the configuration.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigFileArgs {
    /// The configuration
    #[arg(long, short, value_name = "FILE", default_value = crate::config::DEFAULT_FILE)]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The commands of `longshore config`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Write a first configuration, with every key explained
    #[command(after_help = "Example:\n  longshore config init longshore.yaml --preset xact")]
    Init {
        /// The file to write
        #[arg(default_value = crate::config::DEFAULT_FILE)]
        file: PathBuf,
        /// How the events of its first source are read
        #[arg(long, value_name = "PRESET", default_value = "xact", value_parser = crate::config::keys::PRESETS.to_vec())]
        preset: String,
        /// Write over a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Say everything that is wrong with a configuration, with places and remedies
    #[command(after_help = "Example:\n  longshore config check -c longshore.yaml\n\nExit codes: 0 right; 78 wrong.")]
    Check(ConfigFileArgs),
    /// Show what a configuration amounts to and where each value is from, with secrets hidden
    #[command(after_help = "Example:\n  longshore config show -c longshore.yaml --json")]
    Show(ConfigFileArgs),
    /// Print the JSON Schema of configurations, for editors
    #[command(after_help = "Example:\n  longshore config schema > longshore.schema.json")]
    Schema,
}

/// `longshore completions`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  longshore completions bash > ~/.local/share/bash-completion/completions/longshore")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
