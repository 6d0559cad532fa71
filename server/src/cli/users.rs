//! `handstamp users`: who is logged in; erasing somebody.

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
    /// End all sessions of a user and erase what is known of them; prints a signed statement to keep
    Erase {
        /// The application's name for the user
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
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
            Verb::Erase { id, yes } => {
                let question = format!("Erase {} for good?", table::clean(&id));
                if !self.confirm(yes, &question)? {
                    return Ok(Exit::Failed);
                }
                let path = format!("{PATH}/{}/erase", encoded(&id));
                let answer = client.call(Method::POST, &path, None, "erasing the user")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(table::record(answer.get("statement").unwrap_or(&Json::Null)))?;
                    self.line(table::cell(answer.get("jws")))?;
                    self.note("keep the last line: it is the statement, signed")?;
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
