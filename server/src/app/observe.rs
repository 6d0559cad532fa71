//! From where a session was last used. Kept behind the answer: a request from a new address waits for no write, and one
//! session's changes are written at most once a second.

use super::records::{Decision, Stage};
use super::{App, Stop};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::session::Client;
use handstamp_core::transition::update::observe;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What is waiting to be written; more than [`Observer::MOST`] is not kept.
#[derive(Default)]
pub struct Observer(Mutex<HashMap<(EnvironmentId, SessionId), Client>>);

impl Observer {
    const MOST: usize = 8_192;

    /// Takes note of a client that differs from what is known.
    pub(super) fn offer(&self, env: EnvironmentId, id: SessionId, client: Client) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < Observer::MOST {
            waiting.insert((env, id), client);
        }
    }

    fn take(&self) -> HashMap<(EnvironmentId, SessionId), Client> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl App {
    /// Writes what is waiting.
    ///
    /// # Errors
    /// Faults; what was not written by then is forgotten, and offered again by a later request.
    pub(super) async fn write_observed(&self) -> Result<(), Stop> {
        let waiting = stream::iter(self.observer.take());
        let written = waiting.map(|((env, id), client)| async move {
            match self.write_one_observed(env, id, &client).await {
                // The environment was removed in the meantime.
                Ok(()) | Err(Stop::Refused(_)) => Ok(()),
                Err(fault) => Err(fault),
            }
        });
        written.buffer_unordered(64).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    async fn write_one_observed(
        &self,
        env: EnvironmentId,
        id: SessionId,
        client: &Client,
    ) -> Result<(), Stop> {
        self.decide(id.bucket(), || async {
            let Some(loaded) = self.load_session(env, id).await? else {
                return Ok(Decision::Answer(()));
            };
            let env = self.env(env)?;
            let now = self.now();
            let mut client = client.clone();
            self.know(&mut client);
            self.cache.share_agent(&mut client);
            let living = self.ground(&env, now).living(&loaded.session, loaded.seen);
            let Some(change) = living.ok().and_then(|living| observe(living, client)) else {
                return Ok(Decision::Answer(()));
            };
            let mut stage = Stage::new(id.bucket(), now);
            stage.change(self, &env, &loaded, None, &change, loaded.seen);
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }
}
