//! What is known of the client's request that a verdict is about: the token it came with, its own address, and whether
//! somebody is looking at a page.
//!
//! Nothing that lets a request pass hangs on its address or its method. They only say where the login page is to lead
//! back to, so a client that forges them misleads itself.

use crate::http::cookies;
use handstamp_core::redirect::ReturnTo;
use handstamp_core::refusal::Code;
use handstamp_core::token::Kind;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, header};
use std::borrow::Cow;

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
/// Where proxies say path and query.
static TARGETS: [HeaderName; 3] = [FORWARDED_URI, ORIGINAL_URI, ORIGINAL_URL];
/// Where they say the method.
static METHODS: [HeaderName; 2] = [FORWARDED_METHOD, ORIGINAL_METHOD];
const SESSION: HeaderName = HeaderName::from_static("session");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A token and the way it came.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) token: &'a str,
    /// In the cookie, which an answer can set again.
    pub(super) by_cookie: bool,
}

/// The token of the client's request: the cookie's, else the one in `Authorization`, else the one in `Session`. Several that
/// are the same are one; several that differ are none, for nobody could say whose request it is.
///
/// An `Authorization` that holds no credential of ours is the application's own business, unless nothing else came.
pub(super) fn presented<'a>(headers: &'a HeaderMap, cookie: &str) -> Result<Presented<'a>, Code> {
    let by_cookie =
        cookies::one(headers, cookie).map_err(|_| Code::TokenMalformed)?.filter(|value| !value.is_empty());
    let mut found: Option<Presented<'a>> = by_cookie.map(|token| Presented { token, by_cookie: true });
    let mut take = |token: &'a str| match found {
        Some(before) if before.token != token => Err(Code::TokenMalformed),
        Some(_) => Ok(()),
        None => {
            found = Some(Presented { token, by_cookie: false });
            Ok(())
        }
    };
    let mut foreign = None;
    for value in headers.get_all(header::AUTHORIZATION) {
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else { continue };
        let token = token.trim();
        if Kind::of(token).is_some() { take(token)? } else { foreign = Some(token) }
    }
    for value in headers.get_all(SESSION) {
        let token = value.to_str().map_err(|_| Code::TokenMalformed)?.trim();
        if !token.is_empty() {
            take(token)?;
        }
    }
    let none = Presented { token: foreign.unwrap_or_default(), by_cookie: false };
    Ok(found.unwrap_or(none))
}

/// The client's own request, as far as the proxy says.
pub(super) struct Asked<'a> {
    headers: &'a HeaderMap,
    method: &'a Method,
    /// Whether the proxy is one whose word counts.
    believed: bool,
    /// What the proxy appended to our address: a path, and a query.
    suffix: Option<(&'a str, Option<&'a str>)>,
}

