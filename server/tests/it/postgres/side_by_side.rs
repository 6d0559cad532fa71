//! Several nodes on one database: who waits for whom, in which order history reads, and what a lost connection means.

use super::cluster::{Cluster, Stop, shared};
use super::nodes::{look, node, number};
use crate::conformance::world::{Ask, batch, create, event, facet, key, record, rewrite, tally, with_facets};
use handstamp_server::store::{Batch, EventQuery, Expect, Op, Record, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Batches of two nodes that share most of their keys, in every order: nobody waits in a circle.
#[tokio::test]
async fn shared_keys_in_any_order_are_no_deadlock() {
    let cluster = Cluster::start();
    let address = cluster.fresh();
    let nodes = [node(&address).await, node(&address).await];
    nodes[0].done(batch((0..30).map(|n| create(with_facets(n, [facet(1, "x")]))))).await;
    let mut tasks = JoinSet::new();
    for task in 0..16_u32 {
        let store = Arc::clone(&nodes[(task % 2) as usize]);
        tasks.spawn(async move {
            let mut won = 0;
            for round in 0..40_u32 {
                // Some keys, in an order of its own: forwards, backwards, and jumping.
                let step = [1, 29, 7, 23][((task / 2 + round) % 4) as usize];
                let numbers: Vec<u32> = (0..6).map(|i| (task * 5 + round * 3 + i * step) % 30).collect();
                let keys: Vec<_> = numbers.iter().map(|n| key(*n)).collect();
                let found = store.load(&keys).await.unwrap();
                let ops = numbers.iter().zip(&found).enumerate().map(|(i, (n, found))| {
                    let version = found.as_ref().unwrap().version;
                    match i {
                        0 => Op::Check { key: key(*n), expect: Expect::Version(version) },
                        _ => rewrite(version, with_facets(*n, [facet(1, [i.try_into().unwrap_or(0)])])),
                    }
                });
                let tallies = vec![(tally("b"), 1), (tally("a"), 1), (tally(&format!("{step}")), 1)];
                let events = vec![event(numbers[0], "changed")];
                match store.commit(Batch { tallies, events, ..batch(ops) }).await {
                    Ok(()) => won += 1,
                    Err(StoreError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
                // Touches and sweeps go by.
                let seen: Vec<_> =
                    numbers.iter().map(|n| (key(*n), handstamp_core::time::Millis(1))).collect();
                store.touch(&seen).await.unwrap();
            }
            won
        });
    }
    let won: i64 = tasks.join_all().await.into_iter().sum();
    assert!(won > 20, "hardly anybody got through: {won}");
    assert_eq!((nodes[0].counted("a").await, nodes[1].counted("b").await), (won, won));
    let admin = cluster.admin().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'handstamp'";
    assert_eq!(number(&admin, deadlocks).await, 0);
}

/// Eight who write on two nodes, and one who reads on a third from where it stopped: no line is ever missed, and none
/// comes late.
#[tokio::test]
async fn positions_rise_in_the_order_of_commits() {
    const WRITERS: u32 = 8;
    const EACH: u32 = 80;
    let address = shared().fresh();
    let nodes = [node(&address).await, node(&address).await];
    let reader = node(&address).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&nodes[(writer % 2) as usize]);
        writers.spawn(async move {
            store.done(batch([create(record(writer))])).await;
            for n in 0..EACH {
                // Two readings of the head around a commit enclose its lines.
                let before = store.head().await.unwrap();
                let events = (0..1 + n % 3).map(|part| event(writer, format!("{n}.{part}"))).collect();
                store.done(Batch { events, ..batch([rewrite(u64::from(n) + 1, record(writer))]) }).await;
                assert!(store.head().await.unwrap() > before);
            }
        });
    }
    let total = usize::try_from(WRITERS * (0..EACH).map(|n| 1 + n % 3).sum::<u32>()).unwrap();
    let (mut after, mut seen) = (0, Vec::new());
    let following = async {
        while seen.len() < total {
            let head = reader.head().await.unwrap();
            let query =
                EventQuery { subject: None, env: None, after: Some(after), since: None, limit: 1_000 };
            let page = reader.history(&query).await.unwrap();
            // All up to the head that was read before can be read.
            let last = page.last().map_or(after, |event| event.position);
            assert!(last >= head, "the head is {head}, and history ends at {last}");
            after = last;
            seen.extend(page);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), following).await.expect("a line was missed");
    writers.join_all().await;
    assert_eq!(reader.events(None).await, seen, "who follows and who reads at the end see the same");
    assert!(seen.iter().zip(1_u64..).all(|(event, position)| event.position == position), "a gap");
    let mut by_writer: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for event in seen {
        by_writer.entry(event.subject).or_default().push(event.body);
    }
    let wanted: Vec<Vec<u8>> =
        (0..EACH).flat_map(|n| (0..1 + n % 3).map(move |part| format!("{n}.{part}").into())).collect();
    assert!(by_writer.len() == 8 && by_writer.values().all(|bodies| *bodies == wanted));
}

/// The database ends connections in the middle of commits: who is told that it is unavailable cannot know, but every
/// batch is there as a whole or not at all, and what was acknowledged is there.
#[tokio::test]
async fn a_lost_connection_is_unavailable_and_all_or_nothing() {
    let cluster = Cluster::start();
    let address = cluster.fresh();
    let store = node(&address).await;
    let (admin, done) = (cluster.admin().await, Arc::new(AtomicBool::new(false)));
    let killing = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut killed = 0;
            while !done.load(Ordering::SeqCst) {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = 'handstamp writing' AND state <> 'idle'";
                killed += number(&admin, sql).await;
                tokio::task::yield_now().await;
            }
            killed
        }
    });
    let mut tasks = JoinSet::new();
    for task in 0..8_u32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for n in 0..60 {
                let (a, b) = (task * 1_000 + n * 2, task * 1_000 + n * 2 + 1);
                let ops = [create(with_facets(a, [facet(1, "x")])), create(record(b))];
                let events = vec![event(a, "made"), event(b, "made")];
                let tallies = vec![(tally("pairs"), 1)];
                answers.push((a, b, store.commit(Batch { events, tallies, ..batch(ops) }).await));
            }
            answers
        });
    }
    let answers: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    done.store(true, Ordering::SeqCst);
    assert!(killing.await.unwrap() > 0, "nothing was killed");
    // It mends itself.
    let fresh = node(&address).await;
    let (mut pairs, mut told) = (0, 0);
    for (a, b, answer) in answers {
        let (one, two) = (fresh.one(a).await.is_some(), fresh.one(b).await.is_some());
        assert_eq!(one, two, "half of {a} is there");
        match answer {
            Ok(()) => assert!(one, "{a} was acknowledged"),
            Err(StoreError::Unavailable(_)) => told += 1,
            other => panic!("{a}: {other:?}"),
        }
        assert_eq!(fresh.events(Some(a)).await.len(), usize::from(one));
        assert_eq!(fresh.events(Some(b)).await.len(), usize::from(two));
        pairs += i64::from(one);
    }
    assert_eq!(fresh.counted("pairs").await, pairs);
    assert!(told > 0, "nobody noticed");
    store.done(batch([create(record(99_999))])).await;
}

