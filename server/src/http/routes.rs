//! The whole table of routes: who may call what, with which parameters, and every code a call can be refused with. The
//! router is made of it, and the OpenAPI document takes from it what the handlers themselves do not say.

use super::budget::Slip;
use super::door::Pattern;
use super::forward_auth::wish;
use super::problem::Problem;
use super::{
    Web, access_tokens, browser, devices, docs, environments, events, explain, health, input, keys, login,
    metrics, policies, query, refresh, revocations, revoke, search, session_types, sessions, settings,
    signing_keys, status_lists, users, validate,
};
use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::{self, MethodRouter};
use handstamp_core::caller::Scope;
use handstamp_core::refusal::Code;
use std::sync::Arc;

/// One call.
pub struct Route {
    /// In capitals.
    pub method: &'static str,
    /// With its variable parts in braces.
    pub path: &'static str,
    /// What it takes in the query of its address.
    pub params: &'static [&'static str],
    /// Who may call it.
    pub needs: Needs,
    /// Every code it can be refused with, once each.
    pub refusals: Vec<Code>,
    handler: MethodRouter<Arc<Web>>,
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Anybody.
    Nothing,
    /// An access key with this scope.
    Key(Scope),
    /// An operator's key.
    Operator,
    /// The client of a session itself: its cookie, or its token beside a publishable key.
    Client,
    /// A proxy with a request of its client: through its own listener, or with an access key that may read sessions.
    Proxy,
}

const FILTERS: &[&str] = &[
    "user_id",
    "tag",
    "ip",
    "browser",
    "os",
    "device_id",
    "state",
    "code",
    "created_after",
    "created_before",
];
const SEARCH: &[&str] = &[
    "user_id",
    "tag",
    "ip",
    "browser",
    "os",
    "device_id",
    "state",
    "code",
    "created_after",
    "created_before",
    "limit",
    "cursor",
];

