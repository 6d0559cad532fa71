//! `GET /v1/revocations`: which ends are told to those who verify access tokens themselves, in which shape, and to whom.

mod crowd;
mod hearing;
mod stream;

use crate::world::{Options, World};
use handstamp_core::time::Span;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::memory::Memory;
use hearing::{Hearing, PATH, end, mint, verified};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpStream;

/// The items of a snapshot, by what they are about.
pub(crate) async fn items(world: &World) -> Vec<Value> {
    let snapshot = world.get(PATH).await.expect(200);
    let mut items = snapshot["items"].as_array().unwrap().clone();
    items.sort_by_key(Value::to_string);
    items
}

pub(crate) fn names(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["session_id"].as_str()).collect()
}

#[tokio::test]
async fn an_end_is_told_for_as_long_as_a_token_can_live() {
    let world = World::new().await;
    let without = world.login("ada").await;
    let id = verified(&world, "ada").await;
    end(&world, &without.id).await;
    assert_eq!(items(&world).await, Vec::<Value>::new(), "it never had a token, or has not ended");
    world.advance(Span::secs(1));
    end(&world, &id).await;
    let snapshot = world.get(PATH).await.expect(200);
    // What a session notes covers two tokens that follow each other, and a minute for clocks that are behind.
    let item = json!({ "session_id": id, "ended_at": "2026-01-01T00:00:01.000Z", "until": "2026-01-01T00:11:00.000Z" });
    assert_eq!(
        (&snapshot["items"], &snapshot["as_of"]),
        (&json!([item]), &json!("2026-01-01T00:00:01.000Z"))
    );
    world.advance(Span::millis(658_999));
    assert_eq!(items(&world).await, [item]);
    world.advance(Span::millis(1));
    assert_eq!(items(&world).await, Vec::<Value>::new());
    let mut hearing = Hearing::of(&world, None).await;
    assert_eq!(
        hearing.until_beat().await,
        [json!({ "reset": true }), json!({ "as_of": "2026-01-01T00:11:00.000Z" })]
    );
    world.advance(Span::secs(5));
    items(&world).await;
    let held: Vec<_> = world.app.feed_use().iter().map(|used| used.entries).collect();
    assert_eq!(held, [0], "what is dead is not kept");
}

#[tokio::test]
async fn ends_of_many() {
    let world = World::new().await;
    let ids = [verified(&world, "ada").await, verified(&world, "bob").await, verified(&world, "eve").await];
    let mut hearing = Hearing::of(&world, None).await;
    hearing.until_beat().await;
    for (body, told) in [
        (json!({ "tags": ["role:x"] }), json!({ "tag": "role:x", "epoch": 1 })),
        (json!({ "tags": ["b:1", "a:1"] }), json!({ "tags": ["a:1", "b:1"], "epoch": 2 })),
        (
            json!({ "tags": ["org:acme"], "except": ids[0], "reason": "moved" }),
            json!({ "tag": "org:acme", "epoch": 3, "except": ids[0] }),
        ),
        (json!({ "all": true }), json!({ "environment": "default/prd", "epoch": 4 })),
    ] {
        world.post("/v1/sessions/revoke", body).await.expect(202);
        let mut one = hearing.some(1).await.remove(0);
        let until = one.as_object_mut().unwrap().remove("until");
        assert_eq!((one, until), (told, Some(json!("2026-01-02T00:01:00.000Z"))));
    }
    // Housekeeping writes down each end: who has tokens is told of, once.
    assert!(world.app.tidy().await.is_ok());
    let mut each = hearing.some(3).await;
    each.sort_by_key(Value::to_string);
    let mut wanted = ids.to_vec();
    wanted.sort();
    assert_eq!(names(&each), wanted);
    let all = items(&world).await;
    assert_eq!((all.len(), names(&all)), (7, wanted.iter().map(String::as_str).collect()));
    // And history says who did it, why, and who was kept.
    let lines = world.get("/v1/events?type=sessions.revoked").await.expect(200)["items"].clone();
    let key = lines[0]["by"].as_str().unwrap();
    assert!(key.starts_with("key_"));
    let line = |n: usize| (&lines[n]["revoked"], &lines[n]["note"], &lines[n]["session_id"]);
    let third = json!({ "tags": ["org:acme"], "epoch": 3, "except": ids[0] });
    assert_eq!(line(2), (&third, &json!("moved"), &Value::Null));
    assert_eq!(line(3), (&json!({ "epoch": 4 }), &Value::Null, &Value::Null));
    assert_eq!(lines.as_array().unwrap().len(), 4);
}