/// The power goes after commits were acknowledged: they are there.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_of_the_database() {
    let cluster = Cluster::start();
    let address = cluster.fresh();
    let mut counted = 0_u32;
    for round in 0..3_u32 {
        let store = node(&address).await;
        let mut tasks = JoinSet::new();
        for task in 0..6_u32 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut kept = Vec::new();
                for n in 0.. {
                    let n = round * 100_000 + task * 10_000 + n;
                    let made =
                        batch([create(Record { seen: Some(handstamp_core::time::Millis(1)), ..record(n) })]);
                    match store.commit(Batch { events: vec![event(n, "made")], ..made }).await {
                        Ok(()) => kept.push(n),
                        Err(StoreError::Unavailable(_)) => break,
                        Err(error) => panic!("{error}"),
                    }
                    match store.touch(&[(key(n), handstamp_core::time::Millis(2))]).await {
                        Ok(()) => {}
                        Err(StoreError::Unavailable(_)) => {
                            kept.pop();
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                kept
            });
        }
        // In the middle of it.
        let wanted = u64::from(counted) + 60;
        let busy = async {
            while store.head().await.unwrap() < wanted {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(Duration::from_secs(30), busy).await.unwrap();
        cluster.stop(Stop::Kill);
        let kept: Vec<u32> = tasks.join_all().await.into_iter().flatten().collect();
        cluster.again();
        let store = node(&address).await;
        assert!(kept.len() > 10);
        for n in kept {
            let found = store.one(n).await.unwrap_or_else(|| panic!("{n} was acknowledged and is lost"));
            assert_eq!(found.record.seen, Some(handstamp_core::time::Millis(2)), "the touch of {n} is lost");
            assert_eq!(store.events(Some(n)).await.len(), 1);
        }
        counted = u32::try_from(store.head().await.unwrap()).unwrap();
    }
}

/// The database stops for a while: commits fail, and go through again when it is back, on the same node.
#[tokio::test]
async fn a_node_goes_on_when_its_database_is_back() {
    let cluster = Cluster::start();
    let address = cluster.fresh();
    let store = node(&address).await;
    store.done(batch([create(record(1))])).await;
    cluster.stop(Stop::Fast);
    assert!(matches!(store.commit(batch([create(record(2))])).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(
        store.touch(&[(key(1), crate::conformance::world::NOW)]).await,
        Err(StoreError::Unavailable(_))
    ));
    cluster.again();
    let back = async {
        while store.commit(batch([create(record(3))])).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), back).await.expect("it does not come back");
    assert!(store.one(2).await.is_none());
    let look = look(&cluster, &address).await;
    assert_eq!(number(&look, "SELECT count(*) FROM records").await, 2);
}

/// What the database's owner has chosen for whoever chooses nothing does not decide how commits are kept apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_of_the_database_change_nothing() {
    for settings in [
        ["default_transaction_isolation=repeatable read", "lock_timeout=0"],
        ["default_transaction_isolation=serializable", "lock_timeout=1"],
    ] {
        let cluster = Cluster::start_with(&settings, |_| {});
        let address = cluster.fresh();
        let nodes = [node(&address).await, node(&address).await];
        let mut tasks = JoinSet::new();
        for task in 0..12_u32 {
            let store = Arc::clone(&nodes[(task % 2) as usize]);
            tasks.spawn(async move {
                for n in 0..30 {
                    let (tallies, events) = (vec![(tally("a"), 1)], vec![event(n, "made")]);
                    store.done(Batch { tallies, events, ..batch([create(record(task * 1_000 + n))]) }).await;
                }
            });
        }
        tasks.join_all().await;
        assert_eq!((nodes[0].counted("a").await, nodes[1].head().await), (360, Ok(360)));
    }
}

