//! The calls about devices: challenges, registration, and those a user is known to have.

use super::Web;
use super::caller::By;
use super::input::{self, At, Json};
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::json;
use super::wire::{ChallengeBody, ClientBody, PageBody, SessionBody, Time};
use crate::app::devices::prove::{Introduction, Sent};
use crate::app::devices::{Ahead, Named, Register};
use crate::json::{Object, given};
use axum::extract::State;
use handstamp_core::device::key::DeviceId;
use handstamp_core::device::known::Known;
use handstamp_core::device::target;
use handstamp_core::id::UserId;
use handstamp_core::refusal::Code;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who is to prove something.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": "Mozilla/5.0" }))]
pub struct ChallengeRequest {
    /// For a session: its token.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    token: Option<String>,
    /// For a session: its id, instead of its token.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    session_id: Option<String>,
    /// Before a login: who is about to log in, where that is known.
    user_id: Option<String>,
    /// Before a login: the client's address, as the creation of the session will name it.
    ip: Option<String>,
    /// Before a login: the client's user agent, as the creation of the session will name it.
    user_agent: Option<String>,
}

/// A device that proves to have its key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// A compact JWS by the device's key, with the public key as `jwk` in its header; at most 8 KiB.
    proof: String,
    /// Whether the user is known to have this device from now on. Left out: false.
    remember: Option<bool>,
}

/// A session that gets its device.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token": "hst_...", "device": { "proof": "eyJhbGciOiJFUzI1NiIs...", "remember": true }, "method": "POST",
    "url": "https://app.example/devices"
}))]
pub struct RegisterRequest {
    /// The session's token, as its client presented it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    token: Option<String>,
    /// The session's id, instead of its token. Whoever names it must know that it is the client's own.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    session_id: Option<String>,
    /// The device.
    #[schema(value_type = NewDevice)]
    device: Object<NewDevice>,
    /// The request's method, as the client sent it.
    method: Option<String>,
    /// The request's URL, as the client sent it: with scheme and host.
    url: Option<String>,
    /// The client's address.
    ip: Option<String>,
    /// The client's user agent.
    user_agent: Option<String>,
}

/// What changes in a device.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Ada's laptop" }))]
pub struct NameDeviceRequest {
    /// What the user calls it: 1 to 100 characters.
    name: String,
}

/// A session that has got its device.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RegisteredBody<'a> {
    /// The session.
    session: SessionBody<'a>,
    /// Whether the user is not known to have the device.
    new_device: bool,
}

/// A device that a user is known to have.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Device)]
pub struct DeviceBody<'a> {
    /// The SHA-256 thumbprint of its public key (RFC 7638).
    id: String,
    /// Whose.
    user_id: &'a str,
    /// What the user calls it.
    name: Option<&'a str>,
    /// `P-256` or `Ed25519`.
    key: &'static str,
    /// When it was remembered.
    #[schema(value_type = String, format = DateTime)]
    first_seen_at: Time,
    /// The last login or registration with it.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Time,
    /// From where that was.
    client: ClientBody<'a>,
}

/// What was forgotten.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ForgottenDevice {
    /// Always 1.
    forgotten: u8,
}

/// Gives a challenge for a device to sign.
///
/// For a session (`token` or `session_id`), or for somebody who is about to log in. It is good for five minutes, for one
/// proof, and for this client alone. One without a session and without a `user_id` is for whoever comes with the same `ip`
/// and `user_agent`: to log in, to register a session's device, or with a request of a session.
#[utoipa::path(
    post, path = "/v1/devices/challenge", tag = "devices", operation_id = "create_device_challenge",
    request_body = ChallengeRequest,
    responses((status = 200, description = "The challenge.", body = ChallengeBody))
)]
pub async fn challenge(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<ChallengeRequest>,
) -> Answer {
    let ahead = match named(ask.token, ask.session_id)? {
        Some(named) => {
            let more = [("/user_id", ask.user_id), ("/ip", ask.ip), ("/user_agent", ask.user_agent)];
            if let Some((pointer, _)) = more.iter().find(|(_, value)| value.is_some()) {
                return Err(Problem::field(
                    *pointer,
                    "only before a login; a session's challenge is the session's",
                ));
            }
            Ahead::Session(named)
        }
        None => Ahead::Login(
            ask.user_id.map(|text| input::user("/user_id", &text)).transpose()?,
            input::client("", ask.ip.as_deref(), ask.user_agent.as_deref())?,
        ),
    };
    Ok(json(StatusCode::OK, &ChallengeBody::from(web.app.challenge(&caller, &ahead)?)))
}

