//! What SQLite and the file system report, turned into what the caller must do.

use std::fmt::Display;
use std::path::Path;

use longshore_stages::ports::LogError;
use rusqlite::ErrorCode;

/// What to do about a damaged file, in one sentence.
const DAMAGED: &str = "the file is damaged: stop, copy the whole directory for analysis, check the disk, then restore it from a copy \
                       or move it away and start with an empty log (what was in flight must then be sent again)";

/// An SQLite error met while doing something to a file.
pub(crate) fn sqlite(file: &Path, doing: impl Display, error: &rusqlite::Error) -> LogError {
    let text = |remedy: &str| format!("log {}: {doing}: {error}: {remedy}", file.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => {
            LogError::Unavailable(text("try again"))
        }
        Some(code) => LogError::Fatal(text(remedy(code))),
        None => LogError::Fatal(text(DAMAGED)),
    }
}

fn remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DiskFull => "the disk is full: free some space and start again (nothing acknowledged is lost)",
        ErrorCode::ReadOnly => {
            "it cannot be written: check the directory's owner and mode, and that the file system is not mounted read-only"
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            "it cannot be opened: check that the directory exists and that this user may read and write it"
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation => DAMAGED,
        ErrorCode::SystemIoFailure => {
            "the disk failed or is full: check its free space (df) and the kernel's messages (dmesg), then start again"
        }
        ErrorCode::TooBig => "a record is larger than the log can hold (1,000,000,000 bytes): send it by reference",
        _ => "report it with this message",
    }
}

/// An error of the file system.
pub(crate) fn io(path: &Path, doing: impl Display, error: &std::io::Error) -> LogError {
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "check the directory's owner and mode",
        std::io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing or choose another directory",
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "free some space and start again",
        std::io::ErrorKind::NotFound => "create the directory or name another one",
        _ => "check the path and the disk",
    };
    LogError::Fatal(format!("{}: {doing}: {error}: {remedy}", path.display()))
}

/// Something in the file that cannot be: a wrong checksum, a hole, a wrong schema.
pub(crate) fn damaged(file: &Path, what: impl Display) -> LogError {
    LogError::Fatal(format!("log {}: {what}: {DAMAGED}", file.display()))
}

/// The log was closed, or its writer is gone.
pub(crate) fn closed(file: &Path) -> LogError {
    LogError::Fatal(format!("log {}: it is closed: open it again", file.display()))
}
