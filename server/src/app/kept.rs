//! A session as the cache keeps it: packed as the store has it, because as a value with all its parts it takes twice the
//! memory, and a hit has time for taking it apart.
//!
//! What only a late or stolen token would be judged by is left out: those are decided on a fresh load in any case.

use crate::codec::session::{unpack, write};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::session::Session;
use handstamp_core::time::{Millis, Span};
use serde_json::value::RawValue;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A session as it is told of: the record and its data in the clear.
pub struct Held {
    /// Where it lives.
    pub env: EnvironmentId,
    /// Without its sealed data.
    pub session: Session,
    /// Its data in the clear: JSON text.
    pub data: Option<Arc<RawValue>>,
}

/// How far a session's activity is known, and how far it is written.
pub struct Mark {
    /// The last activity known here, in milliseconds.
    pub seen: AtomicI64,
    /// The last activity that was handed on to be written, in milliseconds.
    pub offered: AtomicI64,
    /// Set once nobody finds it in the cache: whoever still holds it hands activity on at once.
    pub gone: AtomicBool,
}

impl Mark {
    /// `gone`: it is in no cache.
    pub fn new(seen: Millis, offered: Millis, gone: bool) -> Mark {
        Mark { seen: AtomicI64::new(seen.0), offered: AtomicI64::new(offered.0), gone: AtomicBool::new(gone) }
    }
    /// Whether activity at `now` must be durable before it is answered. Then it is also judged in the bucket's turn:
    /// otherwise somebody who does not know of it yet could find the session idle at the same moment.
    pub fn must_be_written(&self, idle: Span, now: Millis) -> bool {
        now.since(Millis(self.offered.load(Ordering::SeqCst))).0 > idle.0 / 2
    }
    /// The last activity.
    pub fn last_seen(&self) -> Millis {
        Millis(self.seen.load(Ordering::SeqCst))
    }
}

/// A session in the cache.
pub struct Kept {
    /// Where it lives; a lookup in another environment does not find it.
    pub env: EnvironmentId,
    /// Which.
    pub id: SessionId,
    /// Its activity.
    pub mark: Mark,
    data: Option<Arc<RawValue>>,
    agent: Option<Arc<str>>,
    last_agent: Option<Arc<str>>,
    packed: Box<[u8]>,
}

impl Kept {
    /// Packs what was loaded.
    pub fn new(held: &Held, mark: Mark) -> Kept {
        let mut slim = held.session.clone();
        slim.chain.previous = None;
        slim.chain.noted = Vec::new();
        let agent = slim.client.user_agent.take();
        let last_agent = slim.last_client.as_mut().and_then(|last| last.user_agent.take());
        // A copy: shrinking what the writer had leaves the rest of it unused.
        let packed = Box::from(write(&slim, mark.last_seen()).as_slice());
        Kept { env: held.env, id: slim.id, mark, data: held.data.clone(), agent, last_agent, packed }
    }

    /// Takes it apart again. `None` cannot be; whoever gets it loads afresh.
    pub fn unpack(&self) -> Option<Held> {
        let (mut session, _) = unpack(self.id, &self.packed).ok()?;
        session.client.user_agent = self.agent.clone();
        if let Some(last) = &mut session.last_client {
            last.user_agent = self.last_agent.clone();
        }
        Some(Held { env: self.env, session, data: self.data.clone() })
    }

    /// What it takes: its allocations, rounded up as allocators do, and its place in the table.
    pub fn bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        const PLACE: usize = 96;
        let data = self.data.as_ref().map_or(0, |data| allocated(COUNTS + data.get().len()));
        PLACE + allocated(COUNTS + size_of::<Kept>()) + allocated(self.packed.len()) + data
    }
}

const fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of(16) + 8
}
