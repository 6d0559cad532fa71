//! The keys behind access tokens of one environment, ready for work: who signs, what verifies, what seals and what opens.
//!
//! Whether a key may do anything at an instant is for [`handstamp_core::signing`] to say; here its secret part is taken
//! out of its wrapping once, and what a node took of a data key's budget is counted down.

use super::Fault;
use crate::codec::digest;
use crate::codec::token_keys::{read_token_keys, token_keys_of, wrapping};
use crate::host::entropy::{Entropy, rsa_key};
use crate::store::{StoreError, Versioned};
use handstamp_core::base62;
use handstamp_core::id::EnvironmentId;
use handstamp_core::jose::base64url;
use handstamp_core::jose::jwe::SealingKey;
use handstamp_core::jose::key::{Algorithm, Kid, SigningKey, VerifyingKey};
use handstamp_core::sealing::unwrap_bytes;
use handstamp_core::secret::Secret;
use handstamp_core::signing::{Job, TokenKey, active, is_published};
use handstamp_core::time::Millis;
use handstamp_core::token::keyring::MasterKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// The purpose of the key that other keys are wrapped under.
pub(super) const WRAP: &str = "wrap";

/// All keys of an environment.
#[derive(Clone, Default)]
pub struct TokenKeys {
    keys: Vec<Ready>,
    /// The version of their record; 0 while there is none.
    pub(super) version: u64,
}

/// One of them.
#[derive(Clone)]
pub struct Ready {
    /// As stored.
    pub key: TokenKey,
    /// Its secret part.
    work: Work,
    /// How many sealings this node may still make with it, which are written down as handed out.
    left: Arc<AtomicU64>,
}

/// A public RSA key that is for RS256 alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RsaKey<'a> {
    /// Its name.
    pub kid: &'a str,
    /// The modulus, in base64url as a JWK has it.
    pub modulus: &'a str,
    /// The exponent, in the same form.
    pub exponent: &'a str,
}

#[derive(Clone)]
enum Work {
    Sign(Arc<SigningKey>),
    Data(Arc<SealingKey>),
    /// It is removed.
    Gone,
}

impl TokenKeys {
    /// Takes the keys out of their wrappings. What `before` has of them is not taken out again.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when one does not open, or is not the key that its name says.
    pub(super) fn ready(
        master: &MasterKey,
        env: EnvironmentId,
        keys: Vec<TokenKey>,
        version: u64,
        before: &TokenKeys,
    ) -> Result<TokenKeys, StoreError> {
        let kek = master.derive(WRAP);
        let ready = |key: TokenKey| {
            let known = before.keys.iter().find(|held| held.key.kid == key.kid);
            if let Some(known) = known.filter(|held| held.key.wrapped == key.wrapped) {
                return Ok(Ready { key, ..known.clone() });
            }
            let work = open(&kek, env, &key).ok_or_else(|| {
                StoreError::Damaged(format!("token key {} does not open under this master key", key.kid))
            })?;
            Ok(Ready { key, work, left: Arc::default() })
        };
        Ok(TokenKeys { keys: keys.into_iter().map(ready).collect::<Result<_, StoreError>>()?, version })
    }

