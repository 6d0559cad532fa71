//! The partitions of records that rest: made when the first one comes, dropped when their day is over.
//!
//! What is dropped was forgotten before: the horizon is moved to the end of the day first, once nothing is left of that
//! day, and from then on nothing can come to rest there.

use super::super::Millis;
use super::connect::Purpose;
use super::days::end_of;
use super::schema::{PARTED, make_partition, partition};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Begins a transaction that brings something to rest: the horizon stands still until it ends. The first number is ours,
/// the schema tells several stores of one database apart.
pub(super) const BEGIN_TO_REST: &str =
    "BEGIN; SELECT pg_advisory_xact_lock_shared(1213420612, hashtext(current_schema()))";
/// Begins one that moves the horizon: nobody brings anything to rest until it ends.
pub(super) const BEGIN_TO_FORGET: &str =
    "BEGIN; SELECT pg_advisory_xact_lock(1213420612, hashtext(current_schema()))";
/// One at a time makes or drops partitions, of all nodes. Whoever makes them does so in a transaction, which a node that
/// stands still loses soon, and with it the lock.
const BEGIN_ALONE: &str = "BEGIN; SELECT pg_advisory_xact_lock(1213420613, hashtext(current_schema()))";
/// The same, if nobody else does, for what can be done in no transaction.
const TRY_ALONE: &str = "SELECT pg_try_advisory_lock(1213420613, hashtext(current_schema()))";
const NOT_ALONE: &str = "SELECT pg_advisory_unlock(1213420613, hashtext(current_schema()))";
/// A node that stands still meanwhile is sent away, as from a transaction. And who reads for minutes (a dump) keeps a
/// partition from going, and must not keep us from making others.
const BRIEFLY: &str = "SET idle_session_timeout = 3000; SET statement_timeout = 2000";
/// How long a partition is left alone that somebody reads, in milliseconds: others wait behind each attempt.
const LEFT_ALONE: i64 = 60_000;

/// Above every key.
const ABOVE_ALL: [u8; 80] = [0xff; 80];

const ATTACHED: &str = "SELECT parent.relname::text, substring(part.relname FROM '[0-9]+$')::integer
    FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
    WHERE parent.relnamespace = current_schema()::regnamespace AND parent.relname IN ('records', 'facets', 'events')
      AND part.relname ~ '_d[0-9]+$' AND NOT inhdetachpending";
const LEFT: &str = "SELECT part.relname::text, parent.relname::text
    FROM pg_class part LEFT JOIN pg_inherits ON inhrelid = part.oid LEFT JOIN pg_class parent ON parent.oid = inhparent
    WHERE part.relnamespace = current_schema()::regnamespace AND part.relkind = 'r'
      AND part.relname ~ '^(records|facets|events)_d[0-9]+$' AND (parent.oid IS NULL OR inhdetachpending)";
const UNFORGOTTEN: &str = "SELECT EXISTS (SELECT FROM records WHERE day > 0 AND forget_at <= $1
    AND (forget_at, key) > (SELECT at, key FROM horizon WHERE one))";
const PASS: &str = "UPDATE horizon SET at = $1, key = $2 WHERE one AND (at, key) < ($1, $2)";
const HORIZON: &str = "SELECT at, key FROM horizon WHERE one";

/// The SQL of partitions; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[UNFORGOTTEN, PASS, HORIZON];

/// Which partitions this node knows to be there.
#[derive(Default)]
pub(super) struct Days(Mutex<Known>);

#[derive(Default)]
struct Known {
    there: HashSet<i32>,
    /// Nothing comes to rest up to here any more.
    passed: i64,
    /// Before this instant nothing is tried to be dropped again.
    again: i64,
}

impl Days {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that may have to be made.
    pub(super) fn unknown(&self, wanted: BTreeSet<i32>) -> Vec<i32> {
        let known = self.known();
        let unknown = |day: &i32| !known.there.contains(day) && end_of(*day).0 > known.passed;
        wanted.into_iter().filter(unknown).collect()
    }

    /// From now on none is known to be there.
    pub(super) fn forget(&self) {
        self.known().there.clear();
    }

