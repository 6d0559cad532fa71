//! Explaining: which rules hold for a session, and what each of them says now. Trying: what a policy would make of every
//! live session, and of the refusals of the last day, before anybody saves it. Nothing is changed.

use super::callers::Caller;
use super::control::Env;
use super::read::no_session;
use super::records::Loaded;
use super::search::Filter;
use super::{App, Stop};
use crate::codec::{event, sessions};
use crate::store::{EventQuery, Query};
use handstamp_core::caller::Scope;
use handstamp_core::event::{Event, EventKind};
use handstamp_core::explain::{Fate, Said, asked, fate, lets_in, rules};
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::policy::{Effective, Origin, Policy};
use handstamp_core::refusal::{Code, Evidence, Refusal, Value};
use handstamp_core::subject::Endpoint;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Each key of the effective policy, and where it came from.
pub type Values = Vec<(&'static str, Value, Origin)>;

/// What holds for a session, and what each rule says of it now.
pub struct Explained {
    /// Which.
    pub session: SessionId,
    /// What holds.
    pub policy: Values,
    /// What is said.
    pub rules: Vec<Said>,
}

/// What a policy would do.
#[derive(Default)]
pub struct Preview {
    /// Live sessions that were looked at.
    pub sessions: u64,
    /// How many of them would end.
    pub would_end: u64,
    /// How many would be refused if their last client asked again, and stay.
    pub would_refuse: u64,
    /// How many refusals of the last day would not have been: requests of sessions, and logins.
    pub would_allow: u64,
    /// The first of those that would end or be refused.
    pub examples: Vec<(SessionId, Refusal)>,
}

/// How many are named.
const NAMED: usize = 100;
/// How many sessions of a user are explained.
const OF_USER: u32 = 100;
/// How far back refusals are looked at.
const DAY: Span = Span::days(1);
/// How many sessions of refusals are kept at hand.
const KNOWN: usize = 1_000;
/// How many records or lines are read at a time.
const STEP: u32 = 500;

impl App {
    /// Explains one session.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`; faults.
    pub async fn explain(&self, caller: &Caller, id: SessionId) -> Result<Explained, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let loaded = self.load_session(caller.env.record.id, id).await?.ok_or_else(|| no_session(id))?;
        let env = self.env(caller.env.record.id)?;
        Ok(self.explained(&env, &loaded))
    }

    /// Explains what would hold for a session with these tags.
    ///
    /// # Errors
    /// `insufficient_scope`; the environment is gone.
    pub fn explain_tags(&self, caller: &Caller, tags: &[Tag]) -> Result<Values, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        Ok(env.policy.of_tags(tags.iter().map(Tag::as_str)).list())
    }

    /// Explains the live sessions of a user, the newest first; at most a hundred.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn explain_user(&self, caller: &Caller, user: UserId) -> Result<Vec<Explained>, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let filter = Filter { user: Some(user), ..Filter::default() };
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (found, next) = self.candidates(&env, &filter, OF_USER, cursor).await?;
            all.extend(found.iter().map(|loaded| self.explained(&env, loaded)));
            all.truncate(usize::try_from(OF_USER).unwrap_or(usize::MAX));
            match next {
                Some(next) if all.len() < usize::try_from(OF_USER).unwrap_or(usize::MAX) => {
                    cursor = Some(next)
                }
                _ => return Ok(all),
            }
        }
    }

    fn explained(&self, env: &Env, loaded: &Loaded) -> Explained {
        let policy = env.policy.of(&loaded.session);
        let said = rules(&loaded.session, loaded.seen, &env.ledger, &policy, self.now());
        Explained { session: loaded.session.id, policy: policy.list(), rules: said }
    }

    /// Tries a policy on every live session and on the refusals of the last day. `tell` is told how many records were
    /// looked at.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn preview(
        &self,
        caller: &Caller,
        candidate: &Policy,
        tell: impl Fn(u64),
    ) -> Result<Preview, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        // The types of sessions stay as they are, whoever replaces the policy.
        let types = env.policy.type_lives().map(|(name, life)| (name.clone(), *life)).collect();
        let candidate = &candidate.with_types(types);
        let mut preview = Preview::default();
        let mut looked_at = 0;
        let mut query = Query {
            space: sessions(env.record.id),
            all: Vec::new(),
            from: None,
            until: None,
            cursor: None,
            limit: STEP,
        };
        loop {
            let page = self.store.search(&query).await?;
            looked_at += u64::try_from(page.items.len()).unwrap_or(0);
            for found in &page.items {
                let (session, stored) = self.read_session(found)?;
                if !session.is_live() {
                    continue;
                }
                let (seen, offered) = self.unwritten(env.record.id, session.id).over(stored);
                let loaded = Loaded { session, seen, offered, version: found.version };
                preview.try_session(&env, &loaded, candidate, self.now());
            }
            tell(looked_at);
            match page.next {
                None => break,
                next => query.cursor = next,
            }
        }
        preview.would_allow = self.let_in(&env, candidate, |lines| tell(looked_at + lines)).await?;
        Ok(preview)
    }

    /// How many refusals of the last day the policy would not have given.
    async fn let_in(&self, env: &Env, candidate: &Policy, tell: impl Fn(u64)) -> Result<u64, Stop> {
        let since = Millis(self.now().0.saturating_sub(DAY.0));
        let env_id = Some(env.record.id.0);
        let mut query =
            EventQuery { subject: None, env: env_id, after: None, since: Some(since), limit: STEP };
        let mut known: HashMap<SessionId, Option<Loaded>> = HashMap::new();
        let (mut count, mut lines) = (0, 0);
        loop {
            let page = self.store.history(&query).await?;
            query.after = page.last().map(|last| last.position);
            let full = u32::try_from(page.len()).is_ok_and(|n| n >= STEP);
            lines += u64::try_from(page.len()).unwrap_or(0);
            for stored in &page {
                let line = event::read(stored)?;
                if line.is_refused_login() {
                    count += if lets_in(candidate, &line) { u64::from(line.count) } else { 0 };
                    continue;
                }
                let Some(id) = refused_by_policy(&line) else { continue };
                if known.len() >= KNOWN {
                    known.clear();
                }
                let loaded = match known.entry(id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.load_session(env.record.id, id).await?),
                };
                let Some(loaded) = loaded else { continue };
                let mut client = line.client.clone();
                self.know(&mut client);
                let from = Endpoint::from(&client);
                let effective = candidate.of(&loaded.session);
                // It brought no good proof, and would be asked for one again.
                let asks = effective.device.value.asks(loaded.session.device.is_some());
                if line.code == Some(Code::DeviceProofMissing) && asks {
                    continue;
                }
                if asked(&loaded.session, &effective, from) == Fate::Passes {
                    count += u64::from(line.count);
                }
            }
            tell(lines);
            if !full {
                return Ok(count);
            }
        }
    }
}

