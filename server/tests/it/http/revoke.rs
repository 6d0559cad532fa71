//! `POST /v1/sessions/revoke`: logout by token, by filter, whole tags, everybody; what is spared, and what is only asked.

use crate::world::{Made, World};
use handstamp_core::time::Span;
use serde_json::{Value, json};

async fn revoke(world: &World, body: Value) -> crate::world::Answer {
    world.post("/v1/sessions/revoke", body).await
}

async fn live(world: &World) -> u64 {
    world.get("/v1/sessions/count").await.expect(200)["count"].as_u64().unwrap()
}

#[tokio::test]
async fn by_token_it_is_a_logout() {
    let world = World::new().await;
    let (ada, other) = (world.login("ada").await, world.login("ada").await);
    let done = revoke(&world, json!({ "token": ada.token, "reason": "signed out" })).await.expect(200);
    assert_eq!(done, json!({ "ended": 1, "sessions": [ada.id] }));
    assert_eq!(
        (world.verdict(&ada.token).await, world.verdict(&other.token).await),
        ("session_revoked".into(), "valid".into())
    );
    let ended = world.get(&format!("/v1/sessions/{}", ada.id)).await.expect(200)["ended"].clone();
    assert_eq!((&ended["by"], &ended["reason"]), (&json!("client"), &json!("signed out")));
    for token in [&*ada.token, "", "nonsense", &world.key] {
        let none = json!({ "ended": 0, "sessions": [] });
        assert_eq!(revoke(&world, json!({ "token": token })).await.expect(200), none, "again, or nobody's");
    }
}

/// A missing variable becomes `null`. Taken for "left out", it would end more than was meant.
#[tokio::test]
async fn null_is_not_left_out() {
    let world = World::new().await;
    world.create(json!({ "user_id": "ada", "tags": ["team:y"] })).await;
    for field in ["token", "all", "user_id", "tags", "ip", "before", "after", "except"] {
        let mut body = json!({ "tags": ["team:y"], "user_id": "ada" });
        body[field] = Value::Null;
        revoke(&world, body).await.invalid(&format!("/{field}"));
    }
    assert_eq!(live(&world).await, 1);
}

#[tokio::test]
async fn filters_name_whom() {
    let world = World::new().await;
    let make = async |user: &str, tag: &str, ip: &str| {
        world.advance(Span::secs(1));
        world.create(json!({ "user_id": user, "tags": [tag], "ip": ip })).await
    };
    let all = [
        make("ada", "role:admin", "203.0.113.7").await,  // 00:00:01
        make("ada", "role:user", "203.0.113.99").await,  // 00:00:02
        make("bob", "role:user", "2001:db8::7").await,   // 00:00:03
        make("bob", "role:admin", "198.51.100.1").await, // 00:00:04
    ];
    let ids = |which: &[usize]| -> Vec<String> {
        let mut ids: Vec<String> = which.iter().map(|n| all[*n].id.clone()).collect();
        ids.sort();
        ids
    };
    for (filter, which) in [
        (json!({ "user_id": "ada" }), &[0, 1][..]),
        (json!({ "user_id": "ada", "tags": ["role:admin"] }), &[0]),
        (json!({ "ip": "203.0.113.7" }), &[0]),
        (json!({ "ip": "203.0.113.0/24" }), &[0, 1]),
        (json!({ "ip": "2001:db8::/32" }), &[2]),
        (json!({ "ip": "::ffff:198.51.100.1" }), &[3]),
        (json!({ "ip": "0.0.0.0/0" }), &[0, 1, 3]),
        (json!({ "before": "2026-01-01T00:00:03Z" }), &[0, 1]),
        (json!({ "after": "2026-01-01T00:00:03Z" }), &[2, 3]),
        (json!({ "after": "2026-01-01T00:00:02Z", "before": "2026-01-01T00:00:04Z" }), &[1, 2]),
        (json!({ "tags": ["role:user"], "ip": "203.0.113.0/24" }), &[1]),
        (json!({ "user_id": "ada", "tags": ["role:admin", "role:user"] }), &[]),
        (json!({ "user_id": "nobody" }), &[]),
    ] {
        let mut asked = filter.clone();
        asked["dry_run"] = json!(true);
        let would = revoke(&world, asked).await.expect(200);
        let mut found: Vec<String> = serde_json::from_value(would["sessions"].clone()).unwrap();
        found.sort();
        assert_eq!((found, &would["ended"]), (ids(which), &json!(which.len())), "{filter}");
        assert_eq!(would["dry_run"], true);
        assert_eq!(live(&world).await, 4, "{filter}: a dry run changes nothing");
    }
    let done = revoke(&world, json!({ "ip": "203.0.113.0/24" })).await.expect(200);
    assert_eq!((&done["ended"], done.get("dry_run")), (&json!(2), None));
    assert_eq!(live(&world).await, 2);
    assert_eq!(revoke(&world, json!({ "user_id": "bob" })).await.expect(200)["ended"], 2);
    assert_eq!(live(&world).await, 0);
}

