//! Who asks: an access key, where it is at home, and what it may do.

use super::control::{Env, Key};
use super::{App, Stop};
use handstamp_core::caller::{AccessKey, Home, Scope};
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::KeyId;
use handstamp_core::rate::Standing;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::{By, Client};
use handstamp_core::time::Millis;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::{KeySet, MasterKey};
use handstamp_core::token::{Kind, Unreadable};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

/// A caller whose key was recognised, in one environment.
#[derive(Clone)]
pub struct Caller {
    /// The environment that everything it does happens in.
    pub env: Arc<Env>,
    /// Whether the caller named it.
    pub named_env: bool,
    /// How the key's budget stands, where it has one.
    pub standing: Option<Standing>,
    key: Arc<Key>,
    /// The key as it was found to be later, after something had been waited for: see [`App::after_waiting`].
    later: Option<Arc<OnceLock<Arc<Key>>>>,
}

/// In whose name something is done, and where. Whether they may was decided before.
pub struct Party {
    /// Where.
    pub env: Arc<Env>,
    /// Who, for history.
    pub by: By,
    /// From where, where it is a client itself.
    pub client: Client,
}

impl Caller {
    /// For what callers and clients do alike.
    pub(super) fn party(&self) -> Party {
        Party { env: self.env.clone(), by: self.by(), client: Client::default() }
    }
    /// Whether it may do what `scope` covers.
    ///
    /// # Errors
    /// The refusal.
    pub fn allow(&self, scope: Scope) -> Result<(), Stop> {
        self.key().allows(scope).map_err(Stop::from)
    }
    /// Whether it is an operator.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn allow_operator(&self) -> Result<(), Stop> {
        if self.is_operator() {
            return Ok(());
        }
        Err(Stop::refuse(
            Code::InsufficientScope,
            "this call needs an operator key (handstamp keys create --operator)",
        ))
    }
    /// Whether it is an operator.
    pub fn is_operator(&self) -> bool {
        self.key().home == Home::Operator
    }
    /// Its key.
    pub fn key(&self) -> &AccessKey {
        let later = self.later.as_ref().and_then(|later| later.get());
        &later.unwrap_or(&self.key).key
    }
    /// For events.
    pub fn by(&self) -> By {
        By::Key(self.key.key.id)
    }
    /// The same, whose clones will all know what [`App::after_waiting`] finds.
    #[must_use]
    pub fn watched(self) -> Caller {
        Caller { later: Some(Arc::default()), ..self }
    }
}

impl App {
    /// Recognises a caller by its access key; `env` is what an operator names.
    ///
    /// # Errors
    /// A refusal with what to do.
    pub fn caller(&self, presented: Option<&str>, env: Option<&str>) -> Result<Caller, Stop> {
        self.recognise(presented, env, false)
    }

    /// Recognises a caller for a call that is about no environment, or about all: it needs none to be named.
    ///
    /// # Errors
    /// A refusal with what to do.
    pub fn caller_of_all(&self, presented: Option<&str>, env: Option<&str>) -> Result<Caller, Stop> {
        self.recognise(presented, env, true)
    }

    /// Whether a caller who was recognised a while ago may still do what `scope` covers: the key was not revoked,
    /// suspended or changed meanwhile, and its environment is there.
    pub(super) fn still_may(&self, caller: &Caller, scope: Scope) -> bool {
        let control = self.control.load();
        let good = |key: &AccessKey| key.stands(self.now()).and_then(|()| key.allows(scope)).is_ok();
        control.env(caller.env.record.id).is_some()
            && control.key(caller.key.key.id).is_some_and(|found| good(&found.key))
    }

    /// Looks at the key again when something was waited for since its caller was recognised, such as a body: what it may do is
    /// what it may by then. A look at memory, where that is licensed.
    ///
    /// # Errors
    /// The refusals of keys; faults.
    pub async fn after_waiting(&self, caller: &mut Caller) -> Result<(), Stop> {
        self.look_up().await?;
        let control = self.control.load();
        let there = control.env(caller.env.record.id).and_then(|_| control.key(caller.key.key.id));
        let found = there.ok_or_else(|| Stop::code(Code::AccessKeyInvalid))?;
        found.key.stands(self.now())?;
        if Arc::ptr_eq(found, &caller.key) {
            return Ok(());
        }
        match &caller.later {
            Some(later) => drop(later.set(found.clone())),
            None => caller.key = found.clone(),
        }
        Ok(())
    }

    /// Whether the caller may do what `scope` covers; before it is refused, the store is asked, for another node may just have
    /// allowed it.
    ///
    /// # Errors
    /// The refusal; faults.
    pub async fn allow(&self, caller: &Caller, scope: Scope) -> Result<(), Stop> {
        let Err(refused) = caller.allow(scope) else { return Ok(()) };
        self.look_up_stranger().await?;
        if self.still_may(caller, scope) { Ok(()) } else { Err(refused) }
    }

