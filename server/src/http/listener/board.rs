//! Who is connected, and by when each of them must have moved on.
//!
//! A timer per request would cost more than the request's parsing. Here a connection notes a deadline as one number in
//! its own seat (a store without contention, on a clock that is read a few times a second for everybody), and one loop
//! over all seats, at every tick, wakes the connections whose time is up. Seats are taken and left under one lock, once
//! per connection, never per request.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::limits::{Limits, SPARE_SEATS, SPARE_SEATS_PER_PEER};
use super::refusal::Refusal;

/// What a connection is doing, as far as deadlines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before HTTP: what a proxy says of its client, then the TLS handshake; each has the whole time.
    Handshake,
    /// Connected, and not a byte of a request yet.
    Fresh,
    /// In a header.
    Header,
    /// In a body.
    Body,
    /// A door is at work; it has its own limits.
    Working,
    /// Between two requests.
    Idle,
    /// Refused, and being waited for to take the refusal.
    Linger,
}

const PHASES: [Phase; 7] =
    [Phase::Handshake, Phase::Fresh, Phase::Header, Phase::Body, Phase::Working, Phase::Idle, Phase::Linger];

/// How far the one request that may be under way on a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// None is under way.
    None = 0,
    /// Its header was let through to the parser.
    Admitted = 1,
    /// A door has it.
    Called = 2,
    /// The door has answered; the answer is being written.
    Answered = 3,
}

/// How urgently the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Urgency {
    Serving = 0,
    Draining = 1,
    Cutting = 2,
}

/// A connection's overdue deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Reading(Phase),
    Writing,
}

const NEVER: u64 = u64::MAX;

/// One connection's place on the board.
pub(super) struct Seat {
    pub(super) board: Arc<Board>,
    pub(super) serial: u64,
    /// If set: only health checks are served here, all else is refused with this.
    pub(super) full: Option<Refusal>,
    /// `None`: somebody's whom a proxy has yet to name.
    peer: Option<IpAddr>,
    /// Milliseconds on the board's clock times eight, plus the number of the phase: one word, so that both change at once.
    due: AtomicU64,
    write_due: AtomicU64,
    stage: AtomicU8,
    /// Bytes of the next request are here and wait for the end of this one.
    queued: AtomicBool,
    pub(super) waker: AtomicWaker,
}

impl Seat {
    pub(super) fn phase(&self) -> Phase {
        let number = self.due.load(Relaxed) & 7;
        PHASES.into_iter().find(|phase| *phase as u64 == number).unwrap_or(Phase::Idle)
    }

    /// Enters `phase`, unless the connection is in it already; from now on its limit counts.
    pub(super) fn change_to(&self, phase: Phase) {
        match (self.phase(), phase) {
            (now, then) if now == then => {}
            (Phase::Fresh, Phase::Header) => {
                // The first bytes have come; but the time runs since the connection was accepted.
                let due = self.due.load(Relaxed) >> 3;
                self.due.store(due << 3 | Phase::Header as u64, Relaxed);
            }
            _ => self.enter(phase),
        }
    }

    /// Enters `phase`; from now on its limit counts, also if it was in it already.
    pub(super) fn enter(&self, phase: Phase) {
        let limits = &self.board.limits;
        let due = match phase {
            Phase::Handshake => self.board.after(limits.handshake),
            Phase::Fresh | Phase::Header => self.board.after(limits.header_read),
            Phase::Body => self.board.after(limits.body_read),
            Phase::Idle => self.board.after(limits.idle),
            Phase::Linger => self.board.after(super::limits::LINGER),
            Phase::Working => NEVER >> 3,
        };
        self.due.store(due << 3 | phase as u64, Relaxed);
    }

    /// The client takes nothing.
    pub(super) fn write_stalls(&self) {
        self.write_due.store(self.board.after(self.board.limits.write_stall), Relaxed);
    }

    /// The client takes something again. The time to rest counts from the last byte it took.
    pub(super) fn write_moves(&self) {
        self.write_due.store(NEVER, Relaxed);
        if self.phase() == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    pub(super) fn is_write_stalled(&self) -> bool {
        self.write_due.load(Relaxed) != NEVER
    }

    /// Which deadline has passed, if any.
    pub(super) fn overdue(&self) -> Option<Overdue> {
        let now = self.board.now.load(Relaxed);
        let due = self.due.load(Relaxed);
        if self.write_due.load(Relaxed) <= now {
            Some(Overdue::Writing)
        } else if due >> 3 <= now {
            Some(Overdue::Reading(self.phase()))
        } else {
            None
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::None,
            1 => Stage::Admitted,
            2 => Stage::Called,
            _ => Stage::Answered,
        }
    }

    /// May the next request begin? Not before the last answer is written.
    pub(super) fn may_begin(&self) -> bool {
        self.stage() == Stage::None && !self.is_write_stalled()
    }

    /// The next request waits for the end of this one.
    pub(super) fn queue(&self) {
        self.queued.store(true, Relaxed);
    }

    /// Does a request wait whose turn it is now? Says so once.
    pub(super) fn take_queued(&self) -> bool {
        let ready = self.queued.load(Relaxed) && self.may_begin();
        if ready {
            self.queued.store(false, Relaxed);
        }
        ready
    }

    /// The request that was under way is over.
    pub(super) fn over(&self) {
        self.set_stage(Stage::None);
        if self.phase() == Phase::Working {
            self.enter(Phase::Idle);
        }
    }

    /// Only the connection's own task, and what it holds, move the stage.
    pub(super) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }
}

