//! The parameters of an address: each known by name, each once but `tag`.

use super::problem::Problem;
use axum::extract::FromRequestParts;
use http::Uri;
use http::request::Parts;

/// The parameters of an address. That all of them are known was looked at before (see [`only`]).
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, Problem> {
        read(&parts.uri).map(Params)
    }
}

fn read(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let query = uri.query().unwrap_or_default();
    serde_urlencoded::from_str(query).map_err(|_| {
        Problem::field("", "the query of the address is not well formed: write name=value&name=value")
    })
}

/// Refuses parameters that the route does not know, by name.
pub(super) fn only(uri: &Uri, known: &[&str]) -> Result<(), Problem> {
    if uri.query().is_none() {
        return Ok(());
    }
    match read(uri)?.into_iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) if known.is_empty() => {
            Err(Problem::field(name, "unknown parameter; this call takes none in its address"))
        }
        Some((name, _)) => {
            Err(Problem::field(name, format!("unknown parameter; known are {}", known.join(", "))))
        }
    }
}

impl Params {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::field(name, "may be given once"));
        }
        Ok(first)
    }
    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// How many items a page may have.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.get("limit")? else { return Ok(50) };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let limit = text.parse::<u32>().ok().filter(|n| digits && (1..=200).contains(n));
        limit.ok_or_else(|| Problem::field("limit", "a number from 1 to 200"))
    }
}
