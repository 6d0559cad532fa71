//! `handstamp environments`: products and their environments, over the API.

use super::address::encoded;
use super::args::{Environments, EnvironmentsVerb};
use super::{Context, Exit, Failure, table};
use http::Method;
use serde_json::{Value as Json, json};

const PATH: &str = "/v1/environments";

impl Context<'_, '_> {
    pub(super) fn environments(&mut self, group: Environments) -> Result<Exit, Failure> {
        let mut client = self.client_as(&group.connection, true)?;
        match group.verb {
            EnvironmentsVerb::List => {
                let answer = client.call(Method::GET, PATH, None, "reading environments")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    let heads = [
                        ("PRODUCT", "product"),
                        ("ENVIRONMENT", "environment"),
                        ("CREATED (UTC)", "created_at"),
                    ];
                    self.line(table::columns(&heads, &items(&answer)))?;
                }
                Ok(Exit::Done)
            }
            EnvironmentsVerb::Create { name } => {
                let (product, environment) = split(&name)?;
                let body = json!({"product": product, "environment": environment});
                let answer = client.call(Method::POST, PATH, Some(&body), "making the environment")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(format!("made {name}"))?;
                    self.note(format!(
                        "a key for it: handstamp keys create NAME --env {name} --scope SCOPE"
                    ))?;
                }
                Ok(Exit::Done)
            }
            EnvironmentsVerb::Delete { name, yes } => {
                let (product, environment) = split(&name)?;
                if !self.confirm(yes, &format!("Delete {name} with every session and key in it?"))? {
                    return Ok(Exit::Failed);
                }
                let path = format!("{PATH}/{}/{}", encoded(product), encoded(environment));
                let answer = client.call(Method::DELETE, &path, None, "deleting the environment")?.body;
                if self.json {
                    self.print_json(&answer)?;
                } else {
                    self.line(format!("deleted {name}"))?;
                }
                Ok(Exit::Done)
            }
        }
    }
}

/// The members of `items`.
pub(super) fn items(answer: &Json) -> Vec<Json> {
    answer.get("items").and_then(Json::as_array).cloned().unwrap_or_default()
}

/// `product/environment`; what the names may be, the server says.
fn split(name: &str) -> Result<(&str, &str), Failure> {
    name.split_once('/')
        .filter(|(product, environment)| !product.is_empty() && !environment.is_empty())
        .ok_or_else(|| {
            Failure::usage(
                format!("`{}` is not product/environment", table::clean(name)),
                "write it such as shop/prd",
            )
        })
}