impl Preview {
    fn try_session(&mut self, env: &Env, loaded: &Loaded, candidate: &Policy, now: Millis) {
        let of = |policy: &Effective| fate(&loaded.session, loaded.seen, &env.ledger, policy, now);
        // What is over by today's rules is no live session, whatever its record says yet.
        let today = env.policy.of(&loaded.session);
        if handstamp_core::judge::over(&loaded.session, loaded.seen, &env.ledger, &today, now).is_some() {
            return;
        }
        self.sessions += 1;
        let refusal = match of(&candidate.of(&loaded.session)) {
            Fate::Passes => return,
            Fate::Ends(refusal) => {
                self.would_end += 1;
                refusal
            }
            Fate::Refused(refusal) => {
                self.would_refuse += 1;
                refusal
            }
        };
        if self.examples.len() < NAMED {
            self.examples.push((loaded.session.id, refusal));
        }
    }
}

/// The session of a line that says that a policy refused a request.
fn refused_by_policy(line: &Event) -> Option<SessionId> {
    let by_policy = matches!(
        line.code?,
        Code::IpNotAllowed | Code::IpBlocked | Code::IpMissing | Code::IpChanged | Code::UserAgentChanged
    ) || (line.code? == Code::ReauthenticationRequired
        && matches!(line.evidence, Some(Evidence::Change { .. })))
        || (line.code? == Code::DeviceProofMissing);
    line.session.filter(|_| line.kind == EventKind::Refused && by_policy)
}
