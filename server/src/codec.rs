//! Records and bytes: the one place that knows how a domain value lies in a store, and what it can be found by.
//!
//! Every body begins with a format byte. A reader takes every format ever written; a body it cannot read is damage,
//! named by its key, never a missing record.

use crate::store::{Facet, Key, NewEvent, Record, Space, StoreError, Versioned};
use handstamp_core::facet;
use handstamp_core::id::{Bucket, EnvironmentId, KeyId, SessionId, UserId};
use handstamp_core::session::{Session, State};
use handstamp_core::time::{Millis, Span};
use handstamp_core::user::User;

pub mod bytes;
pub mod control;
pub mod device;
pub mod event;
pub mod login;
pub mod moving;
pub mod origins;
pub mod packed;
pub mod policy;
pub mod seats;
pub mod session;
pub mod session_type;
pub mod several;
pub mod status;
pub mod token_keys;

/// Kinds of records: the first part of every key.
pub mod kind {
    /// Sessions of an environment.
    pub const SESSION: u8 = 1;
    /// Users of an environment.
    pub const USER: u8 = 2;
    /// Idempotency keys of an environment.
    pub const IDEMPOTENCY: u8 = 3;
    /// Products and environments.
    pub const ENVIRONMENT: u8 = 10;
    /// Access keys and publishable keys.
    pub const ACCESS_KEY: u8 = 11;
    /// One ledger of epochs per environment.
    pub const LEDGER: u8 = 12;
    /// Removed environments whose records are still to be swept away.
    pub const PURGE: u8 = 14;
    /// The times that the sessions of an environment were last looked through under.
    pub const TIMES: u8 = 15;
    /// The policy in force in an environment.
    pub const POLICY: u8 = 16;
    /// Every version of an environment's policy.
    pub const POLICY_VERSION: u8 = 17;
    /// What history says beside sessions. Of the environment itself: there is no record under it, until the environment
    /// is removed. Of logins that were refused: a record for each day, with which its lines are forgotten.
    pub const HISTORY: u8 = 18;
    /// How far privacy is looked after.
    pub const AGING: u8 = 19;
    /// The one record about the store itself.
    pub const ROOT: u8 = 13;
    /// Devices that users of an environment are known to have.
    pub const DEVICE: u8 = 20;
    /// Challenges of an environment that were used.
    pub const CHALLENGE: u8 = 21;
    /// Ledgers of seats of an environment, one for each tag that has been counted.
    pub const SEATS: u8 = 24;
    /// The session types of an environment.
    pub const SESSION_TYPE: u8 = 22;
    /// Origins of pages that an environment knows.
    pub const ORIGINS: u8 = 25;
    /// One-time codes of an environment's logins, each under its session.
    pub const LOGIN: u8 = 26;
    /// The keys behind the access tokens of an environment, one record of all of them.
    pub const TOKEN_KEYS: u8 = 27;
    /// How many places in the status lists of an environment were given away.
    pub const STATUS_PLACES: u8 = 28;
    /// The one record that changes with every change of control records.
    pub const STAMP: u8 = 29;
    /// Which line of history the store is in.
    pub const LINE: u8 = 30;
    /// What one node does for all, and until when.
    pub const LEASE: u8 = 31;
    /// Users of an environment who were erased where there are several nodes, by what they are called since.
    pub const ERASED: u8 = 32;
}

/// Where control records live.
pub const CONTROL: Bucket = Bucket::new(0);

/// A body that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable;

/// The sessions of an environment.
pub const fn sessions(env: EnvironmentId) -> Space {
    Space { kind: kind::SESSION, env: env.0 }
}

/// A session's key.
pub fn session_key(env: EnvironmentId, id: SessionId) -> Key {
    Key { space: sessions(env), id: Box::new(id.0) }
}

/// The session a key names.
pub fn session_id(key: &Key) -> Option<SessionId> {
    (key.space.kind == kind::SESSION).then(|| <[u8; 16]>::try_from(&*key.id).ok().map(SessionId))?
}

/// The users of an environment who have live sessions.
pub const fn users(env: EnvironmentId) -> Space {
    Space { kind: kind::USER, env: env.0 }
}

/// A user's key. User ids longer than a key may be are shortened by a digest.
pub fn user_key(env: EnvironmentId, user: &UserId) -> Key {
    Key { space: users(env), id: short(user.as_str().as_bytes()) }
}

