//! The management door: HTTP/1.1, JSON, problem documents. It translates: parse, one verb of [`crate::app`], render.
//!
//! * [`routes`]: the whole table of routes. [`sessions`], [`search`], [`keys`], [`environments`]: what they do.
//! * [`wire`]: what answers look like; [`input`]: what requests look like; [`problem`]: how a refusal or an accident is
//!   told. [`caller`]: who asks. [`cookie`]: ready `Set-Cookie` values.
//! * [`health`]: liveness, readiness, metrics. [`docs`]: the OpenAPI document and the error pages.
//! * [`listener`]: the network edge.

use crate::app::App;
use crate::host::clock::instant;
use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::ServiceExt;

pub mod caller;
pub mod cookie;
pub mod docs;
pub mod environments;
pub mod health;
pub mod input;
pub mod keys;
pub mod listener;
pub mod problem;
pub mod routes;
pub mod search;
pub mod sessions;
pub mod wire;

/// What every handler stands on.
pub struct Web {
    /// The service.
    pub app: Arc<App>,
    /// How session cookies are written.
    pub cookie: cookie::Style,
    requests: Requests,
}

/// Gives each request a name: 16 hexadecimal digits, from a random start, never twice in a row.
struct Requests {
    base: u64,
    count: AtomicU64,
}

impl Web {
    /// `seed` is random, so that names of different processes differ.
    pub fn new(app: Arc<App>, cookie: cookie::Style, seed: u64) -> Web {
        Web { app, cookie, requests: Requests { base: seed, count: AtomicU64::new(0) } }
    }
}

/// A request's name, as an extension of the request.
#[derive(Clone, Copy)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Requests {
    fn next(&self) -> RequestId {
        // An odd multiplier walks through all 64-bit values before any repeats.
        let n = self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.base;
        let mut text = [0; 16];
        for (slot, shift) in text.iter_mut().zip((0..16u32).rev()) {
            let digit = u8::try_from(n >> (shift * 4) & 15).unwrap_or(0);
            *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        }
        RequestId(text)
    }
}

/// The service that the listener calls: the hot path first, then the table of routes.
#[derive(Clone)]
pub struct Door {
    web: Arc<Web>,
    routes: axum::Router,
}

impl Door {
    /// The whole door.
    pub fn new(web: Arc<Web>) -> Door {
        Door { routes: routes::routes(web.clone()), web }
    }

    async fn answer(self, mut request: Request<Incoming>) -> Response<Body> {
        let id = self.web.requests.next();
        if request.method() == Method::POST && request.uri().path() == "/v1/sessions/validate" {
            let answer = sessions::validate(&self.web, request).await;
            return finish(answer, id);
        }
        let began = instant();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        request.extensions_mut().insert(id);
        let answer = match self.routes.oneshot(request.map(Body::new)).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let answer = finish(answer, id);
        tracing::debug!(
            request_id = id.as_str(),
            %method,
            path,
            status = answer.status().as_u16(),
            micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
        answer
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

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers that every answer has, and the body of a problem.
fn finish(answer: Response<Body>, id: RequestId) -> Response<Body> {
    let mut answer = problem::render(answer, id);
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_bytes(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
