//! Looks through the tables of one source.

use anyhow::Result;
use futures::StreamExt;
use longshore_core::row::Cell;
use longshore_lake::table::{ExactTable, to_cells};
use longshore_stages::ports::Store;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::look::{Looker, attachments};
use super::story::{Stage, Standing};
use super::wanted::{EventIds, Meant};
use crate::place::Tables;
use crate::render;

/// What is read of a row in `attachments`.
const STORED: [&str; 9] = [
    "media_id",
    "trace_id",
    "attachment_url",
    "blob_path",
    "bytes_downloaded",
    "sha256",
    "attempts",
    "downloaded_at",
    "created_at",
];
/// What is read of a row in `attachments_failed`.
const FAILED: [&str; 10] = [
    "media_id",
    "trace_id",
    "attachment_url",
    "status",
    "error_message",
    "http_status",
    "retry_count",
    "life",
    "failed_at",
    "created_at",
];
/// What is read of a row in `events`.
const EVENTS: [&str; 8] = ["event_key", "trace_id", "event_id", "type", "event_time", "media_ids", "ingested_at", "created_at"];

type Batches = futures::stream::BoxStream<
    'static,
    Result<longshore_lake::table::arrow::array::RecordBatch, longshore_stages::ports::TableError>,
>;

impl Looker<'_> {
    /// By `trace_id` first; only where that finds nothing, or the event is meant by another id, is everything read.
    pub(super) async fn event_rows(&mut self, tables: &Tables) -> Result<()> {
        let Some(table) = &tables.events else { return Ok(()) };
        let before = self.story.steps.len();
        // In the preset `urls` an attachment's id is its event's trace_id as well.
        let texts: Vec<String> = self.wanted.searches(&self.lane.source).into_iter().flat_map(|(_, texts)| texts).collect();
        if !texts.is_empty() {
            self.event_rows_of(table.search(&EVENTS, "trace_id", &texts).await?).await?;
        }
        if self.story.steps.len() == before {
            self.event_rows_of(table.scan(&EVENTS).await?).await?;
        }
        Ok(())
    }

    async fn event_rows_of(&mut self, mut batches: Batches) -> Result<()> {
        while let Some(batch) = batches.next().await {
            to_cells(&batch?)?.iter().for_each(|row| self.event_row(row));
        }
        Ok(())
    }

    fn event_row(&mut self, row: &[Cell]) {
        let [key, trace_id, event_id, _, _, Cell::TextList(media_ids), Cell::Timestamp(ingested_at), created_at] = row else {
            return;
        };
        let ids = EventIds {
            trace_id: text(trace_id),
            event_id: Some(text(event_id)).filter(|id| !id.is_empty()),
            event_key: Uuid::try_parse(&text(key)).ok(),
            media_ids: media_ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect(),
        };
        let meant = match self.wanted.learn(&self.lane.source, &ids) {
            Meant::None => return,
            Meant::All => ids.media_ids.clone(),
            Meant::These(some) => some,
        };
        meant.iter().for_each(|id| self.meet(*id, Standing::Unaccounted, &ids.trace_id, None));
        let says = format!(
            "event {} with {}; its row is of {}",
            ids.trace_id,
            attachments(ids.media_ids.len()),
            render::cell_text(created_at)
        );
        let place = self.lane.shape.events_table().name;
        let mut facts = row_facts(&EVENTS, row);
        // They are told one by one, as attachments.
        facts.remove("media_ids");
        facts.insert("attachments".to_owned(), ids.media_ids.len().into());
        self.add(*ingested_at, Stage::EventRow, None, format!("{place} {}", text(key)), says, facts);
    }

    pub(super) async fn stored_rows(&mut self, table: Option<&ExactTable>) -> Result<()> {
        let store = self.place.store_view();
        for row in self.rows(table, &STORED).await? {
            let [_, trace_id, url, blob_path, Cell::Int64(bytes), _, attempts, Cell::Timestamp(at), _] = row.as_slice() else {
                continue;
            };
            let blob_path = text(blob_path);
            let object = match &store {
                Ok(store) => {
                    store.stat(&blob_path).await.map(|found| found.map(|object| object.bytes)).map_err(|e| e.to_string())
                }
                Err(error) => Err(format!("{error:#}")),
            };
            let size = u64::try_from(*bytes).unwrap_or(0);
            let (state, said) = match object {
                Ok(Some(found)) if found == size => ("present", "the object is there".to_owned()),
                Ok(Some(found)) => ("other_size", format!("BUT THE OBJECT HAS {found} BYTES")),
                Ok(None) => ("missing", "BUT THE OBJECT IS MISSING".to_owned()),
                Err(error) => ("unknown", format!("the object cannot be looked at: {error}")),
            };
            let mut facts = row_facts(&STORED, &row);
            facts.insert("object".to_owned(), state.into());
            let attempts = render::cell_text(attempts);
            let says = format!("stored at {blob_path}, {size} bytes, attempt {attempts}; {said}");
            let place = self.lane.shape.attachments_table().name;
            let step = self.step(*at, Stage::Stored, id_of(&row[0]), place, says, facts);
            self.story.add_of(step, &text(trace_id), Some(text(url)));
        }
        Ok(())
    }

    pub(super) async fn failed_rows(&mut self, table: Option<&ExactTable>) -> Result<()> {
        for row in self.rows(table, &FAILED).await? {
            let [_, trace_id, url, status, message, _, retries, life, Cell::Timestamp(at), _] = row.as_slice() else { continue };
            let retries = render::cell_text(retries);
            let says = format!("{}: {}; {retries} retries, life {}", text(status), text(message), render::cell_text(life));
            let place = self.lane.shape.failed_table().name;
            let step = self.step(*at, Stage::Failed, id_of(&row[0]), place, says, row_facts(&FAILED, &row));
            self.story.add_of(step, &text(trace_id), Some(text(url)));
        }
        Ok(())
    }

    /// The rows of attachments that are meant; `media_id` and `trace_id` are the first two columns.
    async fn rows(&self, table: Option<&ExactTable>, columns: &[&str]) -> Result<Vec<Vec<Cell>>> {
        let Some(table) = table else { return Ok(Vec::new()) };
        let searches = self.wanted.searches(&self.lane.source);
        let mut found = Vec::new();
        if searches.is_empty() {
            self.rows_of(table.scan(columns).await?, &mut found).await?;
        }
        for (column, texts) in searches {
            self.rows_of(table.search(columns, column, &texts).await?, &mut found).await?;
        }
        Ok(found)
    }

    async fn rows_of(&self, mut batches: Batches, found: &mut Vec<Vec<Cell>>) -> Result<()> {
        while let Some(batch) = batches.next().await {
            let rows = to_cells(&batch?)?.into_iter().filter(|row| self.means(row));
            // Twice as many as are kept: a row may be found by both of its ids.
            let room = (2 * super::MOST).saturating_sub(found.len());
            found.extend(rows.take(room));
        }
        Ok(())
    }

    fn means(&self, row: &[Cell]) -> bool {
        let trace_id = row.get(1).map(text).unwrap_or_default();
        row.first().and_then(id_of).is_some_and(|id| self.wanted.has(&self.lane.source, &trace_id, id))
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        _ => String::new(),
    }
}

fn id_of(cell: &Cell) -> Option<Uuid> {
    Uuid::try_parse(&text(cell)).ok()
}

fn row_facts(columns: &[&str], row: &[Cell]) -> Map<String, Value> {
    columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), render::cell_json(cell))).collect()
}
