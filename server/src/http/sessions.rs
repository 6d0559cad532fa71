//! The calls about one session: create, validate, read, change, end, refresh of knowledge about it.

use super::caller::{By, recognise};
use super::input::{self, AddRemove, BATCH, BODY, Json};
use super::problem::{Answer, Problem};
use super::wire::{EvidenceBody, SessionBody};
use super::{Web, search};
use crate::app::callers::Caller;
use crate::app::create::Create;
use crate::app::end::{Revoke, Revoked, Target};
use crate::app::update::{DataChange, Update};
use crate::app::validate::{Ask, Validated};
use crate::codec::digest;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use handstamp_core::caller::Scope;
use handstamp_core::policy::Policy;
use handstamp_core::refusal::Code;
use handstamp_core::rotation::Issued;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::update::Patch;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A new session.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Whatever the application calls its user: 1 to 256 bytes.
    user_id: String,
    /// `name:value`, at most 32.
    #[serde(default)]
    tags: Vec<String>,
    /// Any JSON up to 16 KiB; encrypted at rest.
    #[schema(value_type = Object)]
    data: Option<Box<RawValue>>,
    /// Names, at most 64.
    #[serde(default)]
    access_groups: Vec<String>,
    /// Seconds; may shorten the policy's life, never lengthen it.
    expires_in: Option<u64>,
    /// The client's address.
    ip: Option<String>,
    /// The client's user agent.
    user_agent: Option<String>,
}

/// A session and its credentials.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Created<'a> {
    session: SessionBody<'a>,
    /// `hst_...`: give it to the client; it is not shown again.
    token: &'a str,
    /// Ready `Set-Cookie` values.
    set_cookie: Vec<String>,
    /// Ids of sessions that were ended to keep a limit.
    evicted: Vec<String>,
}

/// What a request asks of a session.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateRequest {
    /// What the client presented. Missing or empty is a verdict, not bad input.
    #[serde(default)]
    token: Option<String>,
    /// The client's address.
    ip: Option<String>,
    /// The client's user agent.
    user_agent: Option<String>,
    /// Tags that the session must carry, all of them.
    #[serde(default)]
    required_tags: Vec<String>,
    /// Groups that it must be in, all of them.
    #[serde(default)]
    required_access_groups: Vec<String>,
    /// Whether you can deliver a successor to the client.
    #[serde(default)]
    rotate: Rotate,
    /// Whether this is activity of the user.
    touch: Option<bool>,
    /// Whether memory may answer.
    #[serde(default)]
    consistency: Consistency,
}

/// Whether a successor can be delivered.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rotate {
    /// No: none is made.
    #[default]
    Never,
    /// Yes: when its time has come, the answer has one.
    Auto,
}

/// Whether memory may answer.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// As far as it is known to be the newest.
    #[default]
    Cached,
    /// No: always read through.
    Strong,
}

/// Many validations.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateBatchRequest {
    /// 1 to 256.
    requests: Vec<ValidateRequest>,
}

/// The verdicts, in order.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ValidateBatchResponse {
    #[schema(value_type = Vec<Object>)]
    results: Vec<Box<RawValue>>,
}

/// The verdict.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of one answer; boxing would cost the hot path an allocation"
)]
pub enum ValidateResponse<'a> {
    /// It may pass.
    Valid {
        /// Always true here.
        valid: bool,
        session: SessionBody<'a>,
        /// The successor to deliver.
        #[serde(skip_serializing_if = "Option::is_none")]
        rotated_token: Option<&'a str>,
        /// Ready `Set-Cookie` values for the successor.
        #[serde(skip_serializing_if = "Option::is_none")]
        set_cookie: Option<Vec<String>>,
    },
    /// It may not.
    Invalid {
        /// Always false here.
        valid: bool,
        /// Why: one of the closed list.
        code: &'static str,
        /// The same in a sentence, with numbers and origin.
        detail: String,
        /// What was compared.
        evidence: Option<EvidenceBody<'a>>,
        /// The status to answer your client with.
        status: u16,
        /// Which session, when the token was genuine.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
    },
}

/// What changes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRequest {
    /// Tags to add and remove.
    tags: Option<AddRemove>,
    /// New data.
    #[schema(value_type = Object)]
    data: Option<Box<RawValue>>,
    /// Changes to the data: a merge patch (RFC 7396).
    data_patch: Option<serde_json::Value>,
    /// Groups to add and remove.
    access_groups: Option<AddRemove>,
    /// Restart the idle time.
    extend: Option<bool>,
}

