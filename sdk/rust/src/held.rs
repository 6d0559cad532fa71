//! What was revoked, held so that many threads look at once: by session in many small parts, and what was ended at once, which is
//! rare and little, in one part that is replaced as a whole.

use arc_swap::ArcSwap;
use handstamp_core::jose::claims::Claims;
use handstamp_core::offline::revoked::{Entry, Revoked};
use handstamp_core::time::Millis;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

const PARTS: usize = 64;

/// All entries of the feed that could still matter.
pub(crate) struct Held {
    sessions: Vec<RwLock<Revoked>>,
    raises: ArcSwap<Revoked>,
    entries: AtomicUsize,
    most: usize,
}

/// There are more entries than are held.
#[derive(Debug)]
pub(crate) struct Full;

impl Held {
    pub(crate) fn new(most: usize) -> Held {
        let sessions = (0..PARTS).map(|_| RwLock::default()).collect();
        Held { sessions, raises: ArcSwap::default(), entries: AtomicUsize::new(0), most }
    }

    /// Whether something in here ends the token.
    pub(crate) fn ends(&self, claims: &Claims) -> bool {
        let part = self.part(&claims.session.0);
        part.is_some_and(|part| part.read().unwrap_or_else(PoisonError::into_inner).ends(claims))
            || self.raises.load().ends(claims)
    }

    pub(crate) fn add(&self, entry: Entry) -> Result<(), Full> {
        let grown = match &entry {
            Entry::Session { session, .. } => {
                let Some(part) = self.part(&session.0) else { return Err(Full) };
                let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
                let before = part.len();
                part.add(entry);
                part.len() - before
            }
            Entry::Raise(_) => {
                let mut raises = Revoked::clone(&self.raises.load());
                let before = raises.len();
                raises.add(entry);
                let grown = raises.len() - before;
                self.raises.store(Arc::new(raises));
                grown
            }
        };
        let entries = self.entries.fetch_add(grown, Ordering::Relaxed) + grown;
        if entries > self.most { Err(Full) } else { Ok(()) }
    }

    /// Forgets what matters no more.
    pub(crate) fn forget(&self, now: Millis) {
        let mut left = 0;
        for part in &self.sessions {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            part.forget(now);
            left += part.len();
        }
        let mut raises = Revoked::clone(&self.raises.load());
        raises.forget(now);
        left += raises.len();
        self.raises.store(Arc::new(raises));
        self.entries.store(left, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// The last byte of a session's name is random.
    fn part(&self, session: &[u8; 16]) -> Option<&RwLock<Revoked>> {
        let [.., last] = session;
        self.sessions.get(usize::from(*last) % PARTS)
    }
}
