//! Calls to an endpoint of the operator's: `refresh` and `enrich`.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::call::{CallTemplate, Fields, Method, Pick};
use longshore_core::secret::Secret;
use longshore_origin::{HttpLookup, LookupSettings, Timeouts};
use longshore_stages::enrich::EnrichLimits;
use longshore_stages::ports::Lookup;
use longshore_stages::refresh::Refresh;

use super::{policy, rising};
use crate::config::problem::Findings;
use crate::config::typed::{Section, Spot};

/// An endpoint, what it is asked, and the bounds of asking.
struct Endpoint {
    template: CallTemplate,
    settings: LookupSettings,
}

/// Reads an endpoint whose URL and body may name these fields.
fn endpoint(section: &Section, fields: &[String], found: &mut Findings) -> Option<Endpoint> {
    let headers = policy::headers(section, "headers", found);
    let headers = headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    let networks = policy::networks(section, "allow_private", found);
    let method = if section.text("method")?.text == "POST" { Method::Post } else { Method::Get };
    let body = match section.text("body") {
        Some(spot) => Some(found.keep(&spot.at, &section.path_of("body"), json(spot))?),
        None => None,
    };
    if method == Method::Get && body.is_some() {
        found.error(section.at("body"), section.path_of("body"), "a GET has no body; write method: POST, or remove the body");
        return None;
    }
    let url = section.text("url")?;
    let path = section.path_of("url");
    let template = CallTemplate::parse(method, &url.text, headers, body.as_ref()).map_err(|error| error.to_string());
    let template = found.keep(&url.at, &path, template)?;
    if let Some(unknown) = template.fields().into_iter().find(|name| !fields.iter().any(|field| field == name)) {
        let message = format!("uses {{{unknown}}}, which is not a field here; {}", known(section, fields));
        found.error(&url.at, &path, message);
    }
    let http = template.endpoint().scheme() == "http";
    if http && !section.flag("allow_http") {
        found.error(&url.at, &path, "asks over http; take https, or write allow_http: true beside it");
    }
    let limit = section.time("timeout");
    let timeouts = Timeouts { connect: Timeouts::default().connect.min(limit), first_byte: limit, idle: limit, total: limit };
    let settings = LookupSettings {
        allow_http: http,
        allow_private: networks,
        timeouts,
        max_in_flight: section.count("max_in_flight"),
        ..LookupSettings::default()
    };
    Some(Endpoint { template, settings })
}

fn known(section: &Section, fields: &[String]) -> String {
    match fields.join(", ") {
        names if names.is_empty() => format!("say in {} where it is in the event", section.path_of("fields")),
        names => format!("known are {names}"),
    }
}

fn json(spot: &Spot) -> Result<serde_json::Value, String> {
    let example = r#"write for example '{"url": "{url}"}', in single quotes"#;
    serde_json::from_str(&spot.text).map_err(|error| format!("is not JSON ({error}); {example}"))
}

impl Endpoint {
    /// Whoever asks it.
    fn lookup(&self, section: &Section, found: &mut Findings) -> Option<Arc<dyn Lookup>> {
        let made = HttpLookup::new(&self.template, self.settings.clone()).map_err(|error| error.to_string());
        Some(Arc::new(found.keep(&section.at, &section.path, made)?))
    }
}

/// How events are enriched before tasks are made of them.
pub(crate) struct Enriching {
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) call: CallTemplate,
    /// What of the event the endpoint is asked with.
    pub(crate) fields: Fields,
    /// The delays of further attempts.
    pub(crate) delays: Vec<Duration>,
    pub(crate) limits: EnrichLimits,
}

/// Reads `refresh`; its URL and body may name the task's ids and these columns.
pub(super) fn refresh(source: &Section, columns: &[&str], found: &mut Findings) -> Option<Refresh> {
    let section = source.section("refresh")?;
    let fields =
        ["url", "media_id", "trace_id", "source"].iter().chain(columns).map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let url = section.text("url_at").and_then(|spot| {
        let pick = Pick::parse(&spot.text).map_err(|error| error.to_string());
        found.keep(&spot.at, &section.path_of("url_at"), pick)
    });
    let endpoint = endpoint(section, &fields, found)?;
    Some(Refresh::new(endpoint.lookup(section, found)?, endpoint.template, url?))
}

/// Reads `enrich`; its URL and body may name its own `fields`.
pub(super) fn enriching(source: &Section, grace: Duration, found: &mut Findings) -> Option<Enriching> {
    let section = source.section("enrich")?;
    let entries = section.map("fields");
    let mut right = true;
    for (name, _, spot) in entries {
        let parsed = Fields::parse([(name.as_str(), spot.text.as_str())]).map_err(|error| error.to_string());
        right &= found.keep(&spot.at, &format!("{}.{name}", section.path_of("fields")), parsed).is_some();
    }
    let delays = rising(section, "retry", found);
    let names: Vec<String> = entries.iter().map(|(name, ..)| name.clone()).collect();
    let endpoint = endpoint(section, &names, found)?;
    let fields =
        Fields::parse(entries.iter().map(|(name, _, spot)| (name.as_str(), spot.text.as_str()))).ok().filter(|_| right)?;
    let per_second = section.number("per_second").and_then(|calls| u32::try_from(calls).ok());
    let limits = EnrichLimits { max_in_flight: section.count("max_in_flight"), per_second, grace };
    Some(Enriching { lookup: endpoint.lookup(section, found)?, call: endpoint.template, fields, delays, limits })
}
