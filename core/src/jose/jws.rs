//! A signature around a text: compact JWS (RFC 7515, section 7.1), with the one header that we write.
//!
//! ```text
//! {"alg": of the key, "kid": its name, "typ": what it is for}
//! ```
//!
//! Nothing else may stand there: what is not understood could change what the signature says (`crit`, `b64`, `zip`) or where the
//! key comes from (`jwk`, `jku`, `x5u`, `x5c`), and is refused before anything is computed.

use super::json::{read_object, write_text};
use super::key::{Broken, Kid, SigningKey, VerifyingKey};
use super::{Flaw, LONGEST, base64url};

/// Signs `payload` for one purpose: `typ`, as in `at+jwt`.
///
/// # Errors
/// [`Broken`].
pub fn sign(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<String, Broken> {
    let mut header = format!(r#"{{"alg":"{}","kid":"#, key.public().algorithm().text());
    write_text(key.public().kid().as_str(), &mut header);
    header.push_str(r#","typ":"#);
    write_text(typ, &mut header);
    header.push('}');
    let mut text = base64url::encode(header.as_bytes());
    text.push('.');
    text.push_str(&base64url::encode(payload));
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    text.push_str(&base64url::encode(&signature));
    Ok(text)
}

/// A text of the right form. Nothing that it says can be had before its signature was verified, but the name of its key.
pub struct Unverified<'a> {
    algorithm: String,
    kid: Kid,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// Whether a text could be a token of this form at all: three segments. Costs nothing.
pub fn looks_like(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Unverified<'a> {
    /// Reads the header of a text that must be for `typ`.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn read(text: &'a str, typ: &str) -> Result<Unverified<'a>, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Flaw::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(Flaw::Form)?;
        // A third dot would be in the payload, whose letters are looked at below: there it is no letter of base64url.
        let signature = base64url::decode(signature).filter(|bytes| !bytes.is_empty()).ok_or(Flaw::Form)?;
        let header = base64url::decode(header).ok_or(Flaw::Form)?;
        if payload.contains('.') {
            return Err(Flaw::Form);
        }
        let mut header = read_object(&header).ok_or(Flaw::Header)?;
        let mut take = |name: &str| header.take(name).and_then(|value| value.into_text()).ok_or(Flaw::Header);
        let (algorithm, kid, purpose) = (take("alg")?, take("kid")?, take("typ")?);
        let kid = Kid::parse(&kid).ok_or(Flaw::Header)?;
        if !header.is_empty() {
            return Err(Flaw::Header);
        }
        if !is_type(&purpose, typ) {
            return Err(Flaw::Type);
        }
        Ok(Unverified { algorithm, kid, signed, payload, signature })
    }

    /// The key it names.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// What it says, if `key` signed it. The key, not the text, says the algorithm.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn verify(self, key: &VerifyingKey) -> Result<Vec<u8>, Flaw> {
        if *key.kid() != self.kid {
            return Err(Flaw::Key);
        }
        if self.algorithm != key.algorithm().text() {
            return Err(Flaw::Algorithm);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(Flaw::Signature);
        }
        base64url::decode(self.payload).ok_or(Flaw::Form)
    }
}

/// Media types are compared without regard to case, and `application/` may be left out (RFC 7515, section 4.1.9).
pub(super) fn is_type(said: &str, expected: &str) -> bool {
    let bare = match said.split_at_checked("application/".len()) {
        Some((front, rest)) if front.eq_ignore_ascii_case("application/") => rest,
        _ => said,
    };
    bare.eq_ignore_ascii_case(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key(byte: u8) -> SigningKey {
        SigningKey::ed25519(&Secret::new([byte; 32])).unwrap()
    }
    fn opened(text: &str, key: &SigningKey) -> Result<Vec<u8>, Flaw> {
        Unverified::read(text, "at+jwt")?.verify(key.public())
    }
    /// Signed by this key, whatever the header says.
    fn forged(key: &SigningKey, header: &str) -> String {
        let text = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(b"{}"));
        format!("{text}.{}", base64url::encode(&key.sign(text.as_bytes()).unwrap()))
    }

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let (key, stranger) = (key(1), key(2));
        let text = sign(&key, "at+jwt", b"{\"a\":1}").unwrap();
        assert!(looks_like(&text));
        assert_eq!(opened(&text, &key).as_deref(), Ok(&b"{\"a\":1}"[..]));
        assert_eq!(opened(&text, &stranger), Err(Flaw::Key));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(opened(std::str::from_utf8(&changed).unwrap(), &key).is_err(), "{at}");
            assert!(opened(&text[..at], &key).is_err() && opened(&text[at + 1..], &key).is_err());
        }
        let other = sign(&key, "at+jwt", b"{\"a\":2}").unwrap();
        let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (one, two) = (parts(&text), parts(&other));
        assert_eq!(opened(&format!("{}.{}.{}", one[0], two[1], one[2]), &key), Err(Flaw::Signature));
        for odd in [
            format!("{text}."),
            format!("{text}.x"),
            format!(".{text}"),
            text.replace('.', ".."),
            format!("{text}="),
        ] {
            assert!(opened(&odd, &key).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_header_says_three_things() {
        let key = key(1);
        let kid = key.public().kid().as_str();
        let good = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}}"#);
        assert!(opened(&forged(&key, &good), &key).is_ok());
        for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert!(opened(&forged(&key, &good.replace("at+jwt", typ)), &key).is_ok(), "{typ}");
        }
        for typ in [
            "JWT",
            "",
            "at+jwt ",
            "text/at+jwt",
            "session+jwe",
            "application/",
            "application/application/at+jwt",
        ] {
            assert_eq!(opened(&forged(&key, &good.replace("at+jwt", typ)), &key), Err(Flaw::Type), "{typ}");
        }
        for alg in ["none", "None", "nOnE", "", "HS256", "ES256", "RS256", "Ed25519", "eddsa", "EdDSA "] {
            assert_eq!(
                opened(&forged(&key, &good.replace("EdDSA", alg)), &key),
                Err(Flaw::Algorithm),
                "{alg}"
            );
        }
        for more in [
            r#""jwk":{}"#,
            r#""jku":"https://a.example"#,
            r#""x5u":"""#,
            r#""x5c":[]"#,
            r#""crit":["exp"]"#,
            r#""zip":"DEF""#,
            r#""p2c":1"#,
            r#""b64":false"#,
            r#""cty":"JWT""#,
            r#""alg":"EdDSA""#,
            r#""enc":"A256GCM""#,
        ] {
            let header = good.replacen('{', &format!("{{{more},"), 1);
            assert_eq!(opened(&forged(&key, &header), &key), Err(Flaw::Header), "{more}");
        }
        for header in [
            "".to_owned(),
            "{}".to_owned(),
            "[]".to_owned(),
            good.replace(r#""alg":"EdDSA","#, ""),
            good.replace(kid, ""),
            good.replace(kid, "../../etc/passwd"),
            good.replace(r#""EdDSA""#, "null"),
            good.replace(r#""EdDSA""#, r#"["EdDSA"]"#),
        ] {
            assert_eq!(opened(&forged(&key, &header), &key), Err(Flaw::Header), "{header}");
        }
    }

    #[test]
    fn long_texts_are_not_looked_at() {
        let key = key(1);
        let most = sign(&key, "at+jwt", &[b' '; 5_900]).unwrap();
        assert!(most.len() < LONGEST && opened(&most, &key).is_ok());
        let over = sign(&key, "at+jwt", &[b' '; 6_200]).unwrap();
        assert!(over.len() > LONGEST);
        assert_eq!(opened(&over, &key), Err(Flaw::TooLong));
        assert_eq!(opened(&".".repeat(1_000_000), &key), Err(Flaw::TooLong));
        assert_eq!(opened(&".".repeat(LONGEST), &key), Err(Flaw::Form));
    }
}
