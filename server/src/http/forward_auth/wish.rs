//! What an operator wants of a verdict: the parameters of the address that a proxy asks.
//!
//! Some proxies write the client's own address behind ours: Caddy keeps its query, Envoy appends path and query. What a
//! client wrote must never count as what the operator wrote, nor what the operator wrote be dropped because it looks
//! like the client's. So parameters belong to the segment that is ours alone, and end where the client's path begins:
//!
//! ```text
//! /v1/forward-auth;tags=role:admin;rotate=auto/the/clients/own?path=and&tags=query
//! ```
//!
//! * Behind a semicolon they are the operator's, and no query is looked at.
//! * Without one, a query counts where the address ends with `/v1/forward-auth` and the query is not, letter by letter, the
//!   one of the client's own address: nginx and Traefik send what is in their configuration and nothing else.
//! * Where a query may be the client's, it is not looked at; if it has one of our names, the request is refused. It might
//!   be a condition that the operator relies on.

use crate::http::input;
use crate::http::problem::Problem;
use handstamp_core::policy::Policy;
use handstamp_core::step_up::{Assured, Level};
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Span;
use http::Uri;

/// Where verdicts are given.
pub const PATH: &str = "/v1/forward-auth";

/// Whether an address is one of this door.
pub fn is_here(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ';']))
}

/// Every parameter by its name.
pub const NAMES: &[&str] =
    &["tags", "access_groups", "max_auth_age", "min_level", "rotate", "data", "login", "csrf"];

/// What is wanted.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Wish {
    /// Tags that the session must carry, all of them.
    pub(super) tags: Vec<Tag>,
    /// Groups that it must be in, all of them.
    pub(super) groups: Vec<Group>,
    /// How surely it must be the user.
    pub(super) assured: Assured,
    /// Whether the proxy passes `Set-Cookie` on.
    pub(super) rotate: bool,
    /// Whether the session's data is wanted.
    pub(super) data: bool,
    /// Whether requests that change something are to show the session's CSRF token.
    pub(super) csrf: bool,
    /// How somebody without a session gets to the login page, if they are to.
    pub(super) login: Option<Login>,
}

/// How the address of the login page is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Login {
    /// By a redirect that the proxy passes on.
    Redirect,
    /// In the `Location` of a 401: nginx takes no redirect from whom it asks.
    Header,
}

/// What an address asks for, and what of it is the client's own.
pub(super) struct Address<'a> {
    /// What the operator wants.
    pub(super) wish: Wish,
    /// What a proxy appended: the client's path. Empty when there is none.
    pub(super) suffix: &'a str,
}

/// Reads the address of a request; `own` is the query of the client's own address, where that is known.
///
/// # Errors
/// `invalid_request`, with the parameter that is wrong.
pub(super) fn read<'a>(uri: &'a Uri, own: Option<&str>) -> Result<Address<'a>, Problem> {
    let rest = uri.path().strip_prefix(PATH).unwrap_or_default();
    let (ours, suffix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let query = uri.query().filter(|query| !query.is_empty());
    let wish = match (ours.strip_prefix(';'), query) {
        (Some(ours), _) => wish(ours.split(';'))?,
        (None, Some(query)) if suffix.is_empty() && own != Some(query) => wish(query.split('&'))?,
        (None, Some(query)) => {
            if let Some(name) = query.split('&').map(name_of).find(|name| NAMES.contains(&name.as_ref())) {
                return Err(Problem::field(
                    name,
                    "this may be the client's own query, which the proxy has appended: in the proxy's configuration write \
                     parameters behind semicolons, as in /v1/forward-auth;tags=role:admin, or one semicolon if there \
                     are none",
                ));
            }
            Wish::default()
        }
        (None, None) => Wish::default(),
    };
    Ok(Address { wish, suffix })
}

fn name_of(pair: &str) -> String {
    decode(pair.split('=').next().unwrap_or_default()).unwrap_or_default()
}

fn wish<'a>(pairs: impl Iterator<Item = &'a str>) -> Result<Wish, Problem> {
    let mut wish = Wish::default();
    let mut seen: Vec<String> = Vec::new();
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let not_text =
            || Problem::field("", "the parameters are not well formed: write name=value, in UTF-8");
        let name = decode(name).ok_or_else(not_text)?;
        if !NAMES.contains(&name.as_str()) {
            let message = format!("unknown parameter; known are {}", NAMES.join(", "));
            return Err(Problem::field(name, message));
        }
        if seen.contains(&name) {
            return Err(Problem::field(name, "may be given once; several values are separated by commas"));
        }
        let value = decode(value).ok_or_else(not_text)?;
        take(&mut wish, &name, &value)?;
        seen.push(name);
    }
    Ok(wish)
}

fn take(wish: &mut Wish, name: &str, value: &str) -> Result<(), Problem> {
    let listed = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
    let wrong = |message: &str| Problem::field(name, message);
    match name {
        "tags" => wish.tags = input::tags(name, &listed())?,
        "access_groups" => wish.groups = input::groups(name, &listed())?,
        "max_auth_age" => {
            let digits = value.bytes().all(|b| b.is_ascii_digit());
            let span = value.parse().ok().filter(|_| digits).map(Span::secs);
            let span = span.filter(|span| *span <= Policy::LONGEST);
            wish.assured.max_age = Some(span.ok_or_else(|| wrong("seconds, at most 316224000 (3660 days)"))?);
        }
        "min_level" => {
            let level = value.parse().ok().filter(|_| value.len() == 1).and_then(Level::new);
            wish.assured.level = Some(level.ok_or_else(|| wrong("1, 2 or 3"))?);
        }
        "rotate" => {
            wish.rotate = match value {
                "never" => false,
                "auto" => true,
                _ => return Err(wrong("`never`, or `auto` if the proxy passes Set-Cookie on")),
            };
        }
        "data" | "csrf" => {
            let wanted = match value {
                "0" => false,
                "1" => true,
                _ => return Err(wrong("0 or 1")),
            };
            *(if name == "data" { &mut wish.data } else { &mut wish.csrf }) = wanted;
        }
        _ => {
            wish.login = match value {
                "302" => Some(Login::Redirect),
                "401" => Some(Login::Header),
                _ => {
                    return Err(wrong(
                        "302 for a redirect to the login page, or 401 to be told its address in Location",
                    ));
                }
            };
        }
    }
    Ok(())
}

/// What percent signs stand for; `None` when that is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}
