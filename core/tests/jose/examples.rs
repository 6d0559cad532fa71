//! The examples of the standards: what is signed with algorithms of ours verifies, what we would sign ourselves comes out the
//! same, and none of them is a token of ours: theirs have no `kid`, or no `typ`, or are sealed in other ways.

use crate::support::b64;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::{Kid, SigningKey, VerifyingKey};
use handstamp_core::jose::{Flaw, base64url};
use handstamp_core::secret::Secret;
use serde_json::Value;

/// RFC 7515, 7516, 7520, 7638 and 8037.
fn examples() -> Value {
    serde_json::from_str(include_str!("examples.json")).unwrap()
}

fn list<'a>(all: &'a Value, name: &str, count: usize) -> &'a [Value] {
    let list = all[name].as_array().unwrap();
    assert_eq!(list.len(), count, "{name}");
    list
}

fn text<'a>(example: &'a Value, name: &str) -> &'a str {
    example[name].as_str().unwrap()
}

fn bytes(example: &Value, name: &str) -> Vec<u8> {
    base64url::decode(text(example, name)).unwrap()
}

/// The example's public key; its algorithm is part of a key of ours.
fn key(example: &Value) -> VerifyingKey {
    let mut jwk = example["key"].clone();
    jwk["alg"] = example["alg"].clone();
    VerifyingKey::parse_jwk(jwk.to_string().as_bytes()).unwrap()
}

#[test]
fn signatures_verify_and_are_no_tokens_of_ours() {
    let all = examples();
    for example in list(&all, "jws", 5) {
        let (name, token, key) = (text(example, "name"), text(example, "token"), key(example));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = base64url::decode(signature).unwrap();
        assert!(key.verifies(signed.as_bytes(), &signature), "{name}");
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!key.verifies(signed.as_bytes(), &changed), "{name} {at}");
        }
        assert!(!key.verifies(&signed.as_bytes()[1..], &signature), "{name}");
        assert_eq!(Unverified::read(token, "at+jwt").err(), Some(Flaw::Header), "{name}");
    }
}

#[test]
fn signatures_come_out_the_same() {
    let all = examples();
    for example in list(&all, "jws", 5) {
        let (name, token) = (text(example, "name"), text(example, "token"));
        let (signed, expected) = token.rsplit_once('.').unwrap();
        let secret = || Secret::new(base64url::decode_to(text(example, "secret")).unwrap());
        let own = match text(example, "alg") {
            "EdDSA" => SigningKey::ed25519(&secret()),
            "ES256" => SigningKey::es256(&secret()),
            _ => SigningKey::rs256(&bytes(example, "pkcs8")),
        }
        .unwrap();
        assert_eq!(own.public().to_jwk(), key(example).to_jwk(), "{name}: the public key of the private one");
        let signature = own.sign(signed.as_bytes()).unwrap();
        assert!(key(example).verifies(signed.as_bytes(), &signature), "{name}");
        // ECDSA draws a number for each signature.
        assert_eq!(b64(&signature) == expected, text(example, "alg") != "ES256", "{name}");
    }
}

#[test]
fn other_forms_and_algorithms_are_refused() {
    let all = examples();
    for example in list(&all, "refused_jws", 11) {
        assert!(Unverified::read(text(example, "token"), "at+jwt").is_err(), "{}", text(example, "name"));
    }
    for example in list(&all, "refused_jwe", 35) {
        for typ in ["session+jwe", "at+jwt", "JWT", ""] {
            assert!(Sealed::read(text(example, "token"), typ).is_err(), "{}", text(example, "name"));
        }
        assert!(Unverified::read(text(example, "token"), "at+jwt").is_err(), "{}", text(example, "name"));
    }
}

#[test]
fn thumbprints_are_names_of_keys() {
    let all = examples();
    for example in list(&all, "thumbprints", 2) {
        assert_eq!(key(example).kid().as_str(), text(example, "thumbprint"), "{}", text(example, "name"));
    }
}

/// RFC 7516, A.1: its content is sealed with AES-256-GCM, its key wrapped with RSA, which we do not do. The others (A.2 to A.4)
/// use AES-CBC.
#[test]
fn aes_256_gcm_of_the_example() {
    let all = examples();
    let example = &all["a256gcm"];
    let secret: [u8; 32] = bytes(example, "key").try_into().unwrap();
    let nonce: [u8; 12] = bytes(example, "nonce").try_into().unwrap();
    let header = text(example, "header");
    let mut sealed = [bytes(example, "sealed"), bytes(example, "tag")].concat();
    let library = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).unwrap());
    let nonce_of = Nonce::assume_unique_for_key(nonce);
    let plain = library.open_in_place(nonce_of, Aad::from(header.as_bytes()), &mut sealed).unwrap();
    assert_eq!(plain, bytes(example, "plain"));
    // The same key, nonce and text under our header: other associated data, so another tag over the same ciphertext.
    let own = SealingKey::new(Kid::parse("k").unwrap(), Secret::new(secret)).unwrap();
    let ours = own.seal("session+jwe", plain, nonce).unwrap();
    let parts: Vec<&str> = ours.split('.').collect();
    assert_eq!((parts[2], parts[3]), (text(example, "nonce"), text(example, "sealed")));
    assert_ne!(parts[4], text(example, "tag"));
    let theirs = format!("{}..{}.{}.{}", parts[0], parts[2], parts[3], text(example, "tag"));
    let opened = Sealed::read(&theirs, "session+jwe").unwrap().open(&own);
    assert_eq!(opened, Err(Flaw::Signature), "the header is part of what is sealed");
}
