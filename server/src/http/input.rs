//! What requests look like, and how they are read: JSON with a bound, unknown fields refused by name.

use super::Web;
use super::problem::Problem;
use crate::app::callers::Caller;
use crate::json::{is_said, parse, sound};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::{Bytes, BytesMut};
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Millis;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::sync::Arc;

/// Bodies have at most this many bytes.
pub const BODY: usize = 64 * 1_024;
/// Batches have at most this many bytes.
pub const BATCH: usize = 512 * 1_024;

/// A JSON body of at most `MOST` bytes, and its exact bytes.
pub struct Json<T, const MOST: usize = BODY>(pub T, pub Bytes);

/// The bytes of a JSON body of at most `MOST`, for what is parsed in place.
pub struct Raw<const MOST: usize = BODY>(pub Bytes);

impl<const MOST: usize> FromRequest<Arc<Web>> for Raw<MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Arc<Web>) -> Result<Self, Problem> {
        is_json(request.headers())?;
        Ok(Raw(whole(web, request, MOST).await?))
    }
}

impl<T: DeserializeOwned, const MOST: usize> FromRequest<Arc<Web>> for Json<T, MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Arc<Web>) -> Result<Self, Problem> {
        let Raw(bytes) = Raw::<MOST>::from_request(request, web).await?;
        Ok(Json(parse(&bytes)?, bytes))
    }
}

/// The body of a call that needs none: nothing, or `{}`, which some clients send of their own accord. What is in it would
/// not be looked at, so nothing may be.
pub struct Nothing;

/// No members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl FromRequest<Arc<Web>> for Nothing {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Arc<Web>) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let bytes = whole(web, request, BODY).await?;
        if !bytes.is_empty() {
            json?;
            let Empty {} = parse(&bytes)?;
        }
        Ok(Nothing)
    }
}

/// The variable parts of a path.
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What is no UTF-8 names nothing.
        let path = Path::from_request_parts(parts, state).await.map_err(|_| Problem::code(Code::NotFound))?;
        Ok(At(path.0))
    }
}

/// A header that may come once.
pub(super) fn header_once<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    called: &str,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::field(called, "may be given once"));
    }
    let text =
        first.map(|value| value.to_str().map_err(|_| Problem::field(called, "visible ASCII characters")));
    text.transpose()
}

/// JSON must be said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if is_said(kind) { Ok(()) } else { Err(Problem::code(Code::UnsupportedMediaType)) }
}

/// A read and an ending take no body. One that came is refused rather than ignored: a guard in it would guard nothing.
pub(super) fn no_body(request: &Request) -> Result<(), Problem> {
    let takes_none = matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE);
    if !takes_none || request.body().is_end_stream() {
        return Ok(());
    }
    Err(Problem::field("", "this call takes no body; what it can be told goes into the address"))
}

/// Reads the body of a request whose caller was recognised by its head. A client may take as long over it as the listener
/// lets it, so the caller's key is looked at again: it may be gone by then.
async fn whole(web: &Web, request: Request, most: usize) -> Result<Bytes, Problem> {
    let caller = request.extensions().get::<Caller>().cloned();
    let bytes = read(request.into_body(), most).await?;
    if let Some(mut caller) = caller {
        web.app.after_waiting(&mut caller).await?;
    }
    Ok(bytes)
}

/// Reads a body of at most `most` bytes.
pub(super) async fn read<B>(body: B, most: usize) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let too_large =
        || Problem::new(Code::BodyTooLarge, format!("the body has more than {} KiB", most / 1_024));
    let mut body = body;
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // The edge tells of a body that is too slow; here it has ended too early, or its chunks are no chunks.
        let frame = frame.map_err(|_| {
            Problem::new(
                Code::RequestMalformed,
                "the body ended before it was whole, or its chunks are malformed",
            )
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.is_none() && all.is_empty() && body.is_end_stream() {
            first = Some(data); // the usual case: one piece, not copied
            break;
        }
        if all.len() + data.len() > most {
            return Err(too_large());
        }
        all.extend_from_slice(&data);
    }
    let bytes = first.unwrap_or_else(|| all.freeze());
    if bytes.len() > most { Err(too_large()) } else { Ok(bytes) }
}

