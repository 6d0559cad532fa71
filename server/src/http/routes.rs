//! The whole table of routes.

use super::problem::Problem;
use super::{Web, environments, health, keys, search, sessions};
use axum::Router;
use axum::routing::{delete, get, post};
use handstamp_core::refusal::Code;
use std::sync::Arc;

/// Every address of the management door. (`POST /v1/sessions/validate` is answered before this table is asked.)
pub fn routes(web: Arc<Web>) -> Router {
    Router::new()
        .route("/v1/sessions", post(sessions::create).get(search::search))
        .route("/v1/sessions/validate", post(unreachable))
        .route("/v1/sessions/validate-batch", post(sessions::validate_batch))
        .route("/v1/sessions/revoke", post(sessions::revoke))
        .route("/v1/sessions/update", post(search::bulk_update))
        .route("/v1/sessions/count", get(search::count))
        .route("/v1/sessions/{id}", get(sessions::get).patch(sessions::update).delete(sessions::end))
        .route("/v1/sessions/{id}/events", get(search::events))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", get(keys::get).patch(keys::update).delete(keys::delete))
        .route("/v1/keys/{id}/rotate", post(keys::rotate))
        .route("/v1/environments", get(environments::list).post(environments::create))
        .route("/v1/environments/{product}/{environment}", delete(environments::delete))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .fallback(|| async {
            Problem::new(Code::NotFound, "there is nothing at this address; /docs lists what there is")
        })
        .method_not_allowed_fallback(|| async { Problem::code(Code::MethodNotAllowed) })
        .with_state(web)
}

async fn unreachable() -> Problem {
    Problem::code(Code::InternalError)
}
