//! `longshore dlq`: the dead letters, looked at and replayed. URLs are shown without their secrets.

pub mod args;
mod going;
mod letters;
mod replay;
mod survey;
mod under_way;

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longshore_core::format::Task;
use longshore_core::policy::redact::redact_url;
use longshore_core::time;
use longshore_stages::ports::{Clock, LogView, Store, SystemClock};
use serde_json::{Map, Value, json};

use crate::cli::PlaceArgs;
use crate::exit;
use crate::free_text::redact_urls;
use crate::originals;
use crate::place::Place;
use crate::render::{self, Printed, harmless};
use crate::walk::{Moment, Step, Walk};
use args::{By, DlqCommand, LsArgs};
use letters::{Filter, Wanted};

pub(crate) use letters::{Entry, parse_class};
pub(crate) use replay::{Wish, replay};
pub(crate) use survey::{Standing, Survey, tables_of};

pub(crate) async fn run(command: DlqCommand) -> Result<u8> {
    match command {
        DlqCommand::Ls(args) => list(&args).await,
        DlqCommand::Show { ids, place } => show(&ids, &place).await,
        DlqCommand::Replay(args) => replay::run(&args).await,
    }
}

/// Hands every dead letter to `visit`, in order; a damaged place is named on standard error.
async fn visit(place: &Place, view: &dyn LogView, mut visit: impl FnMut(Entry) -> Result<()>) -> Result<()> {
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

async fn list(args: &LsArgs) -> Result<u8> {
    let filter = Filter::of(&args.filter, SystemClock.now()).context(exit::Usage)?;
    let place = Place::named(&args.place)?;
    let view = place.log_view()?;
    if let Some(by) = args.by {
        return count(&place, view.as_ref(), &filter, by, args.place.json).await;
    }
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
    visit(&place, view.as_ref(), keep).await?;
    print_list(&kept, args.place.json)?;
    if (kept.len() as u64) < matching {
        eprintln!("the latest {} of {matching}: --limit 0 shows all", kept.len());
    }
    Ok(exit::DONE)
}

/// The most hosts that are counted apart; the rest is counted as one.
const COUNTED: usize = 10_000;

async fn count(place: &Place, view: &dyn LogView, filter: &Filter, by: By, json: bool) -> Result<u8> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let note = |entry: Entry| {
        if filter.keeps(&entry) {
            let mut of = value_of(&entry, by);
            if counts.len() >= COUNTED && !counts.contains_key(&of) {
                of = "(others)".to_owned();
            }
            *counts.entry(of).or_default() += 1;
        }
        Ok(())
    };
    visit(place, view, note).await?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let name = match by {
        By::Host => "host",
        By::Class => "class",
        By::Reason => "reason",
    };
    if json {
        for (of, count) in &counts {
            if render::print(json!({ name: of, "count": count }))? == Printed::Unread {
                break;
            }
        }
        return Ok(exit::DONE);
    }
    if counts.is_empty() {
        eprintln!("no dead letters");
        return Ok(exit::DONE);
    }
    let mut table = render::table([name, "dead letters"]);
    table.add_rows(counts.iter().map(|(of, count)| [harmless(of), count.to_string()]));
    render::print(table.trim_fmt())?;
    Ok(exit::DONE)
}

fn value_of(entry: &Entry, by: By) -> String {
    let letter = entry.letter.as_ref();
    let unreadable = || "unreadable".to_owned();
    match by {
        By::Host => entry.host().unwrap_or_else(|| "(none)".to_owned()),
        By::Class => letter.map_or_else(unreadable, |letter| letter.status.to_string()),
        By::Reason => letter.map_or_else(unreadable, |letter| letter.error.reason.to_string()),
    }
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
    let mut table =
        render::table(["source", "offset", "failed at", "class", "reason", "status", "host", "attempts", "life", "url"]);
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
    let place = [text("source"), entry.offset.to_string(), time::format(entry.failed_at())];
    place.into_iter().chain(names.map(text)).collect()
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
    put("source", letter.source.clone().into());
    put("class", letter.status.as_str().into());
    put("reason", letter.error.reason.as_str().into());
    put("http_status", letter.error.http_status.into());
    put("life", letter.life.into());
    if let Some(task) = &letter.task {
        put("media_id", task.media_id.to_string().into());
        put("host", entry.host().into());
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
            found.push(entry);
        }
        Ok(())
    };
    visit(&place, view.as_ref(), look).await?;
    let store = originals::objects(&place)?;
    for (at, entry) in found.into_iter().enumerate() {
        let letter = with_object(entry, store.as_deref()).await?;
        if args.json {
            render::print(letter)?;
        } else {
            render::print(format!("{}{}", if at == 0 { "" } else { "\n" }, as_text(&letter, "")))?;
        }
    }
    let unknown: Vec<&str> = wanted.iter().filter(|one| !one.found).map(|one| one.text.as_str()).collect();
    if !unknown.is_empty() {
        bail!("no dead letter {} in {}: `longshore dlq ls` lists them", unknown.join(", "), place.root.display());
    }
    Ok(exit::DONE)
}

/// Everything that a dead letter says, what lies in the store of it included, and where that is.
async fn with_object(entry: Entry, store: Option<&dyn Store>) -> Result<Value> {
    let kept = entry.letter.as_ref().and_then(|letter| letter.kept.clone());
    let entry = entry.whole(store).await?;
    let (missing, mut said) = (entry.is_apart(), whole(&entry));
    if let Some(kept) = kept {
        let state = if missing { "missing, or changed: it cannot be replayed" } else { "there" };
        said["object"] = json!({ "path": kept.path, "bytes": kept.bytes, "sha256": kept.sha256, "state": state });
    }
    Ok(said)
}

/// Everything that a dead letter says.
fn whole(entry: &Entry) -> Value {
    let mut fields = summary(entry);
    let Some(letter) = &entry.letter else { return Value::Object(fields) };
    fields.insert("input".to_owned(), letter.input.clone().into());
    fields.insert("error".to_owned(), render::note(&letter.error));
    fields.insert("first_error".to_owned(), letter.first_error.as_ref().map(render::note).into());
    if let Some(task) = &letter.task {
        fields.insert("task".to_owned(), whole_task(task));
    }
    if let Some(original) = &letter.original {
        let bytes = STANDARD.decode(original).unwrap_or_default();
        let text = redact_urls(&String::from_utf8_lossy(&bytes));
        fields.insert("original".to_owned(), json!({ "bytes": bytes.len(), "text": text }));
    }
    Value::Object(fields)
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
