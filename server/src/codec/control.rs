//! Control records as bytes: the store's root, environments, ledgers of epochs, access keys, idempotency keys.

use super::bytes::{Reader, Writer};
use super::session::{read_by, write_by};
use super::{CONTROL, Unreadable, control_key, damaged, idempotency_key, kind};
use crate::store::{Key, Record, StoreError, Versioned};
use handstamp_core::caller::{AccessKey, Home, Scope};
use handstamp_core::environment::{Environment, EnvironmentName};
use handstamp_core::epoch::{Ledger, Raised, Scope as Whom};
use handstamp_core::id::{Bucket, EnvironmentId, KeyId, SessionId, UserId};
use handstamp_core::policy::modes::Rate;
use handstamp_core::secret::Verifier;
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use handstamp_core::token::Kind;

/// What is known of the store itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// Recognises the master key.
    pub fingerprint: [u8; 32],
    /// The bucket key, wrapped under the master key.
    pub bucket_key: Vec<u8>,
    /// The key set that makes new tokens.
    pub key_set: u8,
    /// Key sets that are still recognised: their secrets, wrapped under the master key. Empty where they follow from it.
    pub older_sets: Vec<(u8, Vec<u8>)>,
    /// What names of erased users are made with, wrapped, where it does not follow from the master key.
    pub pseudonyms: Option<Vec<u8>>,
    /// What statements are signed with, likewise.
    pub statements: Option<Vec<u8>>,
}

/// How far privacy is looked after.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Aging {
    /// For each switch, the position up to which history was looked through.
    pub through: [u64; 4],
    /// Rises when something is to be taken out of the store's files.
    pub scrub_wanted: u64,
    /// What it was when that was done last.
    pub scrubbed: u64,
}

/// What an `Idempotency-Key` stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotency {
    /// Digest of the body.
    pub body: [u8; 32],
    /// What was made.
    pub session: SessionId,
}

/// The key of the root record.
pub fn root_key() -> Key {
    control_key(kind::ROOT, b"root")
}

fn record(key: Key, seen: Option<Millis>, body: Vec<u8>) -> Record {
    Record { key, bucket: CONTROL.get(), facets: Vec::new(), seen, forget_at: None, body }
}

fn reading<T>(
    found: &Versioned,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Unreadable>,
) -> Result<T, StoreError> {
    reading_any(found, &[1], read)
}

fn reading_any<T>(
    found: &Versioned,
    formats: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Unreadable>,
) -> Result<T, StoreError> {
    let attempt = || {
        let mut r = Reader::new(&found.record.body, formats)?;
        let value = read(&mut r)?;
        r.end()?;
        Ok(value)
    };
    attempt().map_err(|_: Unreadable| damaged(&found.record.key))
}

/// The key of the stamp: whoever changes control records puts it, over the version that they saw, so that two nodes never
/// decide on different ones. It says nothing but its version.
pub fn stamp_key() -> Key {
    control_key(kind::STAMP, b"stamp")
}

/// The stamp as a record.
pub fn write_stamp() -> Record {
    record(stamp_key(), None, Writer::new(1).finish())
}

/// The root as a record.
pub fn write_root(root: &Root) -> Record {
    let mut w = Writer::new(2);
    w.fixed(&root.fingerprint);
    w.bytes(&root.bucket_key);
    w.byte(root.key_set);
    w.list(root.older_sets.iter(), |w, (id, wrapped)| {
        w.byte(*id);
        w.bytes(wrapped);
    });
    w.option(root.pseudonyms.as_deref(), Writer::bytes);
    w.option(root.statements.as_deref(), Writer::bytes);
    record(root_key(), None, w.finish())
}

/// Reads it. Format 1 knew one master key only.
pub fn read_root(found: &Versioned) -> Result<Root, StoreError> {
    reading_any(found, &[1, 2], |r| {
        let first = r.format == 1;
        let wrapped = |r: &mut Reader<'_>| r.bytes().map(<[u8]>::to_vec);
        Ok(Root {
            fingerprint: r.fixed()?,
            bucket_key: wrapped(r)?,
            key_set: r.byte()?,
            older_sets: if first {
                r.bytes()?.iter().map(|id| (*id, Vec::new())).collect()
            } else {
                r.list(|r| Ok((r.byte()?, wrapped(r)?)))?
            },
            pseudonyms: if first { None } else { r.option(wrapped)? },
            statements: if first { None } else { r.option(wrapped)? },
        })
    })
}

