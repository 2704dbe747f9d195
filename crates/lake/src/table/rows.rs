//! Rows to Arrow and back.

use std::sync::Arc;

use deltalake_core::arrow::array::{
    Array, ArrayRef, Date32Array, Int64Array, LargeStringArray, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder,
    StringViewArray, TimestampMicrosecondArray,
};
use deltalake_core::arrow::error::ArrowError;
use longshore_core::row::{Cell, Kind, Row};

use super::shape::{Shape, list_item, stored};

/// The rows as the columns of a data file. They fit the shape: [`Shape::check`] has looked at each.
pub(crate) fn to_batch(shape: &Shape, rows: &[&Row]) -> Result<RecordBatch, ArrowError> {
    let columns = stored(&shape.spec).map(|(index, column)| to_array(column.kind, rows, index)).collect();
    RecordBatch::try_new(shape.file_schema.clone(), columns)
}

fn to_array(kind: Kind, rows: &[&Row], index: usize) -> ArrayRef {
    let cells = || rows.iter().map(move |row| &row.cells[index]);
    match kind {
        Kind::Text => Arc::new(to_strings(cells)),
        Kind::Int64 => Arc::new(Int64Array::from_iter(cells().map(number))),
        Kind::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter(cells().map(number)).with_timezone("UTC")),
        Kind::Date => Arc::new(Date32Array::from_iter(cells().map(day))),
        Kind::TextList => Arc::new(to_lists(cells())),
    }
}

/// Measured first: an array that grows is copied again and again.
fn to_strings<'a, I: Iterator<Item = &'a Cell>>(cells: impl Fn() -> I) -> StringArray {
    let texts = || cells().map(text);
    let (count, bytes) = texts().fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.map_or(0, str::len)));
    let mut builder = StringBuilder::with_capacity(count, bytes);
    texts().for_each(|text| builder.append_option(text));
    builder.finish()
}

fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn number(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int64(value) | Cell::Timestamp(value) => Some(*value),
        _ => None,
    }
}

fn day(cell: &Cell) -> Option<i32> {
    match cell {
        Cell::Date(day) => Some(*day),
        _ => None,
    }
}

fn to_lists<'a>(cells: impl Iterator<Item = &'a Cell>) -> ListArray {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(list_item());
    for cell in cells {
        if let Cell::TextList(texts) = cell {
            texts.iter().for_each(|text| builder.values().append_value(text));
        }
        builder.append(matches!(cell, Cell::TextList(_)));
    }
    builder.finish()
}

/// The rows of a batch that a scan returned, cell by cell in the batch's order of columns.
///
/// # Errors
/// When a column has a type that no table of ours has.
pub fn to_cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>, ArrowError> {
    let columns = batch.columns().iter().map(to_column).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    Ok((0..batch.num_rows()).map(|_| columns.iter_mut().map(|c| c.next().unwrap_or(Cell::Null)).collect()).collect())
}

fn to_column(array: &ArrayRef) -> Result<Vec<Cell>, ArrowError> {
    let any = array.as_any();
    let or_null = |cell: Option<Cell>| cell.unwrap_or(Cell::Null);
    if let Some(a) = any.downcast_ref::<Int64Array>() {
        return Ok(a.iter().map(|v| or_null(v.map(Cell::Int64))).collect());
    }
    if let Some(a) = any.downcast_ref::<TimestampMicrosecondArray>() {
        return Ok(a.iter().map(|v| or_null(v.map(Cell::Timestamp))).collect());
    }
    if let Some(a) = any.downcast_ref::<Date32Array>() {
        return Ok(a.iter().map(|v| or_null(v.map(Cell::Date))).collect());
    }
    if let Some(a) = any.downcast_ref::<ListArray>() {
        return a.iter().map(|items| items.map_or(Ok(Cell::Null), |items| Ok(Cell::TextList(to_texts(&items)?)))).collect();
    }
    Ok(texts(array)?.into_iter().map(|v| or_null(v.map(|t| Cell::Text(t.to_owned())))).collect())
}

fn to_texts(items: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    Ok(texts(items)?.into_iter().map(|t| t.unwrap_or_default().to_owned()).collect())
}

/// The texts of a column, however Arrow keeps them.
pub(crate) fn texts(array: &ArrayRef) -> Result<Vec<Option<&str>>, ArrowError> {
    let any = array.as_any();
    if let Some(a) = any.downcast_ref::<StringArray>() {
        return Ok(a.iter().collect());
    }
    if let Some(a) = any.downcast_ref::<LargeStringArray>() {
        return Ok(a.iter().collect());
    }
    if let Some(a) = any.downcast_ref::<StringViewArray>() {
        return Ok(a.iter().collect());
    }
    Err(ArrowError::SchemaError(format!("a column of type {} where text is expected", array.data_type())))
}
