//! The stream: taken up again anywhere it misses nothing, says nothing that is not true, and costs what it should.

use super::hearing::{Hearing, PATH, end, verified};
use super::{items, names};
use crate::world::{BEGINNING, Options, World};
use futures_util::StreamExt;
use handstamp_core::id::SessionId;
use handstamp_core::time::Span;
use handstamp_server::app::feed::Told;
use handstamp_server::codec::session_key;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::faulty::{Call, Fault, Gate};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Batch, NewEvent, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

#[tokio::test]
async fn it_begins_with_everything_and_tells_what_comes() {
    let world = World::new().await;
    let (first, second, third) =
        (verified(&world, "ada").await, verified(&world, "bob").await, verified(&world, "eve").await);
    end(&world, &first).await;
    let mut hearing = Hearing::of(&world, None).await;
    let begin = hearing.until_beat().await;
    assert_eq!((&begin[0], names(&begin)), (&json!({ "reset": true }), vec![first.as_str()]));
    let here = hearing.last.clone();
    end(&world, &second).await;
    assert_eq!(names(&hearing.some(1).await), [second.as_str()]);
    let there = hearing.last.clone();
    assert_ne!(here, there);
    end(&world, &third).await;
    let from = async |last: Option<&str>| Hearing::of(&world, last).await.until_beat().await;
    let told = |told: &[Value]| (told[0] == json!({ "reset": true }), names(told).join(" "));
    let all = [&*first, &*second, &*third].join(" ");
    assert_eq!(told(&from(here.as_deref()).await), (false, [&*second, &*third].join(" ")));
    assert_eq!(told(&from(there.as_deref()).await), (false, third.clone()));
    // Nothing comes after the position of a snapshot.
    let snapshot = world.get(PATH).await.expect(200);
    assert_eq!(told(&from(snapshot["position"].as_str()).await), (false, String::new()));
    // A position of before everything is known, too: what history says from there on is told.
    let (at, run) = there.as_deref().unwrap().split_once('-').unwrap();
    let at: u64 = at.parse().unwrap();
    assert_eq!(told(&from(Some(&format!("0-{run}"))).await), (false, all.clone()));
    // Positions of nobody: ahead of everything, and of another store.
    for foreign in ["0".to_owned(), format!("{}-{run}", at + 99), format!("{at}-0123456789abcdef")] {
        assert_eq!(told(&from(Some(&foreign)).await), (true, all.clone()), "{foreign}");
    }
}

/// After a restart, everything that still matters is known, and who comes with a position of before it goes on from there.
#[tokio::test]
async fn a_restart_loses_nothing() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let options = |seed| {
        let (store, clock) = (store.clone(), clock.clone());
        Options { store, clock, seed, ..Options::default() }
    };
    let world = World::with(options(1)).await;
    let ids = [verified(&world, "ada").await, verified(&world, "bob").await, verified(&world, "eve").await];
    end(&world, &ids[0]).await;
    let mut hearing = Hearing::of(&world, None).await;
    hearing.until_beat().await;
    let body = json!({ "tags": ["org:acme"], "except": ids[2] });
    world.post("/v1/sessions/revoke", body).await.expect(202);
    hearing.some(1).await;
    let before = items(&world).await;
    assert_eq!(before.len(), 2);
    let again = World::with(options(2)).await;
    assert_eq!(items(&again).await, before);
    let resumed = Hearing::of(&again, hearing.last.as_deref()).await.until_beat().await;
    assert_eq!(resumed.len(), 1, "a beat: {resumed:?}");
    let mut begun = Hearing::of(&again, None).await.until_beat().await;
    assert_eq!(begun.remove(0), json!({ "reset": true }));
    begun.pop();
    begun.sort_by_key(Value::to_string);
    assert_eq!(begun, before);
    // What the other one commits is told, too, though this one does not hear of it.
    let mut there = Hearing::of(&world, hearing.last.as_deref()).await;
    assert!(again.app.tidy().await.is_ok());
    assert_eq!(names(&there.some(1).await), [ids[1].as_str()]);
}

