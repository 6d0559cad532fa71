//! The calls about access keys.

use super::Web;
use super::caller::By;
use super::input::{self, At, Json};
use super::problem::{Answer, Problem};
use super::reply::json;
use super::wire::{PageBody, Time};
use crate::app::control::Key;
use crate::app::keys::{KeyPatch, MadeKey, NewKey};
use crate::json::given;
use axum::extract::State;
use handstamp_core::caller::Scope;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::KeyId;
use handstamp_core::policy::Policy;
use handstamp_core::policy::modes::Rate;
use handstamp_core::policy::setting::Budget;
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_core::token::Kind;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A key as it is listed: never its text.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AccessKey)]
pub struct KeyBody {
    /// `key_...`: no secret.
    id: String,
    /// A person's name for it.
    name: String,
    /// `access` or `publishable`.
    kind: &'static str,
    /// What it allows.
    scopes: Vec<&'static str>,
    /// `null` for an operator's.
    product: Option<String>,
    /// `null` for an operator's.
    environment: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// From then on it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    /// When it was last used.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Time>,
    /// `active`, `suspended` or `expired`.
    state: &'static str,
    /// How often it may be used, such as `1000/1h`; `null`: as often as it likes.
    rate_limit: Option<String>,
    /// The key that replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
}

/// A new key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "web servers", "scopes": ["sessions:read", "sessions:write"] }))]
pub struct CreateKeyRequest {
    /// A person's name for it: 1 to 100 characters.
    name: String,
    /// What it allows; left out: everything the caller may give.
    scopes: Option<Vec<String>>,
    /// Seconds until it is refused; left out: never.
    expires_in: Option<u64>,
    /// For an operator, in every environment. Needs an operator's key.
    operator: Option<bool>,
    /// `access`, or `publishable` for apps without a backend: no secret, without scopes. Left out: `access`.
    #[schema(inline)]
    kind: Option<KeyKind>,
    /// How often it may be used, such as `1000/1h`: so many calls at once, and as many again in the time. Left out: as
    /// the key that asks, which for nearly every key is without a limit.
    rate_limit: Option<String>,
}

/// For whom a key is.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// A backend: a secret.
    Access,
    /// Apps without a backend: no secret.
    Publishable,
}

/// What changes in a key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "state": "suspended" }))]
pub struct UpdateKeyRequest {
    /// A new name.
    name: Option<String>,
    /// `suspended` or `active`.
    #[schema(inline)]
    state: Option<KeyState>,
    /// New scopes.
    scopes: Option<Vec<String>>,
    /// Another limit; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    rate_limit: Option<Limit>,
}

/// A limit, or none.
#[derive(Deserialize)]
struct Limit(Option<String>);

/// Whether a key may be used.
#[derive(Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It may.
    Active,
    /// It is refused until it is resumed.
    Suspended,
}

/// How a key is rotated.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "overlap": 3600 }))]
pub struct RotateKeyRequest {
    /// Seconds that the old key goes on; left out: a day. 0 ends it at once.
    overlap: Option<u64>,
}

/// A key and its text.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeKeyBody {
    /// As it is listed from now on.
    key: KeyBody,
    /// `hsk_...`, or `hsp_...` of a publishable key: shown once.
    secret: String,
}

/// What was revoked.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RevokedKey {
    /// Always 1.
    revoked: u8,
}

/// Lists the keys of the environment; for an operator, all keys.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "list_keys",
    responses((status = 200, description = "All of them, oldest first.", body = PageBody<KeyBody>))
)]
pub async fn list(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    let items = web.app.keys(&caller)?.iter().map(|key| body(&web, key)).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: None }))
}

/// Reads a key.
#[utoipa::path(
    get, path = "/v1/keys/{id}", tag = "keys", operation_id = "get_key",
    params(("id" = String, Path, description = "`key_...`")),
    responses((status = 200, description = "The key.", body = KeyBody))
)]
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, At(key): At<String>) -> Answer {
    let key = web.app.key(&caller, id(&key)?)?;
    Ok(json(StatusCode::OK, &body(&web, &key)))
}

/// Makes a key.
///
/// Nobody gives what they do not have: its scopes are among those of the key that asks.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", operation_id = "create_key",
    request_body = CreateKeyRequest,
    responses((status = 201, description = "The key, and its text for this once.", body = MadeKeyBody))
)]
pub async fn create(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<CreateKeyRequest>,
) -> Answer {
    let ask = NewKey {
        name: ask.name,
        scopes: scopes(ask.scopes)?.unwrap_or_default(),
        expires_in: ask.expires_in.map(|n| seconds("/expires_in", n, Policy::SHORTEST)).transpose()?,
        operator: ask.operator.unwrap_or(false),
        publishable: ask.kind == Some(KeyKind::Publishable),
        rate_limit: ask.rate_limit.as_deref().map(rate).transpose()?,
    };
    Ok(made(&web, &web.app.create_key(&caller, ask).await?))
}

