//! The calls about users: who is logged in; erasing one.

use super::Web;
use super::caller::By;
use super::devices::{self, DeviceBody};
use super::input::{self, At};
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::{document, json};
use super::statement::{ErasureBody, KeyBody, KeysBody};
use super::wire::{ClientBody, PageBody, Time};
use crate::app::users::Person;
use axum::extract::{Request, State};
use handstamp_core::refusal::Code;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// A user, as their sessions tell of them.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = User)]
pub struct UserBody<'a> {
    /// The application's name for them.
    id: &'a str,
    /// How many live sessions they have.
    sessions: usize,
    /// The last activity of any of them.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_active_at: Option<Time>,
    /// From where the live sessions were last used, each once, the latest first; at most 20.
    clients: Vec<SeenBody<'a>>,
    /// The devices that they are known to have.
    devices: Vec<DeviceBody<'a>>,
    /// What was refused in the last 24 hours, by code, the latest first; of ended sessions, too, and logins that a rule
    /// refused.
    recent_refusals: Vec<RefusedBody>,
}

/// A client of live sessions.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = UserClient)]
pub struct SeenBody<'a> {
    /// Address and user agent.
    #[serde(flatten)]
    #[schema(inline)]
    client: ClientBody<'a>,
    /// How many sessions were last used from it.
    sessions: usize,
    /// Their last activity.
    #[schema(value_type = String, format = DateTime)]
    last_active_at: Time,
}

/// Refusals with one code.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = RecentRefusal)]
pub struct RefusedBody {
    /// Which.
    #[schema(value_type = super::openapi::CodeList)]
    code: &'static str,
    /// How many.
    count: u64,
    /// The last of them.
    #[schema(value_type = String, format = DateTime)]
    last_at: Time,
}

impl<'a> UserBody<'a> {
    fn of(person: &'a Person) -> UserBody<'a> {
        let seen = |seen: &'a crate::app::users::Seen| SeenBody {
            client: ClientBody::of(&seen.client),
            sessions: seen.sessions,
            last_active_at: Time(seen.last_active),
        };
        let refused = |refused: &crate::app::users::Refused| RefusedBody {
            code: refused.code.text(),
            count: refused.count,
            last_at: Time(refused.last),
        };
        UserBody {
            id: person.user.as_str(),
            sessions: person.sessions,
            last_active_at: person.last_active.map(Time),
            clients: person.clients.iter().map(seen).collect(),
            devices: person.devices.iter().map(devices::body).collect(),
            recent_refusals: person.refused.iter().map(refused).collect(),
        }
    }
}

/// Lists the users who have a live session.
///
/// All of it is what their sessions say at this instant. A page may have fewer items than asked for and still not be the
/// last.
#[utoipa::path(
    get, path = "/v1/users", tag = "users", operation_id = "list_users",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; left out: 50."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of users.", body = PageBody<UserBody<'static>>))
)]
pub async fn list(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    let found = web.app.users(&caller, params.limit()?, params.get("cursor")?).await;
    let found = found.map_err(|stop| Problem::from(stop).of_parameter())?;
    let items = found.items.iter().map(UserBody::of).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: found.next }))
}

/// Reads a user; also one whose sessions have all ended, as long as these are readable, and one of whom there are only
/// logins that were refused in the last 24 hours.
#[utoipa::path(
    get, path = "/v1/users/{id}", tag = "users", operation_id = "get_user",
    params(("id" = String, Path, description = "The application's name for the user, percent-encoded.")),
    responses((status = 200, description = "The user.", body = UserBody<'static>))
)]
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, At(id): At<String>) -> Answer {
    let person = web.app.user(&caller, named(&id)?).await?;
    Ok(json(StatusCode::OK, &UserBody::of(&person)))
}

/// Erases a user.
///
/// Every session of theirs ends. Addresses, user agents, data, tags, access groups, and what anybody wrote about them are
/// taken out of the records of their sessions, live and ended, and out of history; their devices are forgotten; their id
/// becomes a pseudonym. Where they acted in the place of other users, the history of those others still says so. The answer
/// is a signed statement of that. Sent again it does no harm: it erases what came since, and says 0 where there was nothing.
#[utoipa::path(
    post, path = "/v1/users/{id}/erase", tag = "users", operation_id = "erase_user",
    params(("id" = String, Path, description = "The application's name for the user, percent-encoded.")),
    responses((status = 200, description = "What was erased.", body = ErasureBody<'static>))
)]
pub async fn erase(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    request: Request,
) -> Answer {
    let body = input::read(request.into_body(), input::BODY).await?;
    if !matches!(body.trim_ascii(), b"" | b"{}") {
        return Err(Problem::field("", "this call takes no body: it erases all there is of the user"));
    }
    let erased = web.app.erase(&caller, &named(&id)?).await?;
    Ok(json(StatusCode::OK, &ErasureBody::of(&web.app, &erased)?))
}

/// The public keys of statements of what was erased.
#[utoipa::path(
    get, path = "/.well-known/handstamp-erasure-keys.json", tag = "users", operation_id = "erasure_keys",
    responses((
        status = 200, description = "A set of JSON Web Keys.", body = KeysBody, content_type = "application/jwk-set+json"
    ))
)]
pub async fn erasure_keys(State(web): State<Arc<Web>>) -> Answer {
    let keys = KeysBody { keys: [KeyBody::of(&web.app)?] };
    let text = serde_json::to_string(&keys).unwrap_or_default();
    Ok(document("application/jwk-set+json", text))
}

/// A user id of a path. What can be none names nobody.
fn named(id: &str) -> Result<handstamp_core::id::UserId, Problem> {
    input::user("id", id).map_err(|_| Problem::new(Code::NotFound, "a user id has 1 to 256 bytes"))
}
