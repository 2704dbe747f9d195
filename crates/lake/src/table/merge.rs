//! Several sorted files of one day become one, still sorted.
//!
//! What a merge reads goes into the digest where it was not in it, so that the output is covered.
//!
//! *Memory*, whatever the size of the files: one row group of each input as it lies on disk, one small batch of each
//! input decoded, a decompressor for each of its columns where it is zstd (our smaller ones are not, see
//! [`properties`]), one row group of the output, and one part of the upload.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use deltalake_core::arrow::array::{RecordBatch, new_null_array};
use deltalake_core::arrow::compute::{cast, interleave_record_batch};
use deltalake_core::arrow::error::ArrowError;
use deltalake_core::parquet::arrow::ArrowWriter;
use deltalake_core::parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use longshore_core::row::Key;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;

use super::Inner;
use super::digest::Places;
use super::fault::Fault;
use super::file::{DataFile, Drafted, FileIndex, ROW_GROUP_ROWS, new_path, properties};
use super::shape::Shape;
use super::stats::Stats;

/// Rows decoded of one input at a time.
const INPUT_ROWS: usize = 256;
/// Rows handed to the writer at a time.
const OUTPUT_ROWS: usize = 1_024;
/// Bytes of one part of the upload; a smaller file goes in one put.
const PART_BYTES: usize = 5 << 20;

/// An input and the place reached in it.
struct Cursor {
    stream: BoxStream<'static, Result<RecordBatch, Fault>>,
    keys: Vec<Key>,
    at: usize,
    /// Where the present batch stands among the merge's batches.
    slot: usize,
    /// Whether the digest has all its keys.
    covered: bool,
}

/// The inputs, in the order of their next rows.
struct Merge<'a> {
    inner: &'a Inner,
    /// Where the digest has the keys of all rows so far; nothing where it has not.
    places: Option<Places>,
    cursors: Vec<Cursor>,
    order: BinaryHeap<Reverse<(Key, usize)>>,
    /// The batches that the chosen rows are in.
    batches: Vec<RecordBatch>,
    chosen: Vec<(usize, usize)>,
}

/// What the Parquet writer wrote and the upload has not taken yet.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    /// All of it, without the room that it grew into: the upload keeps it until a part is full.
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_boxed_slice().into()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::of("merging data files", error)
}

/// Writes the rows of all these files of one day into a new file, which nobody refers to yet; where the digest has its keys.
pub(crate) async fn merge(inner: &Inner, files: &[Arc<DataFile>], day: i32) -> Result<(Drafted, Option<Places>), Fault> {
    let path = new_path(&inner.shape, day);
    let buffer = Buffer::default();
    let mut upload = BufWriter::with_capacity(inner.store.clone(), path.clone(), PART_BYTES).with_max_concurrency(1);
    let schema = inner.shape.file_schema.clone();
    let properties = properties(&inner.shape, rows_of(files.iter()).unwrap_or(ROW_GROUP_ROWS));
    let mut writer = ArrowWriter::try_new(buffer.clone(), schema, Some(properties)).map_err(|e| failed(&e))?;
    let (mut stats, mut bytes) = (Stats::default(), 0);
    let mut merge = Merge::open(inner, files).await?;
    while let Some(batch) = merge.next().await? {
        stats.add(&batch);
        writer.write(&batch).map_err(|e| failed(&e))?;
        bytes += forward(&buffer, &mut upload).await?;
    }
    let metadata = writer.close().map_err(|e| failed(&e))?;
    bytes += forward(&buffer, &mut upload).await?;
    upload.shutdown().await.map_err(|e| failed(&e))?;
    let rows = stats.rows() as u64;
    let file = DataFile::new(path, Some(day), bytes, Some(rows));
    file.set_index(FileIndex::of(&metadata, &inner.shape)?);
    Ok((Drafted { file, stats: stats.json() }, merge.places))
}

/// As the log states them.
fn rows_of<'a>(files: impl Iterator<Item = &'a Arc<DataFile>>) -> Option<usize> {
    files.map(|file| file.rows).sum::<Option<u64>>().and_then(|rows| usize::try_from(rows).ok())
}

