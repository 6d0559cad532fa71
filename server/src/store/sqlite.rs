//! The embedded store: one SQLite file, one thread that writes, a few that read.
//!
//! Callers are async and cheap: they put a job into a bounded queue and wait for its answer. `writer` commits whatever
//! queued during the last sync as one transaction (`apply` and `sweep` say what is done in it), `readers` answer from
//! snapshots (`search` and `lead` find records by facets). `open` and `schema` make the file, `backup` copies it while
//! it is used.

mod apply;
mod backup;
mod bring;
mod fault;
mod inspect;
mod lead;
mod open;
mod queue;
mod readers;
mod rows;
mod schema;
mod scrub;
mod search;
mod sweep;
mod transfer;
mod writer;

use super::{
    Amend, Batch, EventQuery, Key, Millis, Page, Query, Scrubbed, Store, StoreError, StoredEvent, Tally,
    Versioned, bounds,
};
use async_trait::async_trait;
pub use backup::{BackupError, backup, verify_backup};
pub use inspect::{Inspection, NotRead, fold_log};
pub use open::{OpenError, Options, directory};
use queue::{Lane, Queue, Worker};
pub use scrub::compact;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
pub use transfer::RawFile;

/// The most jobs in line before callers wait: some turns of the writer.
const PLACES: usize = 4_096;

/// An open store. Dropping it lets its threads finish what is in line; [`Store::close`] waits for them.
pub struct Sqlite {
    writes: Arc<Queue<writer::Job>>,
    reads: Arc<Queue<readers::Job>>,
    ended: Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Sqlite {
    /// Opens the database at `path` and makes it when there is none. Blocks for some milliseconds; after a crash, for
    /// as long as it takes to read the write-ahead log, which is kept short.
    ///
    /// # Errors
    /// A sentence that names the file and the way out.
    pub fn open(path: &Path, options: &Options) -> Result<Sqlite, OpenError> {
        let opened = open::open(path, options)?;
        // Made first, so that its end closes the queues should a thread not start.
        let store = Sqlite {
            writes: Arc::new(Queue::new(PLACES)),
            reads: Arc::new(Queue::new(PLACES)),
            ended: Mutex::default(),
        };
        let mut ended = Vec::new();
        let lock = Arc::new(opened.lock);
        let worker = Worker::new(&store.writes, false);
        let writer = opened.writer;
        ended.push(start(path, "store-writer", &lock, move || writer.run(&worker))?);
        for (number, reader) in opened.readers.into_iter().enumerate() {
            // The first takes short jobs only.
            let worker = Worker::new(&store.reads, number > 0);
            ended.push(start(path, "store-reader", &lock, move || reader.run(&worker))?);
        }
        *store.ended.lock().unwrap_or_else(PoisonError::into_inner) = ended;
        Ok(store)
    }

    /// Every statement this store runs, for the test that reads their query plans.
    pub fn statements() -> impl Iterator<Item = &'static str> {
        [apply::SQL, sweep::SQL, readers::SQL, search::SQL, lead::SQL, transfer::SQL, bring::SQL]
            .into_iter()
            .flatten()
            .copied()
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
    }
}

/// Starts a thread that holds the lock on the file as long as it works; the receiver hears of its end.
fn start(
    path: &Path,
    name: &str,
    lock: &Arc<open::Lock>,
    work: impl FnOnce() + Send + 'static,
) -> Result<oneshot::Receiver<()>, OpenError> {
    let (end, ended) = oneshot::channel();
    let lock = Arc::clone(lock);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        work();
        drop(lock);
        let _ = end.send(());
    });
    thread.map(|_| ended).map_err(|error| OpenError::Io {
        path: path.to_owned(),
        what: "start a thread for",
        error,
    })
}

#[async_trait]
impl Store for Sqlite {
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.reads.ask(Lane::Short, |reply| readers::Job::Load(keys.to_vec(), reply)).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        bounds::check(&batch)?;
        self.writes.ask(Lane::Short, |reply| writer::Job::Commit(batch, reply)).await
    }

    async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError> {
        self.writes.ask(Lane::Short, |reply| writer::Job::Touch(seen.to_vec(), reply)).await
    }

    async fn search(&self, query: &Query) -> Result<Page<Versioned>, StoreError> {
        self.reads.ask(Lane::Long, |reply| readers::Job::Search(query.clone(), reply)).await
    }

    async fn history(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.reads.ask(Lane::Long, |reply| readers::Job::History(query.clone(), reply)).await
    }

    async fn head(&self) -> Result<u64, StoreError> {
        self.reads.ask(Lane::Short, readers::Job::Head).await
    }

    async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError> {
        bounds::check_amended(lines)?;
        self.writes.ask(Lane::Short, |reply| writer::Job::Amend(lines.to_vec(), reply)).await
    }

    async fn scrub(&self) -> Result<Scrubbed, StoreError> {
        self.writes.ask(Lane::Short, writer::Job::Scrub).await
    }

    async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError> {
        let mut swept = 0u32;
        loop {
            let left = limit.saturating_sub(swept).min(sweep::SLICE);
            if left == 0 {
                return Ok(swept);
            }
            let slice = self.writes.ask(Lane::Short, |reply| writer::Job::Sweep(now, left, reply)).await?;
            swept = swept.saturating_add(slice.records);
            if !slice.more {
                return Ok(swept);
            }
        }
    }

    async fn tallies(&self) -> Result<Vec<(Tally, i64)>, StoreError> {
        self.reads.ask(Lane::Long, readers::Job::Tallies).await
    }

    async fn clock_floor(&self) -> Result<Millis, StoreError> {
        self.reads.ask(Lane::Short, readers::Job::Floor).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writes.ask(Lane::Short, writer::Job::Probe).await?;
        self.clock_floor().await.map(drop)
    }

    async fn close(&self) {
        self.reads.close();
        self.writes.close();
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in ended {
            // An error means that the thread is gone, too.
            let _ = thread.await;
        }
    }
}
