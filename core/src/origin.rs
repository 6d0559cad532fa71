//! From which page a request comes: what an origin is, and whether what a browser says of itself (`Sec-Fetch-Site`,
//! `Origin`) lets a request with a cookie go on. No page can write these two headers, so they are believed before any
//! token is looked at; whoever is no browser can write what they like, but has no foreign cookie to send.

use crate::refusal::{Code, Evidence, Refusal, Value};
use std::fmt;

/// The rule's name in refusals.
pub const RULE: &str = "origin";

/// Scheme, host and port, exactly as a browser writes them in `Origin`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WebOrigin(Box<str>);

/// No name of a host is longer (RFC 1035), and no origin than that with scheme and port.
const LONGEST: usize = "https://".len() + 253 + ":65535".len();

impl WebOrigin {
    /// Takes an origin as it is written in `Origin`, and nothing that a browser would write otherwise: what differs from
    /// that in a letter would be listed and never match.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<WebOrigin, String> {
        let right = "write it such as \"https://app.example.org\" or \"http://localhost:3000\"";
        if text.len() > LONGEST {
            return Err(format!("{} bytes are no origin: {right}", text.len()));
        }
        let shown = text.escape_debug();
        if text == "*" || text == "null" {
            return Err(format!(
                "`{shown}` would let any page use its visitor's session: name each origin; {right}"
            ));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| format!("`{shown}` is not an origin: {right}"))?;
        let Some(usual) = usual_port(scheme) else {
            return Err(format!("`{shown}` is not an origin of a web page: {right}"));
        };
        if let Some((host, _)) = rest.split_once('/') {
            return Err(format!(
                "`{shown}` says more than an origin: write \"{scheme}://{}\", without a slash after it",
                host.escape_debug()
            ));
        }
        let (host, port) = split_port(rest);
        if port == Some(usual) {
            return Err(format!(
                "`{shown}` names the usual port: browsers write \"{scheme}://{}\"",
                host.escape_debug()
            ));
        }
        if !is_host(host) || !port.is_none_or(is_port) {
            return Err(format!("`{shown}` is not an origin: {right}, in lower case"));
        }
        Ok(WebOrigin(text.into()))
    }

    /// The text to compare with, byte by byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn usual_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        "https" => Some("443"),
        "http" => Some("80"),
        _ => None,
    }
}

/// Host and port. The colons of an IPv6 address stand in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => {
            inner.parse::<std::net::Ipv6Addr>().is_ok() && !inner.bytes().any(|b| b.is_ascii_uppercase())
        }
        None => {
            let plain =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
            (1..=253).contains(&host.len())
                && host.bytes().all(plain)
                && !host.starts_with('.')
                && !host.contains("..")
        }
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok()
}

/// Origins that are allowed, without order and without doubles.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Allowed(Vec<WebOrigin>);

impl Allowed {
    /// Whether exactly this text is among them.
    pub fn has(&self, origin: &str) -> bool {
        self.0.binary_search_by(|listed| listed.as_str().cmp(origin)).is_ok()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// All, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &WebOrigin> {
        self.0.iter()
    }
}

impl FromIterator<WebOrigin> for Allowed {
    fn from_iter<I: IntoIterator<Item = WebOrigin>>(all: I) -> Allowed {
        let mut all: Vec<WebOrigin> = all.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Allowed(all)
    }
}

/// What `Sec-Fetch-Site` says of the page that asks. The later ones are further away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Site {
    /// Nothing, or a word that nobody knows yet: browsers without it, and what is no browser.
    Unsaid,
    /// `none`: no page asked, the user did (address bar, bookmark).
    None,
    /// `same-origin`.
    SameOrigin,
    /// `same-site`: another host of the same site.
    SameSite,
    /// `cross-site`.
    CrossSite,
}

impl Site {
    /// Reads the values of the header. Of several, the furthest counts.
    pub fn read<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Site {
        let one = |value: &[u8]| match value {
            b"none" => Site::None,
            b"same-origin" => Site::SameOrigin,
            b"same-site" => Site::SameSite,
            b"cross-site" => Site::CrossSite,
            _ => Site::Unsaid,
        };
        values.into_iter().map(one).max().unwrap_or(Site::Unsaid)
    }
}

/// What `Origin` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'a> {
    /// There is no such header.
    Nothing,
    /// `null`: a sandboxed frame, a file, a redirect across origins, or a page that hides where it is.
    Null,
    /// One word, which may be an origin.
    Origin(&'a str),
    /// What no browser sends: several, none of the characters of an origin, or far too long.
    Garbled,
}

