//! The store in memory, under one lock: the reference for how every store behaves, and the store of tests.
//!
//! It forgets everything when it is dropped. It is written to be read, not to be fast. [`Memory::shared`] is one that
//! several nodes use: each has a handle of its own, whose ear a test can close and open.

use super::changes::{Change, Changes, Teller, channel};
use super::query::{self, Place};
use super::{
    Amend, Batch, EventQuery, Expect, Key, Millis, Op, Page, Query, Scrubbed, Store, StoreError, StoredEvent,
    Tally, Versioned, bounds,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod transfer;

/// A store in memory, or one node's handle of it.
#[derive(Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// Which of several nodes.
    node: Option<usize>,
}

/// Where a node hears of others.
struct Ear {
    teller: Teller,
    changes: Option<Changes>,
    hears: Hears,
    /// The node is closed.
    closed: bool,
}

/// How a node hears of others.
#[derive(Debug, Default)]
enum Hears {
    /// At once.
    #[default]
    All,
    /// Later: what waits.
    Held(Vec<Change>),
    /// Nothing: it is cut off.
    Nothing,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// By somebody who moves it.
    claimed: bool,
    ears: Vec<Ear>,
    /// What the store says the time is, for several nodes.
    time: Millis,
    records: BTreeMap<Key, Versioned>,
    /// Deleted records whose history is still to be swept.
    orphans: BTreeSet<(Millis, Key)>,
    events: BTreeMap<u64, StoredEvent>,
    position: u64,
    tallies: BTreeMap<Tally, i64>,
    floor: Millis,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// An empty store that several nodes use; this is the first of them.
    pub fn shared() -> Memory {
        Memory::default().node()
    }

    /// Another node of the same store. Closing one does not close the others.
    pub fn node(&self) -> Memory {
        let mut state = self.lock();
        let (teller, changes) = channel();
        state.ears.push(Ear { teller, changes: Some(changes), hears: Hears::All, closed: false });
        Memory { state: self.state.clone(), node: Some(state.ears.len() - 1) }
    }

    /// What the store says the time is from now on.
    pub fn set_time(&self, now: Millis) {
        self.lock().time = now;
    }

    /// From now on this node hears nothing until [`Memory::release`], and then everything in order: a slow stream.
    pub fn hold(&self) {
        self.hear(Hears::Held(Vec::new()));
    }

    /// From now on this node hears nothing until [`Memory::release`], and is then told that it missed something.
    pub fn cut(&self) {
        self.hear(Hears::Nothing);
    }

    /// It hears again.
    pub fn release(&self) {
        self.hear(Hears::All);
    }

