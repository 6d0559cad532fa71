//! The calls about the keys behind access tokens: the public set for everybody, the inventory, rotation, and the data keys
//! for those who may open the data inside tokens.

use super::Web;
use super::browser::visit::{connection, env_at, host};
use super::caller::By;
use super::input::Json;
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::{document, json};
use super::wire::{PageBody, Time};
use crate::app::signing::Rotation;
use crate::app::token_keys::TokenKeys;
use axum::body::Body;
use axum::extract::{Request, State};
use handstamp_core::environment::EnvironmentName;
use handstamp_core::refusal::Code;
use handstamp_core::signing::{Job, LONGEST_DELAY, MAX_AGE, TokenKey};
use handstamp_core::time::{Millis, Span};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A key behind access tokens, as it is listed: never its secret part.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = TokenKey)]
pub struct TokenKeyBody {
    /// Its name in the header of tokens.
    kid: String,
    /// `EdDSA`, `ES256`, `RS256`, or `A256GCM` of a data key.
    algorithm: &'static str,
    /// `sign`, or `data`: it seals the data inside tokens.
    purpose: &'static str,
    /// `pending`: published and not used yet; `active`; `verify_only`: good for the tokens that are out; `removed`.
    state: &'static str,
    /// When it was made and published.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// From then on it signs.
    #[schema(value_type = String, format = DateTime)]
    activate_at: Time,
    /// From then on it signs no longer.
    #[schema(value_type = Option<String>, format = DateTime)]
    retire_at: Option<Time>,
    /// From then on it verifies nothing, and is published no longer.
    #[schema(value_type = Option<String>, format = DateTime)]
    remove_at: Option<Time>,
    /// Of a data key, how many sealings were handed out; at 2,147,483,648 it gets a successor by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealings: Option<u64>,
}

/// How a key is replaced.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "activate_in": 600, "retire_in": 86_760 }))]
pub struct RotateSigningKeyRequest {
    /// Seconds from now, when the new key is published, to its first signature. Left out: 600, in which every verifier
    /// has fetched it; 0 where there is no key of the algorithm yet.
    activate_in: Option<u64>,
    /// Seconds from the old key's last signature to its end. Left out: 86,760, longer than any token lives.
    retire_in: Option<u64>,
    /// The old key is in wrong hands: every key of the algorithm is removed at once, and the new one signs at once. Every
    /// token that is out is refused.
    emergency: Option<bool>,
    /// Which key: of which algorithm. Left out: `EdDSA`.
    #[schema(inline)]
    algorithm: Option<SigningAlgorithm>,
    /// `sign`, or `data` for the key that seals the data inside tokens. Left out: `sign`.
    #[schema(inline)]
    purpose: Option<KeyPurpose>,
}

/// What signs.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub enum SigningAlgorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA with 3072 bits, for consumers that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

/// What a key is for.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// Signs tokens.
    Sign,
    /// Seals the data inside tokens.
    Data,
}

/// A rotation that was begun.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SigningKeyRotation)]
pub struct RotationBody {
    /// The new key.
    key: TokenKeyBody,
    /// All keys as they are from now on.
    keys: Vec<TokenKeyBody>,
}

/// Reads the public keys that verify access tokens (RFC 7517).
///
/// Anybody may. A key is in it before its first signature and until its last token is dead, so a verifier that fetches
/// the set as often as `Cache-Control` says knows every key in time. The environment is that of the host, or
/// `environment`.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys", operation_id = "jwks",
    params(
        ("environment" = Option<String>, Query, description = "`product/environment`; left out: that of the host."),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the set that is known.")
    ),
    responses(
        (status = 200, description = "A set of JSON Web Keys; `ETag` names it.", body = JwksBody, content_type = "application/jwk-set+json"),
        (status = 304, description = "The set that is known.")
    )
)]
pub async fn jwks(State(web): State<Arc<Web>>, params: Params, request: Request) -> Answer {
    let env = match params.get("environment")? {
        Some(name) => {
            let name = EnvironmentName::parse(name).map_err(|why| Problem::field("environment", why))?;
            web.app.env_of_visitors(&name)?
        }
        None => {
            let connection = connection(request.extensions());
            env_at(&web, host(&web, connection, request.headers(), request.uri()))?
        }
    };
    let text = env.tokens.jwks(web.app.now());
    let tag = format!("\"{}\"", TokenKeys::jwks_tag(&text));
    let mut answer = if knows(request.headers(), &tag) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        document(SET, text)
    };
    let cache = format!("public, max-age={}, stale-if-error=86400", MAX_AGE.as_secs());
    let headers = answer.headers_mut();
    for (name, value) in [(header::ETAG, tag), (header::CACHE_CONTROL, cache)] {
        headers.insert(name, HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("")));
    }
    // Public keys are for every page; no cookie comes with a request for them.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(answer)
}

const SET: &str = "application/jwk-set+json";

/// A public set, as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = JsonWebKeySet)]
pub struct JwksBody {
    /// Signing keys: their public members alone.
    keys: Vec<JwkBody>,
}

