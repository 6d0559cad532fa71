//! What those are told who verify access tokens themselves: which sessions ended of which a token could still live; as a
//! whole, and as a stream of server-sent events that says four times a second up to when all was told.

use super::Web;
use super::caller::By;
use super::events::wants_stream;
use super::input;
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::{stream, streamed_json};
use super::wire::Time;
use crate::app::Stop;
use crate::app::feed::{Entry, Position, Told, What};
use axum::extract::State;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use handstamp_core::epoch::Scope;
use handstamp_core::refusal::Code;
use handstamp_core::tag::Tag;
use http::HeaderMap;
use serde::Serialize;
use std::sync::Arc;

/// How soon a client connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 250\n\n";

/// All that is to be known, at an instant.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Revocations)]
pub struct SnapshotBody<'a> {
    /// From where on a stream tells what comes after it.
    position: String,
    /// Everything that was committed before this instant is in it.
    #[schema(value_type = String, format = DateTime)]
    as_of: Time,
    /// What has ended, in no order.
    items: Vec<EntryBody<'a>>,
}

/// A session that has ended, or an end of many at once: all with a tag, with all of some tags, of a user, or of the
/// whole environment.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = Revocation)]
pub enum EntryBody<'a> {
    /// A session.
    Session {
        /// Which.
        session_id: String,
        /// When it ended.
        #[schema(value_type = String, format = DateTime)]
        ended_at: Time,
        /// From this instant on no access token of it lives.
        #[schema(value_type = String, format = DateTime)]
        until: Time,
    },
    /// Many.
    Mass {
        /// All that carry this tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
        /// All that carry every one of these tags.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tags: Vec<&'a str>,
        /// All of this user.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a str>,
        /// All of this environment (`product/environment`).
        #[serde(skip_serializing_if = "Option::is_none")]
        environment: Option<&'a str>,
        /// Tokens with a smaller `epoch` have ended.
        epoch: u64,
        /// But not those of this session.
        #[serde(skip_serializing_if = "Option::is_none")]
        except: Option<String>,
        /// From this instant on no access token lives that it could be about.
        #[schema(value_type = String, format = DateTime)]
        until: Time,
    },
}

/// Up to when all was told.
#[derive(Serialize)]
struct Beat {
    as_of: Time,
}

/// Tells what has ended of which an access token could still live.
///
/// Ends of sessions that never had an access token are not in it, and nothing is for longer than a token could live. With
/// `Accept: text/event-stream` the answer is a stream of server-sent events without an end: an item as `data`, with the
/// position behind it as `id`; and at least four times a second `{"as_of": ...}`: everything that was committed before that
/// instant has been told. It goes on after the position that `Last-Event-ID` or `after` names. Without either, and when the
/// position is of before a restart of the server, it begins with `{"reset": true}` and tells everything: what was told
/// earlier may be forgotten, and nothing is known until the next `as_of`. It ends when the store does not answer.
#[utoipa::path(
    get, path = "/v1/revocations", tag = "tokens", operation_id = "revocations",
    params(
        ("after" = Option<String>, Query, description = "Of streams: a `position` or an `id`. 0: everything."),
        ("Last-Event-ID" = Option<String>, Header, description = "Of streams: the last `id` that was seen.")
    ),
    responses((status = 200, description = "All that is known now, or the stream.", content(
        (SnapshotBody<'static> = "application/json"),
        (String = "text/event-stream")
    )))
)]
pub async fn revocations(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    let after = params.get("after")?.map(|text| position("after", text)).transpose()?;
    let environment = caller.env.record.name.to_string();
    if !wants_stream(&headers) {
        if after.is_some() {
            return Err(Problem::field(
                "after",
                "this is everything; only a stream goes on after a position",
            ));
        }
        let mut snapshot = web.app.revocations(&caller).await?;
        let head = SnapshotBody {
            position: snapshot.position.to_string(),
            as_of: Time(snapshot.as_of),
            items: Vec::new(),
        };
        let mut head =
            serde_json::to_string(&head).map_err(|why| Problem::accident(Code::InternalError, &why))?;
        head.truncate(head.len().saturating_sub("]}".len()));
        let (now, mut first) = (snapshot.as_of, true);
        let items = std::iter::from_fn(move || {
            let some = snapshot.next(now)?;
            let mut out = BytesMut::new();
            for entry in &some {
                if !std::mem::take(&mut first) {
                    out.put_u8(b',');
                }
                write(&mut out, &EntryBody::of(entry, &environment));
            }
            Some(out.freeze())
        });
        let parts = std::iter::once(Bytes::from(head)).chain(items).chain([Bytes::from_static(b"]}")]);
        return Ok(streamed_json(futures_util::stream::iter(parts.map(Ok))));
    }
    let last = input::header_once(&headers, "last-event-id", "Last-Event-ID")?;
    let last = last.map(|text| position("Last-Event-ID", text)).transpose()?;
    let told = web.app.clone().follow_revocations(caller, last.or(after)).await?;
    let parts = told
        .map_ok(move |told| written(&told, &environment))
        .map_err(|stop| std::io::Error::other(why(stop)));
    let begin = futures_util::stream::iter([Ok(Bytes::from_static(RETRY))]);
    Ok(stream(begin.chain(parts)))
}

