//! A device proof: a compact JWS (RFC 7515) by the key of a device, over one challenge, one request and one session.
//!
//! ```text
//! header   {"alg": "ES256" | "EdDSA" | "Ed25519", "typ": "devproof+jwt"}         and "jwk" where a key is registered
//! payload  {"jti": challenge, "htm": method, "htu": URL, "iat": seconds}         and "sih" once there is a session
//! ```
//!
//! `sih` is base64url(SHA-256(session id)). Nothing else may stand in either: what is not understood here could be meant
//! to change what the signature says (`crit`, `b64`, `zip`) or where the key comes from (`kid`, `jku`, `x5u`, `x5c`).

use super::key::PublicKey;
use super::object::{Members, read};
use super::{Flaw, base64url, target};
use crate::id::SessionId;
use crate::time::Millis;
use aws_lc_rs::digest::{SHA256, digest};

/// The most bytes of a proof.
pub const LONGEST: usize = 8 * 1_024;
/// The `typ` of its header: a signature made for anything else is no proof (RFC 8725, section 3.11).
pub const TYPE: &str = "devproof+jwt";
/// The most bytes of a `jti`; ours are far shorter.
const LONGEST_CHALLENGE: usize = 128;

/// Whether the proof brings its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Brings {
    /// It registers one: `jwk` must be there.
    Key,
    /// The key is known: `jwk` must not be there.
    NoKey,
}

/// A proof that was read. What it says is not believed before its signature was checked, which [`super`] does.
pub struct Proof<'a> {
    pub(super) algorithm: String,
    pub(super) key: Option<PublicKey>,
    challenge: String,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) session: Option<[u8; 32]>,
    pub(super) made_at: Millis,
    pub(super) signed: &'a [u8],
    pub(super) signature: [u8; 64],
}

impl<'a> Proof<'a> {
    /// Reads a proof.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(text: &'a str, brings: Brings) -> Result<Proof<'a>, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::TooLong);
        }
        let mut segments = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(Flaw::Form);
        };
        let signed = text.as_bytes().get(..header.len() + 1 + payload.len()).ok_or(Flaw::Form)?;
        let header = base64url::decode(header).ok_or(Flaw::Form)?;
        let payload = base64url::decode(payload).ok_or(Flaw::Form)?;
        let signature = base64url::decode(signature).ok_or(Flaw::Form)?;
        let (algorithm, key) = head(read(&header).ok_or(Flaw::Header)?, brings)?;
        let signature = <[u8; 64]>::try_from(signature).map_err(|_| Flaw::SignatureLength)?;
        let claims = read(&payload).ok_or(Flaw::Claims)?;
        let Claims { challenge, method, url, session, made_at } = claimed(claims).ok_or(Flaw::Claims)?;
        Ok(Proof { algorithm, key, challenge, method, url, session, made_at, signed, signature })
    }

    /// The challenge it says it answers.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }
}

/// What a proof says of its session.
pub fn session_hash(session: SessionId) -> [u8; 32] {
    let hash = digest(&SHA256, session.to_string().as_bytes());
    <[u8; 32]>::try_from(hash.as_ref()).unwrap_or([0; 32])
}

fn head(mut header: Members, brings: Brings) -> Result<(String, Option<PublicKey>), Flaw> {
    let algorithm = header.text("alg").ok_or(Flaw::Header)?;
    if header.text("typ").ok_or(Flaw::Header)? != TYPE {
        return Err(Flaw::Type);
    }
    let key = match brings {
        Brings::NoKey if header.has("jwk") => return Err(Flaw::KeyAgain),
        Brings::NoKey => None,
        Brings::Key if !header.has("jwk") => return Err(Flaw::NoKey),
        Brings::Key => {
            let key = header.object("jwk").and_then(PublicKey::from_jwk).ok_or(Flaw::Key)?;
            Some(key)
        }
    };
    if header.is_empty() { Ok((algorithm, key)) } else { Err(Flaw::Header) }
}

