//! How the Delta library reads a table's log: a few commits at a time.
//!
//! Left to itself it opens a thousand at once, and each open one holds room for a thousand actions decoded: loading a
//! table 100 commits after its last checkpoint asked for 267 MB. The log store is the library's in all else.

use std::num::NonZero;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use delta_kernel::Engine;
use delta_kernel_engine::DefaultEngineBuilder;
use delta_kernel_engine::executor::tokio::{TokioBackgroundExecutor, TokioMultiThreadExecutor};
use deltalake_core::DeltaResult;
use deltalake_core::kernel::Version;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{CommitOrBytes, LogStore, LogStoreConfig, LogStoreRef};
use object_store::ObjectStore;
use tokio::runtime::{Handle, RuntimeFlavor};
use uuid::Uuid;

/// Files of a log that are open at a time.
const OPEN: NonZero<usize> = NonZero::new(8).unwrap();
/// Actions decoded at a time, of each open file.
const ACTIONS: NonZero<usize> = NonZero::new(256).unwrap();

/// A log store whose engine reads with bounds.
pub(crate) struct Bounded(pub(crate) LogStoreRef);

#[async_trait]
impl LogStore for Bounded {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn read_commit_entry(&self, version: Version) -> DeltaResult<Option<Bytes>> {
        self.0.read_commit_entry(version).await
    }

    async fn write_commit_entry(&self, version: Version, commit: CommitOrBytes, operation: Uuid) -> Result<(), TransactionError> {
        self.0.write_commit_entry(version, commit, operation).await
    }

    async fn abort_commit_entry(&self, version: Version, commit: CommitOrBytes, operation: Uuid) -> Result<(), TransactionError> {
        self.0.abort_commit_entry(version, commit, operation).await
    }

    async fn get_latest_version(&self, start: Version) -> DeltaResult<Version> {
        self.0.get_latest_version(start).await
    }

    fn object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.0.object_store(operation)
    }

    fn root_object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.0.root_object_store(operation)
    }

    fn engine(&self, operation: Option<Uuid>) -> Arc<dyn Engine> {
        let builder = DefaultEngineBuilder::new(self.root_object_store(operation));
        let builder = builder.with_buffer_size(OPEN).with_batch_size(ACTIONS);
        let handle = Handle::current();
        match handle.runtime_flavor() {
            RuntimeFlavor::CurrentThread => {
                Arc::new(builder.with_task_executor(Arc::new(TokioBackgroundExecutor::new())).build())
            }
            _ => Arc::new(builder.with_task_executor(Arc::new(TokioMultiThreadExecutor::new(handle))).build()),
        }
    }

    fn config(&self) -> &LogStoreConfig {
        self.0.config()
    }
}
