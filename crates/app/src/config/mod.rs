//! The configuration of a service: one YAML file, its twins in the environment, and what is made of them.
//!
//! *Owns*: everything between what the user wrote and a [`Ready`] that the service runs on. Nothing after it parses or
//! defaults again.
//! *Does not own*: flags (they win, in the commands), and what the parts do with their settings.
//!
//! ```text
//! file ──▶ yaml ─▶ nodes ─▶ check ─▶ typed values ─▶ ready ─▶ Plan, HTTP settings, warnings
//!                    ▲        ▲ keys: the one table; unknown and missing keys, kinds, defaults
//! LONGSHORE_… ───────┘        └ references: ${env:…}, ${file:…}
//! ```
//! Everything that is wrong is found in one go and named with its place; a secret is in no message.
//! Promises: 9, 10.

mod check;
pub mod command;
mod environment;
mod init;
pub mod keys;
mod node;
mod problem;
mod ready;
mod reference;
pub mod reference_table;
mod scalar;
mod schema;
mod show;
mod suggest;
mod typed;
mod yaml;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

pub use problem::{At, ConfigErrors, Problem};
pub(crate) use ready::Enriching;
pub use ready::{Http, Ready};
pub use reference::Surroundings;

use check::Check;
use problem::Findings;
use typed::Section;

/// The file that commands read unless another is named.
pub const DEFAULT_FILE: &str = "longshore.yaml";

/// What a configuration is read for: some keys are needed by some commands only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run the service, or to see whether it would: everything must be there.
    Run,
    /// To look at its state, or to send events.
    Look,
}

/// A configuration that has been read, with its keys and values checked one by one.
pub(crate) struct Loaded {
    /// The file as the user named it.
    pub(crate) file: String,
    pub(crate) top: Section,
    pub(crate) found: Findings,
    pub(crate) around: Surroundings,
}

impl Surroundings {
    /// Those of this process for a configuration at this path. Variables that are not UTF-8 count as not set.
    pub fn of_process(file: &Path) -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Surroundings { variables: variables.collect(), ..Self::beside(file) }
    }

    /// None but the file's directory.
    pub fn beside(file: &Path) -> Self {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Surroundings { variables: BTreeMap::new(), directory }
    }
}

/// Reads a configuration with the environment of this process. All errors come at once.
pub fn load(file: &Path, purpose: Purpose) -> Result<Ready, ConfigErrors> {
    load_with(file, purpose, Surroundings::of_process(file))
}

/// The same with an environment of the caller's choice.
pub fn load_with(file: &Path, purpose: Purpose, around: Surroundings) -> Result<Ready, ConfigErrors> {
    ready::ready(read(file, around)?, purpose)
}

/// Reads a file and checks its keys and values.
pub(crate) fn read(file: &Path, around: Surroundings) -> Result<Loaded, ConfigErrors> {
    let name = file.display().to_string();
    let refuse = |errors| ConfigErrors { file: name.clone(), errors, warnings: Vec::new() };
    let text = read_text(file).map_err(|message| refuse(vec![Problem { at: At::START, key: String::new(), message }]))?;
    let (mut node, twice) = yaml::read(&text).map_err(|problem| refuse(vec![problem]))?;
    let mut found = Findings::default();
    twice.iter().for_each(|problem| found.error(&problem.at, &problem.key, &problem.message));
    environment::overlay(&mut node, &around.variables, &mut found);
    let top = Check { around: &around, found: &mut found }.top(&node);
    Ok(Loaded { file: name, top, found, around })
}

fn read_text(file: &Path) -> Result<String, String> {
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("there is no such file; make one with 'longshore config init {}', or name yours with -c FILE", file.display())
        }
        std::io::ErrorKind::InvalidData => "is not UTF-8; save it as UTF-8 text".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(wrong)?;
    opened.take(yaml::MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() as u64 > yaml::MAX_FILE_BYTES {
        return Err(format!("is larger than {} KiB; is it the right file?", yaml::MAX_FILE_BYTES >> 10));
    }
    Ok(text)
}
