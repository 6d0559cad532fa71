//! The course of a move: both stores are recognised, the new one is filled round by round, and when nobody works on the
//! old one any more, a last round is made, everything is compared, and each of them notes what it is now.
//!
//! The notes are what makes it safe to be killed anywhere. The new store says that it is being filled before anything is
//! brought in, and until all of it was compared. The old one says that it moved away before the new one says that it has
//! arrived: at no moment may a service work on both.

use crate::app::keeper::HOUSE;
use crate::cli::Failure;
use crate::codec::control::root_key;
use crate::codec::moving::{Moving, Stage, moving_key, read_moving, write_moving};
use crate::codec::several::{lease_key, read_lease};
use crate::host::clock::pause;
use crate::store::memory::Memory;
use crate::store::transfer::rounds::{Compared, Contents, Round, Watch, compare, round};
use crate::store::transfer::{Difference, Marks, Transfer};
use crate::store::{StoreError, Versioned};
use aws_lc_rs::digest::{SHA256, digest};
use handstamp_core::lease;
use handstamp_core::time::Millis;
use std::time::Duration;

/// A store, and what people call it.
#[derive(Clone, Copy)]
pub struct End<'t> {
    /// The store.
    pub store: &'t dyn Transfer,
    /// Its address, without what is secret in it.
    pub name: &'t str,
}

/// How a move began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The new store was empty.
    Fresh,
    /// It was being filled already.
    Again,
    /// It had moved to the old one, and everything goes back.
    Back,
}

/// A move that has begun.
pub struct Course<'t> {
    from: End<'t>,
    to: End<'t>,
    now: Millis,
    /// Drawn for the move.
    id: [u8; 16],
    /// How it began.
    pub begun: Begun,
}

