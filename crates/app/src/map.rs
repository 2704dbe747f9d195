//! `longshore map`: the tasks that events would become, without contacting anybody.

use std::io::Read;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use longshore_core::file_type;
use longshore_core::format::Task;
use longshore_core::outcome::{Class, Failure};
use longshore_core::policy::expiry;
use longshore_core::policy::redact::redact_url;
use longshore_core::source::{Attachment, Event, Planned, RawEvent};
use longshore_core::time::{self, Micros};
use longshore_stages::ports::{Clock, SystemClock};
use serde_json::{Map, Value, json};
use url::Url;

use crate::chosen::{Chosen, SourceArgs};
use crate::render::{self, Printed, harmless};
use crate::settings::{self, Definition};
use crate::{exit, free_text};

/// The most bytes of events that are read.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// `longshore map`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore map event.json -c longshore.yaml --source xact\n  \
                        echo '{\"url\": \"https://example.com/a.pdf\"}' | longshore map -\n\n\
                        Exit codes: 0 all accepted; 1 failed; 2 wrong usage; 3 something is refused or cannot be read; 78 wrong configuration.")]
pub struct MapArgs {
    /// A file with one event, or with several, one a line; `-` is standard input
    #[arg(value_name = "EVENT")]
    pub input: String,
    /// The preset that reads the events [default: urls]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub preset: Option<String>,
    /// A field and the JMESPath expression that finds it (repeatable)
    #[arg(long, value_name = "FIELD=EXPRESSION", conflicts_with = "config")]
    pub map: Vec<String>,
    /// A header `Name: value` of the events' messages (repeatable)
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// Where the rules are.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Print JSON, one event a line
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn run(args: MapArgs) -> Result<u8> {
    let chosen = args.source.choose(&definition(&args).context(exit::Usage)?)?;
    let headers = args.header.iter().map(|header| settings::parse_header(header).map(|(name, value)| (name, Bytes::from(value))));
    let headers: Vec<(String, Bytes)> = headers.collect::<Result<_>>().context(exit::Usage)?;
    let input = read(&args.input)?;
    let mut refused = false;
    for (at, (number, bytes)) in events(&input).into_iter().enumerate() {
        let raw = RawEvent { headers: &headers, ..RawEvent::of(bytes, SystemClock.now()) };
        let mapped = map(&chosen, &raw);
        refused |= mapped.is_refused();
        let shown = if args.json { mapped.as_json(number).to_string() } else { mapped.as_text(number, at) };
        if render::print(shown)? == Printed::Unread {
            break;
        }
    }
    Ok(if refused { exit::FOUND } else { exit::DONE })
}

fn definition(args: &MapArgs) -> Result<Definition> {
    Definition::of(args.preset.as_deref(), &args.map, None)
}

fn read(input: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = match input {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(path).with_context(|| format!("reading {path}"))?),
    };
    reader.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("reading {input}"))?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        bail!("{input} is larger than {} MiB: take the events that you ask about alone", MAX_INPUT_BYTES >> 20);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(anyhow::anyhow!("{input} holds no event").context(exit::Usage));
    }
    Ok(bytes)
}

/// The events with the numbers of their lines: one, if all is one JSON value, else one a line.
fn events(input: &[u8]) -> Vec<(usize, &[u8])> {
    if serde_json::from_slice::<serde::de::IgnoredAny>(input).is_ok() {
        return vec![(1, input.trim_ascii())];
    }
    let lines = input.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (at + 1, line.trim_ascii()));
    lines.filter(|(_, line)| !line.is_empty()).collect()
}

/// What one event becomes.
struct Mapped<'a> {
    /// The source that takes it, or that reports it.
    chosen: &'a Chosen,
    planned: Result<Event, Failure>,
    now: Micros,
}

/// The first source that takes the event; what none takes is a matter of the first that complains.
fn map<'a>(chosen: &'a [Chosen], raw: &RawEvent<'_>) -> Mapped<'a> {
    let mut poison = None;
    for one in chosen {
        match one.lane.source.plan(raw) {
            Ok(Planned::Event(event)) => return Mapped { chosen: one, planned: Ok(event), now: raw.ingested_at },
            Ok(Planned::Elsewhere) => {}
            Err(failure) => drop(poison.get_or_insert((one, failure))),
        }
    }
    let (chosen, failure) = poison.unwrap_or_else(|| {
        let nobody = Failure::new(Class::Poison, longshore_core::outcome::Reason::Unrouted, "no source takes the event");
        (&chosen[0], nobody)
    });
    Mapped { chosen, planned: Err(failure), now: raw.ingested_at }
}

/// Why an attachment would not be fetched.
fn refusal(attachment: &Attachment, now: Micros) -> Option<Failure> {
    attachment.refused.clone().or_else(|| expiry::expired(&attachment.task.url, now))
}

