//! The file, raw: read page by page from beside the server that works on it, and written while none does.
//!
//! Each page is a statement of its own, so that the server's write-ahead log is never held for longer than a page takes.
//! A claim is the lock that a server holds.

use super::super::rows::{self, KeyBytes};
use super::super::transfer::{
    Difference, Digest, LARGEST_LIST, Marks, Orphan, Size, Transfer, of_line, of_record,
};
use super::super::{Key, Millis, StoreError, StoredEvent, Versioned};
use super::bring::{bring, damaged, set_marks};
use super::fault::fault;
use super::open::{Lock, OpenError, first_look, lock, onlooker, writer};
use super::readers::{self, Trouble};
use super::rows::{record_columns, versioned};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The page cache of who writes, in KiB: what is written in the order of keys touches the facets in all places.
const CACHE_KIB: u32 = 65_536;
/// The cache of statements holds all that are used.
const STATEMENTS: usize = 32;
/// Pages of the write-ahead log from which on it is moved into the database.
const LOG_PAGES: u32 = 8_000;

/// The SQL of transfers; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[KEYS, RECORD, PLACES, LINE, ORPHANS, COUNTERS];
const KEYS: &str =
    concat!("SELECT ", record_columns!(), ", key FROM records WHERE key > ?1 ORDER BY key LIMIT ?2");
const RECORD: &str = concat!("SELECT ", record_columns!(), " FROM records WHERE key = ?1");
const PLACES: &str =
    "SELECT position, subject, at, body FROM events WHERE position > ?1 ORDER BY position LIMIT ?2";
const LINE: &str = "SELECT position, subject, at, body FROM events WHERE position = ?1";
const ORPHANS: &str = "SELECT at, key FROM orphans WHERE (at, key) > (?1, ?2) ORDER BY at, key LIMIT ?3";
// Tallies begin with 't'.
const COUNTERS: &str = "SELECT name, value FROM counters WHERE name >= x'74' AND name < x'75' AND value <> 0
    ORDER BY name";

/// A store's file, as whoever moves it needs it.
pub struct RawFile {
    path: PathBuf,
    open: Arc<Mutex<Open>>,
}

struct Open {
    /// None: the file is not there yet.
    conn: Option<Connection>,
    lock: Option<Lock>,
}

impl RawFile {
    /// The file at `path`. When there is none, it is made by the first claim.
    ///
    /// # Errors
    /// It is no store, or not one that can be read.
    pub fn at(path: &Path) -> Result<RawFile, OpenError> {
        let conn = if path.exists() { Some(onlooker(path)?) } else { None };
        conn.iter().for_each(|conn| conn.set_prepared_statement_cache_capacity(STATEMENTS));
        Ok(RawFile { path: path.to_owned(), open: Arc::new(Mutex::new(Open { conn, lock: None })) })
    }

    /// Works on the file, on a thread that may wait.
    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, Trouble> + Send + 'static,
        absent: Option<T>,
    ) -> Result<T, StoreError> {
        let (open, path) = (self.open.clone(), self.path.clone());
        let done = tokio::task::spawn_blocking(move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            match (open.conn.as_mut(), absent) {
                (Some(conn), _) => job(conn).map_err(|trouble| match trouble {
                    Trouble::Sqlite(error) => fault(&path, &error),
                    Trouble::Store(error) => error,
                }),
                (None, Some(absent)) => Ok(absent),
                (None, None) => Err(unclaimed(&path)),
            }
        });
        done.await.map_err(|why| StoreError::Unavailable(why.to_string()))?
    }

    async fn read<T: Send + Default + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.work(|conn| job(conn), Some(T::default())).await
    }

    async fn change(
        &self,
        job: impl FnOnce(&Connection) -> Result<(), Trouble> + Send + 'static,
    ) -> Result<(), StoreError> {
        let claimed = self.open.lock().unwrap_or_else(PoisonError::into_inner).lock.is_some();
        if !claimed {
            return Err(unclaimed(&self.path));
        }
        let job = |conn: &mut Connection| {
            let step = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            job(&step)?;
            Ok(step.commit()?)
        };
        self.work(job, None).await
    }
}

fn unclaimed(path: &Path) -> StoreError {
    StoreError::Unavailable(format!("{} is not claimed", path.display()))
}

fn list(limit: u32) -> u32 {
    limit.clamp(1, LARGEST_LIST)
}

#[async_trait]
impl Transfer for RawFile {
    async fn size(&self) -> Result<Size, StoreError> {
        let count = |conn: &Connection, sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        self.read(move |conn| {
            Ok(Size {
                records: count(conn, "SELECT count(*) FROM records")?.unsigned_abs(),
                lines: count(conn, "SELECT count(*) FROM events")?.unsigned_abs(),
            })
        })
        .await
    }

