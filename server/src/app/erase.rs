//! Erasing a user: every session of theirs ends, and nothing personal is left in their records and in history.
//!
//! Lines of history go first, the record that leads to them last: an erasing that is cut short leaves what is not erased
//! under the user's name, and the next one finds it.

use super::callers::Caller;
use super::control::{Env, put};
use super::nodes::message::Said;
use super::records::{Decision, Loaded, Stage};
use super::{App, Fault, Stop};
use crate::codec::several::{erased_key, read_erased, write_erased};
use crate::codec::{CONTROL, event, new_event, session_id, session_key};
use crate::host::clock::pause;
use crate::store::{Amend, Batch, EventQuery, Expect, Key, Op, StoreError};
use handstamp_core::caller::Scope;
use handstamp_core::erasure::{self, Signer};
use handstamp_core::event::{Event, EventKind};
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::{By, Client};
use handstamp_core::time::Millis;
use handstamp_core::transition::Living;
use handstamp_core::transition::finish::{end, revoke};
use std::time::Duration;

/// What was erased.
pub struct Erased {
    /// Where.
    pub environment: String,
    /// What the user is called from now on.
    pub pseudonym: UserId,
    /// When: sessions that were made until then are erased.
    pub at: Millis,
    /// Who asked for it.
    pub by: By,
    /// Sessions that this call ended.
    pub ended: u64,
    /// Sessions whose records held something.
    pub sessions: u64,
    /// Lines of history that held something.
    pub events: u64,
}

/// SHA-256, for the name of a key.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// How many lines are looked at at a time.
const STEP: u32 = 256;
/// How often what others changed meanwhile is looked for again.
const ROUNDS: u32 = 10;
/// How long it takes at most until other nodes have heard that somebody is erased, and have written what they had begun to.
const HEARD: Duration = Duration::from_secs(1);

impl App {
    /// Erases a user. Doing it again does no harm, and finds nothing.
    ///
    /// # Errors
    /// `not_found` for a pseudonym; faults: some of it may be done by then, and the same call does the rest.
    pub async fn erase(&self, caller: &Caller, user: &UserId) -> Result<Erased, Stop> {
        caller.allow(Scope::UsersWrite)?;
        let env = self.env(caller.env.record.id)?;
        if user.is_pseudonym() {
            return Err(Stop::refuse(Code::NotFound, "this is the pseudonym of a user who was erased"));
        }
        let [key, _] = &*self.erasing;
        let mut erased = Erased {
            environment: env.record.name.to_string(),
            pseudonym: erasure::pseudonym(key, env.record.id, user),
            at: self.now(),
            by: caller.by(),
            ended: 0,
            sessions: 0,
            events: 0,
        };
        for round in 0.. {
            let subjects = self.sessions_of(&env, user).await?;
            let ids = subjects.iter().filter_map(session_id).filter(|id| id.made_at() <= erased.at);
            let ids: Vec<SessionId> = ids.collect();
            if ids.is_empty() {
                break;
            }
            if round == ROUNDS {
                return Err(Fault::Contended.into());
            }
            for id in ids {
                self.erase_session(caller, &env, id, user, &mut erased).await?;
            }
        }
        self.behind.forget(env.record.id, user);
        if self.has_others() {
            // First: who does not hear of it, and writes a line later, finds it.
            self.remember_erased(env.record.id, &erased.pseudonym).await?;
            // What they have noted is forgotten, and what they were about to write is written, before it is looked for.
            self.say(Said::Erased { env: env.record.id, name: erased.pseudonym.as_str().into() }).await?;
            pause(HEARD).await;
        }
        self.erase_devices(&env, user).await?;
        for subject in self.beside_sessions(env.record.id).await? {
            erased.events += self.erase_lines(subject, user, &erased.pseudonym).await?;
        }
        if erased.sessions + erased.events > 0 {
            self.note_erasing(&env, &erased).await?;
        }
        self.want_scrub().await?;
        Ok(erased)
    }

