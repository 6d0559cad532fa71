//! Origins over the API: read, replaced, beside those of the configuration; who may; what history says.

use crate::world::{Answer, BEGINNING, Options, World};
use handstamp_core::origin::WebOrigin;
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::faulty::{Call, Fault};
use handstamp_server::store::memory::Memory;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const CORS: &str = "/v1/settings/cors";
const REDIRECT: &str = "/v1/settings/redirect-origins";

async fn put(world: &World, path: &str, origins: &[&str]) -> Answer {
    world.call(Method::PUT, path).json(&json!({ "origins": origins })).send().await
}

fn file(cors: &[&str], redirect: &[&str]) -> FileOrigins {
    let read = |all: &[&str]| all.iter().map(|text| WebOrigin::parse(text).unwrap()).collect();
    FileOrigins { cors: read(cors), redirect: read(redirect) }
}

fn listed(version: u64, origins: &[&str], from_file: &[&str]) -> Value {
    json!({ "version": version, "origins": origins, "from_file": from_file })
}

#[tokio::test]
async fn lists_are_read_and_replaced_each_for_itself() {
    let world = World::new().await;
    for path in [CORS, REDIRECT] {
        let answer = world.get(path).await;
        assert_eq!((answer.header("etag"), answer.expect(200)), ("\"0\"", listed(0, &[], &[])));
        let both = ["https://b.example", "http://localhost:3000"];
        let answer = put(&world, path, &both).await;
        // As they were said: the order is whoever reads it.
        assert_eq!((answer.header("etag"), answer.expect(200)), ("\"1\"", listed(1, &both, &[])));
        assert_eq!(world.get(path).await.expect(200), listed(1, &both, &[]));
    }
    assert_eq!(put(&world, CORS, &[]).await.expect(200), listed(2, &[], &[]));
    assert_eq!(world.get(REDIRECT).await.expect(200)["version"], 1);
}

#[tokio::test]
async fn a_change_of_what_was_not_seen_is_refused() {
    let world = World::new().await;
    let with = async |tag: &str, origin: &str| {
        let call = world.call(Method::PUT, CORS).header("if-match", tag);
        call.json(&json!({ "origins": [origin] })).send().await
    };
    with("\"0\"", "https://a.example").await.expect(200);
    let said = with("\"0\"", "https://b.example").await.refused(412, "settings_changed");
    assert!(said["detail"].as_str().unwrap().contains("version 1 is in force"), "{said}");
    assert_eq!(world.get(CORS).await.expect(200)["origins"], json!(["https://a.example"]));
    with("\"1\"", "https://b.example").await.expect(200);
    with("*", "https://c.example").await.expect(200);
    for bad in ["1", "W/\"1\"", "\"x\"", "\"1\", \"2\"", ""] {
        with(bad, "https://d.example").await.invalid("If-Match");
    }
    assert_eq!(world.get(CORS).await.expect(200), listed(3, &["https://c.example"], &[]));

    // Of many who saw the same, one is first.
    let asked = (0..20).map(|n| {
        let call = world.call(Method::PUT, CORS).header("if-match", "\"3\"");
        call.json(&json!({ "origins": [format!("https://n{n}.example")] })).send()
    });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 19);
}

