//! What all answers to browsers have in common: cookies, the session as its own client sees it, refusals that do not tell
//! strangers more than they need.

use super::super::Web;
use super::super::problem::Problem;
use super::super::wire::{ActorBody, Time};
use super::visit::{Bearer, Visit};
use crate::app::visit::Visitor;
use axum::body::Body;
use handstamp_core::refusal::{Code, Refusal};
use http::{HeaderValue, Response, header};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A session and its user, as their own client sees them.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OwnSession<'a> {
    /// Who is logged in.
    user: OwnUser<'a>,
    /// The session.
    session: OwnSessionBody<'a>,
    /// The earliest end that stands now.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// What requests that change something send back in `X-XSRF-TOKEN`; the same as in the cookie.
    csrf_token: String,
    /// For apps with a publishable key: the token to send from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_token: Option<&'a str>,
}

/// Who is logged in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OwnUser<'a> {
    /// The application's name for the user.
    id: &'a str,
    /// The members of the session's data that browsers are shown (`[browser] expose`).
    #[schema(value_type = serde_json::Value)]
    data: BTreeMap<&'a str, Box<RawValue>>,
}

/// A session.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OwnSessionBody<'a> {
    /// `ses_...`: no secret.
    id: String,
    /// `name:value`.
    tags: &'a [String],
    /// Names of groups.
    access_groups: &'a [String],
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// The last authentication.
    #[schema(value_type = String, format = DateTime)]
    authenticated_at: Time,
    /// The last activity.
    #[schema(value_type = String, format = DateTime)]
    last_active_at: Time,
    /// The earliest end that stands now.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// Counted from the last authentication.
    #[schema(value_type = String, format = DateTime)]
    absolute_expires_at: Time,
    /// Counted from the last activity.
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: Time,
    /// How much the last authentication proves: 1 to 3; `null` when nobody said.
    level: Option<u8>,
    /// Who acts in the user's place.
    actor: Option<ActorBody<'a>>,
}

impl<'a> OwnSession<'a> {
    /// What a visitor is shown. `csrf_token` is the visitor's.
    pub(super) fn of(
        web: &'a Web,
        visit: &Visit,
        visitor: &'a Visitor,
        csrf_token: String,
    ) -> OwnSession<'a> {
        let Visitor { times, ends, .. } = visitor;
        let issued = visitor.issued.as_ref().filter(|_| visit.bearer == Bearer::App);
        OwnSession {
            user: OwnUser { id: visitor.user.as_str(), data: exposed(web, visitor) },
            session: OwnSessionBody {
                id: visitor.session.to_string(),
                tags: &visitor.tags,
                access_groups: &visitor.groups,
                created_at: Time(times.created_at),
                authenticated_at: Time(times.authenticated_at),
                last_active_at: Time(visitor.seen),
                expires_at: Time(ends.earliest()),
                absolute_expires_at: Time(ends.absolute),
                idle_expires_at: Time(ends.idle),
                level: visitor.auth.as_ref().map(|(level, _)| level.get()),
                actor: visitor.actor.as_ref().map(|(id, reason)| ActorBody { id, reason }),
            },
            expires_at: Time(ends.earliest()),
            csrf_token,
            rotated_token: issued.map(|issued| issued.session.reveal()),
        }
    }
}

/// The members of the data that browsers are shown; of data that is no object, none.
fn exposed<'a>(web: &'a Web, visitor: &Visitor) -> BTreeMap<&'a str, Box<RawValue>> {
    let data = visitor.data.as_deref().unwrap_or("null");
    let mut all: BTreeMap<String, Box<RawValue>> = serde_json::from_str(data).unwrap_or_default();
    let expose = web.browsers.expose.iter();
    expose.filter_map(|name| all.remove(name).map(|value| (name.as_str(), value))).collect()
}

/// Adds a cookie.
pub(in super::super) fn set_cookie(answer: &mut Response<Body>, cookie: &str) {
    // Names, tokens and attributes of ours are all visible ASCII; anything else is no cookie.
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// The session cookie with the newest token, until the session's end as it stands now.
pub(in super::super) fn session_cookie(web: &Web, visit: &Visit, visitor: &Visitor) -> String {
    let token = visitor.issued.as_ref().map_or(visit.token.as_str(), |issued| issued.session.reveal());
    web.cookie.session(token, visitor.ends.earliest(), web.app.now())
}

impl Problem {
    /// A refusal as strangers are told it: the code's general sentence. What was compared, and by which rule, is for key
    /// holders; and whether there is, or ever was, a session behind a token is nobody's business who has none.
    pub fn of_browser(refusal: &Refusal) -> Problem {
        Problem::code(match refusal.code {
            Code::TokenMalformed | Code::TokenWrongKind => Code::SessionNotFound,
            code => code,
        })
    }
}
