//! Session records kept in memory, bounded in bytes.
//!
//! The cache answers only "current generation, allowed"; every other outcome is decided on a fresh load. A record is
//! put in only if nothing was committed to its bucket since the load began, so that a slow load can never bring back
//! what a commit has just replaced.

use super::activity::Activity;
pub use super::kept::Held;
use super::kept::Kept;
use super::table::Table;
use handstamp_core::agent::Agent;
use handstamp_core::id::{Bucket, EnvironmentId, SessionId};
use handstamp_core::session::Client;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const FENCES: usize = 1_024;

/// The cache.
pub struct Cache {
    table: Table,
    fences: Vec<Mutex<u64>>,
    agents: Mutex<Agents>,
    activity: Arc<Activity>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// User agents that sessions share.
#[derive(Default)]
struct Agents {
    known: HashSet<(Arc<str>, Option<Arc<Agent>>)>,
    /// When there are too many, they are looked through for forgotten ones once in so many new ones.
    until_next_look: usize,
}

impl Agents {
    const MOST: usize = 4_096;
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
        Cache {
            table: Table::new(bytes),
            fences: (0..FENCES).map(|_| Mutex::new(0)).collect(),
            agents: Mutex::default(),
            activity,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// A session of `env`.
    pub fn get(&self, env: EnvironmentId, id: SessionId) -> Option<Arc<Kept>> {
        let found = self.table.get(id).filter(|kept| kept.env == env);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Like [`Cache::get`], without counting.
    pub fn peek(&self, env: EnvironmentId, id: SessionId) -> Option<Arc<Kept>> {
        self.table.peek(id).filter(|kept| kept.env == env)
    }

    /// To be taken before a load.
    pub fn ticket(&self, bucket: Bucket) -> Ticket {
        Ticket { bucket, seen: *self.fence(bucket) }
    }

    /// Keeps what was loaded, unless the bucket has changed since the ticket.
    pub fn keep(&self, ticket: Ticket, kept: &Arc<Kept>) {
        let fence = self.fence(ticket.bucket);
        if *fence == ticket.seen {
            self.table.insert(kept.clone(), |gone| self.activity.leave(gone));
        } else {
            kept.mark.gone.store(true, Ordering::SeqCst);
        }
    }

    /// To be called before and after every commit to a session, whatever its outcome.
    pub fn forget(&self, id: SessionId) {
        let mut fence = self.fence(id.bucket());
        *fence += 1;
        // Its activity is known elsewhere before it is gone from here, so that at no instant nobody knows of it.
        self.table.remove(id, |gone| self.activity.leave(gone));
    }

    /// Forgets everything of an environment that was removed.
    pub fn forget_env(&self, env: EnvironmentId) {
        self.table.remove_all(|kept| kept.env == env, |gone| self.activity.leave(gone));
    }

    /// Forgets everything: anything may have changed. What is being loaded is not kept.
    pub fn forget_all(&self) {
        for fence in &self.fences {
            *fence.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        self.table.remove_all(|_| true, |gone| self.activity.leave(gone));
    }

    /// Hands the activity of everything on to be written, before leaving.
    pub fn surrender(&self) {
        self.table.each(|kept| self.activity.take_over(kept));
    }

    /// One copy of each user agent and what was read of it, of which there are few. Says whether this one is shared from now on.
    pub fn share_agent(&self, client: &mut Client) -> bool {
        let Some(text) = &client.user_agent else { return false };
        let spoken = (text.clone(), client.agent.clone());
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = agents.known.get(&spoken) {
            (client.user_agent, client.agent) = (Some(known.0.clone()), known.1.clone());
            return true;
        }
        if agents.known.len() >= Agents::MOST && agents.until_next_look == 0 {
            agents.known.retain(|(text, _)| Arc::strong_count(text) > 1);
            agents.until_next_look = Agents::MOST;
        }
        if agents.known.len() >= Agents::MOST {
            agents.until_next_look = agents.until_next_look.saturating_sub(1);
            return false;
        }
        agents.known.insert(spoken)
    }

    /// Bytes in use, and at most.
    pub fn usage(&self) -> (u64, u64) {
        self.table.usage()
    }

    /// Entries, hits, misses.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.table.entries(), self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn fence(&self, bucket: Bucket) -> std::sync::MutexGuard<'_, u64> {
        let index = usize::from(bucket.get()) % FENCES;
        #[expect(clippy::indexing_slicing, reason = "the index is below the length, which never changes")]
        self.fences[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
