//! How many places in the status lists of an environment were given away, as bytes.

use super::bytes::{Reader, Writer};
use super::{CONTROL, Unreadable, damaged, kind};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::EnvironmentId;

/// The key of that record.
pub fn places_key(env: EnvironmentId) -> Key {
    Key { space: Space { kind: kind::STATUS_PLACES, env: env.0 }, id: Box::new(*b"places") }
}

/// As a record.
pub fn write_places(env: EnvironmentId, given: u64) -> Record {
    let mut w = Writer::new(1);
    w.number(given);
    let (key, bucket, body) = (places_key(env), CONTROL.get(), w.finish());
    Record { key, bucket, facets: Vec::new(), seen: None, forget_at: None, body }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_places(found: &Versioned) -> Result<u64, StoreError> {
    let read = || -> Result<u64, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let given = r.number()?;
        r.end().map(|()| given)
    };
    read().map_err(|_| damaged(&found.record.key))
}
