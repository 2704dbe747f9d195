//! `fetch --dry-run`: what the input's events would become, by host, without network and without writing anything.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use indicatif::HumanCount;
use longshore_core::outcome::Failure;
use longshore_core::policy::{expiry, redact::redact_url};
use longshore_core::source::{Attachment, RawEvent, Source};
use longshore_core::time::Micros;
use longshore_stages::ports::{Clock, SystemClock};
use serde_json::json;
use url::Url;

use super::feed;
use crate::cli::FetchArgs;
use crate::exit;
use crate::input::Line;
use crate::render::{self, Printed, harmless};

/// The most hosts that are told apart; the rest is counted as one.
const HOSTS: usize = 10_000;
/// Events that cannot be read of which line and reason are told.
const TOLD: u64 = 20;

/// What is known of a host.
#[derive(Debug, Default)]
struct Host {
    attachments: u64,
    /// Why some are refused, and how many.
    refused: BTreeMap<String, u64>,
    example: Option<String>,
}

struct Dry<'a> {
    source: &'a Source,
    now: Micros,
    json: bool,
    events: u64,
    unreadable: u64,
    hosts: BTreeMap<String, Host>,
}

/// Reads the inputs and prints what they would become; returns the exit code.
pub(super) fn run(args: &FetchArgs, source: &Source) -> Result<u8> {
    if args.inputs.is_empty() {
        return Err(anyhow::anyhow!("--dry-run reads an INPUT: name one").context(exit::Usage));
    }
    let mut dry = Dry { source, now: SystemClock.now(), json: args.json, events: 0, unreadable: 0, hosts: BTreeMap::new() };
    let (mut left, mut broken) = (args.run.limit.unwrap_or(u64::MAX), false);
    'inputs: for lines in feed::open(args)? {
        for line in lines {
            if left == 0 {
                break 'inputs;
            }
            left -= 1;
            match line {
                Ok(line) if dry.event(&line)? == Printed::Unread => return Ok(exit::DONE),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("error: {error:#}");
                    broken = true;
                }
            }
        }
    }
    if !args.json && !args.quiet {
        dry.print()?;
    }
    Ok(if broken {
        exit::FAILED
    } else if dry.unreadable > 0 || dry.hosts.values().any(|host| !host.refused.is_empty()) {
        exit::FOUND
    } else {
        exit::DONE
    })
}

impl Dry<'_> {
    fn event(&mut self, line: &Line) -> Result<Printed> {
        self.events += 1;
        let raw =
            RawEvent { url_field: line.url_field.as_deref(), truncated: line.truncated, ..RawEvent::of(&line.event, self.now) };
        match self.source.plan(&raw) {
            Ok(planned) => {
                for attachment in planned.event().into_iter().flat_map(|event| event.attachments) {
                    if self.attachment(attachment, &line.place)? == Printed::Unread {
                        return Ok(Printed::Unread);
                    }
                }
                Ok(Printed::Read)
            }
            Err(failure) => self.poison(&failure, &line.place),
        }
    }

    fn poison(&mut self, failure: &Failure, place: &str) -> Result<Printed> {
        self.unreadable += 1;
        if self.json {
            let (class, reason) = (failure.class, failure.reason);
            return render::print(json!({ "input": place, "verdict": class, "reason": reason, "message": failure.message }));
        }
        if self.unreadable <= TOLD {
            eprintln!("{}: {}", harmless(place), harmless(&failure.message));
        }
        Ok(Printed::Read)
    }

    fn attachment(&mut self, attachment: Attachment, place: &str) -> Result<Printed> {
        let Attachment { task, refused } = attachment;
        // Ingest makes a task of an expired URL, but nobody is contacted.
        let refused = refused.or_else(|| expiry::expired(&task.url, self.now));
        let host = Url::parse(&task.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        if self.json {
            return self.count(host.clone(), None, refused.as_ref()).and_then(|()| {
                render::print(json!({
                    "input": place,
                    "verdict": refused.as_ref().map_or("allowed", |failure| failure.class.as_str()),
                    "reason": refused.as_ref().map(|failure| failure.reason),
                    "message": refused.as_ref().map(|failure| &failure.message),
                    "host": host,
                    "url": redact_url(&task.url),
                    "path": Some(&task.path).filter(|_| refused.is_none()),
                    "media_id": task.media_id,
                    "trace_id": task.trace_id,
                }))
            });
        }
        let path = Some(task.path).filter(|_| refused.is_none());
        self.count(host, path, refused.as_ref())?;
        Ok(Printed::Read)
    }

    fn count(&mut self, host: Option<String>, path: Option<String>, refused: Option<&Failure>) -> Result<()> {
        let mut name = host.unwrap_or_else(|| "(no host)".to_owned());
        if self.hosts.len() >= HOSTS && !self.hosts.contains_key(&name) {
            name = "(others)".to_owned();
        }
        let host = self.hosts.entry(name).or_default();
        host.attachments += 1;
        if let Some(failure) = refused {
            *host.refused.entry(failure.reason.to_string()).or_default() += 1;
        }
        host.example = host.example.take().or(path);
        Ok(())
    }

    fn print(&self) -> Result<()> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(_, host)| std::cmp::Reverse(host.attachments));
        let mut table = render::table(["host", "attachments", "allowed", "refused", "example path"]);
        let (mut attachments, mut refused) = (0, 0);
        for (name, host) in hosts {
            let no: u64 = host.refused.values().sum();
            (attachments, refused) = (attachments + host.attachments, refused + no);
            let why: Vec<String> = host.refused.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
            let example = host.example.as_deref().unwrap_or_default();
            let allowed = host.attachments - no;
            let cells = [name.clone(), host.attachments.to_string(), allowed.to_string(), why.join(", "), example.to_owned()];
            table.add_row(cells.map(|cell| harmless(&cell)));
        }
        if attachments > 0 {
            render::print(table.trim_fmt())?;
        }
        let count = HumanCount;
        render::print(format!(
            "{} events, {} attachments: {} allowed, {} refused; {} events cannot be read. Nothing was fetched or written",
            count(self.events),
            count(attachments),
            count(attachments - refused),
            count(refused),
            count(self.unreadable)
        ))
        .map(drop)
        .context("standard output")
    }
}
