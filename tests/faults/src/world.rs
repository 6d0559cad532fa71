//! What all clients share: where the nodes are, what sessions there are, the record of every call, one clock.

use crate::client::{Ask, Client, Reply};
use crate::history::{Answer, Call, Follower, Heard, Micros, Name, Operation, Token};
use crate::random::Random;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a patient client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(6);

/// A session that some client holds.
pub(crate) struct Held {
    pub(crate) name: Name,
    pub(crate) tags: Vec<Name>,
    pub(crate) user: Name,
    /// Every token that was told, oldest first.
    pub(crate) tokens: Mutex<Vec<String>>,
    /// The newest refresh token, of a session that has them.
    pub(crate) refresh: Mutex<Option<String>>,
    /// Somebody asked for its end, or was refused for good.
    pub(crate) over: AtomicBool,
}

impl Held {
    pub(crate) fn newest(&self) -> String {
        lock(&self.tokens).last().cloned().unwrap_or_default()
    }

    /// The one before the newest, as a slow tab has it.
    pub(crate) fn older(&self) -> String {
        let tokens = lock(&self.tokens);
        tokens.get(tokens.len().saturating_sub(2)).cloned().unwrap_or_default()
    }

    /// Somebody was refused for good.
    pub(crate) fn see(&self, answer: &Answer) {
        let gone = ["session_revoked", "session_evicted", "token_reused", "session_not_found"];
        if answer.refused().is_some_and(|code| gone.contains(&code)) {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    /// Takes up a successor of `presented`, unless a later one is known.
    pub(crate) fn learn(&self, presented: &str, next: &str) {
        let mut tokens = lock(&self.tokens);
        if tokens.last().is_some_and(|last| last == presented) {
            tokens.push(next.to_owned());
        }
    }
}

pub(crate) struct World {
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) key: String,
    pub(crate) sessions: Mutex<Vec<std::sync::Arc<Held>>>,
    pub(crate) operations: Mutex<Vec<Operation>>,
    pub(crate) followers: Mutex<Vec<Follower>>,
    /// Clients stop.
    pub(crate) over: AtomicBool,
    /// Followers stop when they know everything before this, in microseconds; 0: not yet.
    pub(crate) horizon: AtomicU64,
    begun: Instant,
    /// Microseconds from the epoch to our zero, by the clock of the store.
    zero: u64,
}

impl World {
    /// `shift`: by how many seconds the store's clock is ahead of this machine's.
    pub(crate) fn new(nodes: Vec<SocketAddr>, key: String, shift: i64) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let wall = i128::try_from(wall).unwrap_or(0) + i128::from(shift) * 1_000_000;
        Self {
            nodes,
            key,
            sessions: Mutex::default(),
            operations: Mutex::default(),
            followers: Mutex::default(),
            over: AtomicBool::new(false),
            horizon: AtomicU64::new(0),
            begun: Instant::now(),
            zero: u64::try_from(wall).unwrap_or(0),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// An instant of the store's clock, as one of ours.
    pub(crate) fn brought(&self, micros: u64) -> Micros {
        micros.saturating_sub(self.zero)
    }

    pub(crate) fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, follower: usize, heard: Heard) {
        let now = self.now();
        if let Some(follower) = lock(&self.followers).get_mut(follower) {
            follower.heard.push((now, heard));
        }
    }

    /// The sessions that nobody asked to end.
    pub(crate) fn living(&self) -> Vec<std::sync::Arc<Held>> {
        lock(&self.sessions).iter().filter(|held| !held.over.load(Ordering::Relaxed)).cloned().collect()
    }
}

pub(crate) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn digest(text: &str) -> Token {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Token(hasher.finish())
}

/// A client that goes from node to node, and writes down what it sees.
pub(crate) struct Person {
    pub(crate) world: std::sync::Arc<World>,
    pub(crate) random: Random,
    clients: Vec<Client>,
    /// Of a hundred answers, so many are not waited for.
    pub(crate) hasty: u64,
}

impl Person {
    pub(crate) fn new(world: &std::sync::Arc<World>, seed: u64) -> Self {
        let clients = world.nodes.iter().map(|node| Client::new(*node)).collect();
        Self { world: world.clone(), random: Random::new(seed), clients, hasty: 5 }
    }

    pub(crate) fn any_node(&mut self) -> usize {
        self.random.index(self.clients.len())
    }

    /// Asks, judges the answer by `read`, and writes both down. What was never sent did not happen.
    pub(crate) async fn ask(
        &mut self,
        node: usize,
        call: Call,
        ask: Ask<'_>,
        read: impl FnOnce(u16, &Value) -> Answer,
    ) -> (Answer, Value) {
        let patience = if self.random.chance(self.hasty) {
            Duration::from_micros(self.random.below(15_000))
        } else {
            PATIENCE
        };
        let none = (Answer::Lost, Value::Null);
        let Some(client) = self.clients.get_mut(node) else { return none };
        if !client.ready().await {
            // A node that is down is not asked again at once.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return none;
        }
        let begun = self.world.now();
        let reply = client.call(&ask, patience).await;
        let ended = self.world.now();
        let (answer, body) = match reply {
            Reply::NotSent => return none,
            Reply::Lost => none,
            Reply::Got(503, body) => (Answer::NotKnown, body),
            Reply::Got(status, body) => {
                let mut answer = read(status, &body);
                if let Answer::Wrong(what) = &answer {
                    answer = Answer::Wrong(
                        format!("{status} {what} {body}").chars().take(400).collect::<String>().into(),
                    );
                }
                (answer, body)
            }
        };
        let seen = Operation { node, begun, ended, call, answer: answer.clone() };
        lock(&self.world.operations).push(seen);
        (answer, body)
    }

    /// Asks without writing it down.
    pub(crate) async fn look(&mut self, node: usize, ask: Ask<'_>) -> Option<(u16, Value)> {
        match self.clients.get_mut(node)?.call(&ask, PATIENCE).await {
            Reply::Got(status, body) => Some((status, body)),
            Reply::NotSent | Reply::Lost => None,
        }
    }

    /// A short rest, so that many clients share a small machine.
    pub(crate) async fn rest(&mut self, most: u64) {
        tokio::time::sleep(Duration::from_micros(self.random.below(most * 1_000))).await;
    }
}
