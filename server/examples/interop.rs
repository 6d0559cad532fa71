//! The Rust side of the `interop` step of ./test; it is no part of the product, and never built with it. Reads one request as
//! JSON from standard input, and answers in JSON on standard output.
//!
//! Signing keys never leave the server. Whoever has the store and its master key has them all the same: the step made both
//! itself, and this takes the keys out of a copy of the store as the server does when it starts.

use handstamp_core::id::EnvironmentId;
use handstamp_core::jose::base64url;
use handstamp_core::jose::claims::{Claims, DATA_TYPE, TYPE};
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::{Kid, VerifyingKey};
use handstamp_core::sealing::unwrap_bytes;
use handstamp_core::secret::Secret;
use handstamp_core::signing::Job;
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::codec::token_keys::{read_token_keys, token_keys_key, token_keys_of, wrapping};
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{Query, Store};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::path::Path;

#[path = "../../core/tests/jose/documented.rs"]
mod documented;

type Whatever<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Whatever<()> {
    let ask: Value = serde_json::from_reader(std::io::stdin())?;
    let answer = match text(&ask, "do")? {
        "keys" => keys(&ask).await?,
        "sign" => json!({ "token": sign(&ask)? }),
        "verify" => said(verify(&ask)),
        "read" => said(read(&ask)),
        "open" => said(open(&ask)),
        other => return Err(format!("nothing is called {other}").into()),
    };
    Ok(writeln!(std::io::stdout(), "{answer}")?)
}

fn text<'a>(ask: &'a Value, name: &str) -> Whatever<&'a str> {
    Ok(ask[name].as_str().ok_or_else(|| format!("no {name}"))?)
}

fn said(outcome: Whatever<Value>) -> Value {
    match outcome {
        Ok(value) => json!({ "good": value }),
        Err(why) => json!({ "bad": why.to_string() }),
    }
}

/// Every key of a store: its name, its algorithm, and its secret part in base64url (of RSA the PKCS #8).
async fn keys(ask: &Value) -> Whatever<Value> {
    let hex = text(ask, "master")?;
    let mut master = [0; 32];
    for (byte, at) in master.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2).ok_or("a short master key")?, 16)?;
    }
    // The purpose that the server wraps keys for.
    let wrapping_key = MasterKey::new(master).derive("wrap");
    let store = Sqlite::open(Path::new(text(ask, "store")?), &Options::default())?;
    let space = token_keys_key(EnvironmentId(0)).space;
    let query = Query { space, all: Vec::new(), from: None, until: None, cursor: None, limit: 100 };
    let mut found = Vec::new();
    for record in store.search(&query).await?.items {
        let env = token_keys_of(&record.record.key)?;
        for key in read_token_keys(&record)? {
            let secret = unwrap_bytes(&wrapping_key, &wrapping(env, &key.kid, key.job), &key.wrapped);
            let secret = secret.map_err(|_| "a key does not open")?;
            let algorithm = if key.job == Job::Data { "dir" } else { key.job.algorithm() };
            let secret = base64url::encode(&secret);
            found.push(json!({ "kid": *key.kid, "alg": algorithm, "secret": secret }));
        }
    }
    store.close().await;
    Ok(json!({ "keys": found }))
}

/// Signs with `jsonwebtoken`.
fn sign(ask: &Value) -> Whatever<String> {
    let secret = base64url::decode(text(ask, "secret")?).ok_or("no base64url")?;
    let mut header = Header::new(text(ask, "alg")?.parse()?);
    header.typ = Some(text(ask, "typ")?.to_owned());
    header.kid = Some(text(ask, "kid")?.to_owned());
    let key = match text(ask, "alg")? {
        "EdDSA" => EncodingKey::from_ed_der(&secret),
        "ES256" => EncodingKey::from_ec_der(&secret),
        _ => EncodingKey::from_rsa_der(&secret),
    };
    Ok(encode(&header, &ask["claims"], &key)?)
}

/// Verifies with `jsonwebtoken`, as the documents say.
fn verify(ask: &Value) -> Whatever<Value> {
    let keys = serde_json::from_value(ask["jwks"].clone())?;
    documented::verified(text(ask, "token")?, &keys, text(ask, "issuer")?, text(ask, "audience")?)
}

/// Verifies with what the server verifies with.
fn read(ask: &Value) -> Whatever<Value> {
    let token = Unverified::read(text(ask, "token")?, TYPE).map_err(|flaw| format!("{flaw:?}"))?;
    let keys = ask["jwks"]["keys"].as_array().ok_or("no keys")?;
    let named = keys.iter().find(|key| key["kid"] == token.kid().as_str()).ok_or("an unknown key")?;
    let key = VerifyingKey::parse_jwk(named.to_string().as_bytes()).map_err(|_| "not a key of ours")?;
    let payload = token.verify(&key).map_err(|flaw| format!("{flaw:?}"))?;
    let claims = Claims::read(&payload).map_err(|flaw| format!("{flaw:?}"))?;
    Ok(serde_json::from_str(&claims.write())?)
}

/// Opens sealed data with what the server opens it with.
fn open(ask: &Value) -> Whatever<Value> {
    let secret = base64url::decode_to(text(ask, "secret")?).ok_or("not 32 bytes")?;
    let kid = Kid::parse(text(ask, "kid")?).ok_or("no name")?;
    let key = SealingKey::new(kid, Secret::new(secret)).map_err(|_| "no key")?;
    let sealed = Sealed::read(text(ask, "data")?, DATA_TYPE).map_err(|flaw| format!("{flaw:?}"))?;
    Ok(serde_json::from_slice(&sealed.open(&key).map_err(|flaw| format!("{flaw:?}"))?)?)
}
