//! How long a family lives, and that nothing brings it back: time, ends of every kind, limits, types, a changed policy.

use super::{Pair, present, redeem, start, started};
use crate::world::{Options, World};
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn with(rules: Rules) -> World {
    World::with(Options { policy: Some(Policy::from(rules)), ..Options::default() }).await
}

async fn put(world: &World, path: &str, body: Value) {
    world.call(Method::PUT, path).json(&body).send().await.expect(200);
}

/// However often it is refreshed, and no millisecond longer; another authentication begins it again.
#[tokio::test]
async fn a_family_lives_for_its_time_from_the_login_however_often_it_is_refreshed() {
    let world = with(Rules {
        refresh_timeout: Some(Span::days(10)),
        absolute_timeout: Some(Span::days(1)),
        idle_timeout: Some(Span::days(2)),
        ..Rules::default()
    })
    .await;
    let mut pair = started(&world, "ada").await;
    for _ in 0..2 {
        let mut count = 0;
        // Rotated until it is refused.
        let ended = loop {
            world.advance(Span::hours(23));
            let answer = present(&world, &pair.refresh).await;
            if answer.status == 401 {
                break answer;
            }
            pair = Pair::of(&answer.expect(200));
            count += 1;
            assert!(count < 20, "it goes on for ever");
        };
        assert_eq!(count, 10, "240 hours, and not 24");
        let problem = ended.refused(401, "session_expired");
        assert_eq!(problem["detail"], "absolute 10d13h, allowed 10d by default");
        assert_eq!(world.verdict(&pair.token).await, "session_expired");
        pair = started(&world, "ada").await;
    }
    world.advance(Span(Span::days(2).0 - 1));
    pair = redeem(&world, &pair.refresh).await;
    for _ in 0..4 {
        world.advance(Span(Span::days(2).0 - 1));
        pair = redeem(&world, &pair.refresh).await;
    }
    // Five milliseconds before its end.
    let again = world.patch(&format!("/v1/sessions/{}", pair.id), json!({ "auth": {} })).await.expect(200);
    pair = Pair::of(&again);
    world.advance(Span(5));
    pair = redeem(&world, &pair.refresh).await;
    world.advance(Span(Span::days(2).0 - 1));
    let told = present(&world, &pair.refresh).await.expect(200);
    assert_eq!(told["session"]["absolute_expires_at"], told_after(&told["session"], 10));
}

/// A session's login and so many days.
fn told_after(session: &Value, days: i64) -> Value {
    let at = session["authenticated_at"].as_str().unwrap();
    let at = handstamp_core::time::Millis::parse(at).unwrap();
    std::str::from_utf8(&at.plus(Span::days(days)).rfc3339()).unwrap().into()
}

#[tokio::test]
async fn both_sides_of_each_boundary() {
    let rules = || Rules {
        refresh_timeout: Some(Span::hours(3)),
        idle_timeout: Some(Span::hours(1)),
        ..Rules::default()
    };
    for (step, last, code) in [
        (Span::hours(1), Span(Span::hours(1).0 - 1), "session_idle"),
        (Span::minutes(50), Span::minutes(29), "session_expired"),
    ] {
        let world = with(rules()).await;
        let mut pair = started(&world, "ada").await;
        if code == "session_expired" {
            for _ in 0..3 {
                world.advance(step);
                pair = redeem(&world, &pair.refresh).await;
            }
        }
        world.advance(last);
        let newest = redeem(&world, &pair.refresh).await;
        // At the very instant of its end it is over, also for a repeat of what was just given.
        world.advance(if code == "session_idle" { Span::hours(1) } else { Span::minutes(1) });
        for refresh in [&newest.refresh, &pair.refresh] {
            present(&world, refresh).await.refused(401, code);
        }
        assert_eq!(world.verdict(&newest.token).await, code);
    }
}

