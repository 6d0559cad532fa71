//! When a session is over by time: one function, from which every verdict, list, count, cookie and limit derives.
//!
//! The earliest end counts. What stood when the session was last extended is kept with it, so loosening a policy never
//! revives; a session that is still alive takes over looser times with its next request ([`adopt`]).

use crate::policy::{Effective, Origin, Sourced};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::session::Limits;
use crate::subject::Subject;
use crate::time::{Millis, Span};

/// The rule of [`Ends::absolute`] in refusals and events.
pub const ABSOLUTE: &str = "absolute";
/// The rule of [`Ends::idle`] in refusals and events.
pub const IDLE: &str = "idle";

/// The ends that stand now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ends {
    /// By absolute time, from the last authentication.
    pub absolute: Millis,
    /// By idle time, from the last activity.
    pub idle: Millis,
}

impl Ends {
    /// The earliest.
    pub fn earliest(&self) -> Millis {
        self.absolute.min(self.idle)
    }
}

/// The ends of a live session, `seen` being its last activity.
pub fn ends(session: &impl Subject, seen: Millis, policy: &Effective) -> Ends {
    let times = session.times();
    let (absolute, idle) = limits(session, policy);
    Ends { absolute: times.authenticated_at.plus(absolute.value), idle: seen.plus(idle.value) }
}

/// Whether time has ended a session by `now`: at the very instant of its end it is over.
pub fn expired(session: &impl Subject, seen: Millis, policy: &Effective, now: Millis) -> Option<Refusal> {
    let times = session.times();
    let (absolute, idle) = limits(session, policy);
    let over = |code, rule, from: Millis, limit: Sourced<Span>| {
        (from.plus(limit.value) <= now).then(|| Refusal {
            code,
            rule,
            origin: Some(limit.origin),
            evidence: Some(Evidence::Limit {
                allowed: Value::Span(limit.value),
                seen: Value::Span(now.since(from)),
            }),
        })
    };
    let by_idle = seen.plus(idle.value) < times.authenticated_at.plus(absolute.value);
    let absolute = over(Code::SessionExpired, ABSOLUTE, times.authenticated_at, absolute);
    let idle = over(Code::SessionIdle, IDLE, seen, idle);
    // The one that came first is the reason; at the same instant the absolute one.
    if by_idle { idle.or(absolute) } else { absolute.or(idle) }
}

/// The looser times that a session still alive takes over, if today's policy has any.
pub fn adopt(session: &impl Subject, policy: &Effective) -> Option<Limits> {
    let stored = session.times().limits;
    let (absolute, idle) = today(session.times().expires_in, session.chain().has_refresh(), policy);
    let wider = Limits { absolute: stored.absolute.max(absolute.value), idle: stored.idle.max(idle.value) };
    (wider != stored).then_some(wider)
}

/// What a session gets when it is made now.
pub fn initial(expires_in: Option<Span>, refresh: bool, policy: &Effective) -> Limits {
    let (absolute, idle) = today(expires_in, refresh, policy);
    Limits { absolute: absolute.value, idle: idle.value }
}

/// The lesser of what is stored and what today's policy says, each with its origin.
pub fn limits(session: &impl Subject, policy: &Effective) -> (Sourced<Span>, Sourced<Span>) {
    let times = session.times();
    let (absolute, idle) = today(times.expires_in, session.chain().has_refresh(), policy);
    let lesser = |stored: Span, today: Sourced<Span>| {
        if stored < today.value { Sourced { value: stored, origin: Origin::Stored } } else { today }
    };
    (lesser(times.limits.absolute, absolute), lesser(times.limits.idle, idle))
}

/// What today's policy says of a session. Its type, and what was asked for at its creation, may shorten it, never
/// lengthen it.
fn today(expires_in: Option<Span>, refresh: bool, policy: &Effective) -> (Sourced<Span>, Sourced<Span>) {
    let (base, of_type) = if refresh {
        (&policy.refresh_timeout, &policy.refresh_expires_in)
    } else {
        (&policy.absolute_timeout, &policy.expires_in)
    };
    let base = of_type.as_ref().filter(|life| life.value < base.value).unwrap_or(base);
    let absolute = match expires_in {
        Some(shorter) if shorter < base.value => Sourced { value: shorter, origin: Origin::Creation },
        _ => base.clone(),
    };
    (absolute, policy.idle_timeout.clone())
}
