//! One batch: what it writes, what refuses it, and that it is all or nothing.

use super::world::{
    Ask, NOW, World, batch, cases, create, delete, event, facet, is, key, query, record, rewrite, tally,
    with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::{Batch, Expect, Key, Op, Record, Space, StoreError};

cases![
    what_is_put_is_loaded_as_it_was,
    new_ids_are_insert_only,
    versions_rise_by_one,
    delete_and_put_exclude_each_other,
    a_batch_is_all_or_nothing,
    checks_only_demand,
    big_bodies_and_odd_facets,
    many_records_in_one_batch,
    spaces_never_mix,
    the_clock_floor_rises_with_commits_only,
    a_batch_put_together_wrongly_hurts_nobody,
];

async fn what_is_put_is_loaded_as_it_was(world: World) {
    let whole = Record {
        seen: Some(Millis(5)),
        forget_at: Some(Millis(99)),
        facets: vec![facet(2, "b"), facet(1, "z"), facet(1, "a")],
        body: vec![0, 1, 255, 0],
        ..record(1)
    };
    let bare = Record { body: Vec::new(), ..record(2) };
    world.store.done(batch([create(whole.clone()), create(bare.clone())])).await;
    let loaded = world.store.load(&[key(2), key(3), key(1), key(2)]).await.unwrap();
    let records: Vec<_> =
        loaded.iter().map(|found| found.as_ref().map(|found| found.record.clone())).collect();
    assert_eq!(records, [Some(bare.clone()), None, Some(whole), Some(bare)]);
    assert!(loaded.iter().flatten().all(|found| found.version == 1));
    assert_eq!(world.store.load(&[]).await, Ok(Vec::new()));
}

async fn new_ids_are_insert_only(world: World) {
    world.store.done(batch([create(record(1))])).await;
    let other = Record { body: b"other".to_vec(), facets: vec![facet(1, "x")], ..record(1) };
    let refused = Batch { events: vec![event(1, "no")], ..batch([create(record(2)), create(other)]) };
    world.store.conflict(refused).await;
    assert_eq!(world.store.one(1).await.unwrap().record, record(1));
    assert_eq!(world.store.one(2).await, None);
    assert_eq!(world.store.pages(query([is(1, ["x"])])).await, [0_u32; 0]);
    assert_eq!(world.store.events(None).await, []);
}

async fn versions_rise_by_one(world: World) {
    world.store.done(batch([create(record(1))])).await;
    for version in 1..200 {
        world.store.conflict(batch([rewrite(version + 1, record(1))])).await;
        world.store.done(batch([rewrite(version, record(1))])).await;
        assert_eq!(world.store.one(1).await.unwrap().version, version + 1);
        world.store.conflict(batch([rewrite(version, record(1))])).await;
    }
    world.store.conflict(batch([rewrite(u64::MAX, record(1))])).await;
    world.store.conflict(batch([rewrite(0, record(1))])).await;
    world.store.conflict(batch([rewrite(1, record(2))])).await;
}

async fn delete_and_put_exclude_each_other(world: World) {
    world.store.done(batch([create(with_facets(1, [facet(1, "x")]))])).await;
    world.store.conflict(batch([delete(1, 2)])).await;
    world.store.conflict(batch([Op::Delete { key: key(1), expect: Expect::Absent }])).await;
    world.store.done(batch([delete(1, 1)])).await;
    assert_eq!(world.store.one(1).await, None);
    assert_eq!(world.store.pages(query([is(1, ["x"])])).await, [0_u32; 0]);
    world.store.conflict(batch([rewrite(1, record(1))])).await;
    world.store.conflict(batch([delete(1, 1)])).await;
    world.store.done(batch([Op::Delete { key: key(1), expect: Expect::Absent }])).await;
    world.store.done(batch([create(record(1))])).await;
    assert_eq!(world.store.one(1).await.unwrap().version, 1);
}

async fn a_batch_is_all_or_nothing(world: World) {
    let before: Vec<Op> = (1..=5).map(|n| create(with_facets(n, [facet(1, "old")]))).collect();
    world.store.done(batch(before)).await;
    for wrong in 0..5 {
        let new = |n: u32| with_facets(n, [facet(1, "new")]);
        let mut ops = vec![
            rewrite(1, new(1)),
            create(new(10)),
            delete(2, 1),
            Op::Check { key: key(3), expect: Expect::Version(1) },
            create(new(11)),
        ];
        ops[wrong] = match wrong {
            0 => rewrite(2, new(1)),
            1 => create(new(4)),
            2 => delete(2, 7),
            3 => Op::Check { key: key(3), expect: Expect::Absent },
            _ => create(new(5)),
        };
        let events = vec![event(1, "never"), event(10, "never")];
        let tallies = vec![(tally("live"), 5)];
        world.store.conflict(Batch { events, tallies, at: Millis(NOW.0 + 9), ..batch(ops) }).await;
    }
    for n in 1..=5 {
        assert_eq!(world.store.one(n).await.unwrap().record, with_facets(n, [facet(1, "old")]));
        assert_eq!(world.store.one(n).await.unwrap().version, 1);
    }
    assert_eq!(world.store.pages(query([])).await, [5, 4, 3, 2, 1]);
    assert_eq!(world.store.pages(query([is(1, ["new"])])).await, [0_u32; 0]);
    assert_eq!(world.store.pages(query([is(1, ["old"])])).await, [5, 4, 3, 2, 1]);
    assert_eq!(world.store.events(None).await, []);
    assert_eq!(world.store.tallies().await, Ok(Vec::new()));
    assert_eq!(world.store.clock_floor().await, Ok(NOW));
}

async fn checks_only_demand(world: World) {
    let check = |n, expect| Op::Check { key: key(n), expect };
    world.store.done(batch([create(record(1)), check(2, Expect::Absent)])).await;
    world.store.done(batch([check(1, Expect::Version(1)), check(2, Expect::Absent)])).await;
    world.store.conflict(batch([check(1, Expect::Version(2))])).await;
    world.store.conflict(batch([check(1, Expect::Absent)])).await;
    world.store.conflict(batch([check(2, Expect::Version(1))])).await;
    assert_eq!(world.store.one(1).await.unwrap().version, 1);
    assert_eq!(world.store.one(2).await, None);
}

async fn big_bodies_and_odd_facets(world: World) {
    let long = vec![b'x'; 512];
    let mut longer = long.clone();
    longer[511] = b'y';
    let records = [
        Record { body: vec![7; 64 << 10], ..record(1) },
        with_facets(2, [facet(1, ""), facet(1, "\0"), facet(1, "\0\0")]),
        with_facets(3, [facet(255, &long)]),
        with_facets(4, [facet(0, &longer), facet(255, &longer)]),
        with_facets(5, (0..200).map(|n| facet(9, [n]))),
    ];
    world.store.done(batch(records.clone().map(create))).await;
    for record in &records {
        let loaded = world.store.load(std::slice::from_ref(&record.key)).await.unwrap().remove(0).unwrap();
        assert_eq!(loaded.record, *record);
    }
    assert_eq!(world.store.pages(query([is(1, [""])])).await, [2]);
    assert_eq!(world.store.pages(query([is(1, ["\0"])])).await, [2]);
    assert_eq!(world.store.pages(query([is(255, [std::str::from_utf8(&long).unwrap()])])).await, [3]);
    assert_eq!(world.store.pages(query([is(9, ["\x07"])])).await, [5]);
    let smaller = Record { body: vec![8], ..record(1) };
    world.store.done(batch([rewrite(1, smaller.clone())])).await;
    assert_eq!(world.store.one(1).await.unwrap().record, smaller);
}

async fn many_records_in_one_batch(world: World) {
    let all = |tag: &str| (0..5_000).map(|n| with_facets(n, [facet(1, tag)])).collect::<Vec<_>>();
    world.store.done(batch(all("old").into_iter().map(create))).await;
    let mut events = batch(all("new").into_iter().map(|record| rewrite(1, record)));
    events.events = (0..5_000).map(|n| event(n, "renewed")).collect();
    world.store.done(events).await;
    // The last of many is wrong: nothing.
    let mut wrong: Vec<Op> = all("never").into_iter().map(|record| rewrite(2, record)).collect();
    wrong[4_999] = rewrite(1, record(4_999));
    world.store.conflict(batch(wrong)).await;
    let page = |tag| handstamp_server::store::Query { limit: 1_000, ..query([is(1, [tag])]) };
    assert_eq!(world.store.pages(page("new")).await, (0..5_000).rev().collect::<Vec<_>>());
    assert_eq!(world.store.pages(page("old")).await, [0_u32; 0]);
    assert_eq!(world.store.pages(page("never")).await, [0_u32; 0]);
    assert_eq!(world.store.events(None).await.len(), 5_000);
}

async fn spaces_never_mix(world: World) {
    let spaces = [(0, 0), (1, 0), (1, 6), (1, 7), (1, 8), (1, 7 << 8), (2, 7), (255, u64::MAX)];
    let ids: [&[u8]; 4] = [&[0], &[0, 0], &[0xff], &[0xff; 64]];
    for (number, (kind, env)) in (0u8..).zip(spaces) {
        let space = Space { kind, env };
        let ops = ids.map(|id| {
            let key = Key { space, id: id.into() };
            create(Record { key, body: vec![number], ..with_facets(1, [facet(1, "same")]) })
        });
        world.store.done(batch(ops)).await;
    }
    for (number, (kind, env)) in (0u8..).zip(spaces) {
        let space = Space { kind, env };
        for conditions in [vec![], vec![is(1, ["same"])], vec![super::world::between(1, "a", "z")]] {
            let query = handstamp_server::store::Query { space, ..query(conditions) };
            let page = world.store.search(&query).await.unwrap();
            let found: Vec<&[u8]> = page.items.iter().map(|item| &*item.record.key.id).collect();
            assert_eq!(found, [&[0xff; 64][..], &[0xff], &[0, 0], &[0]]);
            assert!(
                page.items.iter().all(|item| item.record.body == [number] && item.record.key.space == space)
            );
        }
    }
}

async fn the_clock_floor_rises_with_commits_only(world: World) {
    assert_eq!(world.store.clock_floor().await, Ok(Millis(0)));
    for (at, floor) in [(5, 5), (3, 5), (9, 9), (9, 9)] {
        world.store.done(Batch { at: Millis(at), ..batch([]) }).await;
        assert_eq!(world.store.clock_floor().await, Ok(Millis(floor)));
    }
    let check = Op::Check { key: key(1), expect: Expect::Version(1) };
    world.store.conflict(Batch { at: Millis(50), ..batch([check]) }).await;
    world.store.touch(&[(key(1), Millis(60))]).await.unwrap();
    assert_eq!(world.store.clock_floor().await, Ok(Millis(9)));
}

async fn a_batch_put_together_wrongly_hurts_nobody(world: World) {
    let long_id = Key { space: key(1).space, id: vec![1; 65].into() };
    let no_id = Key { space: key(1).space, id: Box::default() };
    let wrong = [
        batch([create(record(1)), create(record(1))]),
        batch((0..20).map(|n| create(record(n % 19)))),
        batch([create(with_facets(1, [facet(1, "a"), facet(1, "a")]))]),
        batch([create(with_facets(1, [facet(1, vec![1; 513])]))]),
        batch([create(Record { key: long_id.clone(), ..record(1) })]),
        batch([create(Record { key: no_id.clone(), ..record(1) })]),
        batch([create(Record { bucket: 4, ..record(1) })]),
    ];
    for batch in wrong {
        assert!(matches!(world.store.commit(batch).await, Err(StoreError::Unavailable(_))));
    }
    assert_eq!(world.store.pages(query([])).await, [0_u32; 0]);
    assert_eq!(world.store.load(&[long_id, no_id]).await, Ok(vec![None, None]));
    world.store.done(batch([create(record(1))])).await;
}
