//! What a table is refused for, and what is followed when others change it.
#![allow(clippy::unwrap_used, missing_docs)]

mod table_support;

use std::path::Path as OsPath;
use std::sync::Arc;

use longshore_core::row::{Column, Kind, TableSpec};
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_stages::ports::{Appended, Table, TableError};
use object_store::memory::InMemory;
use serde_json::{Value, json};
use table_support::*;
use tempfile::tempdir;

fn entry(directory: &OsPath, version: u64) -> std::path::PathBuf {
    directory.join(format!("_delta_log/{version:020}.json"))
}

fn actions(directory: &OsPath, version: u64) -> Vec<Value> {
    std::fs::read_to_string(entry(directory, version)).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn commit(directory: &OsPath, version: u64, actions: &[Value]) {
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    std::fs::write(entry(directory, version), lines.join("\n")).unwrap();
}

fn metadata(directory: &OsPath) -> Value {
    actions(directory, 0).into_iter().find(|a| a.get("metaData").is_some()).unwrap()
}

fn assert_refused<T>(result: Result<T, TableError>, mentions: &str) {
    match result.err() {
        Some(TableError::Fatal(text)) => assert!(text.contains(mentions) && text.contains("choose another place"), "{text}"),
        other => panic!("{mentions}: {other:?}"),
    }
}

async fn try_open(directory: &OsPath, spec: TableSpec) -> Result<ExactTable, TableError> {
    ExactTable::open(root(directory), spec, Options::default()).await
}

/// Changes a table behind the back of a writer, which must refuse at its next append, and so must a new one.
async fn assert_change_is_refused(change: impl Fn(&OsPath) -> Vec<Value>, mentions: &str) {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    table.append(&rows(0..2), &[]).await.unwrap();
    commit(dir.path(), 2, &change(dir.path()));
    assert_refused(table.append(&rows(2..4), &[]).await, mentions);
    assert_refused(try_open(dir.path(), spec()).await, mentions);
    assert!(!entry(dir.path(), 3).exists());
}

#[tokio::test]
async fn a_foreign_schema_partitioning_property_or_protocol_is_refused() {
    let with_schema = |dir: &OsPath, change: &dyn Fn(&mut Vec<Value>)| {
        let mut action = metadata(dir);
        let mut schema: Value = serde_json::from_str(action["metaData"]["schemaString"].as_str().unwrap()).unwrap();
        change(schema["fields"].as_array_mut().unwrap());
        action["metaData"]["schemaString"] = schema.to_string().into();
        vec![action]
    };
    let extra = json!({"name": "colour", "type": "string", "nullable": true, "metadata": {}});
    assert_change_is_refused(|d| with_schema(d, &|f| f.push(extra.clone())), "colour").await;
    assert_change_is_refused(|d| with_schema(d, &|f| f[3]["type"] = "integer".into()), "bytes_downloaded").await;
    assert_change_is_refused(|d| with_schema(d, &|f| drop(f.remove(2))), "note").await;
    assert_change_is_refused(|d| with_schema(d, &|f| f[2]["metadata"] = json!({"delta.invariants": "{}"})), "delta.invariants")
        .await;
    let property = |d: &OsPath| {
        let mut action = metadata(d);
        action["metaData"]["configuration"]["delta.constraints.small"] = "bytes_downloaded < 5".into();
        vec![action]
    };
    assert_change_is_refused(property, "delta.constraints.small").await;
    let partitioning = |d: &OsPath| {
        let mut action = metadata(d);
        action["metaData"]["partitionColumns"] = json!([]);
        vec![action]
    };
    assert_change_is_refused(partitioning, "partitioned by").await;
    let protocol = |_: &OsPath| vec![json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 4}})];
    assert_change_is_refused(protocol, "writer 4").await;
}

#[tokio::test]
async fn a_change_of_harmless_properties_is_followed() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    table.append(&rows(0..2), &[]).await.unwrap();
    let mut action = metadata(dir.path());
    action["metaData"]["configuration"]["delta.logRetentionDuration"] = "interval 2 days".into();
    commit(dir.path(), 2, &[action]);
    assert_eq!(table.append(&rows(0..4), &[]).await.unwrap(), Appended { added: 2, known: 2 });
    assert_holds(dir.path(), 0..4).await;
}

