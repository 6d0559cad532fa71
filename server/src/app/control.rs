//! Environments, access keys and ledgers of epochs: few, needed by every request, so held in memory and changed
//! through the store first.

use super::callers::root_entry;
use super::{App, Fault, Stop};
use crate::codec::control::{
    environment_key, ledger_key, read_access_key, read_environment, read_ledger, write_ledger,
};
use crate::codec::{CONTROL, kind};
use crate::store::{Batch, Expect, Op, Query, Record, Space, Store, StoreError, Versioned};
use handstamp_core::caller::AccessKey;
use handstamp_core::environment::{Environment, EnvironmentName};
use handstamp_core::epoch::{Ledger, Scope};
use handstamp_core::id::{EnvironmentId, KeyId, SessionId};
use handstamp_core::sealing::{DataKey, unwrap};
use handstamp_core::session::By;
use handstamp_core::time::Millis;
use handstamp_core::token::keyring::MasterKey;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// All of it, replaced as a whole when something changes.
#[derive(Default, Clone)]
pub struct Control {
    envs: HashMap<EnvironmentId, Arc<Env>>,
    names: HashMap<EnvironmentName, EnvironmentId>,
    keys: HashMap<KeyId, Arc<Key>>,
}

/// An environment, ready for work.
#[derive(Clone)]
pub struct Env {
    /// As stored.
    pub record: Environment,
    /// Its version in the store.
    pub version: u64,
    /// Seals session data.
    pub data_key: DataKey,
    /// Opens what older keys sealed.
    pub older_data_keys: Vec<DataKey>,
    /// What was ended at once.
    pub ledger: Ledger,
    /// The version of the ledger's record; 0 while there is none.
    pub ledger_version: u64,
}

/// An access key, ready for work.
pub struct Key {
    /// As stored.
    pub key: AccessKey,
    /// Its version; 0 for the key that is derived from the master key and never stored.
    pub version: u64,
    /// When it was last used, in milliseconds.
    pub used: AtomicI64,
}

impl Control {
    /// An environment by its id.
    pub fn env(&self, id: EnvironmentId) -> Option<Arc<Env>> {
        self.envs.get(&id).cloned()
    }
    /// An environment by its name.
    pub fn env_named(&self, name: &EnvironmentName) -> Option<Arc<Env>> {
        self.env(*self.names.get(name)?)
    }
    /// All environments, by name.
    pub fn envs(&self) -> Vec<Arc<Env>> {
        let mut all: Vec<_> = self.envs.values().cloned().collect();
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        all
    }
    /// An access key.
    pub fn key(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&id)
    }
    /// All access keys, by creation.
    pub fn keys(&self) -> Vec<Arc<Key>> {
        let mut all: Vec<_> = self.keys.values().cloned().collect();
        all.sort_by_key(|k| (k.key.created_at, k.key.id));
        all
    }
    pub(super) fn put_env(&mut self, env: Env) {
        self.names.insert(env.record.name.clone(), env.record.id);
        self.envs.insert(env.record.id, Arc::new(env));
    }
    pub(super) fn remove_env(&mut self, id: EnvironmentId) {
        self.envs.remove(&id);
        self.names.retain(|_, named| *named != id);
    }
    pub(super) fn put_key(&mut self, key: Key) {
        self.keys.insert(key.key.id, Arc::new(key));
    }
    pub(super) fn remove_key(&mut self, id: KeyId) {
        self.keys.remove(&id);
    }
}

impl Env {
    /// The data key that sealed something.
    pub fn data_key_of(&self, id: u8) -> Option<&DataKey> {
        if self.data_key.id == id {
            Some(&self.data_key)
        } else {
            self.older_data_keys.iter().find(|k| k.id == id)
        }
    }
}

/// What a data key is wrapped for.
pub(super) fn data_key_purpose(env: EnvironmentId, id: u8) -> String {
    format!("environment {:016x}, data key {id}", env.0)
}

/// Makes an environment ready: unwraps its keys.
pub(super) fn ready(
    master: &MasterKey,
    record: Environment,
    version: u64,
    ledger: Ledger,
    ledger_version: u64,
) -> Result<Env, StoreError> {
    let kek = master.derive("wrap");
    let open = |(id, wrapped): &(u8, Vec<u8>)| {
        let secret = unwrap(&kek, &data_key_purpose(record.id, *id), wrapped).map_err(|_| {
            StoreError::Damaged(format!(
                "data key {id} of environment {} does not open under this master key",
                record.name
            ))
        })?;
        Ok(DataKey::new(*id, secret))
    };
    let mut keys = record.data_keys.iter().map(open).collect::<Result<Vec<_>, StoreError>>()?;
    let data_key = keys
        .pop()
        .ok_or_else(|| StoreError::Damaged(format!("environment {} has no data key", record.name)))?;
    Ok(Env { record, version, data_key, older_data_keys: keys, ledger, ledger_version })
}

