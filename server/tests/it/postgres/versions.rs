//! The tables come to be once, whoever starts, and a program of another version uses them or says why not.

use super::cluster::{Cluster, shared};
use super::nodes::{look, node, number, open};
use crate::conformance::world::{Ask, batch, create, record};
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test]
async fn four_nodes_start_at_once_on_nothing() {
    for _ in 0..5 {
        let address = shared().fresh();
        let mut starts = JoinSet::new();
        for n in 0..4 {
            let address = address.clone();
            starts.spawn(async move {
                let store = node(&address).await;
                store.done(batch([create(record(n))])).await;
                store
            });
        }
        for store in starts.join_all().await {
            assert_eq!(super::nodes::there(&store, 0..5).await, [0, 1, 2, 3]);
        }
        let look = look(shared(), &address).await;
        assert_eq!(number(&look, "SELECT count(*) FROM meta").await, 1);
    }
}

#[tokio::test]
async fn a_newer_version_beside_this_one() {
    let address = shared().fresh();
    node(&address).await.done(batch([create(record(1))])).await;
    let look = look(shared(), &address).await;
    // The next version added something, and this one can go on.
    look.batch_execute(
        "UPDATE meta SET version = version + 1; ALTER TABLE records ADD COLUMN later integer;
         CREATE TABLE later (n integer)",
    )
    .await
    .unwrap();
    let store = node(&address).await;
    store.done(batch([create(record(2))])).await;
    assert_eq!(super::nodes::there(&store, 1..3).await, [1, 2]);
    assert_eq!(number(&look, "SELECT version::bigint FROM meta").await, 2, "it was not taken back");
    // It cannot.
    look.batch_execute("UPDATE meta SET version = 7, readable_by = 7").await.unwrap();
    let why = open(&address).await.err().unwrap();
    assert!(why.contains("made by a newer Handstamp") && why.contains("version 7"), "{why}");
    assert!(!why.contains(super::cluster::PASSWORD), "{why}");
    // Nothing was changed by who could not use it.
    assert_eq!(number(&look, "SELECT version::bigint FROM meta").await, 7);
}

/// Who was given a schema needs no right to make one, at the first start and at every later one.
#[tokio::test]
async fn a_schema_that_is_there_is_enough() {
    let cluster = Cluster::start();
    let address = cluster.fresh();
    let schema = super::nodes::schema(&address);
    let admin = cluster.admin().await;
    let sql = format!(
        "CREATE SCHEMA {schema}; GRANT USAGE, CREATE ON SCHEMA {schema} TO handstamp;
         REVOKE CREATE ON DATABASE handstamp FROM handstamp"
    );
    admin.batch_execute(&sql).await.unwrap();
    for n in 0..2 {
        let store = node(&address).await;
        store.done(batch([create(record(n))])).await;
        store.close().await;
    }
    let why = open(&cluster.fresh()).await.err().unwrap();
    assert!(why.contains("permission denied for database"), "{why}");
}

/// A start that has to wait for a lock does not stand in the queue for it, before all others, until it has it: it asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_for_a_lock_lets_others_pass() {
    let address = shared().fresh();
    node(&address).await.done(batch([create(record(1))])).await;
    let (holder, look) = (look(shared(), &address).await, look(shared(), &address).await);
    holder.batch_execute("BEGIN; LOCK TABLE meta IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let start = {
        let address = address.clone();
        tokio::spawn(async move { node(&address).await })
    };
    let waits = async |wanted: bool| {
        let seen = async {
            let sql = "SELECT count(*) FROM pg_locks WHERE relation = 'meta'::regclass AND NOT granted";
            while (number(&look, sql).await > 0) != wanted {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        seen.unwrap_or_else(|_| panic!("waiting: {wanted} was never seen"));
    };
    waits(true).await;
    waits(false).await;
    waits(true).await;
    assert!(!start.is_finished());
    holder.batch_execute("COMMIT").await.unwrap();
    let store = start.await.unwrap();
    assert_eq!(super::nodes::there(&store, 0..3).await, [1]);
}