#[tokio::test]
async fn rows_that_others_delete_are_gone_and_may_come_again() {
    let dir = tempdir().unwrap();
    let table = open(dir.path()).await;
    table.append(&rows(0..2), &[]).await.unwrap();
    table.append(&rows(2..4), &[]).await.unwrap();
    let add = actions(dir.path(), 1).into_iter().find(|a| a.get("add").is_some()).unwrap();
    let remove = json!({"remove": {"path": add["add"]["path"], "dataChange": true, "deletionTimestamp": 1_795_000_000_000_i64}});
    commit(dir.path(), 3, &[remove]);
    assert_eq!(table.known(&keys(0..4)).await.unwrap(), [false, false, true, true]);
    assert_eq!(table.append(&rows(0..4), &[]).await.unwrap(), Appended { added: 2, known: 2 });
    assert_holds(dir.path(), 0..4).await;
}

#[tokio::test]
async fn a_place_that_holds_something_else_is_refused() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("holiday.jpg"), "not a table").unwrap();
    assert_refused(try_open(dir.path(), spec()).await, "holiday.jpg");
    let other = tempdir().unwrap();
    let mut foreign = spec();
    foreign.columns.push(Column { name: "colour".into(), kind: Kind::Text, nullable: true });
    try_open(other.path(), foreign).await.unwrap();
    assert_refused(try_open(other.path(), spec()).await, "colour");
    let third = tempdir().unwrap();
    std::fs::create_dir(third.path().join("_delta_log")).unwrap();
    commit(third.path(), 0, &[json!({"protocol": {"minReaderVersion": 99, "minWriterVersion": 99}})]);
    assert_refused(try_open(third.path(), spec()).await, third.path().to_str().unwrap());
    let fourth = tempdir().unwrap();
    let file = fourth.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    assert_refused(try_open(&file, spec()).await, "a file stands where a directory is needed");
}

#[tokio::test]
async fn reading_only_creates_nothing_and_writes_nothing() {
    let dir = tempdir().unwrap();
    let place = dir.path().join("nothing");
    let none = ExactTable::open_read_only(root(&place), spec(), Options::default()).await.unwrap();
    assert!(none.is_none() && !place.exists());
    open(dir.path()).await.append(&rows(0..3), &[]).await.unwrap();
    let table = ExactTable::open_read_only(root(dir.path()), spec(), Options::default()).await.unwrap().unwrap();
    assert!(matches!(table.append(&rows(3..4), &[]).await, Err(TableError::Fatal(_))));
    assert!(matches!(table.maintain().await, Err(TableError::Fatal(_))));
    assert_eq!(table.count().await.unwrap(), 3);
    assert_eq!(table.known(&keys(2..4)).await.unwrap(), [true, false]);
}

#[tokio::test]
async fn two_creators_at_once_make_one_table() {
    let dir = tempdir().unwrap();
    let opened = futures::future::join_all((0..4).map(|_| try_open(dir.path(), spec()))).await;
    for (n, table) in opened.into_iter().enumerate() {
        table.unwrap().append(&rows(n as u64..n as u64 + 2), &[]).await.unwrap();
    }
    assert_holds(dir.path(), 0..5).await;
}

/// A store that takes every create: it overwrites.
fn careless(directory: &OsPath) -> Root {
    root(directory).wrapped(|inner| Arc::new(Careless(inner)))
}

#[derive(Debug)]
struct Careless(Arc<dyn object_store::ObjectStore>);

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Careless")
    }
}

