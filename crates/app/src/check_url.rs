//! `longshore check-url`: what the policy says to a URL, without contacting anybody.

use anyhow::{Context, Result};
use longshore_core::outcome::Failure;
use longshore_core::policy::{Verdict, expiry};
use longshore_core::source::{RawEvent, Source};
use longshore_core::{file_type, ids};
use longshore_stages::ports::{Clock, SystemClock};
use serde_json::{Value, json};
use url::Url;

use crate::cli::CheckUrlArgs;
use crate::render::{self, harmless};
use crate::{exit, settings};

/// What ingest would make of the URL.
struct Outcome {
    verdict: Verdict,
    refused: Option<Failure>,
    file_type: String,
    path: Option<String>,
    media_id: String,
}

pub(crate) fn run(args: CheckUrlArgs) -> Result<u8> {
    let source = settings::source(&settings::Definition::default(), &args.policy).context(exit::Usage)?;
    let outcome = judge(&source, &args.url);
    if args.json {
        render::print_json(&as_json(&outcome))?;
    } else {
        render::print(as_text(&outcome))?;
    }
    Ok(if outcome.refused.is_none() { exit::DONE } else { exit::FOUND })
}

fn judge(source: &Source, url: &str) -> Outcome {
    let now = SystemClock.now();
    // As an event of JSON, so that nothing in the URL is taken for an event's syntax.
    let event = json!({ "url": url }).to_string();
    let raw = RawEvent {
        bytes: event.as_bytes(),
        headers: &[],
        url_field: Some("url"),
        truncated: None,
        ingested_at: now,
    };
    let (refused, path) = match source.plan(&raw) {
        Err(failure) => (Some(failure), None),
        Ok(event) => match event.attachments.into_iter().next() {
            Some(one) => (one.refused, Some(one.task.path).filter(|path| !path.is_empty())),
            None => (None, None),
        },
    };
    Outcome {
        verdict: source.policy.explain_at(url, Some(now)),
        // Ingest makes a task of it, but nobody is contacted.
        refused: refused.or_else(|| expiry::expired(url, now)),
        file_type: file_type_rule(source, url),
        path,
        media_id: ids::url_media_id(url.trim()).to_string(),
    }
}

fn file_type_rule(source: &Source, url: &str) -> String {
    let extension = Url::parse(url.trim()).ok().and_then(|url| file_type::extension_of(url.path(), url.query()));
    match (source.file_types.check_extension(extension.as_deref()), extension) {
        (Err(failure), _) => failure.message,
        (Ok(()), Some(extension)) => format!("the extension {extension} is allowed; the content is judged as it arrives"),
        (Ok(()), None) => "the URL has no extension; the content is judged as it arrives".to_owned(),
    }
}

fn as_json(outcome: &Outcome) -> Value {
    let verdict = &outcome.verdict;
    json!({
        "allowed": outcome.refused.is_none(),
        "reason": outcome.refused.as_ref().map(|failure| failure.reason),
        "rule": rule(outcome),
        "url": verdict.url,
        "scheme": verdict.scheme,
        "host": verdict.host,
        "port": verdict.port,
        "addresses": verdict.addresses,
        "expiry": verdict.expiry,
        "file_type": outcome.file_type,
        "path": outcome.path,
        "media_id": outcome.media_id,
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
    let mut lines = vec![("verdict", decision), ("rule", rule(outcome).to_owned()), ("url", verdict.url.clone())];
    lines.extend(verdict.scheme.clone().map(|scheme| ("scheme", scheme)));
    lines.extend(verdict.host.clone().map(|host| ("host", host)));
    lines.extend(verdict.port.map(|port| ("port", port.to_string())));
    let address = |a: &longshore_core::policy::url::AddressVerdict| {
        let allowed = if a.allowed { "allowed" } else { "refused" };
        ("address", format!("{} ({}): {allowed}, {}", a.address, a.form, a.rule))
    };
    lines.extend(verdict.addresses.iter().map(address));
    let expires = |e: &longshore_core::policy::url::ExpiryVerdict| ("expires", format!("{} ({})", e.at, e.scheme));
    lines.extend(verdict.expiry.as_ref().map(expires));
    lines.push(("file type", outcome.file_type.clone()));
    lines.push(("path", outcome.path.clone().unwrap_or_else(|| "none: it is not fetched".to_owned())));
    lines.push(("media id", outcome.media_id.clone()));
    lines.iter().map(|(name, value)| format!("{name:<10} {}", harmless(value))).collect::<Vec<_>>().join("\n")
}
