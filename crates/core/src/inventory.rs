//! Row planning: the three tables of a source, and what becomes a row in each.

use uuid::Uuid;

use serde::{Deserialize, Serialize};

use crate::format::{Columns, DeadLetter, Stored};
use crate::policy::redact::redact_url;
use crate::row::{Cell, Column, Key, Kind, Row, TableSpec};
use crate::source::{Event, RawEvent, cut};
use crate::time::{self, Micros};

/// The longest `error_message` in a row, in bytes.
const MAX_MESSAGE: usize = 1_000;

fn column(name: &str, kind: Kind, nullable: bool) -> Column {
    Column { name: name.into(), kind, nullable }
}

fn spec(name: String, columns: Vec<Column>, key_id: &str, key_sequence: Option<&str>) -> TableSpec {
    let at = |name: &str| columns.iter().position(|c| c.name == name);
    let index = |name: &str| at(name).expect("the column is in the list above");
    let mut filtered = vec![index(key_id)];
    filtered.extend(at("trace_id").filter(|i| *i != filtered[0]));
    let (key_id, key_sequence, partition) = (filtered[0], key_sequence.map(index), index("event_date"));
    TableSpec { name, key_id, key_sequence, filtered, partition, columns }
}

/// The tables of a source: its name, and the columns that it has beside those of every source. All of these are
/// texts that may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// The source's name, with which its tables begin.
    pub source: String,
    /// Further columns of `attachments`.
    #[serde(default)]
    pub attachments: Vec<String>,
    /// Further columns of `attachments_failed`.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Further columns of `events`.
    #[serde(default)]
    pub events: Vec<String>,
}

fn further(names: &[String]) -> impl Iterator<Item = Column> {
    names.iter().map(|name| column(name, Kind::Text, true))
}

fn values<'a>(names: &'a [String], columns: &'a Columns) -> impl Iterator<Item = Cell> + 'a {
    names.iter().map(|name| text(columns.get(name.as_str()).map(String::as_str)))
}

impl Shape {
    /// A source without further columns.
    pub fn of(source: &str) -> Self {
        Shape { source: source.to_owned(), ..Shape::default() }
    }

    /// `{source}_attachments`: one row for each stored attachment, keyed by `media_id`.
    pub fn attachments_table(&self) -> TableSpec {
        let mut columns = vec![
            column("media_id", Kind::Text, false),
            column("trace_id", Kind::Text, true),
            column("source", Kind::Text, true),
            column("attachment_url", Kind::Text, true),
            column("blob_path", Kind::Text, true),
            column("file_type", Kind::Text, true),
            column("content_type", Kind::Text, true),
            column("bytes_downloaded", Kind::Int64, true),
            column("sha256", Kind::Text, true),
            column("etag", Kind::Text, true),
            column("attempts", Kind::Int64, true),
            column("event_time", Kind::Timestamp, true),
            column("downloaded_at", Kind::Timestamp, true),
            column("created_at", Kind::Timestamp, true),
            column("event_date", Kind::Date, true),
        ];
        columns.extend(further(&self.attachments));
        spec(format!("{}_attachments", self.source), columns, "media_id", None)
    }

    /// `{source}_attachments_failed`: a history, one row for each failed life of an attachment.
    pub fn failed_table(&self) -> TableSpec {
        let mut columns = vec![
            column("media_id", Kind::Text, false),
            column("trace_id", Kind::Text, true),
            column("source", Kind::Text, true),
            column("attachment_url", Kind::Text, true),
            column("status", Kind::Text, true),
            column("error_message", Kind::Text, true),
            column("http_status", Kind::Int64, true),
            column("retry_count", Kind::Int64, true),
            column("life", Kind::Int64, false),
            column("event_time", Kind::Timestamp, true),
            column("first_failed_at", Kind::Timestamp, true),
            column("failed_at", Kind::Timestamp, true),
            column("created_at", Kind::Timestamp, true),
            column("event_date", Kind::Date, true),
        ];
        columns.extend(further(&self.failed));
        spec(format!("{}_attachments_failed", self.source), columns, "media_id", Some("life"))
    }

