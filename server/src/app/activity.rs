//! Activity: who was last seen when. Kept in memory and written in batches (design, section 2).

use super::App;
use super::kept::{Kept, Mark};
use crate::codec::{session_id, session_key};
use crate::host::clock::instant;
use crate::store::{Key, StoreError};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::time::{Millis, Span};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is waiting to be written.
#[derive(Default)]
pub struct Activity {
    waiting: Mutex<HashMap<Key, Millis>>,
}

/// How many are written in one call.
const CROWD: usize = 4_096;

/// Above this many waiting keys nobody adds to them without waiting for the store, so that a store that cannot be
/// written does not fill the memory.
pub const MOST: usize = 131_072;

impl Activity {
    /// Takes note that a record was active.
    pub fn offer(&self, key: Key, at: Millis) {
        let mut waiting = self.waiting();
        let slot = waiting.entry(key).or_insert(at);
        *slot = (*slot).max(at);
    }

    /// Takes over what an entry that leaves the cache knows. Whoever still holds it either was seen here, or sees that it
    /// is gone and hands its activity on itself: one of the two, in any order of events.
    pub fn leave(&self, kept: &Kept) {
        kept.mark.gone.store(true, Ordering::SeqCst);
        self.take_over(kept);
    }

    /// Takes over what a cache entry knows and has not handed on yet.
    pub fn take_over(&self, kept: &Kept) {
        let seen = kept.mark.last_seen();
        if seen.0 > kept.mark.offered.fetch_max(seen.0, Ordering::SeqCst) {
            self.offer(session_key(kept.env, kept.id), seen);
        }
    }

    /// What is waiting for a key.
    pub fn known(&self, key: &Key) -> Option<Millis> {
        self.waiting().get(key).copied()
    }

    /// How many are waiting.
    pub fn waiting_count(&self) -> usize {
        self.waiting().len()
    }

    fn snapshot(&self) -> Vec<(Key, Millis)> {
        self.waiting().iter().map(|(key, at)| (key.clone(), *at)).collect()
    }

    /// What was written is no longer waiting, unless it was seen again.
    pub(super) fn written(&self, batch: &[(Key, Millis)]) {
        let mut waiting = self.waiting();
        for (key, at) in batch {
            if waiting.get(key).is_some_and(|now| now <= at) {
                waiting.remove(key);
            }
        }
        if waiting.capacity() > 4 * CROWD && waiting.len() < CROWD {
            waiting.shrink_to(CROWD);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Millis>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How old the stored time may be before it is written again: a twentieth of the idle time, between 1 s and 5 minutes. That
/// much earlier, at most, can a session look idle after a crash. Half of
/// the idle time goes before it, so a very short idle time is written with nearly every request.
pub fn resolution(idle: Span) -> Span {
    Span((idle.0 / 20).clamp(1_000, 300_000))
}

/// What is known of a session's activity beside the store.
#[derive(Clone, Copy)]
pub(super) struct Unwritten {
    held: Option<Millis>,
    waiting: Option<Millis>,
}

impl Unwritten {
    /// The last activity, and the last one that is stored or on its way; `stored` was loaded afterwards.
    pub(super) fn over(self, stored: Millis) -> (Millis, Millis) {
        let offered = stored.max(self.waiting.unwrap_or(stored));
        (offered.max(self.held.unwrap_or(offered)), offered)
    }
}

impl App {
    /// A session was active. Returns once that is durable when the stored time is older than half of the idle time, and
    /// says so; else it is written soon.
    ///
    /// # Errors
    /// What the store says, when it was waited for.
    pub(super) async fn seen(
        &self,
        (env, id): (EnvironmentId, SessionId),
        mark: &Mark,
        idle: Span,
        now: Millis,
    ) -> Result<bool, StoreError> {
        mark.seen.fetch_max(now.0, Ordering::SeqCst);
        let age = now.since(Millis(mark.offered.load(Ordering::SeqCst)));
        if mark.must_be_written(idle, now) {
            self.store.touch(&[(session_key(env, id), now)]).await?;
            mark.offered.fetch_max(now.0, Ordering::SeqCst);
            return Ok(true);
        }
        if age >= resolution(idle) || mark.gone.load(Ordering::SeqCst) {
            mark.offered.fetch_max(now.0, Ordering::SeqCst);
            self.activity.offer(session_key(env, id), now);
            self.not_too_many().await?;
        }
        Ok(false)
    }

    /// The same of a session that was loaded to be judged: what memory holds of it knows then, too. False: it ended before
    /// that was written. Another node may have found it idle at the same moment, and one of the two has to be wrong.
    pub(super) async fn seen_loaded(
        &self,
        (env, id): (EnvironmentId, SessionId),
        (seen, offered): (Millis, Millis),
        idle: Span,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let waited = match self.cache.peek(env, id) {
            Some(kept) => {
                kept.mark.knows(seen, offered);
                self.seen((env, id), &kept.mark, idle, now).await?
            }
            None => self.seen((env, id), &Mark::new(seen, offered, true), idle, now).await?,
        };
        Ok(!waited || !self.has_others() || self.lives(env, id).await?)
    }

    /// Waits for the store when too much activity waits for it.
    pub(super) async fn not_too_many(&self) -> Result<(), StoreError> {
        if self.activity.waiting_count() > MOST {
            self.flush_activity().await?;
        }
        Ok(())
    }

    /// The last activity of a session that the store need not know of yet. To be asked before the store is: activity
    /// moves from the cache to what is waiting and from there into the store, and who looks in that order misses none.
    pub(super) fn unwritten(&self, env: EnvironmentId, id: SessionId) -> Unwritten {
        let held = self.cache.peek(env, id).map(|kept| kept.mark.last_seen());
        let waiting = self.activity.known(&session_key(env, id));
        Unwritten { held, waiting }
    }

    /// Writes what is waiting. Called in short turns by housekeeping, and at the end.
    ///
    /// # Errors
    /// What the store says; everything unwritten goes on waiting.
    pub async fn flush_activity(&self) -> Result<usize, StoreError> {
        let batch = self.activity.snapshot();
        for part in batch.chunks(CROWD) {
            self.store.touch(part).await?;
            self.activity.written(part);
        }
        Ok(batch.len())
    }

    /// Writes all activity, also what is not due yet: before leaving. What is due comes first; what `time` does not
    /// suffice for is left, and is within the [`resolution`]. How many were written, and how many left.
    ///
    /// # Errors
    /// What the store says.
    pub async fn flush_all_activity(&self, time: Duration) -> Result<(usize, usize), StoreError> {
        let began = instant();
        let mut written = 0;
        for due in [true, false] {
            if !due {
                self.cache.surrender();
                self.note_key_use();
                self.write_events(true).await?;
            }
            for part in self.activity.snapshot().chunks(CROWD) {
                if began.elapsed() > time {
                    return Ok((written, self.activity.waiting_count()));
                }
                self.store.touch(part).await?;
                self.activity.written(part);
                written += part.len();
            }
        }
        Ok((written, self.activity.waiting_count()))
    }

    /// How many sessions wait for their activity to be written.
    pub fn activity_waiting(&self) -> usize {
        self.activity.waiting_count()
    }

    /// Keys, too, are active.
    pub(super) fn note_key_use(&self) {
        for key in self.control.load().keys() {
            let used = key.used.load(Ordering::Relaxed);
            if key.version > 0 && used > 0 {
                self.activity.offer(crate::codec::control::access_key_key(key.key.id), Millis(used));
            }
        }
        debug_assert!(session_id(&crate::codec::control::root_key()).is_none());
    }
}
