//! Since when a node acts by which rules of seats. A ledger is right for who was counting all the time; whoever had no such
//! rule for a while made sessions that no ledger knows, so each time under rules has a name of its own, and counts once.
//!
//! Where several nodes change their rules one after the other, each of them casts doubt on all ledgers once it has changed, and
//! again when what it had begun before must be done: whoever takes a seat then counts those, too.

use super::super::control::{Env, all};
use super::super::records::Stage;
use super::super::{App, Stop};
use crate::codec::digest;
use crate::codec::seats::{read_seats, seats, seats_digest};
use crate::store::{Expect, Op, Record, StoreError, Versioned};
use handstamp_core::id::{Bucket, EnvironmentId};
use handstamp_core::policy::Policy;
use handstamp_core::seats::{Basis, SETTLING};
use handstamp_core::time::Millis;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Which time under which rules of seats it is, in this process: a tag that had no rule for a while was not counted.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Era {
    process: [u8; 16],
    changes: u64,
}

impl Era {
    /// Of a process that is told from every other by random bytes.
    pub(in super::super) const fn new(process: [u8; 16]) -> Era {
        Era { process, changes: 0 }
    }
    /// What stands under a policy: as before, or a time that begins now.
    pub(in super::super) fn standing(
        &mut self,
        before: Option<&Arc<Standing>>,
        policy: &Policy,
    ) -> Arc<Standing> {
        let rules = seats_digest(policy);
        if let Some(before) = before.filter(|before| before.rules == rules) {
            return before.clone();
        }
        self.changes += 1;
        let [a, b] = [self.changes.to_be_bytes(), 0u64.to_be_bytes()];
        let whole = digest(&[&self.process, &a, &b, &rules]);
        let name = whole.first_chunk().copied().unwrap_or_default();
        Arc::new(Standing { rules, name, since: OnceLock::new() })
    }
}

/// The rules of seats in force.
#[derive(Default)]
pub(in super::super) struct Standing {
    rules: [u8; 32],
    name: [u8; 16],
    /// Since they are looked at, which is not before they are in force.
    since: OnceLock<Millis>,
}

impl Standing {
    /// Nobody acts by any rules of before: the process has just begun.
    pub(in super::super) fn has_settled(&self) {
        self.since.get_or_init(|| Millis(i64::MIN));
    }
    pub(super) fn basis(&self, now: Millis) -> Basis {
        Basis { name: self.name, since: *self.since.get_or_init(|| now) }
    }
}

/// Of which rules of each environment this node has told the ledgers, when first, and how often.
type Told = HashMap<EnvironmentId, ([u8; 16], Millis, u8)>;

/// The same, for all who look.
#[derive(Default)]
pub(in super::super) struct Doubts(Mutex<Told>);

impl App {
    /// Casts doubt on the ledgers of environments whose rules of seats have changed on this node; alone there is none.
    pub(in super::super) async fn doubt_seats(&self) -> Result<(), Stop> {
        if self.nodes.is_none() {
            return Ok(());
        }
        for env in self.all_environments() {
            let (id, name, now) = (env.record.id, env.seats.name, self.now());
            let known = self.doubts_of().get(&id).copied().filter(|(known, ..)| *known == name);
            let (since, times) = known.map_or((now, 0), |(_, since, times)| (since, times));
            if times == 0 || (times == 1 && now.since(since) >= SETTLING) {
                self.doubt_ledgers(&env).await?;
                self.doubts_of().insert(id, (name, since, times + 1));
            }
        }
        Ok(())
    }

    fn doubts_of(&self) -> std::sync::MutexGuard<'_, Told> {
        self.doubted.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn doubt_ledgers(&self, env: &Env) -> Result<(), Stop> {
        for found in all(self.store.as_ref(), seats(env.record.id)).await? {
            let Versioned { record, version } = &found;
            let ledger = read_seats(&found)?.doubted();
            let mut stage = Stage::new(Bucket::new(record.bucket), self.now());
            let record = Record { body: crate::codec::seats::write_body(&ledger), ..record.clone() };
            stage.op(Op::Put { expect: Expect::Version(*version), record });
            match self.commit(stage).await {
                // Whoever came first may not have counted; the next round finds it.
                Ok(()) => {}
                Err(StoreError::Conflict) => return Err(super::super::Fault::Contended.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
