//! What the server says of an access token: what the session is by now counts, and nothing is written.

use super::{ask, claims, minted};
use crate::world::{Options, World};
use handstamp_core::time::Span;
use handstamp_server::store::faulty::{Call, Fault};
use http::Method;
use serde_json::{Value, json};

async fn told(world: &World, mut ask: Value, token: &str) -> String {
    ask["token"] = token.into();
    let answer = world.post("/v1/sessions/validate", ask).await.expect(200);
    if answer["valid"] == true { "valid".to_owned() } else { answer["code"].as_str().unwrap().to_owned() }
}

#[tokio::test]
async fn it_is_judged_as_its_session() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada", "tags": ["role:user"], "data": { "n": 1 }, "auth": { "level": 1 } });
    let made = world.create(body).await;
    let token = minted(&world, &made.id, json!({})).await;
    let by_session = world.validate(&made.token).await;
    let by_token = world.validate(&token).await;
    assert_eq!(by_token["session"], by_session["session"]);
    let strong = json!({ "token": token, "consistency": "strong", "rotate": "auto" });
    assert_eq!(
        world.post("/v1/sessions/validate", strong).await.expect(200)["session"],
        by_session["session"]
    );
    let batch = json!({ "requests": [{ "token": token }, { "token": made.token }, { "token": format!("{token}x") }] });
    let results = world.post("/v1/sessions/validate-batch", batch).await.expect(200);
    assert_eq!(results["results"][0]["valid"], true);
    assert_eq!(results["results"][2]["code"], "token_malformed");
    for (ask, code) in [
        (json!({ "required_tags": ["role:user"] }), "valid"),
        (json!({ "required_tags": ["role:admin"] }), "tag_missing"),
        (json!({ "required_access_groups": ["staff"] }), "access_group_missing"),
        (json!({ "min_level": 2 }), "reauthentication_required"),
        (json!({ "audience": "default/prd" }), "valid"),
        (json!({ "audience": "billing" }), "token_audience_mismatch"),
        (json!({ "audience": "default/PRD" }), "token_audience_mismatch"),
        (json!({ "audience": "" }), "token_audience_mismatch"),
    ] {
        assert_eq!(told(&world, ask.clone(), &token).await, code, "{ask}");
    }
    let ask = json!({ "token": token, "audience": "billing" });
    let answer = world.post("/v1/sessions/validate", ask).await.expect(200);
    assert_eq!(answer["detail"], "the token is for default/prd, and this is billing");
    // One for somebody else is not for the environment itself.
    let other = minted(&world, &made.id, json!({ "audience": "billing" })).await;
    assert_eq!(told(&world, json!({}), &other).await, "token_audience_mismatch");
    assert_eq!(told(&world, json!({ "audience": "billing" }), &other).await, "valid");
    // What the session is by now, not what the token says it was.
    let patch = json!({ "tags": { "remove": ["role:user"], "add": ["role:admin"] } });
    world.patch(&format!("/v1/sessions/{}", made.id), patch).await.expect(200);
    assert_eq!(told(&world, json!({ "required_tags": ["role:user"] }), &token).await, "tag_missing");
    assert_eq!(told(&world, json!({ "required_tags": ["role:admin"] }), &token).await, "valid");
    assert_eq!(claims(&token)["tags"], json!(["role:user"]));
}

#[tokio::test]
async fn its_times_are_exact() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let token = minted(&world, &made.id, json!({ "lifetime": 60 })).await;
    let later = minted(&world, &made.id, json!({ "not_before": "2026-01-01T00:00:30.000Z" })).await;
    world.advance(Span::millis(29_999));
    assert_eq!(
        (world.verdict(&token).await.as_str(), world.verdict(&later).await.as_str()),
        ("valid", "token_not_yet_valid")
    );
    world.advance(Span::millis(1));
    assert_eq!(world.verdict(&later).await, "valid");
    world.advance(Span::millis(29_999));
    assert_eq!(world.verdict(&token).await, "valid");
    world.advance(Span::millis(1));
    let answer = world.validate(&token).await;
    assert_eq!((answer["code"].as_str(), answer["status"].as_u64()), (Some("token_expired"), Some(401)));
    assert_eq!(
        answer["detail"],
        "the token was good until 2026-01-01T00:01:00.000Z, it is 2026-01-01T00:01:00.000Z"
    );
    assert!(answer.get("session_id").is_none());
    assert_eq!(world.verdict(&made.token).await, "valid", "of the session that says nothing");
}

