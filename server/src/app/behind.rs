//! What housekeeping is asked to do behind the verdicts: lines of history that no change rides on, and sessions to look
//! at again. Bounded, so that a flood fills neither the memory nor the disk.
//!
//! A refusal that changes nothing is a line at once; the same one again is counted, and the count is a line of its own
//! when its window is over (design, section 5).

use handstamp_core::event::{Event, EventKind};
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::refusal::Refusal;
use handstamp_core::session::Session;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Refusals worth a line; and sessions whose change was decided before an epoch was raised and committed after it.
#[derive(Default)]
pub(super) struct Behind {
    inner: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<Line>,
    counted: HashMap<Same, Counted>,
    /// When the first window of them is over; at the latest then they are looked through.
    soonest: Option<Millis>,
    dropped: u64,
    again: Vec<(EnvironmentId, SessionId)>,
}

/// A line to write.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) env: EnvironmentId,
    /// `None` of a login that made none.
    pub(super) session: Option<SessionId>,
    pub(super) event: Event,
}

/// What makes two refusals the same: whose, whether it passed, code, rule.
type Same = (Whose, EventKind, &'static str, &'static str);

/// Whose request it was.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Whose {
    Session(SessionId),
    /// With the tags, and whoever acts in the user's place: a line tells of one sort of login.
    Login(EnvironmentId, UserId, Box<[Tag]>, Option<UserId>),
}

/// Refusals since the one that was a line of its own.
struct Counted {
    env: EnvironmentId,
    until: Millis,
    /// The first of them, with how many.
    event: Option<Event>,
}

impl Behind {
    const MOST: usize = 1_024;

    /// Takes note of a refusal, or of what was noticed of a request that passed.
    pub(super) fn note(
        &self,
        env: EnvironmentId,
        session: &Session,
        what: &Refusal,
        event: Event,
        now: Millis,
    ) {
        if session.user.is_pseudonym() {
            // Erased: nothing more is collected.
            return;
        }
        let same = (Whose::Session(session.id), event.kind, what.code.text(), what.rule);
        self.count(env, Some(session.id), same, Event::window(session), event, now);
    }

    /// Takes note of a login that was refused: there is no session that the line could be about.
    pub(super) fn note_login(&self, env: EnvironmentId, user: &UserId, refusal: &Refusal, event: Event) {
        let actor = event.actor.as_ref().map(|actor| actor.id.clone());
        let whose = Whose::Login(env, user.clone(), event.tags.clone(), actor);
        let same = (whose, event.kind, refusal.code.text(), refusal.rule);
        let now = event.at;
        self.count(env, None, same, Event::LOGIN_WINDOW, event, now);
    }

    fn count(
        &self,
        env: EnvironmentId,
        session: Option<SessionId>,
        same: Same,
        window: Span,
        event: Event,
        now: Millis,
    ) {
        let mut inner = self.inner();
        inner.close(now);
        if let Some(counted) = inner.counted.get_mut(&same) {
            match &mut counted.event {
                Some(first) => first.count = first.count.saturating_add(1),
                none => *none = Some(event),
            }
        } else if inner.counted.len() < Behind::MOST && inner.lines.len() < Behind::MOST {
            let until = now.plus(window);
            inner.counted.insert(same, Counted { env, until, event: None });
            inner.soonest = Some(inner.soonest.map_or(until, |soonest| soonest.min(until)));
            inner.lines.push(Line { env, session, event });
        } else {
            inner.dropped += 1;
        }
    }

    /// What waits to be written about a user is not written any more.
    pub(super) fn forget(&self, env: EnvironmentId, user: &UserId) {
        self.forget_those(env, |of| of == user);
    }

    /// The same of whoever is meant.
    pub(super) fn forget_those(&self, env: EnvironmentId, is_meant: impl Fn(&UserId) -> bool) {
        let of_user = |event: &Event| event.user.as_ref().is_some_and(&is_meant);
        let mut inner = self.inner();
        inner.lines.retain(|line| line.env != env || !of_user(&line.event));
        inner.counted.retain(|(whose, ..), counted| {
            let login = matches!(whose, Whose::Login(at, of, ..) if *at == env && is_meant(of));
            !login && (counted.env != env || !counted.event.as_ref().is_some_and(&of_user))
        });
    }

    /// Takes what is to be written by `now`; at the end, all.
    pub(super) fn take(&self, now: Millis, all: bool) -> Vec<Line> {
        let mut inner = self.inner();
        inner.close(if all { Millis(i64::MAX) } else { now });
        std::mem::take(&mut inner.lines)
    }

    /// A line could not be written.
    pub(super) fn put_back(&self, line: Line) {
        let mut inner = self.inner();
        if inner.lines.len() < Behind::MOST {
            inner.lines.push(line);
        } else {
            inner.dropped += 1;
        }
    }

    /// How many refusals found no room.
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

impl Waiting {
    /// Whose window is over is no longer counted; what was counted becomes a line.
    fn close(&mut self, now: Millis) {
        if self.soonest.is_none_or(|soonest| soonest > now) {
            return;
        }
        let over = self.counted.extract_if(|_, counted| counted.until <= now);
        for ((whose, ..), counted) in over {
            let session = match whose {
                Whose::Session(id) => Some(id),
                Whose::Login(..) => None,
            };
            let Some(event) = counted.event else { continue };
            if self.lines.len() < Behind::MOST {
                self.lines.push(Line { env: counted.env, session, event });
            } else {
                self.dropped += u64::from(event.count);
            }
        }
        self.soonest = self.counted.values().map(|counted| counted.until).min();
    }
}
