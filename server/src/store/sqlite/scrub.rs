//! Taking what was deleted out of the files.
//!
//! SQLite writes zeros over what is deleted (`secure_delete`), and the write-ahead log is cut to nothing here. One thing
//! is left: when rows move between pages, SQLite leaves copies of them in the unused middle of the pages they came from,
//! and writes zeros over the rows later, not over these copies. Only a rewrite of the whole file (VACUUM) is without
//! them. That keeps writers waiting for as long as it takes, so here it is done of small files only.

use super::super::{Scrubbed, StoreError};
use super::fault::fault;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// The most bytes of a file that is rewritten while it is used: some tenths of a second.
const SMALL: i64 = 32 << 20;
/// How long readers of the log are waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// Rewrites the whole file at `path`, which no server may have open: what was deleted is in it no more, and it is as small
/// as it can be. Takes room for a copy in the place for temporary files, and for another one beside it. If it is cut
/// short the file is as it was.
///
/// # Errors
/// A sentence that names the file.
pub fn compact(path: &Path) -> Result<(), StoreError> {
    let worded = |error: rusqlite::Error| fault(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(worded)?;
    conn.busy_timeout(super::open::PATIENCE).map_err(worded)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; VACUUM").map_err(worded)?;
    let read = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    if read.map_err(worded)? != 0 {
        let what = format!("another program reads {}: its log could not be cut", path.display());
        return Err(StoreError::Unavailable(what));
    }
    conn.close().map_err(|(_, error)| worded(error))
}

/// Scrubs between two turns of the writer.
///
/// # Errors
/// What SQLite says, in a sentence.
pub(super) fn scrub(conn: &Connection, path: &Path) -> Result<Scrubbed, StoreError> {
    let worded = |error: rusqlite::Error| fault(path, &error);
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(worded);
    let small = number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?) <= SMALL;
    if small {
        // The copy is made in memory: a place for temporary files need not exist.
        conn.execute_batch("PRAGMA temp_store = MEMORY; VACUUM").map_err(worded)?;
    }
    conn.busy_timeout(PATIENCE).map_err(worded)?;
    let cut = number("PRAGMA wal_checkpoint(TRUNCATE)");
    conn.busy_timeout(super::open::PATIENCE).map_err(worded)?;
    Ok(match (cut?, small) {
        (0, true) => Scrubbed::Clean,
        (0, false) => Scrubbed::WrittenOver,
        _ => Scrubbed::Later,
    })
}
