//! Forward-auth: a proxy asks whether a request of its client may pass, with that request's headers, and goes by the
//! status. Any method, and whatever a proxy appends to the address; the body is the application's and is never read.
//!
//! * [`wish`]: what the operator wants of a verdict, which no client can say. [`asked`]: what is known of the client's
//!   request. [`identity`]: who it is, told to the application behind the proxy.
//!
//! Who asks here is a proxy, never the client itself. So the address that is judged is the one that a trusted proxy says
//! or none, never the address of the connection; and what the client's request was sent to (host, address, method)
//! is believed of trusted proxies only.

use super::Web;
use super::browser::answer::set_cookie;
use super::browser::guard::{Instead, may_change};
use super::browser::visit::{Bearer, Visit, named_env};
use super::budget;
use super::caller::vouching;
use super::listener::PeerAddr;
use super::peer::Hop;
use super::problem::Problem;
use crate::app::Stop;
use crate::app::callers::Caller;
use crate::app::control::Env;
use crate::app::nodes::Late;
use crate::app::rates::Tab;
use crate::app::validate::Ask;
use crate::app::visit::{Visited, Visitor};
use asked::{Asked, Presented, presented};
use axum::body::{Body, HttpBody};
use axum::response::IntoResponse;
use handstamp_core::caller::Scope;
use handstamp_core::redirect;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::Client;
use handstamp_core::step_up;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use std::net::IpAddr;
use std::sync::Arc;
use wish::{Login, Wish};

mod asked;
pub mod identity;
pub mod wish;

/// Through which listener a proxy asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Through {
    /// Their own: whoever reaches it is a proxy.
    Own,
    /// The main one: a proxy shows an access key in [`super::caller::KEY`].
    Main,
}

/// The code of a refusal, for proxies that pass no body on.
pub const CODE: HeaderName = HeaderName::from_static("x-handstamp-code");
/// The way to the login page, on the application's own origin; the proxy brings it here.
pub const LOGIN: &str = "/login";

const VARY: HeaderValue = HeaderValue::from_static("Cookie, Authorization, Session");

