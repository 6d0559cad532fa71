//! What may no longer be kept goes: old addresses and user agents as an operator chose, from sessions and from history;
//! and out of the store's files what was deleted.
//!
//! Sessions are gone through once an hour, oldest last, in small steps; history is gone through once, by positions that
//! are remembered for each switch. Nothing here keeps a request waiting for more than one batch.

use super::control::put;
use super::records::{Decision, Stage};
use super::{App, Stop};
use crate::codec::control::{Aging, aging_key, read_aging, write_aging};
use crate::codec::{CONTROL, event, read_session, sessions};
use crate::store::{Amend, Cursor, EventQuery, Query, Scrubbed, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::privacy::Privacy;
use handstamp_core::time::{Millis, Span};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often sessions are gone through.
const ROUND: Span = Span::hours(1);
/// How many sessions, or lines, one step looks at; and how many steps a second.
const STEP: u32 = 256;
const STEPS: usize = 4;
/// The least time between two times that the files are scrubbed, for writers wait meanwhile.
const BETWEEN_SCRUBS: Span = Span::minutes(10);

/// What is under way.
#[derive(Default)]
pub(super) struct Rounds(Mutex<Round>);

#[derive(Default)]
struct Round {
    privacy: Privacy,
    /// When sessions were begun to be gone through the last time.
    began: Option<Millis>,
    /// Where that stands: environments still to do, and the place in the first of them.
    left: Vec<EnvironmentId>,
    cursor: Option<Cursor>,
    /// For each switch: before that nothing in history is old enough.
    next: [Millis; 4],
    /// Whether anything was changed since the files were to be scrubbed.
    changed: bool,
    scrubbed_at: Option<Millis>,
}

impl Rounds {
    fn now(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// What becomes of addresses and user agents from now on.
    pub fn set_privacy(&self, privacy: Privacy) {
        let mut round = self.rounds.now();
        if round.privacy != privacy {
            // Everything is looked at anew, and soon.
            *round =
                Round { privacy, changed: round.changed, scrubbed_at: round.scrubbed_at, ..Round::default() };
        }
    }

    /// One step of everything that grows old.
    pub(super) async fn age(&self) -> Result<(), Stop> {
        let privacy = self.rounds.now().privacy;
        let Some(earliest) = privacy.earliest() else { return Ok(()) };
        self.age_history(&privacy).await?;
        self.age_sessions(&privacy, earliest).await
    }

    async fn age_history(&self, privacy: &Privacy) -> Result<(), Stop> {
        let now = self.now();
        let due = self.rounds.now().next;
        for (switch, after) in privacy.switches().into_iter().enumerate() {
            let (Some(after), Some(next)) = (after, due.get(switch)) else { continue };
            if *next <= now {
                let next = self.age_lines(privacy, (switch, after), now).await?;
                if let Some(slot) = self.rounds.now().next.get_mut(switch) {
                    *slot = next;
                }
            }
        }
        Ok(())
    }

    /// Goes on with history where one switch stands; when there will be more to do.
    async fn age_lines(
        &self,
        privacy: &Privacy,
        (switch, after): (usize, Span),
        now: Millis,
    ) -> Result<Millis, Stop> {
        let (aging, _) = self.load_aging().await?;
        let begin = aging.through.get(switch).copied().unwrap_or(0);
        let (mut through, mut next) = (begin, now);
        for _ in 0..STEPS {
            let query =
                EventQuery { subject: None, env: None, after: Some(through), since: None, limit: STEP };
            let page = self.store.history(&query).await?;
            let full = u32::try_from(page.len()).is_ok_and(|n| n >= STEP);
            let young = page.iter().position(|stored| now.since(stored.at) < after);
            let mut lines = Vec::new();
            for stored in page.iter().take(young.unwrap_or(page.len())) {
                through = stored.position;
                match event::read(stored) {
                    Ok(line) => lines.extend(privacy.event(&line, now).map(|line| Amend {
                        position: stored.position,
                        before: stored.body.clone(),
                        after: event::write(&line),
                    })),
                    Err(error) => tracing::error!(%error, "a line of history cannot grow old"),
                }
            }
            if !lines.is_empty() {
                self.store.amend(&lines).await?;
                self.rounds.now().changed = true;
            }
            match young.and_then(|young| page.get(young)) {
                Some(young) => next = young.at.plus(after),
                // An end may be dated before it was written; so it is looked again before the whole time is over.
                None if !full => next = now.plus(Span(after.0.min(ROUND.0))),
                None => continue,
            }
            break;
        }
        if through != begin {
            self.change_aging(|aging| {
                if let Some(slot) = aging.through.get_mut(switch) {
                    *slot = through.max(*slot);
                }
            })
            .await?;
        }
        Ok(next)
    }

    async fn age_sessions(&self, privacy: &Privacy, earliest: Span) -> Result<(), Stop> {
        let now = self.now();
        {
            let mut round = self.rounds.now();
            if round.left.is_empty() && round.began.is_none_or(|began| now.since(began) >= ROUND) {
                round.left = self.all_environments().iter().map(|env| env.record.id).collect();
                (round.began, round.cursor) = (Some(now), None);
            }
        }
        // Nothing that a younger session knows is old enough.
        let until: Box<[u8]> = Box::new(SessionId::floor(now.minus(earliest).plus(Span(1))).0);
        for _ in 0..STEPS {
            let (env, cursor) = {
                let round = self.rounds.now();
                let Some(env) = round.left.last() else { break };
                (*env, round.cursor.clone())
            };
            let (space, until) = (sessions(env), Some(until.clone()));
            let query = Query { space, all: Vec::new(), from: None, until, cursor, limit: STEP };
            let page = self.store.search(&query).await?;
            let old = page.items.iter().filter_map(|found| {
                let (session, seen) = read_session(found).ok()?;
                privacy.session(&session, seen, now).map(|_| session.id)
            });
            let old: Vec<SessionId> = old.collect();
            stream::iter(old)
                .map(|id| self.age_session(privacy, env, id))
                .buffer_unordered(16)
                .try_collect::<Vec<()>>()
                .await?;
            let mut round = self.rounds.now();
            round.cursor = page.next;
            if round.cursor.is_none() {
                round.left.pop();
            }
        }
        let done = {
            let mut round = self.rounds.now();
            round.left.is_empty() && std::mem::take(&mut round.changed)
        };
        if done { self.want_scrub().await } else { Ok(()) }
    }

    async fn age_session(&self, privacy: &Privacy, env: EnvironmentId, id: SessionId) -> Result<(), Stop> {
        let aged = self.decide(id.bucket(), || async {
            let Some(loaded) = self.load_session(env, id).await? else {
                return Ok(Decision::Answer(()));
            };
            let env = self.env(env)?;
            let now = self.now();
            let Some(after) = privacy.session(&loaded.session, loaded.seen, now) else {
                return Ok(Decision::Answer(()));
            };
            let mut stage = Stage::new(id.bucket(), now);
            stage.session(self, &env, Some(&loaded), &after, loaded.seen);
            Ok(Decision::Commit(stage, ()))
        });
        match aged.await {
            Ok(()) => {
                self.rounds.now().changed = true;
                Ok(())
            }
            // The environment was removed meanwhile.
            Err(Stop::Refused(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// What was deleted or written over is to be taken out of the files. Durable: a stop does not forget it.
    pub(super) async fn want_scrub(&self) -> Result<(), Stop> {
        self.change_aging(|aging| aging.scrub_wanted += 1).await
    }

    /// Takes out of the files what is to be, at most once in ten minutes.
    pub(super) async fn scrub(&self) -> Result<(), Stop> {
        let (aging, _) = self.load_aging().await?;
        let now = self.now();
        let early = self.rounds.now().scrubbed_at.is_some_and(|at| now.since(at) < BETWEEN_SCRUBS);
        if aging.scrub_wanted == aging.scrubbed || early {
            return Ok(());
        }
        match self.store.scrub().await? {
            Scrubbed::Later => {}
            done => {
                if done == Scrubbed::WrittenOver {
                    tracing::info!(
                        "what was erased is written over; the file is too large to be rewritten while it is used"
                    );
                }
                if done == Scrubbed::Freed {
                    tracing::info!(
                        "what was erased can be asked for no more, and its space is free; the database's logs and backups \
                         keep it for as long as they are kept"
                    );
                }
                self.rounds.now().scrubbed_at = Some(now);
                self.change_aging(|current| current.scrubbed = aging.scrub_wanted).await?;
            }
        }
        Ok(())
    }

    async fn load_aging(&self) -> Result<(Aging, u64), StoreError> {
        let found = self.store.load(&[aging_key()]).await?.into_iter().next().flatten();
        match found {
            None => Ok((Aging::default(), 0)),
            Some(found) => Ok((read_aging(&found)?, found.version)),
        }
    }

    async fn change_aging(&self, change: impl Fn(&mut Aging)) -> Result<(), Stop> {
        self.decide(CONTROL, || async {
            let (before, version) = self.load_aging().await?;
            let mut aging = before;
            change(&mut aging);
            if aging == before {
                return Ok(Decision::Answer(()));
            }
            let mut stage = Stage::new(CONTROL, self.now());
            stage.op(put(write_aging(&aging), version));
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }
}
