//! The calls about access keys.

use super::Web;
use super::caller::By;
use super::input::{self, Json};
use super::problem::{Answer, Problem};
use super::search::{PageBody, Params};
use super::sessions::json;
use super::wire::Time;
use crate::app::control::Key;
use crate::app::keys::{KeyPatch, MadeKey, NewKey};
use axum::extract::{Path, State};
use handstamp_core::caller::Scope;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::KeyId;
use handstamp_core::policy::Policy;
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
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
    /// `access`.
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
    /// The key that replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
}

/// A new key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyRequest {
    /// A person's name for it.
    name: String,
    /// What it allows; left out: everything the caller may give.
    scopes: Option<Vec<String>>,
    /// Seconds until it is refused; left out: never.
    expires_in: Option<u64>,
    /// For an operator, in every environment. Needs an operator's key.
    operator: Option<bool>,
}

/// What changes in a key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateKeyRequest {
    /// A new name.
    name: Option<String>,
    /// `suspended` or `active`.
    state: Option<KeyState>,
    /// New scopes.
    scopes: Option<Vec<String>>,
}

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
pub struct RotateKeyRequest {
    /// Seconds that the old key goes on; left out: a day. 0 ends it at once.
    overlap: Option<u64>,
}

/// A key and its text.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeKeyBody {
    key: KeyBody,
    /// `hsk_...`: shown once.
    secret: String,
}

/// `GET /v1/keys`
pub async fn list(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    params.only(&[])?;
    let items = web.app.keys(&caller)?.iter().map(|key| body(&web, key)).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: None }))
}

/// `GET /v1/keys/{id}`
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, Path(key): Path<String>) -> Answer {
    let key = web.app.key(&caller, id(&key)?)?;
    Ok(json(StatusCode::OK, &body(&web, &key)))
}

/// `POST /v1/keys`
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
    };
    Ok(made(&web, &web.app.create_key(&caller, ask).await?))
}

/// `PATCH /v1/keys/{id}`
pub async fn update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Path(key): Path<String>,
    Json(ask, _): Json<UpdateKeyRequest>,
) -> Answer {
    let patch = KeyPatch {
        name: ask.name,
        suspended: ask.state.map(|s| s == KeyState::Suspended),
        scopes: scopes(ask.scopes)?,
    };
    let key = web.app.update_key(&caller, id(&key)?, patch).await?;
    Ok(json(StatusCode::OK, &body(&web, &key)))
}

/// `POST /v1/keys/{id}/rotate`
pub async fn rotate(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Path(key): Path<String>,
    Json(ask, _): Json<RotateKeyRequest>,
) -> Answer {
    let overlap = ask.overlap.map_or(Ok(Span::days(1)), |n| seconds("/overlap", n, Span(0)))?;
    Ok(made(&web, &web.app.rotate_key(&caller, id(&key)?, overlap).await?))
}

/// `DELETE /v1/keys/{id}`
pub async fn delete(State(web): State<Arc<Web>>, By(caller): By, Path(key): Path<String>) -> Answer {
    web.app.delete_key(&caller, id(&key)?).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "revoked": 1 })))
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
        kind: "access",
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
