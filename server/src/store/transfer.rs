//! A second way into a store: raw and blind, for who moves everything in it to another store.
//!
//! What is read here is what lies there, with versions, activity and positions as they are; what is written gets no new
//! version and no new position, and nothing is decided about it. Two stores hold the same when all that can be read here
//! is equal. While a service works on the store it is read from beside it, page by page: each page is one moment, and two
//! pages are two. To be written to, the store must be claimed.

use super::{Key, Millis, StoreError, StoredEvent, Tally, Versioned};
use async_trait::async_trait;
pub use digest::{Digest, of_line, of_record};

mod digest;
mod merge;
pub mod rounds;

/// The most things of one page of digests.
pub const LARGEST_LIST: u32 = 10_000;

/// What a store still has to do for a record that was deleted: forget its history at this instant.
pub type Orphan = (Millis, Key);

/// What one store has, and another one lacks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Records, to be there as they are here: version, activity, facets and all. What was under the key is replaced.
    pub records: Vec<Versioned>,
    /// Records that are not there any more. Their history has lines of its own below.
    pub gone_records: Vec<Key>,
    /// Lines of history, each to be at its position. What was there is replaced.
    pub lines: Vec<StoredEvent>,
    /// Positions at which there is nothing any more.
    pub gone_lines: Vec<u64>,
    /// To be among the orphans.
    pub orphans: Vec<Orphan>,
    /// Not among the orphans any more.
    pub gone_orphans: Vec<Orphan>,
}

impl Difference {
    /// How many things are in it.
    pub fn len(&self) -> usize {
        let Difference { records, gone_records, lines, gone_lines, orphans, gone_orphans } = self;
        [records.len(), gone_records.len(), lines.len(), gone_lines.len(), orphans.len(), gone_orphans.len()]
            .iter()
            .sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a store knows beside records and history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// The clock's high-water mark.
    pub floor: Millis,
    /// The position of the last event that was ever written, also when it is forgotten.
    pub position: u64,
    /// Every counter that is not zero, sorted.
    pub tallies: Vec<(Tally, i64)>,
}

/// About how much there is: for who says how far he is, and for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// Records.
    pub records: u64,
    /// Lines of history.
    pub lines: u64,
}

/// A store that can be read and written as it lies.
///
/// Pages have up to `limit` items (1 to [`LARGEST_LIST`]), in rising order, and fewer only when there are no more. What a
/// store's sweep has forgotten is not there, wherever its bytes may still be.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// The time of the store, if it has one of its own; `None`: it lives by the clock of whoever works on it.
    async fn now(&self) -> Result<Option<Millis>, StoreError> {
        Ok(None)
    }

    /// About how much there is.
    async fn size(&self) -> Result<Size, StoreError>;

    /// Every record's key and digest ([`of_record`]), over all spaces, from behind `after` on.
    async fn record_digests(&self, after: Option<&Key>, limit: u32)
    -> Result<Vec<(Key, Digest)>, StoreError>;

    /// Records with their facets, in the order of `keys` (at most 1,000).
    async fn records(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError>;

    /// Every line's position and digest ([`of_line`]), from behind `after` on.
    async fn line_digests(&self, after: Option<u64>, limit: u32) -> Result<Vec<(u64, Digest)>, StoreError>;

    /// Lines of history, in the order of `positions` (at most 1,000).
    async fn lines(&self, positions: &[u64]) -> Result<Vec<Option<StoredEvent>>, StoreError>;

    /// Every orphan, from behind `after` on.
    async fn orphans(&self, after: Option<&Orphan>, limit: u32) -> Result<Vec<Orphan>, StoreError>;

    /// The marks, of one moment.
    async fn marks(&self) -> Result<Marks, StoreError>;

    /// Brings the difference in, all or nothing, durable when it returns. Needs a claim. Nothing is checked against what
    /// was there. The marks stay, but for the position, which is never behind a line. In no order: a line may come before, with
    /// or long after the record it is about.
    async fn write(&self, difference: &Difference) -> Result<(), StoreError>;

    /// Sets the marks to exactly these, and readies whatever the store derives from records and history. Durable when it
    /// returns. Needs a claim.
    async fn set_marks(&self, marks: &Marks) -> Result<(), StoreError>;

    /// Keeps services out also when the claim has ended, and says why to who was cut off and comes back; `None`: lets them in
    /// again. Needs a claim. Where whoever has the store open is always found by a claim, there is nothing to do.
    async fn shut(&self, _why: Option<&str>) -> Result<(), StoreError> {
        Ok(())
    }

    /// From now on until [`Transfer::release`] no service can open the store; false, and nothing has changed, while one
    /// has it open. What such a service had acknowledged is seen by every later call. If the claim gets lost all later
    /// calls fail. To be called again at will.
    async fn claim(&self) -> Result<bool, StoreError>;

    /// Gives the claim back.
    async fn release(&self);
}
