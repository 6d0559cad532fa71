//! Several nodes behind their doors: codes of logins, erasing, another master key, and configurations that differ.

use super::fleet::until;
use crate::world::{BEGINNING, Options, World};
use handstamp_core::address::network::Network;
use handstamp_core::address::networks::Networks;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::master_key::change;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::host::entropy::SeededEntropy;
use handstamp_server::store::Store;
use handstamp_server::store::memory::Memory;
use http::Method;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

const MASTER: [u8; 32] = [5; 32];

/// So many nodes, each with its own policy if it has one, and a task each that hears the others.
async fn worlds(policies: &[Option<Policy>]) -> (Vec<World>, Memory, watch::Sender<bool>) {
    let (memory, clock) = (Memory::shared(), Arc::new(ManualClock::new(BEGINNING)));
    let (stop, stopped) = watch::channel(false);
    let mut all = Vec::new();
    for (seed, policy) in (1..).zip(policies) {
        let (store, clock, policy) = (Arc::new(memory.node()), clock.clone(), policy.clone());
        let world = World::with(Options { store, clock, seed, policy, ..Options::default() }).await;
        let (app, stopped) = (world.app.clone(), stopped.clone());
        tokio::spawn(async move { app.keep_up(stopped).await });
        all.push(world);
    }
    (all, memory, stop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_a_login_is_exchanged_once() {
    let (all, _memory, _stop) = worlds(&[None, None, None]).await;
    let origins = json!({ "origins": ["https://app.example.org"] });
    all[0].call(Method::PUT, "/v1/settings/redirect-origins").json(&origins).send().await.expect(200);
    for n in 0..5 {
        let ask =
            json!({ "user_id": format!("u{n}"), "login": { "redirect_uri": "https://app.example.org/" } });
        let made = all[1].post("/v1/sessions", ask).await.expect(201);
        let body = json!({ "code": made["login"]["code"], "origin": "https://app.example.org" });
        let exchanges = (0..9).map(|n| all[n % 3].post("/v1/login/exchange", body.clone()));
        let done = futures_util::future::join_all(exchanges).await;
        assert_eq!(done.iter().filter(|answer| answer.status.as_u16() == 200).count(), 1);
        for answer in done.iter().filter(|answer| answer.status.as_u16() != 200) {
            answer.refused(409, "login_code_used");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasing_reaches_what_another_node_has_noted() {
    let blocked = Networks::new(vec![Network::parse("198.51.100.0/24").unwrap()]);
    let blocking = Rules { ip_block: Some(Arc::new(blocked)), ..Rules::default() };
    let policy = Some(Policy::from(blocking));
    let (all, _memory, _stop) = worlds(&[policy.clone(), policy]).await;
    let refused = json!({ "user_id": "ada", "ip": "198.51.100.9", "user_agent": "Agent991/1" });
    for _ in 0..3 {
        all[1].post("/v1/sessions", refused.clone()).await.refused(403, "ip_blocked");
    }
    let made = all[1].create(json!({ "user_id": "ada", "ip": "203.0.113.7" })).await;
    let blocked = json!({ "token": made.token, "ip": "198.51.100.9" });
    for _ in 0..3 {
        all[1].post("/v1/sessions/validate", blocked.clone()).await.expect(200);
    }
    all[0].call(Method::POST, "/v1/users/ada/erase").send().await.expect(200);
    all[0].advance(Span::hours(2));
    for _ in 0..2 {
        for world in &all {
            assert!(world.app.tidy().await.is_ok());
        }
    }
    for world in &all {
        assert_eq!(world.get("/v1/events?user_id=ada").await.expect(200)["items"], json!([]));
        let all = world.get("/v1/events").await;
        assert!(!all.text().contains("ada") && !all.text().contains("Agent991"), "{}", all.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_master_key_while_a_node_is_at_work() {
    let (all, memory, stop) = worlds(&[None, None]).await;
    assert!(all[1].app.tidy().await.is_ok());
    let keys = [MasterKey::new(MASTER), MasterKey::new([6; 32])];
    let other = memory.node();
    let now = Millis(BEGINNING.0 + 1);
    let refused = change(&other, &SeededEntropy::new(9), (&keys[0], &keys[1]), now, false).await;
    assert!(refused.is_err_and(|why| why.to_string().contains("stop every node first")));
    // A node that is killed is at work for as long as its lease is.
    let later = now.plus(Span::secs(11));
    let _ = stop.send(true);
    change(&other, &SeededEntropy::new(9), (&keys[0], &keys[1]), later, false).await.unwrap();
    // Whoever was there all the same says that it does not know, and nothing else.
    let answer = all[0].get("/v1/keys").await;
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.text());
    assert!(other.load(&[handstamp_server::codec::control::root_key()]).await.unwrap()[0].is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_notice_that_they_are_configured_differently() {
    let (all, _memory, _stop) = worlds(&[None, None, None]).await;
    for world in &all {
        world.app.set_configuration([1; 32]);
    }
    all[2].app.set_configuration([2; 32]);
    let tell = async || {
        for world in &all {
            world.app.tell_configuration().await;
        }
    };
    tell().await;
    until("the two see one, and the one sees two", || async {
        all.iter().map(|world| world.app.nodes_differing()).collect::<Vec<_>>() == [1, 1, 2]
    })
    .await;
    all[2].app.set_configuration([1; 32]);
    tell().await;
    until("they are alike", || async { all.iter().all(|world| world.app.nodes_differing() == 0) }).await;
    // Who says nothing any more counts no longer.
    all[0].app.set_configuration([3; 32]);
    assert_eq!(all[0].app.nodes_differing(), 2);
    all[0].advance(Span::minutes(3));
    assert_eq!(all[0].app.nodes_differing(), 0);
}
