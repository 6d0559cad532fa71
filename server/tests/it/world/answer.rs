//! An answer, and what every answer of every test is held to.

use bytes::Bytes;
use handstamp_core::refusal::Code;
use handstamp_server::compat::propelauth_byo;
use handstamp_server::http::forward_auth::wish::{PATH, is_here};
use handstamp_server::http::routes::{Needs, Route, table};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::sync::LazyLock;

/// Method, pattern of the path, and documented codes of every call.
static DOCUMENTED: LazyLock<Vec<Route>> = LazyLock::new(table);

fn fits(pattern: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(&path).all(|(p, part)| p == part || (p.starts_with('{') && !part.is_empty()))
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Method and path of the request.
    pub(crate) what: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Every refusal of every test is one that the OpenAPI document names for that call, and its codes are of the closed
    /// list.
    pub(super) fn is_documented(&self) {
        if self.status.as_u16() < 400 || self.body.is_empty() {
            return;
        }
        let (method, path) = self.what.split_once(' ').unwrap();
        // Foreign words, which its own tests know.
        if path == propelauth_byo::PATH && self.header("content-type") == "application/json" {
            return;
        }
        let method = if method == "HEAD" { "GET" } else { method };
        // Any method, and whatever a proxy appends.
        let (method, path) = if is_here(path) { ("GET", PATH) } else { (method, path) };
        let text = self.json()["code"].as_str().unwrap().to_owned();
        let code = Code::parse(&text).unwrap_or_else(|| panic!("{}: {text} is not in the list", self.what));
        assert_eq!(code.status(), self.status.as_u16(), "{}", self.what);
        let exact = DOCUMENTED.iter().find(|route| route.method == method && route.path == path);
        let Some(route) = exact
            .or_else(|| DOCUMENTED.iter().find(|route| route.method == method && fits(route.path, path)))
        else {
            // What a browser asks ahead is no call of the document.
            let ahead = method == "OPTIONS" && code == Code::OriginNotAllowed;
            assert!(
                ahead
                    || matches!(code, Code::NotFound | Code::MethodNotAllowed | Code::InvalidRequest)
                    || Code::EDGE.contains(&code),
                "{}: {text}",
                self.what
            );
            return;
        };
        let anywhere = code == Code::MethodNotAllowed || Code::EDGE.contains(&code);
        // A door that has only some of the routes.
        let elsewhere = code == Code::NotFound && route.needs == Needs::Nothing;
        let known = route.refusals.contains(&code) || anywhere || elsewhere;
        assert!(known, "{}: {text} is not documented for {} {}", self.what, route.method, route.path);
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{}: {why}: {}", self.what, self.text()))
    }
    /// A header as text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text());
        self.json()
    }
    /// The problem of an answer that must be a refusal of this status and code, whole in its form.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{}: {problem}", self.what);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.what);
        assert_eq!(problem["type"], format!("/docs/errors/{code}"), "{}", self.what);
        assert_eq!(problem["status"], status, "{}", self.what);
        assert_eq!(problem["detail"], problem["error"], "{}", self.what);
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{}", self.what);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.what);
        problem
    }
    /// Like [`Answer::refused`] with `invalid_request`, and the field that it points at.
    #[track_caller]
    pub(crate) fn invalid(&self, pointer: &str) -> Value {
        self.invalid_as("invalid_request", pointer)
    }
    /// Like [`Answer::invalid`] with a code of its own.
    #[track_caller]
    pub(crate) fn invalid_as(&self, code: &str, pointer: &str) -> Value {
        let problem = self.refused(400, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{}: {problem}", self.what);
        problem
    }
}
