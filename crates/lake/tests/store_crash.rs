//! The local store under `kill -9` and on a disk that takes no more. Each story runs in a child process of this test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use longshore_lake::store::{LocalOptions, LocalStore, Owner, Unfinished};
use longshore_stages::ports::{ObjectMeta, Published, Store, StoreError};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

const ROOT: &str = "LONGSHORE_TEST_STORE_ROOT";
const NAMED: &str = "LONGSHORE_TEST_STORE_NAMED";

/// Both ways of keeping unfinished files: the environment says which the child takes.
fn options() -> LocalOptions {
    let unfinished = if std::env::var_os(NAMED).is_some() { Unfinished::Named } else { Unfinished::Auto };
    LocalOptions { unfinished, ..LocalOptions::new(Owner::Exclusive) }
}

fn body(n: usize) -> Vec<u8> {
    format!("{n:09}\n").repeat(1 + n % 3 * 10_000).into_bytes()
}

async fn put(store: &LocalStore, n: usize) -> Result<Published, StoreError> {
    let bytes = body(n);
    let mut upload = store.begin().await?;
    for piece in bytes.chunks(30_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
        tokio::task::yield_now().await;
    }
    upload.publish(&format!("d{}/{n}", n % 3), Sha256::digest(&bytes).into()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn child_that_uploads_until_killed() {
    let root = std::env::var_os(ROOT).expect("run by another test");
    let store = LocalStore::open(Path::new(&root), options()).unwrap();
    let lanes = (0..16).map(|lane| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (lane..).step_by(16) {
                println!("stored {}", put(&store, n).await.unwrap().path);
            }
        })
    });
    futures::future::join_all(lanes).await;
}

#[tokio::test]
async fn a_kill_leaves_no_truncated_object_and_loses_none() {
    for named in [false, true] {
        let dir = tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_that_uploads_until_killed", "--ignored", "--nocapture"]).env(ROOT, dir.path());
        if named {
            child.env(NAMED, "1");
        }
        let log = dir.path().join(".longshore-log");
        let mut child = child.stdout(fs::File::create(&log).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        let give_up = Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(&log).unwrap().matches("stored ").count() < 100 && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let log = fs::read_to_string(&log).unwrap();
        let (whole, _) = log.rsplit_once('\n').unwrap();
        let stored: Vec<&str> = whole.lines().filter_map(|line| line.split("stored ").nth(1)).collect();
        assert!(stored.len() >= 100, "the child stored {}", stored.len());
        let store = LocalStore::open(dir.path(), LocalOptions::new(Owner::Exclusive)).unwrap();
        assert!(!dir.path().join(".longshore-uploads").exists(), "leftovers are cleaned");
        let objects: Vec<ObjectMeta> = store.list().try_collect().await.unwrap();
        for object in &objects {
            let n: usize = object.path.rsplit('/').next().unwrap().parse().unwrap();
            assert!(fs::read(dir.path().join(&object.path)).unwrap() == body(n), "{} is not whole", object.path);
        }
        for path in stored {
            assert!(objects.iter().any(|object| object.path == path), "{path} was acknowledged and is gone");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn child_on_a_full_disk() {
    let root = std::env::var_os(ROOT).expect("run by another test");
    let store = LocalStore::open(Path::new(&root), options()).unwrap();
    put(&store, 3).await.unwrap();
    let Err(StoreError::Fatal(message)) = put(&store, 2).await else { panic!("a fatal error") };
    println!("refused: {message}");
    put(&store, 6).await.unwrap();
}

/// A limit on the size of files stands in for the full disk: it needs no rights, and takes the same way.
#[tokio::test]
async fn a_disk_that_takes_no_more_is_said_with_the_remedy() {
    let dir = tempdir().unwrap();
    let limited = "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact child_on_a_full_disk --ignored --nocapture";
    let child =
        Command::new("sh").args(["-c", limited]).arg(std::env::current_exe().unwrap()).env(ROOT, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    let root = dir.path().display().to_string();
    assert!(said.contains("refused: ") && said.contains(&root) && said.contains("run the same command again"), "{said}");
    let store = LocalStore::open(dir.path(), options()).unwrap();
    let mut objects: Vec<String> = store.list().map_ok(|object| object.path).try_collect().await.unwrap();
    objects.sort();
    assert_eq!(objects, ["d0/3", "d0/6"], "nothing of the refused one is seen, and the store goes on");
    assert_eq!(put(&store, 2).await.unwrap().path, "d2/2", "after the cause is gone it finishes");
}
