//! How a refusal or an accident is told: problem documents (RFC 9457) with a code from the closed list.
//!
//! A handler returns a [`Problem`]; its body is written at the very end, where the request's name is known.

use super::wire::ChallengeBody;
use super::{RequestId, budget};
use crate::app::Stop;
use crate::json::Wrong;
use axum::body::Body;
use axum::response::IntoResponse;
use handstamp_core::rate::Over;
use handstamp_core::refusal::Code;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// A refusal or an accident, on its way out.
#[derive(Clone)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    limit: Option<Box<Reached>>,
    challenge: Option<Box<ChallengeBody>>,
    /// Header fields that go with it.
    fields: Vec<(HeaderName, String)>,
    /// What happened, for the log alone.
    accident: Option<String>,
}

/// A limit that is reached.
#[derive(Clone, Copy)]
enum Reached {
    /// Of sessions: how many there are, and how many may be.
    Sessions(u64, u64),
    /// Of requests.
    Budget(Over),
}

/// What is wrong with one field.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// A JSON pointer into the body, or the name of a parameter.
    pub pointer: String,
    /// What would be right.
    pub message: String,
}

/// The document, as it is sent.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// The page that explains the code.
    #[serde(rename = "type")]
    #[schema(example = "/docs/errors/not_found")]
    kind: String,
    /// A few words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The stable code: what programs decide by.
    #[schema(value_type = super::openapi::CodeList)]
    code: &'a str,
    /// What happened, and what to do.
    detail: &'a str,
    /// The same text as `detail`.
    error: &'a str,
    /// The name of the request, also in `X-Request-Id`.
    request_id: &'a str,
    /// What is wrong with the input.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    /// How many live sessions there are, with `session_limit_reached`.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    /// How many there may be, with `session_limit_reached`.
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<u64>,
    /// What to sign next, when a device's proof is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_challenge: Option<&'a ChallengeBody>,
    /// Seconds to wait, with 429 and 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Problem {
    /// A code with its own sentence.
    pub fn code(code: Code) -> Problem {
        Problem::new(code, format!("{} {}", code.means(), code.remedy()))
    }
    /// A code with a better sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem {
            code,
            detail,
            errors: Vec::new(),
            limit: None,
            challenge: None,
            fields: Vec::new(),
            accident: None,
        }
    }
    /// An accident: the log is told `what` with the name of the request, the caller the code's general sentence.
    pub fn accident(code: Code, what: &dyn std::fmt::Display) -> Problem {
        Problem { accident: Some(what.to_string()), ..Problem::code(code) }
    }
    /// Tells the log, if it is an accident.
    pub(super) fn log(&self, id: RequestId) {
        let Some(accident) = &self.accident else { return };
        let (request_id, code) = (id.as_str(), self.code.text());
        tracing::error!(request_id, code, accident, "a request met an accident");
    }
    /// Bad input in several fields; there is at least one.
    pub fn fields(wrong: Vec<(String, String)>) -> Problem {
        let errors: Vec<FieldError> =
            wrong.into_iter().map(|(pointer, message)| FieldError { pointer, message }).collect();
        let detail = first_of(&errors);
        Problem { errors, ..Problem::new(Code::InvalidRequest, detail) }
    }
    /// The same with a field of the header.
    pub fn with(mut self, name: HeaderName, value: String) -> Problem {
        self.fields.push((name, value));
        self
    }
    /// The same with the budget that does not cover the request.
    pub fn over(self, over: Over) -> Problem {
        Problem { limit: Some(Box::new(Reached::Budget(over))), ..self }
    }
    /// Its code.
    pub const fn named(&self) -> Code {
        self.code
    }
    /// The sentence that the caller is told.
    pub fn detail(&self) -> &str {
        &self.detail
    }
    /// The same with another code.
    pub fn with_code(self, code: Code) -> Problem {
        Problem { code, ..self }
    }
    /// Whether it is about this place in the input.
    pub fn is_about(&self, pointer: &str) -> bool {
        self.errors.iter().any(|error| error.pointer == pointer)
    }
    /// The same, about a part of the input: `prefix` is where that part lies in the body.
    pub fn under(mut self, prefix: &str) -> Problem {
        for error in &mut self.errors {
            error.pointer.insert_str(0, prefix);
        }
        if !self.errors.is_empty() {
            self.detail = first_of(&self.errors);
        }
        self
    }
    /// The same, about a parameter of the address instead of a member of the body.
    pub fn of_parameter(mut self) -> Problem {
        for error in &mut self.errors {
            error.pointer = error.pointer.trim_start_matches('/').to_owned();
            self.detail = format!("{}: {}", error.pointer, error.message);
        }
        self
    }
    /// Bad input in one field.
    pub fn field(pointer: impl Into<String>, message: impl Into<String>) -> Problem {
        let (pointer, message) = (pointer.into(), message.into());
        Problem {
            errors: vec![FieldError { pointer: pointer.clone(), message: message.clone() }],
            ..Problem::new(
                Code::InvalidRequest,
                if pointer.is_empty() { message } else { format!("{pointer}: {message}") },
            )
        }
    }
}

