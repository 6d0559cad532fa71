//! A text that only holders of one secret key can read: compact JWE (RFC 7516, section 7.1), `dir` with `A256GCM`.
//!
//! The key is used as it is (`dir`), so that whoever can open it could also have made it: opening is authentication among key
//! holders, which public-key encryption is not. Random nonces of 96 bits may be drawn 2^32 times under one key (NIST SP 800-38D,
//! section 8.3); who seals counts, and takes another key in time.

use super::json::{Members, read_object, write_text};
use super::jws::is_type;
use super::key::{Broken, Kid};
use super::{Flaw, LONGEST, base64url};
use crate::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// How long nonce and tag are.
const NONCE: usize = 12;
const TAG: usize = 16;

/// A secret key, by its name.
pub struct SealingKey {
    kid: Kid,
    key: LessSafeKey,
    secret: Secret<32>,
}

impl SealingKey {
    /// Keeps 32 random bytes under a name.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn new(kid: Kid, secret: Secret<32>) -> Result<SealingKey, Broken> {
        let key = UnboundKey::new(&AES_256_GCM, secret.expose()).map_err(|_| Broken)?;
        Ok(SealingKey { kid, key: LessSafeKey::new(key), secret })
    }

    /// Reads what [`SealingKey::to_jwk`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn from_jwk(mut jwk: Members) -> Result<SealingKey, Broken> {
        let mut text = |name: &str| jwk.take(name).and_then(|value| value.into_text()).ok_or(Broken);
        let said = [text("kty")?, text("use")?, text("alg")?, text("enc")?];
        let (kid, k) = (Kid::parse(&text("kid")?).ok_or(Broken)?, text("k")?);
        if said != ["oct", "enc", "dir", "A256GCM"] || !jwk.is_empty() {
            return Err(Broken);
        }
        SealingKey::new(kid, Secret::new(base64url::decode_to(&k).ok_or(Broken)?))
    }

    /// Its name.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// As a JWK (RFC 7518, section 6.4), for holders of the environment's keys alone.
    pub fn to_jwk(&self) -> String {
        let k = base64url::encode(self.secret.expose());
        format!(r#"{{"kty":"oct","kid":"{}","use":"enc","alg":"dir","enc":"A256GCM","k":"{k}"}}"#, self.kid)
    }

    /// Seals `plain` for one purpose. `nonce` must never come twice under this key.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn seal(&self, typ: &str, plain: &[u8], nonce: [u8; NONCE]) -> Result<String, Broken> {
        let mut header = r#"{"alg":"dir","enc":"A256GCM","kid":"#.to_owned();
        write_text(self.kid.as_str(), &mut header);
        header.push_str(r#","typ":"#);
        write_text(typ, &mut header);
        header.push('}');
        let header = base64url::encode(header.as_bytes());
        let mut sealed = plain.to_vec();
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| Broken)?;
        // The second segment is that of a wrapped key, and there is none.
        let [nonce, sealed, tag] = [&nonce[..], &sealed, tag.as_ref()].map(base64url::encode);
        Ok(format!("{header}..{nonce}.{sealed}.{tag}"))
    }
}

/// A text of the right form, not opened yet.
pub struct Sealed<'a> {
    kid: Kid,
    header: &'a str,
    nonce: [u8; NONCE],
    /// Ciphertext, then the tag.
    sealed: Vec<u8>,
}

