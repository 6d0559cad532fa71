//! What time brings about: activity is written, sessions that time or an epoch has ended say so in their records and in
//! history, and what is past its retention is forgotten. Nothing here decides a verdict; verdicts do not wait for it.

use super::behind::Line;
use super::control::Env;
use super::records::{Decision, Stage};
use super::search::Filter;
use super::{App, Fault, Stop};
use crate::codec::{CONTROL, logins_record, new_event, session_id, session_key, sessions};
use crate::host::clock::pause;
use crate::store::{Batch, Condition, Expect, FacetRange, Op, Page, Query, StoreError, Versioned};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::epoch::Scope as Whom;
use handstamp_core::facet;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::transition::finish::settle;
use std::time::Duration;

/// How many records one step looks at.
pub(super) const STEP: u32 = 256;

impl App {
    /// Runs until told to stop: activity four times a second, beside it the rest once a second. Both can be left at any
    /// moment; a commit that is under way is seen through all the same.
    pub async fn keep_house(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep_activity() => {}
            () = self.keep_tidy() => {}
            () = self.keep_sharing() => {}
            () = self.keep_scrubbed() => {}
            () = self.keep_keeping() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        self.leave_house().await;
    }

    async fn keep_activity(&self) {
        let mut turn = 0u32;
        loop {
            pause(Duration::from_millis(250)).await;
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(240) {
                self.note_key_use();
                self.tidy_rates();
                self.feeds.tidy();
            }
            if let Err(error) = self.flush_activity().await {
                tracing::warn!(%error, "activity could not be written; it is kept and tried again");
                pause(Duration::from_secs(1)).await;
            }
        }
    }

    async fn keep_sharing(&self) {
        loop {
            self.tell_configuration().await;
            for _ in 0..60 {
                pause(Duration::from_secs(1)).await;
                self.share_rates().await;
            }
        }
    }

    async fn keep_tidy(&self) {
        loop {
            let known = self.control.load().stamp();
            for _ in 0..4 {
                pause(Duration::from_millis(250)).await;
                // Somebody ended many at once, perhaps.
                if self.nodes.is_some() && self.control.load().stamp() != known {
                    break;
                }
            }
            if let Err(Stop::Fault(fault)) = self.tidy().await {
                tracing::warn!(%fault, "housekeeping could not go on; it will try again");
                pause(Duration::from_secs(1)).await;
            }
        }
    }

    /// A store that several nodes share takes as long for this as it is large: nothing else waits for it.
    async fn keep_scrubbed(&self) {
        loop {
            pause(Duration::from_secs(1)).await;
            if self.nodes.is_some()
                && self.is_keeper()
                && let Err(Stop::Fault(fault)) = self.scrub().await
            {
                tracing::warn!(%fault, "what was erased could not be taken out of the store; it will be tried again");
            }
        }
    }

    /// One round of everything but activity. What goes wrong in one place does not keep the others waiting. What only one
    /// of several nodes is to do is left out where it is another one's turn.
    ///
    /// # Errors
    /// The last fault.
    pub async fn tidy(&self) -> Result<(), Stop> {
        let mut outcome = self.doubts().await.map_err(Stop::from);
        outcome = self.look_up().await.map_err(Stop::from).and(outcome);
        let keeps = self.keeps_house().await.unwrap_or_else(|error| {
            outcome = Err(error.into());
            false
        });
        if keeps {
            // First: until it is written down, who verifies tokens knows of an end of many only what their tokens say of tags.
            for env in self.all_environments() {
                outcome = self.settle_epochs(&env).await.and(outcome);
            }
            outcome = self.check_rules().await.and(outcome);
        } else {
            outcome = self.see_rules().await.map_err(Stop::from).and(outcome);
        }
        outcome = self.tidy_own().await.and(outcome);
        if keeps { self.tidy_for_all().await.and(outcome) } else { outcome }
    }

    /// What this node has noted itself.
    async fn tidy_own(&self) -> Result<(), Stop> {
        let mut outcome = self.write_events(false).await.map_err(Stop::from);
        outcome = self.doubt_seats().await.and(outcome);
        for (env, id) in self.behind.take_again() {
            if let Err(why) = self.settle_one(env, id, Look::Ended).await {
                self.behind.look_again(env, &[id]);
                outcome = Err(why);
            }
        }
        self.write_observed().await.and(outcome)
    }

    /// What one node does for all.
    async fn tidy_for_all(&self) -> Result<(), Stop> {
        let mut outcome = Ok(());
        for env in self.all_environments() {
            outcome = self.settle_due(&env).await.and(outcome);
        }
        outcome = self.forget_token_keys().await.and(outcome);
        outcome = self.age().await.and(outcome);
        if self.nodes.is_none() {
            outcome = self.scrub().await.and(outcome);
        }
        outcome = self.purge().await.map_err(Stop::from).and(outcome);
        while self.store.sweep(self.now(), STEP).await? == STEP {
            tokio::task::yield_now().await;
        }
        outcome
    }

    /// How many events found no room.
    pub fn events_dropped(&self) -> u64 {
        self.behind.dropped()
    }

    /// Writes lines of history that no change rides on; `all`: also those whose window is not over.
    pub(super) async fn write_events(&self, all: bool) -> Result<(), StoreError> {
        let written = stream::iter(self.behind.take(self.now(), all)).map(|line| async move {
            let outcome = self.write_line(&line).await;
            if outcome.is_err() {
                self.behind.put_back(line);
            }
            match outcome {
                // The session has changed meanwhile: in the next round.
                Err(StoreError::Conflict) => Ok(()),
                outcome => outcome,
            }
        });
        written.buffered(64).fold(Ok(()), |all, one| std::future::ready(one.and(all))).await
    }

