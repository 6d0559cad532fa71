//! A store in front of another one, for tests that want something of their own to happen at some of its calls; all the
//! others go through.

use async_trait::async_trait;
use handstamp_core::time::Millis;
use handstamp_server::store::faulty::Call;
use handstamp_server::store::{
    Amend, Batch, Changes, EventQuery, Key, Page, Query, Scrubbed, Store, StoreError, StoredEvent, Tally,
    Versioned,
};

/// What happens.
#[async_trait]
pub(crate) trait Front: Send + Sync + 'static {
    /// The store behind.
    fn inner(&self) -> &dyn Store;
    /// Comes before every call.
    fn before(&self, _call: Call) {}
    /// In the place of a load.
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.inner().load(keys).await
    }
    /// In the place of a commit.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner().commit(batch).await
    }
}

/// The store that the others see.
#[derive(Default)]
pub(crate) struct Fronted<T>(pub(crate) T);

impl<T: Front> Fronted<T> {
    fn inner(&self, call: Call) -> &dyn Store {
        self.0.before(call);
        self.0.inner()
    }
}

#[async_trait]
impl<T: Front> Store for Fronted<T> {
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.0.before(Call::Load);
        self.0.load(keys).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.before(Call::Commit);
        self.0.commit(batch).await
    }
    async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError> {
        self.inner(Call::Touch).touch(seen).await
    }
    async fn search(&self, query: &Query) -> Result<Page<Versioned>, StoreError> {
        self.inner(Call::Search).search(query).await
    }
    async fn history(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner(Call::History).history(query).await
    }
    async fn head(&self) -> Result<u64, StoreError> {
        self.inner(Call::Head).head().await
    }
    async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError> {
        self.inner(Call::Amend).amend(lines).await
    }
    async fn scrub(&self) -> Result<Scrubbed, StoreError> {
        self.inner(Call::Scrub).scrub().await
    }
    async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError> {
        self.inner(Call::Sweep).sweep(now, limit).await
    }
    async fn tallies(&self) -> Result<Vec<(Tally, i64)>, StoreError> {
        self.inner(Call::Tallies).tallies().await
    }
    async fn clock_floor(&self) -> Result<Millis, StoreError> {
        self.inner(Call::ClockFloor).clock_floor().await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        self.inner(Call::Probe).probe().await
    }
    fn changes(&self) -> Option<Changes> {
        self.0.inner().changes()
    }
    async fn say(&self, message: &[u8]) -> Result<Millis, StoreError> {
        self.inner(Call::Say).say(message).await
    }
    async fn close(&self) {
        self.0.inner().close().await;
    }
}
