//! `GET /v1/sessions/{id}/events`: what happened, in order, without a credential.

use crate::world::World;
use handstamp_core::time::Span;
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
