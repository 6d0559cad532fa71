//! Apps without a backend: a publishable key, which is no secret, and the session's token in the `Session` header.

use super::{CHANGES, LOOKS, rotating, set_cookies, world};
use crate::world::{Call, Made, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::json;

async fn publishable(world: &World) -> Made {
    world.make_key(json!({ "name": "phone app", "kind": "publishable" })).await
}

fn call<'a>(world: &'a World, key: &str, token: &str, method: Method, path: &str) -> Call<'a> {
    let call = world.call(method, path).no_key().header("x-publishable-key", key);
    if token.is_empty() { call } else { call.header("session", token) }
}

#[tokio::test]
async fn a_publishable_key_is_made_listed_and_shown_as_what_it_is() {
    let world = world().await;
    let made = publishable(&world).await;
    assert!(made.token.starts_with("hsp_"), "{}", made.token);
    let key = world.get(&format!("/v1/keys/{}", made.id)).await.expect(200);
    assert_eq!(
        (&key["kind"], &key["scopes"], &key["state"]),
        (&json!("publishable"), &json!([]), &json!("active"))
    );
    for wrong in [
        json!({ "name": "a", "kind": "publishable", "scopes": ["sessions:read"] }),
        json!({ "name": "a", "kind": "publishable", "operator": true }),
        json!({ "name": "a", "kind": "public" }),
    ] {
        world
            .call(Method::POST, "/v1/keys")
            .key(&world.operator)
            .json(&wrong)
            .send()
            .await
            .refused(400, "invalid_request");
    }
    world
        .patch(&format!("/v1/keys/{}", made.id), json!({ "scopes": ["sessions:read"] }))
        .await
        .refused(400, "invalid_request");
    // It rotates as others do, into another of its kind.
    let next = world.post(&format!("/v1/keys/{}/rotate", made.id), json!({ "overlap": 0 })).await.expect(201);
    assert!(next["secret"].as_str().unwrap().starts_with("hsp_"));
    let token = world.login("ada").await.token;
    call(&world, &made.token, &token, Method::GET, "/v1/auth/session")
        .send()
        .await
        .refused(401, "access_key_expired");
    call(&world, next["secret"].as_str().unwrap(), &token, Method::GET, "/v1/auth/session")
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn an_app_asks_about_its_session_and_is_told_the_successor_in_the_body() {
    let world = rotating().await;
    let key = publishable(&world).await.token;
    let token = world.login("ada").await.token;
    let answer = call(&world, &key, &token, Method::GET, "/v1/auth/session").send().await;
    let told = answer.expect(200);
    assert_eq!(told["user"]["id"], "ada");
    assert!(told.get("rotated_token").is_none() && set_cookies(&answer).is_empty());
    world.advance(Span::secs(11));
    // A ping has no body to say it in: nothing rotates.
    let answer = call(&world, &key, &token, Method::GET, "/v1/auth/session/ping").send().await;
    assert_eq!((answer.status.as_u16(), set_cookies(&answer).len()), (204, 0));
    let answer = call(&world, &key, &token, Method::POST, "/v1/auth/session/refresh").send().await;
    let told = answer.expect(200);
    let next = told["rotated_token"].as_str().unwrap().to_owned();
    assert!(next != token && set_cookies(&answer).is_empty());
    assert_eq!(
        call(&world, &key, &next, Method::GET, "/v1/auth/sessions").send().await.expect(200)["items"][0]["current"],
        true
    );
    let answer = call(&world, &key, &next, Method::POST, "/v1/auth/logout").send().await;
    assert_eq!((answer.status.as_u16(), set_cookies(&answer).len()), (204, 0));
    assert_eq!(world.verdict(&next).await, "session_revoked");
}

#[tokio::test]
async fn every_refusal() {
    let world = world().await;
    let made = publishable(&world).await;
    let (key, session) = (made.token.clone(), world.login("ada").await);
    let elsewhere = world.make_environment("other", "prd").await;
    let foreign = {
        let body = json!({ "name": "a", "kind": "publishable" });
        let call = world.call(Method::POST, "/v1/keys").key(&elsewhere.token).json(&body);
        call.send().await.expect(201)["secret"].as_str().unwrap().to_owned()
    };
    let unknown = format!("{}{}", &key[..key.len() - 4], if key.ends_with("aaaa") { "bbbb" } else { "aaaa" });
    let all = CHANGES.into_iter().chain(LOOKS.map(|path| (Method::GET, path)));
    for (method, path) in all {
        let ask = |key: &str, token: &str| call(&world, key, token, method.clone(), path).send();
        ask(&unknown, &session.token).await.refused(401, "access_key_invalid");
        ask("", &session.token).await.refused(401, "access_key_invalid");
        let access = ask(&world.key, &session.token).await;
        let problem = access.refused(401, "access_key_invalid");
        assert!(
            problem["detail"].as_str().unwrap().contains("Replace")
                || problem["detail"].as_str().unwrap().contains("replace"),
            "{problem}"
        );
        assert!(!access.text().contains("hsk_"));
        ask(&key, "").await.refused(401, "token_missing");
        if path != "/v1/auth/logout" {
            ask(&foreign, &session.token).await.refused(401, "session_not_found");
            ask(&key, "nonsense").await.refused(401, "session_not_found");
            ask(&key, &key).await.refused(401, "session_not_found");
        }
    }
    assert_eq!(world.verdict(&session.token).await, "valid");
    // Nothing of the management API, in whichever header.
    for call in [
        world.call(Method::GET, "/v1/sessions").key(&key),
        world.call(Method::POST, "/v1/sessions/validate").key(&key).json(&json!({ "token": session.token })),
        world.call(Method::POST, "/v1/sessions").key(&key).json(&json!({ "user_id": "eve" })),
    ] {
        call.send().await.refused(403, "publishable_key_forbidden");
    }
    // Suspended, resumed, revoked.
    let ask = || call(&world, &key, &session.token, Method::GET, "/v1/auth/session").send();
    let path = format!("/v1/keys/{}", made.id);
    world.patch(&path, json!({ "state": "suspended" })).await.expect(200);
    ask().await.refused(401, "access_key_suspended");
    world.patch(&path, json!({ "state": "active" })).await.expect(200);
    ask().await.expect(200);
    world.delete(&path).await.expect(200);
    ask().await.refused(401, "access_key_invalid");
}

/// Where somebody is, and by what, is seen and never said: an app cannot vouch for itself.
#[tokio::test]
async fn an_app_does_not_say_where_it_is() {
    let world = world().await;
    let key = publishable(&world).await.token;
    let token = world.login("ada").await.token;
    for path in [
        "/v1/auth/session?ip=203.0.113.7",
        "/v1/auth/session?user_agent=x",
        "/v1/auth/sessions?ip=203.0.113.7",
    ] {
        call(&world, &key, &token, Method::GET, path).send().await.refused(400, "invalid_request");
    }
    let body = call(&world, &key, &token, Method::POST, "/v1/auth/session/refresh");
    let body = body.json(&json!({ "ip": "203.0.113.7", "user_agent": "x" }));
    body.send().await.refused(400, "invalid_request");
    // What a proxy would say is not believed of whoever is no proxy.
    let said =
        call(&world, &key, &token, Method::GET, "/v1/auth/session").header("x-forwarded-for", "203.0.113.7");
    said.send().await.expect(200);
    let seen = world.validate(&token).await;
    assert_ne!(seen["session"]["last_client"]["ip"], "203.0.113.7");
}

#[tokio::test]
async fn headers_that_come_twice_are_refused() {
    let world = world().await;
    let key = publishable(&world).await.token;
    let token = world.login("ada").await.token;
    let twice = call(&world, &key, &token, Method::GET, "/v1/auth/session").add_header("session", &token);
    twice.send().await.refused(400, "invalid_request");
    let twice =
        call(&world, &key, &token, Method::GET, "/v1/auth/session").add_header("x-publishable-key", &key);
    twice.send().await.refused(400, "invalid_request");
}
