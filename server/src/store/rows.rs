//! How keys, facets and counters are written into columns, and read back: the same in every store that has columns, so
//! that what one wrote another can be given.

use super::{Facet, Key, Space, StoreError, Tally, bounds::LONGEST_ID};
use std::ops::Deref;

const SPACE: usize = 9;

/// A key's bytes: kind, environment (big-endian), id. They sort as keys do. On the stack, for it is made for every
/// statement.
pub(super) struct KeyBytes {
    bytes: [u8; SPACE + LONGEST_ID],
    len: usize,
}

impl KeyBytes {
    /// Of a key. An id over the allowed length (which no record has) is cut, and stands for no record.
    pub(super) fn new(key: &Key) -> KeyBytes {
        KeyBytes::of(key.space, &key.id)
    }

    /// Of a space and an id.
    pub(super) fn of(space: Space, id: &[u8]) -> KeyBytes {
        let mut bytes = [0; SPACE + LONGEST_ID];
        let (head, tail) = bytes.split_at_mut(SPACE);
        head.copy_from_slice(&space_bytes(space));
        let mut len = SPACE;
        for (slot, byte) in tail.iter_mut().zip(id) {
            *slot = *byte;
            len += 1;
        }
        KeyBytes { bytes, len }
    }
}

impl Deref for KeyBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The beginning of every key of the space.
pub(super) fn space_bytes(space: Space) -> [u8; SPACE] {
    let [a, b, c, d, e, f, g, h] = space.env.to_be_bytes();
    [space.kind, a, b, c, d, e, f, g, h]
}

/// The beginning of every entry of one facet of a space.
pub(super) fn place_bytes(space: Space, name: u8) -> [u8; SPACE + 1] {
    let [k, a, b, c, d, e, f, g, h] = space_bytes(space);
    [k, a, b, c, d, e, f, g, h, name]
}

/// Reads what [`KeyBytes`] wrote.
pub(super) fn key(bytes: &[u8]) -> Result<Key, StoreError> {
    let parts = bytes.split_first().and_then(|(kind, rest)| Some((kind, rest.split_first_chunk::<8>()?)));
    match parts {
        Some((kind, (env, id))) if !id.is_empty() => {
            Ok(Key { space: Space { kind: *kind, env: u64::from_be_bytes(*env) }, id: id.into() })
        }
        _ => Err(StoreError::Damaged("a key is too short".to_owned())),
    }
}

/// A counter's row name.
pub(super) fn tally_name(tally: &Tally) -> Vec<u8> {
    let mut name = Vec::with_capacity(9 + tally.name.len());
    name.push(b't');
    name.extend_from_slice(&tally.env.to_be_bytes());
    name.extend_from_slice(tally.name.as_bytes());
    name
}

/// Reads what [`tally_name`] wrote.
pub(super) fn tally(name: &[u8]) -> Option<Tally> {
    let (_, rest) = name.split_first()?;
    let (env, name) = rest.split_first_chunk::<8>()?;
    Some(Tally { env: u64::from_be_bytes(*env), name: std::str::from_utf8(name).ok()?.into() })
}

/// Facets in one column: name, length, value, and again.
pub(super) fn encode_facets(facets: &[Facet], into: &mut Vec<u8>) {
    into.clear();
    for facet in facets {
        into.push(facet.name);
        into.extend_from_slice(&u16::try_from(facet.value.len()).unwrap_or(u16::MAX).to_be_bytes());
        into.extend_from_slice(&facet.value);
    }
}

/// Reads what [`encode_facets`] wrote; `None` when it cannot be right.
pub(super) fn decode_facets(mut bytes: &[u8]) -> Option<Vec<Facet>> {
    let mut facets = Vec::with_capacity(4);
    while let Some((name, rest)) = bytes.split_first() {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        facets.push(Facet { name: *name, value: value.into() });
        bytes = rest;
    }
    Some(facets)
}
