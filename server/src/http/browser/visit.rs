//! Whose request is it? One that brings a session's token itself: in the cookie, in the `Session` header of an app with a
//! publishable key, or in a cookie that the application's own server passes on with an access key.

use super::super::Web;
use super::super::budget;
use super::super::caller::{self, KEY};
use super::super::cookies;
use super::super::input::header_once;
use super::super::listener::PeerAddr;
use super::super::peer::Hop;
use super::super::problem::Problem;
use crate::app::Stop;
use crate::app::callers::Caller;
use crate::app::control::Env;
use crate::app::rates::Tab;
use crate::app::validate::Ask;
use axum::extract::FromRequestParts;
use handstamp_core::caller::Scope;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use http::request::Parts;
use http::{Extensions, HeaderMap, Uri, header};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Who holds the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bearer {
    /// A browser, which sends the cookie by itself.
    Cookie,
    /// An app, which knows its token and says a publishable key.
    App,
    /// The application's own server, for a browser: it passes on the cookie, and has an access key.
    Backend,
}

/// A request of a client itself.
pub struct Visit {
    /// Where.
    pub env: Arc<Env>,
    /// What it presents; empty when it presents nothing.
    pub token: String,
    /// How.
    pub bearer: Bearer,
    /// From which address, as far as it is known.
    pub ip: Option<IpAddr>,
    /// By which agent, cut to what is kept.
    pub user_agent: Option<String>,
    /// The host that it was sent to, with its port where one was named.
    pub host: Option<String>,
    /// Its header.
    pub headers: HeaderMap,
    /// Who pays for it.
    pub tab: Tab,
    /// Of [`Bearer::Backend`]: whose key.
    pub caller: Option<Caller>,
}

/// The header with a publishable key.
pub(in super::super) const PUBLISHABLE: &str = "x-publishable-key";
const SESSION: &str = "session";
/// What stands for a cookie that is not taken: no token, so that it is refused as one that nobody made.
const NO_TOKEN: &str = "-";

impl FromRequestParts<Arc<Web>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Visit, Problem> {
        let headers = &parts.headers;
        let connection = connection(&parts.extensions);
        let host = host(web, connection, headers, &parts.uri);
        let agent = user_agent(headers);
        let mut by = None;
        let (env, token, bearer, ip) =
            if let Some(key) = header_once(headers, PUBLISHABLE, "X-Publishable-Key")? {
                let env = web.app.env_of_publishable(key)?;
                let token = header_once(headers, SESSION, "Session")?.unwrap_or_default();
                (env, token, Bearer::App, web.trust.visitor(connection, headers, Hop::Itself))
            } else if headers.contains_key(KEY) {
                let caller = caller::recognise_named(web, headers)?;
                budget::note(&parts.extensions, caller.standing);
                web.app.allow(&caller, Scope::SessionsRead).await?;
                let ip = web.trust.visitor(connection, headers, Hop::Speaks);
                let env = caller.env.clone();
                by = Some(caller.watched());
                (env, cookie(web, headers), Bearer::Backend, ip)
            } else {
                let ip = web.trust.visitor(connection, headers, Hop::Itself);
                (env_here(web, host).await?, cookie(web, headers), Bearer::Cookie, ip)
            };
        let visit = Visit {
            env,
            token: token.to_owned(),
            bearer,
            ip,
            user_agent: Client::cut(agent.as_deref()).map(str::to_owned),
            host: host.map(str::to_owned),
            headers: parts.headers.clone(),
            tab: Tab::default(),
            caller: by,
        };
        // For whoever waits for the body.
        if let Some(caller) = &visit.caller {
            parts.extensions.insert(caller.clone());
        }
        Ok(visit)
    }
}

impl Visit {
    /// The question whether it may pass.
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            token: &self.token,
            ip: self.ip,
            user_agent: self.user_agent.as_deref(),
            rotate: self.bearer != Bearer::Backend,
            touch: true,
            tab: Some(&self.tab),
            ..Ask::default()
        }
    }

    /// The same by a call that could not deliver a successor, or is about more than this session.
    pub(super) fn ask_without_successor(&self) -> Ask<'_> {
        Ask { rotate: false, ..self.ask() }
    }

    /// Whether whoever speaks for the client may still do so, by what is known of their key.
    pub(super) async fn is_spoken_for(&self, web: &Web) -> Result<(), Stop> {
        match &self.caller {
            Some(caller) => web.app.allow(caller, Scope::SessionsRead).await,
            None => Ok(()),
        }
    }

    /// The same as the store has it now, for an answer that is made again.
    pub(super) async fn look_again(&self, web: &Web) -> Result<(), Stop> {
        match &self.caller {
            Some(caller) => web.app.look_again(caller, Scope::SessionsRead).await,
            None => Ok(()),
        }
    }

    /// Who is at the other end, for records and history.
    pub(super) fn client(&self) -> Client {
        Client { ip: self.ip, user_agent: self.user_agent.as_deref().map(Into::into), agent: None }
    }

    /// Whether there is a session cookie that was not taken: two of the name, or none that a browser keeps.
    pub(super) fn is_unclear(&self) -> bool {
        self.bearer != Bearer::App && self.token == NO_TOKEN
    }

    /// The CSRF token in the cookie.
    pub(super) fn csrf_cookie(&self, web: &Web) -> Option<&str> {
        cookies::one(&self.headers, &web.cookie.csrf_name).ok().flatten()
    }
}

/// The token in the session cookie. One that is not taken for a cookie is presented as what it is: no token of ours.
fn cookie<'a>(web: &Web, headers: &'a HeaderMap) -> &'a str {
    match cookies::one(headers, &web.cookie.name) {
        Ok(value) => value.unwrap_or_default(),
        Err(_) => NO_TOKEN,
    }
}

/// What the agent says of itself; bytes that are no UTF-8 are shown as such.
fn user_agent(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// Who is at the other end of the connection.
pub(in super::super) fn connection(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<PeerAddr>().map(|PeerAddr(peer)| peer.ip())
}

/// The host that a request was sent to, with its port where one was named.
pub(in super::super) fn host<'a>(
    web: &Web,
    connection: Option<IpAddr>,
    headers: &'a HeaderMap,
    uri: &'a Uri,
) -> Option<&'a str> {
    web.trust.host(connection, headers).or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// The environment of requests without a key to a host.
///
/// # Errors
/// `not_found`.
pub(in super::super) fn env_at(web: &Web, host: Option<&str>) -> Result<Arc<Env>, Problem> {
    Ok(web.app.env_of_visitors(name_at(web, host)?)?)
}

/// The same, and the store is asked before anybody is refused.
async fn env_here(web: &Web, host: Option<&str>) -> Result<Arc<Env>, Problem> {
    Ok(named_env(web, name_at(web, host)?).await?)
}

fn name_at<'a>(web: &'a Web, host: Option<&str>) -> Result<&'a EnvironmentName, Problem> {
    web.browsers.environments.of(host.map_or("", without_port)).ok_or_else(|| {
        Problem::new(Code::NotFound, "no environment belongs to the host that this request was sent to")
    })
}

/// An environment that the configuration names; another node may have made it a moment ago.
///
/// # Errors
/// `not_found`; faults.
pub(in super::super) async fn named_env(web: &Web, name: &EnvironmentName) -> Result<Arc<Env>, Stop> {
    if let Ok(env) = web.app.env_of_visitors(name) {
        return Ok(env);
    }
    web.app.look_up_stranger().await?;
    web.app.env_of_visitors(name)
}

/// A host as it is named in a map by host.
pub(in super::super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}