/// May the client's request pass?
///
/// Any method, and any path behind this one; the body is not read. The headers are those of the client's request: its
/// cookie, or its token in `Authorization` or `Session`; `User-Agent`; and, of a trusted proxy, `X-Forwarded-For`,
/// `X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Forwarded-Method` and `X-Forwarded-Uri` (or `X-Original-Method`,
/// `X-Original-URI`, `X-Original-URL`). Parameters may also stand behind semicolons,
/// `/v1/forward-auth;tags=role:admin;rotate=auto`, where no client can write: for proxies that append their client's
/// own query. On the listener `[forward_auth] listen` no key is needed.
#[utoipa::path(
    get, path = "/v1/forward-auth", tag = "proxies", operation_id = "forward_auth",
    params(
        ("tags" = Option<String>, Query, description = "Tags that the session must carry, separated by commas."),
        ("access_groups" = Option<String>, Query, description = "Groups that it must be in, separated by commas."),
        ("max_auth_age" = Option<u64>, Query, description = "The last authentication is at most so many seconds ago."),
        ("min_level" = Option<u8>, Query, description = "What the last authentication proves, at least: 1 to 3."),
        ("rotate" = Option<String>, Query, description = "`auto`: the proxy passes `Set-Cookie` on, so the cookie may be replaced; \
            `never` (default): it does not."),
        ("data" = Option<u8>, Query, description = "1: the session's data is wanted in `X-Session-Data`."),
        ("login" = Option<u16>, Query, description = "How a navigation without a session is led to the login page: 302, or 401 with \
            `Location` for proxies that take no redirect from here; left out: not at all."),
        ("csrf" = Option<u8>, Query, description = "1: requests with the cookie that may change something must come from an allowed page and show \
            the session's CSRF token, as those of `/v1/auth` do.")
    ),
    responses(
        (status = 200, description = "It may pass. Every header `X-Session-...` is there, empty when there is nothing to say.", headers(
            ("X-Session-Id" = String, description = "`ses_...`: no secret."),
            ("X-Session-User" = String, description = "The application's name for the user, percent-encoded."),
            ("X-Session-Tags" = String, description = "Each percent-encoded, separated by commas."),
            ("X-Session-Groups" = String, description = "Each percent-encoded, separated by commas."),
            ("X-Session-Data" = String, description = "JSON in base64url; empty when it is not wanted, or longer than 4,096 characters.")
        )),
        (status = 302, description = "To the login page, with `login=302`.")
    )
)]
pub(super) async fn answer<B: HttpBody>(web: &Web, request: Request<B>, through: Through) -> Response<Body> {
    let (head, body) = request.into_parts();
    // The application's, wherever a proxy has sent it along: so the connection cannot be used again, and that is said.
    let unread = !body.is_end_stream();
    drop(body);
    let mut answer = match question(web, &head, through).await {
        Ok(question) => {
            let mut tab = Tab::default();
            let answer = question.verdict(web, &mut tab).await;
            budget::settle(&web.app, question.env.record.id, question.from, &tab, answer)
        }
        Err(problem) => problem.into_response(),
    };
    let code = answer.extensions().get::<Problem>().map(|problem| problem.named().text());
    let headers = answer.headers_mut();
    headers.extend(code.map(|code| (CODE, HeaderValue::from_static(code))));
    headers.insert(header::VARY, VARY);
    if unread {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A proxy's question.
struct Question<'a> {
    head: &'a Parts,
    asked: Asked<'a>,
    wish: Wish,
    env: Arc<Env>,
    /// Whose key was shown, where one must be.
    caller: Option<Caller>,
    /// The client's address, where it is known.
    from: Option<IpAddr>,
}

async fn question<'a>(web: &Web, head: &'a Parts, through: Through) -> Result<Question<'a>, Problem> {
    let caller = match through {
        Through::Own => None,
        Through::Main => Some(vouching(web, &head.headers).await?),
    };
    let peer = head.extensions.get::<PeerAddr>().map(|PeerAddr(peer)| peer.ip());
    // Whoever shows a key is believed as a trusted proxy is.
    let believed = caller.is_some() || web.trust.believes(peer);
    let asked = Asked::new(&head.headers, &head.method, believed);
    let wish::Address { wish, suffix } = wish::read(&head.uri, asked.query())?;
    let asked = asked.with_suffix(suffix, head.uri.query());
    let env = match &caller {
        Some(caller) => caller.env.clone(),
        None => environment(web, &asked).await?,
    };
    let from = if believed { web.trust.visitor(peer, &head.headers, Hop::Speaks) } else { None };
    Ok(Question { head, asked, wish, env, caller, from })
}

/// Where the client's session lives: the environment of the host it asked for.
async fn environment(web: &Web, asked: &Asked<'_>) -> Result<Arc<Env>, Problem> {
    let host = asked.host().unwrap_or_default();
    let name = web.browsers.environments.of(&host).ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "no environment is served for the host of this request; `[browser] environment` says which are",
        )
    })?;
    Ok(named_env(web, name).await?)
}

