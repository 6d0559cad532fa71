//! One session, live or ended; and its history.

use super::callers::Caller;
use super::view::View;
use super::{App, Stop};
use crate::codec::{event, session_key};
use crate::store::{EventQuery, StoredEvent};
use handstamp_core::caller::Scope;
use handstamp_core::event::Event;
use handstamp_core::id::SessionId;
use handstamp_core::refusal::Code;

/// A line of history with its position.
pub struct Line {
    /// Rises in the order of commits; the cursor of the next page.
    pub position: u64,
    /// What happened.
    pub event: Event,
}

impl App {
    /// Reads a session.
    ///
    /// # Errors
    /// `not_found`; faults.
    pub async fn get(&self, caller: &Caller, id: SessionId) -> Result<View, Stop> {
        self.allow(caller, Scope::SessionsRead).await?;
        let env = caller.env.record.id;
        let loaded = self.load_session(env, id).await?.ok_or_else(|| no_session(id))?;
        Ok(self.view(&*self.env(env)?, loaded, self.now())?)
    }

    /// Reads a session's history, oldest first, from after `after` on.
    ///
    /// # Errors
    /// `not_found`; faults.
    pub async fn events(
        &self,
        caller: &Caller,
        id: SessionId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Line>, Stop> {
        caller.allow(Scope::EventsRead)?;
        let env = caller.env.record.id;
        self.load_session(env, id).await?.ok_or_else(|| no_session(id))?;
        let query = EventQuery { subject: Some(session_key(env, id)), env: None, after, since: None, limit };
        let stored = self.store.history(&query).await?;
        let line = |stored: &StoredEvent| -> Result<Line, Stop> {
            let mut event = event::read(stored)?;
            self.know(&mut event.client);
            Ok(Line { position: stored.position, event })
        };
        stored.iter().map(line).collect()
    }
}

/// The refusal for a session that is not there.
pub(super) fn no_session(id: SessionId) -> Stop {
    Stop::refuse(Code::NotFound, format!("there is no session {id} in this environment"))
}
