//! A session as the cache keeps it: packed as the store has it, in one piece, and judged and answered from where it lies.
//! As a value with all its parts it takes twice the memory, and a hit would wait for memory eight times instead of twice.
//!
//! What only a late or stolen token would be judged by is left out: those are decided on a fresh load in any case.

use super::table::PLACE;
use crate::codec::packed::{Outline, Packed, Spoken};
use crate::codec::session::write;
use handstamp_core::agent::Agent;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::session::{Client, Session};
use handstamp_core::time::Millis;
use serde_json::value::RawValue;
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
    /// Whether many sessions share the user agents of client and last client.
    pub shared: [bool; 2],
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
    /// Others have found this activity, and that the store knows of it up to there.
    pub fn knows(&self, seen: Millis, offered: Millis) {
        self.seen.fetch_max(seen.0, Ordering::SeqCst);
        self.offered.fetch_max(offered.0, Ordering::SeqCst);
    }
    /// The last activity.
    pub fn last_seen(&self) -> Millis {
        Millis(self.seen.load(Ordering::SeqCst))
    }
}

/// A user agent that many sessions share, and what was read of it.
type Shared = Option<(Arc<str>, Option<Arc<Agent>>)>;

/// A session in the cache: all of it in one piece of memory, the first line of which is all that another session of the
/// same tag costs a lookup.
pub struct Kept<B: ?Sized = [u8]> {
    /// Which.
    pub id: SessionId,
    /// Where it lives; a lookup in another environment does not find it.
    pub env: EnvironmentId,
    /// Its activity.
    pub mark: Mark,
    agent: Shared,
    last_agent: Shared,
    /// How much of `bytes` is the session, and how much, after it, its data.
    session: u32,
    data: Option<u32>,
    bytes: B,
}

impl Kept {
    /// Packs what was loaded. `None` for what no rule lets become so large.
    pub fn new(held: &Held, mark: Mark) -> Option<Arc<Kept>> {
        let mut slim = held.session.clone();
        slim.chain.previous = None;
        slim.chain.noted = Vec::new();
        // One that nobody else has stays among the session's bytes, and is counted with them.
        let [shared, last_shared] = held.shared;
        let taken = |client: &mut Client| Some((client.user_agent.take()?, client.agent.take()));
        let agent = if shared { taken(&mut slim.client) } else { None };
        let last = slim.last_client.as_deref_mut().filter(|_| last_shared).and_then(taken);
        let mut bytes = write(&slim, mark.last_seen());
        let session = u32::try_from(bytes.len()).ok()?;
        let data = match &held.data {
            None => None,
            Some(data) => {
                bytes.extend_from_slice(data.get().as_bytes());
                Some(u32::try_from(data.get().len()).ok()?)
            }
        };
        let empty = Kept {
            id: slim.id,
            env: held.env,
            mark,
            agent,
            last_agent: last,
            session,
            data,
            bytes: [0_u8; 0],
        };
        sized(empty, &bytes)
    }

    /// Reads it in place. `None` cannot be; whoever gets it loads afresh.
    pub fn outline(&self) -> Option<Outline> {
        Outline::read(self.id, self.packed()).ok()
    }

    /// The session, under its own outline.
    pub fn subject<'a>(&'a self, outline: &'a Outline) -> Packed<'a> {
        outline.over(self.packed(), [spoken(&self.agent), spoken(&self.last_agent)])
    }

    /// Its data in the clear: JSON text.
    pub fn data(&self) -> Option<&[u8]> {
        let (from, length) = (self.data_from(), usize::try_from(self.data?).ok()?);
        self.bytes.get(from..from.checked_add(length)?)
    }

    /// What it takes: its allocation, rounded up as the allocator does, and its place in the table.
    pub fn weight(&self) -> u64 {
        const COUNTS: usize = 2 * size_of::<usize>();
        u64::try_from(allocated(COUNTS + size_of_val(self)) + PLACE).unwrap_or(u64::MAX)
    }

    fn packed(&self) -> &[u8] {
        self.bytes.get(..self.data_from()).unwrap_or_default()
    }

    fn data_from(&self) -> usize {
        usize::try_from(self.session).unwrap_or(usize::MAX)
    }
}

fn spoken(shared: &Shared) -> Spoken<'_> {
    shared.as_ref().map(|(text, agent)| (&**text, agent.as_deref().map(Agent::view)))
}

/// The allocator of the binary has four sizes between each power of two and the next.
fn allocated(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

/// One allocation for head and bytes, whose length is only known now: the next larger of some fixed ones.
fn sized(head: Kept<[u8; 0]>, bytes: &[u8]) -> Option<Arc<Kept>> {
    macro_rules! first_that_fits {
        ($($size:literal)*) => {
            $(if bytes.len() <= $size {
                let mut all = [0; $size];
                all.get_mut(..bytes.len())?.copy_from_slice(bytes);
                let Kept { id, env, mark, agent, last_agent, session, data, bytes: [] } = head;
                return Some(Arc::new(Kept { id, env, mark, agent, last_agent, session, data, bytes: all }));
            })*
        };
    }
    first_that_fits!(64 96 128 160 192 224 256 288 320 352 384 416 448 480 512 576 640 768 896 1024 1280 1536 2048);
    first_that_fits!(2560 3072 4096 5120 6144 8192 10240 12288 16384 20480 24576 32768 49152);
    None
}
