//! The table of rotation, for refresh tokens: a crowd, a lost answer, the grace to the millisecond, a thief.

use super::{Pair, present, redeem, start, started};
use crate::world::{BEGINNING, Options, World};
use futures_util::future::join_all;
use handstamp_core::time::Span;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::Store;
use handstamp_server::store::memory::Memory;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const GRACE: Span = Span::secs(60);

async fn generation(world: &World, id: &str) -> Value {
    world.get(&format!("/v1/sessions/{id}")).await.expect(200)["generation"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_get_one_successor() {
    let world = World::new().await;
    for round in 0..5 {
        let first = started(&world, &format!("u{round}")).await;
        let all = join_all((0..100).map(|_| redeem(&world, &first.refresh))).await;
        let next: BTreeSet<Pair> = all.into_iter().collect();
        assert_eq!(next.len(), 1, "one chain, never a fork");
        assert_eq!(generation(&world, &first.id).await, 1, "and one step");
    }
}

#[tokio::test]
async fn a_lost_answer_is_repeated_for_as_long_as_nobody_has_the_next() {
    let (store, clock): (Arc<dyn Store>, _) =
        (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let node = |seed| Options { store: store.clone(), clock: clock.clone(), seed, ..Options::default() };
    let world = World::with(node(1)).await;
    let first = started(&world, "ada").await;
    let next = redeem(&world, &first.refresh).await;
    for _ in 0..3 {
        world.advance(Span::hours(3));
        assert_eq!(redeem(&world, &first.refresh).await, next);
    }
    // By another node over the same store, and after a restart.
    let other = World::with(node(2)).await;
    assert_eq!(redeem(&other, &first.refresh).await, next);
    drop(world);
    let again = World::with(node(3)).await;
    assert_eq!(redeem(&again, &first.refresh).await, next);
    assert_eq!(generation(&again, &first.id).await, 1);
    // Each repeat was activity.
    let session = again.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
    assert_eq!(session["last_active_at"], "2026-01-01T09:00:00.000Z");
    assert_eq!(session["rotation_pending_since"], "2026-01-01T00:00:00.000Z");
    assert_eq!(again.verdict(&next.token).await, "valid");
    let third = redeem(&other, &next.refresh).await;
    assert_eq!(redeem(&again, &next.refresh).await, third);
}

/// The clock of theft begins with the first presentation of the successor, of either kind.
#[tokio::test]
async fn one_millisecond_before_the_grace_is_over_it_is_late_and_then_it_is_stolen() {
    for by_refresh in [false, true] {
        let world = World::new().await;
        let first = started(&world, "ada").await;
        let second = redeem(&world, &first.refresh).await;
        world.advance(Span::hours(5));
        let newest = if by_refresh {
            redeem(&world, &second.refresh).await
        } else {
            assert_eq!(world.verdict(&second.token).await, "valid");
            second.clone()
        };
        world.advance(Span(GRACE.0 - 1));
        if by_refresh {
            // Two generations back by now: nothing is exchanged, nothing ends.
            present(&world, &first.refresh).await.refused(401, "token_superseded");
        } else {
            assert_eq!(redeem(&world, &first.refresh).await, second, "the same pair, to the last moment");
        }
        assert_eq!(generation(&world, &first.id).await, u32::from(by_refresh) + 1);
        world.advance(Span(1));
        let problem = present(&world, &first.refresh).await.refused(401, "token_reused");
        let newest_is = u32::from(by_refresh) + 1;
        assert_eq!(
            problem["detail"],
            format!(
                "a token of generation 0 was presented long after it had been replaced; the newest is generation {newest_is}"
            )
        );
        // The whole family is dead: each token of each kind.
        for pair in [&first, &second, &newest] {
            present(&world, &pair.refresh).await.refused(401, "token_reused");
            assert_eq!(world.verdict(&pair.token).await, "token_reused");
        }
        let session = world.get(&format!("/v1/sessions/{}", first.id)).await.expect(200);
        assert_eq!((&session["state"], &session["ended"]["code"]), (&json!("ended"), &json!("token_reused")));
    }
}

/// Also a stolen session token ends the family, and a refresh token is stolen by the presentation of a session token.
#[tokio::test]
async fn both_kinds_are_of_one_generation() {
    let world = World::new().await;
    let first = started(&world, "ada").await;
    let second = redeem(&world, &first.refresh).await;
    assert_eq!(world.verdict(&second.token).await, "valid");
    world.advance(GRACE);
    assert_eq!(world.verdict(&first.token).await, "token_reused");
    present(&world, &second.refresh).await.refused(401, "token_reused");
}

#[tokio::test]
async fn two_generations_back_is_superseded_within_the_grace_and_never_exchanged() {
    let world = World::new().await;
    let first = started(&world, "ada").await;
    let second = redeem(&world, &first.refresh).await;
    let third = redeem(&world, &second.refresh).await;
    let problem = present(&world, &first.refresh).await.refused(401, "token_superseded");
    assert!(problem.get("refresh_token").is_none());
    assert_eq!(redeem(&world, &second.refresh).await, third, "the one before the newest is");
    assert_eq!(generation(&world, &first.id).await, 2);
    // Nobody has presented the newest: the second is late for ever, and the first stolen a grace after the second came.
    world.advance(GRACE);
    assert_eq!(redeem(&world, &second.refresh).await, third);
    present(&world, &first.refresh).await.refused(401, "token_reused");
    present(&world, &third.refresh).await.refused(401, "token_reused");
}

#[tokio::test]
async fn a_theft_is_told_with_both_contexts_and_refusals_are_counted() {
    let world = World::new().await;
    let first = start(&world, json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": "own" })).await;
    let second = redeem(&world, &first.refresh).await;
    let third = redeem(&world, &second.refresh).await;
    let theirs = json!({ "refresh_token": first.refresh, "ip": "198.51.100.9", "user_agent": "thief" });
    world.post("/v1/sessions/refresh", theirs.clone()).await.refused(401, "token_superseded");
    let history = async || {
        assert!(world.app.tidy().await.is_ok());
        let events = world.get(&format!("/v1/sessions/{}/events", first.id)).await.expect(200);
        events["items"].as_array().unwrap().clone()
    };
    let refused = history().await.pop().unwrap();
    assert_eq!((&refused["type"], &refused["code"]), (&json!("session.refused"), &json!("token_superseded")));
    assert_eq!(refused["client"]["ip"], "198.51.100.9");
    redeem(&world, &third.refresh).await;
    world.advance(GRACE);
    world.post("/v1/sessions/refresh", theirs).await.refused(401, "token_reused");
    let events = history().await;
    let last = events.iter().find(|event| event["type"] == "session.ended").unwrap();
    assert_eq!((&last["code"], &last["rule"]), (&json!("token_reused"), &json!("rotation")));
    assert_eq!(last["client"]["ip"], "198.51.100.9");
    let evidence = last["evidence"].to_string();
    assert!(evidence.contains("203.0.113.7, own") && evidence.contains("198.51.100.9, thief"), "{evidence}");
    assert!(!events.iter().any(|event| event.to_string().contains("hsr_")));
}
