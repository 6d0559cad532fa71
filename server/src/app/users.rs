//! Who is logged in: users, as their sessions tell of them. There is no profile: all is read from the sessions and their
//! history at this instant, so it says what a look at each session says.

use super::callers::Caller;
use super::control::Env;
use super::search::{Filter, Which, read_cursor, seal, write_cursor};
use super::{App, Stop};
use crate::codec::{event, logins_key, read_user, session_id, session_key, users};
use crate::store::{EventQuery, Key, Query};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::caller::Scope;
use handstamp_core::device::known::Known;
use handstamp_core::event::{Event, EventKind};
use handstamp_core::id::{EnvironmentId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use handstamp_core::time::{Millis, Span};

/// A user at an instant.
pub struct Person {
    /// Who.
    pub user: UserId,
    /// How many live sessions.
    pub sessions: usize,
    /// The last activity of any of them.
    pub last_active: Option<Millis>,
    /// From where they were last used, each once, the latest first; at most [`Person::CLIENTS`].
    pub clients: Vec<Seen>,
    /// The devices that they are known to have.
    pub devices: Vec<Known>,
    /// What was refused in the last day, the latest first; of ended sessions, too.
    pub refused: Vec<Refused>,
}

impl Person {
    /// The most clients that are told of.
    pub const CLIENTS: usize = 20;
}

/// A client, and the live sessions last used from it.
pub struct Seen {
    /// Address and agent.
    pub client: Client,
    /// How many sessions.
    pub sessions: usize,
    /// Their last activity.
    pub last_active: Millis,
}

/// Refusals with one code.
pub struct Refused {
    /// Which.
    pub code: Code,
    /// How many.
    pub count: u64,
    /// The last of them.
    pub last: Millis,
}

/// A page of users.
pub struct People {
    /// The users.
    pub items: Vec<Person>,
    /// Where the next page begins, as opaque text.
    pub next: Option<String>,
}

/// How far back refusals are recent.
const RECENT: Span = Span::days(1);
/// How often the store is asked for one page, when time has ended the sessions of most whom it finds.
const ROUNDS: usize = 40;

impl App {
    /// A page of users who have a live session, by their keys, the greatest first.
    ///
    /// # Errors
    /// A cursor of another list; faults.
    pub async fn users(&self, caller: &Caller, limit: u32, cursor: Option<&str>) -> Result<People, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let seal = seal(&env, "users");
        let cursor = cursor.map(|text| read_cursor(seal, text)).transpose()?.map(|(_, cursor)| cursor);
        let space = users(env.record.id);
        let mut query = Query { space, all: Vec::new(), from: None, until: None, cursor, limit };
        let mut items = Vec::new();
        let logins = self.logins_refused_lately(env.record.id).await?;
        for _ in 0..ROUNDS {
            query.limit = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX)).max(1);
            let page = self.store.search(&query).await?;
            for found in page.items {
                let person = self.person(&env, read_user(&found)?.id, &logins).await?;
                // Time may have ended all of them.
                items.extend(Some(person).filter(|person| person.sessions > 0));
            }
            query.cursor = page.next;
            if query.cursor.is_none() || u32::try_from(items.len()).is_ok_and(|n| n >= limit) {
                break;
            }
        }
        let next = query.cursor.map(|next| write_cursor(seal, false, &next));
        Ok(People { items, next })
    }

    /// One user, also without a live session.
    ///
    /// # Errors
    /// `not_found`, when no session of theirs is known, live or ended, and no login was refused lately; faults.
    pub async fn user(&self, caller: &Caller, user: UserId) -> Result<Person, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let logins = self.logins_refused_lately(env.record.id).await?;
        let is_unknown = logins.iter().all(|line| line.user.as_ref() != Some(&user));
        if is_unknown && self.sessions_of(&env, &user).await?.is_empty() {
            return Err(Stop::refuse(Code::NotFound, "no session of this user is known in this environment"));
        }
        self.person(&env, user, &logins).await
    }

    async fn person(&self, env: &Env, user: UserId, logins: &[Event]) -> Result<Person, Stop> {
        let filter = Filter { user: Some(user.clone()), ..Filter::default() };
        let devices = self.known_devices(env.record.id, &user).await?;
        let (sessions, last_active) = (0, None);
        let mut person =
            Person { user, sessions, last_active, clients: Vec::new(), devices, refused: Vec::new() };
        let mut cursor = None;
        loop {
            let (found, next) = self.candidates(env, &filter, 1_000, cursor).await?;
            for loaded in found {
                let client = loaded.session.last_client.map_or(loaded.session.client, |last| *last);
                person.count(client, loaded.seen);
            }
            match next {
                None => break,
                next => cursor = next,
            }
        }
        person.clients.sort_by_key(|seen| std::cmp::Reverse(seen.last_active));
        person.clients.truncate(Person::CLIENTS);
        person.refused = self.refused_lately(env, &person.user, logins).await?;
        Ok(person)
    }

    async fn refused_lately(&self, env: &Env, user: &UserId, logins: &[Event]) -> Result<Vec<Refused>, Stop> {
        let from = self.now().minus(RECENT);
        let subjects = self.sessions_of(env, user).await?;
        let lately = stream::iter(subjects).map(|subject| self.since(subject, from));
        let lines: Vec<Vec<Event>> = lately.buffered(32).try_collect().await?;
        let mut refused: Vec<Refused> = Vec::new();
        let logins = logins.iter().filter(|line| line.user.as_ref() == Some(user));
        for line in lines.iter().flatten().chain(logins) {
            let Some(code) = line.code.filter(|_| line.kind == EventKind::Refused) else { continue };
            let count = u64::from(line.count);
            match refused.iter_mut().find(|one| one.code == code) {
                Some(one) => {
                    one.count = one.count.saturating_add(count);
                    one.last = one.last.max(line.at);
                }
                None => refused.push(Refused { code, count, last: line.at }),
            }
        }
        refused.sort_by_key(|one| (std::cmp::Reverse(one.last), one.code));
        Ok(refused)
    }

    /// Logins of anybody that were refused: they made no session whose history would tell of them.
    async fn logins_refused_lately(&self, env: EnvironmentId) -> Result<Vec<Event>, Stop> {
        let now = self.now();
        let from = now.minus(RECENT);
        let mut lines = Vec::new();
        for day in [from, now] {
            lines.extend(self.since(logins_key(env, day), from).await?);
        }
        Ok(lines)
    }

    /// The keys of all sessions of a user, live and ended.
    pub(super) async fn sessions_of(&self, env: &Env, user: &UserId) -> Result<Vec<Key>, Stop> {
        let filter = Filter { user: Some(user.clone()), which: Which::All, ..Filter::default() };
        let mut query = filter.query(env, true, 1_000);
        let mut keys = Vec::new();
        loop {
            let page = self.store.search(&query).await?;
            let ids = page.items.iter().filter_map(|found| session_id(&found.record.key));
            keys.extend(ids.map(|id| session_key(env.record.id, id)));
            match page.next {
                None => return Ok(keys),
                next => query.cursor = next,
            }
        }
    }

    /// What a record's history says of the time from `from` on.
    async fn since(&self, subject: Key, from: Millis) -> Result<Vec<Event>, Stop> {
        let mut query =
            EventQuery { subject: Some(subject), env: None, after: None, since: Some(from), limit: 1_000 };
        let mut lines = Vec::new();
        loop {
            let page = self.store.history(&query).await?;
            query.after = page.last().map(|last| last.position);
            let full = page.len() == 1_000;
            for stored in &page {
                lines.push(event::read(stored)?);
            }
            if !full {
                return Ok(lines);
            }
        }
    }
}

impl Person {
    fn count(&mut self, client: Client, seen: Millis) {
        self.sessions += 1;
        self.last_active = self.last_active.max(Some(seen));
        if client.is_empty() {
            return;
        }
        match self.clients.iter_mut().find(|known| known.client == client) {
            Some(known) => {
                known.sessions += 1;
                known.last_active = known.last_active.max(seen);
            }
            None => self.clients.push(Seen { client, sessions: 1, last_active: seen }),
        }
    }
}
