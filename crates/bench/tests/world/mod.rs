//! A plan, and tables as Longshore writes them.
#![allow(dead_code)] // each test file uses its part

use std::path::Path;

use longshore_bench::content;
use longshore_bench::generator::{Expected, GeneratorPlan, Kind, Target, expected};
use longshore_core::format::{Columns, DeadLetter, ErrorNote, Stored, Task, VERSION};
use longshore_core::inventory::Shape;
use longshore_core::outcome::{Class, Reason};
use longshore_core::row::Row;
use longshore_lake::durable::DiskSync;
use longshore_lake::table::{ExactTable, Options, Root};

/// 2026-11-23T00:00:00Z, in microseconds since 1970.
pub(crate) const DAY: i64 = 1_795_392_000_000_000;

pub(crate) fn plan(kind: Kind, count: u64) -> GeneratorPlan {
    GeneratorPlan {
        to: Target::Kafka { brokers: "127.0.0.1:1".into(), properties: Default::default() },
        source: "xact".into(),
        kind,
        run: "r1".into(),
        first: 0,
        count,
        rate_per_s: None,
        start_unix_us: None,
        origin: "http://127.0.0.1:8080".into(),
        file_bytes: 2_048,
        origin_delay_ms: 5,
        missing_every: None,
        stall: None,
        lose: None,
    }
}

pub(crate) fn all(plan: &GeneratorPlan) -> Vec<Expected> {
    expected(plan).unwrap().collect()
}

pub(crate) fn shape() -> Shape {
    Shape::of("xact")
}

/// What download makes of a message.
pub(crate) fn stored(one: &Expected) -> Stored {
    Stored {
        v: VERSION,
        source: "xact".into(),
        trace_id: one.trace_id.clone(),
        media_id: one.media_id,
        url: one.url.clone(),
        blob_path: format!("files of {}/{}.pdf", one.number % 7, one.trace_id),
        file_type: "PDF".into(),
        content_type: None,
        bytes_downloaded: one.bytes,
        sha256: content::sha256(&one.path, one.bytes),
        etag: None,
        attempts: 1,
        event_time: None,
        ingested_at: DAY,
        downloaded_at: DAY + 1_000,
        columns: Columns::new(),
    }
}

pub(crate) fn row(one: &Expected) -> Row {
    shape().attachment_row(&stored(one), DAY + 3_000)
}

pub(crate) fn failed_row(one: &Expected) -> Row {
    let task = Task { trace_id: one.trace_id.clone(), media_id: one.media_id, url: one.url.clone(), ..Task::default() };
    let (class, reason) = (Class::Permanent, Reason::HttpStatus);
    let error = ErrorNote { class, reason, message: "404".into(), http_status: Some(404), at: DAY };
    shape().failed_row(&DeadLetter::of_task(Task { ingested_at: DAY, ..task }, error), DAY).unwrap()
}

pub(crate) async fn attachments(directory: &Path) -> ExactTable {
    let root = Root::local(directory, DiskSync::Off).unwrap();
    ExactTable::open(root, shape().attachments_table(), Options::default()).await.unwrap()
}

pub(crate) async fn failures(directory: &Path) -> ExactTable {
    let root = Root::local(directory, DiskSync::Off).unwrap();
    ExactTable::open(root, shape().failed_table(), Options::default()).await.unwrap()
}
