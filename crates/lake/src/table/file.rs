//! One data file of a table: how it is written, what is remembered of it, and how it is read again.
//!
//! Files are sorted by key, in row groups of at most 64k rows, with standard Parquet Bloom filters on the key's id and
//! on the other `filtered` columns. What is remembered of a file is its row groups' key ranges and where their filters
//! lie: about 60 bytes per row group.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use deltalake_core::arrow::array::RecordBatch;
use deltalake_core::kernel::{Add, Remove};
use deltalake_core::parquet::arrow::ArrowWriter;
use deltalake_core::parquet::arrow::arrow_reader::ArrowReaderOptions;
use deltalake_core::parquet::arrow::async_reader::AsyncFileReader;
use deltalake_core::parquet::basic::{Compression, ZstdLevel};
use deltalake_core::parquet::errors::{ParquetError, Result as ParquetResult};
use deltalake_core::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use deltalake_core::parquet::file::properties::WriterProperties;
use deltalake_core::parquet::file::statistics::Statistics;
use deltalake_core::parquet::schema::types::ColumnPath;
use futures::FutureExt;
use futures::future::BoxFuture;
use longshore_stages::ports::TableError;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::fault::{Fault, table_error};
use super::shape::{Shape, day_text};
use super::stats::Stats;

/// Rows in the largest row group.
pub(crate) const ROW_GROUP_ROWS: usize = 65_536;
/// Rows of the smallest file that stays for long; smaller ones are soon merged.
const LASTING_ROWS: usize = 32_768;
/// Encoded bytes in the largest row group, about: a merge holds one row group of each of its inputs.
const ROW_GROUP_BYTES: usize = 2 << 20;
/// Bytes in the largest page, about: a merge holds a dictionary and a page of each column of each of its inputs. Where
/// values hardly repeat (URLs, ids, digests), a dictionary is given up at this size.
const PAGE_BYTES: usize = 64 << 10;
/// False hits of a Bloom filter.
const FALSE_HITS: f64 = 1e-4;
/// Bytes read from a file's end to find its footer.
const FOOTER_HINT: usize = 32 << 10;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// An active file of the table.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Unique in this process: caches go by it.
    pub(crate) id: u64,
    /// Below the table's root.
    pub(crate) path: Path,
    pub(crate) day: Option<i32>,
    pub(crate) bytes: u64,
    /// As the log states it; files of others may not say.
    pub(crate) rows: Option<u64>,
    index: OnceCell<Arc<FileIndex>>,
}

/// What a look-up needs to know of a file.
#[derive(Debug)]
pub(crate) struct FileIndex {
    pub(crate) groups: Vec<Group>,
}

/// One row group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) lowest: Uuid,
    pub(crate) highest: Uuid,
    pub(crate) rows: u64,
    /// Where the Bloom filter of the key's id lies in the file.
    pub(crate) filter: Option<Range<u64>>,
}

impl DataFile {
    pub(crate) fn new(path: Path, day: Option<i32>, bytes: u64, rows: Option<u64>) -> Self {
        DataFile { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), path, day, bytes, rows, index: OnceCell::new() }
    }

    /// The index, read from the file's footer when it is first asked for.
    pub(crate) async fn index(&self, store: &Arc<dyn ObjectStore>, shape: &Shape) -> Result<Arc<FileIndex>, Fault> {
        let read = async || Ok::<_, Fault>(Arc::new(FileIndex::of(&*self.metadata(store).await?, shape)?));
        self.index.get_or_try_init(read).await.cloned()
    }

    pub(crate) fn set_index(&self, index: FileIndex) {
        let _ = self.index.set(Arc::new(index));
    }

    pub(crate) fn reader(&self, store: &Arc<dyn ObjectStore>) -> ObjectReader {
        ObjectReader { store: store.clone(), path: self.path.clone(), bytes: self.bytes }
    }

    /// The file's footer.
    pub(crate) async fn metadata(&self, store: &Arc<dyn ObjectStore>) -> Result<Arc<ParquetMetaData>, Fault> {
        self.reader(store).get_metadata(None).await.map_err(|e| Fault::of(&format!("reading {}", self.path), &e))
    }

    /// The action that takes the file out of the table without taking away its rows.
    pub(crate) fn remove(&self, shape: &Shape, now_ms: i64) -> Remove {
        Remove {
            path: self.path.to_string(),
            data_change: false,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            partition_values: Some([(shape.partition_name().to_owned(), self.day.and_then(day_text))].into()),
            size: i64::try_from(self.bytes).ok(),
            ..Remove::default()
        }
    }
}

impl FileIndex {
    pub(crate) fn of(metadata: &ParquetMetaData, shape: &Shape) -> Result<Self, Fault> {
        let schema = metadata.file_metadata().schema_descr();
        let leaf = (0..schema.num_columns()).find(|i| schema.column(*i).path().string() == shape.key_name());
        let leaf = leaf.ok_or_else(|| {
            Fault::of("reading a data file", &ParquetError::General(format!("it has no column {}", shape.key_name())))
        })?;
        Ok(FileIndex { groups: metadata.row_groups().iter().map(|group| Group::of(group, leaf)).collect() })
    }
}

