//! Products and environments: made, listed, removed. A removed environment is gone at once; its records are swept away
//! behind it.

use super::callers::Caller;
use super::control::{Env, data_key_purpose, put, ready};
use super::signing::with_first;
use super::{App, Fault, Stop};
use crate::codec::control::{access_key_key, environment_key, ledger_key, write_environment, write_purge};
use crate::codec::policy::policy_key;
use crate::codec::token_keys::token_keys_key;
use crate::codec::{CONTROL, control_key, kind};
use crate::store::{Expect, Op, Record};
use handstamp_core::caller::Home;
use handstamp_core::environment::{Environment, EnvironmentName};
use handstamp_core::epoch::Ledger;
use handstamp_core::id::EnvironmentId;
use handstamp_core::refusal::Code;
use handstamp_core::sealing::wrap;
use handstamp_core::secret::Secret;
use handstamp_core::time::Millis;
use std::sync::Arc;

impl App {
    /// All environments, by name.
    ///
    /// # Errors
    /// `insufficient_scope` for anybody but an operator.
    pub fn environments(&self, caller: &Caller) -> Result<Vec<Arc<Env>>, Stop> {
        caller.allow_operator()?;
        Ok(self.control.load().envs())
    }

    /// The environments, for metrics.
    pub fn all_environments(&self) -> Vec<Arc<Env>> {
        self.control.load().envs()
    }

    /// Makes an environment, and with its first one the product.
    ///
    /// # Errors
    /// `already_exists`, `reserved`, `insufficient_scope`; faults.
    pub async fn create_environment(&self, caller: &Caller, name: EnvironmentName) -> Result<Arc<Env>, Stop> {
        caller.allow_operator()?;
        if name.product() == EnvironmentName::RESERVED {
            return Err(Stop::refuse(
                Code::Reserved,
                format!("the product `{}` is the operators' own", EnvironmentName::RESERVED),
            ));
        }
        self.while_overtaken(|| self.put_environment(name.clone())).await
    }

    async fn put_environment(&self, name: EnvironmentName) -> Result<Arc<Env>, Stop> {
        let turn = self.control_turn().await?;
        if self.control.load().env_named(&name).is_some() {
            return Err(Stop::refuse(Code::AlreadyExists, format!("there is an environment {name} already")));
        }
        let (env, token_keys) = self.new_environment(name)?;
        let ops = vec![put(write_environment(&env.record), 0), put(token_keys, 0)];
        let id = env.record.id;
        self.change_control(turn, ops, |control| control.put_env(env)).await?;
        self.env(id)
    }

    /// Removes an environment with its sessions, keys and history.
    ///
    /// # Errors
    /// `not_found`, `reserved` for the last one, `insufficient_scope`; faults.
    pub async fn delete_environment(&self, caller: &Caller, name: &EnvironmentName) -> Result<(), Stop> {
        caller.allow_operator()?;
        self.while_overtaken(|| self.take_environment_away(name)).await
    }

    async fn take_environment_away(&self, name: &EnvironmentName) -> Result<(), Stop> {
        let turn = self.control_turn().await?;
        let control = Arc::clone(&self.control.load());
        let env = control
            .env_named(name)
            .ok_or_else(|| Stop::refuse(Code::NotFound, format!("there is no environment {name}")))?;
        if control.envs().len() == 1 {
            return Err(Stop::refuse(
                Code::Reserved,
                "the last environment cannot be removed; make another one first",
            ));
        }
        let id = env.record.id;
        let mut ops = vec![
            Op::Delete { key: environment_key(id), expect: Expect::Version(env.version) },
            Op::Put { expect: Expect::Absent, record: purge_record(id, self.now()) },
        ];
        if env.ledger_version > 0 {
            ops.push(Op::Delete { key: ledger_key(id), expect: Expect::Version(env.ledger_version) });
        }
        if let Some((_, version)) = &env.stored {
            ops.push(Op::Delete { key: policy_key(id), expect: Expect::Version(*version) });
        }
        if env.tokens.version > 0 {
            ops.push(Op::Delete { key: token_keys_key(id), expect: Expect::Version(env.tokens.version) });
        }
        let keys: Vec<_> =
            control.keys().into_iter().filter(|k| k.key.home == Home::Environment(id)).collect();
        ops.extend(
            keys.iter()
                .map(|k| Op::Delete { key: access_key_key(k.key.id), expect: Expect::Version(k.version) }),
        );
        self.change_control(turn, ops, move |control| {
            control.remove_env(id);
            keys.iter().for_each(|k| control.remove_key(k.key.id));
        })
        .await?;
        self.cache.forget_env(id);
        Ok(())
    }

    /// A new environment with keys of its own, and the record of those behind its access tokens.
    pub(super) fn new_environment(&self, name: EnvironmentName) -> Result<(Env, Record), Fault> {
        let id = EnvironmentId(u64::from_be_bytes(self.draw_bytes()?).max(1));
        let secret = Secret::new(self.draw_bytes()?);
        let kek = self.master.derive("wrap");
        let wrapped =
            wrap(&kek, &data_key_purpose(id, 1), &secret, self.draw_bytes()?).map_err(|_| Fault::Entropy)?;
        let record = Environment { id, name, created_at: self.now(), data_keys: vec![(1, wrapped)] };
        let env = ready(&self.master, record, 1, (Ledger::default(), 0), 0)?;
        Ok(with_first(&self.master, env, self.first_token_keys(id)?)?)
    }
}

/// What remembers that an environment's records are to be swept away.
fn purge_record(id: EnvironmentId, now: Millis) -> Record {
    Record {
        key: control_key(kind::PURGE, &id.0.to_be_bytes()),
        bucket: CONTROL.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: None,
        body: write_purge(now),
    }
}
