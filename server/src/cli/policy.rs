//! `handstamp policy`: is it right, what would it do, which rule holds and why, put it in force, take an earlier one again.
//!
//! Nobody changes a policy unseen: what is about to change is tried on every live session first, its numbers stand above
//! the question, and the change is refused when somebody else was quicker.

mod file;
mod tables;

use super::address::encoded;
use super::args::Connection;
use super::client::Client;
use super::progress::Tally;
use super::sessions::pages;
use super::stream::{self, Blocks, SILENCE, silent};
use super::{Context, Exit, Failure, table};
use crate::config::Problems;
use clap::{Args, Subcommand};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tokio::time::timeout;

const PATH: &str = "/v1/policies";
const TRYING: &str = "trying the policy";
const VERSIONS: [(&str, &str); 5] = [
    ("VERSION", "version"),
    ("SINCE (UTC)", "at"),
    ("BY", "by"),
    ("TAKEN UP AGAIN", "restored"),
    ("SECTIONS", "sections"),
];

#[derive(Args)]
pub(super) struct Policy {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Say what is wrong with the policy in a file, or that nothing is; asks no server
    Check {
        /// A handstamp.toml with [policy] sections, or JSON as `PUT /v1/policies` takes it
        file: PathBuf,
    },
    /// Say what the policy in a file would do to live sessions; changes nothing
    Preview {
        /// TOML or JSON, as for check
        file: PathBuf,
    },
    /// Say which rules hold, and where each value comes from; with nothing named, for a session without tags
    Explain(Explain),
    /// Put the policy in a file in the place of the one in force
    Apply {
        /// TOML or JSON, as for check
        file: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// The policy in force, or an earlier version
    Show {
        /// As history lists it
        version: Option<u64>,
    },
    /// The versions of the policy, the newest first
    History {
        /// The most that are listed
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Take up an earlier version again, as a new one
    Rollback {
        /// As history lists it
        version: u64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
struct Explain {
    /// For this session, with what each rule says of it now
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "tags"])]
    session: Option<String>,
    /// For the live sessions of this user
    #[arg(long, value_name = "ID", conflicts_with = "tags")]
    user: Option<String>,
    /// For a session with these tags
    #[arg(long = "tag", value_name = "NAME:VALUE", num_args = 1..)]
    tags: Vec<String>,
}

impl Context<'_, '_> {
    pub(super) fn policy(&mut self, group: Policy) -> Result<Exit, Failure> {
        let connection = &group.connection;
        match group.verb {
            Verb::Check { file } => self.check_policy(&file),
            Verb::Preview { file } => {
                let candidate = self.candidate(&file)?;
                let client = self.client(connection)?;
                self.preview(&client, &candidate, &file)
            }
            Verb::Explain(asked) => {
                let mut client = self.client(connection)?;
                self.explain(&mut client, &asked)
            }
            Verb::Apply { file, yes } => {
                let candidate = self.candidate(&file)?;
                let question = format!("Put {} in force?", table::clean(&file.display().to_string()));
                self.somebody_says(yes, &question)?;
                let mut client = self.client(connection)?;
                let change = (Method::PUT, PATH.to_owned(), candidate.clone());
                self.change(&mut client, &candidate, &question, yes, change)
            }
            Verb::Rollback { version, yes } => {
                let question = format!("Take up version {version} again?");
                self.somebody_says(yes, &question)?;
                let mut client = self.client(connection)?;
                let earlier = earlier(&mut client, version)?;
                let policy = earlier.get("policy").cloned().unwrap_or_default();
                let change = (Method::POST, format!("{PATH}/rollback"), json!({"version": version}));
                self.change(&mut client, &policy, &question, yes, change)
            }
            Verb::Show { version } => {
                let mut client = self.client(connection)?;
                let found = match version {
                    None => in_force(&mut client)?,
                    Some(version) => earlier(&mut client, version)?,
                };
                self.show_policy(&found)
            }
            Verb::History { limit } => {
                let mut client = self.client(connection)?;
                self.versions(&mut client, limit)
            }
        }
    }

    /// Slips are the answer here, so they go to standard output.
    fn check_policy(&mut self, path: &Path) -> Result<Exit, Failure> {
        let problems =
            file::read(path, &self.sources).err().map_or(Vec::new(), |Problems(problems)| problems);
        self.checked(&table::clean(&path.display().to_string()), &problems, &[])
    }