/// Every address of the management door.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    use Code::{
        AccessGroupMissing, AlreadyExists, BodyTooLarge, CsrfTokenInvalid, DataInvalid, DeviceProofInvalid, DeviceProofStale, ExceptInvalid, IdempotencyKeyReused,
        IdempotencyKeySpent, ImpersonationForbidden, IpBlocked, IpMissing, IpNotAllowed, LoginCodeExpired, LoginCodeInvalid, LoginCodeUsed, NotFound, OriginNotAllowed, PolicyChanged,
        PolicyManagedByFile, RateLimitExceeded, ReauthenticationRequired, RedirectNotAllowed, RequestMalformed, Reserved, RotationUnderWay, SessionEnded, SessionLimitReached,
        SessionTypeChanged, SessionTypesManagedByFile, SettingsChanged, StoreUnavailable, TagCreateOnly, TagInvalid, TagMissing, TokenMalformed, TokenMissing, TokenWrongKind, TooManyMatches,
    };
    use Code::{DataTooLarge, SigningKeyMissing};
    use Needs::{Client, Key, Operator, Proxy};
    use Scope::{EventsRead, KeysWrite, PolicyWrite, SessionsRead, SessionsWrite, TokensMint, TokensOpen, TokensVerify, UsersWrite};
    vec![
        post("/v1/sessions", sessions::create).needs(Key(SessionsWrite)).json().stored()
            .refuses(&[TagInvalid, DataInvalid, SessionLimitReached, IdempotencyKeyReused, IdempotencyKeySpent, DeviceProofStale])
            .refuses(&[DeviceProofInvalid, ImpersonationForbidden, IpBlocked, IpMissing, IpNotAllowed, RedirectNotAllowed])
            .refuses(&[DataTooLarge, SigningKeyMissing]),
        post("/v1/login/exchange", login::exchange).needs(Key(SessionsWrite)).json().stored()
            .refuses(&[LoginCodeInvalid, LoginCodeExpired, LoginCodeUsed, RedirectNotAllowed, SessionEnded]),
        get("/v1/sessions", search::search).needs(Key(SessionsRead)).stored().params(SEARCH).refuses(&[TagInvalid]),
        // Answered by the door before the router is asked.
        post("/v1/sessions/validate", unreachable).needs(Key(SessionsRead)).json().stored().refuses(&[TagInvalid]),
        post("/v1/sessions/validate-batch", validate::validate_batch).needs(Key(SessionsRead)).json().stored()
            .refuses(&[TagInvalid]),
        post("/v1/sessions/refresh", refresh::refresh).needs(Key(SessionsWrite)).json().stored().refuses(refresh::REFUSALS)
            .refuses(&[DataTooLarge, SigningKeyMissing]),
        post("/v1/sessions/revoke", revoke::revoke).needs(Key(SessionsWrite)).json().stored()
            .refuses(&[TagInvalid, ExceptInvalid, ImpersonationForbidden]),
        post("/v1/sessions/update", search::bulk_update).needs(Key(SessionsWrite)).json().stored()
            .refuses(&[TagInvalid, TagCreateOnly, DataInvalid, SessionLimitReached, TooManyMatches]),
        get("/v1/sessions/count", search::count).needs(Key(SessionsRead)).stored().params(FILTERS)
            .refuses(&[TagInvalid]),
        get("/v1/sessions/{id}", sessions::get).needs(Key(SessionsRead)).stored().refuses(&[NotFound]),
        patch("/v1/sessions/{id}", sessions::update).needs(Key(SessionsWrite)).json().stored()
            .refuses(&[NotFound, TagInvalid, TagCreateOnly, DataInvalid, SessionLimitReached, SessionEnded, ImpersonationForbidden])
            .refuses(&[IpBlocked, IpMissing, IpNotAllowed]),
        delete("/v1/sessions/{id}", sessions::end).needs(Key(SessionsWrite)).stored().params(&["user_id", "reason"])
            .refuses(&[NotFound]),
        get("/v1/sessions/{id}/events", search::events).needs(Key(EventsRead)).stored().params(&["limit", "cursor"])
            .refuses(&[NotFound]),
        get("/v1/policies", policies::get).needs(Key(SessionsRead)),
        put("/v1/policies", policies::replace).needs(Key(PolicyWrite)).json().stored()
            .refuses(&[PolicyManagedByFile, PolicyChanged]),
        get("/v1/policies/versions", policies::versions).needs(Key(SessionsRead)).stored().params(&["limit", "cursor"]),
        get("/v1/policies/versions/{number}", policies::version).needs(Key(SessionsRead)).stored().refuses(&[NotFound]),
        post("/v1/sessions/{id}/access-tokens", access_tokens::mint).needs(Key(TokensMint)).json().stored()
            .refuses(&[NotFound, SessionEnded, DataTooLarge, SigningKeyMissing]),
        get("/v1/sessions/{id}/explain", explain::session).needs(Key(SessionsRead)).stored().params(&["full"])
            .refuses(&[NotFound]),
        post("/v1/policies/explain", explain::policy).needs(Key(SessionsRead)).json().stored().params(&["full"])
            .refuses(&[TagInvalid]),
        post("/v1/policies/preview", explain::preview).needs(Key(SessionsRead)).json().stored(),
        post("/v1/policies/rollback", policies::roll_back).needs(Key(PolicyWrite)).json().stored()
            .refuses(&[NotFound, PolicyManagedByFile, PolicyChanged]),
        get("/v1/session-types", session_types::list).needs(Key(SessionsRead)),
        get("/v1/session-types/{name}", session_types::get).needs(Key(SessionsRead)).refuses(&[NotFound]),
        put("/v1/session-types/{name}", session_types::replace).needs(Key(PolicyWrite)).json().stored()
            .refuses(&[SessionTypesManagedByFile, SessionTypeChanged]),
        delete("/v1/session-types/{name}", session_types::delete).needs(Key(PolicyWrite)).stored()
            .refuses(&[NotFound, SessionTypesManagedByFile, SessionTypeChanged]),
        get("/v1/settings/cors", settings::cors).needs(Key(SessionsRead)),
        put("/v1/settings/cors", settings::replace_cors).needs(Key(PolicyWrite)).json().stored().refuses(&[SettingsChanged]),
        get("/v1/settings/redirect-origins", settings::redirect_origins).needs(Key(SessionsRead)),
        put("/v1/settings/redirect-origins", settings::replace_redirect_origins).needs(Key(PolicyWrite)).json().stored()
            .refuses(&[SettingsChanged]),
        get("/v1/events", events::events).needs(Key(EventsRead)).stored()
            .params(&["user_id", "type", "code", "after", "limit", "cursor"]),
        get("/v1/revocations", revocations::revocations).needs(Key(TokensVerify)).stored().params(&["after"]),
        get("/v1/status-lists/{n}", status_lists::get).stored().params(&["environment"]).refuses(&[NotFound, SigningKeyMissing]),
        get("/v1/users", users::list).needs(Key(SessionsRead)).stored().params(&["limit", "cursor"]),
        get("/v1/users/{id}", users::get).needs(Key(SessionsRead)).stored().refuses(&[NotFound]),
        post("/v1/devices/challenge", devices::challenge).needs(Key(SessionsRead)).json()
            .refuses(&[TokenMissing, TokenMalformed, TokenWrongKind, NotFound]),
        post("/v1/devices", devices::register).needs(Key(SessionsWrite)).json().stored().refuses(Code::VERDICTS)
            .refuses(&[NotFound, SessionEnded, AlreadyExists, ReauthenticationRequired, ImpersonationForbidden]),
        get("/v1/devices", devices::list).needs(Key(SessionsRead)).stored().params(&["user_id"]),
        patch("/v1/devices/{id}", devices::name).needs(Key(SessionsWrite)).json().stored().params(&["user_id"])
            .refuses(&[NotFound]),
        delete("/v1/devices/{id}", devices::forget).needs(Key(SessionsWrite)).stored().params(&["user_id"])
            .refuses(&[NotFound]),
        post("/v1/users/{id}/erase", users::erase).needs(Key(UsersWrite)).stored()
            .refuses(&[NotFound, RequestMalformed, BodyTooLarge]),
        get("/.well-known/handstamp-erasure-keys.json", users::erasure_keys),
        get("/.well-known/jwks.json", signing_keys::jwks).stored().params(&["environment"]).refuses(&[NotFound]),
        get("/v1/keys/signing", signing_keys::list).needs(Key(KeysWrite)),
        post("/v1/keys/signing/rotate", signing_keys::rotate).needs(Key(KeysWrite)).json().stored()
            .refuses(&[RotationUnderWay]),
        get("/v1/keys/data", signing_keys::data).needs(Key(TokensOpen)),
        get("/v1/keys", keys::list).needs(Key(KeysWrite)),
        post("/v1/keys", keys::create).needs(Key(KeysWrite)).json().stored(),
        get("/v1/keys/{id}", keys::get).needs(Key(KeysWrite)).refuses(&[NotFound]),
        patch("/v1/keys/{id}", keys::update).needs(Key(KeysWrite)).json().stored().refuses(&[NotFound, Reserved]),
        delete("/v1/keys/{id}", keys::delete).needs(Key(KeysWrite)).stored().refuses(&[NotFound, Reserved]),
        post("/v1/keys/{id}/rotate", keys::rotate).needs(Key(KeysWrite)).json().stored()
            .refuses(&[NotFound, Reserved, AlreadyExists]),
        get("/v1/environments", environments::list).needs(Operator),
        post("/v1/environments", environments::create).needs(Operator).json().stored()
            .refuses(&[AlreadyExists, Reserved]),
        delete("/v1/environments/{product}/{environment}", environments::delete).needs(Operator).stored()
            .refuses(&[NotFound, Reserved]),
        get("/login", login::page).stored().params(&["redirect_uri", "code_challenge"])
            .refuses(&[NotFound, RedirectNotAllowed, RateLimitExceeded]),
        get("/v1/auth/session", browser::session::get).needs(Client).stored(),
        post("/v1/auth/session/refresh", browser::session::refresh).needs(Client).changes().stored(),
        get("/v1/auth/session/ping", browser::session::ping).needs(Client).stored(),
        post("/v1/auth/session/ping", browser::session::post_ping).needs(Client).changes().stored(),
        post("/v1/auth/logout", browser::session::log_out).needs(Client).changes().stored(),
        get("/v1/auth/sessions", browser::own::list).needs(Client).stored().params(&["limit", "cursor"]),
        delete("/v1/auth/sessions/{id}", browser::own::end).needs(Client).changes().stored()
            .refuses(&[ReauthenticationRequired, ImpersonationForbidden]),
        post("/v1/auth/sessions/revoke-others", browser::own::end_others).needs(Client).changes().stored()
            .refuses(&[ReauthenticationRequired, ImpersonationForbidden]),
        // Answered by the door before the router is asked: with any method, and whatever a proxy appends.
        get(wish::PATH, unreachable).needs(Proxy).stored().params(wish::NAMES)
            .refuses(&[TagInvalid, TagMissing, AccessGroupMissing, OriginNotAllowed, CsrfTokenInvalid]),
        get("/livez", health::livez),
        get("/readyz", health::readyz).refuses(&[StoreUnavailable]),
        get("/openapi.json", docs::openapi),
        get("/docs", docs::calls),
        get("/docs/style.css", docs::style),
        get("/docs/errors/{code}", docs::error).refuses(&[NotFound]),
        get(METRICS, metrics::serve),
    ]
}