#[tokio::test]
async fn sign_out_my_other_devices() {
    let world = World::new().await;
    let mut mine: Vec<Made> = Vec::new();
    for _ in 0..5 {
        mine.push(world.login("ada").await);
    }
    let here = mine.pop().unwrap();
    let would =
        revoke(&world, json!({ "user_id": "ada", "except": here.token, "dry_run": true })).await.expect(200);
    assert_eq!(would["ended"], 4);
    let done = revoke(&world, json!({ "user_id": "ada", "except": here.token })).await.expect(200);
    assert_eq!(done["ended"], 4);
    assert_eq!(world.verdict(&here.token).await, "valid");
    for gone in &mine {
        assert_eq!(world.verdict(&gone.token).await, "session_revoked");
    }
    let again = revoke(&world, json!({ "user_id": "ada", "except": here.id })).await.expect(200);
    assert_eq!(again["ended"], 0);
}

#[tokio::test]
async fn who_is_to_be_kept_must_be_among_them() {
    let world = World::new().await;
    let (ada, bob, dead) = (world.login("ada").await, world.login("bob").await, world.login("ada").await);
    world.delete(&format!("/v1/sessions/{}", dead.id)).await.expect(200);
    let tagged = world.create(json!({ "user_id": "ada", "tags": ["a:b"] })).await;
    let unknown = "ses_0000000000000000000000".to_owned();
    for (target, excepts) in [
        (json!({ "user_id": "ada" }), vec![&dead.id, &dead.token, &bob.id, &bob.token, &unknown]),
        (json!({ "user_id": "ada", "tags": ["a:b"] }), vec![&ada.id]),
        (json!({ "tags": ["a:b"] }), vec![&ada.token]),
        (json!({ "before": "2025-01-01T00:00:00Z" }), vec![&ada.id]),
        (json!({ "all": true }), vec![&dead.token, &world.key]),
        (json!({ "token": ada.token }), vec![&bob.id, &ada.id]),
    ] {
        for except in excepts {
            for dry_run in [false, true] {
                let mut body = target.clone();
                body["except"] = json!(except);
                body["dry_run"] = json!(dry_run);
                revoke(&world, body).await.refused(409, "except_invalid");
            }
        }
    }
    assert_eq!(live(&world).await, 3, "nothing has ended");
    revoke(&world, json!({ "tags": ["a:b"], "except": tagged.id })).await.expect(202);
    assert_eq!(world.verdict(&tagged.token).await, "valid");
}

