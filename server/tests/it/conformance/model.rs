//! Random calls: every store answers as the one in memory does.

use super::world::{Ask, World, batch, between, cases, create, event, facet, is, key, query, record, tally};
use handstamp_core::time::Millis;
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Batch, Expect, Op, Query, Record, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::sync::Arc;

cases![random_calls_answer_as_memory_does];

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

#[derive(Clone, Debug)]
enum Call {
    Commit(Vec<(u32, Step)>, i64, i64),
    Touch(Vec<(u32, i64)>),
    Sweep(i64, u32),
    Search(Vec<(u8, u8, u8)>, u32),
    Reopen,
}

/// What is done to a record, expecting the version it has plus the number (mostly 0), and perhaps that nobody touched it later.
#[derive(Clone, Debug)]
enum Step {
    Put { facets: Vec<(u8, u8)>, seen: Option<i64>, forget_at: Option<i64>, off: u64, since: Option<i64> },
    Create { facets: Vec<(u8, u8)>, forget_at: Option<i64> },
    Delete { off: u64 },
    Check { off: u64, since: Option<i64> },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let facets = || {
        prop::collection::btree_set((0u8..3, 0u8..4), 0..4)
            .prop_map(|set| set.into_iter().collect::<Vec<_>>())
    };
    let off = || prop_oneof![9 => Just(0u64), 1 => Just(1u64)];
    let some = || prop::option::of(0i64..60);
    let step = prop_oneof![
        4 => (facets(), some(), some(), off(), some())
            .prop_map(|(facets, seen, forget_at, off, since)| Step::Put { facets, seen, forget_at, off, since }),
        3 => (facets(), some()).prop_map(|(facets, forget_at)| Step::Create { facets, forget_at }),
        1 => off().prop_map(|off| Step::Delete { off }),
        1 => (off(), some()).prop_map(|(off, since)| Step::Check { off, since }),
    ];
    let steps =
        prop::collection::btree_map(0u32..12, step, 0..4).prop_map(|map| map.into_iter().collect::<Vec<_>>());
    let call = prop_oneof![
        8 => (steps, 0i64..60, -3i64..4).prop_map(|(steps, at, delta)| Call::Commit(steps, at, delta)),
        2 => prop::collection::vec((0u32..12, 0i64..60), 0..4).prop_map(Call::Touch),
        2 => (0i64..60, 0u32..4).prop_map(|(now, limit)| Call::Sweep(now, limit * 100)),
        3 => (prop::collection::vec((0u8..3, 0u8..4, 0u8..4), 0..3), 1u32..5).prop_map(|(all, limit)| Call::Search(all, limit)),
        1 => Just(Call::Reopen),
    ];
    prop::collection::vec(call, 1..40)
}

/// Turns steps into a batch for a store that has these versions.
async fn batch_of(
    store: &Arc<dyn Store>,
    steps: &[(u32, Step)],
    at: i64,
    delta: i64,
    instant: impl Fn(i64) -> Millis,
) -> Batch {
    let mut ops = Vec::new();
    let make = |n, facets: &[(u8, u8)], seen: Option<i64>, forget_at: Option<i64>| Record {
        facets: facets.iter().map(|(name, value)| facet(*name, [*value])).collect(),
        seen: seen.map(&instant),
        forget_at: forget_at.map(&instant),
        ..record(n)
    };
    for (n, step) in steps {
        let version = store.one(*n).await.map_or(1, |found| found.version);
        let expect = |off: &u64, since: &Option<i64>| {
            let version = version + off;
            since.map_or(Expect::Version(version), |since| Expect::Untouched {
                version,
                since: instant(since),
            })
        };
        ops.push(match step {
            Step::Put { facets, seen, forget_at, off, since } => {
                Op::Put { expect: expect(off, since), record: make(*n, facets, *seen, *forget_at) }
            }
            Step::Create { facets, forget_at } => create(make(*n, facets, Some(1), *forget_at)),
            Step::Delete { off } => Op::Delete { key: key(*n), expect: Expect::Version(version + off) },
            Step::Check { off, since } => Op::Check { key: key(*n), expect: expect(off, since) },
        });
    }
    let events = steps.iter().map(|(n, _)| event(*n, format!("{at}"))).collect();
    Batch { at: instant(at), events, tallies: vec![(tally("t"), delta)], ..batch(ops) }
}

async fn random_calls_answer_as_memory_does(mut world: World) {
    // Fixed, so that a failure is the same for everybody.
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]));
    for round in 0..60 {
        // Each round is 100 days after the one before, and its steps are hours apart: what is forgotten spreads over
        // days, and what one round forgot has no part in the next.
        let instant = |n: i64| Millis(i64::from(round) * 100 * DAY + n * 2 * HOUR);
        let script = calls().new_tree(&mut runner).unwrap().current();
        let model: Arc<dyn Store> = Arc::new(Memory::new());
        clear(&world.store).await;
        let (mut before, start) = (Vec::new(), world.store.counted("t").await);
        for call in &script {
            before.push(call.clone());
            let context = || format!("round {round}: {before:?}");
            match call {
                Call::Commit(steps, at, delta) => {
                    let batch = batch_of(&model, steps, *at, *delta, instant).await;
                    assert_eq!(
                        world.store.commit(batch.clone()).await,
                        model.commit(batch).await,
                        "{}",
                        context()
                    );
                }
                Call::Touch(seen) => {
                    let seen: Vec<_> = seen.iter().map(|(n, at)| (key(*n), instant(*at))).collect();
                    assert_eq!(world.store.touch(&seen).await, model.touch(&seen).await);
                }
                Call::Sweep(now, limit) => {
                    let (now, limit) = (instant(*now), *limit);
                    assert_eq!(
                        world.store.sweep(now, limit).await,
                        model.sweep(now, limit).await,
                        "{}",
                        context()
                    );
                }
                Call::Search(all, limit) => {
                    let all: Vec<_> = all
                        .iter()
                        .map(|(name, a, b)| {
                            if a == b {
                                is(*name, [std::str::from_utf8(&[*a]).unwrap()])
                            } else {
                                between(*name, [*a], [*b])
                            }
                        })
                        .collect();
                    let query = Query { limit: *limit, ..query(all) };
                    let (mut here, mut there) =
                        (world.store.pages(query.clone()).await, model.pages(query).await);
                    here.sort_unstable();
                    there.sort_unstable();
                    assert_eq!(here, there, "{}", context());
                }
                Call::Reopen if world.durable() => world.reopen().await,
                Call::Reopen => {}
            }
        }
        let keys: Vec<_> = (0..12).map(key).collect();
        assert_eq!(world.store.load(&keys).await, model.load(&keys).await, "round {round}: {before:?}");
        let told = |events: Vec<handstamp_server::store::StoredEvent>| {
            events.into_iter().map(|event| (event.subject, event.body)).collect::<Vec<_>>()
        };
        assert_eq!(
            told(world.store.events(None).await),
            told(model.events(None).await),
            "round {round}: {before:?}"
        );
        assert_eq!(world.store.counted("t").await - start, model.counted("t").await);
    }
}

/// Empties the store as its callers can: everything is made to be forgotten, and swept.
async fn clear(store: &Arc<dyn Store>) {
    for n in 0..12 {
        let expect = store.one(n).await.map_or(Expect::Absent, |found| Expect::Version(found.version));
        let record = Record { forget_at: Some(Millis(i64::MAX)), ..record(n) };
        store.done(batch([Op::Put { expect, record }])).await;
    }
    while store.sweep(Millis(i64::MAX), 100).await.unwrap() > 0 {}
    assert_eq!(store.events(None).await, []);
}
