//! `handstamp keys`: access keys, over the API. A new key's text goes to standard output alone, so that it can be piped
//! into the place where it belongs; everything about it goes to standard error.

use super::address::encoded;
use super::args::Connection;
use super::client::Client;
use super::environments::items;
use super::signing::SigningVerb;
use super::{Context, Exit, Failure, table};
use crate::config::setting::seconds;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value as Json, json};

#[derive(Args)]
pub(super) struct Keys {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(subcommand)]
    pub(super) verb: KeysVerb,
}

#[derive(Subcommand)]
pub(super) enum KeysVerb {
    /// Print a fresh key for [bootstrap] access_key, without asking any server
    Generate,
    /// Make a key; it is printed once
    Create {
        /// A name for people
        name: String,
        /// What it allows, such as sessions:read; several times or separated by commas [default: all that the asking
        /// key allows]
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', conflicts_with = "operator")]
        scopes: Vec<String>,
        /// Refused from then on, such as 90d
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<i64>,
        /// How often it may be used, such as 1000/1h
        #[arg(long, value_name = "RATE")]
        rate_limit: Option<String>,
        /// For operators: everything, in any environment
        #[arg(long)]
        operator: bool,
        /// For apps without a backend: no secret, good for nothing but their own sessions
        #[arg(long, conflicts_with_all = ["operator", "scopes", "rate_limit"])]
        publishable: bool,
    },
    /// All of them
    List,
    /// One of them
    Show {
        /// Its id, or its name
        key: String,
    },
    /// Refuse it until it is resumed
    Suspend {
        /// key_...
        id: String,
    },
    /// Take it again
    Resume {
        /// key_...
        id: String,
    },
    /// Say how often it may be used
    Limit {
        /// key_...
        id: String,
        /// Such as 1000/1h, or off
        rate: String,
    },
    /// Make its successor, which is printed once
    Rotate {
        /// key_...
        id: String,
        /// How long the old one is still taken, such as 1h; 0s ends it at once [default: a day]
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        overlap: Option<i64>,
    },
    /// The keys behind access tokens
    Signing {
        #[command(subcommand)]
        verb: SigningVerb,
    },
    /// Refuse it forever
    Revoke {
        /// key_...
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

const PATH: &str = "/v1/keys";
const HEADS: [(&str, &str); 10] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("KIND", "kind"),
    ("SCOPES", "scopes"),
    ("ENVIRONMENT", "home"),
    ("STATE", "state"),
    ("LIMIT", "rate_limit"),
    ("CREATED (UTC)", "created_at"),
    ("EXPIRES (UTC)", "expires_at"),
    ("LAST USED (UTC)", "last_used_at"),
];

impl Context<'_, '_> {
    pub(super) fn keys(&mut self, group: Keys) -> Result<Exit, Failure> {
        if matches!(group.verb, KeysVerb::Generate) {
            return self.generate();
        }
        let operator = matches!(group.verb, KeysVerb::Create { operator: true, .. })
            || group.connection.target().environment.is_some();
        let mut client = self.client_as(&group.connection, operator)?;
        match group.verb {
            KeysVerb::Generate => self.generate(),
            KeysVerb::Create { name, scopes, expires_in, rate_limit, operator, publishable } => {
                let mut body = Map::new();
                body.insert("name".to_owned(), json!(name));
                if operator {
                    body.insert("operator".to_owned(), json!(true));
                } else if !scopes.is_empty() {
                    body.insert("scopes".to_owned(), json!(scopes));
                }
                if publishable {
                    body.insert("kind".to_owned(), json!("publishable"));
                }
                if let Some(seconds) = expires_in {
                    body.insert("expires_in".to_owned(), json!(seconds));
                }
                if let Some(rate) = rate_limit {
                    body.insert("rate_limit".to_owned(), json!(rate));
                }
                let answer =
                    client.call(Method::POST, PATH, Some(&Json::Object(body)), "making the key")?.body;
                self.show_once(&answer, "made")
            }
            KeysVerb::List => {
                let answer = client.call(Method::GET, PATH, None, "reading keys")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    let rows: Vec<Json> = items(&answer).into_iter().map(with_home).collect();
                    self.line(table::columns(&HEADS, &rows))?;
                }
                Ok(Exit::Done)
            }
            KeysVerb::Show { key } => {
                let found = find(&mut client, &key)?;
                if self.json {
                    self.print_json(&found)?;
                } else {
                    self.line(table::record(&found))?;
                }
                Ok(Exit::Done)
            }
            KeysVerb::Suspend { id } => {
                self.change_key(&mut client, &id, json!({"state": "suspended"}), "is suspended")
            }
            KeysVerb::Resume { id } => {
                self.change_key(&mut client, &id, json!({"state": "active"}), "is active")
            }
            KeysVerb::Limit { id, rate } if rate == "off" => self.change_key(
                &mut client,
                &id,
                json!({"rate_limit": null}),
                "may be used as often as it likes",
            ),
            KeysVerb::Limit { id, rate } => {
                let done = format!("may be used {}", table::clean(&rate));
                self.change_key(&mut client, &id, json!({"rate_limit": rate}), &done)
            }
            KeysVerb::Signing { verb } => self.signing(&mut client, verb),
            KeysVerb::Rotate { id, overlap } => {
                let body = overlap.map_or_else(|| json!({}), |seconds| json!({"overlap": seconds}));
                let path = format!("{PATH}/{}/rotate", encoded(&id));
                let answer = client.call(Method::POST, &path, Some(&body), "making the successor")?.body;
                self.show_once(&answer, "the successor is")
            }
            KeysVerb::Revoke { id, yes } => {
                let question =
                    format!("Revoke {}? Whoever uses it is refused at once and forever.", table::clean(&id));
                if !self.confirm(yes, &question)? {
                    return Ok(Exit::Failed);
                }
                let path = format!("{PATH}/{}", encoded(&id));
                let answer = client.call(Method::DELETE, &path, None, "revoking the key")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(format!("revoked {}", table::clean(&id)))?;
                }
                Ok(Exit::Done)
            }
        }
    }

    fn generate(&mut self) -> Result<Exit, Failure> {
        let key = self.hooks.generate_key()?;
        if self.json {
            self.print_json(&json!({"secret": key.expose_secret()}))?;
        } else {
            self.line(key.expose_secret())?;
            self.note(
                "no server knows this key yet; as HANDSTAMP_BOOTSTRAP__ACCESS_KEY, or access_key in [bootstrap], it \
                 becomes the first key of an empty store",
            )?;
        }
        Ok(Exit::Done)
    }

    /// The only time that a key is shown.
    fn show_once(&mut self, answer: &Json, done: &str) -> Result<Exit, Failure> {
        if self.json {
            self.print_json(answer)?;
            return Ok(Exit::Done);
        }
        let secret = answer.get("secret").and_then(Json::as_str);
        let Some(secret) = secret else {
            return Err(Failure::new("the server made the key and did not show it")
                .help("`handstamp keys list` finds it; revoke it and make another"));
        };
        let key = answer.get("key").cloned().unwrap_or(Json::Null);
        let (id, name) = (table::cell(key.get("id")), table::cell(key.get("name")));
        self.note(format!("{done} {id} ({name}); this is the only time that it is shown:"))?;
        self.line(table::clean(secret))?;
        Ok(Exit::Done)
    }

    fn change_key(
        &mut self,
        client: &mut Client,
        id: &str,
        patch: Json,
        done: &str,
    ) -> Result<Exit, Failure> {
        let path = format!("{PATH}/{}", encoded(id));
        let answer = client.call(Method::PATCH, &path, Some(&patch), "changing the key")?.body;
        if self.json {
            self.print_json(&answer)?;
        } else {
            self.line(format!("{} {done}", table::clean(id)))?;
        }
        Ok(Exit::Done)
    }
}

