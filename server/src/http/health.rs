//! Whether it lives, and whether it is ready.

use super::Web;
use super::openapi::Status;
use super::problem::{Answer, Problem};
use super::reply::json;
use axum::extract::State;
use handstamp_core::refusal::Code;
use http::StatusCode;
use std::sync::Arc;

/// The process answers.
#[utoipa::path(
    get, path = "/livez", tag = "operation", operation_id = "livez",
    responses((status = 200, description = "It lives.", body = Status))
)]
pub async fn livez() -> Answer {
    Ok(json(StatusCode::OK, &Status { status: "alive" }))
}

/// The store can be read and written.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses((status = 200, description = "Requests can be served.", body = Status))
)]
pub async fn readyz(State(web): State<Arc<Web>>) -> Answer {
    match web.app.ready().await {
        Ok(()) => Ok(json(StatusCode::OK, &Status { status: "ready" })),
        Err(error) => Err(Problem::accident(Code::StoreUnavailable, &error)),
    }
}
