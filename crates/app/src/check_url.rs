//! `longshore check-url`: what the policy says to a URL, without contacting anybody.

use anyhow::Result;
use clap::Args;
use longshore_core::file_type::{self, OnMismatch};
use longshore_core::format::Task;
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::policy::redact::redact_url;
use longshore_core::policy::{Verdict, expiry};
use longshore_core::source::{Identity, Mapping, Source};
use longshore_core::time::Micros;
use longshore_stages::ports::{Clock, SystemClock};
use serde_json::{Value, json};
use url::Url;

use crate::chosen::{Chosen, SourceArgs};
use crate::exit;
use crate::render::{self, harmless};
use crate::settings::Definition;

/// `longshore check-url`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore check-url 'http://169.254.169.254/latest/' --allow-http\n  \
                        longshore check-url https://files.example.com/a.pdf -c longshore.yaml --source xact --trace-id 4711\n\n\
                        Exit codes: 0 allowed; 1 failed; 2 wrong usage; 3 refused; 78 wrong configuration.")]
pub struct CheckUrlArgs {
    /// The URL
    pub url: String,
    /// The event that the URL stands in; of most sources it is a part of the media id
    #[arg(long, value_name = "ID")]
    pub trace_id: Option<String>,
    /// Where the rules are.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What would become of the URL.
struct Outcome {
    source: String,
    verdict: Verdict,
    refused: Option<Failure>,
    /// What follows is said of a URL only, which has a host.
    of_url: Option<OfUrl>,
}

struct OfUrl {
    file_type: String,
    identity: String,
    identity_rule: &'static str,
    /// The names of the headers that the host gets.
    credentials: Vec<String>,
    /// Nothing where they depend on the event.
    media_id: Option<String>,
    path: Option<String>,
}

pub(crate) fn run(args: CheckUrlArgs) -> Result<u8> {
    let chosen = args.source.only(&Definition::default())?;
    let outcome = judge(&chosen, args.url.trim(), args.trace_id.as_deref(), SystemClock.now());
    if args.json {
        render::print_json(&as_json(&outcome))?;
    } else {
        render::print(as_text(&outcome))?;
    }
    Ok(if outcome.refused.is_none() { exit::DONE } else { exit::FOUND })
}

fn judge(chosen: &Chosen, url: &str, trace_id: Option<&str>, now: Micros) -> Outcome {
    let source = &chosen.lane.source;
    let trace_id = trace_id.filter(|_| !matches!(source.mapping, Mapping::Urls));
    let known = trace_id.is_some() || matches!(source.mapping, Mapping::Urls);
    let media_id = source.media_id(trace_id, url);
    let task = Task {
        source: source.name.clone(),
        trace_id: trace_id.map_or_else(|| media_id.to_string(), str::to_owned),
        media_id,
        url: url.to_owned(),
        ingested_at: now,
        ..Task::default()
    };
    let judged = match url {
        "" => Err(Failure::new(Class::Rejected, Reason::InvalidUrl, "the URL is empty")),
        _ => source.judge(&task),
    };
    let verdict = source.policy.explain_at(url, Some(now));
    let path = judged.as_ref().ok().filter(|_| known).cloned();
    // Ingest makes a task of an expired URL, but nobody is contacted.
    let refused = judged.err().or_else(|| expiry::expired(url, now));
    let of_url = verdict.host.is_some().then(|| OfUrl {
        file_type: file_type_rule(source, url),
        identity: redact_url(&source.identity.of(url)),
        identity_rule: identity_rule(source.identity, url),
        credentials: credentials(chosen, url),
        media_id: known.then(|| media_id.to_string()),
        path: path.filter(|_| refused.is_none()),
    });
    Outcome { source: source.name.clone(), verdict, refused, of_url }
}

fn identity_rule(identity: Identity, url: &str) -> &'static str {
    match identity {
        Identity::Exact => "all of the URL names the attachment (identity: exact)",
        Identity::Unsigned if identity.of(url) == url => "all of the URL names the attachment: it is not presigned",
        Identity::Unsigned => "the URL without its signature names the attachment: signed anew it is the same",
    }
}

