//! Activity: it rises, and nothing else.

use super::world::{Ask, World, batch, cases, create, facet, is, key, query, record, rewrite, with_facets};
use handstamp_core::time::Millis;
use handstamp_server::store::Record;
use std::sync::Arc;

cases![
    a_touch_raises_and_never_lowers,
    a_put_never_lowers_activity,
    what_may_not_be_touched_is_not,
    touches_race_with_puts
];

fn seen(n: u32, at: i64) -> Record {
    Record { seen: Some(Millis(at)), ..with_facets(n, [facet(1, "x")]) }
}

async fn a_touch_raises_and_never_lowers(world: World) {
    world.store.done(batch([create(seen(1, 10)), create(seen(2, 10))])).await;
    for (at, then) in [(11, 11), (5, 11), (11, 11), (20, 20), (i64::MIN, 20)] {
        world.store.touch(&[(key(1), Millis(at)), (key(9), Millis(at))]).await.unwrap();
        let found = world.store.one(1).await.unwrap();
        assert_eq!((found.record, found.version), (seen(1, then), 1));
    }
    assert_eq!(world.store.one(2).await.unwrap().record, seen(2, 10));
    assert_eq!(world.store.one(9).await, None);
    assert_eq!(world.store.events(None).await, []);
    // The version the caller saw still stands.
    world.store.done(batch([rewrite(1, seen(1, 20))])).await;
    world.store.touch(&[]).await.unwrap();
    assert_eq!(world.store.pages(query([is(1, ["x"])])).await, [2, 1]);
}

async fn a_put_never_lowers_activity(world: World) {
    world.store.done(batch([create(seen(1, 10))])).await;
    world.store.touch(&[(key(1), Millis(50))]).await.unwrap();
    world.store.done(batch([rewrite(1, seen(1, 10))])).await;
    assert_eq!(world.store.one(1).await.unwrap().record, seen(1, 50));
    world.store.done(batch([rewrite(2, seen(1, 60))])).await;
    assert_eq!(world.store.one(1).await.unwrap().record, seen(1, 60));
}

async fn what_may_not_be_touched_is_not(world: World) {
    world.store.done(batch([create(record(1)), create(seen(2, 10))])).await;
    // Ended: from now on a late touch does nothing.
    world.store.done(batch([rewrite(1, Record { seen: None, ..seen(2, 0) })])).await;
    world.store.touch(&[(key(1), Millis(99)), (key(2), Millis(99))]).await.unwrap();
    assert_eq!(world.store.one(1).await.unwrap().record.seen, None);
    assert_eq!(world.store.one(2).await.unwrap().record.seen, None);
    assert_eq!(world.store.one(2).await.unwrap().version, 2);
}

async fn touches_race_with_puts(world: World) {
    world.store.done(batch([create(seen(1, 0))])).await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 1..=200 {
        let store = Arc::clone(&world.store);
        tasks.spawn(async move { store.touch(&[(key(1), Millis(at))]).await.unwrap() });
        let store = Arc::clone(&world.store);
        tasks.spawn(async move {
            let found = store.one(1).await.unwrap();
            // A conflict is fine; lowering what a touch raised is not.
            let _ = store.commit(batch([rewrite(found.version, seen(1, 0))])).await;
            assert!(store.one(1).await.unwrap().record.seen >= found.record.seen);
        });
    }
    tasks.join_all().await;
    assert_eq!(world.store.one(1).await.unwrap().record.seen, Some(Millis(200)));
}
