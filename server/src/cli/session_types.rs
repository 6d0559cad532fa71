//! `handstamp session-types`: what sessions of a type have in common, over the API.

use super::address::encoded;
use super::args::Connection;
use super::environments::items;
use super::{Context, Exit, Failure, table};
use clap::{Args, Subcommand};
use http::Method;

const PATH: &str = "/v1/session-types";

#[derive(Args)]
pub(super) struct SessionTypes {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: SessionTypesVerb,
}

#[derive(Subcommand)]
enum SessionTypesVerb {
    /// All of them
    List,
    /// One of them
    Show {
        /// NAME of the tag type:NAME
        name: String,
    },
}

impl Context<'_, '_> {
    pub(super) fn session_types(&mut self, group: &SessionTypes) -> Result<Exit, Failure> {
        let mut client = self.client(&group.connection)?;
        match &group.verb {
            SessionTypesVerb::List => {
                let answer = client.call(Method::GET, PATH, None, "reading session types")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    let heads = [
                        ("NAME", "name"),
                        ("EXPIRES IN", "session_type.expires_in"),
                        ("REFRESH EXPIRES IN", "session_type.refresh_expires_in"),
                        ("SELECTOR", "session_type.selector"),
                        ("VERSION", "version"),
                        ("MANAGED BY", "managed_by"),
                    ];
                    self.line(table::columns(&heads, &items(&answer)))?;
                }
            }
            SessionTypesVerb::Show { name } => {
                let path = format!("{PATH}/{}", encoded(name));
                let answer = client.call(Method::GET, &path, None, "reading the session type")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(table::record(&answer))?;
                }
            }
        }
        Ok(Exit::Done)
    }
}
