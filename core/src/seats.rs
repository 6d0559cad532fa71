//! Seats: how many sessions of all users may carry one tag.
//!
//! Users live in different buckets, so no commit can count them all. A ledger per tag bounds from above how many live,
//! and a session that is to be made holds a seat before it is: if it is made in time, it was counted already; if not, its
//! lease ends. So a crash costs a seat for one lease, and there is never one too many.

use crate::id::SessionId;
use crate::limit::{Counted, OnLimit, Room, room};
use crate::time::{Millis, Span};
use std::collections::BTreeSet;

/// How long a seat is held for a session that is to be made.
pub const LEASE: Span = Span::secs(60);
/// How much of the lease must be left when the commit begins that needs it: a commit takes far less.
pub const MARGIN: Span = Span::secs(30);
/// How long after a change of the rules somebody may still act by those of before.
pub const SETTLING: Span = Span::secs(60);
/// How often is counted anew meanwhile.
const AGAIN: Span = Span::secs(1);
/// The most nodes that need not count again when another one of them took a seat.
pub const BASES: usize = 16;

/// One time under certain rules of seats: before it, sessions may have been made that no ledger knows of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Basis {
    /// Told from every other.
    pub name: [u8; 16],
    /// When it began.
    pub since: Millis,
}

/// A seat that is held for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// For which.
    pub session: SessionId,
    /// Until when: whoever commits later is too late.
    pub until: Millis,
}

impl Held {
    /// Whether there is time for the commit.
    pub fn is_in_time(&self, now: Millis) -> bool {
        now.plus(MARGIN) <= self.until
    }
}

/// What is known of the seats of one tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Under which rules it was counted: each node has a time of its own under the same rules, and counts once. The newest last.
    pub bases: Vec<[u8; 16]>,
    /// When.
    pub counted_at: Millis,
    /// Never less than the live sessions with the tag and those that seats are held for.
    pub taken: u32,
    /// The seats that are held, those of sessions that were made meanwhile among them, in the order of their leases.
    pub held: Vec<Held>,
}

impl Ledger {
    /// Takes a seat where there surely is one; `None`: those who sit must be counted.
    pub fn take(&self, session: SessionId, most: u32, basis: &Basis, now: Millis) -> Option<(Ledger, Held)> {
        let settles = basis.since.plus(SETTLING);
        let is_young = self.counted_at < settles && self.counted_at.plus(AGAIN) <= now;
        if !self.bases.contains(&basis.name) || is_young || self.taken >= most {
            return None;
        }
        Some(self.with(session, now))
    }

    /// With a seat for the session.
    pub fn with(&self, session: SessionId, now: Millis) -> (Ledger, Held) {
        let held = Held { session, until: now.plus(LEASE) };
        let mut next = self.clone();
        // A lease that is over frees nothing by itself: the session may have been made. The next count knows.
        next.held.retain(|held| held.until > now);
        next.held.push(held);
        next.taken = next.taken.saturating_add(1);
        (next, held)
    }

    /// Whoever takes a seat next counts: a node has made sessions that the ledger does not know.
    #[must_use]
    pub fn doubted(mut self) -> Ledger {
        self.bases.clear();
        self
    }

    /// Without the leases of sessions that have been made: these are counted, and nobody waits for them any more.
    #[must_use]
    pub fn without(mut self, made: &[SessionId]) -> Ledger {
        self.held.retain(|held| !made.contains(&held.session));
        self
    }

    /// Gives a seat back that nobody will sit on; `None` when it is not held any more.
    pub fn release(&self, held: &Held) -> Option<Ledger> {
        let place = self.held.iter().position(|known| known == held)?;
        let mut next = self.clone();
        next.held.remove(place);
        next.taken = next.taken.saturating_sub(1);
        Some(next)
    }
}

/// Those who sit on the seats of a tag, and those who are about to.
pub struct Count {
    live: Vec<Counted>,
    coming: Vec<Held>,
    bases: Vec<[u8; 16]>,
}

