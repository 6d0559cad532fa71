//! The master key: what follows from it, what it wraps, and how another one takes its place.
//!
//! A new master key comes with a new key set for what is made from then on. What was made before must go on working, so the
//! secrets of the older sets, which followed from the old key, are wrapped under the new one; the old key itself is in no
//! record. Everything changes in one commit: a store belongs to one master key or to the other, never to both.

use super::Fault;
use super::control::{all, data_key_purpose, put, stamp};
use super::keeper::is_kept;
use super::token_keys::{WRAP, draw_named};
use crate::codec::control::{
    Root, access_key_key, ledger_key, read_access_key, read_environment, read_ledger, read_root, root_key,
    write_environment, write_ledger, write_root, write_stamp,
};
use crate::codec::status::{places_key, read_places, write_places};
use crate::codec::token_keys::{read_token_keys, token_keys_of, wrapping, write_token_keys};
use crate::codec::{CONTROL, kind, new_event};
use crate::host::entropy::Entropy;
use crate::store::{Batch, Expect, Op, Space, Store, StoreError, Versioned};
use handstamp_core::environment::Environment;
use handstamp_core::epoch::{Ledger, Raised, Scope};
use handstamp_core::erasure;
use handstamp_core::event::Event;
use handstamp_core::id::EnvironmentId;
use handstamp_core::sealing::{unwrap, unwrap_bytes, wrap_bytes};
use handstamp_core::secret::Secret;
use handstamp_core::session::By;
use handstamp_core::signing::{Ask, Job, TokenKey, rotate};
use handstamp_core::status::LIST;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::{Keyring, MasterKey, SetSecrets};

const BUCKET_KEY: &str = "bucket key";
const PSEUDONYMS: &str = "pseudonyms";
const STATEMENTS: &str = "erasure statements";

/// What follows from the master key, or is wrapped under it, and is needed all the time.
pub(super) struct Followers {
    pub(super) keys: Keyring,
    /// Names of erased users are made with it.
    pub(super) pseudonyms: Secret<32>,
    /// Statements of erasing are signed with it.
    pub(super) statements: Secret<32>,
}

/// What a change of the master key did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// How many keys are wrapped under the new one.
    pub wrapped: usize,
    /// How many environments there are.
    pub environments: usize,
    /// How many access keys are gone with the old one.
    pub access_keys: usize,
}

/// Why all sessions end with a master key that was in wrong hands, as their history says it.
const REASON: &str = "the master key was replaced";

impl Followers {
    /// What a store's root has under this master key.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] of what does not open.
    pub(super) fn of(master: &MasterKey, root: &Root) -> Result<Followers, StoreError> {
        let kek = master.derive(WRAP);
        let damaged =
            |what: &str| StoreError::Damaged(format!("the {what} does not open under this master key"));
        let secret = |what: &str, wrapped: &[u8]| unwrap(&kek, what, wrapped).map_err(|_| damaged(what));
        let set = |(id, wrapped): &(u8, Vec<u8>)| {
            if wrapped.is_empty() {
                return Ok((*id, SetSecrets::derive(master, *id)));
            }
            let purpose = set_purpose(*id);
            let bytes = unwrap_bytes(&kek, &purpose, wrapped).map_err(|_| damaged(&purpose))?;
            SetSecrets::from_bytes(&bytes).map(|secrets| (*id, secrets)).ok_or_else(|| damaged(&purpose))
        };
        let older = root.older_sets.iter().map(set).collect::<Result<_, StoreError>>()?;
        let bucket = secret(BUCKET_KEY, &root.bucket_key)?;
        let own = |what, wrapped: Option<&[u8]>, purpose| match wrapped {
            None => Ok(master.derive(purpose)),
            Some(wrapped) => secret(what, wrapped),
        };
        Ok(Followers {
            keys: Keyring::with(master, root.key_set, older, &bucket),
            pseudonyms: own(PSEUDONYMS, root.pseudonyms.as_deref(), erasure::PSEUDONYMS)?,
            statements: own(STATEMENTS, root.statements.as_deref(), erasure::STATEMENTS)?,
        })
    }
}

/// The root of a new store.
///
/// # Errors
/// [`Fault::Entropy`].
pub(super) fn new_root(master: &MasterKey, entropy: &dyn Entropy) -> Result<Root, Fault> {
    let bucket_key = Wrapper::new(master, entropy).wrap(BUCKET_KEY, &draw::<32>(entropy)?)?;
    Ok(Root {
        fingerprint: master.fingerprint(),
        bucket_key,
        key_set: 1,
        older_sets: Vec::new(),
        pseudonyms: None,
        statements: None,
    })
}

