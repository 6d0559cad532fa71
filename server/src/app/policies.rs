//! The rules of an environment: read, replaced, their versions, and an earlier one taken up again.
//!
//! Whoever replaces a policy says which version they saw, so that nobody overwrites what somebody else has just said.

use super::callers::Caller;
use super::control::{Env, batch, put};
use super::origins::FileOrigins;
use super::{App, Stop};
use crate::codec::control::environment_key;
use crate::codec::new_event;
pub use crate::codec::policy::PolicyVersion;
use crate::codec::policy::{policy_key, policy_version_key, policy_versions, read_policy, write_policy};
use crate::schema::session_type::SessionTypes;
use crate::store::{Batch, Expect, Op, Query};
use handstamp_core::caller::Scope;
use handstamp_core::event::Event;
use handstamp_core::policy::Policy;
use handstamp_core::refusal::Code;
use handstamp_core::session::By;
use std::sync::Arc;

/// What the configuration says, for every environment; where it says something of rules, nobody else has a say.
#[derive(Default, Clone)]
pub(super) struct FromFile {
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) types: Option<Arc<SessionTypes>>,
    /// These stand beside those that were stored.
    pub(super) origins: Arc<FileOrigins>,
}

/// The rules in force.
pub struct InForce {
    /// 0 while nobody said anything over the API.
    pub version: u64,
    /// Whether the configuration decides.
    pub managed_by_file: bool,
    /// The rules.
    pub policy: Arc<Policy>,
}

