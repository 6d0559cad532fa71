//! `handstamp settings`: which pages may call the browser API, and which a login may lead back to.
//!
//! A list is read, changed and written back only if it is still the one that was read.

use super::args::Connection;
use super::client::Client;
use super::{Context, Exit, Failure, table};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value as Json, json};

#[derive(Args)]
pub(super) struct Settings {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: SettingsVerb,
}

#[derive(Subcommand)]
enum SettingsVerb {
    /// Pages of other origins that may call the browser API
    Cors {
        #[command(subcommand)]
        verb: Option<Verb>,
    },
    /// Pages that a login may lead back to
    RedirectOrigins {
        #[command(subcommand)]
        verb: Option<Verb>,
    },
}

#[derive(Subcommand)]
enum Verb {
    /// All of them, and where each is listed [default]
    Show,
    /// These and no others; with none, the list is emptied. What the configuration file lists stays
    Set {
        /// Such as https://app.example.org or http://localhost:3000
        #[arg(value_name = "ORIGIN")]
        origins: Vec<String>,
    },
    /// These beside the others
    Add {
        /// Such as https://app.example.org or http://localhost:3000
        #[arg(value_name = "ORIGIN", required = true)]
        origins: Vec<String>,
    },
    /// No longer these
    Remove {
        /// As the list says it
        #[arg(value_name = "ORIGIN", required = true)]
        origins: Vec<String>,
    },
}

/// A list, and what its absence means to people.
struct Which {
    path: &'static str,
    empty: &'static str,
}

const CORS: Which = Which {
    path: "/v1/settings/cors",
    empty: "no origin is listed: only pages of the server's own origin can use the browser API",
};
const REDIRECT: Which = Which {
    path: "/v1/settings/redirect-origins",
    empty: "no origin is listed: a login leads back to nowhere",
};

impl Context<'_, '_> {
    pub(super) fn settings(&mut self, group: &Settings) -> Result<Exit, Failure> {
        let (which, verb) = match &group.verb {
            SettingsVerb::Cors { verb } => (CORS, verb),
            SettingsVerb::RedirectOrigins { verb } => (REDIRECT, verb),
        };
        let mut client = self.client(&group.connection)?;
        let now = client.call(Method::GET, which.path, None, "reading the origins")?.body;
        let stored = texts(&now, "origins");
        let wanted = match verb.as_ref().unwrap_or(&Verb::Show) {
            Verb::Show => {
                self.origins(&which, &now)?;
                return Ok(Exit::Done);
            }
            Verb::Set { origins } => origins.clone(),
            Verb::Add { origins } => {
                let new = origins.iter().filter(|origin| !stored.contains(origin));
                stored.iter().chain(new).cloned().collect()
            }
            Verb::Remove { origins } => {
                all_listed(origins, &stored, &texts(&now, "from_file"))?;
                stored.iter().filter(|known| !origins.contains(known)).cloned().collect()
            }
        };
        if wanted == stored {
            self.origins(&which, &now)?;
            self.note("this is what was there: nothing was changed")?;
            return Ok(Exit::Done);
        }
        let answer = replaced(&mut client, &which, &now, &wanted)?;
        self.origins(&which, &answer)?;
        self.note("in force from the next request on")?;
        Ok(Exit::Done)
    }

    fn origins(&mut self, which: &Which, answer: &Json) -> Result<(), Failure> {
        if self.json {
            return self.print_json(answer);
        }
        let row = |from: &'static str| move |origin| json!({"origin": origin, "from": from});
        let api = texts(answer, "origins").into_iter().map(row("API"));
        let file = texts(answer, "from_file").into_iter().map(row("configuration file"));
        let rows: Vec<Json> = api.chain(file).collect();
        if rows.is_empty() {
            return self.line(which.empty);
        }
        self.line(table::columns(&[("ORIGIN", "origin"), ("LISTED IN", "from")], &rows))
    }
}

fn replaced(client: &mut Client, which: &Which, now: &Json, wanted: &[String]) -> Result<Json, Failure> {
    let version = now.get("version").and_then(Json::as_u64).unwrap_or(0);
    let body = json!({ "origins": wanted });
    Ok(client.call_if_match((Method::PUT, which.path), version, &body, "replacing the origins")?.body)
}

/// What is taken away must be there, or a slip of the pen would look like success.
fn all_listed(origins: &[String], stored: &[String], from_file: &[String]) -> Result<(), Failure> {
    let Some(missing) = origins.iter().find(|origin| !stored.contains(origin)) else { return Ok(()) };
    let missing_text = table::clean(missing);
    if from_file.contains(missing) {
        return Err(Failure::new(format!("{missing_text} is listed in the server's configuration file"))
            .help("take it out there; the running server reads the file again by itself"));
    }
    Err(Failure::new(format!("{missing_text} is not listed"))
        .help("write it as the list does; leave out the verb to see the list"))
}

fn texts(answer: &Json, member: &str) -> Vec<String> {
    let items = answer.get(member).and_then(Json::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
