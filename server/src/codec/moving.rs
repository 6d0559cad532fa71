//! What a store says of itself when it is moved to another one: a note beside its root.
//!
//! A store with no note, or one that has arrived, is a store like any other. One that is being filled is not whole yet, and
//! one that has moved away is whole and old: no service may work on either.

use super::bytes::{Reader, Writer};
use super::{CONTROL, Unreadable, control_key, damaged, kind};
use crate::store::{Key, Record, StoreError, Versioned};
use handstamp_core::time::Millis;

/// Where a store stands in a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It is being filled. The digest of the other store's root says which store that is.
    Filling {
        /// SHA-256.
        root: [u8; 32],
    },
    /// Everything in it lives on in the other store.
    Gone,
    /// Everything came from the other store.
    Arrived,
}

/// A store's note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moving {
    /// Drawn for the move; both stores have the same.
    pub id: [u8; 16],
    /// The other store's address, without what is secret in it.
    pub other: String,
    /// When it came to this.
    pub at: Millis,
    /// Where it stands.
    pub stage: Stage,
}

/// The key of the note.
pub fn moving_key() -> Key {
    control_key(kind::ROOT, b"moving")
}

/// The note as a record.
pub fn write_moving(moving: &Moving) -> Record {
    let mut w = Writer::new(1);
    w.fixed(&moving.id);
    w.text(&moving.other);
    w.signed(moving.at.0);
    match &moving.stage {
        Stage::Filling { root } => {
            w.byte(0);
            w.fixed(root);
        }
        Stage::Gone => w.byte(1),
        Stage::Arrived => w.byte(2),
    }
    let body = w.finish();
    Record { key: moving_key(), bucket: CONTROL.get(), facets: Vec::new(), seen: None, forget_at: None, body }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_moving(found: &Versioned) -> Result<Moving, StoreError> {
    let read = || -> Result<Moving, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let (id, other, at) = (r.fixed()?, r.text()?.to_owned(), Millis(r.signed()?));
        let stage = match r.byte()? {
            0 => Stage::Filling { root: r.fixed()? },
            1 => Stage::Gone,
            2 => Stage::Arrived,
            _ => return Err(Unreadable),
        };
        r.end()?;
        Ok(Moving { id, other, at, stage })
    };
    read().map_err(|_| damaged(&found.record.key))
}
