//! Session and refresh tokens: selector plus verifier, self-authenticating (design, section 3.1).
//!
//! Body: key id (1), session id (16), generation (4), nonce (32), MAC (16). The MAC refuses garbage without touching
//! the store and proves that an old generation was really ours. Who knows only a session's id can do nothing.

use super::keyring::{KeySet, Keyring};
use super::{Kind, Unreadable, read, write};
use crate::id::{EnvironmentId, SessionId};
use crate::secret::{PlainToken, Secret, Verifier, mac};
use aws_lc_rs::constant_time::verify_slices_are_equal;

const MAC: usize = 16;
const SIGNED: usize = 1 + 16 + 4 + 32;
const BODY: usize = SIGNED + MAC;

/// The secret of one generation.
pub type Nonce = Secret<32>;

/// A genuine token of this environment: its MAC was checked. Whether it opens anything is for [`crate::judge`].
pub struct Opened {
    /// Session or refresh.
    pub kind: Kind,
    /// The key set it names.
    pub key_id: u8,
    /// Its session.
    pub session: SessionId,
    /// Its place in the chain.
    pub generation: u32,
    pub(crate) nonce: Nonce,
}

/// Reads a token of `kind` that was made for `env`.
///
/// # Errors
/// [`Unreadable`]: nothing of it may change any state.
pub fn open(kind: Kind, env: EnvironmentId, text: &str, keys: &Keyring) -> Result<Opened, Unreadable> {
    let body = read::<BODY>(kind, text)?;
    let (signed, presented) = body.split_first_chunk::<SIGNED>().ok_or(Unreadable::Malformed)?;
    let [key_id, rest @ ..] = signed;
    let set = keys.set(*key_id).ok_or(Unreadable::Malformed)?;
    if verify_slices_are_equal(&tag(set, kind, env, signed), presented).is_err() {
        return Err(Unreadable::Malformed);
    }
    let (session, rest) = rest.split_first_chunk::<16>().ok_or(Unreadable::Malformed)?;
    let (generation, nonce) = rest.split_first_chunk::<4>().ok_or(Unreadable::Malformed)?;
    let nonce = <[u8; 32]>::try_from(nonce).map_err(|_| Unreadable::Malformed)?;
    Ok(Opened {
        kind,
        key_id: *key_id,
        session: SessionId(*session),
        generation: u32::from_be_bytes(*generation),
        nonce: Nonce::new(nonce),
    })
}

/// Whose token is made or recognised.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The environment.
    pub env: EnvironmentId,
    /// The session.
    pub session: SessionId,
    /// Its user: part of the verifier, so that a row moved to another user authenticates nobody.
    pub user: &'a str,
}

/// The text of generation `generation`.
pub fn mint(kind: Kind, holder: Holder<'_>, generation: u32, nonce: &Nonce, set: &KeySet) -> PlainToken {
    let mut body = Vec::with_capacity(BODY);
    body.push(set.id);
    body.extend_from_slice(&holder.session.0);
    body.extend_from_slice(&generation.to_be_bytes());
    body.extend_from_slice(nonce.expose());
    let tag = tag(set, kind, holder.env, &body);
    body.extend_from_slice(&tag);
    let text = write(kind, &body);
    zeroize::Zeroize::zeroize(&mut body);
    PlainToken::new(text)
}

/// What is stored of it.
pub fn verifier(kind: Kind, holder: Holder<'_>, generation: u32, nonce: &Nonce, set: &KeySet) -> Verifier {
    let user = holder.user.as_bytes();
    let length = u64::try_from(user.len()).unwrap_or(u64::MAX).to_be_bytes();
    Verifier::from_bytes(mac(
        &set.pepper,
        &[
            &[kind.byte()],
            &holder.env.0.to_be_bytes(),
            &holder.session.0,
            &generation.to_be_bytes(),
            &length,
            user,
            nonce.expose(),
        ],
    ))
}

impl Opened {
    /// The verifier that a record would hold if it knew this very token.
    pub fn verifier(&self, holder: Holder<'_>, keys: &Keyring) -> Option<Verifier> {
        Some(verifier(self.kind, holder, self.generation, &self.nonce, keys.set(self.key_id)?))
    }

    /// The nonce of the next generation of `kind`, derived from this one: whoever presents generation g gets the same
    /// g+1 again from any node, and nothing is stored for it (design, section 3.2).
    pub fn successor(&self, kind: Kind, env: EnvironmentId, keys: &Keyring) -> Option<Nonce> {
        let next = self.generation.checked_add(1)?.to_be_bytes();
        let set = keys.set(self.key_id)?;
        Some(Nonce::new(mac(
            &set.rotation,
            &[b"next", &[kind.byte()], &env.0.to_be_bytes(), &self.session.0, &next, self.nonce.expose()],
        )))
    }
}

/// The first nonce of a session made under an `Idempotency-Key`: the same request gives the same token.
pub fn idempotent_nonce(kind: Kind, holder: Holder<'_>, request: &[u8; 32], set: &KeySet) -> Nonce {
    Nonce::new(mac(
        &set.rotation,
        &[b"idem", &[kind.byte()], &holder.env.0.to_be_bytes(), &holder.session.0, request],
    ))
}

/// The first nonce of `kind` of a session that is handed over by a one-time code: who has the code, and the keys, has it
/// too.
pub fn nonce_behind(kind: Kind, code: &Nonce, holder: Holder<'_>, set: &KeySet) -> Nonce {
    let env = holder.env.0.to_be_bytes();
    // Codes were there before refresh tokens: that of a session token stays what it was.
    let what: &[u8] = if kind == Kind::Refresh { b"code refresh" } else { b"code" };
    Nonce::new(mac(&set.rotation, &[what, &env, &holder.session.0, code.expose()]))
}

