//! The cache's table: sessions by id, bounded in bytes.
//!
//! A lookup at a million sessions is a handful of waits for memory, and little else. So an entry lies in its place of
//! the table itself (one wait), and all of a session in one allocation behind it (the next). Each part of the table has
//! its own lock. What is in the way of something new goes by the clock rule: who was not asked for since the hand last
//! came by.

use super::kept::Kept;
use handstamp_core::id::SessionId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions by id.
pub struct Table {
    parts: Box<[Mutex<Part>]>,
    bytes: AtomicU64,
    entries: AtomicU64,
    most: u64,
}

/// What one place of the table takes, with its share of the free ones and of what growing leaves behind (measured).
pub const PLACE: usize = size_of::<Place>() * 5 / 2;

/// A part has room for this much on average, so that the largest sessions fit in any.
const PART: u64 = 512 * 1024;

#[derive(Default)]
struct Part {
    /// Linear probing; what is free is `None`. Never full, and sorted by home, so nothing removed leaves a mark.
    places: Vec<Option<Place>>,
    taken: usize,
    bytes: u64,
    hand: usize,
}

struct Place {
    kept: Arc<Kept>,
    /// Says without looking at the session whether it can be the right one.
    tag: u32,
    asked_for: bool,
}

impl Table {
    /// Holds at most `most` bytes.
    pub fn new(most: u64) -> Table {
        let parts = usize::try_from((most / PART).clamp(1, 1_024)).unwrap_or(1).next_power_of_two();
        Table {
            parts: (0..parts).map(|_| Mutex::new(Part::default())).collect(),
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            most,
        }
    }

    /// The session, which is thereby asked for.
    pub fn get(&self, id: SessionId) -> Option<Arc<Kept>> {
        let hash = hash(id);
        let mut part = self.part(hash);
        let at = part.find(hash, id)?;
        let place = part.places.get_mut(at)?.as_mut()?;
        place.asked_for = true;
        Some(place.kept.clone())
    }

    /// The session, without any effect on what stays.
    pub fn peek(&self, id: SessionId) -> Option<Arc<Kept>> {
        let hash = hash(id);
        let part = self.part(hash);
        let at = part.find(hash, id)?;
        part.places.get(at)?.as_ref().map(|place| place.kept.clone())
    }

    /// Puts a session in; `leave` is told of each that goes for it, while that one can still be found.
    pub fn insert(&self, kept: Arc<Kept>, leave: impl Fn(&Kept)) {
        let hash = hash(kept.id);
        let most = self.most / u64::try_from(self.parts.len()).unwrap_or(1);
        let weight = kept.weight();
        let mut part = self.part(hash);
        let (bytes, taken) = (part.bytes, part.taken);
        if let Some(at) = part.find(hash, kept.id) {
            part.remove(at, &leave);
        }
        while part.taken > 0 && part.bytes + weight > most {
            let at = part.least_asked_for();
            part.remove(at, &leave);
        }
        if weight > most {
            leave(&kept);
        } else {
            part.put(hash, Place { kept, tag: tag(hash), asked_for: false });
        }
        self.count(bytes, &part, taken);
    }

    /// Takes a session out; `leave` is told of it while it can still be found.
    pub fn remove(&self, id: SessionId, leave: impl Fn(&Kept)) {
        let hash = hash(id);
        let mut part = self.part(hash);
        let (bytes, taken) = (part.bytes, part.taken);
        if let Some(at) = part.find(hash, id) {
            part.remove(at, &leave);
            self.count(bytes, &part, taken);
        }
    }

    /// Takes out all that `goes` says; `leave` is told of each.
    pub fn remove_all(&self, goes: impl Fn(&Kept) -> bool, leave: impl Fn(&Kept)) {
        for part in &self.parts {
            let mut part = lock(part);
            let (bytes, taken) = (part.bytes, part.taken);
            let mut at = 0;
            while let Some(place) = part.places.get(at) {
                // What follows may move into the place of what was removed: it is looked at again.
                if place.as_ref().is_some_and(|place| goes(&place.kept)) {
                    part.remove(at, &leave);
                } else {
                    at += 1;
                }
            }
            self.count(bytes, &part, taken);
        }
    }

    /// Tells `of` of each session.
    pub fn each(&self, of: impl Fn(&Kept)) {
        for part in &self.parts {
            lock(part).places.iter().flatten().for_each(|place| of(&place.kept));
        }
    }

