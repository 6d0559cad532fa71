//! Device proofs: is the session still where it was made? A stolen token works from anywhere; a key that its device never
//! gives away does not.
//!
//! Shortly after login a session gets the public key of its device, once. From then on, where the policy asks for it, a
//! request also carries a proof: a signature by that key over a fresh challenge, the request and the session.
//!
//! * [`key`]: the public key, and its thumbprint, which names the device.
//! * [`challenge`]: what a proof answers: fresh, for one client, used once.
//! * [`proof`]: how a proof is written and read; [`target`]: the request it is for.
//! * [`known`]: the devices that a user is known to have.
//! * Here: may this request pass, and may this session get this key?

pub use crate::policy::modes::DeviceMode;
use crate::policy::{Origin, Sourced};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::time::{Millis, Span};
use challenge::Challenge;
use key::{DeviceId, PublicKey};
use proof::Proof;

pub mod base64url;
pub mod challenge;
pub mod key;
pub mod known;
mod object;
pub mod proof;
pub mod target;

/// The rule's name in refusals.
pub const RULE: &str = "device";

/// A session gets its key within this time of an authentication: later, whoever has stolen the token could bind the
/// session to a key of their own.
pub const REGISTER_WITHIN: Span = Span::minutes(5);
/// A proof may say that it was made this much before its challenge was given: clocks differ.
pub const EARLIER: Span = Span::secs(60);
/// A proof may say that it was made this much after now.
pub const LATER: Span = Span::secs(10);

/// The device that a session is bound to. There is no way to take it off again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Its name: the key's thumbprint.
    pub id: DeviceId,
    /// Its key.
    pub key: PublicKey,
    /// When the session got it.
    pub at: Millis,
}

impl Registered {
    /// A key that a session gets at `at`.
    pub fn new(key: PublicKey, at: Millis) -> Registered {
        Registered { id: key.id(), key, at }
    }
}

/// The request that a proof must be for. What the caller does not tell is not compared.
#[derive(Clone, Copy, Default)]
pub struct Target<'a> {
    /// Its method.
    pub method: Option<&'a str>,
    /// Its URL, in the form of [`target::url`].
    pub url: Option<&'a str>,
    /// The hash of its session; `None` while there is none yet, and then the proof must say nothing of one.
    pub session: Option<[u8; 32]>,
}

/// What is known of the challenge that a proof answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is not one of ours, or was given to somebody else.
    Foreign,
    /// It was given to this client.
    Ours {
        /// Which.
        challenge: Challenge,
        /// Whether it was used before.
        used: bool,
    },
}

/// A proof that came with a request.
pub struct Shown<'a> {
    /// The proof, or what is wrong with its form.
    pub proof: Result<&'a Proof<'a>, Flaw>,
    /// The request it came with.
    pub target: Target<'a>,
    /// What is known of its challenge.
    pub standing: Standing,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// More bytes than a proof may have.
    TooLong,
    /// No compact JWS.
    Form,
    /// A header that is no object of what may stand in it.
    Header,
    /// Made for something else.
    Type,
    /// No key where one is to be registered.
    NoKey,
    /// A key where one is known.
    KeyAgain,
    /// A key that cannot be used.
    Key,
    /// Claims that are not those of a proof.
    Claims,
    /// Not the algorithm of the key.
    Algorithm,
    /// Not the length of a signature: DER, or of another algorithm.
    SignatureLength,
    /// The key did not sign it.
    Signature,
    /// For another session.
    Session,
    /// For another method.
    Method,
    /// For another URL.
    Url,
    /// Made too long before its challenge, or in the future.
    Time,
    /// The challenge is not ours, or not this client's.
    Foreign,
    /// The challenge is too old.
    Old,
    /// The challenge was used.
    Used,
}

