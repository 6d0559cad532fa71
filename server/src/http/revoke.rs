//! The call that ends many sessions: a logout by token, all of a filter, a whole tag, everybody.

use super::caller::By;
use super::input::Json;
use super::problem::{Answer, Problem};
use super::reply::json;
use super::search::RevokeFilter;
use super::{Web, input};
use crate::app::end::{Revoke, Revoked, Target};
use crate::app::spared::Except;
use crate::json::given;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whom to end.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "user_id": "ada", "except": "ses_0DpzHXOvOhCLeeOqjZBZT4", "reason": "password changed" }))]
pub struct RevokeRequest {
    /// The session of this token, of whatever generation: a logout. Alone.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    token: Option<String>,
    /// Everybody in the environment. Alone.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    all: Option<bool>,
    /// Of this user.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    user_id: Option<String>,
    /// Carrying all of these.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>)]
    tags: Option<Vec<String>>,
    /// Made or last used from this address or network.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, example = "203.0.113.0/24")]
    ip: Option<String>,
    /// Made before this instant.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, format = DateTime)]
    before: Option<String>,
    /// Made at or after this instant.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, format = DateTime)]
    after: Option<String>,
    /// A session to keep: its id or its token.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    except: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
    /// For history: at most 500 characters.
    reason: Option<String>,
}

/// What has ended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RevokeResponse {
    /// How many; `null` when an epoch was raised and the number is not known.
    ended: Option<u64>,
    /// About how many, when an epoch was raised; counted up to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<usize>,
    /// The first hundred ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<Vec<String>>,
    /// True when nothing was changed; left out otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// Ends sessions.
///
/// By `token` (a logout), by a filter, or `all`. A filter of tags alone, and `all`, end everybody they name at once,
/// however many they are (202); their records follow within seconds.
#[utoipa::path(
    post, path = "/v1/sessions/revoke", tag = "sessions", operation_id = "revoke_sessions",
    request_body = RevokeRequest,
    responses(
        (status = 200, description = "These have ended, or would end.", body = RevokeResponse),
        (status = 202, description = "All of them are refused from now on.", body = RevokeResponse)
    )
)]
pub async fn revoke(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<RevokeRequest>,
) -> Answer {
    let dry_run = ask.dry_run;
    let ask = ask.read()?;
    let (status, body) = match web.app.revoke(&caller, &ask).await? {
        Revoked::Ended { count, sessions } => {
            let sessions = sessions.iter().map(ToString::to_string).collect();
            (
                StatusCode::OK,
                RevokeResponse { ended: Some(count), estimate: None, sessions: Some(sessions), dry_run },
            )
        }
        Revoked::Raised { estimate } => {
            let status = if dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
            (status, RevokeResponse { ended: None, estimate: Some(estimate), sessions: None, dry_run })
        }
    };
    Ok(json(status, &body))
}

impl RevokeRequest {
    /// Checks every value, and that exactly one choice of whom was made.
    ///
    /// # Errors
    /// `invalid_request` or `tag_invalid`, with a JSON pointer to the place.
    pub fn read(self) -> Result<Revoke, Problem> {
        let filter = RevokeFilter {
            user_id: self.user_id,
            tags: self.tags,
            ip: self.ip,
            before: self.before,
            after: self.after,
        };
        let filter = filter.read("")?;
        let targets = usize::from(self.token.is_some())
            + usize::from(self.all == Some(true))
            + usize::from(!filter.is_empty());
        if targets != 1 {
            let message = if targets == 0 {
                "say whom: `token`, a filter (user_id, tags, ip, before, after), or `all: true`"
            } else {
                "`token`, `all` and a filter exclude each other"
            };
            return Err(Problem::field("", message));
        }
        let target = match (self.token, self.all) {
            (Some(token), _) => Target::Token(token),
            (None, Some(true)) => Target::Everybody,
            (None, _) => Target::Filter(filter),
        };
        Ok(Revoke {
            target,
            except: self.except.map(Except::Among),
            dry_run: self.dry_run,
            reason: input::reason("/reason", self.reason.as_deref())?,
        })
    }
}
