//! The calls of a client about its own session.

use super::super::Web;
use super::super::budget;
use super::super::input::Nothing;
use super::super::problem::{Answer, Problem};
use super::super::reply::{json, no_content};
use super::answer::{OwnSession, session_cookie, set_cookie};
use super::guard::{Instead, may_change};
use super::visit::{Bearer, Visit};
use crate::app::nodes::Late;
use crate::app::validate::Ask;
use crate::app::visit::{Visited, Visitor};
use axum::body::Body;
use axum::extract::State;
use handstamp_core::refusal::Code;
use handstamp_core::step_up;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use std::sync::Arc;

/// Who is logged in?
///
/// Also counts as activity, and brings a new cookie when one is due. For a browser the session cookie says who asks; an app
/// without a backend sends its publishable key and the session's token in the `Session` header.
#[utoipa::path(
    get, path = "/v1/auth/session", tag = "browser", operation_id = "own_session",
    responses((status = 200, description = "The session and its user.", body = OwnSession<'static>))
)]
pub async fn get(State(web): State<Arc<Web>>, visit: Visit) -> Answer {
    let answering = async {
        enter_for(&web, &visit, visit.ask(), |visitor| shown(&web, &visit, visitor, Cookies::AsDue)).await
    };
    paid(&web, &visit, answering).await
}

/// Extends the session now.
///
/// Its idle time begins again, it takes over what today's policy grants, its token rotates when that is due, and the
/// cookies are sent again.
#[utoipa::path(
    post, path = "/v1/auth/session/refresh", tag = "browser", operation_id = "refresh_own_session",
    responses((status = 200, description = "The session and its user.", body = OwnSession<'static>))
)]
pub async fn refresh(State(web): State<Arc<Web>>, visit: Visit, _: Nothing) -> Answer {
    let answering = async {
        may_change(&web, &visit, Instead::Vouched).await?;
        enter_for(&web, &visit, visit.ask(), |visitor| shown(&web, &visit, visitor, Cookies::All)).await
    };
    paid(&web, &visit, answering).await
}

/// Says that the user is still there: the cheapest way to keep a session alive.
#[utoipa::path(
    get, path = "/v1/auth/session/ping", tag = "browser", operation_id = "ping_own_session",
    responses((status = 204, description = "The session is alive."))
)]
pub async fn ping(State(web): State<Arc<Web>>, visit: Visit) -> Answer {
    paid(&web, &visit, pinged(&web, &visit)).await
}

/// The same for callers that send it as a change.
#[utoipa::path(
    post, path = "/v1/auth/session/ping", tag = "browser", operation_id = "post_ping_own_session",
    responses((status = 204, description = "The session is alive."))
)]
pub async fn post_ping(State(web): State<Arc<Web>>, visit: Visit, _: Nothing) -> Answer {
    let answering = async {
        may_change(&web, &visit, Instead::Vouched).await?;
        pinged(&web, &visit).await
    };
    paid(&web, &visit, answering).await
}

async fn pinged(web: &Web, visit: &Visit) -> Answer {
    // An app could not be told its successor: this answer has no body.
    let ask = Ask { rotate: visit.bearer == Bearer::Cookie, ..visit.ask() };
    enter_for(web, visit, ask, |visitor| {
        let mut answer = no_content();
        renew(web, visit, visitor, false, &mut answer);
        Ok(answer)
    })
    .await
}

/// Logs out: ends the session and clears both cookies.
///
/// A token of any age that was ever this session's does. Without a live session there is nothing to end, and the answer is
/// the same; but where two session cookies come, or one that no browser keeps, it is refused and nothing is cleared.
#[utoipa::path(
    post, path = "/v1/auth/logout", tag = "browser", operation_id = "log_out",
    responses((status = 204, description = "Nobody is logged in here any more."))
)]
pub async fn log_out(State(web): State<Arc<Web>>, visit: Visit, _: Nothing) -> Answer {
    let answering = async {
        may_change(&web, &visit, Instead::Vouched).await?;
        if visit.bearer == Bearer::App && visit.token.is_empty() {
            return Err(Problem::code(Code::TokenMissing));
        }
        if visit.is_unclear() {
            // Of two cookies one may be of a session that goes on: "logged out" would not be true, and clearing ours
            // would leave the browser with the one that somebody else has planted.
            return Err(Problem::code(Code::SessionNotFound));
        }
        web.app.log_out_visitor(&visit.env, &visit.token, &visit.client()).await?;
        let mut answer = no_content();
        clear(&web, &visit, &mut answer);
        Ok(answer)
    };
    paid(&web, &visit, answering).await
}

