//! The service that the listener calls: the hot path first, then the table of routes; and what every answer has in
//! common, whatever became of the request.
//!
//! Decided here, for every call alike:
//!
//! * A request gets its name from us. An `X-Request-Id` that came with it is not taken over: it would put a stranger's
//!   text into our logs, and let two requests have one name. Whoever has a name of their own logs it beside ours.
//! * The `Host` of a request is not looked at by calls that need an access key. Behind a proxy it is whatever the proxy passes on, and a page that had its
//!   name point here (DNS rebinding) gains nothing: every call needs an access key in a header that no browser sends
//!   by itself, and every change a content type that no browser sends across origins unasked. Doors that take cookies
//!   look at origins ([`super::cors`], [`super::browser::guard`]).
//! * An access key in the address is refused, and said why, rather than ignored.

use super::caller::brings_stranger;
use super::cors::Page;
use super::forward_auth::{self, Through};
use super::problem::{self, Problem};
use super::{RequestId, Web, foreign, routes, validate};
use crate::host::clock::instant;
use axum::body::Body;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use handstamp_core::refusal::Code;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tower::ServiceExt;

/// The whole management door.
#[derive(Clone)]
pub struct Door {
    web: Arc<Web>,
    routes: axum::Router,
    kind: Kind,
}

/// What a door is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Everything.
    Main,
    /// Proxies that ask for verdicts.
    ForwardAuth,
    /// Numbers.
    Metrics,
}

/// The pattern of the route that answered, as an extension of the answer: what logs name instead of the path, in which
/// a caller may have put anything.
#[derive(Clone, Copy)]
pub(super) struct Pattern(pub(super) &'static str);

impl Door {
    /// The door of the management API and everything beside it.
    pub fn new(web: Arc<Web>) -> Door {
        Door { routes: routes::router(web.clone(), routes::table(), beside(&web)), web, kind: Kind::Main }
    }

    /// The same without `/metrics`, which have a listener of their own.
    pub fn without_metrics(web: Arc<Web>) -> Door {
        Door {
            routes: routes::router(web.clone(), routes::without_metrics(), beside(&web)),
            web,
            kind: Kind::Main,
        }
    }

    /// The door of that listener.
    pub fn of_metrics(web: Arc<Web>) -> Door {
        Door {
            routes: routes::router(web.clone(), routes::metrics_alone(), axum::Router::new()),
            web,
            kind: Kind::Metrics,
        }
    }

    /// The door of proxies: no key is asked for, so only they may reach it.
    pub fn of_forward_auth(web: Arc<Web>) -> Door {
        Door {
            routes: routes::router(web.clone(), routes::beside_forward_auth(), axum::Router::new()),
            web,
            kind: Kind::ForwardAuth,
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let id = self.web.next_request();
        // `validate` is answered before the table of routes is asked: nothing is between it and the socket.
        let hot = self.kind == Kind::Main
            && request.method() == Method::POST
            && request.uri().path() == "/v1/sessions/validate";
        // What a panic leaves behind is a session store's ordinary case: nothing was committed, or all of it was.
        let answering = AssertUnwindSafe(self.find(request, id, hot)).catch_unwind();
        let answer = match answering.await {
            Ok(answer) => answer,
            Err(_) => Problem::accident(Code::InternalError, &"a handler panicked").into_response(),
        };
        finish(answer, id, hot, self.web.tls)
    }

    async fn find(&self, request: Request<Incoming>, id: RequestId, hot: bool) -> Response<Body> {
        let for_pages = self.kind == Kind::Main && !hot;
        // Which pages are listed is known like everything else: after it was looked up.
        let looked = if self.web.app.has_others() { self.look_up(&request, hot).await } else { Ok(()) };
        let page = match looked {
            Ok(()) if for_pages => Page::of(&self.web, &request).await,
            Ok(()) => Ok(None),
            Err(problem) => Err(problem),
        };
        // Whatever is answered at the browser's door, the page that asks is told that it may read it.
        let page = match page {
            Ok(Some(page)) => page,
            Ok(None) => return self.find_any(request, id, hot).await,
            Err(problem) => {
                let answer = problem.into_response();
                return match Page::unknown(&request).filter(|_| for_pages) {
                    Some(page) => page.told(answer),
                    None => answer,
                };
            }
        };
        page.told(match page.preflight(&self.web) {
            Some(answer) => answer,
            None => self.find_any(request, id, hot).await,
        })
    }

    /// Keys, environments and rules are known well enough for a call to this path. Those that load what they judge look again
    /// with that load; those that are told what is in memory are told what the store has.
    async fn look_up(&self, request: &Request<Incoming>, hot: bool) -> Result<(), Problem> {
        let path = request.uri().path();
        let looked = match Asks::of(request.method(), path) {
            Asks::Nothing => Ok(()),
            // Asks for a key that memory does not know only where there is one: reading every key twice costs a fiftieth.
            Asks::Sessions if hot => self.web.app.look_up().await,
            _ if brings_stranger(&self.web, request.headers()) => self.web.app.look_up_stranger().await,
            // What they ask for is in the body, so they look themselves, and answer in their own words.
            _ if self.web.foreign.iter().any(|foreign| foreign.path == path) => Ok(()),
            Asks::Sessions => self.web.app.look_up().await,
            // Anybody may ask for these, so they are one question to the store for all who come together.
            Asks::Rules => self.web.app.look_up_stranger().await,
        };
        looked.map_err(|error| Problem::accident(Code::StoreUnavailable, &error))
    }

    async fn find_any(&self, request: Request<Incoming>, id: RequestId, hot: bool) -> Response<Body> {
        // Whatever a proxy appends to that address is its client's, and none of ours.
        let verdict = self.kind != Kind::Metrics && forward_auth::wish::is_here(request.uri().path());
        if !verdict && let Err(problem) = no_key_in(request.uri()) {
            return problem.into_response();
        }
        // Off, as it is by default, this is one look at a number: the hot path reads no clock for a line nobody writes.
        let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| Logged {
            began: instant(),
            client: self.web.trust.client_of(&request),
            id,
        });
        if hot {
            let answer = validate::validate(&self.web, request).await;
            if let Some(logged) = logged {
                logged.write(&answer, &Method::POST, "/v1/sessions/validate");
            }
            return answer;
        }
        let method = request.method().clone();
        if verdict {
            let own = self.kind == Kind::ForwardAuth;
            let through = if own { Through::Own } else { Through::Main };
            let answer = forward_auth::answer(&self.web, request, through).await;
            if let Some(logged) = logged {
                logged.write(&answer, &method, forward_auth::wish::PATH);
            }
            return answer;
        }
        let answer = match self.routes.clone().oneshot(request.map(Body::new)).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        if let Some(logged) = logged {
            let route = answer.extensions().get::<Pattern>().map_or("none", |pattern| pattern.0);
            logged.write(&answer, &method, route);
        }
        answer
    }
}

/// What a call needs that several nodes share.
enum Asks {
    /// Nothing of it: pages about calls, numbers, whether the process lives.
    Nothing,
    /// Single sessions, which are loaded, or known under the licence.
    Sessions,
    /// Anything else.
    Rules,
}

impl Asks {
    fn of(method: &Method, path: &str) -> Asks {
        let one = |rest: &str| {
            let rest = rest.strip_suffix("/access-tokens").unwrap_or(rest);
            rest.starts_with("ses_") && !rest.contains('/')
        };
        match path {
            "/livez" | "/readyz" | "/metrics" | "/openapi.json" | "/docs" => Asks::Nothing,
            // Follows from the master key alone.
            "/.well-known/handstamp-erasure-keys.json" => Asks::Nothing,
            "/v1/sessions" if method == Method::POST => Asks::Sessions,
            "/v1/sessions/validate" | "/v1/sessions/validate-batch" | "/v1/sessions/refresh" => {
                Asks::Sessions
            }
            "/v1/auth/session" | "/v1/auth/session/refresh" | "/v1/auth/session/ping" | "/v1/auth/logout" => {
                Asks::Sessions
            }
            _ if path.starts_with("/docs/") => Asks::Nothing,
            _ if path.strip_prefix("/v1/sessions/").is_some_and(one) => Asks::Sessions,
            _ if forward_auth::wish::is_here(path) => Asks::Sessions,
            _ => Asks::Rules,
        }
    }
}

/// What is served beside our own calls.
fn beside(web: &Web) -> axum::Router {
    web.foreign.iter().fold(axum::Router::new(), |router, foreign| router.merge(foreign.served()))
}

/// A line for a call, at level `debug`.
struct Logged {
    began: Instant,
    /// Whose call it is: of the management API a backend's, whose users' addresses are in the body and not here.
    client: Option<IpAddr>,
    id: RequestId,
}

impl Logged {
    fn write(self, answer: &Response<Body>, method: &Method, route: &str) {
        tracing::debug!(
            request_id = self.id.as_str(),
            client = self.client.map(tracing::field::display),
            method = if known(method) { method.as_str() } else { "other" },
            route,
            status = answer.status().as_u16(),
            micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
    }
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let door = self.clone();
        Box::pin(async move { Ok(door.answer(request).await) })
    }
}

/// Methods of HTTP itself; any other text is the caller's own.
fn known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ]
    .contains(method)
}

