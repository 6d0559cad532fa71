//! Access tokens of live sessions: what requests say of one, and the call that makes one.

use super::Web;
use super::caller::By;
use super::input::{self, At, Json};
use super::problem::{Answer, Problem};
use super::reply::json;
use super::wire::Time;
use crate::app::access_tokens::{AccessToken, Order};
use axum::extract::State;
use handstamp_core::access_token::Wish;
use handstamp_core::jose::json::{Members, read_object};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::time::{Millis, Span};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// What an access token is to be.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "audience": "billing", "lifetime": 300, "claims": { "plan": "pro" } }))]
pub struct AccessTokenRequest {
    /// For whom: a text, or at most 8 of them. Left out: `product/environment`.
    #[schema(value_type = Option<Audience>)]
    audience: Option<Audience>,
    /// Seconds; never longer than the policy's `access_token_ttl`, and never beyond the end of the session. Left out: as long
    /// as the policy allows.
    lifetime: Option<u64>,
    /// Members to add to what the token says; none of its own names. At most 2 KiB.
    #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
    claims: Option<Box<RawValue>>,
    /// From when on it is good; at most a day ahead. Left out: now.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    /// `EdDSA`, `ES256` or `RS256`; the environment must have a signing key of it. Left out: as the configuration says.
    algorithm: Option<String>,
}

/// For whom a token is.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// An access token.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AccessToken)]
pub struct AccessTokenBody<'a> {
    /// A JSON Web Token: for whoever the audience is. It is not shown again.
    token: &'a str,
    /// Until when it is good, if nobody ends its session before.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
}

impl<'a> AccessTokenBody<'a> {
    pub(super) fn of(made: &'a AccessToken) -> AccessTokenBody<'a> {
        AccessTokenBody { token: made.token.reveal(), expires_at: Time(made.expires_at) }
    }
}

impl AccessTokenRequest {
    /// Checks every value; `at` is where the request lies in the body.
    ///
    /// # Errors
    /// `invalid_request`, with a JSON pointer to the place.
    pub(super) fn read(self, at: &str, now: Millis) -> Result<Order, Problem> {
        let place = |field: &str| format!("{at}/{field}");
        let audience = match self.audience {
            None => Vec::new(),
            Some(Audience::One(one)) => vec![one],
            Some(Audience::Several(several)) if several.is_empty() => {
                return Err(Problem::field(place("audience"), "name at least one, or leave it out"));
            }
            Some(Audience::Several(several)) => several,
        };
        // What is more than any life is refused as too long.
        let lifetime = self.lifetime.map(|n| Span::secs(i64::try_from(n).unwrap_or(i64::MAX / 1_000)));
        let not_before = self.not_before.as_deref().map(|text| input::instant(&place("not_before"), text));
        let custom = match self.claims {
            None => Members::default(),
            Some(raw) => read_object(raw.get().as_bytes()).ok_or_else(|| {
                Problem::field(place("claims"), "a JSON object with each member once, at most 16 deep")
            })?,
        };
        let wish = Wish::new(audience, lifetime, not_before.transpose()?, custom, now);
        let wish = wish.map_err(|(field, message)| Problem::field(place(field), message))?;
        let algorithm = self.algorithm.map(|text| {
            Algorithm::parse(&text).ok_or_else(|| Problem::field(place("algorithm"), "EdDSA, ES256 or RS256"))
        });
        Ok(Order { wish, algorithm: algorithm.transpose()? })
    }
}

/// Makes an access token of a live session.
///
/// A signed JSON Web Token that others verify without asking; its `data`, if the session has any, is sealed inside of it. It is
/// made of the session as it is now, and never outlives it. That it is revoked with its session, whoever follows
/// `GET /v1/revocations` knows within a second.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/access-tokens", tag = "tokens", operation_id = "mint_access_token",
    params(("id" = String, Path, description = "`ses_...`")),
    request_body = AccessTokenRequest,
    responses((status = 201, description = "The token.", body = AccessTokenBody<'static>))
)]
pub async fn mint(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    Json(ask, _): Json<AccessTokenRequest>,
) -> Answer {
    let id = input::session(&id)?;
    let order = ask.read("", web.app.now())?;
    let made = web.app.mint(&caller, id, &order).await?;
    Ok(json(StatusCode::CREATED, &AccessTokenBody::of(&made)))
}
