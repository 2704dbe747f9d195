//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use longshore_stages::ports::{ObjectMeta, Published, Store, StoreError, Upload};

use crate::{Fault, Faults, locked};

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// How long an object takes to become durable.
const SYNC: Duration = Duration::from_millis(5);

/// A store that never overwrites.
#[derive(Debug, Clone)]
pub struct SimStore {
    objects: Objects,
    faults: Arc<Faults>,
}

struct SimUpload {
    objects: Objects,
    faults: Arc<Faults>,
    bytes: Vec<u8>,
}

impl SimStore {
    /// An empty store.
    pub fn new(faults: Arc<Faults>) -> Self {
        SimStore { objects: Objects::default(), faults }
    }

    /// The bytes of an object.
    pub fn object(&self, path: &str) -> Option<Bytes> {
        locked(&self.objects).get(path).cloned()
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        locked(&self.objects).len()
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the store is away".into())
}

#[async_trait]
impl Store for SimStore {
    async fn begin(&self) -> Result<Box<dyn Upload>, StoreError> {
        match self.faults.strike("store begin") {
            Some(_) => Err(away()),
            None => Ok(Box::new(SimUpload { objects: self.objects.clone(), faults: self.faults.clone(), bytes: Vec::new() })),
        }
    }

    async fn stat(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
        Ok(self.object(path).map(|bytes| ObjectMeta { path: path.to_owned(), bytes: bytes.len() as u64 }))
    }

    fn list(&self) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let meta = |(path, bytes): (&String, &Bytes)| Ok(ObjectMeta { path: path.clone(), bytes: bytes.len() as u64 });
        let all: Vec<_> = locked(&self.objects).iter().map(meta).collect();
        stream::iter(all).boxed()
    }

    async fn read(&self, path: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        Ok(self.object(path).map(|bytes| stream::iter([Ok(bytes)]).boxed()))
    }
}

#[async_trait]
impl Upload for SimUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.faults.strike("store write").is_some() {
            return Err(away());
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn publish(self: Box<Self>, path: &str, sha256: [u8; 32]) -> Result<Published, StoreError> {
        let fault = self.faults.strike("store publish");
        tokio::time::sleep(SYNC).await;
        if fault == Some(Fault::Before) {
            return Err(away());
        }
        let published = self.create(path, sha256);
        if fault.is_some() { Err(away()) } else { Ok(published) }
    }
}

impl SimUpload {
    fn create(self, path: &str, sha256: [u8; 32]) -> Published {
        let mut objects = locked(&self.objects);
        let other = || format!("{path}-{}", sha256[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let path = match objects.get(path) {
            Some(there) if **there != *self.bytes => other(),
            _ => path.to_owned(),
        };
        let adopted = objects.insert(path.clone(), self.bytes.into()).is_some();
        Published { path, adopted }
    }
}
