//! What a header could be made to say, each with a signature that truly is by the key: no word of it changes how a token is
//! checked, and whatever is more or less than our three members is refused.

use crate::support::{b64, claims, dressed, header, keys, opened};
use handstamp_core::jose::Flaw;
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::jws::{Unverified, sign};
use handstamp_core::jose::key::{Kid, SigningKey};
use handstamp_core::secret::Secret;

fn refused(key: &SigningKey, header: &str, flaw: Flaw) {
    let text = dressed(key, header, &claims().write());
    assert_eq!(opened(&text, &[key.public()]), Err(flaw), "{header}");
}

#[test]
fn the_header_that_we_write_passes() {
    for key in keys() {
        let good = dressed(&key, &header(key.public()), &claims().write());
        assert_eq!(opened(&good, &[key.public()]), Ok(claims()));
        // The order and the spaces of JSON mean nothing.
        let (alg, kid) = (key.public().algorithm().text(), key.public().kid());
        let other = format!(r#" {{ "typ" : "at+jwt", "kid":"{kid}" ,"alg":"{alg}" }} "#);
        assert_eq!(opened(&dressed(&key, &other, &claims().write()), &[key.public()]), Ok(claims()));
    }
}

#[test]
fn alg_none_in_every_spelling() {
    let spellings = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "noNe",
        "nonE",
        "NonE",
        "none ",
        " none",
        "none\\u0000",
        "\\u006eone",
        "",
        "null",
        "undefined",
    ];
    for key in keys() {
        for alg in spellings {
            let said = header(key.public()).replacen(key.public().algorithm().text(), alg, 1);
            refused(&key, &said, Flaw::Algorithm);
            let text = format!("{}.{}", b64(said.as_bytes()), b64(claims().write().as_bytes()));
            let trusted = [key.public()];
            // Without a signature; without its dot; with one that says nothing.
            assert_eq!(opened(&format!("{text}."), &trusted), Err(Flaw::Form), "{alg}");
            assert!(opened(&text, &trusted).is_err(), "{alg}");
            assert_eq!(opened(&format!("{text}.{}", b64(&[0])), &trusted), Err(Flaw::Algorithm), "{alg}");
        }
        // The right words and no signature.
        let text = format!("{}.{}", b64(header(key.public()).as_bytes()), b64(claims().write().as_bytes()));
        for signature in ["", "AA", &b64(&[0; 64]), &b64(&[0; 256])] {
            assert!(opened(&format!("{text}.{signature}"), &[key.public()]).is_err(), "{signature}");
        }
    }
}