    /// The same from a record.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub(super) fn stored_under(
        master: &MasterKey,
        found: &Versioned,
        before: Option<&TokenKeys>,
    ) -> Result<TokenKeys, StoreError> {
        let (env, none) = (token_keys_of(&found.record.key)?, TokenKeys::default());
        TokenKeys::ready(master, env, read_token_keys(found)?, found.version, before.unwrap_or(&none))
    }

    /// The key that signs now; `None` for the algorithm: [`Algorithm::EdDsa`].
    pub fn signer(&self, algorithm: Option<Algorithm>, now: Millis) -> Option<&Arc<SigningKey>> {
        match &self.active(Job::from(algorithm.unwrap_or(Algorithm::EdDsa)), now)?.work {
            Work::Sign(key) => Some(key),
            Work::Data(_) | Work::Gone => None,
        }
    }

    /// What verifies the signatures of a key that may still be relied on.
    pub fn verifier(&self, kid: &Kid, now: Millis) -> Option<&VerifyingKey> {
        match &self.named(kid, now)?.work {
            Work::Sign(key) => Some(key.public()),
            Work::Data(_) | Work::Gone => None,
        }
    }

    /// What opens the data that a key sealed, while that key may still be relied on.
    pub fn opener(&self, kid: &Kid, now: Millis) -> Option<&Arc<SealingKey>> {
        match &self.named(kid, now)?.work {
            Work::Data(key) => Some(key),
            Work::Sign(_) | Work::Gone => None,
        }
    }

    /// The key that seals now, for one sealing, which it is charged with; `None` when this node has none left of it: see
    /// [`App::sealing_key`](super::App::sealing_key).
    pub(super) fn take_sealing(&self, now: Millis) -> Option<&Arc<SealingKey>> {
        let ready = self.active(Job::Data, now)?;
        let Work::Data(key) = &ready.work else { return None };
        let one = |left: u64| left.checked_sub(1);
        ready.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one).ok().map(|_| key)
    }

    /// Whether this node may seal without asking the store.
    pub(super) fn may_seal(&self, now: Millis) -> bool {
        self.active(Job::Data, now).is_some_and(|ready| ready.left.load(Ordering::Relaxed) > 0)
    }

    /// Lets this node make more sealings with a key. They are written down by now.
    pub(super) fn allow_sealings(&self, kid: &str, sealings: u64) {
        if let Some(ready) = self.keys.iter().find(|ready| &*ready.key.kid == kid) {
            ready.left.fetch_add(sealings, Ordering::Relaxed);
        }
    }

    /// Whether there is a key of a job that is not removed, also one that waits for its time.
    pub fn publishes(&self, job: Job, now: Millis) -> bool {
        is_published(self.keys.iter().map(|ready| &ready.key), job, now)
    }

    /// The RSA keys of the public set, in the order in which they were made.
    pub fn rsa_keys(&self, now: Millis) -> Vec<RsaKey<'_>> {
        let public = self.keys.iter().filter(|ready| ready.key.life.is_published(now));
        let signing = public.filter_map(|ready| match &ready.work {
            Work::Sign(key) => Some(key.public()),
            Work::Data(_) | Work::Gone => None,
        });
        let rsa = signing.filter_map(|key| {
            let (modulus, exponent) = key.modulus_and_exponent()?;
            Some(RsaKey { kid: key.kid().as_str(), modulus, exponent })
        });
        rsa.collect()
    }

    /// The public set (RFC 7517): every signing key that is not removed, those that wait among them.
    pub fn jwks(&self, now: Millis) -> String {
        let public = self.keys.iter().filter(|ready| ready.key.life.is_published(now));
        set(public.filter_map(|ready| match &ready.work {
            Work::Sign(key) => Some(key.public().to_jwk()),
            Work::Data(_) | Work::Gone => None,
        }))
    }

    /// What names a public set: the same set has the same name on every node.
    pub fn jwks_tag(jwks: &str) -> String {
        let digest = digest(&[jwks.as_bytes()]);
        base64url::encode(digest.get(..16).unwrap_or_default())
    }

    /// The data keys that are not removed, as JWKs: for those who may open the data inside tokens.
    pub fn data_jwks(&self, now: Millis) -> String {
        let open = self.keys.iter().filter(|ready| ready.key.life.is_published(now));
        set(open.filter_map(|ready| match &ready.work {
            Work::Data(key) => Some(key.to_jwk()),
            Work::Sign(_) | Work::Gone => None,
        }))
    }

    /// As stored, in the order in which they were made.
    pub fn stored(&self) -> Vec<TokenKey> {
        self.keys.iter().map(|ready| ready.key.clone()).collect()
    }

    fn active(&self, job: Job, now: Millis) -> Option<&Ready> {
        let kid = &active(self.keys.iter().map(|ready| &ready.key), job, now)?.kid;
        self.keys.iter().find(|ready| ready.key.kid == *kid)
    }

    fn named(&self, kid: &Kid, now: Millis) -> Option<&Ready> {
        self.keys.iter().find(|ready| *ready.key.kid == *kid.as_str() && ready.key.life.verifies(now))
    }
}

