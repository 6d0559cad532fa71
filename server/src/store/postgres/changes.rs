//! The difference that a group makes, as the arrays that its statements take.

use super::super::rows::{KeyBytes, encode_facets, place_bytes, space_bytes, tally_name};
use super::super::{Batch, Expect, Facet, Key, Op, Record, StoreError, Tally, bounds};
use super::group::{Decided, Group, Horizon, Now, Slot, Written};
use std::collections::{BTreeMap, BTreeSet};

/// Records, one array a column.
#[derive(Default)]
pub(super) struct Records<'b> {
    pub(super) days: Vec<i32>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) versions: Vec<i64>,
    pub(super) buckets: Vec<i32>,
    pub(super) seen: Vec<Option<i64>>,
    pub(super) forget_at: Vec<Option<i64>>,
    pub(super) facets: Vec<Vec<u8>>,
    pub(super) bodies: Vec<&'b [u8]>,
}

/// Facets, one array a column.
#[derive(Default)]
pub(super) struct Facets {
    pub(super) days: Vec<i32>,
    pub(super) places: Vec<Vec<u8>>,
    pub(super) values: Vec<Vec<u8>>,
    pub(super) ids: Vec<Vec<u8>>,
    pub(super) forget_at: Vec<Option<i64>>,
}

/// Subjects whose history moves.
#[derive(Default)]
pub(super) struct Moves {
    pub(super) old_days: Vec<i32>,
    pub(super) old_forget_at: Vec<Option<i64>>,
    pub(super) subjects: Vec<Vec<u8>>,
    pub(super) days: Vec<i32>,
    pub(super) forget_at: Vec<Option<i64>>,
}

/// New lines of history, and where an hour begins among them.
#[derive(Default)]
pub(super) struct Lines<'b> {
    pub(super) days: Vec<i32>,
    pub(super) subjects: Vec<Vec<u8>>,
    pub(super) ats: Vec<i64>,
    pub(super) bodies: Vec<&'b [u8]>,
    pub(super) forget_at: Vec<Option<i64>>,
    pub(super) hours: Vec<i64>,
    /// Which line, from 1 on.
    pub(super) firsts: Vec<i64>,
}

/// What is written besides the places that were taken.
#[derive(Default)]
pub(super) struct Changes<'b> {
    pub(super) drop_hot: Vec<Vec<u8>>,
    pub(super) rewritten: Records<'b>,
    pub(super) dropped_resting: Records<'b>,
    pub(super) placed: Records<'b>,
    pub(super) facets_dropped: Facets,
    pub(super) facets_added: Facets,
    pub(super) resting_facets_dropped: Facets,
    pub(super) facets_placed: Facets,
    pub(super) rested: Moves,
    pub(super) moved: Moves,
    /// The greatest new key that rests, of each space.
    pub(super) tops: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) orphans: Vec<(i64, Vec<u8>)>,
    pub(super) tallies: BTreeMap<Tally, i64>,
    pub(super) lines: Lines<'b>,
    pub(super) floor: i64,
    /// Records that were there before and are changed, and environments with new lines: what other nodes are told.
    pub(super) told: (Vec<Key>, Vec<u64>),
}

impl<'b> Records<'b> {
    fn push(&mut self, day: i32, key: &Key, written: &Written<'b>) {
        self.days.push(day);
        self.keys.push(KeyBytes::new(key).to_vec());
        self.versions.push(written.version);
        self.seen.push(written.seen);
        self.columns(written.record);
    }

    /// A record that takes a place: version 1.
    pub(super) fn push_new(&mut self, key: &Key, record: Option<&'b Record>) {
        self.keys.push(KeyBytes::new(key).to_vec());
        self.seen.push(record.and_then(|record| record.seen).map(|at| at.0));
        match record {
            Some(record) => self.columns(record),
            None => {
                self.buckets.push(0);
                self.forget_at.push(None);
                self.facets.push(Vec::new());
                self.bodies.push(&[]);
            }
        }
    }

    fn columns(&mut self, record: &'b Record) {
        self.buckets.push(i32::from(record.bucket));
        self.forget_at.push(record.forget_at.map(|at| at.0));
        let mut facets = Vec::new();
        encode_facets(&record.facets, &mut facets);
        self.facets.push(facets);
        self.bodies.push(&record.body);
    }
}

impl Facets {
    fn push(&mut self, day: i32, key: &Key, facet: &Facet, forget_at: Option<i64>) {
        self.days.push(day);
        self.places.push(place_bytes(key.space, facet.name).to_vec());
        self.values.push(facet.value.to_vec());
        self.ids.push(key.id.to_vec());
        self.forget_at.push(forget_at);
    }
}

impl Moves {
    fn push(&mut self, from: (i32, Option<i64>), key: &Key, to: (i32, Option<i64>)) {
        self.old_days.push(from.0);
        self.old_forget_at.push(from.1);
        self.subjects.push(KeyBytes::new(key).to_vec());
        self.days.push(to.0);
        self.forget_at.push(to.1);
    }
}

