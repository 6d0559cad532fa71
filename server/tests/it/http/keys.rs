//! `/v1/keys`: made, listed, suspended, rotated with overlap, revoked; and who may do that to whom.

use crate::world::{Answer, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn use_of(world: &World, key: &str) -> Answer {
    world.call(Method::GET, "/v1/sessions").key(key).send().await
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_listed_without_its_text() {
    let world = World::new().await;
    let body = json!({ "name": " web servers ", "scopes": ["sessions:read"], "expires_in": 60 });
    let made = world.post("/v1/keys", body).await.expect(201);
    let (id, secret) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(id.starts_with("key_") && secret.starts_with("hsk_"));
    assert_eq!(
        made["key"],
        json!({
            "id": id, "name": "web servers", "kind": "access", "scopes": ["sessions:read"], "product": "default",
            "environment": "prd", "created_at": "2026-01-01T00:00:00.000Z", "expires_at": "2026-01-01T00:01:00.000Z",
            "last_used_at": null, "state": "active", "rate_limit": null
        })
    );
    world.advance(Span::secs(30));
    use_of(&world, secret).await.expect(200);
    let read = world.get(&format!("/v1/keys/{id}")).await;
    assert_eq!(read.expect(200)["last_used_at"], "2026-01-01T00:00:30.000Z");
    let list = world.get("/v1/keys").await;
    assert_eq!(list.expect(200)["items"].as_array().unwrap().len(), 2);
    assert!(!read.text().contains("hsk_") && !list.text().contains("hsk_"));
}

#[tokio::test]
async fn a_key_ends_at_its_instant() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "k", "expires_in": 60 })).await;
    world.advance(Span(Span::secs(60).0 - 1));
    use_of(&world, &key.token).await.expect(200);
    world.advance(Span(1));
    use_of(&world, &key.token).await.refused(401, "access_key_expired");
    assert_eq!(world.get(&format!("/v1/keys/{}", key.id)).await.expect(200)["state"], "expired");
}

#[tokio::test]
async fn suspended_resumed_revoked() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "k" })).await;
    let path = format!("/v1/keys/{}", key.id);
    assert_eq!(world.patch(&path, json!({ "state": "suspended" })).await.expect(200)["state"], "suspended");
    use_of(&world, &key.token).await.refused(401, "access_key_suspended");
    assert_eq!(world.patch(&path, json!({ "state": "active" })).await.expect(200)["state"], "active");
    use_of(&world, &key.token).await.expect(200);
    let body = json!({ "name": "narrow", "scopes": ["events:read"] });
    assert_eq!(world.patch(&path, body).await.expect(200)["scopes"], json!(["events:read"]));
    use_of(&world, &key.token).await.refused(403, "insufficient_scope");
    assert_eq!(world.delete(&path).await.expect(200), json!({ "revoked": 1 }));
    use_of(&world, &key.token).await.refused(401, "access_key_invalid");
    world.delete(&path).await.refused(404, "not_found");
    world.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn rotated_with_overlap_both_keys_work_until_its_end() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "k", "scopes": ["sessions:read"] })).await;
    let path = format!("/v1/keys/{}", key.id);
    let next = world.post(&format!("{path}/rotate"), json!({ "overlap": 60 })).await.expect(201);
    assert_eq!((&next["key"]["name"], &next["key"]["scopes"]), (&json!("k"), &json!(["sessions:read"])));
    let secret = next["secret"].as_str().unwrap();
    let old = world.get(&path).await.expect(200);
    assert_eq!(
        (&old["replaced_by"], &old["expires_at"]),
        (&next["key"]["id"], &json!("2026-01-01T00:01:00.000Z"))
    );
    world.advance(Span(Span::secs(60).0 - 1));
    use_of(&world, &key.token).await.expect(200);
    use_of(&world, secret).await.expect(200);
    world.advance(Span(1));
    use_of(&world, &key.token).await.refused(401, "access_key_expired");
    use_of(&world, secret).await.expect(200);
    let again = world.post(&format!("{path}/rotate"), json!({})).await.refused(409, "already_exists");
    assert!(again["detail"].as_str().unwrap().contains(next["key"]["id"].as_str().unwrap()));
}