#[async_trait::async_trait]
impl object_store::ObjectStore for Careless {
    async fn put_opts(
        &self,
        location: &object_store::path::Path,
        payload: object_store::PutPayload,
        _: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.0.put_opts(location, payload, object_store::PutOptions::default()).await
    }
    async fn put_multipart_opts(
        &self,
        location: &object_store::path::Path,
        opts: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }
    async fn get_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.0.delete_stream(locations)
    }
    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(prefix)
    }
    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_does_not_create_atomically_is_refused_and_another_is_tested_once() {
    let dir = tempdir().unwrap();
    let refused = ExactTable::open(careless(dir.path()), spec(), Options::default()).await;
    match refused.err() {
        Some(TableError::Fatal(text)) => assert!(text.contains("conditional writes"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(!dir.path().join("_delta_log").exists());
    let memory: Arc<dyn object_store::ObjectStore> = Arc::new(InMemory::new());
    let place = || Root::object_store(memory.clone(), "memory:///tables/".parse().unwrap(), "tables".into()).child("t");
    let table = ExactTable::open(place(), spec(), Options::default()).await.unwrap();
    table.append(&rows(0..3), &[]).await.unwrap();
    let again = ExactTable::open(place(), spec(), Options::default()).await.unwrap();
    assert_eq!(again.append(&rows(0..4), &[]).await.unwrap(), Appended { added: 1, known: 3 });
}

/// The data files of a table.
fn data_files(directory: &OsPath) -> Vec<std::path::PathBuf> {
    let day = directory.join("event_date=2026-11-23");
    std::fs::read_dir(day).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// To go on without a file would count its rows twice; to try again for ever would tell nobody.
#[tokio::test]
async fn a_data_file_that_is_gone_or_damaged_stops_with_its_name_and_a_remedy() {
    type Damage = fn(&OsPath);
    let cases: [(&str, Damage); 4] = [
        ("gone", |file| std::fs::remove_file(file).unwrap()),
        ("damaged", |file| std::fs::write(file, b"PAR1").unwrap()),
        ("damaged", |file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() - 100]).unwrap();
        }),
        ("damaged", |file| {
            let length = std::fs::metadata(file).unwrap().len();
            std::fs::write(file, vec![b'x'; length as usize]).unwrap();
        }),
    ];
    for (number, (said, damage)) in cases.into_iter().enumerate() {
        let dir = tempdir().unwrap();
        open(dir.path()).await.append(&rows(0..100), &[]).await.unwrap();
        let file = data_files(dir.path()).remove(0);
        damage(&file);
        let table = open(dir.path()).await;
        let name = file.file_name().unwrap().to_str().unwrap();
        let place = dir.path().to_str().unwrap();
        let limit = std::time::Duration::from_secs(20);
        let appended = tokio::time::timeout(limit, table.append(&rows(50..60), &[])).await.expect("no endless loop");
        for result in [appended.map(|_| ()), table.known(&keys(0..1)).await.map(|_| ())] {
            match result {
                Err(TableError::Fatal(text)) => {
                    assert!([said, name, place, "Restore"].iter().all(|word| text.contains(word)), "case {number}: {text}");
                }
                other => panic!("case {number}: {other:?}"),
            }
        }
    }
}

/// Others may set a retention under which no write can be known to be safe.
#[tokio::test]
async fn a_retention_of_nothing_is_refused_with_the_properties_to_set() {
    let retention = |name: &'static str| {
        move |directory: &OsPath| {
            let mut action = metadata(directory);
            action["metaData"]["configuration"][name] = json!("interval 0 hours");
            vec![action]
        }
    };
    for name in ["delta.logRetentionDuration", "delta.deletedFileRetentionDuration"] {
        let limit = std::time::Duration::from_secs(20);
        let refused = assert_change_is_refused(retention(name), "interval 1 days");
        tokio::time::timeout(limit, refused).await.expect("no endless loop");
    }
}

#[tokio::test]
async fn a_writer_that_is_always_too_slow_says_so() {
    let dir = tempdir().unwrap();
    let options = Options { retention: std::time::Duration::ZERO, ..Options::default() };
    let table = ExactTable::open(root(dir.path()), spec(), options).await.unwrap();
    let appended = tokio::time::timeout(std::time::Duration::from_secs(20), table.append(&rows(0..1), &[])).await;
    match appended.expect("no endless loop") {
        Err(TableError::Unavailable(text)) => assert!(text.contains("retention"), "{text}"),
        other => panic!("{other:?}"),
    }
}