    async fn record_digests(
        &self,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<(Key, Digest)>, StoreError> {
        let after = after.map(|key| KeyBytes::new(key).to_vec()).unwrap_or_default();
        self.read(move |conn| {
            let mut page = Vec::new();
            let mut statement = conn.prepare_cached(KEYS)?;
            let mut rows = statement.query((after, list(limit)))?;
            while let Some(row) = rows.next()? {
                let key = rows::key(row.get_ref(6)?.as_blob().map_err(rusqlite::Error::from)?)?;
                let digest = of_record(&versioned(&key, row)??);
                page.push((key, digest));
            }
            Ok(page)
        })
        .await
    }

    async fn records(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        let keys = keys.to_vec();
        let absent = vec![None; keys.len()];
        let load = move |conn: &mut Connection| {
            let mut statement = conn.prepare_cached(RECORD)?;
            let mut found = Vec::with_capacity(keys.len());
            for key in &keys {
                let row =
                    statement.query_row([&*KeyBytes::new(key)], |row| versioned(key, row)).optional()?;
                found.push(row.transpose()?);
            }
            Ok(found)
        };
        self.work(load, Some(absent)).await
    }

    async fn line_digests(&self, after: Option<u64>, limit: u32) -> Result<Vec<(u64, Digest)>, StoreError> {
        let after = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        self.read(move |conn| {
            let mut page = Vec::new();
            let mut statement = conn.prepare_cached(PLACES)?;
            let mut rows = statement.query((after, list(limit)))?;
            while let Some(row) = rows.next()? {
                let line = readers::event(row)?;
                page.push((line.position, of_line(&line)));
            }
            Ok(page)
        })
        .await
    }

    async fn lines(&self, positions: &[u64]) -> Result<Vec<Option<StoredEvent>>, StoreError> {
        let positions = positions.to_vec();
        let absent = vec![None; positions.len()];
        let load = move |conn: &mut Connection| {
            let mut statement = conn.prepare_cached(LINE)?;
            let mut found = Vec::with_capacity(positions.len());
            for position in positions {
                let position = i64::try_from(position).unwrap_or(-1);
                let mut rows = statement.query([position])?;
                found.push(rows.next()?.map(readers::event).transpose()?);
            }
            Ok(found)
        };
        self.work(load, Some(absent)).await
    }

    async fn orphans(&self, after: Option<&Orphan>, limit: u32) -> Result<Vec<Orphan>, StoreError> {
        let after = after.map_or((i64::MIN, Vec::new()), |(at, key)| (at.0, KeyBytes::new(key).to_vec()));
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(ORPHANS)?;
            let mut rows = statement.query((after.0, after.1, list(limit)))?;
            let mut page = Vec::new();
            while let Some(row) = rows.next()? {
                page.push(orphan(row)?);
            }
            Ok(page)
        })
        .await
    }

    async fn marks(&self) -> Result<Marks, StoreError> {
        self.read(|conn| {
            // One moment.
            let step = conn.unchecked_transaction()?;
            let counter = |name: &[u8]| {
                let sql = "SELECT value FROM counters WHERE name = ?1";
                step.query_row(sql, [name], |row| row.get::<_, i64>(0)).optional()
            };
            let position = counter(b"position")?.unwrap_or(0);
            let mut marks = Marks {
                floor: Millis(counter(b"floor")?.unwrap_or(0)),
                position: u64::try_from(position).map_err(|_| damaged("the last position is below zero"))?,
                tallies: Vec::new(),
            };
            let mut statement = step.prepare_cached(COUNTERS)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let name = rows::tally(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
                let name = name.ok_or_else(|| damaged("a counter's name cannot be read"))?;
                marks.tallies.push((name, row.get(1)?));
            }
            marks.tallies.sort();
            Ok(marks)
        })
        .await
    }

    async fn write(&self, difference: &Difference) -> Result<(), StoreError> {
        let difference = difference.clone();
        self.change(move |conn| bring(conn, &difference)).await
    }

    async fn set_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        let marks = marks.clone();
        self.change(move |conn| set_marks(conn, &marks)).await
    }

    async fn claim(&self) -> Result<bool, StoreError> {
        let (open, path) = (self.open.clone(), self.path.clone());
        let claim = tokio::task::spawn_blocking(move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.lock.is_some() {
                return Ok(true);
            }
            let said = |error: OpenError| StoreError::Unavailable(error.to_string());
            let held = match lock(&path) {
                Ok(held) => held,
                Err(OpenError::InUse { .. }) => return Ok(false),
                Err(error) => return Err(said(error)),
            };
            let conn = writer(&path, CACHE_KIB).map_err(said)?;
            first_look(&path, &conn).map_err(said)?;
            conn.set_prepared_statement_cache_capacity(STATEMENTS);
            let grow = conn.pragma_update(None, "wal_autocheckpoint", LOG_PAGES);
            grow.map_err(|error| fault(&path, &error))?;
            *open = Open { conn: Some(conn), lock: Some(held) };
            Ok(true)
        });
        claim.await.map_err(|why| StoreError::Unavailable(why.to_string()))?
    }

    async fn release(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.lock.is_none() {
            return;
        }
        if let Some(conn) = open.conn.take() {
            // Best effort: what is in the log is safe there, too.
            let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        open.lock = None;
        open.conn = onlooker(&self.path).ok();
    }
}

fn orphan(row: &Row<'_>) -> Result<Orphan, Trouble> {
    let key = rows::key(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
    Ok((Millis(row.get(0)?), key))
}
