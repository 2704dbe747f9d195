//! `longshore dlq`: a look at the dead letters. URLs are shown without their secrets.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longshore_core::format::{self, DeadLetter, ErrorNote, Task};
use longshore_core::outcome::Class;
use longshore_core::policy::HostPattern;
use longshore_core::policy::redact::redact_url;
use longshore_core::time::{self, Micros};
use longshore_log::EmbeddedView;
use longshore_stages::ports::{Clock, Received, SystemClock};
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use crate::cli::{DlqCommand, DlqFilter, PlaceArgs};
use crate::exit;
use crate::place::Place;
use crate::render::{self, Printed, harmless};
use crate::walk::{Moment, Step, Walk};

pub(crate) async fn run(command: DlqCommand) -> Result<u8> {
    match command {
        DlqCommand::Ls(filter) => list(&filter).await,
        DlqCommand::Show { ids, place } => show(&ids, &place).await,
    }
}

/// A dead letter as it lies in its topic.
struct Entry {
    offset: u64,
    appended_at: Micros,
    /// Nothing when it cannot be read.
    letter: Option<DeadLetter>,
}

impl Entry {
    fn of(record: &Received) -> Self {
        let value = record.message.value.as_deref();
        let letter = value.and_then(|bytes| format::decode(bytes).ok());
        Entry { offset: record.offset, appended_at: record.appended_at, letter }
    }

    fn failed_at(&self) -> Micros {
        self.letter.as_ref().map_or(self.appended_at, |letter| letter.failed_at)
    }

    fn task(&self) -> Option<&Task> {
        self.letter.as_ref()?.task.as_ref()
    }

    fn url(&self) -> Option<Url> {
        Url::parse(self.task()?.url.trim()).ok()
    }
}

/// Hands every dead letter to `visit`, in order; a damaged place is named on standard error.
async fn visit(place: &Place, view: &EmbeddedView, mut visit: impl FnMut(Entry) -> Result<()>) -> Result<()> {
    let moment = Moment::of(view).await?;
    let topics: Vec<String> = place.lanes.iter().map(|lane| lane.topics.dead_letters()).collect();
    for state in topics.iter().flat_map(|topic| moment.topic(topic)) {
        let mut walk = Walk::new(view, &state.partition, state.begin..state.end);
        while let Some(step) = walk.next().await? {
            match step {
                Step::Records(records) => records.iter().map(Entry::of).try_for_each(&mut visit)?,
                Step::Hole(offset, said) => eprintln!("warning: dead letter {offset} is left out: {said}"),
            }
        }
    }
    Ok(())
}

/// A filter, read once.
struct Filter {
    host: Option<HostPattern>,
    class: Option<Class>,
    since: Micros,
    until: Micros,
}

impl Filter {
    fn of(args: &DlqFilter, now: Micros) -> Result<Self> {
        let host = args.host.as_deref().map(|host| host.parse().with_context(|| format!("--host {host}"))).transpose()?;
        let class = args.class.as_deref().map(parse_class).transpose()?;
        let ago = |age: Duration| now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        Ok(Filter { host, class, since: args.newer.map_or(Micros::MIN, ago), until: args.older.map_or(Micros::MAX, ago) })
    }

    fn keeps(&self, entry: &Entry) -> bool {
        let of_class = self.class.is_none_or(|class| entry.letter.as_ref().is_some_and(|letter| letter.status == class));
        let matches =
            |pattern: &HostPattern| entry.url().is_some_and(|url| url.host().is_some_and(|host| pattern.matches(&host)));
        of_class && (self.since..=self.until).contains(&entry.failed_at()) && self.host.as_ref().is_none_or(matches)
    }
}

fn parse_class(text: &str) -> Result<Class> {
    let classes = [Class::Transient, Class::Permanent, Class::Rejected, Class::Poison];
    let found = classes.into_iter().find(|class| class.as_str() == text);
    found.with_context(|| format!("--class {text}: there is no such class; take transient, permanent, rejected or poison"))
}

async fn list(args: &DlqFilter) -> Result<u8> {
    let filter = Filter::of(args, SystemClock.now()).context(exit::Usage)?;
    let place = Place::named(&args.place)?;
    let view = place.log_view()?;
    let mut kept: VecDeque<Entry> = VecDeque::new();
    let mut matching = 0_u64;
    let keep = |entry: Entry| {
        if filter.keeps(&entry) {
            matching += 1;
            kept.push_back(entry);
            if args.limit > 0 && kept.len() > args.limit {
                kept.pop_front();
            }
        }
        Ok(())
    };
    visit(&place, &view, keep).await?;
    print_list(&kept, args.place.json)?;
    if (kept.len() as u64) < matching {
        eprintln!("the latest {} of {matching}: --limit 0 shows all", kept.len());
    }
    Ok(exit::DONE)
}

fn print_list(entries: &VecDeque<Entry>, json: bool) -> Result<()> {
    if json {
        for entry in entries {
            if render::print(Value::Object(summary(entry)))? == Printed::Unread {
                break;
            }
        }
        return Ok(());
    }
    if entries.is_empty() {
        eprintln!("no dead letters");
        return Ok(());
    }
    let mut table = render::table(["offset", "failed at", "class", "reason", "status", "host", "attempts", "life", "url"]);
    table.add_rows(entries.iter().map(line));
    render::print(table.trim_fmt())?;
    Ok(())
}

