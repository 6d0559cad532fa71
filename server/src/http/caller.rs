//! Who asks: the access key of a backend, and the environment an operator names.

use super::browser::visit::PUBLISHABLE;
use super::input::header_once;
use super::problem::Problem;
use super::{Web, budget};
use crate::app::callers::Caller;
use axum::extract::FromRequestParts;
use handstamp_core::caller::Scope;
use handstamp_core::refusal::Code;
use http::request::Parts;
use http::{HeaderMap, header};
use std::sync::Arc;

/// The header by which an operator names an environment.
pub const ENV: &str = "x-handstamp-env";
/// The header with an access key in a request that is a client's otherwise.
pub const KEY: &str = "x-handstamp-key";

/// A recognised caller.
pub struct By(pub Caller);

impl FromRequestParts<Arc<Web>> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<By, Problem> {
        let caller = recognise(web, &parts.headers)?;
        budget::note(&parts.extensions, caller.standing);
        Ok(By(watched(parts, caller)))
    }
}

/// A recognised caller of a call that is about environments themselves: it works also when there is no `default/prd`.
pub struct ByOperator(pub Caller);

impl FromRequestParts<Arc<Web>> for ByOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<ByOperator, Problem> {
        let (key, env) = presented(&parts.headers)?;
        let caller = web.app.caller_of_all(key, env)?;
        budget::note(&parts.extensions, caller.standing);
        Ok(ByOperator(watched(parts, caller)))
    }
}

/// The caller, whose key is looked at again by whoever waits for the body of the request ([`super::input`]).
pub(super) fn watched(parts: &mut Parts, caller: Caller) -> Caller {
    let caller = caller.watched();
    parts.extensions.insert(caller.clone());
    caller
}

/// Recognises whoever presents the key in the headers.
pub(super) fn recognise(web: &Web, headers: &HeaderMap) -> Result<Caller, Problem> {
    let (key, env) = presented(headers)?;
    Ok(web.app.caller(key, env)?)
}

/// The same where nobody has asked the store yet for a key that memory does not know: it is asked before anybody is refused.
pub(super) async fn recognise_newest(web: &Web, headers: &HeaderMap) -> Result<Caller, Problem> {
    match recognise(web, headers) {
        Err(_) if web.app.has_others() && brings_stranger(web, headers) => {
            let looked = web.app.look_up_stranger().await;
            looked.map_err(|error| Problem::accident(Code::StoreUnavailable, &error))?;
            recognise(web, headers)
        }
        known => known,
    }
}

/// Recognises whoever presents the key in [`KEY`]: a caller for whom `Authorization` is not free.
pub(super) fn recognise_named(web: &Web, headers: &HeaderMap) -> Result<Caller, Problem> {
    let key = header_once(headers, KEY, "X-Handstamp-Key")?;
    let env = header_once(headers, ENV, "X-Handstamp-Env")?;
    Ok(web.app.caller(key, env)?)
}

/// Whether a key that is presented, in whatever way, is one that memory would refuse and the store perhaps not.
pub(super) fn brings_stranger(web: &Web, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bearer = text(header::AUTHORIZATION.as_str()).map(|text| text.rsplit(' ').next().unwrap_or(text));
    let env = text(ENV);
    [bearer, text(KEY), text(PUBLISHABLE)].into_iter().flatten().any(|key| web.app.is_stranger(key, env))
}

/// The key in `Authorization`, as `Bearer` or raw, and the environment that is named.
fn presented(headers: &HeaderMap) -> Result<(Option<&str>, Option<&str>), Problem> {
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
    if key.is_none_or(str::is_empty) && headers.contains_key(PUBLISHABLE) {
        // An app that manages sessions is told that it may not, and not that it lacks a key.
        return Err(Problem::code(Code::PublishableKeyForbidden));
    }
    let env = header_once(headers, ENV, "X-Handstamp-Env")?;
    Ok((key, env))
}

/// Recognises a proxy by the key in [`KEY`]. The environment is the key's own: the header that names one came from the
/// proxy's client, perhaps.
pub(super) async fn vouching(web: &Web, headers: &HeaderMap) -> Result<Caller, Problem> {
    let key = header_once(headers, KEY, "X-Handstamp-Key")
        .map_err(|problem| problem.with_code(Code::AccessKeyInvalid))?;
    let caller = web.app.caller(key.map(str::trim), None)?;
    web.app.allow(&caller, Scope::SessionsRead).await?;
    Ok(caller)
}