    /// The same as the store has it now, for an answer that is made again.
    ///
    /// # Errors
    /// `access_key_invalid`; faults.
    pub async fn look_again(&self, caller: &Caller, scope: Scope) -> Result<(), Stop> {
        self.look_up_newest().await?;
        if self.still_may(caller, scope) { Ok(()) } else { Err(Stop::code(Code::AccessKeyInvalid)) }
    }

    /// Whether a key, or an environment that an operator names, is nothing that memory would let pass: what was made or
    /// resumed on another node a moment ago is not in it yet. What is no key at all is nobody's.
    pub fn is_stranger(&self, presented: &str, env: Option<&str>) -> bool {
        let kind = if Kind::of(presented) == Some(Kind::PublishableKey) {
            Kind::PublishableKey
        } else {
            Kind::AccessKey
        };
        let Ok(parts) = Parts::read(kind, presented) else { return false };
        let control = self.control.load();
        let named = env.and_then(|name| EnvironmentName::parse(name).ok());
        control.key(parts.id).is_none_or(|key| key.key.stands(self.now()).is_err())
            || named.is_some_and(|name| control.env_named(&name).is_none())
    }

    fn recognise(&self, presented: Option<&str>, env: Option<&str>, any: bool) -> Result<Caller, Stop> {
        let Some(presented) = presented.filter(|text| !text.is_empty()) else {
            return Err(Stop::code(Code::AccessKeyMissing));
        };
        let unknown = || Stop::code(Code::AccessKeyInvalid);
        let parts = match Parts::read(Kind::AccessKey, presented) {
            Ok(parts) => parts,
            Err(Unreadable::WrongKind) if Kind::of(presented) == Some(Kind::PublishableKey) => {
                return Err(Stop::code(Code::PublishableKeyForbidden));
            }
            Err(_) => return Err(unknown()),
        };
        let control = self.control.load();
        let key = control.key(parts.id).ok_or_else(unknown)?;
        let set = self.keys.set(key.key.key_id).ok_or_else(unknown)?;
        let now = self.now();
        key.key.judge(&parts.verifier(set), now)?;
        key.used.store(now.0, Ordering::Relaxed);
        let named_env = env.is_some();
        let env = match key.key.home {
            Home::Environment(id) => {
                let home = control.env(id).ok_or_else(unknown)?;
                if env.is_some_and(|named| named != home.record.name.to_string()) {
                    return Err(Stop::refuse(
                        Code::InsufficientScope,
                        format!(
                            "the key belongs to {}; only an operator key may name another environment",
                            home.record.name
                        ),
                    ));
                }
                home
            }
            Home::Operator => {
                let name = env.unwrap_or("default/prd");
                let name = EnvironmentName::parse(name).map_err(|why| Stop::field("X-Handstamp-Env", why))?;
                let named = control.env_named(&name);
                let found =
                    named.or_else(|| control.envs().into_iter().next().filter(|_| any && env.is_none()));
                let help = if env.is_none() { "; name one in X-Handstamp-Env" } else { "" };
                found.ok_or_else(|| {
                    Stop::refuse(Code::NotFound, format!("there is no environment {name}{help}"))
                })?
            }
        };
        // The last thing that can be wrong: what comes afterwards has been paid for.
        let standing = match key.key.rate_limit {
            None => None,
            Some(rate) => Some(self.spend_call(key.key.id, rate, now)?),
        };
        Ok(Caller { env, named_env, standing, key: key.clone(), later: None })
    }
}

/// The operator's key that whoever holds the master key can make: it is derived, never stored, and so also works when
/// no key is left. The command line uses it beside the data directory.
pub fn root_key(master: &MasterKey) -> Parts {
    let id = master.derive("operator-key-id");
    let secret = master.derive("operator-key-secret");
    Parts::new(Kind::AccessKey, id.expose().first_chunk().copied().unwrap_or_default(), *secret.expose())
}

pub(super) fn root_entry(master: &MasterKey, set: &KeySet) -> Key {
    let parts = root_key(master);
    let key = AccessKey {
        id: parts.id,
        kind: Kind::AccessKey,
        name: "master key".into(),
        home: Home::Operator,
        scopes: Scope::ALL.to_vec(),
        verifier: parts.verifier(set),
        key_id: set.id,
        created_at: Millis(0),
        expires_at: None,
        suspended: false,
        replaced_by: None,
        rate_limit: None,
    };
    Key { key, version: 0, used: AtomicI64::new(0) }
}

/// Whether a key is the derived one, which cannot be changed.
pub(super) fn is_root(id: KeyId, master: &MasterKey) -> Result<(), Refusal> {
    if root_key(master).id == id { Err(Refusal::plain(Code::Reserved, "access_key")) } else { Ok(()) }
}
