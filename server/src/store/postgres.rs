//! The store in a PostgreSQL database that several nodes share.
//!
//! Reads go over a few connections that callers share (`pool`, `read`, `search`), commits over those of the writers
//! (`writer`, `group`), and what other nodes commit is heard on one more (`listen`). `schema` and `migrate` say what the
//! tables are. Nothing but the address is configured; all nodes with the same address and schema are equal.

mod address;
mod apply;
mod bring;
mod changes;
mod chores;
mod connect;
mod days;
mod fault;
mod group;
mod inspect;
mod lane;
mod listen;
mod migrate;
pub mod notices;
mod parts;
mod pool;
mod queue;
mod read;
mod schema;
mod search;
mod searching;
mod statements;
mod sweep;
mod tls;
mod transfer;
mod wanted;
mod writer;

use super::changes::{Changes, channel};
use super::rows;
use super::{
    Amend, Batch, EventQuery, Key, Millis, Page, Query, Scrubbed, Store, StoreError, StoredEvent, Tally,
    Versioned, bounds,
};
pub use address::{Address, AddressError};
use async_trait::async_trait;
pub use connect::Facts;
use connect::{Connector, Link, Purpose, claim};
pub use days::day_of;
pub use inspect::{Inspection, Tables, inspect};
use lane::Sender;
use listen::Listener;
pub use notices::Node;
use notices::Own;
use pool::{Pauses, Pool};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
pub use transfer::RawDatabase;
use writer::Writer;

/// How long a short answer is waited for: a server that is gone without a word is noticed then.
const SHORT: Duration = Duration::from_secs(2);
/// How long a search, or a page of history, is waited for.
const LONG: Duration = Duration::from_secs(30);
/// How long a write is waited for that shows whether writes go through.
const PROBE: Duration = Duration::from_secs(5);

/// What a node is, as the store sees it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Drawn at random for each opening: how a node tells its own notices from those of others.
    pub node: Node,
    /// Kinds of records that may rest: once they are ended, they lie where the days on which they are forgotten lie.
    pub resting: Vec<u8>,
    /// No other node may work on it meanwhile.
    pub alone: bool,
}

/// An open store.
pub struct Postgres {
    facts: Facts,
    place: String,
    resting: Box<[u8]>,
    sender: Sender,
    short: Pool<read::Short>,
    long: Pool<read::Long>,
    search: Pool<searching::Search>,
    says: Pool<read::Says>,
    writer: Writer,
    listener: Mutex<Option<Listener>>,
    changes: Mutex<Option<Changes>>,
    /// Holds all others off.
    _alone: Option<Link>,
}

/// Why the store could not be opened: a sentence that names the place, and never the password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is to be trusted.
    #[error("{place}: {why}")]
    Trust {
        /// Hosts and database.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// What the hosts said, or the tables.
    #[error("{place}: {why}")]
    Store {
        /// Hosts and database.
        place: String,
        /// What they said.
        why: String,
    },
}

impl OpenError {
    fn trust(address: &Address, why: &tls::TlsError) -> OpenError {
        OpenError::Trust { place: address.place(), why: why.to_string() }
    }

    fn of(address: &Address, why: StoreError) -> OpenError {
        let why = match why {
            StoreError::Unavailable(why) => why,
            other => other.to_string(),
        };
        OpenError::Store { place: address.place(), why }
    }
}

