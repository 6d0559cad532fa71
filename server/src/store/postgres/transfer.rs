//! The database, raw: read page by page from beside the nodes that work on it, and written while none does.
//!
//! Each page is a statement of its own; digests are made by the database, so that bodies stay where they are. A claim is a
//! lock of the database that every connection of a node holds with others, and whoever claims holds alone.

use super::super::rows::{self, KeyBytes};
use super::super::transfer::{Difference, Digest, LARGEST_LIST, Marks, Orphan, Size, Transfer};
use super::super::{Key, Millis, StoreError, StoredEvent, Versioned};
use super::bring::{bring, set_marks};
use super::connect::{Connector, Link, Purpose, claim};
use super::fault::{Trouble, fault};
use super::read::{self, horizon};
use super::{Address, OpenError, migrate};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

const RELEASE: &str = "SELECT pg_advisory_unlock(1213420614, hashtext($1))";

/// An instant that may be missing, as digests have it.
macro_rules! instant {
    ($column:literal) => {
        concat!(
            "CASE WHEN ",
            $column,
            " IS NULL THEN '\\x00'::bytea ELSE '\\x01'::bytea || int8send(",
            $column,
            ") END"
        )
    };
}
/// The digest of a record, made in the database.
macro_rules! of_record {
    () => {
        concat!(
            "sha256(int8send(version) || int4send(bucket) || ",
            instant!("seen"),
            " || ",
            instant!("forget_at"),
            " || int4send(length(facets)) || facets || body)"
        )
    };
}
/// The digest of a line.
macro_rules! of_line {
    () => {
        "sha256(int4send(length(subject)) || subject || int8send(at) || body)"
    };
}

/// The SQL of reading; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[KEYS, RECORDS, PLACES, LINES, ORPHANS];
const KEYS: &str = concat!(
    "SELECT * FROM ((SELECT key, ",
    of_record!(),
    " FROM records_hot WHERE key > $1 ORDER BY key LIMIT $2)
     UNION ALL (SELECT key, ",
    of_record!(),
    " FROM records WHERE day > 0 AND key > $1 AND (forget_at, key) > ",
    horizon!(),
    " ORDER BY key LIMIT $2)) AS everything ORDER BY key LIMIT $2"
);
const RECORDS: &str = concat!(
    "SELECT key, ",
    "version, bucket, seen, forget_at, facets, body",
    " FROM records_hot WHERE key = ANY($1) UNION ALL SELECT key, ",
    "version, bucket, seen, forget_at, facets, body",
    " FROM records WHERE day > 0 AND key = ANY($1) AND (forget_at, key) > ",
    horizon!()
);
const PLACES: &str = concat!(
    "SELECT * FROM ((SELECT position, ",
    of_line!(),
    " FROM events_hot WHERE position > $1 ORDER BY position LIMIT $2)
     UNION ALL (SELECT position, ",
    of_line!(),
    " FROM events WHERE day > 0 AND position > $1
       AND (forget_at, subject) > ",
    horizon!(),
    " ORDER BY position LIMIT $2)) AS everything ORDER BY position LIMIT $2"
);
const LINES: &str = concat!(
    "SELECT position, subject, at, body FROM events_hot WHERE position = ANY($1) UNION ALL
     SELECT position, subject, at, body FROM events WHERE day > 0 AND position = ANY($1)
       AND (forget_at, subject) > ",
    horizon!()
);
const ORPHANS: &str = "SELECT at, key FROM orphans WHERE (at, key) > ($1, $2) ORDER BY at, key LIMIT $3";
const MARKS: &str = "SELECT floor, position, t.names, t.numbers FROM meta, LATERAL (
    SELECT coalesce(array_agg(name), '{}') AS names, coalesce(array_agg(value), '{}') AS numbers
    FROM tallies WHERE value <> 0) AS t WHERE one";
/// By which the leases of nodes are written.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const SIZE: &str = "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM events)";

/// A store in a database, as whoever moves it needs it.
pub struct RawDatabase {
    connector: Arc<Connector>,
    place: String,
    resting: Box<[u8]>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    link: Option<Link>,
    claimed: bool,
    /// The tables are there.
    made: bool,
}

impl RawDatabase {
    /// The store at the address. When there is none, it is made by the first claim. `resting`: the kinds of records that
    /// may rest, as the service has them.
    ///
    /// # Errors
    /// What is to be trusted cannot be read.
    pub fn at(address: &Address, resting: &[u8]) -> Result<RawDatabase, OpenError> {
        let trust =
            |why: super::tls::TlsError| OpenError::Trust { place: address.place(), why: why.to_string() };
        let connector = Connector::new(address.clone()).map_err(trust)?;
        Ok(RawDatabase { connector, place: address.place(), resting: resting.into(), held: Mutex::default() })
    }

    /// The connection, made again where it was lost. A claim that was lost with it is told of.
    async fn held(&self) -> Result<MutexGuard<'_, Held>, StoreError> {
        let mut held = self.held.lock().await;
        if held.link.as_ref().is_none_or(|link| link.is_closed()) {
            if held.claimed {
                return Err(StoreError::Unavailable(
                    "the connection was lost, and the claim with it".to_owned(),
                ));
            }
            held.link = Some(self.connector.link(Purpose::Moving).await?);
        }
        if !held.made
            && let Some(link) = &held.link
        {
            let row = link.query_one("SELECT to_regclass('meta') IS NOT NULL", &[]).await;
            held.made = row.and_then(|row| row.try_get(0)).map_err(|error| fault(&error))?;
        }
        Ok(held)
    }

    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let held = self.held().await?;
        match &held.link {
            Some(link) if held.made => link.query(sql, values).await.map_err(|error| fault(&error)),
            _ => Ok(Vec::new()),
        }
    }

    /// Does something in a transaction, under the claim.
    async fn change(&self, act: impl AsyncFnOnce(&Client) -> Result<(), Trouble>) -> Result<(), StoreError> {
        let held = self.held().await?;
        let Some(link) = held.link.as_ref().filter(|_| held.claimed) else {
            return Err(StoreError::Unavailable(format!("{} is not claimed", self.place)));
        };
        let done = async {
            link.batch_execute("BEGIN").await?;
            act(link).await?;
            Ok(link.batch_execute("COMMIT").await?)
        };
        let done: Result<(), Trouble> = done.await;
        if done.is_err() {
            // Should this fail, too, the connection is gone, and the transaction with it.
            let _ = link.batch_execute("ROLLBACK").await;
        }
        done.map_err(|trouble| match trouble {
            Trouble::Asking(error) => fault(&error),
            Trouble::Store(error) => error,
        })
    }
}