fn line(entry: &Entry) -> Vec<String> {
    let fields = summary(entry);
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => harmless(text),
        Some(other) => other.to_string(),
    };
    let names = ["class", "reason", "http_status", "host", "attempts", "life", "url"];
    [entry.offset.to_string(), time::format(entry.failed_at())].into_iter().chain(names.map(text)).collect()
}

fn summary(entry: &Entry) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("offset", entry.offset.into());
    put("failed_at", render::exact_time(entry.failed_at()).into());
    let Some(letter) = &entry.letter else {
        put("class", "unreadable".into());
        return fields;
    };
    put("class", letter.status.as_str().into());
    put("reason", letter.error.reason.as_str().into());
    put("http_status", letter.error.http_status.into());
    put("life", letter.life.into());
    if let Some(task) = &letter.task {
        put("media_id", task.media_id.to_string().into());
        put("host", entry.url().and_then(|url| url.host_str().map(str::to_owned)).into());
        put("attempts", task.attempts.into());
        put("url", redact_url(&task.url).into());
    }
    fields
}

async fn show(ids: &[String], args: &PlaceArgs) -> Result<u8> {
    let mut wanted = ids.iter().map(|id| Wanted::parse(id)).collect::<Result<Vec<_>>>().context(exit::Usage)?;
    let place = Place::named(args)?;
    let view = place.log_view()?;
    let mut found = Vec::new();
    let look = |entry: Entry| {
        let mut hit = false;
        for one in wanted.iter_mut().filter(|one| one.means(&entry)) {
            (one.found, hit) = (true, true);
        }
        if hit {
            found.push(whole(&entry));
        }
        Ok(())
    };
    visit(&place, &view, look).await?;
    for (at, letter) in found.iter().enumerate() {
        if args.json {
            render::print(letter)?;
        } else {
            render::print(format!("{}{}", if at == 0 { "" } else { "\n" }, as_text(letter, "")))?;
        }
    }
    let unknown: Vec<&str> = wanted.iter().filter(|one| !one.found).map(|one| one.text.as_str()).collect();
    if !unknown.is_empty() {
        bail!("no dead letter {} in {}: `longshore dlq ls` lists them", unknown.join(", "), args.to.display());
    }
    Ok(exit::DONE)
}

/// Something asked for.
struct Wanted {
    text: String,
    id: Id,
    found: bool,
}

enum Id {
    Offset(u64),
    Media(Uuid),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        let offset = text.parse().ok().map(Id::Offset);
        let id = offset.or_else(|| Uuid::try_parse(text).ok().map(Id::Media));
        let id = id.with_context(|| format!("'{text}' is neither an offset (17) nor a media id (a UUID)"))?;
        Ok(Wanted { text: text.to_owned(), id, found: false })
    }

    fn means(&self, entry: &Entry) -> bool {
        match self.id {
            Id::Offset(offset) => entry.offset == offset,
            Id::Media(id) => entry.task().is_some_and(|task| task.media_id == id),
        }
    }
}

/// Everything that a dead letter says.
fn whole(entry: &Entry) -> Value {
    let mut fields = summary(entry);
    let Some(letter) = &entry.letter else { return Value::Object(fields) };
    fields.insert("input".to_owned(), letter.input.clone().into());
    fields.insert("error".to_owned(), note(&letter.error));
    fields.insert("first_error".to_owned(), letter.first_error.as_ref().map(note).into());
    if let Some(task) = &letter.task {
        fields.insert("task".to_owned(), whole_task(task));
    }
    if let Some(original) = &letter.original {
        let bytes = STANDARD.decode(original).unwrap_or_default();
        let text = redact_lines(&String::from_utf8_lossy(&bytes));
        fields.insert("original".to_owned(), json!({ "bytes": bytes.len(), "text": text }));
    }
    Value::Object(fields)
}

/// The text of an event that could not be decoded; what looks like a URL in it loses its secrets.
fn redact_lines(text: &str) -> String {
    let redact = |word: &str| if word.contains("://") { redact_url(word) } else { word.to_owned() };
    text.split_inclusive(['"', '\'', ' ', '\t', '\n', ','])
        .map(|piece| {
            let word = piece.trim_end_matches(['"', '\'', ' ', '\t', '\n', ',']);
            format!("{}{}", redact(word), &piece[word.len()..])
        })
        .collect()
}

fn note(error: &ErrorNote) -> Value {
    json!({
        "class": error.class,
        "reason": error.reason,
        "message": error.message,
        "http_status": error.http_status,
        "at": render::exact_time(error.at),
    })
}

fn whole_task(task: &Task) -> Value {
    json!({
        "trace_id": task.trace_id,
        "path": task.path,
        "event_time": task.event_time,
        "ingested_at": render::exact_time(task.ingested_at),
        "attempts": task.attempts,
        "waits": task.waits,
        "moves": task.moves,
        "waiting_since": task.waiting_since.map(render::exact_time),
    })
}

/// The fields one a line, those within others indented.
fn as_text(value: &Value, indent: &str) -> String {
    let Value::Object(fields) = value else { return value.to_string() };
    let line = |(name, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::Object(_) => Some(format!("{indent}{name}:\n{}", as_text(value, &format!("{indent}  ")))),
        Value::String(text) => Some(format!("{indent}{name:<14} {}", harmless(text))),
        other => Some(format!("{indent}{name:<14} {other}")),
    };
    fields.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poison_event_is_shown_without_secrets() {
        let shown = redact_lines(r#"{"url": "https://u:p@h/a?token=abc", "n": 1,"#);
        assert_eq!(shown, r#"{"url": "https://h/a?token=REDACTED", "n": 1,"#);
        assert_eq!(redact_lines("no url"), "no url");
    }
}
