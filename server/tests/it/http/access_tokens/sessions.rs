//! Sessions that live by tokens alone: started, verified, refreshed, revoked and listed within their type.

use super::claims;
use crate::world::{Made, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn with_types() -> World {
    let world = World::new().await;
    for (name, said) in [
        (
            "user-session",
            json!({ "expires_in": "1h", "refresh_expires_in": "7d", "selector": "$Session{userId}" }),
        ),
        (
            "checkout-session",
            json!({ "refresh_expires_in": "30m", "selector": "$Session{buyer}{id}",
                    "schema": { "buyer": { "id": "string" }, "cart": "string[]" } }),
        ),
        ("admin-session", json!({ "refresh_expires_in": "15m", "selector": "$Session{userId}" })),
    ] {
        let path = format!("/v1/session-types/{name}");
        world.call(Method::PUT, &path).json(&said).send().await.expect(200);
    }
    world
}

/// `start`: a session of a type, whose user its data names.
async fn start(world: &World, tag: &str, data: Value) -> Value {
    let body = json!({ "tags": [format!("type:{tag}")], "data": data, "refresh": true, "access_token": {} });
    world.post("/v1/sessions", body).await.expect(201)
}

async fn verify(world: &World, tag: &str, token: &Value) -> Value {
    let body = json!({ "token": token, "required_tags": [format!("type:{tag}")] });
    world.post("/v1/sessions/validate", body).await.expect(200)
}

#[tokio::test]
async fn started_verified_refreshed_revoked() {
    let world = with_types().await;
    let made = start(&world, "user-session", json!({ "userId": "ada", "plan": "pro" })).await;
    let token = &made["access_token"]["token"];
    let valid = verify(&world, "user-session", token).await;
    assert_eq!(valid["session"]["data"], json!({ "userId": "ada", "plan": "pro" }));
    assert_eq!(valid["session"]["user_id"], "ada");
    assert_eq!(valid["session"]["absolute_expires_at"], "2026-01-08T00:00:00.000Z", "7 days by its type");
    let other = verify(&world, "checkout-session", token).await;
    assert_eq!(other["code"], "tag_missing", "verified as another type it fails");
    world.advance(Span::minutes(6));
    assert_eq!(verify(&world, "user-session", token).await["code"], "token_expired");
    let body = json!({ "refresh_token": made["refresh_token"], "access_token": {} });
    let next = world.post("/v1/sessions/refresh", body.clone()).await.expect(200);
    assert_ne!(next["refresh_token"], made["refresh_token"]);
    let fresh = &next["access_token"]["token"];
    assert_eq!(verify(&world, "user-session", fresh).await["session"]["id"], made["session"]["id"]);
    // A lost answer is repeated: the same pair, and an access token of its own.
    let again = world.post("/v1/sessions/refresh", body).await.expect(200);
    assert_eq!(again["refresh_token"], next["refresh_token"]);
    assert_eq!(verify(&world, "user-session", &again["access_token"]["token"]).await["valid"], true);
    let id = made["session"]["id"].as_str().unwrap();
    assert_eq!(world.delete(&format!("/v1/sessions/{id}")).await.expect(200)["ended"], 1);
    for dead in [fresh, &again["access_token"]["token"]] {
        assert_eq!(verify(&world, "user-session", dead).await["code"], "session_revoked");
    }
    let pair = json!({ "refresh_token": next["refresh_token"] });
    world.post("/v1/sessions/refresh", pair).await.refused(401, "session_revoked");
}

#[tokio::test]
async fn listed_and_revoked_within_a_type_but_for_this_one() {
    let world = with_types().await;
    let mut users = Vec::new();
    for _ in 0..3 {
        users.push(start(&world, "user-session", json!({ "userId": "ada" })).await);
    }
    let cart = start(&world, "checkout-session", json!({ "buyer": { "id": "ada" }, "cart": ["tea"] })).await;
    let list = "/v1/sessions?user_id=ada&tag=type:user-session";
    let listed = world.get(list).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert!(!listed.to_string().contains("eyJ") && !listed.to_string().contains("hsr_"));
    let keep = users[0]["session"]["id"].clone();
    let body = json!({ "user_id": "ada", "tags": ["type:user-session"], "except": keep });
    assert_eq!(world.post("/v1/sessions/revoke", body).await.expect(200)["ended"], 2);
    assert_eq!(verify(&world, "user-session", &users[0]["access_token"]["token"]).await["valid"], true);
    for gone in &users[1..] {
        let token = &gone["access_token"]["token"];
        assert_eq!(verify(&world, "user-session", token).await["code"], "session_revoked");
    }
    assert_eq!(verify(&world, "checkout-session", &cart["access_token"]["token"]).await["valid"], true);
    assert_eq!(world.get(list).await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_type_says_how_long_and_what() {
    let world = with_types().await;
    let admin = start(&world, "admin-session", json!({ "userId": "grace" })).await;
    assert_eq!(admin["session"]["absolute_expires_at"], "2026-01-01T00:15:00.000Z");
    let body = json!({ "tags": ["type:checkout-session"], "data": { "buyer": { "id": "ada" }, "cart": [1] }, "refresh": true });
    world.post("/v1/sessions", body).await.invalid_as("data_invalid", "/data/cart/0");
    // The family ends with its type's time, however often it is refreshed; no token outlives it.
    let mut pair = admin;
    for _ in 0..3 {
        world.advance(Span::minutes(4));
        let body = json!({ "refresh_token": pair["refresh_token"], "access_token": {} });
        pair = world.post("/v1/sessions/refresh", body).await.expect(200);
    }
    assert_eq!(pair["access_token"]["expires_at"], "2026-01-01T00:15:00.000Z");
    world.advance(Span::minutes(3));
    let body = json!({ "refresh_token": pair["refresh_token"] });
    world.post("/v1/sessions/refresh", body).await.refused(401, "session_expired");
    let dead = verify(&world, "admin-session", &pair["access_token"]["token"]).await;
    assert_eq!(dead["code"], "token_expired");
}

#[tokio::test]
async fn the_key_says_which_environment_unless_an_operator_does() {
    let world = with_types().await;
    let shop = world.make_environment("shop", "stg").await;
    let ask = |key: &str, env: Option<&str>| {
        let call = world.call(Method::POST, "/v1/sessions").key(key);
        let call = match env {
            Some(env) => call.header("x-handstamp-env", env),
            None => call,
        };
        call.json(&json!({ "user_id": "ada", "access_token": {} }))
    };
    let issuer = |answer: &Value| claims(answer["access_token"]["token"].as_str().unwrap())["iss"].clone();
    let own = ask(&shop.token, None).send().await.expect(201);
    assert_eq!(issuer(&own), "handstamp:shop/stg");
    assert_eq!(issuer(&ask(&shop.token, Some("shop/stg")).send().await.expect(201)), "handstamp:shop/stg");
    assert!(ask(&shop.token, Some("default/prd")).send().await.status.is_client_error());
    assert_eq!(
        issuer(&ask(&world.operator, Some("shop/stg")).send().await.expect(201)),
        "handstamp:shop/stg"
    );
}

#[tokio::test]
async fn minting_takes_its_own_scope_everywhere() {
    let world = World::new().await;
    let Made { token: key, .. } =
        world.make_key(json!({ "name": "no tokens", "scopes": ["sessions:read", "sessions:write"] })).await;
    let post =
        async |path: &str, body: Value| world.call(Method::POST, path).key(&key).json(&body).send().await;
    let body = json!({ "user_id": "ada", "refresh": true });
    let made = post("/v1/sessions", body).await.expect(201);
    let with = json!({ "user_id": "ada", "access_token": {} });
    post("/v1/sessions", with).await.refused(403, "insufficient_scope");
    let with = json!({ "refresh_token": made["refresh_token"], "access_token": {} });
    post("/v1/sessions/refresh", with).await.refused(403, "insufficient_scope");
    let path = format!("/v1/sessions/{}/access-tokens", made["session"]["id"].as_str().unwrap());
    post(&path, json!({})).await.refused(403, "insufficient_scope");
    post("/v1/sessions/refresh", json!({ "refresh_token": made["refresh_token"] })).await.expect(200);
}

#[tokio::test]
async fn an_idempotent_creation_gives_the_same_session_and_a_token_of_it() {
    let world = World::new().await;
    let send = async || {
        let call = world.call(Method::POST, "/v1/sessions").header("idempotency-key", "k1");
        call.json(&json!({ "user_id": "ada", "refresh": true, "access_token": {} })).send().await
    };
    let (one, two) = (send().await.expect(201), send().await.expect(201));
    assert_eq!((&one["token"], &one["refresh_token"]), (&two["token"], &two["refresh_token"]));
    for answer in [&one, &two] {
        let token = answer["access_token"]["token"].as_str().unwrap();
        assert_eq!(claims(token)["sid"], one["session"]["id"]);
        assert_eq!(world.verdict(token).await, "valid", "it is no presentation of the session's own");
    }
    send().await.expect(201);
}