    fn hear(&self, hears: Hears) {
        let mut state = self.lock();
        if let Some(ear) = self.node.and_then(|node| state.ears.get_mut(node)) {
            match std::mem::replace(&mut ear.hears, hears) {
                Hears::All => {}
                Hears::Held(waiting) => waiting.into_iter().for_each(|change| ear.tell(change)),
                Hears::Nothing => ear.tell(Change::Anything),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock can only come from a failed allocation; what is inside is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        let gone = self.node.and_then(|node| state.ears.get(node)).is_some_and(|ear| ear.closed);
        if state.closed || gone { Err(StoreError::Unavailable("it is closed".to_owned())) } else { Ok(state) }
    }
}

impl Ear {
    fn tell(&mut self, change: Change) {
        match &mut self.hears {
            Hears::All => self.teller.tell(change),
            Hears::Held(waiting) => waiting.push(change),
            Hears::Nothing => {}
        }
    }
}

impl State {
    /// Tells all nodes but `but`.
    fn tell(&mut self, but: Option<usize>, change: &Change) {
        for (number, ear) in self.ears.iter_mut().enumerate() {
            if Some(number) != but {
                ear.tell(change.clone());
            }
        }
    }

    fn holds(&self, key: &Key, expect: Expect) -> bool {
        match (self.records.get(key), expect) {
            (None, Expect::Absent) => true,
            (Some(found), Expect::Version(version)) => found.version == version,
            (Some(found), Expect::Untouched { version, since }) => {
                found.version == version && found.record.seen.is_none_or(|seen| seen <= since)
            }
            (None, Expect::Version(_) | Expect::Untouched { .. }) | (Some(_), Expect::Absent) => false,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Check { .. } => {}
            Op::Delete { key, .. } => {
                if let Some(at) = self.records.remove(&key).and_then(|gone| gone.record.forget_at) {
                    self.orphans.insert((at, key));
                }
            }
            Op::Put { mut record, .. } => {
                let before = self.records.get(&record.key);
                let version = before.map_or(1, |found| found.version.saturating_add(1));
                if let (Some(new), Some(old)) = (record.seen, before.and_then(|found| found.record.seen)) {
                    record.seen = Some(new.max(old));
                }
                self.records.insert(record.key.clone(), Versioned { record, version });
            }
        }
    }

    fn forget_history(&mut self, subject: &Key) {
        self.events.retain(|_, event| event.subject != *subject);
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        let state = self.open()?;
        Ok(keys.iter().map(|key| state.records.get(key).cloned()).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut state = self.open()?;
        bounds::check(&batch)?;
        if !batch.ops.iter().all(|op| state.holds(bounds::key_of(op), bounds::expect_of(op))) {
            return Err(StoreError::Conflict);
        }
        if !state.ears.is_empty() {
            let known = |op: &&Op| !matches!(op, Op::Check { .. }) && bounds::expect_of(op) != Expect::Absent;
            let records: Vec<Key> =
                batch.ops.iter().filter(known).map(|op| bounds::key_of(op).clone()).collect();
            let told: BTreeSet<u64> = batch.events.iter().map(|event| event.subject.space.env).collect();
            let change = Change::Committed { records, told: told.into_iter().collect() };
            if !matches!(&change, Change::Committed { records, told } if records.is_empty() && told.is_empty())
            {
                state.tell(self.node, &change);
            }
        }
        batch.ops.into_iter().for_each(|op| state.apply(op));
        for event in batch.events {
            state.position += 1;
            let position = state.position;
            let stored = StoredEvent { position, subject: event.subject, at: event.at, body: event.body };
            state.events.insert(position, stored);
        }
        for (tally, delta) in batch.tallies {
            let value = state.tallies.entry(tally).or_default();
            *value = value.saturating_add(delta);
        }
        state.floor = state.floor.max(batch.at);
        Ok(())
    }

    async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError> {
        let mut state = self.open()?;
        for (key, at) in seen {
            if let Some(old) = state.records.get_mut(key).and_then(|found| found.record.seen.as_mut()) {
                *old = (*old).max(*at);
            }
        }
        Ok(())
    }

    async fn search(&self, query: &Query) -> Result<Page<Versioned>, StoreError> {
        let state = self.open()?;
        let after = match query.cursor.as_ref().map(|cursor| Place::open(cursor, query)) {
            None => None,
            Some(Some(Place::Id(id))) => Some(id),
            Some(_) => return Ok(Page { items: Vec::new(), next: None }),
        };
        let first = Key { space: query.space, id: Box::default() };
        let found = state
            .records
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|(key, _)| key.space == query.space)
            .filter(|(key, _)| after.as_ref().is_none_or(|after| key.id < *after))
            .filter(|(key, found)| {
                query::in_bounds(query, &key.id) && query::matches(&query.all, &found.record.facets)
            });
        let limit = bounds::page(query.limit);
        // One more than fits says whether there is a next page.
        let mut items: Vec<&Versioned> = found.map(|(_, found)| found).collect();
        items.reverse();
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more).map(|last| Place::Id(last.record.key.id.clone()));
        Ok(Page { next: last.map(|place| place.seal(query)), items: items.into_iter().cloned().collect() })
    }

    async fn history(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let state = self.open()?;
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let events = state.events.range((after, Bound::Unbounded)).map(|(_, event)| event);
        let wanted = events.filter(|event| match &query.subject {
            Some(key) => event.subject == *key,
            None => query.env.is_none_or(|env| event.subject.space.env == env),
        });
        let wanted = wanted.filter(|event| query.since.is_none_or(|since| event.at >= since));
        Ok(wanted.take(bounds::page(query.limit)).cloned().collect())
    }

    async fn head(&self) -> Result<u64, StoreError> {
        Ok(self.open()?.position)
    }

    async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError> {
        let mut state = self.open()?;
        bounds::check_amended(lines)?;
        let mut amended = 0;
        for line in lines {
            if let Some(event) = state.events.get_mut(&line.position).filter(|e| e.body == line.before) {
                event.body.clone_from(&line.after);
                amended += 1;
            }
        }
        Ok(amended)
    }

    async fn scrub(&self) -> Result<Scrubbed, StoreError> {
        self.open().map(|_| Scrubbed::Clean)
    }

    async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError> {
        let mut state = self.open()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let due = |state: &State| {
            let all = state.records.values();
            let all = all.filter_map(|found| Some((found.record.forget_at?, found.record.key.clone())));
            let mut due: Vec<(Millis, Key)> = all.filter(|(at, _)| *at <= now).collect();
            due.sort();
            due
        };
        let mut swept = 0u32;
        for (_, key) in due(&state).into_iter().take(limit) {
            state.records.remove(&key);
            state.forget_history(&key);
            swept += 1;
        }
        while usize::try_from(swept).is_ok_and(|swept| swept < limit)
            && let Some(orphan) = state.orphans.first().filter(|(at, _)| *at <= now).cloned()
        {
            // A key that lives again keeps its history: it is swept with the record that now has it.
            if !state.records.contains_key(&orphan.1) {
                state.forget_history(&orphan.1);
                swept += 1;
            }
            state.orphans.remove(&orphan);
        }
        Ok(swept)
    }

    async fn tallies(&self) -> Result<Vec<(Tally, i64)>, StoreError> {
        let state = self.open()?;
        Ok(state.tallies.iter().filter(|(_, n)| **n != 0).map(|(tally, n)| (tally.clone(), *n)).collect())
    }

    async fn clock_floor(&self) -> Result<Millis, StoreError> {
        Ok(self.open()?.floor)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.open().map(|_| ())
    }

    fn changes(&self) -> Option<Changes> {
        self.lock().ears.get_mut(self.node?)?.changes.take()
    }

    async fn say(&self, message: &[u8]) -> Result<Millis, StoreError> {
        let mut state = self.open()?;
        if message.len() > bounds::LONGEST_SAYING {
            return Err(StoreError::Unavailable("a message is longer than 4 KiB".to_owned()));
        }
        state.tell(None, &Change::Said(message.into()));
        Ok(state.time)
    }

    async fn close(&self) {
        let mut state = self.lock();
        match self.node.and_then(|node| state.ears.get_mut(node)) {
            // The changes end with what tells of them.
            Some(ear) => {
                *ear = Ear { teller: channel().0, changes: None, hears: Hears::Nothing, closed: true }
            }
            None => state.closed = true,
        }
    }
}
