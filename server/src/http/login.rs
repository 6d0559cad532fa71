//! The way to the login page and back: what a login asks for, what it is given, and the exchange of its one-time code.

use super::Web;
use super::browser::visit::{connection, env_at, host};
use super::budget;
use super::caller::By;
use super::input::Json;
use super::peer::Hop;
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::{json, no_content};
use super::sessions::cookies;
use super::wire::{SessionBody, Time};
use crate::app::Stop;
use crate::app::control::Env;
use crate::app::login::{GivenCode, ToLogin};
use crate::app::rates::Tab;
use axum::extract::{Request, State};
use handstamp_core::login::{Challenge, Presented, is_secret};
use handstamp_core::origin::WebOrigin;
use handstamp_core::redirect;
use handstamp_core::refusal::Code;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The session is handed over by a one-time code: where the login leads back to, and what the code is bound to.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "redirect_uri": "https://app.example.org/data" }))]
pub struct LoginRequest {
    /// The `redirect_uri` that came to the login page. Its origin must be one that a login may lead back to.
    #[schema(max_length = 2048)]
    redirect_uri: String,
    /// The `code_challenge` that came to the login page, if one did: base64url of the SHA-256 of a secret that the
    /// application left in the browser (RFC 7636, S256). Without it, whoever logs in can slip their session to another
    /// browser.
    code_challenge: Option<String>,
}

/// A one-time code, to be sent along with the browser.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LoginBody<'a> {
    /// `hsc_...`: it can be exchanged once.
    code: &'a str,
    /// Where to send the browser: `redirect_uri` with the code in `login_code`.
    redirect_to: &'a str,
    /// A minute from now.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
}

/// A one-time code that came with a browser.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "hsc_...", "origin": "https://app.example.org" }))]
pub struct ExchangeRequest {
    /// The value of `login_code`.
    code: String,
    /// The origin of the page to which the code came: a constant of the application, never what the request says.
    origin: String,
    /// The secret behind `code_challenge`, where the login began with one: 43 to 128 characters, from the browser's
    /// cookie.
    code_verifier: Option<String>,
}

/// A session that was handed over.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Exchanged<'a> {
    /// The session.
    session: SessionBody<'a>,
    /// Of a session made with `refresh`: `hst_...`, for an application whose client holds its tokens itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    /// Of a session made with `refresh`: `hsr_...`, good for the next pair of tokens, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// Ready `Set-Cookie` values, for the answer to the browser that brought the code: the session's cookie, and the CSRF
    /// cookie that pages read.
    set_cookie: Vec<String>,
    /// Where the login was to lead back to: an address without the code, to send the browser to.
    redirect_uri: &'a str,
}

impl LoginRequest {
    /// Checks what can be checked without the environment.
    ///
    /// # Errors
    /// `invalid_request`, with a JSON pointer to the place.
    pub(super) fn read(self, at: &str) -> Result<ToLogin, Problem> {
        let challenge = self.code_challenge.map(|text| challenge(&format!("{at}/code_challenge"), &text));
        Ok(ToLogin { redirect_uri: self.redirect_uri, challenge: challenge.transpose()? })
    }
}

fn challenge(pointer: &str, text: &str) -> Result<Challenge, Problem> {
    Challenge::parse(text).ok_or_else(|| {
        Problem::field(
            pointer,
            "43 characters of base64url: the SHA-256 of the code verifier (RFC 7636, S256)",
        )
    })
}

