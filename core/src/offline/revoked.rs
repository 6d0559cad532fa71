//! What the feed ended: sessions by name, and all with a tag, of a user or of the environment by a raised epoch.
//!
//! An entry matters until no token that it ends can live any more (`until`), and is then forgotten.

use crate::epoch::Scope;
use crate::id::SessionId;
use crate::jose::claims::Claims;
use crate::time::Millis;
use std::collections::BTreeMap;

/// One entry of the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A session ended.
    Session {
        /// Which.
        session: SessionId,
        /// No token of it lives beyond this.
        until: Millis,
    },
    /// Many did.
    Raise(Raise),
}

/// An epoch that was raised: who carries a lower one is ended by it, if the scope fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raise {
    /// Whom it ends.
    pub scope: Scope,
    /// The counter after it.
    pub epoch: u64,
    /// The one session that it spares.
    pub except: Option<SessionId>,
    /// No token that it ends lives beyond this.
    pub until: Millis,
}

impl Raise {
    /// Whether it ends this token: made below the new counter, within the scope, and not of the session that is spared.
    pub fn ends(&self, claims: &Claims) -> bool {
        claims.epoch < self.epoch
            && self.except != Some(claims.session)
            && match &self.scope {
                Scope::All => true,
                Scope::User(user) => user.as_str() == claims.subject,
                // No tags at all are those of nobody.
                Scope::Tags(tags) => {
                    !tags.is_empty()
                        && tags.iter().all(|tag| claims.tags.iter().any(|held| held == tag.as_str()))
                }
            }
    }
}

/// Everything that was ended and could still matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Revoked {
    sessions: BTreeMap<SessionId, Millis>,
    raises: Vec<Raise>,
}

impl Revoked {
    /// Takes an entry in. One that is known stays as long as either says.
    pub fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Session { session, until } => {
                let known = self.sessions.entry(session).or_insert(until);
                *known = until.max(*known);
            }
            Entry::Raise(raise) => {
                let same = |known: &&mut Raise| {
                    known.epoch == raise.epoch && known.scope == raise.scope && known.except == raise.except
                };
                match self.raises.iter_mut().find(same) {
                    Some(known) => known.until = known.until.max(raise.until),
                    None => self.raises.push(raise),
                }
            }
        }
    }

    /// Whether something in here ends the token.
    pub fn ends(&self, claims: &Claims) -> bool {
        self.sessions.contains_key(&claims.session) || self.raises.iter().any(|raise| raise.ends(claims))
    }

    /// Forgets what no living token can be ended by at `now`; tokens that are accepted a while longer than they say need a `now`
    /// that is that much earlier.
    pub fn forget(&mut self, now: Millis) {
        self.sessions.retain(|_, until| *until >= now);
        self.raises.retain(|raise| raise.until >= now);
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.raises.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