async fn forward(buffer: &Buffer, upload: &mut BufWriter) -> Result<u64, Fault> {
    let bytes = buffer.take();
    let count = bytes.len() as u64;
    if count > 0 {
        upload.put(bytes).await.map_err(|e| failed(&e))?;
    }
    Ok(count)
}

impl<'a> Merge<'a> {
    async fn open(inner: &'a Inner, files: &[Arc<DataFile>]) -> Result<Self, Fault> {
        let digest = &inner.lookup.digest;
        let known: Vec<Option<Places>> = files.iter().map(|file| digest.places(file.id)).collect();
        let others = files.iter().zip(&known).filter(|(_, places)| places.is_none()).map(|(file, _)| file);
        let all = rows_of(others).is_some_and(|rows| digest.has_room_for(rows));
        let places = all.then(|| known.iter().flatten().cloned().fold(Places::default(), Places::and));
        let mut merge =
            Merge { inner, places, cursors: Vec::new(), order: BinaryHeap::new(), batches: Vec::new(), chosen: Vec::new() };
        for (file, places) in files.iter().zip(known) {
            let stream = open_sorted(inner, file).await?;
            merge.cursors.push(Cursor { stream, keys: Vec::new(), at: 0, slot: 0, covered: places.is_some() });
            merge.refill(merge.cursors.len() - 1).await?;
        }
        Ok(merge)
    }

    /// The next rows in order; nothing at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        while self.chosen.len() < OUTPUT_ROWS {
            let Some(Reverse((_, index))) = self.order.pop() else { break };
            let cursor = &mut self.cursors[index];
            self.chosen.push((cursor.slot, cursor.at));
            cursor.at += 1;
            match cursor.keys.get(cursor.at) {
                Some(key) => self.order.push(Reverse((*key, index))),
                None => self.refill(index).await?,
            }
        }
        if self.chosen.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let merged = interleave_record_batch(&batches, &self.chosen).map_err(|e| failed(&e))?;
        self.drop_used();
        Ok(Some(merged))
    }

    /// Reads the next batch of an input that has come to its end, if there is one.
    async fn refill(&mut self, index: usize) -> Result<(), Fault> {
        let cursor = &mut self.cursors[index];
        loop {
            let Some(batch) = cursor.stream.try_next().await? else {
                (cursor.keys, cursor.at) = (Vec::new(), 0);
                return Ok(());
            };
            let keys = self.inner.shape.keys_of(&batch).map_err(|e| failed(&e))?;
            let Some(first) = keys.first() else { continue };
            if let Some(places) = self.places.take_if(|_| !cursor.covered) {
                self.places = self.inner.lookup.learn(&keys).map(|learnt| places.and(learnt));
            }
            self.order.push(Reverse((*first, index)));
            (cursor.keys, cursor.at, cursor.slot) = (keys, 0, self.batches.len());
            self.batches.push(batch);
            return Ok(());
        }
    }

    /// Keeps only the batches that inputs still stand in.
    fn drop_used(&mut self) {
        self.chosen.clear();
        let used = std::mem::take(&mut self.batches);
        for cursor in self.cursors.iter_mut().filter(|c| !c.keys.is_empty()) {
            let batch = used[cursor.slot].clone();
            cursor.slot = self.batches.len();
            self.batches.push(batch);
        }
    }
}

async fn open_sorted(inner: &Inner, file: &Arc<DataFile>) -> Result<BoxStream<'static, Result<RecordBatch, Fault>>, Fault> {
    let shape = inner.shape.clone();
    let builder = ParquetRecordBatchStreamBuilder::new(file.reader(&inner.store)).await.map_err(|e| failed(&e))?;
    let stream = builder.with_batch_size(INPUT_ROWS).build().map_err(|e| failed(&e))?;
    let batches = stream.map(move |batch| conform(&shape, batch.map_err(|e| failed(&e))?).map_err(|e| failed(&e)));
    Ok(batches.boxed())
}

/// A batch in the shape that we write, also if another engine wrote it in its own.
fn conform(shape: &Shape, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref().fields() == shape.file_schema.fields() {
        return Ok(batch);
    }
    let fields = shape.file_schema.fields().iter();
    let columns = fields.map(|field| match batch.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    RecordBatch::try_new(shape.file_schema.clone(), columns.collect::<Result<_, _>>()?)
}
