//! Keys: one key for one algorithm and one purpose (RFC 8725, section 3.1; ASVS 9.1.2).
//!
//! A [`SigningKey`] is private, has no `Debug` and is wiped by the library that holds it. A [`VerifyingKey`] is public: a point
//! of its curve, or a modulus of 2048 bits or more, checked when it is made.

use super::base64url;
use super::der::rsa_numbers;
use super::json::{Members, read_object};
use crate::device::key::PublicKey as Curve;
use crate::secret::Secret;
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use std::fmt;

/// With which a token is signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3), for consumers that know nothing else.
    Rs256,
}

impl Algorithm {
    /// All.
    pub const ALL: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

    /// As `alg` says it, byte by byte.
    pub const fn text(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Rs256 => "RS256",
        }
    }
    /// Takes back what [`Algorithm::text`] gave.
    pub fn parse(text: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.text() == text)
    }
}

/// A key's name: 1 to 64 letters of base64url. Looked up in a map; never a path, an address or a query.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kid(Box<str>);

impl Kid {
    /// Checks a name.
    pub fn parse(text: &str) -> Option<Kid> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        ((1..=64).contains(&text.len()) && text.bytes().all(good)).then(|| Kid(text.into()))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that does not do what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// Verifies signatures of one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Kid,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Curve(Curve, ParsedPublicKey),
    Rsa { n: Box<str>, e: Box<str>, parsed: ParsedPublicKey },
}

