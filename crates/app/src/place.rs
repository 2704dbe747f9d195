//! A batch directory: where its files, tables and state are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use longshore_core::inventory;
use longshore_core::row::TableSpec;
use longshore_lake::durable::DiskSync;
use longshore_lake::store::LocalStore;
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_log::{EmbeddedLog, EmbeddedView};

use crate::settings::SOURCE;

/// The layout under `--to DIR`.
#[derive(Debug, Clone)]
pub struct Place {
    /// `DIR`, absolute.
    pub root: PathBuf,
}

/// The tables of a place as onlookers see them; a table that has no commit yet is absent.
pub struct Tables {
    /// `urls_attachments`.
    pub attachments: Option<ExactTable>,
    /// `urls_attachments_failed`.
    pub failed: Option<ExactTable>,
    /// `urls_events`.
    pub events: Option<ExactTable>,
}

impl Place {
    /// The place at this directory, which need not exist yet.
    pub fn at(directory: &Path) -> Result<Self> {
        let root = std::path::absolute(directory).with_context(|| format!("the directory {}", directory.display()))?;
        Ok(Place { root })
    }

    /// The place at this directory, which must hold a run's state.
    pub fn existing(directory: &Path) -> Result<Self> {
        let place = Self::at(directory)?;
        if !place.state().is_dir() {
            bail!(
                "{} holds no Longshore data (no .longshore directory in it): name the directory of a fetch with --to",
                place.root.display()
            );
        }
        Ok(place)
    }

    /// Where objects are.
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// Where the tables are.
    pub fn tables(&self) -> PathBuf {
        self.root.join("tables")
    }

    /// Where the log is.
    pub fn state(&self) -> PathBuf {
        self.root.join(".longshore")
    }

    /// The directory of a table.
    pub fn table(&self, spec: &TableSpec) -> PathBuf {
        self.tables().join(&spec.name)
    }

    /// The log as an onlooker sees it.
    pub fn log_view(&self) -> Result<EmbeddedView> {
        Ok(EmbeddedLog::open_read_only(&self.state())?)
    }

    /// The store as an onlooker sees it.
    pub fn store_view(&self) -> Result<LocalStore> {
        Ok(LocalStore::open_read_only(&self.files())?)
    }

    /// The tables as an onlooker sees them.
    pub async fn open_tables(&self) -> Result<Tables> {
        let open = |spec: TableSpec| async move {
            let root = Root::local(self.table(&spec), DiskSync::Off)?;
            anyhow::Ok(ExactTable::open_read_only(root, spec, Options::default()).await?)
        };
        Ok(Tables {
            attachments: open(inventory::attachments_table(SOURCE)).await?,
            failed: open(inventory::failed_table(SOURCE)).await?,
            events: open(inventory::events_table(SOURCE)).await?,
        })
    }
}