/// All connections of one listener.
pub(super) struct Board {
    pub(super) limits: Limits,
    /// Milliseconds since the listener started, as of the last tick.
    now: AtomicU64,
    tick_ms: u64,
    urgency: AtomicU8,
    seats: Mutex<Seats>,
    /// Told when the last seat is left while draining.
    pub(super) emptied: Notify,
}

#[derive(Default)]
struct Seats {
    taken: HashMap<u64, Arc<Seat>>,
    by_peer: HashMap<IpAddr, usize>,
    next_serial: u64,
}

/// A seat that is left when this is dropped, however the connection ends.
pub(super) struct Seated(pub(super) Arc<Seat>);

impl Board {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let tick_ms = millis(limits.tick());
        Arc::new(Board {
            limits,
            now: AtomicU64::new(0),
            tick_ms,
            urgency: AtomicU8::new(Urgency::Serving as u8),
            seats: Mutex::default(),
            emptied: Notify::new(),
        })
    }

    /// A deadline: rounded up by one tick, because the clock is up to one tick behind, and a limit is never cut short.
    fn after(&self, limit: Duration) -> u64 {
        self.now.load(Relaxed).saturating_add(millis(limit)).saturating_add(self.tick_ms).min(NEVER >> 3)
    }

    /// Gives a connection its seat; `None` if there is not even a spare one. One whose client is not known yet counts
    /// among all, and towards no address.
    pub(super) fn seat(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Seated> {
        self.place(peer, 0)
    }

    /// Moves a connection to a seat of the client that a proxy has named, as if it had come by itself.
    pub(super) fn reseat(self: &Arc<Self>, seated: Seated, peer: IpAddr) -> Option<Seated> {
        // The old one is left afterwards: a draining server must not see an empty house in between.
        let moved = self.place(Some(peer), 1);
        drop(seated);
        moved
    }

    /// `leaving`: how many of the seats that are taken are about to be left.
    fn place(self: &Arc<Self>, peer: Option<IpAddr>, leaving: usize) -> Option<Seated> {
        let peer = peer.map(one_client);
        let mut seats = self.seats();
        let taken = seats.taken.len().saturating_sub(leaving);
        let here = peer.and_then(|peer| seats.by_peer.get(&peer)).copied().unwrap_or(0);
        let most_here = match self.limits.max_connections_per_peer {
            0 => usize::MAX,
            most => most,
        };
        let full = if taken >= self.limits.max_connections {
            Some(Refusal::Busy)
        } else if here >= most_here {
            Some(Refusal::PeerBusy)
        } else {
            None
        };
        if taken >= self.limits.max_connections.saturating_add(SPARE_SEATS)
            || here >= most_here.saturating_add(SPARE_SEATS_PER_PEER)
        {
            return None;
        }
        let serial = seats.next_serial;
        seats.next_serial += 1;
        let seat = Arc::new(Seat {
            board: Arc::clone(self),
            serial,
            full,
            peer,
            due: AtomicU64::new(NEVER),
            write_due: AtomicU64::new(NEVER),
            stage: AtomicU8::new(Stage::None as u8),
            queued: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        seats.taken.insert(serial, Arc::clone(&seat));
        if let Some(peer) = peer {
            seats.by_peer.insert(peer, here + 1);
        }
        Some(Seated(seat))
    }

    /// Sets the clock and wakes every connection whose time is up.
    pub(super) fn tick(&self, since_start: Duration) {
        self.now.store(millis(since_start), Relaxed);
        for seat in self.seats().taken.values() {
            if seat.overdue().is_some() {
                seat.waker.wake();
            }
        }
    }

    /// From now on the server ends, and every connection is told.
    pub(super) fn raise(&self, urgency: Urgency) {
        self.urgency.store(urgency as u8, SeqCst);
        for seat in self.seats().taken.values() {
            seat.waker.wake();
        }
    }

    pub(super) fn urgency(&self) -> Urgency {
        match self.urgency.load(SeqCst) {
            0 => Urgency::Serving,
            1 => Urgency::Draining,
            _ => Urgency::Cutting,
        }
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.seats().taken.len()
    }

    /// A panic elsewhere leaves the map whole: every change to it is one call.
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let board = &self.0.board;
        let mut seats = board.seats();
        seats.taken.remove(&self.0.serial);
        if let Some(peer) = &self.0.peer
            && let Some(here) = seats.by_peer.get_mut(peer)
        {
            *here -= 1;
            if *here == 0 {
                seats.by_peer.remove(peer);
            }
        }
        if seats.taken.is_empty() && board.urgency() != Urgency::Serving {
            board.emptied.notify_one();
        }
    }
}

/// One client's address: an IPv6 host owns a whole /64, and an IPv4 address may come written as IPv6.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}
