//! Many at once: exactly one wins each version, nothing is lost, nothing is counted twice.

use super::world::{
    Ask, NOW, World, batch, cases, create, delete, event, facet, is, key, query, record, rewrite, tally,
    with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::{Batch, Expect, Op, Record, Store, StoreError};
use std::sync::Arc;
use tokio::task::JoinSet;

cases![
    no_update_is_lost,
    one_rotation_wins_each_version,
    one_create_wins_an_id,
    delete_against_put,
    tallies_are_exact,
    tallies_stop_at_the_end_of_the_scale,
    a_reader_sees_what_was_acknowledged,
    checks_hold_against_writers,
];

/// Adds one to the number in the record's body, again until it goes through.
async fn increment(store: &Arc<dyn Store>, n: u32) {
    loop {
        let found = store.one(n).await.unwrap();
        let count = u32::from_be_bytes(found.record.body.as_slice().try_into().unwrap()) + 1;
        let next = Record { body: count.to_be_bytes().to_vec(), ..found.record };
        let ops = batch([rewrite(found.version, next)]);
        match store.commit(Batch { events: vec![event(n, count.to_be_bytes())], ..ops }).await {
            Ok(()) => return,
            Err(StoreError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn no_update_is_lost(world: World) {
    world.store.done(batch([create(Record { body: vec![0; 4], ..record(1) })])).await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let store = Arc::clone(&world.store);
        tasks.spawn(async move { increment(&store, 1).await });
    }
    tasks.join_all().await;
    let end = world.store.one(1).await.unwrap();
    assert_eq!(end.record.body, 100u32.to_be_bytes());
    assert_eq!(end.version, 101);
    let history: Vec<_> = world.store.events(Some(1)).await.into_iter().map(|event| event.body).collect();
    assert_eq!(history, (1..=100u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
}

async fn one_rotation_wins_each_version(world: World) {
    world.store.done(batch([create(record(1))])).await;
    for version in 1..=20 {
        let mut tasks = JoinSet::new();
        for who in 0..100u8 {
            let store = Arc::clone(&world.store);
            tasks.spawn(async move {
                let next = Record { body: vec![who], ..with_facets(1, [facet(1, [who])]) };
                let rotation = batch([rewrite(version, next)]);
                let tallies = vec![(tally("won"), 1)];
                (who, store.commit(Batch { events: vec![event(1, [who])], tallies, ..rotation }).await)
            });
        }
        let answers = tasks.join_all().await;
        let winners: Vec<u8> =
            answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(who, _)| *who).collect();
        assert_eq!(winners.len(), 1, "{winners:?} all won version {version}");
        assert_eq!(answers.iter().filter(|(_, answer)| *answer == Err(StoreError::Conflict)).count(), 99);
        let now = world.store.one(1).await.unwrap();
        assert_eq!((now.version, now.record.body), (version + 1, winners.clone()));
        assert_eq!(world.store.events(Some(1)).await.last().unwrap().body, winners);
    }
    assert_eq!(world.store.events(None).await.len(), 20);
    assert_eq!(world.store.counted("won").await, 20);
    assert_eq!(world.store.pages(query([super::world::between(1, [0], [255])])).await, [1]);
}

async fn one_create_wins_an_id(world: World) {
    for n in 0..10 {
        let mut tasks = JoinSet::new();
        for who in 0..50u8 {
            let store = Arc::clone(&world.store);
            // Each also makes a record of its own: it must not be there when the shared id was taken.
            let own = 1_000 + n * 100 + u32::from(who);
            let ops = [
                create(with_facets(own, [facet(1, "own")])),
                create(Record { body: vec![who], ..record(n) }),
            ];
            tasks.spawn(async move { (own, store.commit(batch(ops)).await.is_ok()) });
        }
        let won: Vec<u32> =
            tasks.join_all().await.into_iter().filter(|(_, won)| *won).map(|(own, _)| own).collect();
        assert_eq!(won.len(), 1);
        assert!(world.store.one(won[0]).await.is_some());
    }
    assert_eq!(world.store.pages(query([is(1, ["own"])])).await.len(), 10);
    assert_eq!(world.store.pages(query([])).await.len(), 20);
}

async fn delete_against_put(world: World) {
    for n in 0..50 {
        world.store.done(batch([create(with_facets(n, [facet(1, "a")]))])).await;
        let (one, two) = (Arc::clone(&world.store), Arc::clone(&world.store));
        let delete = tokio::spawn(async move { one.commit(batch([delete(n, 1)])).await });
        let put =
            tokio::spawn(
                async move { two.commit(batch([rewrite(1, with_facets(n, [facet(1, "b")]))])).await },
            );
        let (delete, put) = (delete.await.unwrap(), put.await.unwrap());
        assert!(delete.is_ok() != put.is_ok(), "{delete:?} {put:?}");
        assert_eq!(world.store.one(n).await.is_some(), put.is_ok());
        assert_eq!(world.store.pages(query([is(1, ["b"])])).await.contains(&n), put.is_ok());
        assert_eq!(world.store.pages(query([is(1, ["a"])])).await, [0_u32; 0]);
    }
}

async fn tallies_are_exact(world: World) {
    world.store.done(batch([create(record(0))])).await;
    let mut tasks = JoinSet::new();
    for n in 1..=1_000u32 {
        let store = Arc::clone(&world.store);
        tasks.spawn(async move {
            let tallies = vec![
                (tally("live"), 1),
                (tally(&format!("tag {}", n % 7)), i64::from(n)),
                (tally("down"), -2),
            ];
            // Every tenth expects what is not there.
            let op = if n % 10 == 0 { create(record(0)) } else { create(record(n)) };
            let answer =
                store.commit(Batch { tallies, at: Millis(NOW.0 + i64::from(n)), ..batch([op]) }).await;
            assert_eq!(answer.is_ok(), n % 10 != 0);
        });
    }
    tasks.join_all().await;
    assert_eq!(world.store.counted("live").await, 900);
    assert_eq!(world.store.counted("down").await, -1_800);
    for tag in 0..7u32 {
        let expected: u32 = (1..=1_000).filter(|n| n % 7 == tag && n % 10 != 0).sum();
        assert_eq!(world.store.counted(&format!("tag {tag}")).await, i64::from(expected));
    }
    assert_eq!(world.store.clock_floor().await, Ok(Millis(NOW.0 + 999)));
    world.store.done(Batch { tallies: vec![(tally("live"), -900)], ..batch([]) }).await;
    assert!(world.store.tallies().await.unwrap().iter().all(|(found, n)| *found != tally("live") && *n != 0));
}

async fn tallies_stop_at_the_end_of_the_scale(world: World) {
    for (delta, value) in
        [(i64::MAX, i64::MAX), (5, i64::MAX), (i64::MIN, -1), (i64::MIN, i64::MIN), (-1, i64::MIN)]
    {
        world.store.done(Batch { tallies: vec![(tally("t"), delta)], ..batch([]) }).await;
        assert_eq!(world.store.counted("t").await, value);
    }
}

async fn a_reader_sees_what_was_acknowledged(world: World) {
    let mut tasks = JoinSet::new();
    for writer in 0..8u32 {
        let store = Arc::clone(&world.store);
        tasks.spawn(async move {
            for n in (0..50).map(|n| writer * 1_000 + n) {
                store.done(batch([create(with_facets(n, [facet(1, "x")]))])).await;
                assert!(store.one(n).await.is_some(), "an acknowledged record is not there");
                assert_eq!(
                    store
                        .pages(query([is(1, ["x"]), is(1, ["x"])]))
                        .await
                        .iter()
                        .filter(|m| **m == n)
                        .count(),
                    1
                );
            }
        });
    }
    tasks.join_all().await;
}

/// Two that each check what the other writes: both cannot go through.
async fn checks_hold_against_writers(world: World) {
    for n in (0..60).step_by(2) {
        world.store.done(batch([create(record(n)), create(record(n + 1))])).await;
        let mut tasks = JoinSet::new();
        for (mine, theirs) in [(n, n + 1), (n + 1, n)] {
            let store = Arc::clone(&world.store);
            let check = Op::Check { key: key(theirs), expect: Expect::Version(1) };
            tasks.spawn(async move { store.commit(batch([check, rewrite(1, record(mine))])).await.is_ok() });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|won| *won).count(), 1);
    }
}