#[tokio::test]
async fn an_end_is_told_at_once() {
    let world = World::new().await;
    let mut hearing = Hearing::of(&world, None).await;
    hearing.until_beat().await;
    let mut took = Vec::new();
    for n in 0..20 {
        let id = verified(&world, &format!("u{n}")).await;
        hearing.until_beat().await;
        end(&world, &id).await;
        let began = Instant::now();
        hearing.some(1).await;
        took.push(began.elapsed().as_millis());
    }
    took.sort_unstable();
    // Those who wait for the next beat take 125 ms and more of all those times.
    assert!(took[10] < 60, "{took:?} ms");
}

/// What happens while a beat is on its way to who listens is told right after it, and not with the next beat.
#[tokio::test]
async fn an_end_while_a_beat_is_on_its_way_is_told_at_once() {
    let world = World::new().await;
    let Ok(caller) = world.app.caller(Some(&world.key), None) else { panic!("the key is not known") };
    let Ok(stream) = world.app.clone().follow_revocations(caller, None).await else { panic!("a fault") };
    let mut stream = std::pin::pin!(stream);
    for n in 0..6 {
        let id = verified(&world, &format!("u{n}")).await;
        while !matches!(stream.next().await, Some(Ok(Told::Beat { .. }))) {}
        // The stream is not asked again before this is done.
        end(&world, &id).await;
        let began = Instant::now();
        let Some(Ok(Told::Entries(entries))) = stream.next().await else { panic!("no end") };
        assert_eq!(entries.len(), 1);
        assert!(began.elapsed().as_millis() < 125, "{n}: {:?}", began.elapsed());
    }
}

/// One reading of history is enough for all who are woken by one end: nobody waits for another one.
#[tokio::test]
async fn many_who_listen_are_told_by_one_reading() {
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut hearing = Hearing::of(&world, None).await;
        hearing.until_beat().await;
        all.push(hearing);
    }
    // Where a beat had begun to read just before the end, a second reading is right: then again.
    for n in 0..20 {
        let id = verified(&world, &format!("u{n}")).await;
        futures_util::future::join_all(all.iter_mut().map(Hearing::until_beat)).await;
        let gate = Gate::default();
        world.store.plan(Call::History, (0..50).map(|_| Fault::Hold(gate.clone())));
        end(&world, &id).await;
        gate.open(1);
        let told = futures_util::future::join_all(all.iter_mut().map(|hearing| hearing.some(1)));
        let told = tokio::time::timeout(std::time::Duration::from_millis(150), told).await;
        world.store.forget_plans();
        gate.open(1_000);
        if told.is_ok_and(|told| told.iter().all(|told| names(told) == [id.as_str()])) {
            return;
        }
    }
    panic!("one reading was never enough");
}

/// The store fails: the stream breaks, and nothing is said that nobody knows. A store that hangs is no better.
#[tokio::test]
async fn an_outage_breaks_the_stream() {
    let world = World::new().await;
    let mut hearing = Hearing::of(&world, None).await;
    hearing.until_beat().await;
    let id = verified(&world, "ada").await;
    world.store.plan(Call::History, [Fault::Before]);
    while let Ok(told) = hearing.next().await {
        assert!(told.expect("it must not look like an end").get("as_of").is_some());
    }
    let mut again = Hearing::of(&world, hearing.last.as_deref()).await;
    again.until_beat().await;
    // From here on the store hangs.
    world.advance(Span::secs(1));
    let gate = Gate::default();
    world.store.plan(Call::History, (0..50).map(|_| Fault::Hold(gate.clone())));
    let held = world.app.now();
    end(&world, &id).await;
    world.advance(Span::secs(1));
    let told = tokio::time::timeout(std::time::Duration::from_millis(900), async {
        loop {
            let told = again.next().await.unwrap().unwrap();
            // One may be on its way.
            assert!(
                told["as_of"].as_str().is_some_and(|at| at <= "2026-01-01T00:00:01.000Z"),
                "{told} {held:?}"
            );
        }
    });
    assert!(told.await.is_err());
    gate.open(1_000);
    assert_eq!(names(&again.some(1).await), [id.as_str()]);
    // Nor does one begin, and nobody is given a part for the whole.
    for call in [Call::Head, Call::Load, Call::Search, Call::History] {
        let fresh = World::with(Options { store: world.store.clone(), ..Options::default() }).await;
        fresh.store.plan(call, [Fault::Before]);
        fresh.get(PATH).await.refused(503, "store_unavailable");
        assert_eq!(names(&items(&fresh).await), [id.as_str()], "{call:?}");
    }
}

