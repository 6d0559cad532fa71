//! Brings the tables to the version of this program, whoever else is at it.
//!
//! One node at a time, under a lock of the database; the others wait and find it done. All steps that are missing are one
//! transaction: a start that is cut short leaves the tables as they were.

use super::super::StoreError;
use super::fault::fault;
use super::schema::STEPS;
use tokio_postgres::{Client, Error};

/// Makes the schema and its tables, or lifts them to this version.
///
/// # Errors
/// [`StoreError::Unavailable`] with what is wrong and the way out: tables of a version that this program cannot use, or
/// what PostgreSQL said.
pub(super) async fn migrate(client: &Client, schema: &str) -> Result<(), StoreError> {
    let wrong = |error: Error| fault(&error);
    // Two programs that start at once would both find no schema.
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock(1213420611, hashtext('{schema}'))");
    client.batch_execute(&lock).await.map_err(wrong)?;
    let done = lift(client, schema).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await.map_err(wrong)?;
    done
}

async fn lift(client: &Client, schema: &str) -> Result<(), StoreError> {
    let version = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    let wrong = |error: Error| fault(&error);
    let is_there = async |sql: &str, name: String| {
        let row = client.query_one(sql, &[&name]).await;
        row.and_then(|row| row.try_get::<_, bool>(0)).map_err(wrong)
    };
    // `IF NOT EXISTS` asks for the right to make schemas also where there is nothing to make.
    if !is_there("SELECT to_regnamespace($1) IS NOT NULL", format!("\"{schema}\"")).await? {
        client.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await.map_err(wrong)?;
    }
    let there = is_there("SELECT to_regclass($1) IS NOT NULL", format!("\"{schema}\".meta")).await?;
    let (from, readable_by) = if there {
        let row =
            client.query_one("SELECT version, readable_by FROM meta WHERE one", &[]).await.map_err(wrong)?;
        (row.try_get(0).map_err(wrong)?, row.try_get::<_, i32>(1).map_err(wrong)?)
    } else {
        (0, 0)
    };
    if readable_by > version {
        return Err(StoreError::Unavailable(format!(
            "the tables in schema {schema} are of version {from}, made by a newer Handstamp, and this one (version \
             {version}) cannot use them: start the newer one, or give this one a schema of its own"
        )));
    }
    let mut readable_by = readable_by;
    for (step, number) in STEPS.iter().zip(1..=version) {
        if number > from {
            client.batch_execute(step.sql).await.map_err(wrong)?;
            readable_by = readable_by.max(step.readable_by);
        }
    }
    if version > from {
        client
            .execute("UPDATE meta SET version = $1, readable_by = $2 WHERE one", &[&version, &readable_by])
            .await
            .map_err(wrong)?;
    }
    Ok(())
}
