//! Ending: one session, by its id or its token; all of a filter; a whole tag or environment at once.

use super::callers::{Caller, Party};
use super::control::Env;
use super::read::no_session;
use super::records::{Decision, Loaded, LoadedUser, Stage};
use super::search::Filter;
use super::spared::Except;
use super::{App, Stop};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::caller::Scope;
use handstamp_core::epoch::Scope as Whom;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::session::{By, Client};
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::open;
use handstamp_core::transition::Living;
use handstamp_core::transition::finish::{end, revoke};

/// Whom to end.
#[derive(Clone)]
pub enum Target {
    /// The session of this token, of whatever generation: a logout.
    Token(String),
    /// All that fit.
    Filter(Filter),
    /// Everybody in the environment.
    Everybody,
}

/// A mass end.
pub struct Revoke {
    /// Whom.
    pub target: Target,
    /// A session to keep.
    pub except: Option<Except>,
    /// Only say what would happen.
    pub dry_run: bool,
    /// For history.
    pub reason: Option<Box<str>>,
}

/// What came of it.
pub enum Revoked {
    /// These have ended.
    Ended {
        /// How many.
        count: u64,
        /// The first hundred.
        sessions: Vec<SessionId>,
    },
    /// An epoch was raised: from now on all of them are refused; about this many.
    Raised {
        /// A count that stops at 10,000.
        estimate: usize,
    },
}

/// How many ids an answer names.
const NAMED: usize = 100;
/// How many sessions of one user are ended in one commit.
const TOGETHER: u32 = 500;
/// How many commits run side by side, so that they share a sync.
const SIDE_BY_SIDE: usize = 64;

impl App {
    /// Ends one session. Says whether this call did.
    ///
    /// # Errors
    /// `not_found`, also when it is not `guard`'s; faults.
    pub async fn end(
        &self,
        caller: &Caller,
        id: SessionId,
        guard: Option<&UserId>,
        reason: Option<Box<str>>,
    ) -> Result<bool, Stop> {
        self.allow(caller, Scope::SessionsWrite).await?;
        match self
            .end_one(&caller.env, id, guard, &caller.by(), &Client::default(), reason.as_deref())
            .await?
        {
            None => Err(no_session(id)),
            Some(ended) => Ok(ended),
        }
    }

