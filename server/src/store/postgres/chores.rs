//! What is written besides commits: activity, lines of history that are written anew, housekeeping.
//!
//! It has a connection of its own, so that no commit waits behind it. All touches that queued are one statement.

use super::super::rows::KeyBytes;
use super::super::{Amend, Key, Millis, Scrubbed, StoreError};
use super::connect::{Connector, Purpose};
use super::fault::{fault, lost};
use super::lane::Lane;
use super::parts::Days;
use super::queue::{Queue, Reply};
use super::statements::{DROP_FACETS, in_line, statements};
use super::sweep::sweep;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, Error, Statement};

statements! {
    /// Every statement of the connection that tidies.
    Chores;
    /// Raises activity. The rows are met in the order of the array.
    touch = "UPDATE records_hot SET seen = u.seen FROM unnest($1::bytea[], $2::bigint[]) AS u (key, seen)
        WHERE records_hot.key = ANY (ARRAY[u.key]) AND records_hot.seen < u.seen";
    amend = "UPDATE events SET body = $3 WHERE position = $1 AND body = $2";
    due = "SELECT forget_at, key FROM records_hot WHERE forget_at <= $1 ORDER BY forget_at, key LIMIT $2";
    due_resting = "SELECT forget_at, key FROM records WHERE day > 0 AND forget_at <= $1
        AND (forget_at, key) > (SELECT at, key FROM horizon WHERE one) ORDER BY forget_at, key LIMIT $2";
    take_due = "SELECT key, facets FROM records_hot WHERE forget_at <= $1 ORDER BY forget_at, key LIMIT $2
        FOR UPDATE SKIP LOCKED";
    pass = "UPDATE horizon SET at = $1, key = $2 WHERE one AND (at, key) < ($1, $2)";
    forget_events = "DELETE FROM events_hot WHERE position = ANY (ARRAY (
        SELECT position FROM events_hot WHERE subject = ANY($1) LIMIT $2))";
    drop_facets = DROP_FACETS;
    drop_records = "DELETE FROM records_hot WHERE key = ANY($1)";
    take_orphans = "SELECT at, key FROM orphans WHERE at <= $1 ORDER BY at, key LIMIT $2 FOR UPDATE SKIP LOCKED";
    living = "SELECT key FROM records_hot WHERE key = ANY($1)
        UNION ALL SELECT key FROM records WHERE day > 0 AND key = ANY($1)
          AND (forget_at, key) > (SELECT at, key FROM horizon WHERE one)";
    drop_orphans = "DELETE FROM orphans USING unnest($1::bigint[], $2::bytea[]) AS u (at, key)
        WHERE orphans.at = ANY (ARRAY[u.at]) AND orphans.key = u.key";
    /// Who asks for a time before a year ago begins at the beginning.
    drop_hours = "DELETE FROM hours WHERE hour < (SELECT greatest(hour, 0) - 8784 FROM meta WHERE one)";
}

/// What is asked.
pub(super) enum Chore {
    /// Activity.
    Touch(Vec<(Key, Millis)>, Reply<()>),
    /// Lines of history that are written anew.
    Amend(Vec<Amend>, Reply<u32>),
    /// Housekeeping.
    Sweep(Millis, u32, Reply<u32>),
}

/// The most chores, and rows, that are taken at once.
const MOST: (usize, usize) = (512, 8_192);
/// How often a touch is tried that others were in the way of.
const TRIES: u32 = 4;

/// Works until the queue is closed and empty.
pub(super) async fn work(mut lane: Lane<Chores>, days: Arc<Days>, queue: Arc<Queue<Chore>>) {
    loop {
        let chores = queue
            .take(MOST.0, MOST.1, |chore| match chore {
                Chore::Touch(seen, _) => seen.len(),
                Chore::Amend(lines, _) => lines.len(),
                Chore::Sweep(..) => 1,
            })
            .await;
        if chores.is_empty() {
            return;
        }
        let many = chores.len();
        let (mut seen, mut touches): (BTreeMap<Key, Millis>, Vec<Reply<()>>) = Default::default();
        let mut others = Vec::new();
        for chore in chores {
            match chore {
                Chore::Touch(some, reply) => {
                    for (key, at) in some {
                        let raised = seen.entry(key).or_insert(at);
                        *raised = at.max(*raised);
                    }
                    touches.push(reply);
                }
                other => others.push(other),
            }
        }
        // Somebody may wait for it before a request is answered: first.
        if !touches.is_empty() {
            let done = touch(&mut lane, &seen).await;
            // Who does not wait any more is not told.
            touches.into_iter().for_each(|reply| drop(reply.send(done.clone())));
        }
        for other in others {
            match other {
                Chore::Amend(lines, reply) => drop(reply.send(amend(&mut lane, &lines).await)),
                Chore::Sweep(now, limit, reply) => {
                    drop(reply.send(swept(&mut lane, &days, now, limit).await))
                }
                Chore::Touch(_, reply) => drop(reply.send(Ok(()))),
            }
        }
        queue.done(many);
    }
}

