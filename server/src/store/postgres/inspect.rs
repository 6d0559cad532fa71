//! A look at a database from beside it, for who diagnoses it: nothing is changed, and no table need be there.

use super::super::{Key, Millis, Versioned};
use super::connect::{Connector, Facts, Purpose};
use super::fault::{Trouble, fault};
use super::schema::STEPS;
use super::{Address, OpenError, read, rows};
use tokio_postgres::{Client, Error};

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// What the server says of itself.
    pub facts: Facts,
    /// Names of standbys that a commit waits for, as configured; empty: none.
    pub standbys: String,
    /// Connections to the server, and the most that it takes.
    pub connections: (i64, i64),
    /// The server's time.
    pub now: Millis,
    /// The tables; `None`: there are none yet.
    pub tables: Option<Tables>,
}

/// The tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    /// Their version, and the least version of the program that can use them.
    pub version: (i32, i32),
    /// The version that this program makes.
    pub own: i32,
    /// The latest instant that was committed.
    pub floor: Millis,
    /// Days on which something may be forgotten: each is a partition.
    pub days: i64,
    /// Bytes of the one row that every commit writes, with what vacuum has not tidied up yet.
    pub meta_bytes: i64,
    /// The record under the key that was asked for.
    pub root: Option<Versioned>,
    /// The newest records of the kind that was asked for that may be touched, as far as they can be read.
    pub newest: Vec<Versioned>,
}

/// Looks at the database. `newest`: of which kind, and how many.
///
/// # Errors
/// [`OpenError`].
pub async fn inspect(address: &Address, root: &Key, newest: (u8, u32)) -> Result<Inspection, OpenError> {
    let failed = |why| OpenError::of(address, why);
    let connector = Connector::new(address.clone()).map_err(|why| OpenError::trust(address, &why))?;
    let (link, facts) = connector.known(Purpose::Schema).await.map_err(failed)?;
    let looked = look(&link, facts, root, newest).await;
    looked.map_err(|why| match why {
        Trouble::Asking(error) => failed(fault(&error)),
        Trouble::Store(error) => failed(error),
    })
}

async fn look(client: &Client, facts: Facts, root: &Key, newest: (u8, u32)) -> Result<Inspection, Trouble> {
    let sql = "SELECT current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_activity),
        current_setting('max_connections')::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        to_regclass('meta') IS NOT NULL";
    let row = client.query_one(sql, &[]).await?;
    let tables = if row.try_get(4)? { Some(tables(client, root, newest).await?) } else { None };
    Ok(Inspection {
        facts,
        standbys: row.try_get(0)?,
        connections: (row.try_get(1)?, row.try_get(2)?),
        now: Millis(row.try_get(3)?),
        tables,
    })
}

async fn tables(client: &Client, root: &Key, (kind, limit): (u8, u32)) -> Result<Tables, Trouble> {
    let sql = "SELECT version, readable_by, floor, pg_relation_size('meta'),
        (SELECT count(*) - 1 FROM pg_inherits WHERE inhparent = 'records'::regclass) FROM meta WHERE one";
    let row = client.query_one(sql, &[]).await?;
    let version = (row.try_get(0)?, row.try_get(1)?);
    Ok(Tables {
        version,
        own: i32::try_from(STEPS.len()).unwrap_or(i32::MAX),
        floor: Millis(row.try_get(2)?),
        meta_bytes: row.try_get(3)?,
        days: row.try_get(4)?,
        root: records(client, "key = $1 AND $2::bytea IS NOT NULL", &rows::KeyBytes::new(root), &[], 1)
            .await?
            .pop(),
        newest: records(
            client,
            "key >= $1 AND key < $2 AND seen IS NOT NULL",
            &[kind],
            &[kind.saturating_add(1)],
            limit,
        )
        .await?,
    })
}

/// What can be read of the records that the condition names, greatest key first.
async fn records(
    client: &Client,
    which: &str,
    low: &[u8],
    high: &[u8],
    limit: u32,
) -> Result<Vec<Versioned>, Error> {
    let sql = format!(
        "SELECT key, version, bucket, seen, forget_at, facets, body FROM records_hot WHERE {which} ORDER BY key DESC LIMIT $3"
    );
    let found = client.query(&sql, &[&low, &high, &i64::from(limit)]).await?;
    Ok(found.iter().filter_map(|row| read::record(rows::key(row.get(0)).ok()?, row, 1).ok()).collect())
}
