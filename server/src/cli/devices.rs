//! `handstamp devices`: the devices that a user is known to have, over the API.

use super::address::encoded;
use super::args::Connection;
use super::environments::items;
use super::{Context, Exit, Failure, table};
use clap::{Args, Subcommand};
use http::Method;

const PATH: &str = "/v1/devices";
const HEADS: [(&str, &str); 7] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("KEY", "key"),
    ("REMEMBERED (UTC)", "first_seen_at"),
    ("LAST LOGIN (UTC)", "last_seen_at"),
    ("ADDRESS", "client.ip"),
    ("USER AGENT", "client.user_agent"),
];

#[derive(Args)]
pub(super) struct Devices {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: DevicesVerb,
}

#[derive(Subcommand)]
enum DevicesVerb {
    /// All of a user
    List {
        /// Whose, by the application's name for them
        #[arg(long)]
        user: String,
    },
    /// Forget one: the next login with it is one from a new device
    Forget {
        /// As the list says it
        id: String,
        /// Whose, by the application's name for them
        #[arg(long)]
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Context<'_, '_> {
    pub(super) fn devices(&mut self, group: &Devices) -> Result<Exit, Failure> {
        let mut client = self.client(&group.connection)?;
        match &group.verb {
            DevicesVerb::List { user } => {
                let path = format!("{PATH}?user_id={}", encoded(user));
                let answer = client.call(Method::GET, &path, None, "reading devices")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(table::columns(&HEADS, &items(&answer)))?;
                }
                Ok(Exit::Done)
            }
            DevicesVerb::Forget { id, user, yes } => {
                let question = format!(
                    "Forget {} of {}? The next login with it is one from a new device; nobody is signed out.",
                    table::clean(id),
                    table::clean(user)
                );
                if !self.confirm(*yes, &question)? {
                    return Ok(Exit::Failed);
                }
                let path = format!("{PATH}/{}?user_id={}", encoded(id), encoded(user));
                let answer = client.call(Method::DELETE, &path, None, "forgetting the device")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(format!("forgotten {}", table::clean(id)))?;
                }
                Ok(Exit::Done)
            }
        }
    }
}