#[tokio::test]
async fn it_dies_with_its_session() {
    for end in ["one", "user", "tag", "all", "reuse"] {
        let world = World::new().await;
        let made = world
            .post("/v1/sessions", json!({ "user_id": "ada", "tags": ["org:acme"], "refresh": true }))
            .await
            .expect(201);
        let id = made["session"]["id"].as_str().unwrap();
        let token = minted(&world, id, json!({})).await;
        assert_eq!(world.verdict(&token).await, "valid");
        let revoke = async |body: Value| {
            let status = world.post("/v1/sessions/revoke", body).await.status;
            assert!(status.is_success(), "{status}");
        };
        let mut code = "session_revoked";
        match end {
            "one" => drop(world.delete(&format!("/v1/sessions/{id}")).await.expect(200)),
            "user" => revoke(json!({ "user_id": "ada" })).await,
            "tag" => revoke(json!({ "tags": ["org:acme"] })).await,
            "all" => revoke(json!({ "all": true })).await,
            _ => {
                code = "token_reused";
                let first = json!({ "refresh_token": made["refresh_token"] });
                let pair = world.post("/v1/sessions/refresh", first.clone()).await.expect(200);
                assert_eq!(world.verdict(pair["token"].as_str().unwrap()).await, "valid");
                world.advance(Span::minutes(2));
                world.post("/v1/sessions/refresh", first).await.refused(401, "token_reused");
            }
        }
        assert_eq!(world.verdict(&token).await, code, "{end}");
        ask(&world, id, json!({})).await.refused(409, "session_ended");
    }
}

#[tokio::test]
async fn whoever_holds_it_does_not_get_what_a_new_authentication_brings() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let token = minted(&world, &made.id, json!({})).await;
    world.advance(Span::millis(1));
    let auth = json!({ "auth": { "methods": ["passkey"], "level": 3 } });
    world.patch(&format!("/v1/sessions/{}", made.id), auth).await.expect(200);
    assert_eq!(told(&world, json!({ "min_level": 3 }), &token).await, "token_superseded");
    assert_eq!(world.verdict(&token).await, "token_superseded");
    let fresh = minted(&world, &made.id, json!({})).await;
    assert_eq!(told(&world, json!({ "min_level": 3 }), &fresh).await, "valid");
    assert_eq!(claims(&fresh)["acr"], "3");
}

#[tokio::test]
async fn rules_about_addresses_and_agents_hold() {
    let world = World::new().await;
    let rules = json!({ "default": { "ip_allow": ["203.0.113.0/24"], "ip_change": "end" } });
    world.call(Method::PUT, "/v1/policies").json(&rules).send().await.expect(200);
    let made = world.create(json!({ "user_id": "ada", "ip": "203.0.113.7" })).await;
    let token = minted(&world, &made.id, json!({})).await;
    assert_eq!(told(&world, json!({}), &token).await, "ip_missing");
    assert_eq!(told(&world, json!({ "ip": "203.0.113.9" }), &token).await, "valid");
    let answer = told(&world, json!({ "ip": "198.51.100.1" }), &token).await;
    assert!(["ip_not_allowed", "ip_changed"].contains(&answer.as_str()), "{answer}");
}

#[tokio::test]
async fn verifying_and_most_minting_write_nothing() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let token = minted(&world, &made.id, json!({})).await;
    world.app.flush_activity().await.unwrap();
    // An accident is planned for whoever writes: nobody does.
    for call in [Call::Commit, Call::Touch] {
        world.store.plan(call, [Fault::Before]);
    }
    for minute in 0..4 {
        for _ in 0..50 {
            assert_eq!(world.verdict(&token).await, "valid", "{minute}");
            assert_eq!(told(&world, json!({ "consistency": "strong" }), &token).await, "valid");
        }
        minted(&world, &made.id, json!({ "lifetime": 60 })).await;
        world.advance(Span::minutes(1));
    }
    world.advance(Span::minutes(2));
    assert!(
        ask(&world, &made.id, json!({ "lifetime": 300 })).await.status.is_server_error(),
        "this one would write"
    );
    ask(&world, &made.id, json!({ "lifetime": 300 })).await.expect(201);
    // It is no activity: the session idles on as if nobody had come.
    let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert_eq!(session["last_active_at"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn it_opens_no_other_door_and_no_other_environment() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let token = minted(&world, &made.id, json!({})).await;
    let other = world.make_environment("shop", "stg").await;
    let call = world.call(Method::POST, "/v1/sessions/validate").key(&other.token);
    let answer = call.json(&json!({ "token": token })).send().await.expect(200);
    assert_eq!(answer["code"], "token_malformed");
    let cookie = format!("__Host-handstamp={token}");
    let own = world.call(Method::GET, "/v1/auth/session").no_key().header("cookie", &cookie).send().await;
    assert_eq!(own.status, 401);
    world
        .post("/v1/sessions/refresh", json!({ "refresh_token": token }))
        .await
        .refused(401, "token_malformed");
    world.call(Method::GET, "/v1/sessions").key(&token).send().await.refused(401, "access_key_invalid");
    // Of another server with other keys, whatever it says of itself.
    let stranger = World::with(Options { master: [6; 32], seed: 99, ..Options::default() }).await;
    assert_eq!(stranger.verdict(&token).await, "token_malformed");
}
