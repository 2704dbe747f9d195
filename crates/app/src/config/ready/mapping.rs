//! How a source's events are read: by a preset, by expressions of the user's own, or both.

use longshore_core::source::{EnrichMapping, MapError, Mapping};

use crate::config::problem::Findings;
use crate::config::suggest::nearest;
use crate::config::typed::{Section, Spot};

/// The fields of an event that `map` may place.
const FIELDS: [&str; 5] = ["trace_id", "event_id", "event_type", "event_time", "attachments"];
/// What the preset `s3-notification` lets the user place.
const S3_FIELDS: [&str; 1] = ["url"];

/// Expressions of the user's own, with the key that holds them.
type Given<'a> = (&'static str, &'a str, &'a Spot);

pub(super) fn mapping(section: &Section, found: &mut Findings) -> Option<Mapping> {
    let preset = section.text("preset").map(|spot| spot.text.as_str());
    if section.lacks("preset") && section.lacks("map") {
        let message = "needs a preset or a map; write preset: xact (or urls, cloudevents, s3-notification), or say in map where the fields are";
        found.error(&section.at, &section.path, message);
        return None;
    }
    let fields = if preset == Some("s3-notification") { &S3_FIELDS[..] } else { &FIELDS[..] };
    if preset.is_none() && !section.lacks("preset") {
        return None;
    }
    known_fields(section, fields, found);
    let given: Vec<Given<'_>> = ["map", "columns"].into_iter().flat_map(|key| entries(section, key)).collect();
    let right = given.iter().filter(|one| check_one(preset, one, section, found)).count();
    if right < given.len() {
        return None;
    }
    has_attachments(section, preset, found);
    let pairs: Vec<(String, String)> = given.iter().map(|(_, name, spot)| ((*name).to_owned(), spot.text.clone())).collect();
    let built = Mapping::new(preset, &pairs).map_err(|error| format!("{}: {}", error.field, error.message));
    found.keep(section.at("columns"), &section.path_of("columns"), built)
}

fn fields_of(preset: Option<&str>) -> &'static [&'static str] {
    if preset == Some("s3-notification") { &S3_FIELDS } else { &FIELDS }
}

fn entries<'a>(section: &'a Section, key: &'static str) -> impl Iterator<Item = Given<'a>> {
    section.map(key).iter().map(move |(name, _, spot)| (key, name.as_str(), spot))
}

/// A field that is misspelled would become a column.
fn known_fields(section: &Section, fields: &[&str], found: &mut Findings) {
    for (name, at, _) in section.map("map").iter().filter(|(name, ..)| !fields.contains(&name.as_str())) {
        let hint = nearest(name, fields.iter().copied()).map_or_else(String::new, |near| format!("did you mean {near}? "));
        let message = format!("is not a field; {hint}known are {}; further columns stand in columns", fields.join(", "));
        found.error(at, format!("{}.{name}", section.path_of("map")), message);
    }
    for (name, at, _) in section.map("columns").iter().filter(|(name, ..)| FIELDS.contains(&name.as_str())) {
        found.error(at, format!("{}.{name}", section.path_of("columns")), "is a field, not a column; move it to map");
    }
}

/// Each expression alone, so that all that are wrong are named.
fn check_one(preset: Option<&str>, (key, name, spot): &Given<'_>, section: &Section, found: &mut Findings) -> bool {
    let misplaced = if *key == "map" { !fields_of(preset).contains(name) } else { FIELDS.contains(name) };
    if misplaced {
        return false;
    }
    let built = Mapping::new(preset, &[((*name).to_owned(), spot.text.clone())]);
    let path = format!("{}.{name}", section.path_of(key));
    let built = built.map_err(|error| {
        let fixed = preset.filter(|preset| matches!(*preset, "xact" | "urls"));
        let hint = fixed.map_or_else(String::new, |_| "; remove it, or read such events by a map without a preset".to_owned());
        format!("{}{hint}", said(error))
    });
    found.keep(&spot.at, &path, built).is_some()
}

/// What is wrong with an expression, and where to read how they are written.
pub(super) fn said(error: MapError) -> String {
    let hint = if error.message.starts_with("the expression") { "; jmespath.org has the syntax of JMESPath" } else { "" };
    format!("{}{hint}", error.message)
}

fn has_attachments(section: &Section, preset: Option<&str>, found: &mut Findings) {
    let enriched = section.section("enrich").is_some_and(|enrich| !enrich.lacks("attachments"));
    if preset.is_none() && !enriched && section.map("map").iter().all(|(name, ..)| name != "attachments") {
        let message = "names no attachments, so that nothing would be fetched; add for example attachments: 'files[].url'";
        found.error(section.at("map"), section.path_of("map"), message);
    }
}

/// What an answer adds to the event.
pub(super) fn enrich(section: &Section, found: &mut Findings) -> Option<EnrichMapping> {
    let one = |column: &[(String, String)], attachments: Option<&str>| EnrichMapping::new(attachments, column).map_err(said);
    let attachments = section.text("attachments");
    let columns = section.map("columns");
    if section.lacks("attachments") && columns.is_empty() {
        let message = "takes nothing from the answer; write attachments: or columns: with expressions";
        found.error(&section.at, &section.path, message);
    }
    if let Some(spot) = attachments {
        found.keep(&spot.at, &section.path_of("attachments"), one(&[], Some(&spot.text)))?;
    }
    let mut right = true;
    for (name, _, spot) in columns {
        let path = format!("{}.{name}", section.path_of("columns"));
        right &= found.keep(&spot.at, &path, one(&[(name.clone(), spot.text.clone())], None)).is_some();
    }
    let pairs: Vec<(String, String)> = columns.iter().map(|(name, _, spot)| (name.clone(), spot.text.clone())).collect();
    if right { one(&pairs, attachments.map(|spot| spot.text.as_str())).ok() } else { None }
}