/// Idle for so long that its end is dated to before the last day; its token was made just before somebody shortened the
/// time. And nothing of it is kept but for the token.
#[tokio::test]
async fn an_end_that_is_dated_long_ago_is_told() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(crate::world::BEGINNING)));
    let options = |seed| {
        let (store, clock) = (store.clone(), clock.clone());
        Options { store, clock, seed, retention: Span::secs(1), ..Options::default() }
    };
    let world = World::with(options(1)).await;
    let policy = |idle: &str| json!({ "default": { "idle_timeout": idle, "absolute_timeout": "30d" } });
    world.call(Method::PUT, "/v1/policies").json(&policy("20d")).send().await.expect(200);
    let made = world.login("ada").await;
    world.advance(Span::days(3));
    mint(&world, &made.id, Span::minutes(5)).await;
    let mut hearing = Hearing::of(&world, None).await;
    hearing.until_beat().await;
    world.call(Method::PUT, "/v1/policies").json(&policy("1h")).send().await.expect(200);
    assert!(world.app.tidy().await.is_ok() && world.app.tidy().await.is_ok());
    let told = hearing.some(1).await;
    assert_eq!(told[0]["ended_at"], "2026-01-01T01:00:00.000Z");
    assert_eq!(names(&told), [made.id.as_str()]);
    assert_eq!(items(&world).await, told);
    let again = World::with(options(2)).await;
    assert_eq!(items(&again).await, told, "a restart");
    world.advance(Span::minutes(11));
    assert!(world.app.tidy().await.is_ok());
    world.get(&format!("/v1/sessions/{}", made.id)).await.refused(404, "not_found");
}

#[tokio::test]
async fn who_may_not_know_and_what_is_asked_wrongly() {
    let world = World::new().await;
    let streamed = || world.call(Method::GET, PATH).header("accept", "text/event-stream");
    let poor = world.make_key(json!({ "name": "poor", "scopes": ["events:read", "sessions:read"] })).await;
    world.call(Method::GET, PATH).key(&poor.token).send().await.refused(403, "insufficient_scope");
    streamed().key(&poor.token).send().await.refused(403, "insufficient_scope");
    let body = json!({ "name": "pages", "kind": "publishable" });
    let page = world.make_key(body).await;
    world.call(Method::GET, PATH).key(&page.token).send().await.refused(403, "publishable_key_forbidden");
    streamed().key(&page.token).send().await.refused(403, "publishable_key_forbidden");
    world.call(Method::GET, PATH).no_key().send().await.refused(401, "access_key_missing");
    for wrong in ["", "-1", "1", "7-", "7-0123456789abcde", "7-0123456789ABCDEF", "+7-0123456789abcdef"] {
        world
            .call(Method::GET, &format!("{PATH}?after={wrong}"))
            .header("accept", "text/event-stream")
            .send()
            .await
            .invalid("after");
        if !wrong.is_empty() {
            streamed().header("last-event-id", wrong).send().await.invalid("Last-Event-ID");
        }
    }
    world.get(&format!("{PATH}?after=0")).await.invalid("after");
    world.get(&format!("{PATH}?limit=5")).await.invalid("limit");
    let right = world.make_key(json!({ "name": "verifier", "scopes": ["tokens:verify"] })).await;
    world.call(Method::GET, PATH).key(&right.token).send().await.expect(200);
    // Nothing crosses environments.
    let id = verified(&world, "ada").await;
    end(&world, &id).await;
    let other = world.make_environment("shop", "prd").await;
    let theirs = world.call(Method::GET, PATH).key(&other.token).send().await.expect(200);
    assert_eq!(theirs["items"], json!([]));
    assert_eq!(names(&items(&world).await), [id]);
}

#[tokio::test]
async fn streams_end_with_the_key_and_with_the_server() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "verifier", "scopes": ["tokens:verify"] })).await;
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let mut by_key = Hearing::over(tcp, &key.token, None).await;
    let mut stays = Hearing::of(&world, None).await;
    by_key.until_beat().await;
    let suspend = world.call(Method::PATCH, &format!("/v1/keys/{}", key.id)).key(&world.operator);
    suspend.json(&json!({ "state": "suspended" })).send().await.expect(200);
    while by_key.next().await.unwrap().is_some() {}
    stays.until_beat().await;
    world.stopper.ask();
    while stays.next().await.unwrap().is_some() {}
}