#[tokio::test]
async fn nobody_refreshes_what_has_ended() {
    let world = World::new().await;
    let end = async |path: &str, body: Value| world.post(path, body).await;
    for (name, code) in [
        ("deleted", "session_revoked"),
        ("by session token", "session_revoked"),
        ("by refresh token", "session_revoked"),
        ("by an old refresh token", "session_revoked"),
        ("all of the user", "session_revoked"),
        ("by tag", "session_revoked"),
        ("everybody", "session_revoked"),
        ("evicted", "session_evicted"),
    ] {
        let first = start(&world, json!({ "user_id": name, "tags": ["a:b"] })).await;
        let next = redeem(&world, &first.refresh).await;
        match name {
            "deleted" => {
                world.delete(&format!("/v1/sessions/{}", first.id)).await.expect(200);
            }
            "by session token" => {
                end("/v1/sessions/revoke", json!({ "token": next.token })).await.expect(200);
            }
            "by refresh token" => {
                end("/v1/sessions/revoke", json!({ "token": next.refresh })).await.expect(200);
            }
            "by an old refresh token" => {
                world.verdict(&next.token).await;
                world.advance(Span::minutes(5));
                let ended = end("/v1/sessions/revoke", json!({ "token": first.refresh })).await.expect(200);
                assert_eq!(ended["ended"], 1, "a logout, and no theft");
            }
            "all of the user" => {
                end("/v1/sessions/revoke", json!({ "user_id": name })).await.expect(200);
            }
            "by tag" => {
                end("/v1/sessions/revoke", json!({ "tags": ["a:b"] })).await.expect(202);
            }
            "everybody" => {
                end("/v1/sessions/revoke", json!({ "all": true })).await.expect(202);
            }
            _ => {
                for _ in 0..10 {
                    world.advance(Span(1));
                    world.login(name).await;
                }
            }
        }
        let before = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
        // The newest, the one that the end came between, and again after housekeeping.
        for _ in 0..2 {
            for refresh in [&next.refresh, &first.refresh] {
                present(&world, refresh).await.refused(401, code);
            }
            assert!(world.app.tidy().await.is_ok());
        }
        let after = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
        assert_eq!(
            (&after["ended"]["at"], &after["state"]),
            (&before["ended"]["at"], &json!("ended")),
            "{name}"
        );
        assert_eq!(after["generation"], 1, "{name}");
        assert_eq!(world.verdict(&next.token).await, code, "{name}");
    }
}

/// A policy that changes acts on families from the next request on, and never revives one.
#[tokio::test]
async fn the_policy_of_today_holds() {
    let world = World::new().await;
    let pair = started(&world, "ada").await;
    let plain = world.login("bob").await;
    let session = async |id: &str| world.get(&format!("/v1/sessions/{id}")).await.expect(200);
    put(&world, "/v1/policies", json!({ "default": { "refresh_timeout": "2h" } })).await;
    let told = session(&pair.id).await;
    assert_eq!(told["absolute_expires_at"], "2026-01-01T02:00:00.000Z");
    assert_eq!(told["expires_at"], "2026-01-01T02:00:00.000Z");
    assert_eq!(session(&plain.id).await["absolute_expires_at"], "2026-01-31T00:00:00.000Z");
    // Neither bounds the other.
    put(&world, "/v1/policies", json!({ "default": { "refresh_timeout": "2h", "absolute_timeout": "1h" } }))
        .await;
    world.advance(Span::minutes(90));
    let pair = redeem(&world, &pair.refresh).await;
    assert_eq!(world.verdict(&plain.token).await, "session_expired");
    let explained = world.get(&format!("/v1/sessions/{}/explain", pair.id)).await.expect(200);
    assert_eq!(explained["policy"]["refresh_timeout"], json!({ "value": "2h", "origin": "default" }));
    let said = explained["rules"].as_array().unwrap();
    let absolute = said.iter().find(|rule| rule["rule"] == "absolute").unwrap();
    assert_eq!(absolute["evidence"], json!({ "allowed": 7_200, "seen": 5_400 }), "{absolute}");
    assert!(said.iter().all(|rule| rule["rule"] != "rotate_every"), "it rotates by refresh alone");
    // What a shorter one would do is said first, by the same rule.
    let tried = json!({ "policy": { "default": { "refresh_timeout": "1h" } } });
    let preview = world.post("/v1/policies/preview", tried).await.expect(200);
    assert_eq!((&preview["sessions"], &preview["would_end"]), (&json!(1), &json!(1)), "{preview}");
    let example = &preview["examples"][0];
    assert_eq!((&example["session_id"], &example["code"]), (&json!(pair.id), &json!("session_expired")));
    assert_eq!(example["detail"], "absolute 1h30m, allowed 1h by default");
    let tried = json!({ "policy": { "default": { "absolute_timeout": "1s" } } });
    assert_eq!(world.post("/v1/policies/preview", tried).await.expect(200)["would_end"], 0);
    put(&world, "/v1/policies", json!({ "default": { "refresh_timeout": "1h" } })).await;
    // Housekeeping finds it without anybody asking, and lists agree.
    assert!(world.app.tidy().await.is_ok());
    let listed = world.get("/v1/sessions?user_id=ada&state=ended").await.expect(200);
    assert_eq!(listed["items"][0]["ended"]["code"], "session_expired");
    assert_eq!(world.get("/v1/sessions/count?user_id=ada").await.expect(200)["count"], 0);
    put(&world, "/v1/policies", json!({ "default": { "refresh_timeout": "90d" } })).await;
    present(&world, &pair.refresh).await.refused(401, "session_expired");
}

