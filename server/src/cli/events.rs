//! `handstamp events`: the history of an environment, read in pages or followed as it grows.

use super::address::query;
use super::args::Connection;
use super::client::Client;
use super::sessions::pages;
use super::stream::{self, Blocks, SILENCE};
use super::{Context, Exit, Failure, table};
use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value as Json, json};
use std::future::pending;
use std::time::Duration;
use tokio::time::timeout;

const PATH: &str = "/v1/events";
const HEADS: [(&str, &str); 9] = [
    ("ID", "id"),
    ("AT (UTC)", "at"),
    ("EVENT", "type"),
    ("USER", "user_id"),
    ("SESSION", "session_id"),
    ("CODE", "code"),
    ("BY", "by"),
    ("ADDRESS", "client.ip"),
    ("NOTE", "note"),
];

#[derive(Args)]
pub(super) struct Events {
    #[command(flatten)]
    connection: Connection,
    /// To this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Such as session.ended
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Refused or ended with this code, such as token_reused
    #[arg(long)]
    code: Option<String>,
    /// Only what came after the line with this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// The most that are listed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "follow")]
    limit: u32,
    /// Go on, with what happens from now on (or after --after), until interrupted
    #[arg(long)]
    follow: bool,
}

impl Context<'_, '_> {
    pub(super) fn events(&mut self, args: &Events) -> Result<Exit, Failure> {
        let mut client = self.client(&args.connection)?;
        let mut parameters = vec![
            ("user_id", args.user.as_deref()),
            ("type", args.kind.as_deref()),
            ("code", args.code.as_deref()),
        ];
        if args.follow {
            let path = format!("{PATH}{}", query(&parameters));
            return self
                .follow(&client, &path, args.after.clone(), |context, event| context.tell(&HEADS, event));
        }
        if let Some(after) = &args.after {
            // A page's cursor is the place to go on from, and so is the id of a line.
            parameters.push(("cursor", Some(after)));
        }
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        let found = pages(&mut client, PATH, &parameters, limit, "reading events")?;
        if self.json {
            self.print_json(&json!({"items": found.items, "next_cursor": found.next}))?;
            return Ok(Exit::Done);
        }
        self.line(table::columns(&HEADS, &found.items))?;
        if found.next.is_some() {
            let last = found.items.last().and_then(|item| item.get("id")).and_then(Json::as_str);
            let on = last.map_or_else(String::new, |last| format!(", --after {last} goes on"));
            self.note(format!("there are more than these {limit}: --limit shows more of them{on}"))?;
        }
        Ok(Exit::Done)
    }

    /// Reads a stream, and takes it up again where it broke.
    pub(super) fn follow(
        &mut self,
        client: &Client,
        path: &str,
        after: Option<String>,
        mut tell: impl FnMut(&mut Self, &Json) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        let mut told = Told { last: after, retry: Duration::from_secs(1), blocks: Blocks::default() };
        let mut stream = Some(client.block_on(begin(client, path, told.last.as_deref()))?);
        loop {
            let Some(open) = &mut stream else {
                client.block_on(wait(told.retry));
                match client.block_on(begin(client, path, told.last.as_deref())) {
                    Ok(again) => stream = Some(again),
                    // It starts anew, or its store does; what it refuses it will refuse again.
                    Err(failure) if failure.code().is_none_or(|code| code == "store_unavailable") => {}
                    Err(failure) => return Err(failure),
                }
                continue;
            };
            let frame = client.block_on(async { timeout(SILENCE, open.frame()).await });
            let Ok(Some(Ok(frame))) = frame else {
                self.note("the stream broke off; taking it up again")?;
                (stream, told.blocks) = (None, Blocks::default());
                continue;
            };
            let Ok(bytes) = frame.into_data() else { continue };
            for event in told.take(&bytes)? {
                tell(self, &event)?;
            }
        }
    }

    pub(super) fn tell(&mut self, heads: &[(&str, &str)], event: &Json) -> Result<(), Failure> {
        if self.json {
            self.line(event.to_string())?;
        } else {
            let members = heads.iter().map(|(_, member)| table::cell(table::member_of(event, member)));
            self.line(members.collect::<Vec<_>>().join("  "))?;
        }
        self.terminal.out.flush().map_err(Failure::output)
    }
}

/// What is known of a stream of server-sent events.
struct Told {
    last: Option<String>,
    retry: Duration,
    blocks: Blocks,
}

impl Told {
    /// Takes bytes, and gives what they complete.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Json>, Failure> {
        let mut events = Vec::new();
        for block in self.blocks.take(bytes)? {
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => self.last = Some(id.to_owned()),
                    Some(("retry", ms)) => self.retry = ms.parse().map_or(self.retry, Duration::from_millis),
                    Some(("data", data)) => events.push(stream::data(data)?),
                    _ => {}
                }
            }
        }
        Ok(events)
    }
}

async fn begin(client: &Client, path: &str, last: Option<&str>) -> Result<Incoming, Failure> {
    let mut request = client.request(Method::GET, path, None)?;
    if let Some(last) = last {
        let last = HeaderValue::from_str(last)
            .map_err(|_| Failure::usage("--after takes the id of a line", "such as 4711"))?;
        request.headers_mut().insert(HeaderName::from_static("last-event-id"), last);
    }
    stream::open(client, request).await
}

async fn wait(time: Duration) {
    let _ = timeout(time, pending::<()>()).await;
}
