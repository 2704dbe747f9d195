//! The feed: input lines → events topic, without those whose attachment is known already.
//!
//! ```text
//! reader thread ─▶ [≤ 4 batches of ≤ 4,096 lines or 2 MiB] ─▶ known? ─▶ events topic
//! ```
//! *Known* is what an earlier run left in the log and, with the preset `urls`, what has a row in `attachments` or
//! `attachments_failed`; with any other preset, what has a row in `events`, as long as events are read as before. A line
//! that is skipped was an event before: the input is reread whole at every run, and costs a look-up a line.
//!
//! A URL whose attachment failed, but under another signature, is fed once more, in the attachment's first life: where
//! it fails again the rows stay as they are, and where it is stored, stored wins.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use longshore_core::format::{HEADER_INPUT, HEADER_REMAPPED, HEADER_TRUNCATED, HEADER_URL_FIELD};
use longshore_core::row::Key;
use longshore_core::source::Mapping;
use longshore_core::{ids, inventory, source};
use longshore_lake::table::ExactTable;
use longshore_stages::ports::{Log, Message, Table};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::earlier::{Earlier, FailedBefore};
use super::patience::patiently;
use crate::cli::FetchArgs;
use crate::input::{self, Line};
use crate::pipeline::{OpenLane, OpenTables, World};

const BATCH_LINES: usize = 4_096;
const BATCH_BYTES: usize = 2 << 20;
const BATCHES: usize = 4;

/// How far the feed is.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Lines read.
    pub(crate) lines: AtomicU64,
    /// Lines skipped because their attachment is known.
    pub(crate) known: AtomicU64,
    /// Lines appended as events.
    pub(crate) fed: AtomicU64,
    /// Inputs that could not be read to their end, and why.
    pub(crate) unreadable: Mutex<Vec<String>>,
}

/// The feed, running.
pub(crate) struct Feed {
    task: Option<JoinHandle<Result<Fed>>>,
    fed: Fed,
    totals: Arc<Totals>,
}

/// What a line is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Its only attachment.
    Attachment,
    /// Its bytes.
    Event,
}

impl Naming {
    fn of(mapping: &Mapping) -> Self {
        if matches!(mapping, Mapping::Urls) { Naming::Attachment } else { Naming::Event }
    }

    /// The table that tells what is known for good.
    fn table(self, tables: &OpenTables) -> ExactTable {
        match self {
            Naming::Attachment => tables.attachments.clone(),
            Naming::Event => tables.events.clone(),
        }
    }

    /// The table that tells what has failed.
    fn failed(self, tables: &OpenTables) -> Option<ExactTable> {
        matches!(self, Naming::Attachment).then(|| tables.failed.clone())
    }
}

/// Whether the events of this batch are read as in earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// By the same mapping, as far as is known.
    AsBefore,
    /// By another mapping: all of the input is fed once more.
    Anew,
}

/// A line that is not known from the log.
struct Fresh {
    line: Line,
    /// Its id; nothing where it cannot be decoded.
    id: Option<Uuid>,
    failed: FailedBefore,
}

/// How much of the input was fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fed {
    Whole,
    Part,
}

impl Totals {
    /// Inputs that could not be read to their end, and why.
    pub(crate) fn unreadable(&self) -> Vec<String> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Opens the inputs. Blocks, for a pipe until its first bytes come.
pub(crate) fn open(args: &FetchArgs) -> Result<Vec<input::Lines>> {
    args.inputs.iter().map(|name| input::open(name, args.url_col.as_deref())).collect()
}

struct Feeder {
    log: Arc<dyn Log>,
    topic: String,
    table: ExactTable,
    failed: Option<ExactTable>,
    naming: Naming,
    reading: Reading,
    earlier: Earlier,
    totals: Arc<Totals>,
}

impl Feed {
    /// Starts to read the inputs; ends early when `stop` is cancelled.
    pub(crate) fn start(
        inputs: Vec<input::Lines>,
        world: &World,
        open: &OpenLane,
        earlier: Earlier,
        reading: Reading,
        stop: CancellationToken,
    ) -> Result<Self> {
        let totals = Arc::new(Totals::default());
        let (naming, tables) = (Naming::of(&open.lane.source.mapping), open.ours()?);
        let feeder = Feeder {
            log: world.log.clone(),
            topic: open.lane.topics.raw(),
            table: naming.table(tables),
            failed: naming.failed(tables),
            naming,
            reading,
            earlier,
            totals: totals.clone(),
        };
        let (sender, batches) = mpsc::channel(BATCHES);
        std::thread::Builder::new().name("input".into()).spawn(move || read(inputs, &sender))?;
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => Ok(Fed::Part),
                fed = feeder.run(batches) => fed.map(|()| Fed::Whole),
            }
        });
        Ok(Feed { task: Some(task), fed: Fed::Part, totals })
    }

    /// Whether lines may still come.
    pub(crate) fn is_running(&self) -> bool {
        self.task.is_some()
    }

    /// Returns when the input has been read.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await.map_err(|e| anyhow!("reading the input broke down: {e}"));
        self.task = None;
        self.fed = ended??;
        Ok(())
    }

    /// Whether all of the input was read and fed.
    pub(crate) fn is_whole(&self) -> bool {
        self.fed == Fed::Whole
    }

    /// How far it is.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }
}

