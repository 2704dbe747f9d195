//! A batch whose mapping was changed since its last run: what its events table knows was read in another way.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::feed::Reading;
use crate::place::Place;
use crate::settings::Definition;

/// Marks a batch whose input is being fed once more, so that an interrupted run is gone on with.
const MARK: &str = "mapping-changed";

/// Whether the input is to be fed once more.
pub(super) struct Remap {
    /// How events are read, compared with earlier runs.
    pub(super) reading: Reading,
    mark: PathBuf,
}

impl Remap {
    /// Compares the definition with that of the last run. To be asked before the new one is written down.
    pub(super) fn of(place: &Place, definition: &Definition) -> Result<Self> {
        let mark = place.state().join(MARK);
        let last = place.definitions()?.into_iter().find(|last| last.name == definition.name);
        let changed = last.is_some_and(|last| last.preset == definition.preset && last != *definition);
        if changed {
            std::fs::write(&mark, b"").with_context(|| format!("writing {}", mark.display()))?;
        }
        let reading = if changed || mark.exists() { Reading::Anew } else { Reading::AsBefore };
        if reading == Reading::Anew {
            eprintln!(
                "The mapping of '{}' has changed since the last run: all lines are read anew; what is stored already stays.",
                definition.name
            );
        }
        Ok(Remap { reading, mark })
    }

    /// All of the input was fed.
    pub(super) fn done(&self) -> Result<()> {
        match std::fs::remove_file(&self.mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.mark.display()))
            }
            _ => Ok(()),
        }
    }
}
