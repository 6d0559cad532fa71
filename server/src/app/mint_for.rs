//! An access token for who names the user: of the session that they name, too, or of the one that the user was active in last.

use super::access_tokens::{AccessToken, Order};
use super::callers::Caller;
use super::records::Loaded;
use super::search::Filter;
use super::{App, Fault, Stop};
use crate::codec::{session_id, session_key};
use handstamp_core::access_token::{Candidate, latest};
use handstamp_core::caller::Scope;
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::refusal::Code;

/// How often another session is chosen because the one before has ended meanwhile.
const TRIES: usize = 8;
/// How many sessions are looked at at once.
const TOGETHER: u32 = 500;

impl App {
    /// Makes an access token of a session of `user`: of `session`, which must be theirs, or without it of the one that
    /// [`latest`] chooses of those that live.
    ///
    /// # Errors
    /// `not_found` without such a session, why it is over, `data_too_large`, `signing_key_missing`, `insufficient_scope`; faults.
    pub async fn mint_for(
        &self,
        caller: &Caller,
        user: &UserId,
        session: Option<SessionId>,
        order: &Order,
    ) -> Result<AccessToken, Stop> {
        caller.allow(Scope::TokensMint)?;
        let env = caller.env.record.id;
        if let Some(id) = session {
            return self.mint_of(env, id, Some(user), order).await;
        }
        for _ in 0..TRIES {
            let id = self.latest_session(env, user).await?.ok_or_else(none_lives)?;
            match self.mint_of(env, id, Some(user), order).await {
                // It ended since it was chosen.
                Err(Stop::Refused(refused))
                    if matches!(refused.refusal.code, Code::SessionEnded | Code::NotFound) => {}
                outcome => return outcome,
            }
        }
        Err(Fault::Contended.into())
    }

    async fn latest_session(&self, env: EnvironmentId, user: &UserId) -> Result<Option<SessionId>, Stop> {
        let env = self.env(env)?;
        let filter = Filter { user: Some(user.clone()), ..Filter::default() };
        let mut query = filter.query(&env, false, TOGETHER);
        let mut best = None;
        loop {
            let page = self.store.search(&query).await?;
            let ids: Vec<_> = page.items.iter().filter_map(|found| session_id(&found.record.key)).collect();
            // Loaded again, for what is not written yet must be asked for before the store is: see `App::unwritten`.
            let mut loaded = self.load_sessions(env.record.id, &ids).await?;
            if loaded.iter().any(|one| self.seems_idle(env.record.id, one)) {
                let idle = loaded.iter().filter(|one| self.seems_idle(env.record.id, one));
                let idle = idle.map(|one| (env.record.id, one.session.id, one.seen)).collect::<Vec<_>>();
                self.ask_for_activity(idle).await;
                loaded = self.load_sessions(env.record.id, &ids).await?;
            }
            // What was ended at once is that of after the load.
            let (env, now) = (self.env(env.record.id)?, self.now());
            let live = loaded.iter().filter(|one| self.ended(&env, &one.session, one.seen, now).is_none());
            let candidate = |Loaded { session, seen, .. }: &Loaded| Candidate {
                id: session.id,
                seen: *seen,
                acting: session.actor.is_some(),
            };
            best = latest(live.map(candidate).chain(best));
            match page.next {
                None => return Ok(best.map(|one| one.id)),
                next => query.cursor = next,
            }
        }
    }

    /// Sessions, freshly loaded; those that are gone are left out.
    async fn load_sessions(&self, env: EnvironmentId, ids: &[SessionId]) -> Result<Vec<Loaded>, Stop> {
        let unwritten: Vec<_> = ids.iter().map(|id| self.unwritten(env, *id)).collect();
        let keys: Vec<_> = ids.iter().map(|id| session_key(env, *id)).collect();
        let found = self.load(&keys).await?;
        let mut all = Vec::with_capacity(found.len());
        for (found, unwritten) in found.iter().zip(unwritten) {
            let Some(found) = found else { continue };
            let (session, stored) = self.read_session(found)?;
            let (seen, offered) = if session.is_live() { unwritten.over(stored) } else { (stored, stored) };
            all.push(Loaded { session, seen, offered, version: found.version });
        }
        Ok(all)
    }
}

fn none_lives() -> Stop {
    Stop::refuse(Code::NotFound, "this user has no live session of their own; create one first")
}
