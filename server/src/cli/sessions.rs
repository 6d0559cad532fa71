//! `handstamp sessions`: find, read, judge and end sessions, over the API.

use super::address::{encoded, query};
use super::args::{Filter, Revoke, Sessions, SessionsVerb};
use super::client::Client;
use super::environments::items;
use super::hooks::Progress;
use super::progress::Bar;
use super::{Context, Exit, Failure, table};
use http::Method;
use serde_json::{Map, Value as Json, json};
use std::io::Read;

const PATH: &str = "/v1/sessions";
/// The most that one page holds.
const PAGE: usize = 200;
/// The server counts no further for an estimate.
const COUNTED: u64 = 10_000;
const HEADS: [(&str, &str); 9] = [
    ("ID", "id"),
    ("USER", "user_id"),
    ("STATE", "state"),
    ("TAGS", "tags"),
    ("CREATED (UTC)", "created_at"),
    ("LAST ACTIVE (UTC)", "last_active_at"),
    ("EXPIRES (UTC)", "expires_at"),
    ("ADDRESS", "client.ip"),
    ("DEVICE", "client.display_name"),
];
const EVENT_HEADS: [(&str, &str); 7] = [
    ("AT (UTC)", "at"),
    ("EVENT", "type"),
    ("CODE", "code"),
    ("BY", "by"),
    ("NOTE", "note"),
    ("RULE FROM", "origin"),
    ("EVIDENCE", "evidence"),
];

impl Context<'_, '_> {
    pub(super) fn sessions(&mut self, group: Sessions) -> Result<Exit, Failure> {
        let mut client = self.client(&group.connection)?;
        match group.verb {
            SessionsVerb::List { filter, limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let found = pages(&mut client, PATH, &parameters(&filter), limit, "reading sessions")?;
                if self.json {
                    return self.done_json(&json!({"items": found.items, "next_cursor": found.next}));
                }
                self.line(table::columns(&HEADS, &found.items))?;
                if found.next.is_some() {
                    self.note(format!("there are more than these {limit}: --limit shows more of them"))?;
                }
                Ok(Exit::Done)
            }
            SessionsVerb::Count { filter } => {
                let path = format!("{PATH}/count{}", query(&parameters(&filter)));
                let answer = client.call(Method::GET, &path, None, "counting sessions")?.body;
                if self.json {
                    return self.done_json(&answer);
                }
                let more = answer.get("or_more").and_then(Json::as_bool).unwrap_or(false);
                let count = table::cell(answer.get("count"));
                self.line(if more { format!("{count} or more") } else { count })?;
                Ok(Exit::Done)
            }
            SessionsVerb::Show { id } => {
                let answer =
                    client.call(Method::GET, &format!("{PATH}/{}", encoded(&id)), None, "reading")?.body;
                if self.json {
                    return self.done_json(&answer);
                }
                self.line(table::record(answer.get("session").unwrap_or(&answer)))?;
                Ok(Exit::Done)
            }
            SessionsVerb::Events { id } => {
                let path = format!("{PATH}/{}/events", encoded(&id));
                let found = pages(&mut client, &path, &[], usize::MAX, "reading events")?;
                if self.json {
                    return self.done_json(&json!({"items": found.items}));
                }
                self.line(table::columns(&EVENT_HEADS, &found.items))?;
                Ok(Exit::Done)
            }
            SessionsVerb::Validate => self.validate(&mut client),
            SessionsVerb::Revoke(args) if args.ids.is_empty() => self.revoke_found(&mut client, &args),
            SessionsVerb::Revoke(args) => self.revoke_named(&mut client, &args),
        }
    }

    fn done_json(&mut self, value: &Json) -> Result<Exit, Failure> {
        self.print_json(value)?;
        Ok(Exit::Done)
    }

    /// Looking must not keep a session alive: no touch, no rotation.
    fn validate(&mut self, client: &mut Client) -> Result<Exit, Failure> {
        if self.terminal.asks {
            self.note("paste the token and press Enter:")?;
        }
        let mut token = String::new();
        if self.terminal.asks {
            self.terminal.input.read_line(&mut token).map_err(Failure::output)?;
        } else {
            let mut input = (&mut *self.terminal.input).take(1 << 16);
            input.read_to_string(&mut token).map_err(Failure::output)?;
        }
        let token = token.trim();
        if token.is_empty() {
            return Err(Failure::usage(
                "no token was given",
                "write it to standard input, not on the command line",
            ));
        }
        let body = json!({"token": token, "touch": false});
        let answer = client.call(Method::POST, &format!("{PATH}/validate"), Some(&body), "judging")?.body;
        let valid = answer.get("valid").and_then(Json::as_bool) == Some(true);
        if self.json {
            self.print_json(&answer)?;
        } else if valid {
            self.line("valid")?;
            self.line(table::record(answer.get("session").unwrap_or(&Json::Null)))?;
        } else {
            let (code, detail) = (table::cell(answer.get("code")), table::cell(answer.get("detail")));
            self.line(format!("refused: {code}: {detail}"))?;
        }
        Ok(if valid { Exit::Done } else { Exit::Failed })
    }

