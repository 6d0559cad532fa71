//! Keys, and texts in the right dress.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use handstamp_core::id::{Bucket, SessionId};
use handstamp_core::jose::claims::Claims;
use handstamp_core::jose::json::Members;
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::{Algorithm, SigningKey, VerifyingKey};
use handstamp_core::jose::{Flaw, base64url};
use handstamp_core::secret::Secret;
use handstamp_core::time::Millis;
use std::sync::LazyLock;

pub(crate) fn b64(bytes: &[u8]) -> String {
    base64url::encode(bytes)
}

/// An RSA key takes long to make: one for all tests, as PKCS #8.
pub(crate) static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    pair.as_der().unwrap().as_ref().to_vec()
});

/// The secret of the keys on curves.
pub(crate) const SECRET: [u8; 32] = [7; 32];

pub(crate) fn signing(algorithm: Algorithm) -> SigningKey {
    match algorithm {
        Algorithm::EdDsa => SigningKey::ed25519(&Secret::new(SECRET)),
        Algorithm::Es256 => SigningKey::es256(&Secret::new(SECRET)),
        Algorithm::Rs256 => SigningKey::rs256(&RSA),
    }
    .unwrap()
}

/// One of each kind.
pub(crate) fn keys() -> [SigningKey; 3] {
    Algorithm::ALL.map(signing)
}

pub(crate) fn okp_jwk(x: &[u8]) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"{}"}}"#, b64(x))
}

/// Of an uncompressed point.
pub(crate) fn ec_jwk(point: &[u8]) -> String {
    let (form, both) = point.split_first().unwrap();
    assert_eq!((*form, both.len()), (4, 64));
    let (x, y) = both.split_at(32);
    format!(r#"{{"kty":"EC","crv":"P-256","alg":"ES256","x":"{}","y":"{}"}}"#, b64(x), b64(y))
}

/// Without the zeros in front that some write.
pub(crate) fn rsa_jwk(n: &[u8], e: &[u8]) -> String {
    let bare = |number: &[u8]| b64(&number[number.iter().take_while(|byte| **byte == 0).count()..]);
    format!(r#"{{"kty":"RSA","alg":"RS256","n":"{}","e":"{}"}}"#, bare(n), bare(e))
}

/// The header that we write.
pub(crate) fn header(key: &VerifyingKey) -> String {
    format!(r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#, key.algorithm().text(), key.kid())
}

/// Truly signed by this key, whatever header and payload say.
pub(crate) fn dressed(key: &SigningKey, header: &str, payload: &str) -> String {
    let text = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    let signature = key.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", b64(&signature))
}

/// As whoever verifies access tokens opens them: the key is found by the name that the token says.
pub(crate) fn opened(text: &str, trusted: &[&VerifyingKey]) -> Result<Claims, Flaw> {
    let token = Unverified::read(text, "at+jwt")?;
    let key = trusted.iter().find(|key| key.kid() == token.kid()).ok_or(Flaw::Key)?;
    Claims::read(&token.verify(key)?)
}

pub(crate) fn claims() -> Claims {
    Claims {
        issuer: "https://auth.example/default/prd".to_owned(),
        audience: vec!["default/prd".to_owned()],
        subject: "ada".to_owned(),
        session: SessionId::new(Millis(1_700_000_000_000), Bucket::new(7), [3; 9]),
        issued_at: 1_700_000_000,
        not_before: 1_700_000_000,
        expires_at: 1_700_000_300,
        id: "j1".to_owned(),
        tags: vec!["role:admin".to_owned()],
        groups: vec!["eu".to_owned()],
        methods: vec!["pwd".to_owned()],
        level: Some(2),
        authenticated_at: Millis(1_699_999_999_123),
        actor: None,
        epoch: 4,
        data: None,
        status: None,
        custom: Members::default(),
    }
}
