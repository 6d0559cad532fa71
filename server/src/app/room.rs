//! Where the control records are held in memory, and the queue of those who change them.
//!
//! Every change of them also puts the stamp, over the version that it was decided on. So a change that another node came
//! before goes through nowhere: it is decided again on what the store has. And whoever loads the stamp knows whether what is
//! held here is the newest.

use super::control::{Control, batch, put, read, stamp};
use super::policies::FromFile;
use super::records::TRIES;
use super::seats::Era;
use super::{App, Fault, Stop};
use crate::codec::control::{stamp_key, write_stamp};
use crate::store::{Batch, Key, NewEvent, Op, Store, StoreError, Versioned};
use arc_swap::{ArcSwap, Guard};
use handstamp_core::id::EnvironmentId;
use handstamp_core::token::keyring::MasterKey;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// What is held, and whose turn it is to change it.
pub(super) struct Room {
    held: ArcSwap<Control>,
    /// Held by who looks at what is held to put something in its place.
    swapping: Mutex<()>,
    /// Who waited for it finds everything read.
    reading: tokio::sync::Mutex<()>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// A change went wrong half-way and nobody could read what the store says since: that is done before the next one.
    stale: AtomicBool,
    /// Nobody else writes to the store.
    alone: bool,
}

/// The right to change control records. Whoever has it decides on what the store has; if that changes meanwhile, what was
/// decided does not go through.
pub(super) struct Turn {
    _held: OwnedMutexGuard<()>,
    stamp: u64,
}

impl Room {
    pub(super) fn new(file: FromFile, era: Era, alone: bool) -> Room {
        Room {
            held: ArcSwap::from_pointee(Control::before_all(file, era)),
            swapping: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            turn: Arc::default(),
            stale: AtomicBool::new(false),
            alone,
        }
    }
    pub(super) fn load(&self) -> Guard<Arc<Control>> {
        self.held.load()
    }
    /// Changes what is held.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Control::clone(&self.load());
        let done = change(&mut next);
        self.held.store(Arc::new(next));
        done
    }

    /// Reads everything again. What is held only in memory is kept. Which environments are gone.
    pub(super) async fn refresh(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        first: bool,
    ) -> Result<Vec<EnvironmentId>, StoreError> {
        let known = Arc::clone(&self.load());
        let stored = read(store, master, &known, !first && !self.alone).await?;
        // Who reads later and is done sooner has read what is newer.
        let gone =
            self.change(|held| if held.is_older_than(&stored) { held.take_over(stored) } else { Vec::new() });
        self.stale.store(false, Ordering::Release);
        Ok(gone)
    }

    /// Sees to it that what is held is of this stamp, or of a later one.
    pub(super) async fn catch_up(
        &self,
        stamp: u64,
        store: &dyn Store,
        master: &MasterKey,
    ) -> Result<Vec<EnvironmentId>, StoreError> {
        if self.load().stamp() >= stamp {
            return Ok(Vec::new());
        }
        let _reading = self.reading.lock().await;
        if self.load().stamp() >= stamp { Ok(Vec::new()) } else { self.refresh(store, master, false).await }
    }
}

impl App {
    /// Waits for the turn to change control records.
    pub(super) async fn control_turn(&self) -> Result<Turn, StoreError> {
        let held = self.control.turn.clone().lock_owned().await;
        if self.control.stale.load(Ordering::Acquire) {
            self.control.refresh(self.store.as_ref(), &self.master, false).await?;
        } else {
            self.newest().await?;
        }
        let stamp = self.control.load().stamp();
        Ok(Turn { _held: held, stamp })
    }

    /// Decides about control records, and decides again while other nodes come first.
    pub(super) async fn while_overtaken<T, F>(&self, mut decision: impl FnMut() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        for attempt in 0..TRIES {
            match decision().await {
                Err(Stop::Fault(Fault::Store(StoreError::Conflict))) => self.jitter(attempt).await?,
                other => return other,
            }
        }
        Err(Fault::Contended.into())
    }

