//! Does the store create an object only if it is absent, for one of many at once? Some do not, and on them two writers
//! would both believe that their commit is the table's next version.
//!
//! The answer is kept beside the table, so the question is asked once per table. A local disk is asked less: the
//! kernel's link is atomic or the file system has none, which the creates in sequence show; few racers are enough to
//! find a share that only pretends.

use std::sync::Arc;
use std::time::Duration;

use longshore_stages::ports::TableError;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use uuid::Uuid;

use super::fault::table_error;
use super::root::Root;

const PLACE: &str = "_longshore_probe";
const RACERS: usize = 16;
const ROUNDS: usize = 10;
const LOCAL_RACERS: usize = 4;
const LOCAL_ROUNDS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests the store unless it passed before.
pub(crate) async fn check(root: &Root, store: &Arc<dyn ObjectStore>) -> Result<(), TableError> {
    let what = format!("testing the store at {}", root.display());
    let passed = Path::from(format!("{PLACE}/passed"));
    match store.head(&passed).await {
        Ok(_) => return Ok(()),
        Err(Error::NotFound { .. }) => {}
        Err(e) => return Err(table_error(&what, &e)),
    }
    let (racers, rounds) = if root.is_local() { (LOCAL_RACERS, LOCAL_ROUNDS) } else { (RACERS, ROUNDS) };
    let verdict = tokio::time::timeout(PATIENCE, test(store, racers, rounds)).await;
    let slow = || TableError::Unavailable(format!("{what}: no answer within {PATIENCE:?}"));
    let faults = verdict.map_err(|_| slow())?.map_err(|e| table_error(&what, &e))?;
    if let Some(fault) = faults {
        return Err(TableError::Fatal(format!(
            "the store at {} cannot hold tables: {fault}. Choose a store with conditional writes (`If-None-Match: *`), or a local disk",
            root.display()
        )));
    }
    store.put(&passed, "conditional creates are atomic here\n".into()).await.map(drop).map_err(|e| table_error(&what, &e))
}

async fn test(store: &Arc<dyn ObjectStore>, racers: usize, rounds: usize) -> Result<Option<String>, Error> {
    if let Some(fault) = in_sequence(store).await? {
        return Ok(Some(fault));
    }
    for _ in 0..rounds {
        if let Some(fault) = race(store, racers).await? {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

fn fresh() -> Path {
    Path::from(format!("{PLACE}/{}", Uuid::new_v4()))
}

async fn create(store: &Arc<dyn ObjectStore>, path: &Path, who: usize) -> Result<bool, Error> {
    match store.put_opts(path, format!("writer {who}").into(), PutOptions::from(PutMode::Create)).await {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

async fn content(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<String, Error> {
    let bytes = store.get(path).await?.bytes().await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn in_sequence(store: &Arc<dyn ObjectStore>) -> Result<Option<String>, Error> {
    let path = fresh();
    let (first, second) = (create(store, &path, 1).await?, create(store, &path, 2).await?);
    let content = content(store, &path).await?;
    store.delete(&path).await?;
    Ok(match (first, second, content.as_str()) {
        (true, false, "writer 1") => None,
        (_, true, _) => Some("creating an object that exists overwrites it".into()),
        _ => Some(format!("a created object reads back as {content:?}")),
    })
}

async fn race(store: &Arc<dyn ObjectStore>, racers: usize) -> Result<Option<String>, Error> {
    let path = fresh();
    let tasks: Vec<_> = (0..racers)
        .map(|who| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move { create(&store, &path, who).await })
        })
        .collect();
    let mut winners = Vec::new();
    for (who, task) in tasks.into_iter().enumerate() {
        // An error of one racer (a conflict that the store reports in its own way) is no win.
        if matches!(task.await, Ok(Ok(true))) {
            winners.push(who);
        }
    }
    let fault = match winners.as_slice() {
        [one] if content(store, &path).await? == format!("writer {one}") => None,
        [] => Some(format!("of {racers} writers that create one object at once nobody wins")),
        [_] => Some("the object that the winner of a race created holds another writer's bytes".into()),
        many => Some(format!("{} of {racers} writers that create one object at once are told that they did", many.len())),
    };
    let _ = store.delete(&path).await;
    Ok(fault)
}
