//! From typed values to what the service runs on: what the values mean, alone and together.
//!
//! Each check notes what is wrong and goes on, so that the user hears everything at once.

mod call;
mod http;
mod mapping;
mod place;
mod policy;
mod source;
mod topics;

use std::time::Duration;

use longshore_origin::Timeouts;
use longshore_stages::download::{Limits, TRANSFER_BYTES};
use longshore_stages::record::Gather;

use super::problem::{Findings, Problem};
use super::typed::Section;
use super::{ConfigErrors, Loaded, Purpose};
use crate::pipeline::Plan;
use crate::place::Place;

pub(crate) use call::Enriching;
pub use http::Http;

/// Offsets in a partition's window, with the embedded log, which has one partition, and with Kafka, which has many.
const WINDOW: usize = 4_096;
const WINDOW_ON_KAFKA: usize = 1_024;
/// Bodies that are complete and wait for their sync, for each source.
const PUBLISHING: usize = 1_024;
/// The most bytes of results, or of dead letters, in one commit, about.
const COMMIT_BYTES: usize = 4 << 20;
/// The most bytes of events in one commit, about: their rows have many columns and take six times as much in memory.
const COMMIT_EVENT_BYTES: usize = 1 << 20;

/// A configuration that is right, as the service uses it: checked and typed, with nothing left to parse.
pub struct Ready {
    pub(crate) plan: Plan,
    /// The service's own HTTP server.
    pub http: Http,
    /// What deserves a second look, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Makes a configuration ready, or says everything that is wrong with it.
pub(crate) fn ready(loaded: Loaded, purpose: Purpose) -> Result<Ready, ConfigErrors> {
    let Loaded { file, top, mut found, around } = loaded;
    let mut limits = limits(&top, &mut found);
    let timeouts = timeouts(&top, &mut found);
    let http = http::read(&top, &mut found);
    let places = place::read(&top, &around.directory, &mut found);
    let mut sources = source::read(&top, purpose, &limits, timeouts, &mut found);
    topics::check(&sources, &mut found);
    if !found.has_errors() {
        topics::route(&mut sources, &mut found);
    }
    let warnings = found.finish(&file)?;
    let (Some(http), Some(places)) = (http, places) else {
        // Nothing is missing without an error; said as one if it ever is.
        let missing = Problem { at: super::At::START, key: String::new(), message: "is not complete".to_owned() };
        return Err(ConfigErrors { file, errors: vec![missing], warnings });
    };
    if places.log.directory().is_none() {
        limits.window = WINDOW_ON_KAFKA;
    }
    let (lanes, setups) = sources.into_iter().filter_map(source::Drafted::complete).unzip();
    let record = top.section("record");
    let gather = |freshness, max_bytes| Gather {
        freshness: record.map(|r| r.time(freshness)).unwrap_or_default(),
        max_rows: record.map_or(1, |r| r.count("max_rows")),
        max_bytes,
    };
    let place = Place { root: file.into(), files: places.files, tables: places.tables, log: places.log, lanes };
    let sync = top.text("store_sync").is_none_or(|spot| spot.text != "off");
    let (gather, gather_events) = (gather("freshness", COMMIT_BYTES), gather("events_freshness", COMMIT_EVENT_BYTES));
    let plan = Plan { place, setups, limits, gather, gather_events, sync };
    Ok(Ready { plan, http, warnings })
}

fn limits(top: &Section, found: &mut Findings) -> Limits {
    let count = |name| top.section("download").map_or(1, |section| section.count(name));
    let memory = top.section("download").and_then(|section| section.number("memory")).unwrap_or_default();
    let limits = Limits {
        max_in_flight: count("max_in_flight"),
        per_host: count("per_host"),
        memory,
        window: WINDOW,
        publishing: PUBLISHING,
        grace: top.time("shutdown_grace"),
        stuck: longshore_stages::download::STUCK,
    };
    let needed = limits.max_in_flight as u64 * TRANSFER_BYTES;
    if let Some(download) = top.section("download")
        && download.number("memory").is_some()
        && needed > memory
    {
        let (kib, have, room) = (needed.div_ceil(1024), memory / 1024, memory / TRANSFER_BYTES);
        let message = format!(
            "{} downloads at once need {kib} KiB and download.memory allows {have}; write memory: {kib}KiB, or max_in_flight: {room}",
            limits.max_in_flight
        );
        let written = if matches!(download.at("memory"), super::At::Default) { "max_in_flight" } else { "memory" };
        found.error(download.at(written), download.path_of(written), message);
    }
    limits
}

fn timeouts(top: &Section, found: &mut Findings) -> Timeouts {
    let Some(section) = top.section("download").and_then(|download| download.section("timeouts")) else {
        return Timeouts::default();
    };
    let time = |name| section.time(name);
    let timeouts =
        Timeouts { connect: time("connect"), first_byte: time("first_byte"), idle: time("idle"), total: time("total") };
    for name in ["connect", "first_byte", "idle"] {
        if section.item(name).is_some() && section.item("total").is_some() && time(name) > timeouts.total {
            let total = longshore_stages::topics::spell_delay(timeouts.total);
            let message =
                format!("is longer than the whole attempt may take ({total}) and never decides; raise total or lower it");
            found.warn(section.at(name), section.path_of(name), message);
        }
    }
    timeouts
}

/// Delays in rising order, or an error at the first that is not.
fn rising(section: &Section, name: &str, found: &mut Findings) -> Vec<Duration> {
    let delays = section.numbers(name).unwrap_or_default();
    for (n, pair) in delays.windows(2).enumerate() {
        if pair[0].1 >= pair[1].1 {
            let spell = super::keys::spell_ms;
            let message = format!(
                "{} comes after {}, and each delay must be longer than the one before it; sort them, without repeats",
                spell(pair[1].1),
                spell(pair[0].1)
            );
            found.error(&pair[1].0, format!("{}[{}]", section.path_of(name), n + 1), message);
        }
    }
    delays.iter().map(|(_, ms)| Duration::from_millis(*ms)).collect()
}

#[cfg(test)]
#[path = "ready_tests.rs"]
mod tests;
