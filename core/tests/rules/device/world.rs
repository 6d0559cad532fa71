//! A client with a key and a server that knows it, in which each test changes what it is about.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use handstamp_core::device::challenge::{self, Answerer, Client};
use handstamp_core::device::key::PublicKey;
use handstamp_core::device::proof::{Brings, Proof, session_hash};
use handstamp_core::device::{
    Asked, Demand, DeviceMode, Passed, Registered, Shown, Standing, Target, base64url, judge,
};
use handstamp_core::id::{Bucket, EnvironmentId, SessionId};
use handstamp_core::policy::{Origin, Sourced};
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::secret::Secret;
use handstamp_core::subject::Endpoint;
use handstamp_core::time::Millis;
use handstamp_core::token::keyring::{Keyring, MasterKey};

pub(crate) const ENV: EnvironmentId = EnvironmentId(7);
pub(crate) const START: Millis = Millis(1_700_000_000_000);
pub(crate) const URL: &str = "https://app.example/orders";

pub(crate) enum Pair {
    P256(EcdsaKeyPair),
    Der(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Pair {
    pub(crate) fn p256() -> Pair {
        Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }
    /// The same key, signing as OpenSSL and Java do it.
    pub(crate) fn der() -> (Pair, Pair) {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let one = |alg| EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref()).unwrap();
        (Pair::P256(one(&ECDSA_P256_SHA256_FIXED_SIGNING)), Pair::Der(one(&ECDSA_P256_SHA256_ASN1_SIGNING)))
    }
    pub(crate) fn ed25519(seed: u8) -> Pair {
        Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Pair::P256(pair) | Pair::Der(pair) => {
                pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
    pub(crate) fn public(&self) -> PublicKey {
        let bytes = match self {
            Pair::P256(pair) | Pair::Der(pair) => &pair.public_key().as_ref()[1..],
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        };
        PublicKey::from_bytes(bytes).unwrap()
    }
    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Pair::P256(_) | Pair::Der(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }
    pub(crate) fn jwk(&self) -> String {
        let key = self.public();
        let half = |n: usize| base64url::encode(&key.bytes()[32 * n..32 * (n + 1)]);
        match self {
            Pair::P256(_) | Pair::Der(_) => {
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, half(0), half(1))
            }
            Pair::Ed25519(_) => format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, half(0)),
        }
    }
}

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::new(START, Bucket::new(3), [n; 9])
}

/// Where the client is.
pub(crate) fn here() -> Endpoint<'static> {
    Endpoint { ip: Some([203, 0, 113, 7].into()), user_agent: Some("Firefox"), agent: None }
}

/// What a client signs, and what the server knows. Each test changes what it is about.
pub(crate) struct World {
    pub(crate) keys: Keyring,
    pub(crate) pair: Pair,
    pub(crate) header: String,
    pub(crate) challenge: String,
    pub(crate) method: &'static str,
    pub(crate) url: &'static str,
    /// Seconds.
    pub(crate) made_at: i64,
    pub(crate) session: Option<SessionId>,
    pub(crate) mode: DeviceMode,
    pub(crate) used: bool,
    pub(crate) now: Millis,
    pub(crate) brings: Brings,
}