const METRICS: &str = "/metrics";

/// The table of a main listener while `/metrics` have a listener of their own.
pub fn without_metrics() -> Vec<Route> {
    table().into_iter().filter(|route| route.path != METRICS).collect()
}

/// What there is on the listener of proxies beside the verdicts: whether it can be asked at all.
pub fn beside_forward_auth() -> Vec<Route> {
    table().into_iter().filter(|route| ["/livez", "/readyz"].contains(&route.path)).collect()
}

/// The table of that listener.
pub fn metrics_alone() -> Vec<Route> {
    table().into_iter().filter(|route| route.path == METRICS).collect()
}

/// What every call with an access key can be refused with.
const KEYED: &[Code] = &[
    Code::AccessKeyMissing,
    Code::AccessKeyInvalid,
    Code::AccessKeySuspended,
    Code::AccessKeyExpired,
    Code::InsufficientScope,
    Code::PublishableKeyForbidden,
    Code::NotFound, // the environment that an operator names
    Code::RateLimitExceeded,
    Code::StoreUnavailable, // where other nodes may have changed the key, and the store does not say
];
/// What every call of a client itself can be refused with.
const VISITED: &[Code] = &[
    Code::TokenMissing,
    Code::TokenSuperseded,
    Code::TokenReused,
    Code::SessionNotFound,
    Code::SessionExpired,
    Code::SessionIdle,
    Code::SessionRevoked,
    Code::SessionEvicted,
    Code::UserAgentChanged,
    Code::IpChanged,
    Code::IpNotAllowed,
    Code::IpBlocked,
    Code::IpMissing,
    Code::ReauthenticationRequired,
    Code::DeviceProofMissing,
    Code::AccessKeyMissing, // an empty header
    Code::PublishableKeyForbidden,
    Code::AccessKeyInvalid,
    Code::AccessKeySuspended,
    Code::AccessKeyExpired,
    Code::InsufficientScope,
    Code::NotFound, // the environment of the host
    Code::RateLimitExceeded,
];
/// What every call with a body can be refused with.
const BODIED: &[Code] = &[Code::RequestMalformed, Code::BodyTooLarge, Code::UnsupportedMediaType];

