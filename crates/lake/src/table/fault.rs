//! From what the libraries report to what the caller must do.

use std::error::Error;

use deltalake_core::DeltaTableError;
use deltalake_core::arrow::error::ArrowError;
use deltalake_core::parquet::errors::ParquetError;
use longshore_stages::ports::TableError;

use crate::durable::disk_fault;

/// Why a step of the protocol did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A file or log entry that our view names is not there any more: the view is too old.
    Gone(String),
    /// A file that the table names is there, but cannot be what was written.
    Damaged(String),
    /// The caller's matter.
    Table(TableError),
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Fault::Table(error)
    }
}

impl Fault {
    /// Sorts an error of a library; `what` says what was being done, with the location.
    pub(crate) fn of(what: &str, error: &(dyn Error + 'static)) -> Self {
        if is_not_found(error) {
            return Fault::Gone(format!("{what}: {error}"));
        }
        match is_damaged(error) {
            true => Fault::Damaged(format!("{what}: {}", chain(error))),
            false => Fault::Table(table_error(what, error)),
        }
    }

    /// The same for the table at `place`, where a view that is too old cannot be helped by reloading. Trying again would
    /// not mend a file, and to go on without it would count its rows twice.
    pub(crate) fn into_table_error(self, place: &str) -> TableError {
        let remedy = "Restore it from a copy, or take it out of the table with a Delta tool and send its events once more";
        match self {
            Fault::Gone(what) => {
                TableError::Fatal(format!("{what}. The table at {place} names this file, which is gone. {remedy}"))
            }
            Fault::Damaged(what) => TableError::Fatal(format!("{what}. This file of the table at {place} is damaged. {remedy}")),
            Fault::Table(error) => error,
        }
    }
}

/// Sorts an error of a library into try again and stop.
pub(crate) fn table_error(what: &str, error: &(dyn Error + 'static)) -> TableError {
    let text = format!("{what}: {}", chain(error));
    if let Some(remedy) = disk_fault(error) {
        return TableError::Fatal(format!("{text}. {remedy}"));
    }
    match find::<object_store::Error>(error) {
        Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => TableError::Fatal(
            format!("{text}. The store refuses these credentials: give them the right to read, write, list and delete there"),
        ),
        _ => TableError::Unavailable(text),
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    if let Some(ParquetError::External(inner)) = error.downcast_ref::<ParquetError>() {
        return is_not_found(inner.as_ref());
    }
    if let Some(DeltaTableError::ObjectStore { source }) = error.downcast_ref::<DeltaTableError>() {
        return is_not_found(source);
    }
    matches!(find::<object_store::Error>(error), Some(object_store::Error::NotFound { .. }))
}

/// Whether the bytes of a data file are at fault: it was read, but is not Parquet, or not all of it is there.
fn is_damaged(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return !matches!(error, ArrowError::ExternalError(_) | ArrowError::IoError(..) | ArrowError::MemoryError(_));
    }
    matches!(error.downcast_ref::<ParquetError>(), Some(error) if !matches!(error, ParquetError::External(_)))
}

/// The error and its causes, without repeating a cause that the error's own text holds already.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
