//! `GET /v1/sessions/{id}/events`: what happened, in order, without a credential.

use crate::world::World;
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_life_in_events() {
    let world = World::new().await;
    let made = world.create(json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": "own" })).await;
    let path = format!("/v1/sessions/{}", made.id);
    world.advance(Span::secs(1));
    world.patch(&path, json!({ "tags": { "add": ["a:b"] }, "data": { "secret": 1 } })).await.expect(200);
    world.advance(Span::secs(1));
    world.delete(&format!("{path}?reason=bye")).await.expect(200);
    let answer = world.get(&format!("{path}/events")).await;
    let items = answer.expect(200)["items"].clone();
    let lines: Vec<(&Value, &Value, &Value, &Value)> =
        items.as_array().unwrap().iter().map(|e| (&e["type"], &e["at"], &e["note"], &e["code"])).collect();
    assert_eq!(
        json!(lines),
        json!([
            ["session.created", "2026-01-01T00:00:00.000Z", null, null],
            ["session.updated", "2026-01-01T00:00:01.000Z", "+tag a:b, data", null],
            ["session.ended", "2026-01-01T00:00:02.000Z", "bye", "session_revoked"],
        ])
    );
    assert_eq!(
        items[0]["client"],
        json!({ "ip": "203.0.113.7", "user_agent": "own", "browser": null, "os": null, "device_type": "other", "display_name": "Unknown browser" })
    );
    assert_eq!((&items[0]["session_id"], &items[0]["user_id"]), (&json!(made.id), &json!("ada")));
    assert!(items[0]["by"].as_str().unwrap().starts_with("key_"));
    assert!(!answer.text().contains("secret") && !answer.text().contains("hst_"));
}

#[tokio::test]
async fn pages_of_history() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let path = format!("/v1/sessions/{}", made.id);
    for _ in 0..9 {
        world.patch(&path, json!({ "extend": true })).await.expect(200);
        world.login("noise").await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.get(&format!("{path}/events?limit=3{cursor}")).await.expect(200);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["id"].as_str().unwrap().parse::<u64>().unwrap()),
        );
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    for wrong in ["x", "-1", "1.5", "", "99999999999999999999"] {
        world.get(&format!("{path}/events?cursor={wrong}")).await.invalid("cursor");
    }
    for wrong in ["0", "201"] {
        world.get(&format!("{path}/events?limit={wrong}")).await.invalid("limit");
    }
    world.get("/v1/sessions/ses_0000000000000000000000/events").await.refused(404, "not_found");
    world.get("/v1/sessions/nonsense/events").await.refused(404, "not_found");
}

#[tokio::test]
async fn changes_that_a_rule_refused_are_told() {
    let world = World::new().await;
    let policy = json!({
        "default": { "ip_block": ["198.51.100.0/24"] },
        "tag": { "role:admin": { "max_sessions": 1, "on_limit": "reject" } },
    });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let ip = "203.0.113.7";
    world.create(json!({ "user_id": "ada", "ip": ip, "tags": ["role:admin"] })).await;
    let made = world.create(json!({ "user_id": "ada", "ip": ip })).await;
    let actor = json!({ "id": "grace", "reason": "ticket 4711" });
    let acting = world.create(json!({ "user_id": "ada", "ip": ip, "actor": actor })).await;
    let change = async |id: &str, body: Value| world.patch(&format!("/v1/sessions/{id}"), body).await;
    let other = json!({ "auth": {}, "ip": "198.51.100.9" });
    for _ in 0..3 {
        change(&made.id, other.clone()).await.refused(403, "ip_blocked");
    }
    let add = |tag: &str| json!({ "tags": { "add": [tag] } });
    change(&made.id, add("role:admin")).await.refused(409, "session_limit_reached");
    change(&made.id, add("org:acme")).await.refused(409, "tag_create_only");
    change(&acting.id, json!({ "auth": {}, "ip": ip })).await.refused(403, "impersonation_forbidden");
    // What was asked for wrongly is no refusal of a rule, and neither is what is not there.
    change(&made.id, add("Org")).await.refused(400, "tag_invalid");
    world.advance(Span::minutes(2));
    assert!(world.app.tidy().await.is_ok());
    let told = world.get("/v1/events?user_id=ada&type=session.refused").await.expect(200);
    let told = told["items"].as_array().unwrap();
    let short: Vec<Value> = told
        .iter()
        .map(|e| json!([e["session_id"], e["code"], e["rule"], e["origin"], e["evidence"], e["count"]]))
        .collect();
    let (none, id) = (Value::Null, &made.id);
    let blocked = json!({ "allowed": "all but 198.51.100.0/24", "seen": "198.51.100.9" });
    let limit = json!({ "allowed": 1, "seen": 2 });
    for wanted in [
        json!([id, "ip_blocked", "ip_block", "default", blocked, none]),
        json!([id, "ip_blocked", "ip_block", "default", blocked, 2]),
        json!([id, "session_limit_reached", "max_sessions", "tag role:admin", limit, none]),
        json!([id, "tag_create_only", "create_only_tags", "default", none, none]),
        json!([acting.id, "impersonation_forbidden", "impersonation", none, none, none]),
    ] {
        assert!(short.contains(&wanted), "{wanted}: {told:?}");
    }
    assert_eq!(short.len(), 5);
    let line = |code: &str| told.iter().find(|line| line["code"] == code).unwrap();
    assert_eq!(line("ip_blocked")["client"]["ip"], "198.51.100.9");
    assert_eq!(line("impersonation_forbidden")["actor"], actor);
    assert!(line("tag_create_only")["note"].as_str().unwrap().contains("org:acme"));
    assert!(line("ip_blocked")["by"].as_str().unwrap().starts_with("key_"));
}
