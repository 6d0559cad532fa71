//! What housekeeping is asked to do behind the verdicts: lines of history that no change rides on, and sessions to look
//! at again. Bounded, so that a flood fills neither the memory nor the disk.

use crate::codec::new_event;
use crate::store::NewEvent;
use handstamp_core::event::Event;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::refusal::Refusal;
use handstamp_core::session::{By, Client, Session};
use handstamp_core::time::Millis;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Refusals worth a line, the same one once a minute; and sessions whose change was decided before an epoch was raised
/// and committed after it.
#[derive(Default)]
pub(super) struct Behind {
    inner: Mutex<Waiting>,
}
#[derive(Default)]
struct Waiting {
    events: VecDeque<(SessionId, NewEvent)>,
    told: HashMap<(SessionId, &'static str), i64>,
    dropped: u64,
    again: Vec<(EnvironmentId, SessionId)>,
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
        let mut inner = self.inner();
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

    /// The next line to write. It waits on until it is [`Behind::written`].
    pub(super) fn first(&self) -> Option<(SessionId, NewEvent)> {
        self.inner().events.front().cloned()
    }

    /// The first line is written.
    pub(super) fn written(&self) {
        self.inner().events.pop_front();
    }

    /// How many lines found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.inner().dropped
    }

    /// Sessions to look at again. There are never more than changes were under way at one instant.
    pub(super) fn look_again(&self, env: EnvironmentId, ids: &[SessionId]) {
        self.inner().again.extend(ids.iter().map(|id| (env, *id)));
    }

    /// Takes them.
    pub(super) fn take_again(&self) -> Vec<(EnvironmentId, SessionId)> {
        std::mem::take(&mut self.inner().again)
    }

    fn inner(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
