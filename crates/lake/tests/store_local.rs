//! The local store: nothing is overwritten, nothing leaves the root, nothing unfinished is seen.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use longshore_lake::store::{LocalOptions, LocalStore, Owner, SyncMode, Unfinished};
use longshore_stages::ports::{Published, Store, StoreError};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

fn store(root: &Path) -> LocalStore {
    LocalStore::open(root, LocalOptions::new(Owner::Exclusive)).unwrap()
}

/// Every way of keeping and naming files.
fn variants() -> Vec<LocalOptions> {
    let options = LocalOptions::new(Owner::Exclusive);
    let named = LocalOptions { unfinished: Unfinished::Named, ..options };
    [options, named].into_iter().flat_map(|o| [o, LocalOptions { sync: SyncMode::Off, ..o }]).collect()
}

async fn put(store: &LocalStore, path: &str, bytes: &[u8]) -> Result<Published, StoreError> {
    let mut upload = store.begin().await?;
    for piece in bytes.chunks(20_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.publish(path, Sha256::digest(bytes).into()).await
}

fn hex16(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

async fn listed(store: &LocalStore) -> BTreeMap<String, u64> {
    store.list().map_ok(|meta| (meta.path, meta.bytes)).try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_can_be_seen_listed_and_read() {
    for options in variants() {
        let dir = tempdir().unwrap();
        let store = LocalStore::open(&dir.path().join("files"), options).unwrap();
        let large: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        for (path, bytes) in [("a/b/small.txt", &b"small"[..]), ("empty", b""), ("a/large.bin", &large)] {
            assert_eq!(put(&store, path, bytes).await.unwrap(), Published { path: path.into(), adopted: false });
            assert_eq!(store.stat(path).await.unwrap().unwrap().bytes, bytes.len() as u64);
            let pieces: Vec<Bytes> = store.read(path).await.unwrap().unwrap().try_collect().await.unwrap();
            assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20));
            assert!(pieces.concat() == bytes, "{path}: other bytes");
        }
        let all = BTreeMap::from([("a/b/small.txt".into(), 5), ("a/large.bin".into(), 3_000_000), ("empty".into(), 0)]);
        assert_eq!(listed(&store).await, all);
        for absent in ["a", "a/b/none", "none/x", "empty/x", "../files/empty", ".."] {
            assert_eq!(store.stat(absent).await.unwrap(), None, "{absent}");
            assert!(store.read(absent).await.unwrap().is_none(), "{absent}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_path_is_adopted_or_left_alone() {
    for options in variants() {
        let dir = tempdir().unwrap();
        let store = LocalStore::open(dir.path(), options).unwrap();
        put(&store, "a/x.pdf", b"one").await.unwrap();
        assert_eq!(put(&store, "a/x.pdf", b"one").await.unwrap(), Published { path: "a/x.pdf".into(), adopted: true });
        let other = format!("a/x-{}.pdf", hex16(b"two"));
        assert_eq!(put(&store, "a/x.pdf", b"two").await.unwrap(), Published { path: other.clone(), adopted: false });
        assert_eq!(put(&store, "a/x.pdf", b"two").await.unwrap(), Published { path: other.clone(), adopted: true });
        fs::write(dir.path().join(&other), b"tampered").unwrap();
        let third = put(&store, "a/x.pdf", b"two").await.unwrap();
        assert!(!third.adopted && third.path.len() > other.len(), "{third:?}");
        assert_eq!(fs::read(dir.path().join("a/x.pdf")).unwrap(), b"one");
        assert_eq!(fs::read(dir.path().join(other)).unwrap(), b"tampered");
        assert_eq!(fs::read(dir.path().join(third.path)).unwrap(), b"two");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_uploads_never_overwrite_each_other() {
    for options in variants() {
        let dir = tempdir().unwrap();
        let store = LocalStore::open(dir.path(), LocalOptions { max_sealed: 40, ..options }).unwrap();
        let mut racers = tokio::task::JoinSet::new();
        for n in 0..1_000usize {
            let store = store.clone();
            racers.spawn(async move {
                // 50 paths, 4 contents for each.
                let bytes = format!("content {} of {}", n / 50 % 4, n % 50).into_bytes();
                let published = put(&store, &format!("d{}/{}.txt", n % 7, n % 50), &bytes).await.unwrap();
                (published.path, bytes)
            });
        }
        for (path, bytes) in racers.join_all().await {
            assert!(fs::read(dir.path().join(&path)).unwrap() == bytes, "{path} holds other bytes");
        }
        assert!(!dir.path().join(".longshore-uploads").exists_with_files());
    }
}

trait Leftovers {
    fn exists_with_files(&self) -> bool;
}

impl Leftovers for std::path::PathBuf {
    fn exists_with_files(&self) -> bool {
        fs::read_dir(self).is_ok_and(|mut entries| entries.next().is_some())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_directories_in_the_way_lead_to_another_path() {
    let dir = tempdir().unwrap();
    let store = store(dir.path());
    put(&store, "a", b"file").await.unwrap();
    assert_eq!(put(&store, "a/b/c.txt", b"below").await.unwrap().path, "a~dir/b/c.txt");
    assert_eq!(put(&store, "a/b/c.txt", b"below").await.unwrap(), Published { path: "a~dir/b/c.txt".into(), adopted: true });
    let beside = put(&store, "a~dir/b", b"where a directory stands").await.unwrap();
    assert_eq!(beside.path, format!("a~dir/b-{}", hex16(b"where a directory stands")));
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_inside_the_root_are_never_followed() {
    let (dir, outside) = (tempdir().unwrap(), tempdir().unwrap());
    let store = store(dir.path());
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("link.txt")).unwrap();
    fs::create_dir(outside.path().join("sub")).unwrap();
    assert_eq!(put(&store, "out/x.txt", b"x").await.unwrap().path, "out~dir/x.txt");
    assert_eq!(put(&store, "out/sub/x.txt", b"x").await.unwrap().path, "out~dir/sub/x.txt");
    assert_eq!(fs::read_dir(outside.path().join("sub")).unwrap().count(), 0);
    let beside = put(&store, "link.txt", b"secret").await.unwrap();
    assert!(!beside.adopted && beside.path.starts_with("link-"), "{beside:?}");
    assert_eq!(store.stat("out/secret").await.unwrap(), None);
    assert!(store.read("link.txt").await.unwrap().is_none());
    assert_eq!(
        listed(&store).await.keys().cloned().collect::<Vec<_>>(),
        [beside.path, "out~dir/sub/x.txt".into(), "out~dir/x.txt".into()]
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_path_stays_inside() {
    let dir = tempdir().unwrap();
    let store = store(&dir.path().join("files"));
    for path in ["../../x", "/etc/x", "a/../../x", ".longshore-uploads/x", "", "a\0b"] {
        let published = put(&store, path, path.as_bytes()).await.unwrap();
        assert!(dir.path().join("files").join(&published.path).is_file(), "{published:?}");
        assert!(!published.path.split('/').any(|part| part == ".."), "{published:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(listed(&store).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_upload_leaves_nothing() {
    for options in variants() {
        let dir = tempdir().unwrap();
        let store = LocalStore::open(dir.path(), options).unwrap();
        for size in [10, 200_000] {
            let mut upload = store.begin().await.unwrap();
            upload.write(Bytes::from(vec![1; size])).await.unwrap();
            assert!(listed(&store).await.is_empty(), "seen before it is published");
        }
        assert!(listed(&store).await.is_empty());
        assert!(!dir.path().join(".longshore-uploads").exists_with_files());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_removed_meanwhile_is_made_again() {
    let dir = tempdir().unwrap();
    let store = store(dir.path());
    put(&store, "a/1", b"1").await.unwrap();
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    assert_eq!(put(&store, "a/1", b"1").await.unwrap(), Published { path: "a/1".into(), adopted: false });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_changes_nothing() {
    let dir = tempdir().unwrap();
    assert!(LocalStore::open_read_only(&dir.path().join("absent")).is_err());
    assert!(!dir.path().join("absent").exists());
    fs::create_dir(dir.path().join(".longshore-uploads")).unwrap();
    fs::write(dir.path().join(".longshore-uploads/running"), b"half").unwrap();
    fs::write(dir.path().join("x"), b"1").unwrap();
    let reader = LocalStore::open_read_only(dir.path()).unwrap();
    assert!(matches!(reader.begin().await, Err(StoreError::Fatal(_))));
    assert_eq!(listed(&reader).await, BTreeMap::from([("x".into(), 1)]));
    LocalStore::open(dir.path(), LocalOptions::new(Owner::Shared)).unwrap();
    assert!(dir.path().join(".longshore-uploads/running").exists(), "another writer may be at it");
    store(dir.path());
    assert!(!dir.path().join(".longshore-uploads").exists(), "the exclusive owner cleans up");
}

#[test]
fn a_directory_that_cannot_be_made_is_fatal_with_a_remedy() {
    // The kernel lets nobody create directories there, whatever his rights.
    let Err(StoreError::Fatal(message)) = LocalStore::open(Path::new("/sys/longshore"), LocalOptions::new(Owner::Exclusive))
    else {
        panic!("a fatal error");
    };
    assert!(message.contains("/sys/longshore") && message.contains("run the same command again"), "{message}");
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    assert!(LocalStore::open(&dir.path().join("file"), LocalOptions::new(Owner::Exclusive)).is_err());
}
