//! A session ends. Ended is terminal: an ended session comes back unchanged from every function here.

use super::{Change, Ground};
use crate::epoch::Raised;
use crate::event::Event;
use crate::expiry;
use crate::refusal::Code;
use crate::session::{By, Client, End, Session};
use crate::time::Millis;
use crate::user::User;

/// Ends a live session and counts it off its user. An ended one stays as it is, without an event.
pub fn finish(session: &Session, user: User, end: End, client: Client) -> Change {
    let mut next = session.clone();
    let event = Event::ended(session, &end, client);
    if !next.end(end) {
        return Change { session: next, user: None, events: Vec::new() };
    }
    let user = User { live: user.live.saturating_sub(1), ..user };
    Change { session: next, user: Some(user), events: vec![event] }
}

/// Somebody ends it: an operator or the application by a key, or the client by logging out.
pub fn revoke(
    session: &Session,
    user: User,
    by: By,
    reason: Option<Box<str>>,
    client: Client,
    now: Millis,
) -> Change {
    let end =
        End { at: now, code: Code::SessionRevoked, by, rule: None, origin: None, evidence: None, reason };
    finish(session, user, end, client)
}

/// It makes room for a newer one.
pub fn evict(session: &Session, user: User, by: By, now: Millis) -> Change {
    let end = End {
        at: now,
        code: Code::SessionEvicted,
        by,
        rule: Some("max_sessions".into()),
        origin: None,
        evidence: None,
        reason: None,
    };
    finish(session, user, end, Client::default())
}

/// What housekeeping writes down of a session that time or an epoch has ended; `None` while neither has. The end is
/// dated to the instant from which every verdict said so.
pub fn settle(ground: Ground<'_>, session: &Session, seen: Millis, user: User) -> Option<Change> {
    if !session.is_live() {
        return None;
    }
    let effective = ground.policy.effective(session.expires_in, session.chain.has_refresh());
    let by_time = expiry::expired(session, seen, &effective, ground.now).map(|refusal| End {
        at: expiry::ends(session, seen, &effective).earliest(),
        code: refusal.code,
        by: By::System,
        rule: Some(refusal.rule.into()),
        origin: refusal.origin,
        evidence: refusal.evidence,
        reason: None,
    });
    let by_epoch = ground.ledger.ended(session).map(end_by_epoch);
    let end = match (by_time, by_epoch) {
        (Some(time), Some(epoch)) => Some(if epoch.at < time.at { epoch } else { time }),
        (time, epoch) => time.or(epoch),
    };
    end.map(|end| finish(session, user, end, Client::default()))
}

fn end_by_epoch(raised: &Raised) -> End {
    End {
        at: raised.when,
        code: Code::SessionRevoked,
        by: raised.by.clone(),
        rule: Some("epoch".into()),
        origin: None,
        evidence: None,
        reason: raised.reason.clone(),
    }
}
