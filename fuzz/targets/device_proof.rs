//! Reading device proofs: as raw text, as any header and claims in the right dress, as genuine ones with a byte changed;
//! and what they name: URLs and challenges.
#![no_main]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use handstamp_core::device::challenge::{self, Answerer};
use handstamp_core::device::key::{DeviceId, PublicKey};
use handstamp_core::device::proof::{Brings, LONGEST, Proof};
use handstamp_core::device::{
    Asked, Demand, DeviceMode, Flaw, Passed, Registered, Shown, Standing, Target, base64url, judge, target,
};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::policy::{Origin, Sourced};
use handstamp_core::refusal::Code;
use handstamp_core::secret::Secret;
use handstamp_core::subject::Endpoint;
use handstamp_core::time::Millis;
use handstamp_core::token::keyring::{Keyring, MasterKey};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const ENV: EnvironmentId = EnvironmentId(7);
const NOW: Millis = Millis(1_700_000_000_000);
const CLIENT: Answerer<'static> =
    Answerer::Session(SessionId([3; 16]), Endpoint { ip: None, user_agent: Some("Firefox"), agent: None });

static KEYS: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new(&MasterKey::new([1; 32]), 1, &[2], &Secret::new([9; 32])));
static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"));
static DEVICE: LazyLock<Registered> = LazyLock::new(|| {
    Registered::new(PublicKey::from_bytes(PAIR.public_key().as_ref()).expect("a public key"), NOW)
});
static GENUINE: LazyLock<String> = LazyLock::new(|| {
    let given = challenge::give(ENV, CLIENT.own(), [5; 16], NOW, &KEYS);
    let claims =
        format!(r#"{{"jti":"{}","htm":"GET","htu":"https://a.example/","iat":1700000000}}"#, given.text);
    dressed(br#"{"alg":"EdDSA","typ":"devproof+jwt"}"#, claims.as_bytes())
});

/// Header and claims, truly signed.
fn dressed(header: &[u8], claims: &[u8]) -> String {
    let front = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
    format!("{front}.{}", base64url::encode(PAIR.sign(front.as_bytes()).as_ref()))
}

/// What becomes of a proof.
fn judged(text: &str) -> Result<Passed, Code> {
    let proof = Proof::read(text, Brings::NoKey);
    let found =
        proof.as_ref().ok().and_then(|proof| challenge::recognise(ENV, proof.challenge(), CLIENT, &KEYS));
    let standing = found.map_or(Standing::Foreign, |challenge| Standing::Ours { challenge, used: false });
    let shown = Shown { proof: proof.as_ref().map_err(|flaw| *flaw), target: Target::default(), standing };
    let mode = Sourced { value: DeviceMode::Required, origin: Origin::Default };
    judge(Asked::of(&mode, Demand::AsPolicy), Some(&DEVICE), Some(&shown), NOW).map_err(|refusal| {
        assert!(!refusal.detail().chars().any(char::is_control));
        refusal.code
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((way, rest)) = data.split_first() else { return };
    match way % 5 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            assert!(text == *GENUINE || judged(text).is_err());
            let _: Result<Proof<'_>, Flaw> = Proof::read(text, Brings::Key);
            if let Some(id) = DeviceId::parse(text) {
                assert_eq!(id.to_string(), text);
            }
        }
        // Signed by the right key: still only what a proof says is a proof.
        1 => {
            let cut = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (header, claims) = rest.split_at(cut);
            let text = dressed(header, claims.get(1..).unwrap_or_default());
            if let Ok(passed) = judged(&text) {
                assert!(matches!(passed, Passed::Proved(_)) && text.len() <= LONGEST);
            }
            let _ = Proof::read(&text, Brings::Key);
        }
        // A byte of a genuine one.
        2 => {
            let [at, other, ..] = rest else { return };
            let mut changed = GENUINE.as_bytes().to_vec();
            let at = (usize::from(*at) << 1 | usize::from(*way >> 7)) % changed.len();
            changed[at] = *other;
            let Ok(text) = std::str::from_utf8(&changed) else { return };
            assert_eq!(judged(text).is_ok(), text == *GENUINE);
        }
        3 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if let Some(url) = target::url(text) {
                assert_eq!(target::url(&url).as_deref(), Some(url.as_str()));
                assert!(!url.contains(['?', '#', '\\', '%', ' ']) || url.contains('%'));
                assert!(url.is_ascii() && !url.contains("/../") && !url.contains("/./"));
            }
            if let Some(method) = target::method(text) {
                assert!(method == text && text.len() <= target::LONGEST_METHOD);
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            // Only 16 bytes of HMAC stand between any text and a challenge.
            assert!(challenge::recognise(ENV, text, CLIENT, &KEYS).is_none());
            let mut body = "dch_".to_owned();
            handstamp_core::base62::encode(rest, &mut body);
            assert!(challenge::recognise(ENV, &body, CLIENT, &KEYS).is_none());
            if let Some(bytes) = base64url::decode(text) {
                assert_eq!(base64url::encode(&bytes), text);
            }
        }
    }
});