impl<'t> Course<'t> {
    /// Recognises both stores and claims the new one. `id` is random. With `anew` a new store that was being filled from
    /// anywhere is emptied before. `None`: the move is made already.
    ///
    /// # Errors
    /// Why nothing can be moved from the one to the other; nothing was changed then.
    pub async fn begin(
        from: End<'t>,
        to: End<'t>,
        now: Millis,
        id: [u8; 16],
        anew: bool,
    ) -> Result<Option<Course<'t>>, Failure> {
        let root = root(from).await?.ok_or_else(|| {
            Failure::new(format!("{} is empty: there is nothing to move", from.name))
                .help("is it the address that the service runs with?")
        })?;
        let (old, new) = (note(from).await?, note(to).await?);
        if let (
            Some(Moving { stage: Stage::Gone, id: one, .. }),
            Some(Moving { stage: Stage::Arrived, id: other, .. }),
        ) = (&old, &new)
            && one == other
        {
            return Ok(None);
        }
        if let Some(Moving { stage: Stage::Filling { .. }, other, .. }) = &old {
            return Err(Failure::new(format!("{} is itself being filled from {other}", from.name))
                .help(format!("end that first: handstamp migrate-store {other} {}", from.name)));
        }
        claim_target(to).await?;
        let new = note(to).await?;
        // The last step of a move that was cut short is to be made again; any other store that is gone is old.
        if let Some(gone @ Moving { stage: Stage::Gone, .. }) = &old
            && !new.as_ref().is_some_and(|new| is_filling(new) && new.id == gone.id)
        {
            return Err(moved_away(from.name, gone));
        }
        let mut course = Course { from, to, now, id, begun: Begun::Fresh };
        match new {
            None if is_empty(to).await? => course.note(to, id, from.name, Stage::Filling { root }).await?,
            None => return Err(living(to.name)),
            Some(Moving { stage: Stage::Filling { root: of }, id: its, .. }) => {
                let known = of == root || old.as_ref().is_some_and(|old| old.id == its);
                if !known && !anew {
                    return Err(Failure::new(format!(
                        "{} is being filled from another store than {}, or from one whose master key was changed since",
                        to.name, from.name
                    ))
                    .help("--anew empties it and begins again"));
                }
                course.id = its;
                course.begun = Begun::Again;
                if anew {
                    course.empty().await?;
                    course.begun = Begun::Fresh;
                }
                course.note(to, course.id, from.name, Stage::Filling { root }).await?;
            }
            Some(Moving { stage: Stage::Gone, id: its, .. }) => {
                // The store that everything went to knows the move, too.
                if !old.is_some_and(|old| old.stage == Stage::Arrived && old.id == its) {
                    return Err(Failure::new(format!(
                        "{} has moved away, and not to {}",
                        to.name, from.name
                    ))
                    .help("choose an empty store, or empty this one"));
                }
                course.id = its;
                course.begun = Begun::Back;
                course.note(to, its, from.name, Stage::Filling { root }).await?;
            }
            Some(Moving { stage: Stage::Arrived, .. }) => return Err(living(to.name)),
        }
        to.store.shut(None).await.map_err(|why| named(to, &why))?;
        Ok(Some(course))
    }

    /// One round, also while a service works on the old store.
    ///
    /// # Errors
    /// Of a store. To be called again.
    pub async fn round(&self, watch: &mut dyn Watch) -> Result<Round, Failure> {
        self.recognise().await?;
        round(self.from.store, self.to.store, &[moving_key()], watch).await.map_err(|why| self.failed(&why))
    }

    /// Whether no service works on the old store; from then on none can.
    ///
    /// # Errors
    /// Of a store.
    pub async fn is_quiet(&self) -> Result<bool, Failure> {
        self.from.store.claim().await.map_err(|why| self.failed(&why))
    }

    /// The round in which nobody writes, and the marks.
    ///
    /// # Errors
    /// Of a store, which [`Course::is_quiet`] was not asked of, too.
    pub async fn last_round(&self, watch: &mut dyn Watch) -> Result<Round, Failure> {
        let failed = |why: StoreError| self.failed(&why);
        if !self.is_quiet().await? {
            return Err(Failure::new(format!("a service works on {}", self.from.name)));
        }
        let last = self.round(watch).await?;
        let marks = self.from.store.marks().await.map_err(failed)?;
        self.to.store.set_marks(&marks).await.map_err(failed)?;
        Ok(last)
    }

    /// Compares everything, and has both stores say what they are now.
    ///
    /// # Errors
    /// Of a store; or they are not equal. Then the old store is what it was.
    pub async fn end(&self, watch: &mut dyn Watch) -> Result<Contents, Failure> {
        if !self.is_quiet().await? {
            return Err(Failure::new(format!("a service works on {}", self.from.name)));
        }
        let compared = compare(self.from.store, self.to.store, &[moving_key()], watch).await;
        let contents = match compared.map_err(|why| self.failed(&why))? {
            Compared::Same(contents) => contents,
            Compared::Differs { records, lines, orphans, marks } => {
                return Err(Failure::new(format!(
                    "the stores are not equal, though nobody writes to them: {records} records, {lines} lines of history, \
                     {orphans} deleted records and {} differ",
                    if marks { "the counters" } else { "no counters" },
                ))
                .help(format!(
                    "{} is what it was, and can be started; run this again, and if it stays so, do not use {}",
                    self.from.name, self.to.name
                )));
            }
        };
        self.note(self.from, self.id, self.to.name, Stage::Gone).await?;
        let why = format!(
            "everything in it was moved to {} at {}: start the service on that one",
            self.to.name, self.now
        );
        self.from.store.shut(Some(&why)).await.map_err(|why| self.failed(&why))?;
        self.note(self.to, self.id, self.from.name, Stage::Arrived).await?;
        self.from.store.release().await;
        self.to.store.release().await;
        Ok(contents)
    }

    /// The old store must still be the one that the new one says it is filled from. Its root changes with its master key,
    /// and is noted anew then: whoever begins again must recognise it.
    async fn recognise(&self) -> Result<(), Failure> {
        let gone = || Failure::new(format!("{} has no store in it any more", self.from.name));
        let root = root(self.from).await?.ok_or_else(gone)?;
        match note(self.to).await? {
            Some(Moving { stage: Stage::Filling { root: noted }, .. }) if noted == root => Ok(()),
            Some(Moving { stage: Stage::Filling { .. }, .. }) => {
                self.note(self.to, self.id, self.from.name, Stage::Filling { root }).await
            }
            _ => Err(Failure::new(format!("{} does not say any more that it is being filled", self.to.name))),
        }
    }

    async fn note(&self, end: End<'_>, id: [u8; 16], other: &str, stage: Stage) -> Result<(), Failure> {
        let record = write_moving(&Moving { id, other: other.to_owned(), at: self.now, stage });
        let records = vec![Versioned { record, version: 1 }];
        end.store
            .write(&Difference { records, ..Difference::default() })
            .await
            .map_err(|why| named(end, &why))
    }

    /// Takes everything out of the new store but its note.
    async fn empty(&self) -> Result<(), Failure> {
        struct Nobody;
        impl Watch for Nobody {
            fn went(&mut self, _: crate::store::transfer::rounds::Part, _: u64, _: u64) {}
        }
        let nothing = Memory::new();
        round(&nothing, self.to.store, &[moving_key()], &mut Nobody)
            .await
            .map_err(|why| named(self.to, &why))?;
        self.to.store.set_marks(&Marks::default()).await.map_err(|why| named(self.to, &why))
    }

    fn failed(&self, why: &StoreError) -> Failure {
        Failure::new(format!("moving {} to {}: {why}", self.from.name, self.to.name))
            .help("nothing is lost: run the same command again, and it goes on from there")
    }
}

