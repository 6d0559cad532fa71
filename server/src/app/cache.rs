//! Session records kept in memory, bounded in bytes.
//!
//! The cache answers only "current generation, allowed"; every other outcome is decided on a fresh load. A record is
//! put in only if nothing was committed to its bucket since the load began, so that a slow load can never bring back
//! what a commit has just replaced.

use super::activity::Activity;
pub use super::kept::Held;
use super::kept::Kept;
use handstamp_core::id::{Bucket, EnvironmentId, SessionId};
use handstamp_core::session::Client;
use quick_cache::sync::Cache as Quick;
use quick_cache::{OptionsBuilder, Weighter};
use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone)]
struct Weigh;

impl Weighter<SessionId, Arc<Kept>> for Weigh {
    fn weight(&self, _: &SessionId, kept: &Arc<Kept>) -> u64 {
        u64::try_from(kept.bytes()).unwrap_or(u64::MAX)
    }
}

/// What leaves the cache takes its activity to be written.
#[derive(Clone)]
struct Leaving(Arc<Activity>);

impl quick_cache::Lifecycle<SessionId, Arc<Kept>> for Leaving {
    type RequestState = ();
    fn begin_request(&self) -> Self::RequestState {}
    fn on_evict(&self, (): &mut Self::RequestState, _: SessionId, kept: Arc<Kept>) {
        self.0.leave(&kept);
    }
}

/// A session id is random enough in its second half; nobody reaches this table with an id of their own making, because
/// the token's MAC was checked before.
#[derive(Clone, Copy, Default)]
struct ById;
#[derive(Default)]
struct ByIdHasher(u64);

impl BuildHasher for ById {
    type Hasher = ByIdHasher;
    fn build_hasher(&self) -> ByIdHasher {
        ByIdHasher(0)
    }
}
impl Hasher for ByIdHasher {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(tail) = bytes.last_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*tail);
        }
    }
}

const FENCES: usize = 1_024;

/// The cache.
pub struct Cache {
    table: Quick<SessionId, Arc<Kept>, Weigh, ById, Leaving>,
    fences: Vec<Mutex<u64>>,
    agents: Mutex<HashSet<Arc<str>>>,
    activity: Arc<Activity>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// The state of a bucket when a load began.
#[derive(Clone, Copy)]
pub struct Ticket {
    bucket: Bucket,
    seen: u64,
}

impl Cache {
    /// Holds at most `bytes`.
    pub fn new(bytes: u64, activity: Arc<Activity>) -> Cache {
        let estimate = usize::try_from(bytes / 512).unwrap_or(usize::MAX).clamp(16, 4_096);
        let options = OptionsBuilder::new().estimated_items_capacity(estimate).weight_capacity(bytes).build();
        let table = match options {
            Ok(options) => Quick::with_options(options, Weigh, ById, Leaving(activity.clone())),
            Err(_) => Quick::with(estimate, bytes, Weigh, ById, Leaving(activity.clone())),
        };
        Cache {
            table,
            fences: (0..FENCES).map(|_| Mutex::new(0)).collect(),
            agents: Mutex::new(HashSet::new()),
            activity,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// A session of `env`.
    pub fn get(&self, env: EnvironmentId, id: SessionId) -> Option<Arc<Kept>> {
        let found = self.table.get(&id).filter(|kept| kept.env == env);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Like [`Cache::get`], without counting.
    pub fn peek(&self, env: EnvironmentId, id: SessionId) -> Option<Arc<Kept>> {
        self.table.peek(&id).filter(|kept| kept.env == env)
    }

    /// To be taken before a load.
    pub fn ticket(&self, bucket: Bucket) -> Ticket {
        Ticket { bucket, seen: *self.fence(bucket) }
    }

    /// Keeps what was loaded, unless the bucket has changed since the ticket.
    pub fn keep(&self, ticket: Ticket, kept: &Arc<Kept>) {
        let fence = self.fence(ticket.bucket);
        if *fence == ticket.seen {
            self.table.insert(kept.id, kept.clone());
        } else {
            kept.mark.gone.store(true, Ordering::SeqCst);
        }
    }

    /// To be called before and after every commit to a session, whatever its outcome.
    pub fn forget(&self, id: SessionId) {
        let mut fence = self.fence(id.bucket());
        *fence += 1;
        // Its activity is known elsewhere before it is gone from here, so that at no instant nobody knows of it.
        if let Some(kept) = self.table.peek(&id) {
            self.activity.leave(&kept);
        }
        if let Some((_, kept)) = self.table.remove(&id) {
            self.activity.leave(&kept);
        }
    }

    /// Forgets everything of an environment that was removed.
    pub fn forget_env(&self, env: EnvironmentId) {
        self.table.retain(|_, kept| kept.env != env);
    }

    /// Hands the activity of everything on to be written, before leaving.
    pub fn surrender(&self) {
        for (_, kept) in self.table.iter() {
            self.activity.take_over(&kept);
        }
    }

    /// One copy of each user agent, of which there are few.
    pub fn shared_agent(&self, client: &mut Client) {
        let Some(agent) = &client.user_agent else { return };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = agents.get(agent.as_ref()) {
            client.user_agent = Some(known.clone());
            return;
        }
        if agents.len() >= 4_096 {
            agents.retain(|a| Arc::strong_count(a) > 1);
        }
        if agents.len() < 4_096 {
            agents.insert(agent.clone());
        }
    }

    /// Bytes in use, and at most.
    pub fn usage(&self) -> (u64, u64) {
        (self.table.weight(), self.table.capacity())
    }

    /// Entries, hits, misses.
    pub fn counts(&self) -> (u64, u64, u64) {
        let entries = u64::try_from(self.table.len()).unwrap_or(u64::MAX);
        (entries, self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn fence(&self, bucket: Bucket) -> std::sync::MutexGuard<'_, u64> {
        let index = usize::from(bucket.get()) % FENCES;
        #[expect(clippy::indexing_slicing, reason = "the index is below the length, which never changes")]
        self.fences[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
