//! Foreign APIs beside ours: served on the main listener, with what every call has in common (a name, headers, a line in the
//! log), and described in the OpenAPI document. What they say is their own.

use super::RequestId;
use super::budget;
use super::door::Pattern;
use super::problem::Problem;
use super::query;
use crate::app::Fault;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use handstamp_core::rate::Standing;
use handstamp_core::refusal::Code;
use http::Response;
use serde_json::Value;
use std::sync::Arc;

/// A foreign API.
#[derive(Clone)]
pub struct Foreign {
    /// Its address.
    pub path: &'static str,
    /// What answers there. An answer may carry, as extensions, the [`Standing`] of the budget that was spent, and an
    /// `Arc<Fault>` that is told to the log alone.
    pub routes: Router,
    /// Its OpenAPI document: paths and components.
    pub described: fn() -> Value,
}

impl Foreign {
    /// Its routes, with what all calls have in common.
    pub(super) fn served(&self) -> Router {
        let pattern = Pattern(self.path);
        let look = move |request: Request, next: Next| async move {
            let mut answer = match query::only(request.uri(), &[]) {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            };
            if let Some(standing) = answer.extensions_mut().remove::<Standing>() {
                budget::write(answer.headers_mut(), standing);
            }
            answer.extensions_mut().insert(pattern);
            answer
        };
        self.routes.clone().route_layer(from_fn(look))
    }
}

/// Tells the log of an accident, under the name of the request.
pub(super) fn log(answer: &mut Response<Body>, id: RequestId) {
    if let Some(fault) = answer.extensions_mut().remove::<Arc<Fault>>() {
        let code = if fault.is_outage() { Code::StoreUnavailable } else { Code::InternalError };
        Problem::accident(code, &fault).log(id);
    }
}
