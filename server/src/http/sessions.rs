//! The calls about one session: create, read, change, end.

use super::Web;
use super::access_tokens::{AccessTokenBody, AccessTokenRequest};
use super::assurance::{ActorRequest, AuthRequest};
use super::caller::By;
use super::devices::NewDevice;
use super::hints::ClientHints;
use super::input::{self, AddRemove, At, Json};
use super::login::{LoginBody, LoginRequest};
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::json;
use super::wire::SessionBody;
use crate::app::callers::Caller;
use crate::app::create::Create;
use crate::app::login::Given;
use crate::app::update::{DataChange, Login, Update};
use crate::app::view::View;
use crate::json::{Object, given, present};
use axum::extract::State;
use handstamp_core::csrf::Holder;
use handstamp_core::id::SessionId;
use handstamp_core::policy::Policy;
use handstamp_core::rotation::Issued;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::update::Patch;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A new session.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "user_id": "ada", "tags": ["role:admin"], "data": { "theme": "dark" }, "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0"
}))]
pub struct CreateRequest {
    /// Whatever the application calls its user: 1 to 256 bytes. A session type with a selector can find it in the data.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    user_id: Option<String>,
    /// `name:value`, at most 32.
    #[serde(default)]
    tags: Vec<String>,
    /// Any JSON up to 16 KiB, with each member once, that fits the session's type if it has one; encrypted at rest.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Names, at most 64.
    #[serde(default)]
    access_groups: Vec<String>,
    /// Seconds; may shorten the policy's life, never lengthen it.
    expires_in: Option<u64>,
    /// Also give the client a refresh token: the session then rotates by `POST /v1/sessions/refresh` alone, and lasts for
    /// `refresh_timeout`. Left out: false.
    refresh: Option<bool>,
    /// The client's address.
    ip: Option<String>,
    /// The client's user agent.
    user_agent: Option<String>,
    /// The device that logs in. The session is bound to it for good.
    #[schema(value_type = Option<NewDevice>)]
    device: Option<Object<NewDevice>>,
    /// The login request's method, as the client sent it. Needed with `device`.
    method: Option<String>,
    /// The login request's URL, as the client sent it: with scheme and host. Needed with `device`.
    url: Option<String>,
    /// The client hints that came with it.
    #[schema(value_type = Option<ClientHints>)]
    client_hints: Option<Object<ClientHints>>,
    /// How the user authenticated.
    #[schema(value_type = Option<AuthRequest>)]
    auth: Option<Object<AuthRequest>>,
    /// Who acts in the user's place: the session is short, is tagged `kind:impersonation`, and says so everywhere.
    #[schema(value_type = Option<ActorRequest>)]
    actor: Option<Object<ActorRequest>>,
    /// Make an access token of the session, too. Not together with `login`.
    #[schema(value_type = Option<AccessTokenRequest>)]
    access_token: Option<Object<AccessTokenRequest>>,
    /// Hand the session over by a one-time code: the answer has the code instead of token and cookies, and the application's
    /// backend exchanges it (`POST /v1/login/exchange`).
    #[schema(value_type = Option<LoginRequest>)]
    login: Option<Object<LoginRequest>>,
}

/// A session and its credentials.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Created<'a> {
    /// The session.
    session: SessionBody<'a>,
    /// `hst_...`: give it to the client; it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    /// With `refresh`: `hsr_...`, good for the next pair of tokens, once; it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// Ready `Set-Cookie` values: the session's cookie, and the CSRF cookie that pages read.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_cookie: Option<Vec<String>>,
    /// With `login`, in the place of both: the one-time code.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<LoginBody<'a>>,
    /// With `access_token`: the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AccessTokenBody<'a>>)]
    access_token: Option<AccessTokenBody<'a>>,
    /// Ids of sessions that were ended to keep a limit.
    evicted: Vec<String>,
    /// With `device`: whether the user is not known to have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_device: Option<bool>,
}

/// What changes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tags": { "add": ["role:admin"] }, "data_patch": { "theme": null }, "extend": true }))]
pub struct UpdateRequest {
    /// Tags to add and remove.
    #[schema(value_type = Option<AddRemove>)]
    tags: Option<Object<AddRemove>>,
    /// New data.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Changes to the data: a merge patch (RFC 7396).
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    data_patch: Option<Box<RawValue>>,
    /// Groups to add and remove.
    #[schema(value_type = Option<AddRemove>)]
    access_groups: Option<Object<AddRemove>>,
    /// Restart the idle time.
    extend: Option<bool>,
    /// The user authenticated again, or more surely: both times restart, and the credentials rotate.
    #[schema(value_type = Option<AuthRequest>)]
    auth: Option<Object<AuthRequest>>,
    /// With `auth`: the client's address then. Later requests are compared with it.
    ip: Option<String>,
    /// With `auth`: the client's user agent then.
    user_agent: Option<String>,
}