/// Changes a key: its name, its scopes, how often it may be used, or whether at all.
#[utoipa::path(
    patch, path = "/v1/keys/{id}", tag = "keys", operation_id = "update_key",
    params(("id" = String, Path, description = "`key_...`")),
    request_body = UpdateKeyRequest,
    responses((status = 200, description = "The key as it is now.", body = KeyBody))
)]
pub async fn update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(key): At<String>,
    Json(ask, _): Json<UpdateKeyRequest>,
) -> Answer {
    if ask.name.is_none() && ask.state.is_none() && ask.scopes.is_none() && ask.rate_limit.is_none() {
        return Err(Problem::field("", "nothing to change: send name, state, scopes or rate_limit"));
    }
    let patch = KeyPatch {
        name: ask.name,
        suspended: ask.state.map(|s| s == KeyState::Suspended),
        scopes: scopes(ask.scopes)?,
        rate_limit: ask
            .rate_limit
            .map(|Limit(text)| text.as_deref().map(rate).transpose().map(Budget))
            .transpose()?,
    };
    let key = web.app.update_key(&caller, id(&key)?, patch).await?;
    Ok(json(StatusCode::OK, &body(&web, &key)))
}

/// Makes a successor with the same name, scopes and limit; the old key goes on for `overlap` seconds.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", tag = "keys", operation_id = "rotate_key",
    params(("id" = String, Path, description = "`key_...`")),
    request_body = RotateKeyRequest,
    responses((status = 201, description = "The successor, and its text for this once.", body = MadeKeyBody))
)]
pub async fn rotate(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(key): At<String>,
    Json(ask, _): Json<RotateKeyRequest>,
) -> Answer {
    let overlap = ask.overlap.map_or(Ok(Span::days(1)), |n| seconds("/overlap", n, Span(0)))?;
    Ok(made(&web, &web.app.rotate_key(&caller, id(&key)?, overlap).await?))
}

/// Revokes a key for good, at once.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "revoke_key",
    params(("id" = String, Path, description = "`key_...`")),
    responses((status = 200, description = "It is gone.", body = RevokedKey))
)]
pub async fn delete(State(web): State<Arc<Web>>, By(caller): By, At(key): At<String>) -> Answer {
    web.app.delete_key(&caller, id(&key)?).await?;
    Ok(json(StatusCode::OK, &RevokedKey { revoked: 1 }))
}

fn made(web: &Web, made: &MadeKey) -> http::Response<axum::body::Body> {
    let made = MadeKeyBody { key: body(web, &made.key), secret: made.text.reveal().to_owned() };
    json(StatusCode::CREATED, &made)
}

fn body(web: &Web, known: &Key) -> KeyBody {
    let key = &known.key;
    let home = web.app.home_of(key);
    let expired = key.expires_at.is_some_and(|end| end <= web.app.now());
    KeyBody {
        id: key.id.to_string(),
        name: key.name.to_string(),
        kind: if key.kind == Kind::PublishableKey { "publishable" } else { "access" },
        scopes: key.scopes.iter().map(|scope| scope.text()).collect(),
        product: home.as_ref().map(|h: &EnvironmentName| h.product().to_owned()),
        environment: home.as_ref().map(|h| h.environment().to_owned()),
        created_at: Time(key.created_at),
        expires_at: key.expires_at.map(Time),
        last_used_at: known.last_used().map(Time),
        state: if expired {
            "expired"
        } else if key.suspended {
            "suspended"
        } else {
            "active"
        },
        rate_limit: key.rate_limit.map(|rate| rate.to_string()),
        replaced_by: key.replaced_by.map(|id| id.to_string()),
    }
}

fn scopes(texts: Option<Vec<String>>) -> Result<Option<Vec<Scope>>, Problem> {
    let read = |text: &str| {
        let known = Scope::ALL.iter().map(|s| s.text()).collect::<Vec<_>>().join(", ");
        Scope::parse(text).ok_or_else(|| format!("not a scope; known: {known}"))
    };
    let Some(texts) = texts else { return Ok(None) };
    if texts.is_empty() {
        return Err(Problem::field(
            "/scopes",
            "a key without scopes can do nothing; leave the list out or name a scope",
        ));
    }
    input::each("/scopes", &texts, read, Code::InvalidRequest).map(Some)
}

fn rate(text: &str) -> Result<Rate, Problem> {
    Rate::parse(text).map_err(|why| Problem::field("/rate_limit", why))
}

fn id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text)
        .ok_or_else(|| Problem::new(Code::NotFound, "a key's id is written key_ and 22 letters and digits"))
}

fn seconds(pointer: &str, n: u64, least: Span) -> Result<Span, Problem> {
    let span =
        i64::try_from(n).ok().map(Span::secs).filter(|span| *span >= least && *span <= Policy::LONGEST);
    span.ok_or_else(|| {
        Problem::field(
            pointer,
            format!("seconds, between {} and {}", least.as_secs(), Policy::LONGEST.as_secs()),
        )
    })
}
