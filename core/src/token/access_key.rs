//! Access keys (`hsk_`) and publishable keys (`hsp_`): an id and a secret. They are recognised by their record, so that
//! one can be prepared before any server exists.

use super::keyring::KeySet;
use super::{Kind, Unreadable, read, write};
use crate::id::KeyId;
use crate::secret::{PlainToken, Secret, Verifier, mac};

const BODY: usize = 16 + 32;

/// A key's two parts.
pub struct Parts {
    /// Access or publishable.
    pub kind: Kind,
    /// Its name, no secret.
    pub id: KeyId,
    secret: Secret<32>,
}

impl Parts {
    /// Puts a new key together from random bytes.
    pub const fn new(kind: Kind, id: [u8; 16], secret: [u8; 32]) -> Parts {
        Parts { kind, id: KeyId(id), secret: Secret::new(secret) }
    }

    /// Reads a key of `kind`.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(kind: Kind, text: &str) -> Result<Parts, Unreadable> {
        let body = read::<BODY>(kind, text)?;
        let (id, secret) = body.split_first_chunk::<16>().ok_or(Unreadable::Malformed)?;
        let secret = <[u8; 32]>::try_from(secret).map_err(|_| Unreadable::Malformed)?;
        Ok(Parts { kind, id: KeyId(*id), secret: Secret::new(secret) })
    }

    /// Its text, shown once.
    pub fn text(&self) -> PlainToken {
        let mut body = Vec::with_capacity(BODY);
        body.extend_from_slice(&self.id.0);
        body.extend_from_slice(self.secret.expose());
        let text = write(self.kind, &body);
        zeroize::Zeroize::zeroize(&mut body);
        PlainToken::new(text)
    }

    /// What is stored of it.
    pub fn verifier(&self, set: &KeySet) -> Verifier {
        Verifier::from_bytes(mac(
            &set.pepper,
            &[b"key", &[self.kind.byte()], &self.id.0, self.secret.expose()],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::keyring::{Keyring, MasterKey};

    #[test]
    fn round_trip_and_kinds() {
        let parts = Parts::new(Kind::AccessKey, [1; 16], [2; 32]);
        let text = parts.text();
        let back = Parts::read(Kind::AccessKey, text.reveal()).ok().unwrap();
        assert_eq!(back.id, parts.id);
        let ring = Keyring::new(&MasterKey::new([1; 32]), 1, &[], &Secret::new([0; 32]));
        let set = ring.current();
        assert!(back.verifier(set).matches(&parts.verifier(set)));
        assert!(
            !Parts::new(Kind::PublishableKey, [1; 16], [2; 32]).verifier(set).matches(&parts.verifier(set))
        );
        assert!(!Parts::new(Kind::AccessKey, [1; 16], [3; 32]).verifier(set).matches(&parts.verifier(set)));
        assert_eq!(Parts::read(Kind::PublishableKey, text.reveal()).err(), Some(Unreadable::WrongKind));
    }
}
