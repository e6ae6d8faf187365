//! What an SQLite error means for the caller, in a sentence with the file's name and the way out.

use crate::port::StoreError;
use rusqlite::ErrorCode;
use std::path::Path;

/// Sorts an error by what the caller does next.
pub(super) fn of(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Retry(format!(
            "{path} is in use: another process has held its write lock for longer than the busy timeout ({error})"
        )),
        Some(ErrorCode::DiskFull) => {
            StoreError::Retry(format!("the disk that holds {path} is full: free some space ({error})"))
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => {
            StoreError::Retry(format!("{path} could not be read or written: {error}"))
        }
        Some(ErrorCode::NotADatabase) => StoreError::Fatal(format!(
            "{path} is not a database file; move it away or name another file with `store.url`"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::Fatal(format!(
            "{path} is read-only for this user: the file and its folder must be writable ({error})"
        )),
        Some(ErrorCode::CannotOpen) => StoreError::Fatal(format!(
            "{path} cannot be opened: its folder must exist and be writable for this user ({error})"
        )),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Fatal(format!(
            "{path} is damaged ({error}); move it away and run `highwater sink` from the start of the topics to \
             build it again"
        )),
        _ => StoreError::Fatal(format!("{path}: {error}")),
    }
}
