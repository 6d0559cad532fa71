//! Which sessions memory does not answer for, for a moment: a node that said of many sessions that they have ended, and found
//! some of them ended by another node that it has not heard yet, would else let them in after it has said so.
//!
//! Which sessions these are it does not know, only in which buckets they lie; and not for long: what was acknowledged until now has
//! been acted on when a probe comes back that is sent from now on.

use super::super::App;
use handstamp_core::id::Bucket;
use handstamp_core::licence;
use handstamp_core::offline::clock::Tick;
use std::sync::atomic::{AtomicI64, Ordering};

/// Buckets share places.
const PLACES: usize = 1_024;

/// Per place, since when.
pub(super) struct Withheld(Box<[AtomicI64]>);

impl Default for Withheld {
    fn default() -> Withheld {
        Withheld((0..PLACES).map(|_| AtomicI64::new(i64::MIN)).collect())
    }
}

impl Withheld {
    /// Whether memory may answer for sessions of this bucket, under a licence up to `until`.
    pub(super) fn allows(&self, bucket: Bucket, until: Tick) -> bool {
        let place = self.0.get(usize::from(bucket.get()) % PLACES);
        place.is_some_and(|since| licence::knows(until, Tick(since.load(Ordering::Acquire))))
    }

    fn withhold(&self, places: impl Iterator<Item = usize>, now: Tick) {
        for place in places.filter_map(|place| self.0.get(place)) {
            place.fetch_max(now.0, Ordering::AcqRel);
        }
    }
}

impl App {
    /// Sessions of this bucket are answered for by the store, until this node has heard of everything that has happened until now. To be
    /// called after the last look at the store, and before the answer.
    pub(in super::super) fn withhold(&self, bucket: Bucket) {
        if let Some(nodes) = &self.nodes {
            nodes.withheld.withhold(std::iter::once(usize::from(bucket.get()) % PLACES), self.clock.ticks());
        }
    }

    /// The same for all sessions.
    pub(in super::super) fn withhold_all(&self) {
        if let Some(nodes) = &self.nodes {
            nodes.withheld.withhold(0..PLACES, self.clock.ticks());
        }
    }
}
