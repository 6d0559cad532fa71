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

/// Who answers a challenge, and from where: see the rule above.
#[derive(Clone, Copy)]
pub enum Answerer<'a> {
    /// The client of this session.
    Session(SessionId, Endpoint<'a>),
    /// Somebody who logs in; as this user.
    Login(Option<&'a UserId>, Endpoint<'a>),
}

impl<'a> Answerer<'a> {
    /// As whom they get a challenge of their own.
    pub const fn own(self) -> Client<'a> {
        match self {
            Answerer::Session(id, _) => Client::Session(id),
            Answerer::Login(user, from) => Client::Login { user, from },
        }
    }

    /// The session that a proof of theirs must be for.
    pub const fn session(self) -> Option<SessionId> {
        match self {
            Answerer::Session(id, _) => Some(id),
            Answerer::Login(..) => None,
        }
    }

    /// As whom they got one before anybody had said who they are.
    const fn unnamed(self) -> Client<'a> {
        let (Answerer::Session(_, from) | Answerer::Login(_, from)) = self;
        Client::Login { user: None, from }
    }
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

/// A challenge that came back, and is one of ours that this client may answer.
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
pub fn recognise(env: EnvironmentId, text: &str, by: Answerer<'_>, keys: &Keyring) -> Option<Challenge> {
    let mut body = [0; BODY];
    base62::decode(text.strip_prefix(PREFIX)?.as_bytes(), &mut body)?;
    let (signed, presented) = body.split_first_chunk::<SIGNED>()?;
    let [set, of, m0, m1, m2, m3, m4, m5, ..] = *signed;
    let given_to = [by.own(), by.unnamed()].into_iter().find(|client| kind(*client) == of)?;
    let expected = tag(keys.set(set)?, env, given_to, signed);
    verify_slices_are_equal(&expected, presented).ok()?;
    let at = Millis(i64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]));
    Some(Challenge { at, mark: <[u8; 32]>::try_from(digest(&SHA256, text.as_bytes()).as_ref()).ok()? })
}

const fn kind(client: Client<'_>) -> u8 {
    match client {
        Client::Session(_) => 0,
        Client::Login { user: Some(_), .. } => 1,
        Client::Login { user: None, .. } => 2,
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
        let (here, there, nowhere) = (at("203.0.113.7"), at("203.0.113.8"), Endpoint::default());
        let mute = Endpoint { user_agent: None, ..here };
        let hidden = Endpoint { ip: None, ..here };
        let blank = Endpoint { user_agent: Some(""), ..here };
        let other = Endpoint { user_agent: Some("Chrome"), ..here };
        let places = [here, there, nowhere, mute, hidden, blank, other];
        let whoever = places.map(|from| Answerer::Login(None, from));
        let named =
            places.iter().flat_map(|from| [&ada, &bob].map(|user| Answerer::Login(Some(user), *from)));
        let sessions = places.iter().flat_map(|from| [1, 2].map(|n| Answerer::Session(session(n), *from)));
        let answerers: Vec<Answerer<'_>> = whoever.into_iter().chain(named).chain(sessions).collect();
        // Each stands for a place, and is nobody in particular, one of two users, or one of two sessions.
        let place = |n: usize| if n < 7 { n } else { (n - 7) % 14 / 2 };
        let somebody = |n: usize| (n >= 7).then(|| ((n - 7) / 14, n % 2));
        for (n, to) in answerers.iter().enumerate() {
            let given = give(ENV, to.own(), [5; 16], NOW, &keys);
            assert_eq!((given.at, given.until), (NOW, NOW.plus(Span::minutes(5))));
            for (m, from) in answerers.iter().enumerate() {
                let found = recognise(ENV, &given.text, *from, &keys);
                let expected = match somebody(n) {
                    // Whoever comes from there answers what was given to nobody in particular.
                    None => place(n) == place(m),
                    // A session may come from anywhere: its challenge is for it alone.
                    Some((1, _)) => somebody(n) == somebody(m),
                    Some(_) => n == m,
                };
                assert_eq!(found.is_some(), expected, "given to {n}, came from {m}");
                assert!(found.is_none_or(|found| found.at == NOW && found.forget_at() > given.until));
            }
            for from in [*to, Answerer::Session(session(1), places[place(n)])] {
                let elsewhere = recognise(EnvironmentId(8), &given.text, from, &keys);
                assert!(elsewhere.is_none() && recognise(ENV, &given.text, from, &ring(2, &[1])).is_none());
                assert!(recognise(ENV, &given.text, from, &ring(1, &[2])).is_none());
            }
            assert!(recognise(ENV, &given.text, *to, &ring(1, &[2, 1])).is_some(), "a key set of before");
        }
    }

    #[test]
    fn what_kind_of_challenge_it_is_cannot_be_changed() {
        let (keys, ada) = (ring(1, &[1]), UserId::new("ada").unwrap());
        let here = Endpoint { ip: None, user_agent: Some("Firefox"), agent: None };
        for by in [Answerer::Session(session(1), here), Answerer::Login(Some(&ada), here)] {
            let text = give(ENV, by.own(), [5; 16], NOW, &keys).text;
            let mut body = [0; BODY];
            base62::decode(text.strip_prefix(PREFIX).unwrap().as_bytes(), &mut body).unwrap();
            for kind in (0..=u8::MAX).filter(|kind| *kind != body[1]) {
                let mut forged = PREFIX.to_owned();
                base62::encode(&[&body[..1], &[kind], &body[2..]].concat(), &mut forged);
                assert!(recognise(ENV, &forged, by, &keys).is_none(), "{kind}");
            }
        }
    }

    #[test]
    fn no_letter_of_it_can_be_changed_and_no_two_are_alike() {
        let (keys, by) = (ring(1, &[1]), Answerer::Session(session(1), Endpoint::default()));
        let client = by.own();
        let one = give(ENV, client, [5; 16], NOW, &keys).text;
        assert_eq!(one.len(), 4 + 55);
        for at in 0..one.len() {
            for letter in ["0", "A", "z", "-", ""] {
                let changed = format!("{}{letter}{}", &one[..at], &one[at + 1..]);
                assert!(changed == *one || recognise(ENV, &changed, by, &keys).is_none(), "{changed}");
            }
        }
        let mark = |text: &str| recognise(ENV, text, by, &keys).unwrap().mark;
        for bit in 0..128_usize {
            let mut random = [5; 16];
            random[bit / 8] ^= 1 << (bit % 8);
            let other = give(ENV, client, random, NOW, &keys).text;
            assert!(other != one && mark(&other) != mark(&one), "{bit}");
        }
    }
}
