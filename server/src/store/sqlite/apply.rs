//! What a batch does to the tables, inside the writer's transaction.
//!
//! A batch must fail alone, and cheaply: there is no savepoint. Everything that can refuse it comes first: the reads
//! of every expectation, then the inserts of new records (an insert that finds its key taken is the refusal; it
//! saves a read per new record). Only inserts can have to be taken back, and that is one delete each.

use super::super::rows::{KeyBytes, decode_facets, encode_facets, place_bytes};
use super::super::{Amend, Batch, Expect, Facet, Key, Millis, NewEvent, Op, Record, StoreError};
use super::writer::Marks;
use rusqlite::{Connection, OptionalExtension, Statement};

/// The writer's prepared statements.
pub(super) struct Statements<'c> {
    conn: &'c Connection,
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    find: Statement<'c>,
    insert: Statement<'c>,
    update: Statement<'c>,
    update_forget: Statement<'c>,
    pub(super) delete: Statement<'c>,
    add_facet: Statement<'c>,
    drop_facet: Statement<'c>,
    add_event: Statement<'c>,
    add_hour: Statement<'c>,
    drop_hours: Statement<'c>,
    pub(super) add_orphan: Statement<'c>,
    amend: Statement<'c>,
    touch: Statement<'c>,
    count: Statement<'c>,
    pub(super) set_counter: Statement<'c>,
    pub(super) sweep: super::sweep::Statements<'c>,
    /// Reused for every record.
    facets: Vec<u8>,
}

/// The hour of an instant, as `hours` counts them.
pub(super) const fn hour_of(at: Millis) -> i64 {
    at.0.div_euclid(3_600_000)
}

/// What became of a batch.
pub(super) enum Applied {
    /// It is written, and durable with the turn.
    Done,
    /// Nothing of it is written.
    Refused(StoreError),
}

/// A record as the writer needs it: everything but the body.
struct Found {
    n: i64,
    version: i64,
    seen: Option<i64>,
    forget_at: Option<i64>,
    facets: Vec<u8>,
}

/// The SQL of the writer; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[
    FIND,
    INSERT,
    UPDATE,
    UPDATE_FORGET,
    DELETE,
    ADD_FACET,
    DROP_FACET,
    ADD_EVENT,
    ADD_HOUR,
    DROP_HOURS,
    ADD_ORPHAN,
    AMEND,
    TOUCH,
    COUNT,
    SET_COUNTER,
];
const FIND: &str = "SELECT n, version, seen, forget_at, facets FROM records WHERE key = ?1";
const INSERT: &str = "INSERT INTO records (key, version, bucket, seen, forget_at, facets, body)
    VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
// Two updates, for SQLite rewrites the index of a column that is named, even when its value stays.
const UPDATE: &str =
    "UPDATE records SET version = ?2, bucket = ?3, seen = ?4, facets = ?5, body = ?6 WHERE n = ?1";
const UPDATE_FORGET: &str = "UPDATE records
    SET version = ?2, bucket = ?3, seen = ?4, facets = ?5, body = ?6, forget_at = ?7 WHERE n = ?1";
const DELETE: &str = "DELETE FROM records WHERE n = ?1";
const ADD_FACET: &str = "INSERT INTO facets (place, value, id) VALUES (?1, ?2, ?3)";
const DROP_FACET: &str = "DELETE FROM facets WHERE place = ?1 AND value = ?2 AND id = ?3";
const ADD_EVENT: &str = "INSERT INTO events (position, subject, at, body) VALUES (?1, ?2, ?3, ?4)";
const ADD_HOUR: &str = "INSERT INTO hours (hour, position) VALUES (?1, ?2)";
// Who asks for a time before a year ago begins at the beginning.
const DROP_HOURS: &str = "DELETE FROM hours WHERE hour < ?1 - 8784";
const ADD_ORPHAN: &str = "INSERT INTO orphans (at, key) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const AMEND: &str = "UPDATE events SET body = ?3 WHERE position = ?1 AND body = ?2";
const TOUCH: &str = "UPDATE records SET seen = ?2 WHERE key = ?1 AND seen < ?2";
// A sum that is no integer any more stays at the end of the scale.
const COUNT: &str = "INSERT INTO counters (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value =
    CASE WHEN typeof(value + ?2) = 'integer' THEN value + ?2
    WHEN ?2 < 0 THEN -9223372036854775808 ELSE 9223372036854775807 END";
