//! What other nodes change: a queue between a store, which hears of it, and the service, which acts on it in order.
//!
//! The queue has a bound. Who does not keep up is told that anything may have changed, in the place of all that was
//! left out; what was said stays, in its order, so that nothing is taken for told that was not.

use super::Key;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The most changes that wait; then they become one.
const MOST: usize = 4_096;

/// One thing that reached this node, in the order of commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Another node committed.
    Committed {
        /// Records that it put or deleted and that had been there before: nobody can hold one that is new.
        records: Vec<Key>,
        /// The environments about which history got a line; each once.
        told: Vec<u64>,
    },
    /// Much at once, or something was missed: whatever is held may be old, and history may have grown.
    Anything,
    /// What a node said with [`Store::say`](super::Store::say); also this one.
    Said(Box<[u8]>),
}

/// Where changes come out: one for each node.
pub struct Changes(Arc<Shared>);

/// Where a store puts them in. When the last of these goes, the changes end.
pub struct Teller(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Change>,
    /// How many of them are not [`Change::Said`].
    crowd: usize,
    ended: bool,
}

/// A queue with nothing in it.
pub fn channel() -> (Teller, Changes) {
    let shared = Arc::new(Shared::default());
    (Teller(shared.clone()), Changes(shared))
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller {
    /// Puts one in, at the end.
    pub fn tell(&self, change: Change) {
        let mut queue = self.0.queue();
        if !matches!(change, Change::Said(_)) {
            queue.crowd += 1;
        }
        queue.waiting.push_back(change);
        if queue.crowd > MOST || queue.waiting.len() > 2 * MOST {
            // First, so that whatever was said after one of them is not heard before it.
            queue.waiting.retain(|change| matches!(change, Change::Said(_)));
            let said = queue.waiting.len().saturating_sub(MOST);
            queue.waiting.drain(..said);
            queue.waiting.push_front(Change::Anything);
            queue.crowd = 1;
        }
        drop(queue);
        self.0.news.notify_one();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.news.notify_one();
    }
}

impl Changes {
    /// The next one; `None`: the store was closed.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.take() {
                return Some(change);
            }
            if self.0.queue().ended {
                return self.take();
            }
            self.0.news.notified().await;
        }
    }

    /// The next one, if one waits.
    pub fn take(&mut self) -> Option<Change> {
        let mut queue = self.0.queue();
        let change = queue.waiting.pop_front()?;
        if !matches!(change, Change::Said(_)) {
            queue.crowd = queue.crowd.saturating_sub(1);
        }
        Some(change)
    }
}
