//! The next pair of tokens for a client that holds a refresh token.

use super::Web;
use super::access_tokens::{AccessTokenBody, AccessTokenRequest};
use super::caller::By;
use super::devices;
use super::input::{self, BODY, Raw};
use super::problem::{Answer, Problem};
use super::reply::json;
use super::sessions::cookies;
use super::validate::DeviceProof;
use super::wire::{ChallengeBody, SessionBody};
use crate::app::Stop;
use crate::app::devices::prove::Device;
use crate::app::validate::Ask;
use crate::json::{Object, Text, parse};
use axum::extract::State;
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Every code that a refresh token can be refused with.
pub const REFUSALS: &[Code] = &[
    Code::TokenMissing,
    Code::TokenMalformed,
    Code::TokenWrongKind,
    Code::TokenSuperseded,
    Code::TokenReused,
    Code::SessionNotFound,
    Code::SessionExpired,
    Code::SessionIdle,
    Code::SessionRevoked,
    Code::SessionEvicted,
    Code::UserAgentChanged,
    Code::IpChanged,
    Code::IpNotAllowed,
    Code::IpBlocked,
    Code::IpMissing,
    Code::ReauthenticationRequired,
    Code::DeviceProofMissing,
    Code::DeviceProofStale,
    Code::DeviceProofInvalid,
];

/// A refresh token, and where it comes from.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "refresh_token": "hsr_...", "ip": "203.0.113.7", "user_agent": "Mozilla/5.0" }))]
pub struct RefreshRequest<'a> {
    /// What the client presented: `hsr_...`. Missing or empty is a refusal (`token_missing`), not bad input.
    #[serde(default, borrow)]
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Text<'a>>,
    /// The client's address.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    ip: Option<Text<'a>>,
    /// The client's user agent; what is longer than 512 bytes is cut.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    user_agent: Option<Text<'a>>,
    /// The request's method, as the client sent it. Needed with `device`; not looked at otherwise.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    method: Option<Text<'a>>,
    /// The request's URL, as the client sent it: with scheme and host. Needed with `device`; not looked at otherwise.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    url: Option<Text<'a>>,
    /// What the client proves about its device.
    #[serde(borrow)]
    #[schema(value_type = Option<DeviceProof<'static>>)]
    device: Option<Object<DeviceProof<'a>>>,
    /// Make an access token of the session, too.
    #[schema(value_type = Option<AccessTokenRequest>)]
    access_token: Option<Object<AccessTokenRequest>>,
}

/// The next pair of tokens.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Refreshed<'a> {
    /// The session.
    session: SessionBody<'a>,
    /// `hst_...`: in place of the session token that the client had.
    token: &'a str,
    /// `hsr_...`: in place of the refresh token that was presented.
    refresh_token: &'a str,
    /// Ready `Set-Cookie` values: the session's cookie, and the CSRF cookie that pages read.
    set_cookie: Vec<String>,
    /// With `access_token`: the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<AccessTokenBody<'a>>,
    /// What the device signs next, when this request brought a proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_challenge: Option<ChallengeBody>,
}

/// Exchanges a refresh token for the next pair of tokens.
///
/// The pair takes the place of the one that the client had. If the answer gets lost, send the same refresh token again: as long
/// as nobody has presented the new pair, and for the grace after that, it gives the same pair again. Later it is a copy in
/// somebody's hands (`token_reused`), and the session ends. It is activity of the user, and is judged by every rule, as a
/// validation is.
#[utoipa::path(
    post, path = "/v1/sessions/refresh", tag = "sessions", operation_id = "refresh_session",
    request_body = RefreshRequest<'static>,
    responses((status = 200, description = "The session and its next pair of tokens.", body = Refreshed<'static>))
)]
pub async fn refresh(State(web): State<Arc<Web>>, By(caller): By, Raw(bytes): Raw<BODY>) -> Answer {
    let mut body: RefreshRequest<'_> = parse(&bytes)?;
    let order = body.access_token.take().map(|Object(token)| token.read("/access_token", web.app.now()));
    let order = order.transpose()?;
    let ask = Ask { order: order.as_ref(), ..body.read()? };
    let ip = ask.ip;
    let done = web.app.refresh(&caller, ask).await.inspect_err(|stop| {
        if let Stop::Refused(refused) = stop {
            web.app.spend_refusal(&caller.env, &refused.refusal, ip);
        }
    })?;
    let missing = || Problem::accident(Code::InternalError, &"a refresh gave no refresh token");
    let (token, view) = (done.issued.session.reveal(), &done.view);
    let body = Refreshed {
        session: SessionBody::of(view),
        token,
        refresh_token: done.issued.refresh_text().ok_or_else(missing)?,
        set_cookie: cookies(&web, &caller, token, view),
        access_token: done.access.as_ref().map(AccessTokenBody::of),
        device_challenge: done.challenge.map(|challenge| ChallengeBody::from(*challenge)),
    };
    Ok(json(StatusCode::OK, &body))
}

impl RefreshRequest<'_> {
    fn read(&self) -> Result<Ask<'_>, Problem> {
        let device = match &self.device {
            None => Device::Unsent,
            Some(Object(device)) => {
                let at = |field: &str| format!("/{field}");
                let (method, url) = (self.method.as_deref(), self.url.as_deref());
                Device::Sent(Box::new(devices::sent(at, &device.proof, method, url)?))
            }
        };
        Ok(Ask {
            token: self.refresh_token.as_deref().unwrap_or_default(),
            ip: input::ip(|| "/ip".to_owned(), self.ip.as_deref())?,
            user_agent: Client::cut(self.user_agent.as_deref()),
            device,
            ..Ask::default()
        })
    }
}
