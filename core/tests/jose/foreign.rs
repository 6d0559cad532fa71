//! The crate `jsonwebtoken` verifies what we sign, and we verify what it signs with our keys.

use crate::support::{RSA, SECRET, b64, claims, header, keys, opened};
use handstamp_core::jose::base64url;
use handstamp_core::jose::claims::Claims;
use handstamp_core::jose::jws::sign;
use handstamp_core::jose::key::{Algorithm, SigningKey};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde_json::Value;

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
    }
}

/// As a service would that is the audience; these tokens are of long ago.
fn validation(algorithm: Algorithm, audience: &str) -> Validation {
    let mut validation = Validation::new(theirs(algorithm));
    validation.set_audience(&[audience]);
    validation.set_issuer(&["https://auth.example/default/prd"]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.validate_exp = false;
    validation
}

#[test]
fn they_verify_what_we_sign() {
    for key in keys() {
        let algorithm = key.public().algorithm();
        let jwk: Jwk = serde_json::from_str(&key.public().to_jwk()).unwrap();
        let decoding = DecodingKey::from_jwk(&jwk).unwrap();
        let text = sign(&key, "at+jwt", claims().write().as_bytes()).unwrap();
        let head = decode_header(&text).unwrap();
        assert_eq!((head.alg, head.typ.as_deref()), (theirs(algorithm), Some("at+jwt")));
        assert_eq!(head.kid.as_deref(), Some(key.public().kid().as_str()));
        let read = decode::<Value>(&text, &decoding, &validation(algorithm, "default/prd")).unwrap();
        assert_eq!(read.claims, serde_json::from_str::<Value>(&claims().write()).unwrap());
        let kind = |text: &str, validation: &Validation| {
            decode::<Value>(text, &decoding, validation).err().map(|error| error.into_kind())
        };
        assert_eq!(kind(&text, &validation(algorithm, "billing")), Some(ErrorKind::InvalidAudience));
        let mut timely = validation(algorithm, "default/prd");
        timely.validate_exp = true;
        assert_eq!(kind(&text, &timely), Some(ErrorKind::ExpiredSignature));
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let mut changed = base64url::decode(signature).unwrap();
        changed[9] ^= 1;
        let changed = format!("{signed}.{}", b64(&changed));
        assert_eq!(kind(&changed, &validation(algorithm, "default/prd")), Some(ErrorKind::InvalidSignature));
    }
}

#[test]
fn we_verify_what_they_sign() {
    for key in keys() {
        let algorithm = key.public().algorithm();
        let mut head = Header::new(theirs(algorithm));
        head.typ = Some("at+jwt".to_owned());
        head.kid = Some(key.public().kid().to_string());
        let payload: Value = serde_json::from_str(&claims().write()).unwrap();
        let text = encode(&head, &payload, &encoding(&key)).unwrap();
        assert_eq!(opened(&text, &[key.public()]), Ok(claims()), "{}", header(key.public()));
        let other = Claims { subject: "eve".to_owned(), ..claims() };
        let (front, signature) = text.rsplit_once('.').unwrap();
        let (head, _) = front.split_once('.').unwrap();
        let forged = format!("{head}.{}.{signature}", b64(other.write().as_bytes()));
        assert!(opened(&forged, &[key.public()]).is_err());
    }
}

/// The same private key, as they want it: PKCS #8, of RSA what is inside of it.
fn encoding(key: &SigningKey) -> EncodingKey {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let public: Value = serde_json::from_str(&key.public().to_jwk()).unwrap();
    let part = |name: &str| base64url::decode(public[name].as_str().unwrap()).unwrap();
    match key.public().algorithm() {
        Algorithm::EdDsa => {
            EncodingKey::from_ed_der(&[hex("302e020100300506032b657004220420"), SECRET.to_vec()].concat())
        }
        Algorithm::Es256 => EncodingKey::from_ec_der(
            &[
                hex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"),
                SECRET.to_vec(),
                hex("a14403420004"),
                part("x"),
                part("y"),
            ]
            .concat(),
        ),
        // 26 bytes say that an RSA key follows (RFC 5208): version, algorithm, and the octet string that holds it.
        Algorithm::Rs256 => EncodingKey::from_rsa_der(&RSA[26..]),
    }
}

#[test]
fn the_documents_show_what_is_tried() {
    let shown = include_str!("../../../docs/verify-elsewhere.md");
    let tried = include_str!("documented.rs").replace("pub(crate) fn", "pub fn");
    let (_, code) = tried.split_once("\n\n").unwrap();
    assert!(shown.contains(&format!("```rust\n{code}```")), "docs/verify-elsewhere.md shows other Rust");
}

#[test]
fn what_the_documents_show_refuses_what_it_should() {
    let jwks = format!("{{\"keys\":[{}]}}", keys().map(|key| key.public().to_jwk()).join(","));
    let set = serde_json::from_str(&jwks).unwrap();
    let issuer = "https://auth.example/default/prd";
    // Good for whoever reads this in the next years: the crate has a clock of its own.
    let life = Claims { issued_at: 4_000_000_000 - 300, expires_at: 4_000_000_000, ..claims() };
    for key in keys() {
        let good = |typ, claims: &Claims| sign(&key, typ, claims.write().as_bytes()).unwrap();
        let verified =
            |text: &str, issuer, audience| super::documented::verified(text, &set, issuer, audience);
        let text = good("at+jwt", &life);
        assert!(verified(&text, issuer, "default/prd").is_ok());
        for (issuer, audience) in
            [(issuer, "default"), (issuer, "billing"), ("https://auth.example/default", "default/prd")]
        {
            assert!(verified(&text, issuer, audience).is_err(), "{issuer} {audience}");
        }
        assert!(verified(&good("statuslist+jwt", &life), issuer, "default/prd").is_err());
        assert!(verified(&good("at+jwt", &claims()), issuer, "default/prd").is_err(), "it is long over");
        let (front, _) = text.rsplit_once('.').unwrap();
        assert!(verified(&format!("{front}.{}", b64(&[0; 64])), issuer, "default/prd").is_err());
        assert!(verified(&format!("{front}."), issuer, "default/prd").is_err());
    }
}