    /// Sees to it that the control records in memory are no older than this call, where other nodes may change them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn newest(&self) -> Result<(), StoreError> {
        if self.control.alone {
            return Ok(());
        }
        let stamp = stamp(self.store.as_ref()).await?;
        self.catch_up(stamp).await
    }

    async fn catch_up(&self, stamp: u64) -> Result<(), StoreError> {
        let gone = self.control.catch_up(stamp, self.store.as_ref(), &self.master).await?;
        gone.into_iter().for_each(|env| self.cache.forget_env(env));
        Ok(())
    }

    /// Loads records. Where other nodes may change the control records, these are in memory afterwards no older than this
    /// call: so whoever judges takes the environment after what is judged was loaded.
    pub(super) async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        if self.control.alone {
            return self.store.load(keys).await;
        }
        let mut with_stamp = Vec::with_capacity(keys.len() + 1);
        with_stamp.extend_from_slice(keys);
        with_stamp.push(stamp_key());
        let mut found = self.store.load(&with_stamp).await?;
        let stamp = found.pop().flatten().map_or(0, |found| found.version);
        self.catch_up(stamp).await?;
        Ok(found)
    }

    /// Changes control records, and history is told in the same commit. See [`App::change_control`].
    pub(super) async fn change_control_telling(
        &self,
        turn: Turn,
        ops: Vec<Op>,
        events: Vec<NewEvent>,
        apply: impl FnOnce(&mut Control) + Send + 'static,
    ) -> Result<Turn, Fault> {
        self.commit_control(turn, Batch { events, ..batch(self.now(), ops) }, apply).await
    }

    /// Changes control records and, once that is durable, what is held in memory. It is seen through to its end also
    /// when who asked goes away; and when the store does not say whether it went through, the store is read again, for
    /// memory must not go on with what may have been replaced.
    pub(super) async fn change_control(
        &self,
        turn: Turn,
        ops: Vec<Op>,
        apply: impl FnOnce(&mut Control) + Send + 'static,
    ) -> Result<Turn, Fault> {
        self.commit_control(turn, batch(self.now(), ops), apply).await
    }

    async fn commit_control(
        &self,
        turn: Turn,
        mut batch: Batch,
        apply: impl FnOnce(&mut Control) + Send + 'static,
    ) -> Result<Turn, Fault> {
        let (room, store, master) = (self.control.clone(), self.store.clone(), self.master.clone());
        let (told, feeds) = (self.told.clone(), self.feeds.clone());
        let about = batch.events.first().map(|event| EnvironmentId(event.subject.space.env));
        batch.ops.push(put(write_stamp(), turn.stamp));
        let changing = tokio::spawn(async move {
            match store.commit(batch).await {
                Ok(()) => {
                    if let Some(env) = about {
                        told.send_modify(|told| *told = told.wrapping_add(1));
                        feeds.news(env);
                    }
                    let stamp = turn.stamp + 1;
                    room.change(|held| {
                        // Else somebody has read what was committed here, and perhaps more.
                        if held.stamp() < stamp {
                            apply(held);
                            held.is_stamped(stamp);
                        }
                    });
                    Ok(Turn { stamp, ..turn })
                }
                Err(error) => {
                    if let Err(again) = room.refresh(store.as_ref(), &master, false).await {
                        room.stale.store(true, Ordering::Release);
                        tracing::warn!(%again, "the control records will be read again before the next change");
                    }
                    Err(error)
                }
            }
        });
        let cut = |_| Err(StoreError::Unavailable("a change was cut short".to_owned()));
        Ok(changing.await.unwrap_or_else(cut)?)
    }

    /// Reads the control records again if a change left doubts about them. What is made must know of every raise whose
    /// answer went before it, or one that failed without being undone would end it later.
    pub(super) async fn doubts(&self) -> Result<(), StoreError> {
        if self.control.stale.load(Ordering::Acquire) {
            self.control_turn().await?;
        }
        Ok(())
    }
}
