//! Ending many at once: the ledger of an environment, raised and settled.

use super::control::{Env, put};
use super::room::Turn;
use super::{App, Stop};
use crate::codec::control::{environment_key, write_ledger};
use crate::codec::new_event;
use crate::store::{Expect, NewEvent, Op};
use handstamp_core::epoch::{Raised, Scope};
use handstamp_core::event::Event;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::session::By;
use handstamp_core::time::{Millis, Span};

impl App {
    /// Ends many at once: raises the environment's counter. Durable, and seen by every judgement of this node, when it
    /// returns; the sessions' own records follow in the background.
    pub(super) async fn raise_epoch(
        &self,
        env: EnvironmentId,
        scope: Scope,
        by: By,
        reason: Option<Box<str>>,
        spared: Option<SessionId>,
    ) -> Result<u64, Stop> {
        self.while_overtaken(|| self.raise_once(env, (&scope, &by, &reason), spared)).await
    }

    async fn raise_once(
        &self,
        env: EnvironmentId,
        (scope, by, reason): (&Scope, &By, &Option<Box<str>>),
        spared: Option<SessionId>,
    ) -> Result<u64, Stop> {
        let mut turn = self.control_turn().await?;
        let mut current = self.env(env)?;
        if let Some(id) = spared {
            // Its number is taken for good before the session is lifted to it: if this goes no further, the next raise
            // has a greater one and does not spare it.
            let taken =
                Env { reserved: current.reserved.max(current.ledger.counter) + 1, ..Env::clone(&current) };
            turn = self.store_ledger(turn, taken, Vec::new()).await?;
            current = self.env(env)?;
            self.lift(&current, id, current.reserved).await?;
        }
        let mut next = Env::clone(&current);
        let now = self.now();
        next.ledger.counter = match spared {
            Some(_) => next.reserved - 1,
            None => next.ledger.counter.max(next.reserved),
        };
        self.forget_raises(&mut next, &[], now);
        let raised = next.ledger.raise_except(scope.clone(), now, by.clone(), reason.clone(), spared);
        let told = vec![new_event(env, &Event::revoked(&raised))];
        self.store_ledger(turn, next, told).await?;
        Ok(raised.at)
    }

    /// Ends every session of every environment.
    ///
    /// # Errors
    /// Faults; some environments may be done by then.
    pub async fn end_everything(&self, reason: &str) -> Result<(), Stop> {
        for env in self.all_environments() {
            self.raise_epoch(env.record.id, Scope::All, By::System, Some(reason.into()), None).await?;
        }
        Ok(())
    }

    /// Notes that every session these raises ended says so itself by now.
    pub(super) async fn settle_epochs_to(&self, env: EnvironmentId, settled: &[u64]) -> Result<(), Stop> {
        self.while_overtaken(|| self.settle_once(env, settled)).await
    }

    async fn settle_once(&self, env: EnvironmentId, settled: &[u64]) -> Result<(), Stop> {
        let turn = self.control_turn().await?;
        let current = self.env(env)?;
        let mut next = Env::clone(&current);
        let now = self.now();
        next.ledger.raised.iter_mut().filter(|r| settled.contains(&r.at)).for_each(|r| r.settled = true);
        self.forget_raises(&mut next, settled, now);
        self.store_ledger(turn, next, Vec::new()).await?;
        Ok(())
    }

    /// The raises whose sessions are to be looked through: those that nobody has looked through; and, where another node could
    /// have been busy with a creation that it could not look at again before it died, once more those that nobody needs to
    /// remember any longer.
    pub(super) fn to_settle(&self, env: &Env) -> Vec<Raised> {
        let (now, alone) = (self.now(), self.nodes.is_none());
        let due = |raised: &&Raised| !raised.settled || (!alone && forgettable(raised, now));
        env.ledger.raised.iter().filter(due).cloned().collect()
    }

    /// Forgets raises that need not be remembered; where there are several nodes, only those that were just looked through.
    fn forget_raises(&self, env: &mut Env, settled: &[u64], now: Millis) {
        let alone = self.nodes.is_none();
        env.ledger
            .raised
            .retain(|raised| !forgettable(raised, now) || !(alone || settled.contains(&raised.at)));
    }

    /// Puts `next`'s ledger in the place of the one of the version that it was made from, and tells history.
    async fn store_ledger(&self, turn: Turn, next: Env, told: Vec<NewEvent>) -> Result<Turn, Stop> {
        let id = next.record.id;
        let ops = vec![
            put(write_ledger(id, &next.ledger, next.reserved), next.ledger_version),
            Op::Check { key: environment_key(id), expect: Expect::Version(next.version) },
        ];
        let next = Env { ledger_version: next.ledger_version + 1, ..next };
        Ok(self.change_control_telling(turn, ops, told, |control| control.put_env(next)).await?)
    }
}

/// Whether a raise need not be remembered. A creation that began before it may be committed after its sessions were
/// settled; such a one is looked at again as soon as it is committed, and all of them are at a start.
fn forgettable(raised: &Raised, now: Millis) -> bool {
    raised.settled && now.since(raised.when) > KEPT
}

/// How long a settled raise is remembered: longer than any creation takes that began before it.
const KEPT: Span = Span::minutes(10);
