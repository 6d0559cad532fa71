//! Finding records by their facets, page by page.

use super::world::{
    Ask, SPACE, World, batch, between, cases, create, delete, facet, is, key, number, query, record, rewrite,
    with_facets,
};
use handstamp_server::store::{Condition, Cursor, FacetRange, Op, Query, Store};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

cases![
    each_kind_of_condition,
    facets_follow_rewrites,
    pages_go_on_where_they_ended,
    a_foreign_cursor_finds_nothing,
    wide_ranges_and_rare_hits,
    paging_under_writes,
    paging_under_rewrites,
    a_range_that_grows_while_paging,
];

const USER: u8 = 1;
const TAG: u8 = 2;
const IP: u8 = 3;

/// The last byte of a record's address.
fn low(n: u32) -> u8 {
    n.to_be_bytes()[3]
}

/// 300 records of 30 users, with tags and addresses.
async fn fill(store: &Arc<dyn Store>) {
    let ops: Vec<Op> = (0..300u32)
        .map(|n| {
            let mut facets = vec![
                facet(USER, format!("u{}", n % 30)),
                facet(TAG, "all"),
                facet(IP, [10, low(n / 100), low(n)]),
            ];
            if n % 2 == 0 {
                facets.push(facet(TAG, "even"));
            }
            if n % 3 == 0 {
                facets.push(facet(TAG, "third"));
            }
            create(with_facets(n, facets))
        })
        .collect();
    store.done(batch(ops)).await;
}

fn down(wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    (0..300).rev().filter(|n| wanted(*n)).collect()
}

async fn each_kind_of_condition(world: World) {
    fill(&world.store).await;
    let bytes = |n: u32| Some(n.to_be_bytes().into());
    let odd_range = FacetRange { name: IP, low: [11].into(), high: [10].into() };
    let mixed =
        Condition { any: [is(USER, ["u1", "u2"]).any, between(IP, [10, 2, 40], [10, 2, 42]).any].concat() };
    for (all, wanted) in [
        (vec![], down(|_| true)),
        (vec![is(USER, ["u7"])], down(|n| n % 30 == 7)),
        (vec![is(USER, ["nobody"])], vec![]),
        (vec![is(IP, ["u7"])], vec![]),
        (vec![is(USER, ["u7", "u8", "u7"])], down(|n| n % 30 == 7 || n % 30 == 8)),
        (vec![is(TAG, ["even", "third"])], down(|n| n % 2 == 0 || n % 3 == 0)),
        (vec![is(TAG, ["even"]), is(TAG, ["third"])], down(|n| n % 6 == 0)),
        (vec![is(TAG, ["all"]), is(USER, ["u6"]), is(TAG, ["even"])], down(|n| n % 30 == 6)),
        (vec![is(TAG, ["even"]), is(USER, ["u7"])], vec![]),
        (vec![is(TAG, ["all"]), between(IP, [10, 1], [10, 1, 255])], down(|n| (100..200).contains(&n))),
        (vec![between(USER, "u1", "u1")], down(|n| n % 30 == 1)),
        (vec![Condition { any: vec![] }], vec![]),
        (vec![Condition { any: vec![odd_range] }], vec![]),
    ] {
        for limit in [1, 2, 7, 100, 1_000] {
            let query = Query { limit, ..query(all.clone()) };
            assert_eq!(world.store.pages(query.clone()).await, wanted, "{query:?}");
        }
        let bounded = Query { from: bytes(50), until: bytes(200), limit: 9, ..query(all) };
        let wanted: Vec<u32> = wanted.into_iter().filter(|n| (50..200).contains(n)).collect();
        assert_eq!(world.store.pages(bounded).await, wanted);
    }
    // Ranges may come by value.
    for (all, wanted) in [
        (vec![between(IP, [10, 1], [10, 1, 255])], down(|n| (100..200).contains(&n))),
        (vec![between(IP, [10, 0, 5], [10, 0, 5])], vec![5]),
        (vec![between(TAG, "a", "z"), is(USER, ["u9"])], down(|n| n % 30 == 9)),
        (vec![between(TAG, "a", "z")], down(|_| true)),
        (vec![mixed], down(|n| n % 30 == 1 || n % 30 == 2 || matches!(low(n), 40..=42) && n >= 200)),
    ] {
        for limit in [1, 7, 1_000] {
            let found = world.store.pages(Query { limit, ..query(all.clone()) }).await;
            assert_eq!(sorted(&found), wanted);
        }
    }
    for (from, until, wanted) in [
        (Some(0u32), Some(0u32), vec![]),
        (Some(10), Some(5), vec![]),
        (Some(297), None, vec![299, 298, 297]),
        (None, Some(3), vec![2, 1, 0]),
    ] {
        let query = Query { from: from.and_then(bytes), until: until.and_then(bytes), ..query([]) };
        assert_eq!(world.store.pages(query).await, wanted);
    }
}

/// Newest first; fails on a record that came twice.
fn sorted(found: &[u32]) -> Vec<u32> {
    let set: BTreeSet<u32> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "a record came twice");
    set.into_iter().rev().collect()
}

