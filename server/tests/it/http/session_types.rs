//! Session types over the API: made, replaced, deleted; and what they ask of sessions: life, user, data.

use crate::world::{Answer, Options, World};
use handstamp_core::policy::session_type::TypeName;
use handstamp_core::time::Span;
use handstamp_server::schema::session_type::{SessionType, SessionTypes};
use handstamp_server::store::Store;
use handstamp_server::store::memory::Memory;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

async fn put(world: &World, name: &str, said: &Value) -> Answer {
    world.call(Method::PUT, &format!("/v1/session-types/{name}")).json(said).send().await
}

async fn patch(world: &World, id: &str, body: &Value) -> Answer {
    world.call(Method::PATCH, &format!("/v1/sessions/{id}")).json(body).send().await
}

fn pointers(problem: &Value) -> Vec<&str> {
    let mut all: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    all.sort_unstable();
    all
}

fn checkout() -> Value {
    json!({
        "expires_in": "1h", "selector": "$Session{user}{id}",
        "schema": { "user": { "id": "integer" }, "cart": "string[]?" },
    })
}

#[tokio::test]
async fn types_are_made_read_replaced_and_deleted() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/session-types").await.expect(200), json!({ "items": [], "next_cursor": null }));
    let made = put(&world, "checkout", &checkout()).await;
    let tag = made.header("etag").to_owned();
    let body = made.expect(200);
    assert!(body["by"].as_str().unwrap().starts_with("key_"));
    assert_eq!(
        body,
        json!({ "name": "checkout", "version": 1, "managed_by": "api", "at": "2026-01-01T00:00:00.000Z",
            "by": body["by"], "session_type": checkout() })
    );
    let read = world.get("/v1/session-types/checkout").await;
    assert_eq!((read.header("etag"), read.expect(200)), (&*tag, body.clone()));
    put(&world, "2fa", &json!({ "refresh_expires_in": "7d" })).await.expect(200);
    let listed = world.get("/v1/session-types").await.expect(200);
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["2fa", "checkout"]);
    assert_eq!(listed["items"][1], body);

    let with = async |method: Method, header, value: &str| {
        let call = world.call(method.clone(), "/v1/session-types/checkout").header(header, value);
        if method == Method::PUT {
            call.json(&json!({ "expires_in": "2h" })).send().await
        } else {
            call.send().await
        }
    };
    with(Method::PUT, "if-none-match", "*").await.refused(412, "session_type_changed");
    with(Method::PUT, "if-match", "\"1-00000000\"").await.refused(412, "session_type_changed");
    with(Method::DELETE, "if-match", "\"7\"").await.refused(412, "session_type_changed");
    for (header, bad) in
        [("if-match", "1"), ("if-match", "W/\"1\""), ("if-none-match", "\"1\""), ("if-match", "\"1\", \"2\"")]
    {
        let named = if header == "if-match" { "If-Match" } else { "If-None-Match" };
        with(Method::PUT, header, bad).await.invalid(named);
    }
    let second = with(Method::PUT, "if-match", &tag).await;
    assert_eq!(second.expect(200)["version"], 2);
    with(Method::PUT, "if-match", &tag).await.refused(412, "session_type_changed");
    let third = with(Method::PUT, "if-match", "*").await;
    with(Method::DELETE, "if-match", third.header("etag")).await.expect(200);
    world.get("/v1/session-types/checkout").await.refused(404, "not_found");
    with(Method::DELETE, "x-nothing", "").await.refused(404, "not_found");
    with(Method::PUT, "if-match", "*").await.refused(412, "session_type_changed");
    let history = world.get("/v1/events").await.expect(200).to_string();
    assert!(history.contains("session type checkout was deleted"), "{history}");
    // Made again, it is not the one that was seen before.
    world.advance(Span::secs(1));
    let again = put(&world, "checkout", &checkout()).await;
    assert_eq!(again.expect(200)["version"], 1);
    with(Method::PUT, "if-match", &tag).await.refused(412, "session_type_changed");
    with(Method::PUT, "if-none-match", "*").await.refused(412, "session_type_changed");
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_changes() {
    let world = World::new().await;
    let wrong = json!({
        "expires_in": "0s", "refresh_expires_in": 5, "selector": "userId",
        "schema": { "type": "object", "minimun": 3, "properties": { "a": { "pattern": "(" } } },
    });
    let said = put(&world, "checkout", &wrong).await.refused(400, "invalid_request");
    assert_eq!(
        pointers(&said),
        [
            "/expires_in",
            "/refresh_expires_in",
            "/schema/minimun",
            "/schema/properties/a/pattern",
            "/selector"
        ]
    );
    put(&world, "checkout", &json!({})).await.invalid("");
    put(&world, "checkout", &json!({ "schema": null })).await.invalid("");
    put(&world, "checkout", &json!({ "expires": "1h" })).await.invalid("/expires");
    for bad in ["a%20b", "a%2Fb", "-a", &"n".repeat(65), "%C3%84"] {
        put(&world, bad, &checkout()).await.invalid("name");
        world.get(&format!("/v1/session-types/{bad}")).await.refused(404, "not_found");
    }
    let raw = |body: &str| {
        let call =
            world.call(Method::PUT, "/v1/session-types/checkout").header("content-type", "application/json");
        call.body(body.to_owned()).send()
    };
    raw(r#"{"schema": {"a": "string", "a": "number"}}"#).await.invalid("/schema");
    raw(r#"{"schema": {"type": "number", "const": 1e999}}"#).await.invalid("/schema/const");
    raw(&format!(r#"{{"schema": {}"string"{}}}"#, "{\"a\":".repeat(60), "}".repeat(60)))
        .await
        .invalid("/schema");
    assert_eq!(world.get("/v1/session-types").await.expect(200)["items"], json!([]));
    for n in 0..100 {
        put(&world, &format!("t{n}"), &json!({ "expires_in": "1h" })).await.expect(200);
    }
    let said = put(&world, "t100", &json!({ "expires_in": "1h" })).await.invalid("");
    assert!(said["detail"].as_str().unwrap().contains("at most 100 session types"));
    put(&world, "t99", &json!({ "expires_in": "2h" })).await.expect(200);
}

#[tokio::test]
async fn a_type_shortens_the_life_of_live_sessions_from_the_next_request_on() {
    let world = World::new().await;
    let typed = |tag: &str| json!({ "user_id": "ada", "tags": [tag] });
    let (checkout, other) =
        (world.create(typed("type:checkout")).await, world.create(typed("type:other")).await);
    let shorter =
        world.create(json!({ "user_id": "ada", "tags": ["type:checkout"], "expires_in": 600 })).await;
    put(&world, "checkout", &json!({ "expires_in": "1h" })).await.expect(200);
    let read = world.get(&format!("/v1/sessions/{}", checkout.id)).await.expect(200);
    assert_eq!(read["absolute_expires_at"], "2026-01-01T01:00:00.000Z");
    let told =
        async |token: &str| world.post("/v1/sessions/validate", json!({ "token": token })).await.expect(200);
    world.advance(Span::minutes(10));
    assert_eq!(told(&shorter.token).await["detail"], "absolute 10m, allowed 10m by creation");
    assert_eq!(told(&checkout.token).await["valid"], true);
    world.advance(Span::minutes(50));
    let ended = world.get("/v1/sessions?state=ended").await.expect(200);
    assert_eq!(ended["items"].as_array().unwrap().len(), 2, "also what nobody has asked for since");
    let said = told(&checkout.token).await;
    assert_eq!(
        (&said["code"], &said["detail"]),
        (&json!("session_expired"), &json!("absolute 1h, allowed 1h by session_type checkout"))
    );
    assert_eq!(told(&other.token).await["valid"], true);
    // Loosened, or taken away, it stays ended, and history knows by which rule.
    put(&world, "checkout", &json!({ "expires_in": "9h" })).await.expect(200);
    world.delete("/v1/session-types/checkout").await.expect(200);
    assert_eq!(told(&checkout.token).await["code"], "session_expired");
    let events = world.get(&format!("/v1/sessions/{}/events", checkout.id)).await.expect(200);
    let ended = events["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&ended["type"], &ended["origin"]),
        (&json!("session.ended"), &json!("session_type checkout"))
    );
    // It never lengthens, and the cookie of a new session knows it too.
    put(&world, "long", &json!({ "expires_in": "300d" })).await.expect(200);
    let made = world.post("/v1/sessions", typed("type:long")).await.expect(201);
    assert_eq!(made["session"]["absolute_expires_at"], "2026-01-31T01:00:00.000Z");
    put(&world, "short", &json!({ "expires_in": "90s" })).await.expect(200);
    let made = world.post("/v1/sessions", typed("type:short")).await.expect(201);
    assert!(made["set_cookie"][0].as_str().unwrap().contains("Max-Age=90;"), "{made}");
}

#[tokio::test]
async fn the_user_is_found_in_the_data_when_nobody_names_it() {
    let world = World::new().await;
    put(&world, "checkout", &checkout()).await.expect(200);
    put(&world, "plain", &json!({ "expires_in": "1h" })).await.expect(200);
    put(&world, "free", &json!({ "selector": "$Session{userId}" })).await.expect(200);
    let create = async |body: Value| world.post("/v1/sessions", body).await;
    let found =
        create(json!({ "tags": ["type:checkout"], "data": { "user": { "id": 42 } } })).await.expect(201);
    assert_eq!(found["session"]["user_id"], "42");
    let named =
        create(json!({ "user_id": "ada", "tags": ["type:checkout"], "data": { "user": { "id": 42 } } }))
            .await;
    assert_eq!(named.expect(201)["session"]["user_id"], "ada");
    for (body, code, pointer) in [
        (json!({}), "invalid_request", "/user_id"),
        (json!({ "tags": ["type:plain"], "data": { "userId": "ada" } }), "invalid_request", "/user_id"),
        (json!({ "tags": ["type:unknown"], "data": { "userId": "ada" } }), "invalid_request", "/user_id"),
        (
            json!({ "user_id": null, "tags": ["type:free"], "data": { "userId": "ada" } }),
            "invalid_request",
            "/user_id",
        ),
        (json!({ "tags": ["type:free"] }), "data_invalid", "/data/userId"),
        (json!({ "tags": ["type:free"], "data": null }), "data_invalid", "/data/userId"),
        (json!({ "tags": ["type:free"], "data": { "userid": "ada" } }), "data_invalid", "/data/userId"),
        (json!({ "tags": ["type:free"], "data": { "userId": 1.5 } }), "data_invalid", "/data/userId"),
        (json!({ "tags": ["type:free"], "data": { "userId": ["ada"] } }), "data_invalid", "/data/userId"),
        (json!({ "tags": ["type:free"], "data": { "userId": "" } }), "data_invalid", "/data/userId"),
        (
            json!({ "tags": ["type:free"], "data": { "userId": "x".repeat(257) } }),
            "data_invalid",
            "/data/userId",
        ),
        // Schema and selector miss the same, which is one slip.
        (json!({ "tags": ["type:checkout"], "data": { "user": {} } }), "data_invalid", "/data/user/id"),
    ] {
        let problem = create(body.clone()).await.invalid_as(code, pointer);
        assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{body}: {problem}");
    }
    // The same request again is the same session, also when it names nobody.
    let again = async || {
        let body = json!({ "tags": ["type:free"], "data": { "userId": "eve" } });
        world
            .call(Method::POST, "/v1/sessions")
            .header("idempotency-key", "k")
            .json(&body)
            .send()
            .await
            .expect(201)
    };
    assert_eq!(again().await["token"], again().await["token"]);
    let found = world.get("/v1/sessions?user_id=eve").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn data_that_does_not_fit_is_refused_wherever_it_comes_from() {
    let world = World::new().await;
    put(&world, "checkout", &checkout()).await.expect(200);
    let bad = json!({ "cart": ["a", 5, null], "user": { "id": "s3nt" } });
    let create = async |data: &Value| {
        world.post("/v1/sessions", json!({ "user_id": "ada", "tags": ["type:checkout"], "data": data })).await
    };
    let said = create(&bad).await.refused(400, "data_invalid");
    assert_eq!(pointers(&said), ["/data/cart/1", "/data/cart/2", "/data/user/id"]);
    assert!(said["detail"].as_str().unwrap().starts_with("session type checkout: /data/"), "{said}");
    assert!(!said.to_string().contains("s3nt"));
    let without = json!({ "user_id": "ada", "tags": ["type:checkout"] });
    world.post("/v1/sessions", without).await.invalid_as("data_invalid", "/data");
    assert_eq!(world.get("/v1/sessions/count").await.expect(200)["count"], 0);

    let made = create(&json!({ "user": { "id": 1 } })).await.expect(201);
    let id = made["session"]["id"].as_str().unwrap();
    for (body, pointer) in [
        (json!({ "data": { "user": { "id": true } } }), "/data/user/id"),
        (json!({ "data": null }), "/data"),
        (json!({ "data_patch": { "user": { "id": null } } }), "/data_patch/user/id"),
        (json!({ "data_patch": { "cart": 5 } }), "/data_patch/cart"),
        (json!({ "data_patch": null }), "/data_patch"),
    ] {
        patch(&world, id, &body).await.invalid_as("data_invalid", pointer);
        let all = json!({ "filter": { "user_id": "ada" }, "update": body });
        world.post("/v1/sessions/update", all).await.invalid_as("data_invalid", &format!("/update{pointer}"));
    }
    let read = world.get(&format!("/v1/sessions/{id}")).await.expect(200);
    assert_eq!(read["data"], json!({ "user": { "id": 1 } }));
    patch(&world, id, &json!({ "data_patch": { "cart": ["a"] } })).await.expect(200);
    // Another schema asks nothing of what is there until it changes.
    put(&world, "checkout", &json!({ "schema": { "cart": "integer[]" } })).await.expect(200);
    patch(&world, id, &json!({ "extend": true, "tags": { "add": ["role:x"] } })).await.expect(200);
    patch(&world, id, &json!({ "data_patch": { "n": 1 } }))
        .await
        .invalid_as("data_invalid", "/data_patch/cart/0");
}

#[tokio::test]
async fn one_bad_session_of_many_changes_none() {
    let world = World::new().await;
    put(&world, "checkout", &json!({ "schema": { "cart": "string[]" } })).await.expect(200);
    for (n, tag) in ["type:other", "type:checkout", "role:x"].into_iter().enumerate() {
        world.create(json!({ "user_id": "ada", "tags": [tag], "data": { "cart": [], "n": n } })).await;
    }
    let all = |update: Value| {
        world.post("/v1/sessions/update", json!({ "filter": { "user_id": "ada" }, "update": update }))
    };
    all(json!({ "data_patch": { "cart": 1 } })).await.invalid_as("data_invalid", "/update/data_patch/cart");
    let listed = world.get("/v1/sessions?user_id=ada").await.expect(200);
    assert!(listed["items"].as_array().unwrap().iter().all(|s| s["data"]["cart"] == json!([])), "{listed}");
    assert_eq!(all(json!({ "data_patch": { "cart": ["a"] } })).await.expect(200)["updated"], 3);
}

#[tokio::test]
async fn a_session_is_of_one_type_and_fits_it_from_the_start() {
    let world = World::new().await;
    put(&world, "checkout", &json!({ "schema": { "cart": "string[]" } })).await.expect(200);
    let create = async |tags: Value| {
        world.post("/v1/sessions", json!({ "user_id": "ada", "tags": tags, "data": { "cart": [] } })).await
    };
    create(json!(["a:b", "type:checkout", "type:checkout"])).await.expect(201);
    create(json!(["type:a", "type:b"])).await.expect(201);
    create(json!(["type:a", "x:y", "type:checkout"])).await.invalid_as("tag_invalid", "/tags/2");
    create(json!(["type:checkout", "x:y", "type:a"])).await.invalid_as("tag_invalid", "/tags/2");

    let made = create(json!(["type:checkout"])).await.expect(201);
    let id = made["session"]["id"].as_str().unwrap();
    patch(&world, id, &json!({ "tags": { "add": ["x:y", "type:a"] } }))
        .await
        .invalid_as("tag_invalid", "/tags/add/1");
    patch(&world, id, &json!({ "tags": { "add": ["type:a"], "remove": ["type:checkout"] } }))
        .await
        .expect(200);
    patch(&world, id, &json!({ "tags": { "add": ["type:b"] }, "data": { "cart": 1 } })).await.expect(200);
    // To become of a type takes data that fits.
    let back = json!({ "tags": { "add": ["type:checkout"], "remove": ["type:a", "type:b"] } });
    patch(&world, id, &back).await.invalid_as("data_invalid", "/data/cart");
    let mut with_data = back;
    with_data["data"] = json!({ "cart": ["x"] });
    patch(&world, id, &with_data).await.expect(200);

    // Two tags that were there before there was a type do not lock their session.
    let two = create(json!(["type:a", "type:b"])).await.expect(201);
    let two = two["session"]["id"].as_str().unwrap();
    put(&world, "b", &json!({ "expires_in": "1h", "schema": { "n": "integer?" } })).await.expect(200);
    patch(&world, two, &json!({ "extend": true })).await.expect(200);
    patch(&world, two, &json!({ "data_patch": { "n": "x" } }))
        .await
        .invalid_as("data_invalid", "/data_patch/n");
    patch(&world, two, &json!({ "data_patch": { "n": 1 } })).await.expect(200);
    let read = world.get(&format!("/v1/sessions/{two}")).await.expect(200);
    assert_eq!(read["absolute_expires_at"], "2026-01-01T01:00:00.000Z");
    patch(&world, two, &json!({ "tags": { "remove": ["type:a"] } })).await.expect(200);
}

#[tokio::test]
async fn types_survive_a_restart_and_go_with_their_environment() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let options = || Options { store: store.clone(), ..Options::default() };
    let world = World::with(options()).await;
    put(&world, "checkout", &checkout()).await.expect(200);
    let before = put(&world, "checkout", &checkout()).await;
    let staging = world.make_environment("default", "stg").await;
    let theirs = |path: &str| world.call(Method::GET, path).key(&staging.token).send();
    assert_eq!(theirs("/v1/session-types").await.expect(200)["items"], json!([]));
    let put_there = world.call(Method::PUT, "/v1/session-types/only").key(&staging.token);
    put_there.json(&json!({ "expires_in": "1m" })).send().await.expect(200);
    world.get("/v1/session-types/only").await.refused(404, "not_found");

    let world = World::with(options()).await;
    let after = world.get("/v1/session-types/checkout").await;
    assert_eq!((after.header("etag"), after.expect(200)), (before.header("etag"), before.expect(200)));
    let create = json!({ "tags": ["type:checkout"], "data": { "user": { "id": "x" } } });
    world.post("/v1/sessions", create).await.invalid_as("data_invalid", "/data/user/id");
    let gone = world.call(Method::DELETE, "/v1/environments/default/stg").key(&world.operator);
    gone.send().await.expect(200);
    let world = World::with(options()).await;
    assert_eq!(world.get("/v1/session-types").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_file_decides_when_it_speaks() {
    let types = |said: Value| -> SessionTypes {
        let said = SessionType::read(said.as_object().unwrap()).ok().unwrap();
        [(TypeName::parse("checkout").unwrap(), Arc::new(said))].into()
    };
    let from_file = Some(types(json!({ "expires_in": "1h" })));
    let world = World::with(Options { types: from_file, ..Options::default() }).await;
    let read = world.get("/v1/session-types/checkout").await;
    assert_eq!(read.header("etag"), "");
    assert_eq!(
        read.expect(200),
        json!({ "name": "checkout", "version": 0, "managed_by": "file", "session_type": { "expires_in": "1h" } })
    );
    put(&world, "checkout", &checkout()).await.refused(409, "session_types_managed_by_file");
    world.delete("/v1/session-types/checkout").await.refused(409, "session_types_managed_by_file");
    let made = world.create(json!({ "user_id": "ada", "tags": ["type:checkout"] })).await;
    // A reload acts on what lives.
    world.app.set_file_types(Some(types(json!({ "expires_in": "10m" })))).await;
    world.advance(Span::minutes(10));
    assert_eq!(world.verdict(&made.token).await, "session_expired");
    world.app.set_file_types(None).await;
    assert_eq!(world.get("/v1/session-types").await.expect(200)["items"], json!([]));
    put(&world, "checkout", &checkout()).await.expect(200);
    // Policies are another section.
    world.call(Method::PUT, "/v1/policies").json(&json!({})).send().await.expect(200);
}

#[tokio::test]
async fn reading_and_writing_take_their_scopes() {
    let world = World::new().await;
    let reader = world.make_key(json!({ "name": "r", "scopes": ["sessions:read"] })).await;
    let writer = world.make_key(json!({ "name": "w", "scopes": ["policy:write"] })).await;
    let call = |method: Method, key: &str| world.call(method, "/v1/session-types/a").key(key);
    call(Method::PUT, &reader.token).json(&checkout()).send().await.refused(403, "insufficient_scope");
    call(Method::PUT, &writer.token).json(&checkout()).send().await.expect(200);
    call(Method::GET, &writer.token).send().await.refused(403, "insufficient_scope");
    call(Method::GET, &reader.token).send().await.expect(200);
    call(Method::DELETE, &reader.token).send().await.refused(403, "insufficient_scope");
    call(Method::DELETE, &writer.token).send().await.expect(200);
}