/// A list of texts, each read into a value of its own type.
pub(super) fn each<T>(
    pointer: &str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, String>,
    code: Code,
) -> Result<Vec<T>, Problem> {
    let read = |(at, text): (usize, &String)| {
        read(text).map_err(|why| {
            let field = Problem::field(format!("{pointer}/{at}"), why.clone());
            if code == Code::InvalidRequest { field } else { field.with_code(code) }
        })
    };
    texts.iter().enumerate().map(read).collect()
}

/// Tags of a request.
pub(super) fn tags(pointer: &str, texts: &[String]) -> Result<Vec<Tag>, Problem> {
    at_most(pointer, texts.len(), Tag::MOST, "tags")?;
    let read = |text: &str| Tag::parse(text).map_err(|_| Tag::FORM.to_owned());
    each(pointer, texts, read, Code::TagInvalid)
}

/// Access groups of a request.
pub(super) fn groups(pointer: &str, texts: &[String]) -> Result<Vec<Group>, Problem> {
    at_most(pointer, texts.len(), Group::MOST, "access groups")?;
    each(pointer, texts, Group::parse, Code::InvalidRequest)
}

fn at_most(pointer: &str, count: usize, most: usize, what: &str) -> Result<(), Problem> {
    if count > most {
        Err(Problem::field(pointer, format!("at most {most} {what}, these are {count}")))
    } else {
        Ok(())
    }
}

/// A user id of a request.
pub(super) fn user(pointer: &str, text: &str) -> Result<UserId, Problem> {
    UserId::new(text).map_err(|why| Problem::field(pointer, why))
}

/// A session id of a path.
pub(super) fn session(text: &str) -> Result<SessionId, Problem> {
    SessionId::parse(text)
        .ok_or_else(|| Problem::new(Code::NotFound, "a session id is written ses_ and 22 letters and digits"))
}

/// Address and agent of a request's client, as the caller tells them; `at` is where they lie in the body.
pub(super) fn client(at: &str, address: Option<&str>, user_agent: Option<&str>) -> Result<Client, Problem> {
    Ok(Client::told(ip(|| format!("{at}/ip"), address)?, user_agent))
}

/// An address: see [`Client::read_ip`].
pub(super) fn ip(pointer: impl FnOnce() -> String, text: Option<&str>) -> Result<Option<IpAddr>, Problem> {
    let wrong =
        || Problem::field(pointer(), "not an IP address: write it such as 203.0.113.7 or 2001:db8::7");
    text.map(|text| Client::read_ip(text).ok_or(())).transpose().map_err(|()| wrong())
}

/// Session data, or a patch of it: any sound JSON up to 16 KiB.
pub(super) fn data(pointer: &str, value: Option<Box<RawValue>>) -> Result<Option<Box<RawValue>>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let most = crate::app::update::DATA_MOST;
    if value.get().len() > most {
        let message = format!("session data has at most {most} bytes, this has {}", value.get().len());
        return Err(Problem::field(pointer, message));
    }
    sound(pointer, &value)?;
    Ok(Some(value))
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

/// Reads an instant of a request.
pub(super) fn instant(pointer: &str, text: &str) -> Result<Millis, Problem> {
    Millis::parse(text)
        .map_err(|_| Problem::field(pointer, "not an RFC 3339 time: write it such as 2026-01-31T13:45:00Z"))
}

/// Adding and removing names.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRemove {
    /// To add.
    #[serde(default)]
    pub add: Vec<String>,
    /// To remove.
    #[serde(default)]
    pub remove: Vec<String>,
}
