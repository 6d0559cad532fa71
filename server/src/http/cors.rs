//! CORS for the browser's door: which pages of other origins may read what it answers, and send what a form could not.
//!
//! An origin is compared as a whole with those that are in force at this instant, and an answer names that origin or none:
//! never `*`, which browsers refuse beside cookies, and never whatever the request said. Refusals are told to a page that
//! is listed like any other answer, so that it can act on them. Every answer says `Vary: Origin`, also to nobody: what
//! stands in between must not give one page's answer to another.
//!
//! A page that is not listed is kept from reading. That it changes nothing is for [`super::browser::guard`].

use super::Web;
use super::browser::guard::SITE;
use super::browser::visit::{PUBLISHABLE, connection, env_at, host};
use super::input::header_once;
use super::problem::Problem;
use super::reply::no_content;
use crate::app::Stop;
use axum::body::Body;
use axum::response::IntoResponse;
use handstamp_core::origin::{Said, Site};
use handstamp_core::refusal::Code;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};

/// What the door answers below.
const DOOR: &str = "/v1/auth/";

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
/// Beside the CSRF header, whose name is chosen.
const SENT: &str = "Content-Type, Authorization, Session, X-Publishable-Key, X-Client, X-Client-Key";
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id, WWW-Authenticate",
);
/// Seconds: two hours, as long as the browser that keeps it shortest would at most. It keeps what may be sent, and not who
/// may: every request is judged by the origins of its own instant.
const KEPT: HeaderValue = HeaderValue::from_static("7200");

/// The page that a request comes from.
pub struct Page {
    /// Its origin, when it is one that is listed.
    listed: Option<HeaderValue>,
    /// A browser asks ahead of the request whether it may be sent.
    preflight: bool,
}

impl Page {
    /// Of a request to the browser's door; `None` of any other.
    ///
    /// # Errors
    /// `store_unavailable`: nobody knows whether it is listed.
    pub async fn of<B: Sync>(web: &Web, request: &Request<B>) -> Result<Option<Page>, Problem> {
        if !is_ours(request) {
            return Ok(None);
        }
        let headers = request.headers();
        let preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let said = Said::read(headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes));
        let listed = match said {
            Said::Origin(origin) => {
                let known = || is_listed(web, request, origin, preflight);
                // A page of this very origin needs no list.
                let own = Site::read(headers.get_all(SITE).iter().map(HeaderValue::as_bytes));
                if own != Site::SameOrigin && web.app.has_others() && !known() {
                    // Memory says no to nobody: another node may have listed it a moment ago.
                    web.app.look_up_stranger().await.map_err(Stop::from)?;
                }
                known().then(|| headers.get(header::ORIGIN).cloned()).flatten()
            }
            Said::Nothing | Said::Null | Said::Garbled => None,
        };
        Ok(Some(Page { listed, preflight }))
    }

    /// The page of a request to that door of which nobody knows whether it is listed.
    pub fn unknown<B>(request: &Request<B>) -> Option<Page> {
        is_ours(request).then_some(Page { listed: None, preflight: false })
    }

    /// The answer to a browser that asks ahead; `None` of what is a request itself.
    pub fn preflight(&self, web: &Web) -> Option<Response<Body>> {
        if !self.preflight {
            return None;
        }
        let mut answer = match &self.listed {
            None => Problem::code(Code::OriginNotAllowed).into_response(),
            Some(_) => {
                let mut answer = no_content();
                let headers = answer.headers_mut();
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                let sent = format!("{SENT}, {}", web.cookie.csrf_header);
                if let Ok(sent) = HeaderValue::from_str(&sent) {
                    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, sent);
                }
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, KEPT);
                answer
            }
        };
        for name in ["Access-Control-Request-Method", "Access-Control-Request-Headers"] {
            answer.headers_mut().append(header::VARY, HeaderValue::from_static(name));
        }
        Some(answer)
    }

    /// The answer with what the page's browser must know of it, whatever the answer is.
    pub fn told(&self, mut answer: Response<Body>) -> Response<Body> {
        let headers = answer.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = &self.listed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            if !self.preflight {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
        }
        answer
    }
}

fn is_ours<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(DOOR)
}

/// Whether the environment of the request lists the origin. A preflight brings no publishable key, and one that is wrong is
/// of no environment: then any that lists it will do, and the request behind is held to its own.
fn is_listed<B>(web: &Web, request: &Request<B>, origin: &str, preflight: bool) -> bool {
    let headers = request.headers();
    let env = if preflight && announces_key(headers) {
        None
    } else {
        match header_once(headers, PUBLISHABLE, "X-Publishable-Key") {
            Ok(None) => {
                let connection = connection(request.extensions());
                let at = env_at(web, host(web, connection, headers, request.uri()));
                return at.is_ok_and(|env| env.origins.cors.has(origin));
            }
            Ok(Some(key)) => web.app.env_of_publishable(key).ok(),
            Err(_) => None,
        }
    };
    match env {
        Some(env) => env.origins.cors.has(origin),
        None => web.app.lists_anywhere(origin),
    }
}

/// Whether the request that is asked for will bring a publishable key.
fn announces_key(headers: &HeaderMap) -> bool {
    let name = HeaderName::from_static(PUBLISHABLE);
    let all = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(name.as_str()))
}
