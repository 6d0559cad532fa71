//! What a case stands on: a store that can be opened again, and short words for records and batches.

use async_trait::async_trait;
use handstamp_core::time::Millis;
use handstamp_server::store::faulty::Faulty;
use handstamp_server::store::memory::Memory;
use handstamp_server::store::postgres::{self, Address, Postgres};
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{
    Batch, Condition, Cursor, EventQuery, Expect, Facet, FacetRange, Key, NewEvent, Op, Query, Record, Space,
    Store, StoreError, StoredEvent, Tally, Versioned,
};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One case of the contract.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(World) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The cases of a file, by the names of its functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[crate::conformance::world::Case] = &[
            $(crate::conformance::world::Case { name: stringify!($name), run: |world| Box::pin($name(world)) }),*
        ];
    };
}
pub(crate) use cases;

/// Where a store lives.
#[async_trait]
pub(crate) trait Home: Send + Sync {
    /// Opens it: with everything that was there, when it is durable.
    async fn open(&self) -> Arc<dyn Store>;
    /// Whether it keeps what it was given when it is closed.
    fn durable(&self) -> bool;
}

/// A fresh store for one case.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    home: Box<dyn Home>,
}

impl World {
    pub(crate) async fn new(home: Box<dyn Home>) -> World {
        World { store: home.open().await, home }
    }

    /// Whether [`World::reopen`] brings everything back.
    pub(crate) fn durable(&self) -> bool {
        self.home.durable()
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = self.home.open().await;
    }
}

/// Stores in memory.
#[derive(Default)]
pub(crate) struct MemoryHome {}

#[async_trait]
impl Home for MemoryHome {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Memory::new())
    }
    fn durable(&self) -> bool {
        false
    }
}

/// Stores in memory behind a decorator that has no script: it must change nothing.
#[derive(Default)]
pub(crate) struct FaultyHome {}

#[async_trait]
impl Home for FaultyHome {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Faulty::new(Arc::new(Memory::new())))
    }
    fn durable(&self) -> bool {
        false
    }
}

/// Stores in a file of a directory of their own.
pub(crate) struct SqliteHome(Scratch);

impl SqliteHome {
    pub(crate) fn new() -> SqliteHome {
        SqliteHome(Scratch::new())
    }
}

#[async_trait]
impl Home for SqliteHome {
    async fn open(&self) -> Arc<dyn Store> {
        // A short write-ahead log, so that the cases see checkpoints, too.
        let options = Options { checkpoint_pages: 200, ..Options::default() };
        Arc::new(Sqlite::open(&self.0.path("db"), &options).unwrap())
    }
    fn durable(&self) -> bool {
        true
    }
}

/// Stores in a schema of their own, on the one server of this process.
pub(crate) struct PostgresHome {
    address: Address,
    resting: Vec<u8>,
}

impl PostgresHome {
    /// `resting`: the kinds of records that may rest.
    pub(crate) fn new(resting: impl IntoIterator<Item = u8>) -> PostgresHome {
        let address = Address::parse(&crate::postgres::cluster::shared().fresh()).unwrap();
        PostgresHome { address, resting: resting.into_iter().collect() }
    }
}

#[async_trait]
impl Home for PostgresHome {
    async fn open(&self) -> Arc<dyn Store> {
        let options =
            postgres::Options { node: crate::postgres::node(), resting: self.resting.clone(), alone: false };
        Arc::new(Postgres::open(&self.address, &options).await.unwrap())
    }
    fn durable(&self) -> bool {
        true
    }
}

/// A directory that goes with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("store-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // A process of the same number may have died in it.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) const SPACE: Space = Space { kind: 1, env: 7 };
pub(crate) const NOW: Millis = Millis(1_790_000_000_000);

/// A key of [`SPACE`] whose id is the number, so that ids sort as numbers do.
pub(crate) fn key(n: u32) -> Key {
    Key { space: SPACE, id: n.to_be_bytes().into() }
}

pub(crate) fn number(key: &Key) -> u32 {
    u32::from_be_bytes(key.id.as_ref().try_into().unwrap())
}

pub(crate) fn facet(name: u8, value: impl AsRef<[u8]>) -> Facet {
    Facet { name, value: value.as_ref().into() }
}