    /// Makes the partitions of these days, where they are not there yet.
    ///
    /// # Errors
    /// What PostgreSQL said; what was made stays.
    pub(super) async fn make(&self, client: &Client, days: &[i32]) -> Result<(), Error> {
        let made = async {
            client.batch_execute(BEGIN_ALONE).await?;
            make(client, days).await
        }
        .await;
        let ended = client.batch_execute(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
        made?;
        ended?;
        self.known().there.extend(days);
        Ok(())
    }

    /// Drops the partitions whose day is over at `now` and of which all is forgotten. When somebody else is at it, or
    /// somebody reads one of them for long, nothing: another time.
    ///
    /// # Errors
    /// What PostgreSQL said; the next time goes on from there.
    pub(super) async fn drop_over(&self, client: &Client, now: Millis) -> Result<(), Error> {
        if now.0 < self.known().again {
            return Ok(());
        }
        let over = |(_, day): &(String, i32)| end_of(*day) <= now;
        if !attached(client).await?.iter().any(over) && client.query(LEFT, &[]).await?.is_empty() {
            return Ok(());
        }
        if !client.query_one(TRY_ALONE, &[]).await?.try_get::<_, bool>(0)? {
            return Ok(());
        }
        client.batch_execute(BRIEFLY).await?;
        let dropped = self.dropping(client, now).await;
        let longest = Purpose::Writing.longest().map_or(0, |longest| longest.as_millis());
        let end =
            format!("ROLLBACK; SET statement_timeout = {longest}; RESET idle_session_timeout; {NOT_ALONE}");
        client.batch_execute(&end).await?;
        match dropped {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                tracing::info!("a partition whose day is over is still read by somebody; it will go later");
                self.known().again = now.0.saturating_add(LEFT_ALONE);
                Ok(())
            }
            dropped => dropped,
        }
    }

    async fn dropping(&self, client: &Client, now: Millis) -> Result<(), Error> {
        let mut over = attached(client).await?;
        over.retain(|(_, day)| end_of(*day) <= now);
        let passed = match over.iter().map(|(_, day)| end_of(*day)).max() {
            Some(end) => pass(client, end).await?,
            None => i64::MIN,
        };
        over.retain(|(_, day)| end_of(*day).0 <= passed);
        {
            let mut known = self.known();
            known.passed = known.passed.max(passed);
            known.there.clear();
        }
        // What a drop that was cut short left: detached, or by half.
        for row in client.query(LEFT, &[]).await? {
            let (name, parent): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(parent) = parent {
                let finalize = format!("ALTER TABLE {parent} DETACH PARTITION {name} FINALIZE");
                client.batch_execute(&finalize).await?;
            }
            client.batch_execute(&format!("DROP TABLE {name}")).await?;
        }
        for (table, day) in over {
            let name = partition(&table, day);
            // Nobody is kept from reading or writing the others meanwhile.
            let detach = format!("ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY");
            client.batch_execute(&detach).await?;
            client.batch_execute(&format!("DROP TABLE {name}")).await?;
        }
        Ok(())
    }
}

/// Moves the horizon to `end` if nothing is left up to there; to where all is forgotten now.
async fn pass(client: &Client, end: Millis) -> Result<i64, Error> {
    client.batch_execute(BEGIN_TO_FORGET).await?;
    let moved = async {
        let left: bool = client.query_one(UNFORGOTTEN, &[&end.0]).await?.try_get(0)?;
        if !left {
            client.execute(PASS, &[&end.0, &ABOVE_ALL.as_slice()]).await?;
        }
        let horizon = client.query_one(HORIZON, &[]).await?;
        let (at, key): (i64, Vec<u8>) = (horizon.try_get(0)?, horizon.try_get(1)?);
        Ok(if key == ABOVE_ALL { at } else { at.saturating_sub(1) })
    }
    .await;
    client.batch_execute(if moved.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    moved
}

/// Makes them. Whoever does so is alone with it.
pub(super) async fn make(client: &Client, days: &[i32]) -> Result<(), Error> {
    let there: HashSet<(String, i32)> = attached(client).await?.into_iter().collect();
    let mut sql = String::new();
    for day in days {
        for table in PARTED.iter().filter(|table| !there.contains(&((**table).to_owned(), *day))) {
            // A drop that was cut short may have left one of that name.
            let name = partition(table, *day);
            sql.push_str(&format!("DROP TABLE IF EXISTS {name}; {}", make_partition(table, *day)));
        }
    }
    // One text is one transaction.
    if sql.is_empty() { Ok(()) } else { client.batch_execute(&sql).await }
}

/// Every table and day of which there is a partition.
async fn attached(client: &Client) -> Result<Vec<(String, i32)>, Error> {
    let rows = client.query(ATTACHED, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
