//! Activity: who was last seen when. Kept in memory and written in batches (design, section 2).

use super::App;
use super::kept::{Kept, Mark};
use crate::codec::{session_id, session_key};
use crate::host::clock::{instant, pause};
use crate::store::{Batch, Expect, Key, Op, StoreError};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::time::{Millis, Span};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is waiting to be written.
#[derive(Default)]
pub struct Activity {
    waiting: Mutex<HashMap<Key, Waiting>>,
    /// It could not be written the last time, or that takes long: then what waits can get old, and whoever is active
    /// looks at it.
    late: Flag,
}

/// Read by every request and written hardly ever: not in a line of memory with what each of them writes.
#[derive(Default)]
#[repr(align(128))]
struct Flag(AtomicBool);

/// Activity that waits.
#[derive(Clone, Copy)]
struct Waiting {
    /// The last one.
    at: Millis,
    /// What was stored, or on its way, when the first one began to wait.
    stored: Millis,
}

/// A call that takes longer than this counts as one that fails, until it comes back.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many are written in one call.
const CROWD: usize = 4_096;

/// Above this many waiting keys nobody adds to them without waiting for the store, so that a store that cannot be
/// written does not fill the memory.
pub const MOST: usize = 131_072;

impl Activity {
    /// Takes note that a record was active; `stored`: its last activity that had been handed on before.
    pub fn offer(&self, key: Key, at: Millis, stored: Millis) {
        let mut waiting = self.waiting();
        let slot = waiting.entry(key).or_insert(Waiting { at, stored });
        slot.at = slot.at.max(at);
        slot.stored = slot.stored.min(stored);
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
        let before = kept.mark.offered.fetch_max(seen.0, Ordering::SeqCst);
        if seen.0 > before {
            self.offer(session_key(kept.env, kept.id), seen, Millis(before));
        }
    }

    /// Whether what is stored has grown older than half of the idle time while newer activity waited in vain. Costs one
    /// look at a flag, unless the store could not be written.
    pub fn overdue(&self, (env, id): (EnvironmentId, SessionId), idle: Span, now: Millis) -> bool {
        self.late.0.load(Ordering::Relaxed) && {
            let waiting = self.waiting().get(&session_key(env, id)).copied();
            waiting.is_some_and(|waiting| too_old(waiting.stored, idle, now))
        }
    }

    /// What is waiting for a key.
    pub fn known(&self, key: &Key) -> Option<Millis> {
        self.waiting().get(key).map(|waiting| waiting.at)
    }

    /// How many are waiting.
    pub fn waiting_count(&self) -> usize {
        self.waiting().len()
    }

    fn snapshot(&self) -> Vec<(Key, Millis)> {
        self.waiting().iter().map(|(key, waiting)| (key.clone(), waiting.at)).collect()
    }

    /// From now on whoever is active looks at what waits.
    fn be_late(&self, late: bool) {
        self.late.0.store(late, Ordering::Relaxed);
    }