/// Whom to end.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The session of this token, of whatever generation: a logout. Alone.
    token: Option<String>,
    /// Everybody in the environment. Alone.
    all: Option<bool>,
    /// Of this user.
    user_id: Option<String>,
    /// Carrying all of these.
    tags: Option<Vec<String>>,
    /// Made or last used from this address or network.
    ip: Option<String>,
    /// Made before this instant.
    before: Option<String>,
    /// Made at or after this instant.
    after: Option<String>,
    /// A session to keep: its id or its token.
    except: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
    /// For history.
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
    /// True when nothing was changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// `POST /v1/sessions`
pub async fn create(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, bytes): Json<CreateRequest>,
) -> Answer {
    let expires_in = ask.expires_in.map(seconds).transpose()?;
    let ask = Create {
        user: input::user("/user_id", &ask.user_id)?,
        tags: input::tags("/tags", &ask.tags)?,
        groups: input::groups("/access_groups", &ask.access_groups)?,
        data: input::data(ask.data)?,
        expires_in,
        client: input::client(ask.ip.as_deref(), ask.user_agent.as_deref())?,
        idempotency: idempotency(&headers)?.map(|text| (text, digest(&[&bytes]))),
    };
    let made = web.app.create(&caller, ask).await?;
    let set_cookie =
        vec![web.cookie.session(made.issued.session.reveal(), made.view.ends.earliest(), web.app.now())];
    let body = Created {
        session: SessionBody::of(&made.view),
        token: made.issued.session.reveal(),
        set_cookie,
        evicted: Vec::new(),
    };
    Ok(json(StatusCode::CREATED, &body))
}

/// `POST /v1/sessions/validate`, called before the table of routes: nothing is between it and the socket.
pub async fn validate(web: &Web, request: Request<Incoming>) -> Response<Body> {
    match validate_one(web, request).await {
        Ok(bytes) => with_json(StatusCode::OK, bytes),
        Err(problem) => problem.into_response(),
    }
}

async fn validate_one(web: &Web, request: Request<Incoming>) -> Result<Vec<u8>, Problem> {
    let caller = recognise(web, request.headers())?;
    caller.allow(Scope::SessionsRead)?;
    input::is_json(request.headers())?;
    let bytes = input::read(request.into_body(), BODY).await?;
    let ask: ValidateRequest = input::parse(&bytes)?;
    judge(web, &caller, &ask, "").await
}

/// `POST /v1/sessions/validate-batch`
pub async fn validate_batch(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<ValidateBatchRequest, BATCH>,
) -> Answer {
    caller.allow(Scope::SessionsRead)?;
    if ask.requests.is_empty() || ask.requests.len() > 256 {
        return Err(Problem::field(
            "/requests",
            format!("a batch has 1 to 256 requests, this has {}", ask.requests.len()),
        ));
    }
    let mut body = Vec::with_capacity(ask.requests.len() * 1_024);
    body.extend_from_slice(b"{\"results\":[");
    for (at, one) in ask.requests.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&judge(&web, &caller, one, &format!("/requests/{at}")).await?);
    }
    body.extend_from_slice(b"]}");
    Ok(with_json(StatusCode::OK, body))
}

async fn judge(web: &Web, caller: &Caller, ask: &ValidateRequest, at: &str) -> Result<Vec<u8>, Problem> {
    let tags = if ask.required_tags.is_empty() {
        Vec::new()
    } else {
        input::tags(&format!("{at}/required_tags"), &ask.required_tags)?
    };
    let groups = if ask.required_access_groups.is_empty() {
        Vec::new()
    } else {
        input::groups(&format!("{at}/required_access_groups"), &ask.required_access_groups)?
    };
    let asked = Ask {
        token: ask.token.as_deref().unwrap_or_default(),
        ip: input::ip(ask.ip.as_deref())?,
        user_agent: input::agent(ask.user_agent.as_deref()),
        tags,
        groups,
        rotate: ask.rotate == Rotate::Auto,
        touch: ask.touch.unwrap_or(true),
        strong: ask.consistency == Consistency::Strong,
    };
    let answer = web.app.validate(caller, asked).await?;
    let body = match &answer {
        Validated::Allowed { view, issued } => {
            let token = issued.as_ref().map(|issued: &Issued| issued.session.reveal());
            ValidateResponse::Valid {
                valid: true,
                session: SessionBody::of(view),
                rotated_token: token,
                set_cookie: token
                    .map(|token| vec![web.cookie.session(token, view.ends.earliest(), web.app.now())]),
            }
        }
        Validated::Refused { refusal, session } => ValidateResponse::Invalid {
            valid: false,
            code: refusal.code.text(),
            detail: refusal.detail(),
            evidence: EvidenceBody::of_refusal(refusal),
            status: refusal.code.status(),
            session_id: session.map(|id| id.to_string()),
        },
    };
    let mut bytes = Vec::with_capacity(1_024);
    serde_json::to_writer(&mut bytes, &body).map_err(|_| Problem::code(Code::InternalError))?;
    Ok(bytes)
}

