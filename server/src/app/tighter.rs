//! Rules that became tighter: sessions end sooner than their records say housekeeping should look at them, so all of
//! them are looked through once. Verdicts do not wait for that, and lists of ended sessions search among the living
//! until it is done.

use super::control::{Env, batch, put};
use super::housekeeping::{Look, STEP};
use super::{App, Stop};
use crate::codec::policy::{read_times, times_key, write_times};
use crate::codec::{read_session, sessions};
use crate::store::{Condition, FacetRange, Query, StoreError, Versioned};
use handstamp_core::expiry;
use handstamp_core::facet;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::time::{Millis, Span};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When sessions are looked through once more where there are several nodes: one that did not know of the rules yet may have been
/// busy with a creation.
const ONCE_MORE: Span = Span::minutes(1);

/// Under which times every live session's record of an environment says rightly when to look at it; and when that is looked at
/// once more.
#[derive(Default)]
pub(super) struct Checked(Mutex<HashMap<EnvironmentId, [u8; 32]>>, Mutex<HashMap<EnvironmentId, Millis>>);

impl Checked {
    fn is(&self, env: EnvironmentId, times: [u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&env) == Some(&times)
    }
    fn set(&self, env: EnvironmentId, times: [u8; 32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(env, times);
    }
    fn once_more(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Millis>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn forget(&self, env: EnvironmentId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&env);
    }
}

impl App {
    /// Whether all sessions of an environment were looked through since its rules changed.
    pub(super) fn rules_are_checked(&self, env: &Env) -> bool {
        self.checked.is(env.record.id, env.times)
    }

    /// At a start: nothing is to be looked through when the rules are those of before, or the environment is new.
    pub(super) async fn recall_rules(&self, fresh: bool) -> Result<(), StoreError> {
        for env in self.all_environments() {
            let (id, now) = (env.record.id, env.times);
            let found = self.store.load(&[times_key(id)]).await?.into_iter().next().flatten();
            let before = found.as_ref().map(read_times).transpose()?;
            if fresh && before.is_none() {
                match self.store.commit(batch(self.now(), vec![put(write_times(id, &now), 0)])).await {
                    // Another node noted its own.
                    Ok(()) | Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
            if fresh || before == Some(now) {
                self.checked.set(id, now);
            }
        }
        Ok(())
    }

    /// Where another node looks sessions through: takes note of those that it is done with.
    pub(super) async fn see_rules(&self) -> Result<(), StoreError> {
        for env in self.all_environments() {
            if self.rules_are_checked(&env) {
                continue;
            }
            let found = self.store.load(&[times_key(env.record.id)]).await?.into_iter().next().flatten();
            if found.as_ref().map(read_times).transpose()? == Some(env.times) {
                self.checked.set(env.record.id, env.times);
            }
        }
        Ok(())
    }

    /// Looks all sessions through where the times changed, also while the server was down.
    pub(super) async fn check_rules(&self) -> Result<(), Stop> {
        for env in self.all_environments() {
            // Another node may have worked by other rules meanwhile, and these may be those of before: the store knows.
            if self.rules_are_checked(&env) && !self.has_others() {
                continue;
            }
            let (id, now) = (env.record.id, env.times);
            while !self.note_times(id, now).await? {}
            self.checked.set(id, now);
            let due = self.checked.once_more().get(&id).copied().filter(|due| *due <= self.now());
            if due.is_some() {
                self.look_through(id).await?;
                self.checked.once_more().remove(&id);
            }
        }
        Ok(())
    }

    /// Looks an environment's sessions through, if nobody has, and notes under which times. False: somebody else, who
    /// was at it, too, noted theirs meanwhile, and it is to be seen which.
    async fn note_times(&self, env: EnvironmentId, now: [u8; 32]) -> Result<bool, Stop> {
        let found = self.store.load(&[times_key(env)]).await?.into_iter().next().flatten();
        if found.as_ref().map(read_times).transpose()? == Some(now) {
            return Ok(true);
        }
        self.checked.forget(env);
        self.look_through(env).await?;
        if self.has_others() {
            self.checked.once_more().insert(env, self.now().plus(ONCE_MORE));
        }
        let op = put(write_times(env, &now), found.map_or(0, |found| found.version));
        match self.store.commit(batch(self.now(), vec![op])).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn look_through(&self, env: EnvironmentId) -> Result<(), Stop> {
        let any = FacetRange {
            name: facet::DUE,
            low: Box::new(facet::instant(self.now())),
            high: Box::new([u8::MAX; 8]),
        };
        let mut query = Query {
            space: sessions(env),
            all: vec![Condition { any: vec![any] }],
            from: None,
            until: None,
            cursor: None,
            limit: STEP,
        };
        loop {
            let page = self.store.search(&query).await?;
            let of = self.env(env)?;
            let sooner = page.items.iter().filter_map(|found| self.ends_sooner(&of, found)).collect();
            self.settle_all(env, sooner, Look::Due).await?;
            match page.next {
                None => return Ok(()),
                next => query.cursor = next,
            }
        }
    }

    /// A live session that time ends before its record says it should be looked at. One that cannot be read is left
    /// alone: whoever asks for it is told.
    fn ends_sooner(&self, env: &Env, found: &Versioned) -> Option<SessionId> {
        let (session, stored) = read_session(found).ok()?;
        let (seen, _) = self.unwritten(env.record.id, session.id).over(stored);
        let due = facet::instant(expiry::ends(&session, seen, &env.policy.of(&session)).earliest());
        let said = found.record.facets.iter().find(|facet| facet.name == facet::DUE)?;
        (due.as_slice() < &*said.value).then_some(session.id)
    }
}