/// A session that was changed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Updated<'a> {
    /// As it is now.
    session: SessionBody<'a>,
    /// With `auth`: the new token. The old one is no longer good for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    /// With `auth`, of a session made with `refresh`: the new refresh token, in place of the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// With `auth`: ready `Set-Cookie` values.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_cookie: Option<Vec<String>>,
    /// Ids of sessions that were ended to keep a limit on a tag that came.
    evicted: Vec<String>,
}

/// What was ended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ended {
    /// 1, or 0 when it had ended before.
    ended: u8,
}

/// Makes a session.
///
/// Call it once the application has checked who it is. Where the policy's limits (`max_sessions`, `seats`) leave no room,
/// sessions end to make it and are named in `evicted`, or the call is refused (`session_limit_reached`). With an `Idempotency-Key`, the same request sent again within 24
/// hours gives the same session and the same token, as long as nobody has presented it.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", operation_id = "create_session",
    request_body = CreateRequest,
    params(("Idempotency-Key" = Option<String>, Header, description =
        "1 to 255 visible characters: makes it safe to send the same request again, for 24 hours.")),
    responses((status = 201, description = "The session and its token.", body = Created<'static>))
)]
pub async fn create(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, bytes): Json<CreateRequest>,
) -> Answer {
    let mut ask = ask.read(web.app.now())?;
    ask.idempotency = idempotency(&headers)?.map(|text| (text, bytes));
    let made = web.app.create(&caller, ask).await?;
    let (token, refresh_token, login) = match &made.given {
        Given::Tokens(issued) => (Some(issued.session.reveal()), issued.refresh_text(), None),
        Given::Code(code) => (None, None, Some(LoginBody::of(code))),
    };
    let body = Created {
        session: SessionBody::of(&made.view),
        token,
        refresh_token,
        set_cookie: token.map(|token| cookies(&web, &caller, token, &made.view)),
        login,
        access_token: made.access.as_ref().map(AccessTokenBody::of),
        evicted: ids(&made.evicted),
        new_device: made.new_device,
    };
    Ok(json(StatusCode::CREATED, &body))
}

/// Reads a session, live or ended.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "get_session",
    params(("id" = String, Path, description = "`ses_...`")),
    responses((status = 200, description = "The session.", body = SessionBody<'static>))
)]
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, At(id): At<String>) -> Answer {
    let view = web.app.get(&caller, input::session(&id)?).await?;
    Ok(json(StatusCode::OK, &SessionBody::of(&view)))
}

/// Changes a live session.
///
/// Tags, groups, data, a new beginning of its idle time (`extend`), or another authentication of its user (`auth`). A tag
/// that comes counts in the limits of that tag as if the session had been made with it.
#[utoipa::path(
    patch, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "update_session",
    params(("id" = String, Path, description = "`ses_...`")),
    request_body = UpdateRequest,
    responses((status = 200, description = "The session as it is now.", body = Updated<'static>))
)]
pub async fn update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    Json(ask, _): Json<UpdateRequest>,
) -> Answer {
    let id = input::session(&id)?;
    let (login, ask) = ask.read_one(web.app.now())?;
    let done = match login {
        None => web.app.update(&caller, id, &ask).await?,
        Some(login) => web.app.authenticate(&caller, id, login, &ask).await?,
    };
    let token = done.issued.as_ref().map(|issued| issued.session.reveal());
    let set_cookie = token.map(|token| cookies(&web, &caller, token, &done.view));
    let refresh_token = done.issued.as_ref().and_then(Issued::refresh_text);
    let (session, evicted) = (SessionBody::of(&done.view), ids(&done.evicted));
    let body = Updated { session, token, refresh_token, set_cookie, evicted };
    Ok(json(StatusCode::OK, &body))
}

/// The session's cookie and the CSRF cookie of it.
pub(super) fn cookies(web: &Web, caller: &Caller, token: &str, view: &View) -> Vec<String> {
    let (ends, now) = (view.ends.earliest(), web.app.now());
    let csrf = web.app.csrf_token_beside(Holder::of(caller.env.record.id, view.session()), token);
    vec![web.cookie.session(token, ends, now), web.cookie.csrf(&csrf, ends, now)]
}

impl CreateRequest {
    /// Checks every value.
    ///
    /// # Errors
    /// `invalid_request` or `tag_invalid`, with a JSON pointer to the place.
    pub fn read(self, now: Millis) -> Result<Create, Problem> {
        if self.access_token.is_some() && self.login.is_some() {
            let message = "not together with `login`: make one once the code was exchanged";
            return Err(Problem::field("/access_token", message));
        }
        Ok(Create {
            user: self.user_id.map(|text| input::user("/user_id", &text)).transpose()?,
            tags: input::tags("/tags", &self.tags)?,
            groups: input::groups("/access_groups", &self.access_groups)?,
            data: input::data("/data", self.data)?.map(|raw| raw.get().to_owned()),
            expires_in: self.expires_in.map(seconds).transpose()?,
            refresh: self.refresh.unwrap_or(false),
            client: input::client("", self.ip.as_deref(), self.user_agent.as_deref())?,
            hints: self
                .client_hints
                .map(|Object(hints)| hints.read("/client_hints"))
                .transpose()?
                .unwrap_or_default(),
            idempotency: None,
            device: self
                .device
                .map(|Object(device)| device.read(self.method.as_deref(), self.url.as_deref()))
                .transpose()?,
            auth: self.auth.map(|Object(auth)| auth.read("/auth", now)).transpose()?,
            actor: self.actor.map(|Object(actor)| actor.read("/actor")).transpose()?,
            access: self.access_token.map(|Object(token)| token.read("/access_token", now)).transpose()?,
            login: self.login.map(|Object(login)| login.read("/login")).transpose()?,
        })
    }
}

