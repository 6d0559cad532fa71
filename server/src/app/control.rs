//! Environments, access keys and ledgers of epochs: few, needed by every request, so held in memory and changed
//! through the store first.

use super::origins::{FileOrigins, Origins, Said, said};
use super::policies::FromFile;
use super::seats::{Era, Standing};
use super::token_keys::TokenKeys;
use super::types::{Kept, known_types};
use crate::codec::control::{read_access_key, read_environment, read_ledger, stamp_key};
use crate::codec::origins::origin_lists;
use crate::codec::policy::{PolicyVersion, read_policy, times_digest};
use crate::codec::session_type::session_types;
use crate::codec::{CONTROL, kind};
use crate::schema::session_type::{SessionTypes, lives};
use crate::store::{Batch, Expect, Op, Query, Record, Space, Store, StoreError, Versioned};
use handstamp_core::caller::AccessKey;
use handstamp_core::environment::{Environment, EnvironmentName};
use handstamp_core::epoch::Ledger;
use handstamp_core::id::{EnvironmentId, KeyId};
use handstamp_core::policy::Policy;
use handstamp_core::sealing::{DataKey, unwrap};
use handstamp_core::time::Millis;
use handstamp_core::token::keyring::MasterKey;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// All of it, replaced as a whole when something changes.
#[derive(Default, Clone)]
pub struct Control {
    envs: HashMap<EnvironmentId, Arc<Env>>,
    names: HashMap<EnvironmentName, EnvironmentId>,
    keys: HashMap<KeyId, Arc<Key>>,
    file: FromFile,
    era: Era,
    /// The version of the stamp that all of this is of; 0 while the store has none.
    stamp: u64,
}

