//! What ended a session: its record, an epoch or time, whichever came first. One function, from which every verdict,
//! list, count, limit and housekeeping derives, so that they cannot tell different stories.

use crate::epoch::{Ledger, Raised};
use crate::expiry;
use crate::limit;
use crate::policy::Effective;
use crate::refusal::{Code, Refusal};
use crate::session::{By, End};
use crate::subject::Subject;
use crate::time::Millis;

/// What ended a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending<'a> {
    /// Its own record says so.
    Recorded(&'a End),
    /// A raise of an epoch, from this instant on; no record says so yet.
    Raised(Millis, &'a Raised),
    /// Time, from this instant on; no record says so yet.
    Time(Millis, Refusal),
}

/// What has ended the session by `now`, `seen` being its last activity; `None` while it lives.
///
/// Of an epoch and time, the one that came first is the reason, at the same instant time. The other one cannot change
/// that afterwards, so the reason stays the same before and after housekeeping has written it down.
pub fn ending<'a>(
    session: &'a impl Subject,
    seen: Millis,
    ledger: &'a Ledger,
    policy: &Effective,
    now: Millis,
) -> Option<Ending<'a>> {
    if let Some(end) = session.end() {
        return Some(Ending::Recorded(end));
    }
    // A creation that did not know of the raise yet may be dated after it.
    let raised = ledger.ended(session).map(|raised| (raised.when.max(session.times().created_at), raised));
    // Where a policy became tighter, the new end may lie before requests that were rightly allowed.
    let time = expiry::expired(session, seen, policy, now)
        .map(|refusal| (expiry::ends(session, seen, policy).earliest().max(seen), refusal));
    match (raised, time) {
        (None, None) => None,
        (Some((when, raised)), None) => Some(Ending::Raised(when, raised)),
        (Some((when, raised)), Some((at, _))) if when < at => Some(Ending::Raised(when, raised)),
        (_, Some((at, refusal))) => Some(Ending::Time(at, refusal)),
    }
}

impl Ending<'_> {
    /// What whoever asks is told.
    pub fn refusal(self) -> Refusal {
        match self {
            Ending::Recorded(end) => Refusal {
                code: end.code,
                rule: rule(end),
                origin: end.origin.clone(),
                evidence: end.evidence.clone(),
            },
            Ending::Raised(..) => Refusal::plain(Code::SessionRevoked, EPOCH),
            Ending::Time(_, refusal) => refusal,
        }
    }

    /// What is to be written down; `None` when it is.
    pub fn unwritten(self) -> Option<End> {
        match self {
            Ending::Recorded(_) => None,
            Ending::Raised(at, raised) => Some(End {
                at,
                code: Code::SessionRevoked,
                by: raised.by.clone(),
                rule: Some(EPOCH.into()),
                origin: None,
                evidence: None,
                reason: raised.reason.clone(),
            }),
            Ending::Time(at, refusal) => Some(End {
                at,
                code: refusal.code,
                by: By::System,
                rule: Some(refusal.rule.into()),
                origin: refusal.origin,
                evidence: refusal.evidence,
                reason: None,
            }),
        }
    }
}

const EPOCH: &str = "epoch";

/// The name of the rule that ended it, as it was before the end was written down.
fn rule(end: &End) -> &'static str {
    let known = [
        expiry::ABSOLUTE,
        expiry::IDLE,
        crate::rotation::RULE,
        limit::RULE,
        limit::SEATS,
        crate::address::rule::CHANGE,
        crate::agent::rule::RULE,
        EPOCH,
    ];
    let named = end.rule.as_deref();
    known.into_iter().find(|rule| Some(*rule) == named).unwrap_or("ended")
}