impl<'a> Sealed<'a> {
    /// Reads the header of a text that must be for `typ`. It says what ours say and nothing else: `zip`, `crit`, `p2c`, `epk`
    /// are refused before anything is computed.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn read(text: &'a str, typ: &str) -> Result<Sealed<'a>, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::TooLong);
        }
        let mut segments = text.split('.');
        let mut next = || segments.next().ok_or(Flaw::Form);
        let (header, wrapped, nonce, sealed, tag) = (next()?, next()?, next()?, next()?, next()?);
        if segments.next().is_some() || !wrapped.is_empty() {
            return Err(Flaw::Form);
        }
        let mut said = base64url::decode(header).and_then(|bytes| read_object(&bytes)).ok_or(Flaw::Header)?;
        let mut take = |name: &str| said.take(name).and_then(|value| value.into_text()).ok_or(Flaw::Header);
        let (alg, enc, kid, purpose) = (take("alg")?, take("enc")?, take("kid")?, take("typ")?);
        if alg != "dir" || enc != "A256GCM" {
            return Err(Flaw::Algorithm);
        }
        let kid = Kid::parse(&kid).filter(|_| said.is_empty()).ok_or(Flaw::Header)?;
        if !is_type(&purpose, typ) {
            return Err(Flaw::Type);
        }
        let nonce = base64url::decode_to(nonce).ok_or(Flaw::Form)?;
        let mut sealed = base64url::decode(sealed).ok_or(Flaw::Form)?;
        // A tag that was cut short is easier to guess.
        sealed.extend_from_slice(&base64url::decode_to::<TAG>(tag).ok_or(Flaw::Form)?);
        Ok(Sealed { kid, header, nonce, sealed })
    }

    /// The key it names.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// What is in it.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn open(mut self, key: &SealingKey) -> Result<Vec<u8>, Flaw> {
        if key.kid != self.kid {
            return Err(Flaw::Key);
        }
        let (nonce, aad) = (Nonce::assume_unique_for_key(self.nonce), Aad::from(self.header.as_bytes()));
        let length = key.key.open_in_place(nonce, aad, &mut self.sealed).map_err(|_| Flaw::Signature)?.len();
        self.sealed.truncate(length);
        Ok(self.sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(Kid::parse("k1").unwrap(), Secret::new([byte; 32])).unwrap()
    }
    fn opened(text: &str, key: &SealingKey) -> Result<Vec<u8>, Flaw> {
        Sealed::read(text, "session+jwe")?.open(key)
    }
    fn with_header(text: &str, header: &str) -> String {
        let (_, rest) = text.split_once('.').unwrap();
        format!("{}.{rest}", base64url::encode(header.as_bytes()))
    }

    #[test]
    fn what_was_sealed_is_read_by_its_key_alone() {
        let text = key(1).seal("session+jwe", b"{\"plan\":\"pro\"}", [9; 12]).unwrap();
        assert_eq!(opened(&text, &key(1)).as_deref(), Ok(&b"{\"plan\":\"pro\"}"[..]));
        assert_eq!(opened(&text, &key(2)), Err(Flaw::Signature));
        let other = SealingKey::new(Kid::parse("k2").unwrap(), Secret::new([1; 32])).unwrap();
        assert_eq!(opened(&text, &other), Err(Flaw::Key));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(opened(std::str::from_utf8(&changed).unwrap(), &key(1)).is_err(), "{at}");
        }
        let again = key(1).seal("session+jwe", b"{\"plan\":\"max\"}", [8; 12]).unwrap();
        let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (one, two) = (parts(&text), parts(&again));
        for at in 2..5 {
            let mut mixed = one.clone();
            mixed[at].clone_from(&two[at]);
            assert_eq!(opened(&mixed.join("."), &key(1)), Err(Flaw::Signature), "{at}");
        }
        for bad in [
            one[..4].join("."),
            format!("{text}.x"),
            text.replacen("..", ".AAAA.", 1),
            text.replacen("..", ".", 1),
        ] {
            assert_eq!(opened(&bad, &key(1)), Err(Flaw::Form), "{bad}");
        }
    }

    #[test]
    fn keys_survive_as_jwk() {
        let text = key(1).to_jwk();
        let read = |text: &str| SealingKey::from_jwk(read_object(text.as_bytes()).unwrap());
        let sealed = key(1).seal("session+jwe", b"{}", [9; 12]).unwrap();
        assert_eq!(opened(&sealed, &read(&text).unwrap()).as_deref(), Ok(&b"{}"[..]));
        for (from, to) in [
            ("oct", "RSA"),
            ("\"enc\",\"alg\"", "\"sig\",\"alg\""),
            ("dir", "A256KW"),
            ("A256GCM", "A128GCM"),
            ("\"k1\"", "\"../k\""),
            ("\"kid\"", "\"x5c\":[],\"kid\""),
            ("\"k\":\"A", "\"k\":\""),
            ("\"k\":", "\"q\":"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(read(&text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn lengths_of_nonce_and_tag_are_fixed() {
        let text = key(1).seal("session+jwe", b"{}", [9; 12]).unwrap();
        let parts: Vec<&str> = text.split('.').collect();
        for (nonce, tag) in [(0, 16), (8, 16), (16, 16), (12, 0), (12, 12), (12, 15), (12, 17)] {
            let cut = |part: &str, length: usize| {
                let mut bytes = base64url::decode(part).unwrap();
                bytes.resize(length, 0);
                base64url::encode(&bytes)
            };
            let text = format!("{}..{}.{}.{}", parts[0], cut(parts[2], nonce), parts[3], cut(parts[4], tag));
            assert_eq!(opened(&text, &key(1)), Err(Flaw::Form), "{nonce} {tag}");
        }
    }

    #[test]
    fn a_header_says_four_things() {
        let text = key(1).seal("session+jwe", b"{}", [9; 12]).unwrap();
        let good = r#"{"alg":"dir","enc":"A256GCM","kid":"k1","typ":"session+jwe"}"#;
        assert!(opened(&with_header(&text, good), &key(1)).is_ok());
        for (from, to, flaw) in [
            ("dir", "A256KW", Flaw::Algorithm),
            ("dir", "RSA-OAEP", Flaw::Algorithm),
            ("dir", "RSA1_5", Flaw::Algorithm),
            ("dir", "ECDH-ES", Flaw::Algorithm),
            ("dir", "PBES2-HS256+A128KW", Flaw::Algorithm),
            ("dir", "none", Flaw::Algorithm),
            ("A256GCM", "A128GCM", Flaw::Algorithm),
            ("A256GCM", "A256CBC-HS512", Flaw::Algorithm),
            ("session+jwe", "at+jwt", Flaw::Type),
            ("\"k1\"", "\"a/b\"", Flaw::Header),
            ("\"k1\"", "1", Flaw::Header),
            ("\"kid\"", "\"zip\":\"DEF\",\"kid\"", Flaw::Header),
            ("\"kid\"", "\"crit\":[],\"kid\"", Flaw::Header),
            ("\"kid\"", "\"p2c\":4096,\"kid\"", Flaw::Header),
            ("\"kid\"", "\"epk\":{},\"kid\"", Flaw::Header),
            ("\"kid\"", "\"kid\":\"k1\",\"kid\"", Flaw::Header),
        ] {
            assert_eq!(opened(&with_header(&text, &good.replacen(from, to, 1)), &key(1)), Err(flaw), "{to}");
        }
    }
}
