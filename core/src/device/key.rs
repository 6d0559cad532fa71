//! The public key of a device: P-256 or Ed25519, nothing else, read from a JWK (RFC 7517, RFC 7518 section 6.2, RFC 8037)
//! and named by its thumbprint (RFC 7638).

use super::base64url;
use super::object::Members;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use std::fmt;

/// A device's name: the SHA-256 thumbprint of its public key. No secret; the same wherever the key is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 32]);

impl DeviceId {
    /// Reads 43 letters of base64url; anything else is `None`.
    pub fn parse(text: &str) -> Option<DeviceId> {
        base64url::decode_to(text).map(DeviceId)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}
impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A public key that can be verified with: a point of its curve, and on Ed25519 none of the few that fit any signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublicKey {
    /// Both coordinates, big-endian, each with its leading zeros.
    P256([u8; 64]),
    /// As in RFC 8032.
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// Reads a JWK that has the members of a public key and no others: whatever else it says (`d`, `kid`, `x5u`, `alg`,
    /// `key_ops`) has no place in a proof.
    pub(super) fn from_jwk(mut jwk: Members) -> Option<PublicKey> {
        let kind = jwk.text("kty")?;
        let curve = jwk.text("crv")?;
        let x: [u8; 32] = base64url::decode_to(&jwk.text("x")?)?;
        let key = match (kind.as_str(), curve.as_str()) {
            ("EC", "P-256") => {
                let y: [u8; 32] = base64url::decode_to(&jwk.text("y")?)?;
                let mut both = [0; 64];
                both.iter_mut().zip(x.into_iter().chain(y)).for_each(|(to, from)| *to = from);
                PublicKey::P256(both)
            }
            ("OKP", "Ed25519") => PublicKey::Ed25519(x),
            _ => return None,
        };
        if jwk.is_empty() { key.checked() } else { None }
    }

    /// Takes back what [`PublicKey::bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<PublicKey> {
        if let Ok(both) = <[u8; 64]>::try_from(bytes) {
            return PublicKey::P256(both).checked();
        }
        <[u8; 32]>::try_from(bytes).ok().and_then(|point| PublicKey::Ed25519(point).checked())
    }

    /// For storage: the length says which kind it is.
    pub const fn bytes(&self) -> &[u8] {
        match self {
            PublicKey::P256(both) => both,
            PublicKey::Ed25519(point) => point,
        }
    }

    /// What people call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            PublicKey::P256(_) => "P-256",
            PublicKey::Ed25519(_) => "Ed25519",
        }
    }

    /// Whether `alg` is this key's one algorithm. `Ed25519` is the name of RFC 9864, `EdDSA` the older one.
    pub fn takes(&self, alg: &str) -> bool {
        match self {
            PublicKey::P256(_) => alg == "ES256",
            PublicKey::Ed25519(_) => alg == "Ed25519" || alg == "EdDSA",
        }
    }

    /// The device's name (RFC 7638, SHA-256).
    pub fn id(&self) -> DeviceId {
        let text = match self {
            PublicKey::P256(both) => {
                let (x, y) = both.split_at(32);
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            PublicKey::Ed25519(point) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(point))
            }
        };
        DeviceId(<[u8; 32]>::try_from(digest(&SHA256, text.as_bytes()).as_ref()).unwrap_or([0; 32]))
    }

    /// Whether this key signed `message`. Of ECDSA, r and s one after the other (RFC 7518, section 3.4), never DER.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.parsed().is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }

    fn checked(self) -> Option<PublicKey> {
        if let PublicKey::Ed25519(point) = &self
            && (!is_canonical(point) || is_small(point))
        {
            return None;
        }
        self.parsed().map(|_| self)
    }

    pub(crate) fn parsed(&self) -> Option<ParsedPublicKey> {
        let parse = |algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
            ParsedPublicKey::new(algorithm, bytes).ok()
        };
        match self {
            PublicKey::P256(both) => {
                let mut point = [4; 65];
                point.iter_mut().skip(1).zip(both).for_each(|(to, from)| *to = *from);
                parse(&ECDSA_P256_SHA256_FIXED, &point)
            }
            PublicKey::Ed25519(point) => parse(&ED25519, point),
        }
    }
}

/// The y coordinates of the eight points of small order: with such a key, one signature fits many messages.
const SMALL: [[u8; 32]; 5] = [
    little(0),
    little(1),
    // -1
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    // Of order 8.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn little(start: u8) -> [u8; 32] {
    let mut out = [0; 32];
    let [first, ..] = &mut out;
    *first = start;
    out
}