#[test]
fn alg_that_is_missing_or_no_text() {
    for key in keys() {
        let good = header(key.public());
        let alg = format!(r#""{}""#, key.public().algorithm().text());
        refused(&key, &good.replacen(&format!(r#""alg":{alg},"#), "", 1), Flaw::Header);
        for other in
            [format!("[{alg}]"), format!("{{\"x\":{alg}}}"), "null".into(), "true".into(), "0".into()]
        {
            refused(&key, &good.replacen(&alg, &other, 1), Flaw::Header);
        }
        for name in ["ALG", "Alg", "alg ", "\\u0061lg\\u0000"] {
            refused(&key, &good.replacen(r#""alg""#, &format!(r#""{name}""#), 1), Flaw::Header);
        }
        // The same name, written in another way, is the same name; twice it is none.
        let escaped = good.replacen(r#""alg""#, r#""\u0061lg""#, 1);
        assert!(opened(&dressed(&key, &escaped, &claims().write()), &[key.public()]).is_ok());
        refused(&key, &good.replacen('{', &format!(r#"{{"\u0061lg":{alg},"#), 1), Flaw::Header);
        refused(&key, &good.replacen('{', r#"{"alg":"none","#, 1), Flaw::Header);
        refused(&key, &good.replacen('}', r#","alg":"none"}"#, 1), Flaw::Header);
    }
}

#[test]
fn alg_of_another_key() {
    // The name of RFC 9864 for Ed25519 included: a token of ours has one form.
    const NAMES: [&str; 19] = [
        "EdDSA",
        "ES256",
        "RS256",
        "Ed25519",
        "Ed448",
        "eddsa",
        "EDDSA",
        "es256",
        "ES384",
        "ES512",
        "ES256K",
        "RS384",
        "RS512",
        "PS256",
        "PS512",
        "HS256",
        "HS512",
        "dir",
        "A256GCMKW",
    ];
    for key in keys() {
        let own = key.public().algorithm().text();
        for name in NAMES.into_iter().filter(|name| *name != own) {
            refused(&key, &header(key.public()).replacen(own, name, 1), Flaw::Algorithm);
        }
    }
}

#[test]
fn nothing_more_is_understood() {
    let more = [
        r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#""jku":"https://evil.example/jwks.json""#,
        r#""jku":"http://127.0.0.1:1/""#,
        r#""x5u":"https://evil.example/chain.pem""#,
        r#""x5c":["MIIB"]"#,
        r#""x5t":"AAAA""#,
        r##""x5t#S256":"AAAA""##,
        r#""crit":[]"#,
        r#""crit":["exp"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""p2c":2147483647,"p2s":"AAAA""#,
        r#""epk":{"kty":"EC"}"#,
        r#""enc":"A256GCM""#,
        r#""cty":"JWT""#,
        r#""iss":"https://auth.example/default/prd""#,
        r#""exp":9999999999"#,
        r#""nonce":"x""#,
        r#""url":"https://evil.example""#,
        r#""__proto__":{}"#,
        r#""":0"#,
    ];
    for key in keys() {
        for one in more {
            let good = header(key.public());
            refused(&key, &good.replacen('{', &format!("{{{one},"), 1), Flaw::Header);
            refused(&key, &good.replacen('}', &format!(",{one}}}"), 1), Flaw::Header);
        }
    }
    let key = SealingKey::new(Kid::parse("k").unwrap(), Secret::new([1; 32])).unwrap();
    let sealed = key.seal("session+jwe", b"{}", [2; 12]).unwrap();
    let (_, rest) = sealed.split_once("..").unwrap();
    let ours = r#"{"alg":"dir","enc":"A256GCM","kid":"k","typ":"session+jwe"}"#;
    assert!(Sealed::read(&sealed, "session+jwe").is_ok());
    for one in more.into_iter().chain([r#""alg":"dir""#, r#""apu":"AA""#, r#""iv":"AA","tag":"AA""#]) {
        let one = if one.starts_with(r#""enc""#) { r#""enc":"A128GCM""# } else { one };
        let said = ours.replacen('}', &format!(",{one}}}"), 1);
        let text = format!("{}..{rest}", b64(said.as_bytes()));
        assert_eq!(Sealed::read(&text, "session+jwe").err(), Some(Flaw::Header), "{one}");
    }
}

#[test]
fn a_header_is_one_object_of_json() {
    for key in keys() {
        let good = header(key.public());
        for bad in [
            String::new(),
            "{}".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            format!("[{good}]"),
            format!("{good}{good}"),
            format!("{good}\0"),
            format!("\u{feff}{good}"),
            good.replace('"', "'"),
            good.replacen(',', ",,", 1),
            good.replacen('}', ",}", 1),
            good.replacen('{', r#"{"typ":"at+jwt","#, 1),
            good.replacen('{', r#"{"kid":"x","#, 1),
            good.replacen(r#""at+jwt""#, "[\"at+jwt\"]", 1),
            good.replacen(r#""at+jwt""#, "null", 1),
            good.replacen(r#","typ":"at+jwt""#, "", 1),
        ] {
            refused(&key, &bad, Flaw::Header);
        }
    }
}

/// What each text of ours is for. A text passes where it is for, and nowhere else.
const TYPES: [&str; 5] = ["at+jwt", "session+jwe", "statuslist+jwt", "erasure-statement+jws", "devproof+jwt"];

#[test]
fn every_type_passes_at_its_own_place_only() {
    let sealing = SealingKey::new(Kid::parse("k").unwrap(), Secret::new([1; 32])).unwrap();
    for key in keys() {
        for made in TYPES {
            let signed = sign(&key, made, claims().write().as_bytes()).unwrap();
            let sealed = sealing.seal(made, b"{}", [2; 12]).unwrap();
            for asked in TYPES {
                let read = Unverified::read(&signed, asked).and_then(|token| token.verify(key.public()));
                assert_eq!(read.is_ok(), made == asked, "{made} where {asked} is expected");
                assert!(made == asked || read == Err(Flaw::Type));
                let read = Sealed::read(&sealed, asked).and_then(|token| token.open(&sealing));
                assert_eq!(read.is_ok(), made == asked, "{made} where {asked} is expected");
                // One form is never the other.
                assert!(Unverified::read(&sealed, asked).is_err() && Sealed::read(&signed, asked).is_err());
            }
        }
    }
}

#[test]
fn types_are_compared_as_media_types() {
    let [key, ..] = keys();
    for (typ, passes) in [
        ("AT+JWT", true),
        ("application/at+jwt", true),
        ("Application/At+Jwt", true),
        ("jwt", false),
        ("JWT", false),
        ("at+jwt;x=1", false),
        ("at+jwt\\u0000", false),
        ("at+jwt ", false),
        ("at", false),
        ("at+jwts", false),
        ("xat+jwt", false),
        ("text/at+jwt", false),
        ("application/application/at+jwt", false),
        ("logout+jwt", false),
        ("dpop+jwt", false),
        ("secevent+jwt", false),
        ("", false),
    ] {
        let text = dressed(&key, &header(key.public()).replacen("at+jwt", typ, 1), &claims().write());
        assert_eq!(opened(&text, &[key.public()]).is_ok(), passes, "{typ}");
    }
}