impl<'a> Asked<'a> {
    /// `method` is the one of the proxy's own request.
    pub(super) fn new(headers: &'a HeaderMap, method: &'a Method, believed: bool) -> Asked<'a> {
        Asked { headers, method, believed, suffix: None }
    }

    /// The same where the proxy appended path and query of the client's address.
    pub(super) fn with_suffix(self, path: &'a str, query: Option<&'a str>) -> Asked<'a> {
        Asked { suffix: path.starts_with('/').then_some((path, query)), ..self }
    }

    /// The query of the client's address; `None` where that is not known or there is none. Whoever says it: it can only
    /// take something from what counts as the operator's.
    pub(super) fn query(&self) -> Option<&'a str> {
        self.said()?.split_once('?').map(|(_, query)| query)
    }

    /// Path and query, from whichever header has them. Two that differ are none: one of them is the client's own.
    fn said(&self) -> Option<&'a str> {
        let mut found = None;
        for name in &TARGETS {
            for value in self.headers.get_all(name) {
                let target = value.to_str().ok().map(path_of)?;
                if !target.starts_with('/') || found.is_some_and(|before| before != target) {
                    return None;
                }
                found = Some(target);
            }
        }
        found
    }

    /// Path and query: what the proxy appended, else what it says.
    fn target(&self) -> Option<Cow<'a, str>> {
        match self.suffix {
            Some((path, Some(query))) => Some(format!("{path}?{query}").into()),
            Some((path, None)) => Some(path.into()),
            None => self.said().filter(|_| self.believed).map(Cow::from),
        }
    }

    /// Host and port that it was sent to. A trusted proxy may name others than those of its own request: believed of
    /// anybody, a client could name the host of an environment in which it is somebody else.
    fn authority(&self) -> Option<Authority> {
        let forwarded = self.believed && self.headers.contains_key(FORWARDED_HOST);
        let host = self.one(if forwarded { FORWARDED_HOST } else { header::HOST })?;
        host.parse().ok().filter(|host: &Authority| !host.as_str().contains('@'))
    }

    /// The host, with its port where one is named.
    pub(super) fn host_and_port(&self) -> Option<String> {
        self.authority().map(|host| host.to_string())
    }

    /// The host, without a port and in lower case.
    pub(super) fn host(&self) -> Option<String> {
        self.authority().map(|host| host.host().to_ascii_lowercase())
    }

    /// A header that may come once.
    fn one(&self, name: HeaderName) -> Option<&'a str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        // Several hops make a list; the last one spoke to us.
        values.next().is_none().then(|| value.rsplit(',').next().unwrap_or(value).trim())
    }

    /// An address that the login page can lead back to: the one that was asked for; where that is too long or odd, the page
    /// without its query, or the host's first one. `None` where no trusted proxy says scheme and host.
    pub(super) fn way_back(&self) -> Option<ReturnTo> {
        let scheme = self.one(FORWARDED_PROTO).filter(|_| self.believed)?;
        let (scheme, usual) =
            [("https", 443), ("http", 80)].into_iter().find(|known| scheme.eq_ignore_ascii_case(known.0))?;
        let authority = self.authority()?;
        let host = authority.host().to_ascii_lowercase();
        // As a browser writes it: without the usual port.
        let port = authority.port_u16().filter(|port| *port != usual);
        let origin =
            port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"));
        let target = self.target().unwrap_or_default();
        let page = target.split('?').next().unwrap_or_default();
        let mut candidates = [&*target, page, "/"].into_iter().filter(|path| path.starts_with('/'));
        candidates.find_map(|path| ReturnTo::parse(&format!("{origin}{path}")))
    }

    /// Whether it may change something: unless a proxy shows a method that does not. A proxy that asks with GET whatever its
    /// client sent, and does not say what that was, leaves it open.
    pub(super) fn may_change(&self) -> bool {
        let is_safe = |method: &[u8]| [&b"GET"[..], b"HEAD", b"OPTIONS", b"TRACE"].contains(&method);
        let mut said = METHODS.iter().flat_map(|name| self.headers.get_all(name)).peekable();
        match said.peek() {
            Some(_) => !(self.believed && said.all(|method| is_safe(method.as_bytes()))),
            None => self.suffix.is_none() || !is_safe(self.method.as_str().as_bytes()),
        }
    }

    /// Whether somebody is on the way to a page: then, and only then, an address to go to instead is of use. Any word of
    /// another method than GET counts: after a login nothing is sent again that was to change something.
    pub(super) fn is_navigation(&self) -> bool {
        let mut said = METHODS.iter().flat_map(|name| self.headers.get_all(name)).peekable();
        let is_get = if said.peek().is_some() {
            said.all(|method| method.as_bytes() == b"GET")
        } else {
            self.method == Method::GET
        };
        if !is_get {
            return false;
        }
        match self.headers.get(FETCH_MODE) {
            Some(mode) => mode.as_bytes() == b"navigate",
            // Browsers without it, and clients that are none.
            None => self.headers.get_all(header::ACCEPT).iter().any(|accept| {
                let listed = accept.as_bytes().split(|byte| *byte == b',');
                let mut kinds =
                    listed.map(|kind| kind.split(|byte| *byte == b';').next().unwrap_or_default());
                kinds.any(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/html"))
            }),
        }
    }
}

/// Path and query of an address that may be a whole one.
fn path_of(target: &str) -> &str {
    let after = target.split_once("://").filter(|(scheme, _)| !scheme.contains('/')).map(|(_, after)| after);
    match after {
        Some(after) => after.find('/').and_then(|at| after.get(at..)).unwrap_or("/"),
        None => target,
    }
}