    /// The policy of a file, for what needs a right one.
    fn candidate(&self, path: &Path) -> Result<Json, Failure> {
        file::read(path, &self.sources).map_err(|problems| Failure::not_right("the policy", problems))
    }

    fn preview(&mut self, client: &Client, policy: &Json, file: &Path) -> Result<Exit, Failure> {
        let preview = tried(client, policy, self.terminal.draws)?;
        if self.json {
            self.print_json(&preview)?;
            return Ok(Exit::Done);
        }
        self.line(tables::numbers(&preview))?;
        if let Some(examples) = tables::examples(&preview) {
            self.line(format!("\n{examples}"))?;
        }
        let met = tables::number(&preview, "would_end") + tables::number(&preview, "would_refuse");
        let named = preview.get("examples").and_then(Json::as_array).map_or(0, Vec::len);
        if u64::try_from(named).is_ok_and(|named| named < met) {
            self.note(format!("these are the first {named} of {met}"))?;
        }
        let name = table::clean(&file.display().to_string());
        self.note(match met {
            0 => format!(
                "Nothing was changed, and no session would notice: `handstamp policy apply {name}` puts it in force."
            ),
            _ => format!(
                "Nothing was changed: `handstamp policy apply {name}` puts it in force; where a session above should stay, loosen the rule that its origin names and try again."
            ),
        })?;
        Ok(Exit::Done)
    }

    fn explain(&mut self, client: &mut Client, asked: &Explain) -> Result<Exit, Failure> {
        let what = "explaining";
        // A script gets all there is; a line of a table has no room for it.
        let full = if self.json { "?full=true" } else { "" };
        let answer = match (&asked.session, &asked.user) {
            (Some(id), _) => {
                let path = format!("/v1/sessions/{}/explain{full}", encoded(id));
                client.call(Method::GET, &path, None, what)?.body
            }
            (None, user) => {
                let body = match user {
                    Some(user) => json!({"user_id": user}),
                    None => json!({"tags": asked.tags}),
                };
                client.call(Method::POST, &format!("{PATH}/explain{full}"), Some(&body), what)?.body
            }
        };
        if self.json {
            self.print_json(&answer)?;
            return Ok(Exit::Done);
        }
        match answer.get("sessions").and_then(Json::as_array) {
            None => self.explained(&answer)?,
            Some(all) if all.is_empty() => self.line("no live session")?,
            Some(all) => {
                for (at, one) in all.iter().enumerate() {
                    let gap = if at == 0 { "" } else { "\n" };
                    self.line(format!("{gap}session {}\n", table::cell(one.get("session_id"))))?;
                    self.explained(one)?;
                }
            }
        }
        Ok(Exit::Done)
    }

    fn explained(&mut self, one: &Json) -> Result<(), Failure> {
        self.line(tables::effective(one.get("policy").unwrap_or(&Json::Null)))?;
        let Some(rules) = one.get("rules").and_then(Json::as_array) else { return Ok(()) };
        self.line(format!("\n{}", tables::rules(rules)))?;
        let refusals = tables::refusals(rules);
        if refusals.is_empty() {
            return Ok(());
        }
        self.line(format!("\n{}", refusals.join("\n")))
    }

    /// Before anything is asked of the server: without a person, only `--yes` is a yes.
    fn somebody_says(&mut self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes || self.terminal.asks { Ok(()) } else { self.confirm(false, question).map(|_| ()) }
    }