    /// Bytes in use, and at most.
    pub fn usage(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.most)
    }

    /// How many sessions it holds.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        let index = usize::try_from(hash >> 32).unwrap_or_default() & (self.parts.len() - 1);
        #[expect(clippy::indexing_slicing, reason = "masked by the length, a power of two")]
        lock(&self.parts[index])
    }

    /// Takes the change of one part, whose lock is still held, into the sums.
    fn count(&self, bytes: u64, part: &Part, taken: usize) {
        self.bytes.fetch_add(part.bytes.wrapping_sub(bytes), Ordering::Relaxed);
        let wide = |count: usize| u64::try_from(count).unwrap_or_default();
        self.entries.fetch_add(wide(part.taken).wrapping_sub(wide(taken)), Ordering::Relaxed);
    }
}

impl Part {
    fn find(&self, hash: u64, id: SessionId) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = home(hash, self.places.len());
        while let Some(place) = self.places.get(at)?.as_ref() {
            if place.tag == tag(hash) && place.kept.id == id {
                return Some(at);
            }
            at = next(at, self.places.len());
        }
        None
    }

    fn put(&mut self, hash: u64, place: Place) {
        if self.taken * 10 >= self.places.len() * 8 {
            let grown = (self.places.len() * 5 / 4).max(8);
            let before = std::mem::replace(&mut self.places, free(grown));
            for place in before.into_iter().flatten() {
                self.settle(hash_of(&place), place);
            }
        }
        self.taken += 1;
        self.bytes += place.kept.weight();
        self.settle(hash, place);
    }

    fn settle(&mut self, hash: u64, place: Place) {
        let mut at = home(hash, self.places.len());
        while let Some(slot) = self.places.get_mut(at) {
            if slot.is_none() {
                *slot = Some(place);
                return;
            }
            at = next(at, self.places.len());
        }
    }

    /// Frees a place, and moves those behind it that would no longer be found.
    fn remove(&mut self, at: usize, leave: &impl Fn(&Kept)) {
        let length = self.places.len();
        let Some(gone) = self.places.get_mut(at).and_then(|slot| {
            slot.as_ref().inspect(|place| leave(&place.kept))?;
            slot.take()
        }) else {
            return;
        };
        self.taken -= 1;
        self.bytes -= gone.kept.weight();
        let (mut hole, mut look) = (at, next(at, length));
        while let Some(place) = self.places.get(look).and_then(Option::as_ref) {
            let home = home(hash_of(place), length);
            // Does the way from its home to where it lies lead over the hole?
            if distance(home, look, length) >= distance(hole, look, length) {
                self.places.swap(hole, look);
                hole = look;
            }
            look = next(look, length);
        }
    }

    /// The first that was not asked for since the hand last came by.
    fn least_asked_for(&mut self) -> usize {
        loop {
            self.hand = next(self.hand, self.places.len());
            match self.places.get_mut(self.hand) {
                Some(Some(place)) if place.asked_for => place.asked_for = false,
                Some(Some(_)) => return self.hand,
                _ => {}
            }
        }
    }
}

/// A session id is random in its second half; nobody reaches this table with an id of their own making, because the
/// token's MAC was checked before.
fn hash(id: SessionId) -> u64 {
    let tail = id.0.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
    tail.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn hash_of(place: &Place) -> u64 {
    hash(place.kept.id)
}

/// Parts are chosen by the bits from 32 on, homes by the upper ones of the lower half, whose lower ones then tell apart
/// who shares a home.
fn home(hash: u64, length: usize) -> usize {
    let wide = u64::from(low(hash)) * u64::try_from(length).unwrap_or(1);
    usize::try_from(wide >> 32).unwrap_or_default()
}

fn tag(hash: u64) -> u32 {
    low(hash)
}

fn low(hash: u64) -> u32 {
    u32::try_from(hash & 0xFFFF_FFFF).unwrap_or_default()
}

fn next(at: usize, length: usize) -> usize {
    if at + 1 < length { at + 1 } else { 0 }
}

fn distance(from: usize, to: usize, length: usize) -> usize {
    if to >= from { to - from } else { to + length - from }
}

fn free(length: usize) -> Vec<Option<Place>> {
    std::iter::repeat_with(|| None).take(length).collect()
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
