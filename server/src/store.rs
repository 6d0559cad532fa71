//! What a store is: a keeper of versioned records that knows no rule (design, section 2).
//!
//! Every change is one [`Batch`]: all or nothing, and only if every record still has the version that was seen. That
//! one compare-and-set, with the events in the same transaction, is what makes rotation, limits and revocation safe
//! under races on every store. Bodies and facets are bytes: a new field changes the codec and no store.

use async_trait::async_trait;
pub use changes::{Change, Changes};
use handstamp_core::time::Millis;

pub mod bounds;
pub mod changes;
pub mod faulty;
mod lead;
pub mod memory;
pub mod postgres;
mod query;
mod rows;
pub mod sqlite;
pub mod transfer;

/// A family of records inside of which can be searched: a kind of record in one environment (0: no environment).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Space {
    /// Which kind of record; given by the codec.
    pub kind: u8,
    /// The environment's internal id; nothing crosses environments because every key begins with it.
    pub env: u64,
}

/// A record's name. Inside a space, keys sort by `id` (bytes, unsigned, shorter first when a prefix).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The family.
    pub space: Space,
    /// The name in it: 1 to 64 bytes.
    pub id: Box<[u8]>,
}

/// A value by which a record can be found: a name and ordered bytes (at most 512).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Facet {
    /// Which facet; given by the core.
    pub name: u8,
    /// Its value; ranges compare bytes.
    pub value: Box<[u8]>,
}

/// What is kept under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its name.
    pub key: Key,
    /// Where it lives on a partitioned store, 0 to 16383; all records of one batch share it.
    pub bucket: u16,
    /// Indexed blindly, in the transaction of the record. A record has each (name, value) at most once.
    pub facets: Vec<Facet>,
    /// Activity. `Some` on a record that may be touched; a put never lowers what is stored (the greater of both stays)
    /// and a put of `None` ends touching for good.
    pub seen: Option<Millis>,
    /// From this instant on the record and its history may be swept away.
    pub forget_at: Option<Millis>,
    /// Everything else, as the codec wrote it.
    pub body: Vec<u8>,
}

/// A record and the version it has. Versions begin at 1 and rise by 1 with each put; a touch does not change them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// The record, with `seen` as last touched.
    pub record: Record,
    /// For [`Expect::Version`] and [`Expect::Untouched`].
    pub version: u64,
}

/// What must hold for a batch to go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// There is no record under the key (new ids are insert-only).
    Absent,
    /// The record has this version.
    Version(u64),
    /// The record has this version, and nobody touched it after `since`: for who decides by how long nobody did.
    Untouched {
        /// Which it has.
        version: u64,
        /// The last activity that was known.
        since: Millis,
    },
}

/// One step of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Writes the record.
    Put {
        /// What must be there before.
        expect: Expect,
        /// What is there after.
        record: Record,
    },
    /// Removes the record. Its history stays, and is swept at the `forget_at` that the record had (never without one).
    Delete {
        /// Which.
        key: Key,
        /// What must be there before.
        expect: Expect,
    },
    /// Only demands.
    Check {
        /// Which.
        key: Key,
        /// What must be there.
        expect: Expect,
    },
}

/// A line of history, written with the batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvent {
    /// The record it is about; history can be read by it and is swept with it.
    pub subject: Key,
    /// When it happened.
    pub at: Millis,
    /// As the codec wrote it.
    pub body: Vec<u8>,
}

/// A counter that changes with a batch, so that gauges need no scan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tally {
    /// Which environment.
    pub env: u64,
    /// Which counter: at most 80 bytes.
    pub name: Box<str>,
}

/// What is to happen, as data: all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The bucket of every record in it.
    pub bucket: u16,
    /// The store's clock floor rises to this instant with the batch.
    pub at: Millis,
    /// In order; no key twice.
    pub ops: Vec<Op>,
    /// In order.
    pub events: Vec<NewEvent>,
    /// Added to the counters.
    pub tallies: Vec<(Tally, i64)>,
}

/// Values of one facet from `low` to `high`, both included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FacetRange {
    /// Which facet.
    pub name: u8,
    /// The least value.
    pub low: Box<[u8]>,
    /// The greatest value.
    pub high: Box<[u8]>,
}

/// A condition holds for a record with a facet in any of these ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Alternatives; at least one.
    pub any: Vec<FacetRange>,
}

/// A search inside one space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Where.
    pub space: Space,
    /// All must hold. Empty: every record of the space.
    pub all: Vec<Condition>,
    /// Ids below this are left out.
    pub from: Option<Box<[u8]>>,
    /// This id and those above it are left out.
    pub until: Option<Box<[u8]>>,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// The most records of the page, 1 to 1,000.
    pub limit: u32,
}

/// Where a page ended; only the store that made it can read it, and only for the same query. Any other finds nothing:
/// an empty page without a `next`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(pub Box<[u8]>);

