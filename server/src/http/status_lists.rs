//! Status lists, for verifiers that know nothing of this service (draft-ietf-oauth-status-list). Anybody may read them: they
//! say of no place whose it is.

use super::Web;
use super::problem::{Answer, Problem};
use super::query::Params;
use crate::app::status_lists::TTL;
use axum::body::Body;
use axum::extract::{Path, State};
use handstamp_core::environment::EnvironmentName;
use handstamp_core::refusal::Code;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::sync::Arc;

/// A status list: a signed JSON Web Token (`typ: statuslist+jwt`) with a bit for each place, set when the session has
/// ended that has the place and of which an access token could still live.
///
/// The access token says where to look: `status.status_list` has the address (`uri`, which is the list's `sub`) and the place
/// (`idx`). Ask again after `ttl` seconds; do not believe a list after its `exp`.
#[utoipa::path(
    get, path = "/v1/status-lists/{n}", tag = "tokens", operation_id = "status_list",
    params(
        ("n" = String, Path, description = "The number of the list."),
        ("environment" = Option<String>, Query, description = "As `product/environment`; left out: the one of requests without a key."),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the list that is there already.")
    ),
    responses(
        (status = 200, description = "The list.", body = String, content_type = "application/statuslist+jwt"),
        (status = 304, description = "It is the same.")
    )
)]
pub async fn get(
    State(web): State<Arc<Web>>,
    Path(n): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    let none = || Problem::new(Code::NotFound, "there is no such list");
    let digits = n.bytes().all(|b| b.is_ascii_digit());
    let list: u64 = n.parse().ok().filter(|_| digits).ok_or_else(none)?;
    let named = match params.get("environment")? {
        Some(text) => EnvironmentName::parse(text).map_err(|why| Problem::field("environment", why))?,
        None => web.browsers.environments.of("").cloned().ok_or_else(none)?,
    };
    let signed = web.app.status_list(&named, list).await?;
    let tag = format!("\"{}\"", signed.token.rsplit('.').next().unwrap_or_default());
    let same = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if same { Body::empty() } else { Body::from(signed.token.to_string()) });
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/statuslist+jwt"));
    set.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let age = format!("public, max-age={}", TTL.as_secs());
    set.extend(
        [(header::ETAG, tag), (header::CACHE_CONTROL, age)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?))),
    );
    Ok(response)
}
