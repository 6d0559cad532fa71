//! Seats, a limit over all users of a tag: one is held in the tag's ledger before a session is made, or gets the tag.
//! A ledger's turn is always taken before that of a user's bucket, and those of several ledgers in their order, so that
//! nobody waits in a circle. Between nodes the version of the ledger decides.

mod era;

pub(super) use era::{Doubts, Era, Standing};

use super::control::Env;
use super::housekeeping::Look;
use super::limits::Rules;
use super::records::{Decision, Stage};
use super::search::Filter;
use super::{App, Fault, Stop};
use crate::codec::seats::{read_seats, seats_bucket, seats_key, write_seats};
use crate::codec::{read_session, session_key};
use crate::host::clock::pause;
use crate::store::{Expect, Op, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::limit::{Counted, Limit, OnLimit};
use handstamp_core::seats::{Count, Held, Ledger, Seat};
use handstamp_core::session::Actor;
use handstamp_core::subject::Subject;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::Living;
use handstamp_core::transition::finish::{end, evict};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::MutexGuard;

/// How many leases a ledger may list before those of sessions that were made are taken out.
const LISTED: usize = 64;
/// How many sessions are ended side by side.
const SIDE_BY_SIDE: usize = 64;
/// How long a ledger is kept that nobody asks for.
const KEPT: Span = Span::days(1);
/// How often and how long somebody waits for sessions that are about to be made: 2 s in all.
const WAITS: u32 = 100;
const WAIT: Duration = Duration::from_millis(20);

/// Who is to sit, and the limits of that user's own sessions: what these end may be the seat that is needed.
pub(super) struct Guest<'a> {
    pub(super) session: SessionId,
    pub(super) user: &'a UserId,
    pub(super) own: Rules,
    /// Where it lives already.
    pub(super) but: Option<SessionId>,
}

/// The turns of ledgers.
pub(super) type Turns<'a> = Vec<MutexGuard<'a, ()>>;

/// Seats that are held.
#[derive(Default)]
pub(super) struct Seats {
    held: Vec<(Limit, Held)>,
    /// Who had to go for them.
    pub(super) evicted: Vec<SessionId>,
    /// Somebody had to go: whoever comes next waits for its turn until this one sits, and then finds somebody who can go.
    pub(super) crowded: bool,
}

impl Seats {
    /// Whether there is one under each of these limits.
    pub(super) fn cover(&self, limits: &[Limit]) -> bool {
        limits.iter().all(|limit| self.held.iter().any(|(held, _)| held.tag == limit.tag))
    }

    /// A commit that begins now is there before any of the leases ends.
    ///
    /// # Errors
    /// [`Fault::Contended`]
    pub(super) fn are_in_time(&self, now: Millis) -> Result<(), Fault> {
        let in_time = self.held.iter().all(|(_, held)| held.is_in_time(now));
        if in_time { Ok(()) } else { Err(Fault::Contended) }
    }
}

/// What an attempt to take a seat comes to.
enum Taking {
    /// One is held; and whether somebody had to go for it.
    Held(Held, bool),
    /// There is none, with so many taken.
    Full(u32),
    Wait,
}

/// Of several limits on one tag the least, in the order of tags.
fn least(limits: &[Limit]) -> Vec<&Limit> {
    let mut all: Vec<&Limit> = limits.iter().collect();
    all.sort_by(|a, b| (&a.tag, a.most).cmp(&(&b.tag, b.most)));
    all.dedup_by(|next, held| next.tag == held.tag);
    all
}

