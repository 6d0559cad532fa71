//! How many sessions one user may have: who else of the user lives is only looked at where the user's record leaves open
//! whether there is room, and whoever goes, goes in the commit that needs the room.

use super::control::Env;
use super::records::{Decision, Loaded, LoadedUser, Stage};
use super::search::Filter;
use super::{App, Stop};
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::limit::{Limit, OnLimit, RULE};
use handstamp_core::session::Session;
use handstamp_core::time::Millis;
use handstamp_core::transition::admit::{Admission, admit};
use handstamp_core::user::User;

/// The most sessions that one commit ends.
const TOGETHER: usize = 500;

/// What must hold for one session of a user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// In turn.
    pub(super) limits: Vec<Limit>,
    /// What happens where there is no room.
    pub(super) mode: OnLimit,
}

/// How many sessions begin to count at once where nobody would go for them: all or none of them shall.
#[derive(Default)]
pub(super) struct Demand(Vec<(Option<UserId>, Limit, u32)>);

impl Demand {
    /// One more, under these rules.
    pub(super) fn add(&mut self, rules: &Rules, session: &Session) {
        if rules.mode != OnLimit::Reject {
            return;
        }
        for limit in &rules.limits {
            let user = (limit.rule == RULE).then_some(&session.user);
            match self.0.iter_mut().find(|(of, known, _)| of.as_ref() == user && known == limit) {
                Some((.., count)) => *count += 1,
                None => self.0.push((user.cloned(), limit.clone(), 1)),
            }
        }
    }
}

/// There is room, once this is committed.
pub(super) struct Room {
    /// The instant at which everybody was judged.
    pub(super) now: Millis,
    others: Vec<Loaded>,
    admission: Admission,
}

impl Room {
    /// Whether more sessions would end than one commit should have, because the rules became much tighter.
    pub(super) fn is_crowded(&self) -> bool {
        self.admission.ended.len() > TOGETHER
    }

    /// Those that have to go.
    pub(super) fn evicted(&self) -> Vec<SessionId> {
        self.admission.evicted.clone()
    }

    /// The user's record as it is afterwards.
    pub(super) fn user(&self) -> User {
        self.admission.user.clone()
    }

    /// Ends them, in the commit of the session that takes their place.
    pub(super) fn make(&self, app: &App, env: &Env, stage: &mut Stage) {
        self.make_some(app, env, stage, usize::MAX);
    }

    /// Ends the first of them. The user's record then, and who was evicted.
    fn make_some(
        &self,
        app: &App,
        env: &Env,
        stage: &mut Stage,
        most: usize,
    ) -> (Option<User>, Vec<SessionId>) {
        let (mut user, mut gone) = (None, Vec::new());
        for (place, change) in self.admission.ended.iter().take(most) {
            let Some(before) = self.others.get(*place) else { continue };
            stage.session(app, env, Some(before), &change.session, before.seen);
            stage.events(env, &change.events);
            user.clone_from(&change.user);
            gone.push(change.session.id);
        }
        let evicted = self.admission.evicted.iter().filter(|id| gone.contains(id)).copied().collect();
        (user, evicted)
    }
}

impl App {
    /// Looks for room beside the user's sessions; `but` is the one that asks, where it is one of them. The user's record
    /// is to be in the commit that follows, so that nobody else finds the same room.
    ///
    /// # Errors
    /// `session_limit_reached`; faults.
    pub(super) async fn room(
        &self,
        env: &Env,
        user: &User,
        rules: &Rules,
        but: Option<SessionId>,
    ) -> Result<Room, Stop> {
        let others_at_most = user.live.saturating_sub(u32::from(but.is_some()));
        let is_open = rules.limits.iter().any(|limit| others_at_most >= limit.most);
        let (now, others) = match is_open {
            true => self.others(env, &user.id, but).await?,
            false => (self.now(), Vec::new()),
        };
        let all: Vec<_> = others.iter().map(|other| (&other.session, other.seen)).collect();
        let admission = admit(self.ground(env, now), &rules.limits, rules.mode, &all, user.clone())?;
        Ok(Room { now, others, admission })
    }

    /// All sessions of the user that nobody has ended, and an instant at which what is known of each is certain.
    async fn others(
        &self,
        env: &Env,
        user: &UserId,
        but: Option<SessionId>,
    ) -> Result<(Millis, Vec<Loaded>), Stop> {
        let filter = Filter { user: Some(user.clone()), ..Filter::default() };
        let (now, all) = self.unended(env, &filter).await?;
        let others = all.into_iter().filter(|(loaded, _)| Some(loaded.session.id) != but);
        Ok((now, others.map(|(loaded, _)| loaded).collect()))
    }

    /// Whether there is room for all of a demand now.
    ///
    /// # Errors
    /// `session_limit_reached`; faults.
    pub(super) async fn is_met(&self, env: &Env, demand: Demand) -> Result<(), Stop> {
        for (user, limit, more) in demand.0 {
            let filter = Filter { user, tags: limit.tag.iter().cloned().collect(), ..Filter::default() };
            let (_, all) = self.unended(env, &filter).await?;
            let current =
                all.iter().filter(|(loaded, ended)| ended.is_none() && limit.counts(&loaded.session)).count();
            let current = u32::try_from(current).unwrap_or(u32::MAX);
            if current.saturating_add(more) > limit.most {
                // What the first one without room will be told.
                return Err(limit.refusal(current.max(limit.most)).into());
            }
        }
        Ok(())
    }

    /// Makes room before it is needed: where it takes more than one commit, or is to be there before anything else is.
    /// Who was evicted.
    ///
    /// # Errors
    /// `session_limit_reached`; faults.
    pub(super) async fn evict_ahead(
        &self,
        env: EnvironmentId,
        user: &UserId,
        rules: &Rules,
        but: Option<SessionId>,
    ) -> Result<Vec<SessionId>, Stop> {
        let bucket = self.keys.bucket(env, user);
        let mut evicted = Vec::new();
        loop {
            let (gone, more) = self
                .decide(bucket, || async {
                    let LoadedUser { user, expect } = self.load_user(env, user).await?;
                    let env = self.env(env)?;
                    let room = self.room(&env, &user, rules, but).await?;
                    let mut stage = Stage::new(bucket, room.now);
                    let (next, gone) = room.make_some(self, &env, &mut stage, TOGETHER);
                    let Some(next) = next else { return Ok(Decision::Answer((gone, false))) };
                    stage.user(&env, bucket, expect, &next);
                    Ok(Decision::Commit(stage, (gone, room.is_crowded())))
                })
                .await?;
            evicted.extend(gone);
            if !more {
                return Ok(evicted);
            }
        }
    }
}
