//! Loading records, and committing one transition: the only place where a change meets the store.

use super::cache::Cache;
use super::control::Env;
use super::kept::{Held, Kept, Mark};
use super::{App, Fault, Stop, activity};
use crate::codec::{new_event, read_session, read_user, session_key, session_record, user_key, user_record};
use crate::host::clock::pause;
use crate::store::{Batch, Expect, Op, Record, StoreError, Tally, Versioned};
use handstamp_core::agent::Agent;
use handstamp_core::expiry;
use handstamp_core::id::{Bucket, EnvironmentId, SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::{Client, Session, State};
use handstamp_core::time::Millis;
use handstamp_core::transition::Change;
use handstamp_core::user::User;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A session, freshly loaded.
pub struct Loaded {
    /// The session.
    pub session: Session,
    /// Its last activity, also if it is not written yet.
    pub seen: Millis,
    /// The last activity that is written, or on its way.
    pub offered: Millis,
    /// Its version.
    pub version: u64,
}

impl Loaded {
    /// What must still hold for `after` to take its place. Who ends it because nobody used it has to be right about that:
    /// activity may have been written since it was loaded.
    fn expect(&self, after: &Session) -> Expect {
        let idle = matches!(&after.state, State::Ended(end) if end.code == Code::SessionIdle);
        if idle && self.session.is_live() {
            return Expect::Untouched { version: self.version, since: self.seen };
        }
        Expect::Version(self.version)
    }
}

/// A user's record, freshly loaded, or a new one.
pub struct LoadedUser {
    /// The record.
    pub user: User,
    /// What was there.
    pub expect: Expect,
}

/// How often a transition that others overtook is decided again.
pub(super) const TRIES: u32 = 40;

/// What a decision on loaded records comes to.
pub(super) enum Decision<T> {
    /// Commit this, then answer.
    Commit(Stage, T),
    /// Nothing changes.
    Answer(T),
    /// Somebody came first.
    Again,
}

/// One batch in the making.
pub(super) struct Stage {
    batch: Batch,
    sessions: Vec<SessionId>,
    seats: Vec<(Tally, i64)>,
    /// The environment, and how far its epochs had been raised when this was decided.
    judged: Option<(EnvironmentId, u64)>,
    /// Where a session ended of which an access token could live.
    ended: Option<EnvironmentId>,
}

impl Stage {
    pub(super) fn new(bucket: Bucket, at: Millis) -> Stage {
        Stage {
            batch: Batch {
                bucket: bucket.get(),
                at,
                ops: Vec::new(),
                events: Vec::new(),
                tallies: Vec::new(),
            },
            sessions: Vec::new(),
            seats: Vec::new(),
            judged: None,
            ended: None,
        }
    }

    pub(super) fn op(&mut self, op: Op) {
        self.batch.ops.push(op);
    }

    fn put(&mut self, expect: Expect, record: Record) {
        self.op(Op::Put { expect, record });
    }

    /// A session's next state. `before` is `None` for a new one.
    pub(super) fn session(
        &mut self,
        app: &App,
        env: &Env,
        before: Option<&Loaded>,
        after: &Session,
        seen: Millis,
    ) {
        let id = env.record.id;
        let policy = env.policy.of(after);
        let due = expiry::ends(after, seen, &policy).earliest();
        let record = session_record(id, after, due, seen, app.retention);
        let expect = before.map_or(Expect::Absent, |loaded| loaded.expect(after));
        self.put(expect, record);
        self.sessions.push(after.id);
        self.judged = Some((id, env.ledger.counter));
        tally(&mut self.seats, id, before.map(|b| &b.session), -1);
        tally(&mut self.seats, id, Some(after), 1);
    }

    /// A user's next state; one that is no longer needed is removed. What was loaded must still be there, whatever
    /// becomes of it.
    pub(super) fn user(&mut self, env: &Env, bucket: Bucket, expect: Expect, user: &User) {
        let key = || user_key(env.record.id, &user.id);
        match expect {
            _ if user.is_needed() => self.put(expect, user_record(env.record.id, bucket, user)),
            Expect::Version(_) | Expect::Untouched { .. } => self.op(Op::Delete { key: key(), expect }),
            Expect::Absent => self.op(Op::Check { key: key(), expect }),
        }
    }

    pub(super) fn events(&mut self, env: &Env, events: &[handstamp_core::event::Event]) {
        if events.iter().any(|event| event.tokens_until.is_some()) {
            self.ended = Some(env.record.id);
        }
        self.batch.events.extend(events.iter().map(|event| new_event(env.record.id, event)));
    }

    /// A whole change: session, user where it changes, events.
    pub(super) fn change(
        &mut self,
        app: &App,
        env: &Env,
        before: &Loaded,
        user: Option<&LoadedUser>,
        change: &Change,
        seen: Millis,
    ) {
        self.session(app, env, Some(before), &change.session, seen);
        if let (Some(loaded), Some(user)) = (user, &change.user) {
            self.user(env, change.session.id.bucket(), loaded.expect, user);
        }
        self.events(env, &change.events);
    }
}

/// The counters a live session counts in: all, and one for each name of its tags.
fn tally(seats: &mut Vec<(Tally, i64)>, env: EnvironmentId, session: Option<&Session>, by: i64) {
    let Some(session) = session.filter(|s| s.is_live()) else { return };
    let names: BTreeSet<&str> = session.tags.iter().map(|held| held.tag.name()).collect();
    let mut add = |name: Box<str>| {
        let tally = Tally { env: env.0, name };
        match seats.iter_mut().find(|(known, _)| *known == tally) {
            Some((_, n)) => *n += by,
            None => seats.push((tally, by)),
        }
    };
    add(ALL.into());
    names.into_iter().for_each(|name| add(format!("{TAG}{name}").into()));
}

/// The counter of all live sessions of an environment.
pub const ALL: &str = "live";
/// Before the name of a tag: the counter of live sessions that carry one of that name.
pub const TAG: &str = "tag ";

/// Sessions that the cache forgets before a commit and, when this is dropped, after it.
struct Forgotten {
    cache: Arc<Cache>,
    sessions: Vec<SessionId>,
}

impl Forgotten {
    fn new(cache: Arc<Cache>, sessions: Vec<SessionId>) -> Forgotten {
        sessions.iter().for_each(|id| cache.forget(*id));
        Forgotten { cache, sessions }
    }
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.sessions.iter().for_each(|id| self.cache.forget(*id));
    }
}