/// Puts `new` in the place of `old`, in one commit. With `end_sessions` nothing that followed from the old key is good any
/// more: every session ends, access keys are gone, and the keys behind access tokens and those that seal data get successors.
///
/// # Errors
/// Faults, also where a node is at work on the store; it is as it was, unless it did not say so.
pub async fn change(
    store: &dyn Store,
    entropy: &dyn Entropy,
    (old, new): (&MasterKey, &MasterKey),
    now: Millis,
    end_sessions: bool,
) -> Result<Changed, Fault> {
    let now = now.max(store.clock_floor().await?);
    // A node goes on with what followed from the old key, and is of no use from this commit on.
    if is_kept(store, now).await? {
        let why = "a node is at work on it, or was in the last ten seconds: stop every node first";
        return Err(StoreError::Unavailable(why.to_owned()).into());
    }
    let found = store.load(&[root_key()]).await?.into_iter().next().flatten();
    let found = found.ok_or_else(|| StoreError::Damaged("the store has no first record".to_owned()))?;
    let control = |kind| Space { kind, env: 0 };
    let to = Wrapper::new(new, entropy);
    let moving = Moving { from: old.derive(WRAP), to, old, now, end_sessions };
    let mut done = Changed::default();
    let mut ops = vec![put(write_root(&moving.root(&read_root(&found)?, new, &mut done)?), found.version)];
    let environments = all(store, control(kind::ENVIRONMENT)).await?;
    let ledgers = all(store, control(kind::LEDGER)).await?;
    let mut events = Vec::new();
    for found in &environments {
        let env = moving.environment(read_environment(found)?, &mut done)?;
        if end_sessions {
            let (op, raised) = moving.ended(env.id, &ledgers)?;
            ops.push(op);
            events.extend(raised.as_ref().map(|raised| new_event(env.id, &Event::revoked(raised))));
        }
        // Places in status lists are turned by a key that follows from the master key: where it is another one, they go on in
        // a list of which none was given.
        if let Some(found) = store.load(&[places_key(env.id)]).await?.into_iter().next().flatten() {
            let given = read_places(&found)?.next_multiple_of(LIST);
            ops.push(put(write_places(env.id, given), found.version));
        }
        ops.push(put(write_environment(&env), found.version));
        done.environments += 1;
    }
    for found in &all(store, control(kind::TOKEN_KEYS)).await? {
        let env = token_keys_of(&found.record.key)?;
        let keys = moving.token_keys(env, read_token_keys(found)?, &mut done)?;
        ops.push(put(write_token_keys(env, &keys), found.version));
    }
    if end_sessions {
        for found in all(store, control(kind::ACCESS_KEY)).await? {
            let key = access_key_key(read_access_key(&found)?.0.id);
            ops.push(Op::Delete { key, expect: Expect::Version(found.version) });
            done.access_keys += 1;
        }
    }
    ops.push(put(write_stamp(), stamp(store).await?));
    let (bucket, tallies) = (CONTROL.get(), Vec::new());
    store.commit(Batch { bucket, at: now, ops, events, tallies }).await?;
    Ok(done)
}

/// Wraps under one key.
struct Wrapper<'a> {
    kek: Secret<32>,
    entropy: &'a dyn Entropy,
}

impl<'a> Wrapper<'a> {
    fn new(master: &MasterKey, entropy: &'a dyn Entropy) -> Wrapper<'a> {
        Wrapper { kek: master.derive(WRAP), entropy }
    }

    fn wrap(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, Fault> {
        wrap_bytes(&self.kek, purpose, secret, draw(self.entropy)?).map_err(|_| Fault::Entropy)
    }
}

/// From one key to the other.
struct Moving<'a> {
    from: Secret<32>,
    to: Wrapper<'a>,
    old: &'a MasterKey,
    now: Millis,
    end_sessions: bool,
}

impl Moving<'_> {
    fn again(&self, purpose: &str, wrapped: &[u8], done: &mut Changed) -> Result<Vec<u8>, Fault> {
        let secret = unwrap_bytes(&self.from, purpose, wrapped)
            .map_err(|_| StoreError::Damaged(format!("{purpose} does not open under the old master key")))?;
        done.wrapped += 1;
        self.to.wrap(purpose, &secret)
    }