/// What a store has of it, under one stamp.
pub(super) struct Stored {
    stamp: u64,
    envs: Vec<Env>,
    keys: Vec<Key>,
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
    /// No raise may have a number up to this one, also if none has it: a session may have been lifted to it.
    pub reserved: u64,
    /// The version of the ledger's record; 0 while there is none.
    pub ledger_version: u64,
    /// The rules in force, with what the session types add.
    pub policy: Arc<Policy>,
    /// The session types in force.
    pub types: Arc<SessionTypes>,
    /// Recognises their times.
    pub(super) times: [u8; 32],
    /// What they say of seats.
    pub(super) seats: Arc<Standing>,
    /// What was said over the API, if anything was, and the version of its record.
    pub(super) stored: Option<(Arc<PolicyVersion>, u64)>,
    /// The session types that were said over the API.
    pub(super) stored_types: Arc<Kept>,
    /// The rules without what the session types add.
    pub(super) base: Arc<Policy>,
    /// Pages that may call the browser API, and that a login may lead back to.
    pub origins: Arc<Origins>,
    /// What was said of them over the API.
    pub(super) said: Arc<Said>,
    /// The keys behind its access tokens.
    pub tokens: Arc<TokenKeys>,
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

/// A ledger, and the number that no raise may have any more.
pub(super) type Epochs = (Ledger, u64);

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
    /// What the configuration says of origins.
    pub(super) fn file_origins(&self) -> &Arc<FileOrigins> {
        &self.file.origins
    }
    /// All access keys, by creation.
    pub fn keys(&self) -> Vec<Arc<Key>> {
        let mut all: Vec<_> = self.keys.values().cloned().collect();
        all.sort_by_key(|k| (k.key.created_at, k.key.id));
        all
    }
    /// Without anything but what the configuration says.
    pub(super) fn before_all(file: FromFile, era: Era) -> Control {
        Control { file, era, ..Control::default() }
    }
    /// Whether the configuration decides about policies.
    pub fn is_managed_by_file(&self) -> bool {
        self.file.policy.is_some()
    }
    /// Whether it decides about session types.
    pub fn has_types_from_file(&self) -> bool {
        self.file.types.is_some()
    }
    pub(super) fn put_env(&mut self, mut env: Env) {
        let stored = || env.stored.as_ref().map(|(version, _)| version.policy.clone());
        env.base = self.file.policy.clone().or_else(stored).unwrap_or_default();
        env.origins = Arc::new(self.file.origins.with(&env.said));
        env.types = self.file.types.clone().unwrap_or_else(|| env.stored_types.types.clone());
        let before = self.envs.get(&env.record.id);
        match before {
            Some(known) if Arc::ptr_eq(&known.base, &env.base) && Arc::ptr_eq(&known.types, &env.types) => {
                (env.policy, env.times) = (known.policy.clone(), known.times);
                env.seats = known.seats.clone();
            }
            _ => {
                let lives = lives(&env.types);
                let untouched = lives.values().all(|life| life.is_empty());
                env.policy = if untouched { env.base.clone() } else { Arc::new(env.base.with_types(lives)) };
                env.times = times_digest(&env.policy);
                env.seats = self.era.standing(before.map(|known| &known.seats), &env.policy);
            }
        }
        self.names.insert(env.record.name.clone(), env.record.id);
        self.envs.insert(env.record.id, Arc::new(env));
    }
    /// Puts what the configuration says in force everywhere.
    pub(super) fn set_file(&mut self, change: impl FnOnce(&mut FromFile)) {
        change(&mut self.file);
        for env in self.envs() {
            self.put_env(Env::clone(&env));
        }
    }
    pub(super) fn remove_env(&mut self, id: EnvironmentId) {
        self.envs.remove(&id);
        self.names.retain(|_, named| *named != id);
    }
    /// Which stamp it is of.
    pub(super) const fn stamp(&self) -> u64 {
        self.stamp
    }
    /// Whether that is what the store has now, or had later.
    pub(super) const fn is_older_than(&self, stored: &Stored) -> bool {
        self.stamp <= stored.stamp
    }
    /// It was changed, and the stamp with it.
    pub(super) const fn is_stamped(&mut self, stamp: u64) {
        self.stamp = stamp;
    }
    /// Takes over what the store has. What only memory knows stays: what the configuration says, when keys were last used,
    /// and the key that is never stored. Which environments are gone.
    pub(super) fn take_over(&mut self, stored: Stored) -> Vec<EnvironmentId> {
        let there: HashSet<EnvironmentId> = stored.envs.iter().map(|env| env.record.id).collect();
        let gone: Vec<EnvironmentId> = self.envs.keys().copied().filter(|id| !there.contains(id)).collect();
        gone.iter().for_each(|id| self.remove_env(*id));
        stored.envs.into_iter().for_each(|env| self.put_env(env));
        let before = std::mem::take(&mut self.keys);
        self.keys =
            before.iter().filter(|(_, key)| key.version == 0).map(|(id, key)| (*id, key.clone())).collect();
        for key in stored.keys {
            if let Some(known) = before.get(&key.key.id) {
                key.used.fetch_max(known.used.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            self.put_key(key);
        }
        self.stamp = stored.stamp;
        gone
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
    (ledger, reserved): Epochs,
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
    Ok(Env {
        record,
        version,
        data_key,
        older_data_keys: keys,
        ledger,
        reserved,
        ledger_version,
        policy: Arc::default(),
        types: Arc::default(),
        times: [0; 32],
        seats: Arc::default(),
        stored: None,
        stored_types: Arc::default(),
        base: Arc::default(),
        origins: Arc::default(),
        said: Arc::default(),
        tokens: Arc::default(),
    })
}

/// How often the control records are read again when they change while they are read.
const READINGS: usize = 16;

/// Reads everything, as it was at one instant. What `known` has of keys is not taken out of its wrapping again. `settled`:
/// whether what the store says of that is believed: it is not where who was busy with a creation when the last process ended
/// could not look again whether it was still in time.
pub(super) async fn read(
    store: &dyn Store,
    master: &MasterKey,
    known: &Control,
    settled: bool,
) -> Result<Stored, StoreError> {
    let mut stamp = stamp(store).await?;
    for _ in 0..READINGS {
        let mut stored = read_once(store, master, known).await?;
        let after = self::stamp(store).await?;
        if after == stamp {
            let raised = stored.envs.iter_mut().flat_map(|env| &mut env.ledger.raised);
            raised.filter(|_| !settled).for_each(|raised| raised.settled = false);
            return Ok(Stored { stamp, ..stored });
        }
        stamp = after;
    }
    Err(StoreError::Unavailable("the control records change faster than they can be read".to_owned()))
}

/// The version of the stamp that the store has.
pub(super) async fn stamp(store: &dyn Store) -> Result<u64, StoreError> {
    Ok(store.load(&[stamp_key()]).await?.into_iter().next().flatten().map_or(0, |found| found.version))
}

async fn read_once(store: &dyn Store, master: &MasterKey, before: &Control) -> Result<Stored, StoreError> {
    let control = |kind| Space { kind, env: 0 };
    let mut policies: HashMap<Box<[u8]>, (Arc<PolicyVersion>, u64)> = HashMap::new();
    for found in all(store, control(kind::POLICY)).await? {
        let version = Arc::new(read_policy(&found)?);
        policies.insert(found.record.key.id.clone(), (version, found.version));
    }
    let mut ledgers: HashMap<Box<[u8]>, (Epochs, u64)> = HashMap::new();
    for found in all(store, control(kind::LEDGER)).await? {
        ledgers.insert(found.record.key.id.clone(), (read_ledger(&found)?, found.version));
    }
    let mut token_keys: HashMap<Box<[u8]>, Versioned> = HashMap::new();
    for found in all(store, control(kind::TOKEN_KEYS)).await? {
        token_keys.insert(found.record.key.id.clone(), found);
    }
    let (mut envs, mut keys) = (Vec::new(), Vec::new());
    for found in all(store, control(kind::ENVIRONMENT)).await? {
        let record = read_environment(&found)?;
        let known = before.env(record.id);
        let (ledger, ledger_version) = ledgers.remove(&found.record.key.id).unwrap_or_default();
        let env = ready(master, record, found.version, ledger, ledger_version)?;
        let stored_types = known_types(&all(store, session_types(env.record.id)).await?)?;
        let said = Arc::new(said(&all(store, origin_lists(env.record.id)).await?)?);
        let tokens = match token_keys.remove(&found.record.key.id) {
            None => Arc::default(),
            Some(found) => {
                let before = known.as_ref().map(|known| &*known.tokens);
                Arc::new(TokenKeys::stored_under(master, &found, before)?)
            }
        };
        let stored = policies.remove(&found.record.key.id);
        envs.push(as_before(known.as_deref(), Env { stored, stored_types, said, tokens, ..env }));
    }
    for found in all(store, control(kind::ACCESS_KEY)).await? {
        let (key, used) = read_access_key(&found)?;
        keys.push(Key { key, version: found.version, used: AtomicI64::new(used.0) });
    }
    Ok(Stored { stamp: 0, envs, keys })
}

/// Rules that are the same are not made ready again.
fn as_before(known: Option<&Env>, mut env: Env) -> Env {
    if let Some(known) = known {
        let version = |env: &Env| env.stored.as_ref().map(|(_, version)| *version);
        if version(known) == version(&env) {
            env.stored.clone_from(&known.stored);
        }
        if known.stored_types.is(&env.stored_types) {
            env.stored_types.clone_from(&known.stored_types);
        }
    }
    env
}

pub(super) async fn all(store: &dyn Store, space: Space) -> Result<Vec<Versioned>, StoreError> {
    let mut query = Query { space, all: Vec::new(), from: None, until: None, cursor: None, limit: 1_000 };
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
