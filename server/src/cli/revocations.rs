//! `handstamp revocations`: what those are told who verify access tokens themselves, as a whole or as it comes.

use super::args::Connection;
use super::{Context, Exit, Failure, table};
use clap::Args;
use http::Method;
use serde_json::Value as Json;

const PATH: &str = "/v1/revocations";
const HEADS: [(&str, &str); 9] = [
    ("ENDED (UTC)", "ended_at"),
    ("SESSION", "session_id"),
    ("TAG", "tag"),
    ("TAGS", "tags"),
    ("USER", "user_id"),
    ("ENVIRONMENT", "environment"),
    ("EPOCH", "epoch"),
    ("EXCEPT", "except"),
    ("UNTIL (UTC)", "until"),
];

#[derive(Args)]
pub(super) struct Revocations {
    #[command(flatten)]
    connection: Connection,
    /// Go on after the position of a snapshot, or after an id
    #[arg(long, value_name = "ID", requires = "follow")]
    after: Option<String>,
    /// Everything, or what came after --after, and on, until interrupted; with --json also up to when all was told
    #[arg(long)]
    follow: bool,
}

impl Context<'_, '_> {
    pub(super) fn revocations(&mut self, args: &Revocations) -> Result<Exit, Failure> {
        let mut client = self.client(&args.connection)?;
        if args.follow {
            return self.follow(&client, PATH, args.after.clone(), |context, told| {
                let is_item = told.get("until").is_some();
                if context.json || is_item { context.tell(&HEADS, told) } else { Ok(()) }
            });
        }
        let found = client.call(Method::GET, PATH, None, "reading revocations")?.body;
        if self.json {
            self.print_json(&found)?;
            return Ok(Exit::Done);
        }
        let items = found.get("items").and_then(Json::as_array).cloned().unwrap_or_default();
        self.line(table::columns(&HEADS, &items))?;
        Ok(Exit::Done)
    }
}
