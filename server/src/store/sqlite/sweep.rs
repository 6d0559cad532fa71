//! Housekeeping: what may be forgotten goes, in slices so small that nobody behind them waits long.
//!
//! A slice has a budget of rows, not of records: a record with a long history takes several slices, and goes itself in
//! the last of them, so that a crash between two leaves it to be swept again.

use super::super::Millis;
use super::super::rows::{self, decode_facets};
use super::apply::corrupt;
use rusqlite::{Connection, OptionalExtension, Statement};

/// The most records of one slice.
pub(super) const SLICE: u32 = 64;
/// The most lines of history that one slice deletes.
const MOST_EVENTS: usize = 1_024;

/// What a slice did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Swept {
    /// How many records are gone, or histories of records that were gone before.
    pub(super) records: u32,
    /// Whether there may be more that is due.
    pub(super) more: bool,
}

/// The sweep's prepared statements.
pub(super) struct Statements<'c> {
    due: Statement<'c>,
    due_orphans: Statement<'c>,
    forget_at: Statement<'c>,
    forget_events: Statement<'c>,
    drop_orphan: Statement<'c>,
}

/// The SQL of the sweep; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[DUE, DUE_ORPHANS, FORGET_AT, FORGET_EVENTS, DROP_ORPHAN];
const DUE: &str = "SELECT n, key, facets FROM records WHERE forget_at <= ?1 ORDER BY forget_at LIMIT ?2";
const DUE_ORPHANS: &str = "SELECT at, key FROM orphans WHERE at <= ?1 ORDER BY at, key LIMIT ?2";
const FORGET_AT: &str = "SELECT forget_at FROM records WHERE key = ?1";
const FORGET_EVENTS: &str = "DELETE FROM events WHERE position IN
    (SELECT position FROM events WHERE subject = ?1 ORDER BY position LIMIT ?2)";
const DROP_ORPHAN: &str = "DELETE FROM orphans WHERE at = ?1 AND key = ?2";

impl<'c> Statements<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            due: conn.prepare(DUE)?,
            due_orphans: conn.prepare(DUE_ORPHANS)?,
            forget_at: conn.prepare(FORGET_AT)?,
            forget_events: conn.prepare(FORGET_EVENTS)?,
            drop_orphan: conn.prepare(DROP_ORPHAN)?,
        })
    }
}

impl super::apply::Statements<'_> {
    /// One slice: up to `limit` (and [`SLICE`]) of what is due at `now`, the longest overdue first.
    ///
    /// # Errors
    /// Of SQLite; then the whole transaction must be rolled back.
    pub(super) fn sweep(&mut self, now: Millis, limit: u32) -> rusqlite::Result<Swept> {
        let limit = limit.min(SLICE);
        let mut events_left = MOST_EVENTS;
        let mut done = Swept { records: 0, more: false };
        let due: Vec<(i64, Vec<u8>, Vec<u8>)> = self
            .sweep
            .due
            .query_map((now.0, limit), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (n, key, facets) in due {
            if !self.forget_history(&key, &mut events_left)? {
                return Ok(Swept { more: true, ..done });
            }
            let name = rows::key(&key).map_err(|_| corrupt())?;
            for facet in decode_facets(&facets).ok_or_else(corrupt)? {
                self.drop_facet(&name, &facet)?;
            }
            self.delete.execute([n])?;
            done.records += 1;
        }
        let orphans: Vec<(i64, Vec<u8>)> = self
            .sweep
            .due_orphans
            .query_map((now.0, limit - done.records), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        done.more = done.records == limit || !orphans.is_empty();
        for (at, key) in orphans {
            let lives = self
                .sweep
                .forget_at
                .query_row([&key], |row| row.get::<_, Option<i64>>(0))
                .optional()?
                .is_some();
            // A key that lives again keeps its history: it is swept with the record that now has it.
            if !lives {
                if !self.forget_history(&key, &mut events_left)? {
                    return Ok(Swept { more: true, ..done });
                }
                done.records += 1;
            }
            self.sweep.drop_orphan.execute((at, &key))?;
        }
        Ok(done)
    }

    /// Deletes the history of a key as far as the budget goes; whether all of it is gone.
    fn forget_history(&mut self, key: &[u8], left: &mut usize) -> rusqlite::Result<bool> {
        if *left == 0 {
            return Ok(false);
        }
        let most = *left;
        let gone = self.sweep.forget_events.execute((key, i64::try_from(most).unwrap_or(i64::MAX)))?;
        *left = most.saturating_sub(gone);
        Ok(gone < most)
    }
}
