//! The history of an environment: pages of it, and following it as it grows.
//!
//! The order is that of the commits, and the place in it is a position: whoever goes on after the last position they
//! have seen misses nothing. What a filter leaves out is stepped over in bounded steps, so that a page may be short, even
//! empty, and still not be the last.

use super::callers::Caller;
use super::read::Line;
use super::{App, Stop};
use crate::codec::{event, history, history_key};
use crate::host::clock::{instant, pause};
use crate::store::{EventQuery, Key, Query, StoreError, StoredEvent};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use handstamp_core::caller::Scope;
use handstamp_core::event::{Event, EventKind};
use handstamp_core::id::{EnvironmentId, UserId};
use handstamp_core::refusal::Code;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Which lines: all of it must hold.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// To this user.
    pub user: Option<UserId>,
    /// What happened.
    pub kind: Option<EventKind>,
    /// Why.
    pub code: Option<Code>,
}

impl Wanted {
    fn fits(&self, event: &Event) -> bool {
        self.user.as_ref().is_none_or(|user| event.user.as_ref() == Some(user))
            && self.kind.is_none_or(|kind| event.kind == kind)
            && self.code.is_none_or(|code| event.code == Some(code))
    }
}

/// A part of the history.
pub struct Chapter {
    /// What fits, oldest first.
    pub lines: Vec<Line>,
    /// The position up to which it was looked through.
    pub through: Option<u64>,
    /// Whether there may be more after it.
    pub more: bool,
}

/// What whoever follows is told.
pub enum News {
    /// Lines, oldest first; at least one.
    Lines(Vec<Line>),
    /// Nothing has happened that fits; all up to this position was looked through.
    Quiet(u64),
}

/// How many lines the store is asked for at a time when most may be left out, and how often for one page.
const STEP: u32 = 1_000;
const ROUNDS: usize = 10;
/// A user's history is put together from that of each of their sessions, up to this many; beyond them the whole history
/// is looked through.
const SESSIONS: usize = 1_000;
/// How many lines whoever follows is told at once.
const TOGETHER: u32 = 200;
/// What is committed so soon after something else is told together with it; and how soon, at the latest, is told what this
/// process did not hear of.
const SOON: Duration = Duration::from_millis(20);
const AT_LAST: Duration = Duration::from_secs(1);
/// The longest silence.
const HEARTBEAT: Duration = Duration::from_secs(10);

