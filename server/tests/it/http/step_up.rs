//! How surely it is the user: what was said of an authentication, what a request demands, another authentication; and
//! somebody in the user's place.

use crate::world::{Made, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn look(world: &World, token: &str, more: Value) -> Value {
    let mut ask = json!({ "token": token, "touch": false });
    ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post("/v1/sessions/validate", ask).await.expect(200)
}

async fn again(world: &World, made: &Made, auth: Value) -> Value {
    world.patch(&format!("/v1/sessions/{}", made.id), json!({ "auth": auth })).await.expect(200)
}

#[tokio::test]
async fn what_was_said_of_an_authentication_is_told() {
    let world = World::new().await;
    let auth = json!({ "methods": ["password", "otp"], "level": 2, "at": "2025-12-31T23:50:00Z" });
    let made = world.create(json!({ "user_id": "ada", "auth": auth })).await;
    let told = json!({ "methods": ["password", "otp"], "level": 2, "at": "2025-12-31T23:50:00.000Z" });
    let valid = look(&world, &made.token, json!({})).await;
    assert_eq!((&valid["session"]["auth"], &valid["session"]["actor"]), (&told, &Value::Null));
    assert_eq!(valid["session"]["authenticated_at"], "2025-12-31T23:50:00.000Z");
    // From the login on, wherever the session was made.
    assert_eq!(valid["session"]["absolute_expires_at"], "2026-01-30T23:50:00.000Z");
    let silent = world.login("bob").await;
    assert_eq!(look(&world, &silent.token, json!({})).await["session"]["auth"], Value::Null);
    for (auth, pointer) in [
        (json!({ "level": 0 }), "/auth/level"),
        (json!({ "level": 4 }), "/auth/level"),
        (json!({ "methods": ["Password"] }), "/auth/methods/0"),
        (json!({ "methods": ["a", "b", "c", "d", "e", "f", "g", "h", "i"] }), "/auth/methods"),
        (json!({ "at": "yesterday" }), "/auth/at"),
        (json!({ "at": "2026-01-01T00:01:00.001Z" }), "/auth/at"),
        (json!({ "at": "2025-12-01T00:00:00Z" }), "/auth/at"),
        (json!({ "amr": [] }), "/auth"),
    ] {
        let answer = world.post("/v1/sessions", json!({ "user_id": "ada", "auth": auth })).await;
        let said = answer.refused(400, "invalid_request");
        assert!(said["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{said}");
    }
    // The clock of another machine may be a minute ahead.
    let ahead = json!({ "user_id": "eve", "auth": { "at": "2026-01-01T00:01:00Z" } });
    let made = world.create(ahead).await;
    let session = look(&world, &made.token, json!({})).await["session"].clone();
    assert_eq!(session["authenticated_at"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn both_sides_of_what_a_request_demands() {
    let world = World::new().await;
    let made =
        world.create(json!({ "user_id": "ada", "auth": { "methods": ["password"], "level": 2 } })).await;
    world.advance(Span::minutes(5));
    for (demand, missing) in [
        (json!({ "max_auth_age": 300 }), None),
        (json!({ "max_auth_age": 299 }), Some(("max_auth_age", 299, 300))),
        (json!({ "max_auth_age": 0 }), Some(("max_auth_age", 0, 300))),
        (json!({ "min_level": 2 }), None),
        (json!({ "min_level": 3 }), Some(("min_level", 3, 2))),
        // Of both, the level: another password would not help.
        (json!({ "min_level": 3, "max_auth_age": 0 }), Some(("min_level", 3, 2))),
    ] {
        let told = look(&world, &made.token, demand.clone()).await;
        let Some((rule, allowed, seen)) = missing else {
            assert_eq!(told["valid"], true, "{demand}: {told}");
            continue;
        };
        assert_eq!((&told["code"], &told["status"]), (&json!("reauthentication_required"), &json!(403)));
        assert_eq!(told["evidence"], json!({ "allowed": allowed, "seen": seen }), "{demand}");
        assert!(told["detail"].as_str().unwrap().starts_with(rule), "{told}");
        let challenge = told["www_authenticate"].as_str().unwrap();
        assert!(challenge.starts_with("Bearer error=\"insufficient_user_authentication\""), "{challenge}");
        assert_eq!(challenge.contains("acr_values=\"3\""), demand["min_level"] == 3);
        assert_eq!(challenge.contains("max_age="), demand["max_auth_age"].is_u64());
    }
    // What nobody said anything about is the weakest.
    let silent = world.login("bob").await;
    assert_eq!(
        look(&world, &silent.token, json!({ "min_level": 1, "max_auth_age": 0 })).await["valid"],
        true
    );
    assert_eq!(look(&world, &silent.token, json!({ "min_level": 2 })).await["valid"], false);
    for (bad, pointer) in [(json!(0), "/min_level"), (json!(4), "/min_level"), (json!(-1), "/min_level")] {
        let answer = world.post("/v1/sessions/validate", json!({ "token": "x", "min_level": bad })).await;
        answer.invalid(pointer);
    }
    world
        .post("/v1/sessions/validate", json!({ "token": "x", "max_auth_age": 316_224_001 }))
        .await
        .invalid("/max_auth_age");
}

#[tokio::test]
async fn another_authentication_restarts_both_times_and_rotates() {
    let world = World::new().await;
    let made = world.create(json!({ "user_id": "ada", "auth": { "methods": ["password"] } })).await;
    world.advance(Span::hours(20));
    let stepped = again(&world, &made, json!({ "methods": ["passkey"], "level": 3 })).await;
    let token = stepped["token"].as_str().unwrap().to_owned();
    assert!(stepped["set_cookie"][0].as_str().unwrap().contains(&token));
    assert_eq!(stepped["session"]["auth"]["level"], 3);
    assert_eq!(stepped["session"]["authenticated_at"], "2026-01-01T20:00:00.000Z");
    assert_eq!(stepped["session"]["idle_expires_at"], "2026-01-02T20:00:00.000Z");
    assert_eq!(stepped["session"]["absolute_expires_at"], "2026-01-31T20:00:00.000Z");
    // The old token is late, gets no successor and is not the elevated session.
    let old = look(&world, &made.token, json!({ "rotate": "auto" })).await;
    assert_eq!((&old["code"], &old["valid"]), (&json!("token_superseded"), &json!(false)));
    assert_eq!(look(&world, &token, json!({ "min_level": 3, "max_auth_age": 0 })).await["valid"], true);
    world.advance(Span::secs(61));
    assert_eq!(world.verdict(&made.token).await, "token_reused");
    assert_eq!(world.verdict(&token).await, "token_reused");

    let made = world.create(json!({ "user_id": "bob", "auth": { "level": 2 } })).await;
    let at = format!("/v1/sessions/{}", made.id);
    world.advance(Span::minutes(1));
    for (body, pointer) in [
        (json!({ "auth": { "at": "2025-12-31T00:00:00Z" } }), "/auth/at"),
        (json!({ "ip": "203.0.113.7" }), "/ip"),
        (json!({ "extend": true, "user_agent": "x" }), "/user_agent"),
    ] {
        world.patch(&at, body).await.invalid(pointer);
    }
    // With other changes in one call; a level that is not said is the weakest.
    let both = json!({ "auth": { "methods": ["otp"] }, "tags": { "add": ["role:admin"] } });
    let changed = world.patch(&at, both).await.expect(200);
    assert_eq!(
        (&changed["session"]["auth"]["level"], &changed["session"]["tags"]),
        (&json!(1), &json!(["role:admin"]))
    );
    let events = world.get(&format!("{at}/events")).await.expect(200);
    let kinds: Vec<_> = events["items"].as_array().unwrap().iter().map(|e| e["type"].clone()).collect();
    assert_eq!(kinds, ["session.created", "session.updated", "session.rotated_by_auth"]);
    assert_eq!(events["items"][2]["note"], "otp, level 1");
    let many = json!({ "filter": { "user_id": "bob" }, "update": { "auth": {} } });
    world.post("/v1/sessions/update", many).await.invalid("/update/auth");
    world.delete(&at).await.expect(200);
    world.patch(&at, json!({ "auth": {} })).await.refused(409, "session_ended");
}

#[tokio::test]
async fn somebody_in_the_users_place_is_seen_everywhere_and_goes_soon() {
    let world = World::new().await;
    let user = world.login("ada").await;
    let actor = json!({ "id": "grace", "reason": "ticket 4711" });
    let made = world.create(json!({ "user_id": "ada", "actor": actor, "tags": ["role:admin"] })).await;
    let told = look(&world, &made.token, json!({})).await["session"].clone();
    assert_eq!(told["actor"], actor);
    assert_eq!(told["tags"], json!(["kind:impersonation", "role:admin"]));
    assert_eq!(told["absolute_expires_at"], "2026-01-01T01:00:00.000Z");
    let at = format!("/v1/sessions/{}", made.id);
    assert_eq!(world.get(&at).await.expect(200)["actor"], actor);
    let found = world.get("/v1/sessions?tag=kind:impersonation").await.expect(200);
    assert_eq!(found["items"][0]["actor"], actor);

    world.patch(&at, json!({ "auth": { "level": 3 } })).await.refused(403, "impersonation_forbidden");
    let off = json!({ "tags": { "remove": ["kind:impersonation"] } });
    world.patch(&at, off).await.refused(409, "tag_create_only");
    for except in [&made.token, &made.id] {
        let others = json!({ "user_id": "ada", "except": except });
        world.post("/v1/sessions/revoke", others).await.refused(403, "impersonation_forbidden");
    }
    world.post("/v1/devices", json!({ "token": made.token, "device": { "proof": "a.b.c" }, "method": "POST", "url": "https://a.example/" }))
        .await
        .refused(403, "impersonation_forbidden");
    assert_eq!(world.verdict(&user.token).await, "valid");
    world.patch(&at, json!({ "tags": { "add": ["x:y"] } })).await.expect(200);
    world.advance(Span::hours(1));
    assert_eq!(world.verdict(&made.token).await, "session_expired");
    world.delete(&format!("/v1/sessions/{}", user.id)).await.expect(200);
    let events = world.get("/v1/events?user_id=ada").await.expect(200);
    let of = |id: &str| -> Vec<Value> {
        let all = events["items"].as_array().unwrap().iter();
        all.filter(|e| e["session_id"] == id).map(|e| e["actor"].clone()).collect()
    };
    assert!(of(&made.id).len() >= 2 && of(&made.id).iter().all(|named| *named == actor), "{events}");
    assert!(of(&user.id).iter().all(Value::is_null));

    for (actor, pointer) in [
        (json!({ "id": "grace", "reason": " " }), "/actor/reason"),
        (json!({ "id": "grace", "reason": "x".repeat(501) }), "/actor/reason"),
        (json!({ "id": "", "reason": "x" }), "/actor/id"),
    ] {
        world.post("/v1/sessions", json!({ "user_id": "ada", "actor": actor })).await.invalid(pointer);
    }
}

#[tokio::test]
async fn a_policy_says_how_long_somebody_acts_in_anothers_place() {
    let world = World::new().await;
    let policy =
        json!({ "tag": { "kind:impersonation": { "absolute_timeout": "2h", "idle_timeout": "10m" } } });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let actor = json!({ "id": "grace", "reason": "ticket 4711" });
    let made = world.create(json!({ "user_id": "ada", "actor": actor })).await;
    let told = look(&world, &made.token, json!({})).await["session"].clone();
    assert_eq!(told["absolute_expires_at"], "2026-01-01T02:00:00.000Z");
    world.advance(Span::minutes(10));
    let told = look(&world, &made.token, json!({})).await;
    assert_eq!(told["detail"], "idle 10m, allowed 10m by tag kind:impersonation");
}

#[tokio::test]
async fn what_stood_when_somebody_began_to_act_does_not_get_longer() {
    let world = World::new().await;
    let put = async |policy: Value| {
        world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    };
    let of_acting = |absolute: &str| json!({ "absolute_timeout": absolute });
    let both = json!({ "kind:impersonation": of_acting("5h"), "role:admin": of_acting("2h") });
    let create = async |tags: Value| {
        let actor = json!({ "id": "grace", "reason": "ticket 4711" });
        world.create(json!({ "user_id": "ada", "tags": tags, "actor": actor })).await
    };
    let ends = async |token: &str| {
        let told = look(&world, token, json!({})).await["session"].clone();
        told["absolute_expires_at"].as_str().unwrap().to_owned()
    };
    put(json!({ "tag": { "kind:impersonation": of_acting("5h") } })).await;
    let alone = create(json!([])).await;
    assert_eq!(ends(&alone.token).await, "2026-01-01T05:00:00.000Z");
    // The section speaks, though another tag of the session is stricter.
    put(json!({ "tag": both })).await;
    let admin = create(json!(["role:admin"])).await;
    assert_eq!(ends(&admin.token).await, "2026-01-01T02:00:00.000Z");
    // Without the section nobody is in somebody's place for as long as everybody else may stay.
    put(json!({})).await;
    assert_eq!(ends(&alone.token).await, "2026-01-01T05:00:00.000Z");
    assert_eq!(ends(&admin.token).await, "2026-01-01T02:00:00.000Z");
    put(json!({ "tag": { "kind:impersonation": of_acting("3h") } })).await;
    assert_eq!(ends(&alone.token).await, "2026-01-01T03:00:00.000Z");
}

#[tokio::test]
async fn nobody_goes_for_somebody_in_the_users_place() {
    let world = World::new().await;
    let policy = json!({ "default": { "max_sessions": 1 }, "tag": { "org:a": { "seats": 1 } } });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let user = world.create(json!({ "user_id": "ada", "tags": ["org:a"] })).await;
    let actor = json!({ "id": "grace", "reason": "ticket 4711" });
    let body = json!({ "user_id": "ada", "tags": ["org:a"], "actor": actor });
    let acting = world.post("/v1/sessions", body).await.expect(201);
    assert_eq!(acting["evicted"], json!([]));
    assert_eq!(world.verdict(&user.token).await, "valid");
    // And whoever acts takes no room, and does not go for the user either.
    let again = world.post("/v1/sessions", json!({ "user_id": "ada", "tags": ["org:a"] })).await.expect(201);
    assert_eq!(again["evicted"], json!([user.id]));
    assert_eq!(world.verdict(acting["token"].as_str().unwrap()).await, "valid");
    // A rule about every kind of session does not say how long this one lasts.
    let long = json!({ "tag": { "kind:*": { "absolute_timeout": "365d" } } });
    world.call(Method::PUT, "/v1/policies").json(&long).send().await.expect(200);
    let body = json!({ "user_id": "ada", "actor": { "id": "grace", "reason": "x" } });
    let told = world.post("/v1/sessions", body).await.expect(201);
    assert_eq!(told["session"]["absolute_expires_at"], "2026-01-01T01:00:00.000Z");
}
