//! What really became of the demo's events, read from the tables, the store and the dead letters, beside the script.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use longshore_core::format::{self, DeadLetter};
use longshore_core::row::Cell;
use longshore_lake::table::{ExactTable, to_cells};
use longshore_stages::ports::{Partition, Store};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::script::{End, Expected, Script};
use crate::place::Place;

/// The comparison.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many of each group ended as predicted, in the order of the script's groups.
    pub(super) as_predicted: Vec<usize>,
    /// What did not.
    pub(super) differences: Vec<String>,
}

/// The rows that speak of the script's attachments.
#[derive(Debug, Default)]
struct Rows {
    /// Object path, size and digest of each row in `attachments`.
    stored: BTreeMap<Uuid, Vec<(String, i64, String)>>,
    /// Class and message of each row in `attachments_failed`.
    failed: BTreeMap<Uuid, Vec<(String, String)>>,
}

/// Compares what is in a place with the script.
pub(super) async fn compare(place: &Place, script: &Script) -> Result<Outcome> {
    let rows = rows(place).await?;
    let mut outcome = Outcome { as_predicted: vec![0; script.groups.len()], ..Outcome::default() };
    for (id, expected) in &script.expected {
        match difference(place, &rows, *id, expected).await? {
            None => outcome.as_predicted[expected.group] += 1,
            Some(difference) => outcome.differences.push(format!("{}: {difference}", expected.url)),
        }
    }
    poison(place, script, &mut outcome).await?;
    Ok(outcome)
}

async fn rows(place: &Place) -> Result<Rows> {
    let tables = place.open_tables(place.only()?).await?;
    let mut rows = Rows::default();
    for cells in read(tables.attachments.as_ref(), &["media_id", "blob_path", "bytes_downloaded", "sha256"]).await? {
        if let [Cell::Text(id), Cell::Text(path), Cell::Int64(bytes), Cell::Text(sha256)] = cells.as_slice() {
            rows.stored.entry(id.parse()?).or_default().push((path.clone(), *bytes, sha256.clone()));
        }
    }
    for cells in read(tables.failed.as_ref(), &["media_id", "status", "error_message"]).await? {
        if let [Cell::Text(id), Cell::Text(status), Cell::Text(message)] = cells.as_slice() {
            rows.failed.entry(id.parse()?).or_default().push((status.clone(), message.clone()));
        }
    }
    Ok(rows)
}

async fn read(table: Option<&ExactTable>, columns: &[&str]) -> Result<Vec<Vec<Cell>>> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    let mut batches = table.scan(columns).await?;
    while let Some(batch) = batches.try_next().await? {
        rows.extend(to_cells(&batch)?);
    }
    Ok(rows)
}

/// What is not as predicted with an attachment, if anything.
async fn difference(place: &Place, rows: &Rows, id: Uuid, expected: &Expected) -> Result<Option<String>> {
    let (stored, failed) =
        (rows.stored.get(&id).map_or(&[][..], Vec::as_slice), rows.failed.get(&id).map_or(&[][..], Vec::as_slice));
    Ok(match (stored, failed, &expected.end) {
        ([(path, bytes, sha256)], [], End::File { sha256: digest, bytes: size }) => {
            if sha256 == digest && u64::try_from(*bytes) == Ok(*size) {
                object(place, path, *bytes, sha256).await?
            } else {
                Some(format!("predicted {size} bytes, SHA-256 {digest}; the row says {bytes} bytes, {sha256}"))
            }
        }
        ([(path, bytes, sha256)], [], End::AnyFile) => object(place, path, *bytes, sha256).await?,
        ([], [(status, message)], End::Failed { class, reason }) => {
            let as_predicted = status == class.as_str() && message.starts_with(&format!("{reason}:"));
            (!as_predicted).then(|| format!("predicted {class} ({reason}); the row says {status}: {message}"))
        }
        _ => Some(format!("predicted {:?}; found the stored rows {stored:?} and the failed rows {failed:?}", expected.end)),
    })
}

/// What is wrong with the object of a row, if anything.
async fn object(place: &Place, path: &str, bytes: i64, sha256: &str) -> Result<Option<String>> {
    let Some(mut pieces) = place.store_view()?.read(path).await? else {
        return Ok(Some(format!("its object {path} is not there")));
    };
    let (mut hash, mut size) = (Sha256::new(), 0i64);
    while let Some(piece) = pieces.try_next().await? {
        hash.update(&piece);
        size += i64::try_from(piece.len())?;
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let same = size == bytes && digest == sha256;
    Ok((!same).then(|| format!("the row says {bytes} bytes, {sha256}; the object {path} has {size} bytes, {digest}")))
}

/// Each poison line must have exactly one dead letter that holds it to the byte.
async fn poison(place: &Place, script: &Script, outcome: &mut Outcome) -> Result<()> {
    let originals = poison_letters(place).await?;
    for line in &script.poison {
        match originals.iter().filter(|original| original.as_slice() == *line).count() {
            1 => *outcome.as_predicted.last_mut().unwrap_or(&mut 0) += 1,
            count => outcome.differences.push(format!("{}: {count} dead letters, not 1", String::from_utf8_lossy(line))),
        }
    }
    Ok(())
}

async fn poison_letters(place: &Place) -> Result<Vec<Vec<u8>>> {
    let log = place.log_view()?;
    let partition = Partition { topic: place.only()?.topics.dead_letters().into(), index: 0 };
    let (mut originals, mut from) = (Vec::new(), 0);
    loop {
        let records = log.read(&partition, from, 1_000).await?;
        let Some(last) = records.last() else { return Ok(originals) };
        from = last.offset + 1;
        for value in records.iter().filter_map(|record| record.message.value.as_ref()) {
            let letter: DeadLetter = format::decode(value)?;
            if let (None, Some(original)) = (letter.task, letter.original) {
                originals.push(STANDARD.decode(original)?);
            }
        }
    }
}
