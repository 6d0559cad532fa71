//! The history of an environment: pages, and a stream of server-sent events that can be taken up again where it broke.

use super::Web;
use super::caller::By;
use super::input;
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::{json, stream};
use super::wire::{EventBody, PageBody};
use crate::app::Stop;
use crate::app::history::{News, Wanted};
use axum::extract::State;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::TryStreamExt;
use handstamp_core::event::EventKind;
use handstamp_core::refusal::Code;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;

/// How soon a client connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// Reads the history of the environment, oldest first; or follows it.
///
/// A page may have fewer items than asked for and still not be the last. With `Accept: text/event-stream` the answer is
/// a stream of server-sent events without an end: each has the `id` of its line and, as `data`, the line as in a page.
/// It begins after the line that `Last-Event-ID` or `after` names; without either, with what happens from now on. A
/// silence is broken at least every 10 seconds by a comment with the `id` up to which all was told. A stream that ends or
/// breaks is taken up with `Last-Event-ID`, and misses nothing.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "events",
    params(
        ("user_id" = Option<String>, Query, description = "To this user."),
        ("type" = Option<String>, Query, description = "Such as `session.ended`."),
        ("code" = Option<String>, Query, description = "Refused or ended with this code."),
        ("after" = Option<String>, Query, description = "The `id` of a line: only later ones. 0: from the beginning."),
        ("limit" = Option<u32>, Query, description = "1 to 200; left out: 50. Of pages."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before."),
        ("Last-Event-ID" = Option<String>, Header, description = "Of streams: the last `id` that was seen.")
    ),
    responses((status = 200, description = "A page of events, or the stream.", content(
        (PageBody<EventBody<'static>> = "application/json"),
        (String = "text/event-stream")
    )))
)]
pub async fn events(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    let wanted = wanted(&params)?;
    let after = after(&params)?;
    if !wants_stream(&headers) {
        let chapter = web.app.history(&caller, &wanted, after, params.limit()?).await?;
        let next_cursor = chapter.through.filter(|_| chapter.more).map(|through| through.to_string());
        let items = chapter.lines.iter().map(EventBody::of).collect();
        return Ok(json(StatusCode::OK, &PageBody { items, next_cursor }));
    }
    if params.get("limit")?.is_some() {
        return Err(Problem::field("limit", "a stream has no pages; leave it out"));
    }
    let last = input::header_once(&headers, "last-event-id", "Last-Event-ID")?;
    let last = last.map(|text| position("Last-Event-ID", text)).transpose()?;
    let news = web.app.clone().follow(caller, wanted, last.or(after)).await?;
    let parts = news.map_ok(|news| written(&news)).map_err(|stop| std::io::Error::other(told(stop)));
    let begin = futures_util::stream::iter([Ok(Bytes::from_static(RETRY))]);
    Ok(stream(futures_util::StreamExt::chain(begin, parts)))
}

fn wanted(params: &Params) -> Result<Wanted, Problem> {
    let kind = |text: &str| {
        EventKind::parse(text).ok_or_else(|| {
            let known = EventKind::ALL.map(EventKind::text).join(", ");
            Problem::field("type", format!("what happens is one of: {known}"))
        })
    };
    let code = |text: &str| {
        Code::parse(text).ok_or_else(|| Problem::field("code", "no code; /docs lists all of them"))
    };
    Ok(Wanted {
        user: params.get("user_id")?.map(|text| input::user("user_id", text)).transpose()?,
        kind: params.get("type")?.map(kind).transpose()?,
        code: params.get("code")?.map(code).transpose()?,
    })
}

/// Where to go on: `cursor` of a page, or `after` a line. Both are positions.
fn after(params: &Params) -> Result<Option<u64>, Problem> {
    match (params.get("cursor")?, params.get("after")?) {
        (Some(_), Some(_)) => Err(Problem::field("after", "send either `cursor` or `after`, not both")),
        (Some(text), None) => position("cursor", text).map(Some),
        (None, Some(text)) => position("after", text).map(Some),
        (None, None) => Ok(None),
    }
}

fn position(named: &str, text: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let position = text.parse().ok().filter(|_| digits);
    position.ok_or_else(|| Problem::field(named, "the id of a line of history, as it was given"))
}

/// Whether the caller asks for server-sent events.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    kinds.flat_map(|text| text.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// As server-sent events. No line of JSON has a line break in it, so each is one line of `data`.
fn written(news: &News) -> Bytes {
    let mut out = BytesMut::new();
    match news {
        News::Lines(lines) => {
            for line in lines {
                out.extend_from_slice(format!("id: {}\ndata: ", line.position).as_bytes());
                let mut writer = (&mut out).writer();
                // Writing into memory does not fail, and no shape of ours does either.
                let _ = serde_json::to_writer(&mut writer, &EventBody::of(line));
                out.extend_from_slice(b"\n\n");
            }
        }
        News::Quiet(position) => out.extend_from_slice(format!(": quiet\nid: {position}\n\n").as_bytes()),
    }
    out.freeze()
}

/// Why a stream broke, for the log alone: whoever follows sees that it did, and takes it up again.
fn told(stop: Stop) -> &'static str {
    if let Stop::Fault(fault) = stop {
        tracing::warn!(%fault, "a stream of history broke");
    }
    "the stream broke"
}