fn open(kek: &Secret<32>, env: EnvironmentId, key: &TokenKey) -> Option<Work> {
    if key.wrapped.is_empty() {
        return Some(Work::Gone);
    }
    let secret = unwrap_bytes(kek, &wrapping(env, &key.kid, key.job), &key.wrapped).ok()?;
    let work = work(key.job, &key.kid, &secret)?;
    Some(work)
}

/// A key from its secret part. Of a signing key the name must be its own: what is published under it is this key.
fn work(job: Job, kid: &str, secret: &[u8]) -> Option<Work> {
    match job.signs() {
        Some(algorithm) => {
            let key = signing_key(algorithm, secret)?;
            (key.public().kid().as_str() == kid).then(|| Work::Sign(Arc::new(key)))
        }
        None => {
            let secret = Secret::new(<[u8; 32]>::try_from(secret).ok()?);
            SealingKey::new(Kid::parse(kid)?, secret).ok().map(|key| Work::Data(Arc::new(key)))
        }
    }
}

/// A signing key from its secret part; `None` when it is none, as of some 32 bytes for P-256.
pub(super) fn signing_key(algorithm: Algorithm, secret: &[u8]) -> Option<SigningKey> {
    let short = || <[u8; 32]>::try_from(secret).ok().map(Secret::new);
    match algorithm {
        Algorithm::EdDsa => SigningKey::ed25519(&short()?).ok(),
        Algorithm::Es256 => SigningKey::es256(&short()?).ok(),
        Algorithm::Rs256 => SigningKey::rs256(secret).ok(),
    }
}

fn set(keys: impl Iterator<Item = String>) -> String {
    format!("{{\"keys\":[{}]}}", keys.collect::<Vec<_>>().join(","))
}

/// How many letters and digits the name of a data key has.
const KID: usize = 16;

/// A secret that is not wrapped yet, and its name.
pub(super) struct Fresh {
    pub(super) kid: Box<str>,
    pub(super) secret: Zeroizing<Vec<u8>>,
}

/// A new key: its name, and its secret part.
///
/// # Errors
/// [`Fault::Entropy`].
pub(super) fn draw_named(entropy: &dyn Entropy, job: Job) -> Result<(Box<str>, Zeroizing<Vec<u8>>), Fault> {
    draw(entropy, job).map(|fresh| (fresh.kid, fresh.secret))
}

pub(super) fn draw(entropy: &dyn Entropy, job: Job) -> Result<Fresh, Fault> {
    let bytes = |n: usize| {
        let mut bytes = Zeroizing::new(vec![0; n]);
        if entropy.fill(&mut bytes) { Ok(bytes) } else { Err(Fault::Entropy) }
    };
    let Some(algorithm) = job.signs() else {
        let mut kid = String::new();
        base62::encode(&bytes(12)?, &mut kid);
        kid.truncate(KID);
        return Ok(Fresh { kid: kid.into(), secret: bytes(32)? });
    };
    for _ in 0..16 {
        let secret = match job {
            Job::Rs256 => rsa_key().ok_or(Fault::Entropy)?,
            Job::EdDsa | Job::Es256 | Job::Data => bytes(32)?,
        };
        // Of some 32 bytes there is no key for P-256: one in four thousand million.
        if let Some(key) = signing_key(algorithm, &secret) {
            return Ok(Fresh { kid: key.public().kid().as_str().into(), secret });
        }
    }
    Err(Fault::Entropy)
}