fn list(limit: u32) -> i64 {
    i64::from(limit.clamp(1, LARGEST_LIST))
}

fn wrong(error: Error) -> StoreError {
    fault(&error)
}

fn digest(row: &Row, at: usize) -> Result<Digest, StoreError> {
    let bytes: &[u8] = row.try_get(at).map_err(wrong)?;
    bytes.try_into().map_err(|_| StoreError::Damaged("a digest has another length".to_owned()))
}

fn position(row: &Row) -> Result<u64, StoreError> {
    let position: i64 = row.try_get(0).map_err(wrong)?;
    u64::try_from(position).map_err(|_| StoreError::Damaged("an event's position is below zero".to_owned()))
}

#[async_trait]
impl Transfer for RawDatabase {
    async fn now(&self) -> Result<Option<Millis>, StoreError> {
        let held = self.held().await?;
        let Some(link) = &held.link else { return Ok(None) };
        let row = link.query_one(NOW, &[]).await.map_err(wrong)?;
        Ok(Some(Millis(row.try_get(0).map_err(wrong)?)))
    }

    async fn size(&self) -> Result<Size, StoreError> {
        let rows = self.rows(SIZE, &[]).await?;
        let count = |at| rows.first().map_or(0, |row| row.get::<_, i64>(at)).unsigned_abs();
        Ok(Size { records: count(0), lines: count(1) })
    }

