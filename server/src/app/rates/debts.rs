//! Who owes what: a bounded table from the name of a subject to the instant at which it has paid everything back.
//!
//! Whoever has paid everything back is worth nothing here and goes first. So the table is as large as there are debts:
//! it begins empty, grows while it is more than half full of them, and never beyond its bound. Only when it is full of
//! debts there, those go that would be paid soonest, an eighth of a part at a time. Who has asked most is kept longest,
//! so nobody loses their own debt by asking in many other names; what is lost are debts of a few requests.
//!
//! Where several nodes share budgets, a part also has a note of who spent in the last seconds, for the others; it has a bound,
//! too, and who spent least goes first.

use handstamp_core::policy::modes::Rate;
use handstamp_core::rate::shared::{Recent, Told, hear};
use handstamp_core::rate::{Due, Over, Standing, bounded, spend};
use handstamp_core::time::Millis;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Debts by name. Names are keyed hashes, and never 0.
pub struct Debts {
    parts: Box<[Mutex<Part>]>,
    /// Whether other nodes are to be told.
    shared: bool,
}

/// So many callers can spend at once without waiting for each other.
const PARTS: usize = 64;
/// What a part begins with when it has anything at all.
const LEAST: usize = 16;
/// The most places of a part.
const MOST: usize = 1 << 14;
/// The most notes of a part for other nodes.
const NOTES: usize = 256;

#[derive(Default)]
struct Part {
    /// Linear probing; at most three quarters are taken, so that looking for a name ends soon. Nothing is taken out of
    /// it: it is laid out again without what is worth nothing.
    places: Vec<Place>,
    taken: usize,
    evicted: u64,
    recent: HashMap<u64, Recent>,
    /// Notes of what was spent that had to go before the others were told.
    untold: u64,
}

/// What a table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Subjects in it. Some may have paid everything back meanwhile.
    pub held: usize,
    /// Bytes that it takes.
    pub bytes: usize,
    /// Subjects that had to go before they had paid, since the start.
    pub evicted: u64,
}

/// A name and what it owes; the name 0 is a free place.
#[derive(Clone, Copy, Default)]
struct Place {
    name: u64,
    due: Due,
}

impl Default for Debts {
    fn default() -> Debts {
        Debts::new(false)
    }
}

impl Debts {
    /// An empty table; `shared`: it notes what other nodes are to be told.
    pub fn new(shared: bool) -> Debts {
        Debts { parts: (0..PARTS).map(|_| Mutex::default()).collect(), shared }
    }

    /// The most bytes that it takes: 16 MiB.
    pub const BYTES: usize = PARTS * MOST * size_of::<Place>();
    /// So many debts it always has room for, if they are spread evenly; from here on some may go.
    pub const ROOM: usize = PARTS * (MOST / 8 * 5);

    /// Spends one request of the budget of `name`. Two that come together spend one after the other.
    ///
    /// # Errors
    /// [`Over`]: the budget does not cover it.
    pub fn spend(&self, name: u64, rate: Rate, now: Millis) -> Result<Standing, Over> {
        let mut part = self.part(name);
        let known = part.find(name);
        let before = bounded(part.due(known), rate, now);
        let spent = spend(before, rate, now);
        let after = spent.as_ref().map_or(before, |(after, _)| *after);
        part.set(known, Place { name, due: after }, now);
        if self.shared && spent.is_ok() {
            part.note(name).paid(before, after, Due::at(now));
        }
        spent.map(|(_, standing)| standing)
    }

    /// Adds what another node told of `name`.
    pub fn hear(&self, name: u64, told: Told, now: Millis) {
        let mut part = self.part(name);
        let known = part.find(name);
        let before = part.due(known);
        let due = hear(before, part.note(name), told, Due::at(now));
        part.set(known, Place { name, due }, now);
    }

    /// What the others are to be told of each; they know it from now on. At most once in
    /// [`TURN`](handstamp_core::rate::shared::TURN).
    pub fn tell(&self) -> Vec<(u64, Told)> {
        let mut all = Vec::new();
        for part in &self.parts {
            lock(part).recent.retain(|name, recent| {
                all.extend(recent.tell().map(|told| (*name, told)));
                recent.turn()
            });
        }
        all
    }

    /// They were not told.
    pub fn untold(&self, all: &[(u64, Told)]) {
        for (name, told) in all {
            self.part(*name).note(*name).untold(*told);
        }
    }

    /// How often something was spent of which the others will not hear, for want of room.
    pub fn kept_back(&self) -> u64 {
        self.parts.iter().map(|part| lock(part).untold).sum()
    }