struct Claims {
    challenge: String,
    method: String,
    url: String,
    session: Option<[u8; 32]>,
    made_at: Millis,
}

fn claimed(mut claims: Members) -> Option<Claims> {
    let challenge = claims.text("jti").filter(|text| text.len() <= LONGEST_CHALLENGE)?;
    let method = claims.text("htm").filter(|text| target::method(text).is_some())?;
    let url = target::url(&claims.text("htu")?)?;
    let seconds = i64::try_from(claims.number("iat")?).ok()?;
    let made_at = Millis(seconds.checked_mul(1_000)?);
    let session = if claims.has("sih") { Some(base64url::decode_to(&claims.text("sih")?)?) } else { None };
    claims.is_empty().then_some(Claims { challenge, method, url, session, made_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"alg":"ES256","typ":"devproof+jwt"}"#;
    const CLAIMS: &str = r#"{"jti":"dch_x","htm":"GET","htu":"https://app.example/a","iat":1700000000}"#;
    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn jws(header: &str, claims: &str, signature: &[u8]) -> String {
        [header.as_bytes(), claims.as_bytes(), signature].map(base64url::encode).join(".")
    }
    fn flaw(text: &str, brings: Brings) -> Option<Flaw> {
        Proof::read(text, brings).err()
    }
    fn header(text: &str, brings: Brings) -> Option<Flaw> {
        flaw(&jws(text, CLAIMS, &[1; 64]), brings)
    }
    fn claims(text: &str) -> Option<Flaw> {
        flaw(&jws(HEADER, text, &[1; 64]), Brings::NoKey)
    }

    #[test]
    fn what_is_read_is_what_is_there() {
        let text = jws(HEADER, CLAIMS, &[7; 64]);
        let proof = Proof::read(&text, Brings::NoKey).ok().unwrap();
        assert_eq!(
            (proof.algorithm.as_str(), proof.challenge(), proof.method.as_str()),
            ("ES256", "dch_x", "GET")
        );
        assert_eq!((proof.url.as_str(), proof.made_at), ("https://app.example/a", Millis(1_700_000_000_000)));
        assert!(proof.session.is_none() && proof.key.is_none() && proof.signature == [7; 64]);
        assert_eq!(proof.signed, &text.as_bytes()[..text.rfind('.').unwrap()]);
        let with = format!(r#"{{"alg":"EdDSA","typ":"devproof+jwt","jwk":{JWK}}}"#);
        let text = jws(&with, CLAIMS, &[7; 64]);
        assert_eq!(Proof::read(&text, Brings::Key).ok().unwrap().key.unwrap().kind(), "Ed25519");
    }

    #[test]
    fn three_segments_of_base64url_and_no_more_than_8_kib() {
        let good = jws(HEADER, CLAIMS, &[1; 64]);
        let (body, signature) = good.rsplit_once('.').unwrap();
        for text in [
            "",
            ".",
            "..",
            "a.b",
            body,
            &format!("{good}."),
            &format!(".{good}"),
            &format!("{good}.x"),
            &format!("{good}="),
            &format!("{good}\n"),
            &format!(" {good}"),
            &good.replacen('.', "..", 1),
            &format!("{body}.{signature}AAA"),
            &format!("{body}.+{}", &signature[1..]),
            "{\"payload\":\"x\"}",
        ] {
            let expected = if text == ".." { Flaw::Header } else { Flaw::Form };
            assert_eq!(flaw(text, Brings::NoKey), Some(expected), "{text}");
        }
        let padded = |spaces: usize| jws(HEADER, &format!("{CLAIMS}{}", " ".repeat(spaces)), &[1; 64]);
        let mut spaces = 5_000;
        while padded(spaces + 3).len() <= LONGEST {
            spaces += 3;
        }
        assert!(padded(spaces).len() > LONGEST - 4 && flaw(&padded(spaces), Brings::NoKey).is_none());
        assert_eq!(flaw(&padded(spaces + 3), Brings::NoKey), Some(Flaw::TooLong));
    }

    #[test]
    fn the_header_says_three_things_at_most() {
        for (text, expected) in [
            (r#"{"alg":"ES256"}"#, Flaw::Header),
            (r#"{"typ":"devproof+jwt"}"#, Flaw::Header),
            (r#"{"alg":1,"typ":"devproof+jwt"}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"JWT"}"#, Flaw::Type),
            (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, Flaw::Type),
            (r#"{"alg":"ES256","typ":"dbsc+jwt"}"#, Flaw::Type),
            (r#"{"alg":"ES256","typ":"DEVPROOF+JWT"}"#, Flaw::Type),
            (r#"{"alg":"ES256","typ":"devproof+jwt","crit":{"b64":""},"b64":""}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"devproof+jwt","crit":["b64"],"b64":false}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"devproof+jwt","kid":"../../key"}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"devproof+jwt","jku":"https://evil.example/"}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"devproof+jwt","x5u":"https://evil.example/"}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"devproof+jwt","x5c":["MII"]}"#, Flaw::Header),
            (r#"{"alg":"ES256","typ":"devproof+jwt","zip":"DEF"}"#, Flaw::Header),
            (r#"{"alg":"ES256","alg":"none","typ":"devproof+jwt"}"#, Flaw::Header),
            ("", Flaw::Header),
        ] {
            assert_eq!(header(text, Brings::NoKey), Some(expected), "{text}");
        }
        let with = |jwk: &str| format!(r#"{{"alg":"ES256","typ":"devproof+jwt","jwk":{jwk}}}"#);
        assert_eq!(header(&with(JWK), Brings::NoKey), Some(Flaw::KeyAgain));
        assert_eq!(header(HEADER, Brings::Key), Some(Flaw::NoKey));
        assert_eq!(header(&with("{}"), Brings::Key), Some(Flaw::Key));
        assert_eq!(header(&with("\"x\""), Brings::Key), Some(Flaw::Key));
        assert_eq!(header(&with(JWK), Brings::Key), None);
    }

    #[test]
    fn a_signature_has_64_bytes() {
        for length in [0, 1, 63, 65, 70, 71, 72, 96, 256] {
            assert_eq!(
                flaw(&jws(HEADER, CLAIMS, &vec![0x30; length]), Brings::NoKey),
                Some(Flaw::SignatureLength)
            );
        }
    }

    #[test]
    fn claims_are_these_and_all_of_them() {
        let hash = base64url::encode(&[3; 32]);
        let full = format!("{},\"sih\":\"{hash}\"}}", &CLAIMS[..CLAIMS.len() - 1]);
        assert_eq!(claims(&full), None);
        for (from, to) in [
            ("\"jti\":\"dch_x\",", String::new()),
            ("\"htm\":\"GET\",", String::new()),
            ("\"htu\":\"https://app.example/a\",", String::new()),
            (",\"iat\":1700000000", String::new()),
            ("1700000000", "\"1700000000\"".to_owned()),
            ("1700000000", "1700000000.5".to_owned()),
            ("1700000000", "-1".to_owned()),
            ("1700000000", "9223372036854775807".to_owned()),
            ("1700000000", "18446744073709551615".to_owned()),
            ("GET", String::new()),
            ("GET", "GE T".to_owned()),
            ("https://app.example/a", "/a".to_owned()),
            ("https://app.example/a", "https://ada@app.example/a".to_owned()),
            ("dch_x", "x".repeat(129)),
            ("\"jti\"", "\"exp\":1,\"jti\"".to_owned()),
            ("\"jti\"", "\"jti\":\"dch_y\",\"jti\"".to_owned()),
            (&hash, hash[1..].to_owned()),
            (&hash, format!("{hash}=")),
        ] {
            let wrong = full.replacen(from, &to, 1);
            assert_ne!(wrong, full);
            assert_eq!(claims(&wrong), Some(Flaw::Claims), "{wrong}");
        }
    }
}
