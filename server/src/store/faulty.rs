//! A store that has accidents on purpose, for tests: in front of any store, by a script that is given in advance.
//!
//! The two accidents that matter are told apart: before the call nothing happened, after it everything happened and
//! only the answer is lost. Both look the same to the caller, as they do in life. Nothing here reads a clock:
//! a delay is a number of turns of the scheduler, or a gate that the test opens.

use super::{
    Amend, Batch, Changes, EventQuery, Key, Millis, Page, Query, Scrubbed, Store, StoreError, StoredEvent,
    Tally, Versioned,
};
use async_trait::async_trait;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Which call of the trait.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// [`Store::load`]
    Load,
    /// [`Store::commit`]
    Commit,
    /// [`Store::touch`]
    Touch,
    /// [`Store::search`]
    Search,
    /// [`Store::history`]
    History,
    /// [`Store::head`]
    Head,
    /// [`Store::amend`]
    Amend,
    /// [`Store::scrub`]
    Scrub,
    /// [`Store::sweep`]
    Sweep,
    /// [`Store::tallies`]
    Tallies,
    /// [`Store::clock_floor`]
    ClockFloor,
    /// [`Store::probe`]
    Probe,
    /// [`Store::say`]
    Say,
}

/// What happens to one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: the call goes through.
    None,
    /// `Unavailable`, and the store behind never heard of it.
    Before,
    /// The store behind did it, and the caller is told `Unavailable`. A refusal of the store behind is passed on: what
    /// is lost is the good answer.
    LoseAnswer,
    /// Somebody else came first, says the store, though nobody did.
    Conflict,
    /// The call starts after the scheduler came round this many times.
    Delay(u32),
    /// The call was done, and its answer comes after the scheduler came round this many times.
    DelayAnswer(u32),
    /// The call starts when the gate is opened.
    Hold(Gate),
}

/// A door for held calls: closed until the test opens it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Gate {
        Gate(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Lets `calls` of the held calls go.
    pub fn open(&self, calls: usize) {
        self.0.add_permits(calls);
    }

    async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// A store with accidents.
pub struct Faulty {
    inner: Arc<dyn Store>,
    script: Mutex<HashMap<Call, VecDeque<Fault>>>,
}

impl Faulty {
    /// Puts accidents in front of `inner`; without a script there are none.
    pub fn new(inner: Arc<dyn Store>) -> Faulty {
        Faulty { inner, script: Mutex::new(HashMap::new()) }
    }

    /// What happens to the next calls of that kind, in order; after them all goes well.
    pub fn plan(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.entry(call).or_default().extend(faults);
    }

    /// How many planned faults have not come up yet: a test can see that its script was really played.
    pub fn left(&self) -> usize {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).values().map(VecDeque::len).sum()
    }

    /// Takes back what has not come up yet.
    pub fn forget_plans(&self) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn around<T>(
        &self,
        call: Call,
        act: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let planned = {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            script.get_mut(&call).and_then(VecDeque::pop_front).unwrap_or(Fault::None)
        };
        match planned {
            Fault::None => act.await,
            Fault::Before => Err(StoreError::Unavailable("planned: before the call".to_owned())),
            Fault::LoseAnswer => {
                act.await?;
                Err(StoreError::Unavailable("planned: the answer was lost".to_owned()))
            }
            Fault::Conflict => Err(StoreError::Conflict),
            Fault::Delay(turns) => {
                come_round(turns).await;
                act.await
            }
            Fault::DelayAnswer(turns) => {
                let answer = act.await;
                come_round(turns).await;
                answer
            }
            Fault::Hold(gate) => {
                gate.pass().await;
                act.await
            }
        }
    }
}

async fn come_round(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Store for Faulty {
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.around(Call::Load, self.inner.load(keys)).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.around(Call::Commit, self.inner.commit(batch)).await
    }
    async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError> {
        self.around(Call::Touch, self.inner.touch(seen)).await
    }
    async fn search(&self, query: &Query) -> Result<Page<Versioned>, StoreError> {
        self.around(Call::Search, self.inner.search(query)).await
    }
    async fn history(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.around(Call::History, self.inner.history(query)).await
    }
    async fn head(&self) -> Result<u64, StoreError> {
        self.around(Call::Head, self.inner.head()).await
    }
    async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError> {
        self.around(Call::Amend, self.inner.amend(lines)).await
    }
    async fn scrub(&self) -> Result<Scrubbed, StoreError> {
        self.around(Call::Scrub, self.inner.scrub()).await
    }
    async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError> {
        self.around(Call::Sweep, self.inner.sweep(now, limit)).await
    }
    async fn tallies(&self) -> Result<Vec<(Tally, i64)>, StoreError> {
        self.around(Call::Tallies, self.inner.tallies()).await
    }
    async fn clock_floor(&self) -> Result<Millis, StoreError> {
        self.around(Call::ClockFloor, self.inner.clock_floor()).await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        self.around(Call::Probe, self.inner.probe()).await
    }
    fn changes(&self) -> Option<Changes> {
        self.inner.changes()
    }
    async fn say(&self, message: &[u8]) -> Result<Millis, StoreError> {
        self.around(Call::Say, self.inner.say(message)).await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}