/// A looser policy is taken over by a family that is alive, with its next refresh or request.
#[tokio::test]
async fn a_looser_policy_is_taken_over_by_who_is_alive() {
    let world = with(Rules { refresh_timeout: Some(Span::hours(2)), ..Rules::default() }).await;
    let (first, lazy) = (started(&world, "ada").await, started(&world, "bob").await);
    let looser = Rules { refresh_timeout: Some(Span::days(90)), ..Rules::default() };
    world.app.set_file_policy(Some(Policy::from(looser))).await;
    world.advance(Span::hours(1));
    let answer = present(&world, &first.refresh).await.expect(200);
    assert_eq!(answer["session"]["absolute_expires_at"], "2026-04-01T00:00:00.000Z");
    world.advance(Span::hours(1));
    present(&world, &lazy.refresh).await.refused(401, "session_expired");
    redeem(&world, &Pair::of(&answer).refresh).await;
}

#[tokio::test]
async fn types_and_creations_shorten_a_family() {
    let world = World::new().await;
    put(&world, "/v1/session-types/cart", json!({ "expires_in": "1h", "refresh_expires_in": "3h" })).await;
    let typed = start(&world, json!({ "user_id": "ada", "tags": ["type:cart"] })).await;
    let asked = start(&world, json!({ "user_id": "ada", "expires_in": 10_800 })).await;
    let plain = world.create(json!({ "user_id": "ada", "tags": ["type:cart"] })).await;
    let idle = async |pair: &Pair| redeem(&world, &pair.refresh).await;
    world.advance(Span::hours(1));
    assert_eq!(world.verdict(&plain.token).await, "session_expired");
    let (mut typed, mut asked) = (idle(&typed).await, idle(&asked).await);
    world.advance(Span(Span::hours(2).0 - 1));
    (typed, asked) = (idle(&typed).await, idle(&asked).await);
    world.advance(Span(1));
    let problem = present(&world, &typed.refresh).await.refused(401, "session_expired");
    assert_eq!(problem["detail"], "absolute 3h, allowed 3h by session_type cart");
    let problem = present(&world, &asked.refresh).await.refused(401, "session_expired");
    assert!(problem["detail"].as_str().unwrap().starts_with("absolute 3h, allowed 3h by "), "{problem}");
}

/// A family counts in the limits for as long as it lives, and no longer.
#[tokio::test]
async fn a_family_has_its_place_until_it_is_over() {
    let world = World::new().await;
    let policy = json!({ "default": {
        "max_sessions": 1, "on_limit": "reject", "refresh_timeout": "3h", "absolute_timeout": "1h"
    } });
    put(&world, "/v1/policies", policy).await;
    let pair = started(&world, "ada").await;
    let another = || world.post("/v1/sessions", json!({ "user_id": "ada" }));
    world.advance(Span(Span::hours(3).0 - 1));
    another().await.refused(409, "session_limit_reached");
    let pair = redeem(&world, &pair.refresh).await;
    another().await.refused(409, "session_limit_reached");
    world.advance(Span(1));
    assert_eq!(another().await.expect(201)["evicted"], json!([]), "nobody had to go");
    present(&world, &pair.refresh).await.refused(401, "session_expired");
}
