//! A small inventory to test with, and a store whose answers can be made to go wrong.

#![allow(dead_code)] // each test file uses its part

use std::fmt;
use std::ops::Range;
use std::path::Path as OsPath;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use longshore_core::row::{Cell, Column, Key, Kind, Row, TableSpec};
use longshore_lake::durable::DiskSync;
use longshore_lake::table::{ExactTable, Options, Root, to_cells};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use uuid::Uuid;

/// 2026-11-23.
pub(crate) const TODAY: i32 = 20_780;

pub(crate) fn spec() -> TableSpec {
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    TableSpec {
        name: "urls_attachments".into(),
        columns: vec![
            column("media_id", Kind::Text, false),
            column("trace_id", Kind::Text, false),
            column("note", Kind::Text, true),
            column("bytes_downloaded", Kind::Int64, true),
            column("downloaded_at", Kind::Timestamp, true),
            column("media_ids", Kind::TextList, true),
            column("event_date", Kind::Date, false),
        ],
        key_id: 0,
        key_sequence: None,
        filtered: vec![0, 1],
        partition: 6,
    }
}

pub(crate) fn key(n: u64) -> Key {
    let id = Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ n);
    Key { id, sequence: 0 }
}

pub(crate) fn row(n: u64, day: i32) -> Row {
    row_with(n, day, &format!("note {n}"))
}

pub(crate) fn row_with(n: u64, day: i32, note: &str) -> Row {
    let id = key(n).id.to_string();
    let cells = vec![
        Cell::Text(id.clone()),
        Cell::Text(key(n + 1_000_000_000).id.to_string()),
        Cell::Text(note.into()),
        Cell::Int64(n as i64),
        Cell::Timestamp(i64::from(day) * 86_400_000_000 + n as i64),
        Cell::TextList(vec![id]),
        Cell::Date(day),
    ];
    Row { key: key(n), cells }
}

pub(crate) fn rows(range: Range<u64>) -> Vec<Row> {
    range.map(|n| row(n, TODAY)).collect()
}

pub(crate) fn keys(range: Range<u64>) -> Vec<Key> {
    range.map(key).collect()
}

pub(crate) fn root(directory: &OsPath) -> Root {
    Root::local(directory, DiskSync::Off).unwrap()
}

pub(crate) async fn open(directory: &OsPath) -> ExactTable {
    ExactTable::open(root(directory), spec(), Options::default()).await.unwrap()
}

/// All ids of the table, sorted, read through a view of its own.
pub(crate) async fn all_ids(directory: &OsPath) -> Vec<String> {
    let table = ExactTable::open_read_only(root(directory), spec(), Options::default()).await.unwrap().unwrap();
    let mut ids: Vec<String> =
        all_cells(&table, &["media_id"]).await.into_iter().map(|cells| text(&cells[0]).to_owned()).collect();
    ids.sort_unstable();
    ids
}

pub(crate) async fn all_cells(table: &ExactTable, columns: &[&str]) -> Vec<Vec<Cell>> {
    let batches: Vec<_> = table.scan(columns).await.unwrap().try_collect().await.unwrap();
    batches.iter().flat_map(|batch| to_cells(batch).unwrap()).collect()
}

pub(crate) fn text(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

/// Asserts that the table holds exactly the rows of these numbers, each once.
pub(crate) async fn assert_holds(directory: &OsPath, numbers: Range<u64>) {
    let mut expected: Vec<String> = numbers.map(|n| key(n).id.to_string()).collect();
    expected.sort_unstable();
    let found = all_ids(directory).await;
    assert_eq!(found.len(), expected.len(), "rows in the table");
    assert!(found == expected, "other rows than expected");
}

/// What becomes of one put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As it should be.
    Well,
    /// As it should be, however late it is.
    WellWhenever,
    /// It is done, but an error is reported.
    DoneButError,
    /// It is done, but no answer ever comes.
    DoneButSilent,
    /// It is not done, and an error is reported.
    Error,
    /// It is not done, and the disk is full.
    DiskFull,
    /// It is done long after the caller gave up.
    Late(Duration),
}

/// Decides the fate of each put by its path.
pub(crate) type Judge = Arc<dyn Fn(&Path) -> Fate + Send + Sync>;

/// A store that asks a judge before every put.
pub(crate) struct Faulty {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) judge: Judge,
}

impl Faulty {
    pub(crate) fn over(root: Root, judge: impl Fn(&Path) -> Fate + Send + Sync + 'static) -> Root {
        root.wrapped(|inner| Arc::new(Faulty { inner, judge: Arc::new(judge) }))
    }
}

/// Is it the put of a version of the table, other than its creation?
pub(crate) fn is_commit(path: &Path) -> bool {
    path.as_ref().contains("_delta_log/")
        && path.as_ref().ends_with(".json")
        && !path.as_ref().ends_with("/00000000000000000000.json")
}

fn broken(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match (self.judge)(location) {
            Fate::Well => self.inner.put_opts(location, payload, opts).await,
            Fate::WellWhenever => self.inner.put_opts(location, payload, PutOptions::from(opts.mode)).await,
            Fate::Error => Err(broken("it did not work")),
            Fate::DiskFull => Err(broken(std::io::Error::from(std::io::ErrorKind::StorageFull))),
            Fate::DoneButError => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(broken("the answer was lost"))
            }
            Fate::DoneButSilent => {
                self.inner.put_opts(location, payload, opts).await?;
                std::future::pending().await
            }
            Fate::Late(pause) => {
                let (inner, location) = (self.inner.clone(), location.clone());
                let opts = PutOptions::from(opts.mode);
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    inner.put_opts(&location, payload, opts).await
                });
                std::future::pending().await
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
