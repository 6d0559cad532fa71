//! Challenges: what a proof must answer, so that it cannot have been made long ago or for somebody else.
//!
//! A challenge is not kept: it says itself when it was given and carries a MAC over that, 128 random bits and the client
//! it was given to. So nobody can fill a store by asking for challenges, and every node knows them all. What is kept is
//! that one was used, under [`Challenge::mark`], as long as it could be used again.
//!
//! `dch_` and base62 of: key set (1 byte), kind of client (1), milliseconds (6), random (16), MAC (16).

use crate::base62;
use crate::id::{EnvironmentId, SessionId, UserId};
use crate::secret::mac;
use crate::subject::Endpoint;
use crate::time::{Millis, Span};
use crate::token::keyring::{KeySet, Keyring};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// How long a challenge can be answered.
pub const LIFE: Span = Span::minutes(5);
/// How long it is kept that a challenge was used: longer than its life, by more than clocks of nodes differ.
pub const KEPT: Span = Span::minutes(10);

const PREFIX: &str = "dch_";
const SIGNED: usize = 1 + 1 + 6 + 16;
const BODY: usize = SIGNED + 16;

/// To whom a challenge is given.
#[derive(Clone, Copy)]
pub enum Client<'a> {
    /// Whoever has this session.
    Session(SessionId),
    /// Somebody who is about to log in, from this address and with this agent; as this user, where that is known.
    Login {
        /// The application's name for them.
        user: Option<&'a UserId>,
        /// From where.
        from: Endpoint<'a>,
    },
}

/// A challenge to hand out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// What the proof must say as `jti`.
    pub text: Box<str>,
    /// When it was given: what a client whose clock is wrong can set it by.
    pub at: Millis,
    /// From then on it is stale.
    pub until: Millis,
}

/// A challenge that came back, and is one of ours, given to this very client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// When it was given.
    pub at: Millis,
    /// What is kept of it once it is used: a digest, so that whoever reads the store can answer none.
    pub mark: [u8; 32],
}

impl Challenge {
    /// From then on nobody needs to know any more that it was used.
    pub const fn forget_at(&self) -> Millis {
        self.at.plus(KEPT)
    }
}

/// Makes a challenge. `random` is drawn at the edge.
pub fn give(env: EnvironmentId, client: Client<'_>, random: [u8; 16], now: Millis, keys: &Keyring) -> Given {
    let set = keys.current();
    let [_, _, when @ ..] = u64::try_from(now.0.max(0)).unwrap_or(0).to_be_bytes();
    let mut body = Vec::with_capacity(BODY);
    body.extend_from_slice(&[set.id, kind(client)]);
    body.extend_from_slice(&when);
    body.extend_from_slice(&random);
    let tag = tag(set, env, client, &body);
    body.extend_from_slice(&tag);
    let mut text = PREFIX.to_owned();
    base62::encode(&body, &mut text);
    Given { text: text.into(), at: now, until: now.plus(LIFE) }
}

/// Recognises a challenge; `None` when it is not one of ours, or was given to somebody else. Whether it is too old or
/// used is for [`super`].
pub fn recognise(env: EnvironmentId, text: &str, client: Client<'_>, keys: &Keyring) -> Option<Challenge> {
    let mut body = [0; BODY];
    base62::decode(text.strip_prefix(PREFIX)?.as_bytes(), &mut body)?;
    let (signed, presented) = body.split_first_chunk::<SIGNED>()?;
    let [set, of, m0, m1, m2, m3, m4, m5, ..] = *signed;
    let client = match client {
        // Given before anybody had said who they are.
        Client::Login { user: Some(_), from } if of == UNNAMED => Client::Login { user: None, from },
        as_it_is @ (Client::Session(_) | Client::Login { .. }) => as_it_is,
    };
    let expected = tag(keys.set(set)?, env, client, signed);
    if of != kind(client) || verify_slices_are_equal(&expected, presented).is_err() {
        return None;
    }
    let at = Millis(i64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]));
    Some(Challenge { at, mark: <[u8; 32]>::try_from(digest(&SHA256, text.as_bytes()).as_ref()).ok()? })
}

const UNNAMED: u8 = 2;

const fn kind(client: Client<'_>) -> u8 {
    match client {
        Client::Session(_) => 0,
        Client::Login { user: Some(_), .. } => 1,
        Client::Login { user: None, .. } => UNNAMED,
    }
}

