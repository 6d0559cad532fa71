//! What the targets of credentials share: fixed keys, and the outer shape of a credential, so that inputs get past the
//! checksum and reach what is behind it. The checksum is written here a second time, bit by bit.

use handstamp_core::base62;
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::secret::Secret;
use handstamp_core::token::keyring::{Keyring, MasterKey};
use handstamp_core::token::opaque::{Holder, mint, open};
use handstamp_core::token::{Kind, Unreadable};
use std::sync::LazyLock;

const ENV: EnvironmentId = EnvironmentId(7);

static KEYS: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new(&MasterKey::new([1; 32]), 1, &[2], &Secret::new([9; 32])));
static USER: LazyLock<UserId> = LazyLock::new(|| UserId::new("ada").expect("a user id"));

/// A text with the prefix and checksum of a credential, around any body.
pub fn dressed(kind: Kind, body: &[u8]) -> String {
    let mut text = kind.prefix().to_owned();
    base62::encode(body, &mut text);
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    base62::encode(&(!crc).to_be_bytes(), &mut text);
    text
}

/// One input for a session or refresh token: the first byte says in which way the rest is meant.
pub fn opaque(kind: Kind, data: &[u8]) {
    let Some((way, rest)) = data.split_first() else { return };
    match way % 3 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            match open(kind, ENV, text, &KEYS) {
                Err(Unreadable::Missing) => assert!(text.is_empty()),
                Err(Unreadable::WrongKind) => assert!(Kind::of(text).is_some_and(|of| of != kind)),
                Err(Unreadable::Malformed) => {}
                Ok(opened) => {
                    assert_eq!(text.len(), 4 + 95 + 6);
                    let holder = Holder { env: ENV, session: opened.session, user: USER.as_str() };
                    assert!(opened.verifier(holder, &KEYS).is_some());
                    let last = opened.generation == u32::MAX;
                    assert_eq!(opened.successor(kind, ENV, &KEYS).is_none(), last);
                }
            }
        }
        // Any body in the right dress: only 16 bytes of HMAC stand between it and a session.
        1 => assert!(open(kind, ENV, &dressed(kind, rest), &KEYS).is_err()),
        // A genuine one opens to what it was made of; with a changed byte it does not open.
        _ => {
            let part = |at: usize| rest.get(at).copied().unwrap_or_default();
            let session = SessionId(std::array::from_fn(part));
            let generation = u32::from_be_bytes(std::array::from_fn(|n| part(16 + n)));
            let nonce = Secret::new(std::array::from_fn(|n| part(20 + n)));
            let holder = Holder { env: ENV, session, user: USER.as_str() };
            let set = KEYS.set(1 + part(52) % 2).expect("both sets are there");
            let token = mint(kind, holder, generation, &nonce, set);
            let opened = open(kind, ENV, token.reveal(), &KEYS).ok().expect("it is ours");
            assert_eq!((opened.session, opened.generation, opened.key_id), (session, generation, set.id));
            assert!(open(kind, EnvironmentId(8), token.reveal(), &KEYS).is_err());
            let mut changed = token.reveal().as_bytes().to_vec();
            let at = usize::from(part(53)) % changed.len();
            changed[at] = part(54);
            if changed != token.reveal().as_bytes()
                && let Ok(text) = std::str::from_utf8(&changed)
            {
                assert!(open(kind, ENV, text, &KEYS).is_err());
            }
        }
    }
}