    fn root(&self, root: &Root, new: &MasterKey, done: &mut Changed) -> Result<Root, Fault> {
        let mut older_sets = Vec::new();
        if !self.end_sessions {
            for (id, wrapped) in &root.older_sets {
                older_sets.push((*id, self.set(*id, Some(wrapped).filter(|bytes| !bytes.is_empty()), done)?));
            }
            older_sets.push((root.key_set, self.set(root.key_set, None, done)?));
        }
        // Pseudonyms stay: who was erased is found again by erasing again.
        let pseudonyms = self.carried(PSEUDONYMS, root.pseudonyms.as_ref(), erasure::PSEUDONYMS, done)?;
        // Whoever has the old key could sign statements in our name.
        let statements = if self.end_sessions {
            None
        } else {
            Some(self.carried(STATEMENTS, root.statements.as_ref(), erasure::STATEMENTS, done)?)
        };
        Ok(Root {
            fingerprint: new.fingerprint(),
            bucket_key: self.again(BUCKET_KEY, &root.bucket_key, done)?,
            key_set: next_set(root).ok_or_else(|| {
                StoreError::Unavailable("255 key sets are in use: rotate with --end-sessions".to_owned())
            })?,
            older_sets,
            pseudonyms: Some(pseudonyms),
            statements,
        })
    }

    fn set(&self, id: u8, wrapped: Option<&Vec<u8>>, done: &mut Changed) -> Result<Vec<u8>, Fault> {
        let purpose = set_purpose(id);
        if let Some(wrapped) = wrapped {
            return self.again(&purpose, wrapped, done);
        }
        done.wrapped += 1;
        self.to.wrap(&purpose, &SetSecrets::derive(self.old, id).to_bytes())
    }

    fn carried(
        &self,
        what: &str,
        wrapped: Option<&Vec<u8>>,
        purpose: &str,
        done: &mut Changed,
    ) -> Result<Vec<u8>, Fault> {
        if let Some(wrapped) = wrapped {
            return self.again(what, wrapped, done);
        }
        done.wrapped += 1;
        self.to.wrap(what, self.old.derive(purpose).expose())
    }

    fn environment(&self, mut env: Environment, done: &mut Changed) -> Result<Environment, Fault> {
        for (id, wrapped) in &mut env.data_keys {
            *wrapped = self.again(&data_key_purpose(env.id, *id), wrapped, done)?;
        }
        // What lies there is still to be read; what comes is sealed with a key that nobody had.
        if self.end_sessions
            && let Some(id) = env.data_keys.iter().map(|(id, _)| *id).max().and_then(|id| id.checked_add(1))
        {
            let secret = draw::<32>(self.to.entropy)?;
            env.data_keys.push((id, self.to.wrap(&data_key_purpose(env.id, id), &secret)?));
        }
        Ok(env)
    }

    fn token_keys(
        &self,
        env: EnvironmentId,
        mut keys: Vec<TokenKey>,
        done: &mut Changed,
    ) -> Result<Vec<TokenKey>, Fault> {
        for key in keys.iter_mut().filter(|key| !key.wrapped.is_empty()) {
            key.wrapped = self.again(&wrapping(env, &key.kid, key.job), &key.wrapped, done)?.into();
        }
        let used =
            |keys: &[TokenKey], job| keys.iter().any(|k| k.job == job && k.life.is_published(self.now));
        for job in Job::ALL {
            if !self.end_sessions || !used(&keys, job) {
                continue;
            }
            let ask =
                Ask { job, activate_in: None, retire_in: None, emergency: true, longest_token: Span(0) };
            let Ok(plan) = rotate(&keys, self.now, &ask) else { continue };
            let (kid, secret) = draw_named(self.to.entropy, job)?;
            let wrapped = self.to.wrap(&wrapping(env, &kid, job), &secret)?;
            keys = plan.apply(&keys, kid, wrapped.into());
        }
        Ok(keys)
    }

    /// The environment's ledger with everybody ended, and what history says of it.
    fn ended(&self, env: EnvironmentId, ledgers: &[Versioned]) -> Result<(Op, Option<Raised>), Fault> {
        let key = ledger_key(env);
        let found = ledgers.iter().find(|found| found.record.key == key);
        let (mut ledger, reserved) = match found {
            None => (Ledger::default(), 0),
            Some(found) => read_ledger(found)?,
        };
        ledger.counter = ledger.counter.max(reserved);
        ledger.raise(Scope::All, self.now, By::System, Some(REASON.into()));
        let raised = ledger.raised.last().cloned();
        Ok((put(write_ledger(env, &ledger, reserved), found.map_or(0, |found| found.version)), raised))
    }
}

/// A number that no set has.
fn next_set(root: &Root) -> Option<u8> {
    let taken = |id: u8| root.key_set == id || root.older_sets.iter().any(|(older, _)| *older == id);
    (root.key_set..=u8::MAX).chain(1..root.key_set).find(|id| !taken(*id))
}

fn set_purpose(id: u8) -> String {
    format!("key set {id}")
}

fn draw<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    if entropy.fill(&mut bytes) { Ok(bytes) } else { Err(Fault::Entropy) }
}
