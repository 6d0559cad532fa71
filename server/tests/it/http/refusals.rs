//! What every call refuses in the same way: no key, no JSON, unknown fields, too much.

use crate::world::World;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_missing_or_doubled_key_is_refused() {
    let world = World::new().await;
    let answer = world.call(Method::GET, "/v1/sessions").no_key().send().await;
    answer.refused(401, "access_key_missing");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let twice = world.call(Method::GET, "/v1/sessions").add_header("authorization", "Bearer x");
    twice.send().await.refused(401, "access_key_invalid");
}

#[tokio::test]
async fn what_is_wrong_is_pointed_at() {
    let world = World::new().await;
    world.post("/v1/sessions", json!({ "user_id": "ada", "colour": 1 })).await.invalid("/colour");
    let tags = json!({ "user_id": "ada", "tags": ["role:admin", "Role"] });
    world.post("/v1/sessions", tags).await.invalid_as("tag_invalid", "/tags/1");
    let made = world.login("ada").await;
    world.patch(&format!("/v1/sessions/{}", made.id), json!({})).await.invalid("");
    let text = world.call(Method::POST, "/v1/sessions").header("content-type", "text/plain").body("{}");
    text.send().await.refused(415, "unsupported_media_type");
}