/// The key of an environment.
pub fn environment_key(id: EnvironmentId) -> Key {
    control_key(kind::ENVIRONMENT, &id.0.to_be_bytes())
}

/// An environment as a record.
pub fn write_environment(env: &Environment) -> Record {
    let mut w = Writer::new(1);
    w.text(env.name.product());
    w.text(env.name.environment());
    w.signed(env.created_at.0);
    w.list(env.data_keys.iter(), |w, (id, wrapped)| {
        w.byte(*id);
        w.bytes(wrapped);
    });
    record(environment_key(env.id), None, w.finish())
}

/// Reads it.
pub fn read_environment(found: &Versioned) -> Result<Environment, StoreError> {
    reading(found, |r| {
        let id = <[u8; 8]>::try_from(&*found.record.key.id).map_err(|_| Unreadable)?;
        Ok(Environment {
            id: EnvironmentId(u64::from_be_bytes(id)),
            name: EnvironmentName::new(r.text()?, r.text()?).map_err(|_| Unreadable)?,
            created_at: Millis(r.signed()?),
            data_keys: r.list(|r| Ok((r.byte()?, r.bytes()?.to_vec())))?,
        })
    })
}

/// The key of an environment's ledger.
pub fn ledger_key(env: EnvironmentId) -> Key {
    control_key(kind::LEDGER, &env.0.to_be_bytes())
}

/// A ledger as a record, and the number that no raise may have any more (format 1 had none). Formats 1 and 2 did not say
/// which session a raise spared.
pub fn write_ledger(env: EnvironmentId, ledger: &Ledger, reserved: u64) -> Record {
    let mut w = Writer::new(3);
    w.number(ledger.counter);
    w.list(ledger.raised.iter(), |w, raised| {
        write_whom(w, &raised.scope);
        w.number(raised.at);
        w.signed(raised.when.0);
        write_by(w, &raised.by);
        w.option(raised.reason.as_deref(), Writer::text);
        w.byte(u8::from(raised.settled));
        w.option(raised.except, |w, id| w.fixed(&id.0));
    });
    w.number(reserved);
    record(ledger_key(env), None, w.finish())
}

pub(super) fn write_whom(w: &mut Writer, whom: &Whom) {
    match whom {
        Whom::All => w.byte(0),
        Whom::User(user) => {
            w.byte(1);
            w.text(user.as_str());
        }
        Whom::Tags(tags) => {
            w.byte(2);
            w.list(tags.iter(), |w, tag| w.text(tag.as_str()));
        }
    }
}

pub(super) fn read_whom(r: &mut Reader<'_>) -> Result<Whom, Unreadable> {
    match r.byte()? {
        0 => Ok(Whom::All),
        1 => Ok(Whom::User(UserId::new(r.text()?).map_err(|_| Unreadable)?)),
        2 => Ok(Whom::Tags(r.list(|r| Tag::parse(r.text()?).map_err(|_| Unreadable))?)),
        _ => Err(Unreadable),
    }
}

/// Reads it.
pub fn read_ledger(found: &Versioned) -> Result<(Ledger, u64), StoreError> {
    reading_any(found, &[1, 2, 3], |r| {
        let ledger = Ledger {
            counter: r.number()?,
            raised: r.list(|r| {
                Ok(Raised {
                    scope: read_whom(r)?,
                    at: r.number()?,
                    when: Millis(r.signed()?),
                    by: read_by(r)?,
                    reason: r.option(|r| r.text().map(Into::into))?,
                    settled: r.flag()?,
                    except: if r.format < 3 { None } else { r.option(|r| r.fixed().map(SessionId))? },
                })
            })?,
        };
        let reserved = if r.format == 1 { ledger.counter } else { r.number()? };
        Ok((ledger, reserved))
    })
}

/// What is remembered of a removed environment until nothing of it is left: when it was removed.
pub fn write_purge(removed_at: Millis) -> Vec<u8> {
    let mut w = Writer::new(2);
    w.signed(removed_at.0);
    w.finish()
}

/// Reads it. Format 1 did not say when, which was long ago.
pub fn read_purge(found: &Versioned) -> Result<Millis, StoreError> {
    reading_any(found, &[1, 2], |r| if r.format == 1 { Ok(Millis(0)) } else { Ok(Millis(r.signed()?)) })
}