async fn facets_follow_rewrites(world: World) {
    let tags = |tags: &[&str]| with_facets(1, tags.iter().map(|tag| facet(TAG, tag)));
    world.store.done(batch([create(tags(&["a", "b"]))])).await;
    let steps: [&[&str]; 7] = [&["b", "c"], &["b", "c"], &["c", "b"], &[], &["a"], &["a", "d"], &["e"]];
    for (version, step) in (1..).zip(steps) {
        world.store.done(batch([rewrite(version, tags(step))])).await;
        for tag in ["a", "b", "c", "d", "e"] {
            let wanted: &[u32] = if step.contains(&tag) { &[1] } else { &[] };
            assert_eq!(world.store.pages(query([is(TAG, [tag])])).await, wanted, "{tag} after {step:?}");
            assert_eq!(world.store.pages(query([between(TAG, tag, tag)])).await, wanted);
        }
    }
    world.store.done(batch([delete(1, 8)])).await;
    assert_eq!(world.store.pages(query([between(TAG, "", "z")])).await, [0_u32; 0]);
}

async fn pages_go_on_where_they_ended(world: World) {
    fill(&world.store).await;
    let query = Query { limit: 10, ..query([is(TAG, ["even"])]) };
    let first = world.store.search(&query).await.unwrap();
    assert_eq!(first.items.len(), 10);
    let next = Query { cursor: first.next.clone(), ..query.clone() };
    // The same cursor gives the same page, also with another limit, and whatever came on top meanwhile.
    let again = world.store.search(&next).await.unwrap();
    world.store.done(batch([create(with_facets(1_000, [facet(TAG, "even")]))])).await;
    assert_eq!(world.store.search(&next).await, Ok(again.clone()));
    let longer = world.store.search(&Query { limit: 25, ..next }).await.unwrap();
    assert_eq!(longer.items[..10], again.items);
    assert_eq!(number(&again.items[0].record.key), 278);
    // Limits out of their bounds are brought into them.
    for (limit, found) in [(0, 1), (u32::MAX, 151)] {
        assert_eq!(world.store.search(&Query { limit, ..query.clone() }).await.unwrap().items.len(), found);
    }
}

async fn a_foreign_cursor_finds_nothing(world: World) {
    fill(&world.store).await;
    let query = Query { limit: 10, ..query([is(TAG, ["even"])]) };
    let cursor = world.store.search(&query).await.unwrap().next.unwrap();
    let mut forged: Vec<Cursor> = (0..cursor.0.len()).map(|len| Cursor(cursor.0[..len].into())).collect();
    forged.push(Cursor(Box::new([0xff; 200])));
    let foreign = [
        Query { all: vec![is(TAG, ["third"])], ..query.clone() },
        Query { all: vec![is(IP, ["even"])], ..query.clone() },
        Query { all: vec![], ..query.clone() },
        Query { until: Some([1].into()), ..query.clone() },
        Query { space: handstamp_server::store::Space { kind: 2, ..SPACE }, ..query.clone() },
    ];
    for foreign in foreign {
        let page = world.store.search(&Query { cursor: Some(cursor.clone()), ..foreign }).await.unwrap();
        assert_eq!((page.items, page.next), (vec![], None));
    }
    for forged in forged {
        // A shortened id is still an id: what it finds must match, and no more is promised.
        let page = world.store.search(&Query { cursor: Some(forged), ..query.clone() }).await.unwrap();
        assert!(page.items.iter().all(|item| number(&item.record.key).is_multiple_of(2)));
    }
}

/// Enough records that no store can look at all of them for one page.
async fn wide_ranges_and_rare_hits(world: World) {
    let all: Vec<u32> = (0..9_000).collect();
    for part in all.chunks(3_000) {
        let ops = part.iter().map(|n| {
            let mut facets = vec![
                facet(TAG, "all"),
                facet(TAG, "many"),
                facet(IP, (n.wrapping_mul(7_919) % 9_000).to_be_bytes()),
            ];
            if n % 3_000 == 17 {
                facets.push(facet(TAG, "rare"));
            }
            create(with_facets(*n, facets))
        });
        world.store.done(batch(ops)).await;
    }
    let wide = || between(IP, 0u32.to_be_bytes(), u32::MAX.to_be_bytes());
    let big = |all: Vec<Condition>| Query { limit: 1_000, ..query(all) };
    assert_eq!(world.store.pages(query([is(TAG, ["rare"]), is(TAG, ["all"])])).await, [6_017, 3_017, 17]);
    assert_eq!(
        world.store.pages(query([is(TAG, ["many"]), is(TAG, ["all"]), is(TAG, ["none"])])).await,
        [0_u32; 0]
    );
    assert_eq!(sorted(&world.store.pages(big(vec![wide()])).await).len(), 9_000);
    assert_eq!(sorted(&world.store.pages(big(vec![between(TAG, "a", "z")])).await).len(), 9_000);
    assert_eq!(world.store.pages(query([wide(), is(TAG, ["rare"])])).await, [6_017, 3_017, 17]);
    let both = between(IP, 0u32.to_be_bytes(), 4_499u32.to_be_bytes());
    let narrow = vec![both.clone(), is(TAG, ["all"]), wide()];
    assert_eq!(sorted(&world.store.pages(big(narrow)).await).len(), 4_500);
    let overlapping = Condition { any: [both.any.clone(), both.any, wide().any].concat() };
    assert_eq!(sorted(&world.store.pages(big(vec![overlapping])).await).len(), 9_000);
    let some = Query {
        from: Some(100u32.to_be_bytes().into()),
        until: Some(110u32.to_be_bytes().into()),
        ..query([wide()])
    };
    assert_eq!(world.store.pages(some).await, (100..110).rev().collect::<Vec<_>>());
}

