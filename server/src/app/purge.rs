//! Removed environments: nothing of them can be reached any more, and step by step nothing of them is left.

use super::App;
use super::housekeeping::STEP;
use crate::codec::control::read_purge;
use crate::codec::{CONTROL, history_key, kind};
use crate::store::{Batch, Expect, Op, Query, Record, Space, StoreError, Versioned};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::id::EnvironmentId;
use handstamp_core::time::{Millis, Span};

/// What an environment has of its own.
const SPACES: [u8; 14] = [
    kind::SESSION,
    kind::USER,
    kind::IDEMPOTENCY,
    kind::POLICY_VERSION,
    kind::TIMES,
    kind::DEVICE,
    kind::CHALLENGE,
    kind::SEATS,
    kind::SESSION_TYPE,
    kind::ORIGINS,
    kind::LOGIN,
    kind::STATUS_PLACES,
    kind::HISTORY,
    kind::ERASED,
];

/// How long a removed environment is looked after: longer than a creation takes that began before it was removed.
const WATCHED: Span = Span::minutes(10);

impl App {
    /// Marks the records of removed environments as to be forgotten; the sweep does the rest.
    pub(super) async fn purge(&self) -> Result<(), StoreError> {
        for mark in self.store.search(&query(Space { kind: kind::PURGE, env: 0 })).await?.items {
            let Ok(id) = <[u8; 8]>::try_from(&*mark.record.key.id) else { continue };
            let env = u64::from_be_bytes(id);
            let mut clean = true;
            for kind in SPACES {
                clean &= self.purge_space(Space { kind, env }).await?;
            }
            let removed_at = read_purge(&mark)?;
            if clean && self.now().since(removed_at) >= WATCHED {
                self.finish_purge(env, mark).await?;
            }
        }
        Ok(())
    }

    /// Whether there was nothing in it.
    async fn purge_space(&self, space: Space) -> Result<bool, StoreError> {
        let mut search = query(space);
        let mut clean = true;
        loop {
            let page = self.store.search(&search).await?;
            clean &= page.items.is_empty();
            stream::iter(page.items)
                .filter(|found| std::future::ready(found.record.forget_at != Some(Millis(0))))
                .map(|found| self.mark(found))
                .buffer_unordered(64)
                .try_collect::<Vec<()>>()
                .await?;
            match page.next {
                None => return Ok(clean),
                next => search.cursor = next,
            }
        }
    }

    async fn mark(&self, found: Versioned) -> Result<(), StoreError> {
        let record = Record {
            facets: Vec::new(),
            seen: None,
            forget_at: Some(Millis(0)),
            body: Vec::new(),
            ..found.record
        };
        let op = Op::Put { expect: Expect::Version(found.version), record };
        match self.store.commit(self.alone(vec![op])).await {
            // Somebody was faster; the next round sees what they left.
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Its counters and the mark itself.
    async fn finish_purge(&self, env: u64, mark: Versioned) -> Result<(), StoreError> {
        let tallies = self.store.tallies().await?.into_iter().filter(|(tally, _)| tally.env == env);
        let tallies = tallies.map(|(tally, n)| (tally, n.saturating_neg())).collect();
        let done = Op::Delete { key: mark.record.key, expect: Expect::Version(mark.version) };
        // History is swept with the record it is about; what it says of the environment itself has none until now.
        let record = Record {
            key: history_key(EnvironmentId(env)),
            bucket: CONTROL.get(),
            facets: Vec::new(),
            seen: None,
            forget_at: Some(Millis(0)),
            body: Vec::new(),
        };
        let history = Op::Put { expect: Expect::Absent, record };
        self.store.commit(Batch { tallies, ..self.alone(vec![done, history]) }).await
    }

    fn alone(&self, ops: Vec<Op>) -> Batch {
        let bucket = match ops.first() {
            Some(Op::Put { record, .. }) => record.bucket,
            Some(Op::Delete { .. } | Op::Check { .. }) | None => CONTROL.get(),
        };
        Batch { bucket, at: self.now(), ops, events: Vec::new(), tallies: Vec::new() }
    }
}

const fn query(space: Space) -> Query {
    Query { space, all: Vec::new(), from: None, until: None, cursor: None, limit: STEP }
}
