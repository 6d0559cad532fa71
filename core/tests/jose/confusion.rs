//! Everything else that is not a token, or is one no longer: parts of several, other forms, signatures in other ways, claims of
//! other kinds, the wrong time and the wrong reader.

use crate::support::{b64, claims, dressed, header, keys, opened, signing};
use handstamp_core::access_token::Reader;
use handstamp_core::jose::claims::Claims;
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::jws::{looks_like, sign};
use handstamp_core::jose::key::{Algorithm, Kid, SigningKey};
use handstamp_core::jose::{Flaw, LONGEST, base64url};
use handstamp_core::refusal::Code;
use handstamp_core::secret::Secret;
use handstamp_core::time::{Millis, Span};

fn token(key: &SigningKey) -> String {
    sign(key, "at+jwt", claims().write().as_bytes()).unwrap()
}

#[test]
fn segments_of_two_tokens() {
    let all = keys();
    let other = Claims { subject: "eve".to_owned(), ..claims() };
    let texts: Vec<String> = all
        .iter()
        .flat_map(|key| [token(key), sign(key, "at+jwt", other.write().as_bytes()).unwrap()])
        .collect();
    let trusted = [all[0].public(), all[1].public(), all[2].public()];
    let parts: Vec<Vec<&str>> = texts.iter().map(|text| text.split('.').collect()).collect();
    let mut good = 0;
    for one in &parts {
        for two in &parts {
            for three in &parts {
                let mixed = format!("{}.{}.{}", one[0], two[1], three[2]);
                let opened = opened(&mixed, &trusted);
                assert_eq!(opened.is_ok(), texts.contains(&mixed), "{mixed}");
                good += usize::from(opened.is_ok());
            }
        }
    }
    // Each of the six comes up six times: a header is that of both tokens of its key, a payload that of all three keys.
    assert_eq!(good, 36);
    let [a, b, c] = [parts[0][0], parts[0][1], parts[0][2]];
    for order in [[a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        assert!(opened(&order.join("."), &trusted).is_err());
    }
}

#[test]
fn one_form_in_the_place_of_the_other() {
    let sealing = SealingKey::new(Kid::parse("k").unwrap(), Secret::new([1; 32])).unwrap();
    for key in keys() {
        let text = token(&key);
        for typ in ["at+jwt", "session+jwe"] {
            // A token inside of sealed data, whole and in quotes; sealed data inside of a token.
            for inner in [text.clone(), format!("\"{text}\"")] {
                let sealed = sealing.seal(typ, inner.as_bytes(), [2; 12]).unwrap();
                assert!(opened(&sealed, &[key.public()]).is_err() && !looks_like(&sealed));
                for payload in [sealed.clone(), format!("\"{sealed}\""), inner.clone()] {
                    let nested = sign(&key, "at+jwt", payload.as_bytes()).unwrap();
                    assert_eq!(opened(&nested, &[key.public()]), Err(Flaw::Claims));
                }
            }
            assert!(Sealed::read(&text, typ).is_err());
        }
        let (front, signature) = text.rsplit_once('.').unwrap();
        for five in [format!("{front}.{signature}.."), format!("{front}..{signature}."), format!("..{text}")]
        {
            assert!(opened(&five, &[key.public()]).is_err(), "{five}");
            assert!(Sealed::read(&five, "at+jwt").is_err(), "{five}");
        }
    }
}

#[test]
fn json_serializations() {
    for key in keys() {
        let text = token(&key);
        let [a, b, c] = <[&str; 3]>::try_from(text.split('.').collect::<Vec<_>>()).unwrap();
        for json in [
            format!(r#"{{"protected":"{a}","payload":"{b}","signature":"{c}"}}"#),
            format!(r#"{{"payload":"{b}","signatures":[{{"protected":"{a}","signature":"{c}"}}]}}"#),
            format!(r#"{{"header":{},"payload":"{b}","signature":"{c}"}}"#, header(key.public())),
            format!("\"{text}\""),
            format!("[\"{text}\"]"),
        ] {
            assert!(opened(&json, &[key.public()]).is_err() && !looks_like(&json), "{json}");
        }
    }
}

#[test]
fn too_much() {
    let [key, ..] = keys();
    for text in [
        ".".repeat(1 << 20),
        "A".repeat(1 << 20),
        "eyJ".repeat(1 << 18),
        format!("eyJ.{}.A", "A".repeat(1 << 20)),
    ] {
        assert_eq!(opened(&text, &[key.public()]), Err(Flaw::TooLong));
        assert_eq!(Sealed::read(&text, "session+jwe").err(), Some(Flaw::TooLong));
    }
    // Up to the last byte that is looked at: as many dots as there can be, deep and wide JSON.
    assert_eq!(opened(&".".repeat(LONGEST), &[key.public()]), Err(Flaw::Form));
    assert_eq!(Sealed::read(&".".repeat(LONGEST), "session+jwe").err(), Some(Flaw::Form));
    let claims = claims().write();
    for more in ["[".repeat(2_000), "{\"a\":".repeat(400), format!("[{}1]", "1,".repeat(1_000))] {
        let payload = claims.replacen('{', &format!("{{\"x\":{more},"), 1);
        assert_eq!(
            opened(&dressed(&key, &header(key.public()), &payload), &[key.public()]),
            Err(Flaw::Claims)
        );
        let said = header(key.public()).replacen('{', &format!("{{\"x\":{more},"), 1);
        assert_eq!(opened(&dressed(&key, &said, &claims), &[key.public()]), Err(Flaw::Header));
    }
}

#[test]
fn spaces_padding_and_other_letters() {
    for key in keys() {
        let text = token(&key);
        assert!(opened(&text, &[key.public()]).is_ok());
        for space in [
            " ", "\n", "\r\n", "\t", "\0", "\u{a0}", "\u{200b}", "\u{feff}", "=", "==", ".", "%20", "\"",
            ",", ";",
        ] {
            for at in [
                0,
                5,
                text.find('.').unwrap(),
                text.rfind('.').unwrap(),
                text.rfind('.').unwrap() + 1,
                text.len(),
            ] {
                let mut odd = text.clone();
                odd.insert_str(at, space);
                assert!(opened(&odd, &[key.public()]).is_err(), "{space:?} at {at}");
            }
        }
        let prefixed = format!("Bearer {text}");
        assert!(opened(&prefixed, &[key.public()]).is_err() && !looks_like(&prefixed));
        // The alphabet of base64; a last letter whose left-over bits are not zero.
        let odd = text.replace('-', "+").replace('_', "/");
        assert_eq!(opened(&odd, &[key.public()]).is_ok(), odd == text);
        let last = text.chars().last().unwrap();
        let others = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
        for other in others.filter(|other| *other != last) {
            let odd = format!("{}{other}", &text[..text.len() - 1]);
            assert!(opened(&odd, &[key.public()]).is_err(), "{other} for {last}");
        }
    }
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `ORDER - number`.
fn negated(number: &[u8]) -> [u8; 32] {
    let mut result = [0; 32];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let left = i16::from(ORDER[at]) - i16::from(number[at]) - borrow;
        borrow = i16::from(left < 0);
        result[at] = u8::try_from(left.rem_euclid(256)).unwrap();
    }
    result
}

/// A number as DER writes it.
fn der_integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let bare = &number[zeros..];
    let front: &[u8] = if bare[0] >= 0x80 { &[0] } else { &[] };
    let length = u8::try_from(bare.len() + front.len()).unwrap();
    [&[2, length], front, bare].concat()
}

#[test]
fn numbers_of_ecdsa() {
    let key = signing(Algorithm::Es256);
    let text = token(&key);
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let signature = base64url::decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let with = |signature: &[u8]| opened(&format!("{signed}.{}", b64(signature)), &[key.public()]);
    // The "psychic" signature: zeros, and the order, which is zero again (CVE-2022-21449).
    let (zero, one) = ([0; 32], {
        let mut one = [0; 32];
        one[31] = 1;
        one
    });
    for first in [&zero[..], &one, &ORDER, &[0xff; 32], r] {
        for second in [&zero[..], &one, &ORDER, &[0xff; 32]] {
            assert_eq!(with(&[first, second].concat()), Err(Flaw::Signature));
        }
        assert_eq!(with(&[first, s].concat()).is_ok(), first == r);
    }
    let inside = [der_integer(r), der_integer(s)].concat();
    let der = [&[0x30, u8::try_from(inside.len()).unwrap()], &inside[..]].concat();
    assert_eq!(with(&der), Err(Flaw::Signature), "DER");
    for other in [
        [s, r].concat(),
        [&[0], r, &[0], s].concat(),
        [r, s, &[0]].concat(),
        r.to_vec(),
        [r, s, r, s].concat(),
    ] {
        assert_eq!(with(&other), Err(Flaw::Signature));
    }
    // With -s instead of s a signature is as good as before: that is ECDSA (FIPS 186-5, section 6.4.2). A token is known by its
    // `jti` and its session, and nothing of ours is found by the letters of its signature.
    assert_eq!(with(&[r, &negated(s)].concat()), Ok(claims()));
    assert_eq!(with(&[&negated(r), s].concat()), Err(Flaw::Signature));
}

#[test]
fn numbers_of_the_others() {
    let key = signing(Algorithm::EdDsa);
    let text = token(&key);
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let signature = base64url::decode(signature).unwrap();
    let with = |signature: &[u8]| opened(&format!("{signed}.{}", b64(signature)), &[key.public()]);
    // The order of the curve added to S, which is the same number (RFC 8032, section 8.4).
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut more = signature.clone();
    let mut carry = 0;
    for at in 0..32 {
        let sum = u16::from(more[32 + at]) + u16::from(L[at]) + carry;
        more[32 + at] = u8::try_from(sum % 256).unwrap();
        carry = sum / 256;
    }
    for other in [more, vec![0; 64], signature[..63].to_vec(), [&signature[..], &[0]].concat()] {
        assert_eq!(with(&other), Err(Flaw::Signature));
    }
    let key = signing(Algorithm::Rs256);
    let text = token(&key);
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let signature = base64url::decode(signature).unwrap();
    let with = |signature: &[u8]| opened(&format!("{signed}.{}", b64(signature)), &[key.public()]);
    let mut one = vec![0; 256];
    one[255] = 1;
    for other in
        [one, vec![0; 256], vec![0xff; 256], signature[1..].to_vec(), [&[0], &signature[..]].concat()]
    {
        assert_eq!(with(&other), Err(Flaw::Signature));
    }
}

#[test]
fn members_twice() {
    for key in keys() {
        let good = claims().write();
        for (name, value) in [
            ("exp", "9999999999"),
            ("aud", "\"default/prd\""),
            ("sub", "\"eve\""),
            ("sid", "\"ses_0\""),
            ("epoch", "9"),
            ("e\\u0078p", "1"),
            ("x\":0,\"x", "1"),
        ] {
            for payload in [
                good.replacen('{', &format!("{{\"{name}\":{value},"), 1),
                format!("{},\"{name}\":{value}}}", &good[..good.len() - 1]),
            ] {
                let text = dressed(&key, &header(key.public()), &payload);
                assert_eq!(opened(&text, &[key.public()]), Err(Flaw::Claims), "{payload}");
            }
        }
    }
}

const READER: Reader<'static> =
    Reader { issuer: "https://auth.example/default/prd", audience: "default/prd", leeway: Span(0) };

fn told(claims: &Claims, now: i64) -> Option<Code> {
    READER.judge(claims, Millis(now)).err().map(|refusal| refusal.code)
}

#[test]
fn over_at_the_very_second() {
    for key in keys() {
        let read = opened(&token(&key), &[key.public()]).unwrap();
        assert_eq!(told(&read, 1_699_999_999_999), Some(Code::TokenNotYetValid));
        assert_eq!(told(&read, 1_700_000_000_000), None);
        assert_eq!(told(&read, 1_700_000_299_999), None);
        assert_eq!(told(&read, 1_700_000_300_000), Some(Code::TokenExpired));
        assert_eq!(told(&read, i64::MAX), Some(Code::TokenExpired));
    }
}

#[test]
fn another_issuer_and_another_audience() {
    let now = 1_700_000_000_000;
    for issuer in [
        "https://auth.example/default/stg",
        "https://auth.example/default/prd/",
        "https://auth.example/default/pr",
        "https://auth.example/default/prd2",
        "https://AUTH.example/default/prd",
        "http://auth.example/default/prd",
        "handstamp:default/prd",
        "",
    ] {
        let other = Claims { issuer: issuer.to_owned(), ..claims() };
        assert_eq!(told(&other, now), Some(Code::TokenMalformed), "{issuer}");
    }
    let to =
        |all: &[&str]| Claims { audience: all.iter().map(|one| (*one).to_owned()).collect(), ..claims() };
    for audience in [
        &["default"][..],
        &["default/"],
        &["default/prd/"],
        &["default/prd/x"],
        &["default/pr"],
        &["DEFAULT/PRD"],
        &["*"],
        &[""],
        &["billing", "default/stg"],
        &["default/prd default/stg"],
        &["default/prd,billing"],
    ] {
        assert_eq!(told(&to(audience), now), Some(Code::TokenAudienceMismatch), "{audience:?}");
    }
    assert_eq!(told(&to(&["billing", "default/prd"]), now), None);
}
