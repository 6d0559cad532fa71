//! All live sessions of a filter change: counted and judged before any is changed, then each by itself.

use super::callers::Caller;
use super::limits::Demand;
use super::search::Filter;
use super::update::{Update, gained};
use super::{App, Stop, objections};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::caller::Scope;
use handstamp_core::id::SessionId;
use handstamp_core::limit;
use handstamp_core::refusal::Code;
use handstamp_core::transition::update::Fixed;

/// The most sessions that one call may change.
pub const UPDATE_MOST: usize = 1_000;

/// What a change of many came to.
pub struct UpdatedAll {
    /// How many were changed.
    pub count: usize,
    /// The first hundred.
    pub sessions: Vec<SessionId>,
    /// Who had to go for the tags that they have got: the first hundred.
    pub evicted: Vec<SessionId>,
}

impl App {
    /// Changes all live sessions of a filter: how many, and the first hundred. All are counted, and each is judged, before
    /// any is changed.
    ///
    /// # Errors
    /// `too_many_matches`, `tag_create_only` (with the tags of all sessions that may not come or go), `session_limit_reached`
    /// and bad input, before anything has changed; faults.
    pub async fn update_all(
        &self,
        caller: &Caller,
        filter: &Filter,
        ask: &Update,
    ) -> Result<UpdatedAll, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        if filter.is_empty() {
            let message = "an empty filter would name everybody: say which sessions, by their user, by tags";
            return Err(Stop::field("/filter", message));
        }
        let (mut ids, mut fixed, mut refused) = (Vec::new(), Vec::<Fixed>::new(), 0);
        let mut demand = Demand::default();
        let mut cursor = None;
        loop {
            let (found, next) = self.candidates(&caller.env, filter, 1_000, cursor).await?;
            for loaded in &found {
                match self.changed(&caller.env, loaded, ask, &caller.party(), self.now()) {
                    Ok(change) => {
                        ids.push(loaded.session.id);
                        for rule in [limit::RULE, limit::SEATS] {
                            let rules = gained(rule, &caller.env, &loaded.session, &change.session);
                            demand.add(&rules, &loaded.session);
                        }
                    }
                    Err(Stop::Refused(why)) if why.refusal.code == Code::SessionEnded => {}
                    // Others may carry other tags that stay: the caller is told all of them at once.
                    Err(Stop::Refused(why)) if !why.fixed.is_empty() => {
                        refused += 1;
                        for one in why.fixed {
                            if fixed.iter().all(|known| known.tag != one.tag) {
                                fixed.push(one);
                            }
                        }
                    }
                    Err(why) => return Err(why),
                }
            }
            if ids.len() + refused > UPDATE_MOST {
                return Err(Stop::refuse(
                    Code::TooManyMatches,
                    format!("more than {UPDATE_MOST} sessions match; nothing was changed"),
                ));
            }
            match next {
                None => break,
                next => cursor = next,
            }
        }
        if !fixed.is_empty() {
            return Err(objections::fixed(fixed));
        }
        self.is_met(&caller.env, demand).await?;
        // The first made first, as if each had been made with its new tags.
        ids.reverse();
        let changed: Vec<Option<(SessionId, Vec<SessionId>)>> = stream::iter(ids)
            .map(|id| async move {
                match self.update(caller, id, ask).await {
                    Ok(updated) => Ok(Some((id, updated.evicted))),
                    // It ended or was forgotten since it was counted.
                    Err(Stop::Refused(why))
                        if matches!(why.refusal.code, Code::SessionEnded | Code::NotFound) =>
                    {
                        Ok(None)
                    }
                    Err(other) => Err(other),
                }
            })
            .buffered(64)
            .try_collect()
            .await?;
        let (mut sessions, evicted): (Vec<_>, Vec<_>) = changed.into_iter().flatten().unzip();
        sessions.reverse();
        let count = sessions.len();
        sessions.truncate(100);
        Ok(UpdatedAll { count, sessions, evicted: evicted.into_iter().flatten().take(100).collect() })
    }
}
