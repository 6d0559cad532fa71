//! Access keys: made, listed, suspended, rotated with overlap, revoked. A key's text is shown once and never stored.

use super::callers::{Caller, is_root};
use super::control::{Key, put};
use super::room::Turn;
use super::{App, Stop};
use crate::codec::control::{access_key_key, environment_key, write_access_key};
use crate::store::{Expect, Op};
use handstamp_core::caller::{AccessKey, Home, Scope};
use handstamp_core::id::{EnvironmentId, KeyId};
use handstamp_core::policy::modes::Rate;
use handstamp_core::policy::setting::Budget;
use handstamp_core::refusal::Code;
use handstamp_core::secret::PlainToken;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What is asked for.
pub struct NewKey {
    /// A person's name for it: 1 to 100 characters.
    pub name: String,
    /// What it allows; empty: everything the caller may give.
    pub scopes: Vec<Scope>,
    /// Its life.
    pub expires_in: Option<Span>,
    /// Whether it is an operator's.
    pub operator: bool,
    /// Whether it is for apps without a backend: no secret, without scopes, good for nothing but to say whose an app is.
    pub publishable: bool,
    /// How often it may be used; `None`: as the key that asks.
    pub rate_limit: Option<Rate>,
}

/// What is changed.
#[derive(Default)]
pub struct KeyPatch {
    /// A new name.
    pub name: Option<String>,
    /// Suspend or resume.
    pub suspended: Option<bool>,
    /// New scopes.
    pub scopes: Option<Vec<Scope>>,
    /// Another limit, or none any more.
    pub rate_limit: Option<Budget>,
}

/// A key and its text.
pub struct MadeKey {
    /// As it is listed.
    pub key: Arc<Key>,
    /// Shown once.
    pub text: PlainToken,
}

impl Key {
    /// When it was last used.
    pub fn last_used(&self) -> Option<Millis> {
        Some(self.used.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Millis)
    }
}

