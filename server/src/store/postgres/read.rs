//! What is read by key or in order: records, history, counters, the clock's floor.
//!
//! `_hot` is the partition of all that lives. What rests is looked for only where it may be: by kind, and when it does not
//! live. It is left out when it is forgotten already, though its partition is still there.

use super::super::rows::{self, KeyBytes, decode_facets};
use super::super::{EventQuery, Key, Millis, Record, StoreError, StoredEvent, Tally, Versioned, bounds};
use super::fault::Trouble;
use super::pool::{Line, Prepared};
use super::searching::{exact, forgotten, forgotten_record, ids, space};
use async_trait::async_trait;
use tokio_postgres::{Client, Error, Row, Statement};

/// Milliseconds of an hour of history's marks.
const HOUR: i64 = 3_600_000;

macro_rules! statements {
    ($kind:ident: $($name:ident = $sql:expr;)*) => {
        /// Prepared statements of one connection.
        pub(super) struct $kind { $(pub(super) $name: Statement,)* }

        impl $kind {
            /// Their text; a test reads the query plan of each.
            pub(super) const SQL: &'static [&'static str] = &[$($sql),*];
        }

        #[async_trait]
        impl Prepared for $kind {
            async fn prepare(client: &Client) -> Result<$kind, Error> {
                // All at once, in about one round trip.
                let ($($name,)*) = tokio::try_join!($(client.prepare($sql)),*)?;
                Ok($kind { $($name),* })
            }
        }
    };
}

/// Up to where what rests is forgotten.
macro_rules! horizon {
    () => {
        "(SELECT at, key FROM horizon WHERE one)"
    };
}
pub(super) use horizon;

/// What every whole record is read with, in the order [`record`] wants.
macro_rules! columns {
    () => {
        "version, bucket, seen, forget_at, facets, body"
    };
}

/// What comes after the position $1, and not before the hour $4: all lines below a mark are older than its hour.
macro_rules! first {
    () => {
        "greatest($1::bigint, (SELECT position - 1 FROM hours WHERE hour <= $4 ORDER BY hour DESC LIMIT 1))"
    };
}
statements! { Short:
    load_hot = concat!("SELECT key, ", columns!(), " FROM records_hot WHERE key = ANY($1)");
    // One snapshot for both: nothing is missed on its way from one to the other.
    load = concat!("SELECT key, ", columns!(), " FROM records_hot WHERE key = ANY($1) UNION ALL SELECT key, ", columns!(),
        " FROM records WHERE day > 0 AND key = ANY($2) AND (forget_at, key) > ", horizon!());
    meta = "SELECT position, floor FROM meta WHERE one";
}

statements! { Long:
    history = concat!("SELECT * FROM (
          (SELECT position, subject, at, body FROM events_hot WHERE position > ", first!(), " AND at >= $3
            ORDER BY position LIMIT $2)
          UNION ALL
          (SELECT position, subject, at, body FROM events WHERE day > 0 AND position > ", first!(), " AND at >= $3
            AND (forget_at, subject) > ", horizon!(), " ORDER BY position LIMIT $2)) AS all_of_them
        ORDER BY position LIMIT $2");
    history_in = concat!("SELECT * FROM (
          (SELECT position, subject, at, body FROM events_hot WHERE substring(subject, 2, 8) = $5
            AND position > ", first!(), " AND at >= $3 ORDER BY position LIMIT $2)
          UNION ALL
          (SELECT position, subject, at, body FROM events WHERE day > 0 AND substring(subject, 2, 8) = $5
            AND position > ", first!(), " AND at >= $3
            AND (forget_at, subject) > ", horizon!(), " ORDER BY position LIMIT $2)) AS all_of_them
        ORDER BY position LIMIT $2");
    history_of_hot = concat!("SELECT position, subject, at, body FROM events_hot WHERE subject = $5
        AND position > ", first!(), " AND at >= $3 ORDER BY position LIMIT $2");
    history_of = concat!("SELECT * FROM (
          (SELECT position, subject, at, body FROM events_hot WHERE subject = $5
            AND position > ", first!(), " AND at >= $3 ORDER BY position LIMIT $2)
          UNION ALL
          (SELECT position, subject, at, body FROM events WHERE day > 0 AND subject = $5
            AND position > ", first!(), " AND at >= $3
            AND (forget_at, subject) > ", horizon!(), " ORDER BY position LIMIT $2)) AS all_of_them
        ORDER BY position LIMIT $2");
    exact = exact!("facets", "records", forgotten!());
    exact_hot = exact!("facets_hot", "records_hot", "");
    space = space!("records", forgotten_record!());
    space_hot = space!("records_hot", "");
    tallies = "SELECT name, value FROM tallies WHERE value <> 0";
    // Nothing but a line of the log, which commits as everything else does; and the tables are there.
    probe = "SELECT pg_logical_emit_message(true, 'handstamp', ''), floor FROM meta WHERE one";
}

statements! { Says:
    // The time is read while it is asked for, before what is said can be heard.
    say = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_notify($1, $2)";
}

/// Says it to all nodes; the time that the store has.
pub(super) async fn say(line: &Line<Says>, channel: &str, text: &str) -> Result<Millis, Trouble> {
    let row = line.client.query_one(&line.statements.say, &[&channel, &text]).await?;
    Ok(Millis(row.try_get(0)?))
}

/// Records by key, in the order of `keys`.
pub(super) async fn load(
    line: &Line<Short>,
    resting: &[u8],
    keys: &[Key],
) -> Result<Vec<Option<Versioned>>, Trouble> {
    let bytes: Vec<KeyBytes> = keys.iter().map(KeyBytes::new).collect();
    let all: Vec<&[u8]> = bytes.iter().map(|key| &**key).collect();
    let mut rows = line.client.query(&line.statements.load_hot, &[&all]).await?;
    let may_rest: Vec<&[u8]> = keys
        .iter()
        .zip(&all)
        .filter(|(key, _)| resting.contains(&key.space.kind))
        .map(|(_, bytes)| *bytes)
        .filter(|bytes| !rows.iter().any(|row| row.get::<_, &[u8]>(0) == *bytes))
        .collect();
    if !may_rest.is_empty() {
        rows = line.client.query(&line.statements.load, &[&all, &may_rest_of(keys, &all, resting)]).await?;
    }
    Ok(in_order(keys, &all, &rows)?)
}

/// All keys of kinds that may rest.
fn may_rest_of<'k>(keys: &[Key], bytes: &[&'k [u8]], resting: &[u8]) -> Vec<&'k [u8]> {
    let pairs = keys.iter().zip(bytes);
    pairs.filter(|(key, _)| resting.contains(&key.space.kind)).map(|(_, bytes)| *bytes).collect()
}

