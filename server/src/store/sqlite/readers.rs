//! The threads that read, each with a connection and prepared statements of its own.
//!
//! One of them takes short jobs only, so that a load never waits behind searches. Several queued loads are answered
//! from one snapshot, taken after they were asked for.

use super::super::rows::{self, KeyBytes};
use super::super::{EventQuery, Key, Millis, Page, Query, StoreError, StoredEvent, Tally, Versioned, bounds};
use super::apply::hour_of;
use super::fault::fault;
use super::queue::{Reply, Worker};
use super::rows::{record_columns, versioned};
use super::search;
use rusqlite::{Connection, OptionalExtension, Row, Statement};
use std::collections::VecDeque;
use std::path::PathBuf;

/// What is asked of a reader.
pub(super) enum Job {
    /// Records by key.
    Load(Vec<Key>, Reply<Vec<Option<Versioned>>>),
    /// The clock's high-water mark.
    Floor(Reply<Millis>),
    /// The position of the last event.
    Head(Reply<u64>),
    /// Records by facets.
    Search(Query, Reply<Page<Versioned>>),
    /// Lines of history.
    History(EventQuery, Reply<Vec<StoredEvent>>),
    /// Counters.
    Tallies(Reply<Vec<(Tally, i64)>>),
}

/// The most jobs, and the most keys, that one snapshot answers.
const MOST_JOBS: usize = 64;
const MOST_KEYS: usize = 256;

/// The SQL of the readers; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[LOAD, FLOOR, HEAD, HISTORY, HISTORY_OF, HISTORY_IN, HOUR, TALLIES];
const LOAD: &str = concat!("SELECT ", record_columns!(), " FROM records WHERE key = ?1");
const FLOOR: &str = "SELECT value FROM counters WHERE name = x'666c6f6f72'"; // 'floor' as bytes
const HEAD: &str = "SELECT value FROM counters WHERE name = x'706f736974696f6e'"; // 'position' as bytes
const HISTORY: &str = "SELECT position, subject, at, body FROM events WHERE position > ?1 AND at >= ?3 ORDER BY position LIMIT ?2";
const HISTORY_OF: &str = "SELECT position, subject, at, body FROM events
    WHERE subject = ?4 AND position > ?1 AND at >= ?3 ORDER BY position LIMIT ?2";
const HISTORY_IN: &str = "SELECT position, subject, at, body FROM events
    WHERE substr(subject, 2, 8) = ?4 AND position > ?1 AND at >= ?3 ORDER BY position LIMIT ?2";
// All lines below that position are older.
const HOUR: &str = "SELECT position FROM hours WHERE hour <= ?1 ORDER BY hour DESC LIMIT 1";
// Tallies begin with 't'; the range keeps the other counters out.
const TALLIES: &str = "SELECT name, value FROM counters WHERE name >= x'74' AND name < x'75' AND value <> 0";

/// A reading thread's things.
pub(super) struct Reader {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
}

/// The reader's prepared statements.
pub(super) struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    load: Statement<'c>,
    floor: Statement<'c>,
    head: Statement<'c>,
    history: Statement<'c>,
    history_of: Statement<'c>,
    history_in: Statement<'c>,
    hour: Statement<'c>,
    tallies: Statement<'c>,
    search: search::Statements<'c>,
}

impl Reader {
    /// Works until the queue is closed and empty.
    pub(super) fn run(&self, worker: &Worker<Job>) {
        let mut statements = match Statements::new(&self.conn) {
            Ok(statements) => statements,
            Err(error) => {
                tracing::error!(%error, "the store cannot prepare to read");
                return;
            }
        };
        let mut jobs = VecDeque::new();
        loop {
            worker.take(&mut jobs, MOST_JOBS, MOST_KEYS, |job| match job {
                Job::Load(keys, _) => keys.len(),
                Job::Floor(_) | Job::Head(_) | Job::Search(..) | Job::History(..) | Job::Tallies(_) => 1,
            });
            if jobs.is_empty() {
                return;
            }
            self.snapshot(&mut statements, &mut jobs);
        }
    }

