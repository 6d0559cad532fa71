//! Rotation over HTTP: tokens move on in time, lost answers are made good, stolen tokens end the session.

use crate::world::{Made, World};
use handstamp_core::time::Span;
use serde_json::{Value, json};

async fn auto(world: &World, token: &str) -> Value {
    let body = json!({ "token": token, "rotate": "auto", "ip": "203.0.113.7", "user_agent": "own" });
    world.post("/v1/sessions/validate", body).await.expect(200)
}

/// A session whose first token was rotated, and the successor.
async fn rotated(world: &World) -> (Made, String) {
    let made = world.create(json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": "own" })).await;
    world.advance(Span::minutes(15));
    let next = auto(world, &made.token).await["rotated_token"].as_str().unwrap().to_owned();
    (made, next)
}

#[tokio::test]
async fn a_token_is_rotated_when_its_time_has_come_and_the_caller_can_deliver() {
    let world = World::new().await;
    let made = world.login("ada").await;
    world.advance(Span(Span::minutes(15).0 - 1));
    assert!(auto(&world, &made.token).await.get("rotated_token").is_none());
    world.advance(Span(1));
    let never = world.validate(&made.token).await;
    assert!(
        never["valid"] == true && never.get("rotated_token").is_none() && never.get("set_cookie").is_none()
    );
    let answer = auto(&world, &made.token).await;
    let next = answer["rotated_token"].as_str().unwrap();
    assert_ne!(next, made.token);
    assert_eq!(answer["session"]["id"], made.id);
    assert_eq!(answer["session"]["generation"], 1);
    assert_eq!(answer["session"]["rotation_pending_since"], "2026-01-01T00:15:00.000Z");
    let cookie = answer["set_cookie"][0].as_str().unwrap();
    assert!(cookie.starts_with(&format!("__Host-handstamp={next}; ")), "{cookie}");
    let seen = world.validate(next).await;
    assert!(seen["valid"] == true && seen["session"].get("rotation_pending_since").is_none(), "{seen}");
}

#[tokio::test]
async fn a_lost_answer_brings_the_same_successor_again() {
    let world = World::new().await;
    let (made, next) = rotated(&world).await;
    for _ in 0..3 {
        world.advance(Span::hours(1));
        assert_eq!(auto(&world, &made.token).await["rotated_token"], next);
        assert_eq!(
            world.verdict(&made.token).await,
            "valid",
            "nobody holds the successor: the old one goes on"
        );
    }
    assert_eq!(world.verdict(&next).await, "valid");
}

#[tokio::test]
async fn a_crowd_gets_one_successor() {
    let world = World::new().await;
    let made = world.login("ada").await;
    world.advance(Span::minutes(15));
    let all = futures_util::future::join_all((0..20).map(|_| auto(&world, &made.token))).await;
    let next: std::collections::BTreeSet<String> =
        all.iter().map(|answer| answer["rotated_token"].as_str().unwrap().to_owned()).collect();
    assert_eq!(next.len(), 1);
}

#[tokio::test]
async fn within_the_grace_an_old_token_is_late_and_after_it_stolen() {
    let world = World::new().await;
    let (made, next) = rotated(&world).await;
    assert_eq!(world.verdict(&next).await, "valid");
    world.advance(Span(Span::secs(60).0 - 1));
    assert_eq!(auto(&world, &made.token).await["rotated_token"], next);
    assert_eq!(world.verdict(&next).await, "valid");
    world.advance(Span(1));
    assert_eq!(world.verdict(&made.token).await, "token_reused");
    assert_eq!(world.verdict(&next).await, "token_reused", "it has ended for everybody");
    world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200)["ended"]["code"]
        .as_str()
        .map(|code| assert_eq!(code, "token_reused"))
        .unwrap();
}

#[tokio::test]
async fn a_token_two_generations_back_is_superseded_within_the_grace() {
    let world = World::new().await;
    let (made, next) = rotated(&world).await;
    world.advance(Span::minutes(15));
    let third = auto(&world, &next).await["rotated_token"].as_str().unwrap().to_owned();
    let answer = auto(&world, &made.token).await;
    assert_eq!((&answer["code"], &answer["status"]), (&json!("token_superseded"), &json!(401)));
    assert!(answer.get("rotated_token").is_none());
    assert_eq!(world.verdict(&third).await, "valid", "nothing has ended");
}

#[tokio::test]
async fn theft_is_told_with_both_contexts() {
    let world = World::new().await;
    let (made, next) = rotated(&world).await;
    auto(&world, &next).await;
    world.advance(Span::secs(60));
    let body = json!({ "token": made.token, "ip": "198.51.100.9", "user_agent": "thief" });
    let refused = world.post("/v1/sessions/validate", body).await.expect(200);
    assert_eq!(refused["code"], "token_reused");
    let events = world.get(&format!("/v1/sessions/{}/events", made.id)).await.expect(200)["items"].clone();
    let last = events.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["type"], &last["code"]), (&json!("session.ended"), &json!("token_reused")));
    assert_eq!(
        last["client"],
        json!({ "ip": "198.51.100.9", "user_agent": "thief", "browser": null, "os": null, "device_type": "other", "display_name": "Unknown browser" })
    );
    let evidence = last["evidence"].to_string();
    assert!(evidence.contains("203.0.113.7, own") && evidence.contains("198.51.100.9, thief"), "{evidence}");
    assert!(!events.to_string().contains("hst_"));
}

#[tokio::test]
async fn logout_with_an_old_token_is_a_logout_and_no_theft() {
    let world = World::new().await;
    let (made, next) = rotated(&world).await;
    world.validate(&next).await;
    world.advance(Span::hours(1));
    world.post("/v1/sessions/revoke", json!({ "token": made.token })).await.expect(200);
    assert_eq!(world.verdict(&next).await, "session_revoked");
}