impl Flaw {
    /// Stale, when the right key signed for the right request and only its freshness is missing: the client signs again,
    /// with a fresh challenge. Everything else is invalid, and trying again does not help.
    pub const fn code(self) -> Code {
        match self {
            Flaw::Time | Flaw::Foreign | Flaw::Old | Flaw::Used => Code::DeviceProofStale,
            Flaw::TooLong
            | Flaw::Form
            | Flaw::Header
            | Flaw::Type
            | Flaw::NoKey
            | Flaw::KeyAgain
            | Flaw::Key
            | Flaw::Claims
            | Flaw::Algorithm
            | Flaw::SignatureLength
            | Flaw::Signature
            | Flaw::Session
            | Flaw::Method
            | Flaw::Url => Code::DeviceProofInvalid,
        }
    }

    /// What was seen, and what is allowed. Nothing of the proof is repeated.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Flaw::TooLong => ("proof of more than 8 KiB", "less"),
            Flaw::Form => {
                ("proof in another form", "a compact JWS: three parts in base64url without padding")
            }
            Flaw::Header => {
                ("proof with another header", "alg, typ and, where a key is registered, jwk; each once")
            }
            Flaw::Type => ("proof of another typ", proof::TYPE),
            Flaw::NoKey => ("proof without a key", "jwk in the header, where a key is registered"),
            Flaw::KeyAgain => ("proof with a key of its own", "no jwk in the header once the key is known"),
            Flaw::Key => {
                ("key of another kind", "the public members of a P-256 or Ed25519 key, and no others")
            }
            Flaw::Claims => {
                ("proof with other claims", "jti, htm, htu, iat and, with a session, sih; each once")
            }
            Flaw::Algorithm => {
                ("proof with another alg", "ES256 with a P-256 key, EdDSA or Ed25519 with an Ed25519 key")
            }
            Flaw::SignatureLength => ("signature of another length", "64 bytes: of ECDSA r and s, not DER"),
            Flaw::Signature => {
                ("proof by another key, or changed since", "one that the session's device has signed")
            }
            Flaw::Session => {
                ("proof for another session", "this session's hash as sih, and none before a login")
            }
            Flaw::Method => ("proof for another method", "the request's method as htm"),
            Flaw::Url => ("proof for another URL", "the request's URL as htu"),
            Flaw::Time => ("proof made at another time", "from 60s before its challenge to 10s from now"),
            Flaw::Foreign => ("proof for a challenge not given to this client", "a challenge of this client"),
            Flaw::Old => ("proof for an old challenge", "a challenge of the last 5m"),
            Flaw::Used => ("proof for a challenge that was used", "each challenge once"),
        }
    }

    /// The refusal.
    pub fn refusal(self, origin: Option<Origin>) -> Refusal {
        let (seen, allowed) = self.words();
        refused(self.code(), seen, allowed, origin)
    }
}

fn refused(code: Code, seen: &str, allowed: &str, origin: Option<Origin>) -> Refusal {
    let text = |text: &str| Value::Text(text.into());
    Refusal {
        code,
        rule: RULE,
        origin,
        evidence: Some(Evidence::Limit { allowed: text(allowed), seen: text(seen) }),
    }
}

/// What a judgement comes to when the request may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// Nobody asked for a proof.
    Unasked,
    /// One is asked for, and the caller lets this request pass without: it may, but nobody has shown that it is the
    /// device, so no successor is for it.
    Excused,
    /// It was proved. That the challenge is used must be committed before the answer is given.
    Proved(Challenge),
}

/// What a caller asks of a session's device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Demand {
    /// What the policy asks.
    #[default]
    AsPolicy,
    /// A proof of every session that has one.
    IfRegistered,
}

/// How strictly a proof is asked for, and by which rule; `None`: by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<'a> {
    mode: DeviceMode,
    by: Option<&'a Origin>,
}

