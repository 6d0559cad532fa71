//! Policies over the API: read, replaced as a whole, their versions, an earlier one again; and that they act at once.

use crate::world::{Answer, Options, World};
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use handstamp_server::store::Store;
use handstamp_server::store::memory::Memory;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

async fn replace(world: &World, policy: &Value) -> Answer {
    world.call(Method::PUT, "/v1/policies").json(policy).send().await
}

async fn rolled_back(world: &World, to: u64) -> Answer {
    world.post("/v1/policies/rollback", json!({ "version": to })).await
}

#[tokio::test]
async fn a_policy_acts_on_live_sessions_from_the_next_request_on() {
    let world = World::new().await;
    let plain = world.login("ada").await;
    let admin = world.create(json!({ "user_id": "ada", "tags": ["role:admin"] })).await;
    world.advance(Span::minutes(15));
    let look = |token: &str| json!({ "token": token, "touch": false });
    assert_eq!(world.post("/v1/sessions/validate", look(&admin.token)).await.expect(200)["valid"], true);

    let policy =
        json!({ "default": { "idle_timeout": "1h" }, "tag": { "role:*": { "idle_timeout": "15m" } } });
    let answer = replace(&world, &policy).await;
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.expect(200), json!({ "version": 1, "managed_by": "api", "policy": policy }));
    assert_eq!(world.get("/v1/policies").await.expect(200)["policy"], policy);

    let told = world.post("/v1/sessions/validate", look(&admin.token)).await.expect(200);
    assert_eq!(
        (&told["code"], &told["detail"]),
        (&json!("session_idle"), &json!("idle 15m, allowed 15m by tag role:*"))
    );
    assert_eq!(world.verdict(&plain.token).await, "valid");
    // Loosened again, it stays ended.
    replace(&world, &json!({})).await.expect(200);
    assert_eq!(world.verdict(&admin.token).await, "session_idle");
    let events = world.get(&format!("/v1/sessions/{}/events", admin.id)).await.expect(200);
    let ended = events["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&ended["rule"], &ended["origin"]), (&json!("idle"), &json!("tag role:*")));
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_is_replaced() {
    let world = World::new().await;
    let wrong = json!({
        "default": { "idle_timout": "1h", "absolute_timeout": 5, "rotation_grace": "25h", "seats": 3 },
        "tag": {
            "role:admin": { "preset": "aal3", "absolute_timeout": "12h1s", "idle_timeout": "15m" },
            "role:adm*": { "idle_timeout": "1h" },
            "org:a/b": {},
        },
    });
    let said = replace(&world, &wrong).await.refused(400, "invalid_request");
    let mut pointers: Vec<&str> =
        said["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/default/absolute_timeout",
            "/default/idle_timout",
            "/default/rotation_grace",
            "/default/seats",
            "/tag/org:a~1b",
            "/tag/role:adm*",
            "/tag/role:admin/absolute_timeout",
        ]
    );
    let at = |pointer: &str| {
        let errors = said["errors"].as_array().unwrap();
        errors.iter().find(|e| e["pointer"] == pointer).unwrap()["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        at("/tag/role:admin/absolute_timeout"),
        "12h1s is above preset aal3 of tag role:admin: at most 12h"
    );
    assert!(at("/default/idle_timout").contains("unknown key"));
    assert!(at("/default/absolute_timeout").contains("is a number: write a text such as"));
    assert_eq!(world.get("/v1/policies").await.expect(200)["version"], 0);
    for (body, pointer) in [
        (r#"{"default": {}, "default": {}}"#, ""),
        (r#"{"default": {"idle_timeout": "1h", "idle_timeout": "2h"}}"#, "/default"),
        (r#"{"tag": {"a:b": {"idle_timeout": "1h"}, "a:b": {"idle_timeout": "2h"}}}"#, "/tag"),
        (r#"{"tags": {}}"#, ""),
        (r#"{"default": 5}"#, "/default"),
        ("[]", ""),
    ] {
        let answer = world.call(Method::PUT, "/v1/policies").header("content-type", "application/json");
        let said = answer.body(body.to_owned()).send().await.refused(400, "invalid_request");
        let first = said["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(first.starts_with(pointer), "{body}: {said}");
    }
}

#[tokio::test]
async fn nobody_overwrites_what_they_have_not_seen() {
    let world = World::new().await;
    let put = async |tag: &str, idle: &str| {
        let body = json!({ "default": { "idle_timeout": idle } });
        world.call(Method::PUT, "/v1/policies").header("if-match", tag).json(&body).send().await
    };
    put("\"0\"", "1h").await.expect(200);
    let said = put("\"0\"", "2h").await.refused(412, "policy_changed");
    assert!(said["detail"].as_str().unwrap().contains("version 1 is in force"), "{said}");
    put("\"1\"", "2h").await.expect(200);
    put("*", "3h").await.expect(200);
    for bad in ["1", "\"x\"", "W/\"1\"", "\"1\", \"2\""] {
        put(bad, "4h").await.invalid("If-Match");
    }
    // Of many who saw the same version, one wins.
    let racers = (0..20).map(|n| put("\"3\"", ["5h", "6h"][n % 2]));
    let answers = futures_util::future::join_all(racers).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    assert_eq!(world.get("/v1/policies").await.header("etag"), "\"4\"");
}

#[tokio::test]
async fn versions_are_kept_and_can_be_taken_up_again_also_after_a_restart() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let options = |store: &Arc<dyn Store>| Options { store: store.clone(), ..Options::default() };
    let world = World::with(options(&store)).await;
    for minutes in 1..=5 {
        let idle = format!("{minutes}m");
        replace(
            &world,
            &json!({ "tag": { "org:acme": { "idle_timeout": idle, "create_only_tags": ["org"] } } }),
        )
        .await
        .expect(200);
    }
    let world = World::with(options(&store)).await;
    let page = world.get("/v1/policies/versions?limit=2").await.expect(200);
    let numbers = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|v| v["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&page), [5, 4]);
    let next = page["next_cursor"].as_str().unwrap().to_owned();
    let page = world.get(&format!("/v1/policies/versions?limit=200&cursor={next}")).await.expect(200);
    assert_eq!((numbers(&page), &page["next_cursor"]), (vec![3, 2, 1], &Value::Null));
    let second = world.get("/v1/policies/versions/2").await.expect(200);
    assert_eq!(second["policy"]["tag"]["org:acme"]["idle_timeout"], "2m");
    assert!(second["by"].as_str().unwrap().starts_with("key_"));
    world.get("/v1/policies/versions/6").await.refused(404, "not_found");
    world.get("/v1/policies/versions/x").await.refused(404, "not_found");

    let back = rolled_back(&world, 2).await.expect(200);
    assert_eq!((&back["version"], &back["policy"]), (&json!(6), &second["policy"]));
    assert_eq!(world.get("/v1/policies/versions/6").await.expect(200)["restored"], 2);
    rolled_back(&world, 7).await.refused(404, "not_found");
    let acme = world.create(json!({ "user_id": "ada", "tags": ["org:acme"] })).await;
    world.advance(Span::minutes(2));
    assert_eq!(world.verdict(&acme.token).await, "session_idle");
}

#[tokio::test]
async fn each_environment_has_its_own() {
    let world = World::new().await;
    let staging = world.make_environment("default", "stg").await;
    let mine = world.login("ada").await;
    replace(&world, &json!({ "default": { "idle_timeout": "1m" } })).await.expect(200);
    let theirs = world.call(Method::GET, "/v1/policies").key(&staging.token).send().await.expect(200);
    assert_eq!((&theirs["version"], &theirs["policy"]["default"]), (&json!(0), &json!({})));
    world.advance(Span::minutes(1));
    assert_eq!(world.verdict(&mine.token).await, "session_idle");
}

#[tokio::test]
async fn the_file_decides_when_it_speaks() {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(15)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    let read = world.get("/v1/policies").await.expect(200);
    assert_eq!(
        (&read["managed_by"], &read["policy"]["default"]),
        (&json!("file"), &json!({ "idle_timeout": "15m" }))
    );
    replace(&world, &json!({})).await.refused(409, "policy_managed_by_file");
    // Once the file says nothing any more, what was stored is in force.
    world.app.set_file_policy(None).await;
    replace(&world, &json!({ "default": { "idle_timeout": "5m" } })).await.expect(200);
    let file = Policy::from(Rules { idle_timeout: Some(Span::hours(9)), ..Rules::default() });
    world.app.set_file_policy(Some(file)).await;
    let made = world.login("ada").await;
    world.advance(Span::minutes(5));
    let look = json!({ "token": made.token, "touch": false });
    assert_eq!(world.post("/v1/sessions/validate", look.clone()).await.expect(200)["valid"], true);
    world.app.set_file_policy(None).await;
    assert_eq!(world.post("/v1/sessions/validate", look).await.expect(200)["code"], "session_idle");
}

#[tokio::test]
async fn reading_and_writing_take_their_scopes() {
    let world = World::new().await;
    let reader = world.make_key(json!({ "name": "r", "scopes": ["sessions:read"] })).await;
    let writer = world.make_key(json!({ "name": "w", "scopes": ["policy:write"] })).await;
    let put = |key: &str| world.call(Method::PUT, "/v1/policies").key(key).json(&json!({})).send();
    world.call(Method::GET, "/v1/policies").key(&reader.token).send().await.expect(200);
    put(&reader.token).await.refused(403, "insufficient_scope");
    put(&writer.token).await.expect(200);
    world
        .call(Method::GET, "/v1/policies")
        .key(&writer.token)
        .send()
        .await
        .refused(403, "insufficient_scope");
}

#[tokio::test]
async fn create_only_tags_are_fixed_for_one_and_for_many() {
    let world = World::new().await;
    let made = world.create(json!({ "user_id": "ada", "tags": ["org:acme", "plan:free"] })).await;
    let patch = json!({ "tags": { "remove": ["org:acme"], "add": ["org:other"] } });
    let at = format!("/v1/sessions/{}", made.id);
    let said = world.patch(&at, patch.clone()).await.refused(409, "tag_create_only");
    let wanted =
        "`org:other`, `org:acme` cannot change on a live session: create_only_tags names `org`, by default";
    assert_eq!(said["detail"], wanted);
    let many = json!({ "filter": { "user_id": "ada" }, "update": { "tags": { "add": ["org:other"] } } });
    let said = world.post("/v1/sessions/update", many).await.refused(409, "tag_create_only");
    let wanted = "`org:other` cannot change on a live session: create_only_tags names `org`, by default";
    assert_eq!(said["detail"], wanted);
    let policy = json!({ "tag": { "plan:free": { "create_only_tags": ["plan"] } } });
    replace(&world, &policy).await.expect(200);
    // What the section names stays, and so does what the default names.
    world.patch(&at, patch).await.refused(409, "tag_create_only");
    let said =
        world.patch(&at, json!({ "tags": { "add": ["plan:paid"] } })).await.refused(409, "tag_create_only");
    assert!(said["detail"].as_str().unwrap().ends_with("by tag plan:free"), "{said}");
}

#[tokio::test]
async fn nobody_gets_out_of_create_only_tags_step_by_step() {
    let world = World::new().await;
    let policy = json!({ "tag": {
        "mode:loose": { "create_only_tags": [] },
        "role:admin": { "create_only_tags": ["plan"] },
        "role:root": { "create_only_tags": ["plan", "team"] },
    } });
    replace(&world, &policy).await.expect(200);
    let made = world.create(json!({ "user_id": "ada", "tags": ["org:acme", "plan:free"] })).await;
    let at = format!("/v1/sessions/{}", made.id);
    let change = async |add: &[&str], remove: &[&str]| {
        world.patch(&at, json!({ "tags": { "add": add, "remove": remove } })).await
    };
    // A tag whose section empties the list comes, and the list still holds.
    change(&["mode:loose"], &[]).await.expect(200);
    change(&["org:other"], &["org:acme"]).await.refused(409, "tag_create_only");
    change(&[], &["org:acme"]).await.refused(409, "tag_create_only");
    let told = world.get(&format!("{at}/explain")).await.expect(200);
    assert_eq!(told["policy"]["create_only_tags"], json!({ "value": ["org"], "origin": "default" }));
    // A tag that brings a rule does not go, with which the rule would go.
    change(&["role:admin"], &[]).await.expect(200);
    change(&["plan:paid"], &["plan:free"]).await.refused(409, "tag_create_only");
    let said = change(&[], &["role:admin"]).await.refused(409, "tag_create_only");
    let wanted =
        "`role:admin` cannot go: its section names `plan` in create_only_tags, which would be free then";
    assert_eq!(said["detail"], wanted);
    let both = change(&["plan:paid"], &["plan:free", "role:admin"]).await;
    both.refused(409, "tag_create_only");
    let told = world.get(&format!("{at}/explain")).await.expect(200);
    let wanted = json!([
        { "value": ["org"], "origin": "default" },
        { "value": ["plan"], "origin": "tag role:admin" },
    ]);
    assert_eq!(told["policy"]["create_only_tags"], wanted);
    // It may make room for one that names as much, and more; and not the other way round.
    change(&["role:root"], &["role:admin"]).await.expect(200);
    change(&["role:admin"], &["role:root"]).await.refused(409, "tag_create_only");
    change(&[], &["mode:loose"]).await.expect(200);
    // Many at once, too.
    let many = json!({ "filter": { "user_id": "ada" }, "update": { "tags": { "remove": ["role:root"] } } });
    world.post("/v1/sessions/update", many).await.refused(409, "tag_create_only");
}

#[tokio::test]
async fn history_knows_each_change() {
    let world = World::new().await;
    replace(&world, &json!({ "default": { "idle_timeout": "1h" } })).await.expect(200);
    replace(&world, &json!({})).await.expect(200);
    rolled_back(&world, 1).await.expect(200);
    let file =
        |hours| Some(Policy::from(Rules { idle_timeout: Some(Span::hours(hours)), ..Rules::default() }));
    world.app.set_file_policy(file(2)).await;
    world.app.set_file_policy(file(2)).await;
    world.app.set_file_policy(file(3)).await;
    let events = world.get("/v1/events?type=policy.changed").await.expect(200);
    let told: Vec<(&str, &str)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["note"].as_str().unwrap(), e["by"].as_str().unwrap().split('_').next().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("version 1", "key"),
            ("version 2", "key"),
            ("version 3: took up version 1 again", "key"),
            ("version 3: the configuration was read again", "system"),
            ("version 3: the configuration was read again", "system"),
        ]
    );
    assert_eq!(events["items"][0]["session_id"], Value::Null);
}

#[tokio::test]
async fn a_tag_that_brings_a_rule_does_not_come_against_it() {
    let world = World::new().await;
    let policy = json!({
        "default": { "max_sessions": 2, "on_limit": "reject" },
        "tag": { "role:admin": { "create_only_tags": ["role"] }, "kind:bulk": { "max_sessions": 50 } },
    });
    replace(&world, &policy).await.expect(200);
    let made = world.create(json!({ "user_id": "ada", "tags": ["role:user"] })).await;
    let up = json!({ "tags": { "add": ["role:admin"], "remove": ["role:user"] } });
    world.patch(&format!("/v1/sessions/{}", made.id), up).await.refused(409, "tag_create_only");
    // Without the tag whose limit took its place, the limit of all sessions holds again.
    let mut under_default = 0;
    for _ in 0..4 {
        let bulk = world.create(json!({ "user_id": "bob", "tags": ["kind:bulk"] })).await;
        let off = json!({ "tags": { "remove": ["kind:bulk"] } });
        let answer = world.patch(&format!("/v1/sessions/{}", bulk.id), off).await;
        if answer.status == 200 {
            under_default += 1
        } else {
            drop(answer.refused(409, "session_limit_reached"))
        }
    }
    assert_eq!(under_default, 2);
}
