//! One group of commits as one transaction of two round trips.
//!
//! The first reads and locks what the batches expect, and takes the places of what is new; then everything is decided in
//! memory; the second writes the difference and commits. Nobody is answered before the commit has been. Anything that goes
//! wrong takes the whole group back; where the database said that it was a matter of luck (two nodes in each other's way),
//! it is tried again.

use super::super::rows::{self, KeyBytes};
use super::super::{Key, StoreError};
use super::changes::{Changes, Records};
use super::fault::{fault, lost};
use super::group::{Found, Group, Horizon};
use super::notices::{self, Node};
use super::statements::{Rows, Statements, in_line};
use futures_util::future::BoxFuture;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// A connection that writes, with its statements.
pub(super) struct Session<'c> {
    pub(super) client: &'c Client,
    pub(super) statements: &'c Statements,
    /// Which node this is, and where notices go.
    pub(super) node: &'c Node,
    pub(super) channel: &'c str,
}

/// Why a group was not written, none of it.
pub(super) enum Failed {
    /// Others were in the way: it may go through if it is tried again.
    Luck,
    /// Something lies forgotten where something new is to lie: again, with room made.
    Occupied,
    /// A partition is not there any more: again, when it has been made.
    NoPartition,
    /// It cannot be done now. `cut`: the connection is of no more use; `begun`: the commit was on its way, and whether it
    /// went through is not known.
    Fault { error: StoreError, cut: bool, begun: bool },
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        let code = error.code();
        if code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
            || code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
        {
            return Failed::Luck;
        }
        if code == Some(&SqlState::UNIQUE_VIOLATION) {
            return Failed::Occupied;
        }
        if code == Some(&SqlState::CHECK_VIOLATION) {
            return Failed::NoPartition;
        }
        Failed::Fault { error: fault(&error), cut: lost(&error), begun: false }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Fault { error, cut: false, begun: false }
    }
}

type Ask<'a> = BoxFuture<'a, Result<Rows, Error>>;

