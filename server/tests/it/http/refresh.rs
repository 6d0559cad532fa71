//! Refresh tokens over HTTP: who gets one, what it is exchanged for, and how the exchange reads.

mod bounds;
mod kinds;
mod rules;
mod table;

use crate::world::{Answer, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

/// A session with a refresh token: its id and its newest pair.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Pair {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
}

impl Pair {
    pub(crate) fn of(answer: &Value) -> Pair {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Pair {
            id: text(&answer["session"]["id"]),
            token: text(&answer["token"]),
            refresh: text(&answer["refresh_token"]),
        }
    }
}

/// Makes a session of `body` with a refresh token.
async fn start(world: &World, mut body: Value) -> Pair {
    body["refresh"] = true.into();
    Pair::of(&world.post("/v1/sessions", body).await.expect(201))
}

pub(crate) async fn started(world: &World, user: &str) -> Pair {
    start(world, json!({ "user_id": user })).await
}

pub(crate) async fn present(world: &World, refresh: &str) -> Answer {
    world.post("/v1/sessions/refresh", json!({ "refresh_token": refresh })).await
}

/// An exchange that goes well.
pub(crate) async fn redeem(world: &World, refresh: &str) -> Pair {
    Pair::of(&present(world, refresh).await.expect(200))
}

#[tokio::test]
async fn a_session_made_with_refresh_gets_a_pair_and_another_does_not() {
    let world = World::new().await;
    let made = world.post("/v1/sessions", json!({ "user_id": "ada", "refresh": true })).await.expect(201);
    let first = Pair::of(&made);
    assert!(first.token.starts_with("hst_") && first.refresh.starts_with("hsr_"));
    assert_eq!(made["session"]["absolute_expires_at"], "2026-04-01T00:00:00.000Z", "90 days, not 30");
    assert_eq!(made["session"]["idle_expires_at"], "2026-01-02T00:00:00.000Z");
    assert!(!made["session"].to_string().contains("hsr_"));
    // From memory, from the store, and read: it says of itself how it rotates.
    for more in [json!({}), json!({ "consistency": "strong" }), json!({ "rotate": "auto" })] {
        let mut ask = json!({ "token": first.token });
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let valid = world.post("/v1/sessions/validate", ask).await.expect(200);
        assert_eq!(valid["session"], made["session"]);
    }
    assert_eq!(made["session"]["has_refresh_token"], true);
    for body in [json!({ "user_id": "bob" }), json!({ "user_id": "bob", "refresh": false })] {
        let without = world.post("/v1/sessions", body).await.expect(201);
        assert!(
            without.get("refresh_token").is_none() && without["session"].get("has_refresh_token").is_none()
        );
        assert_eq!(without["session"]["absolute_expires_at"], "2026-01-31T00:00:00.000Z");
    }
    let wrong = json!({ "user_id": "bob", "refresh": "yes" });
    world.post("/v1/sessions", wrong).await.refused(400, "invalid_request");

    world.advance(Span::hours(2));
    let answer = present(&world, &first.refresh).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.expect(200);
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["refresh_token", "session", "set_cookie", "token"]);
    let next = Pair::of(&body);
    assert!(next.id == first.id && next.token != first.token && next.refresh != first.refresh);
    assert_eq!(body["session"]["generation"], 1);
    assert_eq!(body["session"]["last_active_at"], "2026-01-01T02:00:00.000Z", "it is activity");
    assert_eq!(body["session"]["absolute_expires_at"], "2026-04-01T00:00:00.000Z", "and no new life");
    let cookies = body["set_cookie"].as_array().unwrap();
    assert_eq!(cookies.len(), 2, "the session's and the CSRF cookie, as creation sets them");
    let cookie = cookies[0].as_str().unwrap();
    assert!(cookie.starts_with(&format!("__Host-handstamp={}; ", next.token)), "{cookie}");
    assert!(cookies[1].as_str().unwrap().starts_with("XSRF-TOKEN="));
    // The old session token is late, as its refresh token is; the new one is good.
    assert_eq!(world.verdict(&first.token).await, "token_superseded");
    assert_eq!(world.verdict(&next.token).await, "valid");
    let session = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
    assert_eq!(session["last_active_at"], "2026-01-01T02:00:00.000Z");
}

#[tokio::test]
async fn a_repeat_under_an_idempotency_key_gives_the_same_pair_until_it_is_used() {
    let world = World::new().await;
    let create = async |body: Value| {
        let call = world.call(Method::POST, "/v1/sessions").header("idempotency-key", "login-1");
        call.json(&body).send().await
    };
    let body = json!({ "user_id": "ada", "refresh": true });
    let first = Pair::of(&create(body.clone()).await.expect(201));
    world.advance(Span::hours(1));
    assert_eq!(Pair::of(&create(body.clone()).await.expect(201)), first);
    create(json!({ "user_id": "ada" })).await.refused(409, "idempotency_key_reused");
    let next = redeem(&world, &first.refresh).await;
    create(body).await.refused(409, "idempotency_key_spent");
    assert_eq!(world.verdict(&next.token).await, "valid");
}

