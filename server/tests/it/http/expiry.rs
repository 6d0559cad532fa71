//! Both sides of the instant at which time ends a session, in every call that could say otherwise.

use crate::world::{Options, World};
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use serde_json::{Value, json};

/// What each call says of the only session.
async fn told(world: &World, id: &str, token: &str) -> Value {
    let look = json!({ "token": token, "touch": false });
    let verdict = world.post("/v1/sessions/validate", look.clone()).await.expect(200);
    let strong = json!({ "token": token, "touch": false, "consistency": "strong" });
    let strong = world.post("/v1/sessions/validate", strong).await.expect(200);
    let batch = world.post("/v1/sessions/validate-batch", json!({ "requests": [look] })).await.expect(200);
    let session = world.get(&format!("/v1/sessions/{id}")).await.expect(200);
    let search = async |query: &str| world.get(&format!("/v1/sessions{query}")).await.expect(200);
    let found = async |query: &str| search(query).await["items"].as_array().unwrap().len();
    json!({
        "verdict": verdict["code"], "strong": strong["code"], "batch": batch["results"][0]["code"],
        "state": session["state"], "ended": session["ended"]["code"], "at": session["ended"]["at"],
        "live": found("?user_id=ada").await, "ended_found": found("?state=ended&user_id=ada").await,
        "all": found("?state=all").await,
        "count": search("/count").await["count"], "count_ended": search("/count?state=ended").await["count"],
    })
}

fn live() -> Value {
    json!({
        "verdict": null, "strong": null, "batch": null, "state": "live", "ended": null, "at": null,
        "live": 1, "ended_found": 0, "all": 1, "count": 1, "count_ended": 0,
    })
}

fn over(code: &str, at: &str) -> Value {
    json!({
        "verdict": code, "strong": code, "batch": code, "state": "ended", "ended": code, "at": at,
        "live": 0, "ended_found": 1, "all": 1, "count": 0, "count_ended": 1,
    })
}

#[tokio::test]
async fn idle() {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(15)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    let made = world.login("ada").await;
    world.advance(Span(Span::minutes(15).0 - 1));
    assert_eq!(told(&world, &made.id, &made.token).await, live());
    world.advance(Span(1));
    assert_eq!(told(&world, &made.id, &made.token).await, over("session_idle", "2026-01-01T00:15:00.000Z"));
    let verdict = world.validate(&made.token).await;
    assert_eq!(verdict["detail"], "idle 15m, allowed 15m by default");
    assert_eq!(verdict["evidence"], json!({ "allowed": 900, "seen": 900 }));
}

#[tokio::test]
async fn absolute_and_by_creation() {
    let policy = Policy::from(Rules { absolute_timeout: Some(Span::hours(2)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    for (body, lasts, at) in [
        (json!({ "user_id": "ada" }), Span::hours(2), "2026-01-01T02:00:00.000Z"),
        (json!({ "user_id": "ada", "expires_in": 60 }), Span::minutes(1), "2026-01-01T02:01:00.000Z"),
    ] {
        let made = world.create(body).await;
        world.advance(Span(lasts.0 - 1));
        assert_eq!(told(&world, &made.id, &made.token).await["verdict"], Value::Null);
        world.advance(Span(1));
        let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
        assert_eq!(world.verdict(&made.token).await, "session_expired");
        assert_eq!((&session["ended"]["at"], &session["ended"]["by"]), (&json!(at), &json!("system")));
    }
}

#[tokio::test]
async fn what_time_has_ended_cannot_be_changed_or_ended_again() {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(15)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    let made = world.login("ada").await;
    world.advance(Span::minutes(15));
    let path = format!("/v1/sessions/{}", made.id);
    world.patch(&path, json!({ "extend": true })).await.refused(409, "session_ended");
    assert_eq!(world.delete(&path).await.expect(200), json!({ "ended": 0 }));
    let none = json!({ "ended": 0, "sessions": [] });
    assert_eq!(world.post("/v1/sessions/revoke", json!({ "user_id": "ada" })).await.expect(200), none);
    assert_eq!(world.post("/v1/sessions/revoke", json!({ "token": made.token })).await.expect(200), none);
    assert_eq!(told(&world, &made.id, &made.token).await, over("session_idle", "2026-01-01T00:15:00.000Z"));
}

#[tokio::test]
async fn housekeeping_changes_no_story() {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(15)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    let made = world.login("ada").await;
    world.advance(Span::hours(1));
    let before = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert!(world.app.tidy().await.is_ok());
    assert_eq!(world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200), before);
    let events = world.get(&format!("/v1/sessions/{}/events", made.id)).await.expect(200);
    assert_eq!(
        events["items"][1]["at"], "2026-01-01T00:15:00.000Z",
        "the instant of the end, not of its writing"
    );
}

#[tokio::test]
async fn activity_keeps_it_alive() {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(15)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    let made = world.login("ada").await;
    for _ in 0..20 {
        world.advance(Span(Span::minutes(15).0 - 1));
        assert_eq!(world.verdict(&made.token).await, "valid");
    }
    world.advance(Span::minutes(15));
    assert_eq!(world.verdict(&made.token).await, "session_idle");
}
