//! Whether it lives, whether it is ready, and what it counts.

use super::Web;
use super::problem::{Answer, Problem};
use super::sessions::json;
use axum::extract::State;
use handstamp_core::refusal::Code;
use http::StatusCode;
use std::sync::Arc;

/// `GET /livez`: the process answers.
pub async fn livez() -> Answer {
    Ok(json(StatusCode::OK, &serde_json::json!({ "status": "alive" })))
}

/// `GET /readyz`: the store can be read and written.
pub async fn readyz(State(web): State<Arc<Web>>) -> Answer {
    match web.app.ready().await {
        Ok(()) => Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ready" }))),
        Err(error) => {
            tracing::error!(%error, "not ready");
            Err(Problem::code(Code::StoreUnavailable))
        }
    }
}
