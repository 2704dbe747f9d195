//! The objects against their rows: existence, size, content, and objects that nobody claims.

use std::sync::Arc;

use anyhow::Result;
use futures::StreamExt;
use longshore_core::reconcile::{Claim, Claims, Fault, Kind};
use longshore_core::row::Cell;
use longshore_lake::store::LocalStore;
use longshore_lake::table::{ExactTable, to_cells};
use longshore_stages::ports::{Store, StoreError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::pass::Original;
use crate::place::Place;

/// The most objects read or looked at together.
const MAX_TOGETHER: usize = 8;

/// How closely an object is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It is there and has the right size.
    Size,
    /// Its bytes have the right SHA-256, too.
    Content,
}

/// What was found.
#[derive(Default)]
pub(super) struct Objects {
    pub(super) faults: Vec<Fault>,
    /// Rows whose object was looked at.
    pub(super) rows: u64,
    /// Dead letters whose object was looked at.
    pub(super) originals: u64,
    /// Bytes read.
    pub(super) bytes_read: u64,
    /// Objects in the store.
    pub(super) objects: u64,
    /// Objects without a row while something is in flight: their result is on its way, or their task is run again.
    pub(super) unclaimed: u64,
    /// Objects without a row for good. No fault: a worker that was killed between storing a file and telling of it
    /// leaves one when the file's bytes differ at the next attempt; somebody else may have put others here.
    pub(super) orphans: Vec<String>,
}

/// What the log says of objects.
pub(super) struct SpokenFor {
    /// The claims of results in flight and of dead letters.
    pub(super) claims: Vec<Claim>,
    /// The objects that dead letters refer to.
    pub(super) originals: Vec<Original>,
}

/// A row, as far as its object goes.
struct Row {
    id: Option<Uuid>,
    path: String,
    bytes: i64,
    sha256: String,
}

/// Checks every row's object, then every object. `settled`: nothing is in flight, so that each object must have its row.
pub(super) async fn check(
    place: &Place,
    spoken_for: SpokenFor,
    depth: Depth,
    since: Option<i32>,
    settled: bool,
) -> Result<Objects> {
    let SpokenFor { mut claims, originals } = spoken_for;
    let store = if place.files.is_dir() { Some(Arc::new(place.store_view()?)) } else { None };
    let mut found = Objects::default();
    for lane in &place.lanes {
        if let Some(table) = place.open_tables(lane).await?.attachments {
            found.rows(&table, store.as_ref(), depth, since, &mut claims).await?;
        }
    }
    found.originals(store.as_ref(), originals, depth).await?;
    if let Some(store) = &store {
        found.objects(store, &Claims::new(claims), settled).await?;
    }
    Ok(found)
}

impl Objects {
    async fn rows(
        &mut self,
        table: &ExactTable,
        store: Option<&Arc<LocalStore>>,
        depth: Depth,
        since: Option<i32>,
        claims: &mut Vec<Claim>,
    ) -> Result<()> {
        let together = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_TOGETHER);
        let mut batches = table.scan(&["media_id", "blob_path", "bytes_downloaded", "sha256", "event_date"]).await?;
        while let Some(batch) = batches.next().await {
            let rows = to_cells(&batch?)?;
            claims.extend(rows.iter().map(|row| Claim::of(text(&row[1]), text(&row[3]))));
            let of_time = |row: &&Vec<Cell>| !matches!((since, &row[4]), (Some(since), Cell::Date(day)) if *day < since);
            let checks = rows.iter().filter(of_time).map(|row| {
                let (store, row) = (store.cloned(), Row::of(row));
                async move { tokio::spawn(check_row(store, row, depth)).await }
            });
            let mut checks = futures::stream::iter(checks).buffer_unordered(together);
            while let Some(checked) = checks.next().await {
                let (fault, read) = checked??;
                self.rows += 1;
                self.bytes_read += read;
                self.faults.extend(fault);
            }
        }
        Ok(())
    }

    /// The objects of dead letters, whatever their day: without them the letters cannot be replayed.
    async fn originals(&mut self, store: Option<&Arc<LocalStore>>, originals: Vec<Original>, depth: Depth) -> Result<()> {
        for Original { letter, kept } in originals {
            let bytes = i64::try_from(kept.bytes).unwrap_or(i64::MAX);
            let row = Row { id: None, path: kept.path, bytes, sha256: kept.sha256 };
            let (fault, read) = check_row(store.cloned(), row, depth).await?;
            self.originals += 1;
            self.bytes_read += read;
            let of_letter =
                |fault: Fault| Fault { kind: Kind::LetterObject, place: format!("{letter}: {}", fault.place), ..fault };
            self.faults.extend(fault.map(of_letter));
        }
        Ok(())
    }

    async fn objects(&mut self, store: &LocalStore, claims: &Claims, settled: bool) -> Result<()> {
        let mut objects = store.list();
        while let Some(object) = objects.next().await {
            let path = object?.path;
            self.objects += 1;
            if claims.disagree(&path) {
                self.faults.push(Fault::at(Kind::PathClaimedTwice, path));
            } else if !claims.cover(&path) && settled {
                self.orphans.push(path);
            } else if !claims.cover(&path) {
                self.unclaimed += 1;
            }
        }
        Ok(())
    }
}

impl Row {
    fn of(cells: &[Cell]) -> Self {
        let bytes = match &cells[2] {
            Cell::Int64(bytes) => *bytes,
            _ => -1,
        };
        let id = Uuid::try_parse(text(&cells[0])).ok();
        Row { id, path: text(&cells[1]).to_owned(), bytes, sha256: text(&cells[3]).to_owned() }
    }

    fn fault(&self, kind: Kind, what: &str) -> Option<Fault> {
        Some(Fault { kind, id: self.id, place: format!("{}{what}", self.path) })
    }
}

/// The fault of a row's object, and how many bytes were read.
async fn check_row(store: Option<Arc<LocalStore>>, row: Row, depth: Depth) -> Result<(Option<Fault>, u64), StoreError> {
    let Some(store) = store else { return Ok((row.fault(Kind::ObjectMissing, ""), 0)) };
    let Some(meta) = store.stat(&row.path).await? else { return Ok((row.fault(Kind::ObjectMissing, ""), 0)) };
    if i64::try_from(meta.bytes) != Ok(row.bytes) {
        return Ok((row.fault(Kind::ObjectSize, &format!(": {} bytes, its row says {}", meta.bytes, row.bytes)), 0));
    }
    if depth == Depth::Size {
        return Ok((None, 0));
    }
    let Some(mut pieces) = store.read(&row.path).await? else { return Ok((row.fault(Kind::ObjectMissing, ""), 0)) };
    let (mut hash, mut read) = (Sha256::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        read += piece.len() as u64;
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let fault = if found == row.sha256 { None } else { row.fault(Kind::ObjectContent, &format!(": SHA-256 {found}")) };
    Ok((fault, read))
}

fn text(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text,
        _ => "",
    }
}
