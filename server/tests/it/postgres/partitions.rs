//! Records that rest lie in the partitions of their days, and are forgotten to the millisecond all the same.

use super::cluster::shared;
use super::nodes::{DAY, days, ended, look, node, number, there};
use crate::conformance::world::{
    Ask, NOW, batch, create, delete, event, facet, is, key, query, record, rewrite, with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::postgres::day_of;
use handstamp_server::store::{Batch, NewEvent, Record};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

fn day(n: i64) -> Millis {
    Millis(n * DAY)
}

#[test]
fn days_are_rounded_up_and_grow_with_distance() {
    assert_eq!(day_of(Millis(1), Millis(0)), Some(1));
    assert_eq!(day_of(day(1), Millis(0)), Some(1));
    assert_eq!(day_of(Millis(DAY + 1), Millis(0)), Some(2));
    assert_eq!(day_of(Millis(i64::MIN), Millis(i64::MAX)), Some(1));
    assert_eq!(day_of(day(64), Millis(0)), Some(64));
    assert_eq!(day_of(day(65), Millis(0)), Some(66));
    assert_eq!(day_of(day(131), Millis(0)), Some(132));
    assert_eq!(day_of(Millis(i64::MAX), Millis(0)), None);
    for now in [0, 20_000 * DAY + 7, 20_011 * DAY] {
        let mut last = 0;
        for ahead in (0..400_000).step_by(7) {
            let forget_at = now + ahead * DAY / 10;
            let found = day_of(Millis(forget_at), Millis(now)).unwrap();
            let late = i64::from(found) * DAY - forget_at;
            assert!(late >= 0 && late <= DAY.max(ahead * DAY / 10 / 32), "{ahead}: {late}");
            assert!(found >= last, "{ahead}");
            last = found;
        }
    }
}

/// Records kept for ten years, one ending each hour for as long: few partitions at any time.
#[test]
fn a_long_retention_makes_few_partitions() {
    for kept in [1, 30, 90, 365, 3_650] {
        let mut most = 0;
        let mut made: BTreeSet<i32> = BTreeSet::new();
        for hour in 0..3_650 * 24 {
            let now = 20_000 * DAY + hour * DAY / 24;
            made.insert(day_of(Millis(now + kept * DAY), Millis(now)).unwrap());
            made.retain(|day| i64::from(*day) * DAY > now);
            most = most.max(made.len());
        }
        assert!(most <= 70, "{kept} days: {most} partitions");
    }
}

#[tokio::test]
async fn who_rests_moves_with_its_history() {
    let address = shared().fresh();
    let (store, look) = (node(&address).await, look(shared(), &address).await);
    let at = |n: i64| NOW.0 + n * DAY;
    let told = |body: &str| NewEvent { ..event(1, body) };
    let live = Record { seen: Some(NOW), ..with_facets(1, [facet(1, "live")]) };
    store.done(Batch { events: vec![told("made")], ..batch([create(live)]) }).await;
    assert_eq!(days(&look).await, [0_i32; 0]);
    let rests = |forget_at| Record { facets: vec![facet(1, "over")], ..ended(1, forget_at) };
    store.done(Batch { events: vec![told("ended")], ..batch([rewrite(1, rests(at(3)))]) }).await;
    // A line about it that comes later, alone; and one about nobody.
    store.done(Batch { events: vec![told("noted"), event(2, "nobody")], ..batch([]) }).await;
    let hot = "SELECT (SELECT count(*) FROM records_hot) + (SELECT count(*) FROM facets_hot)
        + (SELECT count(*) FROM events_hot)";
    assert_eq!(number(&look, hot).await, 1, "only the line about nobody");
    let one = days(&look).await;
    assert_eq!(one, [day_of(Millis(at(3)), NOW).unwrap()]);
    let bodies = |events: Vec<handstamp_server::store::StoredEvent>| {
        events.into_iter().map(|event| String::from_utf8(event.body).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bodies(store.events(Some(1)).await), ["made", "ended", "noted"]);
    assert_eq!(bodies(store.events(None).await), ["made", "ended", "noted", "nobody"]);
    assert_eq!(store.pages(query([is(1, ["over"])])).await, [1]);
    assert_eq!(store.pages(query([is(1, ["live"])])).await, [0_u32; 0]);
    // It is rewritten where it rests, moves to another day, comes back to life, and rests again.
    for (version, forget_at) in [(2, Some(at(3) + 1)), (3, Some(at(9))), (4, None), (5, Some(at(5)))] {
        let next = Record { forget_at: forget_at.map(Millis), ..rests(0) };
        store.done(Batch { events: vec![told("again")], ..batch([rewrite(version, next.clone())]) }).await;
        let found = store.one(1).await.unwrap();
        assert_eq!((found.version, found.record), (version + 1, next));
        assert_eq!(store.events(Some(1)).await.len(), 2 + usize::try_from(version).unwrap());
        assert_eq!(number(&look, hot).await, if forget_at.is_some() { 1 } else { 9 });
        let rows = number(&look, "SELECT count(*) FROM facets").await;
        assert_eq!(rows, 1);
    }
    // Its id is taken, also for who does not name what rests.
    store.conflict(batch([create(record(1))])).await;
    store.conflict(batch([create(record(7)), create(record(1))])).await;
    assert_eq!(there(&store, [1, 7]).await, [1]);
    // Deleted, its history waits for its time among the living.
    store.done(batch([delete(1, 6)])).await;
    assert_eq!(store.one(1).await, None);
    assert_eq!(store.events(Some(1)).await.len(), 7);
    assert_eq!(store.sweep(Millis(at(5) - 1), 10).await, Ok(0));
    assert_eq!(store.sweep(Millis(at(5)), 10).await, Ok(1));
    assert_eq!(bodies(store.events(None).await), ["nobody"]);
}

#[tokio::test]
async fn an_id_is_taken_while_its_record_goes_to_rest() {
    let address = shared().fresh();
    let (one, two) = (node(&address).await, node(&address).await);
    for n in 0..60 {
        one.done(batch([create(record(n))])).await;
        let rest = one.commit(batch([rewrite(1, ended(n, NOW.0 + DAY))]));
        let again = two.commit(batch([create(with_facets(n, [facet(1, "second")]))]));
        let (rest, again) = tokio::join!(rest, again);
        assert_eq!(rest, Ok(()));
        assert!(again.is_err(), "{n} is there twice");
    }
    assert_eq!(two.pages(query([is(1, ["second"])])).await, [0_u32; 0]);
    assert_eq!(two.pages(query([])).await.len(), 60);
}

#[tokio::test]
async fn partitions_are_made_by_two_nodes_at_once() {
    let address = shared().fresh();
    let (one, two) = (node(&address).await, node(&address).await);
    let mut tasks = JoinSet::new();
    for n in 0..200_u32 {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        let forget_at = NOW.0 + i64::from(n % 20 + 1) * DAY;
        tasks.spawn(async move {
            let events = vec![event(n, "ended")];
            store.done(Batch { events, ..batch([create(ended(n, forget_at))]) }).await;
        });
    }
    tasks.join_all().await;
    let look = look(shared(), &address).await;
    assert_eq!(days(&look).await.len(), 20);
    assert_eq!(there(&two, 0..200).await.len(), 200);
    assert_eq!(one.events(None).await.len(), 200);
    assert_eq!(number(&look, "SELECT count(*) FROM records_hot").await, 0);
}

#[tokio::test]
async fn partitions_go_when_their_day_is_over() {
    let address = shared().fresh();
    let (store, other) = (node(&address).await, node(&address).await);
    let look = look(shared(), &address).await;
    let now = NOW.0 / DAY * DAY;
    for n in 0..40_u32 {
        let forget_at = now + i64::from(n / 10) * DAY + i64::from(n % 10) + 1;
        let rests = Record { facets: vec![facet(1, "x")], ..ended(n, forget_at) };
        store.done(Batch { events: vec![event(n, "e")], ..batch([create(rests)]) }).await;
    }
    let all = days(&look).await;
    assert_eq!(all.len(), 4);
    // Exact at the instant, though nothing is dropped yet.
    assert_eq!(store.sweep(Millis(now + 5), 100).await, Ok(5));
    assert_eq!(days(&look).await.len(), 4);
    assert_eq!(there(&other, 0..40).await, (5..40).collect::<Vec<_>>());
    assert_eq!(store.pages(query([is(1, ["x"])])).await, (5..40).rev().collect::<Vec<_>>());
    assert_eq!(store.events(None).await.len(), 35);
    assert_eq!(store.events(Some(4)).await, []);
    // A forgotten id is free again, where the old record still lies.
    let again = Record { facets: vec![facet(1, "x")], ..ended(4, now + 9) };
    store.done(Batch { events: vec![event(4, "new")], ..batch([create(again)]) }).await;
    assert_eq!(store.events(Some(4)).await.len(), 1);
    // The day is over, but not all of it was swept: it stays.
    assert_eq!(store.sweep(Millis(now + DAY), 3).await, Ok(3));
    assert_eq!(days(&look).await.len(), 4);
    assert_eq!(store.sweep(Millis(now + DAY), 100).await, Ok(3));
    assert_eq!(days(&look).await, all[1..]);
    assert_eq!(number(&look, "SELECT count(*) FROM records").await, 30);
    assert_eq!(number(&look, "SELECT count(*) FROM events").await, 30);
    assert_eq!(number(&look, "SELECT count(*) FROM facets").await, 30);
    // Who is told too late that he may rest, does not rest any more, and is swept all the same; also by another node,
    // which has not heard that the partition is gone.
    for (n, store) in [(100, &store), (101, &other)] {
        store.done(batch([create(ended(n, now + 3))])).await;
        assert_eq!(there(store, [n]).await, [n]);
        assert_eq!(other.sweep(Millis(now + DAY), 100).await, Ok(1));
        assert_eq!(there(store, [n]).await, [0_u32; 0]);
    }
    assert_eq!(other.sweep(Millis(now + 9 * DAY), 1_000).await, Ok(30));
    assert_eq!(days(&look).await, [0_i32; 0]);
    assert_eq!(store.events(None).await, []);
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace
        AND relname ~ '_d[0-9]+$'";
    assert_eq!(number(&look, tables).await, 0);
    // After all that, as on the first day.
    store.done(batch([create(ended(7, now + 12 * DAY))])).await;
    assert_eq!(days(&look).await.len(), 1);
    assert_eq!(there(&other, [7]).await, [7]);
}

/// A drop that was cut short at any point is taken up again.
#[tokio::test]
async fn what_a_drop_left_is_tidied_up() {
    let address = shared().fresh();
    let store = node(&address).await;
    let look = look(shared(), &address).await;
    let now = NOW.0 / DAY * DAY;
    for n in 0..3 {
        let rests = ended(n, now + i64::from(n) * DAY + 1);
        store.done(Batch { events: vec![event(n, "e")], ..batch([create(rests)]) }).await;
    }
    let [first, second, third] = days(&look).await.try_into().unwrap();
    look.batch_execute(&format!("ALTER TABLE events DETACH PARTITION events_d{first}")).await.unwrap();
    look.batch_execute(&format!(
        "ALTER TABLE records DETACH PARTITION records_d{second}; DROP TABLE records_d{second}"
    ))
    .await
    .unwrap();
    assert_eq!(store.sweep(Millis(now + 2 * DAY), 10).await, Ok(1));
    assert_eq!(days(&look).await, [third]);
    assert_eq!(there(&store, 0..3).await, [2]);
    // Half of a day that is not over: it is made whole when it is needed.
    look.batch_execute(&format!("ALTER TABLE facets DETACH PARTITION facets_d{third}")).await.unwrap();
    let fresh = node(&address).await;
    let rests = Record { facets: vec![facet(1, "x")], ..ended(9, now + 2 * DAY + 2) };
    fresh.done(batch([create(rests)])).await;
    assert_eq!(days(&look).await, [third]);
    assert_eq!(fresh.pages(query([is(1, ["x"])])).await, [9]);
}

/// Sweeps, ends and rewrites side by side on two nodes: each record is counted once, and nothing is left.
#[tokio::test]
async fn sweeps_beside_ends_count_each_once() {
    let address = shared().fresh();
    let (one, two) = (node(&address).await, node(&address).await);
    let mut writers = JoinSet::new();
    for writer in 0..4_u32 {
        let store = if writer % 2 == 0 { one.clone() } else { two.clone() };
        writers.spawn(async move {
            for n in (0..100).map(|n| writer * 1_000 + n) {
                let live = Record { seen: Some(NOW), ..record(n) };
                store.done(Batch { events: vec![event(n, "a")], ..batch([create(live)]) }).await;
                let over = ended(n, NOW.0 - i64::from(n % 7) * DAY - 1);
                store.done(Batch { events: vec![event(n, "b")], ..batch([rewrite(1, over)]) }).await;
            }
        });
    }
    let mut swept = 0;
    let deadline = std::time::Duration::from_secs(60);
    let sweeping = async {
        while swept < 400 {
            let (a, b) = tokio::join!(one.sweep(NOW, 30), two.sweep(NOW, 30));
            swept += a.unwrap() + b.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(deadline, sweeping).await.expect("some record was never counted");
    writers.join_all().await;
    assert_eq!(swept, 400);
    assert_eq!(one.sweep(NOW, 1_000).await, Ok(0));
    assert_eq!(two.events(None).await, []);
    assert_eq!(two.pages(query([])).await, [0_u32; 0]);
    let keys: Vec<_> = (0..4_000).map(key).collect();
    let store: &Arc<dyn handstamp_server::store::Store> = &two;
    for keys in keys.chunks(500) {
        assert!(store.load(keys).await.unwrap().iter().all(Option::is_none));
    }
}