#[tokio::test]
async fn a_whole_tag_is_refused_at_once() {
    let world = World::new().await;
    let admin = world.create(json!({ "user_id": "ada", "tags": ["role:admin", "org:acme"] })).await;
    let user = world.create(json!({ "user_id": "bob", "tags": ["role:user", "org:acme"] })).await;
    assert_eq!(world.verdict(&admin.token).await, "valid");
    let would = revoke(&world, json!({ "tags": ["role:admin"], "dry_run": true })).await.expect(200);
    assert_eq!(would, json!({ "ended": null, "estimate": 1, "dry_run": true }));
    assert_eq!(world.verdict(&admin.token).await, "valid");
    let body = json!({ "tags": ["role:admin", "org:acme"], "reason": "new roles" });
    assert_eq!(revoke(&world, body).await.expect(202), json!({ "ended": null, "estimate": 1 }));
    assert_eq!(world.verdict(&admin.token).await, "session_revoked");
    assert_eq!(world.verdict(&user.token).await, "valid", "it carries only one of them");
    assert_eq!(live(&world).await, 1);
    let late = world.create(json!({ "user_id": "ada", "tags": ["role:admin", "org:acme"] })).await;
    assert_eq!(world.verdict(&late.token).await, "valid", "made afterwards");
    assert!(world.app.tidy().await.is_ok());
    let session = world.get(&format!("/v1/sessions/{}", admin.id)).await.expect(200);
    assert_eq!(session["ended"]["reason"], "new roles");
    assert_eq!(world.verdict(&late.token).await, "valid");
}

#[tokio::test]
async fn everybody() {
    let world = World::new().await;
    let (keep, gone) = (world.login("ada").await, world.login("bob").await);
    let body = json!({ "all": true, "except": keep.token });
    assert_eq!(revoke(&world, body).await.expect(202), json!({ "ended": null, "estimate": 1 }));
    assert_eq!(
        (world.verdict(&keep.token).await, world.verdict(&gone.token).await),
        ("valid".into(), "session_revoked".into())
    );
    revoke(&world, json!({ "all": true })).await.expect(202);
    assert_eq!(world.verdict(&keep.token).await, "session_revoked");
    assert_eq!(live(&world).await, 0);
}

#[tokio::test]
async fn whom_must_be_said_once() {
    let world = World::new().await;
    let made = world.login("ada").await;
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "all": false }), ""),
        (json!({ "reason": "x", "dry_run": true }), ""),
        (json!({ "all": true, "user_id": "ada" }), ""),
        (json!({ "token": made.token, "user_id": "ada" }), ""),
        (json!({ "token": made.token, "all": true }), ""),
        (json!({ "tags": [] }), "/tags"),
        (json!({ "user_id": "" }), "/user_id"),
        (json!({ "ip": "203.0.113.0/33" }), "/ip"),
        (json!({ "ip": "203.0.113.0/+1" }), "/ip"),
        (json!({ "before": "yesterday" }), "/before"),
        (json!({ "after": "2026-13-01T00:00:00Z" }), "/after"),
        (json!({ "user_id": "ada", "reason": "x".repeat(501) }), "/reason"),
        (json!({ "user_id": "ada", "reason": "a\u{7}b" }), "/reason"),
        (json!({ "user_id": "ada", "dry_run": "yes" }), "/dry_run"),
        (json!({ "user": "ada" }), "/user"),
    ] {
        revoke(&world, body).await.invalid(pointer);
    }
    revoke(&world, json!({ "tags": ["x"] })).await.invalid_as("tag_invalid", "/tags/0");
    assert_eq!(world.verdict(&made.token).await, "valid");
}

#[tokio::test]
async fn many_of_one_user_and_only_a_hundred_named() {
    let world = World::roomy().await;
    for _ in 0..120 {
        world.login("ada").await;
    }
    let bob = world.login("bob").await;
    let done = revoke(&world, json!({ "user_id": "ada" })).await.expect(200);
    assert_eq!((&done["ended"], done["sessions"].as_array().unwrap().len()), (&json!(120), 100));
    assert_eq!((live(&world).await, world.verdict(&bob.token).await), (1, "valid".to_owned()));
}