const SET_COUNTER: &str =
    "INSERT INTO counters (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";

impl<'c> Statements<'c> {
    /// Prepares everything the writer will ever run.
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            find: conn.prepare(FIND)?,
            insert: conn.prepare(INSERT)?,
            update: conn.prepare(UPDATE)?,
            update_forget: conn.prepare(UPDATE_FORGET)?,
            delete: conn.prepare(DELETE)?,
            add_facet: conn.prepare(ADD_FACET)?,
            drop_facet: conn.prepare(DROP_FACET)?,
            add_event: conn.prepare(ADD_EVENT)?,
            add_hour: conn.prepare(ADD_HOUR)?,
            drop_hours: conn.prepare(DROP_HOURS)?,
            add_orphan: conn.prepare(ADD_ORPHAN)?,
            amend: conn.prepare(AMEND)?,
            touch: conn.prepare(TOUCH)?,
            count: conn.prepare(COUNT)?,
            set_counter: conn.prepare(SET_COUNTER)?,
            sweep: super::sweep::Statements::new(conn)?,
            facets: Vec::new(),
        })
    }

    /// Writes a batch, or refuses it and leaves everything as it was. `marks` move with it.
    ///
    /// # Errors
    /// Of SQLite; then the whole transaction must be rolled back.
    pub(super) fn apply(&mut self, batch: &Batch, marks: &mut Marks) -> rusqlite::Result<Applied> {
        let mut found = Vec::with_capacity(batch.ops.len());
        for op in &batch.ops {
            match self.expected(op)? {
                Ok(before) => found.push(before),
                Err(error) => return Ok(Applied::Refused(error)),
            }
        }
        if !self.insert_all(batch)? {
            return Ok(Applied::Refused(StoreError::Conflict));
        }
        for (op, before) in batch.ops.iter().zip(found) {
            match (op, before) {
                (Op::Put { record, .. }, Some(before)) => self.rewrite(record, &before)?,
                (Op::Delete { key, .. }, Some(before)) => self.remove(key, &before)?,
                // Inserted above; or deleted what was not there; or only demanded.
                (Op::Put { .. } | Op::Delete { .. }, None) | (Op::Check { .. }, _) => {}
            }
        }
        for event in &batch.events {
            marks.position += 1;
            let hour = hour_of(event.at);
            if hour > marks.hour {
                // All lines before this one are of earlier hours, however late some of them were written.
                self.add_hour.execute((hour, marks.position))?;
                self.drop_hours.execute([hour])?;
                marks.hour = hour;
            }
            self.add_event(marks.position, event)?;
        }
        marks.floor = marks.floor.max(batch.at.0);
        Ok(Applied::Done)
    }

    /// Writes lines of history anew; how many.
    pub(super) fn amend(&mut self, lines: &[Amend]) -> rusqlite::Result<u32> {
        let mut amended = 0;
        for line in lines {
            // No position is that high: there is no such line.
            let position = i64::try_from(line.position).unwrap_or(-1);
            let changed = self.amend.execute((position, &line.before, &line.after))?;
            amended += u32::try_from(changed).unwrap_or(0);
        }
        Ok(amended)
    }

    /// Raises activity.
    pub(super) fn touch(&mut self, seen: &[(Key, Millis)]) -> rusqlite::Result<()> {
        for (key, at) in seen {
            self.touch.execute((&*KeyBytes::new(key), at.0))?;
        }
        Ok(())
    }

    /// Adds to a counter.
    pub(super) fn count(&mut self, name: &[u8], delta: i64) -> rusqlite::Result<()> {
        self.count.execute((name, delta)).map(drop)
    }

    /// What is there, if it is what was expected. New records are not looked for: their insert will find out.
    fn expected(&mut self, op: &Op) -> rusqlite::Result<Result<Option<Found>, StoreError>> {
        let (key, expect) = match op {
            Op::Put { expect: Expect::Absent, .. } => return Ok(Ok(None)),
            Op::Put { expect, record } => (&record.key, *expect),
            Op::Delete { key, expect } | Op::Check { key, expect } => (key, *expect),
        };
        let found = self
            .find
            .query_row([&*KeyBytes::new(key)], |row| {
                Ok(Found {
                    n: row.get(0)?,
                    version: row.get(1)?,
                    seen: row.get(2)?,
                    forget_at: row.get(3)?,
                    facets: row.get_ref(4)?.as_blob()?.to_vec(),
                })
            })
            .optional()?;
        let is = |found: &Found, version| u64::try_from(found.version) == Ok(version);
        let holds = match (&found, expect) {
            (None, Expect::Absent) => true,
            (Some(found), Expect::Version(version)) => is(found, version),
            (Some(found), Expect::Untouched { version, since }) => {
                is(found, version) && found.seen.is_none_or(|seen| seen <= since.0)
            }
            (Some(_), Expect::Absent) | (None, Expect::Version(_) | Expect::Untouched { .. }) => false,
        };
        Ok(if holds { Ok(found) } else { Err(StoreError::Conflict) })
    }

    /// Inserts the new records of a batch; if one was there already, none of them stays.
    fn insert_all(&mut self, batch: &Batch) -> rusqlite::Result<bool> {
        let mut inserted = Vec::new();
        let new = || {
            batch.ops.iter().filter_map(|op| match op {
                Op::Put { expect: Expect::Absent, record } => Some(record),
                Op::Put { .. } | Op::Delete { .. } | Op::Check { .. } => None,
            })
        };
        for record in new() {
            encode_facets(&record.facets, &mut self.facets);
            let rows = self.insert.execute((
                &*KeyBytes::new(&record.key),
                record.bucket,
                record.seen.map(|at| at.0),
                record.forget_at.map(|at| at.0),
                &self.facets,
                &record.body,
            ))?;
            if rows == 0 {
                for n in inserted {
                    self.delete.execute([n])?;
                }
                return Ok(false);
            }
            inserted.push(self.conn.last_insert_rowid());
        }
        for record in new() {
            for facet in &record.facets {
                self.add_facet(&record.key, facet)?;
            }
        }
        Ok(true)
    }

    fn rewrite(&mut self, record: &Record, before: &Found) -> rusqlite::Result<()> {
        encode_facets(&record.facets, &mut self.facets);
        let seen = record.seen.map(|at| at.0.max(before.seen.unwrap_or(i64::MIN)));
        let forget_at = record.forget_at.map(|at| at.0);
        let version = before.version.saturating_add(1);
        if forget_at == before.forget_at {
            self.update.execute((before.n, version, record.bucket, seen, &self.facets, &record.body))?;
        } else {
            let row = (before.n, version, record.bucket, seen, &self.facets, &record.body, forget_at);
            self.update_forget.execute(row)?;
        }
        if self.facets == before.facets {
            return Ok(());
        }
        let old = facets_of(before)?;
        for gone in old.iter().filter(|facet| !record.facets.contains(facet)) {
            self.drop_facet(&record.key, gone)?;
        }
        for new in record.facets.iter().filter(|facet| !old.contains(facet)) {
            self.add_facet(&record.key, new)?;
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key, before: &Found) -> rusqlite::Result<()> {
        for facet in facets_of(before)? {
            self.drop_facet(key, &facet)?;
        }
        if let Some(at) = before.forget_at {
            self.add_orphan.execute((at, &*KeyBytes::new(key)))?;
        }
        self.delete.execute([before.n]).map(drop)
    }

    fn add_facet(&mut self, key: &Key, facet: &Facet) -> rusqlite::Result<()> {
        let row = (&place_bytes(key.space, facet.name), &*facet.value, &*key.id);
        self.add_facet.execute(row).map(drop)
    }

    pub(super) fn drop_facet(&mut self, key: &Key, facet: &Facet) -> rusqlite::Result<()> {
        let row = (&place_bytes(key.space, facet.name), &*facet.value, &*key.id);
        self.drop_facet.execute(row).map(drop)
    }

    fn add_event(&mut self, position: i64, event: &NewEvent) -> rusqlite::Result<()> {
        self.add_event.execute((position, &*KeyBytes::new(&event.subject), event.at.0, &event.body)).map(drop)
    }
}

/// The facets a record had. If they cannot be read the file is damaged, and SQLite's own word for that is used.
fn facets_of(before: &Found) -> rusqlite::Result<Vec<Facet>> {
    decode_facets(&before.facets).ok_or_else(corrupt)
}

/// SQLite's error for a damaged file.
pub(super) fn corrupt() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some("a record's facets cannot be read".to_owned()))
}
