//! A table's shape in the three languages it is spoken: ours (`TableSpec`), Arrow's and Delta's.

use std::sync::Arc;

use deltalake_core::arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType, PrimitiveType, StructField};
use longshore_core::row::{Cell, Column, Kind, Row, TableSpec};
use longshore_stages::ports::TableError;

/// The spec and what follows from it.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) spec: TableSpec,
    /// The columns of a data file: all but the partition column, in the spec's order.
    pub(crate) file_schema: SchemaRef,
}

impl Shape {
    pub(crate) fn new(spec: TableSpec) -> Self {
        let fields: Vec<Field> = stored(&spec).map(|(_, column)| arrow_field(column)).collect();
        Shape { file_schema: Arc::new(Schema::new(fields)), spec }
    }

    pub(crate) fn key_name(&self) -> &str {
        &self.spec.columns[self.spec.key_id].name
    }

    pub(crate) fn sequence_name(&self) -> Option<&str> {
        self.spec.key_sequence.map(|i| self.spec.columns[i].name.as_str())
    }

    pub(crate) fn partition_name(&self) -> &str {
        &self.spec.columns[self.spec.partition].name
    }

    pub(crate) fn delta_columns(&self) -> Vec<StructField> {
        self.spec.columns.iter().map(|c| StructField::new(&c.name, delta_type(c.kind), c.nullable)).collect()
    }

    /// The day that files the row; an error names the column that does not fit the spec.
    pub(crate) fn check(&self, row: &Row) -> Result<i32, TableError> {
        if row.cells.len() != self.spec.columns.len() {
            return Err(self.misfit(row, &format!("has {} cells instead of {}", row.cells.len(), self.spec.columns.len())));
        }
        if let Some((column, _)) = self.spec.columns.iter().zip(&row.cells).find(|(column, cell)| !fits(column, cell)) {
            return Err(self.misfit(row, &format!("has a value of another type in `{}`", column.name)));
        }
        self.check_key(row)?;
        match &row.cells[self.spec.partition] {
            Cell::Date(day) if day_text(*day).is_some() => Ok(*day),
            _ => Err(self.misfit(row, &format!("has no usable date in `{}`", self.partition_name()))),
        }
    }

    fn check_key(&self, row: &Row) -> Result<(), TableError> {
        let mut buffer = uuid::Uuid::encode_buffer();
        let id: &str = row.key.id.as_hyphenated().encode_lower(&mut buffer);
        let same_id = matches!(&row.cells[self.spec.key_id], Cell::Text(text) if text == id);
        let same_sequence = match self.spec.key_sequence {
            Some(at) => row.cells[at] == Cell::Int64(row.key.sequence),
            None => row.key.sequence == 0,
        };
        match same_id && same_sequence {
            true => Ok(()),
            false => Err(self.misfit(row, "has key columns that differ from its key")),
        }
    }

    fn misfit(&self, row: &Row, what: &str) -> TableError {
        TableError::Fatal(format!("table {}: the row {} {what}; this is a defect, please report it", self.spec.name, row.key.id))
    }
}

/// The columns that data files hold, with their index in the spec.
pub(crate) fn stored(spec: &TableSpec) -> impl Iterator<Item = (usize, &Column)> {
    spec.columns.iter().enumerate().filter(|(i, _)| *i != spec.partition)
}

/// `2026-11-23`, for the years that every reader can express.
pub(crate) fn day_text(day: i32) -> Option<String> {
    let date = chrono::DateTime::from_timestamp(i64::from(day) * 86_400, 0)?.date_naive();
    (1..=9999).contains(&chrono::Datelike::year(&date)).then(|| date.format("%Y-%m-%d").to_string())
}

/// The inverse of [`day_text`].
pub(crate) fn parse_day(text: &str) -> Option<i32> {
    let date = text.parse::<chrono::NaiveDate>().ok()?;
    i32::try_from(date.signed_duration_since(chrono::NaiveDate::default()).num_days()).ok()
}

pub(crate) fn arrow_field(column: &Column) -> Field {
    let kind = match column.kind {
        Kind::Text => ArrowType::Utf8,
        Kind::Int64 => ArrowType::Int64,
        Kind::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => ArrowType::Date32,
        Kind::TextList => ArrowType::List(list_item()),
    };
    Field::new(&column.name, kind, column.nullable)
}

/// The items of a list of texts, named as Parquet and Delta name them.
pub(crate) fn list_item() -> Arc<Field> {
    Arc::new(Field::new("element", ArrowType::Utf8, false))
}

fn delta_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Primitive(PrimitiveType::String),
        Kind::Int64 => DataType::Primitive(PrimitiveType::Long),
        Kind::Timestamp => DataType::Primitive(PrimitiveType::Timestamp),
        Kind::Date => DataType::Primitive(PrimitiveType::Date),
        Kind::TextList => DataType::Array(Box::new(ArrayType::new(DataType::Primitive(PrimitiveType::String), false))),
    }
}

fn fits(column: &Column, cell: &Cell) -> bool {
    matches!(
        (column.kind, cell),
        (Kind::Text, Cell::Text(_))
            | (Kind::Int64, Cell::Int64(_))
            | (Kind::Timestamp, Cell::Timestamp(_))
            | (Kind::Date, Cell::Date(_))
            | (Kind::TextList, Cell::TextList(_))
    ) || (column.nullable && *cell == Cell::Null)
}
