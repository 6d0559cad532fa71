//! What several nodes must agree on, as records: which line of history this is, who keeps house, and who was erased.

use super::bytes::{Reader, Writer};
use super::{CONTROL, Unreadable, control_key, damaged, kind};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::{EnvironmentId, UserId};
use handstamp_core::lease::Lease;
use handstamp_core::time::{Millis, Span};

/// How long an erasing is remembered: a node that was away for longer comes back without what it had noted.
const ERASED: Span = Span::days(30);

/// The key of what tells one line of history from another: a store that is put back to an earlier copy goes on with the same
/// positions and other events.
pub fn line_key() -> Key {
    control_key(kind::LINE, b"line")
}

/// Some random number as the name of a line.
pub fn write_line(line: u64) -> Record {
    let mut w = Writer::new(1);
    w.fixed(&line.to_be_bytes());
    record(line_key(), w)
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_line(found: &Versioned) -> Result<u64, StoreError> {
    reading(found, |r| Ok(u64::from_be_bytes(r.fixed()?)))
}

/// The key of a lease: of the house, or of a first start.
pub fn lease_key(what: &str) -> Key {
    control_key(kind::LEASE, what.as_bytes())
}

/// A lease as a record.
pub fn write_lease(what: &str, lease: &Lease) -> Record {
    let mut w = Writer::new(1);
    w.fixed(&lease.node);
    w.signed(lease.until.0);
    record(lease_key(what), w)
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_lease(found: &Versioned) -> Result<Lease, StoreError> {
    reading(found, |r| Ok(Lease { node: r.fixed()?, until: Millis(r.signed()?) }))
}

/// The key of what remembers that a user was erased, by what they are called since.
pub fn erased_key(env: EnvironmentId, name: &UserId) -> Key {
    Key { space: Space { kind: kind::ERASED, env: env.0 }, id: name.as_str().as_bytes().into() }
}

/// That a user was erased at an instant. It names nobody.
pub fn write_erased(env: EnvironmentId, name: &UserId, at: Millis) -> Record {
    let mut w = Writer::new(1);
    w.signed(at.0);
    Record { forget_at: Some(at.plus(ERASED)), ..record(erased_key(env, name), w) }
}

/// Reads when.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_erased(found: &Versioned) -> Result<Millis, StoreError> {
    reading(found, |r| Ok(Millis(r.signed()?)))
}

fn record(key: Key, w: Writer) -> Record {
    let bucket = CONTROL.get();
    Record { key, bucket, facets: Vec::new(), seen: None, forget_at: None, body: w.finish() }
}

fn reading<T>(
    found: &Versioned,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Unreadable>,
) -> Result<T, StoreError> {
    let attempt = || {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let value = read(&mut r)?;
        r.end()?;
        Ok(value)
    };
    attempt().map_err(|_: Unreadable| damaged(&found.record.key))
}