/// A public key (RFC 7517, RFC 8037).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = JsonWebKey)]
pub struct JwkBody {
    /// Its name: the thumbprint of the key (RFC 7638).
    kid: String,
    /// `OKP`, `EC` or `RSA`.
    kty: String,
    /// Always `sig`.
    r#use: String,
    /// The one algorithm that it is for: `EdDSA`, `ES256` or `RS256`.
    alg: String,
    /// `Ed25519` or `P-256`.
    crv: Option<String>,
    /// Of `OKP` and `EC`.
    x: Option<String>,
    /// Of `EC`.
    y: Option<String>,
    /// Of `RSA`: the modulus.
    n: Option<String>,
    /// Of `RSA`: the exponent.
    e: Option<String>,
}

/// A set of data keys, as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DataKeySet)]
pub struct DataKeysBody {
    /// Keys that open the data inside access tokens.
    keys: Vec<DataKeyBody>,
}

/// A secret key (RFC 7518, 6.4).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DataKey)]
pub struct DataKeyBody {
    /// Its name in the header of what it sealed.
    kid: String,
    /// Always `oct`.
    kty: String,
    /// Always `enc`.
    r#use: String,
    /// Always `dir`.
    alg: String,
    /// Always `A256GCM`.
    enc: String,
    /// The key: a secret.
    k: String,
}

/// Lists the keys behind access tokens, the oldest first; of those that were removed, the last ones.
#[utoipa::path(
    get, path = "/v1/keys/signing", tag = "keys", operation_id = "list_signing_keys",
    responses((status = 200, description = "All of them.", body = PageBody<TokenKeyBody>))
)]
pub async fn list(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    let (keys, now) = web.app.token_keys(&caller)?;
    Ok(json(StatusCode::OK, &PageBody { items: bodies(&keys, now), next_cursor: None }))
}

/// Gives an algorithm a new key: published at once, used after `activate_in` seconds; the old one verifies for
/// `retire_in` seconds more.
///
/// With the delays that it has by itself, no token is refused because of a rotation.
#[utoipa::path(
    post, path = "/v1/keys/signing/rotate", tag = "keys", operation_id = "rotate_signing_key",
    request_body = RotateSigningKeyRequest,
    responses((status = 201, description = "The new key, and all keys.", body = RotationBody))
)]
pub async fn rotate(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<RotateSigningKeyRequest>,
) -> Answer {
    let (kid, keys) = web.app.rotate_token_key(&caller, ask.read()?).await?;
    let now = web.app.now();
    let key = keys.iter().find(|key| key.kid == kid).ok_or_else(|| Problem::code(Code::NotFound))?;
    Ok(json(StatusCode::CREATED, &RotationBody { key: body(key, now), keys: bodies(&keys, now) }))
}

/// Reads the keys that open the data inside access tokens: secrets, for backends and verifiers that open it themselves.
#[utoipa::path(
    get, path = "/v1/keys/data", tag = "keys", operation_id = "list_data_keys",
    responses((
        status = 200, description = "A set of JSON Web Keys, which nobody may keep on a disk.", body = DataKeysBody,
        content_type = "application/jwk-set+json"
    ))
)]
pub async fn data(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    let mut answer = document(SET, web.app.data_keys(&caller)?);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

impl RotateSigningKeyRequest {
    fn read(self) -> Result<Rotation, Problem> {
        let job = match (self.purpose.unwrap_or(KeyPurpose::Sign), self.algorithm) {
            (KeyPurpose::Data, None) => Job::Data,
            (KeyPurpose::Data, Some(_)) => {
                return Err(Problem::field("/algorithm", "a data key is for A256GCM; leave it out"));
            }
            (KeyPurpose::Sign, None | Some(SigningAlgorithm::EdDsa)) => Job::EdDsa,
            (KeyPurpose::Sign, Some(SigningAlgorithm::Es256)) => Job::Es256,
            (KeyPurpose::Sign, Some(SigningAlgorithm::Rs256)) => Job::Rs256,
        };
        let emergency = self.emergency.unwrap_or(false);
        let delay = |pointer, seconds: Option<u64>| match seconds {
            Some(1..) if emergency => {
                Err(Problem::field(pointer, "an emergency has no delays: leave it out"))
            }
            seconds => seconds.map(|n| span(pointer, n)).transpose(),
        };
        let activate_in = delay("/activate_in", self.activate_in)?;
        Ok(Rotation { job, activate_in, retire_in: delay("/retire_in", self.retire_in)?, emergency })
    }
}

fn span(pointer: &str, n: u64) -> Result<Span, Problem> {
    let span = i64::try_from(n).ok().filter(|n| *n <= LONGEST_DELAY.as_secs()).map(Span::secs);
    span.ok_or_else(|| Problem::field(pointer, format!("seconds, between 0 and {}", LONGEST_DELAY.as_secs())))
}

fn bodies(keys: &[TokenKey], now: Millis) -> Vec<TokenKeyBody> {
    keys.iter().map(|key| body(key, now)).collect()
}

fn body(key: &TokenKey, now: Millis) -> TokenKeyBody {
    TokenKeyBody {
        kid: key.kid.to_string(),
        algorithm: key.job.algorithm(),
        purpose: key.job.purpose(),
        state: key.life.state(now).text(),
        created_at: Time(key.life.created_at),
        activate_at: Time(key.life.activate_at),
        retire_at: key.life.retire_at.map(Time),
        remove_at: key.life.remove_at.map(Time),
        sealings: (key.job == Job::Data).then_some(key.sealings),
    }
}

/// Whether the request says that it has what this tag names (RFC 9110, 13.1.2: compared weakly).
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let said = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
