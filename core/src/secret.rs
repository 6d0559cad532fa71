//! Secrets as types: no `Debug`, no `Display`, no `PartialEq`; wiped when dropped; compared in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroize;

/// `N` secret bytes.
#[derive(Clone)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Keeps `bytes`.
    pub const fn new(bytes: [u8; N]) -> Self {
        Secret(bytes)
    }
    /// The bytes, for the primitive that needs them.
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The text of a credential, as the client gets it: shown once, never stored.
pub struct PlainToken(String);

impl PlainToken {
    /// Keeps `text`.
    pub fn new(text: String) -> PlainToken {
        PlainToken(text)
    }
    /// The text, for the answer that hands it out.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for PlainToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What is stored instead of a credential: an HMAC under the pepper. Whoever reads it can open nothing, whoever
/// writes one without the pepper has made nothing that authenticates (OWASP ASVS 6.5.2, design section 3.1).
#[derive(Clone)]
pub struct Verifier([u8; 32]);

impl Verifier {
    /// Takes back what [`Verifier::bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Verifier {
        Verifier(bytes)
    }
    /// For storage.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Compares in constant time (ASVS 11.2.4).
    pub fn matches(&self, other: &Verifier) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// HMAC-SHA-256 over the parts, one after the other. Callers fix or write the length of each part.
pub(crate) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    // Nearly all messages fit: handing one over costs less than handing over each of its parts.
    let mut message = [0_u8; 192];
    let length = gather(&mut message, parts);
    // Left as it is afterwards: it came from, or goes into, a buffer of the connection, which nobody wipes either.
    let tag = match length.and_then(|length| message.get(..length)) {
        Some(message) => hmac::sign(key, message),
        None => {
            let mut context = hmac::Context::with_key(key);
            parts.iter().for_each(|part| context.update(part));
            context.sign()
        }
    };
    <[u8; 32]>::try_from(tag.as_ref()).unwrap_or([0; 32])
}

/// Lays the parts one behind the other, and says where they end. `None` when there is no room.
fn gather(message: &mut [u8], parts: &[&[u8]]) -> Option<usize> {
    let mut at = 0;
    for part in parts {
        message.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_match_themselves_only() {
        let a = Verifier::from_bytes([1; 32]);
        let mut other = [1; 32];
        other[31] ^= 1;
        assert!(a.matches(&Verifier::from_bytes([1; 32])));
        assert!(!a.matches(&Verifier::from_bytes(other)));
    }

    #[test]
    fn mac_is_hmac_sha_256() {
        // RFC 4231, test case 2.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let out = mac(&key, &[b"what do ya want ", b"for nothing?"]);
        for length in [0, 1, 191, 192, 193, 300] {
            let long = vec![b'x'; length];
            let (front, back) = long.split_at(length / 3);
            let expected = hmac::sign(&key, &long);
            assert_eq!(mac(&key, &[front, back]), expected.as_ref(), "{length}");
        }
        let hex: String = out.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
