//! Sessions change and end: what the server did with each command, as the management API tells it.

use super::{fails, good, login, run, text};
use crate::world::World;
use http::Method;
use serde_json::{Value, json};

async fn policy(world: &World, policy: Value) {
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
}

async fn session(world: &World, id: &str) -> Value {
    world.get(&format!("/v1/sessions/{id}")).await.expect(200)
}

#[tokio::test]
async fn changes() {
    let world = World::new().await;
    policy(&world, json!({ "default": { "create_only_tags": ["org"], "max_sessions": 5_000 } })).await;
    let made = login(
        &world,
        json!({ "userId": "ada", "tags": ["org:acme", "a:b"], "metadata": { "x": 1, "y": 2 } }),
    )
    .await;
    let id = made.id.as_str();
    let ask = json!({ "sessionId": id, "tagsToAdd": ["mfa:yes"], "tagsToRemove": ["a:b"], "patchMetadata": { "x": null, "z": 3 } });
    assert_eq!(good(&world, "UpdateSession", ask).await, json!({}));
    let ours = session(&world, id).await;
    assert_eq!((&ours["tags"], &ours["data"]), (&json!(["mfa:yes", "org:acme"]), &json!({ "y": 2, "z": 3 })));
    good(&world, "UpdateSession", json!({ "sessionId": id, "newMetadata": [1] })).await;
    assert_eq!(session(&world, id).await["data"], json!([1]));
    let both = json!({ "sessionId": id, "newMetadata": 1, "patchMetadata": 2 });
    assert!(
        fails(&world, "UpdateSession", both, 400, "ConflictingMetadataOptions")
            .await
            .get("details")
            .is_none()
    );
    let body = fails(
        &world,
        "UpdateSession",
        json!({ "sessionId": id, "tagsToAdd": ["no tag"] }),
        400,
        "InvalidTagFormat",
    )
    .await;
    assert_eq!(body["details"], json!({ "InvalidTagFormat": "no tag" }));
    fails(
        &world,
        "UpdateSession",
        json!({ "sessionId": "ses_0000000000000000000000" }),
        404,
        "SessionNotFound",
    )
    .await;
    // Places are those of this protocol.
    let tags: Vec<String> = (0..31).map(|n| format!("t:{n}")).collect();
    let long = "x".repeat(16 * 1_024 - 10);
    for (member, value, place) in [
        ("tagsToAdd", json!(tags), "/data/tagsToAdd: "),
        ("patchMetadata", json!({ "y": long, "z": "1234" }), "/data/patchMetadata: "),
    ] {
        if member == "patchMetadata" {
            good(&world, "UpdateSession", json!({ "sessionId": id, "newMetadata": { "x": "0123456789" } }))
                .await;
        }
        let mut ask = json!({ "sessionId": id });
        ask[member] = value;
        let body = fails(&world, "UpdateSession", ask, 400, "UnexpectedError").await;
        assert!(text(&body).starts_with(&format!("invalid_request: {place}")), "{body}");
    }
    // Nothing to change is no change.
    let before = world.get(&format!("/v1/sessions/{id}/events")).await.expect(200);
    good(&world, "UpdateSession", json!({ "sessionId": id })).await;
    assert_eq!(world.get(&format!("/v1/sessions/{id}/events")).await.expect(200), before);

    login(&world, json!({ "userId": "ada" })).await;
    login(&world, json!({ "userId": "bob" })).await;
    let many = |filter: Value| json!({ "filter": filter, "tagsToAdd": ["seen:yes"] });
    assert_eq!(
        good(&world, "UpdateSessions", many(json!({ "userId": "ada" }))).await,
        json!({ "updatedCount": 2 })
    );
    assert_eq!(
        good(&world, "UpdateSessions", many(json!({ "sessionTags": ["org:acme"] }))).await,
        json!({ "updatedCount": 1 })
    );
    assert_eq!(
        good(&world, "UpdateSessions", many(json!({ "userId": "nobody" }))).await,
        json!({ "updatedCount": 0 })
    );
    for none in [json!({}), json!({ "userId": null, "sessionTags": [] })] {
        let body = fails(&world, "UpdateSessions", many(none), 400, "UnexpectedError").await;
        assert!(text(&body).starts_with("invalid_request: /data/filter: "), "{body}");
    }
    fails(
        &world,
        "UpdateSessions",
        json!({ "filter": { "userId": "ada" }, "newMetadata": 1, "patchMetadata": 2 }),
        400,
        "ConflictingMetadataOptions",
    )
    .await;
    let body = fails(
        &world,
        "UpdateSessions",
        json!({ "filter": { "userId": "ada" }, "tagsToRemove": ["x"] }),
        400,
        "InvalidTagFormat",
    )
    .await;
    assert_eq!(body["details"], json!({ "InvalidTagFormat": "x" }));
    good(&world, "InvalidateSessionById", json!({ "sessionId": id })).await;
    fails(&world, "UpdateSession", json!({ "sessionId": id }), 404, "SessionNotFound").await;
}

