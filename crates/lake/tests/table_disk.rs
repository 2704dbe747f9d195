//! The local disk under tables and objects: nothing replaced, nothing half, nothing left behind.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path as OsPath;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use longshore_lake::durable::{Deadline, DiskSync, Durable, disk_fault};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};
use tempfile::tempdir;

fn at(directory: &OsPath, name: &str) -> Path {
    Path::from_absolute_path(directory.join(name)).unwrap()
}

fn create() -> PutOptions {
    PutOptions::from(PutMode::Create)
}

#[tokio::test]
async fn a_name_is_given_once() {
    let dir = tempdir().unwrap();
    let path = at(dir.path(), "deep/er/one");
    for sync in [DiskSync::On, DiskSync::Off] {
        let disk = Durable::new(sync);
        let _ = disk.delete(&path).await;
        disk.put_opts(&path, "first".into(), create()).await.unwrap();
        let second = disk.put_opts(&path, "second".into(), create()).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(disk.get(&path).await.unwrap().bytes().await.unwrap(), "first");
        disk.put(&path, "third".into()).await.unwrap();
        assert_eq!(disk.get(&path).await.unwrap().bytes().await.unwrap(), "third");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("deep/er")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_creators_wins() {
    let dir = tempdir().unwrap();
    let disk = Durable::new(DiskSync::Off);
    for round in 0..20 {
        let path = at(dir.path(), &format!("race/{round}"));
        let tasks = (0..16).map(|i| {
            let (disk, path) = (disk.clone(), path.clone());
            tokio::spawn(async move { disk.put_opts(&path, format!("writer {i}").into(), create()).await.is_ok() })
        });
        let wins = futures::future::join_all(tasks).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!(wins, 1);
    }
}

#[tokio::test]
async fn a_put_after_its_deadline_never_becomes_visible() {
    let dir = tempdir().unwrap();
    let disk = Durable::new(DiskSync::Off);
    let path = at(dir.path(), "late");
    let mut options = create();
    options.extensions.insert(Deadline(SystemTime::now() - Duration::from_secs(1)));
    assert!(disk.put_opts(&path, "late".into(), options).await.is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_in_parts_is_visible_when_complete_and_leaves_nothing_when_dropped() {
    let dir = tempdir().unwrap();
    let disk = Durable::new(DiskSync::On);
    let path = at(dir.path(), "parts");
    let mut upload = WriteMultipart::new_with_chunk_size(disk.put_multipart(&path).await.unwrap(), 1000);
    let bytes: Vec<u8> = (0..10_500_u32).map(|i| i as u8).collect();
    upload.write(&bytes);
    assert!(matches!(disk.head(&path).await, Err(Error::NotFound { .. })));
    assert_eq!(disk.list(None.or(Some(&at(dir.path(), "")))).try_collect::<Vec<_>>().await.unwrap().len(), 0);
    upload.finish().await.unwrap();
    assert_eq!(disk.get(&path).await.unwrap().bytes().await.unwrap(), bytes);
    drop(disk.put_multipart(&at(dir.path(), "dropped")).await.unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_a_crash_left_is_swept_and_what_is_young_is_not() {
    let dir = tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    std::fs::write(dir.path().join("a/b/.tmp-left#0"), "half").unwrap();
    std::fs::write(dir.path().join("a/whole"), "whole").unwrap();
    assert_eq!(Durable::sweep(dir.path().into(), Duration::from_secs(60)).await, 0);
    assert_eq!(Durable::sweep(dir.path().into(), Duration::ZERO).await, 1);
    assert!(dir.path().join("a/whole").exists());
}

#[test]
fn what_only_a_person_can_mend_names_the_remedy() {
    let of = |kind: std::io::ErrorKind| disk_fault(&Error::Generic { store: "x", source: Box::new(std::io::Error::from(kind)) });
    assert!(of(std::io::ErrorKind::StorageFull).unwrap().contains("make room"));
    assert!(of(std::io::ErrorKind::ReadOnlyFilesystem).unwrap().contains("remount"));
    assert!(of(std::io::ErrorKind::PermissionDenied).unwrap().contains("give this user the right"));
    assert_eq!(of(std::io::ErrorKind::Interrupted), None);
}
