//! Whether nodes have the same configuration, as far as it must be the same: each says once a minute what recognises its own,
//! and warns of one that differs. While they differ, each judges by its own.

use super::message::{NodeId, Said};
use crate::app::App;
use handstamp_core::offline::clock::Tick;
use handstamp_core::time::Span;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most nodes that are told apart.
const MOST: usize = 256;
/// How long what a node said counts: it says it once a minute.
const COUNTS: Span = Span::secs(150);

/// What recognises the configuration of this node, and those of others.
#[derive(Default)]
pub(in crate::app) struct Alike(Mutex<Known>);

#[derive(Default)]
struct Known {
    own: Option<[u8; 32]>,
    others: HashMap<NodeId, ([u8; 32], Tick)>,
}

impl Alike {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another node said what recognises its configuration.
    pub(super) fn heard(&self, from: NodeId, digest: [u8; 32], now: Tick) {
        let mut known = self.known();
        known.others.retain(|_, (_, heard)| now.since(*heard) < COUNTS);
        let before = known.others.get(&from).map(|(before, _)| *before);
        if before.is_some() || known.others.len() < MOST {
            known.others.insert(from, (digest, now));
        }
        if before != Some(digest) && known.own.is_some_and(|own| own != digest) {
            tracing::warn!(
                "another node on this store has another configuration: each judges by its own until `[policy]`, session types,                  origins, tokens, privacy and history are the same in the files of all"
            );
        }
    }

    fn differing(&self, now: Tick) -> usize {
        let known = self.known();
        let Some(own) = known.own else { return 0 };
        known.others.values().filter(|(digest, heard)| *digest != own && now.since(*heard) < COUNTS).count()
    }
}

impl App {
    /// What recognises the configuration of this node from now on. The other nodes are told within a minute.
    pub fn set_configuration(&self, digest: [u8; 32]) {
        self.alike.known().own = Some(digest);
    }

    /// Tells the other nodes. To be called once a minute.
    pub async fn tell_configuration(&self) {
        let own = self.alike.known().own;
        if let Some(own) = own
            && let Err(error) = self.say(Said::Configured(own)).await
        {
            tracing::debug!(%error, "other nodes do not hear how this one is configured");
        }
    }

    /// How many other nodes have another configuration, as far as that was heard in the last minutes.
    pub fn nodes_differing(&self) -> usize {
        self.alike.differing(self.clock.ticks())
    }
}