fn file_type(task: &Task) -> String {
    let parsed = Url::parse(task.url.trim()).ok();
    let of_url = parsed.and_then(|url| file_type::extension_of(url.path(), url.query()));
    let extension = of_url.or_else(|| file_type::extension_of(task.file_name.as_deref()?, None));
    extension.map_or_else(|| "UNKNOWN".to_owned(), |extension| extension.to_ascii_uppercase())
}

impl Mapped<'_> {
    fn is_refused(&self) -> bool {
        match &self.planned {
            Ok(event) => event.attachments.iter().any(|attachment| refusal(attachment, self.now).is_some()),
            Err(_) => true,
        }
    }

    fn source(&self) -> &str {
        self.chosen.lane.name()
    }

    /// Nothing where the event's time counts.
    fn untimed(&self, event: &Event) -> bool {
        time::event_time(event.event_time.as_deref(), self.now).is_none()
    }

    fn as_json(&self, line: usize) -> Value {
        let event = match &self.planned {
            Err(failure) => {
                return json!({
                    "line": line,
                    "source": self.source(),
                    "verdict": failure.class,
                    "reason": failure.reason,
                    "message": failure.message,
                });
            }
            Ok(event) => event,
        };
        let columns = event.columns.iter().map(|(name, value)| (name.clone(), free_text::redact_urls(value).into()));
        json!({
            "line": line,
            "source": self.source(),
            "verdict": if self.is_refused() { "refused" } else { "accepted" },
            "trace_id": event.trace_id,
            "event_id": event.event_id,
            "type": event.event_type,
            "event_time": event.event_time,
            "untimed": self.untimed(event),
            "columns": columns.map(|(name, value)| (name.to_string(), value)).collect::<Map<String, Value>>(),
            "without_list": event.without_list,
            "enriched_later": self.chosen.lane.source.enrich.is_some(),
            "attachments": event.attachments.iter().map(|one| self.attachment_json(one)).collect::<Vec<_>>(),
        })
    }

    fn attachment_json(&self, attachment: &Attachment) -> Value {
        let (task, refused) = (&attachment.task, refusal(attachment, self.now));
        json!({
            "media_id": task.media_id.to_string(),
            "url": redact_url(&task.url),
            "path": refused.is_none().then_some(&task.path),
            "file_type": file_type(task),
            "file_name": task.file_name,
            "checksum": task.checksum,
            "headers": task.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "verdict": refused.as_ref().map_or("allowed", |failure| failure.class.as_str()),
            "reason": refused.as_ref().map(|failure| failure.reason),
            "message": refused.as_ref().map(|failure| &failure.message),
        })
    }

    fn as_text(&self, line: usize, at: usize) -> String {
        let mut lines = Vec::new();
        if at > 0 {
            lines.push(String::new());
        }
        match &self.planned {
            Err(failure) => {
                let (source, reason) = (self.source(), failure.reason);
                lines.push(format!("line {line}: {} ({reason}) for the source {source}: {}", failure.class, failure.message));
            }
            Ok(event) => lines.extend(self.event_lines(event, line)),
        }
        lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n")
    }

    fn event_lines(&self, event: &Event, line: usize) -> Vec<String> {
        let count = event.attachments.len();
        let mut lines = vec![format!("line {line}: an event of the source {} with {count} attachments", self.source())];
        let mut field = |name: &str, value: &str| lines.push(format!("  {name:<12} {value}"));
        field("trace_id", &event.trace_id);
        field("event_id", event.event_id.as_deref().unwrap_or("none"));
        field("type", event.event_type.as_deref().unwrap_or("none"));
        let untimed = if self.untimed(event) { " (counts as untimed: the time of ingestion files it)" } else { "" };
        field("event_time", &format!("{}{untimed}", event.event_time.as_deref().unwrap_or("none")));
        event.columns.iter().for_each(|(name, value)| field(name, &free_text::redact_urls(value)));
        if event.without_list {
            field("attachments", "something else stands where their list is expected: taken for none");
        }
        if self.chosen.lane.source.enrich.is_some() {
            field("attachments", "the endpoint that enriches this source tells them when it is asked");
        }
        lines.extend(event.attachments.iter().flat_map(|attachment| self.attachment_lines(attachment)));
        lines
    }

    fn attachment_lines(&self, attachment: &Attachment) -> Vec<String> {
        let task = &attachment.task;
        let verdict = match refusal(attachment, self.now) {
            None => format!("allowed: goes to {} ({})", task.path, file_type(task)),
            Some(failure) => failure.to_string(),
        };
        vec![format!("  - {}", redact_url(&task.url)), format!("    {}", task.media_id), format!("    {verdict}")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_json_value_is_one_event_and_else_each_line_is_one() {
        let whole = b"{\n  \"url\": \"https://h.example/\"\n}\n";
        assert_eq!(events(whole), [(1, &whole[..whole.len() - 1])]);
        assert_eq!(events(b"{\"a\":1}\r\n\n{\"b\"\n"), [(1, &b"{\"a\":1}"[..]), (3, b"{\"b\"")]);
    }
}
