//! Who stands in the way of rows and tables that come and go: a dump, a node that stands still, a change that came first.

use super::cluster::shared;
use super::nodes::{DAY, days, ended, look, node, number, there};
use super::wire::Wire;
use crate::binary::clock;
use crate::conformance::world::{
    Ask, NOW, batch, create, event, facet, is, key, query, record, rewrite, with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::postgres::day_of;
use handstamp_server::store::{Amend, Batch, NewEvent, Record, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Waits until somebody waits for a lock.
async fn somebody_waits(client: &Client) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let waits = async { while number(client, sql).await == 0 {} };
    tokio::time::timeout(Duration::from_secs(10), waits).await.expect("nobody waits");
}

/// A line that goes to rest with its record, while somebody waits to write it anew, is written anew where it went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_on_its_way_is_written_anew_all_the_same() {
    let address = shared().fresh();
    let store = node(&address).await;
    let at = NOW.0 + 3 * DAY;
    // Somebody rests there already: the partition is there.
    store.done(batch([create(ended(2, at))])).await;
    let events = ["made", "gone", "used"].map(|body| NewEvent { ..event(1, body) });
    store.done(Batch { events: events.into(), ..batch([create(record(1))]) }).await;
    let (look, other) = (look(shared(), &address).await, look(shared(), &address).await);
    let day = day_of(Millis(at), NOW).unwrap();
    look.batch_execute(&format!(
        "BEGIN; DELETE FROM events WHERE position = 2; WITH gone AS (DELETE FROM events_hot WHERE position = 1 RETURNING *)
         INSERT INTO events SELECT {day}, position, subject, at, body, {at} FROM gone"
    ))
    .await
    .unwrap();
    let amend = |position, before: &str| Amend { position, before: before.into(), after: "anew".into() };
    let lines = [amend(1, "made"), amend(2, "gone"), amend(3, "used"), amend(9, "never")];
    let amending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.amend(&lines).await }
    });
    somebody_waits(&other).await;
    look.batch_execute("COMMIT").await.unwrap();
    assert_eq!(amending.await.unwrap(), Ok(2));
    let bodies: Vec<Vec<u8>> = store.events(None).await.into_iter().map(|event| event.body).collect();
    assert_eq!(bodies, [b"anew", b"anew"]);
}

/// A dump reads a partition whose day is over: it stays for as long as that takes, and neither the sweep nor what waits
/// behind it is any the worse for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_for_long_is_waited_for_now_and_then() {
    let address = shared().fresh();
    let (store, other) = (node(&address).await, node(&address).await);
    let now = NOW.0 / DAY * DAY;
    for n in 0..2 {
        let rests = ended(n, now + i64::from(n) * (DAY + 100_000) + 1);
        store.done(Batch { events: vec![event(n, "e")], ..batch([create(rests)]) }).await;
    }
    let (reader, look) = (look(shared(), &address).await, look(shared(), &address).await);
    assert_eq!(days(&look).await.len(), 2);
    reader.batch_execute("BEGIN; SELECT count(*) FROM records").await.unwrap();
    assert_eq!(store.sweep(Millis(now + DAY), 10).await, Ok(1));
    let began = clock();
    for second in 1..60 {
        assert_eq!(store.sweep(Millis(now + DAY + second * 1_000 - 1), 10).await, Ok(0));
        store.touch(&[(key(1), NOW)]).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "others waited {:?}", began.elapsed());
    assert_eq!(there(&other, 0..2).await, [1]);
    // Another day can be made meanwhile.
    other.done(batch([create(ended(3, now + 5 * DAY))])).await;
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.sweep(Millis(now + DAY + 60_000), 10).await, Ok(0));
    assert_eq!(days(&look).await.len(), 2);
    assert_eq!(there(&other, 0..4).await, [1, 3]);
}

/// A node stands still while it makes a partition: others are kept from making theirs for seconds, not for as long as
/// it stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_still_while_a_partition_is_made_is_sent_away() {
    let address = shared().fresh();
    let (port, wire) = (shared().port(), Wire::to(shared().port()).await);
    let through = address.replace(&format!(":{port}/"), &format!(":{}/", wire.port()));
    let (still, other) = (node(&through).await, node(&address).await);
    let (holder, look) = (look(shared(), &address).await, look(shared(), &address).await);
    holder.batch_execute("BEGIN; LOCK TABLE records IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    let making = tokio::spawn(async move { still.commit(batch([create(ended(1, NOW.0 + 3 * DAY))])).await });
    somebody_waits(&look).await;
    wire.swallow();
    holder.batch_execute("COMMIT").await.unwrap();
    let began = clock();
    while let Err(why) = other.commit(batch([create(ended(2, NOW.0 + 3 * DAY))])).await {
        assert!(matches!(why, StoreError::Unavailable(_)), "{why}");
        assert!(began.elapsed() < Duration::from_secs(8), "it still waits: {why}");
    }
    assert_eq!(there(&other, [2]).await, [2]);
    drop(making);
}

/// An id is taken also while its record moves from one day to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_taken_while_its_record_moves_among_days() {
    let address = shared().fresh();
    let store = node(&address).await;
    for n in 0..4 {
        store.done(batch([create(ended(n, NOW.0 + i64::from(n + 3) * DAY))])).await;
    }
    let (look, other) = (look(shared(), &address).await, look(shared(), &address).await);
    let (at, next) = (NOW.0 + 3 * DAY, NOW.0 + 6 * DAY);
    let day = day_of(Millis(next), NOW).unwrap();
    look.batch_execute(&format!(
        "BEGIN; WITH gone AS (DELETE FROM records WHERE day > 0 AND forget_at = {at} RETURNING *)
         INSERT INTO records SELECT {day}, key, version + 1, bucket, seen, {next}, facets, body FROM gone"
    ))
    .await
    .unwrap();
    let creating = tokio::spawn({
        let store: Arc<dyn Store> = Arc::clone(&store);
        async move { store.commit(batch([create(with_facets(0, [facet(1, "second")]))])).await }
    });
    somebody_waits(&other).await;
    look.batch_execute("COMMIT").await.unwrap();
    assert_eq!(creating.await.unwrap(), Err(StoreError::Conflict));
    assert_eq!(store.pages(query([is(1, ["second"])])).await, [0_u32; 0]);
    store.done(batch([rewrite(2, Record { body: b"third".to_vec(), ..ended(0, next) })])).await;
}
