//! A table, measured: how long commits take, how many rows they have, and whether it can be written to.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use longshore_core::row::{Key, Row};
use longshore_lake::table::ExactTable;
use longshore_stages::ports::{Appended, LogPosition, Table, TableError};
use prometheus::{Histogram, HistogramVec, IntCounter, IntGaugeVec};

use super::board::Lamp;

/// A table whose version can be asked for.
#[async_trait]
pub(crate) trait Versioned: Table {
    /// The version that this process has seen last.
    async fn seen_version(&self) -> u64;
}

#[async_trait]
impl Versioned for ExactTable {
    async fn seen_version(&self) -> u64 {
        self.version().await
    }
}

/// A table that is measured.
pub(super) struct MeteredTable {
    pub(super) inner: Arc<dyn Versioned>,
    pub(super) labels: [String; 2],
    pub(super) seconds: HistogramVec,
    pub(super) fine: Histogram,
    pub(super) rows: Histogram,
    pub(super) known: IntCounter,
    /// Without a series until this process has committed.
    pub(super) version: IntGaugeVec,
    pub(super) lamp: Arc<Lamp>,
}

#[async_trait]
impl Table for MeteredTable {
    async fn append(&self, rows: &[Row], positions: &[LogPosition]) -> Result<Appended, TableError> {
        let began = Instant::now();
        let result = self.inner.append(rows, positions).await;
        let seconds = began.elapsed().as_secs_f64();
        self.lamp.note(&result);
        match &result {
            Ok(appended) => {
                self.fine.observe(seconds);
                self.rows.observe(rows.len() as f64);
                self.known.inc_by(appended.known as u64);
                let version = i64::try_from(self.inner.seen_version().await).unwrap_or(i64::MAX);
                self.version.with_label_values(&self.labels).set(version);
            }
            Err(error) => {
                let kind = match error {
                    TableError::Unavailable(_) => "unavailable",
                    TableError::Fatal(_) => "fatal",
                };
                let [source, table] = &self.labels;
                self.seconds.with_label_values(&[source.as_str(), table.as_str(), kind]).observe(seconds);
            }
        }
        result
    }

    async fn known(&self, keys: &[Key]) -> Result<Vec<bool>, TableError> {
        self.inner.known(keys).await
    }

    async fn maintain(&self) -> Result<(), TableError> {
        self.inner.maintain().await
    }
}