impl App {
    /// A page of the environment's history, from after `after` on.
    ///
    /// # Errors
    /// Faults.
    pub async fn history(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Chapter, Stop> {
        caller.allow(Scope::EventsRead)?;
        let env = self.env(caller.env.record.id)?;
        if let Some(user) = &wanted.user {
            // What is committed from here on may be in one of their sessions' histories and not in another's.
            let head = self.store.head().await?;
            let mut subjects = self.sessions_of(&env, user).await?;
            if subjects.len() <= SESSIONS {
                subjects.extend(self.beside_sessions(env.record.id).await?);
                return self.merged(subjects, wanted, after, head, limit).await;
            }
        }
        self.looked_through(env.record.id, wanted, after, limit).await
    }

    /// The environment's history from after `after` on (`None`: from now on), without an end: until the server leaves, or
    /// the caller may no longer read it. It is read as fast as whoever follows takes it.
    ///
    /// # Errors
    /// Faults, before it begins; as its last item, when the store fails on the way.
    pub async fn follow(
        self: Arc<Self>,
        caller: Caller,
        wanted: Wanted,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<News, Stop>> + Send + 'static, Stop> {
        caller.allow(Scope::EventsRead)?;
        let at = match after {
            Some(after) => after,
            None => self.store.head().await?,
        };
        let news = self.told.subscribe();
        let begin = Some(Follower { app: self, caller, wanted, at, news });
        Ok(stream::unfold(begin, |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(None) => None,
                Ok(Some(news)) => Some((Ok(news), Some(follower))),
                Err(stop) => Some((Err(stop), None)),
            }
        }))
    }

    /// From now on nobody follows any more: the server leaves.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.told.send_modify(|told| *told = told.wrapping_add(1));
        self.feeds.wake();
    }

    /// What lines are about that are about no session.
    pub(super) async fn beside_sessions(&self, env: EnvironmentId) -> Result<Vec<Key>, StoreError> {
        let mut subjects = vec![history_key(env)];
        let mut query = Query {
            space: history(env),
            all: Vec::new(),
            from: None,
            until: None,
            cursor: None,
            limit: STEP,
        };
        loop {
            let page = self.store.search(&query).await?;
            subjects.extend(page.items.into_iter().map(|found| found.record.key));
            match page.next {
                None => return Ok(subjects),
                next => query.cursor = next,
            }
        }
    }

    /// The histories of some subjects as one, up to `head`.
    async fn merged(
        &self,
        subjects: Vec<Key>,
        wanted: &Wanted,
        after: Option<u64>,
        head: u64,
        limit: u32,
    ) -> Result<Chapter, Stop> {
        let asked = stream::iter(subjects).map(|subject| async {
            let query = EventQuery { subject: Some(subject), env: None, after, since: None, limit };
            self.store.history(&query).await
        });
        let parts: Vec<Vec<StoredEvent>> = asked.buffered(32).try_collect().await?;
        // Of a part that is full only what it holds is known: the page ends where the first of them does.
        let full = |part: &&Vec<StoredEvent>| u32::try_from(part.len()).is_ok_and(|n| n >= limit);
        let ends = parts.iter().filter(full).filter_map(|part| part.last()).map(|last| last.position).min();
        let through = ends.map_or(head, |end| end.min(head));
        let mut all: Vec<StoredEvent> = parts.into_iter().flatten().collect();
        all.retain(|stored| stored.position <= through);
        all.sort_unstable_by_key(|stored| stored.position);
        let mut chapter = Chapter { lines: Vec::new(), through: Some(through), more: ends.is_some() };
        let count = all.len();
        for (at, stored) in (1..).zip(&all) {
            if chapter.take(stored, wanted, limit) && at < count {
                return Ok(Chapter { through: Some(stored.position), more: true, ..chapter });
            }
        }
        Ok(chapter)
    }

    /// Looks through the history step by step.
    async fn looked_through(
        &self,
        env: EnvironmentId,
        wanted: &Wanted,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Chapter, Stop> {
        // Where all fit, as many as the page has room for are enough.
        let step = if *wanted == Wanted::default() { limit } else { STEP };
        let mut chapter = Chapter { lines: Vec::new(), through: after, more: true };
        for _ in 0..ROUNDS {
            let query = EventQuery {
                subject: None,
                env: Some(env.0),
                after: chapter.through,
                since: None,
                limit: step,
            };
            let stored = self.store.history(&query).await?;
            chapter.more = u32::try_from(stored.len()).is_ok_and(|n| n >= step);
            for (at, one) in (1..).zip(&stored) {
                chapter.through = Some(one.position);
                if chapter.take(one, wanted, limit) {
                    chapter.more |= at < stored.len();
                    return Ok(chapter);
                }
            }
            if !chapter.more {
                return Ok(chapter);
            }
        }
        Ok(chapter)
    }
}

impl Chapter {
    /// Takes a line if it fits; whether there is no room for another one.
    fn take(&mut self, stored: &StoredEvent, wanted: &Wanted, limit: u32) -> bool {
        self.lines.extend(read(stored).filter(|line| wanted.fits(&line.event)));
        u32::try_from(self.lines.len()).is_ok_and(|n| n >= limit)
    }
}

/// A line; one that cannot be read is told of, and does not keep the others from being read.
fn read(stored: &StoredEvent) -> Option<Line> {
    match event::read(stored) {
        Ok(event) => Some(Line { position: stored.position, event }),
        Err(error) => {
            tracing::error!(%error, position = stored.position, "a line of history cannot be read");
            None
        }
    }
}

/// Somebody who follows.
struct Follower {
    app: Arc<App>,
    caller: Caller,
    wanted: Wanted,
    at: u64,
    news: watch::Receiver<u64>,
}

impl Follower {
    /// What comes next; `None`: it is over.
    async fn next(&mut self) -> Result<Option<News>, Stop> {
        let mut silent = Duration::ZERO;
        loop {
            // Before it is read: what comes meanwhile is looked for in the next round.
            self.news.mark_unchanged();
            self.app.look_up().await?;
            if self.app.leaving.load(Ordering::Relaxed)
                || !self.app.still_may(&self.caller, Scope::EventsRead)
            {
                return Ok(None);
            }
            let env = self.caller.env.record.id;
            let chapter = self.app.looked_through(env, &self.wanted, Some(self.at), TOGETHER).await?;
            self.at = chapter.through.unwrap_or(self.at);
            if !chapter.lines.is_empty() {
                return Ok(Some(News::Lines(chapter.lines)));
            }
            if silent >= HEARTBEAT {
                return Ok(Some(News::Quiet(self.at)));
            }
            if !chapter.more {
                silent += self.wait().await;
            }
        }
    }

    /// Until there may be something new; how long that took.
    async fn wait(&mut self) -> Duration {
        let began = instant();
        tokio::select! {
            _ = self.news.changed() => {
                pause(SOON).await;
                began.elapsed()
            }
            () = pause(AT_LAST) => AT_LAST,
        }
    }
}
