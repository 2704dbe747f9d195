//! A store in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use crate::ports::{ObjectMeta, Published, Store, StoreError, Upload};

/// Keeps what was published.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(pub(crate) Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

struct Parcel {
    shelf: Shelf,
    bytes: Vec<u8>,
}

impl Shelf {
    /// The paths of all objects.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.0.lock().expect("shelf").keys().cloned().collect()
    }
}

#[async_trait]
impl Store for Shelf {
    async fn begin(&self) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(Parcel { shelf: self.clone(), bytes: Vec::new() }))
    }

    async fn stat(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let found = self.0.lock().expect("shelf").get(path).map(|bytes| bytes.len() as u64);
        Ok(found.map(|bytes| ObjectMeta { path: path.to_owned(), bytes }))
    }

    fn list(&self) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        stream::empty().boxed()
    }

    async fn read(&self, path: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        let found = self.0.lock().expect("shelf").get(path).cloned();
        Ok(found.map(|bytes| {
            let pieces: Vec<_> = bytes.chunks(1 << 20).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            stream::iter(pieces).boxed()
        }))
    }
}

#[async_trait]
impl Upload for Parcel {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn publish(self: Box<Self>, path: &str, _: [u8; 32]) -> Result<Published, StoreError> {
        let mut objects = self.shelf.0.lock().expect("shelf");
        let path =
            if objects.get(path).is_some_and(|there| *there != self.bytes) { format!("{path}-other") } else { path.into() };
        let adopted = objects.insert(path.clone(), self.bytes).is_some();
        Ok(Published { path, adopted })
    }
}
