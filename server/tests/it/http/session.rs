//! `/v1/sessions/{id}`: read, change, end.

use crate::world::World;
use handstamp_core::time::Span;
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_read_is_what_was_made() {
    let world = World::new().await;
    let call = world.call(http::Method::POST, "/v1/sessions").header("content-type", "application/json");
    let made = call.body(r#"{"user_id":"ada","data":{"b":1,"a":2}}"#).send().await.expect(201);
    let path = format!("/v1/sessions/{}", made["session"]["id"].as_str().unwrap());
    let read = world.get(&path).await;
    assert_eq!(read.expect(200), made["session"]);
    assert!(!read.text().contains("hst_") && read.text().contains(r#""data":{"b":1,"a":2}"#));
    world.get("/v1/sessions/ses_0000000000000000000000").await.refused(404, "not_found");
}

#[tokio::test]
async fn tags_groups_and_idle_time_change() {
    let world = World::new().await;
    let made =
        world.create(json!({ "user_id": "ada", "tags": ["a:1", "b:1"], "access_groups": ["x"] })).await;
    let path = format!("/v1/sessions/{}", made.id);
    world.advance(Span::hours(1));
    let body = json!({
        "tags": { "add": ["c:1", "a:1"], "remove": ["b:1", "z:9"] },
        "access_groups": { "add": ["y"], "remove": ["x"] }, "extend": true
    });
    let session = world.patch(&path, body).await.expect(200)["session"].clone();
    assert_eq!((&session["tags"], &session["access_groups"]), (&json!(["a:1", "c:1"]), &json!(["y"])));
    assert_eq!(session["idle_expires_at"], "2026-01-02T01:00:00.000Z");
    assert_eq!(world.get(&path).await.expect(200), session);
    assert_eq!(world.validate(&made.token).await["session"]["tags"], json!(["a:1", "c:1"]));
}

#[tokio::test]
async fn data_is_replaced_or_merged() {
    let world = World::new().await;
    let made = world
        .create(json!({ "user_id": "ada", "data": { "keep": 1, "drop": 2, "deep": { "x": 1, "y": 2 } } }))
        .await;
    let path = format!("/v1/sessions/{}", made.id);
    let data = async |body: Value| world.patch(&path, body).await.expect(200)["session"]["data"].clone();
    let patch =
        json!({ "data_patch": { "drop": null, "new": [1], "deep": { "y": null, "z": { "n": null } } } });
    assert_eq!(data(patch).await, json!({ "keep": 1, "deep": { "x": 1, "z": {} }, "new": [1] }));
    assert_eq!(data(json!({ "data_patch": "all of it" })).await, json!("all of it"));
    assert_eq!(data(json!({ "data_patch": { "a": 1 } })).await, json!({ "a": 1 }));
    assert_eq!(data(json!({ "data": [1, 2] })).await, json!([1, 2]));
    assert_eq!(data(json!({ "data": null })).await, Value::Null);
    assert_eq!(data(json!({ "extend": true })).await, Value::Null);
    assert_eq!(data(json!({ "data_patch": { "a": { "b": null } } })).await, json!({ "a": {} }));
    assert_eq!(data(json!({ "data_patch": null })).await, Value::Null);
    let both = json!({ "data": {}, "data_patch": {} });
    world.patch(&path, both).await.invalid("/data_patch");
}

#[tokio::test]
async fn a_merge_leaves_the_rest_to_the_last_digit() {
    let world = World::new().await;
    let text = r#"{"user_id":"ada","data":{"id":12345678901234567890123,"price":1.10,"x":1}}"#;
    let call = world.call(http::Method::POST, "/v1/sessions").header("content-type", "application/json");
    let made = call.body(text).send().await.expect(201);
    let path = format!("/v1/sessions/{}", made["session"]["id"].as_str().unwrap());
    let changed = world.patch(&path, json!({ "data_patch": { "x": 2 } })).await;
    changed.expect(200);
    assert!(
        changed.text().contains(r#"{"id":12345678901234567890123,"price":1.10,"x":2}"#),
        "{}",
        changed.text()
    );
}

#[tokio::test]
async fn a_change_that_is_too_much_changes_nothing() {
    let world = World::new().await;
    let tags: Vec<String> = (0..31).map(|n| format!("t{n:02}:v")).collect();
    let groups: Vec<String> = (0..64).map(|n| format!("g{n}")).collect();
    let data = json!({ "a": "x".repeat(16_000) });
    let made =
        world.create(json!({ "user_id": "ada", "tags": tags, "access_groups": groups, "data": data })).await;
    let path = format!("/v1/sessions/{}", made.id);
    let before = world.get(&path).await.expect(200);
    for (body, pointer) in [
        (json!({ "tags": { "add": ["u1:v", "u2:v"] } }), "/tags/add"),
        (json!({ "access_groups": { "add": ["more"] } }), "/access_groups/add"),
        (json!({ "data_patch": { "b": "x".repeat(500) } }), "/data_patch"),
        (json!({ "data": "x".repeat(16_383) }), "/data"),
        (json!({ "data_patch": "x".repeat(16_383) }), "/data_patch"),
        (json!({ "data_patch": { "a": 1 }, "tags": { "add": [], "drop": [] } }), "/tags/drop"),
        (json!({}), ""),
        (json!({ "extend": false }), ""),
        (json!({ "tags": {} }), ""),
        (json!({ "extend": "yes" }), "/extend"),
        (json!({ "user_id": "bob" }), "/user_id"),
    ] {
        world.patch(&path, body).await.invalid(pointer);
    }
    world.patch(&path, json!({ "tags": { "add": ["x"] } })).await.invalid_as("tag_invalid", "/tags/add/0");
    assert_eq!(world.get(&path).await.expect(200), before);
    world.patch(&path, json!({ "tags": { "add": ["u1:v"] } })).await.expect(200);
}

#[tokio::test]
async fn ended_is_final() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let path = format!("/v1/sessions/{}", made.id);
    let reason = "?reason=lost%20the%20phone";
    assert_eq!(world.delete(&format!("{path}{reason}")).await.expect(200), json!({ "ended": 1 }));
    assert_eq!(world.delete(&path).await.expect(200), json!({ "ended": 0 }));
    let problem = world.patch(&path, json!({ "extend": true })).await.refused(409, "session_ended");
    assert!(problem["detail"].as_str().unwrap().contains("session_revoked"), "{problem}");
    let session = world.get(&path).await.expect(200);
    assert_eq!(session["state"], "ended");
    assert_eq!(session["ended"]["code"], "session_revoked");
    assert_eq!(session["ended"]["reason"], "lost the phone");
    assert_eq!(session["ended"]["at"], "2026-01-01T00:00:00.000Z");
    assert!(session["ended"]["by"].as_str().unwrap().starts_with("key_"));
}

#[tokio::test]
async fn the_guard_keeps_strangers_sessions() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let path = format!("/v1/sessions/{}", made.id);
    world.delete(&format!("{path}?user_id=bob")).await.refused(404, "not_found");
    assert_eq!(world.verdict(&made.token).await, "valid");
    assert_eq!(world.delete(&format!("{path}?user_id=ada")).await.expect(200), json!({ "ended": 1 }));
    world.delete(&format!("{path}?user_id=")).await.invalid("user_id");
    let long = "r".repeat(501);
    world.delete(&format!("{path}?reason={long}")).await.invalid("reason");
    world.delete(&format!("{path}?reason=a%0ab")).await.invalid("reason");
    world.delete("/v1/sessions/ses_0000000000000000000000").await.refused(404, "not_found");
}

/// A guard in a body would guard nothing: a body where none is taken is refused.
#[tokio::test]
async fn a_body_where_none_is_taken_is_refused() {
    let world = World::new().await;
    let ada = world.login("ada").await;
    let path = format!("/v1/sessions/{}", ada.id);
    for method in [http::Method::DELETE, http::Method::GET] {
        let call = world.call(method, &path).json(&serde_json::json!({ "user_id": "other" }));
        call.send().await.invalid("");
    }
    assert_eq!(world.verdict(&ada.token).await, "valid");
    world.call(http::Method::DELETE, &path).body("").send().await.expect(200);
}
