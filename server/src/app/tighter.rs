//! Rules that became tighter: sessions end sooner than their records say housekeeping should look at them, so all of
//! them are looked through once. Verdicts do not wait for that, and lists of ended sessions search among the living
//! until it is done.

use super::control::{batch, put};
use super::housekeeping::{Look, STEP};
use super::{App, Stop};
use crate::codec::control::{Times, read_times, times_key, write_times};
use crate::codec::{read_session, sessions};
use crate::store::{Condition, FacetRange, Query, Versioned};
use handstamp_core::expiry;
use handstamp_core::facet;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::policy::Policy;
use std::sync::{Mutex, PoisonError};

const fn times(policy: &Policy) -> Times {
    Times { absolute: policy.absolute_timeout, idle: policy.idle_timeout, refresh: policy.refresh_timeout }
}

fn is_tighter(now: Times, before: Times) -> bool {
    now.absolute < before.absolute || now.idle < before.idle || now.refresh < before.refresh
}

/// Under which times every live session's record says rightly when to look at it.
#[derive(Default)]
pub(super) struct Checked(Mutex<Option<Times>>);

impl Checked {
    fn times(&self) -> Option<Times> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn set(&self, times: Times) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(times);
    }
}

impl App {
    /// Whether all sessions were looked through since the rules changed.
    pub(super) fn rules_are_checked(&self) -> bool {
        self.checked.times() == Some(times(&self.policy.load()))
    }

    /// Looks all sessions through if the rules became tighter, also while the server was down.
    pub(super) async fn check_rules(&self) -> Result<(), Stop> {
        if self.rules_are_checked() {
            return Ok(());
        }
        let now = times(&self.policy.load());
        let found = self.store.load(&[times_key()]).await?.into_iter().next().flatten();
        let before = found.as_ref().map(read_times).transpose()?;
        if before.is_none_or(|before| is_tighter(now, before)) {
            for env in self.all_environments() {
                self.look_through(env.record.id).await?;
            }
        }
        if before != Some(now) {
            let op = put(write_times(&now), found.map_or(0, |found| found.version));
            self.store.commit(batch(self.now(), vec![op])).await?;
        }
        self.checked.set(now);
        Ok(())
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
            let sooner = page.items.iter().filter_map(|found| self.ends_sooner(env, found)).collect();
            self.settle_all(env, sooner, Look::Due).await?;
            match page.next {
                None => return Ok(()),
                next => query.cursor = next,
            }
        }
    }

    /// A live session that time ends before its record says it should be looked at. One that cannot be read is left
    /// alone: whoever asks for it is told.
    fn ends_sooner(&self, env: EnvironmentId, found: &Versioned) -> Option<SessionId> {
        let (session, stored) = read_session(found).ok()?;
        let (seen, _) = self.unwritten(env, session.id).over(stored);
        let policy = self.policy.load().effective(session.expires_in, session.chain.has_refresh());
        let due = facet::instant(expiry::ends(&session, seen, &policy).earliest());
        let said = found.record.facets.iter().find(|facet| facet.name == facet::DUE)?;
        (due.as_slice() < &*said.value).then_some(session.id)
    }
}
