//! The calls that every request of an application waits for: may it pass?

use super::caller::{By, recognise_newest};
use super::input::{self, BATCH, BODY, Raw};
use super::problem::{Answer, Problem};
use super::reply::with_json;
use super::wire::{ChallengeBody, EvidenceBody, SessionBody};
use super::{Web, budget, devices, query};
use crate::app::devices::prove::Device;
use crate::app::validate::{Access, Ask};
use crate::json::{Object, Text, parse};
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use handstamp_core::caller::Scope;
use handstamp_core::device::Demand;
use handstamp_core::policy::Policy;
use handstamp_core::rate::Standing;
use handstamp_core::session::Client;
use handstamp_core::step_up::{Assured, Level};
use handstamp_core::time::Span;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

mod verdict;

/// The most requests of a batch.
pub const BATCH_MOST: usize = 256;

/// What a request asks of a session.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token": "hst_...", "ip": "203.0.113.7", "user_agent": "Mozilla/5.0", "required_tags": ["role:admin"]
}))]
pub struct ValidateRequest<'a> {
    /// What the client presented. Missing or empty is a verdict, not bad input.
    #[serde(default, borrow)]
    #[schema(value_type = Option<String>)]
    token: Option<Text<'a>>,
    /// Of an access token: for whom it must be, byte by byte. Left out: for `product/environment`.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    audience: Option<Text<'a>>,
    /// The client's address.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    ip: Option<Text<'a>>,
    /// The client's user agent; what is longer than 512 bytes is cut.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    user_agent: Option<Text<'a>>,
    /// Tags that the session must carry, all of them; at most 32.
    #[serde(default)]
    required_tags: Vec<String>,
    /// Groups that it must be in, all of them; at most 64.
    #[serde(default)]
    required_access_groups: Vec<String>,
    /// Whether you can deliver a successor to the client. Left out: `never`.
    #[serde(default)]
    #[schema(inline)]
    rotate: Rotate,
    /// Whether this is activity of the user. Left out: true.
    touch: Option<bool>,
    /// Whether memory may answer. Left out: `cached`.
    #[serde(default)]
    #[schema(inline)]
    consistency: Consistency,
    /// The request's method, as the client sent it. Needed with `device`; not looked at otherwise.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    method: Option<Text<'a>>,
    /// The request's URL, as the client sent it: with scheme and host. Needed with `device`; not looked at otherwise.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    url: Option<Text<'a>>,
    /// Seconds: the user's last authentication may be this old and no older; 0 demands one of this very moment.
    max_auth_age: Option<u64>,
    /// 1 to 3: what the last authentication must prove, at least.
    min_level: Option<u8>,
    /// What the client proves about its device.
    #[serde(borrow)]
    #[schema(value_type = Option<DeviceProof<'static>>)]
    device: Option<Object<DeviceProof<'a>>>,
}

/// What a client proves about its device.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceProof<'a> {
    /// A compact JWS by the device's key; at most 8 KiB. An ill-formed one is a verdict, not bad input.
    #[serde(borrow)]
    #[schema(value_type = String)]
    pub(super) proof: Text<'a>,
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
pub struct ValidateBatchRequest<'a> {
    /// 1 to 256.
    #[serde(borrow)]
    #[schema(value_type = Vec<ValidateRequest<'static>>, min_items = 1, max_items = 256)]
    requests: Vec<Object<ValidateRequest<'a>>>,
}

/// The verdicts, in order.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ValidateBatchResponse {
    /// As many as there were requests.
    #[schema(value_type = Vec<ValidateResponse<'static>>)]
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
        /// The session.
        session: SessionBody<'a>,
        /// The successor to deliver.
        #[serde(skip_serializing_if = "Option::is_none")]
        rotated_token: Option<&'a str>,
        /// Ready `Set-Cookie` values for the successor.
        #[serde(skip_serializing_if = "Option::is_none")]
        set_cookie: Option<Vec<String>>,
        /// What the device signs next, when this request brought a proof.
        #[serde(skip_serializing_if = "Option::is_none")]
        device_challenge: Option<ChallengeBody>,
    },
    /// It may not.
    Invalid {
        /// Always false here.
        valid: bool,
        /// Why: one of the closed list.
        #[schema(value_type = super::openapi::CodeList)]
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
        /// With `reauthentication_required`: what to put into `WWW-Authenticate` for a client that understands it (RFC 9470).
        #[serde(skip_serializing_if = "Option::is_none")]
        www_authenticate: Option<String>,
        /// What the device is to sign, when its proof is missing or stale.
        #[serde(skip_serializing_if = "Option::is_none")]
        device_challenge: Option<ChallengeBody>,
    },
}