impl<'a> Said<'a> {
    /// Reads the values of the header.
    pub fn read(values: impl IntoIterator<Item = &'a [u8]>) -> Said<'a> {
        let mut values = values.into_iter();
        let (one, another) = (values.next(), values.next());
        match (one, another) {
            (None, _) => Said::Nothing,
            (Some(b"null"), None) => Said::Null,
            (Some(value), None) => match std::str::from_utf8(value) {
                Ok(text) if is_word(text) => Said::Origin(text),
                _ => Said::Garbled,
            },
            (Some(_), Some(_)) => Said::Garbled,
        }
    }
}

/// Origins of other kinds of pages (`chrome-extension://...`) are words, too; none of them is ever listed.
fn is_word(text: &str) -> bool {
    let scheme = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    scheme && text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

/// A request, as far as this rule looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whether its method changes nothing (`GET`, `HEAD`, `OPTIONS`).
    pub safe: bool,
    /// `Sec-Fetch-Site`.
    pub site: Site,
    /// `Origin`.
    pub origin: Said<'a>,
    /// The host, with its port where one was named, that the request was sent to: `Host`, or what a trusted proxy says.
    pub host: Option<&'a str>,
}

/// What lets a request go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vouched {
    /// The browser itself vouches for the page: an allowed origin, of this origin or this site. Calls that only end or
    /// extend the caller's own session take that instead of the CSRF header.
    pub instead_of_token: bool,
}

/// Whether a request that brings a cookie may go on, as far as the page that sent it is concerned. Safe methods always
/// may; what they answer is kept from foreign pages by CORS.
///
/// | `Sec-Fetch-Site` | no `Origin` | `null` | listed | another |
/// | --- | --- | --- | --- | --- |
/// | same-origin | on | on | on, vouched | on; vouched where it is the host of the request |
/// | same-site | refused | refused | on, vouched | refused |
/// | cross-site | refused | refused | on | refused |
/// | none, unsaid | on | refused | on | refused |
///
/// An `Origin` that no browser sends is refused everywhere.
///
/// # Errors
/// `origin_not_allowed`.
pub fn judge(asked: &Asked<'_>, allowed: &Allowed) -> Result<Vouched, Refusal> {
    let listed = matches!(asked.origin, Said::Origin(origin) if allowed.has(origin));
    let own = matches!(asked.origin, Said::Origin(origin) if is_of(origin, asked.host));
    let vouched = match asked.site {
        Site::SameOrigin => listed || own,
        Site::SameSite => listed,
        Site::Unsaid | Site::None | Site::CrossSite => false,
    };
    let passes = match (asked.site, asked.origin) {
        (_, Said::Garbled) => false,
        (Site::SameOrigin, Said::Nothing | Said::Null | Said::Origin(_)) => true,
        (Site::None | Site::Unsaid, Said::Nothing) => true,
        (Site::SameSite | Site::CrossSite, Said::Nothing) => false,
        (Site::Unsaid | Site::None | Site::SameSite | Site::CrossSite, Said::Null) => false,
        (Site::Unsaid | Site::None | Site::SameSite | Site::CrossSite, Said::Origin(_)) => listed,
    };
    if passes || asked.safe { Ok(Vouched { instead_of_token: vouched }) } else { Err(refusal(asked)) }
}

/// Whether an origin has the host and port of `Host`. Which of the two usual ports a host without one means is not known
/// behind a proxy; the scheme of the origin says it.
fn is_of(origin: &str, host: Option<&str>) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let (Some(usual), Some(host)) = (usual_port(scheme), host) else { return false };
    let ((ours, our_port), (theirs, their_port)) = (split_port(host), split_port(rest));
    !ours.is_empty()
        && ours.eq_ignore_ascii_case(theirs)
        && our_port.unwrap_or(usual) == their_port.unwrap_or(usual)
}

fn refusal(asked: &Asked<'_>) -> Refusal {
    let site = match asked.site {
        Site::Unsaid => "",
        Site::None => "none ",
        Site::SameOrigin => "same-origin ",
        Site::SameSite => "same-site ",
        Site::CrossSite => "cross-site ",
    };
    let origin = match asked.origin {
        Said::Nothing => "without an origin",
        Said::Null => "null",
        Said::Origin(origin) => origin,
        Said::Garbled => "that is none",
    };
    Refusal {
        code: Code::OriginNotAllowed,
        rule: RULE,
        origin: None,
        evidence: Some(Evidence::Limit {
            allowed: Value::Text("those that are listed".into()),
            seen: Value::Text(format!("{site}{origin}").into()),
        }),
    }
}