/// Whether a node kept house a moment ago and did not say that it stops. All of them may only have lost their connections,
/// as when the database starts again; then they are about to come back, and nobody has stopped anything.
///
/// A lease is written in the time of the store, and seen by that. `own` counts where a store has none.
///
/// # Errors
/// Of the store.
pub async fn was_kept(from: End<'_>, own: Millis) -> Result<bool, Failure> {
    let failed = |why| named(from, &why);
    let found = from.store.records(&[lease_key(HOUSE)]).await.map_err(failed)?;
    let lease = found.iter().flatten().next().map(read_lease).transpose().map_err(failed)?;
    let now = from.store.now().await.map_err(failed)?;
    Ok(lease::is_held(lease.as_ref(), now.unwrap_or(own)))
}

/// Takes back that a store has moved away, so that a service can work on it again: on what it was then.
///
/// # Errors
/// It has not moved away, or a service works on it.
pub async fn undo(end: End<'_>) -> Result<Moving, Failure> {
    if !end.store.claim().await.map_err(|why| named(end, &why))? {
        return Err(Failure::new(format!("a service works on {}", end.name)));
    }
    match note(end).await? {
        Some(gone @ Moving { stage: Stage::Gone, .. }) => {
            end.store.shut(None).await.map_err(|why| named(end, &why))?;
            let change = Difference { gone_records: vec![moving_key()], ..Difference::default() };
            end.store.write(&change).await.map_err(|why| named(end, &why))?;
            end.store.release().await;
            Ok(gone)
        }
        _ => Err(Failure::new(format!("{} has not moved away: there is nothing to take back", end.name))),
    }
}

/// Why no service may work on a store with this note; `None`: it may.
pub fn objection(name: &str, found: &Versioned) -> Option<Failure> {
    match read_moving(found) {
        Ok(gone @ Moving { stage: Stage::Gone, .. }) => Some(moved_away(name, &gone)),
        Ok(Moving { stage: Stage::Filling { .. }, other, at, .. }) => Some(
            Failure::new(format!("{name} is not whole: it is being filled from {other} since {at}")).help(
                format!(
                    "end that first: handstamp migrate-store {other} {name}; or go on with the service on {other}"
                ),
            ),
        ),
        Ok(Moving { stage: Stage::Arrived, .. }) => None,
        Err(why) => Some(Failure::new(format!("{name}: {why}"))),
    }
}

fn moved_away(name: &str, gone: &Moving) -> Failure {
    let Moving { other, at, .. } = gone;
    Failure::new(format!("everything in {name} was moved to {other} at {at}")).help(format!(
        "start the service on that one ([store] url). To move everything back: handstamp migrate-store {other} {name}"
    ))
}

fn living(name: &str) -> Failure {
    Failure::new(format!("{name} holds a store already"))
        .help("choose an empty one: what is moved is never mixed with what is there")
}

fn is_filling(note: &Moving) -> bool {
    matches!(note.stage, Stage::Filling { .. })
}

/// A database notices within moments that a move was killed, but not at once; nobody should have to try again by hand.
const PATIENCE: u32 = 50;
const AGAIN: Duration = Duration::from_millis(100);

async fn claim_target(to: End<'_>) -> Result<(), Failure> {
    for _ in 0..PATIENCE {
        if to.store.claim().await.map_err(|why| named(to, &why))? {
            return Ok(());
        }
        pause(AGAIN).await;
    }
    Err(Failure::new(format!("a service, or another migrate-store, works on {}", to.name))
        .help("choose an empty store, or wait for the other one"))
}

async fn is_empty(end: End<'_>) -> Result<bool, Failure> {
    let empty = async {
        Ok(end.store.record_digests(None, 1).await?.is_empty()
            && end.store.line_digests(None, 1).await?.is_empty()
            && end.store.marks().await?.position == 0)
    };
    empty.await.map_err(|why: StoreError| named(end, &why))
}

async fn note(end: End<'_>) -> Result<Option<Moving>, Failure> {
    let found = end.store.records(&[moving_key()]).await.map_err(|why| named(end, &why))?;
    let found = found.into_iter().next().flatten();
    found.map(|found| read_moving(&found)).transpose().map_err(|why| named(end, &why))
}

/// The digest of a store's root; `None`: it is empty.
async fn root(end: End<'_>) -> Result<Option<[u8; 32]>, Failure> {
    let found = end.store.records(&[root_key()]).await.map_err(|why| named(end, &why))?;
    Ok(found.into_iter().next().flatten().map(|found| {
        let mut root = [0; 32];
        let hash = digest(&SHA256, &found.record.body);
        root.iter_mut().zip(hash.as_ref()).for_each(|(slot, byte)| *slot = *byte);
        root
    }))
}

fn named(end: End<'_>, why: &StoreError) -> Failure {
    Failure::new(format!("{}: {why}", end.name))
}
