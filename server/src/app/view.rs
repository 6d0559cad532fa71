//! What is told of a session: every time in it comes from the one function that decides expiry.

use super::control::Env;
use super::kept::{Held, Kept};
use super::nodes::Good;
use super::records::Loaded;
use super::{App, Fault};
use crate::codec::packed::Outline;
use handstamp_core::expiry::{self, Ends};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::policy::Policy;
use handstamp_core::session::{End, Session, State};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::finish;
use handstamp_core::user::User;
use std::sync::Arc;

/// A session at an instant, as memory has it: live, and with no data of its own.
pub struct Current {
    /// The session.
    pub kept: Arc<Kept>,
    /// How it is read.
    pub outline: Outline,
    /// Its last activity.
    pub seen: Millis,
    /// When time ends it.
    pub ends: Ends,
    /// How long this may be told: see [`App::is_good`].
    pub good: Good,
}

impl Current {
    pub(super) fn whose(&self) -> (EnvironmentId, SessionId) {
        (self.kept.env, self.kept.id)
    }
    /// See [`View::idle`].
    pub(super) fn idle(&self) -> Span {
        self.ends.idle.since(self.seen)
    }
}

/// A session at an instant.
pub struct View {
    /// The session with its data in the clear.
    pub held: Box<Held>,
    /// Its last activity.
    pub seen: Millis,
    /// When time ends it.
    pub ends: Ends,
    /// How it ended, also if nobody has written that down yet.
    pub ended: Option<Box<End>>,
}

impl View {
    /// The session.
    pub fn session(&self) -> &Session {
        &self.held.session
    }

    /// The idle time that stands now: the lesser of what is stored and what today's policy says.
    pub(super) fn idle(&self) -> Span {
        self.ends.idle.since(self.seen)
    }
}

impl App {
    /// A loaded session at `now`.
    pub(super) fn view(&self, env: &Env, loaded: Loaded, now: Millis) -> Result<View, Fault> {
        let ended = self.ended(env, &loaded.session, loaded.seen, now);
        let seen = loaded.seen;
        let held = Box::new(self.hold(env, loaded)?);
        let ends = ends(&env.policy, &held.session, seen);
        Ok(View { held, seen, ends, ended })
    }

    /// How a loaded session has ended by `now`, if it has: written down, or by time or epoch.
    pub(super) fn ended(&self, env: &Env, session: &Session, seen: Millis, now: Millis) -> Option<Box<End>> {
        let end = self.end_of(env, session, seen, now);
        if end.is_some() {
            // Another node may have ended it, or changed what it is judged by, and who is told so now must not be let in by what
            // is remembered here.
            self.cache.forget(session.id);
        }
        end
    }

    fn end_of(&self, env: &Env, session: &Session, seen: Millis, now: Millis) -> Option<Box<End>> {
        if let State::Ended(end) = &session.state {
            return Some(end.clone());
        }
        let settled = finish::settle(self.ground(env, now), session, seen, User::new(session.user.clone()))?;
        match settled.session.state {
            State::Ended(end) => Some(end),
            State::Live => None,
        }
    }
}

/// When time ends a session.
pub(super) fn ends(policy: &Policy, session: &Session, seen: Millis) -> Ends {
    expiry::ends(session, seen, &policy.of(session))
}