/// The names of the headers that the URL's host gets, by the first pattern that means it; never their values.
fn credentials(chosen: &Chosen, url: &str) -> Vec<String> {
    let parsed = Url::parse(url).ok();
    let Some(host) = parsed.as_ref().and_then(Url::host) else { return Vec::new() };
    let meant = chosen.credentials.iter().find(|(pattern, _)| pattern.matches(&host));
    meant.map(|(_, headers)| headers.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
}

fn file_type_rule(source: &Source, url: &str) -> String {
    let extension = Url::parse(url).ok().and_then(|url| file_type::extension_of(url.path(), url.query()));
    let then = match source.file_types.on_mismatch {
        _ if source.file_types.allowed.is_none() => "any content is allowed",
        OnMismatch::Reject => "the content is judged as it arrives",
        OnMismatch::Warn => "other content is stored with a warning",
    };
    match (source.file_types.check_extension(extension.as_deref()), extension) {
        (Err(failure), _) => failure.message,
        (Ok(()), Some(extension)) => format!("the extension {extension} is allowed; {then}"),
        (Ok(()), None) => format!("the URL has no extension; {then}"),
    }
}

fn as_json(outcome: &Outcome) -> Value {
    let (verdict, of_url) = (&outcome.verdict, outcome.of_url.as_ref());
    json!({
        "allowed": outcome.refused.is_none(),
        "class": outcome.refused.as_ref().map(|failure| failure.class),
        "reason": outcome.refused.as_ref().map(|failure| failure.reason),
        "rule": rule(outcome),
        "source": outcome.source,
        "url": verdict.url,
        "scheme": verdict.scheme,
        "host": verdict.host,
        "port": verdict.port,
        "addresses": verdict.addresses,
        "expiry": verdict.expiry,
        "file_type": of_url.map(|of| &of.file_type),
        "identity": of_url.map(|of| &of.identity),
        "identity_rule": of_url.map(|of| of.identity_rule),
        "credentials": of_url.map(|of| &of.credentials),
        "path": of_url.and_then(|of| of.path.as_ref()),
        "media_id": of_url.and_then(|of| of.media_id.as_ref()),
    })
}

/// The rule that decided: the first that refuses, else the one that allows.
fn rule(outcome: &Outcome) -> &str {
    outcome.refused.as_ref().map_or(&outcome.verdict.rule, |failure| &failure.message)
}

fn as_text(outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    let decision = match &outcome.refused {
        None => "allowed".to_owned(),
        Some(failure) => format!("refused ({})", failure.reason),
    };
    let mut lines = vec![("verdict", decision), ("rule", rule(outcome).to_owned()), ("source", outcome.source.clone())];
    lines.push(("url", if verdict.url.is_empty() { "none".to_owned() } else { verdict.url.clone() }));
    lines.extend(verdict.scheme.clone().map(|scheme| ("scheme", scheme)));
    lines.extend(verdict.host.clone().map(|host| ("host", host)));
    lines.extend(verdict.port.map(|port| ("port", port.to_string())));
    let address = |a: &longshore_core::policy::url::AddressVerdict| {
        let allowed = if a.allowed { "allowed" } else { "refused" };
        ("address", format!("{} ({}): {allowed}, {}", a.address, a.form, a.rule))
    };
    lines.extend(verdict.addresses.iter().map(address));
    lines.extend(verdict.expiry.as_ref().map(|expiry| {
        let over = if expiry.expired == Some(true) { ", which is over" } else { "" };
        ("expires", format!("{}{over} ({})", expiry.at, expiry.scheme))
    }));
    lines.extend(outcome.of_url.iter().flat_map(|of| lines_of_url(of, outcome)));
    lines.iter().map(|(name, value)| format!("{name:<11} {}", harmless(value))).collect::<Vec<_>>().join("\n")
}

fn lines_of_url(of: &OfUrl, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let of_event = "depends on the event: name it with --trace-id, or ask `longshore map`";
    let path = match &of.path {
        Some(path) => path.clone(),
        None if outcome.refused.is_some() => "none: it is not fetched".to_owned(),
        None => of_event.to_owned(),
    };
    let credentials = if of.credentials.is_empty() { "none for this host".to_owned() } else { of.credentials.join(", ") };
    vec![
        ("file type", of.file_type.clone()),
        ("identity", format!("{} ({})", of.identity, of.identity_rule)),
        ("credentials", credentials),
        ("path", path),
        ("media id", of.media_id.clone().unwrap_or_else(|| of_event.to_owned())),
    ]
}
