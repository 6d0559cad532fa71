//! What SQLite says when something goes wrong, in the words of somebody who has to repair it.

use super::super::StoreError;
use rusqlite::ErrorCode;
use std::path::Path;

/// The way out of a damaged file.
pub(super) const WAY_OUT: &str =
    "stop the server, keep the damaged file for an inquiry, and restore the last backup";

/// An accident while working on `path`.
pub(super) fn fault(path: &Path, error: &rusqlite::Error) -> StoreError {
    let file = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(format!("{file} cannot be read as a database ({error}); {WAY_OUT}"))
        }
        Some(ErrorCode::DiskFull) => full(path),
        Some(ErrorCode::SystemIoFailure) => {
            StoreError::Unavailable(format!("the disk did not read or write {file} ({error})"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            StoreError::Unavailable(format!(
                "{file} may not be written; give its owner the right to ({error})"
            ))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unavailable(format!("another program holds a lock on {file}"))
        }
        _ => StoreError::Unavailable(format!("{file}: {error}")),
    }
}

/// The disk of `path` is full.
pub(super) fn full(path: &Path) -> StoreError {
    let file = path.display();
    StoreError::Unavailable(format!("there is no space left to write {file}; make room on its disk"))
}

/// An accident while working on `path`, as a sentence alone.
pub(super) fn sentence(path: &Path, error: &rusqlite::Error) -> String {
    match fault(path, error) {
        StoreError::Unavailable(text) | StoreError::Damaged(text) => text,
        StoreError::Conflict => format!("{}: {error}", path.display()),
    }
}