impl App {
    /// The rules in force.
    ///
    /// # Errors
    /// `insufficient_scope`; the environment is gone.
    pub fn read_policy(&self, caller: &Caller) -> Result<InForce, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        Ok(self.in_force(&env))
    }

    fn in_force(&self, env: &Env) -> InForce {
        let managed_by_file = self.control.load().is_managed_by_file();
        let version = env.stored.as_ref().map_or(0, |(version, _)| version.number);
        InForce { version, managed_by_file, policy: env.policy.clone() }
    }

    /// Replaces the rules. `seen` is the version that the caller saw; `None` replaces any.
    ///
    /// # Errors
    /// `policy_managed_by_file`, `policy_changed`, `insufficient_scope`; faults.
    pub async fn replace_policy(
        &self,
        caller: &Caller,
        seen: Option<u64>,
        policy: Policy,
    ) -> Result<InForce, Stop> {
        self.commit_policy(caller, seen, Arc::new(policy), None).await
    }

    /// Takes up an earlier version again, as a new one.
    ///
    /// # Errors
    /// `not_found`, and those of [`App::replace_policy`].
    pub async fn roll_back_policy(
        &self,
        caller: &Caller,
        seen: Option<u64>,
        to: u64,
    ) -> Result<InForce, Stop> {
        caller.allow(Scope::PolicyWrite)?;
        let version = self.load_policy(caller, to).await?;
        self.commit_policy(caller, seen, version.policy, Some(to)).await
    }

    /// Puts what the configuration says in force everywhere, from the next request on; `None` leaves the say to what was
    /// stored. History is told where that changes anything; a store that does not answer keeps no rule from being in force.
    pub async fn set_file_policy(&self, file: Option<Policy>) {
        self.set_file(|known| known.policy = file.map(Arc::new)).await;
    }

    /// The same of session types.
    pub async fn set_file_types(&self, file: Option<SessionTypes>) {
        self.set_file(|known| known.types = file.map(Arc::new)).await;
    }

    /// The same of origins.
    pub async fn set_file_origins(&self, file: FileOrigins) {
        self.set_file(|known| known.origins = Arc::new(file)).await;
    }

    async fn set_file(&self, change: impl FnOnce(&mut FromFile)) {
        let (before, next) = self.control.change(|control| {
            let before = control.envs();
            control.set_file(change);
            (before, control.clone())
        });
        let at = self.now();
        let mut told = Vec::new();
        for env in before {
            let Some(after) = next.env(env.record.id) else { continue };
            let note = "the configuration was read again";
            if after.policy != env.policy || after.types != env.types {
                let version = self.in_force(&env).version;
                let event = Event::policy_changed(at, By::System, version, Some(note));
                told.push(new_event(env.record.id, &event));
            }
            if after.origins != env.origins {
                told.push(new_event(env.record.id, &Event::settings_changed(at, By::System, note)));
            }
        }
        let batch = Batch { events: told, ..batch(at, Vec::new()) };
        if !batch.events.is_empty()
            && let Err(error) = self.store.commit(batch).await
        {
            tracing::warn!(%error, "history does not know that the configuration was read again");
        }
    }

    async fn commit_policy(
        &self,
        caller: &Caller,
        seen: Option<u64>,
        policy: Arc<Policy>,
        restored: Option<u64>,
    ) -> Result<InForce, Stop> {
        caller.allow(Scope::PolicyWrite)?;
        self.while_overtaken(|| self.put_policy(caller, seen, policy.clone(), restored)).await
    }

    async fn put_policy(
        &self,
        caller: &Caller,
        seen: Option<u64>,
        policy: Arc<Policy>,
        restored: Option<u64>,
    ) -> Result<InForce, Stop> {
        // What today's rules have ended is written down first: nobody who was told so comes back under the next ones.
        self.check_rules().await?;
        self.settle_due(&*self.env(caller.env.record.id)?).await?;
        let turn = self.control_turn().await?;
        let env = self.env(caller.env.record.id)?;
        if self.control.load().is_managed_by_file() {
            return Err(Stop::code(Code::PolicyManagedByFile));
        }
        let (number, record_version) =
            env.stored.as_ref().map_or((0, 0), |(version, record)| (version.number, *record));
        if let Some(seen) = seen.filter(|seen| *seen != number) {
            return Err(Stop::refuse(
                Code::PolicyChanged,
                format!("version {number} is in force, and not {seen}: read it, and decide again"),
            ));
        }
        let id = env.record.id;
        let next = PolicyVersion { number: number + 1, at: self.now(), by: caller.by(), restored, policy };
        let ops = vec![
            put(write_policy(policy_key(id), &next), record_version),
            put(write_policy(policy_version_key(id, next.number), &next), 0),
            Op::Check { key: environment_key(id), expect: Expect::Version(env.version) },
        ];
        let note = restored.map(|from| format!("took up version {from} again"));
        let event = Event::policy_changed(next.at, caller.by(), next.number, note.as_deref());
        let events = vec![new_event(id, &event)];
        let next = Env { stored: Some((Arc::new(next), record_version + 1)), ..Env::clone(&env) };
        self.change_control_telling(turn, ops, events, |control| control.put_env(next)).await?;
        Ok(self.in_force(&*self.env(id)?))
    }

    /// One version.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`; faults.
    pub async fn policy_version(&self, caller: &Caller, number: u64) -> Result<PolicyVersion, Stop> {
        caller.allow(Scope::SessionsRead)?;
        self.load_policy(caller, number).await
    }

    async fn load_policy(&self, caller: &Caller, number: u64) -> Result<PolicyVersion, Stop> {
        let key = policy_version_key(caller.env.record.id, number);
        let found = self.store.load(&[key]).await?.into_iter().next().flatten();
        let found =
            found.ok_or_else(|| Stop::refuse(Code::NotFound, format!("there is no version {number}")))?;
        Ok(read_policy(&found)?)
    }

    /// The versions below `before`, the newest first, and whether there are more.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn policy_versions(
        &self,
        caller: &Caller,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<PolicyVersion>, bool), Stop> {
        caller.allow(Scope::SessionsRead)?;
        let mut query = Query {
            space: policy_versions(caller.env.record.id),
            all: Vec::new(),
            from: None,
            until: before.map(|number| Box::from(number.to_be_bytes())),
            cursor: None,
            limit: u32::try_from(limit).unwrap_or(u32::MAX).clamp(1, 1_000),
        };
        let mut items = Vec::new();
        // Pages may be shorter than asked for.
        loop {
            let page = self.store.search(&query).await?;
            for found in &page.items {
                if items.len() == limit {
                    return Ok((items, true));
                }
                items.push(read_policy(found)?);
            }
            match page.next {
                None => return Ok((items, false)),
                next => query.cursor = next,
            }
        }
    }
}