/// Records come and go while somebody pages: those that are there all the time are seen exactly once.
async fn paging_under_writes(world: World) {
    let stays = |n: u32| with_facets(n * 10, [facet(TAG, "x"), facet(IP, (n * 10).to_be_bytes())]);
    world.store.done(batch((0..500).map(|n| create(stays(n))))).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 1..5u32 {
        let (store, done) = (Arc::clone(&world.store), Arc::clone(&done));
        writers.spawn(async move {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n = (n + 7) % 500;
                let own = n * 10 + writer;
                store
                    .done(batch([create(with_facets(own, [facet(TAG, "x"), facet(IP, own.to_be_bytes())]))]))
                    .await;
                store.done(batch([delete(own, 1)])).await;
            }
        });
    }
    let range = between(IP, [0], [255]);
    for all in [
        vec![is(TAG, ["x"])],
        vec![],
        vec![range.clone()],
        vec![range, is(TAG, ["x"])],
        vec![is(TAG, ["x", "y"])],
    ] {
        for limit in [3, 40] {
            let found = sorted(&world.store.pages(Query { limit, ..query(all.clone()) }).await);
            let stayed: Vec<u32> = found.into_iter().filter(|n| n % 10 == 0).collect();
            assert_eq!(stayed, (0..500).rev().map(|n| n * 10).collect::<Vec<_>>(), "{all:?} by {limit}");
        }
    }
    done.store(true, Ordering::Relaxed);
    writers.join_all().await;
}

/// Records change other facets, and back, while somebody pages by one that stays.
async fn paging_under_rewrites(world: World) {
    let record_of = |n: u32, round: u64| {
        let other = format!("{}", (u64::from(n) + round) % 5);
        with_facets(n, [facet(TAG, "x"), facet(USER, other)])
    };
    world.store.done(batch((0..300).map(|n| create(record_of(n, 0))))).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, done) = (Arc::clone(&world.store), Arc::clone(&done));
        tokio::spawn(async move {
            let mut round = 1;
            while !done.load(Ordering::Relaxed) {
                store.done(batch((0..300).map(|n| rewrite(round, record_of(n, round))))).await;
                round += 1;
            }
        })
    };
    for _ in 0..5 {
        assert_eq!(world.store.pages(Query { limit: 7, ..query([is(TAG, ["x"])]) }).await.len(), 300);
        let both = vec![is(TAG, ["x"]), between(USER, "0", "9")];
        assert_eq!(sorted(&world.store.pages(Query { limit: 7, ..query(both) }).await).len(), 300);
        // In one snapshot each record has exactly one value.
        let page =
            world.store.search(&Query { limit: 1_000, ..query([between(USER, "0", "9")]) }).await.unwrap();
        let found: Vec<u32> = page.items.iter().map(|item| number(&item.record.key)).collect();
        assert_eq!(sorted(&found).len(), 300);
        assert!(page.items.iter().all(|item| item.version == page.items[0].version), "half a batch was seen");
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    assert_eq!(world.store.load(&[key(1)]).await.unwrap().len(), 1);
    assert_ne!(world.store.one(1).await.unwrap().record, record(1));
}

/// A range that was narrow when somebody began to page, and is wide when they go on.
async fn a_range_that_grows_while_paging(world: World) {
    let made = |n: u32| create(with_facets(n, [facet(IP, n.to_be_bytes()), facet(TAG, "x")]));
    world.store.done(batch((0..900).map(|n| made(n * 10)))).await;
    for all in [vec![between(IP, [0], [255])], vec![between(IP, [0], [255]), between(TAG, "a", "z")]] {
        let mut query = Query { limit: 100, ..query(all) };
        let first = world.store.search(&query).await.unwrap();
        let mut found: Vec<u32> = first.items.iter().map(|item| number(&item.record.key)).collect();
        for part in 1..8 {
            let new = (0..900).map(|n| n * 10 + part);
            let store = &world.store;
            if store.one(part).await.is_none() {
                store.done(batch(new.map(made))).await;
            }
        }
        query.cursor = first.next;
        found.extend(world.store.pages(query).await);
        let stayed: Vec<u32> = sorted(&found).into_iter().filter(|n| n % 10 == 0).collect();
        assert_eq!(stayed, (0..900).rev().map(|n| n * 10).collect::<Vec<_>>());
    }
}
