//! Whose turn it is: inside a node, decisions about the same bucket come one after the other.

use handstamp_core::id::Bucket;
use std::collections::BTreeSet;
use tokio::sync::{Mutex, MutexGuard};

/// Inside a node, transitions of one bucket queue, so that a crowd on one user does not make conflicts.
pub(super) struct Turns(Vec<Mutex<()>>);

impl Turns {
    pub(super) fn new() -> Turns {
        Turns((0..1_024).map(|_| Mutex::new(())).collect())
    }

    pub(super) async fn take(&self, bucket: Bucket) -> MutexGuard<'_, ()> {
        let index = usize::from(bucket.get()) % self.0.len();
        #[expect(clippy::indexing_slicing, reason = "the index is below the length, which never changes")]
        self.0[index].lock().await
    }

    /// All of these, in one order for everybody.
    pub(super) async fn take_all(&self, buckets: impl Iterator<Item = Bucket>) -> Vec<MutexGuard<'_, ()>> {
        // Two buckets may share a turn.
        let places: BTreeSet<usize> =
            buckets.map(|bucket| usize::from(bucket.get()) % self.0.len()).collect();
        let mut taken = Vec::with_capacity(places.len());
        for turn in places.into_iter().filter_map(|place| self.0.get(place)) {
            taken.push(turn.lock().await);
        }
        taken
    }
}