impl Postgres {
    /// Connects, brings the tables to this version, and listens. Everything that goes wrong later mends itself.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(address: &Address, options: &Options) -> Result<Postgres, OpenError> {
        let place = address.place();
        let failed = |why| OpenError::of(address, why);
        let connector =
            Connector::with(address.clone(), options.alone).map_err(|why| OpenError::trust(address, &why))?;
        let seed = options.node.iter().fold(1_u64, |seed, byte| seed.wrapping_mul(257) ^ u64::from(*byte));
        let alone = match options.alone {
            true => Some(hold_off(&connector, seed).await.map_err(failed)?),
            false => None,
        };
        let (link, facts) = connector.first(Purpose::Schema, seed).await.map_err(failed)?;
        migrate::migrate(&link, connector.schema()).await.map_err(failed)?;
        let (teller, changes) = channel();
        let own = Own::new(options.node);
        let listener = Listener::start(&connector, own.clone(), seed, teller).await.map_err(failed)?;
        // Not before another connection holds whoever moves stores off.
        drop(link);
        let sender = Sender { own, channel: notices::channel(connector.schema()) };
        let writer = Writer::start(&connector, &sender, &options.resting);
        let store = Postgres {
            facts,
            place,
            resting: options.resting.as_slice().into(),
            short: Pool::new(&connector, Purpose::Short, 2, seed ^ 1, SHORT),
            long: Pool::new(&connector, Purpose::Long, 2, seed ^ 2, LONG),
            search: Pool::new(&connector, Purpose::Long, 2, seed ^ 3, LONG),
            says: Pool::new(&connector, Purpose::Short, 1, seed ^ 4, SHORT),
            sender,
            writer,
            listener: Mutex::new(Some(listener)),
            changes: Mutex::new(Some(changes)),
            _alone: alone,
        };
        // A server may take its time to let so many in.
        let ready = tokio::try_join!(
            store.short.ready(),
            store.long.ready(),
            store.search.ready(),
            store.says.ready()
        );
        ready.map_err(failed)?;
        Ok(store)
    }

    /// What the server said of itself when the store was opened.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Hosts and database, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Every statement this store runs, for the test that looks at their query plans.
    pub fn statements() -> impl Iterator<Item = &'static str> {
        let reading = [read::Short::SQL, read::Long::SQL, read::Says::SQL, &searching::HOT, &searching::ALL];
        let writing = [statements::SQL, chores::SQL, parts::SQL, transfer::SQL, bring::SQL];
        reading.into_iter().chain(writing).flatten().copied()
    }
}

/// How often it is looked, with pauses that grow: the server notices within moments, but not at once, that a node is gone.
const LOOKS: u32 = 8;

/// A connection that holds every node off.
async fn hold_off(connector: &Arc<Connector>, seed: u64) -> Result<Link, StoreError> {
    let link = connector.link(Purpose::Moving).await?;
    let mut pauses = Pauses::new(seed);
    for _ in 0..LOOKS {
        if claim(&link, connector.schema()).await? {
            return Ok(link);
        }
        pauses.pause().await;
    }
    Err(StoreError::Unavailable("a node is at work on it: stop every node first".to_owned()))
}

#[async_trait]
impl Store for Postgres {
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let resting = &*self.resting;
        self.short.ask(true, |line| async move { read::load(&line, resting, keys).await }).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.writer.commit(batch).await
    }

    async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError> {
        self.writer.touch(seen).await
    }

    async fn search(&self, query: &Query) -> Result<Page<Versioned>, StoreError> {
        let Some(wanted) = wanted::Wanted::of(query, &self.resting) else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let wanted = &wanted;
        if wanted.plain() {
            return self.long.ask(true, |line| async move { search::plain(&line, wanted).await }).await;
        }
        self.search.ask(true, |line| async move { search::page(&line, wanted).await }).await
    }

    async fn history(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let resting = &*self.resting;
        self.long.ask(true, |line| async move { read::history(&line, resting, query).await }).await
    }

    async fn head(&self) -> Result<u64, StoreError> {
        let (position, _) = self.short.ask(true, |line| async move { read::meta(&line).await }).await?;
        Ok(position)
    }

    async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError> {
        self.writer.amend(lines).await
    }

    async fn scrub(&self) -> Result<Scrubbed, StoreError> {
        self.writer.scrub().await
    }

    async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError> {
        self.writer.sweep(now, limit).await
    }

    async fn tallies(&self) -> Result<Vec<(Tally, i64)>, StoreError> {
        self.long.ask(true, |line| async move { read::tallies(&line).await }).await
    }

    async fn clock_floor(&self) -> Result<Millis, StoreError> {
        let (_, floor) = self.short.ask(true, |line| async move { read::meta(&line).await }).await?;
        Ok(floor)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let wrote = self.long.ask(true, |line| async move { read::probe(&line).await });
        match tokio::time::timeout(PROBE, wrote).await {
            Ok(wrote) => wrote,
            Err(_) => Err(StoreError::Unavailable(format!("it did not write within {PROBE:?}"))),
        }
    }

    fn changes(&self) -> Option<Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn say(&self, message: &[u8]) -> Result<Millis, StoreError> {
        if message.len() > bounds::LONGEST_SAYING {
            return Err(StoreError::Unavailable("a message is longer than 4 KiB".to_owned()));
        }
        let text = &notices::said(&self.sender.own.name(), message);
        let channel = &self.sender.channel;
        self.says.ask(false, |line| async move { read::say(&line, channel, text).await }).await
    }

    async fn close(&self) {
        self.writer.close().await;
        tokio::join!(self.short.close(), self.long.close(), self.search.close(), self.says.close());
        // With the listener the changes end.
        drop(self.listener.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
