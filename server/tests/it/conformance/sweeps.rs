//! Housekeeping: exact at the instant, bounded, and with everything that belongs to a record.

use super::world::{
    Ask, NOW, World, batch, between, cases, create, delete, event, facet, is, query, record, rewrite,
    with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::{Batch, Record};
use std::sync::Arc;

cases![
    a_sweep_is_exact_at_the_instant,
    a_sweep_is_bounded,
    a_sweep_takes_history_and_facets,
    deleted_records_leave_no_history_for_ever,
    a_sweep_beside_writers,
];

fn until(n: u32, forget_at: i64) -> Record {
    Record { forget_at: Some(Millis(forget_at)), ..with_facets(n, [facet(1, "x")]) }
}

async fn a_sweep_is_exact_at_the_instant(world: World) {
    world.store.done(batch([create(until(1, 100)), create(until(2, 101)), create(record(3))])).await;
    assert_eq!(world.store.sweep(Millis(99), 10).await, Ok(0));
    assert_eq!(world.store.pages(query([])).await, [3, 2, 1]);
    assert_eq!(world.store.sweep(Millis(100), 10).await, Ok(1));
    assert_eq!(world.store.pages(query([])).await, [3, 2]);
    // A rewrite moves the instant, both ways, and away.
    world
        .store
        .done(batch([rewrite(1, until(2, 500)), rewrite(1, until(3, 200)), create(until(4, 150))]))
        .await;
    world.store.done(batch([rewrite(1, Record { forget_at: None, ..until(4, 0) })])).await;
    assert_eq!(world.store.sweep(Millis(499), 10).await, Ok(1));
    assert_eq!(world.store.pages(query([])).await, [4, 2]);
    assert_eq!(world.store.sweep(Millis(i64::MAX), 10).await, Ok(1));
    assert_eq!(world.store.sweep(Millis(i64::MAX), 10).await, Ok(0));
    assert_eq!(world.store.pages(query([])).await, [4]);
    // Swept is gone: the id is free, and begins at version 1.
    world.store.conflict(batch([rewrite(1, until(1, 1))])).await;
    world.store.done(batch([create(until(1, 1))])).await;
    assert_eq!(world.store.one(1).await.unwrap().version, 1);
}

async fn a_sweep_is_bounded(world: World) {
    world.store.done(batch((0..500).map(|n| create(until(n, i64::from(n)))))).await;
    assert_eq!(world.store.sweep(NOW, 0).await, Ok(0));
    for (limit, swept) in [(1, 1), (200, 200), (3, 3)] {
        assert_eq!(world.store.sweep(NOW, limit).await, Ok(swept));
    }
    // The longest overdue went first.
    assert_eq!(world.store.pages(query([is(1, ["x"])])).await, (204..500).rev().collect::<Vec<_>>());
    assert_eq!(world.store.sweep(NOW, 1_000).await, Ok(296));
    assert_eq!(world.store.pages(query([])).await, [0_u32; 0]);
}

async fn a_sweep_takes_history_and_facets(world: World) {
    let events = (0..3_000).map(|n| event(n % 2, format!("{n}"))).collect();
    world.store.done(Batch { events, ..batch([create(until(0, 10)), create(until(1, 20))]) }).await;
    assert_eq!(world.store.sweep(Millis(10), 10).await, Ok(1));
    assert_eq!(world.store.events(Some(0)).await, []);
    assert_eq!(world.store.events(Some(1)).await.len(), 1_500);
    assert_eq!(world.store.events(None).await.len(), 1_500);
    assert_eq!(world.store.pages(query([is(1, ["x"])])).await, [1]);
    assert_eq!(world.store.pages(query([between(1, "", "z")])).await, [1]);
}

async fn deleted_records_leave_no_history_for_ever(world: World) {
    for n in 1..=4 {
        world.store.done(Batch { events: vec![event(n, "made")], ..batch([create(until(n, 100))]) }).await;
        world.store.done(batch([delete(n, 1)])).await;
    }
    // One lives again without an end, one with a later end, one with an earlier.
    world.store.done(batch([create(record(2)), create(until(3, 300)), create(until(4, 50))])).await;
    assert_eq!(world.store.sweep(Millis(99), 10).await, Ok(1));
    assert_eq!(world.store.events(Some(1)).await.len(), 1);
    assert_eq!(world.store.events(Some(4)).await, []);
    world.store.sweep(Millis(100), 10).await.unwrap();
    assert_eq!(world.store.events(Some(1)).await, []);
    assert_eq!(world.store.events(Some(2)).await.len(), 1);
    assert_eq!(world.store.events(Some(3)).await.len(), 1);
    assert_eq!(world.store.pages(query([])).await, [3, 2]);
    assert_eq!(world.store.sweep(Millis(300), 10).await, Ok(1));
    assert_eq!(world.store.events(None).await.len(), 1);
}

async fn a_sweep_beside_writers(world: World) {
    world.store.done(batch((0..1_000).map(|n| create(until(n, i64::from(n % 2) * i64::MAX))))).await;
    let store = Arc::clone(&world.store);
    let writer = tokio::spawn(async move {
        for n in (1..1_000).step_by(2) {
            store.done(batch([rewrite(1, until(n, i64::MAX)), create(until(n + 5_000, 0))])).await;
        }
    });
    let mut swept = 0;
    while swept < 1_000 {
        swept += world.store.sweep(NOW, 100).await.unwrap();
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(world.store.sweep(NOW, 100).await, Ok(0));
    let left = handstamp_server::store::Query { limit: 1_000, ..query([is(1, ["x"])]) };
    assert_eq!(world.store.pages(left).await, (0..1_000).rev().filter(|n| n % 2 == 1).collect::<Vec<_>>());
}
