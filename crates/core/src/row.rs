//! Rows and the shape of the tables that hold them, independent of any table format.

use uuid::Uuid;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A signed 64-bit integer.
    Int64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// Days since 1970-01-01.
    Date,
    /// A list of texts; its items are never null.
    TextList,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// The column's type.
    pub kind: Kind,
    /// Whether a row may leave it empty.
    pub nullable: bool,
}

/// The shape of a table whose rows are appended exactly once by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// The table's name, which is also its directory: `urls_attachments`.
    pub name: String,
    /// All columns, the partition column included.
    pub columns: Vec<Column>,
    /// Index of the text column that holds the key's id, a UUID in lower-case hyphenated form.
    pub key_id: usize,
    /// Index of the `Int64` column that completes the key (`life`), if the id alone is not the key.
    pub key_sequence: Option<usize>,
    /// Indices of the text columns that carry a Bloom filter; `key_id` is one of them.
    pub filtered: Vec<usize>,
    /// Index of the `Date` column that partitions the table.
    pub partition: usize,
}

/// What makes a row unique in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `media_id`, or the event's key.
    pub id: Uuid,
    /// `life` in `attachments_failed`, 0 elsewhere.
    pub sequence: i64,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Null,
    /// UTF-8 text.
    Text(String),
    /// A signed 64-bit integer.
    Int64(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// A list of texts.
    TextList(Vec<String>),
}

/// One row: its key, and its cells in the order of [`TableSpec::columns`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The row's key, equal to what its key columns hold.
    pub key: Key,
    /// One cell for each column.
    pub cells: Vec<Cell>,
}