/// A part of an answer. Pages may be shorter than asked for, even empty, and still have a `next`: a store bounds
/// the work of one page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// Greatest (newest) id first. A store that finds its candidates by a wide range of values (not by one value) may
    /// give them by value first, rising; a record whose value moves between two pages can then be seen at both places.
    pub items: Vec<T>,
    /// `None` when there is no more.
    pub next: Option<Cursor>,
}

/// Which history to read, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventQuery {
    /// Of this record only; `None`: all.
    pub subject: Option<Key>,
    /// About records of this environment only; `None`: of all. Where `subject` is given, that alone counts.
    pub env: Option<u64>,
    /// Positions up to and including this one are left out.
    pub after: Option<u64>,
    /// What happened before this instant is left out. A store does not look through all that came before to find it.
    pub since: Option<Millis>,
    /// The most events, 1 to 1,000.
    pub limit: u32,
}

/// A line of history with its place in the order of commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Rises with every event of the store, in the order of commits; never reused.
    pub position: u64,
    /// The record it is about.
    pub subject: Key,
    /// When it happened.
    pub at: Millis,
    /// As the codec wrote it.
    pub body: Vec<u8>,
}

/// A line of history that is to be written anew, because what it says may no longer be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Amend {
    /// Which line.
    pub position: u64,
    /// What it must say still; one that says something else, or is gone, is left alone.
    pub before: Vec<u8>,
    /// What it says from then on.
    pub after: Vec<u8>,
}

/// How far the files hold nothing any more of what was deleted or written over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scrubbed {
    /// Nothing of it is in the store's files.
    Clean,
    /// It was written over, and is in no log; stray copies of rows that the store once moved may lie in parts of its files
    /// that are not in use.
    WrittenOver,
    /// Nothing can be asked for it, and its space is free to be written over; until it is, it may lie there, and in logs
    /// and copies of the database for as long as whoever runs that keeps them.
    Freed,
    /// Somebody still reads what was: ask again.
    Later,
}

/// An accident. Never turned into a refusal: a store that does not answer is 503, never "logged out".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// A version that a batch expected is not there; load and decide again.
    #[error("another change came first")]
    Conflict,
    /// The store did not answer, or could not write. Whether a batch went through may be unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What was read cannot be right.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// A store. Answers of `commit` and `touch` are durable when they return.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The records under `keys`, in their order.
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError>;
    /// All or nothing, if every expectation holds; else [`StoreError::Conflict`].
    async fn commit(&self, batch: Batch) -> Result<(), StoreError>;
    /// Raises activity on records that may be touched, never lowers; no version, no event.
    async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError>;
    /// Records of one space by their facets.
    async fn search(&self, query: &Query) -> Result<Page<Versioned>, StoreError>;
    /// History in the order of commits; at most `limit` of them, and fewer only when there are no more.
    async fn history(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError>;
    /// The latest position: every event up to it can be read, and every later one will have a greater position. 0 before
    /// the first event.
    async fn head(&self) -> Result<u64, StoreError>;
    /// Writes lines of history anew, each that is still what it was; how many. Durable when it returns.
    async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError>;
    /// Takes out of the store's files what was deleted or written over, as far as that can be done while it is used.
    /// May keep writers waiting for a second.
    async fn scrub(&self) -> Result<Scrubbed, StoreError>;
    /// Removes up to `limit` records whose `forget_at` is not after `now`, with their history and facets; how many. The
    /// history of a record that was deleted before its `forget_at` is swept like a record, and counted.
    async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError>;
    /// All counters that are not zero.
    async fn tallies(&self) -> Result<Vec<(Tally, i64)>, StoreError>;
    /// The latest instant that any batch was committed with: time never runs behind it.
    async fn clock_floor(&self) -> Result<Millis, StoreError>;
    /// Whether the store can be read and written right now.
    async fn probe(&self) -> Result<(), StoreError>;
    /// What other nodes change from now on. `None`: nobody else can write to this store. To be asked for once.
    ///
    /// What a `commit` of any node changed and had acknowledged before [`Store::say`] was called on any node comes before
    /// what was said there. What is missed (a lost connection) is told as [`Change::Anything`], before anything that comes
    /// after it.
    fn changes(&self) -> Option<Changes> {
        None
    }
    /// Tells all nodes, and this one: at most [`bounds::LONGEST_SAYING`] bytes. Nothing of it is kept: who is away
    /// misses it. Returns the time that the store has, at an instant between the call and its return.
    async fn say(&self, _message: &[u8]) -> Result<Millis, StoreError> {
        Err(StoreError::Unavailable("nobody else uses this store".to_owned()))
    }
    /// Finishes what runs and closes; later calls are [`StoreError::Unavailable`].
    async fn close(&self);
}