impl<'b> Changes<'b> {
    /// Of a group that was decided.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: what was stored cannot be read.
    pub(super) fn of(
        group: &Group<'b>,
        decided: Decided,
        horizon: &Horizon,
    ) -> Result<Changes<'b>, StoreError> {
        let mut changes = Changes { orphans: decided.orphans, floor: i64::MIN, ..Changes::default() };
        changes.orphans.sort_unstable();
        let mut places = BTreeMap::new();
        for (key, slot) in &group.slots {
            places.insert(*key, changes.slot(group, key, slot, horizon)?);
        }
        for (batch, answer) in group.batches.iter().zip(&decided.answers) {
            if answer.is_ok() {
                changes.batch(batch, &places);
            }
        }
        changes.told.0.sort_unstable();
        Ok(changes)
    }

    /// The difference under one key, and where its history lies afterwards.
    fn slot(
        &mut self,
        group: &Group<'b>,
        key: &Key,
        slot: &Slot<'b>,
        horizon: &Horizon,
    ) -> Result<(i32, Option<i64>), StoreError> {
        let from = slot.before.as_ref().map_or((0, None), |found| (found.day, found.forget_at));
        let there = slot.before.is_some() || slot.held;
        let written = match &slot.now {
            Now::Before => {
                if slot.held {
                    self.drop_hot.push(KeyBytes::new(key).to_vec());
                }
                return Ok(if from.0 > 0 { from } else { (0, None) });
            }
            Now::Gone => {
                if there {
                    self.leave(key, slot, from.0);
                    self.drop_old_facets(key, slot, from.0)?;
                }
                if from.0 > 0 {
                    self.moved.push(from, key, (0, None));
                }
                return Ok((0, None));
            }
            Now::Put(written) => written,
        };
        let forget_at = written.record.forget_at.map(|at| at.0);
        let day = group.place(written, horizon);
        if day == 0 && from.0 == 0 {
            let as_inserted = slot.inserted.is_some_and(|inserted| std::ptr::eq(inserted, written.record));
            if !as_inserted {
                self.rewritten.push(0, key, written);
            }
            self.change_facets(key, slot, written.record)?;
            return Ok((0, None));
        }
        self.leave(key, slot, from.0);
        self.drop_old_facets(key, slot, from.0)?;
        self.placed.push(day, key, written);
        for facet in &written.record.facets {
            self.facets_placed.push(day, key, facet, forget_at.filter(|_| day > 0));
        }
        let to = (day, forget_at.filter(|_| day > 0));
        match from.0 {
            0 => self.rested.push(from, key, to),
            _ if from != to => self.moved.push(from, key, to),
            _ => {}
        }
        if day > 0 {
            // In the order of keys: the last is the greatest.
            self.tops.insert(space_bytes(key.space).to_vec(), KeyBytes::new(key).to_vec());
        }
        Ok(to)
    }

    /// The record goes from where it is.
    fn leave(&mut self, key: &Key, slot: &Slot<'b>, day: i32) {
        let bytes = KeyBytes::new(key).to_vec();
        if day > 0 {
            self.dropped_resting.days.push(day);
            self.dropped_resting.keys.push(bytes);
        } else if slot.before.is_some() || slot.held {
            self.drop_hot.push(bytes);
        }
    }

    fn drop_old_facets(&mut self, key: &Key, slot: &Slot<'b>, day: i32) -> Result<(), StoreError> {
        for facet in slot.facets_before()? {
            let from = if day > 0 { &mut self.resting_facets_dropped } else { &mut self.facets_dropped };
            from.push(day, key, &facet, None);
        }
        Ok(())
    }

    fn change_facets(&mut self, key: &Key, slot: &Slot<'b>, record: &Record) -> Result<(), StoreError> {
        let old = slot.facets_before()?;
        for gone in old.iter().filter(|facet| !record.facets.contains(facet)) {
            self.facets_dropped.push(0, key, gone, None);
        }
        for new in record.facets.iter().filter(|facet| !old.contains(facet)) {
            self.facets_added.push(0, key, new, None);
        }
        Ok(())
    }

    /// What one batch adds, apart from its records.
    fn batch(&mut self, batch: &'b Batch, places: &BTreeMap<&Key, (i32, Option<i64>)>) {
        let known = |op: &&Op| !matches!(op, Op::Check { .. }) && bounds::expect_of(op) != Expect::Absent;
        self.told.0.extend(batch.ops.iter().filter(known).map(|op| bounds::key_of(op).clone()));
        let told: BTreeSet<u64> = batch.events.iter().map(|event| event.subject.space.env).collect();
        self.told.1.extend(told);
        for event in &batch.events {
            let (day, forget_at) = places.get(&event.subject).copied().unwrap_or((0, None));
            let lines = &mut self.lines;
            lines.days.push(day);
            lines.subjects.push(KeyBytes::new(&event.subject).to_vec());
            lines.ats.push(event.at.0);
            lines.bodies.push(&event.body);
            lines.forget_at.push(forget_at);
            let hour = event.at.0.div_euclid(3_600_000);
            if lines.hours.last().is_none_or(|last| hour > *last) {
                lines.hours.push(hour);
                lines.firsts.push(i64::try_from(lines.days.len()).unwrap_or(i64::MAX));
            }
        }
        for (tally, delta) in &batch.tallies {
            let sum = self.tallies.entry(tally.clone()).or_default();
            *sum = sum.saturating_add(*delta);
        }
        self.floor = self.floor.max(batch.at.0);
    }

    /// The counters that change: names, sorted, and by how much.
    pub(super) fn counted(&self) -> (Vec<Vec<u8>>, Vec<i64>) {
        let all = self.tallies.iter().filter(|(_, delta)| **delta != 0);
        let mut all: Vec<(Vec<u8>, i64)> = all.map(|(tally, delta)| (tally_name(tally), *delta)).collect();
        all.sort_unstable();
        all.into_iter().unzip()
    }
}
