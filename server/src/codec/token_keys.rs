//! The keys behind an environment's access tokens as bytes: all in one record, so that a rotation is one change. Secret
//! parts are in it wrapped under the master key, for this environment, this key and this job alone.

use super::bytes::{Reader, Writer};
use super::{CONTROL, Unreadable, control_key, damaged, kind};
use crate::store::{Key, Record, StoreError, Versioned};
use handstamp_core::id::EnvironmentId;
use handstamp_core::signing::{Job, Life, TokenKey};
use handstamp_core::time::Millis;

/// The key of an environment's record.
pub fn token_keys_key(env: EnvironmentId) -> Key {
    control_key(kind::TOKEN_KEYS, &env.0.to_be_bytes())
}

/// What the secret part of a key is wrapped for: nobody can put it in the place of another.
pub fn wrapping(env: EnvironmentId, kid: &str, job: Job) -> String {
    format!("environment {:016x}, token key {kid}, {} {}", env.0, job.purpose(), job.algorithm())
}

/// The keys as a record.
pub fn write_token_keys(env: EnvironmentId, keys: &[TokenKey]) -> Record {
    let mut w = Writer::new(1);
    w.list(keys.iter(), |w, key| {
        w.text(&key.kid);
        w.byte(match key.job {
            Job::EdDsa => 1,
            Job::Es256 => 2,
            Job::Rs256 => 3,
            Job::Data => 4,
        });
        w.signed(key.life.created_at.0);
        w.signed(key.life.activate_at.0);
        w.option(key.life.retire_at, |w, at| w.signed(at.0));
        w.option(key.life.remove_at, |w, at| w.signed(at.0));
        w.number(key.sealings);
        w.bytes(&key.wrapped);
    });
    Record {
        key: token_keys_key(env),
        bucket: CONTROL.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: None,
        body: w.finish(),
    }
}

/// Whose keys are under a key.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn token_keys_of(key: &Key) -> Result<EnvironmentId, StoreError> {
    let id = <[u8; 8]>::try_from(&*key.id).map_err(|_| damaged(key))?;
    Ok(EnvironmentId(u64::from_be_bytes(id)))
}

/// Reads them.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_token_keys(found: &Versioned) -> Result<Vec<TokenKey>, StoreError> {
    let read = || -> Result<Vec<TokenKey>, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let keys = r.list(|r| {
            Ok(TokenKey {
                kid: r.text()?.into(),
                job: match r.byte()? {
                    1 => Job::EdDsa,
                    2 => Job::Es256,
                    3 => Job::Rs256,
                    4 => Job::Data,
                    _ => return Err(Unreadable),
                },
                life: Life {
                    created_at: Millis(r.signed()?),
                    activate_at: Millis(r.signed()?),
                    retire_at: r.option(|r| r.signed().map(Millis))?,
                    remove_at: r.option(|r| r.signed().map(Millis))?,
                },
                sealings: r.number()?,
                wrapped: r.bytes()?.into(),
            })
        })?;
        r.end()?;
        Ok(keys)
    };
    read().map_err(|_| damaged(&found.record.key))
}
