//! Activity: it rises, and nothing else.

use super::world::{Ask, World, batch, cases, create, facet, is, key, query, record, rewrite, with_facets};
use handstamp_core::time::Millis;
use handstamp_server::store::{Expect, Op, Record};
use std::sync::Arc;

cases![
    a_touch_raises_and_never_lowers,
    a_put_never_lowers_activity,
    what_may_not_be_touched_is_not,
    who_thought_nobody_touched_it_is_told,
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

/// Who decides by how long nobody touched it says what they knew, and is in conflict with activity of which they did not.
async fn who_thought_nobody_touched_it_is_told(world: World) {
    let untouched = |version, since| Expect::Untouched { version, since: Millis(since) };
    let put = |expect, record| batch([Op::Put { expect, record }]);
    let check = |version, since| batch([Op::Check { key: key(1), expect: untouched(version, since) }]);
    world.store.conflict(check(1, 99)).await;
    world.store.done(batch([create(seen(1, 10)), create(record(2))])).await;
    world.store.done(check(1, 10)).await;
    world.store.conflict(check(1, 9)).await;
    world.store.conflict(check(2, 99)).await;
    world.store.touch(&[(key(1), Millis(20))]).await.unwrap();
    for (since, holds) in [(i64::MIN, false), (10, false), (19, false), (20, true), (i64::MAX, true)] {
        let end = Record { seen: None, ..seen(1, 0) };
        let both = [
            Op::Put { expect: untouched(1, since), record: end },
            Op::Put { expect: Expect::Version(1), record: Record { body: b"other".to_vec(), ..record(2) } },
        ];
        if holds && since == 20 {
            world.store.done(batch(both)).await;
        } else if !holds {
            world.store.conflict(batch(both)).await;
            assert_eq!(world.store.one(1).await.unwrap().record, seen(1, 20));
            assert_eq!(world.store.one(2).await.unwrap().version, 1, "all or nothing");
        }
    }
    // What is not touched any more has nothing to be wrong about.
    world.store.conflict(put(untouched(1, 99), record(1))).await;
    world.store.done(put(untouched(2, i64::MIN), seen(1, 30))).await;
    // Nor is what one batch wrote unknown to the next one of the same moment.
    let gone = Op::Delete { key: key(1), expect: untouched(3, 29) };
    world.store.conflict(batch([gone])).await;
    world.store.done(batch([Op::Delete { key: key(1), expect: untouched(3, 30) }])).await;
    assert_eq!(world.store.one(1).await, None);
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
