//! One-time codes of logins as bytes: one for a session, in its bucket.

use super::bytes::{Reader, Writer};
use super::{Unreadable, damaged, kind};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::login::{Ahead, Challenge, Pending};
use handstamp_core::redirect::ReturnTo;
use handstamp_core::secret::Verifier;
use handstamp_core::time::Millis;

/// The key of the code of a session.
pub fn login_key(env: EnvironmentId, session: SessionId) -> Key {
    Key { space: Space { kind: kind::LOGIN, env: env.0 }, id: Box::new(session.0) }
}

/// A code as a record.
pub fn write_login(env: EnvironmentId, pending: &Pending) -> Record {
    let mut w = Writer::new(1);
    w.fixed(pending.verifier.bytes());
    w.text(pending.ahead.return_to.as_str());
    w.option(pending.ahead.challenge, |w, challenge| w.fixed(challenge.bytes()));
    w.signed(pending.until.0);
    w.option(pending.used_at, |w, at| w.signed(at.0));
    Record {
        key: login_key(env, pending.session),
        bucket: pending.session.bucket().get(),
        facets: Vec::new(),
        seen: None,
        forget_at: Some(pending.forget_at()),
        body: w.finish(),
    }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_login(found: &Versioned) -> Result<Pending, StoreError> {
    let read = || -> Result<Pending, Unreadable> {
        let key = &found.record.key;
        let session = <[u8; 16]>::try_from(&*key.id).map_err(|_| Unreadable)?;
        let mut r = Reader::new(&found.record.body, &[1])?;
        let pending = Pending {
            session: SessionId(session),
            verifier: Verifier::from_bytes(r.fixed()?),
            ahead: Ahead {
                return_to: ReturnTo::parse(r.text()?).ok_or(Unreadable)?,
                challenge: r.option(|r| r.fixed().map(Challenge::from_bytes))?,
            },
            until: Millis(r.signed()?),
            used_at: r.option(|r| r.signed().map(Millis))?,
        };
        r.end()?;
        Ok(pending)
    };
    read().map_err(|_| damaged(&found.record.key))
}
