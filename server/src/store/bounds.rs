//! What a batch must look like before any store looks at it.
//!
//! A batch that breaks its own contract is a bug of the caller. It is refused here, alone and before anything is
//! written, because in a store that commits many batches together it would take its neighbours down with it.

use super::{Amend, Batch, Expect, Key, Op, StoreError};
use std::collections::HashSet;

/// The most bytes of a key's id.
pub const LONGEST_ID: usize = 64;
/// The most bytes of a facet's value.
pub const LONGEST_FACET: usize = 512;
/// The most bytes of a counter's name.
pub const LONGEST_TALLY: usize = 80;
/// The most bytes of a record's or an event's body: far above what the service writes (64 KiB).
pub const LONGEST_BODY: usize = 4 << 20;
/// The most bytes of what is said to other nodes at once.
pub const LONGEST_SAYING: usize = 4 << 10;
/// The most items of one page of records or of history.
pub const LARGEST_PAGE: u32 = 1_000;

/// A page's limit, brought into 1 to [`LARGEST_PAGE`].
pub(super) fn page(limit: u32) -> usize {
    usize::try_from(limit.clamp(1, LARGEST_PAGE)).unwrap_or(1)
}

/// The key an operation is about.
pub(super) fn key_of(op: &Op) -> &Key {
    match op {
        Op::Put { record, .. } => &record.key,
        Op::Delete { key, .. } | Op::Check { key, .. } => key,
    }
}

/// What an operation expects.
pub(super) fn expect_of(op: &Op) -> Expect {
    match op {
        Op::Put { expect, .. } | Op::Delete { expect, .. } | Op::Check { expect, .. } => *expect,
    }
}

/// Looks at the shape of a batch; nothing is read.
///
/// # Errors
/// [`StoreError::Unavailable`] with what is wrong: nothing of the batch can be written, now or later.
pub(super) fn check(batch: &Batch) -> Result<(), StoreError> {
    match fault(batch) {
        None => Ok(()),
        Some(what) => Err(StoreError::Unavailable(format!("a batch was put together wrongly: {what}"))),
    }
}

/// Looks at the shape of lines that are to be written anew.
///
/// # Errors
/// [`StoreError::Unavailable`], as of a batch.
pub(super) fn check_amended(lines: &[Amend]) -> Result<(), StoreError> {
    if lines.iter().any(|line| line.after.len() > LONGEST_BODY) {
        return Err(StoreError::Unavailable("a line of history is longer than 4 MiB".to_owned()));
    }
    Ok(())
}

fn fault(batch: &Batch) -> Option<&'static str> {
    for op in &batch.ops {
        if !good_key(key_of(op)) {
            return Some("an id must have 1 to 64 bytes");
        }
        let Op::Put { record, .. } = op else { continue };
        if record.bucket != batch.bucket {
            return Some("all records of a batch share its bucket");
        }
        if record.body.len() > LONGEST_BODY {
            return Some("a body is longer than 4 MiB");
        }
        if record.facets.iter().any(|facet| facet.value.len() > LONGEST_FACET) {
            return Some("a facet's value is longer than 512 bytes");
        }
        if twice(record.facets.iter()) {
            return Some("a record has the same facet twice");
        }
    }
    if twice(batch.ops.iter().map(key_of)) {
        return Some("a key is named twice");
    }
    if batch.events.iter().any(|event| !good_key(&event.subject) || event.body.len() > LONGEST_BODY) {
        return Some("an event's subject must have 1 to 64 bytes and its body at most 4 MiB");
    }
    if batch.tallies.iter().any(|(tally, _)| tally.name.len() > LONGEST_TALLY) {
        return Some("a counter's name is longer than 80 bytes");
    }
    None
}

fn good_key(key: &Key) -> bool {
    (1..=LONGEST_ID).contains(&key.id.len())
}

/// Whether anything comes twice. Most batches are tiny, and for them comparing pairs is cheaper than hashing.
fn twice<T: Eq + std::hash::Hash>(items: impl ExactSizeIterator<Item = T> + Clone) -> bool {
    if items.len() <= 8 {
        return items.clone().enumerate().any(|(i, a)| items.clone().take(i).any(|b| a == b));
    }
    let mut seen = HashSet::with_capacity(items.len());
    items.into_iter().any(|item| !seen.insert(item))
}