/// Reads everything at start.
pub(super) async fn load(store: &dyn Store, master: &MasterKey) -> Result<Control, StoreError> {
    let mut control = Control::default();
    let mut ledgers: HashMap<Box<[u8]>, (Ledger, u64)> = HashMap::new();
    for found in all(store, kind::LEDGER).await? {
        ledgers.insert(found.record.key.id.clone(), (read_ledger(&found)?, found.version));
    }
    for found in all(store, kind::ENVIRONMENT).await? {
        let record = read_environment(&found)?;
        let (ledger, ledger_version) = ledgers.remove(&found.record.key.id).unwrap_or_default();
        control.put_env(ready(master, record, found.version, ledger, ledger_version)?);
    }
    for found in all(store, kind::ACCESS_KEY).await? {
        let (key, used) = read_access_key(&found)?;
        control.put_key(Key { key, version: found.version, used: AtomicI64::new(used.0) });
    }
    Ok(control)
}

async fn all(store: &dyn Store, kind: u8) -> Result<Vec<Versioned>, StoreError> {
    let mut query = Query {
        space: Space { kind, env: 0 },
        all: Vec::new(),
        from: None,
        until: None,
        cursor: None,
        limit: 1_000,
    };
    let mut items = Vec::new();
    loop {
        let page = store.search(&query).await?;
        items.extend(page.items);
        match page.next {
            None => return Ok(items),
            next => query.cursor = next,
        }
    }
}

/// What expects the version that was seen (0: nothing was there).
pub(super) const fn expecting(version: u64) -> Expect {
    if version == 0 { Expect::Absent } else { Expect::Version(version) }
}

/// A batch of control records.
pub(super) fn batch(at: Millis, ops: Vec<Op>) -> Batch {
    Batch { bucket: CONTROL.get(), at, ops, events: Vec::new(), tallies: Vec::new() }
}

/// A put of a control record over the version that was seen.
pub(super) const fn put(record: Record, version: u64) -> Op {
    Op::Put { expect: expecting(version), record }
}

impl App {
    /// Changes control records and, once that is durable, what is held in memory. One at a time in a node.
    pub(super) async fn change_control(
        &self,
        ops: Vec<Op>,
        apply: impl FnOnce(&mut Control),
    ) -> Result<(), Fault> {
        if let Err(error) = self.store.commit(batch(self.now(), ops)).await {
            // It may have gone through all the same, or others came first: what is in memory can no longer be trusted.
            self.control_stale.store(true, Ordering::Release);
            self.reload_control().await?;
            return Err(error.into());
        }
        let mut next = Control::clone(&self.control.load());
        apply(&mut next);
        self.control.store(Arc::new(next));
        Ok(())
    }

    /// Reads all control records again, if they are in doubt. Tried until it succeeds, by housekeeping at the latest.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn reload_control(&self) -> Result<(), Fault> {
        if !self.control_stale.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut control = load(self.store.as_ref(), &self.master).await?;
        control.put_key(root_entry(&self.master, self.keys.current()));
        self.control.store(Arc::new(control));
        self.control_stale.store(false, Ordering::Release);
        Ok(())
    }

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
        let _turn = self.control_turn.lock().await;
        let current = self.env(env)?;
        let mut ledger = current.ledger.clone();
        let at = ledger.raise_sparing(spared, scope, self.now(), by, reason);
        self.store_ledger(&current, ledger).await?;
        Ok(at)
    }

    /// Notes that every session a raise ended says so itself by now.
    pub(super) async fn settle_epoch(&self, env: EnvironmentId, at: u64) -> Result<(), Stop> {
        let _turn = self.control_turn.lock().await;
        let current = self.env(env)?;
        let mut ledger = current.ledger.clone();
        ledger.raised.iter_mut().filter(|r| r.at == at).for_each(|r| r.settled = true);
        self.store_ledger(&current, ledger).await
    }

    async fn store_ledger(&self, current: &Env, ledger: Ledger) -> Result<(), Stop> {
        let id = current.record.id;
        let ops = vec![
            put(write_ledger(id, &ledger), current.ledger_version),
            Op::Check { key: environment_key(id), expect: Expect::Version(current.version) },
        ];
        let next = Env { ledger, ledger_version: current.ledger_version + 1, ..current.clone() };
        debug_assert_eq!(ledger_key(id).space.kind, kind::LEDGER);
        Ok(self.change_control(ops, |control| control.put_env(next)).await?)
    }
}
