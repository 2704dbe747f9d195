//! One source: its name, how its events are read, its policy and its delays.

use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::retry::Ladder;
use longshore_core::source::{Identity, Source};
use longshore_origin::{Settings, Timeouts};
use longshore_stages::download::Limits;
use longshore_stages::topics::Topics;

use super::{policy, preset, rising};
use crate::config::Purpose;
use crate::config::problem::{At, Findings};
use crate::config::typed::{Section, Spot};
use crate::pipeline::Setup;
use crate::place::Lane;

/// The longest name of a source, in characters.
const NAME_CHARS: usize = 40;
/// The longest name of a topic, in bytes (Apache Kafka's own bound).
const TOPIC_BYTES: usize = 249;

/// A source as far as it could be read; incomplete only where an error is noted.
pub(super) struct Drafted {
    pub(super) name: String,
    pub(super) name_at: At,
    /// As messages name it: `sources[0]`.
    pub(super) path: String,
    /// The topic that its events arrive in.
    pub(super) topic: Option<Topic>,
    pub(super) topics: Option<Topics>,
    pub(super) when: Option<When>,
    source: Option<Source>,
    setup: Setup,
}

/// An input topic, and where it is named.
pub(super) struct Topic {
    pub(super) at: At,
    pub(super) text: String,
}

/// Which events of a shared topic are meant.
pub(super) struct When {
    pub(super) at: At,
    pub(super) header: Option<String>,
    pub(super) field: Option<String>,
    pub(super) equals: Vec<(At, String)>,
}

impl Drafted {
    /// What the stages need; nothing where an error is noted.
    pub(super) fn complete(self) -> Option<(Lane, Setup)> {
        let (source, topics) = (self.source?, self.topics?);
        Some((Lane { shape: source.shape(), source: source.into(), topics }, self.setup))
    }
}

pub(super) fn read(top: &Section, purpose: Purpose, limits: &Limits, timeouts: Timeouts, found: &mut Findings) -> Vec<Drafted> {
    let sources = top.entries("sources");
    if sources.is_empty() && top.item("sources").is_some() {
        found.error(
            top.at("sources"),
            "sources",
            "is an empty list; add a source, for example '- {name: xact, preset: xact, allow_hosts: [files.example.com]}'",
        );
    }
    sources.iter().map(|section| draft(section, purpose, limits, timeouts, found)).collect()
}

fn draft(section: &Section, purpose: Purpose, limits: &Limits, timeouts: Timeouts, found: &mut Findings) -> Drafted {
    let name = section.text("name").map(|spot| spot.text.clone()).unwrap_or_default();
    if let Some(spot) = section.text("name") {
        check_name(section, spot, found);
    }
    let topic = topic(section, &name, found);
    let policy = policy::policy(section, found);
    if section.item("allow_hosts").is_none() && purpose == Purpose::Run {
        let message = "is missing; name the hosts that events may point to, for example allow_hosts: ['*.amazonaws.com', files.example.com]";
        found.error(&section.at, section.path_of("allow_hosts"), message);
    }
    Drafted {
        name_at: section.at("name").clone(),
        path: section.path.clone(),
        topics: topic.as_ref().map(|topic| Topics::of(&name).reading(&topic.text)),
        topic,
        when: when(section, found),
        source: source(section, &name, policy.clone(), found),
        setup: setup(section, policy, limits, timeouts, found),
        name,
    }
}

fn check_name(section: &Section, spot: &Spot, found: &mut Findings) {
    let mut chars = spot.text.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_lowercase());
    let plain = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    if !begins || !plain || spot.text.len() > NAME_CHARS {
        let message = format!(
            "'{}' is not a name for a source; take small letters, digits, '-' and '_', a letter first, at most {NAME_CHARS}",
            spot.shown
        );
        found.error(&spot.at, section.path_of("name"), message);
    }
}

fn topic(section: &Section, name: &str, found: &mut Findings) -> Option<Topic> {
    let Some(spot) = section.text("topic") else {
        let text = Topics::of(name).raw();
        return (!name.is_empty()).then(|| Topic { at: section.at("name").clone(), text });
    };
    let plain = spot.text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !plain || spot.text.len() > TOPIC_BYTES || spot.text.trim_matches('.').is_empty() {
        let message =
            format!("'{}' is not the name of a topic; take letters, digits, '.', '_' and '-', at most {TOPIC_BYTES}", spot.shown);
        found.error(&spot.at, section.path_of("topic"), message);
        return None;
    }
    Some(Topic { at: spot.at.clone(), text: spot.text.clone() })
}

fn when(section: &Section, found: &mut Findings) -> Option<When> {
    let when = section.section("when")?;
    let text = |name| when.text(name).map(|spot| spot.text.clone());
    let (header, field) = (text("header"), text("field"));
    if header.is_some() == field.is_some() {
        let message = "needs either header or field; write for example when: {field: type, equals: claim}";
        found.error(section.at("when"), &when.path, message);
    }
    let equals = when.texts("equals")?;
    if equals.is_empty() {
        found.error(when.at("equals"), when.path_of("equals"), "is an empty list; name the values that are meant");
    }
    let equals = equals.iter().map(|spot| (spot.at.clone(), spot.text.clone())).collect();
    Some(When { at: section.at("when").clone(), header, field, equals })
}

fn source(section: &Section, name: &str, policy: Policy, found: &mut Findings) -> Option<Source> {
    let file_types = policy::file_types(section, found);
    let Some(spot) = section.text("preset") else {
        if section.map("map").is_empty() {
            let message = "needs a preset or a map; write preset: xact (or urls, cloudevents, s3-notification), or say in map where the fields are";
            found.error(&section.at, &section.path, message);
        }
        return None;
    };
    let preset = preset::named(&spot.text)?;
    let path = match section.text("path") {
        Some(spot) => found.keep(&spot.at, &section.path_of("path"), PathTemplate::parse_with(&spot.text, preset.path_columns)),
        None => PathTemplate::parse_with(preset.path, preset.path_columns).ok(),
    };
    let exact = section.text("identity").is_some_and(|spot| spot.text == "exact");
    Some(Source {
        name: name.to_owned(),
        mapping: preset.mapping,
        identity: if exact { Identity::Exact } else { Identity::Unsigned },
        policy,
        file_types: file_types.unwrap_or(preset.file_types),
        path: path?,
    })
}

fn setup(section: &Section, policy: Policy, limits: &Limits, timeouts: Timeouts, found: &mut Findings) -> Setup {
    let statuses = section.numbers("transient_statuses").unwrap_or_default();
    let origin = Settings {
        policy,
        timeouts,
        per_host: limits.per_host,
        max_idle: limits.max_in_flight,
        transient_statuses: statuses.iter().filter_map(|(_, status)| u16::try_from(*status).ok()).collect(),
        ..Settings::default()
    };
    let ladder = Ladder::new(rising(section, "retry", found));
    Setup { origin, headers: policy::headers(section, "headers", found), ladder }
}