impl VerifyingKey {
    /// Its name: the thumbprint (RFC 7638), unless its JWK said another one.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The one algorithm it is for.
    pub const fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Curve(Curve::P256(_), _) => Algorithm::Es256,
            Material::Curve(Curve::Ed25519(_), _) => Algorithm::EdDsa,
            Material::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// Whether this key signed `message`. Of ECDSA r and s one after the other, 64 bytes, never DER.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let parsed = match &self.material {
            Material::Curve(_, parsed) => {
                if signature.len() != 64 {
                    return false;
                }
                parsed
            }
            Material::Rsa { parsed, .. } => parsed,
        };
        parsed.verify_sig(message, signature).is_ok()
    }

    /// Reads a public JWK (RFC 7517). It must say its algorithm (`alg`) and be for signatures; a private part, or anything else
    /// that is not understood, is refused. Without `kid` its thumbprint is its name.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn from_jwk(mut jwk: Members) -> Result<VerifyingKey, Broken> {
        let text =
            |jwk: &mut Members, name: &str| jwk.take(name).and_then(|value| value.into_text()).ok_or(Broken);
        let algorithm = Algorithm::parse(&text(&mut jwk, "alg")?).ok_or(Broken)?;
        if jwk.has("use") && text(&mut jwk, "use")? != "sig" {
            return Err(Broken);
        }
        let kid =
            if jwk.has("kid") { Some(Kid::parse(&text(&mut jwk, "kid")?).ok_or(Broken)?) } else { None };
        let kind = text(&mut jwk, "kty")?;
        let bytes = |jwk: &mut Members, name: &str| base64url::decode(&text(jwk, name)?).ok_or(Broken);
        let key = match (kind.as_str(), algorithm) {
            ("RSA", Algorithm::Rs256) => VerifyingKey::rsa(&bytes(&mut jwk, "n")?, &bytes(&mut jwk, "e")?),
            ("OKP", Algorithm::EdDsa) if text(&mut jwk, "crv")? == "Ed25519" => {
                Curve::from_bytes(&bytes(&mut jwk, "x")?).ok_or(Broken).and_then(VerifyingKey::curve)
            }
            ("EC", Algorithm::Es256) if text(&mut jwk, "crv")? == "P-256" => {
                let both = [bytes(&mut jwk, "x")?, bytes(&mut jwk, "y")?];
                if both.iter().any(|half| half.len() != 32) {
                    return Err(Broken);
                }
                Curve::from_bytes(&both.concat()).ok_or(Broken).and_then(VerifyingKey::curve)
            }
            _ => Err(Broken),
        }?;
        if key.algorithm() != algorithm || !jwk.is_empty() {
            return Err(Broken);
        }
        Ok(VerifyingKey { kid: kid.unwrap_or(key.kid), ..key })
    }

    /// Reads the text of a public JWK.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn parse_jwk(text: &[u8]) -> Result<VerifyingKey, Broken> {
        VerifyingKey::from_jwk(read_object(text).ok_or(Broken)?)
    }

    /// As a public JWK, with `kid`, `alg` and `use`.
    pub fn to_jwk(&self) -> String {
        let (kid, alg) = (self.kid.as_str(), self.algorithm().text());
        let [kind, rest] = self.members();
        format!(r#"{{"kty":"{kind}","kid":"{kid}","use":"sig","alg":"{alg}",{rest}}}"#)
    }

    /// Of an RSA key the modulus and the exponent, as a JWK says them (RFC 7518, section 6.3.1).
    pub const fn modulus_and_exponent(&self) -> Option<(&str, &str)> {
        match &self.material {
            Material::Rsa { n, e, .. } => Some((n, e)),
            Material::Curve(..) => None,
        }
    }

    /// The thumbprint of the key (RFC 7638, SHA-256), which is the name of keys of ours.
    fn thumbprint(&self) -> Kid {
        // The required members in the order of their names, and nothing else.
        let text = match &self.material {
            Material::Curve(curve, _) => return Kid(curve.id().to_string().into()),
            Material::Rsa { n, e, .. } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        Kid(base64url::encode(digest(&SHA256, text.as_bytes()).as_ref()).into())
    }

    fn members(&self) -> [String; 2] {
        match &self.material {
            Material::Curve(Curve::P256(both), _) => {
                let (x, y) = both.split_at(32);
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                ["EC".to_owned(), format!(r#""crv":"P-256","x":"{x}","y":"{y}""#)]
            }
            Material::Curve(Curve::Ed25519(x), _) => {
                ["OKP".to_owned(), format!(r#""crv":"Ed25519","x":"{}""#, base64url::encode(x))]
            }
            Material::Rsa { n, e, .. } => ["RSA".to_owned(), format!(r#""n":"{n}","e":"{e}""#)],
        }
    }

    fn curve(key: Curve) -> Result<VerifyingKey, Broken> {
        let parsed = key.parsed().ok_or(Broken)?;
        Ok(VerifyingKey::named(Material::Curve(key, parsed)))
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<VerifyingKey, Broken> {
        // Written in one way only (RFC 7518, section 6.3.1.1): no zeros in front.
        if n.len() < 256 || n.first() == Some(&0) || e.first().is_none_or(|first| *first == 0) {
            return Err(Broken);
        }
        let parsed = rsa::PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        let parsed = parsed.map_err(|_| Broken)?;
        let [n, e] = [n, e].map(|number| base64url::encode(number).into());
        Ok(VerifyingKey::named(Material::Rsa { n, e, parsed }))
    }

    fn named(material: Material) -> VerifyingKey {
        let key = VerifyingKey { kid: Kid(Box::default()), material };
        VerifyingKey { kid: key.thumbprint(), ..key }
    }
}

/// Makes signatures of one algorithm.
pub struct SigningKey {
    public: VerifyingKey,
    pair: Pair,
}

enum Pair {
    EdDsa(Box<Ed25519KeyPair>),
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<rsa::KeyPair>),
}

impl SigningKey {
    /// The key of a seed (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`Broken`].
    pub fn ed25519(seed: &Secret<32>) -> Result<SigningKey, Broken> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| Broken)?;
        let public = Curve::from_bytes(pair.public_key().as_ref()).ok_or(Broken)?;
        Ok(SigningKey { public: VerifyingKey::curve(public)?, pair: Pair::EdDsa(Box::new(pair)) })
    }

    /// The key of a number below the order of P-256.
    ///
    /// # Errors
    /// [`Broken`] of zero and of what is not below the order: draw again.
    pub fn es256(number: &Secret<32>) -> Result<SigningKey, Broken> {
        let private = PrivateKey::from_private_key(&ECDH_P256, number.expose()).map_err(|_| Broken)?;
        let point = private.compute_public_key().map_err(|_| Broken)?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            number.expose(),
            point.as_ref(),
        );
        let pair = pair.map_err(|_| Broken)?;
        // 4, then both coordinates.
        let both = point.as_ref().split_first().filter(|(form, _)| **form == 4).ok_or(Broken)?.1;
        let public = Curve::from_bytes(both).ok_or(Broken)?;
        Ok(SigningKey { public: VerifyingKey::curve(public)?, pair: Pair::Es256(Box::new(pair)) })
    }

    /// An RSA key as PKCS #8.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn rs256(pkcs8: &[u8]) -> Result<SigningKey, Broken> {
        let pair = rsa::KeyPair::from_pkcs8(pkcs8).map_err(|_| Broken)?;
        let (n, e) = rsa_numbers(pair.public_key().as_ref()).ok_or(Broken)?;
        Ok(SigningKey { public: VerifyingKey::rsa(n, e)?, pair: Pair::Rs256(Box::new(pair)) })
    }

    /// The part that everybody may have.
    pub const fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs. Of ECDSA the library draws the number that each signature needs itself (FIPS 186-5, section 6.3), which is the one
    /// place in this crate where something is drawn; nothing is decided by it.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Broken> {
        match &self.pair {
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Es256(pair) => {
                let signature = pair.sign_digest(&digest(&SHA256, message)).map_err(|_| Broken)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let done = pair.sign_digest(&RSA_PKCS1_SHA256, &digest(&SHA256, message), &mut signature);
                done.map(|()| signature).map_err(|_| Broken)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer;

    fn ed25519() -> SigningKey {
        SigningKey::ed25519(&Secret::new([7; 32])).unwrap()
    }
    fn es256() -> SigningKey {
        SigningKey::es256(&Secret::new([7; 32])).unwrap()
    }
    fn rs256() -> SigningKey {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        SigningKey::rs256(pair.as_der().unwrap().as_ref()).unwrap()
    }

    #[test]
    fn every_key_verifies_what_it_signed_and_nothing_else() {
        let keys = [ed25519(), es256(), rs256()];
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(key.public().algorithm(), Algorithm::ALL[at]);
            let signature = key.sign(b"message").unwrap();
            for (other, public) in keys.iter().map(SigningKey::public).enumerate() {
                assert_eq!(public.verifies(b"message", &signature), at == other);
                assert!(!public.verifies(b"massage", &signature));
            }
            for bit in [0, 9, signature.len() * 8 - 1] {
                let mut changed = signature.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.public().verifies(b"message", &changed));
            }
            for wrong in
                [&[][..], &signature[1..], &[signature.as_slice(), &[0]].concat(), &[0; 64], &[0; 256]]
            {
                assert!(!key.public().verifies(b"message", wrong));
            }
        }
    }

    #[test]
    fn public_keys_survive_as_jwk() {
        for key in [ed25519(), es256(), rs256()] {
            let text = key.public().to_jwk();
            let again = VerifyingKey::parse_jwk(text.as_bytes()).unwrap();
            assert_eq!((again.kid(), again.to_jwk()), (key.public().kid(), text.clone()));
            assert!(again.verifies(b"m", &key.sign(b"m").unwrap()));
            assert_eq!(again.kid().as_str().len(), 43);
            let unnamed = text.replace(&format!(r#""kid":"{}","#, key.public().kid()), "");
            assert_eq!(VerifyingKey::parse_jwk(unnamed.as_bytes()).unwrap().kid(), key.public().kid());
            for (from, to) in [
                (r#""use":"sig""#, r#""use":"enc""#),
                (r#""use":"sig""#, r#""use":"sig","d":"AAAA""#),
                (r#""use":"sig""#, r#""use":"sig","x5c":[]"#),
                (r#""alg":"#, r#""alg":"HS256","olg":"#),
                (r#""alg":"#, r#""olg":"#),
                (r#""kty":""#, r#""kty":"x"#),
                (r#""kid":""#, r#""kid":"../"#),
            ] {
                assert!(text.contains(from));
                assert!(
                    VerifyingKey::parse_jwk(text.replace(from, to).as_bytes()).is_err(),
                    "{from} -> {to}"
                );
            }
        }
    }

    #[test]
    fn a_key_is_for_the_algorithm_of_its_kind() {
        for key in [ed25519(), es256(), rs256()] {
            let text = key.public().to_jwk();
            for alg in
                ["EdDSA", "ES256", "RS256", "ES384", "PS256", "RS512", "HS256", "none", "eddsa", "EdDSA "]
            {
                let said = text.replace(
                    &format!(r#""alg":"{}""#, key.public().algorithm().text()),
                    &format!(r#""alg":"{alg}""#),
                );
                let reads = VerifyingKey::parse_jwk(said.as_bytes()).is_ok();
                assert_eq!(reads, alg == key.public().algorithm().text(), "{alg} of {text}");
            }
        }
    }

    #[test]
    fn numbers_that_are_no_keys() {
        // Zero, and the order of the curve and above.
        assert!(SigningKey::es256(&Secret::new([0; 32])).is_err());
        assert!(SigningKey::es256(&Secret::new([0xff; 32])).is_err());
        assert!(SigningKey::rs256(b"").is_err() && SigningKey::rs256(&[0x30; 40]).is_err());
        assert!(VerifyingKey::rsa(&[0xff; 128], &[1, 0, 1]).is_err(), "1024 bits");
        assert!(VerifyingKey::rsa(&[&[0][..], &[0xff; 256]].concat(), &[1, 0, 1]).is_err());
        for e in [&[][..], &[0, 3]] {
            assert!(VerifyingKey::rsa(&[0xff; 256], e).is_err());
        }
        for text in ["", "a b", "a.b", "../x", "é", &"k".repeat(65)] {
            assert_eq!(Kid::parse(text), None, "{text}");
        }
        assert!(Kid::parse(&"k".repeat(64)).is_some());
    }
}
