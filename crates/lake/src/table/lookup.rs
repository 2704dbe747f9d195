//! Which of these keys do these files hold?
//!
//! The digest first, which answers for all files that it covers at once. Then file by file: key range (rows are sorted,
//! so it leaves about one row group per file), Bloom filter, and the key column itself, which alone decides. One read of a
//! row group serves every key of the batch that may be in it.
//!
//! *Bounds*: the digest, which takes what it needs, and the filters are kept within `Options::filter_memory`, decoded keys
//! within `Options::key_memory`, and footers within 8 MiB; at most eight row groups are read at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deltalake_core::arrow::array::{AsArray, RecordBatch};
use deltalake_core::arrow::datatypes::Int64Type;
use deltalake_core::arrow::error::ArrowError;
use deltalake_core::parquet::arrow::ProjectionMask;
use deltalake_core::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use deltalake_core::parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use deltalake_core::parquet::bloom_filter::Sbbf;
use futures::TryStreamExt;
use longshore_core::row::Key;
use longshore_stages::ports::TableError;
use object_store::ObjectStore;
use uuid::Uuid;

use super::cache::{Cache, KeyColumn};
use super::compact::LOWEST_TIER;
use super::digest::{Digest, Places};
use super::fault::Fault;
use super::file::{DataFile, FileIndex};
use super::options::Options;
use super::rows::texts;
use super::shape::Shape;

/// Row groups that are read at a time.
const READS: usize = 8;
/// Footers that are read at a time.
const FOOTERS: usize = 16;
/// Look-ups for which a file is asked by itself before it is worth the reading of its keys.
const ASKED_OFTEN: u64 = 16;
/// Bytes of parsed footers kept.
const FOOTER_MEMORY: usize = 8 << 20;

type GroupId = (u64, usize);

/// Answers look-ups over one table's files.
pub(crate) struct Lookup {
    store: Arc<dyn ObjectStore>,
    shape: Arc<Shape>,
    pub(crate) digest: Digest,
    /// Look-ups that had to ask files by themselves, since one was last covered.
    asked: AtomicU64,
    filter_memory: usize,
    filters: Cache<GroupId, Arc<Sbbf>>,
    keys: Cache<GroupId, Arc<KeyColumn>>,
    footers: Cache<u64, ArrowReaderMetadata>,
}

/// One row group that may hold some of the keys.
struct Candidate {
    file: Arc<DataFile>,
    index: Arc<FileIndex>,
    group: usize,
    /// Where the keys in the group's range stand among the sorted keys.
    from: usize,
    to: usize,
}

impl Candidate {
    fn id(&self) -> GroupId {
        (self.file.id, self.group)
    }
}

/// Distinct keys, sorted, and which of them were found.
struct Search<'a> {
    keys: Vec<&'a Key>,
    found: Vec<bool>,
}

impl<'a> Search<'a> {
    fn of(keys: Vec<&'a Key>) -> Self {
        Search { found: vec![false; keys.len()], keys }
    }

    fn found(&self, key: &Key) -> bool {
        self.keys.binary_search(&key).is_ok_and(|at| self.found[at])
    }

    fn open(&self, candidate: &Candidate) -> Vec<usize> {
        (candidate.from..candidate.to).filter(|i| !self.found[*i]).collect()
    }

    /// Leaves those that the filter may hold.
    fn sift(&self, filter: &Sbbf, open: &mut Vec<usize>) {
        open.retain(|i| may_hold(filter, &self.keys[*i].id));
    }

    /// Those of these keys that the column holds.
    fn held(&self, column: &KeyColumn, open: Vec<usize>) -> Vec<usize> {
        let keys: Vec<&Key> = open.iter().map(|i| self.keys[*i]).collect();
        column.holds(&keys).into_iter().map(|place| open[place]).collect()
    }
}

