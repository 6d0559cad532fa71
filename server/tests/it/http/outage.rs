//! A store that does not answer is 503 on every call that needs it, and never says that anybody is logged out.

use super::{keyed, sample};
use crate::world::World;
use handstamp_core::refusal::Code;
use handstamp_server::store::faulty::{self, Fault};
use http::Method;
use serde_json::json;

/// What a node that shares its store with nobody answers without it.
const FROM_MEMORY: [&str; 11] = [
    "GET /v1/environments",
    "GET /v1/keys",
    "GET /v1/keys/data",
    "GET /v1/keys/signing",
    "GET /v1/keys/{id}",
    "GET /v1/policies",
    "GET /v1/session-types",
    "GET /v1/session-types/{name}",
    "GET /v1/settings/cors",
    "GET /v1/settings/redirect-origins",
    "POST /v1/devices/challenge",
];

#[tokio::test]
async fn every_call_that_needs_the_store_is_unavailable() {
    let world = World::new().await;
    let mut calls = Vec::new();
    for route in keyed() {
        let sample = sample(&world, &route).await;
        calls.push((route, sample));
    }
    world.app.close().await;
    let mut from_memory = Vec::new();
    for (route, (path, body)) in calls {
        let mut call = world.call(route.method.parse().unwrap(), &path).key(&world.operator);
        if let Some(body) = &body {
            call = call.json(body);
        }
        let answer = call.send().await;
        if answer.status == 200 {
            from_memory.push(format!("{} {}", route.method, route.path));
        } else {
            assert!(route.refusals.contains(&Code::StoreUnavailable), "{path} says so nowhere");
            let problem = answer.refused(503, "store_unavailable");
            assert_eq!((answer.header("retry-after"), &problem["retry_after"]), ("1", &json!(1)), "{path}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("does not mean that anybody is logged out"), "{detail}");
            assert!(!detail.contains("closed"), "the log knows more than the caller: {detail}");
        }
    }
    // With a store that nobody else can write to, what is held of keys and rules is always right.
    from_memory.sort();
    assert_eq!(from_memory, FROM_MEMORY);
    world.call(Method::GET, "/readyz").no_key().send().await.refused(503, "store_unavailable");
    assert_eq!(
        world.call(Method::GET, "/livez").no_key().send().await.expect(200),
        json!({ "status": "alive" })
    );
}

#[tokio::test]
async fn ready_and_alive() {
    let world = World::new().await;
    assert_eq!(world.get("/readyz").await.expect(200), json!({ "status": "ready" }));
    world.store.plan(faulty::Call::Probe, [Fault::Before]);
    world.get("/readyz").await.refused(503, "store_unavailable");
    world.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn one_accident_at_a_time_and_then_all_is_well() {
    let world = World::new().await;
    for call in [faulty::Call::Load, faulty::Call::Commit, faulty::Call::Search, faulty::Call::History] {
        for route in keyed() {
            let (path, body) = sample(&world, &route).await;
            let send = || {
                let asked = world.call(route.method.parse().unwrap(), &path).key(&world.operator);
                if let Some(body) = &body { asked.json(body) } else { asked }
            };
            let before = world.store.left();
            world.store.plan(call, [Fault::Before]);
            let answer = send().send().await;
            if world.store.left() == before {
                answer.refused(503, "store_unavailable");
                let again = send().send().await;
                assert!(again.status.is_success(), "{path} after {call:?}: {}", again.text());
            } else {
                assert!(answer.status.is_success(), "{path} does not need {call:?}: {}", answer.text());
                world.store.forget_plans();
            }
        }
    }
}

#[tokio::test]
async fn a_change_that_others_overtake_is_decided_again() {
    let world = World::new().await;
    let made = world.login("ada").await;
    world.store.plan(faulty::Call::Commit, vec![Fault::Conflict; 3]);
    let path = format!("/v1/sessions/{}", made.id);
    world.patch(&path, json!({ "tags": { "add": ["a:b"] } })).await.expect(200);
    assert_eq!(world.store.left(), 0);
}
