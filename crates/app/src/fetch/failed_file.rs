//! `failed.ndjson`: what has failed and is not stored, in the form of an input.
//!
//! Of the preset `urls` one line for each URL, with the last error; of any other preset the events that hold failed
//! attachments, as they came, each once; and events that could not be read, as they came.
//!
//! *Does not own*: what counts as failed (the survey of the dead letters). Memory: the survey's, and of each failed
//! attachment the event's id.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use longshore_core::format::{DeadLetter, HEADER_TRUNCATED};
use longshore_core::ids;
use longshore_core::replay;
use longshore_core::row::Cell;
use longshore_core::source::Mapping;
use longshore_lake::table::{ExactTable, to_cells};
use longshore_stages::ports::{LogView, Store};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::dlq::{Entry, Standing, Survey};
use crate::place::{Lane, Tables};
use crate::render;

/// The file's name in the directory.
pub(super) const NAME: &str = "failed.ndjson";

/// What is open at the end of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Open {
    /// Attachments and events that have failed and are not stored.
    pub(super) count: u64,
    /// Of these, those that the file does not hold: they cannot be an input.
    pub(super) left_out: u64,
    /// The file; nothing where nothing has failed.
    pub(super) file: Option<PathBuf>,
}

/// Writes the file of a source anew, or removes it when nothing has failed. The store has what is too large for the log.
pub(super) async fn write(root: &Path, view: &dyn LogView, lane: &Lane, tables: &Tables, store: &dyn Store) -> Result<Open> {
    let target = root.join(NAME);
    let temporary = root.join(format!("{NAME}.new"));
    let written =
        written(&temporary, view, lane, tables, store).await.with_context(|| format!("writing {}", target.display()))?;
    let Open { count, left_out, .. } = written.0;
    let gone = |path: &Path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    };
    if written.1 == 0 {
        gone(&temporary)?;
        gone(&target)?;
        return Ok(Open { count, left_out, file: None });
    }
    std::fs::rename(&temporary, &target).with_context(|| format!("writing {}", target.display()))?;
    Ok(Open { count, left_out, file: Some(target) })
}

fn is_urls(lane: &Lane) -> bool {
    matches!(lane.source.mapping, Mapping::Urls)
}

/// Returns what is open, and how many lines were written.
async fn written(path: &Path, view: &dyn LogView, lane: &Lane, tables: &Tables, store: &dyn Store) -> Result<(Open, u64)> {
    let states = Survey::states(view, lane).await?;
    let mut events = Events::default();
    let mut survey = Survey::of(view, &states, tables).await?;
    let mut open = Open::default();
    while let Some(entries) = survey.next().await? {
        for (entry, _) in entries.iter().filter(|(_, standing)| is_open(*standing)) {
            open.count += 1;
            events.note(entry);
        }
    }
    if open.count == 0 {
        return Ok((open, 0));
    }
    let mut out = Out::new(path)?;
    if is_urls(lane) {
        events.find_ids(tables.events.as_ref()).await?;
    } else {
        events.copy(tables.events.as_ref(), &mut out).await?;
    }
    let mut survey = Survey::of(view, &states, tables).await?;
    while let Some(entries) = survey.next().await? {
        for (entry, _) in entries.into_iter().filter(|(_, standing)| is_open(*standing)) {
            let entry = entry.whole(Some(store)).await?;
            match line(&entry, is_urls(lane), &events) {
                Some(line) => out.line(&line)?,
                None if entry.task().is_none() || is_urls(lane) => open.left_out += 1,
                None => {}
            }
        }
    }
    Ok((open, out.finish()?))
}

fn is_open(standing: Standing) -> bool {
    matches!(standing, Standing::Open | Standing::Unreadable)
}

/// The line of a letter; nothing where it has none of its own.
fn line(entry: &Entry, urls: bool, events: &Events) -> Option<Vec<u8>> {
    // Half a URL is no input.
    let letter = entry.letter.as_ref().filter(|_| !entry.is_apart())?;
    match &letter.task {
        Some(_) if urls => Some(url_line(letter, events)?.to_string().into_bytes()),
        Some(_) => None,
        None if entry.headers.iter().any(|(name, _)| name == HEADER_TRUNCATED) => None,
        None => replay::original(letter).filter(|bytes| !bytes.is_empty() && !bytes.contains(&b'\n')),
    }
}

fn url_line(letter: &DeadLetter, events: &Events) -> Option<Value> {
    let task = letter.task.as_ref()?;
    let mut fields = Map::new();
    fields.insert("url".to_owned(), task.url.clone().into());
    if let Some(Some(id)) = events.ids.get(&key(&task.trace_id)) {
        fields.insert("id".to_owned(), id.clone().into());
    }
    if let Some(time) = &task.event_time {
        fields.insert("event_time".to_owned(), time.clone().into());
    }
    let error = &letter.error;
    fields.insert(
        "longshore_error".to_owned(),
        json!({
            "class": letter.status,
            "reason": error.reason,
            "message": error.message,
            "at": render::exact_time(error.at),
            "attempts": task.attempts,
        }),
    );
    Some(Value::Object(fields))
}

/// The events that hold what is open, by the key of their trace id.
#[derive(Default)]
struct Events {
    ids: HashMap<Uuid, Option<String>>,
}

/// 16 bytes for a trace id of any length.
fn key(trace_id: &str) -> Uuid {
    ids::v5(&Uuid::NAMESPACE_OID, &[trace_id.as_bytes()])
}

impl Events {
    fn note(&mut self, entry: &Entry) {
        self.ids.extend(entry.task().map(|task| (key(&task.trace_id), None)));
    }

    /// Finds the events' own ids.
    async fn find_ids(&mut self, table: Option<&ExactTable>) -> Result<()> {
        let Some(table) = table else { return Ok(()) };
        let mut batches = table.scan(&["trace_id", "event_id"]).await?;
        while let Some(batch) = batches.try_next().await? {
            for row in to_cells(&batch)? {
                if let [Cell::Text(trace_id), Cell::Text(id)] = row.as_slice()
                    && let Some(known) = self.ids.get_mut(&key(trace_id))
                {
                    *known = Some(id.clone());
                }
            }
        }
        Ok(())
    }

    /// Copies the events as they came, each on one line.
    async fn copy(&self, table: Option<&ExactTable>, out: &mut Out) -> Result<()> {
        let Some(table) = table else { return Ok(()) };
        let mut batches = table.scan(&["trace_id", "raw_json"]).await?;
        while let Some(batch) = batches.try_next().await? {
            for row in to_cells(&batch)? {
                if let [Cell::Text(trace_id), Cell::Text(raw)] = row.as_slice()
                    && self.ids.contains_key(&key(trace_id))
                {
                    // White space between the parts of JSON may be any other; within its texts there is no line's end.
                    out.line(raw.replace(['\n', '\r'], " ").as_bytes())?;
                }
            }
        }
        Ok(())
    }
}

struct Out {
    file: BufWriter<File>,
    lines: u64,
}

impl Out {
    /// Only its owner may read it: URLs carry their signatures.
    fn new(path: &Path) -> Result<Self> {
        let _ = std::fs::remove_file(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Out { file: BufWriter::new(file), lines: 0 })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        self.lines += 1;
        self.file.write_all(line)?;
        Ok(self.file.write_all(b"\n")?)
    }

    fn finish(self) -> Result<u64> {
        self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(self.lines)
    }
}