/// May this request pass?
///
/// The answer is 200 whenever the call itself was right; whether the session is good is in it. An ill-formed or missing
/// token is a verdict, too.
#[utoipa::path(
    post, path = "/v1/sessions/validate", tag = "sessions", operation_id = "validate_session",
    request_body = ValidateRequest<'static>,
    responses((status = 200, description = "The verdict.", body = ValidateResponse<'static>,
        examples(
            ("allowed" = (value = json!({
                "valid": true,
                "session": {
                    "id": "ses_0DpzHXOvOhCLeeOqjZBZT4", "user_id": "ada", "tags": ["role:admin"], "data": null,
                    "access_groups": [], "state": "live", "created_at": "2026-01-01T00:00:00.000Z",
                    "authenticated_at": "2026-01-01T00:00:00.000Z", "last_active_at": "2026-01-01T00:05:00.000Z",
                    "expires_at": "2026-01-02T00:05:00.000Z", "absolute_expires_at": "2026-01-31T00:00:00.000Z",
                    "idle_expires_at": "2026-01-02T00:05:00.000Z",
                    "client": {
                        "ip": "203.0.113.7", "user_agent": null, "browser": null, "os": null, "device_type": null,
                        "display_name": null
                    }, "generation": 0
                }
            }))),
            ("refused" = (value = json!({
                "valid": false, "code": "session_idle", "detail": "idle 31m, allowed 15m by default",
                "evidence": { "allowed": 900, "seen": 1860 }, "status": 401,
                "session_id": "ses_0DpzHXOvOhCLeeOqjZBZT4"
            })))
        )))
)]
pub async fn validate(web: &Web, request: Request<Incoming>) -> Response<Body> {
    let mut standing = None;
    let mut answer = match validate_one(web, request, &mut standing).await {
        Ok(bytes) => with_json(StatusCode::OK, bytes),
        Err(problem) => problem.into_response(),
    };
    if let Some(standing) = standing {
        budget::write(answer.headers_mut(), standing);
    }
    answer
}

async fn validate_one(
    web: &Web,
    request: Request<Incoming>,
    standing: &mut Option<Standing>,
) -> Result<Vec<u8>, Problem> {
    query::only(request.uri(), &[])?;
    let mut caller = recognise_newest(web, request.headers()).await?;
    *standing = caller.standing;
    web.app.allow(&caller, Scope::SessionsRead).await?;
    input::is_json(request.headers())?;
    let bytes = input::read(request.into_body(), BODY).await?;
    // Not only where the body was waited for: a look at memory costs less than to know that.
    web.app.after_waiting(&mut caller).await?;
    caller.allow(Scope::SessionsRead)?;
    let ask: ValidateRequest<'_> = parse(&bytes)?;
    let asked = asked(&ask, Place::Alone)?;
    verdict::one(web, &caller, asked).await
}

/// May these requests pass?
///
/// Each is judged by itself. Where something is wrong with one of them, none is judged; an accident fails the whole batch.
#[utoipa::path(
    post, path = "/v1/sessions/validate-batch", tag = "sessions", operation_id = "validate_sessions",
    request_body = ValidateBatchRequest<'static>,
    responses((status = 200, description = "The verdicts, in order.", body = ValidateBatchResponse))
)]
pub async fn validate_batch(State(web): State<Arc<Web>>, By(caller): By, Raw(bytes): Raw<BATCH>) -> Answer {
    web.app.allow(&caller, Scope::SessionsRead).await?;
    let ask: ValidateBatchRequest<'_> = parse(&bytes)?;
    if ask.requests.is_empty() || ask.requests.len() > BATCH_MOST {
        return Err(Problem::field(
            "/requests",
            format!("a batch has 1 to {BATCH_MOST} requests, this has {}", ask.requests.len()),
        ));
    }
    // A verdict may have an effect: what cannot be judged is told before the first of them has one.
    let all = ask.requests.iter().enumerate().map(|(at, Object(one))| asked(one, Place::Batch(at)));
    let all: Vec<Ask<'_>> = all.collect::<Result<_, _>>()?;
    Ok(with_json(StatusCode::OK, verdict::all(&web, &caller, all).await?))
}

/// Where one validation lies in its body.
#[derive(Clone, Copy)]
enum Place {
    Alone,
    Batch(usize),
}

impl Place {
    fn pointer(self, field: &str) -> String {
        match self {
            Place::Alone => format!("/{field}"),
            Place::Batch(at) => format!("/requests/{at}/{field}"),
        }
    }
}

/// Reads one request.
fn asked<'a>(ask: &'a ValidateRequest<'_>, place: Place) -> Result<Ask<'a>, Problem> {
    let mut asked = Ask {
        token: ask.token.as_deref().unwrap_or_default(),
        ip: input::ip(|| place.pointer("ip"), ask.ip.as_deref())?,
        user_agent: Client::cut(ask.user_agent.as_deref()),
        tags: Vec::new(),
        groups: Vec::new(),
        rotate: ask.rotate == Rotate::Auto,
        touch: ask.touch.unwrap_or(true),
        strong: ask.consistency == Consistency::Strong,
        device: Device::Unsent,
        device_demand: Demand::AsPolicy,
        assured: Assured::default(),
        access: Some(Access { audience: ask.audience.as_deref() }),
        order: None,
        tab: None,
    };
    if let Some(seconds) = ask.max_auth_age {
        let span = i64::try_from(seconds).ok().map(Span::secs).filter(|span| *span <= Policy::LONGEST);
        let wrong =
            || Problem::field(place.pointer("max_auth_age"), "seconds, at most 316224000 (3660 days)");
        asked.assured.max_age = Some(span.ok_or_else(wrong)?);
    }
    if let Some(level) = ask.min_level {
        let wrong = || Problem::field(place.pointer("min_level"), "1, 2 or 3");
        asked.assured.level = Some(Level::new(level).ok_or_else(wrong)?);
    }
    if !ask.required_tags.is_empty() {
        asked.tags = input::tags(&place.pointer("required_tags"), &ask.required_tags)?;
    }
    if !ask.required_access_groups.is_empty() {
        asked.groups = input::groups(&place.pointer("required_access_groups"), &ask.required_access_groups)?;
    }
    if let Some(Object(device)) = &ask.device {
        let (method, url) = (ask.method.as_deref(), ask.url.as_deref());
        let at = |field: &str| place.pointer(field);
        asked.device = Device::Sent(Box::new(devices::sent(at, &device.proof, method, url)?));
    }
    Ok(asked)
}
