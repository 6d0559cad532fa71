//! What a difference does to the tables, inside one transaction: rows are put and taken away as they are told.

use super::super::rows::{self, KeyBytes};
use super::super::transfer::{Difference, Marks};
use super::super::{Key, StoreError, Versioned};
use super::readers::Trouble;
use rusqlite::{Connection, OptionalExtension, Row};

/// The SQL of it; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[
    FIND,
    PUT,
    DROP,
    ADD_FACET,
    DROP_FACET,
    PUT_LINE,
    DROP_LINE,
    ADD_ORPHAN,
    DROP_ORPHAN,
    DROP_TALLIES,
    SET_COUNTER,
    RAISE_POSITION,
];
const FIND: &str = "SELECT facets FROM records WHERE key = ?1";
const PUT: &str = "INSERT INTO records (key, version, bucket, seen, forget_at, facets, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (key) DO UPDATE SET version = excluded.version,
    bucket = excluded.bucket, seen = excluded.seen, forget_at = excluded.forget_at, facets = excluded.facets,
    body = excluded.body";
const DROP: &str = "DELETE FROM records WHERE key = ?1";
const ADD_FACET: &str = "INSERT INTO facets (place, value, id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const DROP_FACET: &str = "DELETE FROM facets WHERE place = ?1 AND value = ?2 AND id = ?3";
const PUT_LINE: &str = "INSERT INTO events (position, subject, at, body) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (position) DO UPDATE SET subject = excluded.subject, at = excluded.at, body = excluded.body";
const DROP_LINE: &str = "DELETE FROM events WHERE position = ?1";
const ADD_ORPHAN: &str = "INSERT INTO orphans (at, key) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const DROP_ORPHAN: &str = "DELETE FROM orphans WHERE at = ?1 AND key = ?2";
const DROP_TALLIES: &str = "DELETE FROM counters WHERE name >= x'74' AND name < x'75'";
const SET_COUNTER: &str =
    "INSERT INTO counters (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
const RAISE_POSITION: &str = "INSERT INTO counters (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)";
// Where each hour of the last year begins, from history itself.
const HOURS: &str = "DELETE FROM hours; INSERT INTO hours
    SELECT hour, min(first) OVER (ORDER BY hour DESC)
    FROM (SELECT at / 3600000 AS hour, min(position) AS first FROM events GROUP BY 1)
    WHERE hour >= (SELECT max(at) / 3600000 - 8784 FROM events)";

/// Brings a difference in.
pub(super) fn bring(conn: &Connection, difference: &Difference) -> Result<(), Trouble> {
    let Difference { records, gone_records, lines, gone_lines, orphans, gone_orphans } = difference;
    for found in records {
        put(conn, found)?;
    }
    for key in gone_records {
        drop_facets(conn, key)?;
        conn.prepare_cached(DROP)?.execute([&*KeyBytes::new(key)])?;
    }
    for line in lines {
        let position = i64::try_from(line.position).map_err(|_| damaged("a position is too great"))?;
        let row = (position, &*KeyBytes::new(&line.subject), line.at.0, &line.body);
        conn.prepare_cached(PUT_LINE)?.execute(row)?;
    }
    if let Some(last) = lines.iter().map(|line| line.position).max() {
        let last = i64::try_from(last).map_err(|_| damaged("a position is too great"))?;
        conn.prepare_cached(RAISE_POSITION)?.execute((b"position".as_slice(), last))?;
    }
    for position in gone_lines {
        // No position is that high: there is no such line.
        conn.prepare_cached(DROP_LINE)?.execute([i64::try_from(*position).unwrap_or(-1)])?;
    }
    for (at, key) in orphans {
        conn.prepare_cached(ADD_ORPHAN)?.execute((at.0, &*KeyBytes::new(key)))?;
    }
    for (at, key) in gone_orphans {
        conn.prepare_cached(DROP_ORPHAN)?.execute((at.0, &*KeyBytes::new(key)))?;
    }
    Ok(())
}

/// Sets the marks, and finds the hours of history anew.
pub(super) fn set_marks(conn: &Connection, marks: &Marks) -> Result<(), Trouble> {
    let position = i64::try_from(marks.position).map_err(|_| damaged("a position is too great"))?;
    conn.execute(DROP_TALLIES, [])?;
    let mut set = conn.prepare_cached(SET_COUNTER)?;
    set.execute((b"floor".as_slice(), marks.floor.0))?;
    set.execute((b"position".as_slice(), position))?;
    for (tally, n) in &marks.tallies {
        set.execute((rows::tally_name(tally), n))?;
    }
    Ok(conn.execute_batch(HOURS)?)
}

fn put(conn: &Connection, found: &Versioned) -> Result<(), Trouble> {
    let record = &found.record;
    drop_facets(conn, &record.key)?;
    let mut facets = Vec::new();
    rows::encode_facets(&record.facets, &mut facets);
    conn.prepare_cached(PUT)?.execute((
        &*KeyBytes::new(&record.key),
        i64::try_from(found.version).map_err(|_| damaged("a version is too great"))?,
        record.bucket,
        record.seen.map(|at| at.0),
        record.forget_at.map(|at| at.0),
        &facets,
        &record.body,
    ))?;
    let mut add = conn.prepare_cached(ADD_FACET)?;
    for facet in &record.facets {
        add.execute((rows::place_bytes(record.key.space, facet.name), &*facet.value, &*record.key.id))?;
    }
    Ok(())
}

/// The record that lies there is found by nothing any more.
fn drop_facets(conn: &Connection, key: &Key) -> Result<(), Trouble> {
    let find = |row: &Row<'_>| row.get::<_, Vec<u8>>(0);
    let old = conn.prepare_cached(FIND)?.query_row([&*KeyBytes::new(key)], find).optional()?;
    let Some(old) = old else { return Ok(()) };
    let old = rows::decode_facets(&old).ok_or_else(|| damaged("a record's facets cannot be read"))?;
    let mut gone = conn.prepare_cached(DROP_FACET)?;
    for facet in old {
        gone.execute((rows::place_bytes(key.space, facet.name), &*facet.value, &*key.id))?;
    }
    Ok(())
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}
