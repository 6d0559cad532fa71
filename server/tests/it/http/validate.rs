//! `POST /v1/sessions/validate`

use crate::world::World;
use handstamp_core::time::Span;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use serde_json::{Value, json};

#[tokio::test]
async fn a_good_token_gives_its_session() {
    let world = World::new().await;
    let made = world
        .create(json!({ "user_id": "ada", "tags": ["role:admin"], "data": { "a": [1, null] }, "access_groups": ["g"] }))
        .await;
    world.advance(Span::minutes(5));
    let body = json!({ "token": made.token, "ip": "203.0.113.7", "user_agent": "curl/8" });
    let answer = world.post("/v1/sessions/validate", body).await.expect(200);
    assert_eq!(answer["valid"], true);
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    let session = &answer["session"];
    assert_eq!(session["id"], made.id);
    assert_eq!(session["data"], json!({ "a": [1, null] }));
    assert_eq!(session["last_active_at"], "2026-01-01T00:05:00.000Z");
    assert_eq!(session["idle_expires_at"], "2026-01-02T00:05:00.000Z");
    assert_eq!(session["created_at"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_bad_token_is_a_verdict_and_not_bad_input() {
    let world = World::new().await;
    let access = Parts::new(Kind::AccessKey, [3; 16], [4; 32]).text().reveal().to_owned();
    for (body, code) in [
        (json!({}), "token_missing"),
        (json!({ "token": null }), "token_missing"),
        (json!({ "token": "" }), "token_missing"),
        (json!({ "token": "nonsense" }), "token_malformed"),
        (json!({ "token": "hst_" }), "token_malformed"),
        (json!({ "token": "hst_\u{0}ä" }), "token_malformed"),
        (json!({ "token": "x".repeat(60_000) }), "token_malformed"),
        (json!({ "token": access }), "token_wrong_kind"),
    ] {
        let answer = world.post("/v1/sessions/validate", body).await.expect(200);
        assert_eq!((&answer["valid"], &answer["code"]), (&json!(false), &json!(code)), "{answer}");
        assert_eq!(answer["status"], 401);
        assert_eq!(answer["evidence"], Value::Null);
        assert!(answer["detail"].as_str().unwrap().len() > 10);
        assert!(answer.get("session").is_none() && answer.get("session_id").is_none(), "{answer}");
    }
}

#[tokio::test]
async fn every_bit_of_a_token_counts() {
    let world = World::new().await;
    let made = world.login("ada").await;
    for at in 0..made.token.len() {
        let mut bytes = made.token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        let code = world.verdict(std::str::from_utf8(&bytes).unwrap()).await;
        assert!(matches!(code.as_str(), "token_malformed" | "token_wrong_kind"), "{at}: {code}");
    }
    assert_eq!(world.verdict(&made.token).await, "valid");
    for changed in [format!("{} ", made.token), format!(" {}", made.token), made.token.to_lowercase()] {
        assert_eq!(world.verdict(&changed).await, "token_malformed");
    }
}

#[tokio::test]
async fn what_is_required_must_be_there() {
    let world = World::new().await;
    let body =
        json!({ "user_id": "ada", "tags": ["role:user", "org:acme"], "access_groups": ["editors", "staff"] });
    let made = world.create(body).await;
    let ask = async |name: &str, value: Value| {
        let mut body = json!({ "token": made.token });
        body[name] = value;
        world.post("/v1/sessions/validate", body).await
    };
    for (name, value) in [
        ("required_tags", json!([])),
        ("required_tags", json!(["org:acme", "role:user"])),
        ("required_access_groups", json!(["staff"])),
    ] {
        assert_eq!(ask(name, value).await.expect(200)["valid"], true);
    }
    let refused = ask("required_tags", json!(["role:user", "role:admin"])).await.expect(200);
    assert_eq!(
        refused,
        json!({
            "valid": false, "code": "tag_missing", "status": 403, "session_id": made.id,
            "detail": "required_tags requires role:admin, the session has org:acme, role:user",
            "evidence": { "allowed": ["role:admin"], "seen": ["org:acme", "role:user"] }
        })
    );
    let refused = ask("required_access_groups", json!(["admins"])).await.expect(200);
    assert_eq!((&refused["code"], &refused["status"]), (&json!("access_group_missing"), &json!(403)));
    ask("required_tags", json!(["role:*"])).await.invalid_as("tag_invalid", "/required_tags/0");
    ask("required_tags", json!((0..33).map(|n| format!("t:{n}")).collect::<Vec<_>>()))
        .await
        .invalid("/required_tags");
    ask("required_access_groups", json!([""])).await.invalid("/required_access_groups/0");
    ask("ip", json!("nowhere")).await.invalid("/ip");
    ask("consistency", json!("eventual")).await.invalid("/consistency");
    assert_eq!(world.verdict(&made.token).await, "valid", "a refused request ends nothing");
}

#[tokio::test]
async fn a_look_without_touch_is_no_activity() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let look = async || {
        world.post("/v1/sessions/validate", json!({ "token": made.token, "touch": false })).await.expect(200)
    };
    world.advance(Span::hours(23));
    assert_eq!(look().await["session"]["last_active_at"], "2026-01-01T00:00:00.000Z");
    world.advance(Span::hours(1));
    assert_eq!(look().await["code"], "session_idle");
}

#[tokio::test]
async fn a_revoked_session_is_refused_by_memory_and_store_alike() {
    let world = World::new().await;
    let made = world.login("ada").await;
    assert_eq!(world.verdict(&made.token).await, "valid");
    world.delete(&format!("/v1/sessions/{}?reason=lost%20phone", made.id)).await.expect(200);
    for consistency in ["cached", "strong"] {
        let body = json!({ "token": made.token, "consistency": consistency });
        let answer = world.post("/v1/sessions/validate", body).await.expect(200);
        assert_eq!((&answer["code"], &answer["session_id"]), (&json!("session_revoked"), &json!(made.id)));
        assert!(answer.get("session").is_none());
    }
}

#[tokio::test]
async fn a_genuine_token_of_a_forgotten_session_is_not_found() {
    let world = World::new().await;
    let made = world.login("ada").await;
    world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    world.advance(Span::days(31));
    assert!(world.app.tidy().await.is_ok());
    assert_eq!(world.verdict(&made.token).await, "session_not_found");
    world.get(&format!("/v1/sessions/{}", made.id)).await.refused(404, "not_found");
}
