//! Policies as bytes: which one is in force in an environment, and every version that was.
//!
//! A section lies there as its keys with what they say, so that a new key needs no new format.

use super::bytes::{Reader, Writer};
use super::session::{read_by, write_by};
use super::{CONTROL, Unreadable, control_key, damaged, kind};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::EnvironmentId;
use handstamp_core::policy::setting::Given;
use handstamp_core::policy::{Pattern, Policy, Rules};
use handstamp_core::refusal::Value;
use handstamp_core::session::By;
use handstamp_core::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One version of an environment's policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyVersion {
    /// Begins at 1 and rises by 1.
    pub number: u64,
    /// Since when it was in force.
    pub at: Millis,
    /// Who said so.
    pub by: By,
    /// The version that it took up again.
    pub restored: Option<u64>,
    /// What it says.
    pub policy: Arc<Policy>,
}

/// The key of the version in force.
pub fn policy_key(env: EnvironmentId) -> Key {
    control_key(kind::POLICY, &env.0.to_be_bytes())
}

/// The versions of an environment.
pub const fn policy_versions(env: EnvironmentId) -> Space {
    Space { kind: kind::POLICY_VERSION, env: env.0 }
}

/// The key of one version.
pub fn policy_version_key(env: EnvironmentId, number: u64) -> Key {
    Key { space: policy_versions(env), id: Box::new(number.to_be_bytes()) }
}

/// A version under a key: the one in force and the same in the list of all have the same bytes.
pub fn write_policy(key: Key, version: &PolicyVersion) -> Record {
    let mut w = Writer::new(1);
    w.number(version.number);
    w.signed(version.at.0);
    write_by(&mut w, &version.by);
    w.option(version.restored, Writer::number);
    write_rules(&mut w, version.policy.default_rules());
    let tags: Vec<_> = version.policy.tag_rules().collect();
    w.list(tags.into_iter(), |w, (of, rules)| {
        w.text(&of.to_string());
        write_rules(w, rules);
    });
    Record { key, bucket: CONTROL.get(), facets: Vec::new(), seen: None, forget_at: None, body: w.finish() }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_policy(found: &Versioned) -> Result<PolicyVersion, StoreError> {
    let read = || -> Result<PolicyVersion, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let number = r.number()?;
        let at = Millis(r.signed()?);
        let by = read_by(&mut r)?;
        let restored = r.option(Reader::number)?;
        let default = read_rules(&mut r)?;
        let tags: Vec<(Pattern, Rules)> =
            r.list(|r| Ok((Pattern::parse(r.text()?).map_err(|_| Unreadable)?, read_rules(r)?)))?;
        r.end()?;
        let policy = Arc::new(Policy::new(default, tags.into_iter().collect::<BTreeMap<_, _>>()));
        Ok(PolicyVersion { number, at, by, restored, policy })
    };
    read().map_err(|_| damaged(&found.record.key))
}

/// Recognises the times of a policy: as long as this stays, no session ends sooner than its record says.
pub fn times_digest(policy: &Policy) -> [u8; 32] {
    let mut w = Writer::new(1);
    let timing = |rules: &Rules| Rules {
        preset: rules.preset,
        absolute_timeout: rules.absolute_timeout,
        idle_timeout: rules.idle_timeout,
        refresh_timeout: rules.refresh_timeout,
        ..Rules::default()
    };
    write_rules(&mut w, &timing(policy.default_rules()));
    for (of, rules) in policy.tag_rules() {
        let timing = timing(rules);
        if timing != Rules::default() {
            w.text(&of.to_string());
            write_rules(&mut w, &timing);
        }
    }
    for (name, life) in policy.type_lives() {
        w.text(&format!("session_type {name}"));
        w.option(life.expires_in, |w, span| w.signed(span.0));
        w.option(life.refresh_expires_in, |w, span| w.signed(span.0));
    }
    super::digest(&[&w.finish()])
}

/// The key of what says under which times an environment's sessions were last looked through.
pub fn times_key(env: EnvironmentId) -> Key {
    Key { space: Space { kind: kind::TIMES, env: env.0 }, id: Box::new(*b"times") }
}

/// These times as a record.
pub fn write_times(env: EnvironmentId, digest: &[u8; 32]) -> Record {
    let mut w = Writer::new(1);
    w.fixed(digest);
    let (key, body) = (times_key(env), w.finish());
    Record { key, bucket: CONTROL.get(), facets: Vec::new(), seen: None, forget_at: None, body }
}

/// Reads them.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_times(found: &Versioned) -> Result<[u8; 32], StoreError> {
    let read = || -> Result<[u8; 32], Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let digest = r.fixed()?;
        r.end()?;
        Ok(digest)
    };
    read().map_err(|_| damaged(&found.record.key))
}

fn write_rules(w: &mut Writer, rules: &Rules) {
    w.list(rules.list().into_iter(), |w, (key, value)| {
        w.text(key);
        match value {
            Value::Number(n) => {
                w.byte(1);
                w.number(n);
            }
            Value::Texts(texts) => {
                w.byte(2);
                w.list(texts.iter(), |w, text| w.text(text));
            }
            Value::Text(_) | Value::Span(_) | Value::Time(_) => {
                w.byte(0);
                w.text(&value.to_string());
            }
        }
    });
}

fn read_rules(r: &mut Reader<'_>) -> Result<Rules, Unreadable> {
    let mut rules = Rules::default();
    r.list(|r| {
        let key = r.text()?;
        let given = match r.byte()? {
            0 => Given::Text(r.text()?),
            1 => Given::Number(i64::try_from(r.number()?).map_err(|_| Unreadable)?),
            2 => Given::Texts(r.list(Reader::text)?),
            _ => return Err(Unreadable),
        };
        rules.set(key, &given).map_err(|_| Unreadable)
    })?;
    Ok(rules)
}