/// By id, or by a name that only one key has.
fn find(client: &mut Client, wanted: &str) -> Result<Json, Failure> {
    let all = items(&client.call(Method::GET, PATH, None, "reading keys")?.body);
    let has = |key: &Json, member: &str| key.get(member).and_then(Json::as_str) == Some(wanted);
    if let Some(key) = all.iter().find(|key| has(key, "id")) {
        return Ok(key.clone());
    }
    let wanted_text = table::clean(wanted);
    let named: Vec<&Json> = all.iter().filter(|key| has(key, "name")).collect();
    match named.as_slice() {
        [key] => Ok((*key).clone()),
        [] => Err(Failure::new(format!("no key has the id or the name `{wanted_text}`"))
            .help("`handstamp keys list` shows all that this key may see")),
        several => Err(Failure::new(format!("{} keys have the name `{wanted_text}`", several.len()))
            .help("name the id: `handstamp keys list` shows it")),
    }
}

/// `product/environment` in one column.
fn with_home(mut key: Json) -> Json {
    let part = |name: &str| key.get(name).and_then(Json::as_str).map(str::to_owned);
    let home = match (part("product"), part("environment")) {
        (Some(product), Some(environment)) => Some(format!("{product}/{environment}")),
        (product, environment) => product.or(environment),
    };
    if let (Json::Object(members), Some(home)) = (&mut key, home) {
        members.insert("home".to_owned(), Json::String(home));
    }
    key
}