/// The key of how far privacy is looked after.
pub fn aging_key() -> Key {
    control_key(kind::AGING, b"aging")
}

/// That as a record.
pub fn write_aging(aging: &Aging) -> Record {
    let mut w = Writer::new(1);
    aging.through.iter().for_each(|position| w.number(*position));
    w.number(aging.scrub_wanted);
    w.number(aging.scrubbed);
    record(aging_key(), None, w.finish())
}

/// Reads it.
pub fn read_aging(found: &Versioned) -> Result<Aging, StoreError> {
    reading(found, |r| {
        let through = [r.number()?, r.number()?, r.number()?, r.number()?];
        Ok(Aging { through, scrub_wanted: r.number()?, scrubbed: r.number()? })
    })
}

/// The key of an access key's record.
pub fn access_key_key(id: KeyId) -> Key {
    control_key(kind::ACCESS_KEY, &id.0)
}

/// An access key as a record; `used` is when it was last used. Format 1 knew no limits.
pub fn write_access_key(key: &AccessKey, used: Millis) -> Record {
    let mut w = Writer::new(2);
    w.byte(match key.kind {
        Kind::PublishableKey => 1,
        Kind::AccessKey | Kind::Session | Kind::Refresh | Kind::LoginCode => 0,
    });
    w.text(&key.name);
    w.option(
        match key.home {
            Home::Environment(env) => Some(env),
            Home::Operator => None,
        },
        |w, env| w.fixed(&env.0.to_be_bytes()),
    );
    w.list(key.scopes.iter(), |w, scope| w.text(scope.text()));
    w.fixed(key.verifier.bytes());
    w.byte(key.key_id);
    w.signed(key.created_at.0);
    w.option(key.expires_at, |w, at| w.signed(at.0));
    w.byte(u8::from(key.suspended));
    w.option(key.replaced_by, |w, id| w.fixed(&id.0));
    w.option(key.rate_limit, |w, rate| w.text(&rate.to_string()));
    record(access_key_key(key.id), Some(used), w.finish())
}

/// Reads it, and when it was last used (0: never).
pub fn read_access_key(found: &Versioned) -> Result<(AccessKey, Millis), StoreError> {
    let key = reading_any(found, &[1, 2], |r| {
        Ok(AccessKey {
            id: KeyId(<[u8; 16]>::try_from(&*found.record.key.id).map_err(|_| Unreadable)?),
            kind: match r.byte()? {
                0 => Kind::AccessKey,
                1 => Kind::PublishableKey,
                _ => return Err(Unreadable),
            },
            name: r.text()?.into(),
            home: match r.option(Reader::fixed::<8>)? {
                Some(env) => Home::Environment(EnvironmentId(u64::from_be_bytes(env))),
                None => Home::Operator,
            },
            scopes: r.list(|r| Scope::parse(r.text()?).ok_or(Unreadable))?,
            verifier: Verifier::from_bytes(r.fixed()?),
            key_id: r.byte()?,
            created_at: Millis(r.signed()?),
            expires_at: r.option(|r| r.signed().map(Millis))?,
            suspended: r.flag()?,
            replaced_by: r.option(|r| r.fixed().map(KeyId))?,
            rate_limit: if r.format == 1 {
                None
            } else {
                r.option(|r| {
                    let text = r.text()?;
                    // A value has one form.
                    Rate::parse(text).ok().filter(|rate| rate.to_string() == text).ok_or(Unreadable)
                })?
            },
        })
    })?;
    Ok((key, found.record.seen.unwrap_or(Millis(0))))
}

/// An idempotency key as a record, in the bucket of the session's user.
pub fn write_idempotency(
    env: EnvironmentId,
    caller: KeyId,
    text: &str,
    bucket: Bucket,
    value: &Idempotency,
    forget_at: Millis,
) -> Record {
    let mut w = Writer::new(1);
    w.fixed(&value.body);
    w.fixed(&value.session.0);
    Record {
        key: idempotency_key(env, caller, text),
        bucket: bucket.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: Some(forget_at),
        body: w.finish(),
    }
}

/// Reads it.
pub fn read_idempotency(found: &Versioned) -> Result<Idempotency, StoreError> {
    reading(found, |r| Ok(Idempotency { body: r.fixed()?, session: SessionId(r.fixed()?) }))
}
