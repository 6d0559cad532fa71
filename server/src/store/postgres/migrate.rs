//! Brings the tables to the version of this program, whoever else is at it.
//!
//! One node at a time, under a lock of the database; the others wait and find it done. All steps that are missing are one
//! transaction: a start that is cut short leaves the tables as they were.

use super::super::StoreError;
use super::fault::{Trouble, fault, locked};
use super::schema::STEPS;
use std::time::Duration;
use tokio_postgres::Client;

/// How long a step may wait for a lock of a table, as SQL. Whoever waits for one that excludes all others has everybody
/// else wait behind, all nodes that serve among them: behind a dump that would be for hours.
const WAITS: &str = "SET LOCAL lock_timeout = '1s'";
/// How often it is tried before it is said...
const TRIES: u32 = 20;
/// ...and how long others may pass between.
const BETWEEN: Duration = Duration::from_secs(2);

/// Makes the schema and its tables, or lifts them to this version.
///
/// # Errors
/// [`StoreError::Unavailable`] with what is wrong and the way out: tables of a version that this program cannot use, or
/// what PostgreSQL said.
pub(super) async fn migrate(client: &Client, schema: &str) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match attempt(client, schema).await {
            Err(Trouble::Asking(error)) if locked(&error) && tries < TRIES => tries += 1,
            Err(Trouble::Asking(error)) if locked(&error) => {
                return Err(StoreError::Unavailable(format!(
                    "the tables in schema {schema} cannot be looked at or changed: somebody else holds them locked (a dump, \
                     maintenance): wait for that to end, or start this then"
                )));
            }
            Err(Trouble::Asking(error)) => return Err(fault(&error)),
            Err(Trouble::Store(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
        let _ = tokio::time::timeout(BETWEEN, std::future::pending::<()>()).await;
    }
}

async fn attempt(client: &Client, schema: &str) -> Result<(), Trouble> {
    // Two programs that start at once would both find no schema. That lock is waited for as long as it takes.
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock(1213420611, hashtext('{schema}')); {WAITS}");
    client.batch_execute(&lock).await?;
    let done = lift(client, schema).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await?;
    done
}

async fn lift(client: &Client, schema: &str) -> Result<(), Trouble> {
    let version = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    let is_there = async |sql: &str, name: String| {
        let row = client.query_one(sql, &[&name]).await;
        row.and_then(|row| row.try_get::<_, bool>(0))
    };
    // `IF NOT EXISTS` asks for the right to make schemas also where there is nothing to make.
    if !is_there("SELECT to_regnamespace($1) IS NOT NULL", format!("\"{schema}\"")).await? {
        client.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    let there = is_there("SELECT to_regclass($1) IS NOT NULL", format!("\"{schema}\".meta")).await?;
    let (from, readable_by) = if there {
        let row = client.query_one("SELECT version, readable_by FROM meta WHERE one", &[]).await?;
        (row.try_get(0)?, row.try_get::<_, i32>(1)?)
    } else {
        (0, 0)
    };
    if readable_by > version {
        return Err(Trouble::Store(StoreError::Unavailable(format!(
            "the tables in schema {schema} are of version {from}, made by a newer Handstamp, and this one (version \
             {version}) cannot use them: start the newer one, or give this one a schema of its own"
        ))));
    }
    let mut readable_by = readable_by;
    for (step, number) in STEPS.iter().zip(1..=version) {
        if number > from {
            client.batch_execute(step.sql).await?;
            readable_by = readable_by.max(step.readable_by);
        }
    }
    if version > from {
        client
            .execute("UPDATE meta SET version = $1, readable_by = $2 WHERE one", &[&version, &readable_by])
            .await?;
    }
    Ok(())
}
