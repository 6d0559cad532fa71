//! Housekeeping: what may be forgotten goes, the longest overdue first, in slices so small that nobody waits long for one.
//!
//! What rests is forgotten by moving the horizon over it; its partition goes later, whole. What lives and is due (codes,
//! challenges, idempotency keys) is deleted row by row; rows that somebody else has locked are left for the next time.

use super::super::rows::{self, decode_facets, place_bytes};
use super::super::{Millis, StoreError};
use super::chores::Chores;
use super::fault::fault;
use super::parts::{BEGIN_TO_FORGET, Days};
use super::statements::in_line;
use futures_util::future::BoxFuture;
use tokio_postgres::{Client, Error, Row};

/// The most records of one slice.
const SLICE: u32 = 256;
/// The most lines of history that one slice deletes.
const MOST_EVENTS: i64 = 4_096;

/// One slice.
#[derive(Default)]
struct Slice {
    /// Records that are gone, or histories of records that were gone before.
    records: u32,
    /// Whether there may be more that is due.
    more: bool,
}

type Begun<'a> = BoxFuture<'a, Result<Vec<Row>, Error>>;

/// What a slice of rows can end with, besides rows.
enum Trouble {
    Postgres(Error),
    Store(StoreError),
}
impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Postgres(error)
    }
}
impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

/// Sweeps up to `limit`, and drops partitions that are over; how many records.
///
/// # Errors
/// What PostgreSQL said. What was swept before is swept.
pub(super) async fn sweep(
    client: &Client,
    chores: &Chores,
    days: &Days,
    now: Millis,
    limit: u32,
) -> Result<u32, StoreError> {
    let mut swept = 0;
    while swept < limit {
        let slice = match slice(client, chores, now, (limit - swept).min(SLICE)).await {
            Ok(slice) => slice,
            Err(trouble) => {
                // A connection that is gone has taken its transaction with it.
                let _ = client.batch_execute("ROLLBACK").await;
                return Err(match trouble {
                    Trouble::Postgres(error) => fault(&error),
                    Trouble::Store(error) => error,
                });
            }
        };
        swept = swept.saturating_add(slice.records);
        if !slice.more {
            break;
        }
    }
    let tidied = async {
        client.execute(&chores.drop_hours, &[]).await?;
        days.drop_over(client, now).await
    };
    tidied.await.map_err(|error| fault(&error))?;
    Ok(swept)
}

async fn slice(client: &Client, chores: &Chores, now: Millis, limit: u32) -> Result<Slice, Trouble> {
    let most = i64::from(limit);
    let due = [&chores.due, &chores.due_resting].map(|statement| -> Begun<'_> {
        Box::pin(async move { client.query(statement, &[&now.0, &most]).await })
    });
    let mut all: Vec<(i64, Vec<u8>, bool)> = Vec::new();
    for (rows, rests) in in_line(due.into()).await?.iter().zip([false, true]) {
        for row in rows {
            all.push((row.try_get(0)?, row.try_get(1)?, rests));
        }
    }
    all.sort_unstable();
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let resting = all.iter().filter(|(_, _, rests)| *rests).count();
    let living = all.len() - resting;
    let mut done = Slice::default();
    if resting > 0 {
        done.records += forget_resting(client, chores, now, resting).await?;
    }
    if living > 0 {
        let slice = forget_living(client, chores, now, living).await?;
        done.records += slice.records;
        done.more |= slice.more;
    }
    let left = limit.saturating_sub(done.records);
    if left > 0 {
        let slice = forget_orphans(client, chores, now, left).await?;
        done.records += slice.records;
        done.more |= slice.more;
    }
    done.more |= done.records > 0;
    Ok(done)
}

/// Moves the horizon over up to so many records.
async fn forget_resting(client: &Client, chores: &Chores, now: Millis, most: usize) -> Result<u32, Trouble> {
    client.batch_execute(BEGIN_TO_FORGET).await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let due = client.query(&chores.due_resting, &[&now.0, &most]).await?;
    if let Some(last) = due.last() {
        let (at, key): (i64, Vec<u8>) = (last.try_get(0)?, last.try_get(1)?);
        client.execute(&chores.pass, &[&at, &key]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
}

/// Deletes up to so many records that live, with their history.
async fn forget_living(client: &Client, chores: &Chores, now: Millis, most: usize) -> Result<Slice, Trouble> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = begin(client, client.query(&chores.take_due, &[&now.0, &most])).await?;
    let (mut keys, mut places, mut values, mut ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let bytes: Vec<u8> = row.try_get(0)?;
        let key = rows::key(&bytes)?;
        let damaged = || StoreError::Damaged("a record's facets cannot be read".to_owned());
        for facet in decode_facets(row.try_get(1)?).ok_or_else(damaged)? {
            places.push(place_bytes(key.space, facet.name).to_vec());
            values.push(facet.value.to_vec());
            ids.push(key.id.to_vec());
        }
        keys.push(bytes);
    }
    let gone = client.execute(&chores.forget_events, &[&keys, &MOST_EVENTS]).await?;
    if i64::try_from(gone) == Ok(MOST_EVENTS) {
        // The records go when their history has: a stop in between leaves them to be swept again.
        client.batch_execute("COMMIT").await?;
        return Ok(Slice { records: 0, more: true });
    }
    client.execute(&chores.drop_facets, &[&places, &values, &ids]).await?;
    client.execute(&chores.drop_records, &[&keys]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(Slice { records: u32::try_from(keys.len()).unwrap_or(u32::MAX), more: false })
}

/// Deletes the history of records that are gone.
async fn forget_orphans(client: &Client, chores: &Chores, now: Millis, most: u32) -> Result<Slice, Trouble> {
    let rows = begin(client, client.query(&chores.take_orphans, &[&now.0, &i64::from(most)])).await?;
    let (mut ats, mut keys) = (Vec::new(), Vec::new());
    for row in &rows {
        ats.push(row.try_get::<_, i64>(0)?);
        keys.push(row.try_get::<_, Vec<u8>>(1)?);
    }
    let mut done = Slice { records: 0, more: !rows.is_empty() };
    if !rows.is_empty() {
        let living = client.query(&chores.living, &[&keys]).await?;
        let living: Vec<Vec<u8>> = living.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        // A key that lives again keeps its history: it is swept with the record that now has it.
        let gone: Vec<&Vec<u8>> = keys.iter().filter(|key| !living.contains(key)).collect();
        let events = client.execute(&chores.forget_events, &[&gone, &MOST_EVENTS]).await?;
        if i64::try_from(events) != Ok(MOST_EVENTS) {
            client.execute(&chores.drop_orphans, &[&ats, &keys]).await?;
            done.records = u32::try_from(gone.len()).unwrap_or(u32::MAX);
        }
    }
    client.batch_execute("COMMIT").await?;
    Ok(done)
}

/// The first statement of a transaction, in one round trip with its begin.
async fn begin(
    client: &Client,
    first: impl Future<Output = Result<Vec<Row>, Error>> + Send,
) -> Result<Vec<Row>, Error> {
    let begin = async { client.batch_execute("BEGIN").await.map(|()| Vec::new()) };
    let all: Vec<Begun<'_>> = vec![Box::pin(begin), Box::pin(first)];
    Ok(in_line(all).await?.pop().unwrap_or_default())
}
