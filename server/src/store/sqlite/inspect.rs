//! A look at a store from beside it: read-only, in the middle of another process's work, for who diagnoses it.

use crate::store::{Key, Record, Space, Versioned};
use handstamp_core::time::Millis;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use std::path::Path;
use std::time::Duration;

/// A store that is looked at.
pub struct Inspection(Connection);

/// Why it could not be looked at, in SQLite's words.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NotRead(#[from] rusqlite::Error);

impl Inspection {
    /// Opens it for reading.
    ///
    /// # Errors
    /// [`NotRead`].
    pub fn open(path: &Path) -> Result<Inspection, NotRead> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(Inspection(connection))
    }

    /// One record, without its facets.
    ///
    /// # Errors
    /// [`NotRead`].
    pub fn record(&self, key: &Key) -> Result<Option<Versioned>, NotRead> {
        let sql = "SELECT key, seen, body FROM records WHERE key = ?1";
        Ok(self.0.query_row(sql, [name(key)], found).optional()?)
    }

    /// The latest instant that was committed.
    ///
    /// # Errors
    /// [`NotRead`].
    pub fn clock_floor(&self) -> Result<Millis, NotRead> {
        let sql = "SELECT value FROM counters WHERE name = ?1";
        let floor: Option<i64> = self.0.query_row(sql, [b"floor".as_slice()], |row| row.get(0)).optional()?;
        Ok(Millis(floor.unwrap_or(0)))
    }

    /// The newest records of a kind that may be touched, without their facets.
    ///
    /// # Errors
    /// [`NotRead`].
    pub fn newest(&self, kind: u8, limit: u32) -> Result<Vec<Versioned>, NotRead> {
        let mut newest = self.0.prepare(
            "SELECT key, seen, body FROM records WHERE key >= ?1 AND key < ?2 AND seen IS NOT NULL ORDER BY key DESC LIMIT ?3",
        )?;
        let rows = newest.query_map((vec![kind], vec![kind + 1], limit), found)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Moves what stands in the log of a store that nobody uses into its file.
///
/// # Errors
/// [`NotRead`]; then both stay as they are.
pub fn fold_log(path: &Path) -> Result<(), NotRead> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

fn name(key: &Key) -> Vec<u8> {
    [&[key.space.kind], key.space.env.to_be_bytes().as_slice(), &key.id].concat()
}

fn found(row: &Row<'_>) -> rusqlite::Result<Versioned> {
    let name: Vec<u8> = row.get(0)?;
    let seen: Option<i64> = row.get(1)?;
    let key = match name.split_first_chunk::<9>() {
        Some(([kind, env @ ..], id)) => {
            Key { space: Space { kind: *kind, env: u64::from_be_bytes(*env) }, id: id.into() }
        }
        None => Key { space: Space { kind: 0, env: 0 }, id: name.into() },
    };
    let body = row.get(2)?;
    let record = Record { key, bucket: 0, facets: Vec::new(), seen: seen.map(Millis), forget_at: None, body };
    Ok(Versioned { record, version: 1 })
}