impl App {
    /// Waits for the turns of the ledgers of these limits.
    pub(super) async fn seat_turns(&self, env: EnvironmentId, limits: &[Limit]) -> Turns<'_> {
        let tags = limits.iter().filter_map(|limit| limit.tag.as_ref());
        self.ledgers.take_all(tags.map(|tag| seats_bucket(env, tag))).await
    }

    /// Holds a seat under each limit; the turns of their ledgers are taken. `None`: others are about to sit, and it
    /// must be tried again a little later, in turns that were taken anew.
    ///
    /// # Errors
    /// `session_limit_reached`; faults.
    pub(super) async fn take_seats(
        &self,
        env: EnvironmentId,
        rules: &Rules,
        guest: &Guest<'_>,
    ) -> Result<Option<Seats>, Stop> {
        let mut seats = Seats::default();
        for limit in least(&rules.limits) {
            let Some(tag) = &limit.tag else { continue };
            let evicted = Mutex::new(Vec::new());
            let taking =
                self.try_again(|| self.take_seat(env, (limit, tag, rules.mode), guest, &evicted)).await;
            seats.evicted.extend(evicted.into_inner().unwrap_or_else(PoisonError::into_inner));
            match taking {
                Ok(Taking::Held(held, crowded)) => {
                    seats.held.push((limit.clone(), held));
                    seats.crowded |= crowded;
                }
                Ok(Taking::Full(current)) => {
                    self.give_back(env, &seats).await;
                    return Err(limit.refusal(current).into());
                }
                Ok(Taking::Wait) => {
                    self.give_back(env, &seats).await;
                    return Ok(None);
                }
                Err(why) => {
                    self.give_back(env, &seats).await;
                    return Err(why);
                }
            }
        }
        Ok(Some(seats))
    }

    async fn take_seat(
        &self,
        env: EnvironmentId,
        (limit, tag, mode): (&Limit, &Tag, OnLimit),
        guest: &Guest<'_>,
        evicted: &Mutex<Vec<SessionId>>,
    ) -> Result<Decision<Taking>, Stop> {
        let (mut ledger, expect) = self.load_ledger(env, tag).await?;
        let env = self.env(env)?;
        if let Some(known) = ledger.take_if(|known| known.held.len() >= LISTED) {
            ledger = Some(self.tidied(&env, tag, known).await?);
        }
        let now = self.now();
        let basis = env.seats.basis(now);
        let taken = ledger.as_ref().and_then(|known| known.take(guest.session, limit.most, &basis, now));
        if let Some((next, held)) = taken {
            let stage = self.seat_stage(&env, tag, expect, &next);
            return Ok(Decision::Commit(stage, Taking::Held(held, false)));
        }
        let (mut count, mut counted_at) = self.count_seats(&env, tag, ledger.as_ref()).await?;
        let mut seat = count.seat(limit.most, mode);
        if matches!(seat, Seat::Evict(_)) {
            let own = self.evict_ahead(env.record.id, guest.user, &guest.own, guest.but).await?;
            if !own.is_empty() {
                note(evicted, own);
                (count, counted_at) = self.count_seats(&env, tag, ledger.as_ref()).await?;
                seat = count.seat(limit.most, mode);
            }
        }
        let going = match seat {
            Seat::Free => Vec::new(),
            Seat::Evict(going) => going,
            Seat::Full => {
                // A node that had no such rule has made some: all are to know.
                if ledger.as_ref().is_some_and(|known| known.taken < count.current()) {
                    let next = count.ledger(&basis, &[], counted_at);
                    let stage = self.seat_stage(&env, tag, expect, &next);
                    return Ok(Decision::Commit(stage, Taking::Full(count.current())));
                }
                return Err(limit.refusal(count.current()).into());
            }
            Seat::Wait => return Ok(Decision::Answer(Taking::Wait)),
        };
        let gone = self.evict_all(env.record.id, &going, limit, count.current()).await?;
        note(evicted, gone);
        let (next, held) = count.ledger(&basis, &going, counted_at).with(guest.session, self.now());
        let stage = self.seat_stage(&env, tag, expect, &next);
        Ok(Decision::Commit(stage, Taking::Held(held, !going.is_empty())))
    }

    async fn load_ledger(
        &self,
        env: EnvironmentId,
        tag: &Tag,
    ) -> Result<(Option<Ledger>, Expect), StoreError> {
        let found = self.load(&[seats_key(env, tag)]).await?.into_iter().next().flatten();
        let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Version(found.version));
        Ok((found.as_ref().map(read_seats).transpose()?, expect))
    }

    fn seat_stage(&self, env: &Env, tag: &Tag, expect: Expect, next: &Ledger) -> Stage {
        let (id, now) = (env.record.id, self.now());
        let mut stage = Stage::new(seats_bucket(id, tag), now);
        stage.op(Op::Put { expect, record: write_seats(id, tag, next, now.plus(KEPT)) });
        stage
    }

    /// Takes the oldest leases out that are over because their sessions were made.
    async fn tidied(&self, env: &Env, tag: &Tag, ledger: Ledger) -> Result<Ledger, StoreError> {
        let oldest: Vec<SessionId> = ledger.held.iter().take(LISTED).map(|held| held.session).collect();
        let keys: Vec<_> = oldest.iter().map(|id| session_key(env.record.id, *id)).collect();
        let mut made = Vec::new();
        for found in self.store.load(&keys).await?.iter().flatten() {
            let (session, _) = read_session(found)?;
            if !session.is_live() || session.has_tag(tag) {
                made.push(session.id);
            }
        }
        Ok(ledger.without(&made))
    }

    /// Counts those who sit. What time has ended is written down, so that nothing still on its way makes it count again.
    async fn count_seats(
        &self,
        env: &Env,
        tag: &Tag,
        ledger: Option<&Ledger>,
    ) -> Result<(Count, Millis), Stop> {
        let (now, all) = self.unended(env, &Filter { tags: vec![tag.clone()], ..Filter::default() }).await?;
        let acting = tag.as_str() == Actor::TAG;
        let all = all.into_iter().filter(|(loaded, _)| acting || loaded.session.actor.is_none());
        let (over, live): (Vec<_>, Vec<_>) = all.partition(|(_, ended)| ended.is_some());
        let over: Vec<SessionId> = over.into_iter().map(|(loaded, _)| loaded.session.id).collect();
        self.settle_all(env.record.id, over.clone(), Look::Ended).await?;
        let mut live: Vec<Counted> =
            live.into_iter().map(|(l, _)| Counted { id: l.session.id, seen: l.seen }).collect();
        // Whom time seemed to have ended may have been used in the last moment; and of those that seats are held for, some
        // are still to be made, and some have ended since.
        let held = ledger.iter().flat_map(|known| &known.held).map(|held| held.session);
        let unsure: BTreeSet<SessionId> = over.iter().copied().chain(held).collect();
        let mut ended = Vec::new();
        for id in unsure {
            let Some(loaded) = self.load_session(env.record.id, id).await? else { continue };
            if !loaded.session.is_live() {
                ended.push(id);
            } else if over.contains(&id) {
                live.push(Counted { id, seen: loaded.seen });
            }
        }
        Ok((Count::new(ledger, live, &ended, now), now))
    }

    /// Ends those who have to go for a seat, each in the turn of its own bucket. Who went.
    async fn evict_all(
        &self,
        env: EnvironmentId,
        going: &[SessionId],
        limit: &Limit,
        current: u32,
    ) -> Result<Vec<SessionId>, Stop> {
        let gone: Vec<Option<SessionId>> =
            stream::iter(going.to_vec())
                .map(|id| async move {
                    Ok::<_, Stop>(self.evict_one(env, id, limit, current).await?.then_some(id))
                })
                .buffered(SIDE_BY_SIDE)
                .try_collect()
                .await?;
        Ok(gone.into_iter().flatten().collect())
    }

    /// Ends one that has the tag. Says whether this call did.
    async fn evict_one(
        &self,
        env: EnvironmentId,
        id: SessionId,
        limit: &Limit,
        current: u32,
    ) -> Result<bool, Stop> {
        self.decide(id.bucket(), || async {
            let Some(loaded) = self.load_session(env, id).await? else {
                return Ok(Decision::Answer(false));
            };
            let env = self.env(env)?;
            if !loaded.session.is_live() || !limit.counts(&loaded.session) {
                return Ok(Decision::Answer(false));
            }
            let user = self.load_user(env.record.id, &loaded.session.user).await?;
            let now = self.now();
            let how = |living: Living<'_>, user| evict(living, user, limit, current);
            let ground = self.ground(&env, now);
            let Some((change, evicted)) = end(ground, &loaded.session, loaded.seen, user.user.clone(), how)
            else {
                return Ok(Decision::Answer(false));
            };
            let mut stage = Stage::new(id.bucket(), now);
            stage.change(self, &env, &loaded, Some(&user), &change, loaded.seen);
            Ok(Decision::Commit(stage, evicted))
        })
        .await
    }

    /// Gives seats back that nobody will sit on. Where that fails, the lease ends.
    pub(super) async fn give_back(&self, env: EnvironmentId, seats: &Seats) {
        for (limit, held) in &seats.held {
            let Some(tag) = &limit.tag else { continue };
            let left = self.try_again(|| async {
                let (ledger, expect) = self.load_ledger(env, tag).await?;
                let env = self.env(env)?;
                let next = ledger.and_then(|ledger| ledger.release(held));
                Ok(match next {
                    Some(next) => Decision::Commit(self.seat_stage(&env, tag, expect, &next), ()),
                    None => Decision::Answer(()),
                })
            });
            if left.await.is_err() {
                tracing::warn!("a seat could not be given back; its lease will end");
            }
        }
    }

    /// What became of those that seats were held for: `made`, and whether it sits on them. Seats that nobody sits on are
    /// given back; where nobody knows whether it was made, the lease ends. If its commit took longer than the lease,
    /// somebody may have got the same seat: then it ends. `None`: it needs other seats by now.
    ///
    /// # Errors
    /// What it was refused with; [`Fault::Contended`] when it was too late; faults.
    pub(super) async fn sit<T>(
        &self,
        env: EnvironmentId,
        seats: &Seats,
        session: SessionId,
        made: Result<Option<(T, bool)>, Stop>,
    ) -> Result<Option<T>, Stop> {
        match made {
            Ok(Some((made, true))) => {
                let now = self.now();
                let Some((limit, _)) = seats.held.iter().find(|(_, held)| held.until <= now) else {
                    return Ok(Some(made));
                };
                self.evict_one(env, session, limit, limit.most).await?;
                Err(Fault::Contended.into())
            }
            Ok(other) => {
                self.give_back(env, seats).await;
                Ok(other.map(|(made, _)| made))
            }
            Err(Stop::Fault(fault)) => Err(fault.into()),
            Err(refused) => {
                self.give_back(env, seats).await;
                Err(refused)
            }
        }
    }

    /// Waits a little for sessions that are about to be made.
    ///
    /// # Errors
    /// [`Fault::Contended`] when that was too often.
    pub(super) async fn wait_for_seats(&self, waited: &mut u32) -> Result<(), Fault> {
        *waited += 1;
        if *waited > WAITS {
            return Err(Fault::Contended);
        }
        pause(WAIT).await;
        Ok(())
    }
}

fn note(evicted: &Mutex<Vec<SessionId>>, more: Vec<SessionId>) {
    evicted.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
}
