//! The object store, measured: how long uploads take to begin and to be published, and whether it can be written to.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use longshore_stages::ports::{ObjectMeta, Published, Store, StoreError, Upload};
use prometheus::{Histogram, HistogramVec, IntCounter};

use super::board::Lamp;

/// A store that is measured.
pub(super) struct MeteredStore {
    inner: Arc<dyn Store>,
    meter: Arc<Meter>,
}

/// The handles.
struct Meter {
    seconds: HistogramVec,
    begun: Histogram,
    published: Histogram,
    adopted: IntCounter,
    lamp: Arc<Lamp>,
}

impl Meter {
    /// Takes in how a call ended. A name that cannot be an object's is the task's failure, and no fault of the store.
    fn note<T>(&self, operation: &str, fine: &Histogram, began: Instant, result: &Result<T, StoreError>) {
        let seconds = began.elapsed().as_secs_f64();
        let kind = match result {
            Ok(_) => {
                self.lamp.succeeded();
                return fine.observe(seconds);
            }
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Fatal(_)) => "fatal",
            Err(StoreError::Name(_)) => "name",
        };
        if kind != "name" {
            self.lamp.failed();
        }
        self.seconds.with_label_values(&[operation, kind]).observe(seconds);
    }
}

impl MeteredStore {
    pub(super) fn new(inner: Arc<dyn Store>, seconds: &HistogramVec, adopted: IntCounter, lamp: Arc<Lamp>) -> Self {
        let fine = |operation| seconds.with_label_values(&[operation, ""]);
        let (begun, published, seconds) = (fine("begin"), fine("publish"), seconds.clone());
        MeteredStore { inner, meter: Arc::new(Meter { seconds, begun, published, adopted, lamp }) }
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn begin(&self) -> Result<Box<dyn Upload>, StoreError> {
        let began = Instant::now();
        let result = self.inner.begin().await;
        self.meter.note("begin", &self.meter.begun, began, &result);
        Ok(Box::new(MeteredUpload { inner: result?, meter: self.meter.clone() }))
    }

    async fn stat(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
        self.inner.stat(path).await
    }

    fn list(&self) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        self.inner.list()
    }

    async fn read(&self, path: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        self.inner.read(path).await
    }
}

/// An upload that is measured.
struct MeteredUpload {
    inner: Box<dyn Upload>,
    meter: Arc<Meter>,
}

#[async_trait]
impl Upload for MeteredUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let result = self.inner.write(bytes).await;
        if result.is_err() {
            // Pieces are many: only failures are looked at.
            self.meter.note("write", &self.meter.begun, Instant::now(), &result);
        }
        result
    }

    async fn publish(self: Box<Self>, path: &str, sha256: [u8; 32]) -> Result<Published, StoreError> {
        let began = Instant::now();
        let MeteredUpload { inner, meter } = *self;
        let result = inner.publish(path, sha256).await;
        meter.note("publish", &meter.published, began, &result);
        if result.as_ref().is_ok_and(|published| published.adopted) {
            meter.adopted.inc();
        }
        result
    }
}