/// What a count comes to for one more session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seat {
    /// There is one.
    Free,
    /// There is, once these have ended.
    Evict(Vec<SessionId>),
    /// There is none, and nobody ends for it.
    Full,
    /// All are held for sessions that are about to be made, and none of these can be ended yet.
    Wait,
}

impl Count {
    /// Counts the `live` and those that seats are held for: not twice, and none that has `ended`.
    pub fn new(ledger: Option<&Ledger>, live: Vec<Counted>, ended: &[SessionId], now: Millis) -> Count {
        let known: BTreeSet<SessionId> = live.iter().map(|c| c.id).chain(ended.iter().copied()).collect();
        let held = ledger.into_iter().flat_map(|ledger| &ledger.held);
        let coming = held.filter(|held| held.until > now && !known.contains(&held.session)).copied();
        let bases = ledger.map_or_else(Vec::new, |ledger| ledger.bases.clone());
        Count { coming: coming.collect(), live, bases }
    }

    /// How many seats are taken.
    pub fn current(&self) -> u32 {
        u32::try_from(self.live.len() + self.coming.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is room for one more.
    pub fn seat(&self, most: u32, mode: OnLimit) -> Seat {
        let coming = u32::try_from(self.coming.len()).unwrap_or(u32::MAX);
        match room(&self.live, most.saturating_sub(coming), mode) {
            Room::Free => Seat::Free,
            Room::Evict(going) => Seat::Evict(going),
            Room::Full { .. } if mode == OnLimit::Reject => Seat::Full,
            Room::Full { .. } => Seat::Wait,
        }
    }

    /// What is known once `gone` have ended. It was counted at `counted_at`.
    pub fn ledger(&self, basis: &Basis, gone: &[SessionId], counted_at: Millis) -> Ledger {
        let gone = u32::try_from(gone.len()).unwrap_or(u32::MAX);
        let taken = self.current().saturating_sub(gone);
        // What one has counted is right for all who act by these rules.
        let mut bases = self.bases.clone();
        bases.retain(|known| *known != basis.name);
        bases.push(basis.name);
        bases.drain(..bases.len().saturating_sub(BASES));
        Ledger { bases, counted_at, taken, held: self.coming.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Bucket;

    const NOW: Millis = Millis(1_000_000);
    const BASIS: Basis = Basis { name: [1; 16], since: Millis(0) };

    fn id(n: i64) -> SessionId {
        SessionId::new(Millis(n), Bucket::new(0), [0; 9])
    }
    fn live(of: &[i64]) -> Vec<Counted> {
        of.iter().map(|n| Counted { id: id(*n), seen: Millis(100 - n) }).collect()
    }
    fn empty() -> Ledger {
        Ledger { bases: vec![BASIS.name], counted_at: NOW, taken: 0, held: Vec::new() }
    }

    #[test]
    fn a_seat_is_taken_where_there_surely_is_one() {
        let (one, held) = empty().take(id(1), 2, &BASIS, NOW).unwrap();
        assert_eq!((one.taken, one.held.as_slice(), held.until), (1, &[held][..], NOW.plus(LEASE)));
        let (two, _) = one.take(id(2), 2, &BASIS, NOW).unwrap();
        assert_eq!(two.take(id(3), 2, &BASIS, NOW), None);
        assert!(two.take(id(3), 3, &BASIS, NOW).is_some());
        // Counted under other rules.
        assert_eq!(one.take(id(2), 9, &Basis { name: [2; 16], ..BASIS }, NOW), None);
        // A lease that is over is forgotten, but its seat is not free before somebody has counted.
        let (next, _) = two.take(id(3), 9, &BASIS, NOW.plus(LEASE)).unwrap();
        assert_eq!((next.taken, next.held.len()), (3, 1));
        let (next, _) = two.take(id(3), 9, &BASIS, NOW.plus(Span(LEASE.0 - 1))).unwrap();
        assert_eq!((next.taken, next.held.len()), (3, 3));
    }

    #[test]
    fn for_a_minute_after_a_change_it_is_counted_each_second() {
        let young = Basis { since: NOW, ..BASIS };
        let at = |counted_at: i64, now: i64| {
            let ledger = Ledger { counted_at: NOW.plus(Span(counted_at)), ..empty() };
            ledger.take(id(1), 9, &young, NOW.plus(Span(now))).is_some()
        };
        assert!(at(0, 999) && !at(0, 1_000));
        assert!(at(59_999, 60_998) && !at(59_999, 60_999));
        assert!(at(60_000, 1_000_000));
        assert!(!at(59_000, 1_000_000), "who came late in that minute is counted after it");
    }

    #[test]
    fn a_seat_is_given_back_once() {
        let (one, held) = empty().with(id(1), NOW);
        let (two, again) = one.with(id(1), NOW);
        assert_eq!((two.taken, held), (2, again));
        let back = two.release(&held).unwrap().release(&again).unwrap();
        assert_eq!((back.taken, back.held.len()), (0, 0));
        assert_eq!(back.release(&held), None);
        // Of a session that was made, nothing is given back.
        assert_eq!(one.clone().without(&[id(1)]).release(&held), None);
        assert_eq!(one.without(&[id(1)]).taken, 1);
        assert!(held.is_in_time(NOW.plus(Span::secs(30))) && !held.is_in_time(NOW.plus(Span(30_001))));
    }

    #[test]
    fn both_sides_of_the_seats_in_each_mode() {
        let (ledger, _) = empty().with(id(9), NOW);
        let (ledger, _) = ledger.with(id(3), NOW);
        let (ledger, _) = ledger.with(id(8), NOW);
        // 3 was made, 8 was made and has ended, 9 is still to come.
        let count = Count::new(Some(&ledger), live(&[1, 2, 3]), &[id(8)], NOW);
        assert_eq!(count.current(), 4);
        for (most, oldest, least_recent) in [
            (5, Seat::Free, Seat::Free),
            (4, Seat::Evict(vec![id(1)]), Seat::Evict(vec![id(3)])),
            (3, Seat::Evict(vec![id(1), id(2)]), Seat::Evict(vec![id(3), id(2)])),
            (1, Seat::Wait, Seat::Wait),
        ] {
            assert_eq!(count.seat(most, OnLimit::EndOldest), oldest);
            assert_eq!(count.seat(most, OnLimit::EndLeastRecent), least_recent);
            let full = if most == 5 { Seat::Free } else { Seat::Full };
            assert_eq!(count.seat(most, OnLimit::Reject), full);
        }
        let next = count.ledger(&BASIS, &[id(1)], NOW);
        assert_eq!((next.taken, next.held.len()), (3, 1));
        // Each node counts once, and what it counted is right for the others.
        let of = |n: u8| Basis { name: [n; 16], ..BASIS };
        let both = Count::new(Some(&next), Vec::new(), &[], NOW).ledger(&of(2), &[], NOW);
        assert!(both.take(id(4), 9, &BASIS, NOW).is_some() && both.take(id(4), 9, &of(2), NOW).is_some());
        assert_eq!(both.take(id(4), 9, &of(3), NOW), None);
        assert_eq!(both.clone().doubted().take(id(4), 9, &BASIS, NOW), None);
        let many = (3..40)
            .fold(both, |ledger, n| Count::new(Some(&ledger), Vec::new(), &[], NOW).ledger(&of(n), &[], NOW));
        assert_eq!((many.bases.len(), many.bases.last()), (BASES, Some(&[39; 16])));
        // A lease ends at its very instant.
        let ledger = Some(&ledger);
        assert_eq!(Count::new(ledger, live(&[1]), &[], NOW.plus(LEASE)).current(), 1);
        assert_eq!(Count::new(ledger, live(&[1]), &[], NOW.plus(Span(LEASE.0 - 1))).current(), 4);
        assert_eq!(Count::new(None, Vec::new(), &[], NOW).seat(1, OnLimit::Reject), Seat::Free);
    }
}