    /// Writes a line about a session that is there, and was not erased since it was noted. In the turn of its bucket: who
    /// erases must not be overtaken.
    async fn write_line(&self, Line { env, session, event }: &Line) -> Result<(), StoreError> {
        let bucket = session.map_or(CONTROL, |session| session.bucket());
        let _turn = self.turns.take(bucket).await;
        let mut ops = Vec::new();
        if let Some(session) = session {
            match self.load_session(*env, *session).await? {
                Some(loaded) if event.user.as_ref() == Some(&loaded.session.user) => {
                    // Nor by another node: whoever erases puts the session's record last.
                    let expect = Expect::Version(loaded.version);
                    ops.push(Op::Check { key: session_key(*env, *session), expect });
                }
                _ => return Ok(()),
            }
        }
        if event.is_refused_login() {
            let record = logins_record(*env, event.at, self.retention);
            if self.store.load(std::slice::from_ref(&record.key)).await?.iter().all(Option::is_none) {
                ops.push(Op::Put { expect: Expect::Absent, record });
            }
            if let Some(user) = event.user.as_ref().filter(|_| self.has_others()) {
                match self.still_known(*env, user, event.at).await? {
                    Some(still) => ops.push(still),
                    None => return Ok(()),
                }
            }
        }
        let (bucket, at, events) = (bucket.get(), event.at, vec![new_event(*env, event)]);
        self.store.commit(Batch { bucket, at, ops, events, tallies: Vec::new() }).await
    }

    /// Writes down the ends of sessions whose time has come.
    pub(super) async fn settle_due(&self, env: &Env) -> Result<(), Stop> {
        let due =
            FacetRange { name: facet::DUE, low: Box::new([]), high: Box::new(facet::instant(self.now())) };
        let query = Query {
            space: sessions(env.record.id),
            all: vec![Condition { any: vec![due] }],
            from: None,
            until: None,
            cursor: None,
            limit: STEP,
        };
        self.settle_found(env, query, Look::Due).await
    }

    /// Writes down what raised epochs have ended.
    async fn settle_epochs(&self, env: &Env) -> Result<(), Stop> {
        let unsettled = self.to_settle(env);
        for raised in &unsettled {
            let filter = match &raised.scope {
                Whom::All => Filter::default(),
                Whom::User(user) => Filter { user: Some(user.clone()), ..Filter::default() },
                Whom::Tags(tags) => Filter { tags: tags.clone(), ..Filter::default() },
            };
            self.settle_found(env, filter.query(env, false, STEP), Look::Ended).await?;
        }
        let settled: Vec<u64> = unsettled.iter().map(|raised| raised.at).collect();
        if !settled.is_empty() {
            self.settle_epochs_to(env.record.id, &settled).await?;
        }
        Ok(())
    }

    async fn settle_found(&self, env: &Env, mut query: Query, look: Look) -> Result<(), Stop> {
        loop {
            let Page { items, next } = self.store.search(&query).await?;
            let ids = items.iter().filter_map(|found: &Versioned| session_id(&found.record.key)).collect();
            self.settle_all(env.record.id, ids, look).await?;
            match next {
                None => return Ok(()),
                next => query.cursor = next,
            }
        }
    }

    pub(super) async fn settle_all(
        &self,
        env: EnvironmentId,
        ids: Vec<SessionId>,
        look: Look,
    ) -> Result<(), Stop> {
        stream::iter(ids)
            .map(|id| self.settle_one(env, id, look))
            .buffer_unordered(64)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// Looks at one session: writes its end down, or when to look again. One that cannot be read is told of, and does
    /// not keep the others waiting.
    async fn settle_one(&self, env: EnvironmentId, id: SessionId, look: Look) -> Result<(), Stop> {
        match self.settle_living(env, id, look).await {
            Err(Stop::Fault(Fault::Store(StoreError::Damaged(what)))) => {
                tracing::error!(what, "a session could not be looked at");
                Ok(())
            }
            // The environment was removed meanwhile.
            Err(Stop::Refused(_)) => Ok(()),
            other => other,
        }
    }

    async fn settle_living(&self, env: EnvironmentId, id: SessionId, look: Look) -> Result<(), Stop> {
        self.decide(id.bucket(), || async {
            let Some(loaded) = self.load_session(env, id).await? else {
                return Ok(Decision::Answer(()));
            };
            let env = self.env(env)?;
            if !loaded.session.is_live() {
                return Ok(Decision::Answer(()));
            }
            let now = self.now();
            let user = self.load_user(env.record.id, &loaded.session.user).await?;
            let mut stage = Stage::new(id.bucket(), now);
            match settle(self.ground(&env, now), &loaded.session, loaded.seen, user.user.clone()) {
                Some(change) => stage.change(self, &env, &loaded, Some(&user), &change, loaded.seen),
                None if look == Look::Ended => return Ok(Decision::Answer(())),
                None => stage.session(self, &env, Some(&loaded), &loaded.session, loaded.seen),
            }
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }
}

/// Why a session is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Its time may have come; if not, its record says when to look again.
    Due,
    /// It may have ended; if not, its record stays as it is.
    Ended,
}
