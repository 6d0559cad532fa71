//! Ending a whole environment, tag or user at once: a counter per environment that only rises (design, section 2).
//!
//! A session stores the counter at its creation (`born`) and at the time it got each tag (`since`). Ending many raises
//! the counter by one and notes the scope with the new value; a session is ended by it when the scope fits and what it
//! stored is below. That is exact without any clock: whatever was made before the raise was known is below it.

use crate::id::{SessionId, UserId};
use crate::session::By;
use crate::subject::Subject;
use crate::tag::Tag;
use crate::time::{Millis, Span};

/// Whom a raise ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Every session of the environment.
    All,
    /// Every session of one user.
    User(UserId),
    /// Every session that carries all of these tags (sorted, at least one).
    Tags(Vec<Tag>),
}

/// One raise of the counter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raised {
    /// Whom it ends.
    pub scope: Scope,
    /// The counter's value after it.
    pub at: u64,
    /// When it happened.
    pub when: Millis,
    /// Who did it.
    pub by: By,
    /// The reason the caller gave.
    pub reason: Option<Box<str>>,
    /// The session that was lifted over it, if one was to be kept.
    pub except: Option<SessionId>,
    /// Whether every session that it ended says so itself by now.
    pub settled: bool,
}

/// The raises of one environment that may still matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// The counter.
    pub counter: u64,
    /// In rising order of `at`.
    pub raised: Vec<Raised>,
}

impl Ledger {
    /// How long a settled raise is kept: a creation that began before it cannot be that slow.
    pub const KEPT: Span = Span::days(1);

    /// Raises the counter and notes whom that ends.
    pub fn raise(&mut self, scope: Scope, when: Millis, by: By, reason: Option<Box<str>>) -> u64 {
        self.raise_except(scope, when, by, reason, None).at
    }

    /// The same, where a session was lifted over it. What was noted.
    pub fn raise_except(
        &mut self,
        scope: Scope,
        when: Millis,
        by: By,
        reason: Option<Box<str>>,
        except: Option<SessionId>,
    ) -> Raised {
        self.counter = self.counter.saturating_add(1);
        self.raised.retain(|r| !(r.settled && when.since(r.when) > Ledger::KEPT));
        let raised = Raised { scope, at: self.counter, when, by, reason, except, settled: false };
        self.raised.push(raised.clone());
        raised
    }

    /// The first raise that ended this session, if any did.
    pub fn ended(&self, session: &impl Subject) -> Option<&Raised> {
        // A tag is never older than its session, so nothing that was born at the counter can be below any raise.
        if session.times().born >= self.counter {
            return None;
        }
        self.raised.iter().find(|raised| raised.ends(session))
    }
}

impl Raised {
    /// Whether this raise ended the session.
    pub fn ends(&self, session: &impl Subject) -> bool {
        let born = session.times().born;
        match &self.scope {
            Scope::All => born < self.at,
            Scope::User(user) => born < self.at && session.user() == user.as_str(),
            Scope::Tags(tags) => {
                born < self.at
                    && !tags.is_empty()
                    && tags.iter().all(|tag| {
                        session.tags().any(|(held, since)| held == tag.as_str() && since < self.at)
                    })
            }
        }
    }
}
