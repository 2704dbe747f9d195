//! From what the libraries report to what the caller must do.

use std::error::Error;

use deltalake_core::DeltaTableError;
use deltalake_core::parquet::errors::ParquetError;
use longshore_stages::ports::TableError;

use crate::durable::disk_fault;

/// Why a step of the protocol did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A file or log entry that our view names is not there any more: the view is too old.
    Gone(String),
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
        match is_not_found(error) {
            true => Fault::Gone(format!("{what}: {error}")),
            false => Fault::Table(table_error(what, error)),
        }
    }

    /// The same where a view that is too old cannot be helped by reloading.
    pub(crate) fn into_table_error(self) -> TableError {
        match self {
            Fault::Gone(what) => {
                TableError::Unavailable(format!("{what} (a file of the table is missing; run `longshore reconcile`)"))
            }
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