/// Takes the cookies away.
pub(super) fn clear(web: &Web, visit: &Visit, answer: &mut Response<Body>) {
    if visit.bearer == Bearer::App {
        return;
    }
    for cookie in web.cookie.cleared() {
        set_cookie(answer, &cookie);
    }
    if web.browsers.clear_site_data {
        answer.headers_mut().insert(CLEAR, HeaderValue::from_static("\"cookies\", \"storage\""));
    }
}

const CLEAR: HeaderName = HeaderName::from_static("clear-site-data");

/// The answer, once somebody has paid for it, as no cache may give it to anybody else.
pub(super) async fn paid(web: &Web, visit: &Visit, answering: impl Future<Output = Answer>) -> Answer {
    // By now the body is there, and it may have been waited for.
    let answer = match visit.is_spoken_for(web).await {
        Ok(()) => answering.await,
        Err(stop) => Err(stop.into()),
    };
    let mut answer = budget::settle(&web.app, visit.env.record.id, visit.ip, &visit.tab, answer);
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("Cookie"));
    Ok(answer)
}

/// Lets the visitor in, or refuses it.
pub(super) async fn enter(web: &Web, visit: &Visit, ask: Ask<'_>) -> Result<Visitor, Problem> {
    let assured = ask.assured;
    match web.app.visit(&visit.env, ask).await? {
        Visited::In(visitor) => Ok(*visitor),
        Visited::Out(refusal, _) if refusal.code == Code::ReauthenticationRequired => {
            Err(Problem::of_browser(&refusal).with(header::WWW_AUTHENTICATE, step_up::challenge(assured)))
        }
        Visited::Out(refusal, _) => Err(Problem::of_browser(&refusal)),
    }
}

/// Lets the visitor in and makes the answer, which must still be true when it leaves: see [`crate::app::App::is_good`].
async fn enter_for(
    web: &Web,
    visit: &Visit,
    mut ask: Ask<'_>,
    answer: impl Fn(&Visitor) -> Answer,
) -> Answer {
    let mut late = Late::default();
    loop {
        let visitor = enter(web, visit, ask.clone()).await?;
        let made = answer(&visitor)?;
        if web.app.may_leave(visitor.good, &mut late)? {
            return Ok(made);
        }
        visit.look_again(web).await?;
        ask.strong = true;
    }
}

/// Which cookies an answer sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cookies {
    /// The session's when there is a new token or a minute has passed, the CSRF cookie when the request did not bring the
    /// right one.
    AsDue,
    /// Both.
    All,
}

fn shown(web: &Web, visit: &Visit, visitor: &Visitor, which: Cookies) -> Answer {
    let (token, fresh) = web.app.csrf_token(visitor.holder(), visit.csrf_cookie(web))?;
    let mut answer = json(StatusCode::OK, &OwnSession::of(web, visit, visitor, token.clone()));
    if visit.bearer != Bearer::App && (fresh || which == Cookies::All) {
        set_cookie(&mut answer, &web.cookie.csrf(&token, visitor.ends.earliest(), web.app.now()));
    }
    renew(web, visit, visitor, which == Cookies::All, &mut answer);
    Ok(answer)
}

/// Sends the session cookie again: with a new token, or for longer. At most once a minute for the latter, unless it was
/// asked for.
fn renew(web: &Web, visit: &Visit, visitor: &Visitor, asked: bool, answer: &mut Response<Body>) {
    if visit.bearer == Bearer::App {
        return;
    }
    let due = web.app.cookie_is_due(visitor);
    if due || asked || visitor.issued.is_some() {
        set_cookie(answer, &session_cookie(web, visit, visitor));
    }
}