impl UpdateRequest {
    /// The same for one session, which may also be about an authentication.
    fn read_one(mut self, now: Millis) -> Result<(Option<Login>, Update), Problem> {
        let (ip, user_agent) = (self.ip.take(), self.user_agent.take());
        let Some(Object(auth)) = self.auth.take() else {
            for (field, given) in [("/ip", &ip), ("/user_agent", &user_agent)] {
                if given.is_some() {
                    return Err(Problem::field(field, "only together with `auth`"));
                }
            }
            return Ok((None, self.read("")?));
        };
        let proved = auth.read("/auth", now)?;
        let client = input::client("", ip.as_deref(), user_agent.as_deref())?;
        Ok((Some(Login { proved, client }), self.read_any("")?))
    }

    /// Checks every value; `at` is where the patch lies in the body.
    ///
    /// # Errors
    /// `invalid_request` or `tag_invalid`, with a JSON pointer to the place.
    pub fn read(self, at: &str) -> Result<Update, Problem> {
        for (field, given) in [
            ("auth", self.auth.is_some()),
            ("ip", self.ip.is_some()),
            ("user_agent", self.user_agent.is_some()),
        ] {
            if given {
                return Err(Problem::field(format!("{at}/{field}"), "one user authenticates in one session"));
            }
        }
        let update = self.read_any(at)?;
        if update.is_empty() {
            return Err(Problem::field(
                at,
                "nothing to change: send tags, data, data_patch, access_groups, extend or auth",
            ));
        }
        Ok(update)
    }

    fn read_any(self, at: &str) -> Result<Update, Problem> {
        let Object(tags) = self.tags.unwrap_or_default();
        let Object(groups) = self.access_groups.unwrap_or_default();
        let data = input::data(&format!("{at}/data"), self.data)?;
        let data = match (data, input::data(&format!("{at}/data_patch"), self.data_patch)?) {
            (Some(_), Some(_)) => {
                return Err(Problem::field(
                    format!("{at}/data_patch"),
                    "send either `data` or `data_patch`, not both",
                ));
            }
            (Some(raw), None) => DataChange::Replace(raw.get().to_owned()),
            (None, Some(patch)) => DataChange::Merge(patch),
            (None, None) => DataChange::Keep,
        };
        let patch = Patch {
            add_tags: input::tags(&format!("{at}/tags/add"), &tags.add)?,
            remove_tags: input::tags(&format!("{at}/tags/remove"), &tags.remove)?,
            add_groups: input::groups(&format!("{at}/access_groups/add"), &groups.add)?,
            remove_groups: input::groups(&format!("{at}/access_groups/remove"), &groups.remove)?,
            data: None,
            extend: self.extend.unwrap_or(false),
        };
        Ok(Update { patch, data })
    }
}

/// Ends a session.
///
/// Ended is final; the session stays readable for its retention. Ended again, it answers `{"ended": 0}`.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "end_session",
    params(
        ("id" = String, Path, description = "`ses_...`"),
        ("user_id" = Option<String>, Query, description = "A guard: another user's session is not found."),
        ("reason" = Option<String>, Query, description = "For history: at most 500 characters.")
    ),
    responses((status = 200, description = "Whether this call ended it.", body = Ended))
)]
pub async fn end(State(web): State<Arc<Web>>, By(caller): By, At(id): At<String>, query: Params) -> Answer {
    let guard = query.get("user_id")?.map(|text| input::user("user_id", text)).transpose()?;
    let reason = input::reason("reason", query.get("reason")?)?;
    let ended = web.app.end(&caller, input::session(&id)?, guard.as_ref(), reason).await?;
    Ok(json(StatusCode::OK, &Ended { ended: u8::from(ended) }))
}

/// Ids as answers name them.
pub(super) fn ids(ids: &[SessionId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn seconds(n: u64) -> Result<Span, Problem> {
    let span = i64::try_from(n)
        .ok()
        .map(Span::secs)
        .filter(|span| *span >= Policy::SHORTEST && *span <= Policy::LONGEST);
    span.ok_or_else(|| Problem::field("/expires_in", "seconds, between 1 and 316224000 (3660 days)"))
}

fn idempotency(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "Idempotency-Key";
    let Some(text) = input::header_once(headers, "idempotency-key", NAME)? else { return Ok(None) };
    if text.is_empty() || text.len() > 255 {
        return Err(Problem::field(NAME, "1 to 255 visible characters"));
    }
    Ok(Some(text.to_owned()))
}
