//! What time brings about: activity is written, sessions that time or an epoch has ended say so in their records and in
//! history, and what is past its retention is forgotten. Nothing here decides a verdict; verdicts do not wait for it.

use super::control::Env;
use super::records::{Decision, Stage};
use super::search::{Filter, Which};
use super::{App, Stop};
use crate::codec::{control_key, kind, new_event, session_id, sessions};
use crate::host::clock::pause;
use crate::store::{Batch, Condition, Expect, FacetRange, NewEvent, Op, Query, Record, Space};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::epoch::Scope as Whom;
use handstamp_core::event::Event;
use handstamp_core::facet;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::refusal::Refusal;
use handstamp_core::session::{By, Client, Session};
use handstamp_core::time::Millis;
use handstamp_core::transition::finish::settle;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many records one step looks at.
const STEP: u32 = 256;

/// Events that no change rides on: refusals worth a line. Bounded; the same one counts once a minute.
#[derive(Default)]
pub(super) struct Behind {
    inner: Mutex<Waiting>,
}
#[derive(Default)]
struct Waiting {
    events: VecDeque<(SessionId, NewEvent)>,
    told: HashMap<(SessionId, &'static str), i64>,
    dropped: u64,
}

impl Behind {
    const MOST: usize = 1_024;

    /// Remembers to write that a refusal happened.
    pub(super) fn note(
        &self,
        env: EnvironmentId,
        session: &Session,
        refusal: &Refusal,
        client: &Client,
        now: Millis,
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.0 / 60_000;
        if inner.told.len() >= Behind::MOST {
            inner.told.retain(|_, told| *told == minute);
        }
        if inner.told.get(&(session.id, refusal.code.text())) == Some(&minute) {
            return;
        }
        if inner.events.len() >= Behind::MOST || inner.told.len() >= Behind::MOST {
            inner.dropped += 1;
            return;
        }
        inner.told.insert((session.id, refusal.code.text()), minute);
        let event = Event {
            note: Some("store_behind".into()),
            ..Event::refused(session, refusal, now, By::Client, client.clone())
        };
        inner.events.push_back((session.id, new_event(env, &event)));
    }

    fn take(&self) -> Vec<(SessionId, NewEvent)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).events.drain(..).collect()
    }

    fn dropped(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}