/// `GET /v1/sessions/{id}`
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, Path(id): Path<String>) -> Answer {
    let view = web.app.get(&caller, input::session(&id)?).await?;
    Ok(json(StatusCode::OK, &SessionBody::of(&view)))
}

/// `PATCH /v1/sessions/{id}`
pub async fn update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Path(id): Path<String>,
    Json(ask, _): Json<UpdateRequest>,
) -> Answer {
    let view = web.app.update(&caller, input::session(&id)?, &ask.read("")?).await?;
    #[derive(Serialize)]
    struct Updated<'a> {
        session: SessionBody<'a>,
    }
    Ok(json(StatusCode::OK, &Updated { session: SessionBody::of(&view) }))
}

impl UpdateRequest {
    /// Checks every value; `at` is where the patch lies in the body.
    pub(super) fn read(self, at: &str) -> Result<Update, Problem> {
        let (tags, groups) = (self.tags.unwrap_or_default(), self.access_groups.unwrap_or_default());
        let data = match (input::data(self.data)?, self.data_patch) {
            (Some(_), Some(_)) => {
                return Err(Problem::field(
                    format!("{at}/data_patch"),
                    "send either `data` or `data_patch`, not both",
                ));
            }
            (Some(text), None) => DataChange::Replace(text),
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
        if patch.is_empty() && matches!(data, DataChange::Keep) {
            return Err(Problem::field(
                at,
                "nothing to change: send tags, data, data_patch, access_groups or extend",
            ));
        }
        Ok(Update { patch, data })
    }
}

/// `DELETE /v1/sessions/{id}`
pub async fn end(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Path(id): Path<String>,
    query: search::Params,
) -> Answer {
    let guard = query.get("user_id")?.map(|text| input::user("user_id", text)).transpose()?;
    let reason = reason("reason", query.get("reason")?)?;
    query.only(&["user_id", "reason"])?;
    let ended = web.app.end(&caller, input::session(&id)?, guard.as_ref(), reason).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "ended": u8::from(ended) })))
}

/// `POST /v1/sessions/revoke`
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
    fn read(self) -> Result<Revoke, Problem> {
        let filter = search::RevokeFilter {
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
            except: self.except,
            dry_run: self.dry_run,
            reason: reason("/reason", self.reason.as_deref())?,
        })
    }
}

fn seconds(n: u64) -> Result<Span, Problem> {
    let span = i64::try_from(n)
        .ok()
        .map(Span::secs)
        .filter(|span| *span >= Policy::SHORTEST && *span <= Policy::LONGEST);
    span.ok_or_else(|| Problem::field("/expires_in", "seconds, between 1 and 316224000 (3660 days)"))
}

fn idempotency(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > 255 {
        return Err(Problem::field("Idempotency-Key", "1 to 255 visible characters"));
    }
    Ok(Some(text.to_owned()))
}

/// A reason for history: up to 500 characters without control characters.
pub(super) fn reason(pointer: &str, text: Option<&str>) -> Result<Option<Box<str>>, Problem> {
    match text {
        None | Some("") => Ok(None),
        Some(text) if text.chars().count() > 500 || text.chars().any(char::is_control) => {
            Err(Problem::field(pointer, "at most 500 characters without control characters"))
        }
        Some(text) => Ok(Some(text.into())),
    }
}

/// A JSON answer.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_json(status, bytes),
        Err(_) => Problem::code(Code::InternalError).into_response(),
    }
}

fn with_json(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Reads an instant of a request.
pub(super) fn instant(pointer: &str, text: &str) -> Result<Millis, Problem> {
    Millis::parse(text).map_err(|why| Problem::field(pointer, why))
}