impl Lookup {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, shape: Arc<Shape>, options: &Options) -> Self {
        Lookup {
            store,
            shape,
            digest: Digest::new(options.filter_memory - options.filter_memory / 16),
            asked: AtomicU64::new(0),
            filter_memory: options.filter_memory,
            filters: Cache::new(options.filter_memory),
            keys: Cache::new(options.key_memory),
            footers: Cache::new(FOOTER_MEMORY),
        }
    }

    /// Remembers all keys of a file that was just written.
    pub(crate) fn remember(&self, file: &DataFile, keys: &[Key]) {
        self.digest.cover(file.id, keys);
        self.share_memory();
    }

    /// The largest file that look-ups ask by itself and need not, once they have asked often enough to pay for reading it.
    pub(crate) fn worth_covering<'a>(&self, files: impl Iterator<Item = &'a Arc<DataFile>>) -> Option<Arc<DataFile>> {
        if self.asked.load(Ordering::Relaxed) < ASKED_OFTEN {
            return None;
        }
        let lasting = files.filter(|file| file.rows.is_some_and(|rows| rows >= LOWEST_TIER)).collect::<Vec<_>>();
        let covered = self.digest.ask(lasting.iter().map(|file| file.id), &[]).covered;
        let others = lasting.into_iter().zip(covered).filter(|(_, covered)| !covered).map(|(file, _)| file);
        let rows = |file: &Arc<DataFile>| usize::try_from(file.rows.unwrap_or(0)).unwrap_or(usize::MAX);
        others.filter(|file| self.digest.has_room_for(rows(file))).max_by_key(|file| file.rows).cloned()
    }

    /// Adds keys that were read to the digest, if there is room for all; where they are.
    pub(crate) fn learn(&self, keys: &[Key]) -> Option<Places> {
        let places = self.digest.learn(keys);
        self.share_memory();
        places
    }

    /// The filters have the memory that the digest leaves.
    fn share_memory(&self) {
        self.filters.limit(self.filter_memory.saturating_sub(self.digest.bytes()));
    }

    /// Reads the keys of a file into the digest.
    pub(crate) async fn cover(&self, file: &DataFile) -> Result<(), Fault> {
        self.asked.store(0, Ordering::Relaxed);
        let (index, mut places) = (file.index(&self.store, &self.shape).await?, Places::default());
        for group in 0..index.groups.len() {
            let Some(learnt) = self.learn(&self.read_keys(file, group).await?) else { return Ok(()) };
            places = places.and(learnt);
        }
        self.digest.covers(file.id, places);
        Ok(())
    }

    /// Forgets what belongs to no active file.
    pub(crate) fn forget_all_but(&self, active: impl Iterator<Item = u64>) {
        let active: HashSet<u64> = active.collect();
        self.digest.forget_all_but(&active);
        self.filters.retain(|(file, _)| active.contains(file));
        self.keys.retain(|(file, _)| active.contains(file));
        self.footers.retain(|file| active.contains(file));
    }

    /// For each key, in order, whether one of the files holds it.
    pub(crate) async fn holds(&self, files: &[Arc<DataFile>], keys: &[Key]) -> Result<Vec<bool>, Fault> {
        let mut sorted: Vec<&Key> = keys.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let answer = self.digest.ask(files.iter().map(|file| file.id), &sorted);
        let (mut covered, mut others) = (Vec::new(), Vec::new());
        for (file, is_covered) in files.iter().zip(answer.covered) {
            if is_covered { covered.push(file) } else { others.push(file) }
        }
        let suspects = sorted.iter().zip(&answer.suspect).filter(|(_, suspect)| **suspect).map(|(key, _)| *key).collect();
        self.asked.fetch_add(u64::from(!others.is_empty()), Ordering::Relaxed);
        let first = self.search(&covered, suspects).await?;
        sorted.retain(|key| !first.found(key));
        let second = self.search(&others, sorted).await?;
        Ok(keys.iter().map(|key| first.found(key) || second.found(key)).collect())
    }

    /// Asks each of the files.
    async fn search<'a>(&self, files: &[&Arc<DataFile>], keys: Vec<&'a Key>) -> Result<Search<'a>, Fault> {
        let mut search = Search::of(keys);
        let candidates = self.candidates(files, &search).await?;
        let (cached, unread): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|c| self.try_cached(c, &mut search));
        drop(cached);
        for chunk in unread.chunks(READS) {
            let reads = chunk.iter().map(|candidate| self.read(candidate, &search));
            for hits in futures::future::try_join_all(reads).await? {
                hits.into_iter().for_each(|i| search.found[i] = true);
            }
        }
        Ok(search)
    }

    async fn candidates(&self, files: &[&Arc<DataFile>], search: &Search<'_>) -> Result<Vec<Candidate>, Fault> {
        if search.keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut candidates = Vec::new();
        for chunk in files.chunks(FOOTERS) {
            let indexes = chunk.iter().map(|file| file.index(&self.store, &self.shape));
            let indexes = futures::future::try_join_all(indexes).await?;
            chunk.iter().zip(indexes).for_each(|(file, index)| candidates.extend(in_range(file, &index, &search.keys)));
        }
        Ok(candidates)
    }

    /// Looks into what is in memory; says whether it was enough. Keys are there since a filter let something pass, and are many,
    /// so that it is asked first again.
    fn try_cached(&self, candidate: &Candidate, search: &mut Search<'_>) -> bool {
        let mut open = search.open(candidate);
        if let Some(filter) = self.filters.get(candidate.id()) {
            search.sift(&filter, &mut open);
        }
        if open.is_empty() {
            return true;
        }
        let Some(column) = self.keys.get(candidate.id()) else { return false };
        search.held(&column, open).into_iter().for_each(|i| search.found[i] = true);
        true
    }

    /// The keys that the row group holds: filter first, then the column.
    async fn read(&self, candidate: &Candidate, search: &Search<'_>) -> Result<Vec<usize>, Fault> {
        let mut open = search.open(candidate);
        if !open.is_empty()
            && let Some(filter) = self.filter(candidate).await?
        {
            search.sift(&filter, &mut open);
        }
        if open.is_empty() {
            return Ok(open);
        }
        let column = self.key_column(candidate).await?;
        Ok(search.held(&column, open))
    }

    async fn filter(&self, candidate: &Candidate) -> Result<Option<Arc<Sbbf>>, Fault> {
        let Some(range) = candidate.index.groups[candidate.group].filter.clone() else { return Ok(None) };
        if let Some(filter) = self.filters.get(candidate.id()) {
            return Ok(Some(filter));
        }
        let path = &candidate.file.path;
        let read = candidate.file.reader(&self.store).read(range).await;
        let bytes = read.map_err(|e| Fault::of(&format!("reading {path}"), &e))?;
        let filter = Sbbf::from_bytes(&bytes).map_err(|e| Fault::of(&format!("reading a filter of {path}"), &e))?;
        let filter = Arc::new(filter);
        self.filters.put(candidate.id(), filter.clone(), bytes.len() + 96);
        Ok(Some(filter))
    }

    async fn key_column(&self, candidate: &Candidate) -> Result<Arc<KeyColumn>, Fault> {
        let keys = self.read_keys(&candidate.file, candidate.group).await?;
        let column = Arc::new(KeyColumn::new(keys, self.shape.spec.key_sequence.is_some()));
        self.keys.put(candidate.id(), column.clone(), column.bytes());
        Ok(column)
    }

    async fn read_keys(&self, file: &DataFile, group: usize) -> Result<Vec<Key>, Fault> {
        let failed = |e: &(dyn std::error::Error + 'static)| Fault::of(&format!("reading the keys of {}", file.path), e);
        let footer = self.footer(file).await?;
        let names = std::iter::once(self.shape.key_name()).chain(self.shape.sequence_name());
        let mask = ProjectionMask::columns(footer.parquet_schema(), names);
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(file.reader(&self.store), footer)
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(super::file::ROW_GROUP_ROWS)
            .build()
            .map_err(|e| failed(&e))?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|e| failed(&e))?;
        let mut keys = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for batch in &batches {
            keys.extend(self.shape.keys_of(batch).map_err(|what| foreign_key(file, &what))?);
        }
        Ok(keys)
    }

    async fn footer(&self, file: &DataFile) -> Result<ArrowReaderMetadata, Fault> {
        if let Some(footer) = self.footers.get(file.id) {
            return Ok(footer);
        }
        let metadata = file.metadata(&self.store).await?;
        let bytes = metadata.memory_size();
        let footer = ArrowReaderMetadata::try_new(metadata, Default::default());
        let footer = footer.map_err(|e| Fault::of(&format!("reading {}", file.path), &e))?;
        self.footers.put(file.id, footer.clone(), bytes);
        Ok(footer)
    }
}