fn position(named: &str, text: &str) -> Result<Position, Problem> {
    Position::parse(text).ok_or_else(|| Problem::field(named, "a position or an id, as it was given, or 0"))
}

impl<'a> EntryBody<'a> {
    fn of(entry: &'a Entry, environment: &'a str) -> EntryBody<'a> {
        let until = Time(entry.until);
        match &entry.what {
            What::Session { id, at, .. } => {
                EntryBody::Session { session_id: id.to_string(), ended_at: Time(*at), until }
            }
            What::Mass(mass) => {
                let (mut tag, mut tags, mut user_id, mut all) = (None, Vec::new(), None, None);
                match &mass.scope {
                    Scope::All => all = Some(environment),
                    Scope::User(user) => user_id = Some(user.as_str()),
                    Scope::Tags(all) => match all.as_slice() {
                        [one] => tag = Some(one.as_str()),
                        some => tags.extend(some.iter().map(Tag::as_str)),
                    },
                }
                let except = mass.except.map(|id| id.to_string());
                EntryBody::Mass { tag, tags, user_id, environment: all, epoch: mass.epoch, except, until }
            }
        }
    }
}

/// As server-sent events. No line of JSON has a line break in it, so each is one line of `data`.
fn written(told: &Told, environment: &str) -> Bytes {
    let mut out = BytesMut::new();
    match told {
        Told::Reset => out.extend_from_slice(b"data: {\"reset\":true}\n\n"),
        Told::Entries(entries) => {
            for (position, entry) in entries {
                if let Some(position) = position {
                    out.extend_from_slice(format!("id: {position}\n").as_bytes());
                }
                event(&mut out, &EntryBody::of(entry, environment));
            }
        }
        Told::Beat { position, as_of } => {
            out.extend_from_slice(format!("id: {position}\n").as_bytes());
            event(&mut out, &Beat { as_of: Time(*as_of) });
        }
    }
    out.freeze()
}

fn event(out: &mut BytesMut, data: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    write(out, data);
    out.extend_from_slice(b"\n\n");
}

/// Writing into memory does not fail, and no shape of ours does either.
fn write(out: &mut BytesMut, data: &impl Serialize) {
    let _ = serde_json::to_writer(out.writer(), data);
}

/// Why a stream broke, for the log alone: whoever listens sees that it did, and takes it up again.
fn why(stop: Stop) -> &'static str {
    if let Stop::Fault(fault) = stop {
        tracing::warn!(%fault, "a stream of revocations broke");
    }
    "the stream broke"
}
