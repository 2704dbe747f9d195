//! Where the log, the files and the tables are. This version stores in local directories.

use std::path::{Path, PathBuf};

use longshore_core::secret::Secret;
use longshore_log::kafka::{GroupProtocol, Settings, check_property, reserved};

use crate::config::problem::{At, Findings};
use crate::config::typed::{Section, Spot};
use crate::place::LogPlace;

/// What the embedded log's file is called.
const LOG_FILE: &str = "log.db";
/// What locations elsewhere begin with.
const ELSEWHERE: [&str; 9] = ["s3:", "s3a:", "gs:", "gcs:", "az:", "azure:", "abfs:", "abfss:", "http"];

/// The directories, absolute.
pub(super) struct Places {
    pub(super) files: PathBuf,
    pub(super) tables: PathBuf,
    pub(super) log: LogPlace,
}

pub(super) fn read(top: &Section, base: &Path, found: &mut Findings) -> Option<Places> {
    let log = top.text("log")?;
    let on_kafka = log.text.trim().starts_with("kafka:");
    let place = match on_kafka {
        true => kafka(top, log, found).map(|settings| LogPlace::Kafka(Box::new(settings))),
        false => found.keep(&log.at, "log", state_directory(log, base)).map(LogPlace::Embedded),
    };
    if top.section("kafka").is_some_and(|section| !section.items.is_empty()) && !on_kafka {
        let message = "has no effect, since log is the embedded one; remove the section, or name the brokers as log: kafka://…";
        found.error(top.at("kafka"), "kafka", message);
    }
    let mut local = |name: &str| {
        let spot = top.text(name)?;
        found.keep(&spot.at, name, directory(spot, base))
    };
    let (files, tables) = (local("store"), local("tables"));
    let (log, files, tables) = (place?, files?, tables?);
    let places = [("store", Some(files.as_path())), ("tables", Some(&tables)), ("log", log.directory())];
    let places: Vec<(&str, &Path)> = places.into_iter().filter_map(|(name, place)| Some((name, place?))).collect();
    for (outer, theirs) in &places {
        let (outer, theirs) = (*outer, *theirs);
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
    Some(Places { files, tables, log })
}

/// The brokers, and how they are spoken to.
fn kafka(top: &Section, log: &Spot, found: &mut Findings) -> Option<Settings> {
    let brokers = found.keep(&log.at, "log", brokers(log))?;
    let mut settings = Settings::new(&brokers);
    let Some(section) = top.section("kafka") else { return Some(settings) };
    if let Some(prefix) = section.text("group_prefix") {
        settings.group_prefix.clone_from(&prefix.text);
        name(section, "group_prefix", prefix, found);
    }
    if section.text("group_protocol").is_some_and(|spot| spot.text == "consumer") {
        settings.protocol = GroupProtocol::Consumer;
    }
    if let Some(instance) = section.text("instance_id") {
        settings.instance_id = Some(instance.text.clone());
        name(section, "instance_id", instance, found);
    }
    for (property, at, value) in section.map("properties") {
        let path = format!("{}.{property}", section.path_of("properties"));
        if let Some(why) = reserved(property) {
            found.error(at, path, format!("{why}; remove it"));
        } else if let Err(wrong) = check_property(property, &value.text) {
            found.error(at, path, wrong);
        }
        settings.properties.push((property.clone(), Secret::new(value.text.clone())));
    }
    Some(settings)
}

fn name(section: &Section, key: &str, spot: &Spot, found: &mut Findings) {
    let plain = spot.text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !plain || spot.text.is_empty() || spot.text.len() > 100 {
        let message = format!("'{}' is not such a name; take letters, digits, '.', '_' and '-', at most 100", spot.shown);
        found.error(&spot.at, section.path_of(key), message);
    }
}

/// `kafka://host:port,host:port` as librdkafka takes it.
fn brokers(log: &Spot) -> Result<String, String> {
    let wrong = || format!("'{}' names no brokers; write for example kafka://broker-1:9092,broker-2:9092", log.shown);
    let list = log.text.trim().strip_prefix("kafka://").ok_or_else(wrong)?;
    let brokers: Vec<&str> = list.trim_end_matches('/').split(',').map(str::trim).collect();
    let right = |broker: &&str| {
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, "9092"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
        !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if brokers.iter().all(right) { Ok(brokers.join(",")) } else { Err(wrong()) }
}

fn state_directory(log: &Spot, base: &Path) -> Result<PathBuf, String> {
    let text = log.text.trim();
    let Some(path) = text.strip_prefix("sqlite:") else {
        let level = ["off", "error", "warn", "info", "debug", "trace"].iter().any(|level| text.starts_with(level));
        let hint = if level {
            format!("; how much is said on standard error is set by {}", crate::TRACING_VARIABLE)
        } else {
            String::new()
        };
        let example = "write for example sqlite:./lake/.longshore/log.db, or kafka://broker-1:9092";
        return Err(format!("'{}' is not a log; {example}{hint}", log.shown));
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