    /// Tries `wanted`, asks, and makes the change, if the policy is still the one that was read.
    fn change(
        &mut self,
        client: &mut Client,
        wanted: &Json,
        question: &str,
        yes: bool,
        (method, path, body): (Method, String, Json),
    ) -> Result<Exit, Failure> {
        let now = in_force(client)?;
        if now.get("managed_by").and_then(Json::as_str) == Some("file") {
            let detail =
                "the server's configuration file says the policy, so nothing can change it over the API";
            let document = json!({"code": "policy_managed_by_file", "detail": detail});
            return Err(Failure::from_answer(409, document));
        }
        let version = tables::number(&now, "version");
        if now.get("policy") == Some(wanted) {
            if self.json {
                self.print_json(&now)?;
            } else {
                self.line(format!("version {version} is in force and says the same: nothing was changed"))?;
            }
            return Ok(Exit::Done);
        }
        let preview = tried(client, wanted, self.terminal.draws)?;
        // The answer to a program is one document; a person who is asked sees the numbers either way.
        match self.json {
            false => self.line(tables::numbers(&preview))?,
            true if !yes => self.note(tables::numbers(&preview))?,
            true => {}
        }
        client.hang_up();
        let ends = tables::number(&preview, "would_end");
        let asked = match ends {
            0 => question.to_owned(),
            n => format!("{question} It ends {}.", tables::counted(n)),
        };
        if !self.confirm(yes, &asked)? {
            return Ok(Exit::Failed);
        }
        let answer = client.call_if_match((method, &path), version, &body, "changing the policy")?.body;
        if self.json {
            self.print_json(&answer)?;
        } else {
            let new = table::cell(answer.get("version"));
            self.line(format!("version {new} is in force, from the next request on"))?;
            if version > 0 {
                self.note(format!("`handstamp policy rollback {version}` takes the one before up again"))?;
            }
        }
        Ok(Exit::Done)
    }

    fn show_policy(&mut self, found: &Json) -> Result<Exit, Failure> {
        if self.json {
            self.print_json(found)?;
            return Ok(Exit::Done);
        }
        let cell = |name: &str| table::cell(found.get(name));
        let head = match found.get("managed_by").and_then(Json::as_str) {
            Some("file") => "as the server's configuration file says".to_owned(),
            Some(_) => format!("version {}, in force", cell("version")),
            None => format!("version {}, said by {} at {}", cell("version"), cell("by"), cell("at")),
        };
        self.line(format!("{head}\n"))?;
        self.line(tables::said(found.get("policy").unwrap_or(&Json::Null)))?;
        Ok(Exit::Done)
    }

    fn versions(&mut self, client: &mut Client, limit: u32) -> Result<Exit, Failure> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let found = pages(client, &format!("{PATH}/versions"), &[], limit, "reading versions")?;
        if self.json {
            self.print_json(&json!({"items": found.items, "next_cursor": found.next}))?;
            return Ok(Exit::Done);
        }
        let mut rows = found.items;
        for row in &mut rows {
            let sections = tables::sections(row.get("policy").unwrap_or(&Json::Null));
            if let Json::Object(members) = row {
                members.insert("sections".to_owned(), sections);
            }
        }
        self.line(table::columns(&VERSIONS, &rows))?;
        if found.next.is_some() {
            self.note(format!("there are more than these {limit}: --limit shows more of them"))?;
        }
        Ok(Exit::Done)
    }
}

fn in_force(client: &mut Client) -> Result<Json, Failure> {
    Ok(client.call(Method::GET, PATH, None, "reading the policy")?.body)
}

fn earlier(client: &mut Client, version: u64) -> Result<Json, Failure> {
    let path = format!("{PATH}/versions/{version}");
    Ok(client.call(Method::GET, &path, None, "reading the version")?.body)
}

/// What a policy would do. The server looks at every session, and tells how far it is while it does.
fn tried(client: &Client, policy: &Json, draws: bool) -> Result<Json, Failure> {
    let body = json!({"policy": policy});
    let request = client.request(Method::POST, &format!("{PATH}/preview"), Some(&body))?;
    let broke = |why: &str| Failure::new(format!("{} broke off before it had a result{why}", client.url()));
    let mut tally = Tally::new(TRYING, draws);
    client.block_on(async {
        let mut stream = stream::open(client, request).await?;
        let mut blocks = Blocks::default();
        loop {
            let frame = match timeout(SILENCE, stream.frame()).await {
                Err(_) => return Err(silent()),
                Ok(None) => return Err(broke("")),
                Ok(Some(Err(e))) => return Err(broke(&format!(": {e}"))),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            for block in blocks.take(&bytes)? {
                let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                let Some(data) = line("data: ") else { continue };
                match line("event: ") {
                    Some("progress") => {
                        tally.at(tables::number(&stream::data(data)?, "looked_at"), "records looked at");
                    }
                    Some("result") => return stream::data(data),
                    // Its status had gone out already.
                    Some("error") => return Err(Failure::from_answer(503, stream::data(data)?)),
                    _ => {}
                }
            }
        }
    })
}
