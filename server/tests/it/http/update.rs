//! `POST /v1/sessions/update`: one change for all sessions of a filter.

use crate::world::World;
use handstamp_server::store::faulty::{self, Fault};
use serde_json::{Value, json};

async fn update(world: &World, filter: Value, update: Value) -> crate::world::Answer {
    world.post("/v1/sessions/update", json!({ "filter": filter, "update": update })).await
}

#[tokio::test]
async fn all_of_a_filter_and_nobody_else() {
    let world = World::new().await;
    let (one, two) = (world.login("ada").await, world.login("ada").await);
    let bob = world.login("bob").await;
    let dead = world.login("ada").await;
    world.delete(&format!("/v1/sessions/{}", dead.id)).await.expect(200);
    let change = json!({ "tags": { "add": ["beta:on"] }, "data_patch": { "x": 1 } });
    let done = update(&world, json!({ "user_id": "ada" }), change).await.expect(200);
    let mut ids: Vec<String> = serde_json::from_value(done["sessions"].clone()).unwrap();
    ids.sort();
    let mut expected = vec![one.id.clone(), two.id.clone()];
    expected.sort();
    assert_eq!((ids, &done["updated"]), (expected, &json!(2)));
    for id in [&one.id, &two.id] {
        let session = world.get(&format!("/v1/sessions/{id}")).await.expect(200);
        assert_eq!((&session["tags"], &session["data"]), (&json!(["beta:on"]), &json!({ "x": 1 })));
    }
    for id in [&bob.id, &dead.id] {
        assert_eq!(world.get(&format!("/v1/sessions/{id}")).await.expect(200)["tags"], json!([]));
    }
    let none = update(&world, json!({ "user_id": "nobody" }), json!({ "extend": true })).await.expect(200);
    assert_eq!(none, json!({ "updated": 0, "sessions": [], "evicted": [] }));
}

#[tokio::test]
async fn a_thousand_and_not_one_more() {
    let world = World::roomy().await;
    let make = async |n: usize| {
        let all = (0..n).map(|_| world.create(json!({ "user_id": "ada", "tags": ["n:1"] })));
        futures_util::future::join_all(all).await;
    };
    for _ in 0..20 {
        make(50).await;
    }
    let filter = || json!({ "tags": ["n:1"] });
    let done = update(&world, filter(), json!({ "tags": { "add": ["second:1"] } })).await.expect(200);
    assert_eq!((&done["updated"], done["sessions"].as_array().unwrap().len()), (&json!(1_000), 100));
    make(1).await;
    update(&world, filter(), json!({ "tags": { "add": ["third:1"] } }))
        .await
        .refused(409, "too_many_matches");
    let count = async |tag: &str| {
        world.get(&format!("/v1/sessions/count?tag={tag}")).await.expect(200)["count"].clone()
    };
    assert_eq!(
        (count("second:1").await, count("third:1").await),
        (json!(1_000), json!(0)),
        "nothing was changed"
    );
}

#[tokio::test]
async fn what_is_wrong_is_pointed_at() {
    let world = World::new().await;
    let made = world.create(json!({ "user_id": "ada", "data": { "a": "x".repeat(16_000) } })).await;
    let ada = || json!({ "user_id": "ada" });
    for (filter, change, pointer) in [
        (json!({}), json!({ "extend": true }), "/filter"),
        (json!({ "tags": [] }), json!({ "extend": true }), "/filter/tags"),
        (json!({ "user_id": "" }), json!({ "extend": true }), "/filter/user_id"),
        (json!({ "ip": "x" }), json!({ "extend": true }), "/filter/ip"),
        (json!({ "all": true }), json!({ "extend": true }), "/filter/all"),
        (ada(), json!({}), "/update"),
        (ada(), json!({ "data": 1, "data_patch": 2 }), "/update/data_patch"),
        (ada(), json!({ "data": "x".repeat(20_000) }), "/update/data"),
        (ada(), json!({ "data_patch": { "b": "x".repeat(500) } }), "/update/data_patch"),
        (json!({ "user_id": null, "tags": ["a:b"] }), json!({ "extend": true }), "/filter/user_id"),
        (ada(), json!({ "access_groups": { "add": [""] } }), "/update/access_groups/add/0"),
        (ada(), json!({ "auth": {} }), "/update/auth"),
    ] {
        update(&world, filter, change).await.invalid(pointer);
    }
    let tag = update(&world, ada(), json!({ "tags": { "add": ["x"] } })).await;
    tag.invalid_as("tag_invalid", "/update/tags/add/0");
    world.post("/v1/sessions/update", json!({ "filter": {} })).await.invalid("/update");
    assert_eq!(world.verdict(&made.token).await, "valid");
}

/// Each is judged before any is changed: what one of them cannot take is refused for all.
#[tokio::test]
async fn what_one_cannot_take_changes_none() {
    let world = World::new().await;
    let full: Vec<String> = (0..32).map(|n| format!("t{n}:x")).collect();
    world.login("ada").await;
    world.create(json!({ "user_id": "ada", "tags": full })).await;
    world.create(json!({ "user_id": "ada", "data": { "a": "x".repeat(16_000) } })).await;
    let change = json!({ "tags": { "add": ["new:x"] } });
    update(&world, json!({ "user_id": "ada" }), change).await.invalid("/update/tags/add");
    let change = json!({ "data_patch": { "b": "x".repeat(500) } });
    update(&world, json!({ "user_id": "ada" }), change).await.invalid("/update/data_patch");
    assert_eq!(world.get("/v1/sessions/count?tag=new:x").await.expect(200)["count"], 0);
    for item in world.get("/v1/sessions?user_id=ada").await.expect(200)["items"].as_array().unwrap() {
        assert!(item["data"].get("b").is_none(), "{item}");
    }
}

#[tokio::test]
async fn after_an_accident_the_same_call_can_be_sent_again() {
    let world = World::new().await;
    for _ in 0..5 {
        world.login("ada").await;
    }
    world.store.plan(faulty::Call::Commit, [Fault::None, Fault::Before]);
    let change = json!({ "tags": { "add": ["a:b"] } });
    update(&world, json!({ "user_id": "ada" }), change.clone()).await.refused(503, "store_unavailable");
    assert_eq!(update(&world, json!({ "user_id": "ada" }), change).await.expect(200)["updated"], 5);
}
