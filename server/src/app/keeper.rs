//! Who keeps house: of several nodes one at a time writes down what time and epochs have ended, forgets what is past its
//! retention, and looks through what changed. Which one is said by a lease in the store; alone, a node just does it.
//!
//! The lease saves work and prevents nothing (see [`handstamp_core::lease`]): whoever goes on after it is over finds other
//! versions than it decided on, and decides again. So nothing is lost or done twice when a keeper is killed or frozen in the
//! middle; the next one begins where the records say.

use super::control::{batch, expecting};
use super::nodes::message::NodeId;
use super::{App, OpenError};
use crate::codec::several::{lease_key, read_lease, write_lease};
use crate::host::clock::{Clock, pause};
use crate::store::{Op, Store, StoreError};
use handstamp_core::lease::{self, Lease, Turn};
use handstamp_core::time::Millis;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The lease of whoever keeps house.
pub const HOUSE: &str = "house";
/// The lease of whoever makes an empty store ready.
const FIRST: &str = "first start";
/// How often a keeper renews its lease while it is busy.
const RENEWED: Duration = Duration::from_secs(2);
/// How often somebody looks who waits for another node to make the store ready.
const LOOKS: Duration = Duration::from_millis(50);

/// Whether this node keeps house, as far as it knows.
#[derive(Default)]
pub(super) struct Keeping(AtomicBool);

/// A lease and the version of its record.
async fn stored(store: &dyn Store, what: &str) -> Result<(Option<Lease>, u64), StoreError> {
    match store.load(&[lease_key(what)]).await?.into_iter().next().flatten() {
        None => Ok((None, 0)),
        Some(found) => Ok((Some(read_lease(&found)?), found.version)),
    }
}

async fn write(
    store: &dyn Store,
    what: &str,
    lease: &Lease,
    version: u64,
    now: Millis,
) -> Result<bool, StoreError> {
    let op = Op::Put { expect: expecting(version), record: write_lease(what, lease) };
    match store.commit(batch(now, vec![op])).await {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict) => Ok(false),
        Err(error) => Err(error),
    }
}

impl App {
    /// Whether this node keeps house now: the lease is its own, or was free.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn keeps_house(&self) -> Result<bool, StoreError> {
        let Some(nodes) = &self.nodes else { return Ok(true) };
        let (lease, version) = stored(self.store.as_ref(), HOUSE).await?;
        let now = self.now();
        let keeps = match lease::judge(lease.as_ref(), nodes.id().0, now) {
            Turn::Mine => true,
            Turn::Take(next) => write(self.store.as_ref(), HOUSE, &next, version, now).await?,
            Turn::Theirs { .. } => false,
        };
        if keeps != self.keeping.0.swap(keeps, Ordering::Relaxed) {
            tracing::info!(keeps, "whether this node keeps house for all has changed");
        }
        Ok(keeps)
    }

    /// Whether it did when it was last looked.
    pub fn is_keeper(&self) -> bool {
        self.nodes.is_none() || self.keeping.0.load(Ordering::Relaxed)
    }

    /// Renews the lease, also while a round takes long.
    pub(super) async fn keep_keeping(&self) {
        loop {
            pause(RENEWED).await;
            if self.nodes.is_some()
                && self.is_keeper()
                && let Err(error) = self.keeps_house().await
            {
                tracing::debug!(%error, "the lease of the house could not be renewed");
            }
        }
    }

    /// From now on another node may keep house.
    pub(super) async fn leave_house(&self) {
        let Some(nodes) = &self.nodes else { return };
        if !self.keeping.0.swap(false, Ordering::Relaxed) {
            return;
        }
        let left = async {
            loop {
                let (lease, version) = stored(self.store.as_ref(), HOUSE).await?;
                let mine = lease.is_some_and(|lease| lease.node == nodes.id().0);
                let next = lease::released(nodes.id().0);
                // Again where a renewal that was on its way came first.
                if !mine || write(self.store.as_ref(), HOUSE, &next, version, self.now()).await? {
                    return Ok::<_, StoreError>(());
                }
            }
        };
        tokio::select! {
            left = left => if let Err(error) = left {
                tracing::debug!(%error, "the lease of the house was not given back; it ends by itself");
            },
            () = pause(Duration::from_secs(1)) => {}
        }
    }
}

/// Whether a node was at work on a store a moment ago; then nothing may be changed behind its back.
///
/// # Errors
/// What the store says.
pub async fn is_kept(store: &dyn Store, now: Millis) -> Result<bool, StoreError> {
    let (lease, _) = stored(store, HOUSE).await?;
    Ok(lease::is_held(lease.as_ref(), now))
}

/// Of several nodes that find an empty store one makes it ready, and the others wait for that.
///
/// The version of the lease that says that it is this one; `None`: it is ready, or another one was faster.
///
/// # Errors
/// What the store says.
pub(super) async fn makes_ready(
    store: &dyn Store,
    clock: &dyn Clock,
    node: [u8; 16],
) -> Result<Option<u64>, OpenError> {
    let (lease, version) = stored(store, FIRST).await?;
    if let Turn::Take(next) = lease::judge(lease.as_ref(), node, clock.now())
        && write(store, FIRST, &next, version, clock.now()).await?
    {
        return Ok(Some(version + 1));
    }
    pause(LOOKS).await;
    Ok(None)
}

/// What goes into the commit that makes the store ready: it is for who has the lease alone.
pub(super) fn was_made_ready(node: NodeId, version: u64) -> Op {
    Op::Put { expect: expecting(version), record: write_lease(FIRST, &lease::released(node.0)) }
}
