//! The CSRF token: what a page must know, beside the cookie that the browser sends by itself, before a request may
//! change anything (OWASP CSRF, signed double submit; ASVS 3.5.1).
//!
//! It is a MAC over the session's id and the instant of the last authentication, so a pair that somebody planted does not
//! pass, one of another session does not, and one from before a login does not. It is not bound to the generation:
//! a rotation does not break pages that are open. Nothing of it is stored. The random part keeps what an answer shows
//! different each time (BREACH) and says nothing.
//!
//! `c1.` and base62 of: key set (1 byte), random (16), MAC (32).

use crate::base62;
use crate::id::{EnvironmentId, SessionId};
use crate::refusal::{Code, Refusal};
use crate::secret::mac;
use crate::subject::Subject;
use crate::time::Millis;
use crate::token::keyring::{KeySet, Keyring};
use aws_lc_rs::constant_time::verify_slices_are_equal;

/// The rule's name in refusals.
pub const RULE: &str = "csrf";

const PREFIX: &str = "c1.";
const SIGNED: usize = 1 + 16;
const BODY: usize = SIGNED + 32;

/// Whose token it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Nothing crosses environments.
    pub env: EnvironmentId,
    /// Of this session.
    pub session: SessionId,
    /// Since this authentication.
    pub authenticated_at: Millis,
}

impl Holder {
    /// The client of a session.
    pub fn of(env: EnvironmentId, session: &impl Subject) -> Holder {
        Holder { env, session: session.id(), authenticated_at: session.times().authenticated_at }
    }
}

/// Makes one. `random` is drawn at the edge.
pub fn make(holder: Holder, random: [u8; 16], keys: &Keyring) -> String {
    let set = keys.current();
    let mut body = Vec::with_capacity(BODY);
    body.push(set.id);
    body.extend_from_slice(&random);
    let tag = tag(set, holder, &body);
    body.extend_from_slice(&tag);
    let mut text = PREFIX.to_owned();
    base62::encode(&body, &mut text);
    text
}

/// Makes the one that is handed out beside a new token of the session: the same each time that is told, so that a
/// creation which is repeated has the same answer.
pub fn beside(holder: Holder, token: &str, keys: &Keyring) -> String {
    let mut random = [0; 16];
    let drawn = mac(&keys.current().csrf, &[b"beside", token.as_bytes()]);
    random.iter_mut().zip(drawn).for_each(|(to, from)| *to = from);
    make(holder, random, keys)
}

/// Whether it is one of this holder's.
pub fn is_good(holder: Holder, presented: &str, keys: &Keyring) -> bool {
    let mut body = [0; BODY];
    let read = presented.strip_prefix(PREFIX).and_then(|text| base62::decode(text.as_bytes(), &mut body));
    let Some(((), (signed, presented))) = read.zip(body.split_first_chunk::<SIGNED>()) else { return false };
    let [set, ..] = *signed;
    keys.set(set).is_some_and(|set| verify_slices_are_equal(&tag(set, holder, signed), presented).is_ok())
}

/// May this request change something? `presented` is what the header says, never what the cookie does.
///
/// # Errors
/// `csrf_token_invalid`.
pub fn judge(holder: Holder, presented: Option<&str>, keys: &Keyring) -> Result<(), Refusal> {
    if presented.is_some_and(|presented| is_good(holder, presented, keys)) {
        return Ok(());
    }
    Err(Refusal::plain(Code::CsrfTokenInvalid, RULE))
}

fn tag(set: &KeySet, holder: Holder, signed: &[u8]) -> [u8; 32] {
    let Holder { env, session, authenticated_at } = holder;
    mac(&set.csrf, &[&env.0.to_be_bytes(), &session.0, &authenticated_at.0.to_be_bytes(), signed])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::token::keyring::MasterKey;

    fn ring(master: u8, current: u8, older: &[u8]) -> Keyring {
        Keyring::new(&MasterKey::new([master; 32]), current, older, &Secret::new([3; 32]))
    }
    fn holder() -> Holder {
        Holder { env: EnvironmentId(7), session: SessionId([1; 16]), authenticated_at: Millis(1_000) }
    }

    #[test]
    fn what_comes_beside_a_token_is_good_and_the_same_each_time() {
        let keys = ring(1, 1, &[]);
        let token = beside(holder(), "hst_1", &keys);
        assert!(is_good(holder(), &token, &keys));
        assert_eq!(token, beside(holder(), "hst_1", &keys));
        assert_ne!(token, beside(holder(), "hst_2", &keys));
    }

    #[test]
    fn one_of_the_same_holder_is_good_and_no_other() {
        let keys = ring(1, 1, &[]);
        let token = make(holder(), [9; 16], &keys);
        assert!(judge(holder(), Some(&token), &keys).is_ok());
        // Another random part is another text, and as good.
        let other = make(holder(), [8; 16], &keys);
        assert!(other != token && is_good(holder(), &other, &keys));
        for (wrong, why) in [
            (Holder { session: SessionId([2; 16]), ..holder() }, "another session's"),
            (Holder { env: EnvironmentId(8), ..holder() }, "another environment's"),
            (Holder { authenticated_at: Millis(1_001), ..holder() }, "from before a login"),
            (Holder { authenticated_at: Millis(999), ..holder() }, "from after it"),
        ] {
            let refused = judge(wrong, Some(&token), &keys).unwrap_err();
            assert_eq!((refused.code, refused.rule), (Code::CsrfTokenInvalid, RULE), "{why}");
        }
        assert_eq!(judge(holder(), None, &keys).unwrap_err().code, Code::CsrfTokenInvalid);
    }

    #[test]
    fn it_is_good_in_one_form_only() {
        let keys = ring(1, 1, &[]);
        let token = make(holder(), [9; 16], &keys);
        let swapped = |at: usize| {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            String::from_utf8(bytes).unwrap()
        };
        for at in 0..token.len() {
            assert!(!is_good(holder(), &swapped(at), &keys), "letter {at}");
        }
        for end in 0..token.len() {
            assert!(!is_good(holder(), &token[..end], &keys), "cut to {end}");
        }
        for wrong in [
            format!("{token}0"),
            format!(" {token}"),
            format!("{token} "),
            token.replace("c1.", "c2."),
            token.replace("c1.", ""),
            token.to_uppercase(),
            format!("\"{token}\""),
            String::new(),
            "c1.".to_owned(),
            "undefined".to_owned(),
        ] {
            assert!(!is_good(holder(), &wrong, &keys), "{wrong}");
        }
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{token}");
    }

    #[test]
    fn key_sets_rotate_and_masters_differ() {
        let token = make(holder(), [9; 16], &ring(1, 1, &[]));
        assert!(is_good(holder(), &token, &ring(1, 2, &[1])), "an older set is still recognised");
        assert!(!is_good(holder(), &token, &ring(1, 2, &[])), "a set that is gone is not");
        assert!(!is_good(holder(), &token, &ring(2, 1, &[])));
    }

    /// So that a change of the format does not go unnoticed: pages that are open would all be refused once.
    #[test]
    fn the_format_stands() {
        let token = make(holder(), [9; 16], &ring(1, 1, &[]));
        assert_eq!(token, FIXED);
    }
    const FIXED: &str = "c1.05VfgyV08EL0m5rrmuNheb0oNp0w0flWB2VUKSZdIYV6KXtvB44A0bV8VP5wPNv5zI0b";
}