/// A record with a body that tells its number.
pub(crate) fn record(n: u32) -> Record {
    Record {
        key: key(n),
        bucket: 3,
        facets: Vec::new(),
        seen: None,
        forget_at: None,
        body: format!("record {n}").into(),
    }
}

pub(crate) fn with_facets(n: u32, facets: impl IntoIterator<Item = Facet>) -> Record {
    Record { facets: facets.into_iter().collect(), ..record(n) }
}

pub(crate) fn create(record: Record) -> Op {
    Op::Put { expect: Expect::Absent, record }
}

pub(crate) fn rewrite(version: u64, record: Record) -> Op {
    Op::Put { expect: Expect::Version(version), record }
}

pub(crate) fn delete(n: u32, version: u64) -> Op {
    Op::Delete { key: key(n), expect: Expect::Version(version) }
}

pub(crate) fn batch(ops: impl IntoIterator<Item = Op>) -> Batch {
    Batch { bucket: 3, at: NOW, ops: ops.into_iter().collect(), events: Vec::new(), tallies: Vec::new() }
}

pub(crate) fn event(n: u32, body: impl AsRef<[u8]>) -> NewEvent {
    NewEvent { subject: key(n), at: NOW, body: body.as_ref().to_vec() }
}

pub(crate) fn tally(name: &str) -> Tally {
    Tally { env: SPACE.env, name: name.into() }
}

/// A condition that one of the exact values holds.
pub(crate) fn is<const N: usize>(name: u8, values: [&str; N]) -> Condition {
    let exact =
        |value: &str| FacetRange { name, low: value.as_bytes().into(), high: value.as_bytes().into() };
    Condition { any: values.into_iter().map(exact).collect() }
}

pub(crate) fn between(name: u8, low: impl AsRef<[u8]>, high: impl AsRef<[u8]>) -> Condition {
    Condition { any: vec![FacetRange { name, low: low.as_ref().into(), high: high.as_ref().into() }] }
}

pub(crate) fn query(all: impl IntoIterator<Item = Condition>) -> Query {
    Query { space: SPACE, all: all.into_iter().collect(), from: None, until: None, cursor: None, limit: 100 }
}

/// Calls that every case makes, with the answers it takes for granted.
#[async_trait]
pub(crate) trait Ask {
    async fn one(&self, n: u32) -> Option<Versioned>;
    async fn done(&self, batch: Batch);
    async fn conflict(&self, batch: Batch);
    async fn pages(&self, query: Query) -> Vec<u32>;
    async fn events(&self, subject: Option<u32>) -> Vec<StoredEvent>;
    async fn counted(&self, name: &str) -> i64;
}

#[async_trait]
impl Ask for Arc<dyn Store> {
    /// The record, loaded.
    async fn one(&self, n: u32) -> Option<Versioned> {
        self.load(&[key(n)]).await.unwrap().remove(0)
    }
    /// A commit that goes through.
    async fn done(&self, batch: Batch) {
        self.commit(batch).await.unwrap();
    }
    /// A commit that must not.
    async fn conflict(&self, batch: Batch) {
        assert_eq!(self.commit(batch).await, Err(StoreError::Conflict));
    }
    /// All pages of a query, as numbers, in the order they came.
    async fn pages(&self, mut query: Query) -> Vec<u32> {
        let mut found = Vec::new();
        for _ in 0..10_000 {
            let page = self.search(&query).await.unwrap();
            assert!(page.items.len() <= query.limit as usize, "a page is longer than asked for");
            found.extend(page.items.iter().map(|item| number(&item.record.key)));
            match page.next {
                None => return found,
                Some(Cursor(bytes)) => query.cursor = Some(Cursor(bytes)),
            }
        }
        panic!("the pages do not end");
    }
    /// All history, or that of one record.
    async fn events(&self, subject: Option<u32>) -> Vec<StoredEvent> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|event: &StoredEvent| event.position);
            let query = EventQuery { subject: subject.map(key), env: None, after, since: None, limit: 100 };
            let page = self.history(&query).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
    /// What a counter says.
    async fn counted(&self, name: &str) -> i64 {
        let tallies = self.tallies().await.unwrap();
        tallies.iter().find(|(found, _)| *found == tally(name)).map_or(0, |(_, n)| *n)
    }
}
