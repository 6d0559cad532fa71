//! Several equal nodes on one store: what each holds in memory is a copy, and may be answered from only while it is known
//! to be no more than a second old (design, section 6).
//!
//! * [`hear`](self::hear): what other nodes changed is acted on, in order. [`message`]: what they say.
//! * [`unwritten`](self::unwritten): activity that only they know of. [`alike`](self::alike): whether they are configured alike.
//! * [`withheld`](self::withheld): what memory does not answer for a moment.
//! * The probe: this node says something to itself through the same stream. What comes of that is for
//!   [`handstamp_core::licence`] to say.
//!
//! Where nobody else can write to the store there is nothing of all this, and no licence is needed.

pub(super) mod alike;
mod hear;
pub mod message;
pub mod spent;
mod unwritten;
mod withheld;

use super::{App, Fault, Stop};
use crate::host::clock::pause;
use crate::store::{Changes, Store, StoreError};
use handstamp_core::id::SessionId;
use handstamp_core::licence::{self, Probes};
use handstamp_core::offline::clock::Tick;
use handstamp_core::time::{Millis, Span};
use message::{Message, NodeId, Said};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// This node among others.
pub(super) struct Nodes {
    /// Which it is.
    id: NodeId,
    /// What others change. Worked off by one task.
    changes: tokio::sync::Mutex<Changes>,
    /// Until when what is in memory may be answered from.
    until: AtomicI64,
    probes: Mutex<Probes>,
    /// When each of the others was last heard of.
    others: Mutex<HashMap<NodeId, Tick>>,
    asking: unwritten::Asking,
    /// The last probe that was sent, and the last one that came back.
    last: [AtomicU64; 2],
    /// When control records were last asked for because of a stranger; whoever asks holds it.
    strangers: tokio::sync::Mutex<Option<Tick>>,
    withheld: withheld::Withheld,
}

/// The most other nodes that are told apart; more are not waited for.
const MOST: usize = 256;
/// How long nodes that are not heard of are still talked to.
const AWAY: Span = Span::secs(10);
/// How long a request waits for control records.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an answer that came too late is made again.
const AGAIN: u32 = 3;
/// There is no licence.
const NONE: i64 = i64::MIN;

/// How long something that was read may be told as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Good(Option<Tick>);

/// How often an answer was made that came too late to be told.
#[derive(Default)]
pub struct Late(u32);

impl Good {
    /// Nobody else changes what this node has read.
    pub const ALWAYS: Good = Good(None);
}

impl Nodes {
    pub(super) fn new(id: [u8; 16], changes: Changes) -> Nodes {
        Nodes {
            id: NodeId(id),
            changes: tokio::sync::Mutex::new(changes),
            until: AtomicI64::new(NONE),
            probes: Mutex::default(),
            others: Mutex::default(),
            asking: unwritten::Asking::default(),
            last: Default::default(),
            strangers: tokio::sync::Mutex::default(),
            withheld: withheld::Withheld::default(),
        }
    }

    pub(super) const fn id(&self) -> NodeId {
        self.id
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is no licence until a probe comes back that is sent from now on.
    fn gap(&self) {
        let mut probes = self.probes();
        probes.gap();
        self.until.store(NONE, Ordering::Release);
    }

    /// A probe of this node came back, and what came before it has been acted on.
    fn came_back(&self, number: u64) {
        let [_, back] = &self.last;
        back.fetch_max(number, Ordering::AcqRel);
        let mut probes = self.probes();
        if let Some(until) = probes.came_back(number) {
            self.until.store(until.0, Ordering::Release);
        }
    }

    /// Whether another node was heard of in the last [`AWAY`].
    pub(super) fn are_others(&self, now: Tick) -> bool {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.values().any(|heard| now.since(*heard) < AWAY)
    }

    /// Another node lives.
    fn lives(&self, other: NodeId, now: Tick) {
        if other == self.id {
            return;
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|_, heard| now.since(*heard) < AWAY);
        if others.len() < MOST {
            others.insert(other, now);
        }
    }

    /// The others that were heard of a moment ago.
    fn live(&self, now: Tick) -> HashSet<NodeId> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.iter().filter(|(_, heard)| now.since(**heard) < licence::LIFE).map(|(id, _)| *id).collect()
    }
}

impl App {
    /// Works off what other nodes do and say, and keeps up the licence, until told to stop or the store is closed. To be
    /// run once, for as long as anything is answered; where nobody else can write to the store it is over at once.
    pub async fn keep_up(&self, mut stop: watch::Receiver<bool>) {
        let Some(nodes) = &self.nodes else { return };
        tokio::select! {
            () = self.keep_hearing(nodes) => {}
            () = self.keep_probing() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        nodes.gap();
    }

    async fn keep_probing(&self) {
        let every = Duration::from_millis(u64::try_from(licence::EVERY.0).unwrap_or(250));
        loop {
            // In its own time: one that waits for the store keeps the next one from being sent no longer than it is worth
            // anything.
            tokio::select! {
                outcome = self.probe() => if let Err(error) = outcome {
                    tracing::debug!(%error, "a probe could not be sent");
                },
                () = pause(4 * every) => {}
            }
            pause(every).await;
        }
    }

    /// Sends one probe. Nothing happens where nobody else can write to the store.
    ///
    /// # Errors
    /// What the store says.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        let number = nodes.probes().send(self.clock.ticks());
        let [sent, _] = &nodes.last;
        sent.fetch_max(number, Ordering::AcqRel);
        self.tell_nodes(nodes, Said::Probe(number)).await.map(drop)
    }

