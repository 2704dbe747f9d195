//! Mappings by name, and what each brings along: columns, paths, file types.

use super::{urls, xact};
use crate::file_type::FileTypes;

/// How the bytes of an event are read.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// One URL in each event, as plain text, as a JSON text or as a JSON object that holds it in a field.
    Urls,
    /// The claims events of the preset `xact`.
    Xact,
}

/// The names of the presets.
pub const PRESETS: [&str; 2] = ["urls", "xact"];

/// The object path of a source that names none.
const DEFAULT_PATH: &str = "{host}/{path}";

impl Mapping {
    /// The mapping of a preset, as it is without a user's own fields; nothing where there is no such preset
    /// (see [`PRESETS`]).
    pub fn preset(name: &str) -> Option<Mapping> {
        match name {
            "urls" => Some(Mapping::Urls),
            "xact" => Some(Mapping::Xact),
            _ => None,
        }
    }

    /// The version of the mapping; rows of the events table carry it.
    pub fn version(&self) -> String {
        match self {
            Mapping::Urls => urls::VERSION.to_owned(),
            Mapping::Xact => xact::VERSION.to_owned(),
        }
    }

    /// The object path where the user gives none.
    pub fn default_path(&self) -> &'static str {
        match self {
            Mapping::Xact => xact::PATH,
            Mapping::Urls => DEFAULT_PATH,
        }
    }

    /// The types of files that may be stored where the user says nothing.
    pub fn default_file_types(&self) -> FileTypes {
        match self {
            Mapping::Xact => FileTypes::xact(),
            Mapping::Urls => FileTypes::any(),
        }
    }

    /// What an object path may name beside the fields of every source
    /// (for [`PathTemplate::parse_with`](crate::path::PathTemplate::parse_with)).
    pub fn path_columns(&self) -> Vec<&str> {
        match self {
            Mapping::Xact => xact::PATH_COLUMNS.to_vec(),
            Mapping::Urls => Vec::new(),
        }
    }
}
