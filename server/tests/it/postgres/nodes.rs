//! Handles of one store, as several nodes have them, and a look at its tables.

use super::cluster::Cluster;
use crate::conformance::world::{SPACE, key, record};
use handstamp_core::time::Millis;
use handstamp_server::store::postgres::{Address, Options, Postgres};
use handstamp_server::store::{Key, Record, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio_postgres::Client;

/// A day.
pub(super) const DAY: i64 = 86_400_000;

/// One more node at the address; records of the cases' kind may rest.
pub(super) async fn node(address: &str) -> Arc<dyn Store> {
    Arc::new(open(address).await.unwrap())
}

/// The same, or why not.
pub(super) async fn open(address: &str) -> Result<Postgres, String> {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let address = Address::parse(address).unwrap();
    let options = Options {
        node: [NUMBER.fetch_add(1, Ordering::Relaxed); 16],
        resting: vec![SPACE.kind],
        alone: false,
    };
    Postgres::open(&address, &options).await.map_err(|error| error.to_string())
}

/// The name of the schema in an address.
pub(super) fn schema(address: &str) -> String {
    address.rsplit_once("schema=").unwrap().1.to_owned()
}

/// A look into the store at the address.
pub(super) async fn look(cluster: &Cluster, address: &str) -> Client {
    let client = cluster.client().await;
    client.batch_execute(&format!("SET search_path = {}", schema(address))).await.unwrap();
    client
}

/// A number that the database counts.
pub(super) async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The days of which there are partitions, sorted: every table has the same.
pub(super) async fn days(client: &Client) -> Vec<i32> {
    let sql = "SELECT substring(part.relname FROM '[0-9]+$')::integer
        FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
        WHERE inhparent = $1::text::regclass AND part.relname !~ '_hot$' ORDER BY 1";
    let mut all = Vec::new();
    for table in ["records", "facets", "events"] {
        let rows = client.query(sql, &[&table]).await.unwrap();
        all.push(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>());
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    all.remove(0)
}

/// A record that rests until then.
pub(super) fn ended(n: u32, forget_at: i64) -> Record {
    Record { forget_at: Some(Millis(forget_at)), ..record(n) }
}

/// Which of these are there.
pub(super) async fn there(store: &Arc<dyn Store>, numbers: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let numbers: Vec<u32> = numbers.into_iter().collect();
    let keys: Vec<Key> = numbers.iter().map(|n| key(*n)).collect();
    let found = store.load(&keys).await.unwrap();
    numbers.into_iter().zip(found).filter(|(_, found)| found.is_some()).map(|(n, _)| n).collect()
}