    /// Answers the jobs from one snapshot.
    fn snapshot(&self, statements: &mut Statements<'_>, jobs: &mut VecDeque<Job>) {
        // Without a transaction of its own each statement still sees one snapshot: a single load needs no more.
        let single = matches!(jobs.make_contiguous(), [Job::Load(keys, _)] if keys.len() <= 1);
        if !single && let Err(error) = statements.begin.execute([]) {
            tracing::warn!(%error, "a read could not begin");
        }
        for job in jobs.drain(..) {
            // Who does not wait any more is not told.
            match job {
                Job::Load(keys, reply) => drop(reply.send(self.worded(statements.load(&keys)))),
                Job::Floor(reply) => drop(reply.send(self.worded(statements.floor()))),
                Job::Head(reply) => drop(reply.send(self.worded(statements.head()))),
                Job::Search(query, reply) => drop(reply.send(self.worded(statements.search.page(&query)))),
                Job::History(query, reply) => drop(reply.send(self.worded(statements.history(&query)))),
                Job::Tallies(reply) => drop(reply.send(self.worded(statements.tallies()))),
            }
        }
        if !self.conn.is_autocommit()
            && let Err(error) = statements.commit.execute([])
        {
            tracing::warn!(%error, "a read could not end");
        }
    }

    fn worded<T>(&self, result: Result<T, Trouble>) -> Result<T, StoreError> {
        result.map_err(|trouble| match trouble {
            Trouble::Sqlite(error) => fault(&self.path, &error),
            Trouble::Store(error) => error,
        })
    }
}

/// What can go wrong while reading: SQLite failed, or what it gave back makes no sense.
#[derive(Debug)]
pub(super) enum Trouble {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}
impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(error)
    }
}
impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

impl<'c> Statements<'c> {
    /// Prepares everything a reader will ever run.
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            begin: conn.prepare("BEGIN DEFERRED")?,
            commit: conn.prepare("COMMIT")?,
            load: conn.prepare(LOAD)?,
            floor: conn.prepare(FLOOR)?,
            head: conn.prepare(HEAD)?,
            history: conn.prepare(HISTORY)?,
            history_of: conn.prepare(HISTORY_OF)?,
            history_in: conn.prepare(HISTORY_IN)?,
            hour: conn.prepare(HOUR)?,
            tallies: conn.prepare(TALLIES)?,
            search: search::Statements::new(conn)?,
        })
    }

    fn load(&mut self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, Trouble> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let record = self.load.query_row([&*KeyBytes::new(key)], |row| versioned(key, row)).optional()?;
            found.push(record.transpose()?);
        }
        Ok(found)
    }

    fn floor(&mut self) -> Result<Millis, Trouble> {
        let floor = self.floor.query_row([], |row| row.get(0)).optional()?;
        Ok(Millis(floor.unwrap_or(0)))
    }

    fn head(&mut self) -> Result<u64, Trouble> {
        let head: Option<i64> = self.head.query_row([], |row| row.get(0)).optional()?;
        let damaged = || StoreError::Damaged("the position of the last event is below zero".to_owned());
        Ok(u64::try_from(head.unwrap_or(0)).map_err(|_| damaged())?)
    }

    fn history(&mut self, query: &EventQuery) -> Result<Vec<StoredEvent>, Trouble> {
        // No position is that high: nothing comes after it.
        let mut after = i64::try_from(query.after.unwrap_or(0)).unwrap_or(i64::MAX);
        if let Some(since) = query.since {
            let from: Option<i64> = self.hour.query_row([hour_of(since)], |row| row.get(0)).optional()?;
            after = after.max(from.map_or(0, |from| from.saturating_sub(1)));
        }
        let since = query.since.map_or(i64::MIN, |since| since.0);
        let limit = i64::try_from(bounds::page(query.limit)).unwrap_or(1);
        let mut rows = match (&query.subject, query.env) {
            (Some(subject), _) => self.history_of.query((after, limit, since, &*KeyBytes::new(subject)))?,
            (None, Some(env)) => self.history_in.query((after, limit, since, env.to_be_bytes()))?,
            (None, None) => self.history.query((after, limit, since))?,
        };
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push(event(row)?);
        }
        Ok(events)
    }

    fn tallies(&mut self) -> Result<Vec<(Tally, i64)>, Trouble> {
        let mut rows = self.tallies.query([])?;
        let mut tallies = Vec::new();
        while let Some(row) = rows.next()? {
            let name = rows::tally(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
            let name =
                name.ok_or_else(|| StoreError::Damaged("a counter's name cannot be read".to_owned()))?;
            tallies.push((name, row.get(1)?));
        }
        Ok(tallies)
    }
}

pub(super) fn event(row: &Row<'_>) -> Result<StoredEvent, Trouble> {
    let damaged = || StoreError::Damaged("an event's position is below zero".to_owned());
    Ok(StoredEvent {
        position: u64::try_from(row.get::<_, i64>(0)?).map_err(|_| damaged())?,
        subject: rows::key(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?,
        at: Millis(row.get(2)?),
        body: row.get(3)?,
    })
}
