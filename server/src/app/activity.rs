//! Activity: who was last seen when. Kept in memory and written in batches (design, section 2).

use super::App;
use super::cache::Held;
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

/// Above this many waiting keys the next flush is not waited for.
const CROWD: usize = 4_096;
/// More than this many keys never wait.
const MOST: usize = 262_144;

impl Activity {
    /// Takes note that a record was active. Says no when too many are waiting; then the record is offered again with
    /// its next request, or is written a resolution late.
    pub fn offer(&self, key: Key, at: Millis) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST && !waiting.contains_key(&key) {
            return false;
        }
        let slot = waiting.entry(key).or_insert(at);
        *slot = (*slot).max(at);
        true
    }

    /// Takes over what a cache entry knows and has not handed on yet.
    pub fn take_over(&self, id: SessionId, held: &Held) {
        let seen = held.seen.load(Ordering::Relaxed);
        if seen > held.offered.fetch_max(seen, Ordering::Relaxed) {
            self.offer(session_key(held.env, id), Millis(seen));
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
    fn written(&self, batch: &[(Key, Millis)]) {
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

/// How old the stored time may be before it is written again: a twentieth of the idle time, between 1 s and 5 minutes.
/// That much earlier, at most, can a session look idle after a crash.
pub fn resolution(idle: Span) -> Span {
    Span((idle.0 / 20).clamp(1_000, 300_000))
}

impl App {
    /// A session was active. Returns once that is durable when the stored time is older than half of the idle time;
    /// else it is written soon.
    ///
    /// # Errors
    /// What the store says, when it was waited for.
    pub(super) async fn seen(&self, held: &Held, idle: Span, now: Millis) -> Result<(), StoreError> {
        held.seen.fetch_max(now.0, Ordering::Relaxed);
        let offered = Millis(held.offered.load(Ordering::Relaxed));
        let age = now.since(offered);
        if age < resolution(idle) {
            return Ok(());
        }
        let key = session_key(held.env, held.session.id);
        if age.0 > idle.0 / 2 {
            self.store.touch(&[(key, now)]).await?;
            held.offered.fetch_max(now.0, Ordering::Relaxed);
            return Ok(());
        }
        if self.activity.offer(key, now) {
            held.offered.fetch_max(now.0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The last activity of a session, whatever the store says of it.
    pub(super) fn last_seen(&self, env: EnvironmentId, id: SessionId, stored: Millis) -> Millis {
        let waiting = self.activity.known(&session_key(env, id));
        let held = self.cache.peek(id).map(|held| held.last_seen());
        stored.max(waiting.unwrap_or(stored)).max(held.unwrap_or(stored))
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
            }
            let batch = self.activity.snapshot();
            for part in batch.chunks(CROWD) {
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