    /// Ends what the target names.
    ///
    /// # Errors
    /// `except_invalid`, `impersonation_forbidden` and bad input, before anything has ended; faults.
    pub async fn revoke(&self, caller: &Caller, ask: &Revoke) -> Result<Revoked, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        let spared = match &ask.except {
            Some(except) => Some(self.spared(caller, ask, except).await?),
            None => None,
        };
        match &ask.target {
            Target::Token(token) => self.log_out(caller, token, ask).await,
            Target::Everybody => self.raise(caller, Whom::All, &Filter::default(), spared, ask).await,
            Target::Filter(filter) if filter.is_tags_only() => {
                let mut tags = filter.tags.clone();
                tags.sort_unstable();
                tags.dedup();
                self.raise(caller, Whom::Tags(tags), filter, spared, ask).await
            }
            Target::Filter(filter) => match &filter.user {
                Some(user) => self.end_of_user(&caller.party(), user, filter, spared, ask).await,
                None => self.end_found(caller, filter, spared, ask).await,
            },
        }
    }

    /// Ends one session in the turn of its bucket. `None`: there is none, or it is another user's.
    pub(super) async fn end_one(
        &self,
        env: &Env,
        id: SessionId,
        guard: Option<&UserId>,
        by: &By,
        client: &Client,
        reason: Option<&str>,
    ) -> Result<Option<bool>, Stop> {
        self.decide(id.bucket(), || async {
            let Some(loaded) = self.load_session(env.record.id, id).await? else {
                return Ok(Decision::Answer(None));
            };
            let env = self.env(env.record.id)?;
            if guard.is_some_and(|user| *user != loaded.session.user) {
                return Ok(Decision::Answer(None));
            }
            if !loaded.session.is_live() {
                return Ok(Decision::Answer(Some(false)));
            }
            let user = self.load_user(env.record.id, &loaded.session.user).await?;
            let now = self.now();
            let how = |living: Living<'_>, user| {
                revoke(living, user, by.clone(), reason.map(Into::into), client.clone())
            };
            let ground = self.ground(&env, now);
            let Some((change, by_us)) = end(ground, &loaded.session, loaded.seen, user.user.clone(), how)
            else {
                return Ok(Decision::Answer(Some(false)));
            };
            let mut stage = Stage::new(id.bucket(), now);
            stage.change(self, &env, &loaded, Some(&user), &change, loaded.seen);
            Ok(Decision::Commit(stage, Some(by_us)))
        })
        .await
    }

    async fn log_out(&self, caller: &Caller, token: &str, ask: &Revoke) -> Result<Revoked, Stop> {
        let none = Revoked::Ended { count: 0, sessions: Vec::new() };
        let kind = if Kind::of(token) == Some(Kind::Refresh) { Kind::Refresh } else { Kind::Session };
        let Ok(opened) = open(kind, caller.env.record.id, token, &self.keys) else { return Ok(none) };
        let id = opened.session;
        let ended = if ask.dry_run {
            let loaded = self.load_session(caller.env.record.id, id).await?;
            let env = self.env(caller.env.record.id)?;
            loaded.is_some_and(|l| self.ended(&env, &l.session, l.seen, self.now()).is_none())
        } else {
            let by = By::Client;
            self.end_one(&caller.env, id, None, &by, &Client::default(), ask.reason.as_deref())
                .await?
                .unwrap_or(false)
        };
        Ok(if ended { Revoked::Ended { count: 1, sessions: vec![id] } } else { none })
    }

    /// Raises an epoch; who is to be kept is lifted over it first.
    async fn raise(
        &self,
        caller: &Caller,
        whom: Whom,
        filter: &Filter,
        spared: Option<SessionId>,
        ask: &Revoke,
    ) -> Result<Revoked, Stop> {
        let env = caller.env.record.id;
        let (count, _) = self.count_up_to(&caller.env, filter, super::search::COUNT_MOST).await?;
        let estimate = count.saturating_sub(usize::from(spared.is_some()));
        if !ask.dry_run {
            self.raise_epoch(env, whom, caller.by(), ask.reason.clone(), spared).await?;
            // Another node may have given one of them the tag, and was not heard yet.
            self.withhold_all();
        }
        Ok(Revoked::Raised { estimate })
    }

    /// Ends a user's sessions, many in one commit; the user's record sees to it that no creation slips in between.
    pub(super) async fn end_of_user(
        &self,
        party: &Party,
        user: &UserId,
        filter: &Filter,
        spared: Option<SessionId>,
        ask: &Revoke,
    ) -> Result<Revoked, Stop> {
        if ask.dry_run {
            return self.would_end(&party.env, filter, spared).await;
        }
        let bucket = self.keys.bucket(party.env.record.id, user);
        let (mut count, mut named) = (0u64, Vec::new());
        loop {
            let some = self
                .decide(bucket, || async {
                    let known = self.load_user(party.env.record.id, user).await?;
                    let env = self.env(party.env.record.id)?;
                    let (chosen, all) = self.some_of(&env, filter, spared).await?;
                    let (stage, ids) = self.end_together(&env, known, &chosen, party, ask);
                    Ok(match stage {
                        Some(stage) => Decision::Commit(stage, (ids, all)),
                        None => Decision::Answer((ids, all)),
                    })
                })
                .await?;
            let (some, all) = some;
            count += u64::try_from(some.len()).unwrap_or(u64::MAX);
            let room = NAMED.saturating_sub(named.len());
            named.extend(some.into_iter().take(room));
            // What is made from here on is made after the end of all others.
            if all {
                // Another node may have ended some of them, and was not heard yet.
                self.withhold(bucket);
                return Ok(Revoked::Ended { count, sessions: named });
            }
        }
    }

    /// Which of them this ends, and the commit that does; what time has ended already is written down by it.
    fn end_together(
        &self,
        env: &Env,
        known: LoadedUser,
        chosen: &[Loaded],
        party: &Party,
        ask: &Revoke,
    ) -> (Option<Stage>, Vec<SessionId>) {
        let now = self.now();
        let bucket = self.keys.bucket(env.record.id, &known.user.id);
        let mut stage = Stage::new(bucket, now);
        let mut record = known.user;
        let mut ids = Vec::with_capacity(chosen.len());
        let mut is_empty = true;
        for loaded in chosen {
            let how = |living: Living<'_>, user| {
                revoke(living, user, party.by.clone(), ask.reason.clone(), party.client.clone())
            };
            let ground = self.ground(env, now);
            let ended = end(ground, &loaded.session, loaded.seen, record.clone(), how);
            let Some((change, by_us)) = ended else { continue };
            is_empty = false;
            stage.session(self, env, Some(loaded), &change.session, loaded.seen);
            stage.events(env, &change.events);
            if by_us {
                ids.push(loaded.session.id);
            }
            record = change.user.unwrap_or(record);
        }
        stage.user(env, bucket, known.expect, &record);
        ((!is_empty).then_some(stage), ids)
    }

    /// The next sessions of a filter that no record says have ended, without the one to keep, and whether they are all.
    async fn some_of(
        &self,
        env: &Env,
        filter: &Filter,
        spared: Option<SessionId>,
    ) -> Result<(Vec<Loaded>, bool), Stop> {
        let mut cursor = None;
        loop {
            let (mut found, next) = self.unended_page(env, filter, TOGETHER, cursor).await?;
            found.retain(|loaded| Some(loaded.session.id) != spared);
            if !found.is_empty() || next.is_none() {
                return Ok((found, next.is_none()));
            }
            cursor = next;
        }
    }

    /// Ends what a search finds, session by session, many side by side.
    async fn end_found(
        &self,
        caller: &Caller,
        filter: &Filter,
        spared: Option<SessionId>,
        ask: &Revoke,
    ) -> Result<Revoked, Stop> {
        if ask.dry_run {
            return self.would_end(&caller.env, filter, spared).await;
        }
        let (mut count, mut named) = (0u64, Vec::new());
        let mut cursor = None;
        let by = caller.by();
        loop {
            let (found, next) = self.unended_page(&caller.env, filter, TOGETHER, cursor).await?;
            let ids = found.into_iter().map(|l| l.session.id).filter(|id| Some(*id) != spared);
            let ended: Vec<(SessionId, bool)> = stream::iter(ids)
                .map(|id| {
                    let by = &by;
                    async move {
                        let done = self
                            .end_one(&caller.env, id, None, by, &Client::default(), ask.reason.as_deref())
                            .await?;
                        Ok::<_, Stop>((id, done.unwrap_or(false)))
                    }
                })
                .buffered(SIDE_BY_SIDE)
                .try_collect()
                .await?;
            for (id, _) in ended.into_iter().filter(|(_, done)| *done) {
                count += 1;
                if named.len() < NAMED {
                    named.push(id);
                }
            }
            match next {
                None => {
                    self.withhold_all();
                    return Ok(Revoked::Ended { count, sessions: named });
                }
                next => cursor = next,
            }
        }
    }

    async fn would_end(
        &self,
        env: &Env,
        filter: &Filter,
        spared: Option<SessionId>,
    ) -> Result<Revoked, Stop> {
        let (mut count, mut named) = (0u64, Vec::new());
        let mut cursor = None;
        loop {
            let (found, next) = self.candidates(env, filter, 1_000, cursor).await?;
            for id in found.into_iter().map(|l| l.session.id).filter(|id| Some(*id) != spared) {
                count += 1;
                if named.len() < NAMED {
                    named.push(id);
                }
            }
            match next {
                None => return Ok(Revoked::Ended { count, sessions: named }),
                next => cursor = next,
            }
        }
    }
}