    async fn record_digests(
        &self,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<(Key, Digest)>, StoreError> {
        let after = after.map(|key| KeyBytes::new(key).to_vec()).unwrap_or_default();
        let rows = self.rows(KEYS, &[&after, &list(limit)]).await?;
        rows.iter().map(|row| Ok((rows::key(row.try_get(0).map_err(wrong)?)?, digest(row, 1)?))).collect()
    }

    async fn records(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        let bytes: Vec<Vec<u8>> = keys.iter().map(|key| KeyBytes::new(key).to_vec()).collect();
        let rows = self.rows(RECORDS, &[&bytes]).await?;
        let found = |key: &Key, bytes: &Vec<u8>| {
            let row = rows.iter().find(|row| row.get::<_, &[u8]>(0) == bytes.as_slice());
            row.map(|row| read::record(key.clone(), row, 1)).transpose()
        };
        keys.iter().zip(&bytes).map(|(key, bytes)| found(key, bytes)).collect()
    }

    async fn line_digests(&self, after: Option<u64>, limit: u32) -> Result<Vec<(u64, Digest)>, StoreError> {
        let after = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        let rows = self.rows(PLACES, &[&after, &list(limit)]).await?;
        rows.iter().map(|row| Ok((position(row)?, digest(row, 1)?))).collect()
    }

    async fn lines(&self, positions: &[u64]) -> Result<Vec<Option<StoredEvent>>, StoreError> {
        // No position is that high: there is no such line.
        let wanted: Vec<i64> = positions.iter().map(|at| i64::try_from(*at).unwrap_or(-1)).collect();
        let rows = self.rows(LINES, &[&wanted]).await?;
        let mut found: Vec<StoredEvent> = rows.iter().map(read::event).collect::<Result<_, _>>()?;
        found.sort_unstable_by_key(|line| line.position);
        let one = |at: &u64| found.binary_search_by_key(at, |line| line.position).ok();
        Ok(positions.iter().map(|at| one(at).and_then(|place| found.get(place)).cloned()).collect())
    }

    async fn orphans(&self, after: Option<&Orphan>, limit: u32) -> Result<Vec<Orphan>, StoreError> {
        let (at, key) = after.map_or((i64::MIN, Vec::new()), |(at, key)| (at.0, KeyBytes::new(key).to_vec()));
        let rows = self.rows(ORPHANS, &[&at, &key, &list(limit)]).await?;
        let orphan = |row: &Row| Ok((Millis(row.get(0)), rows::key(row.get(1))?));
        rows.iter().map(orphan).collect()
    }

    async fn marks(&self) -> Result<Marks, StoreError> {
        let rows = self.rows(MARKS, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Marks::default()) };
        let below = || StoreError::Damaged("the last position is below zero".to_owned());
        let named = || StoreError::Damaged("a counter's name cannot be read".to_owned());
        let (names, numbers): (Vec<&[u8]>, Vec<i64>) = (row.get(2), row.get(3));
        let tally = |(name, n): (&[u8], i64)| Ok((rows::tally(name).ok_or_else(named)?, n));
        let mut tallies =
            names.into_iter().zip(numbers).map(tally).collect::<Result<Vec<_>, StoreError>>()?;
        tallies.sort();
        let position = u64::try_from(row.get::<_, i64>(1)).map_err(|_| below())?;
        Ok(Marks { floor: Millis(row.get(0)), position, tallies })
    }

    async fn write(&self, difference: &Difference) -> Result<(), StoreError> {
        let resting = &self.resting;
        self.change(async |client| bring(client, resting, difference).await).await
    }

    async fn set_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        self.change(async |client| set_marks(client, marks).await).await
    }

    async fn shut(&self, why: Option<&str>) -> Result<(), StoreError> {
        let sql = match why {
            None => "DROP TABLE IF EXISTS moved_away".to_owned(),
            Some(why) => format!(
                "CREATE TABLE IF NOT EXISTS moved_away (); COMMENT ON TABLE moved_away IS '{}'",
                why.replace('\\', "/").replace('\'', "''")
            ),
        };
        self.change(async |client| Ok(client.batch_execute(&sql).await?)).await
    }

    async fn claim(&self) -> Result<bool, StoreError> {
        {
            let mut held = self.held.lock().await;
            if held.claimed && held.link.as_ref().is_some_and(|link| !link.is_closed()) {
                return Ok(true);
            }
            held.claimed = false;
        }
        let mut held = self.held().await?;
        let Some(link) = &held.link else { return Ok(false) };
        let schema = self.connector.schema();
        let claimed = claim(link, schema).await?;
        if claimed {
            if let Err(why) = migrate::migrate(link, schema).await {
                // With the connection the lock goes.
                held.link = None;
                return Err(why);
            }
            held.made = true;
            held.claimed = true;
        }
        Ok(claimed)
    }

    async fn release(&self) {
        let mut held = self.held.lock().await;
        if std::mem::take(&mut held.claimed)
            && let Some(link) = &held.link
            && link.query(RELEASE, &[&self.connector.schema()]).await.is_err()
        {
            // With the connection the lock goes.
            held.link = None;
        }
    }
}
