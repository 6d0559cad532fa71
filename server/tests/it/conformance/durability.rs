//! What is there after a restart, and what a closed store says.

use super::world::{
    Ask, NOW, World, batch, cases, create, delete, event, facet, is, key, query, record, rewrite, tally,
    with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::{Batch, EventQuery, Record, StoreError};
use std::sync::Arc;

cases![a_restart_keeps_everything, a_closed_store_says_so, closing_finishes_what_runs, a_probe_is_no_trace];

async fn a_restart_keeps_everything(mut world: World) {
    if !world.durable() {
        return;
    }
    let seen = |at| Record {
        seen: Some(Millis(at)),
        forget_at: Some(NOW),
        ..with_facets(1, [facet(1, "a"), facet(1, "b")])
    };
    let events = vec![event(1, "one"), event(2, "two")];
    let tallies = vec![(tally("live"), 3), (tally("none"), 0)];
    world
        .store
        .done(Batch { events, tallies, at: Millis(77), ..batch([create(seen(1)), create(record(2))]) })
        .await;
    world
        .store
        .done(Batch {
            at: Millis(70),
            ..batch([rewrite(1, with_facets(2, [facet(1, "b")])), create(record(3))])
        })
        .await;
    world.store.done(Batch { at: Millis(71), ..batch([delete(3, 1)]) }).await;
    world.store.touch(&[(key(1), Millis(9))]).await.unwrap();
    let before = (
        world.store.load(&[key(1), key(2), key(3)]).await,
        world.store.events(None).await,
        world.store.tallies().await,
        world.store.clock_floor().await,
    );
    for _ in 0..3 {
        world.reopen().await;
        let after = (
            world.store.load(&[key(1), key(2), key(3)]).await,
            world.store.events(None).await,
            world.store.tallies().await,
            world.store.clock_floor().await,
        );
        assert_eq!(after, before);
        assert_eq!(world.store.one(1).await.unwrap().record, seen(9));
        assert_eq!(after.3, Ok(Millis(77)));
        assert_eq!(world.store.pages(query([is(1, ["b"])])).await, [2, 1]);
        assert_eq!(world.store.pages(query([is(1, ["a"])])).await, [1]);
    }
    world.store.done(batch([rewrite(2, record(2))])).await;
    assert_eq!(world.store.sweep(NOW, 10).await, Ok(1));
    world.reopen().await;
    assert_eq!(world.store.pages(query([])).await, [2]);
}

async fn a_closed_store_says_so(world: World) {
    world.store.done(batch([create(record(1))])).await;
    world.store.close().await;
    world.store.close().await;
    let closed = |error: StoreError| assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    closed(world.store.load(&[key(1)]).await.unwrap_err());
    closed(world.store.commit(batch([create(record(2))])).await.unwrap_err());
    closed(world.store.touch(&[(key(1), NOW)]).await.unwrap_err());
    closed(world.store.search(&query([])).await.unwrap_err());
    closed(
        world
            .store
            .history(&EventQuery { subject: None, env: None, after: None, since: None, limit: 1 })
            .await
            .unwrap_err(),
    );
    closed(world.store.head().await.unwrap_err());
    closed(world.store.amend(&[]).await.unwrap_err());
    closed(world.store.scrub().await.unwrap_err());
    closed(world.store.sweep(NOW, 1).await.unwrap_err());
    closed(world.store.tallies().await.unwrap_err());
    closed(world.store.clock_floor().await.unwrap_err());
    closed(world.store.probe().await.unwrap_err());
}

/// Commits that race with a close either went through, and are there afterwards, or were told that they did not.
async fn closing_finishes_what_runs(mut world: World) {
    let mut commits = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = Arc::clone(&world.store);
        commits.spawn(async move { (n, store.commit(batch([create(record(n))])).await) });
    }
    let first = commits.join_next().await.unwrap().unwrap();
    let (durable, store) = (world.durable(), Arc::clone(&world.store));
    store.close().await;
    let mut answers = commits.join_all().await;
    answers.push(first);
    if durable {
        world.reopen().await;
        for (n, answer) in answers {
            assert_eq!(world.store.one(n).await.is_some(), answer.is_ok(), "{n}: {answer:?}");
        }
    }
}

async fn a_probe_is_no_trace(world: World) {
    for _ in 0..3 {
        world.store.probe().await.unwrap();
    }
    assert_eq!(world.store.tallies().await, Ok(vec![]));
    assert_eq!(world.store.events(None).await, []);
    assert_eq!(world.store.clock_floor().await, Ok(Millis(0)));
}