impl Group {
    fn of(group: &RowGroupMetaData, leaf: usize) -> Self {
        let column = group.column(leaf);
        let (lowest, highest) = column.statistics().and_then(range).unwrap_or((Uuid::nil(), Uuid::max()));
        let filter = column.bloom_filter_offset().zip(column.bloom_filter_length());
        let filter = filter.and_then(|(at, len)| Some((u64::try_from(at).ok()?, u64::try_from(len).ok()?)));
        Group {
            lowest,
            highest,
            rows: u64::try_from(group.num_rows()).unwrap_or(0),
            filter: filter.map(|(at, len)| at..at + len),
        }
    }
}

/// The range of ids, when it is stated exactly and in the form that we write.
fn range(statistics: &Statistics) -> Option<(Uuid, Uuid)> {
    let Statistics::ByteArray(texts) = statistics else { return None };
    let id = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        let id = Uuid::try_parse(text).ok()?;
        (id.as_hyphenated().to_string() == text).then_some(id)
    };
    Some((id(texts.min_opt()?.data())?, id(texts.max_opt()?.data())?))
}

/// Reads ranges of one object for the Parquet reader.
pub(crate) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl ObjectReader {
    /// Exactly these bytes.
    pub(crate) async fn read(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        self.read_all(std::slice::from_ref(&range)).await.map(|mut read| read.pop().unwrap_or_default())
    }

    async fn read_all(&self, ranges: &[Range<u64>]) -> ParquetResult<Vec<Bytes>> {
        let read = match self.store.get_ranges(&self.path, ranges).await {
            Ok(read) => read,
            Err(error) => return Err(self.explain(error).await),
        };
        let whole = ranges.iter().zip(&read).all(|(range, bytes)| bytes.len() as u64 == range.end.saturating_sub(range.start));
        if whole { Ok(read) } else { Err(ParquetError::EOF(format!("the file ends before its {} bytes", self.bytes))) }
    }

    /// An error that comes of another length than the table says is the file's, whatever the store calls it.
    async fn explain(&self, error: object_store::Error) -> ParquetError {
        match self.store.head(&self.path).await {
            Ok(found) if found.size != self.bytes => {
                ParquetError::EOF(format!("the file has {} bytes and the table says {}", found.size, self.bytes))
            }
            _ => external(error),
        }
    }
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move { self.read(range).await }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.read_all(&ranges).await }.boxed()
    }

    fn get_metadata<'a>(&'a mut self, _: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size = self.bytes;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_HINT));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

/// How data files are written. Those of fewer rows are merged again soon, so that what reads them counts: Parquet keeps a
/// zstd decompressor of about 160 KB for each column of each open file, and none for Snappy.
pub(crate) fn properties(shape: &Shape, most_rows: usize) -> WriterProperties {
    let lasting = Compression::ZSTD(ZstdLevel::default());
    let mut properties = WriterProperties::builder()
        .set_compression(if most_rows < LASTING_ROWS { Compression::SNAPPY } else { lasting })
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_created_by(concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_column_dictionary_enabled(ColumnPath::from(shape.key_name()), false);
    for index in &shape.spec.filtered {
        let column = ColumnPath::from(shape.spec.columns[*index].name.as_str());
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), FALSE_HITS)
            .set_column_bloom_filter_max_ndv(column, most_rows.clamp(1, ROW_GROUP_ROWS) as u64);
    }
    properties.build()
}

/// A data file that is complete but not yet part of the table.
pub(crate) struct Drafted {
    pub(crate) file: DataFile,
    pub(crate) stats: String,
}

impl Drafted {
    /// The action that makes the file part of the table.
    pub(crate) fn add(&self, shape: &Shape, now_ms: i64, data_change: DataChange) -> Add {
        Add {
            path: self.file.path.to_string(),
            partition_values: [(shape.partition_name().to_owned(), self.file.day.and_then(day_text))].into(),
            size: i64::try_from(self.file.bytes).unwrap_or(i64::MAX),
            modification_time: now_ms,
            data_change: data_change == DataChange::Yes,
            stats: Some(self.stats.clone()),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        }
    }
}

/// Whether a commit adds or takes away rows, or only rearranges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataChange {
    Yes,
    No,
}

/// A new name in the partition of that day.
pub(crate) fn new_path(shape: &Shape, day: i32) -> Path {
    let day = day_text(day).unwrap_or_default();
    Path::from(format!("{}={day}/part-{}.parquet", shape.partition_name(), Uuid::new_v4()))
}

/// Encodes one batch, sorted by key, as a whole file.
pub(crate) fn encode(shape: &Shape, day: i32, batch: &RecordBatch) -> Result<(Drafted, Bytes), TableError> {
    let failed = |e: ParquetError| table_error("encoding rows", &e);
    let mut stats = Stats::default();
    stats.add(batch);
    let properties = properties(shape, batch.num_rows());
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    let metadata = writer.close().map_err(failed)?;
    let bytes = Bytes::from(bytes);
    let rows = batch.num_rows() as u64;
    let file = DataFile::new(new_path(shape, day), Some(day), bytes.len() as u64, Some(rows));
    file.set_index(FileIndex::of(&metadata, shape).map_err(|fault| fault.into_table_error(file.path.as_ref()))?);
    Ok((Drafted { file, stats: stats.json() }, bytes))
}
