//! What an answer says of the budget that its request was paid from: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
//! `X-RateLimit-Reset` (Unix seconds), and over it 429 with `Retry-After`.
//!
//! A keyless door makes a [`Tab`] for each request, hands it to the service with the question, and gives what became of
//! it to [`settle`] when its answer is ready.

use super::problem::{Answer, Problem};
use crate::app::App;
use crate::app::rates::{Spent, Tab};
use axum::body::Body;
use axum::response::IntoResponse;
use handstamp_core::id::EnvironmentId;
use handstamp_core::rate::{Over, Standing};
use handstamp_core::refusal::Code;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Response};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// Requests of the whole budget.
pub const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// Requests that could be spent now.
pub const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// When the whole budget is there again, in Unix seconds.
pub const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Writes the three headers. What stood there before is replaced: an answer tells of one budget.
pub fn write(headers: &mut HeaderMap, standing: Standing) {
    headers.insert(LIMIT, HeaderValue::from(standing.limit));
    headers.insert(REMAINING, HeaderValue::from(standing.remaining));
    headers.insert(RESET, HeaderValue::from(standing.reset));
}

/// Where the key of a request writes down how its budget stands, so that whatever becomes of the request, its answer
/// can tell.
#[derive(Clone, Default)]
pub(super) struct Slip(Arc<OnceLock<Standing>>);

impl Slip {
    /// Writes what was noted onto the answer, unless it speaks of the client's own budget already.
    pub(super) fn tell(&self, answer: &mut Response<Body>) {
        if let Some(standing) = self.0.get()
            && !answer.headers().contains_key(LIMIT)
        {
            write(answer.headers_mut(), *standing);
        }
    }
}

/// Takes note of how the budget of a request's key stands.
pub(super) fn note(request: &Extensions, standing: Option<Standing>) {
    if let (Some(standing), Some(slip)) = (standing, request.get::<Slip>()) {
        let _ = slip.0.set(standing);
    }
}

/// The answer in place of one that the budget does not cover. `Retry-After` and `retry_after` come with it.
pub fn over(over: Over) -> Problem {
    Problem::code(Code::RateLimitExceeded).over(over)
}

/// Pays for a request of a keyless door, and writes down how the budget stands.
///
/// A good session has paid while it was judged, and over its budget a refusal is 429 whatever else it was; what was done
/// all the same, which only ending it is, is told as done. Who brought none and is refused pays from the address's budget,
/// and over that the failing answer is 429 instead. An accident of ours, and an answer that is no refusal, costs an
/// address nothing.
pub fn settle(
    app: &App,
    env: EnvironmentId,
    ip: Option<IpAddr>,
    tab: &Tab,
    answer: Answer,
) -> Response<Body> {
    let mut answer = answer.unwrap_or_else(IntoResponse::into_response);
    let spent = match tab.session() {
        Some(spent) => spent,
        None if tab.failed() || answer.status().is_client_error() => app.spend_address(env, ip),
        None => Spent::Unlimited,
    };
    match spent {
        Spent::Unlimited => {}
        Spent::Paid(standing) => write(answer.headers_mut(), standing),
        Spent::Over(what) if answer.status().is_success() => write(answer.headers_mut(), what.standing),
        Spent::Over(what) => answer = over(what).into_response(),
    }
    answer
}
