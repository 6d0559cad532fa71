//! What becomes of batches that commit together: decided in memory, one after the other, on what was read and locked.
//!
//! A group knows, for each key that its batches name, what is there (or that it holds the free place), and then goes
//! through the batches as if each were alone: who expects what the one before left goes through with it, who expects
//! something else fails alone. What is written in the end is the difference for each key.

use super::super::rows::{KeyBytes, decode_facets};
use super::super::{Batch, Expect, Facet, Key, Millis, Op, Record, StoreError, bounds};
use super::days::day_of;
use std::collections::{BTreeMap, BTreeSet};

/// A record as the writer needs it: everything but the body.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its partition; 0: it lives.
    pub(super) day: i32,
    pub(super) version: i64,
    pub(super) seen: Option<i64>,
    pub(super) forget_at: Option<i64>,
    pub(super) facets: Vec<u8>,
}

/// Up to where resting records are forgotten.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Horizon {
    pub(super) at: i64,
    pub(super) key: Vec<u8>,
}

/// How a key was named first. One group names a key in one of these ways only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    /// With a version, or by a line of history: it is read and locked.
    Known,
    /// As absent: its place is taken by an insert.
    New,
}

/// What a batch left under a key.
#[derive(Clone, Debug)]
pub(super) enum Now<'b> {
    /// What was there.
    Before,
    /// Nothing.
    Gone,
    /// A record.
    Put(Written<'b>),
}

/// A record as it will be.
#[derive(Clone, Debug)]
pub(super) struct Written<'b> {
    pub(super) record: &'b Record,
    pub(super) version: i64,
    pub(super) seen: Option<i64>,
    /// The time of its batch.
    pub(super) at: Millis,
}

/// A key of the group.
#[derive(Debug)]
pub(super) struct Slot<'b> {
    first: First,
    /// What the insert that takes the place writes; `None`: an empty record.
    pub(super) inserted: Option<&'b Record>,
    /// What was there.
    pub(super) before: Option<Found>,
    /// The place was free, and is held by the insert.
    pub(super) held: bool,
    /// But its record rests.
    rests: bool,
    pub(super) now: Now<'b>,
}

/// Batches that commit together.
pub(super) struct Group<'b> {
    resting: &'b [u8],
    pub(super) slots: BTreeMap<&'b Key, Slot<'b>>,
    pub(super) batches: Vec<&'b Batch>,
}

/// What was decided, besides the slots.
#[derive(Default)]
pub(super) struct Decided {
    /// Of each batch, in order.
    pub(super) answers: Vec<Result<(), StoreError>>,
    /// Deleted records that leave history behind.
    pub(super) orphans: Vec<(i64, Vec<u8>)>,
}

impl<'b> Group<'b> {
    /// Nobody yet. `resting`: the kinds of records that may rest.
    pub(super) fn new(resting: &'b [u8]) -> Group<'b> {
        Group { resting, slots: BTreeMap::new(), batches: Vec::new() }
    }

    pub(super) fn may_rest(&self, key: &Key) -> bool {
        self.resting.contains(&key.space.kind)
    }

    /// Takes a batch in; false: it has to wait for the next group, for it names a key in another way than one here.
    pub(super) fn add(&mut self, batch: &'b Batch) -> bool {
        let first = |op: &Op| match bounds::expect_of(op) {
            Expect::Absent => First::New,
            Expect::Version(_) | Expect::Untouched { .. } => First::Known,
        };
        let ops = || batch.ops.iter().map(|op| (bounds::key_of(op), first(op)));
        let subjects = batch.events.iter().map(|event| &event.subject);
        // Where a line goes depends on where its record lies; a kind that never rests is always in one place.
        let subjects = subjects.filter(|key| self.resting.contains(&key.space.kind));
        let subjects: Vec<&Key> = subjects.filter(|key| ops().all(|(named, _)| named != *key)).collect();
        let wanted = || ops().chain(subjects.iter().map(|key| (*key, First::Known)));
        if wanted().any(|(key, first)| self.slots.get(key).is_some_and(|slot| slot.first != first)) {
            return false;
        }
        for (key, first) in wanted() {
            self.slots.entry(key).or_insert(Slot {
                first,
                inserted: None,
                before: None,
                held: false,
                rests: false,
                now: Now::Before,
            });
        }
        for op in &batch.ops {
            if let Op::Put { expect: Expect::Absent, record } = op
                && let Some(slot) = self.slots.get_mut(&record.key)
            {
                slot.inserted.get_or_insert(record);
            }
        }
        self.batches.push(batch);
        true
    }

    /// Keys that are to be read and locked, sorted.
    pub(super) fn known(&self) -> Vec<Vec<u8>> {
        self.keys(|slot, _| slot.first == First::Known)
    }

    /// Keys of kinds that may rest, not found among what lives.
    pub(super) fn missing(&self) -> Vec<Vec<u8>> {
        self.keys(|slot, may_rest| slot.first == First::Known && slot.before.is_none() && may_rest)
    }

    /// Keys whose free place is held, of kinds that may rest.
    pub(super) fn new_that_may_rest(&self) -> Vec<Vec<u8>> {
        self.keys(|slot, may_rest| slot.first == First::New && may_rest)
    }

    fn keys(&self, wanted: impl Fn(&Slot<'b>, bool) -> bool) -> Vec<Vec<u8>> {
        let found = self.slots.iter().filter(|(key, slot)| wanted(slot, self.may_rest(key)));
        found.map(|(key, _)| KeyBytes::new(key).to_vec()).collect()
    }

    /// Places that are to be taken, sorted, each with the record that takes it.
    pub(super) fn new_places(&self) -> impl Iterator<Item = (&'b Key, Option<&'b Record>)> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.first == First::New)
            .map(|(key, slot)| (*key, slot.inserted))
    }