    /// What was written is no longer waiting, unless it was seen again.
    pub(super) fn written(&self, batch: &[(Key, Millis)]) {
        let mut waiting = self.waiting();
        for (key, at) in batch {
            match waiting.get_mut(key) {
                Some(later) if later.at > *at => later.stored = later.stored.max(*at),
                Some(_) => drop(waiting.remove(key)),
                None => {}
            }
        }
        if waiting.capacity() > 4 * CROWD && waiting.len() < CROWD {
            waiting.shrink_to(CROWD);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How old the stored time may be before it is written again: a twentieth of the idle time, between 1 s and 5 minutes. That
/// much earlier, at most, can a session look idle after a crash. Half of
/// the idle time goes before it, so a very short idle time is written with nearly every request.
pub fn resolution(idle: Span) -> Span {
    Span((idle.0 / 20).clamp(1_000, 300_000))
}

/// Whether activity has to be durable before it is answered, `stored` being the last one that is.
pub(super) fn too_old(stored: Millis, idle: Span, now: Millis) -> bool {
    now.since(stored).0 > idle.0 / 2
}

/// The activity that a commit writes along with everything else.
pub(super) fn touched_by(batch: &Batch) -> Vec<(Key, Millis)> {
    let touched = |op: &Op| match op {
        Op::Put { expect: Expect::Version(_) | Expect::Untouched { .. }, record } => {
            Some((record.key.clone(), record.seen?))
        }
        Op::Put { expect: Expect::Absent, .. } | Op::Delete { .. } | Op::Check { .. } => None,
    };
    batch.ops.iter().filter_map(touched).collect()
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
    /// A session was active, which is written soon.
    ///
    /// # Errors
    /// What the store says, when it was waited for because too much waits.
    pub(super) async fn note_seen(
        &self,
        (env, id): (EnvironmentId, SessionId),
        mark: &Mark,
        idle: Span,
        now: Millis,
    ) -> Result<(), StoreError> {
        mark.seen.fetch_max(now.0, Ordering::SeqCst);
        let age = now.since(Millis(mark.offered.load(Ordering::SeqCst)));
        if age >= resolution(idle) || mark.gone.load(Ordering::SeqCst) {
            let before = mark.offered.fetch_max(now.0, Ordering::SeqCst);
            self.activity.offer(session_key(env, id), now, Millis(before));
            self.not_too_many().await?;
        }
        Ok(())
    }

    /// Whether activity at `now` must be durable before it is answered. Then it is also judged in the bucket's turn:
    /// otherwise somebody who does not know of it yet could find the session idle at the same moment. Asked once for a
    /// request, which then does as it was told: the answer may be another one a moment later.
    pub(super) fn must_be_written(
        &self,
        session: (EnvironmentId, SessionId),
        mark: &Mark,
        idle: Span,
        now: Millis,
    ) -> bool {
        too_old(Millis(mark.offered.load(Ordering::SeqCst)), idle, now)
            || self.activity.overdue(session, idle, now)
    }

    /// A session that was loaded to be judged was active, which is written soon: what memory holds of it knows then, too.
    ///
    /// # Errors
    /// As of [`App::note_seen`].
    pub(super) async fn note_loaded(
        &self,
        (env, id): (EnvironmentId, SessionId),
        (seen, offered): (Millis, Millis),
        idle: Span,
        now: Millis,
    ) -> Result<(), StoreError> {
        match self.cache.peek(env, id) {
            Some(kept) => {
                kept.mark.knows(seen, offered);
                self.note_seen((env, id), &kept.mark, idle, now).await
            }
            None => self.note_seen((env, id), &Mark::new(seen, offered, true), idle, now).await,
        }
    }

    /// A session that was loaded to be judged was active; returns once that is durable. False: it ended before that was written.
    /// Another node may have found it idle at the same moment, and one of the two has to be wrong.
    ///
    /// # Errors
    /// What the store says. Then nothing is noted: what could not be written must not look as if it were on its way.
    pub(super) async fn write_seen(
        &self,
        (env, id): (EnvironmentId, SessionId),
        now: Millis,
    ) -> Result<bool, StoreError> {
        let touched = [(session_key(env, id), now)];
        self.store.touch(&touched).await?;
        if let Some(kept) = self.cache.peek(env, id) {
            kept.mark.knows(now, now);
        }
        self.activity.written(&touched);
        Ok(!self.has_others() || self.lives(env, id).await?)
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
            self.write_part(part).await?;
        }
        // Only now: one part that was written says nothing of the others.
        self.activity.be_late(false);
        Ok(batch.len())
    }

    /// Writes a part of what waits. Who is active meanwhile learns soon that it takes its time.
    async fn write_part(&self, part: &[(Key, Millis)]) -> Result<(), StoreError> {
        let mut writing = self.store.touch(part);
        let done = tokio::select! {
            done = &mut writing => done,
            () = pause(PATIENCE) => {
                self.activity.be_late(true);
                writing.await
            }
        };
        if done.is_ok() {
            self.activity.written(part);
        } else {
            self.activity.be_late(true);
        }
        done
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
                self.write_part(part).await?;
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
                let used = Millis(used);
                self.activity.offer(crate::codec::control::access_key_key(key.key.id), used, used);
            }
        }
        debug_assert!(session_id(&crate::codec::control::root_key()).is_none());
    }
}
