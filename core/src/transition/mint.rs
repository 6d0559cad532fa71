//! An access token is made of a session: the session remembers until when one of it can live, so that its end is told to
//! those who verify such tokens without asking for exactly as long as that matters.

use super::{Change, Living};
use crate::jose::claims::LONGEST_LIFE;
use crate::session::Session;
use crate::signing::LEEWAY;
use crate::time::{Millis, Span};

/// The longest that an access token can pass with somebody: what ended it need not be told for longer.
pub const LONGEST: Span = Span(LONGEST_LIFE.0 + LEEWAY.0);

/// A live session of which a token is made that lives until `until`, `index` being its place in the status lists if it is
/// to have one. `None`: it says so already, and nothing is to be written.
///
/// What is written says as long again, so that of the tokens that follow each other only every second one is paid for
/// with a write. A place that a session has stays what it is.
pub fn mint(living: Living<'_>, until: Millis, index: Option<u64>) -> Option<Change> {
    let session = minted(living.session, until, index, living.ground.now)?;
    Some(Change { session, user: None, events: Vec::new() })
}

/// The same of a session that is only just being made, and lives.
pub fn minted(session: &Session, until: Millis, index: Option<u64>, now: Millis) -> Option<Session> {
    // Who reads tokens may have a clock that is behind, or allow for one: an end is told for that much longer.
    let needed = until.plus(LEEWAY);
    let said = session.tokens_until.is_some_and(|known| known >= needed);
    if said && (session.status_index.is_some() || index.is_none()) {
        return None;
    }
    let until = if said { needed } else { needed.plus(until.since(now)) };
    Some(Session {
        tokens_until: session.tokens_until.max(Some(until)),
        status_index: session.status_index.or(index),
        ..session.clone()
    })
}
