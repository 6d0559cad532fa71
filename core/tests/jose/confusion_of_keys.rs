//! One key in the place of another: a public key as the secret of an HMAC, a key under another one's name, a name that is
//! something else.

use crate::support::{RSA, b64, claims, dressed, header, keys, opened, signing};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::{hmac, rsa};
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::{Algorithm, Kid, SigningKey, VerifyingKey};
use handstamp_core::jose::{Flaw, base64url};
use handstamp_core::secret::Secret;

/// The public key in every form in which somebody could have it at hand.
fn forms(key: &VerifyingKey) -> Vec<Vec<u8>> {
    let jwk = key.to_jwk();
    let members: serde_json::Value = serde_json::from_str(&jwk).unwrap();
    let part = |name: &str| base64url::decode(members[name].as_str().unwrap_or_default()).unwrap();
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let der = match key.algorithm() {
        Algorithm::EdDsa => [hex("302a300506032b6570032100"), part("x")].concat(),
        Algorithm::Es256 => {
            let front = hex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");
            [front, part("x"), part("y")].concat()
        }
        Algorithm::Rs256 => {
            let pair = rsa::KeyPair::from_pkcs8(&RSA).unwrap();
            AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec()
        }
    };
    let mut text = b64(&der).replace('-', "+").replace('_', "/");
    text.push_str(["", "", "==", "="][text.len() % 4]);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    let texts =
        [pem.clone(), format!("{pem}\n"), pem.replace('\n', "\r\n"), jwk.clone(), key.kid().to_string()];
    let coordinates = [part("x"), part("y"), part("n"), part("k"), [part("x"), part("y")].concat()];
    let spelled = ["x", "n"].map(|name| members[name].as_str().unwrap_or_default().as_bytes().to_vec());
    texts.map(String::into_bytes).into_iter().chain(coordinates).chain(spelled).chain([der]).collect()
}

#[test]
fn an_hmac_with_the_public_key_is_no_signature() {
    for key in keys() {
        for secret in forms(key.public()) {
            for (alg, algorithm) in
                [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                let own = key.public().algorithm().text();
                for alg in [alg, own] {
                    let said = header(key.public()).replacen(own, alg, 1);
                    let text = format!("{}.{}", b64(said.as_bytes()), b64(claims().write().as_bytes()));
                    let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), text.as_bytes());
                    let text = format!("{text}.{}", b64(tag.as_ref()));
                    let flaw = if alg == own { Flaw::Signature } else { Flaw::Algorithm };
                    assert_eq!(opened(&text, &[key.public()]), Err(flaw), "{alg}");
                }
            }
        }
    }
}

#[test]
fn a_secret_is_no_public_key() {
    for alg in ["HS256", "HS512", "dir", "none", "EdDSA", "RS256", "ES256"] {
        let jwk = format!(r#"{{"kty":"oct","alg":"{alg}","k":"{}"}}"#, b64(&[1; 32]));
        assert!(VerifyingKey::parse_jwk(jwk.as_bytes()).is_err(), "{alg}");
    }
}

#[test]
fn a_key_under_the_name_of_another() {
    let all = keys();
    for signer in &all {
        for named in &all {
            for alg in [signer.public().algorithm(), named.public().algorithm()] {
                let said = header(named.public()).replacen(named.public().algorithm().text(), alg.text(), 1);
                let text = dressed(signer, &said, &claims().write());
                let trusted: Vec<&VerifyingKey> = all.iter().map(SigningKey::public).collect();
                let same = signer.public().kid() == named.public().kid();
                assert_eq!(opened(&text, &trusted).is_ok(), same);
            }
        }
    }
    // Of the same kind, known and not known.
    let (own, stranger) = (signing(Algorithm::EdDsa), SigningKey::ed25519(&Secret::new([8; 32])).unwrap());
    let lent = dressed(&stranger, &header(own.public()), &claims().write());
    assert_eq!(opened(&lent, &[own.public(), stranger.public()]), Err(Flaw::Signature));
    let foreign = dressed(&stranger, &header(stranger.public()), &claims().write());
    assert_eq!(opened(&foreign, &[own.public()]), Err(Flaw::Key));
    // Whoever holds the wrong key to it is told, too.
    let token = Unverified::read(&foreign, "at+jwt").unwrap();
    assert_eq!(token.verify(own.public()).err(), Some(Flaw::Key));
}

#[test]
fn names_that_are_something_else() {
    let key = signing(Algorithm::EdDsa);
    let kid = key.public().kid().as_str().to_owned();
    let long = "A".repeat(65);
    for other in [
        "../../../../dev/null",
        "/dev/null",
        "..\\\\..\\\\windows",
        "file:///etc/passwd",
        "https://evil.example/key",
        "x' UNION SELECT 'a' --",
        "1; DROP TABLE keys",
        "a\\u0000b",
        "\\u0000",
        "|/bin/sh",
        "$(id)",
        "${jndi:ldap://evil.example}",
        "%2e%2e%2f",
        "*",
        " ",
        "",
        "é",
        "\\ud83d\\ude00",
        &format!("{kid} "),
        &format!("{kid}\\n"),
        &format!("{kid}="),
        &long,
    ] {
        let said = header(key.public()).replacen(&kid, other, 1);
        let text = dressed(&key, &said, &claims().write());
        assert_eq!(opened(&text, &[key.public()]), Err(Flaw::Header), "{other}");
    }
    // Well-formed, and nobody's: upper and lower case are different letters.
    for other in
        [kid.to_lowercase(), kid.to_uppercase(), kid[1..].to_owned(), format!("{kid}A"), "k".to_owned()]
    {
        let text = dressed(&key, &header(key.public()).replacen(&kid, &other, 1), &claims().write());
        assert_eq!(opened(&text, &[key.public()]), Err(Flaw::Key), "{other}");
        let token = Unverified::read(&text, "at+jwt").unwrap();
        assert_eq!(token.verify(key.public()).err(), Some(Flaw::Key));
    }
    for other in ["null", "0", "[]", "{}", "true", &format!("[\"{kid}\"]")] {
        let said = header(key.public()).replacen(&format!("\"{kid}\""), other, 1);
        let text = dressed(&key, &said, &claims().write());
        assert_eq!(opened(&text, &[key.public()]), Err(Flaw::Header), "{other}");
    }
    let mega = header(key.public()).replacen(&kid, &"A".repeat(1 << 20), 1);
    assert_eq!(opened(&dressed(&key, &mega, &claims().write()), &[key.public()]), Err(Flaw::TooLong));
    assert!(Kid::parse(&kid).is_some());
}
