//! The keys behind every credential: all derived from the master key with distinct purposes, so that one key has one
//! algorithm and one use (ASVS 11.1, RFC 8725 3.1).

use crate::id::{Bucket, EnvironmentId, UserId};
use crate::secret::{Secret, mac};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

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

/// The secrets of a key set that outlives its master key: what a new master key wraps, so that what was made with the set is
/// still recognised. The master key that they came from does not follow from them.
pub struct SetSecrets([Secret<32>; SetSecrets::COUNT]);

impl SetSecrets {
    const COUNT: usize = 5;
    /// In the order of [`KeySet`]'s keys; a set of an older version has the same.
    const PURPOSES: [&'static str; SetSecrets::COUNT] =
        ["token-mac", "token-pepper", "token-rotation", "device-challenge", "csrf"];

    /// Those that follow from a master key.
    pub fn derive(master: &MasterKey, id: u8) -> SetSecrets {
        SetSecrets(SetSecrets::PURPOSES.map(|purpose| master.derive(&format!("{purpose}/{id}"))))
    }

    /// One after the other, to be wrapped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.iter().flat_map(|secret| *secret.expose()).collect())
    }

    /// Takes back what [`SetSecrets::to_bytes`] gave; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<SetSecrets> {
        let (secrets, rest) = bytes.as_chunks::<32>();
        let secrets: [[u8; 32]; SetSecrets::COUNT] = secrets.try_into().ok()?;
        rest.is_empty().then(|| SetSecrets(secrets.map(Secret::new)))
    }

    fn keys(&self, id: u8) -> KeySet {
        let [mac, pepper, rotation, challenge, csrf] =
            self.0.each_ref().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
        KeySet { id, mac, pepper, rotation, challenge, csrf }
    }
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
        let older = older.iter().map(|id| (*id, SetSecrets::derive(master, *id))).collect();
        Keyring::with(master, current, older, bucket_key)
    }

    /// The same with older sets that came from other master keys.
    pub fn with(
        master: &MasterKey,
        current: u8,
        older: Vec<(u8, SetSecrets)>,
        bucket_key: &Secret<32>,
    ) -> Keyring {
        Keyring {
            current: SetSecrets::derive(master, current).keys(current),
            older: older.iter().map(|(id, secrets)| secrets.keys(*id)).collect(),
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

    /// Known values: a set of an older version must be found again.
    #[test]
    fn a_set_outlives_its_master_key() {
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let bytes = SetSecrets::derive(&old, 7).to_bytes();
        let purposes = ["token-mac/7", "token-pepper/7", "token-rotation/7", "device-challenge/7", "csrf/7"];
        let expected: Vec<u8> = purposes.iter().flat_map(|purpose| *old.derive(purpose).expose()).collect();
        assert_eq!(*bytes, expected);
        for wrong in [&bytes[1..], &bytes[..159], &[&bytes[..], &[0]].concat(), &[]] {
            assert!(SetSecrets::from_bytes(wrong).is_none(), "{}", wrong.len());
        }
        let bucket = Secret::new([3; 32]);
        let before = Keyring::new(&old, 7, &[], &bucket);
        let after = Keyring::with(&new, 8, vec![(7, SetSecrets::from_bytes(&bytes).unwrap())], &bucket);
        let tag = |set: &KeySet| mac(&set.mac, &[b"text"]);
        assert_eq!(after.set(7).map(tag), Some(tag(before.current())));
        assert_ne!(tag(after.current()), tag(before.current()));
        assert!(before.set(8).is_none() && after.set(9).is_none() && after.current().id == 8);
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
