//! Erasing a user: what is taken out of their ended sessions and of history, what stays, and the signature under the
//! statement of it.
//!
//! What stays is what history needs to be whole: which session, when, by which rule, by whose key; numbers, and no text
//! that anybody wrote. The user's id becomes a pseudonym that only the holder of the master key can make from it again.

use crate::epoch::Scope;
use crate::event::{Actor, Event};
use crate::id::{EnvironmentId, UserId};
use crate::refusal::{Evidence, Value};
use crate::secret::{Secret, mac};
use crate::session::{Client, Session, State};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

/// The purpose (see [`crate::token::keyring::MasterKey::derive`]) of the key that pseudonyms are made with.
pub const PSEUDONYMS: &str = "pseudonyms";
/// The purpose of the key that statements are signed with.
pub const STATEMENTS: &str = "erasure-statements";

/// What an erased user is called from then on: the same for the same user of the same environment, so that erasing again
/// finds what an erasing that was cut short left behind.
pub fn pseudonym(key: &Secret<32>, env: EnvironmentId, user: &UserId) -> UserId {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
    let digest = mac(&key, &[&env.0.to_be_bytes(), user.as_str().as_bytes()]);
    UserId::pseudonym(digest.first_chunk().copied().unwrap_or_default())
}

/// An ended session without what is erased; `None` for one that is live (it is to be ended first) and for one that has
/// nothing of it any more.
pub fn session(session: &Session, name: &UserId) -> Option<Session> {
    let State::Ended(end) = &session.state else { return None };
    if session.user == *name {
        return None;
    }
    let mut end = end.clone();
    end.evidence = end.evidence.filter(is_numbers);
    end.reason = None;
    Some(Session {
        user: name.clone(),
        tags: Box::default(),
        groups: Box::default(),
        data: None,
        client: Client::default(),
        last_client: None,
        auth: None,
        anchor: None,
        device: None,
        actor: session.actor.as_deref().map(silent),
        state: State::Ended(end),
        ..session.clone()
    })
}

/// A line of the user's history without what is erased; `None` when it is about somebody else, or has nothing of it any
/// more. Who acted in the user's place stays accountable: their id stays, what they said does not.
pub fn event(event: &Event, user: &UserId, name: &UserId) -> Option<Event> {
    if event.user.as_ref() != Some(user) {
        return None;
    }
    Some(Event {
        user: Some(name.clone()),
        evidence: event.evidence.clone().filter(is_numbers),
        note: None,
        client: Client::default(),
        actor: event.actor.as_deref().map(silent),
        tags: Box::default(),
        mass: event.mass.clone().map(|mut mass| {
            if mass.scope == Scope::User(user.clone()) {
                mass.scope = Scope::User(name.clone());
            }
            mass
        }),
        ..event.clone()
    })
}

fn silent(actor: &Actor) -> Box<Actor> {
    Box::new(Actor { id: actor.id.clone(), reason: Box::default() })
}

fn is_numbers(evidence: &Evidence) -> bool {
    let (a, b) = match evidence {
        Evidence::Limit { allowed, seen } => (allowed, seen),
        Evidence::Change { before, after } => (before, after),
    };
    let is_number = |value: &Value| match value {
        Value::Span(_) | Value::Time(_) | Value::Number(_) => true,
        Value::Text(_) | Value::Texts(_) => false,
    };
    is_number(a) && is_number(b)
}

/// Signs statements: Ed25519 (RFC 8032), deterministic, with a key for nothing else.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// The key pair of a seed; `None` never happens with 32 bytes.
    pub fn new(seed: &Secret<32>) -> Option<Signer> {
        Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok().map(Signer)
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().first_chunk().copied().unwrap_or([0; 64])
    }

    /// What verifies it.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn pseudonyms_differ_by_user_environment_and_key() {
        let (a, b) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let user = |text| UserId::new(text).unwrap();
        let name = pseudonym(&a, EnvironmentId(1), &user("ada"));
        assert_eq!(name, pseudonym(&a, EnvironmentId(1), &user("ada")));
        assert!(name.is_pseudonym() && !name.as_str().contains("ada"));
        for other in [
            pseudonym(&a, EnvironmentId(1), &user("grace")),
            pseudonym(&a, EnvironmentId(2), &user("ada")),
            pseudonym(&b, EnvironmentId(1), &user("ada")),
        ] {
            assert_ne!(name, other);
        }
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn statements_are_signed_as_the_rfc_says() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let signer = Signer::new(&Secret::new(seed.try_into().unwrap())).unwrap();
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(signer.public_key().to_vec(), hex(public));
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
            085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(signer.sign(&[0x72]).to_vec(), hex(signature));
        let key = UnparsedPublicKey::new(&ED25519, signer.public_key());
        assert!(key.verify(&[0x72], &signer.sign(&[0x72])).is_ok());
        assert!(key.verify(&[0x73], &signer.sign(&[0x72])).is_err());
    }
}
