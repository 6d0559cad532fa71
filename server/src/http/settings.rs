//! The calls about settings that change while the server runs: the origins of pages.

use super::Web;
use super::caller::By;
use super::input::Json;
use super::policies::{seen, tagged};
use super::problem::{Answer, Problem};
use super::reply::json;
use crate::app::origins::{Listed, MOST, Purpose};
use axum::body::Body;
use axum::extract::State;
use handstamp_core::origin::WebOrigin;
use http::{HeaderMap, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Origins of pages: scheme, host and port, exactly as a browser writes them; at most 200.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "origins": ["https://app.example.org"] }))]
pub struct OriginsRequest {
    /// All of them, each once. What stood there before goes.
    #[schema(max_items = 200)]
    origins: Vec<String>,
}

/// The origins that are known. One that either list names counts.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Origins, example = json!({ "version": 3, "origins": ["https://app.example.org"], "from_file": ["https://app.example.com"] }))]
pub struct OriginsBody {
    /// Rises with every change over the API; 0 while there was none. Also the `ETag`.
    version: u64,
    /// Those that were said over the API.
    origins: Vec<String>,
    /// Those of the configuration, which stand beside them for every environment.
    from_file: Vec<String>,
}

/// Reads which pages may call the browser API.
#[utoipa::path(
    get, path = "/v1/settings/cors", tag = "settings", operation_id = "get_cors",
    responses((status = 200, description = "The origins; `ETag` names the version of those said over the API.", body = OriginsBody))
)]
pub async fn cors(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    Ok(listed(&web.app.read_origins(&caller, Purpose::Cors)?))
}

/// Replaces which pages may call the browser API.
///
/// It acts from the next request on. Everything that is wrong with the list is told at once, and nothing is replaced
/// then. Send `If-Match` with the `ETag` that was read, and nobody's change is overwritten unseen.
#[utoipa::path(
    put, path = "/v1/settings/cors", tag = "settings", operation_id = "replace_cors",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the version to replace.")),
    request_body = OriginsRequest,
    responses((status = 200, description = "The origins as they are now.", body = OriginsBody))
)]
pub async fn replace_cors(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, _): Json<OriginsRequest>,
) -> Answer {
    let seen = seen(&headers)?;
    Ok(listed(&web.app.replace_origins(&caller, Purpose::Cors, seen, ask.read()?).await?))
}

/// Reads which pages a login may lead back to.
#[utoipa::path(
    get, path = "/v1/settings/redirect-origins", tag = "settings", operation_id = "get_redirect_origins",
    responses((status = 200, description = "The origins; `ETag` names the version of those said over the API.", body = OriginsBody))
)]
pub async fn redirect_origins(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    Ok(listed(&web.app.read_origins(&caller, Purpose::Redirect)?))
}

/// Replaces which pages a login may lead back to.
///
/// As with the pages that may call the browser API.
#[utoipa::path(
    put, path = "/v1/settings/redirect-origins", tag = "settings", operation_id = "replace_redirect_origins",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the version to replace.")),
    request_body = OriginsRequest,
    responses((status = 200, description = "The origins as they are now.", body = OriginsBody))
)]
pub async fn replace_redirect_origins(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, _): Json<OriginsRequest>,
) -> Answer {
    let seen = seen(&headers)?;
    Ok(listed(&web.app.replace_origins(&caller, Purpose::Redirect, seen, ask.read()?).await?))
}

impl OriginsRequest {
    /// Every slip at once.
    fn read(self) -> Result<Vec<WebOrigin>, Problem> {
        if self.origins.len() > MOST {
            return Err(Problem::field(
                "/origins",
                format!("at most {MOST} origins, these are {}", self.origins.len()),
            ));
        }
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        let mut first_at = HashMap::new();
        for (at, text) in self.origins.iter().enumerate() {
            match WebOrigin::parse(text) {
                Err(why) => wrong.push((format!("/origins/{at}"), why)),
                Ok(origin) => {
                    if let Some(first) = first_at.insert(origin.clone(), at) {
                        wrong.push((format!("/origins/{at}"), format!("is the same as /origins/{first}")));
                    }
                    good.push(origin);
                }
            }
        }
        if wrong.is_empty() { Ok(good) } else { Err(Problem::fields(wrong)) }
    }
}

fn listed(found: &Listed) -> Response<Body> {
    let texts = |origins: &[WebOrigin]| origins.iter().map(ToString::to_string).collect();
    let body = OriginsBody {
        version: found.version,
        origins: texts(&found.stored),
        from_file: texts(&found.from_file),
    };
    tagged(json(StatusCode::OK, &body), found.version)
}
