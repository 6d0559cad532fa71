//! Devices under races: a challenge is used once, a session gets one device, whoever asks at the same moment.

use super::hand::{Hand, URL, challenge, challenge_of, code, register, validate};
use super::{asking, bound};
use crate::world::{BEGINNING, Options, World};
use futures_util::future::join_all;
use handstamp_core::device::DeviceMode;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::memory::Memory;
use serde_json::json;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_uses_of_a_challenge_one_passes() {
    let (world, hand, made) = bound().await;
    let one = challenge_of(&world, &made.id).await;
    // The same proof, and others for the same challenge (a signature is never made twice alike).
    let proofs: Vec<String> = (0..4).map(|_| hand.proof(&world, &one, &made.id)).collect();
    let asked = (0..100).map(|n| validate(&world, &made.token, &proofs[n % 4]));
    let mut codes: Vec<String> = join_all(asked).await.iter().map(code).collect();
    codes.sort_unstable();
    assert_eq!(codes.iter().filter(|code| *code == "valid").count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "device_proof_stale").count(), 99);
}

/// Two nodes on one store: there is no turn that both wait for, only the store's word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_across_nodes() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let node = async |seed| {
        let options = Options { store: store.clone(), clock: clock.clone(), seed, ..Options::default() };
        let world = World::with(options).await;
        asking(&world, DeviceMode::Required).await;
        world
    };
    let (a, b, hand) = (node(1).await, node(2).await, Hand::new());
    for _ in 0..10 {
        let made = hand.login(&a, "ada", false).await;
        let (token, id) = (made["token"].as_str().unwrap(), made["session"]["id"].as_str().unwrap());
        let proof = hand.proof(&a, &challenge_of(&b, id).await, id);
        let asked = (0..20).map(|n| validate(if n % 2 == 0 { &a } else { &b }, token, &proof));
        let codes: Vec<String> = join_all(asked).await.iter().map(code).collect();
        assert_eq!(codes.iter().filter(|code| *code == "valid").count(), 1, "{codes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_registrations_one_wins() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let hands: Vec<Hand> = (0..20).map(|_| Hand::new()).collect();
    let tries = hands.iter().map(async |hand| {
        let proof = hand.introduction(&world, &challenge_of(&world, &made.id).await, Some(&made.id));
        (hand.id(), register(&world, json!({ "token": made.token }), &proof).await)
    });
    let outcomes = join_all(tries).await;
    let won: Vec<&String> =
        outcomes.iter().filter(|(_, answer)| answer.status == 201).map(|(id, _)| id).collect();
    assert_eq!(won.len(), 1);
    let lost = outcomes.iter().filter(|(_, answer)| answer.status == 409).count();
    assert_eq!(lost, 19);
    let session = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    assert_eq!(session["device"]["id"], **won[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_logins_with_one_proof_one_succeeds() {
    let (world, hand) = (World::new().await, Hand::new());
    let proof = hand.introduction(&world, &challenge(&world, json!({ "user_id": "ada" })).await, None);
    let body = json!({ "user_id": "ada", "device": { "proof": proof }, "method": "POST", "url": URL });
    let answers = join_all((0..20).map(|_| world.post("/v1/sessions", body.clone()))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        let problem = answer.refused(403, "device_proof_stale");
        assert!(problem["device_challenge"]["challenge"].as_str().unwrap().starts_with("dch_"));
    }
    let count = world.get("/v1/sessions/count?user_id=ada").await.expect(200);
    assert_eq!(count["count"], 1, "{count}");
}
