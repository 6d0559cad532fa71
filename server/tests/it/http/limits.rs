//! Limits over HTTP: who had to go is in the answer and in the history, and a refusal says how many there are.

use crate::world::World;
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn policy(world: &World, policy: Value) {
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
}

#[tokio::test]
async fn who_had_to_go_is_named() {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..10 {
        made.push(world.login("ada").await);
        world.advance(Span(1));
    }
    // The default of ten, of one user.
    world.login("bob").await;
    let answer = world.post("/v1/sessions", json!({ "user_id": "ada" })).await.expect(201);
    assert_eq!(answer["evicted"], json!([made[0].id]));
    assert_eq!(world.verdict(&made[0].token).await, "session_evicted");
    assert_eq!(world.verdict(&made[1].token).await, "valid");
    let told = world.validate(&made[0].token).await;
    assert_eq!(told["detail"], "max_sessions would be 11, allowed 10 by default");
    assert_eq!(told["evidence"], json!({ "allowed": 10, "seen": 11 }));
    let session = world.get(&format!("/v1/sessions/{}", made[0].id)).await.expect(200);
    assert_eq!((&session["state"], &session["ended"]["code"]), (&json!("ended"), &json!("session_evicted")));
    let events = world.get(&format!("/v1/sessions/{}/events", made[0].id)).await.expect(200);
    let event = &events["items"][1];
    assert_eq!(event["type"], "session.ended");
    assert_eq!((&event["code"], &event["rule"]), (&json!("session_evicted"), &json!("max_sessions")));
    assert_eq!(
        (&event["origin"], &event["evidence"]),
        (&json!("default"), &json!({ "allowed": 10, "seen": 11 }))
    );
    assert_eq!(world.get("/v1/sessions/count?user_id=ada").await.expect(200)["count"], 10);
    assert_eq!(world.get("/v1/sessions/count?user_id=bob").await.expect(200)["count"], 1);
}

#[tokio::test]
async fn a_refusal_says_how_many_there_are() {
    let world = World::new().await;
    policy(
        &world,
        json!({ "default": { "on_limit": "reject" }, "tag": { "role:*": { "max_sessions": 2 } } }),
    )
    .await;
    let ask = |tag: &str| json!({ "user_id": "ada", "tags": [tag] });
    let first = world.create(ask("role:admin")).await;
    let second = world.create(ask("role:admin")).await;
    let other = world.create(ask("role:user")).await;
    let refused = world.post("/v1/sessions", ask("role:admin")).await;
    let problem = refused.refused(409, "session_limit_reached");
    assert_eq!((&problem["current"], &problem["maximum"]), (&json!(2), &json!(2)));
    assert_eq!(problem["detail"], "max_sessions would be 3, allowed 2 by tag role:*");
    assert!(!refused.text().contains("hst_"));
    // A change of tags is held to the same, one by one and all together.
    let path = format!("/v1/sessions/{}", other.id);
    let patch = json!({ "tags": { "add": ["role:admin"] } });
    world.patch(&path, patch.clone()).await.refused(409, "session_limit_reached");
    let many = json!({ "filter": { "user_id": "ada", "tags": ["role:user"] }, "update": patch });
    let problem = world.post("/v1/sessions/update", many.clone()).await.refused(409, "session_limit_reached");
    assert_eq!((&problem["current"], &problem["maximum"]), (&json!(2), &json!(2)));
    assert_eq!(world.get(&path).await.expect(200)["tags"], json!(["role:user"]));
    // Others' problems have no such members.
    let problem = world.get("/v1/sessions/ses_0000000000000000000000").await.refused(404, "not_found");
    assert!(problem.get("current").is_none() && problem.get("maximum").is_none());
    for made in [first, second] {
        assert_eq!(world.verdict(&made.token).await, "valid");
    }
}