impl<'a> Asked<'a> {
    /// By the policy or by the caller, whoever is stricter. A caller can ask for more than the policy does. For less
    /// only by leaving one request out ([`Asked::excused`]), which then leads to no successor.
    pub fn of(policy: &'a Sourced<DeviceMode>, demand: Demand) -> Asked<'a> {
        if demand == Demand::IfRegistered && policy.value < DeviceMode::IfRegistered {
            return Asked { mode: DeviceMode::IfRegistered, by: None };
        }
        Asked { mode: policy.value, by: Some(&policy.origin) }
    }

    /// See [`DeviceMode::asks`].
    pub const fn asks(self, registered: bool) -> bool {
        self.mode.asks(registered)
    }

    /// What a request comes to that the caller lets pass whatever it brings.
    pub const fn excused(self, registered: bool) -> Passed {
        if self.asks(registered) { Passed::Excused } else { Passed::Unasked }
    }
}

/// May this request pass, as far as its device is concerned?
///
/// # Errors
/// `device_proof_missing`, `device_proof_stale` or `device_proof_invalid`.
pub fn judge(
    asked: Asked<'_>,
    registered: Option<&Registered>,
    shown: Option<&Shown<'_>>,
    now: Millis,
) -> Result<Passed, Refusal> {
    if !asked.asks(registered.is_some()) {
        return Ok(Passed::Unasked);
    }
    let origin = || asked.by.cloned();
    let Some(registered) = registered else {
        return Err(refused(
            Code::DeviceProofMissing,
            "session without a device",
            "a registered device",
            origin(),
        ));
    };
    let Some(shown) = shown else {
        let allowed = "one by the session's device";
        return Err(refused(Code::DeviceProofMissing, "no proof", allowed, origin()));
    };
    match shown.proof.and_then(|proof| prove(&registered.key, proof, shown.target, shown.standing, now)) {
        Ok(challenge) => Ok(Passed::Proved(challenge)),
        Err(flaw) => Err(flaw.refusal(origin())),
    }
}

/// A proof that brings its key, at a login or for a session that gets it: who sends it has the key, and means this
/// client and request. Whether the session may get it is for [`may_register`].
///
/// # Errors
/// `device_proof_stale` or `device_proof_invalid`.
pub fn introduce(shown: &Shown<'_>, now: Millis) -> Result<(PublicKey, Challenge), Refusal> {
    let introduced = |proof: &Proof<'_>| {
        let key = proof.key.ok_or(Flaw::NoKey)?;
        Ok((key, prove(&key, proof, shown.target, shown.standing, now)?))
    };
    shown.proof.and_then(introduced).map_err(|flaw| flaw.refusal(None))
}

/// Whether a session may get a device: shortly after an authentication, and once for each. (Also with the key it has:
/// what was answered once is not done again.)
///
/// # Errors
/// `already_exists` when it has got one since the last authentication, `reauthentication_required` when that is too long
/// ago.
pub fn may_register(
    authenticated_at: Millis,
    registered: Option<&Registered>,
    now: Millis,
) -> Result<(), Refusal> {
    if registered.is_some_and(|registered| registered.at >= authenticated_at) {
        return Err(Refusal::plain(Code::AlreadyExists, RULE));
    }
    let since = now.since(authenticated_at);
    if since < REGISTER_WITHIN {
        return Ok(());
    }
    Err(Refusal {
        code: Code::ReauthenticationRequired,
        rule: RULE,
        origin: None,
        evidence: Some(Evidence::Limit { allowed: Value::Span(REGISTER_WITHIN), seen: Value::Span(since) }),
    })
}

/// The order of the checks. The signature comes before everything that the proof says, and freshness last: whoever is
/// told that a proof is stale has shown that they hold the key.
fn prove(
    key: &PublicKey,
    proof: &Proof<'_>,
    target: Target<'_>,
    standing: Standing,
    now: Millis,
) -> Result<Challenge, Flaw> {
    let right = |holds: bool, flaw: Flaw| if holds { Ok(()) } else { Err(flaw) };
    right(key.takes(&proof.algorithm), Flaw::Algorithm)?;
    right(key.verifies(proof.signed, &proof.signature), Flaw::Signature)?;
    right(proof.session == target.session, Flaw::Session)?;
    right(target.method.is_none_or(|method| method == proof.method), Flaw::Method)?;
    right(target.url.is_none_or(|url| url == proof.url), Flaw::Url)?;
    let Standing::Ours { challenge, used } = standing else { return Err(Flaw::Foreign) };
    right(now < challenge.at.plus(challenge::LIFE), Flaw::Old)?;
    right(!used, Flaw::Used)?;
    let window = challenge.at.minus(EARLIER)..=now.plus(LATER);
    right(window.contains(&proof.made_at), Flaw::Time)?;
    Ok(challenge)
}