/// A standby takes over while the server before it still lives, and takes no new connections: nothing is asked of that one
/// any more, though connections to it would still be answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_do_not_stay_with_a_server_that_was_left() {
    let before = Cluster::start();
    let after = Cluster::standby_of(&before);
    let address = before.fresh();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}/", before.port(), after.port());
    let store = node(&address.replace(&format!("127.0.0.1:{}/", before.port()), &hosts)).await;
    store.done(batch([create(record(1))])).await;
    let admin = after.admin().await;
    let sql = format!("SELECT count(*) FROM {}.records", super::nodes::schema(&address));
    let arrives =
        async { while admin.query_one(&sql, &[]).await.map_or(0, |row| row.get::<_, i64>(0)) == 0 {} };
    tokio::time::timeout(Duration::from_secs(20), arrives).await.expect("the standby does not follow");
    admin.batch_execute("SELECT pg_promote()").await.unwrap();
    let old = before.admin().await;
    old.batch_execute("ALTER ROLE handstamp NOLOGIN").await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'handstamp listening'";
    old.batch_execute(cut).await.unwrap();
    let other = node(&address.replace(&format!(":{}/", before.port()), &format!(":{}/", after.port()))).await;
    other.done(batch([rewrite(1, record(1))])).await;
    let moved =
        async { while store.load(&[key(1)]).await.map_or(0, |all| all[0].as_ref().unwrap().version) != 2 {} };
    tokio::time::timeout(Duration::from_secs(5), moved).await.expect("it still reads from the server before");
    store.done(batch([rewrite(2, record(1))])).await;
    assert_eq!(other.one(1).await.unwrap().version, 3);
}
