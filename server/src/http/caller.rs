//! Who asks: the access key of a backend, and the environment an operator names.

use super::Web;
use super::input::header_once;
use super::problem::Problem;
use crate::app::callers::Caller;
use axum::extract::FromRequestParts;
use handstamp_core::refusal::Code;
use http::request::Parts;
use http::{HeaderMap, header};
use std::sync::Arc;

/// The header by which an operator names an environment.
pub const ENV: &str = "x-handstamp-env";

/// A recognised caller.
pub struct By(pub Caller);

impl FromRequestParts<Arc<Web>> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<By, Problem> {
        recognise(web, &parts.headers).map(By)
    }
}

/// Reads the key from `Authorization`: as `Bearer`, or raw.
pub(super) fn recognise(web: &Web, headers: &HeaderMap) -> Result<Caller, Problem> {
    let mut keys = headers.get_all(header::AUTHORIZATION).iter();
    let key = keys
        .next()
        .map(|value| value.to_str().map_err(|_| Problem::code(Code::AccessKeyInvalid)))
        .transpose()?;
    if keys.next().is_some() {
        return Err(Problem::new(Code::AccessKeyInvalid, "send one Authorization header, not several"));
    }
    let key = key.map(|text| match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        _ => text.trim(),
    });
    let env = header_once(headers, ENV, "X-Handstamp-Env")?;
    Ok(web.app.caller(key, env)?)
}