impl App {
    /// Runs until told to stop: activity four times a second, the rest once a second.
    pub async fn keep_house(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let mut turn = 0u32;
        loop {
            tokio::select! {
                () = pause(Duration::from_millis(250)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(240) {
                self.note_key_use();
            }
            if let Err(error) = self.flush_activity().await {
                tracing::warn!(%error, "activity could not be written; it is kept and tried again");
                continue;
            }
            if turn.is_multiple_of(4)
                && let Err(Stop::Fault(fault)) = self.tidy().await
            {
                tracing::warn!(%fault, "housekeeping could not go on; it will try again");
            }
        }
    }

    /// One round of everything but activity.
    ///
    /// # Errors
    /// Faults.
    pub async fn tidy(&self) -> Result<(), Stop> {
        for (id, event) in self.behind.take() {
            let batch = Batch {
                bucket: id.bucket().get(),
                at: event.at,
                ops: Vec::new(),
                events: vec![event],
                tallies: Vec::new(),
            };
            self.store.commit(batch).await?;
        }
        {
            let _turn = self.control_turn.lock().await;
            self.reload_control().await?;
        }
        self.write_observed().await?;
        for env in self.all_environments() {
            self.settle_due(&env).await?;
            self.settle_epochs(&env).await?;
        }
        self.purge().await?;
        while self.store.sweep(self.now(), STEP).await? == STEP {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// How many events found no room.
    pub fn events_dropped(&self) -> u64 {
        self.behind.dropped()
    }

    /// Writes down the ends of sessions whose time has come.
    pub(super) async fn settle_due(&self, env: &Env) -> Result<(), Stop> {
        let mut query = Query {
            space: sessions(env.record.id),
            all: vec![Condition {
                any: vec![FacetRange {
                    name: facet::DUE,
                    low: Box::new([]),
                    high: Box::new(facet::instant(self.now())),
                }],
            }],
            from: None,
            until: None,
            cursor: None,
            limit: STEP,
        };
        loop {
            let page = self.store.search(&query).await?;
            let ids: Vec<_> = page.items.iter().filter_map(|found| session_id(&found.record.key)).collect();
            self.settle_all(env, ids).await?;
            match page.next {
                None => return Ok(()),
                next => query.cursor = next,
            }
        }
    }

    /// Writes down what raised epochs have ended.
    async fn settle_epochs(&self, env: &Env) -> Result<(), Stop> {
        for raised in env.ledger.raised.iter().filter(|r| !r.settled) {
            let filter = match &raised.scope {
                Whom::All => Filter { which: Which::All, ..Filter::default() },
                Whom::User(user) => {
                    Filter { user: Some(user.clone()), which: Which::All, ..Filter::default() }
                }
                Whom::Tags(tags) => Filter { tags: tags.clone(), which: Which::All, ..Filter::default() },
            };
            let mut cursor = None;
            loop {
                let (found, next) = self.candidates(env, &filter, STEP, cursor).await?;
                let ids = found.iter().filter(|l| l.session.is_live()).map(|l| l.session.id).collect();
                self.settle_all(env, ids).await?;
                match next {
                    None => break,
                    next => cursor = next,
                }
            }
            self.settle_epoch(env.record.id, raised.at).await?;
        }
        Ok(())
    }

    async fn settle_all(&self, env: &Env, ids: Vec<SessionId>) -> Result<(), Stop> {
        stream::iter(ids)
            .map(|id| self.settle_one(env, id))
            .buffer_unordered(64)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// Looks at one session: writes its end down, or when to look again.
    async fn settle_one(&self, env: &Env, id: SessionId) -> Result<(), Stop> {
        self.decide(id.bucket(), || async {
            let env = self.env(env.record.id)?;
            let Some(loaded) = self.load_session(env.record.id, id).await? else {
                return Ok(Decision::Answer(()));
            };
            if !loaded.session.is_live() {
                return Ok(Decision::Answer(()));
            }
            let now = self.now();
            let policy = self.policy.load();
            let user = self.load_user(env.record.id, &loaded.session.user).await?;
            let mut stage = Stage::new(id.bucket(), now);
            match settle(self.ground(&env, &policy, now), &loaded.session, loaded.seen, user.user.clone()) {
                Some(change) => stage.change(self, &env, &loaded, Some(&user), &change, loaded.seen),
                None => stage.session(self, &env, Some(&loaded), &loaded.session, loaded.seen),
            }
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }

    /// Marks the records of removed environments as to be forgotten, step by step.
    async fn purge(&self) -> Result<(), Stop> {
        let mut marks = query(Space { kind: kind::PURGE, env: 0 });
        let removed = self.store.search(&marks).await?;
        marks.limit = STEP;
        for mark in removed.items {
            let Ok(id) = <[u8; 8]>::try_from(&*mark.record.key.id) else { continue };
            let env = u64::from_be_bytes(id);
            let mut done = true;
            for kind in [kind::SESSION, kind::USER, kind::IDEMPOTENCY] {
                let mut search = query(Space { kind, env });
                loop {
                    let page = self.store.search(&search).await?;
                    for found in page.items.into_iter().filter(|f| f.record.forget_at != Some(Millis(0))) {
                        let record = Record {
                            facets: Vec::new(),
                            seen: None,
                            forget_at: Some(Millis(0)),
                            body: Vec::new(),
                            ..found.record
                        };
                        let op = Op::Put { expect: Expect::Version(found.version), record };
                        done &= self.store.commit(single(self.now(), op)).await.is_ok();
                    }
                    match page.next {
                        None => break,
                        next => search.cursor = next,
                    }
                }
            }
            if done {
                let op =
                    Op::Delete { key: control_key(kind::PURGE, &id), expect: Expect::Version(mark.version) };
                self.store.commit(single(self.now(), op)).await?;
            }
        }
        Ok(())
    }
}

fn single(at: Millis, op: Op) -> Batch {
    let bucket = match &op {
        Op::Put { record, .. } => record.bucket,
        Op::Delete { .. } | Op::Check { .. } => crate::codec::CONTROL.get(),
    };
    Batch { bucket, at, ops: vec![op], events: Vec::new(), tallies: Vec::new() }
}

const fn query(space: Space) -> Query {
    Query { space, all: Vec::new(), from: None, until: None, cursor: None, limit: STEP }
}