#[tokio::test]
async fn every_slip_is_told_at_once() {
    let world = World::new().await;
    put(&world, CORS, &["https://kept.example"]).await.expect(200);
    let wrong = [
        "https://a.example/",
        "https://good.example",
        "*",
        "null",
        "https://good.example",
        "https://A.example",
        "https://a.example:443",
        "javascript:alert(1)",
        "",
        "https://a.example\r\nSet-Cookie: x=y",
    ];
    let problem = put(&world, CORS, &wrong).await.refused(400, "invalid_request");
    let pointers: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    let expected: Vec<String> = [0, 2, 3, 4, 5, 6, 7, 8, 9].iter().map(|n| format!("/origins/{n}")).collect();
    assert_eq!(pointers, expected);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("\"https://a.example\""), "{problem}");
    assert_eq!(problem["errors"][3]["message"], "is the same as /origins/1");
    let many: Vec<String> = (0..201).map(|n| format!("https://n{n}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    put(&world, CORS, &many).await.invalid("/origins");
    world.call(Method::PUT, CORS).json(&json!({})).send().await.refused(400, "invalid_request");
    world.call(Method::PUT, CORS).json(&json!({ "origins": [], "more": 1 })).send().await.invalid("/more");
    world.call(Method::PUT, CORS).json(&json!({ "origins": [7] })).send().await.invalid("/origins/0");
    assert_eq!(world.get(CORS).await.expect(200), listed(1, &["https://kept.example"], &[]));
    put(&world, CORS, &many[..200]).await.expect(200);
}

#[tokio::test]
async fn only_who_may() {
    let world = World::new().await;
    let key = async |scope: &str| world.make_key(json!({ "name": "k", "scopes": [scope] })).await.token;
    let (reader, writer) = (key("sessions:read").await, key("policy:write").await);
    let body = json!({ "origins": ["https://a.example"] });
    for path in [CORS, REDIRECT] {
        world.call(Method::GET, path).key(&reader).send().await.expect(200);
        world.call(Method::GET, path).key(&writer).send().await.refused(403, "insufficient_scope");
        world
            .call(Method::PUT, path)
            .key(&reader)
            .json(&body)
            .send()
            .await
            .refused(403, "insufficient_scope");
        world.call(Method::PUT, path).no_key().json(&body).send().await.refused(401, "access_key_missing");
        world.call(Method::PUT, path).key(&writer).json(&body).send().await.expect(200);
    }
}

#[tokio::test]
async fn environments_have_their_own_and_the_files_beside() {
    let origins = file(&["http://localhost:3000"], &["https://www.example"]);
    let world = World::with(Options { origins, ..Options::default() }).await;
    let shop = world.make_environment("shop", "prd").await.token;
    put(&world, CORS, &["https://a.example"]).await.expect(200);
    assert_eq!(
        world.get(CORS).await.expect(200),
        listed(1, &["https://a.example"], &["http://localhost:3000"])
    );
    let theirs = world.call(Method::GET, CORS).key(&shop).send().await.expect(200);
    assert_eq!(theirs, listed(0, &[], &["http://localhost:3000"]));
    assert_eq!(world.get(REDIRECT).await.expect(200), listed(0, &[], &["https://www.example"]));

    // The file again: at once, and history knows; where nothing changes, nothing is told.
    let told = async || {
        let events = world.get("/v1/events?type=settings.changed").await.expect(200);
        let notes =
            events["items"].as_array().unwrap().iter().map(|line| line["note"].as_str().unwrap().to_owned());
        notes.collect::<Vec<_>>()
    };
    assert_eq!(told().await, ["cors, version 1; added https://a.example"]);
    world.app.set_file_origins(file(&["http://localhost:3000"], &["https://www.example"])).await;
    assert_eq!(told().await.len(), 1);
    world.app.set_file_origins(file(&[], &[])).await;
    assert_eq!(told().await[1..], ["the configuration was read again"]);
    assert_eq!(world.get(CORS).await.expect(200), listed(1, &["https://a.example"], &[]));
    // An origin that the API lists too has been there all the time.
    world.app.set_file_origins(file(&["https://a.example"], &[])).await;
    assert_eq!(told().await.len(), 2);
}

#[tokio::test]
async fn history_says_what_came_and_what_went() {
    let world = World::new().await;
    put(&world, REDIRECT, &["https://a.example", "https://b.example"]).await.expect(200);
    put(&world, REDIRECT, &["https://b.example", "https://c.example"]).await.expect(200);
    let many: Vec<String> = (0..9).map(|n| format!("https://n{n}.example")).collect();
    put(&world, REDIRECT, &many.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(200);
    let events = world.get("/v1/events?type=settings.changed").await.expect(200);
    let lines = events["items"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["by"].as_str().unwrap().starts_with("key_")));
    assert!(lines.iter().all(|line| line.get("session_id").is_none() && line.get("user_id").is_none()));
    let notes: Vec<&str> = lines.iter().map(|line| line["note"].as_str().unwrap()).collect();
    assert_eq!(
        notes,
        [
            "redirect-origins, version 1; added https://a.example, https://b.example",
            "redirect-origins, version 2; added https://c.example; removed https://a.example",
            "redirect-origins, version 3; added https://n0.example, https://n1.example, https://n2.example, \
             https://n3.example, https://n4.example and 4 more; removed https://b.example, https://c.example",
        ]
    );
}

#[tokio::test]
async fn they_are_there_after_a_restart_and_after_an_accident() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let options = || Options { store: store.clone(), clock: clock.clone(), ..Options::default() };
    let world = World::with(options()).await;
    put(&world, CORS, &["https://a.example"]).await.expect(200);
    // The store did it and could not say so: memory goes on with what the store has.
    world.store.plan(Call::Commit, [Fault::LoseAnswer]);
    put(&world, CORS, &["https://b.example"]).await.refused(503, "store_unavailable");
    assert_eq!(world.get(CORS).await.expect(200), listed(2, &["https://b.example"], &[]));
    world.store.plan(Call::Commit, [Fault::Before]);
    put(&world, CORS, &["https://c.example"]).await.refused(503, "store_unavailable");
    assert_eq!(world.get(CORS).await.expect(200), listed(2, &["https://b.example"], &[]));
    let again = World::with(Options { seed: 2, ..options() }).await;
    let answer = again.get(CORS).await;
    assert_eq!(
        (answer.header("etag"), answer.expect(200)),
        ("\"2\"", listed(2, &["https://b.example"], &[]))
    );
    put(&again, CORS, &["https://d.example"]).await.expect(200);
}
