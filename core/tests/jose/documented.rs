//! What docs/verify-elsewhere.md shows of Rust, word by word: what is tried here is what is shown there.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use std::error::Error;

/// What an access token says, if it is genuine, for this audience, and good now.
pub(crate) fn verified(
    token: &str,
    keys: &JwkSet,
    issuer: &str,
    audience: &str,
) -> Result<Value, Box<dyn Error>> {
    let header = decode_header(token)?;
    if header.typ.as_deref() != Some("at+jwt") {
        return Err("made for another purpose".into());
    }
    let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or("made by nobody we know")?;
    let algorithm: Algorithm = key.common.key_algorithm.ok_or("a key for nothing")?.to_string().parse()?;
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    rules.validate_nbf = true;
    rules.leeway = 0;
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(key)?, &rules)?.claims)
}