/// The y coordinate without the bit that says which x.
fn coordinate(point: &[u8; 32]) -> [u8; 32] {
    let mut y = *point;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    y
}

fn is_small(point: &[u8; 32]) -> bool {
    SMALL.contains(&coordinate(point))
}

/// Whether the coordinate is below the field's prime, 2^255 - 19: else the same point would have two texts.
fn is_canonical(point: &[u8; 32]) -> bool {
    let y = coordinate(point);
    let [first, middle @ .., last] = &y;
    !(*last == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *first >= 0xed)
}

#[cfg(test)]
mod tests {
    use super::super::object::read;
    use super::*;

    fn jwk(text: &str) -> Option<PublicKey> {
        PublicKey::from_jwk(read(text.as_bytes())?)
    }
    fn p256(x: &str, y: &str) -> Option<PublicKey> {
        jwk(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#))
    }
    fn ed25519(x: &str) -> Option<PublicKey> {
        jwk(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#))
    }

    /// RFC 7517, appendix A.1.
    const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
    /// RFC 8037, appendix A.2, and its thumbprint of A.3.
    const POINT: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const THUMB: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    #[test]
    fn good_keys_and_their_names() {
        let key = p256(X, Y).unwrap();
        assert_eq!((key.kind(), key.bytes().len()), ("P-256", 64));
        // The example of RFC 9449, section 6.1, is the thumbprint of the key of its section 4.2.
        let dpop = p256(
            "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        )
        .unwrap();
        assert_eq!(dpop.id().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        let key = ed25519(POINT).unwrap();
        assert_eq!(key.id().to_string(), THUMB);
        assert_eq!(DeviceId::parse(THUMB), Some(key.id()));
        for key in [p256(X, Y).unwrap(), key] {
            assert_eq!(PublicKey::from_bytes(key.bytes()), Some(key));
        }
        assert!(PublicKey::from_bytes(&[1; 33]).is_none() && PublicKey::from_bytes(&[]).is_none());
        assert!(DeviceId::parse("").is_none() && DeviceId::parse(&THUMB[1..]).is_none());
    }

    #[test]
    fn one_algorithm_for_one_key() {
        let (p256, ed) = (p256(X, Y).unwrap(), ed25519(POINT).unwrap());
        for alg in
            ["ES256", "EdDSA", "Ed25519", "RS256", "HS256", "ES384", "PS256", "none", "None", "", "es256"]
        {
            assert_eq!(p256.takes(alg), alg == "ES256", "{alg}");
            assert_eq!(ed.takes(alg), alg == "EdDSA" || alg == "Ed25519", "{alg}");
        }
    }

    #[test]
    fn what_is_no_public_key() {
        let zero = base64url::encode(&[0; 32]);
        assert!(
            p256(X, X).is_none() && p256(Y, X).is_none() && p256(&zero, &zero).is_none(),
            "not on the curve"
        );
        // The prime of the field and beyond: no coordinates.
        let prime = base64url::decode("_____wAAAAEAAAAAAAAAAAAAAAD_______________8").unwrap();
        assert!(p256(&base64url::encode(&prime), Y).is_none());
        assert!(
            p256(&X[..42], Y).is_none()
                && p256(&format!("{X}A"), Y).is_none()
                && p256(&format!("AAAA{X}"), Y).is_none()
        );
        assert!(p256(&format!("{X}="), Y).is_none());
        for text in [
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{X}","y":"{Y}"}}"#),
            format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{X}","y":"{Y}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"P-256","x":"{X}","y":"{Y}"}}"#),
            format!(r#"{{"kty":"EC","crv":"Ed25519","x":"{POINT}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"Ed448","x":"{POINT}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"X25519","x":"{POINT}"}}"#),
            format!(r#"{{"kty":"oct","k":"{X}"}}"#),
            format!(r#"{{"kty":"RSA","n":"{X}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}","d":"{X}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}","kid":"1"}}"#),
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{POINT}","y":"{Y}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{POINT}","d":"{X}"}}"#),
            "{}".to_owned(),
        ] {
            assert!(jwk(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn points_that_fit_any_signature_or_have_two_texts() {
        for y in SMALL {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                assert!(ed25519(&base64url::encode(&point)).is_none(), "{point:?}");
            }
        }
        for first in 0xed..=0xff_u8 {
            let mut point = [0xff; 32];
            point[0] = first;
            assert!(!is_canonical(&point), "{first}");
        }
        let mut below = [0xff; 32];
        below[0] = 0xec;
        assert!(is_canonical(&below));
    }
}