impl App {
    /// Loads a session afresh; it must lie where it was looked for. The environment that it is judged in is to be taken
    /// afterwards: see [`App::load`].
    pub(super) async fn load_session(
        &self,
        env: EnvironmentId,
        id: SessionId,
    ) -> Result<Option<Loaded>, StoreError> {
        let loaded = self.load_once(env, id).await?;
        let Some(idle) = loaded.as_ref().filter(|loaded| self.seems_idle(env, loaded)) else {
            return Ok(loaded);
        };
        self.ask_for_activity([(env, id, idle.seen)]).await;
        self.load_once(env, id).await
    }

    /// Whether no record says that it ended.
    pub(super) async fn lives(&self, env: EnvironmentId, id: SessionId) -> Result<bool, StoreError> {
        Ok(self.load_once(env, id).await?.is_some_and(|loaded| loaded.session.is_live()))
    }

    async fn load_once(&self, env: EnvironmentId, id: SessionId) -> Result<Option<Loaded>, StoreError> {
        let unwritten = self.unwritten(env, id);
        let found = self.load(&[session_key(env, id)]).await?;
        let Some(found) = found.into_iter().next().flatten() else { return Ok(None) };
        let (session, stored) = self.read_session(&found)?;
        if !session.is_live() {
            // Another node may have ended it, and who is told so now must not be let in by what is remembered here.
            self.cache.forget(id);
        }
        let (seen, offered) = if session.is_live() { unwritten.over(stored) } else { (stored, stored) };
        Ok(Some(Loaded { session, seen, offered, version: found.version }))
    }

    /// A session as a store gave it. Of one that is older than the reading of user agents, its agents are read now.
    pub(super) fn read_session(&self, found: &Versioned) -> Result<(Session, Millis), StoreError> {
        let (mut session, seen) = read_session(found)?;
        self.know(&mut session.client);
        for client in [&mut session.last_client, &mut session.anchor].into_iter().flatten() {
            self.know(client);
        }
        Ok((session, seen))
    }

    /// Reads the agent of a client, unless somebody has.
    pub(super) fn know(&self, client: &mut Client) {
        if client.agent.is_none() {
            client.agent = self.agent(client.user_agent.as_deref());
        }
    }

    /// What a user agent says; nothing, where there is none.
    pub(super) fn agent(&self, text: Option<&str>) -> Option<Arc<Agent>> {
        text.map(|text| self.agents.parse(text))
    }

    pub(super) async fn load_user(
        &self,
        env: EnvironmentId,
        user: &UserId,
    ) -> Result<LoadedUser, StoreError> {
        let found = self.load(&[user_key(env, user)]).await?;
        match found.into_iter().next().flatten() {
            None => Ok(LoadedUser { user: User::new(user.clone()), expect: Expect::Absent }),
            Some(found) => {
                Ok(LoadedUser { user: read_user(&found)?, expect: Expect::Version(found.version) })
            }
        }
    }

