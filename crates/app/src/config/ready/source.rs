//! One source: its name, how its events are read, its policy and its delays.

use longshore_core::file_type::{FileTypes, OnMismatch};
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::policy::url::HostPattern;
use longshore_core::retry::Ladder;
use longshore_core::secret::Secret;
use longshore_core::source::{self, EnrichMapping, Identity, Route, Source};
use longshore_origin::{Settings, Timeouts};
use longshore_stages::download::Limits;
use longshore_stages::topics::Topics;

use super::{call, mapping, policy, rising};
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
    /// The header or field that decides, as written.
    pub(super) by: (&'static str, String),
    pub(super) equals: Vec<(At, String)>,
    pub(super) condition: source::When,
}

impl Drafted {
    /// What the stages need; nothing where an error is noted.
    pub(super) fn complete(self) -> Option<(Lane, Setup)> {
        let (source, topics) = (self.source?, self.topics?);
        Some((Lane { shape: source.shape(), source: source.into(), topics }, self.setup))
    }

    /// Says which events of a shared topic are this source's.
    pub(super) fn set_route(&mut self, route: Route) {
        if let Some(source) = &mut self.source {
            source.route = Some(route);
        }
    }
}

pub(super) fn read(top: &Section, purpose: Purpose, limits: &Limits, timeouts: Timeouts, found: &mut Findings) -> Vec<Drafted> {
    let sources = top.entries("sources").iter();
    sources.map(|section| draft(section, purpose, (limits, timeouts), found)).collect()
}

fn draft(section: &Section, purpose: Purpose, bounds: (&Limits, Timeouts), found: &mut Findings) -> Drafted {
    let name = section.text("name").map(|spot| spot.text.clone()).unwrap_or_default();
    if let Some(spot) = section.text("name") {
        check_name(section, spot, found);
    }
    let topic = topic(section, &name, found);
    let policy = policy::policy(section, found);
    if section.lacks("allow_hosts") && purpose == Purpose::Run {
        let message = "is missing; name the hosts that events may point to, for example allow_hosts: ['*.amazonaws.com', files.example.com]";
        found.error(&section.at, section.path_of("allow_hosts"), message);
    }
    let source = source(section, &name, policy.clone(), found);
    let topics = topic.as_ref().map(|topic| Topics::of(&name).reading(&topic.text));
    Drafted {
        name_at: section.at("name").clone(),
        path: section.path.clone(),
        topics: topics.map(|topics| if section.item("enrich").is_some() { topics.enriched() } else { topics }),
        topic,
        when: when(section, found),
        setup: setup(section, source.as_ref(), policy, bounds, found),
        source,
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
    let by = match (when.text("header"), when.text("field")) {
        (Some(spot), None) => ("header", spot),
        (None, Some(spot)) => ("field", spot),
        _ => {
            let message = "needs either header or field; write for example when: {field: type, equals: claim}";
            found.error(section.at("when"), &when.path, message);
            return None;
        }
    };
    let equals: Vec<(At, String)> = when.texts("equals")?.iter().map(|spot| (spot.at.clone(), spot.text.clone())).collect();
    let any_of = equals.iter().map(|(_, value)| value.clone()).collect();
    let condition = match by {
        ("field", spot) => {
            let field = source::Field::parse(&spot.text).map_err(mapping::said);
            source::When::Field { field: found.keep(&spot.at, &when.path_of("field"), field)?, any_of }
        }
        (_, spot) => source::When::Header { name: spot.text.clone(), any_of },
    };
    Some(When { at: section.at("when").clone(), by: (by.0, by.1.text.clone()), equals, condition })
}

fn credentials(section: &Section, found: &mut Findings) -> Vec<(HostPattern, Vec<(String, Secret)>)> {
    let read = section.entries("credentials").iter().filter_map(|entry| {
        let headers = policy::headers(entry, "headers", found).into_iter().map(|(name, value)| (name, Secret::new(value)));
        Some((policy::host(entry, found)?, headers.collect()))
    });
    read.collect()
}

fn source(section: &Section, name: &str, policy: Policy, found: &mut Findings) -> Option<Source> {
    let file_types = policy::file_types(section, found);
    let enrich = section.section("enrich").map(|section| mapping::enrich(section, found));
    let mapping = mapping::mapping(section, found)?;
    let known = [mapping.path_columns(), enrich.iter().flatten().flat_map(EnrichMapping::columns).collect()].concat();
    let path = match section.text("path") {
        Some(spot) => {
            let parsed = PathTemplate::parse_with(&spot.text, &known);
            found.keep(&spot.at, &section.path_of("path"), parsed)
        }
        None => PathTemplate::parse_with(mapping.default_path(), &known).ok(),
    };
    let is = |name, word| section.text(name).is_some_and(|spot| spot.text == word);
    let on_mismatch = if is("on_type_mismatch", "warn") { OnMismatch::Warn } else { OnMismatch::Reject };
    Some(Source {
        name: name.to_owned(),
        identity: if is("identity", "exact") { Identity::Exact } else { Identity::Unsigned },
        policy,
        file_types: FileTypes { on_mismatch, ..file_types.unwrap_or_else(|| mapping.default_file_types()) },
        path: path?,
        route: None,
        enrich: enrich.flatten(),
        mapping,
    })
}

fn setup(section: &Section, source: Option<&Source>, policy: Policy, bounds: (&Limits, Timeouts), found: &mut Findings) -> Setup {
    let statuses = section.numbers("transient_statuses").unwrap_or_default();
    let origin = Settings {
        policy,
        timeouts: bounds.1,
        per_host: bounds.0.per_host,
        max_idle: bounds.0.max_in_flight,
        transient_statuses: statuses.iter().filter_map(|(_, status)| u16::try_from(*status).ok()).collect(),
        credentials: credentials(section, found),
        ..Settings::default()
    };
    let columns = source.map(Source::task_columns).unwrap_or_default();
    Setup {
        origin,
        headers: policy::headers(section, "headers", found),
        refresh: call::refresh(section, &columns, found),
        enrich: call::enriching(section, bounds.0.grace, found),
        ladder: Ladder::new(rising(section, "retry", found)),
    }
}
