//! Ledgers of seats as bytes: one for each tag that has been counted.

use super::bytes::{Reader, Writer};
use super::{Unreadable, damaged, digest, kind, short};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::{Bucket, EnvironmentId, SessionId};
use handstamp_core::policy::Policy;
use handstamp_core::seats::{Held, Ledger};
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;

/// The key of the ledger of a tag.
pub fn seats_key(env: EnvironmentId, tag: &Tag) -> Key {
    Key { space: seats(env), id: short(tag.as_str().as_bytes()) }
}

/// Where it lives: tags lie beside each other no more than users do.
pub fn seats_bucket(env: EnvironmentId, tag: &Tag) -> Bucket {
    let [a, b, ..] = digest(&[&env.0.to_be_bytes(), tag.as_str().as_bytes()]);
    Bucket::new(u16::from_be_bytes([a, b]))
}

/// The ledgers of an environment.
pub const fn seats(env: EnvironmentId) -> Space {
    Space { kind: kind::SEATS, env: env.0 }
}

/// A ledger as a record. Who finds none counts, so one that nobody needs may be forgotten. Format 1 knew one node.
pub fn write_seats(env: EnvironmentId, tag: &Tag, ledger: &Ledger, forget_at: Millis) -> Record {
    Record {
        key: seats_key(env, tag),
        bucket: seats_bucket(env, tag).get(),
        facets: Vec::new(),
        seen: None,
        forget_at: Some(forget_at),
        body: write_body(ledger),
    }
}

/// What the record of a ledger says.
pub fn write_body(ledger: &Ledger) -> Vec<u8> {
    let mut w = Writer::new(2);
    w.list(ledger.bases.iter(), |w, basis| w.fixed(basis));
    w.signed(ledger.counted_at.0);
    w.number(u64::from(ledger.taken));
    w.list(ledger.held.iter(), |w, held| {
        w.fixed(&held.session.0);
        w.signed(held.until.0);
    });
    w.finish()
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_seats(found: &Versioned) -> Result<Ledger, StoreError> {
    let read = || -> Result<Ledger, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1, 2])?;
        let ledger = Ledger {
            bases: if r.format == 1 { vec![r.fixed()?] } else { r.list(Reader::fixed::<16>)? },
            counted_at: Millis(r.signed()?),
            taken: u32::try_from(r.number()?).map_err(|_| Unreadable)?,
            held: r.list(|r| Ok(Held { session: SessionId(r.fixed()?), until: Millis(r.signed()?) }))?,
        };
        r.end()?;
        Ok(ledger)
    };
    read().map_err(|_| damaged(&found.record.key))
}

/// Recognises what a policy says of seats.
pub fn seats_digest(policy: &Policy) -> [u8; 32] {
    let mut w = Writer::new(1);
    for (of, seats) in policy.tag_rules().filter_map(|(of, rules)| Some((of, rules.seats?))) {
        w.text(&of.to_string());
        w.number(u64::from(seats));
    }
    digest(&[&w.finish()])
}