#[tokio::test]
async fn the_bounds_of_the_overlap() {
    let world = World::new().await;
    let rotate = async |overlap: Value| {
        let key = world.make_key(json!({ "name": "k", "expires_in": 3600 })).await;
        let body = if overlap.is_null() { json!({}) } else { json!({ "overlap": overlap }) };
        let answer = world.post(&format!("/v1/keys/{}/rotate", key.id), body).await;
        (key, answer)
    };
    let (old, next) = rotate(json!(0)).await;
    next.expect(201);
    use_of(&world, &old.token).await.refused(401, "access_key_expired");
    let (old, next) = rotate(Value::Null).await;
    assert_eq!(next.expect(201)["key"]["expires_at"], "2026-01-01T01:00:00.000Z", "a life of its own");
    let shown = world.get(&format!("/v1/keys/{}", old.id)).await.expect(200);
    assert_eq!(shown["expires_at"], "2026-01-01T01:00:00.000Z", "an overlap never lengthens");
    rotate(json!(316_224_000)).await.1.expect(201);
    rotate(json!(316_224_001)).await.1.invalid("/overlap");
    rotate(json!(-1)).await.1.invalid("/overlap");
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let world = World::new().await;
    let narrow = world.make_key(json!({ "name": "narrow", "scopes": ["keys:write", "sessions:read"] })).await;
    let broad = world.make_key(json!({ "name": "broad" })).await;
    let call = |method: Method, path: &str, body: Value| {
        world.call(method, path).key(&narrow.token).json(&body).send()
    };
    let more = json!({ "name": "more", "scopes": ["sessions:read", "sessions:write"] });
    call(Method::POST, "/v1/keys", more).await.refused(403, "insufficient_scope");
    let rest = call(Method::POST, "/v1/keys", json!({ "name": "the same" })).await.expect(201);
    assert_eq!(rest["key"]["scopes"], json!(["sessions:read", "keys:write"]), "left out: what it has itself");
    let operator = json!({ "name": "boss", "operator": true });
    call(Method::POST, "/v1/keys", operator).await.refused(403, "insufficient_scope");
    let own = format!("/v1/keys/{}", narrow.id);
    call(Method::PATCH, &own, json!({ "scopes": ["sessions:write"] }))
        .await
        .refused(403, "insufficient_scope");
    let other = format!("/v1/keys/{}", broad.id);
    call(Method::POST, &format!("{other}/rotate"), json!({})).await.refused(403, "insufficient_scope");
    use_of(&world, &broad.token).await.expect(200);
}

#[tokio::test]
async fn a_key_cannot_revoke_itself_and_the_master_key_cannot_be_changed() {
    let world = World::new().await;
    let list = world.get("/v1/keys").await.expect(200)["items"].clone();
    let own = format!("/v1/keys/{}", list[0]["id"].as_str().unwrap());
    world.delete(&own).await.refused(409, "reserved");
    use_of(&world, &world.key).await.expect(200);
    let all = world.call(Method::GET, "/v1/keys").key(&world.operator).send().await.expect(200);
    assert!(all["items"].as_array().unwrap().iter().all(|key| key["name"] != "master key"), "{all}");
}

#[tokio::test]
async fn names_scopes_and_lives_are_checked() {
    let world = World::new().await;
    for (body, pointer) in [
        (json!({}), "/name"),
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "  " }), "/name"),
        (json!({ "name": "n".repeat(101) }), "/name"),
        (json!({ "name": "a\u{1b}b" }), "/name"),
        (json!({ "name": "k", "scopes": [] }), "/scopes"),
        (json!({ "name": "k", "scopes": ["sessions:read", "all"] }), "/scopes/1"),
        (json!({ "name": "k", "scopes": "sessions:read" }), "/scopes"),
        (json!({ "name": "k", "expires_in": 0 }), "/expires_in"),
        (json!({ "name": "k", "expires_in": 316_224_001 }), "/expires_in"),
        (json!({ "name": "k", "kind": "public" }), "/kind"),
    ] {
        world.post("/v1/keys", body).await.invalid(pointer);
    }
    for body in [
        json!({ "name": "n".repeat(100) }),
        json!({ "name": "k", "expires_in": 1 }),
        json!({ "name": "k", "expires_in": 316_224_000 }),
    ] {
        world.post("/v1/keys", body).await.expect(201);
    }
    let key = world.make_key(json!({ "name": "k" })).await;
    let path = format!("/v1/keys/{}", key.id);
    for (body, pointer) in [
        (json!({ "state": "gone" }), "/state"),
        (json!({ "scopes": [] }), "/scopes"),
        (json!({ "name": "" }), "/name"),
    ] {
        world.patch(&path, body).await.invalid(pointer);
    }
    world.patch(&path, json!({})).await.invalid("");
}

#[tokio::test]
async fn an_operators_key_is_nobodys_home() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "boss", "operator": true })).await;
    let call = world.call(Method::GET, &format!("/v1/keys/{}", key.id)).key(&world.operator);
    let shown = call.send().await.expect(200);
    assert_eq!((&shown["product"], &shown["environment"]), (&Value::Null, &Value::Null));
    world.get(&format!("/v1/keys/{}", key.id)).await.refused(404, "not_found");
    use_of(&world, &key.token).await.expect(200);
}

/// An operator who names an environment asks for its keys; who names none, for all.
#[tokio::test]
async fn an_operator_lists_the_keys_of_an_environment() {
    let world = World::new().await;
    world.make_environment("shop", "dev").await;
    let operator = world.make_key(json!({ "name": "op", "operator": true })).await;
    let names = async |env: Option<&str>| {
        let mut call = world.call(Method::GET, "/v1/keys").key(&operator.token);
        if let Some(env) = env {
            call = call.header("x-handstamp-env", env);
        }
        let answer = call.send().await.expect(200);
        answer["items"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect::<Vec<_>>()
    };
    let (all, of_shop) = (names(None).await, names(Some("shop/dev")).await);
    assert_eq!(of_shop.len(), 1);
    assert!(all.len() > 2 && all.contains(&of_shop[0]) && all.contains(&json!(operator.id)));
}
