//! Where the log, the files and the tables are. This version knows the embedded log and local directories.

use std::path::{Path, PathBuf};

use crate::config::problem::{At, Findings};
use crate::config::typed::{Section, Spot};

/// What the embedded log's file is called.
const LOG_FILE: &str = "log.db";
/// What locations elsewhere begin with.
const ELSEWHERE: [&str; 9] = ["s3:", "s3a:", "gs:", "gcs:", "az:", "azure:", "abfs:", "abfss:", "http"];

/// The directories, absolute.
pub(super) struct Places {
    pub(super) files: PathBuf,
    pub(super) tables: PathBuf,
    pub(super) state: PathBuf,
}

pub(super) fn read(top: &Section, base: &Path, found: &mut Findings) -> Option<Places> {
    let log = top.text("log")?;
    let state = found.keep(&log.at, "log", state_directory(log, base));
    if top.section("kafka").is_some_and(|section| !section.items.is_empty()) && !log.text.starts_with("kafka:") {
        let message = "has no effect, since log is the embedded one; remove the section, or name the brokers as log: kafka://…";
        found.error(top.at("kafka"), "kafka", message);
    }
    let mut local = |name: &str| {
        let spot = top.text(name)?;
        found.keep(&spot.at, name, directory(spot, base))
    };
    let (files, tables) = (local("store"), local("tables"));
    let (state, files, tables) = (state?, files?, tables?);
    let places = [("store", &files), ("tables", &tables), ("log", &state)];
    for (outer, theirs) in places {
        let inside: Vec<&str> =
            places.iter().filter(|(name, own)| *name != outer && own.starts_with(theirs)).map(|p| p.0).collect();
        // Of equal directories the later one is told.
        if !inside.is_empty() && places.iter().all(|(name, own)| *own != theirs || *name <= outer) {
            let key = if *top.at(outer) == At::Default { inside[0] } else { outer };
            let message = format!(
                "the directory of {outer} holds that of {} as well, and they would be taken for each other's content; choose directories beside each other",
                inside.join(" and ")
            );
            found.error(top.at(key), key, message);
        }
    }
    Some(Places { files, tables, state })
}

fn state_directory(log: &Spot, base: &Path) -> Result<PathBuf, String> {
    let text = log.text.trim();
    if text.starts_with("kafka:") {
        return Err("this version has the embedded log only; write sqlite:./lake/.longshore/log.db".to_owned());
    }
    let Some(path) = text.strip_prefix("sqlite:") else {
        let level = ["off", "error", "warn", "info", "debug", "trace"].iter().any(|level| text.starts_with(level));
        let hint = if level {
            format!("; how much is said on standard error is set by {}", crate::TRACING_VARIABLE)
        } else {
            String::new()
        };
        return Err(format!("'{}' is not a log; write for example sqlite:./lake/.longshore/log.db{hint}", log.shown));
    };
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    match (path.file_name(), path.parent()) {
        (Some(name), Some(parent)) if name == LOG_FILE => Ok(absolute(base, parent)),
        _ => Err(format!("the embedded log's file is called {LOG_FILE}; write sqlite:DIRECTORY/{LOG_FILE}")),
    }
}

fn directory(spot: &Spot, base: &Path) -> Result<PathBuf, String> {
    let text = spot.text.trim();
    if text.contains("://") || ELSEWHERE.iter().any(|scheme| text.starts_with(scheme) && text.contains(":/")) {
        return Err("this version stores in local directories only; write a path like ./lake/files".to_owned());
    }
    Ok(absolute(base, Path::new(text)))
}

/// The path from the configuration's directory, without `.` and with `..` taken back.
fn absolute(base: &Path, path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                whole.pop();
            }
            std::path::Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole
}
