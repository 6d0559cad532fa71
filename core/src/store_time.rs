//! What time it is where several nodes use one store: the store's time, so that all nodes agree, whatever their own clocks say.
//!
//! The store says its time whenever a probe is sent; in between, the node's own clock, which nobody sets, goes on from there.
//! Of the last few measurements the one counts that knows best: the least time went by between the question and the answer.

use crate::offline::clock::Tick;
use crate::time::Millis;

/// How many measurements are looked at: two seconds of probes.
const LOOKED_AT: usize = 8;
/// Two clocks that run may drift apart by one part in this many.
const DRIFT: i64 = 2_000;
/// A time in milliseconds leaves out up to this many microseconds.
const ROUNDED: i64 = 1_000;

/// The last few measurements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreTime {
    /// The newest last.
    measured: [Option<Measured>; LOOKED_AT],
}

/// How far the store's time is ahead of the node's clock: in microseconds, between these two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Measured {
    least: i64,
    most: i64,
    at: Tick,
}

/// How far the store's time is ahead of the node's clock, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Offset(pub i64);

impl Measured {
    const fn width(self) -> i64 {
        self.most.saturating_sub(self.least)
    }

    /// How far the two clocks may have drifted apart since, by a later reading.
    fn drift(self, later: Tick) -> i64 {
        later.0.saturating_sub(self.at.0).max(0) / DRIFT
    }

    /// How wrong it may be at a later reading.
    fn doubt(self, later: Tick) -> i64 {
        self.width().saturating_add(self.drift(later).saturating_mul(2))
    }

    /// Whether both can be true of clocks that only drift.
    fn agrees_with(self, newer: Measured) -> bool {
        let drift = self.drift(newer.at) + 1;
        self.least.saturating_sub(drift) <= newer.most && newer.least <= self.most.saturating_add(drift)
    }
}

impl StoreTime {
    /// The store said `told`, at an instant between `asked` and `heard`.
    pub fn measured(&mut self, told: Millis, asked: Tick, heard: Tick) -> Offset {
        let micros = told.0.saturating_mul(1_000);
        let newest = Measured {
            least: micros.saturating_sub(heard.0),
            most: micros.saturating_add(ROUNDED).saturating_sub(asked.0),
            at: heard,
        };
        // Where they cannot both be true, the store's clock was set, or it is another one: what is older is no longer so.
        for place in &mut self.measured {
            *place = place.filter(|known| known.agrees_with(newest));
        }
        self.measured.rotate_left(1);
        let [.., last] = &mut self.measured;
        *last = Some(newest);
        // Of equals the newest.
        let best = self.measured.iter().rev().flatten().min_by_key(|known| known.doubt(heard));
        let best = best.copied().unwrap_or(newest);
        Offset(best.least.saturating_add(best.width() / 2))
    }
}

impl Offset {
    /// The store's time at a reading of the node's clock.
    pub const fn at(self, tick: Tick) -> Millis {
        Millis(tick.0.saturating_add(self.0).div_euclid(1_000))
    }
}
