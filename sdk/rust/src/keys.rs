//! The public keys that are trusted: those of the last key set that was fetched, and no other.

use arc_swap::ArcSwap;
use handstamp_core::jose::json::{Json, read_object};
use handstamp_core::jose::key::{Kid, VerifyingKey};
use handstamp_core::offline::clock::Tick;
use handstamp_core::time::Span;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A key, for as long as the set has it.
pub(crate) struct Trusted {
    pub(crate) key: VerifyingKey,
    trusted: AtomicBool,
}

impl Trusted {
    /// Whether the set still has it. What it signed is worth nothing afterwards, however often it was verified before.
    pub(crate) fn is(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }
}

/// The key set.
pub(crate) struct Keys {
    set: ArcSwap<HashMap<Kid, Arc<Trusted>>>,
    /// When the server last said that this is the set.
    confirmed: AtomicI64,
}

/// A text that is no key set.
#[derive(Debug)]
pub(crate) struct NotAKeySet;

impl Keys {
    pub(crate) fn new() -> Keys {
        Keys { set: ArcSwap::default(), confirmed: AtomicI64::new(i64::MIN) }
    }

    pub(crate) fn get(&self, kid: &Kid) -> Option<Arc<Trusted>> {
        self.set.load().get(kid).cloned()
    }

    /// The names of all.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.set.load().keys().map(Kid::to_string).collect();
        names.sort_unstable();
        names
    }

    /// How long ago the set was confirmed; for ever, when it was not.
    pub(crate) fn age(&self, now: Tick) -> Span {
        match self.confirmed.load(Ordering::Acquire) {
            i64::MIN => Span::FOREVER,
            at => now.since(Tick(at)),
        }
    }

    /// When it was confirmed last: nothing that was said before then is newer.
    pub(crate) fn confirmed(&self) -> Option<Tick> {
        Some(self.confirmed.load(Ordering::Acquire)).filter(|at| *at != i64::MIN).map(Tick)
    }

    /// Whether it was confirmed by an answer that was asked for at `asked` or later.
    pub(crate) fn is_since(&self, asked: Tick) -> bool {
        self.confirmed.load(Ordering::Acquire) > asked.0
    }

    /// This machine stood still for so long, and the set is that much older than its clock says.
    pub(crate) fn stood_still(&self, span: Span) {
        let older = |at: i64| {
            (at != i64::MIN).then(|| at.saturating_sub(span.0.saturating_mul(1_000)).max(i64::MIN + 1))
        };
        let _ = self.confirmed.fetch_update(Ordering::AcqRel, Ordering::Acquire, older);
    }

    /// The set is still the same, said an answer that was asked for at `asked`.
    pub(crate) fn confirm(&self, asked: Tick) {
        self.confirmed.fetch_max(asked.0, Ordering::AcqRel);
    }

    /// Takes another set in place of this one. Keys that it does not have are trusted no more, from now on.
    pub(crate) fn replace(&self, set: &[u8], asked: Tick) -> Result<(), NotAKeySet> {
        let keys = read(set)?;
        let old = self.set.load_full();
        let mut new = HashMap::with_capacity(keys.len());
        for key in keys {
            // A key that stays keeps the signatures that were verified with it.
            let same = old.get(key.kid()).filter(|known| known.key.to_jwk() == key.to_jwk()).cloned();
            let kept = same.unwrap_or_else(|| Arc::new(Trusted { key, trusted: AtomicBool::new(true) }));
            new.insert(kept.key.kid().clone(), kept);
        }
        let new = Arc::new(new);
        self.set.store(Arc::clone(&new));
        for (kid, gone) in old.iter() {
            if !new.get(kid).is_some_and(|kept| Arc::ptr_eq(kept, gone)) {
                gone.trusted.store(false, Ordering::Release);
            }
        }
        self.confirm(asked);
        Ok(())
    }
}

/// Keys of kinds that are not known here are left out (RFC 7517, section 5); two under one name are no set.
fn read(set: &[u8]) -> Result<Vec<VerifyingKey>, NotAKeySet> {
    let Some(Json::List(keys)) = read_object(set).and_then(|mut set| set.take("keys")) else {
        return Err(NotAKeySet);
    };
    let objects = keys.into_iter().filter_map(Json::into_object);
    let mut keys: Vec<VerifyingKey> = objects.filter_map(|jwk| VerifyingKey::from_jwk(jwk).ok()).collect();
    keys.sort_by(|a, b| a.kid().cmp(b.kid()));
    let twice = keys.windows(2).any(|two| matches!(two, [a, b] if a.kid() == b.kid()));
    if twice { Err(NotAKeySet) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handstamp_core::jose::key::SigningKey;
    use handstamp_core::secret::Secret;

    fn jwk(byte: u8) -> String {
        SigningKey::ed25519(&Secret::new([byte; 32])).unwrap().public().to_jwk()
    }
    fn kid(byte: u8) -> Kid {
        SigningKey::ed25519(&Secret::new([byte; 32])).unwrap().public().kid().clone()
    }
    fn set(keys: &[String]) -> Vec<u8> {
        format!("{{\"keys\":[{}]}}", keys.join(",")).into_bytes()
    }

    #[test]
    fn a_key_is_trusted_as_long_as_the_set_has_it() {
        let keys = Keys::new();
        assert_eq!(keys.age(Tick(5)), Span::FOREVER);
        keys.replace(&set(&[jwk(1), jwk(2)]), Tick(1_000)).unwrap();
        let (one, two) = (keys.get(&kid(1)).unwrap(), keys.get(&kid(2)).unwrap());
        keys.replace(&set(&[jwk(2), jwk(3)]), Tick(9_000)).unwrap();
        assert!(!one.is() && keys.get(&kid(1)).is_none());
        assert!(two.is() && Arc::ptr_eq(&two, &keys.get(&kid(2)).unwrap()), "what stays is the same key");
        assert_eq!(keys.age(Tick(19_000)), Span(10));
        assert!(keys.is_since(Tick(8_999)) && !keys.is_since(Tick(9_000)));
        keys.confirm(Tick(2));
        assert_eq!(keys.age(Tick(19_000)), Span(10), "an older answer confirms nothing newer");
        // Another key under the same name is another key.
        let renamed = jwk(7).replace(kid(7).as_str(), kid(2).as_str());
        keys.replace(&set(&[renamed]), Tick(10_000)).unwrap();
        assert!(!two.is() && keys.get(&kid(2)).unwrap().is());
    }

    #[test]
    fn what_is_no_key_set_changes_nothing() {
        let keys = Keys::new();
        keys.replace(&set(&[jwk(1)]), Tick(1_000)).unwrap();
        for bad in [&b""[..], b"{}", b"[]", b"{\"keys\":{}}", b"<html>", &set(&[jwk(1), jwk(1)])] {
            assert!(keys.replace(bad, Tick(2_000)).is_err());
        }
        assert!(keys.get(&kid(1)).unwrap().is() && !keys.is_since(Tick(1_000)));
        let strange = set(&[jwk(1), "{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\"}".to_owned(), "7".to_owned()]);
        keys.replace(&strange, Tick(3_000)).unwrap();
        assert_eq!(keys.names(), [kid(1).to_string()]);
    }
}