    /// Goes on after a failure, so that one wrong id does not keep the others alive.
    fn revoke_named(&mut self, client: &mut Client, args: &Revoke) -> Result<Exit, Failure> {
        let bar = Bar::new("ending sessions", self.terminal.draws);
        let total = u64::try_from(args.ids.len()).unwrap_or(u64::MAX);
        let mut ended = 0;
        let mut failed = Vec::new();
        for (done, id) in (1..).zip(&args.ids) {
            let path = format!("{PATH}/{}{}", encoded(id), query(&[("reason", args.reason.as_deref())]));
            match client.call(Method::DELETE, &path, None, "ending the session") {
                Ok(answer) => ended += answer.body.get("ended").and_then(Json::as_u64).unwrap_or(0),
                Err(failure) => failed.push((id, failure)),
            }
            bar.at(done, total);
        }
        bar.finish();
        if self.json {
            let failed: Vec<Json> =
                failed.iter().map(|(id, f)| json!({"id": id, "error": f.to_json()["error"]})).collect();
            self.print_json(&json!({"ended": ended, "failed": failed}))?;
        } else {
            for (id, failure) in &failed {
                self.note(format!("{}: {failure}", table::clean(id)))?;
            }
            self.line(format!("ended {ended}"))?;
        }
        Ok(if failed.is_empty() { Exit::Done } else { Exit::Failed })
    }

    /// Says first how many there are, and asks.
    fn revoke_found(&mut self, client: &mut Client, args: &Revoke) -> Result<Exit, Failure> {
        let mut body = filter_of(args)?;
        let path = format!("{PATH}/revoke");
        body.insert("dry_run".to_owned(), json!(true));
        let estimate =
            client.call(Method::POST, &path, Some(&Json::Object(body.clone())), "counting sessions")?.body;
        if args.dry_run {
            if self.json {
                return self.done_json(&estimate);
            }
            self.line(format!("would end {}", amount(&estimate)))?;
            return Ok(Exit::Done);
        }
        if estimate.get("ended").and_then(Json::as_u64) == Some(0) {
            if self.json {
                return self.done_json(&estimate);
            }
            self.line("no live session matches")?;
            return Ok(Exit::Done);
        }
        let question = format!("End {}?", amount(&estimate));
        client.hang_up();
        if !self.confirm(args.yes, &question)? {
            return Ok(Exit::Failed);
        }
        body.remove("dry_run");
        let answer = client.call(Method::POST, &path, Some(&Json::Object(body)), "ending sessions")?.body;
        if self.json {
            return self.done_json(&answer);
        }
        self.line(format!("ended {}", amount(&answer)))?;
        Ok(Exit::Done)
    }
}

fn parameters(filter: &Filter) -> Vec<(&str, Option<&str>)> {
    let mut all = vec![
        ("user_id", filter.user.as_deref()),
        ("ip", filter.ip.as_deref()),
        ("browser", filter.browser.as_deref()),
        ("os", filter.os.as_deref()),
        ("device_id", filter.device_id.as_deref()),
        ("state", filter.state.as_deref()),
        ("code", filter.code.as_deref()),
        ("created_after", filter.created_after.as_deref()),
        ("created_before", filter.created_before.as_deref()),
    ];
    all.extend(filter.tags.iter().map(|tag| ("tag", Some(tag.as_str()))));
    all
}

fn filter_of(args: &Revoke) -> Result<Map<String, Json>, Failure> {
    let mut body = Map::new();
    let mut say = |name: &str, value: Option<Json>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    say("user_id", args.user.as_ref().map(|user| json!(user)));
    say("tags", (!args.tags.is_empty()).then(|| json!(args.tags)));
    say("ip", args.ip.as_ref().map(|ip| json!(ip)));
    say("after", args.after.as_ref().map(|after| json!(after)));
    say("before", args.before.as_ref().map(|before| json!(before)));
    say("all", args.all.then_some(Json::Bool(true)));
    if body.is_empty() {
        let help = "name sessions by id, or with --user, --tag, --ip, --after, --before or --all";
        return Err(Failure::usage("which sessions?", help));
    }
    if let Some(except) = &args.except {
        body.insert("except".to_owned(), json!(except));
    }
    if let Some(reason) = &args.reason {
        body.insert("reason".to_owned(), json!(reason));
    }
    Ok(body)
}

/// `{"ended": n}`, or `{"ended": null, "estimate": n}` where an epoch ends them all at once.
fn amount(answer: &Json) -> String {
    let number = |name: &str| answer.get(name).and_then(Json::as_u64);
    match (number("ended"), number("estimate")) {
        (Some(1), _) => "1 session".to_owned(),
        (Some(n), _) => format!("{n} sessions"),
        (None, Some(COUNTED)) => format!("{COUNTED} sessions or more"),
        (None, Some(n)) => format!("about {n} sessions"),
        (None, None) => "sessions, and the server does not say how many".to_owned(),
    }
}

pub(super) struct Found {
    pub(super) items: Vec<Json>,
    pub(super) next: Option<Json>,
}

/// Follows cursors until `limit` are read or there are no more.
pub(super) fn pages(
    client: &mut Client,
    path: &str,
    parameters: &[(&str, Option<&str>)],
    limit: usize,
    what: &'static str,
) -> Result<Found, Failure> {
    let mut found = Found { items: Vec::new(), next: None };
    loop {
        let size = (limit - found.items.len()).min(PAGE).to_string();
        let cursor = found.next.as_ref().and_then(Json::as_str).map(str::to_owned);
        // A `cursor` among the parameters says where the first page begins.
        let mut all = parameters.to_vec();
        all.retain(|(name, _)| *name != "cursor" || cursor.is_none());
        all.push(("limit", Some(&size)));
        all.push(("cursor", cursor.as_deref()));
        let answer = client.call(Method::GET, &format!("{path}{}", query(&all)), None, what)?.body;
        // A page may hold fewer than were asked for, even none, and not be the last.
        found.items.extend(items(&answer));
        found.items.truncate(limit);
        found.next = answer.get("next_cursor").filter(|next| next.is_string()).cloned();
        if found.next.is_none() || found.items.len() >= limit {
            return Ok(found);
        }
        if found.next.as_ref().and_then(Json::as_str) == cursor.as_deref() {
            return Err(Failure::new("the server gives the same page again and again"));
        }
    }
}
