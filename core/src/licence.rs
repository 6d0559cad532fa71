//! Until when a node may answer from what it holds in memory, where other nodes write to the same store.
//!
//! A node says something to itself through the stream that also tells it what others changed. When that comes back,
//! everything that was acknowledged before it was *sent* has been acted on. So the licence runs from the sending, whatever
//! time the way back took, on a clock that goes on while the machine or the process sleeps. What came late is worth less,
//! and what came too late is worth nothing.

use crate::offline::clock::Tick;
use crate::time::Span;

/// How long what is in memory may be answered from after the sending of a probe that came back. A revocation that was
/// acknowledged anywhere is refused everywhere after at most this long.
pub const LIFE: Span = Span::secs(1);
/// How often a probe is sent: four fit into a licence, so that one may be lost and one may be slow.
pub const EVERY: Span = Span::millis(250);
/// The most probes that are waited for. One that more came after is too old to be worth anything.
const WAITING: usize = 8;

/// The probes of a node, and what they are worth.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Probes {
    last: u64,
    /// Number and time of sending, the oldest first.
    waiting: [Option<(u64, Tick)>; WAITING],
    until: Option<Tick>,
}

impl Probes {
    /// A probe is about to be sent; its number, which none before it had.
    pub fn send(&mut self, now: Tick) -> u64 {
        self.last = self.last.saturating_add(1);
        self.waiting.rotate_left(1);
        let [.., last] = &mut self.waiting;
        *last = Some((self.last, now));
        self.last
    }

    /// A probe came back, and everything that came before it has been acted on. Until when there is a licence then; `None`:
    /// that is no news.
    pub fn came_back(&mut self, number: u64) -> Option<Tick> {
        let sent = self.waiting.iter().flatten().find(|(waiting, _)| *waiting == number)?.1;
        // What was sent before it says less, whenever it comes.
        for place in &mut self.waiting {
            *place = place.filter(|(waiting, _)| *waiting > number);
        }
        let until = sent.plus(LIFE);
        if self.until.is_some_and(|known| known >= until) {
            return None;
        }
        self.until = Some(until);
        self.until
    }

    /// Something was missed: there is no licence until a probe comes back that is sent from now on.
    pub fn gap(&mut self) {
        self.waiting = [None; WAITING];
        self.until = None;
    }
}

/// Whether a licence that runs until then is one at `now`.
pub fn is_good(until: Tick, now: Tick) -> bool {
    now < until
}

/// Whether a licence that runs until then is of a probe that was sent after `since`: whatever was acknowledged anywhere by then has
/// been acted on.
pub fn knows(until: Tick, since: Tick) -> bool {
    since.plus(LIFE) < until
}