impl Question<'_> {
    async fn verdict(&self, web: &Web, tab: &mut Tab) -> Result<Response<Body>, Problem> {
        let presented = match presented(&self.head.headers, &web.cookie.name) {
            Ok(presented) => presented,
            Err(code) => {
                tab.fail();
                return Ok(self.refused(&Refusal::plain(code, "token")));
            }
        };
        // What came in a header was put there by somebody who knows the token: no page of somebody else's does.
        if self.wish.csrf && presented.by_cookie && self.asked.may_change() {
            self.guarded(web, presented, tab).await?;
        }
        let agent = self.head.headers.get(header::USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let ask = |strong| Ask {
            token: presented.token,
            ip: self.from,
            user_agent: Client::cut(agent.as_deref()),
            tags: self.wish.tags.clone(),
            groups: self.wish.groups.clone(),
            // What came in a header cannot be replaced by a cookie.
            rotate: self.wish.rotate && presented.by_cookie,
            touch: true,
            assured: self.wish.assured,
            tab: Some(tab),
            strong,
            ..Ask::default()
        };
        let (mut late, mut strong) = (Late::default(), false);
        loop {
            match web.app.visit(&self.env, ask(strong)).await? {
                Visited::In(visitor) => {
                    let answer = self.allowed(web, &visitor, presented);
                    if web.app.may_leave(visitor.good, &mut late)? {
                        return Ok(answer);
                    }
                }
                Visited::Out(refusal, _) => return Ok(self.refused(&refusal)),
            }
            if let Some(caller) = &self.caller {
                web.app.look_again(caller, Scope::SessionsRead).await?;
            }
            strong = true;
        }
    }

    /// The judgement of the browser's door on requests that change something: the page, then the session's CSRF token.
    async fn guarded(&self, web: &Web, presented: Presented<'_>, tab: &mut Tab) -> Result<(), Problem> {
        let mut visit = Visit {
            env: self.env.clone(),
            token: presented.token.to_owned(),
            bearer: Bearer::Cookie,
            ip: self.from,
            user_agent: None,
            host: self.asked.host_and_port(),
            headers: self.head.headers.clone(),
            tab: std::mem::take(tab),
            caller: None,
        };
        let mut judged = may_change(web, &visit, Instead::Nothing).await;
        let unlisted = |problem: &Problem| problem.named() == Code::OriginNotAllowed;
        if web.app.has_others() && judged.as_ref().is_err_and(unlisted) {
            // Memory says no to nobody: another node may have listed the page a moment ago.
            visit.env = self.newest_env(web).await?;
            judged = may_change(web, &visit, Instead::Nothing).await;
        }
        *tab = visit.tab;
        judged
    }

    async fn newest_env(&self, web: &Web) -> Result<Arc<Env>, Problem> {
        web.app.look_up_stranger().await.map_err(Stop::from)?;
        Ok(web.app.env_of_visitors(&self.env.record.name)?)
    }

    /// It may pass, and this is who it is.
    fn allowed(&self, web: &Web, visitor: &Visitor, presented: Presented<'_>) -> Response<Body> {
        // Exactly 200: Envoy takes nothing else for a yes.
        let mut answer = Response::new(Body::empty());
        identity::write(answer.headers_mut(), visitor, self.wish.data);
        if let Some(token) = self.delivered(web, visitor, presented) {
            set_cookie(&mut answer, &web.cookie.session(token, visitor.ends.earliest(), web.app.now()));
        }
        answer
    }

    /// The token that the browser's cookie is to be set to, if it is.
    ///
    /// A token that never rotates is sent again for its longer life, at most once a minute. One that rotates is not: the
    /// application may take its time, and an answer that comes late must not put an old token over its successor.
    fn delivered<'a>(&self, web: &Web, visitor: &'a Visitor, presented: Presented<'a>) -> Option<&'a str> {
        if !self.wish.rotate || !presented.by_cookie {
            return None;
        }
        if let Some(issued) = &visitor.issued {
            return Some(issued.session.reveal());
        }
        let effective = visitor.env.policy.of_tags(visitor.tags.iter().map(String::as_str));
        let stays = effective.rotate_every.value.0.is_none();
        (stays && web.app.cookie_is_due(visitor)).then_some(presented.token)
    }

    /// It may not. What a client is told is the code and its general sentence: rule and evidence are for key holders.
    fn refused(&self, refusal: &Refusal) -> Response<Body> {
        let problem = Problem::of_browser(refusal);
        let code = problem.named();
        let wanted = self.wish.login.filter(|_| code.denies_session() && self.asked.is_navigation());
        let login = wanted.and_then(|how| Some((how, self.login_page()?)));
        let mut answer = match login {
            Some((Login::Redirect, _)) => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::FOUND;
                answer.headers_mut().insert(CODE, HeaderValue::from_static(code.text()));
                answer
            }
            Some((Login::Header, _)) | None => problem.into_response(),
        };
        let headers = answer.headers_mut();
        headers.extend(login.map(|(_, page)| (header::LOCATION, page)));
        if code == Code::ReauthenticationRequired {
            let challenge = HeaderValue::try_from(step_up::challenge(self.wish.assured)).ok();
            headers.extend(challenge.map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
        }
        answer
    }

    /// The login page, which is told where to lead back to; whether it may lead there is decided by whoever does so. Without
    /// that it would lead nobody anywhere.
    fn login_page(&self) -> Option<HeaderValue> {
        let mut page = format!("{LOGIN}?{}=", redirect::REDIRECT_URI);
        identity::percent_encode(&mut page, self.asked.way_back()?.as_str());
        HeaderValue::try_from(page).ok()
    }
}
