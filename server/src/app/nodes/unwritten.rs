//! Activity that other nodes know of and have not written yet: asked for before a session is taken for idle.
//!
//! Activity is written late, and every node knows only its own. Who finds by the store that a session is over because nobody
//! used it asks the others; each writes what it knows of it and says so. Those that are known to live are waited for, and
//! no longer than [`PATIENCE`]: a node that says nothing can make a session look idle too early, by no more than its
//! activity is written late ([`resolution`](super::super::activity::resolution)).
//!
//! Once all have said so and the stored time is still the same, every one of them finds the session idle now. Only activity
//! that was on its way into the store at that moment can still come: whoever ends the session has that stored, and finds
//! the activity there first (`Expect::Untouched`), or whose activity it was is told of the end.

use super::message::{Message, NodeId, SESSIONS, Said};
use super::{Nodes, say};
use crate::app::App;
use crate::app::records::Loaded;
use crate::codec::session_key;
use crate::host::clock::{Clock, pause};
use crate::store::{Key, Store};
use handstamp_core::expiry;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::licence;
use handstamp_core::offline::clock::Tick;
use handstamp_core::time::Millis;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many sessions are remembered of which nobody knows more.
const REMEMBERED: usize = 4_096;

/// A session that looks idle, and its last activity as the store has it.
pub(in crate::app) type Suspect = (EnvironmentId, SessionId, Millis);

/// Who asks, and who was asked.
#[derive(Default)]
pub(super) struct Asking(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    last: u64,
    /// What goes into the next message.
    next: Vec<Suspect>,
    /// Wakes those who wait for it.
    done: Arc<Done>,
    /// Somebody is at it: what comes meanwhile shares the next message.
    running: bool,
    /// By the number of the message: who has not answered yet.
    asked: HashMap<u64, (HashSet<NodeId>, Arc<Notify>)>,
    /// Sessions of which nobody knows later activity than this; until then, where not everybody said so.
    known: HashMap<(EnvironmentId, SessionId), (Millis, Option<Tick>)>,
}

/// Whether it was done, and who waits for that.
#[derive(Default)]
struct Done {
    over: AtomicBool,
    news: Notify,
}

impl Done {
    fn is_over(&self) {
        self.over.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    async fn wait(&self) {
        let news = self.news.notified();
        if !self.over.load(Ordering::Acquire) {
            news.await;
        }
    }
}

impl Asking {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has written what they knew.
    pub(super) fn answered(&self, number: u64, by: NodeId) {
        if let Some((missing, all)) = self.inner().asked.get_mut(&number)
            && missing.remove(&by)
            && missing.is_empty()
        {
            all.notify_one();
        }
    }
}

impl App {
    /// Whether the session would be over because nobody used it, as far as this node and the store know, and other nodes may
    /// know better.
    pub(in crate::app) fn seems_idle(&self, env: EnvironmentId, loaded: &Loaded) -> bool {
        if !self.has_others() || !loaded.session.is_live() {
            return false;
        }
        let Some(env) = self.control.load().env(env) else { return false };
        let session = &loaded.session;
        expiry::ends(session, loaded.seen, &env.policy.of(session)).idle <= self.now()
    }

    /// Has other nodes write what they know of these sessions, and waits for it.
    pub(in crate::app) async fn ask_for_activity(&self, suspects: impl IntoIterator<Item = Suspect>) {
        let Some(nodes) = &self.nodes else { return };
        let done = {
            let now = self.clock.ticks();
            let mut inner = nodes.asking.inner();
            let known = |inner: &Inner, (env, id, seen): &Suspect| {
                let known = inner.known.get(&(*env, *id));
                known.is_some_and(|(known, until)| known == seen && until.is_none_or(|until| now < until))
            };
            let before = inner.next.len();
            for suspect in suspects {
                if !known(&inner, &suspect) {
                    inner.next.push(suspect);
                }
            }
            if inner.next.len() == before {
                return;
            }
            let done = inner.done.clone();
            if !inner.running {
                inner.running = true;
                // Seen through also when who asked goes away: others wait for it.
                tokio::spawn(ask_all(nodes.clone(), self.store.clone(), self.clock.clone()));
            }
            done
        };
        done.wait().await;
    }

    /// Writes what this node knows of sessions that another one asks for, and says so. Not waited for: much may come behind.
    pub(super) fn write_for(
        &self,
        nodes: &Arc<Nodes>,
        asker: NodeId,
        number: u64,
        sessions: &[(EnvironmentId, SessionId)],
    ) {
        let mut unwritten: Vec<(Key, Millis)> = Vec::new();
        for (env, id) in sessions {
            if let Some(kept) = self.cache.peek(*env, *id) {
                self.activity.take_over(&kept);
            }
            let key = session_key(*env, *id);
            if let Some(at) = self.activity.known(&key) {
                unwritten.push((key, at));
            }
        }
        let (nodes, store, clock, activity) =
            (nodes.clone(), self.store.clone(), self.clock.clone(), self.activity.clone());
        tokio::spawn(async move {
            if !unwritten.is_empty() {
                if store.touch(&unwritten).await.is_err() {
                    return;
                }
                activity.written(&unwritten);
            }
            let message = Message { from: nodes.id, said: Said::Written { asker, number } }.write();
            if let Err(error) = say(store.as_ref(), clock.as_ref(), &message).await {
                tracing::debug!(%error, "another node waits for activity that was written");
            }
        });
    }
}

/// Asks for what waits to be asked for, until there is nothing.
async fn ask_all(nodes: Arc<Nodes>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    loop {
        let (suspects, done) = {
            let mut inner = nodes.asking.inner();
            if inner.next.is_empty() {
                inner.running = false;
                return;
            }
            (std::mem::take(&mut inner.next), std::mem::take(&mut inner.done))
        };
        for some in suspects.chunks(SESSIONS) {
            ask(&nodes, store.as_ref(), clock.as_ref(), some).await;
        }
        done.is_over();
    }
}

async fn ask(nodes: &Nodes, store: &dyn Store, clock: &dyn Clock, suspects: &[Suspect]) {
    let others = nodes.live(clock.ticks());
    let (number, all) = {
        let mut inner = nodes.asking.inner();
        inner.last += 1;
        let (number, all) = (inner.last, Arc::new(Notify::new()));
        inner.asked.insert(number, (others.clone(), all.clone()));
        (number, all)
    };
    if !others.is_empty() {
        let sessions = suspects.iter().map(|(env, id, _)| (*env, *id)).collect();
        let message = Message { from: nodes.id, said: Said::Asked { number, sessions } }.write();
        if say(store, clock, &message).await.is_ok() {
            tokio::select! {
                () = all.notified() => {}
                () = pause(PATIENCE) => {}
            }
        }
    }
    let mut inner = nodes.asking.inner();
    let all_said_so = inner.asked.remove(&number).is_some_and(|(missing, _)| missing.is_empty());
    if inner.known.len() > REMEMBERED {
        inner.known.clear();
    }
    // Who does not answer is not asked again at every look.
    let until = (!all_said_so).then(|| clock.ticks().plus(licence::LIFE));
    inner.known.extend(suspects.iter().map(|(env, id, seen)| ((*env, *id), (*seen, until))));
}