#[tokio::test]
async fn all_names_of_tags_that_stay_are_told() {
    let world = World::new().await;
    let rules = json!({ "create_only_tags": ["org", "plan"] });
    policy(&world, json!({ "default": rules, "tag": { "role:admin": { "create_only_tags": ["seat"] } } }))
        .await;
    let made = login(&world, json!({ "userId": "ada", "tags": ["org:acme", "role:admin"] })).await;
    login(&world, json!({ "userId": "ada", "tags": ["plan:free"] })).await;
    let before = session(&world, &made.id).await;
    let one = json!({
        "sessionId": made.id, "tagsToAdd": ["plan:paid", "org:b", "mfa:yes"], "tagsToRemove": ["org:acme", "role:admin"]
    });
    let many = json!({ "filter": { "userId": "ada" }, "tagsToAdd": ["mfa:yes"], "tagsToRemove": ["plan:free", "org:acme"] });
    for (command, ask, names) in [
        ("UpdateSession", one, json!(["org", "plan", "role"])),
        ("UpdateSessions", many, json!(["org", "plan"])),
    ] {
        let body = fails(&world, command, ask, 409, "CannotModifyOnCreateOnlyTags").await;
        assert_eq!(body["details"], json!({ "tag_names": names }));
    }
    assert_eq!(session(&world, &made.id).await, before);
}

#[tokio::test]
async fn more_than_a_thousand_at_once_are_too_many() {
    let world = World::roomy().await;
    let mut logins = Vec::new();
    for n in 0..1_001 {
        logins.push(login(&world, json!({ "userId": format!("u{n}"), "tags": ["all:yes"] })).await);
    }
    let all = json!({ "filter": { "sessionTags": ["all:yes"] }, "tagsToAdd": ["seen:yes"] });
    let body = fails(&world, "UpdateSessions", all.clone(), 409, "UpdatingTooManySessionsAtOnce").await;
    assert!(body.get("details").is_none());
    assert_eq!(world.get("/v1/sessions/count?tag=seen:yes").await.expect(200)["count"], 0);
    good(&world, "InvalidateSessionById", json!({ "sessionId": logins[0].id })).await;
    assert_eq!(good(&world, "UpdateSessions", all).await, json!({ "updatedCount": 1_000 }));
}

#[tokio::test]
async fn ends() {
    let world = World::roomy().await;
    let new = |user: &str, tags: Value| login(&world, json!({ "userId": user, "tags": tags }));
    let made = new("ada", json!([])).await;
    // A logout cannot fail: not without a token, not with one that is none, not twice.
    for ask in [
        json!({}),
        json!({ "sessionToken": null }),
        json!({ "sessionToken": "abc" }),
        json!({ "sessionToken": made.token }),
        json!({ "sessionToken": made.token }),
    ] {
        assert_eq!(good(&world, "InvalidateSessionByToken", ask).await, json!({}));
    }
    assert_eq!(session(&world, &made.id).await["ended"]["code"], "session_revoked");

    let made = new("ada", json!([])).await;
    let by_id = |user: Value| json!({ "sessionId": made.id, "userId": user });
    fails(&world, "InvalidateSessionById", by_id(json!("bob")), 404, "SessionNotFound").await;
    assert_eq!(world.verdict(&made.token).await, "valid");
    for _ in 0..2 {
        assert_eq!(good(&world, "InvalidateSessionById", by_id(json!("ada"))).await, json!({}));
    }
    assert_eq!(world.verdict(&made.token).await, "session_revoked");
    for id in ["ses_0000000000000000000000", "nonsense"] {
        fails(&world, "InvalidateSessionById", json!({ "sessionId": id }), 404, "SessionNotFound").await;
    }

    let (phone, web, other) = (
        new("ada", json!(["on:phone"])).await,
        new("ada", json!(["on:web"])).await,
        new("bob", json!(["on:web"])).await,
    );
    let all = |user: &str, tags: Value| json!({ "userId": user, "sessionTags": tags });
    let count = |n: u32| json!({ "sessionsInvalidated": n });
    assert_eq!(good(&world, "InvalidateAllSessionsForUser", all("ada", json!(["on:phone"]))).await, count(1));
    assert_eq!(
        (world.verdict(&phone.token).await.as_str(), world.verdict(&web.token).await.as_str()),
        ("session_revoked", "valid")
    );
    assert_eq!(good(&world, "InvalidateAllSessionsForUser", all("ada", json!([]))).await, count(1));
    assert_eq!(good(&world, "InvalidateAllSessionsForUser", all("ada", Value::Null)).await, count(0));
    assert_eq!(world.verdict(&other.token).await, "valid");

    let kept = new("ada", json!([])).await;
    let (second, third) = (new("ada", json!([])).await, new("ada", json!([])).await);
    let but = |token: &str| json!({ "userId": "ada", "sessionTokenToKeep": token });
    for token in ["abc", "", other.token.as_str(), web.token.as_str()] {
        let body =
            fails(&world, "InvalidateAllSessionsForUserExceptOne", but(token), 409, "UnexpectedError").await;
        assert!(text(&body).starts_with("except_invalid: "), "{body}");
    }
    assert_eq!(good(&world, "InvalidateAllSessionsForUserExceptOne", but(&kept.token)).await, count(2));
    for (token, code) in [
        (&kept.token, "valid"),
        (&second.token, "session_revoked"),
        (&third.token, "session_revoked"),
        (&other.token, "valid"),
    ] {
        assert_eq!(world.verdict(token).await, code);
    }
    // The one that is kept need not be of the kind that ends.
    let web = new("ada", json!(["on:web"])).await;
    let ask = json!({ "userId": "ada", "sessionTokenToKeep": kept.token, "sessionTags": ["on:web"] });
    assert_eq!(good(&world, "InvalidateAllSessionsForUserExceptOne", ask).await, count(1));
    assert_eq!(
        (world.verdict(&kept.token).await.as_str(), world.verdict(&web.token).await.as_str()),
        ("valid", "session_revoked")
    );
    let answer = run(&world, "InvalidateAllSessionsForUser", json!({})).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}
