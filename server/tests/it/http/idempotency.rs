//! `Idempotency-Key` on `POST /v1/sessions`: the same request is the same session, for a day, until its token is used.

use crate::world::{Answer, World};
use handstamp_core::time::Span;
use handstamp_server::store::faulty::{self, Fault};
use http::Method;
use serde_json::{Value, json};

async fn create(world: &World, name: &str, body: &Value) -> Answer {
    world.call(Method::POST, "/v1/sessions").header("idempotency-key", name).json(body).send().await
}

async fn count(world: &World) -> Value {
    world.get("/v1/sessions/count").await.expect(200)["count"].clone()
}

#[tokio::test]
async fn the_same_request_is_the_same_session_and_token() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada", "tags": ["a:b"] });
    let first = create(&world, "one", &body).await.expect(201);
    world.advance(Span(Span::hours(24).0 - 1));
    let again = create(&world, "one", &body).await.expect(201);
    assert_eq!((&again["token"], &again["session"]["id"]), (&first["token"], &first["session"]["id"]));
    assert_eq!(count(&world).await, 1);
    assert_eq!(world.verdict(first["token"].as_str().unwrap()).await, "valid");
}

#[tokio::test]
async fn another_body_is_refused() {
    let world = World::new().await;
    create(&world, "one", &json!({ "user_id": "ada" })).await.expect(201);
    create(&world, "one", &json!({ "user_id": "ada", "tags": [] }))
        .await
        .refused(409, "idempotency_key_reused");
    create(&world, "two", &json!({ "user_id": "ada", "tags": [] })).await.expect(201);
    assert_eq!(count(&world).await, 2);
}

#[tokio::test]
async fn a_used_token_is_not_given_out_again() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada" });
    let made = create(&world, "one", &body).await.expect(201);
    assert_eq!(world.verdict(made["token"].as_str().unwrap()).await, "valid");
    let refused = create(&world, "one", &body).await;
    refused.refused(409, "idempotency_key_spent");
    assert!(!refused.text().contains("hst_"));
    assert_eq!(count(&world).await, 1);
}

#[tokio::test]
async fn an_ended_session_is_not_given_out_again() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada" });
    let made = create(&world, "one", &body).await.expect(201);
    world.delete(&format!("/v1/sessions/{}", made["session"]["id"].as_str().unwrap())).await.expect(200);
    create(&world, "one", &body).await.refused(409, "idempotency_key_spent");
}

#[tokio::test]
async fn at_once_is_still_once() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada" });
    let all = futures_util::future::join_all((0..20).map(|_| create(&world, "one", &body))).await;
    let tokens: std::collections::BTreeSet<String> =
        all.iter().map(|answer| answer.expect(201)["token"].as_str().unwrap().to_owned()).collect();
    assert_eq!((tokens.len(), count(&world).await), (1, json!(1)));
}

#[tokio::test]
async fn after_a_day_the_name_is_free_again() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada" });
    let first = create(&world, "one", &body).await.expect(201);
    world.advance(Span::hours(24));
    let second = create(&world, "one", &body).await.expect(201);
    assert_ne!(first["session"]["id"], second["session"]["id"]);
    create(&world, "one", &json!({ "user_id": "bob" })).await.refused(409, "idempotency_key_reused");
}

#[tokio::test]
async fn names_belong_to_the_access_key() {
    let world = World::new().await;
    let other = world.make_key(json!({ "name": "other" })).await;
    let body = json!({ "user_id": "ada" });
    let first = create(&world, "one", &body).await.expect(201);
    let call = world.call(Method::POST, "/v1/sessions").key(&other.token).header("idempotency-key", "one");
    let second = call.json(&body).send().await.expect(201);
    assert_ne!(first["token"], second["token"]);
}

#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let world = World::new().await;
    let body = json!({ "user_id": "ada" });
    world.store.plan(faulty::Call::Commit, [Fault::LoseAnswer]);
    create(&world, "one", &body).await.refused(503, "store_unavailable");
    let made = create(&world, "one", &body).await.expect(201);
    assert_eq!(count(&world).await, 1);
    assert_eq!(world.verdict(made["token"].as_str().unwrap()).await, "valid");
}
