//! How a source's events are read: by a preset, or by expressions of the user's own.

use longshore_core::file_type::FileTypes;
use longshore_core::source::Mapping;

/// A way to read events, with what follows from it where nothing else is said.
pub(super) struct Preset {
    pub(super) mapping: Mapping,
    pub(super) path: &'static str,
    pub(super) path_columns: &'static [&'static str],
    pub(super) file_types: FileTypes,
}

pub(super) fn named(name: &str) -> Option<Preset> {
    match name {
        "urls" => Some(Preset { mapping: Mapping::Urls, path: "{host}/{path}", path_columns: &[], file_types: FileTypes::any() }),
        "xact" => Some(Preset {
            mapping: Mapping::Xact,
            path: "{status_subtype}/{assignment_id}/{trace_id}/{filename}",
            path_columns: &["status_subtype", "assignment_id", "estimate_version", "filename"],
            file_types: FileTypes::xact(),
        }),
        _ => None,
    }
}