    /// Loads a session into the cache.
    pub(super) async fn fetch(&self, env: &Env, id: SessionId) -> Result<Option<Arc<Kept>>, Fault> {
        self.not_too_many().await?;
        let ticket = self.cache.ticket(id.bucket());
        let Some(loaded) = self.load_session(env.record.id, id).await? else { return Ok(None) };
        let (live, seen, offered) = (loaded.session.is_live(), loaded.seen, loaded.offered);
        let held = self.hold(env, loaded)?;
        let kept = Kept::new(&held, Mark::new(seen, offered, !live));
        if live && let Some(kept) = &kept {
            self.cache.keep(ticket, kept);
        }
        Ok(kept)
    }

    /// A loaded session as it is told of: its data opened, its texts shared.
    pub(super) fn hold(&self, env: &Env, loaded: Loaded) -> Result<Held, Fault> {
        let data = open_data(env, &loaded.session)?.map(Arc::from);
        let mut session = loaded.session;
        session.data = None;
        let shared = [
            self.cache.share_agent(&mut session.client),
            session.last_client.as_mut().is_some_and(|last| self.cache.share_agent(last)),
        ];
        Ok(Held { env: env.record.id, session, data, shared })
    }

    /// Commits a stage. Whatever the outcome, the cache holds nothing older afterwards: also when who asked goes away
    /// while it runs, for a commit that is on its way to the store cannot be taken back.
    pub(super) async fn commit(&self, stage: Stage) -> Result<(), StoreError> {
        let Stage { mut batch, sessions, seats, judged, ended } = stage;
        let touched = activity::touched_by(&batch);
        batch.tallies.extend(seats.into_iter().filter(|(_, n)| *n != 0));
        let forgotten = Forgotten::new(self.cache.clone(), sessions);
        let (store, control, behind) = (self.store.clone(), self.control.clone(), self.behind.clone());
        let waiting = self.activity.clone();
        let told = (!batch.events.is_empty()).then(|| self.told.clone());
        let feeds = ended.map(|env| (self.feeds.clone(), env));
        let began = crate::host::clock::instant();
        let committing = tokio::spawn(async move {
            let outcome = store.commit(batch).await;
            // Also when nobody knows whether it was done: then it may have been.
            if !matches!(outcome, Err(StoreError::Conflict))
                && let Some((id, counter)) = judged
                && control.load().env(id).is_some_and(|env| env.ledger.counter > counter)
            {
                behind.look_again(id, &forgotten.sessions);
            }
            drop(forgotten);
            if outcome.is_ok() {
                waiting.written(&touched);
            }
            if let Some(told) = told {
                told.send_modify(|told| *told = told.wrapping_add(1));
            }
            if let Some((feeds, env)) = feeds {
                feeds.news(env);
            }
            outcome
        });
        let outcome = committing
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("a commit was cut short".to_owned())));
        metrics::histogram!("handstamp_commit_seconds").record(began.elapsed().as_secs_f64());
        outcome
    }

    /// Load, judge, commit: decides again while others come first. The turn of the bucket is held throughout.
    pub(super) async fn decide<T, F, D>(&self, bucket: Bucket, decision: D) -> Result<T, Stop>
    where
        D: FnMut() -> F,
        F: Future<Output = Result<Decision<T>, Stop>>,
    {
        let _turn = self.turns.take(bucket).await;
        self.try_again(decision).await
    }

    /// The same for who has taken another turn, or none.
    pub(super) async fn try_again<T, F, D>(&self, mut decision: D) -> Result<T, Stop>
    where
        D: FnMut() -> F,
        F: Future<Output = Result<Decision<T>, Stop>>,
    {
        for attempt in 0..TRIES {
            match decision().await? {
                Decision::Answer(answer) => return Ok(answer),
                Decision::Again => self.jitter(attempt).await?,
                Decision::Commit(stage, answer) => match self.commit(stage).await {
                    Ok(()) => return Ok(answer),
                    Err(StoreError::Conflict) => self.jitter(attempt).await?,
                    Err(error) => return Err(error.into()),
                },
            }
        }
        Err(Fault::Contended.into())
    }

    /// Up to 2 s in all, a little longer each time, at random.
    pub(super) async fn jitter(&self, attempt: u32) -> Result<(), Fault> {
        let [a, b] = self.draw_bytes::<2>()?;
        let random = u64::from(u16::from_be_bytes([a, b]));
        let most = 1_000u64 << attempt.min(6);
        pause(Duration::from_micros(random * most / 65_536)).await;
        Ok(())
    }
}

/// A session's data in the clear.
pub(super) fn open_data(env: &Env, session: &Session) -> Result<Option<Box<RawValue>>, Fault> {
    let Some(sealed) = &session.data else { return Ok(None) };
    let broken =
        || Fault::Store(StoreError::Damaged(format!("the data of session {} does not open", session.id)));
    let key = env.data_key_of(sealed.key).ok_or_else(broken)?;
    let plain = key.open(env.record.id, session.id, sealed).map_err(|_| broken())?;
    let text = String::from_utf8(plain).map_err(|_| broken())?;
    Ok(Some(RawValue::from_string(text).map_err(|_| broken())?))
}
