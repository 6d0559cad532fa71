//! `handstamp keys signing`: the keys behind access tokens, over the API.

use super::client::Client;
use super::environments::items;
use super::{Context, Exit, Failure, table};
use crate::config::setting::seconds;
use clap::Subcommand;
use http::Method;
use serde_json::{Map, Value as Json, json};

#[derive(Subcommand)]
pub(super) enum SigningVerb {
    /// All of them, and where each stands
    List,
    /// Publish a new key, to be used after a delay; the old one verifies for a while longer
    Rotate {
        /// Which key: EdDSA, ES256 or RS256 [default: EdDSA]
        #[arg(long, value_name = "NAME")]
        algorithm: Option<String>,
        /// From now to the new key's first signature, such as 10m [default: 10m; 0s where there is none yet]
        #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "emergency")]
        activate_in: Option<i64>,
        /// From the old key's last signature to its end, such as 1h [default: 24h6m]
        #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "emergency")]
        retire_in: Option<i64>,
        /// The old key is in wrong hands: remove it at once, and with it every token that is out
        #[arg(long)]
        emergency: bool,
        /// sign, or data for the key that seals the data inside tokens [default: sign]
        #[arg(long, value_name = "PURPOSE")]
        purpose: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

const PATH: &str = "/v1/keys/signing";
const HEADS: [(&str, &str); 8] = [
    ("KEY", "kid"),
    ("ALGORITHM", "algorithm"),
    ("PURPOSE", "purpose"),
    ("STATE", "state"),
    ("CREATED (UTC)", "created_at"),
    ("IN USE FROM (UTC)", "activate_at"),
    ("IN USE UNTIL (UTC)", "retire_at"),
    ("VERIFIES UNTIL (UTC)", "remove_at"),
];

impl Context<'_, '_> {
    pub(super) fn signing(&mut self, client: &mut Client, verb: SigningVerb) -> Result<Exit, Failure> {
        match verb {
            SigningVerb::List => {
                let answer = client.call(Method::GET, PATH, None, "reading the keys")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(table::columns(&HEADS, &items(&answer)))?;
                }
                Ok(Exit::Done)
            }
            SigningVerb::Rotate { algorithm, activate_in, retire_in, emergency, purpose, yes } => {
                let question =
                    "Remove the keys at once? Every token that they signed or sealed is worthless then.";
                if emergency && !self.confirm(yes, question)? {
                    return Ok(Exit::Failed);
                }
                let said = [
                    ("algorithm", algorithm.map(Json::from)),
                    ("purpose", purpose.map(Json::from)),
                    ("activate_in", activate_in.map(Json::from)),
                    ("retire_in", retire_in.map(Json::from)),
                    ("emergency", emergency.then_some(json!(true))),
                ];
                let body: Map<String, Json> =
                    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
                let path = format!("{PATH}/rotate");
                let answer =
                    client.call(Method::POST, &path, Some(&Json::Object(body)), "rotating the key")?.body;
                self.rotated(&answer)
            }
        }
    }

    fn rotated(&mut self, answer: &Json) -> Result<Exit, Failure> {
        if self.json {
            self.print_json(answer)?;
            return Ok(Exit::Done);
        }
        let keys = answer.get("keys").and_then(Json::as_array).cloned().unwrap_or_default();
        self.line(table::columns(&HEADS, &keys))?;
        let cell = |name: &str| table::cell(answer.pointer(&format!("/key/{name}")));
        self.note(format!("the new key is {}, in use from {} on", cell("kid"), cell("activate_at")))?;
        Ok(Exit::Done)
    }
}
