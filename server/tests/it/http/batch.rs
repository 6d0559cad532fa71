//! `POST /v1/sessions/validate-batch`

use crate::world::World;
use handstamp_core::time::Span;
use handstamp_server::store::faulty::{self, Fault};
use serde_json::{Value, json};

async fn ask(world: &World, requests: Vec<Value>) -> crate::world::Answer {
    world.post("/v1/sessions/validate-batch", json!({ "requests": requests })).await
}

#[tokio::test]
async fn the_verdicts_come_in_order() {
    let world = World::new().await;
    let (ada, bob) = (world.login("ada").await, world.login("bob").await);
    world.delete(&format!("/v1/sessions/{}", bob.id)).await.expect(200);
    let requests = vec![
        json!({ "token": ada.token }),
        json!({}),
        json!({ "token": bob.token }),
        json!({ "token": ada.token }),
    ];
    let results = ask(&world, requests).await.expect(200)["results"].clone();
    let codes: Vec<&Value> = results.as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(json!(codes), json!([null, "token_missing", "session_revoked", null]));
    assert_eq!(results[0]["session"]["user_id"], "ada");
    assert_eq!(results[0], results[3]);
}

#[tokio::test]
async fn both_sides_of_its_size() {
    let world = World::new().await;
    let token = world.login("ada").await.token;
    let many = |n: usize| vec![json!({ "token": token }); n];
    ask(&world, many(0)).await.invalid("/requests");
    for n in [1, 256] {
        let results = ask(&world, many(n)).await.expect(200)["results"].clone();
        let valid = results.as_array().unwrap().iter().filter(|one| one["valid"] == true).count();
        assert_eq!(valid, n);
    }
    let problem = ask(&world, many(257)).await.invalid("/requests");
    assert!(problem["detail"].as_str().unwrap().contains("1 to 256 requests, this has 257"), "{problem}");
    world.post("/v1/sessions/validate-batch", json!({})).await.invalid("/requests");
}

#[tokio::test]
async fn what_is_wrong_is_pointed_at_inside_of_the_batch() {
    let world = World::new().await;
    let good = json!({});
    for (wrong, code, pointer) in [
        (json!({ "ip": "x" }), "invalid_request", "/requests/2/ip"),
        (json!({ "colour": 1 }), "invalid_request", "/requests/2/colour"),
        (json!({ "token": 1 }), "invalid_request", "/requests/2/token"),
        (json!({ "required_tags": ["a:b", "x"] }), "tag_invalid", "/requests/2/required_tags/1"),
        (
            json!({ "required_access_groups": [""] }),
            "invalid_request",
            "/requests/2/required_access_groups/0",
        ),
        (json!("hst_"), "invalid_request", "/requests/2"),
    ] {
        ask(&world, vec![good.clone(), good.clone(), wrong]).await.invalid_as(code, pointer);
    }
}

#[tokio::test]
async fn where_one_is_wrong_none_has_an_effect() {
    let world = World::new().await;
    let policy = json!({ "default": { "ip_change": "end" } });
    world.call(http::Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let made = world.create(json!({ "user_id": "ada", "ip": "203.0.113.7" })).await;
    let at = format!("/v1/sessions/{}", made.id);
    let before = (world.get(&at).await.expect(200), world.get(&format!("{at}/events")).await.expect(200));
    world.advance(Span::hours(1));
    // One would end the session, one would be activity, one would rotate it.
    let moved = json!({ "token": made.token, "ip": "198.51.100.9" });
    let used = json!({ "token": made.token, "ip": "203.0.113.7", "rotate": "auto", "consistency": "strong" });
    for (wrong, pointer) in [
        (json!({ "ip": "x" }), "/requests/2/ip"),
        (json!({ "max_auth_age": 400_000_000 }), "/requests/2/max_auth_age"),
        (json!({ "min_level": 4 }), "/requests/2/min_level"),
        (json!({ "required_access_groups": [""] }), "/requests/2/required_access_groups/0"),
        (json!({ "device": { "proof": "x" } }), "/requests/2/method"),
    ] {
        ask(&world, vec![used.clone(), moved.clone(), wrong]).await.invalid(pointer);
        assert_eq!(world.get(&at).await.expect(200), before.0);
        assert_eq!(world.get(&format!("{at}/events")).await.expect(200), before.1);
    }
    let results = ask(&world, vec![used, moved]).await.expect(200)["results"].clone();
    assert!(results[0]["rotated_token"].is_string(), "{results}");
    assert_eq!(results[1]["code"], "ip_changed", "{results}");
}

#[tokio::test]
async fn an_accident_fails_the_whole_batch() {
    let world = World::new().await;
    let (ada, bob) = (world.login("ada").await, world.login("bob").await);
    world.store.plan(faulty::Call::Load, [Fault::None, Fault::Before]);
    let requests = vec![json!({ "token": ada.token }), json!({ "token": bob.token })];
    let answer = ask(&world, requests.clone()).await;
    answer.refused(503, "store_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.json()["retry_after"], 1);
    assert_eq!(ask(&world, requests).await.expect(200)["results"].as_array().unwrap().len(), 2);
}
