//! What requests look like, and how they are read: JSON with a bound, unknown fields refused by name.

use super::problem::Problem;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::{Client, canonical};
use handstamp_core::tag::{Group, Tag};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::net::IpAddr;

/// Bodies have at most this many bytes.
pub const BODY: usize = 64 * 1_024;
/// Batches have at most this many bytes.
pub const BATCH: usize = 512 * 1_024;

/// A JSON body of at most `MOST` bytes, and its exact bytes.
pub struct Json<T, const MOST: usize = BODY>(pub T, pub Bytes);

impl<T: DeserializeOwned, S: Send + Sync, const MOST: usize> FromRequest<S> for Json<T, MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let bytes = read(request.into_body(), MOST).await?;
        Ok(Json(parse(&bytes)?, bytes))
    }
}

/// JSON must be said to be JSON: a browser cannot send that across origins without asking first (ASVS 3.5.2).
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let json = kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 17
            && kind.get(..12).is_some_and(|k| k.eq_ignore_ascii_case("application/"))
            && kind.ends_with("+json"));
    if json { Ok(()) } else { Err(Problem::code(Code::UnsupportedMediaType)) }
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
        let frame =
            frame.map_err(|_| Problem::new(Code::RequestTimeout, "the body did not arrive in full"))?;
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

/// Parses, and says where and what when it cannot.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|_| explain::<T>(bytes))
}

/// Parses again, slowly, to name the place.
fn explain<T: DeserializeOwned>(bytes: &[u8]) -> Problem {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return Problem::field("", "there is more than one JSON value in the body");
    };
    let mut pointer = String::new();
    for step in error.path() {
        match step {
            serde_path_to_error::Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            serde_path_to_error::Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => {}
        }
    }
    let full = error.inner().to_string();
    let message = full.split(" at line ").next().unwrap_or(&full).to_owned();
    Problem::field(pointer, message)
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
    each(pointer, texts, Tag::parse, Code::TagInvalid)
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

/// Address and agent of a request's client, as the caller tells them.
pub(super) fn client(address: Option<&str>, user_agent: Option<&str>) -> Result<Client, Problem> {
    Ok(Client { ip: ip(address)?, user_agent: agent(user_agent).map(Into::into) })
}

/// An address, in its canonical form. Leading zeros are refused: they mean different things to different programs.
pub(super) fn ip(text: Option<&str>) -> Result<Option<IpAddr>, Problem> {
    let wrong = || Problem::field("/ip", "not an IP address: write it such as 203.0.113.7 or 2001:db8::7");
    text.map(|text| text.parse().map(canonical).map_err(|_| wrong())).transpose()
}

/// A user agent, cut to what is kept. An empty one is none.
pub(super) fn agent(text: Option<&str>) -> Option<&str> {
    let agent = text.filter(|agent| !agent.is_empty())?;
    let end = agent.floor_char_boundary(Client::AGENT.min(agent.len()));
    agent.get(..end)
}

/// Session data: any JSON up to 16 KiB.
pub(super) fn data(value: Option<Box<RawValue>>) -> Result<Option<String>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let text = String::from(Box::<str>::from(value));
    if text.len() > crate::app::update::DATA_MOST {
        return Err(Problem::field(
            "/data",
            format!(
                "session data has at most {} bytes, this has {}",
                crate::app::update::DATA_MOST,
                text.len()
            ),
        ));
    }
    Ok(Some(text))
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
