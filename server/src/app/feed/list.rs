//! What a verifier must know of one environment: ends of sessions of which an access token could still live, and ends of
//! many at once; in the order of commits, each with the place from which one goes on.
//!
//! What had ended when the list began is at its front, in no order: the records say that it had, and not when it was
//! committed. Whoever has not seen all of that begins with all of it.

use handstamp_core::epoch::Raised;
use handstamp_core::event::{Event, EventKind, Mass};
use handstamp_core::id::SessionId;
use handstamp_core::session::{Session, State};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::mint::LONGEST;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place in this list, from 1 on.
    pub(super) number: u64,
    /// Its place in the order of commits; `None` of what had ended when the list began.
    pub position: Option<u64>,
    /// What ended.
    pub what: What,
    /// From this instant on every token that it could be about is dead.
    pub until: Millis,
}

/// What ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A session.
    Session {
        /// Which.
        id: SessionId,
        /// When it ended.
        at: Millis,
        /// Its place in the status lists, if it has one.
        index: Option<u64>,
    },
    /// Many at once.
    Mass(Arc<Mass>),
}

/// The list of one environment, as far as history was read.
pub(super) struct List {
    /// Recognises positions of this line of history: those of another one are of another order, or of another store.
    pub(super) line: u64,
    /// History up to here was there when the list began.
    base: u64,
    /// History was read up to here.
    pub(super) through: u64,
    /// Everything that was committed before this instant is in it.
    pub(super) as_of: Millis,
    entries: VecDeque<Entry>,
    next: u64,
    /// When it is looked through next for what is dead.
    prune_at: Millis,
}

impl List {
    /// How often what is dead is taken out.
    const PRUNED: Span = Span::secs(5);

    /// Begins at a position of history.
    pub(super) fn new(line: u64, base: u64) -> List {
        let (through, as_of) = (base, Millis(i64::MIN));
        List { line, base, through, as_of, entries: VecDeque::new(), next: 1, prune_at: Millis(i64::MIN) }
    }

    /// A session that a record says has ended.
    pub(super) fn found(&mut self, session: &Session, now: Millis) {
        if let (State::Ended(end), Some(until)) = (&session.state, session.tokens_until) {
            let what = What::Session { id: session.id, at: end.at, index: session.status_index };
            self.add(None, what, until, now);
        }
    }

    /// An end of many that the ledger knows.
    pub(super) fn raised(&mut self, raised: &Raised, now: Millis) {
        let mass = Mass { scope: raised.scope.clone(), epoch: raised.at, except: raised.except };
        self.add(None, What::Mass(Arc::new(mass)), raised.when.plus(LONGEST), now);
    }

    /// A line of history, which comes after all that were read.
    pub(super) fn told(&mut self, position: u64, event: &Event, now: Millis) {
        if let Some((what, until)) = what_ended(event) {
            self.add(Some(position), what, until, now);
        }
    }

    fn add(&mut self, position: Option<u64>, what: What, until: Millis, now: Millis) {
        if until > now {
            self.entries.push_back(Entry { number: self.next, position, what, until });
            self.next += 1;
        }
    }

    /// What a record and a line both told of stays once, with its position.
    pub(super) fn once(&mut self) {
        let (mut sessions, mut epochs) = (HashSet::new(), HashSet::new());
        for entry in self.entries.iter().filter(|entry| entry.position.is_some()) {
            match &entry.what {
                What::Session { id, .. } => drop(sessions.insert(*id)),
                What::Mass(mass) => drop(epochs.insert(mass.epoch)),
            }
        }
        self.entries.retain(|entry| {
            entry.position.is_some()
                || match &entry.what {
                    What::Session { id, .. } => !sessions.contains(id),
                    What::Mass(mass) => !epochs.contains(&mass.epoch),
                }
        });
    }

    /// All was read that was committed before `as_of`.
    pub(super) fn is_true_at(&mut self, as_of: Millis) {
        self.as_of = self.as_of.max(as_of);
        if as_of >= self.prune_at {
            self.prune(as_of);
            self.prune_at = as_of.plus(List::PRUNED);
        }
    }