impl World {
    pub(crate) fn with(pair: Pair) -> World {
        let keys = Keyring::new(&MasterKey::new([1; 32]), 1, &[], &Secret::new([9; 32]));
        let given = challenge::give(ENV, Client::Session(session(1)), [5; 16], START, &keys);
        World {
            header: format!(r#"{{"alg":"{}","typ":"devproof+jwt"}}"#, pair.alg()),
            challenge: given.text.into(),
            keys,
            pair,
            method: "GET",
            url: URL,
            made_at: START.0 / 1_000,
            session: Some(session(1)),
            mode: DeviceMode::IfRegistered,
            used: false,
            now: START,
            brings: Brings::NoKey,
        }
    }
    pub(crate) fn new() -> World {
        World::with(Pair::p256())
    }
    /// Whose challenge was given to somebody who had not said yet who they are.
    pub(crate) fn unnamed(from: Endpoint<'_>) -> World {
        let world = World::new();
        let given = challenge::give(ENV, Client::Login { user: None, from }, [5; 16], START, &world.keys);
        World { challenge: given.text.into(), ..world }
    }
    /// With its key in the header, as for a registration.
    pub(crate) fn introducing(pair: Pair) -> World {
        let header = format!(r#"{{"alg":"{}","typ":"devproof+jwt","jwk":{}}}"#, pair.alg(), pair.jwk());
        World { header, brings: Brings::Key, ..World::with(pair) }
    }
    pub(crate) fn claims(&self) -> String {
        let hash = self.session.map(|id| format!(r#","sih":"{}""#, base64url::encode(&session_hash(id))));
        format!(
            r#"{{"jti":"{}","htm":"{}","htu":"{}","iat":{}{}}}"#,
            self.challenge,
            self.method,
            self.url,
            self.made_at,
            hash.unwrap_or_default()
        )
    }
    pub(crate) fn text(&self) -> String {
        let front = format!(
            "{}.{}",
            base64url::encode(self.header.as_bytes()),
            base64url::encode(self.claims().as_bytes())
        );
        let signature = self.pair.sign(front.as_bytes());
        format!("{front}.{}", base64url::encode(&signature))
    }
    pub(crate) fn standing(&self, proof: &Proof<'_>) -> Standing {
        let by = Answerer::Session(session(1), here());
        match challenge::recognise(ENV, proof.challenge(), by, &self.keys) {
            None => Standing::Foreign,
            Some(challenge) => Standing::Ours { challenge, used: self.used },
        }
    }
    pub(crate) fn shown<T>(&self, text: &str, ask: impl FnOnce(&Shown<'_>) -> T) -> T {
        let proof = Proof::read(text, self.brings);
        let standing = proof.as_ref().map_or(Standing::Foreign, |proof| self.standing(proof));
        let target = Target { method: Some("GET"), url: Some(URL), session: Some(session_hash(session(1))) };
        ask(&Shown { proof: proof.as_ref().map_err(|flaw| *flaw), target, standing })
    }
    pub(crate) fn judge_text(
        &self,
        registered: Option<&Registered>,
        text: Option<&str>,
    ) -> Result<Passed, Refusal> {
        let mode = Sourced { value: self.mode, origin: Origin::Default };
        match text {
            None => judge(Asked::of(&mode, Demand::AsPolicy), registered, None, self.now),
            Some(text) => self.shown(text, |shown| {
                judge(Asked::of(&mode, Demand::AsPolicy), registered, Some(shown), self.now)
            }),
        }
    }
    pub(crate) fn device(&self) -> Registered {
        Registered::new(self.pair.public(), START)
    }
    pub(crate) fn judge(&self) -> Result<Passed, Refusal> {
        self.judge_text(Some(&self.device()), Some(&self.text()))
    }
    pub(crate) fn passes(&self) -> bool {
        matches!(self.judge(), Ok(Passed::Proved(challenge)) if challenge.at == START)
    }
    pub(crate) fn refused(&self) -> (Code, String) {
        let refusal = self.judge().unwrap_err();
        assert_eq!((refusal.rule, refusal.origin.as_ref()), ("device", Some(&Origin::Default)));
        (refusal.code, refusal.detail())
    }
    pub(crate) fn invalid(&self, word: &str) {
        let (code, detail) = self.refused();
        assert_eq!(code, Code::DeviceProofInvalid, "{detail}");
        assert!(detail.contains(word), "{detail}");
    }
    pub(crate) fn stale(&self, word: &str) {
        let (code, detail) = self.refused();
        assert_eq!(code, Code::DeviceProofStale, "{detail}");
        assert!(detail.contains(word), "{detail}");
    }
}
