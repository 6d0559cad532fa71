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
        Params::of(&parts.uri)
    }
}

fn read(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let query = uri.query().unwrap_or_default();
    let pairs = serde_urlencoded::from_str(query).ok().filter(|_| is_text(query));
    pairs.ok_or_else(|| {
        Problem::field(
            "",
            "the query of the address is not well formed: write name=value&name=value in UTF-8",
        )
    })
}

/// Whether what percent signs stand for is UTF-8. The URL standard puts U+FFFD where it is not, and then two names that
/// differ would become one.
fn is_text(query: &str) -> bool {
    let mut parts = query.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => plain.push(byte),
            None => plain.push(b'%'),
        }
        plain.extend_from_slice(part.get(digits.map_or(0, str::len)..).unwrap_or_default().as_bytes());
    }
    std::str::from_utf8(&plain).is_ok()
}

/// Refuses parameters that the route does not know, by name.
///
/// # Errors
/// `invalid_request`, with the name.
pub fn only(uri: &Uri, known: &[&str]) -> Result<(), Problem> {
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
    /// Those of `uri`.
    ///
    /// # Errors
    /// `invalid_request`, when the query is no query.
    pub fn of(uri: &Uri) -> Result<Params, Problem> {
        read(uri).map(Params)
    }
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
    ///
    /// # Errors
    /// `invalid_request`, unless it is from 1 to 200.
    pub fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.get("limit")? else { return Ok(50) };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let limit = text.parse::<u32>().ok().filter(|n| digits && (1..=200).contains(n));
        limit.ok_or_else(|| Problem::field("limit", "a number from 1 to 200"))
    }
}