/// Binds a session to a device, for good.
///
/// Once, and within five minutes of the login; for another device the user has to authenticate again.
#[utoipa::path(
    post, path = "/v1/devices", tag = "devices", operation_id = "register_device",
    request_body = RegisterRequest,
    responses((status = 201, description = "The session with its device.", body = RegisteredBody<'static>))
)]
pub async fn register(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<RegisterRequest>,
) -> Answer {
    let Object(device) = ask.device;
    let session = named(ask.token, ask.session_id)?;
    let ask = Register {
        session: session
            .ok_or_else(|| Problem::field("/token", "is missing; or name the session by session_id"))?,
        guard: None,
        device: device.read(ask.method.as_deref(), ask.url.as_deref())?,
        client: input::client("", ask.ip.as_deref(), ask.user_agent.as_deref())?,
    };
    let (view, new_device) = web.app.register_device(&caller, &ask).await?;
    Ok(json(StatusCode::CREATED, &RegisteredBody { session: SessionBody::of(&view), new_device }))
}

/// Lists the devices that a user is known to have, the last seen first.
#[utoipa::path(
    get, path = "/v1/devices", tag = "devices", operation_id = "list_devices",
    params(("user_id" = String, Query, description = "Whose.")),
    responses((status = 200, description = "All of them, at most 50.", body = PageBody<DeviceBody<'static>>))
)]
pub async fn list(State(web): State<Arc<Web>>, By(caller): By, query: Params) -> Answer {
    let devices = web.app.devices(&caller, &user(&query)?).await?;
    let items = devices.iter().map(body).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: None }))
}

/// Names a device.
#[utoipa::path(
    patch, path = "/v1/devices/{id}", tag = "devices", operation_id = "name_device",
    params(
        ("id" = String, Path, description = "The thumbprint of its key."),
        ("user_id" = String, Query, description = "Whose.")
    ),
    request_body = NameDeviceRequest,
    responses((status = 200, description = "The device as it is now.", body = DeviceBody<'static>))
)]
pub async fn name(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    query: Params,
    Json(ask, _): Json<NameDeviceRequest>,
) -> Answer {
    let known = web.app.name_device(&caller, &user(&query)?, device(&id)?, &ask.name).await?;
    Ok(json(StatusCode::OK, &body(&known)))
}

/// Forgets a device: the user's next login with it is one from a new device.
///
/// Sessions that are bound to it go on, and stay bound to it; end them where they should not.
#[utoipa::path(
    delete, path = "/v1/devices/{id}", tag = "devices", operation_id = "forget_device",
    params(
        ("id" = String, Path, description = "The thumbprint of its key."),
        ("user_id" = String, Query, description = "Whose.")
    ),
    responses((status = 200, description = "It is forgotten.", body = ForgottenDevice))
)]
pub async fn forget(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    query: Params,
) -> Answer {
    web.app.forget_device(&caller, &user(&query)?, device(&id)?).await?;
    Ok(json(StatusCode::OK, &ForgottenDevice { forgotten: 1 }))
}

impl NewDevice {
    /// Checks method and URL of the request that the proof came with.
    ///
    /// # Errors
    /// `invalid_request`, with a JSON pointer to the place.
    pub(super) fn read(&self, method: Option<&str>, url: Option<&str>) -> Result<Introduction, Problem> {
        let sent = sent(|field| format!("/{field}"), &self.proof, method, url)?;
        Ok(Introduction { sent, remember: self.remember.unwrap_or(false) })
    }
}

/// A proof with the request it came with. Method and URL must be told: a proof that is not compared with its request can
/// be moved to another one.
pub(super) fn sent(
    at: impl Fn(&str) -> String,
    proof: &str,
    method: Option<&str>,
    url: Option<&str>,
) -> Result<Sent, Problem> {
    let method = method.and_then(target::method).ok_or_else(|| {
        Problem::field(at("method"), "with a device's proof, the request's method is needed, such as GET")
    })?;
    let url = url.and_then(target::url).ok_or_else(|| {
        Problem::field(
            at("url"),
            "with a device's proof, the request's URL is needed, such as https://app.example/orders",
        )
    })?;
    Ok(Sent { proof: proof.to_owned(), method: Some(method.to_owned()), url: Some(url) })
}

fn named(token: Option<String>, id: Option<String>) -> Result<Option<Named>, Problem> {
    match (token, id) {
        (Some(_), Some(_)) => {
            Err(Problem::field("/session_id", "send either `token` or `session_id`, not both"))
        }
        (Some(token), None) => Ok(Some(Named::Token(token))),
        (None, Some(id)) => input::session(&id).map(|id| Some(Named::Id(id))),
        (None, None) => Ok(None),
    }
}

fn user(query: &Params) -> Result<UserId, Problem> {
    let text =
        query.get("user_id")?.ok_or_else(|| Problem::field("user_id", "is missing: whose devices?"))?;
    input::user("user_id", text)
}

fn device(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(text).ok_or_else(|| {
        Problem::new(Code::NotFound, "a device's id is 43 letters: the thumbprint of its key in base64url")
    })
}

/// A known device, as it is told.
pub(super) fn body(known: &Known) -> DeviceBody<'_> {
    DeviceBody {
        id: known.id.to_string(),
        user_id: known.user.as_str(),
        name: known.name.as_deref(),
        key: known.key.kind(),
        first_seen_at: Time(known.first_seen),
        last_seen_at: Time(known.last_seen),
        client: ClientBody::of(&known.client),
    }
}
