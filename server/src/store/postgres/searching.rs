//! The statements of searches, each twice: for kinds of which all records live, and for those that may rest.

use super::pool::Prepared;
use super::read::horizon;
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Error, Statement};

/// Entries of what is forgotten, though its partition is still there, are left out.
macro_rules! forgotten {
    () => {
        concat!(" AND (day = 0 OR (forget_at, substring(place, 1, 9) || id) > ", horizon!(), ")")
    };
}
pub(super) use forgotten;

/// The same of records.
macro_rules! forgotten_record {
    () => {
        concat!(" AND (day = 0 OR (forget_at, key) > ", horizon!(), ")")
    };
}
pub(super) use forgotten_record;

/// The greatest ids below $4 that have one of the exact values, each once; $5 of them.
macro_rules! ids {
    ($facets:expr, $also:expr) => {
        concat!(
            "(SELECT f.id, f.day FROM unnest($1::bytea[], $2::bytea[]) AS a (place, value)
              CROSS JOIN LATERAL (SELECT id, day FROM ",
            $facets,
            " WHERE place = a.place AND value = a.value
                AND id >= $3 AND id < $4",
            $also,
            " ORDER BY id DESC LIMIT $5) AS f
              GROUP BY f.id, f.day ORDER BY f.id DESC LIMIT $5) AS c"
        )
    };
}
pub(super) use ids;

/// A page by exact values, whole records.
macro_rules! exact {
    ($facets:expr, $records:expr, $also:expr) => {
        concat!(
            "SELECT c.id, r.version, r.bucket, r.seen, r.forget_at, r.facets, r.body FROM ",
            ids!($facets, $also),
            " LEFT JOIN ",
            $records,
            " AS r ON r.day = c.day AND r.key = $6::bytea || c.id ORDER BY c.id DESC"
        )
    };
}
pub(super) use exact;

/// A page of a space, whole records.
macro_rules! space {
    ($records:expr, $also:expr) => {
        concat!(
            "SELECT substring(key, 10) AS id, ",
            columns!(),
            " FROM ",
            $records,
            " WHERE key >= $1 AND key < $2",
            $also,
            " ORDER BY key DESC LIMIT $3"
        )
    };
}
pub(super) use space;

/// Prepared statements of a connection for searches.
pub(super) struct Search {
    /// For kinds of which all records live.
    pub(super) hot: Set,
    /// For kinds that may rest.
    pub(super) all: Set,
    /// Whose transaction it is.
    pub(super) alone: Mutex<()>,
}

/// Prepared statements for one of both. Candidates are id, day and facets.
pub(super) struct Set {
    pub(super) count_exact: Statement,
    pub(super) count_range: Statement,
    pub(super) count_space: Statement,
    pub(super) exact: Statement,
    pub(super) space: Statement,
    pub(super) gather: Statement,
    pub(super) value: Statement,
    pub(super) facets: Statement,
    pub(super) whole: Statement,
}

macro_rules! texts {
    ($facets:expr, $records:expr, $forgotten:expr, $forgotten_record:expr) => {
        [
            concat!("SELECT a.n, (SELECT count(*) FROM (SELECT 1 FROM ", $facets, " WHERE place = a.place
                  AND value = a.low AND id >= $4 AND id < $5 LIMIT $6) AS entries)
                FROM unnest($1::bytea[], $2::bytea[], $3::integer[]) AS a (place, low, n)"),
            concat!("SELECT a.n, (SELECT count(*) FROM (SELECT 1 FROM ", $facets, " WHERE place = a.place
                  AND value >= a.low AND value <= a.high LIMIT $5) AS entries)
                FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::integer[]) AS a (place, low, high, n)"),
            concat!("SELECT count(*) FROM (SELECT 1 FROM ", $records,
                " WHERE key >= $1 AND key < $2 LIMIT $3) AS entries"),
            concat!("SELECT c.id, c.day, r.facets FROM ", ids!($facets, $forgotten), " LEFT JOIN ", $records,
                " AS r ON r.day = c.day AND r.key = $6::bytea || c.id ORDER BY c.id DESC"),
            concat!("SELECT substring(key, 10) AS id, day, facets FROM ", $records,
                " WHERE key >= $1 AND key < $2", $forgotten_record, " ORDER BY key DESC LIMIT $3"),
            concat!("SELECT f.id, f.day FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS a (place, low, high)
                CROSS JOIN LATERAL (SELECT id, day FROM ", $facets, " WHERE place = a.place AND value >= a.low
                  AND value <= a.high AND id >= $4 AND id < $5", $forgotten, " OFFSET 0) AS f"),
            concat!("SELECT c.id, c.day, r.facets, c.value FROM (SELECT value, id, day FROM ", $facets,
                " WHERE place = $1 AND (value, id) > ($2, $3) AND value <= $4", $forgotten,
                " ORDER BY value, id LIMIT $5) AS c
                LEFT JOIN ", $records, " AS r ON r.day = c.day AND r.key = $6::bytea || c.id ORDER BY c.value, c.id"),
            concat!("SELECT substring(r.key, 10) AS id, r.day, r.facets FROM unnest($1::integer[], $2::bytea[])
                AS a (day, key) JOIN ", $records, " AS r ON r.day = a.day AND r.key = ANY (ARRAY[a.key])"),
            concat!("SELECT substring(r.key, 10) AS id, r.version, r.bucket, r.seen, r.forget_at, r.facets, r.body
                FROM unnest($1::integer[], $2::bytea[]) AS a (day, key)
                JOIN ", $records, " AS r ON r.day = a.day AND r.key = ANY (ARRAY[a.key])"),
        ]
    };
}

/// Their text; a test reads the query plan of each.
pub(super) const HOT: [&str; 9] = texts!("facets_hot", "records_hot", "", "");
pub(super) const ALL: [&str; 9] = texts!("facets", "records", forgotten!(), forgotten_record!());

impl Set {
    async fn prepare(client: &Client, texts: [&str; 9]) -> Result<Set, Error> {
        let [count_exact, count_range, count_space, exact, space, gather, value, facets, whole] = texts;
        let (count_exact, count_range, count_space, exact, space, gather, value, facets, whole) = tokio::try_join!(
            client.prepare(count_exact),
            client.prepare(count_range),
            client.prepare(count_space),
            client.prepare(exact),
            client.prepare(space),
            client.prepare(gather),
            client.prepare(value),
            client.prepare(facets),
            client.prepare(whole),
        )?;
        Ok(Set { count_exact, count_range, count_space, exact, space, gather, value, facets, whole })
    }
}

#[async_trait]
impl Prepared for Search {
    async fn prepare(client: &Client) -> Result<Search, Error> {
        let (hot, all) = tokio::try_join!(Set::prepare(client, HOT), Set::prepare(client, ALL))?;
        Ok(Search { hot, all, alone: Mutex::new(()) })
    }
}