fn tag(set: &KeySet, kind: Kind, env: EnvironmentId, signed: &[u8]) -> [u8; MAC] {
    let full = mac(&set.mac, &[&[kind.byte()], &env.0.to_be_bytes(), signed]);
    full.first_chunk::<MAC>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Bucket, UserId};
    use crate::time::Millis;
    use crate::token::keyring::MasterKey;
    use proptest::prelude::*;

    const ENV: EnvironmentId = EnvironmentId(7);

    fn ring(master: u8, ids: &[u8]) -> Keyring {
        Keyring::new(&MasterKey::new([master; 32]), ids[0], &ids[1..], &Secret::new([9; 32]))
    }
    fn id() -> SessionId {
        SessionId::new(Millis(1_700_000_000_000), Bucket::new(77), [5; 9])
    }
    fn user() -> UserId {
        UserId::new("ada").unwrap()
    }
    fn make(ring: &Keyring, kind: Kind, generation: u32) -> String {
        let user = user();
        let holder = Holder { env: ENV, session: id(), user: user.as_str() };
        mint(kind, holder, generation, &Nonce::new([3; 32]), ring.current()).reveal().to_owned()
    }

    #[test]
    fn a_token_opens_where_it_was_made_and_nowhere_else() {
        let keys = ring(1, &[1]);
        let text = make(&keys, Kind::Session, 4);
        assert_eq!(text.len(), 4 + 95 + 6);
        let opened = open(Kind::Session, ENV, &text, &keys).ok().unwrap();
        assert_eq!((opened.session, opened.generation, opened.key_id), (id(), 4, 1));
        let refused = |kind, env, keys: &Keyring, text: &str| open(kind, env, text, keys).err().unwrap();
        assert_eq!(refused(Kind::Session, EnvironmentId(8), &keys, &text), Unreadable::Malformed);
        assert_eq!(refused(Kind::Session, ENV, &ring(2, &[1]), &text), Unreadable::Malformed);
        assert_eq!(refused(Kind::Session, ENV, &ring(1, &[2]), &text), Unreadable::Malformed);
        assert_eq!(refused(Kind::Refresh, ENV, &keys, &text), Unreadable::WrongKind);
        assert_eq!(refused(Kind::Session, ENV, &keys, &make(&keys, Kind::Refresh, 4)), Unreadable::WrongKind);
        assert_eq!(
            refused(Kind::Session, ENV, &keys, &text.replacen("hst_", "hsr_", 1)),
            Unreadable::WrongKind
        );
        assert_eq!(refused(Kind::Session, ENV, &keys, ""), Unreadable::Missing);
    }

    #[test]
    fn a_refresh_token_renamed_to_a_session_token_with_a_right_checksum_is_refused() {
        let keys = ring(1, &[1]);
        let body = read::<BODY>(Kind::Refresh, &make(&keys, Kind::Refresh, 0)).unwrap();
        assert_eq!(
            open(Kind::Session, ENV, &write(Kind::Session, &body), &keys).err(),
            Some(Unreadable::Malformed)
        );
    }

    #[test]
    fn verifiers_differ_in_every_input() {
        let keys = ring(1, &[1, 2]);
        let (u, other) = (user(), UserId::new("bob").unwrap());
        let holder = Holder { env: ENV, session: id(), user: u.as_str() };
        let one = |kind, holder, generation, nonce: u8, set: u8| {
            verifier(kind, holder, generation, &Nonce::new([nonce; 32]), keys.set(set).unwrap())
        };
        let base = one(Kind::Session, holder, 1, 3, 1);
        assert!(base.matches(&one(Kind::Session, holder, 1, 3, 1)));
        let second = SessionId::new(Millis(1), Bucket::new(1), [0; 9]);
        for differs in [
            one(Kind::Refresh, holder, 1, 3, 1),
            one(Kind::Session, Holder { env: EnvironmentId(8), ..holder }, 1, 3, 1),
            one(Kind::Session, Holder { session: second, ..holder }, 1, 3, 1),
            one(Kind::Session, Holder { user: other.as_str(), ..holder }, 1, 3, 1),
            one(Kind::Session, holder, 2, 3, 1),
            one(Kind::Session, holder, 1, 4, 1),
            one(Kind::Session, holder, 1, 3, 2),
        ] {
            assert!(!base.matches(&differs));
        }
    }

    #[test]
    fn successors_are_the_same_again_and_differ_by_kind() {
        let keys = ring(1, &[1]);
        let opened = open(Kind::Session, ENV, &make(&keys, Kind::Session, 4), &keys).ok().unwrap();
        let next = opened.successor(Kind::Session, ENV, &keys).unwrap();
        assert_eq!(next.expose(), opened.successor(Kind::Session, ENV, &keys).unwrap().expose());
        assert_ne!(next.expose(), opened.successor(Kind::Refresh, ENV, &keys).unwrap().expose());
        assert_ne!(next.expose(), opened.nonce.expose());
        let last = open(Kind::Session, ENV, &make(&keys, Kind::Session, u32::MAX), &keys).ok().unwrap();
        assert!(last.successor(Kind::Session, ENV, &keys).is_none());
    }

    proptest! {
        #[test]
        fn any_changed_bit_is_refused(bit in 0usize..BODY * 8) {
            let keys = ring(1, &[1]);
            let mut body = read::<BODY>(Kind::Session, &make(&keys, Kind::Session, 1)).unwrap();
            body[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(Kind::Session, ENV, &write(Kind::Session, &body), &keys).is_err());
        }
    }
}
