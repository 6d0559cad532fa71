//! What a search means, for every store alike: which records match, and what a cursor says.
//!
//! A cursor carries a fingerprint of its query. A cursor that was made for another query, by another store, or that was
//! tampered with is no fault of the store and finds nothing: an empty page without a `next`. Whoever hands cursors
//! to strangers should bind them to the request, so that a mistake can be told from the end.

use super::{Condition, Cursor, Facet, FacetRange, Query};

/// Whether the id is inside the query's bounds.
pub(super) fn in_bounds(query: &Query, id: &[u8]) -> bool {
    query.from.as_deref().is_none_or(|from| id >= from)
        && query.until.as_deref().is_none_or(|until| id < until)
}

/// Whether a record with these facets meets every condition.
pub(super) fn matches(all: &[Condition], facets: &[Facet]) -> bool {
    all.iter().all(|condition| meets(condition, facets))
}

fn meets(condition: &Condition, facets: &[Facet]) -> bool {
    condition.any.iter().any(|range| facets.iter().any(|facet| holds(range, facet)))
}

/// Whether the facet lies in the range.
pub(super) fn holds(range: &FacetRange, facet: &Facet) -> bool {
    facet.name == range.name && facet.value >= range.low && facet.value <= range.high
}

/// Where a page ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the order of ids: this one was given last.
    Id(Box<[u8]>),
    /// In the order of values, by the query's condition of that number.
    Value {
        /// Which condition leads.
        condition: u16,
        /// The facet given last, and the id it belongs to.
        at: Facet,
        /// The id given last.
        id: Box<[u8]>,
    },
}

const BY_ID: u8 = 1;
const BY_VALUE: u8 = 2;

impl Place {
    /// As bytes that belong to this query alone.
    pub(super) fn seal(&self, query: &Query) -> Cursor {
        let mut bytes = fingerprint(query).to_vec();
        match self {
            Place::Id(id) => {
                bytes.push(BY_ID);
                bytes.extend_from_slice(id);
            }
            Place::Value { condition, at, id } => {
                bytes.push(BY_VALUE);
                bytes.extend_from_slice(&condition.to_be_bytes());
                bytes.push(at.name);
                bytes.extend_from_slice(&u16::try_from(at.value.len()).unwrap_or(u16::MAX).to_be_bytes());
                bytes.extend_from_slice(&at.value);
                bytes.extend_from_slice(id);
            }
        }
        Cursor(bytes.into_boxed_slice())
    }

    /// Reads what [`Place::seal`] wrote; `None` when it was not written for this query.
    pub(super) fn open(cursor: &Cursor, query: &Query) -> Option<Place> {
        let (print, rest) = cursor.0.split_first_chunk::<8>()?;
        if *print != fingerprint(query) {
            return None;
        }
        let (kind, rest) = rest.split_first()?;
        match *kind {
            BY_ID if !rest.is_empty() => Some(Place::Id(rest.into())),
            BY_VALUE => {
                let (condition, rest) = rest.split_first_chunk::<2>()?;
                let (name, rest) = rest.split_first()?;
                let (len, rest) = rest.split_first_chunk::<2>()?;
                let (value, id) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
                let at = Facet { name: *name, value: value.into() };
                Some(Place::Value { condition: u16::from_be_bytes(*condition), at, id: id.into() })
            }
            _ => None,
        }
    }
}

/// FNV-1a over everything that says what is looked for; cursor and limit do not count. It tells queries apart, it is no
/// protection against somebody who wants to deceive: a forged cursor finds nothing that the query does not allow.
fn fingerprint(query: &Query) -> [u8; 8] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut feed = |bytes: &[u8]| {
        for byte in u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    feed(&[query.space.kind]);
    feed(&query.space.env.to_be_bytes());
    for condition in &query.all {
        feed(b"all");
        for range in &condition.any {
            feed(&[range.name]);
            feed(&range.low);
            feed(&range.high);
        }
    }
    for bound in [&query.from, &query.until] {
        feed(if bound.is_some() { b"some" } else { b"none" });
        feed(bound.as_deref().unwrap_or_default());
    }
    hash.to_be_bytes()
}