async fn touch(lane: &mut Lane<Chores>, seen: &BTreeMap<Key, Millis>) -> Result<(), StoreError> {
    let (keys, ats): (Vec<Vec<u8>>, Vec<i64>) =
        seen.iter().map(|(key, at)| (KeyBytes::new(key).to_vec(), at.0)).unzip();
    let mut tries = TRIES;
    loop {
        let open = lane.open().await?;
        let Err(error) = open.in_time(open.client().execute(&open.statements.touch, &[&keys, &ats])).await?
        else {
            return Ok(());
        };
        tries -= 1;
        // Once more, also on another connection: it does the same twice as once.
        if tries == 0 || !(lost(&error) || luck(&error)) {
            return Err(fault(&error));
        }
        if lost(&error) {
            tries = 1;
            lane.cut();
        }
    }
}

fn luck(error: &Error) -> bool {
    use tokio_postgres::error::SqlState;
    error.code().is_some_and(|code| {
        *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
    })
}

async fn amend(lane: &mut Lane<Chores>, lines: &[Amend]) -> Result<u32, StoreError> {
    let mut left: Vec<&Amend> = lines.iter().collect();
    // What comes to rest while it is waited for is not there any more where it was found: once more, where it went.
    for _ in 0..2 {
        let changed = write_anew(lane, &left).await?;
        let mut changed = changed.into_iter();
        left.retain(|_| changed.next() == Some(0));
        if left.is_empty() {
            break;
        }
    }
    Ok(u32::try_from(lines.len() - left.len()).unwrap_or(u32::MAX))
}

/// How many lines each of these has changed.
async fn write_anew(lane: &mut Lane<Chores>, lines: &[&Amend]) -> Result<Vec<u64>, StoreError> {
    let open = lane.open().await?;
    let (client, statement) = (open.client(), &open.statements.amend);
    let mut asked: Vec<BoxFuture<'_, Result<u64, Error>>> =
        vec![Box::pin(async { client.batch_execute("BEGIN").await.map(|()| 0) })];
    for line in lines {
        asked.push(Box::pin(async move {
            // No position is that high: there is no such line.
            let position = i64::try_from(line.position).unwrap_or(-1);
            client.execute(statement, &[&position, &line.before, &line.after]).await
        }));
    }
    asked.push(Box::pin(async { client.batch_execute("COMMIT").await.map(|()| 0) }));
    match open.in_time(in_line(asked)).await? {
        Ok(changed) => Ok(changed.into_iter().skip(1).take(lines.len()).collect()),
        Err(error) => {
            // Nothing of it is written: what came after the error was not done, and the commit was none.
            if lost(&error) {
                lane.cut();
            }
            Err(fault(&error))
        }
    }
}

async fn swept(lane: &mut Lane<Chores>, days: &Days, now: Millis, limit: u32) -> Result<u32, StoreError> {
    let open = lane.open().await?;
    let swept = sweep(open.client(), &open.statements, days, now, limit).await;
    if swept.is_err() {
        // In what state it was left is of no interest.
        lane.cut();
    }
    swept
}

/// Has the space of what was deleted or written over freed, in every table.
///
/// # Errors
/// What PostgreSQL said.
pub(super) async fn scrub(connector: &Arc<Connector>) -> Result<Scrubbed, StoreError> {
    let link = connector.link(Purpose::Schema).await?;
    // Its own connection: it takes as long as the tables are large. Nobody waits for it.
    let vacuum = async |client: &Client| {
        client.batch_execute("VACUUM records, facets, events, orphans, tallies, meta").await
    };
    match tokio::time::timeout(LONGEST_SCRUB, vacuum(&link)).await {
        Ok(done) => done.map(|()| Scrubbed::Freed).map_err(|error| fault(&error)),
        Err(_) => {
            link.cut();
            Ok(Scrubbed::Later)
        }
    }
}

/// How long a scrub may take; then it is for another time. One that was cut short begins from the beginning.
const LONGEST_SCRUB: Duration = Duration::from_secs(6 * 3_600);
