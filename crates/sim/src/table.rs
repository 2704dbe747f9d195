//! A table in memory, exact by key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::row::{Key, Row};
use longshore_stages::ports::{Appended, LogPosition, Table, TableError};

use crate::{Fault, Faults, locked};

/// How long a commit takes.
const COMMIT: Duration = Duration::from_millis(20);

/// A table that keeps the first row of each key.
#[derive(Debug, Clone)]
pub struct SimTable {
    name: &'static str,
    rows: Arc<Mutex<BTreeMap<Key, Row>>>,
    faults: Arc<Faults>,
}

impl SimTable {
    /// An empty table.
    pub fn new(name: &'static str, faults: Arc<Faults>) -> Self {
        SimTable { name, rows: Arc::default(), faults }
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Row> {
        locked(&self.rows).values().cloned().collect()
    }

    fn strike(&self, what: &str) -> Option<Fault> {
        self.faults.strike(&format!("table {} {what}", self.name))
    }

    fn add(&self, rows: &[Row]) -> Appended {
        let (mut table, mut appended) = (locked(&self.rows), Appended::default());
        for row in rows {
            match table.entry(row.key) {
                Entry::Vacant(place) => {
                    place.insert(row.clone());
                    appended.added += 1;
                }
                Entry::Occupied(_) => appended.known += 1,
            }
        }
        appended
    }
}

fn away<T>() -> Result<T, TableError> {
    Err(TableError::Unavailable("the table is away".into()))
}

#[async_trait]
impl Table for SimTable {
    async fn append(&self, rows: &[Row], _: &[LogPosition]) -> Result<Appended, TableError> {
        let fault = self.strike("append");
        tokio::time::sleep(COMMIT).await;
        if fault == Some(Fault::Before) {
            return away();
        }
        let appended = self.add(rows);
        if fault.is_some() { away() } else { Ok(appended) }
    }

    async fn known(&self, keys: &[Key]) -> Result<Vec<bool>, TableError> {
        if self.strike("known").is_some() {
            return away();
        }
        let rows = locked(&self.rows);
        Ok(keys.iter().map(|key| rows.contains_key(key)).collect())
    }

    async fn maintain(&self) -> Result<(), TableError> {
        if self.strike("maintain").is_some() { away() } else { Ok(()) }
    }
}
