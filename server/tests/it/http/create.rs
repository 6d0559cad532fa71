//! `POST /v1/sessions`

use crate::world::World;
use handstamp_core::time::Span;
use serde_json::{Value, json};

#[tokio::test]
async fn everything_that_can_be_said_of_a_session() {
    let world = World::new().await;
    let answer = world
        .post(
            "/v1/sessions",
            json!({
                "user_id": " Ünï|code@example.org ", "tags": ["role:admin", "org:acme:eu", "role:admin"],
                "data": { "theme": "dark", "n": 1.50 }, "access_groups": ["editors", "a:b c", "editors"],
                "expires_in": 3600, "ip": "::ffff:203.0.113.7", "user_agent": "Mozilla/5.0 (X11)"
            }),
        )
        .await;
    let body = answer.expect(201);
    let id = body["session"]["id"].as_str().unwrap();
    assert!(id.starts_with("ses_") && id.len() == 26, "{id}");
    let token = body["token"].as_str().unwrap();
    assert!(token.starts_with("hst_"), "{token}");
    assert_eq!(
        body["session"],
        json!({
            "id": id, "user_id": " Ünï|code@example.org ", "tags": ["org:acme:eu", "role:admin"],
            "data": { "theme": "dark", "n": 1.50 }, "access_groups": ["a:b c", "editors"], "state": "live",
            "created_at": "2026-01-01T00:00:00.000Z", "authenticated_at": "2026-01-01T00:00:00.000Z",
            "last_active_at": "2026-01-01T00:00:00.000Z", "expires_at": "2026-01-01T01:00:00.000Z",
            "absolute_expires_at": "2026-01-01T01:00:00.000Z", "idle_expires_at": "2026-01-02T00:00:00.000Z",
            "auth": null, "actor": null,
            "client": { "ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11)", "browser": null, "os": null, "device_type": "other", "display_name": "Unknown browser" }, "generation": 0
        })
    );
    let cookie = format!("__Host-handstamp={token}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
    assert_eq!((body["set_cookie"].as_array().unwrap().len(), &body["set_cookie"][0]), (2, &json!(cookie)));
    let csrf = body["set_cookie"][1].as_str().unwrap();
    assert!(
        csrf.starts_with("XSRF-TOKEN=c1.") && csrf.ends_with("; Path=/; Max-Age=3600; SameSite=Lax; Secure"),
        "{csrf}"
    );
    assert_eq!(body["evicted"], json!([]));
    assert_eq!(body.as_object().unwrap().len(), 4);
    assert!(answer.text().contains("\"n\":1.5") && !answer.text().contains("hsk_"));
}

#[tokio::test]
async fn the_least_that_can_be_said() {
    let world = World::new().await;
    let session =
        world.post("/v1/sessions", json!({ "user_id": "ada" })).await.expect(201)["session"].clone();
    assert_eq!(session["tags"], json!([]));
    assert_eq!(session["data"], Value::Null);
    assert_eq!(
        session["client"],
        json!({ "ip": null, "user_agent": null, "browser": null, "os": null, "device_type": null, "display_name": null })
    );
    assert_eq!(session["expires_at"], "2026-01-02T00:00:00.000Z");
    assert_eq!(session["absolute_expires_at"], "2026-01-31T00:00:00.000Z");
}

#[tokio::test]
async fn both_sides_of_each_bound() {
    let world = World::new().await;
    let with = async |name: &str, value: Value| {
        let mut body = json!({ "user_id": "ada" });
        body[name] = value;
        world.post("/v1/sessions", body).await
    };
    with("user_id", json!("u".repeat(256))).await.expect(201);
    with("user_id", json!("u".repeat(257))).await.invalid("/user_id");
    with("user_id", json!("")).await.invalid("/user_id");
    let tags = |n: usize| json!((0..n).map(|n| format!("t{n}:v")).collect::<Vec<_>>());
    with("tags", tags(32)).await.expect(201);
    with("tags", tags(33)).await.invalid("/tags");
    let groups = |n: usize| json!((0..n).map(|n| format!("g{n}")).collect::<Vec<_>>());
    with("access_groups", groups(64)).await.expect(201);
    with("access_groups", groups(65)).await.invalid("/access_groups");
    with("access_groups", json!(["ok", ""])).await.invalid("/access_groups/1");
    // The text with its quotes is what counts.
    with("data", json!("d".repeat(16 * 1024 - 2))).await.expect(201);
    with("data", json!("d".repeat(16 * 1024 - 1))).await.invalid("/data");
    with("expires_in", json!(0)).await.invalid("/expires_in");
    let short = with("expires_in", json!(1)).await.expect(201);
    assert_eq!(short["session"]["expires_at"], "2026-01-01T00:00:01.000Z");
    let long = with("expires_in", json!(316_224_000)).await.expect(201);
    assert_eq!(long["session"]["absolute_expires_at"], "2026-01-31T00:00:00.000Z", "never lengthens");
    with("expires_in", json!(316_224_001)).await.invalid("/expires_in");
    with("expires_in", json!(u64::MAX)).await.invalid("/expires_in");
}

#[tokio::test]
async fn tags_are_tags() {
    let world = World::new().await;
    for tag in ["", "role", ":v", "role:", "Role:x", "1a:b", "a b:c", "a:b,c", "a:b\n", "a:*"] {
        let body = json!({ "user_id": "ada", "tags": ["ok:1", tag] });
        world.post("/v1/sessions", body).await.invalid_as("tag_invalid", "/tags/1");
    }
}

#[tokio::test]
async fn addresses_and_agents() {
    let world = World::new().await;
    for ip in [
        "",
        "localhost",
        "203.0.113.7:80",
        "203.0.113",
        "010.0.0.1",
        "2001:db8::g",
        "fe80::1%eth0",
        "203.0.113.0/24",
    ] {
        world.post("/v1/sessions", json!({ "user_id": "ada", "ip": ip })).await.invalid("/ip");
    }
    let agent = async |text: &str| {
        let made =
            world.post("/v1/sessions", json!({ "user_id": "ada", "user_agent": text })).await.expect(201);
        made["session"]["client"]["user_agent"].clone()
    };
    assert_eq!(agent("").await, Value::Null);
    assert_eq!(agent(&"a".repeat(600)).await, json!("a".repeat(512)));
    assert_eq!(
        agent(&format!("{}ä", "a".repeat(511))).await,
        json!("a".repeat(511)),
        "never half a character"
    );
}

#[tokio::test]
async fn tokens_and_ids_are_never_twice() {
    let world = World::new().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let made = world.login("ada").await;
        assert!(seen.insert(made.id) && seen.insert(made.token));
    }
    world.advance(Span(1));
    let later = world.login("ada").await.id;
    assert!(seen.iter().filter(|text| text.starts_with("ses_")).all(|id| *id < later), "ids sort by time");
}
