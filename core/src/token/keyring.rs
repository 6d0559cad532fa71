//! The keys behind every credential: all derived from the master key with distinct purposes, so that one key has one
//! algorithm and one use (ASVS 11.1, RFC 8725 3.1).

use crate::id::{Bucket, EnvironmentId, UserId};
use crate::secret::{Secret, mac};
use aws_lc_rs::hmac;

/// The one secret that nodes share: 32 bytes. It is never in a backup.
pub struct MasterKey(Secret<32>);

impl MasterKey {
    /// Keeps 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> MasterKey {
        MasterKey(Secret::new(bytes))
    }

    /// A key of its own for `purpose`: HKDF-SHA-256 (RFC 5869) with one block of output, which is two HMACs.
    pub fn derive(&self, purpose: &str) -> Secret<32> {
        let extract = hmac::Key::new(hmac::HMAC_SHA256, b"handstamp/v1");
        let prk = hmac::Key::new(hmac::HMAC_SHA256, &mac(&extract, &[self.0.expose()]));
        Secret::new(mac(&prk, &[purpose.as_bytes(), &[1]]))
    }

    fn derive_mac(&self, purpose: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.derive(purpose).expose())
    }

    /// What is stored beside the data to recognise a wrong master key before anything is touched.
    pub fn fingerprint(&self) -> [u8; 32] {
        *self.derive("fingerprint").expose()
    }
}

/// MAC key, pepper, rotation key and the keys of challenges and CSRF tokens that belong together; a token names them by one byte.
pub struct KeySet {
    /// The byte in the token.
    pub id: u8,
    pub(crate) mac: hmac::Key,
    pub(crate) pepper: hmac::Key,
    pub(crate) rotation: hmac::Key,
    pub(crate) challenge: hmac::Key,
    pub(crate) csrf: hmac::Key,
}

/// All key sets that live tokens use, and the keys that do not rotate.
pub struct Keyring {
    current: KeySet,
    older: Vec<KeySet>,
    bucket: hmac::Key,
}

impl Keyring {
    /// Derives the sets: `current` makes new tokens, `older` ones are still recognised. `bucket_key` never rotates.
    pub fn new(master: &MasterKey, current: u8, older: &[u8], bucket_key: &Secret<32>) -> Keyring {
        let set = |id: u8| KeySet {
            id,
            mac: master.derive_mac(&format!("token-mac/{id}")),
            pepper: master.derive_mac(&format!("token-pepper/{id}")),
            rotation: master.derive_mac(&format!("token-rotation/{id}")),
            challenge: master.derive_mac(&format!("device-challenge/{id}")),
            csrf: master.derive_mac(&format!("csrf/{id}")),
        };
        Keyring {
            current: set(current),
            older: older.iter().map(|id| set(*id)).collect(),
            bucket: hmac::Key::new(hmac::HMAC_SHA256, bucket_key.expose()),
        }
    }

    /// The set that a token names.
    pub fn set(&self, id: u8) -> Option<&KeySet> {
        if self.current.id == id {
            return Some(&self.current);
        }
        self.older.iter().find(|set| set.id == id)
    }

    /// The set that makes new tokens.
    pub const fn current(&self) -> &KeySet {
        &self.current
    }

    /// Where all records of a user live: a keyed hash, so that nobody can aim at one bucket.
    pub fn bucket(&self, env: EnvironmentId, user: &UserId) -> Bucket {
        let [a, b, ..] = mac(&self.bucket, &[&env.0.to_be_bytes(), user.as_str().as_bytes()]);
        Bucket::new(u16::from_be_bytes([a, b]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_masters_give_different_keys() {
        let (a, b) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        assert_ne!(a.derive("x").expose(), a.derive("y").expose());
        assert_ne!(a.derive("x").expose(), b.derive("x").expose());
        assert_eq!(a.derive("x").expose(), MasterKey::new([1; 32]).derive("x").expose());
        let prk = aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, b"handstamp/v1").extract(&[1; 32]);
        let mut expected = [0; 32];
        prk.expand(&[b"x"], aws_lc_rs::hkdf::HKDF_SHA256).unwrap().fill(&mut expected).unwrap();
        assert_eq!(a.derive("x").expose(), &expected);
        assert_ne!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn buckets_depend_on_environment_and_user_and_spread() {
        let ring = Keyring::new(&MasterKey::new([1; 32]), 1, &[], &Secret::new([3; 32]));
        let user = |n: u32| UserId::new(&format!("user-{n}")).unwrap();
        assert_eq!(ring.bucket(EnvironmentId(1), &user(1)), ring.bucket(EnvironmentId(1), &user(1)));
        assert_ne!(ring.bucket(EnvironmentId(1), &user(1)), ring.bucket(EnvironmentId(2), &user(1)));
        let seen: std::collections::BTreeSet<u16> =
            (0..2_000).map(|n| ring.bucket(EnvironmentId(1), &user(n)).get()).collect();
        assert!(seen.len() > 1_800, "{}", seen.len());
    }
}
