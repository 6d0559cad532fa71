//! Session data at rest: AES-256-GCM under a key of its own per session (design, sections 3.4 and 3.3).
//!
//! The environment's data key is wrapped under the master key. Each session's key is derived from the data key and the
//! session id, so that random 96-bit nonces never come near their budget (NIST SP 800-38D: 2^32 per key).

use crate::id::{EnvironmentId, SessionId};
use crate::secret::{Secret, mac};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// Sealed bytes: which key, the nonce, and ciphertext with tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which of the environment's data keys.
    pub key: u8,
    /// Drawn once per sealing.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub bytes: Box<[u8]>,
}

/// What was sealed does not open: it was changed, moved, or sealed under another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// A data key of an environment.
#[derive(Clone)]
pub struct DataKey {
    /// Its number in the environment.
    pub id: u8,
    secret: Secret<32>,
}

impl DataKey {
    /// Keeps 32 random bytes as key number `id`.
    pub const fn new(id: u8, secret: Secret<32>) -> DataKey {
        DataKey { id, secret }
    }

    /// Seals a session's data.
    pub fn seal(
        &self,
        env: EnvironmentId,
        session: SessionId,
        plain: &[u8],
        nonce: [u8; 12],
    ) -> Result<Sealed, Broken> {
        let bytes = seal(&self.session_key(session), &aad(env, session), plain, nonce)?;
        Ok(Sealed { key: self.id, nonce, bytes })
    }

    /// Opens a session's data.
    ///
    /// # Errors
    /// [`Broken`] when it was not sealed for this session by this key.
    pub fn open(&self, env: EnvironmentId, session: SessionId, sealed: &Sealed) -> Result<Vec<u8>, Broken> {
        open(&self.session_key(session), &aad(env, session), &sealed.bytes, sealed.nonce)
    }

    fn session_key(&self, session: SessionId) -> Secret<32> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose());
        Secret::new(mac(&key, &[b"session-data", &session.0]))
    }
}

/// Wraps a secret under `key` for one purpose: nonce, then ciphertext and tag.
pub fn wrap(
    key: &Secret<32>,
    purpose: &str,
    secret: &Secret<32>,
    nonce: [u8; 12],
) -> Result<Vec<u8>, Broken> {
    wrap_bytes(key, purpose, secret.expose(), nonce)
}

/// The same of a secret of any length, such as an RSA key.
pub fn wrap_bytes(
    key: &Secret<32>,
    purpose: &str,
    secret: &[u8],
    nonce: [u8; 12],
) -> Result<Vec<u8>, Broken> {
    let sealed = seal(key, purpose.as_bytes(), secret, nonce)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Takes a wrapped secret out.
///
/// # Errors
/// [`Broken`] when the key or the purpose is another one.
pub fn unwrap(key: &Secret<32>, purpose: &str, wrapped: &[u8]) -> Result<Secret<32>, Broken> {
    let plain = unwrap_bytes(key, purpose, wrapped)?;
    Ok(Secret::new(<[u8; 32]>::try_from(plain.as_slice()).map_err(|_| Broken)?))
}

/// Takes a wrapped secret of any length out; it is wiped when it is dropped.
///
/// # Errors
/// [`Broken`] when the key or the purpose is another one.
pub fn unwrap_bytes(key: &Secret<32>, purpose: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Broken> {
    let (nonce, sealed) = wrapped.split_first_chunk::<12>().ok_or(Broken)?;
    open(key, purpose.as_bytes(), sealed, *nonce).map(Zeroizing::new)
}

fn aad(env: EnvironmentId, session: SessionId) -> [u8; 24] {
    let mut out = [0; 24];
    let from = env.0.to_be_bytes().into_iter().chain(session.0);
    out.iter_mut().zip(from).for_each(|(to, byte)| *to = byte);
    out
}

fn key(secret: &Secret<32>) -> Result<LessSafeKey, Broken> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret.expose()).map_err(|_| Broken)?))
}

fn seal(secret: &Secret<32>, aad: &[u8], plain: &[u8], nonce: [u8; 12]) -> Result<Box<[u8]>, Broken> {
    let mut bytes = plain.to_vec();
    key(secret)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut bytes)
        .map_err(|_| Broken)?;
    Ok(bytes.into_boxed_slice())
}

fn open(secret: &Secret<32>, aad: &[u8], sealed: &[u8], nonce: [u8; 12]) -> Result<Vec<u8>, Broken> {
    let mut bytes = sealed.to_vec();
    let length = key(secret)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut bytes)
        .map_err(|_| Broken)?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Bucket;
    use crate::time::Millis;

    #[test]
    fn opens_only_for_its_session_environment_and_key() {
        let (a, b) = (DataKey::new(1, Secret::new([1; 32])), DataKey::new(1, Secret::new([2; 32])));
        let id = |n| SessionId::new(Millis(n), Bucket::new(0), [0; 9]);
        let sealed = a.seal(EnvironmentId(1), id(1), b"{\"n\":1}", [3; 12]).unwrap();
        assert!(!sealed.bytes.windows(3).any(|w| w == b"\"n\""));
        assert_eq!(a.open(EnvironmentId(1), id(1), &sealed).unwrap(), b"{\"n\":1}");
        assert_eq!(a.open(EnvironmentId(1), id(2), &sealed), Err(Broken));
        assert_eq!(a.open(EnvironmentId(2), id(1), &sealed), Err(Broken));
        assert_eq!(b.open(EnvironmentId(1), id(1), &sealed), Err(Broken));
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert_eq!(a.open(EnvironmentId(1), id(1), &changed), Err(Broken));
        }
    }

    #[test]
    fn wrapped_keys_keep_their_purpose() {
        let (kek, secret) = (Secret::new([4; 32]), Secret::new([5; 32]));
        let wrapped = wrap(&kek, "env 1, data 1", &secret, [6; 12]).unwrap();
        assert_eq!(unwrap(&kek, "env 1, data 1", &wrapped).ok().unwrap().expose(), secret.expose());
        assert!(unwrap(&kek, "env 2, data 1", &wrapped).is_err());
        assert!(unwrap(&Secret::new([7; 32]), "env 1, data 1", &wrapped).is_err());
        assert!(unwrap(&kek, "env 1, data 1", &wrapped[..20]).is_err() && unwrap(&kek, "", &[]).is_err());
    }
}