/// A sentence for several.
fn first_of(errors: &[FieldError]) -> String {
    let mut detail =
        errors.first().map_or_else(String::new, |first| format!("{}: {}", first.pointer, first.message));
    if errors.len() > 1 {
        detail.push_str(&format!(" (and {} more)", errors.len() - 1));
    }
    detail
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Problem {
        Problem::field(wrong.pointer, wrong.message)
    }
}

impl From<Stop> for Problem {
    fn from(stop: Stop) -> Problem {
        match stop {
            Stop::Refused(refused) => {
                let code = refused.refusal.code;
                let detail = refused.sentence();
                let room = || refused.refusal.room().map(|(current, most)| Reached::Sessions(current, most));
                let limit = refused.over.map(Reached::Budget).or_else(room).map(Box::new);
                let errors =
                    refused.fields.into_iter().map(|(pointer, message)| FieldError { pointer, message });
                let challenge = refused.challenge.map(|challenge| Box::new(ChallengeBody::from(challenge)));
                Problem { errors: errors.collect(), limit, challenge, ..Problem::new(code, detail) }
            }
            Stop::Fault(fault) => {
                let code = if fault.is_outage() { Code::StoreUnavailable } else { Code::InternalError };
                Problem::accident(code, &fault)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}

/// What a handler returns.
pub type Answer = Result<Response<Body>, Problem>;

/// Writes the body of a problem.
pub(super) fn render(mut response: Response<Body>, id: RequestId) -> Response<Body> {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    problem.log(id);
    let (sessions, over) = match problem.limit.as_deref().copied() {
        Some(Reached::Sessions(current, maximum)) => (Some((current, maximum)), None),
        Some(Reached::Budget(over)) => (None, Some(over)),
        None => (None, None),
    };
    let retry_after = match (over, problem.code) {
        (Some(over), _) => Some(over.retry_after),
        (None, Code::StoreUnavailable | Code::RateLimitExceeded) => Some(1),
        (None, _) => None,
    };
    let document = ProblemDocument {
        kind: format!("/docs/errors/{}", problem.code.text()),
        title: problem.code.title(),
        status: problem.code.status(),
        code: problem.code.text(),
        detail: &problem.detail,
        error: &problem.detail,
        request_id: id.as_str(),
        errors: &problem.errors,
        current: sessions.map(|both| both.0),
        maximum: sessions.map(|both| both.1),
        device_challenge: problem.challenge.as_deref(),
        retry_after,
    };
    *response.body_mut() = Body::from(serde_json::to_vec(&document).unwrap_or_default());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH); // of the empty body that stood here
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(over) = over {
        budget::write(headers, over.standing);
    }
    for (name, value) in problem.fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(name, value);
        }
    }
    if problem.code.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
