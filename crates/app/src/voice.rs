//! What a process says on standard error: plain lines for people, or one JSON object a line for programs.
//!
//! *Owns*: the form of every line, and which levels are told unless the environment says otherwise. *Does not own*: what is
//! said. In JSON the fields of an event stand beside `timestamp`, `level`, `target` and `message`.
//! Promises: 9 (nothing is said that its caller has not made fit for saying).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::TRACING_VARIABLE;

/// What is told of the crates that are ours.
const OURS: [&str; 5] = ["longshore", "longshore_stages", "longshore_log", "longshore_lake", "longshore_origin"];

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// How much is said beside warnings and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// What starts, stops and was done.
    Normal,
    /// Nothing.
    Quiet,
}

/// Says lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    format: LogFormat,
    loudness: Loudness,
}

impl Voice {
    /// In this form.
    pub fn new(format: LogFormat, loudness: Loudness) -> Self {
        Voice { format, loudness }
    }

    /// For people.
    pub fn plain() -> Self {
        Voice::new(LogFormat::Text, Loudness::Normal)
    }

    /// Says what starts, stops or was done.
    pub fn say(&self, line: &str) {
        match (self.loudness, self.format) {
            (Loudness::Quiet, _) => {}
            (Loudness::Normal, LogFormat::Text) => eprintln!("{line}"),
            (Loudness::Normal, LogFormat::Json) => tracing::info!(target: "longshore", "{}", line.trim()),
        }
    }

    /// Warns.
    pub fn warn(&self, line: &str) {
        match self.format {
            LogFormat::Text => eprintln!("warning: {line}"),
            LogFormat::Json => tracing::warn!(target: "longshore", "{line}"),
        }
    }

    /// Says why the process ends.
    pub fn fail(&self, why: &str) {
        match self.format {
            LogFormat::Text => eprintln!("error: {why}"),
            LogFormat::Json => tracing::error!(target: "longshore", "{why}"),
        }
    }

    /// Lets everything in this process be told in this form from now on, as far as the environment wants it. To be called
    /// once, before anything is said.
    pub fn start(&self) {
        let level = match (self.format, self.loudness) {
            (LogFormat::Json, Loudness::Normal) => "info",
            (LogFormat::Text, _) | (LogFormat::Json, Loudness::Quiet) => "warn",
        };
        let ours = OURS.map(|name| format!(",{name}={level}")).concat();
        let filter = EnvFilter::try_from_env(TRACING_VARIABLE).unwrap_or_else(|_| EnvFilter::new(format!("error{ours}")));
        let told = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let told = told.with_ansi(std::io::stderr().is_terminal());
        match self.format {
            LogFormat::Text => told.init(),
            LogFormat::Json => {
                told.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
                std::panic::set_hook(Box::new(|panic| tracing::error!(target: "longshore", "{panic}")));
            }
        }
    }
}
