//! Reading a table's rows: file by file, row group by row group, never more than one batch in hand.
//!
//! A search for texts of a column with Bloom filters skips the row groups whose filter knows none of them.

use std::sync::Arc;

use deltalake_core::arrow::array::{ArrayRef, Date32Array, RecordBatch};
use deltalake_core::arrow::datatypes::{DataType, Field, Schema};
use deltalake_core::arrow::error::ArrowError;
use deltalake_core::parquet::arrow::ProjectionMask;
use deltalake_core::parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use deltalake_core::parquet::errors::ParquetError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use longshore_stages::ports::TableError;

use super::fault::Fault;
use super::file::DataFile;
use super::{ExactTable, Inner};

/// Rows in one batch of a scan.
const BATCH_ROWS: usize = 8_192;

impl ExactTable {
    /// The rows of the table as of now, in no particular order, as batches that hold these columns in this order.
    /// Files that vanish while the scan runs (it took longer than the retention) are an error.
    ///
    /// # Errors
    /// `Fatal` for a column that the table does not have; then those of the store.
    pub async fn scan(&self, columns: &[&str]) -> Result<BoxStream<'static, Result<RecordBatch, TableError>>, TableError> {
        self.scan_for(columns, None).await
    }

    /// As [`ExactTable::scan`], without the row groups that certainly hold none of these texts in the column. Rows
    /// with other texts may be among those returned: the caller compares. A column without Bloom filters is read whole.
    ///
    /// # Errors
    /// Those of [`ExactTable::scan`].
    pub async fn search(
        &self,
        columns: &[&str],
        column: &str,
        texts: &[String],
    ) -> Result<BoxStream<'static, Result<RecordBatch, TableError>>, TableError> {
        let wanted = Wanted { column: column.to_owned(), texts: texts.to_vec() };
        self.scan_for(columns, Some(Arc::new(wanted))).await
    }

    async fn scan_for(
        &self,
        columns: &[&str],
        wanted: Option<Arc<Wanted>>,
    ) -> Result<BoxStream<'static, Result<RecordBatch, TableError>>, TableError> {
        let inner = self.inner.clone();
        let missing = columns.iter().find(|name| !inner.shape.spec.columns.iter().any(|c| c.name == **name));
        if let Some(name) = missing {
            return Err(TableError::Fatal(format!("the table {} has no column `{name}`", inner.shape.spec.name)));
        }
        let columns: Arc<[String]> = columns.iter().map(|c| (*c).to_owned()).collect();
        let files = self.files().await?;
        let scan = move |file| scan_file(inner.clone(), file, columns.clone(), wanted.clone());
        let opened = futures::stream::iter(files).then(scan);
        let place = self.inner.root.display();
        Ok(opened.try_flatten().map_err(move |fault| fault.into_table_error(&place)).boxed())
    }

    /// How many rows the table has now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn count(&self) -> Result<u64, TableError> {
        let mut rows = 0;
        for file in self.files().await? {
            rows += match file.rows {
                Some(rows) => rows,
                None => {
                    let index = file.index(&self.inner.store, &self.inner.shape).await;
                    let index = index.map_err(|fault| fault.into_table_error(&self.inner.root.display()))?;
                    index.groups.iter().map(|g| g.rows).sum()
                }
            };
        }
        Ok(rows)
    }

    /// How many active files the table has now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn file_count(&self) -> Result<usize, TableError> {
        Ok(self.files().await?.len())
    }

    async fn files(&self) -> Result<Vec<Arc<DataFile>>, TableError> {
        let mut state = self.inner.state.lock().await;
        self.inner.refresh(&mut state).await?;
        Ok(state.list())
    }
}

/// Texts that are searched for in a column.
struct Wanted {
    column: String,
    texts: Vec<String>,
}

impl Wanted {
    /// The row groups that may hold one of the texts.
    async fn groups<R: AsyncFileReader + 'static>(
        &self,
        builder: &mut ParquetRecordBatchStreamBuilder<R>,
    ) -> Result<Vec<usize>, ParquetError> {
        let all = 0..builder.metadata().num_row_groups();
        let schema = builder.parquet_schema();
        let Some(leaf) = (0..schema.num_columns()).find(|i| schema.column(*i).path().string() == self.column) else {
            return Ok(all.collect());
        };
        let mut groups = Vec::new();
        for group in all {
            let filter = builder.get_row_group_column_bloom_filter(group, leaf).await?;
            if filter.is_none_or(|filter| self.texts.iter().any(|text| filter.check(text.as_str()))) {
                groups.push(group);
            }
        }
        Ok(groups)
    }
}

async fn scan_file(
    inner: Arc<Inner>,
    file: Arc<DataFile>,
    columns: Arc<[String]>,
    wanted: Option<Arc<Wanted>>,
) -> Result<BoxStream<'static, Result<RecordBatch, Fault>>, Fault> {
    let path = file.path.clone();
    let failed = move |e: &(dyn std::error::Error + 'static)| Fault::of(&format!("reading {path}"), e);
    let mut builder = ParquetRecordBatchStreamBuilder::new(file.reader(&inner.store)).await.map_err(|e| failed(&e))?;
    if let Some(wanted) = wanted {
        let groups = wanted.groups(&mut builder).await.map_err(|e| failed(&e))?;
        builder = builder.with_row_groups(groups);
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
    let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|e| failed(&e))?;
    let arranged = stream.map(move |batch| {
        let batch = batch.map_err(|e| failed(&e))?;
        arrange(&inner, &file, &columns, &batch).map_err(|e| failed(&e))
    });
    Ok(arranged.boxed())
}

/// Brings the columns into the order asked for, with the partition column among them.
fn arrange(inner: &Inner, file: &DataFile, columns: &[String], batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for name in columns {
        if name == inner.shape.partition_name() {
            fields.push(Field::new(name, DataType::Date32, true));
            arrays.push(Arc::new(Date32Array::from_iter((0..batch.num_rows()).map(|_| file.day))));
            continue;
        }
        fields.push(batch.schema_ref().field_with_name(name)?.clone());
        arrays.extend(batch.column_by_name(name).cloned());
    }
    let rows = deltalake_core::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &rows)
}