/// Reads all inputs into batches, on a thread of its own: files and pipes block.
fn read(inputs: Vec<input::Lines>, batches: &mpsc::Sender<Result<Vec<Line>>>) {
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_LINES), 0);
    for line in inputs.into_iter().flatten() {
        match line {
            Ok(line) => {
                bytes += line.event.len();
                batch.push(line);
            }
            // What could be read goes first. An input whose reader cannot go on yields nothing more; the others do.
            Err(error) => {
                let read = std::mem::take(&mut batch);
                if batches.blocking_send(Ok(read)).is_err() || batches.blocking_send(Err(error)).is_err() {
                    return;
                }
                bytes = 0;
            }
        }
        if batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES {
            bytes = 0;
            if batches.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                return;
            }
        }
    }
    let _ = batches.blocking_send(Ok(batch));
}

impl Feeder {
    async fn run(self, mut batches: mpsc::Receiver<Result<Vec<Line>>>) -> Result<()> {
        while let Some(batch) = batches.recv().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.totals.unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                    continue;
                }
            };
            self.totals.lines.fetch_add(batch.len() as u64, Relaxed);
            let new = self.unknown(batch).await?;
            if new.is_empty() {
                continue;
            }
            let count = new.len() as u64;
            patiently("appending events", || self.log.append(&self.topic, &new)).await?;
            self.totals.fed.fetch_add(count, Relaxed);
        }
        Ok(())
    }

    /// The lines whose attachment is neither in a table nor in the log.
    async fn unknown(&self, batch: Vec<Line>) -> Result<Vec<Message>> {
        let fresh: Vec<Fresh> = batch.into_iter().filter_map(|line| self.fresh(line)).collect();
        let keys: Vec<Key> = fresh.iter().map(|line| inventory::key(line.id.unwrap_or_default())).collect();
        let ask = |table: &ExactTable| {
            let (table, keys) = (table.clone(), keys.as_slice());
            async move { patiently("looking up what is known", || table.known(keys)).await }
        };
        let failed = futures::future::try_join_all(self.failed.iter().map(ask));
        let (known, failed) = futures::try_join!(ask(&self.table), failed)?;
        // Another mapping may find attachments in events that have a row.
        let anew = self.naming == Naming::Event && self.reading == Reading::Anew;
        let new = fresh.into_iter().enumerate().filter_map(|(index, fresh)| {
            let has_failed = failed.iter().any(|failed| failed[index]) && fresh.failed != FailedBefore::WithAnother;
            let message = message(fresh);
            match known[index] {
                true => anew.then(|| remapped(message)),
                false => (!has_failed).then_some(message),
            }
        });
        let new: Vec<Message> = new.collect();
        let (lines, fed) = (self.totals.lines.load(Relaxed), self.totals.fed.load(Relaxed));
        self.totals.known.store(lines.saturating_sub(fed + new.len() as u64), Relaxed);
        Ok(new)
    }

    /// The line, unless the log holds it.
    fn fresh(&self, line: Line) -> Option<Fresh> {
        let (id, failed) = match self.naming {
            _ if line.truncated.is_some() => (None, FailedBefore::No),
            Naming::Event => (Some(ids::event_key(&line.event)), FailedBefore::No),
            Naming::Attachment => {
                let url = source::url_of(&line.event, line.url_field.as_deref());
                let id = url.as_deref().map(ids::url_media_id);
                let failed = id.zip(url.as_deref()).map_or(FailedBefore::No, |(id, url)| self.earlier.failed(id, url));
                (id, failed)
            }
        };
        // What cannot be decoded is known by its bytes, but by another mapping it perhaps can be.
        let looked_up = self.naming == Naming::Attachment || self.reading == Reading::AsBefore;
        let known = looked_up && self.earlier.ids.contains(&id.unwrap_or_else(|| ids::event_key(&line.event)));
        (!known && failed != FailedBefore::WithThisUrl).then_some(Fresh { line, id, failed })
    }
}

fn message(Fresh { line, id, .. }: Fresh) -> Message {
    let mut headers = vec![(HEADER_INPUT.to_owned(), Bytes::from(line.place))];
    headers.extend(line.url_field.map(|field| (HEADER_URL_FIELD.to_owned(), Bytes::from(field))));
    headers.extend(line.truncated.map(|length| (HEADER_TRUNCATED.to_owned(), Bytes::from(length.to_string()))));
    Message { key: id.map(|id| Bytes::from(id.to_string())), value: Some(line.event.into()), headers }
}

/// The same for an event that has a row, made by another mapping.
fn remapped(mut message: Message) -> Message {
    message.headers.push((HEADER_REMAPPED.to_owned(), Bytes::from_static(b"1")));
    message
}
