//! Devices that users are known to have, and challenges that were used, as bytes.

use super::bytes::{Reader, Writer};
use super::session::{read_client, write_client};
use super::{Unreadable, damaged, digest, kind};
use crate::store::{Condition, Facet, FacetRange, Key, Query, Record, Space, StoreError, Versioned};
use handstamp_core::device::challenge::Challenge;
use handstamp_core::device::key::{DeviceId, PublicKey};
use handstamp_core::device::known::Known;
use handstamp_core::facet;
use handstamp_core::id::{Bucket, EnvironmentId, UserId};
use handstamp_core::time::Millis;

/// The key of a device that a user is known to have. Two users of one device have a record each.
pub fn device_key(env: EnvironmentId, user: &UserId, id: DeviceId) -> Key {
    let id = Box::new(digest(&[user.as_str().as_bytes(), &id.0]));
    Key { space: Space { kind: kind::DEVICE, env: env.0 }, id }
}

/// All devices that a user is known to have.
pub fn devices_of(env: EnvironmentId, user: &UserId, limit: u32) -> Query {
    let user = user.as_str().as_bytes();
    let of = FacetRange { name: facet::USER, low: user.into(), high: user.into() };
    Query {
        space: Space { kind: kind::DEVICE, env: env.0 },
        all: vec![Condition { any: vec![of] }],
        from: None,
        until: None,
        cursor: None,
        limit,
    }
}

/// A known device as a record, in the bucket of its user.
pub fn device_record(env: EnvironmentId, bucket: Bucket, known: &Known) -> Record {
    let mut w = Writer::new(1);
    w.text(known.user.as_str());
    w.bytes(known.key.bytes());
    w.option(known.name.as_deref(), Writer::text);
    w.signed(known.first_seen.0);
    w.signed(known.last_seen.0);
    write_client(&mut w, &known.client);
    Record {
        key: device_key(env, &known.user, known.id),
        bucket: bucket.get(),
        facets: vec![Facet { name: facet::USER, value: known.user.as_str().as_bytes().into() }],
        seen: None,
        forget_at: Some(known.forget_at()),
        body: w.finish(),
    }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_device(found: &Versioned) -> Result<Known, StoreError> {
    let read = || -> Result<Known, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let user = UserId::new(r.text()?).map_err(|_| Unreadable)?;
        let key = PublicKey::from_bytes(r.bytes()?).ok_or(Unreadable)?;
        let known = Known {
            user,
            key,
            id: key.id(),
            name: r.option(|r| r.text().map(Into::into))?,
            first_seen: Millis(r.signed()?),
            last_seen: Millis(r.signed()?),
            client: read_client(&mut r)?,
        };
        r.end()?;
        Ok(known)
    };
    read().map_err(|_| damaged(&found.record.key))
}

/// The key of a challenge that was used.
pub fn challenge_key(env: EnvironmentId, challenge: &Challenge) -> Key {
    Key { space: Space { kind: kind::CHALLENGE, env: env.0 }, id: Box::new(challenge.mark) }
}

/// That a challenge was used, as a record in the bucket of who used it: that it is there is all it says.
pub fn challenge_record(env: EnvironmentId, bucket: Bucket, challenge: &Challenge) -> Record {
    Record {
        key: challenge_key(env, challenge),
        bucket: bucket.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: Some(challenge.forget_at()),
        body: Writer::new(1).finish(),
    }
}