fn tag(set: &KeySet, env: EnvironmentId, client: Client<'_>, signed: &[u8]) -> [u8; 16] {
    let full = match client {
        Client::Session(id) => mac(&set.challenge, &[&env.0.to_be_bytes(), signed, &id.0]),
        Client::Login { user, from } => {
            let user = user.map_or("", |user| user.as_str());
            let ip = from.ip.map_or([0; 16], crate::facet::address);
            let agent = from.user_agent.unwrap_or_default();
            let length = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes();
            let known = [u8::from(from.ip.is_some()), u8::from(from.user_agent.is_some())];
            let parts: [&[u8]; 8] = [
                &env.0.to_be_bytes(),
                signed,
                &known,
                &ip,
                &length(user),
                user.as_bytes(),
                &length(agent),
                agent.as_bytes(),
            ];
            mac(&set.challenge, &parts)
        }
    };
    full.first_chunk::<16>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Bucket;
    use crate::secret::Secret;
    use crate::token::keyring::MasterKey;

    const ENV: EnvironmentId = EnvironmentId(7);
    const NOW: Millis = Millis(1_700_000_000_123);

    fn ring(master: u8, ids: &[u8]) -> Keyring {
        Keyring::new(&MasterKey::new([master; 32]), ids[0], &ids[1..], &Secret::new([9; 32]))
    }
    fn session(n: u8) -> SessionId {
        SessionId::new(NOW, Bucket::new(3), [n; 9])
    }

    #[test]
    fn a_challenge_comes_back_from_whom_it_was_given_to_and_from_nobody_else() {
        let (keys, ada, bob) = (ring(1, &[1]), UserId::new("ada").unwrap(), UserId::new("bob").unwrap());
        let at =
            |ip: &str| Endpoint { ip: Some(ip.parse().unwrap()), user_agent: Some("Firefox"), agent: None };
        let login = |user, from| Client::Login { user, from };
        let clients = [
            Client::Session(session(1)),
            Client::Session(session(2)),
            login(None, at("203.0.113.7")),
            login(None, at("203.0.113.8")),
            login(None, Endpoint::default()),
            login(None, Endpoint { user_agent: None, ..at("203.0.113.7") }),
            login(None, Endpoint { ip: None, ..at("203.0.113.7") }),
            login(None, Endpoint { user_agent: Some(""), ..at("203.0.113.7") }),
            login(Some(&ada), at("203.0.113.7")),
            login(Some(&bob), at("203.0.113.7")),
            login(Some(&ada), at("203.0.113.8")),
        ];
        for (n, to) in clients.iter().enumerate() {
            let given = give(ENV, *to, [5; 16], NOW, &keys);
            assert_eq!((given.at, given.until), (NOW, NOW.plus(Span::minutes(5))));
            for (m, from) in clients.iter().enumerate() {
                let found = recognise(ENV, &given.text, *from, &keys);
                // One that was given before anybody said who they are is answered by whoever logs in from there.
                let named_since = matches!((n, m), (2, 8 | 9) | (3, 10));
                assert_eq!(found.is_some(), n == m || named_since, "given to {n}, came from {m}");
                assert!(found.is_none_or(|found| found.at == NOW && found.forget_at() > given.until));
            }
            let changed_env = recognise(EnvironmentId(8), &given.text, *to, &keys);
            assert!(changed_env.is_none() && recognise(ENV, &given.text, *to, &ring(2, &[1])).is_none());
            assert!(recognise(ENV, &given.text, *to, &ring(1, &[2])).is_none());
            assert!(recognise(ENV, &given.text, *to, &ring(1, &[2, 1])).is_some(), "a key set of before");
        }
    }

    #[test]
    fn no_letter_of_it_can_be_changed_and_no_two_are_alike() {
        let (keys, client) = (ring(1, &[1]), Client::Session(session(1)));
        let one = give(ENV, client, [5; 16], NOW, &keys).text;
        assert_eq!(one.len(), 4 + 55);
        for at in 0..one.len() {
            for letter in ["0", "A", "z", "-", ""] {
                let changed = format!("{}{letter}{}", &one[..at], &one[at + 1..]);
                assert!(changed == *one || recognise(ENV, &changed, client, &keys).is_none(), "{changed}");
            }
        }
        let mark = |text: &str| recognise(ENV, text, client, &keys).unwrap().mark;
        for bit in 0..128_usize {
            let mut random = [5; 16];
            random[bit / 8] ^= 1 << (bit % 8);
            let other = give(ENV, client, random, NOW, &keys).text;
            assert!(other != one && mark(&other) != mark(&one), "{bit}");
        }
    }
}