#[tokio::test]
async fn a_change_names_who_had_to_go() {
    let world = World::new().await;
    policy(&world, json!({ "tag": { "role:admin": { "max_sessions": 1 } } })).await;
    let admin = world.create(json!({ "user_id": "ada", "tags": ["role:admin"] })).await;
    let (second, third) = (world.login("ada").await, world.login("ada").await);
    let patch = json!({ "tags": { "add": ["role:admin"] } });
    let done = world.patch(&format!("/v1/sessions/{}", second.id), patch.clone()).await.expect(200);
    assert_eq!(done["evicted"], json!([admin.id]));
    assert_eq!(world.verdict(&admin.token).await, "session_evicted");
    let many = json!({ "filter": { "user_id": "ada" }, "update": patch });
    let done = world.post("/v1/sessions/update", many).await.expect(200);
    assert_eq!(done["evicted"], json!([second.id]));
    assert_eq!(world.verdict(&third.token).await, "valid");
    // Nothing comes, nobody goes.
    let done =
        world.patch(&format!("/v1/sessions/{}", third.id), json!({ "extend": true })).await.expect(200);
    assert_eq!(done["evicted"], json!([]));
}

#[tokio::test]
async fn seats_of_all_users() {
    let world = World::new().await;
    policy(
        &world,
        json!({ "tag": { "org:acme": { "seats": 2 }, "plan:*": { "seats": 1, "on_limit": "reject" } } }),
    )
    .await;
    let ask = |user: &str, tag: &str| json!({ "user_id": user, "tags": [tag] });
    let first = world.create(ask("ada", "org:acme")).await;
    world.advance(Span(1));
    world.create(ask("bob", "org:acme")).await;
    let made = world.post("/v1/sessions", ask("cy", "org:acme")).await.expect(201);
    assert_eq!(made["evicted"], json!([first.id]));
    let told = world.validate(&first.token).await;
    assert_eq!(told["code"], "session_evicted");
    assert_eq!(told["detail"], "seats would be 3, allowed 2 by tag org:acme");
    let events = world.get(&format!("/v1/sessions/{}/events", first.id)).await.expect(200);
    let event = &events["items"][1];
    assert_eq!((&event["rule"], &event["origin"]), (&json!("seats"), &json!("tag org:acme")));
    assert_eq!(event["evidence"], json!({ "allowed": 2, "seen": 3 }));
    world.create(ask("ada", "plan:pro")).await;
    let problem =
        world.post("/v1/sessions", ask("bob", "plan:pro")).await.refused(409, "session_limit_reached");
    assert_eq!((&problem["current"], &problem["maximum"]), (&json!(1), &json!(1)));
    assert_eq!(problem["detail"], "seats would be 2, allowed 1 by tag plan:*");
    let other = world.create(ask("bob", "plan:free")).await;
    let patch = json!({ "tags": { "add": ["plan:pro"] } });
    let refused = world.patch(&format!("/v1/sessions/{}", other.id), patch).await;
    refused.refused(409, "session_limit_reached");
    assert_eq!(world.get("/v1/sessions/count?tag=org:acme").await.expect(200)["count"], 2);
}

/// Whoever acts in the user's place takes nobody's room, neither of one change nor of many at once.
#[tokio::test]
async fn a_change_of_many_counts_as_a_change_of_one() {
    let world = World::new().await;
    policy(&world, json!({ "tag": { "role:admin": { "max_sessions": 1, "on_limit": "reject" } } })).await;
    let actor = json!({ "id": "support-7", "reason": "ticket 4711" });
    world.create(json!({ "user_id": "ada", "tags": ["role:admin"], "actor": actor })).await;
    world.create(json!({ "user_id": "ada", "tags": ["plan:pro"] })).await;
    let many = json!({ "filter": { "tags": ["plan:pro"] }, "update": { "tags": { "add": ["role:admin"] } } });
    assert_eq!(world.post("/v1/sessions/update", many).await.expect(200)["updated"], 1);
}
