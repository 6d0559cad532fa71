//! The management door over real sockets. One file an address; what every address has in common is in `refusals`,
//! `callers`, `outage` and `random`.

pub(crate) mod access_tokens;
mod agents;
mod batch;
mod browser;
mod callers;
mod confusion;
mod cookies;
mod cors;
mod create;
pub(crate) mod devices;
mod docs;
mod environments;
mod erase;
mod errors;
mod events;
mod expiry;
mod explain;
mod forward_auth;
mod history;
mod idempotency;
mod input;
mod isolation;
mod keys;
mod limits;
mod login;
mod login_page;
mod master_key;
mod metrics;
mod openapi;
mod outage;
mod panics;
mod peer;
mod policies;
#[cfg(test)]
mod random;
mod rates;
pub(crate) mod refresh;
mod refusals;
pub(crate) mod revocations;
mod revoke;
mod rotation;
mod search;
mod secrets;
mod session;
mod session_types;
mod settings;
mod signing_keys;
mod status_lists;
mod step_up;
mod update;
mod users;
mod validate;
mod whereabouts;

use crate::world::World;
use handstamp_server::http::routes::{Needs, Route, table};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

/// Every call that needs an access key.
fn keyed() -> Vec<Route> {
    table()
        .into_iter()
        .filter(|route| !matches!(route.needs, Needs::Nothing | Needs::Client | Needs::Proxy))
        .collect()
}

/// A good call of a route: an address and, where it takes one, a body. What it is about is made before.
async fn sample(world: &World, route: &Route) -> (String, Option<Value>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let user = format!("sample-{n}");
    let session = async || world.login(&user).await.id;
    let key = async || world.make_key(json!({ "name": "sample", "scopes": ["keys:write"] })).await.id;
    let path = route.path.to_owned();
    match (route.method, route.path) {
        ("POST", "/v1/sessions") => (path, Some(json!({ "user_id": user }))),
        ("POST", "/v1/sessions/validate") => {
            (path, Some(json!({ "token": world.login(&user).await.token, "consistency": "strong" })))
        }
        ("POST", "/v1/sessions/validate-batch") => {
            let token = world.login(&user).await.token;
            (path, Some(json!({ "requests": [{ "token": token, "consistency": "strong" }] })))
        }
        ("POST", "/v1/sessions/{id}/access-tokens") => {
            (path.replace("{id}", &session().await), Some(json!({})))
        }
        ("POST", "/v1/sessions/refresh") => {
            (path, Some(json!({ "refresh_token": refresh::started(world, &user).await.refresh })))
        }
        ("GET", "/v1/sessions/{id}/explain") => (format!("/v1/sessions/{}/explain", session().await), None),
        ("POST", "/v1/policies/explain") => (path, Some(json!({ "user_id": user }))),
        ("POST", "/v1/policies/preview") => (path, Some(json!({ "policy": {} }))),
        ("PUT", "/v1/settings/cors" | "/v1/settings/redirect-origins") => {
            (path, Some(json!({ "origins": [] })))
        }
        ("POST", "/v1/login/exchange") => {
            let code = login::code_of(world, &user).await;
            (path, Some(json!({ "code": code, "origin": login::APP })))
        }
        ("PUT", "/v1/policies") => (path, Some(json!({}))),
        ("PUT", "/v1/session-types/{name}") => {
            (format!("/v1/session-types/t{n}"), Some(json!({ "expires_in": "1h" })))
        }
        (_, "/v1/session-types/{name}") => {
            let path = format!("/v1/session-types/t{n}");
            world
                .call(http::Method::PUT, &path)
                .json(&json!({ "expires_in": "1h" }))
                .send()
                .await
                .expect(200);
            (path, None)
        }
        ("POST", "/v1/policies/rollback") => {
            world.call(http::Method::PUT, "/v1/policies").json(&json!({})).send().await.expect(200);
            (path, Some(json!({ "version": 1 })))
        }
        ("GET", "/v1/policies/versions/{number}") => {
            world.call(http::Method::PUT, "/v1/policies").json(&json!({})).send().await.expect(200);
            ("/v1/policies/versions/1".to_owned(), None)
        }
        ("POST", "/v1/sessions/revoke") => (path, Some(json!({ "user_id": user }))),
        ("POST", "/v1/sessions/update") => {
            (path, Some(json!({ "filter": { "user_id": user }, "update": { "extend": true } })))
        }
        ("PATCH", "/v1/sessions/{id}") => {
            (path.replace("{id}", &session().await), Some(json!({ "extend": true })))
        }
        ("POST", "/v1/devices/challenge") => (path, Some(json!({ "user_id": user }))),
        ("POST", "/v1/devices") => {
            let made = world.login(&user).await;
            let challenge = devices::hand::challenge_of(world, &made.id).await;
            let proof = devices::hand::Hand::new().introduction(world, &challenge, Some(&made.id));
            let url = devices::hand::URL;
            let body =
                json!({ "token": made.token, "device": { "proof": proof }, "method": "POST", "url": url });
            (path, Some(body))
        }
        ("GET", "/v1/devices") => (format!("{path}?user_id={user}"), None),
        (method, "/v1/devices/{id}") => {
            let hand = devices::hand::Hand::new();
            hand.login(world, &user, true).await;
            let body = (method == "PATCH").then(|| json!({ "name": "sample" }));
            (format!("/v1/devices/{}?user_id={user}", hand.id()), body)
        }
        ("POST", "/v1/keys") => (path, Some(json!({ "name": "another", "scopes": ["keys:write"] }))),
        ("PATCH", "/v1/keys/{id}") => {
            (path.replace("{id}", &key().await), Some(json!({ "name": "renamed" })))
        }
        ("POST", "/v1/keys/signing/rotate") => (path.to_owned(), Some(json!({ "emergency": true }))),
        ("POST", "/v1/keys/{id}/rotate") => (path.replace("{id}", &key().await), Some(json!({}))),
        ("POST", "/v1/environments") => {
            (path, Some(json!({ "product": "sample", "environment": format!("e{n}") })))
        }
        ("DELETE", "/v1/environments/{product}/{environment}") => {
            world.make_environment("gone", &format!("e{n}")).await;
            (format!("/v1/environments/gone/e{n}"), None)
        }
        (_, path) if path.starts_with("/v1/sessions/{id}") => (path.replace("{id}", &session().await), None),
        (_, path) if path.starts_with("/v1/users/{id}") => {
            world.login(&user).await;
            (path.replace("{id}", &user), None)
        }
        (_, path) if path.starts_with("/v1/keys/{id}") => (path.replace("{id}", &key().await), None),
        _ => (path, None),
    }
}
