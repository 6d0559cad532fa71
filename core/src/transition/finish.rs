//! A session ends. Ended is terminal: an ended session comes back unchanged from every function here.

use super::{Change, Ground, Living};
use crate::ending::{Ending, ending};
use crate::event::Event;
use crate::limit::Limit;
use crate::refusal::Code;
use crate::session::{By, Client, End, Session};
use crate::time::Millis;
use crate::user::User;

/// Ends a live session and counts it off its user. An ended one stays as it is, without an event.
pub(super) fn finish(session: &Session, user: User, end: End, client: Client) -> Change {
    let mut next = session.clone();
    let event = Event::ended(session, &end, client);
    if !next.end(end) {
        return Change { session: next, user: None, events: Vec::new() };
    }
    let user = User { live: user.live.saturating_sub(1), ..user };
    Change { session: next, user: Some(user), events: vec![event] }
}

/// Somebody ends it: an operator or the application by a key, or the client by logging out.
pub fn revoke(living: Living<'_>, user: User, by: By, reason: Option<Box<str>>, client: Client) -> Change {
    let at = living.ground.now;
    let end = End { at, code: Code::SessionRevoked, by, rule: None, origin: None, evidence: None, reason };
    finish(living.session, user, end, client)
}

/// It makes room for another one, of `current` that count.
pub fn evict(living: Living<'_>, user: User, limit: &Limit, current: u32) -> Change {
    let end = End {
        at: living.ground.now,
        code: Code::SessionEvicted,
        by: By::System,
        rule: Some(limit.rule.into()),
        origin: Some(limit.origin.clone()),
        evidence: Some(limit.evidence(current)),
        reason: None,
    };
    finish(living.session, user, end, Client::default())
}

/// Somebody asks for the end of a session, and is told of it once it is stored: it ends as `how` says while it lives, else as time or
/// an epoch has ended it already, which is written down then, for activity that is on its way into the store could prove
/// that wrong afterwards. Says whether it was `how`; `None`: its record says already that it ended.
pub fn end<'a>(
    ground: Ground<'a>,
    session: &'a Session,
    seen: Millis,
    user: User,
    how: impl FnOnce(Living<'a>, User) -> Change,
) -> Option<(Change, bool)> {
    match ground.living(session, seen) {
        Ok(living) => Some((how(living, user), true)),
        Err(_) => settle(ground, session, seen, user).map(|change| (change, false)),
    }
}

/// What housekeeping writes down of a session that time or an epoch has ended; `None` while neither has. The end is
/// dated to the instant from which every verdict said so.
pub fn settle(ground: Ground<'_>, session: &Session, seen: Millis, user: User) -> Option<Change> {
    let effective = ground.policy.of(session);
    let end = ending(session, seen, ground.ledger, &effective, ground.now).and_then(Ending::unwritten)?;
    Some(finish(session, user, end, Client::default()))
}
