//! The statements of the writers, prepared once for each connection, and sent without waiting for one another.
//!
//! Rows go as arrays, so that a group of one and a group of hundreds are the same statements. Whoever locks rows of keys
//! names the keys in rising order: two nodes that want the same ones wait for each other and never in a circle.
//!
//! A plan is made once and kept, perhaps made when a table had three rows. Then it looks cheap to walk through the table
//! in the order of its key, beside the array. `= ANY (ARRAY[...])` says the same as `=`, but not for that.

use futures_util::future::BoxFuture;
use std::task::Poll;
use tokio_postgres::{Client, Error, Row, Statement};

/// Statements by their names, prepared together.
macro_rules! statements {
    ($(#[$about:meta])* $all:ident; $($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $(#[$about])*
        pub(super) struct $all {
            $($(#[$doc])* pub(super) $name: Statement,)*
        }

        /// Their text; a test reads the query plan of each.
        pub(super) const SQL: &[&str] = &[$($sql),*];

        impl $all {
            /// Prepares all of them, in about one round trip.
            pub(super) async fn new(client: &Client) -> Result<$all, Error> {
                let all: Vec<BoxFuture<'_, Result<Statement, Error>>> = vec![$(Box::pin(client.prepare($sql))),*];
                let mut done = in_line(all).await?.into_iter();
                Ok($all {
                    $($name: match done.next() {
                        Some(statement) => statement,
                        None => client.prepare($sql).await?,
                    },)*
                })
            }
        }
    };
}
pub(super) use statements;

statements! {
    /// Every statement of a connection that commits.
    Statements;
    /// Reads and locks what lives.
    lock = "SELECT key, version, seen, forget_at, facets FROM records_hot
        WHERE key = ANY($1) ORDER BY key FOR UPDATE";
    /// Takes places that are free, and says which.
    reserve = "INSERT INTO records_hot (day, key, version, bucket, seen, forget_at, facets, body)
        SELECT 0, u.key, 1, u.bucket, u.seen, u.forget_at, u.facets, u.body
        FROM unnest($1::bytea[], $2::integer[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])
          AS u (key, bucket, seen, forget_at, facets, body)
        ON CONFLICT DO NOTHING RETURNING key";
    /// Which of these keys may rest already: those that are not above all that ever rested.
    suspects = "SELECT u.key FROM unnest($1::bytea[]) AS u (key)
        WHERE u.key <= (SELECT top FROM rested WHERE space = substring(u.key, 1, 9))";
    /// Up to where resting records are forgotten.
    horizon = "SELECT at, key FROM horizon WHERE one";
    /// Reads and locks what rests.
    lock_resting = "SELECT day, key, version, seen, forget_at, facets FROM records
        WHERE day > 0 AND key = ANY($1) AND (forget_at, key) > (SELECT at, key FROM horizon WHERE one)
        ORDER BY key FOR UPDATE OF records";
    drop_hot = "DELETE FROM records_hot WHERE key = ANY($1)";
    rewrite = "UPDATE records_hot SET version = u.version, bucket = u.bucket, seen = u.seen,
          forget_at = u.forget_at, facets = u.facets, body = u.body
        FROM unnest($1::bytea[], $2::bigint[], $3::integer[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])
          AS u (key, version, bucket, seen, forget_at, facets, body)
        WHERE records_hot.key = ANY (ARRAY[u.key])";
    drop_resting = "DELETE FROM records USING unnest($1::integer[], $2::bytea[]) AS u (day, key)
        WHERE records.day > 0 AND records.day = u.day AND records.key = ANY (ARRAY[u.key])";
    /// Records at their new place.
    place = "INSERT INTO records (day, key, version, bucket, seen, forget_at, facets, body)
        SELECT u.day, u.key, u.version, u.bucket, u.seen, u.forget_at, u.facets, u.body
        FROM unnest($1::integer[], $2::bytea[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bytea[],
          $8::bytea[]) AS u (day, key, version, bucket, seen, forget_at, facets, body)";
    drop_facets = DROP_FACETS;
    add_facets = "INSERT INTO facets_hot (day, place, value, id)
        SELECT 0, u.place, u.value, u.id FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS u (place, value, id)";
    drop_resting_facets = "DELETE FROM facets
        USING unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[]) AS u (day, place, value, id)
        WHERE facets.day > 0 AND facets.day = u.day AND facets.place = ANY (ARRAY[u.place]) AND facets.value = u.value
          AND facets.id = u.id";
    place_facets = "INSERT INTO facets (day, place, value, id, forget_at)
        SELECT u.day, u.place, u.value, u.id, u.forget_at
        FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[])
          AS u (day, place, value, id, forget_at)";
    /// The history of what comes to rest goes with it.
    rest_events = "WITH gone AS (
          DELETE FROM events_hot USING unnest($1::bytea[], $2::integer[], $3::bigint[]) AS u (subject, day, forget_at)
          WHERE events_hot.subject = ANY (ARRAY[u.subject])
          RETURNING u.day, position, events_hot.subject, at, body, u.forget_at)
        INSERT INTO events (day, position, subject, at, body, forget_at)
        SELECT day, position, subject, at, body, forget_at FROM gone";
    /// The history of what rested goes with it. What is left of an earlier record of that name stays.
    move_events = "WITH gone AS (
          DELETE FROM events USING unnest($1::integer[], $2::bigint[], $3::bytea[], $4::integer[], $5::bigint[])
            AS u (old_day, old_forget_at, subject, day, forget_at)
          WHERE events.day > 0 AND events.day = u.old_day AND events.subject = ANY (ARRAY[u.subject])
            AND events.forget_at = u.old_forget_at
          RETURNING u.day, position, events.subject, at, body, u.forget_at)
        INSERT INTO events (day, position, subject, at, body, forget_at)
        SELECT day, position, subject, at, body, forget_at FROM gone";
    /// What lies forgotten under these keys makes room.
    drop_forgotten = "DELETE FROM records WHERE day > 0 AND key = ANY($1)
        AND (forget_at, key) <= (SELECT at, key FROM horizon WHERE one)";
    drop_forgotten_facets = "DELETE FROM facets
        USING unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[]) AS u (day, place, value, id)
        WHERE facets.day > 0 AND facets.day = u.day AND facets.place = ANY (ARRAY[u.place]) AND facets.value = u.value
          AND facets.id = u.id
          AND (facets.forget_at, substring(facets.place, 1, 9) || facets.id)
            <= (SELECT at, key FROM horizon WHERE one)";
    raise_top = "INSERT INTO rested (space, top) SELECT u.space, u.top
        FROM unnest($1::bytea[], $2::bytea[]) AS u (space, top)
        WHERE u.top > coalesce((SELECT top FROM rested WHERE rested.space = u.space), '')
        ON CONFLICT (space) DO UPDATE SET top = excluded.top WHERE rested.top < excluded.top";
    add_orphans = "INSERT INTO orphans (at, key) SELECT u.at, u.key
        FROM unnest($1::bigint[], $2::bytea[]) AS u (at, key) ON CONFLICT DO NOTHING";
    /// A sum that is no integer any more stays at the end of the scale.
    count = "INSERT INTO tallies (name, value) SELECT u.name, u.value
        FROM unnest($1::bytea[], $2::bigint[]) AS u (name, value)
        ON CONFLICT (name) DO UPDATE SET value = CASE
          WHEN excluded.value > 0 AND tallies.value > 9223372036854775807 - excluded.value THEN 9223372036854775807
          WHEN excluded.value < 0 AND tallies.value < (-9223372036854775807 - 1) - excluded.value
            THEN (-9223372036854775807 - 1)
          ELSE tallies.value + excluded.value END";
    /// The last before the commit: the one row of `meta` is locked from here to its end, so positions rise in the order of
    /// commits, on all nodes.
    finish = "WITH moved AS (
          UPDATE meta SET position = position + $1, floor = greatest(floor, $2), earlier = hour, hour = greatest(hour, $3)
          WHERE one RETURNING position - $1 AS base, earlier),
        lines AS (
          INSERT INTO events (day, position, subject, at, body, forget_at)
          SELECT u.day, moved.base + u.n, u.subject, u.at, u.body, u.forget_at
          FROM moved, unnest($4::integer[], $5::bytea[], $6::bigint[], $7::bytea[], $8::bigint[])
            WITH ORDINALITY AS u (day, subject, at, body, forget_at, n)),
        marks AS (
          INSERT INTO hours (hour, position) SELECT u.hour, moved.base + u.n
          FROM moved, unnest($9::bigint[], $10::bigint[]) AS u (hour, n)
          WHERE u.hour > moved.earlier ON CONFLICT DO NOTHING)
        SELECT pg_notify($11, u.notice) FROM moved, unnest($12::text[]) AS u (notice)";
}

/// Deletes facets, each by its whole name.
pub(super) const DROP_FACETS: &str =
    "DELETE FROM facets_hot USING unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS u (place, value, id)
    WHERE facets_hot.place = ANY (ARRAY[u.place]) AND facets_hot.value = u.value AND facets_hot.id = u.id";

/// Asks all of these in this order, without waiting for one another; the first error, when all have been answered.
pub(super) async fn in_line<T>(mut asked: Vec<BoxFuture<'_, Result<T, Error>>>) -> Result<Vec<T>, Error> {
    let mut answers: Vec<Option<Result<T, Error>>> = asked.iter().map(|_| None).collect();
    // Each is sent when it is looked at first: in this order, always.
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (ask, answer) in asked.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match ask.as_mut().poll(context) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// What a statement gave back; nothing of one that only changes.
pub(super) type Rows = Vec<Row>;