    /// Gives back the memory of what is paid: called now and then, so that a flood leaves nothing behind.
    pub fn tidy(&self, now: Millis) {
        for part in &self.parts {
            let mut part = lock(part);
            if part.taken > 0 {
                part.lay_out(now);
            }
            if part.recent.is_empty() {
                part.recent.shrink_to_fit();
            }
        }
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        self.parts.iter().map(|part| lock(part)).fold(Usage::default(), |sum, part| Usage {
            held: sum.held + part.taken,
            bytes: sum.bytes + part.places.capacity() * size_of::<Place>(),
            evicted: sum.evicted + part.evicted,
        })
    }

    fn part(&self, name: u64) -> MutexGuard<'_, Part> {
        let index = usize::try_from(name >> 32).unwrap_or_default() % PARTS;
        #[expect(clippy::indexing_slicing, reason = "the remainder of their number")]
        lock(&self.parts[index])
    }
}

impl Part {
    fn find(&self, name: u64) -> Option<usize> {
        let mut at = home(name, self.places.len())?;
        loop {
            let held = self.places.get(at)?.name;
            if held == name {
                return Some(at);
            }
            if held == 0 {
                return None;
            }
            at = next(at, self.places.len());
        }
    }

    fn due(&self, known: Option<usize>) -> Due {
        known.and_then(|at| self.places.get(at)).map_or(Due::default(), |place| place.due)
    }

    fn set(&mut self, known: Option<usize>, place: Place, now: Millis) {
        match known.and_then(|at| self.places.get_mut(at)) {
            Some(known) => known.due = place.due,
            // Whoever owes nothing needs no place.
            None if place.due <= Due::at(now) => {}
            None => self.put(place, now),
        }
    }

    /// The note of a name. Where there is no room for one more, the half of the notes goes that says least.
    fn note(&mut self, name: u64) -> &mut Recent {
        if self.recent.len() >= NOTES && !self.recent.contains_key(&name) {
            let mut all: Vec<(u64, u64)> =
                self.recent.iter().map(|(name, note)| (note.spent(), *name)).collect();
            let half = all.len() / 2;
            let (_, _, _) = all.select_nth_unstable(half);
            for (spent, name) in all.iter().take(half) {
                self.untold += u64::from(*spent > 0);
                self.recent.remove(name);
            }
        }
        self.recent.entry(name).or_default()
    }

    fn put(&mut self, place: Place, now: Millis) {
        if self.taken * 4 >= self.places.len() * 3 {
            self.lay_out(now);
        }
        self.settle(place);
    }

    fn settle(&mut self, place: Place) {
        let Some(mut at) = home(place.name, self.places.len()) else { return };
        while let Some(held) = self.places.get_mut(at) {
            if held.name == 0 {
                *held = place;
                self.taken += 1;
                return;
            }
            at = next(at, self.places.len());
        }
    }

    /// Lays the debts out again: twice as many places while more than half would be taken, half as many while less than
    /// an eighth would be. Afterwards at most five eighths are taken.
    fn lay_out(&mut self, now: Millis) {
        let now = Due::at(now);
        let mut debts: Vec<Place> =
            self.places.iter().copied().filter(|place| place.name != 0 && place.due > now).collect();
        let mut length = self.places.len().max(LEAST);
        if debts.len() * 2 > length {
            length = (length * 2).min(MOST);
        }
        while length > LEAST && debts.len() * 8 < length {
            length /= 2;
        }
        let room = length / 8 * 5;
        if debts.len() > room {
            let goes = debts.len() - length / 2;
            self.evicted += u64::try_from(goes).unwrap_or(u64::MAX);
            // Among equals those who lie side by side must not go together: the rest would crowd in one half of the places,
            // and looking for a name would take ever longer. The upper half of a name says nothing of where it lies.
            let (_, _, _) = debts.select_nth_unstable_by_key(goes, |place| (place.due, place.name >> 32));
            debts.drain(..goes);
        }
        self.places.clear();
        self.places.resize(length, Place::default());
        self.places.shrink_to(length);
        self.taken = 0;
        debts.into_iter().for_each(|place| self.settle(place));
    }
}

/// The lower half of a name says where it lies, as parts are chosen by the upper one. `None`: there is no place at all.
fn home(name: u64, length: usize) -> Option<usize> {
    let low = usize::try_from(name & 0xFFFF_FFFF).unwrap_or_default();
    // The length is a power of two.
    length.checked_sub(1).map(|mask| low & mask)
}

fn next(at: usize, length: usize) -> usize {
    if at + 1 < length { at + 1 } else { 0 }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