    /// Takes out what is dead.
    fn prune(&mut self, now: Millis) {
        self.entries.retain(|entry| entry.until > now);
        // A crowd that has gone leaves its room.
        if self.entries.capacity() > 4 * self.entries.len().max(1_024) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// The number of the last entry, or 0.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// How many there are, and how many bytes of memory they take without the words in ends of many.
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.capacity() * size_of::<Entry>())
    }

    /// All that are alive.
    pub(super) fn alive(&self, now: Millis) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.until > now)
    }

    /// Where whoever has seen everything up to a position goes on.
    pub(super) fn place(&self, position: Position) -> Start {
        let Position { at, line } = position;
        if line != self.line || at < self.base.saturating_sub(FAR) {
            Start::Begin
        } else if at > self.through {
            Start::Ahead
        } else if at < self.base {
            Start::Before { at, base: self.base, number: self.number(self.base) }
        } else {
            Start::Here(self.number(at))
        }
    }

    /// The number of the last entry that is not after a position.
    fn number(&self, at: u64) -> u64 {
        let place = self.entries.partition_point(|entry| entry.position.is_none_or(|p| p <= at));
        self.entries.get(place).map_or(self.last(), |entry| entry.number - 1)
    }

    /// History was read up to here, and nothing after what is known was about this environment.
    pub(super) fn reaches(&mut self, head: u64) {
        self.through = self.through.max(head);
    }

    /// The next entries after a number, at most `most`, that are alive; and the number up to which that was all.
    pub(super) fn some(&self, after: u64, until: u64, most: usize, now: Millis) -> (Vec<Entry>, u64) {
        let mut some = Vec::new();
        let place = self.entries.partition_point(|entry| entry.number <= after);
        for entry in self.entries.range(place..).take_while(|entry| entry.number <= until) {
            if some.len() == most {
                return (some, entry.number - 1);
            }
            if entry.until > now {
                some.push(entry.clone());
            }
        }
        (some, until)
    }

    /// As it is told.
    pub(super) fn position(&self, at: u64) -> Position {
        Position { at, line: self.line }
    }
}

/// What a line of history says has ended, and until when that matters.
fn what_ended(event: &Event) -> Option<(What, Millis)> {
    match (event.kind, event.session, event.tokens_until, &event.mass) {
        (EventKind::Ended, Some(id), Some(until), _) => {
            Some((What::Session { id, at: event.at, index: event.status_index }, until))
        }
        (EventKind::Revoked, _, _, Some(mass)) => {
            Some((What::Mass(Arc::new(Mass::clone(mass))), event.at.plus(LONGEST)))
        }
        _ => None,
    }
}

impl Entry {
    /// What a line of history of before a list tells, if anybody must still know that.
    pub(super) fn before(position: u64, event: &Event, now: Millis) -> Option<Entry> {
        let (what, until) = what_ended(event).filter(|(_, until)| *until > now)?;
        Some(Entry { number: 0, position: Some(position), what, until })
    }
}

/// How many positions before the beginning of a list history is read for somebody who comes with such a one; beyond that they
/// are told everything.
const FAR: u64 = 20_000;

/// Where somebody goes on who comes with a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// After the entry of this number.
    Here(u64),
    /// After a position of before the list began. What is between the two is in history; then after the entry of this number.
    Before {
        /// The position.
        at: u64,
        /// Where the list begins.
        base: u64,
        /// The number.
        number: u64,
    },
    /// History was not read up to there yet, if there is any.
    Ahead,
    /// With everything.
    Begin,
}

/// A place in the order of commits, as it is told: every node of the same store says the same, before and after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    pub(super) at: u64,
    line: u64,
}

impl Position {
    /// The place before everything.
    pub const BEGINNING: Position = Position { at: 0, line: 0 };

    /// Takes back what its text was; also `0`, the beginning.
    pub fn parse(text: &str) -> Option<Position> {
        if text == "0" {
            return Some(Position::BEGINNING);
        }
        let (at, line) = text.split_once('-')?;
        let digits = !at.is_empty() && at.bytes().all(|b| b.is_ascii_digit());
        let hex = line.len() == 16 && line.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let at = at.parse().ok().filter(|_| digits && hex)?;
        Some(Position { at, line: u64::from_str_radix(line, 16).ok()? })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:016x}", self.at, self.line)
    }
}
