//! Where the control records are held in memory, and the queue of those who change them.

use super::control::{Control, batch, load};
use super::policies::FromFile;
use super::seats::Era;
use super::{App, Fault};
use crate::store::{Batch, NewEvent, Op, Store, StoreError};
use arc_swap::{ArcSwap, Guard};
use handstamp_core::id::EnvironmentId;
use handstamp_core::token::keyring::MasterKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OwnedMutexGuard;

/// What is held, and whose turn it is to change it.
pub(super) struct Room {
    held: ArcSwap<Control>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// A change went wrong half-way and nobody could read what the store says since: that is done before the next one.
    stale: AtomicBool,
}

/// The right to change control records. Whoever has it has what the store has.
pub(super) struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Room {
    pub(super) fn new(file: FromFile, era: Era) -> Room {
        Room {
            held: ArcSwap::from_pointee(Control::before_all(file, era)),
            turn: Arc::default(),
            stale: AtomicBool::new(false),
        }
    }
    pub(super) fn load(&self) -> Guard<Arc<Control>> {
        self.held.load()
    }
    pub(super) fn replace(&self, control: Control) {
        self.held.store(Arc::new(control));
    }

    /// Reads everything again. What is held only in memory is kept.
    async fn refresh(&self, store: &dyn Store, master: &MasterKey) -> Result<(), StoreError> {
        let mut fresh = load(store, master, self.load().emptied()).await?;
        fresh.keep_from(&self.load());
        self.replace(fresh);
        self.stale.store(false, Ordering::Release);
        Ok(())
    }
}

impl App {
    /// Waits for the turn to change control records.
    pub(super) async fn control_turn(&self) -> Result<Turn, StoreError> {
        let turn = Turn { _held: self.control.turn.clone().lock_owned().await };
        if self.control.stale.load(Ordering::Acquire) {
            self.control.refresh(self.store.as_ref(), &self.master).await?;
        }
        Ok(turn)
    }

    /// Waits for the turn to change what is in memory alone, whether the store answers or not.
    pub(super) async fn turn_of_memory(&self) -> Turn {
        Turn { _held: self.control.turn.clone().lock_owned().await }
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
        batch: Batch,
        apply: impl FnOnce(&mut Control) + Send + 'static,
    ) -> Result<Turn, Fault> {
        let (room, store, master) = (self.control.clone(), self.store.clone(), self.master.clone());
        let (told, feeds) = (self.told.clone(), self.feeds.clone());
        let about = batch.events.first().map(|event| EnvironmentId(event.subject.space.env));
        let changing = tokio::spawn(async move {
            match store.commit(batch).await {
                Ok(()) => {
                    if let Some(env) = about {
                        told.send_modify(|told| *told = told.wrapping_add(1));
                        feeds.news(env);
                    }
                    let mut next = Control::clone(&room.load());
                    apply(&mut next);
                    room.replace(next);
                    Ok(turn)
                }
                Err(error) => {
                    if let Err(again) = room.refresh(store.as_ref(), &master).await {
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