    /// `{source}_events`: one row for each event, keyed by its bytes.
    pub fn events_table(&self) -> TableSpec {
        let mut columns = vec![
            column("event_key", Kind::Text, false),
            column("trace_id", Kind::Text, true),
            column("event_id", Kind::Text, true),
            column("source", Kind::Text, true),
            column("type", Kind::Text, true),
            column("event_time", Kind::Timestamp, true),
            column("media_ids", Kind::TextList, true),
            column("raw_json", Kind::Text, true),
            column("mapping_version", Kind::Text, true),
            column("ingested_at", Kind::Timestamp, true),
            column("created_at", Kind::Timestamp, true),
            column("event_date", Kind::Date, true),
        ];
        columns.extend(further(&self.events));
        spec(format!("{}_events", self.source), columns, "event_key", None)
    }

    /// The row of a stored attachment.
    pub fn attachment_row(&self, stored: &Stored, now: Micros) -> Row {
        let event_time = time::event_time(stored.event_time.as_deref(), stored.ingested_at);
        let mut cells = vec![
            Cell::Text(stored.media_id.to_string()),
            Cell::Text(stored.trace_id.clone()),
            Cell::Text(stored.source.clone()),
            Cell::Text(redact_url(&stored.url)),
            Cell::Text(stored.blob_path.clone()),
            Cell::Text(stored.file_type.clone()),
            text(stored.content_type.as_deref()),
            Cell::Int64(i64::try_from(stored.bytes_downloaded).unwrap_or(i64::MAX)),
            Cell::Text(stored.sha256.clone()),
            text(stored.etag.as_deref()),
            Cell::Int64(i64::from(stored.attempts)),
            timestamp(event_time),
            Cell::Timestamp(stored.downloaded_at),
            Cell::Timestamp(now),
            Cell::Date(time::partition_day(event_time, stored.ingested_at)),
        ];
        cells.extend(values(&self.attachments, &stored.columns));
        Row { key: key(stored.media_id), cells }
    }

    /// The row of a failed life; nothing for a poison event, which has no attachment.
    pub fn failed_row(&self, letter: &DeadLetter, now: Micros) -> Option<Row> {
        let task = letter.task.as_ref()?;
        let event_time = time::event_time(task.event_time.as_deref(), task.ingested_at);
        let first_failed_at = letter.first_error.as_ref().map_or(letter.failed_at, |error| error.at);
        let mut cells = vec![
            Cell::Text(task.media_id.to_string()),
            Cell::Text(task.trace_id.clone()),
            Cell::Text(letter.source.clone()),
            Cell::Text(redact_url(&task.url)),
            Cell::Text(letter.status.as_str().to_owned()),
            Cell::Text(cut(format!("{}: {}", letter.error.reason, letter.error.message), MAX_MESSAGE)),
            letter.error.http_status.map_or(Cell::Null, |status| Cell::Int64(i64::from(status))),
            Cell::Int64(i64::from(task.attempts.saturating_sub(1))),
            Cell::Int64(i64::from(letter.life)),
            timestamp(event_time),
            Cell::Timestamp(first_failed_at),
            Cell::Timestamp(letter.failed_at),
            Cell::Timestamp(now),
            Cell::Date(time::partition_day(event_time, task.ingested_at)),
        ];
        cells.extend(values(&self.failed, &task.columns));
        Some(Row { key: Key { id: task.media_id, sequence: i64::from(letter.life) }, cells })
    }

    /// The row of an accepted event, as it came; `mapping_version` is that of the mapping that read it.
    pub fn event_row(&self, mapping_version: &str, event: &Event, raw: &RawEvent<'_>, now: Micros) -> Row {
        let ingested_at = raw.ingested_at;
        let event_time = time::event_time(event.event_time.as_deref(), ingested_at);
        let id = event.key(raw);
        let media_ids = event.media_ids.iter().map(Uuid::to_string).collect();
        let mut cells = vec![
            Cell::Text(id.to_string()),
            Cell::Text(event.trace_id.clone()),
            text(event.event_id.as_deref()),
            Cell::Text(self.source.clone()),
            text(event.event_type.as_deref()),
            timestamp(event_time),
            Cell::TextList(media_ids),
            Cell::Text(String::from_utf8_lossy(raw.bytes).into_owned()),
            Cell::Text(mapping_version.to_owned()),
            Cell::Timestamp(ingested_at),
            Cell::Timestamp(now),
            Cell::Date(time::partition_day(event_time, ingested_at)),
        ];
        cells.extend(values(&self.events, &event.columns));
        Row { key: key(id), cells }
    }
}