fn in_order(keys: &[Key], bytes: &[&[u8]], rows: &[Row]) -> Result<Vec<Option<Versioned>>, StoreError> {
    let mut found: Vec<(&[u8], &Row)> = rows.iter().map(|row| (row.get(0), row)).collect();
    found.sort_unstable_by_key(|(key, _)| *key);
    let one = |(key, bytes): (&Key, &&[u8])| match found.binary_search_by_key(bytes, |(key, _)| *key) {
        Ok(at) => found.get(at).map(|(_, row)| record(key.clone(), row, 1)).transpose(),
        Err(_) => Ok(None),
    };
    keys.iter().zip(bytes).map(one).collect()
}

/// The last position, and the clock's floor.
pub(super) async fn meta(line: &Line<Short>) -> Result<(u64, Millis), Trouble> {
    let row = line.client.query_one(&line.statements.meta, &[]).await?;
    let position = u64::try_from(row.get::<_, i64>(0))
        .map_err(|_| StoreError::Damaged("the position of the last event is below zero".to_owned()));
    Ok((position?, Millis(row.get(1))))
}

/// Lines of history.
pub(super) async fn history(
    line: &Line<Long>,
    resting: &[u8],
    query: &EventQuery,
) -> Result<Vec<StoredEvent>, Trouble> {
    // No position is that high: nothing comes after it.
    let after = i64::try_from(query.after.unwrap_or(0)).unwrap_or(i64::MAX);
    let limit = i64::try_from(bounds::page(query.limit)).unwrap_or(1);
    let since = query.since.map_or(i64::MIN, |since| since.0);
    let hour = query.since.map_or(i64::MIN, |since| since.0.div_euclid(HOUR));
    let (client, statements) = (&line.client, &line.statements);
    let rows = match (&query.subject, query.env) {
        (Some(subject), _) => {
            let rests = resting.contains(&subject.space.kind);
            let statement = if rests { &statements.history_of } else { &statements.history_of_hot };
            let subject = KeyBytes::new(subject);
            client.query(statement, &[&after, &limit, &since, &hour, &&*subject]).await?
        }
        (None, Some(env)) => {
            let env = env.to_be_bytes();
            client.query(&statements.history_in, &[&after, &limit, &since, &hour, &env.as_slice()]).await?
        }
        (None, None) => client.query(&statements.history, &[&after, &limit, &since, &hour]).await?,
    };
    Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
}

/// Counters.
pub(super) async fn tallies(line: &Line<Long>) -> Result<Vec<(Tally, i64)>, Trouble> {
    let rows = line.client.query(&line.statements.tallies, &[]).await?;
    let damaged = || StoreError::Damaged("a counter's name cannot be read".to_owned());
    let tally = |row: &Row| Ok::<_, StoreError>((rows::tally(row.get(0)).ok_or_else(damaged)?, row.get(1)));
    Ok(rows.iter().map(tally).collect::<Result<_, _>>()?)
}

/// Whether writes go through, to the disk.
pub(super) async fn probe(line: &Line<Long>) -> Result<(), Trouble> {
    Ok(line.client.query_one(&line.statements.probe, &[]).await.map(drop)?)
}

/// A line of history.
pub(super) fn event(row: &Row) -> Result<StoredEvent, StoreError> {
    let damaged = || StoreError::Damaged("an event's position is below zero".to_owned());
    Ok(StoredEvent {
        position: u64::try_from(row.get::<_, i64>(0)).map_err(|_| damaged())?,
        subject: rows::key(row.get(1))?,
        at: Millis(row.get(2)),
        body: row.get(3),
    })
}

/// A record from [`columns`], of which the first is the column `at`.
pub(super) fn record(key: Key, row: &Row, at: usize) -> Result<Versioned, StoreError> {
    let damaged = || StoreError::Damaged(format!("a record of kind {} cannot be read", key.space.kind));
    let version = u64::try_from(row.get::<_, i64>(at)).map_err(|_| damaged())?;
    let bucket = u16::try_from(row.get::<_, i32>(at + 1)).map_err(|_| damaged())?;
    let facets = decode_facets(row.get(at + 4)).ok_or_else(damaged)?;
    let seen = row.get::<_, Option<i64>>(at + 2).map(Millis);
    let forget_at = row.get::<_, Option<i64>>(at + 3).map(Millis);
    let record = Record { key, bucket, facets, seen, forget_at, body: row.get(at + 5) };
    Ok(Versioned { record, version })
}