impl<'a> LoginBody<'a> {
    /// What the caller is told.
    pub(super) fn of(given: &'a GivenCode) -> LoginBody<'a> {
        LoginBody {
            code: given.code.reveal(),
            redirect_to: &given.redirect_to,
            expires_at: Time(given.until),
        }
    }
}

/// Sends somebody without a session to the application's login page.
///
/// The page (`[login] url`) gets `redirect_uri`, and `code_challenge` where one was sent, as they came. Where the origin of
/// `redirect_uri` is not one that a login may lead back to, nobody is sent anywhere.
#[utoipa::path(
    get, path = "/login", tag = "browser", operation_id = "login",
    params(
        ("redirect_uri" = String, Query, description = "Where the login leads back to, as `location.href` has it."),
        ("code_challenge" = Option<String>, Query, description =
            "What the one-time code of the login is bound to: base64url of the SHA-256 of a secret that the application \
             left in this browser (RFC 7636, S256).")
    ),
    responses((status = 302, description = "To the login page."))
)]
pub async fn page(State(web): State<Arc<Web>>, request: Request) -> Answer {
    let (headers, uri) = (request.headers(), request.uri());
    let connection = connection(request.extensions());
    let env = env_at(&web, host(&web, connection, headers, uri))?;
    let ip = web.trust.visitor(connection, headers, Hop::Itself);
    let answer = Params::of(uri).and_then(|query| ahead(&web, &env, &query));
    Ok(budget::settle(&web.app, env.record.id, ip, &Tab::default(), answer))
}

fn ahead(web: &Web, env: &Env, query: &Params) -> Answer {
    let back = query.get(redirect::REDIRECT_URI)?.unwrap_or_default();
    let bound = query.get(redirect::CODE_CHALLENGE)?;
    if let Some(text) = bound {
        challenge(redirect::CODE_CHALLENGE, text)?;
    }
    let back = web.app.judge_return(env, back).map_err(|stop| match stop {
        Stop::Refused(refused) => Problem::of_browser(&refused.refusal),
        stop @ Stop::Fault(_) => Problem::from(stop),
    })?;
    let page = web.browsers.login.as_deref().filter(|page| !is_this(page)).ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "there is no login page: the application's own is configured as `[login] url`",
        )
    })?;
    let mut answer = no_content();
    *answer.status_mut() = StatusCode::FOUND;
    let to = HeaderValue::try_from(redirect::login_page(page, &back, bound));
    let to = to.map_err(|why| Problem::accident(Code::InternalError, &why))?;
    answer.headers_mut().insert(header::LOCATION, to);
    Ok(answer)
}

/// An application whose own page has this very address, on its own host: to send a browser there from here would send
/// it in a circle.
fn is_this(page: &str) -> bool {
    page.split(['?', '#']).next() == Some("/login")
}

/// Exchanges the one-time code of a login for the session's cookies.
///
/// Call it in the very request that brings the code: it can be exchanged once, within a minute, by the origin that the login
/// led back to. Pass the cookies on, and send the browser to `redirect_uri`, so that the code does not stay in its address.
#[utoipa::path(
    post, path = "/v1/login/exchange", tag = "sessions", operation_id = "exchange_login",
    request_body = ExchangeRequest,
    responses((status = 200, description = "The session and its cookies.", body = Exchanged<'static>))
)]
pub async fn exchange(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<ExchangeRequest>,
) -> Answer {
    WebOrigin::parse(&ask.origin).map_err(|why| Problem::field("/origin", why))?;
    let secret = ask.code_verifier.as_deref();
    if secret.is_some_and(|text| !is_secret(text)) {
        let message = "43 to 128 of A-Z a-z 0-9 - . _ ~ (RFC 7636)";
        return Err(Problem::field("/code_verifier", message));
    }
    let presented = Presented { origin: &ask.origin, secret };
    let done = web.app.exchange_login(&caller, &ask.code, presented).await?;
    let (token, refresh_token) = (done.issued.session.reveal(), done.issued.refresh_text());
    let body = Exchanged {
        session: SessionBody::of(&done.view),
        token: refresh_token.map(|_| token),
        refresh_token,
        set_cookie: cookies(&web, &caller, token, &done.view),
        redirect_uri: done.return_to.as_str(),
    };
    Ok(json(StatusCode::OK, &body))
}