    /// Whether everything was acted on that other nodes had done before the last probe was sent.
    pub fn has_heard(&self) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| {
            let [sent, back] = &nodes.last;
            sent.load(Ordering::Acquire) == back.load(Ordering::Acquire)
        })
    }

    /// Says something to all nodes. `None`: there can be no other.
    ///
    /// # Errors
    /// What the store says; who is away does not hear it in any case.
    pub(super) async fn say(&self, said: Said) -> Result<Option<Millis>, StoreError> {
        match &self.nodes {
            None => Ok(None),
            Some(nodes) => self.tell_nodes(nodes, said).await.map(Some),
        }
    }

    async fn tell_nodes(&self, nodes: &Nodes, said: Said) -> Result<Millis, StoreError> {
        let message = Message { from: nodes.id, said }.write();
        say(self.store.as_ref(), self.clock.as_ref(), &message).await
    }

    /// Whether other nodes may write to the same store.
    pub const fn has_others(&self) -> bool {
        self.nodes.is_some()
    }

    /// Sees to it that what is in memory of keys, environments and rules may be gone by: under the licence, or as the store has it
    /// now. To be called before anything is looked up for a request.
    ///
    /// # Errors
    /// What the store says, or that it says nothing.
    pub async fn look_up(&self) -> Result<(), StoreError> {
        if self.licence().is_some() { Ok(()) } else { self.look_up_newest().await }
    }

    /// The same as the store has it now, whatever the licence says: for who answers from memory without another look at the
    /// store.
    ///
    /// # Errors
    /// What the store says, or that it says nothing.
    pub async fn look_up_newest(&self) -> Result<(), StoreError> {
        if !self.has_others() {
            return Ok(());
        }
        tokio::select! {
            outcome = self.newest() => outcome,
            () = pause(PATIENCE) => Err(StoreError::Unavailable("it does not answer".to_owned())),
        }
    }

    /// The same, no less new, for whatever anybody may ask for, and for a stranger before it is refused: memory never says no.
    /// Any number of those who come together are one question to the store, so that made-up keys cannot bury it.
    ///
    /// # Errors
    /// What the store says, or that it says nothing.
    pub async fn look_up_stranger(&self) -> Result<(), StoreError> {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        let came = self.clock.ticks();
        let look = async {
            let mut asked = nodes.strangers.lock().await;
            if asked.is_none_or(|asked| asked <= came) {
                let now = self.clock.ticks();
                self.newest().await?;
                *asked = Some(now);
            }
            Ok(())
        };
        tokio::select! {
            outcome = look => outcome,
            () = pause(PATIENCE) => Err(StoreError::Unavailable("it does not answer".to_owned())),
        }
    }

    /// Until when what is in memory now may be told; `None`: not at all. To be asked before memory is.
    pub(super) fn licence(&self) -> Option<Good> {
        let Some(nodes) = &self.nodes else { return Some(Good::ALWAYS) };
        let until = Tick(nodes.until.load(Ordering::Acquire));
        licence::is_good(until, self.clock.ticks()).then_some(Good(Some(until)))
    }

    /// The same of a session.
    pub(super) fn licence_of(&self, id: SessionId) -> Option<Good> {
        self.licence().filter(|good| match (&self.nodes, good.0) {
            (Some(nodes), Some(until)) => nodes.withheld.allows(id.bucket(), until),
            _ => true,
        })
    }

    /// Until when what is read from the store from now on may be told.
    pub(super) fn good_if_read_now(&self) -> Good {
        match self.nodes {
            None => Good::ALWAYS,
            Some(_) => Good(Some(self.clock.ticks().plus(licence::LIFE))),
        }
    }

    /// Whether an answer that was made of something may leave now.
    pub fn is_good(&self, good: Good) -> bool {
        good.0.is_none_or(|until| licence::is_good(until, self.clock.ticks()))
    }

    /// The same for whoever makes an answer again, on a fresh load, when it may not.
    ///
    /// # Errors
    /// `store_unavailable` when it came too late again and again: this node cannot know that what it says is still true.
    pub fn may_leave(&self, good: Good, late: &mut Late) -> Result<bool, Stop> {
        if self.is_good(good) {
            return Ok(true);
        }
        late.0 += 1;
        if late.0 <= AGAIN {
            return Ok(false);
        }
        let why = "this node is too slow to know that its answers are still true";
        Err(Fault::Store(StoreError::Unavailable(why.to_owned())).into())
    }
}

/// Says something, and takes note of the time that the store has.
pub(super) async fn say(
    store: &dyn Store,
    clock: &dyn crate::host::clock::Clock,
    message: &[u8],
) -> Result<Millis, StoreError> {
    let sent = clock.ticks();
    let told = store.say(message).await?;
    clock.store_said(told, sent, clock.ticks());
    Ok(told)
}