/// The key of an `Idempotency-Key` of one access key.
pub fn idempotency_key(env: EnvironmentId, caller: KeyId, text: &str) -> Key {
    let digest = digest(&[&caller.0, text.as_bytes()]);
    Key { space: Space { kind: kind::IDEMPOTENCY, env: env.0 }, id: Box::new(digest) }
}

/// A control record's key.
pub fn control_key(kind: u8, id: &[u8]) -> Key {
    Key { space: Space { kind, env: 0 }, id: id.into() }
}

/// A session as a record. `due` is when time could end it at the earliest; `seen` its last activity; an ended one is
/// kept for `retention` from its end.
pub fn session_record(
    env: EnvironmentId,
    session: &Session,
    due: Millis,
    seen: Millis,
    retention: Span,
) -> Record {
    let (touchable, forget_at) = match &session.state {
        State::Live => (Some(seen), None),
        // Its end is told for as long as a token of it can live.
        State::Ended(end) => (None, Some(end.at.plus(retention)).max(session.tokens_until)),
    };
    Record {
        key: session_key(env, session.id),
        bucket: session.id.bucket().get(),
        facets: facet::of(session, due)
            .into_iter()
            .map(|(name, value)| Facet { name, value: value.into() })
            .collect(),
        seen: touchable,
        forget_at,
        body: session::write(session, seen),
    }
}

/// Reads a session record: the session and its last activity.
///
/// # Errors
/// [`StoreError::Damaged`], naming the session.
pub fn read_session(found: &Versioned) -> Result<(Session, Millis), StoreError> {
    let id = session_id(&found.record.key).ok_or_else(|| damaged(&found.record.key))?;
    let (session, seen) = session::read(id, &found.record.body).map_err(|_| damaged(&found.record.key))?;
    Ok((session, found.record.seen.unwrap_or(seen)))
}

/// A user as a record.
pub fn user_record(env: EnvironmentId, bucket: Bucket, user: &User) -> Record {
    let mut w = bytes::Writer::new(1);
    w.text(user.id.as_str());
    w.number(u64::from(user.live));
    Record {
        key: user_key(env, &user.id),
        bucket: bucket.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: None,
        body: w.finish(),
    }
}

/// Reads a user record.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_user(found: &Versioned) -> Result<User, StoreError> {
    let read = || -> Result<User, Unreadable> {
        let mut r = bytes::Reader::new(&found.record.body, &[1])?;
        let id = UserId::new(r.text()?).map_err(|_| Unreadable)?;
        let live = u32::try_from(r.number()?).map_err(|_| Unreadable)?;
        r.end()?;
        Ok(User { id, live })
    };
    read().map_err(|_| damaged(&found.record.key))
}

/// What lines about the logins of a day are about that were refused: they go with its record.
pub fn logins_key(env: EnvironmentId, at: Millis) -> Key {
    let day = at.0.div_euclid(Span::days(1).0);
    Key { space: history(env), id: [&b"logins"[..], &day.to_be_bytes()].concat().into() }
}

/// The record of such a day, with a body that says nothing.
pub fn logins_record(env: EnvironmentId, at: Millis, retention: Span) -> Record {
    let ends = Millis(at.0.div_euclid(Span::days(1).0).saturating_add(1).saturating_mul(Span::days(1).0));
    Record {
        key: logins_key(env, at),
        bucket: CONTROL.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: Some(ends.plus(retention)),
        body: vec![1],
    }
}

/// What history has beside sessions.
pub const fn history(env: EnvironmentId) -> Space {
    Space { kind: kind::HISTORY, env: env.0 }
}

/// What lines of history are about that are about no session: the environment.
pub fn history_key(env: EnvironmentId) -> Key {
    Key { space: history(env), id: Box::new(*b"environment") }
}

/// A line of history as the store takes it.
pub fn new_event(env: EnvironmentId, event: &handstamp_core::event::Event) -> NewEvent {
    let subject = match event.session {
        Some(id) => session_key(env, id),
        None if event.is_refused_login() => logins_key(env, event.at),
        None => history_key(env),
    };
    NewEvent { subject, at: event.at, body: event::write(event) }
}

/// SHA-256 over parts whose lengths are written before them.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

fn short(bytes: &[u8]) -> Box<[u8]> {
    if bytes.len() < 32 { bytes.into() } else { Box::new(digest(&[bytes])) }
}

/// The fault for a record that cannot be read.
pub fn damaged(key: &Key) -> StoreError {
    let name = match session_id(key) {
        Some(id) => format!("the record of session {id} cannot be read"),
        None => format!("a record of kind {} cannot be read", key.space.kind),
    };
    StoreError::Damaged(name)
}