fn in_range(file: &Arc<DataFile>, index: &Arc<FileIndex>, keys: &[&Key]) -> Vec<Candidate> {
    let range = |(group, bounds): (usize, &super::file::Group)| {
        let from = keys.partition_point(|key| key.id < bounds.lowest);
        let to = keys.partition_point(|key| key.id <= bounds.highest);
        (from < to).then(|| Candidate { file: file.clone(), index: index.clone(), group, from, to })
    };
    index.groups.iter().enumerate().filter_map(range).collect()
}

fn may_hold(filter: &Sbbf, id: &Uuid) -> bool {
    let mut buffer = Uuid::encode_buffer();
    filter.check::<str>(id.as_hyphenated().encode_lower(&mut buffer))
}

fn foreign_key(file: &DataFile, what: &ArrowError) -> TableError {
    TableError::Fatal(format!(
        "{}: {what}; the file was not written by Longshore. Take its rows out of the table, or choose another place",
        file.path
    ))
}

impl Shape {
    /// The keys of rows as a data file holds them, in order.
    pub(crate) fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<Key>, ArrowError> {
        let missing = |name: &str| ArrowError::SchemaError(format!("the column {name} is missing"));
        let ids = batch.column_by_name(self.key_name()).ok_or_else(|| missing(self.key_name()))?;
        let id = |text: Option<&str>| {
            let parsed = text.and_then(|t| Uuid::try_parse(t).ok());
            parsed.ok_or_else(|| ArrowError::ParseError(format!("`{}` holds something that is not a UUID", self.key_name())))
        };
        let ids = texts(ids)?.into_iter().map(id).collect::<Result<Vec<_>, _>>()?;
        let Some(name) = self.sequence_name() else {
            return Ok(ids.into_iter().map(|id| Key { id, sequence: 0 }).collect());
        };
        let sequences =
            batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(|| missing(name))?;
        Ok(ids.into_iter().zip(sequences.values()).map(|(id, sequence)| Key { id, sequence: *sequence }).collect())
    }
}
