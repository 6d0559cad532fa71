//! The wire protocol of PropelAuth BYO's published clients: `POST /run-command`, so that an application that uses them
//! moves over by changing an address and a key.
//!
//! * Every call is one POST with an access key as integration key, and `{"command": ..., "data": {...}}`.
//! * Success is 200 and the bare answer; a failure is another status and `{"type": ..., "details": ...}`, with a type that
//!   the command's clients know ([`failure`]). Some of them refuse what they do not know, so nothing is ever added.
//! * `null` is the same as left out: one of the clients writes every argument that nobody gave as `null`.
//! * Their word for "may not pass" never stands for an accident of ours: that is `UnexpectedError` with status 503.
//!
//! [`commands`]: what can be asked; [`answers`]: what is told; [`sessions`], [`devices`], [`tokens`]: one verb each.

use self::commands::Envelope;
use self::failure::Failure;
use crate::app::callers::Caller;
use crate::app::{App, Stop};
use crate::json;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use handstamp_core::rate::Standing;
use handstamp_core::refusal::Code;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use std::sync::Arc;

pub mod answers;
pub mod commands;
mod described;
pub mod devices;
pub mod failure;
mod read;
mod sessions;
mod tokens;

pub use described::described;

/// Where it is served.
pub const PATH: &str = "/run-command";
/// Bodies have at most this many bytes.
const BODY: usize = 64 * 1_024;

/// What is served.
pub fn routes(app: Arc<App>) -> axum::Router {
    axum::Router::new().route(PATH, post(run)).with_state(app)
}

async fn run(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let mut standing = None;
    let mut answer = match answer(&app, request, &mut standing).await {
        Ok(bytes) => {
            let mut answer = Response::new(Body::from(bytes));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        Err(failure) => failure.render(),
    };
    // The door writes how the key's budget stands.
    if let Some(standing) = standing {
        answer.extensions_mut().insert::<Standing>(standing);
    }
    answer
}

async fn answer(
    app: &App,
    request: Request<Body>,
    standing: &mut Option<Standing>,
) -> Result<Vec<u8>, Failure> {
    app.look_up().await.map_err(|error| plain(error.into()))?;
    let (head, body) = request.into_parts();
    let key = presented(&head.headers)?;
    let refused = |stop| Failure::of_caller(stop, key);
    let mut caller = app.caller(key, None).map_err(refused)?;
    *standing = caller.standing;
    is_json(&head.headers)?;
    let body = collect(body).await?;
    let Envelope { command, data } = commands::envelope(&body)?;
    if !matches!(&*command, "ValidateSession" | "ValidateAndRefreshSession") {
        app.look_up_newest().await.map_err(|error| plain(error.into()))?;
    }
    // The key may have gone while the body was waited for.
    app.after_waiting(&mut caller).await.map_err(refused)?;
    Box::pin(dispatch(app, &caller, &command, data.as_deref())).await
}

/// One verb each.
async fn dispatch(app: &App, by: &Caller, command: &str, data: Option<&str>) -> Result<Vec<u8>, Failure> {
    let data = commands::lean(data)?;
    let data = data.as_bytes();
    match command {
        "Ping" => told(&sessions::ping(app, read(data)?)),
        "CreateSession" => told(&sessions::create(app, by, read(data)?).await?),
        "ValidateSession" => told(&sessions::validate(app, by, read(data)?, false).await?),
        "ValidateAndRefreshSession" => told(&sessions::validate(app, by, read(data)?, true).await?),
        "FetchAllSessionsForUser" => sessions::of_user(app, by, read(data)?).await,
        "FetchAllSessions" => sessions::all(app, by, read(data)?).await,
        "FetchSessionById" => sessions::one(app, by, read(data)?).await,
        "UpdateSession" => told(&sessions::update(app, by, read(data)?).await?),
        "UpdateSessions" => told(&sessions::update_many(app, by, read(data)?).await?),
        "InvalidateSessionByToken" => told(&sessions::end_by_token(app, by, read(data)?).await?),
        "InvalidateSessionById" => told(&sessions::end(app, by, read(data)?).await?),
        "InvalidateAllSessionsForUser" => told(&sessions::end_all(app, by, read(data)?).await?),
        "InvalidateAllSessionsForUserExceptOne" => told(&sessions::end_others(app, by, read(data)?).await?),
        "CreateDeviceChallenge" => told(&devices::challenge(app, by, &read(data)?)?),
        "RegisterDevice" => told(&devices::register(app, by, read(data)?).await?),
        "CreateStatelessToken" => told(&tokens::create(app, by, read(data)?).await?),
        "GetJwks" => tokens::jwks(app, by, read(data)?).await,
        "RotateStatelessTokenKey" => told(&tokens::rotate(app, by, read(data)?).await?),
        _ => {
            let known = commands::NAMES.join(", ");
            Err(Failure::invalid("/command", &format!("is none of those that there are: {known}")))
        }
    }
}

/// Reads what a command is told; places are those of the whole body.
fn read<'a, T: serde::Deserialize<'a>>(data: &'a [u8]) -> Result<T, Failure> {
    json::parse(data).map_err(|wrong| Failure::wrong(&wrong, "/data"))
}

/// A refusal for which the command has no type.
fn plain(stop: Stop) -> Failure {
    Failure::of(stop, |_| None)
}

fn told<T: Serialize>(answer: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(answer).map_err(|_| Failure::impossible("an answer that is no JSON"))
}

/// Who calls: the integration key is an access key.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut keys = headers.get_all(header::AUTHORIZATION).iter();
    let key = keys.next().map(|value| value.to_str().unwrap_or("?"));
    if keys.next().is_some() {
        return Err(Failure::code(Code::AccessKeyInvalid).of_key("IntegrationKeyNotFound"));
    }
    Ok(key.map(|text| match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        _ => text.trim(),
    }))
}

fn is_json(headers: &HeaderMap) -> Result<(), Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if json::is_said(kind) { Ok(()) } else { Err(Failure::code(Code::UnsupportedMediaType)) }
}

async fn collect(body: Body) -> Result<Bytes, Failure> {
    match Limited::new(body, BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => Err(Failure::code(Code::BodyTooLarge)),
        Err(_) => Err(Failure::code(Code::RequestMalformed)),
    }
}
