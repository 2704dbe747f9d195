//! An independent reader of a Delta table: it shares no code with the writer, so that both cannot be wrong in one way.
//!
//! *Owns*: following the table's log by name, version after version (Delta protocol, "Delta Log Entries"), and reading the
//! rows of what each commit adds. *Does not own*: what the rows mean ([`ledger`](crate::ledger)).
//!
//! Nothing is listed, no snapshot is made: a look at a table that stands still is one attempt to open a file. What rewrites
//! rows without changing any (`dataChange` false: compaction) is passed over.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use deltalake_core::arrow::array::{Array, AsArray, RecordBatch};
use deltalake_core::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use deltalake_core::parquet::arrow::ProjectionMask;
use deltalake_core::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use crate::error::Error;

/// The columns of both tables that a ledger needs.
pub const COLUMNS: [&str; 7] = ["media_id", "trace_id", "sha256", "bytes_downloaded", "blob_path", "downloaded_at", "created_at"];
/// How many rows one look yields, about.
const ROWS: usize = 20_000;

/// A row, and when it was seen. A column that was not asked for, or that the table does not have, is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The event's id.
    pub trace_id: Option<String>,
    /// The attachment's id.
    pub media_id: Option<String>,
    /// The hash of the object, as the row has it.
    pub sha256: Option<String>,
    /// The size of the object, as the row has it.
    pub bytes_downloaded: Option<i64>,
    /// The object's path in the store.
    pub blob_path: Option<String>,
    /// When the download ended, in microseconds since 1970.
    pub downloaded_at_us: Option<i64>,
    /// When the row was made, in microseconds since 1970.
    pub created_at_us: Option<i64>,
    /// When the row was read here, in microseconds since 1970.
    pub seen_unix_us: i64,
}

/// Follows one table.
#[derive(Debug)]
pub struct Follower {
    table: PathBuf,
    columns: Vec<String>,
    next: u64,
}

/// A line of a commit, as far as it matters here.
#[derive(Deserialize)]
struct Action {
    add: Option<Add>,
    remove: Option<Remove>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    path: String,
    data_change: bool,
    #[serde(default)]
    deletion_vector: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remove {
    data_change: bool,
}

/// `_last_checkpoint`, as far as it matters here.
#[derive(Deserialize)]
struct Checkpoint {
    version: u64,
}

impl Follower {
    /// Follows the table in this local directory from its first version on; it need not be there yet. Of the columns, see
    /// [`COLUMNS`], those are read that it has.
    pub fn open(table: &Path, columns: &[&str]) -> Self {
        Follower { table: table.to_owned(), columns: columns.iter().map(|name| (*name).to_owned()).collect(), next: 0 }
    }

    /// The version that is looked for next.
    pub fn next_version(&self) -> u64 {
        self.next
    }

    /// The rows that were added since the last look; none when nothing was. After a look with rows another may find more
    /// at once: one look ends with the commit that brings it to 20,000 rows.
    ///
    /// # Errors
    /// When a file cannot be read, or the table does what no table of the inventory does: removes rows, marks them as
    /// deleted, or loses commits that were not read yet.
    pub fn look(&mut self) -> Result<Vec<Seen>, Error> {
        let mut seen = Vec::new();
        while seen.len() < ROWS {
            let Some(text) = self.commit()? else { break };
            for path in self.added(&text)? {
                self.read(&path, &mut seen)?;
            }
            self.next += 1;
        }
        Ok(seen)
    }

    /// The next commit, if it is there.
    fn commit(&self) -> Result<Option<String>, Error> {
        let path = self.table.join(format!("_delta_log/{:020}.json", self.next));
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.check_not_cleaned().map(|()| None),
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }

    /// A commit that is not there may have been cleaned away.
    fn check_not_cleaned(&self) -> Result<(), Error> {
        let Ok(text) = std::fs::read(self.table.join("_delta_log/_last_checkpoint")) else { return Ok(()) };
        match serde_json::from_slice::<Checkpoint>(&text) {
            Ok(Checkpoint { version }) if version >= self.next && !self.is_there(self.next) => {
                Err(self
                    .strange(format!("commit {} is gone, and {version} is a checkpoint: it was followed too slowly", self.next)))
            }
            _ => Ok(()),
        }
    }

    fn is_there(&self, version: u64) -> bool {
        self.table.join(format!("_delta_log/{version:020}.json")).exists()
    }

    /// The data files with rows that a commit adds.
    fn added(&self, commit: &str) -> Result<Vec<PathBuf>, Error> {
        let mut paths = Vec::new();
        for line in commit.lines().filter(|line| !line.trim().is_empty()) {
            let action: Action = serde_json::from_str(line)
                .map_err(|error| self.strange(format!("commit {} cannot be read: {error}", self.next)))?;
            if action.remove.is_some_and(|remove| remove.data_change) {
                return Err(self.strange(format!("commit {} removes rows", self.next)));
            }
            let Some(add) = action.add else { continue };
            if add.deletion_vector.is_some_and(|vector| !vector.is_null()) {
                return Err(self.strange(format!("commit {} marks rows as deleted", self.next)));
            }
            if add.data_change {
                paths.push(self.table.join(percent_decoded(&add.path)));
            }
        }
        Ok(paths)
    }

    fn read(&self, path: &Path, seen: &mut Vec<Seen>) -> Result<(), Error> {
        let odd = |error: &dyn std::fmt::Display| self.strange(format!("{} cannot be read: {error}", path.display()));
        let file = File::open(path).map_err(Error::file("open", path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| odd(&error))?;
        let names = self.columns.iter().map(String::as_str);
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let first = seen.len();
        for batch in builder.with_projection(mask).build().map_err(|error| odd(&error))? {
            rows(&batch.map_err(|error| odd(&error))?, seen);
        }
        let now = unix_us();
        seen[first..].iter_mut().for_each(|row| row.seen_unix_us = now);
        Ok(())
    }

    fn strange(&self, what: String) -> Error {
        Error::Table { table: self.table.display().to_string(), what }
    }
}

/// The rows of a batch.
fn rows(batch: &RecordBatch, seen: &mut Vec<Seen>) {
    let columns = Columns(batch);
    seen.extend((0..batch.num_rows()).map(|row| Seen {
        trace_id: columns.text("trace_id", row),
        media_id: columns.text("media_id", row),
        sha256: columns.text("sha256", row),
        bytes_downloaded: columns.number("bytes_downloaded", row),
        blob_path: columns.text("blob_path", row),
        downloaded_at_us: columns.time("downloaded_at", row),
        created_at_us: columns.time("created_at", row),
        seen_unix_us: 0,
    }));
}

struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn cell(&self, name: &str, row: usize) -> Option<&dyn Array> {
        self.0.column_by_name(name).map(|column| column.as_ref()).filter(|column| column.is_valid(row))
    }

    fn text(&self, name: &str, row: usize) -> Option<String> {
        let column = self.cell(name, row)?;
        match column.data_type() {
            DataType::Utf8 => Some(column.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Some(column.as_string_view().value(row).to_owned()),
            _ => None,
        }
    }

    fn number(&self, name: &str, row: usize) -> Option<i64> {
        self.cell(name, row)?.as_primitive_opt::<Int64Type>().map(|column| column.value(row))
    }

    fn time(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.cell(name, row)?;
        match column.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => Some(column.as_primitive::<TimestampMicrosecondType>().value(row)),
            _ => None,
        }
    }
}

/// Paths in a Delta log are percent-encoded (Delta protocol, "Add File").
fn percent_decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let coded = (*first == b'%').then(|| after.get(..2)).flatten();
        let decoded = coded.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unix_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