fn route(method: &'static str, path: &'static str, handler: MethodRouter<Arc<Web>>) -> Route {
    let refusals = vec![Code::InvalidRequest, Code::InternalError];
    Route { method, path, params: &[], needs: Needs::Nothing, refusals, handler }
}

fn get<H: Handler<T, Arc<Web>>, T: 'static>(path: &'static str, handler: H) -> Route {
    route("GET", path, routing::get(handler))
}
fn post<H: Handler<T, Arc<Web>>, T: 'static>(path: &'static str, handler: H) -> Route {
    route("POST", path, routing::post(handler))
}
fn put<H: Handler<T, Arc<Web>>, T: 'static>(path: &'static str, handler: H) -> Route {
    route("PUT", path, routing::put(handler))
}
fn patch<H: Handler<T, Arc<Web>>, T: 'static>(path: &'static str, handler: H) -> Route {
    route("PATCH", path, routing::patch(handler))
}
fn delete<H: Handler<T, Arc<Web>>, T: 'static>(path: &'static str, handler: H) -> Route {
    route("DELETE", path, routing::delete(handler))
}

impl Route {
    fn needs(self, needs: Needs) -> Route {
        let refusals = if matches!(needs, Needs::Client | Needs::Proxy) { VISITED } else { KEYED };
        Route { needs, ..self }.refuses(refusals)
    }
    /// By a client, for which its page must be the application's.
    fn changes(self) -> Route {
        self.refuses(&[Code::OriginNotAllowed, Code::CsrfTokenInvalid]).refuses(BODIED)
    }
    fn json(self) -> Route {
        self.refuses(BODIED)
    }
    fn stored(self) -> Route {
        self.refuses(&[Code::StoreUnavailable])
    }
    fn params(self, params: &'static [&'static str]) -> Route {
        Route { params, ..self }
    }
    fn refuses(mut self, codes: &[Code]) -> Route {
        self.refusals.extend_from_slice(codes);
        self.refusals.sort_unstable();
        self.refusals.dedup();
        self
    }
}

/// The router of a table, and of what is served beside it.
pub fn router(web: Arc<Web>, table: Vec<Route>, beside: Router) -> Router {
    let routes = table.into_iter().fold(Router::new(), |router, route| {
        let (params, pattern) = (route.params, Pattern(route.path));
        let look = move |mut request: Request, next: Next| async move {
            let slip = Slip::default();
            request.extensions_mut().insert(slip.clone());
            let mut answer = match query::only(request.uri(), params).and_then(|()| input::no_body(&request))
            {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            };
            slip.tell(&mut answer);
            answer.extensions_mut().insert(pattern);
            answer
        };
        router.route(route.path, route.handler.route_layer(from_fn(look)))
    });
    routes
        .with_state(web)
        .merge(beside)
        .fallback(|| async {
            Problem::new(Code::NotFound, "there is nothing at this address; /docs lists what there is")
        })
        .method_not_allowed_fallback(|| async { Problem::code(Code::MethodNotAllowed) })
}

async fn unreachable() -> Problem {
    Problem::accident(Code::InternalError, &"the router was asked for the call that the door answers")
}