/// The pair of a session that is handed over by a code is in the exchange, and nowhere before.
#[tokio::test]
async fn the_exchange_of_a_login_hands_both_out() {
    let world = World::new().await;
    let app = super::login::APP;
    let origins = json!({ "origins": [app] });
    world.call(Method::PUT, "/v1/settings/redirect-origins").json(&origins).send().await.expect(200);
    let body = json!({ "user_id": "ada", "refresh": true, "login": { "redirect_uri": app } });
    let create = async |key: &'static str| {
        let call = world.call(Method::POST, "/v1/sessions").header("idempotency-key", key);
        call.json(&body).send().await
    };
    for key in ["one", "two"] {
        let answer = create(key).await;
        let made = answer.expect(201);
        assert!(!answer.text().contains("hst_") && !answer.text().contains("hsr_"));
        assert_eq!(create(key).await.expect(201)["login"], made["login"], "a repeat gives the same code");
        let exchange = json!({ "code": made["login"]["code"], "origin": app });
        let done = world.post("/v1/login/exchange", exchange).await.expect(200);
        let first = Pair::of(&done);
        assert!(done["set_cookie"][0].as_str().unwrap().contains(&first.token));
        assert_eq!(world.verdict(&first.token).await, "valid");
        let next = redeem(&world, &first.refresh).await;
        assert_eq!(redeem(&world, &first.refresh).await, next, "a lost answer is repeated");
    }
}

#[tokio::test]
async fn another_authentication_gives_a_pair_of_its_own_and_the_old_never_leads_to_it() {
    let world = World::new().await;
    let first = started(&world, "ada").await;
    world.advance(Span::hours(1));
    let path = format!("/v1/sessions/{}", first.id);
    let plain = world.patch(&path, json!({ "extend": true })).await.expect(200);
    assert!(plain.get("refresh_token").is_none());
    let again = world.patch(&path, json!({ "auth": { "level": 2 } })).await.expect(200);
    let second = Pair::of(&again);
    assert_eq!(
        again["session"]["absolute_expires_at"], "2026-04-01T01:00:00.000Z",
        "the family begins again"
    );
    present(&world, &first.refresh).await.refused(401, "token_superseded");
    assert_eq!(world.verdict(&first.token).await, "token_superseded");
    let third = redeem(&world, &second.refresh).await;
    assert_eq!(world.verdict(&third.token).await, "valid");
    // Of a session without one there is none.
    let made = world.login("bob").await;
    let path = format!("/v1/sessions/{}", made.id);
    let again = world.patch(&path, json!({ "auth": { "level": 2 } })).await.expect(200);
    assert!(again.get("refresh_token").is_none() && again.get("token").is_some());
    // From when the newest was presented, the old one is late for a grace, and a theft then.
    world.advance(Span(Span::minutes(1).0 - 1));
    present(&world, &first.refresh).await.refused(401, "token_superseded");
    world.advance(Span(1));
    present(&world, &first.refresh).await.refused(401, "token_reused");
    present(&world, &third.refresh).await.refused(401, "token_reused");
}

#[tokio::test]
async fn it_rotates_by_refresh_alone() {
    let world = World::new().await;
    let first = started(&world, "ada").await;
    world.advance(Span::hours(1));
    let ask = json!({ "token": first.token, "rotate": "auto" });
    let answer = world.post("/v1/sessions/validate", ask).await.expect(200);
    assert!(answer["valid"] == true && answer.get("rotated_token").is_none());
    // Nor by the browser's door, or a proxy's.
    let cookie = format!("__Host-handstamp={}", first.token);
    let call = |method: Method, path: &str| world.call(method, path).no_key().header("cookie", &cookie);
    let csrf = call(Method::GET, "/v1/auth/session").send().await.expect(200)["csrf_token"].clone();
    let csrf = csrf.as_str().unwrap();
    let both = format!("{cookie}; XSRF-TOKEN={csrf}");
    let own = call(Method::POST, "/v1/auth/session/refresh").header("sec-fetch-site", "same-origin");
    let own = own.header("cookie", &both).header("x-xsrf-token", csrf).send().await;
    own.expect(200);
    let set: Vec<&str> = own.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(set.iter().any(|text| text.starts_with(&format!("{cookie}; "))), "{set:?}");
    assert!(!own.text().contains("hsr_"));
    call(Method::GET, "/v1/auth/session/ping").send().await;
    world.ask("/v1/forward-auth?rotate=auto").header("cookie", &cookie).send().await;
    let session = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
    assert_eq!(session["generation"], 0);
    let next = redeem(&world, &first.refresh).await;
    assert_eq!(world.verdict(&next.token).await, "valid");
}

#[tokio::test]
async fn what_is_wrong_with_the_call_is_told_by_its_place() {
    let world = World::new().await;
    let first = started(&world, "ada").await;
    let call = async |more: Value| {
        let mut body = json!({ "refresh_token": first.refresh });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post("/v1/sessions/refresh", body).await
    };
    call(json!({ "ip": "here" })).await.invalid("/ip");
    call(json!({ "refresh_token": 7 })).await.invalid("/refresh_token");
    call(json!({ "token": first.token })).await.refused(400, "invalid_request");
    call(json!({ "device": { "proof": "x" } })).await.invalid("/method");
    call(json!({ "device": { "proof": "x" }, "method": "POST" })).await.invalid("/url");
    call(json!({ "device": "x" })).await.invalid("/device");
    let get = world.call(Method::GET, "/v1/sessions/refresh").send().await;
    get.refused(405, "method_not_allowed");
    for scopes in [json!(["sessions:read"]), json!(["tokens:mint", "users:write"])] {
        let key = world.make_key(json!({ "name": "k", "scopes": scopes })).await.token;
        let body = json!({ "refresh_token": first.refresh });
        let answer = world.call(Method::POST, "/v1/sessions/refresh").key(&key).json(&body).send().await;
        answer.refused(403, "insufficient_scope");
    }
    assert_eq!(redeem(&world, &first.refresh).await.id, first.id, "nothing had happened");
}