/// Some life, listened to from many places on: whoever knows what they were told knows what a snapshot says.
#[tokio::test]
async fn a_snapshot_is_what_the_stream_told() {
    let world = World::roomy().await;
    let mut heard: Vec<(Hearing, BTreeMap<String, Value>)> = Vec::new();
    let learn = |known: &mut BTreeMap<String, Value>, told: Vec<Value>| {
        for one in told {
            if one == json!({ "reset": true }) {
                known.clear();
            } else if one.get("as_of").is_none() {
                known.insert(one.to_string(), one);
            }
        }
    };
    for round in 0..40_usize {
        let id = verified(&world, ["ada", "bob", "eve"][round % 3]).await;
        world.advance(Span::secs(7));
        match round % 4 {
            0 => end(&world, &id).await,
            1 => drop(world.post("/v1/sessions/revoke", json!({ "user_id": "ada" })).await.expect(200)),
            2 => drop(
                world
                    .post("/v1/sessions/revoke", json!({ "tags": ["org:acme"], "except": id }))
                    .await
                    .expect(202),
            ),
            _ => assert!(world.app.tidy().await.is_ok()),
        }
        if round % 5 == 0 {
            heard.push((Hearing::of(&world, None).await, BTreeMap::new()));
        }
        for (n, (hearing, known)) in heard.iter_mut().enumerate() {
            if (round + n) % 3 == 0 {
                // The connection breaks, and is taken up.
                *hearing = Hearing::of(&world, hearing.last.clone().as_deref()).await;
            }
            learn(known, hearing.until_beat().await);
        }
    }
    let (now, snapshot) = (world.get(PATH).await.expect(200)["as_of"].clone(), items(&world).await);
    assert!(snapshot.len() > 20, "{}", snapshot.len());
    for (mut hearing, mut known) in heard {
        loop {
            let told = hearing.until_beat().await;
            let known_now = told.last().unwrap()["as_of"].as_str() >= now.as_str();
            learn(&mut known, told);
            if known_now {
                break;
            }
        }
        let mut alive: Vec<Value> =
            known.into_values().filter(|one| one["until"].as_str() > now.as_str()).collect();
        alive.sort_by_key(Value::to_string);
        assert_eq!(alive, snapshot);
    }
}

/// Somebody ends a session while the list is put together: it is in it, and once.
#[tokio::test]
async fn an_end_between_two_steps_of_the_beginning() {
    for call in [Call::Head, Call::Load, Call::Search, Call::History] {
        let world = Arc::new(World::new().await);
        let id = verified(&world, "ada").await;
        let gate = Gate::default();
        world.store.plan(call, [Fault::Hold(gate.clone())]);
        let asking = tokio::spawn({
            let world = world.clone();
            async move { world.get(PATH).await.expect(200) }
        });
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        while world.store.left() > 0 {
            assert!(Instant::now() < deadline, "{call:?} is not called");
            tokio::task::yield_now().await;
        }
        end(&world, &id).await;
        world.post("/v1/sessions/revoke", json!({ "tags": ["org:acme"] })).await.expect(202);
        gate.open(1);
        let snapshot = asking.await.unwrap();
        let told = snapshot["items"].as_array().unwrap();
        assert_eq!((told.len(), names(told)), (2, vec![id.as_str()]), "{call:?}: {told:?}");
        assert_eq!(items(&world).await.len(), 2);
    }
}

/// A line that could tell of an end and cannot be read: nobody is told that all is known.
#[tokio::test]
async fn a_damaged_end_is_not_stepped_over() {
    let world = World::new().await;
    let mut hearing = Hearing::of(&world, None).await;
    hearing.until_beat().await;
    let Ok(caller) = world.app.caller(Some(&world.key), None) else { panic!("the key is not known") };
    let (subject, at) = (session_key(caller.env.record.id, SessionId([7; 16])), world.app.now());
    let events = vec![NewEvent { subject, at, body: vec![5, 4, 0xff] }];
    world.store.commit(Batch { bucket: 0, at, ops: Vec::new(), events, tallies: Vec::new() }).await.unwrap();
    while let Ok(told) = hearing.next().await {
        assert!(told.expect("it must not look like an end").get("as_of").is_some());
    }
    assert_eq!(world.get(PATH).await.status, 500);
}