    /// From now on no node writes what it noted of the user until now.
    async fn remember_erased(&self, env: EnvironmentId, name: &UserId) -> Result<(), Stop> {
        self.decide(CONTROL, || async {
            let found = self.store.load(&[erased_key(env, name)]).await?.into_iter().next().flatten();
            let mut stage = Stage::new(CONTROL, self.now());
            stage.op(put(write_erased(env, name, self.now()), found.map_or(0, |found| found.version)));
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }

    /// What must hold for a line about a user that was noted at an instant to be written. `None`: the user was erased since.
    pub(super) async fn still_known(
        &self,
        env: EnvironmentId,
        user: &UserId,
        noted: Millis,
    ) -> Result<Option<Op>, StoreError> {
        let [key, _] = &*self.erasing;
        let key = erased_key(env, &erasure::pseudonym(key, env, user));
        let Some(found) = self.store.load(std::slice::from_ref(&key)).await?.into_iter().next().flatten()
        else {
            return Ok(Some(Op::Check { key, expect: Expect::Absent }));
        };
        let expect = Expect::Version(found.version);
        Ok((read_erased(&found)? < noted).then_some(Op::Check { key, expect }))
    }

    /// Another node erased a user: nothing that was noted of them here is written.
    pub(super) fn forget_erased(&self, env: EnvironmentId, name: &str) {
        let [key, _] = &*self.erasing;
        self.behind.forget_those(env, |user| erasure::pseudonym(key, env, user).as_str() == name);
    }

    /// Signs a statement.
    ///
    /// # Errors
    /// A fault, which never comes.
    pub fn sign_statement(&self, message: &[u8]) -> Result<[u8; 64], Fault> {
        Ok(self.signer()?.sign(message))
    }

    /// What verifies signatures of statements.
    ///
    /// # Errors
    /// A fault, which never comes.
    pub fn statement_key(&self) -> Result<[u8; 32], Fault> {
        Ok(self.signer()?.public_key())
    }

    fn signer(&self) -> Result<Signer, Fault> {
        let [_, key] = &*self.erasing;
        Signer::new(key).ok_or(Fault::Entropy)
    }

    /// Ends a session if it is live, and erases it.
    async fn erase_session(
        &self,
        caller: &Caller,
        env: &Env,
        id: SessionId,
        user: &UserId,
        erased: &mut Erased,
    ) -> Result<(), Stop> {
        let ended = self
            .decide(id.bucket(), || async {
                let Some(loaded) = self.load_session(env.record.id, id).await? else {
                    return Ok(Decision::Answer(false));
                };
                let env = self.env(env.record.id)?;
                if !loaded.session.is_live() || loaded.session.user != *user {
                    return Ok(Decision::Answer(false));
                }
                let now = self.now();
                let ground = self.ground(&env, now);
                let known = self.load_user(env.record.id, user).await?;
                let how =
                    |living: Living<'_>, user| revoke(living, user, caller.by(), None, Client::default());
                let Some((change, by_us)) =
                    end(ground, &loaded.session, loaded.seen, known.user.clone(), how)
                else {
                    return Ok(Decision::Answer(false));
                };
                let mut stage = Stage::new(id.bucket(), now);
                stage.change(self, &env, &loaded, Some(&known), &change, loaded.seen);
                Ok(Decision::Commit(stage, by_us))
            })
            .await?;
        erased.ended += u64::from(ended);
        // Nobody else writes about this user meanwhile.
        let turn = self.turns.take(id.bucket()).await;
        erased.events += self.erase_lines(session_key(env.record.id, id), user, &erased.pseudonym).await?;
        let Some(Loaded { session, seen, offered, version }) = self.load_session(env.record.id, id).await?
        else {
            return Ok(());
        };
        if let Some(after) = erasure::session(&session, &erased.pseudonym).filter(|_| session.user == *user) {
            let before = Loaded { session, seen, offered, version };
            let mut stage = Stage::new(id.bucket(), self.now());
            stage.session(self, env, Some(&before), &after, seen);
            match self.commit(stage).await {
                Ok(()) => {
                    erased.sessions += 1;
                    if self.has_others() {
                        // A line that another node wrote before this; after it there is none of this user.
                        let subject = session_key(env.record.id, id);
                        erased.events += self.erase_lines(subject, user, &erased.pseudonym).await?;
                    }
                }
                // Of another node; the next round sees what it left.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(turn);
        Ok(())
    }

    /// Erases what a record's history says of the user; how many lines.
    async fn erase_lines(&self, subject: Key, user: &UserId, name: &UserId) -> Result<u64, Stop> {
        let mut query =
            EventQuery { subject: Some(subject), env: None, after: None, since: None, limit: STEP };
        let mut count = 0;
        loop {
            let page = self.store.history(&query).await?;
            query.after = page.last().map(|last| last.position);
            let full = u32::try_from(page.len()).is_ok_and(|n| n >= STEP);
            let mut lines = Vec::new();
            for stored in page {
                if let Some(after) = erasure::event(&event::read(&stored)?, user, name) {
                    let after = event::write(&after);
                    lines.push(Amend { position: stored.position, before: stored.body, after });
                }
            }
            if !lines.is_empty() {
                count += u64::from(self.store.amend(&lines).await?);
            }
            if !full {
                return Ok(count);
            }
        }
    }

    async fn note_erasing(&self, env: &Env, erased: &Erased) -> Result<(), Stop> {
        let note = format!("sessions: {}, lines of history: {}", erased.sessions, erased.events);
        let line = Event {
            user: Some(erased.pseudonym.clone()),
            note: Some(note.into()),
            ..Event::beside_sessions(EventKind::UserErased, self.now(), erased.by.clone())
        };
        let events = vec![new_event(env.record.id, &line)];
        let (bucket, at) = (CONTROL.get(), line.at);
        self.store.commit(Batch { bucket, at, ops: Vec::new(), events, tallies: Vec::new() }).await?;
        Ok(())
    }
}