/// The key of an attachment in `attachments`.
pub fn key(id: Uuid) -> Key {
    Key { id, sequence: 0 }
}

fn text(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, |v| Cell::Text(v.to_owned()))
}

fn timestamp(value: Option<Micros>) -> Cell {
    value.map_or(Cell::Null, Cell::Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{ErrorNote, Task};
    use crate::outcome::{Class, Reason};

    fn letter(message: &str) -> DeadLetter {
        let task =
            Task { media_id: Uuid::from_u128(5), url: "https://u:p@h/a?sig=s".into(), attempts: 4, life: 2, ..Task::default() };
        let error = ErrorNote {
            class: Class::Transient,
            reason: Reason::HttpStatus,
            message: message.into(),
            http_status: Some(500),
            at: 9,
        };
        DeadLetter::of_task(task, error)
    }

    #[test]
    fn each_row_fits_its_table() {
        let stored = Stored {
            v: 1,
            source: "urls".into(),
            trace_id: "t".into(),
            media_id: Uuid::from_u128(5),
            url: "https://h/a?sig=secret".into(),
            blob_path: "h/a".into(),
            file_type: "PDF".into(),
            content_type: None,
            bytes_downloaded: 3,
            sha256: "00".into(),
            etag: None,
            attempts: 1,
            event_time: None,
            ingested_at: 0,
            downloaded_at: 1,
            columns: Columns::new(),
        };
        let event = Event {
            trace_id: "t".into(),
            event_id: None,
            event_type: None,
            event_time: None,
            columns: [("claim".into(), "7".to_owned())].into(),
            ..Event::default()
        };
        let shape = Shape { events: vec!["claim".into(), "other".into()], ..Shape::of("urls") };
        for (spec, row) in [
            (shape.attachments_table(), shape.attachment_row(&stored, 2)),
            (shape.failed_table(), shape.failed_row(&letter("x"), 2).expect("a task")),
            (shape.events_table(), shape.event_row("urls/1", &event, &RawEvent::of(b"{}", 0), 2)),
        ] {
            assert_eq!(spec.columns.len(), row.cells.len(), "{}", spec.name);
            for (column, cell) in spec.columns.iter().zip(&row.cells) {
                let fits = match (column.kind, cell) {
                    (_, Cell::Null) => column.nullable,
                    (Kind::Text, Cell::Text(_)) | (Kind::Int64, Cell::Int64(_)) | (Kind::Timestamp, Cell::Timestamp(_)) => true,
                    (Kind::Date, Cell::Date(_)) | (Kind::TextList, Cell::TextList(_)) => true,
                    _ => false,
                };
                assert!(fits, "{}.{}: {cell:?}", spec.name, column.name);
            }
            assert_eq!(row.cells[spec.key_id], Cell::Text(row.key.id.to_string()));
            assert!(!format!("{row:?}").contains("secret"), "a signature reached the table");
        }
    }

    #[test]
    fn a_failed_row_is_keyed_by_life_and_its_message_is_bounded() {
        let row = Shape::of("urls").failed_row(&letter(&"é".repeat(2_000)), 2).expect("a task");
        assert_eq!(row.key, Key { id: Uuid::from_u128(5), sequence: 2 });
        let spec = Shape::of("urls").failed_table();
        assert_eq!(row.cells[spec.key_sequence.expect("life")], Cell::Int64(2));
        assert!(matches!(&row.cells[5], Cell::Text(m) if m.len() <= MAX_MESSAGE && m.starts_with("http_status: é")));
        assert_eq!(row.cells[7], Cell::Int64(3));
    }

    #[test]
    fn poison_has_no_row() {
        let poison = DeadLetter { task: None, status: Class::Poison, ..letter("x") };
        assert_eq!(Shape::of("urls").failed_row(&poison, 0), None);
    }
}
