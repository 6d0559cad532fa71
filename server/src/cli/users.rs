//! `handstamp users`: who is logged in.

use super::address::encoded;
use super::args::Connection;
use super::sessions::pages;
use super::{Context, Exit, Failure, table};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value as Json, json};

const PATH: &str = "/v1/users";
const HEADS: [(&str, &str); 5] = [
    ("USER", "id"),
    ("SESSIONS", "sessions"),
    ("LAST ACTIVE (UTC)", "last_active_at"),
    ("FROM", "from"),
    ("REFUSED IN 24 H", "refused"),
];

#[derive(Args)]
pub(super) struct Users {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Who has live sessions
    List {
        /// The most that are listed
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// One of them
    Show {
        /// The application's name for the user
        id: String,
    },
}

impl Context<'_, '_> {
    pub(super) fn users(&mut self, group: Users) -> Result<Exit, Failure> {
        let mut client = self.client(&group.connection)?;
        match group.verb {
            Verb::List { limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let found = pages(&mut client, PATH, &[], limit, "reading users")?;
                if self.json {
                    self.print_json(&json!({"items": found.items, "next_cursor": found.next}))?;
                    return Ok(Exit::Done);
                }
                let rows: Vec<Json> = found.items.iter().map(row).collect();
                self.line(table::columns(&HEADS, &rows))?;
                if found.next.is_some() {
                    self.note(format!("there are more than these {limit}: --limit shows more of them"))?;
                }
            }
            Verb::Show { id } => {
                let path = format!("{PATH}/{}", encoded(&id));
                let user = client.call(Method::GET, &path, None, "reading the user")?.body;
                if self.json {
                    self.print_json(&user)?;
                } else {
                    self.line(table::record(&user))?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// A user in one line: addresses and refusals as short texts.
fn row(user: &Json) -> Json {
    let each = |list: &str, text: &dyn Fn(&Json) -> String| {
        let items = user.get(list).and_then(Json::as_array).into_iter().flatten();
        Json::Array(items.map(|item| Json::String(text(item))).collect())
    };
    let cell = |item: &Json, name: &str| table::cell(item.get(name));
    let mut row = user.clone();
    if let Json::Object(members) = &mut row {
        members.insert("from".to_owned(), each("clients", &|client| cell(client, "ip")));
        let refused = |one: &Json| format!("{} {}", cell(one, "count"), cell(one, "code"));
        members.insert("refused".to_owned(), each("recent_refusals", &refused));
    }
    row
}
