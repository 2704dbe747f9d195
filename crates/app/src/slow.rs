//! For tests of the benchmark suite: a table whose rows take longer, so that it is seen whether the suite sees it.
//!
//! In debug builds alone, and only where [`VARIABLE`] says how much longer; a release build has nothing of it.

use std::sync::Arc;

use longshore_stages::ports::Table;

/// The environment variable with the milliseconds that each row takes more.
#[cfg(debug_assertions)]
const VARIABLE: &str = "TEST_SLOW_RESULT_MS";

/// The table, as slow as is wanted.
#[cfg(not(debug_assertions))]
pub(crate) fn table(table: Arc<dyn Table>) -> Arc<dyn Table> {
    table
}

/// The table, as slow as is wanted.
#[cfg(debug_assertions)]
pub(crate) fn table(table: Arc<dyn Table>) -> Arc<dyn Table> {
    match std::env::var(VARIABLE).ok().and_then(|more| more.parse().ok()) {
        Some(more) => Arc::new(slowed::SlowTable { inner: table, more: std::time::Duration::from_millis(more) }),
        None => table,
    }
}

#[cfg(debug_assertions)]
mod slowed {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use longshore_core::row::{Key, Row};
    use longshore_stages::ports::{Appended, LogPosition, Table, TableError};

    pub(super) struct SlowTable {
        pub(super) inner: Arc<dyn Table>,
        pub(super) more: Duration,
    }

    #[async_trait]
    impl Table for SlowTable {
        async fn append(&self, rows: &[Row], positions: &[LogPosition]) -> Result<Appended, TableError> {
            tokio::time::sleep(self.more * u32::try_from(rows.len()).unwrap_or(u32::MAX)).await;
            self.inner.append(rows, positions).await
        }

        async fn known(&self, keys: &[Key]) -> Result<Vec<bool>, TableError> {
            self.inner.known(keys).await
        }

        async fn maintain(&self) -> Result<(), TableError> {
            self.inner.maintain().await
        }
    }
}