impl Session<'_> {
    /// Commits a group; what each of its batches is told.
    ///
    /// # Errors
    /// Nothing of it is written, or, when the connection was cut, that is not known.
    pub(super) async fn commit(
        &self,
        group: &mut Group<'_>,
        make_room: bool,
    ) -> Result<Vec<Result<(), StoreError>>, Failed> {
        let done = self.transact(group, make_room).await;
        if let Err(failed) = &done
            && !matches!(failed, Failed::Fault { cut: true, .. })
        {
            self.client.batch_execute("ROLLBACK").await?;
        }
        done
    }

    async fn transact(
        &self,
        group: &mut Group<'_>,
        make_room: bool,
    ) -> Result<Vec<Result<(), StoreError>>, Failed> {
        let horizon = self.read(group).await?;
        let decided = group.decide();
        let answers = decided.answers.clone();
        if answers.iter().all(Result::is_err) {
            self.client.batch_execute("ROLLBACK").await?;
            return Ok(answers);
        }
        let changes = Changes::of(group, decided, &horizon)?;
        match self.write(&changes, make_room).await {
            Ok(()) => Ok(answers),
            Err(Failed::Fault { error, cut, .. }) => Err(Failed::Fault { error, cut, begun: true }),
            Err(failed) => Err(failed),
        }
    }

    /// The first round trip, and a second one for what rests.
    async fn read(&self, group: &mut Group<'_>) -> Result<Horizon, Failed> {
        let s = self.statements;
        let (known, may_rest, rests) = (group.known(), group.new_that_may_rest(), !group.days().is_empty());
        let mut new = Records::default();
        for (key, record) in group.new_places() {
            new.push_new(key, record);
        }
        let mut asked: Vec<Ask<'_>> = vec![Box::pin(self.begin(rests))];
        let locked_at = self.ask(&mut asked, &s.lock, !known.is_empty(), [&known]);
        let reserved_at = self.ask(
            &mut asked,
            &s.reserve,
            !new.keys.is_empty(),
            [&new.keys, &new.buckets, &new.seen, &new.forget_at, &new.facets, &new.bodies],
        );
        let suspects_at = self.ask(&mut asked, &s.suspects, !may_rest.is_empty(), [&may_rest]);
        let horizon_at = self.ask(&mut asked, &s.horizon, rests, []);
        let answers = in_line(asked).await?;
        let rows = |at: Option<usize>| at.and_then(|at| answers.get(at)).map_or(&[][..], Vec::as_slice);
        for row in rows(locked_at) {
            let (key, found) = found(row, 0, None)?;
            group.found(&key, found);
        }
        for row in rows(reserved_at) {
            group.holds(&rows::key(row.try_get(0)?)?);
        }
        // Places that are held, but perhaps only because their record rests; and records that do not live.
        let mut missing = group.missing();
        for row in rows(suspects_at) {
            missing.push(row.try_get(0)?);
        }
        missing.sort_unstable();
        // What moved to another day while it was waited for is not there any more where it was found: once more.
        for _ in 0..2 {
            if missing.is_empty() {
                break;
            }
            for row in self.client.query(&s.lock_resting, &[&missing]).await? {
                let (key, found) = found(&row, 1, Some(row.try_get(0)?))?;
                group.rests_already(&key, found);
                missing.retain(|bytes| **bytes != *KeyBytes::new(&key));
            }
        }
        match rows(horizon_at).first() {
            Some(row) => Ok(Horizon { at: row.try_get(0)?, key: row.try_get(1)? }),
            None => Ok(Horizon { at: i64::MAX, key: Vec::new() }),
        }
    }

    /// Who brings something to rest keeps the sweep from moving the horizon meanwhile: before any key is locked, so that
    /// nobody who waits here keeps others waiting.
    async fn begin(&self, rests: bool) -> Result<Rows, Error> {
        let sql = if rests { super::parts::BEGIN_TO_REST } else { "BEGIN" };
        self.client.batch_execute(sql).await.map(|()| Vec::new())
    }

    /// The second round trip.
    async fn write(&self, changes: &Changes<'_>, make_room: bool) -> Result<(), Failed> {
        let s = self.statements;
        let c = changes;
        let (spaces, tops): (Vec<&[u8]>, Vec<&[u8]>) =
            c.tops.iter().map(|(space, top)| (space.as_slice(), top.as_slice())).unzip();
        let (ats, orphans): (Vec<i64>, Vec<&[u8]>) =
            c.orphans.iter().map(|(at, key)| (*at, key.as_slice())).unzip();
        let (names, deltas) = c.counted();
        let lines = &c.lines;
        let many = i64::try_from(lines.days.len()).unwrap_or(i64::MAX);
        let hour = lines.hours.last().copied().unwrap_or(i64::MIN);
        let notices = notices::committed(self.node, &c.told.0, &c.told.1);
        let mut asked: Vec<Ask<'_>> = Vec::new();
        let some = |keys: &[Vec<u8>]| !keys.is_empty();
        let (rewritten, placed) = (&c.rewritten, &c.placed);
        let (rested, moved) = (&c.rested, &c.moved);
        self.ask(&mut asked, &s.drop_hot, some(&c.drop_hot), [&c.drop_hot]);
        self.ask(
            &mut asked,
            &s.rewrite,
            some(&rewritten.keys),
            [
                &rewritten.keys,
                &rewritten.versions,
                &rewritten.buckets,
                &rewritten.seen,
                &rewritten.forget_at,
                &rewritten.facets,
                &rewritten.bodies,
            ],
        );
        self.ask(
            &mut asked,
            &s.drop_resting,
            some(&c.dropped_resting.keys),
            [&c.dropped_resting.days, &c.dropped_resting.keys],
        );
        let f = &c.resting_facets_dropped;
        self.ask(&mut asked, &s.drop_resting_facets, some(&f.ids), [&f.days, &f.places, &f.values, &f.ids]);
        let p = &c.facets_placed;
        self.ask(&mut asked, &s.drop_forgotten, make_room && some(&placed.keys), [&placed.keys]);
        self.ask(
            &mut asked,
            &s.drop_forgotten_facets,
            make_room && some(&p.ids),
            [&p.days, &p.places, &p.values, &p.ids],
        );
        self.ask(
            &mut asked,
            &s.place,
            some(&placed.keys),
            [
                &placed.days,
                &placed.keys,
                &placed.versions,
                &placed.buckets,
                &placed.seen,
                &placed.forget_at,
                &placed.facets,
                &placed.bodies,
            ],
        );
        let f = &c.facets_dropped;
        self.ask(&mut asked, &s.drop_facets, some(&f.ids), [&f.places, &f.values, &f.ids]);
        let f = &c.facets_added;
        self.ask(&mut asked, &s.add_facets, some(&f.ids), [&f.places, &f.values, &f.ids]);
        self.ask(
            &mut asked,
            &s.place_facets,
            some(&p.ids),
            [&p.days, &p.places, &p.values, &p.ids, &p.forget_at],
        );
        self.ask(
            &mut asked,
            &s.rest_events,
            some(&rested.subjects),
            [&rested.subjects, &rested.days, &rested.forget_at],
        );
        self.ask(
            &mut asked,
            &s.move_events,
            some(&moved.subjects),
            [&moved.old_days, &moved.old_forget_at, &moved.subjects, &moved.days, &moved.forget_at],
        );
        self.ask(&mut asked, &s.raise_top, !tops.is_empty(), [&spaces, &tops]);
        self.ask(&mut asked, &s.add_orphans, !orphans.is_empty(), [&ats, &orphans]);
        self.ask(&mut asked, &s.count, some(&names), [&names, &deltas]);
        self.ask(
            &mut asked,
            &s.finish,
            true,
            [
                &many,
                &c.floor,
                &hour,
                &lines.days,
                &lines.subjects,
                &lines.ats,
                &lines.bodies,
                &lines.forget_at,
                &lines.hours,
                &lines.firsts,
                &self.channel,
                &notices,
            ],
        );
        // Had anything before it failed, this would be a rollback: the error is seen below.
        asked.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| Vec::new()) }));
        in_line(asked).await?;
        Ok(())
    }

    /// Puts a statement in line if it is wanted; at which place.
    fn ask<'a, const N: usize>(
        &'a self,
        asked: &mut Vec<Ask<'a>>,
        statement: &'a Statement,
        wanted: bool,
        params: [&'a (dyn ToSql + Sync); N],
    ) -> Option<usize> {
        wanted.then(|| {
            asked.push(Box::pin(async move { self.client.query(statement, &params).await }));
            asked.len() - 1
        })
    }
}

/// A record without its body, whose columns begin at `from`; `day`: its partition.
fn found(row: &Row, from: usize, day: Option<i32>) -> Result<(Key, Found), Failed> {
    let key = rows::key(row.try_get(from)?)?;
    let found = Found {
        day: day.unwrap_or(0),
        version: row.try_get(from + 1)?,
        seen: row.try_get(from + 2)?,
        forget_at: row.try_get(from + 3)?,
        facets: row.try_get(from + 4)?,
    };
    Ok((key, found))
}