    /// Tells what was found under a key, or that its place is held.
    pub(super) fn found(&mut self, key: &Key, found: Found) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.before = Some(found);
        }
    }

    /// Tells what was found among the records that rest. Of a key that was named as absent: its place is held for
    /// nothing, and is given back.
    pub(super) fn rests_already(&mut self, key: &Key, found: Found) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        match slot.first {
            First::Known => slot.before = Some(found),
            First::New => slot.rests = true,
        }
    }

    /// Tells that the place of a key was free and is held now.
    pub(super) fn holds(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.held = true;
        }
    }

    /// Partitions that the group may need.
    pub(super) fn days(&self) -> BTreeSet<i32> {
        let puts = self.batches.iter().flat_map(|batch| batch.ops.iter().map(move |op| (op, batch.at)));
        puts.filter_map(|(op, at)| match op {
            Op::Put { record, .. } => self.rests(record, at),
            Op::Delete { .. } | Op::Check { .. } => None,
        })
        .collect()
    }

    /// The partition in which a record rests; `None`: it lives.
    fn rests(&self, record: &Record, at: Millis) -> Option<i32> {
        if record.seen.is_some() || !self.may_rest(&record.key) {
            return None;
        }
        day_of(record.forget_at?, at)
    }

    /// Where a record will lie: 0, or the day of its partition. What is not above the horizon would be forgotten at once
    /// there, so it stays among the living until the sweep meets it.
    pub(super) fn place(&self, written: &Written<'_>, horizon: &Horizon) -> i32 {
        let above = |day: &i32| {
            let at = written.record.forget_at.map_or(i64::MIN, |at| at.0);
            let key = KeyBytes::new(&written.record.key);
            *day > 0 && (at, &*key) > (horizon.at, &*horizon.key)
        };
        self.rests(written.record, written.at).filter(above).unwrap_or(0)
    }

    /// Goes through the batches.
    pub(super) fn decide(&mut self) -> Decided {
        let mut decided = Decided::default();
        for batch in std::mem::take(&mut self.batches) {
            let holds = batch.ops.iter().all(|op| self.expected(op));
            if holds {
                for op in &batch.ops {
                    self.apply(op, batch.at, &mut decided.orphans);
                }
            }
            decided.answers.push(if holds { Ok(()) } else { Err(StoreError::Conflict) });
            self.batches.push(batch);
        }
        decided
    }

    fn expected(&self, op: &Op) -> bool {
        let Some(slot) = self.slots.get(bounds::key_of(op)) else { return false };
        let version = slot.version();
        let is = |wanted| version.is_some_and(|found| u64::try_from(found) == Ok(wanted));
        match bounds::expect_of(op) {
            // What took the place before us is not read: it is there, and that is all.
            Expect::Absent => version.is_none() && (slot.first == First::Known || (slot.held && !slot.rests)),
            Expect::Version(wanted) => is(wanted),
            Expect::Untouched { version, since } => {
                is(version) && slot.seen().is_none_or(|seen| seen <= since.0)
            }
        }
    }

    fn apply(&mut self, op: &'b Op, at: Millis, orphans: &mut Vec<(i64, Vec<u8>)>) {
        let key = bounds::key_of(op);
        let Some(slot) = self.slots.get_mut(key) else { return };
        match op {
            Op::Check { .. } => {}
            Op::Delete { .. } => {
                if let Some(at) = slot.forget_at() {
                    orphans.push((at, KeyBytes::new(key).to_vec()));
                }
                // What was not there and was not put needs no delete.
                slot.now = Now::Gone;
            }
            Op::Put { record, .. } => {
                let version = slot.version().map_or(1, |version| version.saturating_add(1));
                let seen = record.seen.map(|at| at.0.max(slot.seen().unwrap_or(i64::MIN)));
                slot.now = Now::Put(Written { record, version, seen, at });
            }
        }
    }
}

impl Slot<'_> {
    fn version(&self) -> Option<i64> {
        match &self.now {
            Now::Before => self.before.as_ref().map(|found| found.version),
            Now::Gone => None,
            Now::Put(written) => Some(written.version),
        }
    }

    fn seen(&self) -> Option<i64> {
        match &self.now {
            Now::Before => self.before.as_ref().and_then(|found| found.seen),
            Now::Gone => None,
            Now::Put(written) => written.seen,
        }
    }

    fn forget_at(&self) -> Option<i64> {
        match &self.now {
            Now::Before => self.before.as_ref().and_then(|found| found.forget_at),
            Now::Gone => None,
            Now::Put(written) => written.record.forget_at.map(|at| at.0),
        }
    }

    /// The facets that were there.
    pub(super) fn facets_before(&self) -> Result<Vec<Facet>, StoreError> {
        let Some(before) = &self.before else { return Ok(Vec::new()) };
        let damaged = || StoreError::Damaged("a record's facets cannot be read".to_owned());
        decode_facets(&before.facets).ok_or_else(damaged)
    }
}
