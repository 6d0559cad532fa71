//! What may no longer be kept goes: also out of the store's files.

use super::control::put;
use super::records::{Decision, Stage};
use super::{App, Stop};
use crate::codec::CONTROL;
use crate::codec::control::{Aging, aging_key, read_aging, write_aging};
use crate::store::{Scrubbed, StoreError};
use handstamp_core::time::{Millis, Span};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The least time between two times that the files are scrubbed, for writers wait meanwhile.
const BETWEEN_SCRUBS: Span = Span::minutes(10);

/// What is under way.
#[derive(Default)]
pub(super) struct Rounds(Mutex<Round>);

#[derive(Default)]
struct Round {
    scrubbed_at: Option<Millis>,
}

impl Rounds {
    fn now(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// What was deleted or written over is to be taken out of the files. Durable: a stop does not forget it.
    pub(super) async fn want_scrub(&self) -> Result<(), Stop> {
        self.change_aging(|aging| aging.scrub_wanted += 1).await
    }

    /// Takes out of the files what is to be, at most once in ten minutes.
    pub(super) async fn scrub(&self) -> Result<(), Stop> {
        let (aging, _) = self.load_aging().await?;
        let now = self.now();
        let early = self.rounds.now().scrubbed_at.is_some_and(|at| now.since(at) < BETWEEN_SCRUBS);
        if aging.scrub_wanted == aging.scrubbed || early {
            return Ok(());
        }
        match self.store.scrub().await? {
            Scrubbed::Later => {}
            done => {
                if done == Scrubbed::WrittenOver {
                    tracing::info!(
                        "what was erased is written over; the file is too large to be rewritten while it is used"
                    );
                }
                self.rounds.now().scrubbed_at = Some(now);
                self.change_aging(|current| current.scrubbed = aging.scrub_wanted).await?;
            }
        }
        Ok(())
    }

    async fn load_aging(&self) -> Result<(Aging, u64), StoreError> {
        let found = self.store.load(&[aging_key()]).await?.into_iter().next().flatten();
        match found {
            None => Ok((Aging::default(), 0)),
            Some(found) => Ok((read_aging(&found)?, found.version)),
        }
    }

    async fn change_aging(&self, change: impl Fn(&mut Aging)) -> Result<(), Stop> {
        self.decide(CONTROL, || async {
            let (before, version) = self.load_aging().await?;
            let mut aging = before;
            change(&mut aging);
            if aging == before {
                return Ok(Decision::Answer(()));
            }
            let mut stage = Stage::new(CONTROL, self.now());
            stage.op(put(write_aging(&aging), version));
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }
}