impl App {
    /// The keys that the caller may manage: of its environment, or, for an operator who names none, all.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn keys(&self, caller: &Caller) -> Result<Vec<Arc<Key>>, Stop> {
        caller.allow(Scope::KeysWrite)?;
        let env = Home::Environment(caller.env.record.id);
        let asked = |key: &Key| manages(caller, key) && (!caller.named_env || key.key.home == env);
        Ok(self.control.load().keys().into_iter().filter(|key| asked(key)).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`.
    pub fn key(&self, caller: &Caller, id: KeyId) -> Result<Arc<Key>, Stop> {
        caller.allow(Scope::KeysWrite)?;
        let found = self.control.load().key(id).filter(|k| manages(caller, k)).cloned();
        found.ok_or_else(|| Stop::refuse(Code::NotFound, format!("there is no key {id}")))
    }

    /// The name of the environment a key belongs to; `None` for an operator's.
    pub fn home_of(&self, key: &AccessKey) -> Option<handstamp_core::environment::EnvironmentName> {
        match key.home {
            Home::Operator => None,
            Home::Environment(id) => self.control.load().env(id).map(|env| env.record.name.clone()),
        }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// `insufficient_scope`: nobody gives what they do not have; bad input; faults.
    pub async fn create_key(&self, caller: &Caller, ask: NewKey) -> Result<MadeKey, Stop> {
        caller.allow(Scope::KeysWrite)?;
        if ask.publishable {
            return self.create_publishable(caller, &ask).await;
        }
        if ask.operator {
            caller.allow_operator()?;
        }
        let scopes = if ask.scopes.is_empty() {
            Scope::ALL.iter().copied().filter(|s| caller.allow(*s).is_ok()).collect()
        } else {
            ask.scopes
        };
        caller.key().may_grant(&scopes)?;
        let rate_limit = ask.rate_limit.or(caller.key().rate_limit);
        caller.key().may_grant_rate(rate_limit)?;
        let home = if ask.operator { Home::Operator } else { Home::Environment(caller.env.record.id) };
        let parts = Parts::new(Kind::AccessKey, self.draw_bytes()?, self.draw_bytes()?);
        let now = self.now();
        let key = self.key_of(
            &parts,
            name(&ask.name)?,
            home,
            scopes,
            now,
            ask.expires_in.map(|span| now.plus(span)),
        );
        self.insert_key(AccessKey { rate_limit, ..key }, parts.text()).await
    }

    async fn create_publishable(&self, caller: &Caller, ask: &NewKey) -> Result<MadeKey, Stop> {
        if ask.operator {
            return Err(Stop::field("/operator", "a publishable key is of one environment"));
        }
        powerless(!ask.scopes.is_empty(), ask.rate_limit.is_some())?;
        let parts = Parts::new(Kind::PublishableKey, self.draw_bytes()?, self.draw_bytes()?);
        let (home, now) = (Home::Environment(caller.env.record.id), self.now());
        let end = ask.expires_in.map(|span| now.plus(span));
        let key = self.key_of(&parts, name(&ask.name)?, home, Vec::new(), now, end);
        self.insert_key(key, parts.text()).await
    }

    /// Changes a key.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`, bad input; faults.
    pub async fn update_key(&self, caller: &Caller, id: KeyId, patch: KeyPatch) -> Result<Arc<Key>, Stop> {
        is_root(id, &self.master)?;
        self.while_overtaken(|| self.patch_key(caller, id, &patch)).await
    }

    async fn patch_key(&self, caller: &Caller, id: KeyId, patch: &KeyPatch) -> Result<Arc<Key>, Stop> {
        let turn = self.control_turn().await?;
        let known = self.key(caller, id)?;
        let mut key = known.key.clone();
        if key.kind == Kind::PublishableKey {
            powerless(patch.scopes.is_some(), patch.rate_limit.is_some())?;
        }
        if let Some(text) = &patch.name {
            key.name = name(text)?;
        }
        if let Some(suspended) = patch.suspended {
            key.suspended = suspended;
        }
        if let Some(scopes) = &patch.scopes {
            caller.key().may_grant(scopes)?;
            key.scopes.clone_from(scopes);
        }
        if let Some(Budget(rate_limit)) = patch.rate_limit {
            caller.key().may_grant_rate(rate_limit)?;
            key.rate_limit = rate_limit;
        }
        self.replace_key(turn, &known, key).await
    }

    /// Makes a successor with the same name and scopes; the old one goes on for `overlap`.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`, already rotated; faults.
    pub async fn rotate_key(&self, caller: &Caller, id: KeyId, overlap: Span) -> Result<MadeKey, Stop> {
        is_root(id, &self.master)?;
        self.while_overtaken(|| self.succeed_key(caller, id, overlap)).await
    }

    async fn succeed_key(&self, caller: &Caller, id: KeyId, overlap: Span) -> Result<MadeKey, Stop> {
        let turn = self.control_turn().await?;
        let known = self.key(caller, id)?;
        caller.key().may_grant(&known.key.scopes)?;
        if known.key.kind == Kind::AccessKey {
            caller.key().may_grant_rate(known.key.rate_limit)?;
        }
        if let Some(next) = known.key.replaced_by {
            return Err(Stop::refuse(
                Code::AlreadyExists,
                format!("the key was rotated already; its successor is {next}"),
            ));
        }
        let parts = Parts::new(known.key.kind, self.draw_bytes()?, self.draw_bytes()?);
        let now = self.now();
        let old = &known.key;
        let life = old.expires_at.map(|end| now.plus(end.since(old.created_at)));
        let next = self.key_of(&parts, old.name.clone(), old.home, old.scopes.clone(), now, life);
        let next = AccessKey { rate_limit: old.rate_limit, ..next };
        let end = now.plus(overlap);
        let ending = AccessKey {
            expires_at: Some(old.expires_at.map_or(end, |e| e.min(end))),
            replaced_by: Some(next.id),
            ..old.clone()
        };
        let ops = vec![
            put(write_access_key(&ending, used(&known)), known.version),
            put(write_access_key(&next, Millis(0)), 0),
        ];
        let old = entry(ending, known.version + 1, used(&known));
        let made = entry(next.clone(), 1, Millis(0));
        self.change_control(turn, ops, |control| {
            control.put_key(old);
            control.put_key(made);
        })
        .await?;
        Ok(MadeKey { key: self.key(caller, next.id)?, text: parts.text() })
    }

    /// Revokes a key for good.
    ///
    /// # Errors
    /// `not_found`, `reserved` for the key that asks; faults.
    pub async fn delete_key(&self, caller: &Caller, id: KeyId) -> Result<(), Stop> {
        is_root(id, &self.master)?;
        self.while_overtaken(|| self.take_key_away(caller, id)).await
    }

    async fn take_key_away(&self, caller: &Caller, id: KeyId) -> Result<(), Stop> {
        let turn = self.control_turn().await?;
        let known = self.key(caller, id)?;
        if caller.key().id == id {
            return Err(Stop::refuse(Code::Reserved, "a key cannot revoke itself; use another one"));
        }
        let ops = vec![Op::Delete { key: access_key_key(id), expect: Expect::Version(known.version) }];
        self.change_control(turn, ops, move |control| control.remove_key(id)).await?;
        Ok(())
    }

    pub(super) fn key_of(
        &self,
        parts: &Parts,
        name: Box<str>,
        home: Home,
        scopes: Vec<Scope>,
        now: Millis,
        expires_at: Option<Millis>,
    ) -> AccessKey {
        let set = self.keys.current();
        AccessKey {
            id: parts.id,
            kind: parts.kind,
            name,
            home,
            scopes,
            verifier: parts.verifier(set),
            key_id: set.id,
            created_at: now,
            expires_at,
            suspended: false,
            replaced_by: None,
            rate_limit: None,
        }
    }

    async fn insert_key(&self, key: AccessKey, text: PlainToken) -> Result<MadeKey, Stop> {
        let key = self.while_overtaken(|| self.put_key(&key)).await?;
        Ok(MadeKey { key, text })
    }

    async fn put_key(&self, key: &AccessKey) -> Result<Arc<Key>, Stop> {
        let turn = self.control_turn().await?;
        let mut ops = vec![put(write_access_key(key, Millis(0)), 0)];
        if let Home::Environment(id) = key.home {
            ops.push(self.still_there(id)?);
        }
        let made = entry(key.clone(), 1, Millis(0));
        let id = key.id;
        self.change_control(turn, ops, |control| control.put_key(made)).await?;
        self.control.load().key(id).cloned().ok_or_else(|| Stop::code(Code::NotFound))
    }

    fn still_there(&self, id: EnvironmentId) -> Result<Op, Stop> {
        let env = self.env(id)?;
        Ok(Op::Check { key: environment_key(id), expect: Expect::Version(env.version) })
    }

    async fn replace_key(&self, turn: Turn, known: &Key, key: AccessKey) -> Result<Arc<Key>, Stop> {
        let (id, used) = (key.id, used(known));
        let ops = vec![put(write_access_key(&key, used), known.version)];
        let next = entry(key, known.version + 1, used);
        self.change_control(turn, ops, |control| control.put_key(next)).await?;
        self.control.load().key(id).cloned().ok_or_else(|| Stop::code(Code::NotFound))
    }
}

pub(super) const fn entry(key: AccessKey, version: u64, used: Millis) -> Key {
    Key { key, version, used: AtomicI64::new(used.0) }
}

fn used(known: &Key) -> Millis {
    Millis(known.used.load(Ordering::Relaxed))
}

fn manages(caller: &Caller, key: &Key) -> bool {
    key.version > 0 && (caller.is_operator() || key.key.home == Home::Environment(caller.env.record.id))
}

/// What a publishable key, which is in everybody's hands, does not have.
fn powerless(scopes: bool, rate_limit: bool) -> Result<(), Stop> {
    if scopes {
        return Err(Stop::field(
            "/scopes",
            "a publishable key has no scopes: leave them out, or make an access key",
        ));
    }
    if rate_limit {
        let why = "a publishable key has no budget, which any of its many users could use up: sessions have theirs (`rate_limit` of the policy)";
        return Err(Stop::field("/rate_limit", why));
    }
    Ok(())
}

fn name(text: &str) -> Result<Box<str>, Stop> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
        return Err(Stop::field("/name", "a key's name has 1 to 100 characters without control characters"));
    }
    Ok(text.into())
}