/// Refuses credentials in the address.
fn no_key_in(uri: &Uri) -> Result<(), Problem> {
    let Some(query) = uri.query() else { return Ok(()) };
    let named = |part: &str| {
        let name = part.split('=').next().unwrap_or_default();
        ["apikey", "api_key", "access_key", "access_token", "authorization", "token", "key"]
            .into_iter()
            .find(|known| name.eq_ignore_ascii_case(known))
    };
    match query.split('&').find_map(named) {
        None => Ok(()),
        Some(name) => Err(Problem::field(
            name,
            "keys and tokens do not belong in addresses: addresses are written to logs, histories and referrers. \
             Send `Authorization: Bearer hsk_...`, and a session token in the body. Take this one for known to \
             others, and replace it",
        )),
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const EMBEDDED_BY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const CSP: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The headers that every answer has, and the body of a problem. The hot path, which answers other servers only, goes
/// without the headers that speak to browsers.
fn finish(answer: Response<Body>, id: RequestId, hot: bool, tls: bool) -> Response<Body> {
    let mut answer = problem::render(answer, id);
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_bytes(id.as_str().as_bytes()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !hot {
        foreign::log(&mut answer, id);
        let headers = answer.headers_mut();
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(CSP);
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // No foreign page loads an answer as a picture or a script (ASVS 3.5.8); what CORS lets through is not concerned.
        headers.insert(EMBEDDED_BY, HeaderValue::from_static("same-origin"));
        if tls {
            // A year (ASVS 3.4.1). Other hosts of the domain are not ours to speak for.
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
    }
    answer
}

/// From now on a panic anywhere says where it happened and nothing else: its message may quote what it tripped over.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(at, "a panic");
    }));
}
