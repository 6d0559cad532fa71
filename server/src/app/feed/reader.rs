//! Reads history into the list of an environment, once for all who listen.
//!
//! Whoever needs the list to be fresh takes the turn and reads; who waited for the turn meanwhile finds that done. So many
//! listeners cost one reading, many commits cost one reading, and nobody reads where nobody listens.

use super::super::control::{batch, put};
use super::super::{App, Fault, Stop};
use super::list::{Entry, List, Position, Start};
use crate::codec::control::{ledger_key, read_ledger};
use crate::codec::several::{line_key, read_line, write_line};
use crate::codec::{event, sessions};
use crate::host::clock::{instant, pause};
use crate::store::{Condition, EventQuery, FacetRange, Query, StoreError};
use handstamp_core::event::Event;
use handstamp_core::facet;
use handstamp_core::id::EnvironmentId;
use handstamp_core::time::Millis;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long at least is between two readings: what is committed meanwhile is read together.
const PACE: Duration = Duration::from_millis(20);
/// How much is asked of the store at once.
const STEP: u32 = 1_000;
/// A list that nobody asked for in this time is forgotten.
const UNUSED: Duration = Duration::from_secs(120);

/// The lists of all environments.
#[derive(Default)]
pub(in super::super) struct Feeds(Mutex<HashMap<EnvironmentId, Arc<Feed>>>);

/// The list of one environment, and whose turn it is to read on.
pub(super) struct Feed {
    env: EnvironmentId,
    list: RwLock<Option<List>>,
    /// When the last reading began that went well.
    turn: tokio::sync::Mutex<Option<Instant>>,
    used: Mutex<Instant>,
    /// Wakes who listens, and says when the last news came: what was read from then on has it.
    news: watch::Sender<Instant>,
}

impl Feeds {
    pub(super) fn of(&self, env: EnvironmentId) -> Arc<Feed> {
        let mut all = self.all();
        let feed = all.entry(env).or_insert_with(|| {
            let (list, turn, used) =
                (RwLock::default(), tokio::sync::Mutex::default(), Mutex::new(instant()));
            Arc::new(Feed { env, list, turn, used, news: watch::Sender::new(instant()) })
        });
        feed.is_used();
        feed.clone()
    }

    /// Something was committed of which who listens is to be told at once.
    pub(in super::super) fn news(&self, env: EnvironmentId) {
        let feed = self.all().get(&env).cloned();
        if let Some(feed) = feed {
            feed.wake();
        }
    }

    /// Nobody is to wait any longer: the server leaves.
    pub(in super::super) fn wake(&self) {
        self.all().values().for_each(|feed| feed.wake());
    }

    /// Forgets what nobody asks for.
    pub(in super::super) fn tidy(&self) {
        self.all().retain(|_, feed| {
            let used = *feed.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.elapsed() < UNUSED || feed.news.receiver_count() > 0
        });
    }

    /// For each environment with a list: how many listen, how many entries there are, and how many bytes they take.
    pub(super) fn usage(&self) -> Vec<(EnvironmentId, (usize, usize, usize))> {
        let all: Vec<Arc<Feed>> = self.all().values().cloned().collect();
        let of = |feed: &Arc<Feed>| {
            let (entries, bytes) = feed.look(List::usage).unwrap_or_default();
            (feed.env, (feed.news.receiver_count(), entries, bytes))
        };
        all.iter().map(of).collect()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<EnvironmentId, Arc<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// From now on whoever has this is woken by news.
    pub(super) fn listen(&self) -> watch::Receiver<Instant> {
        self.news.subscribe()
    }

    fn wake(&self) {
        // The clock is read where one comes after the other, so that what is said last is the last.
        self.news.send_modify(|came| *came = instant());
    }

    /// Looks at the list; `None` before it was first read.
    pub(super) fn look<T>(&self, look: impl FnOnce(&List) -> T) -> Option<T> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    /// The list has everything that was committed before `called`.
    ///
    /// # Errors
    /// Faults.
    pub(super) async fn catch_up(&self, app: &App, called: Instant) -> Result<(), Stop> {
        self.is_used();
        let mut began = self.turn.lock().await;
        if began.is_some_and(|began| began >= called) {
            return Ok(());
        }
        if let Some(rest) = began.and_then(|began| PACE.checked_sub(began.elapsed())) {
            pause(rest).await;
        }
        // Whatever was acknowledged before these two is on the disk, and is found by what is read after them.
        let (at, as_of) = (instant(), app.now());
        if self.look(|_| ()).is_some() {
            self.read_on(app, as_of, |step| self.change(step)).await?;
        } else {
            let fresh = Mutex::new(self.begin(app, as_of).await?);
            let locked = || fresh.lock().unwrap_or_else(PoisonError::into_inner);
            self.read_on(app, as_of, |step| step(&mut locked())).await?;
            locked().once();
            let fresh = fresh.into_inner().unwrap_or_else(PoisonError::into_inner);
            *self.list.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        }
        self.change(&mut |list| {
            list.is_true_at(as_of);
            list.through
        });
        *began = Some(at);
        Ok(())
    }

    fn is_used(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = instant();
    }

    fn change(&self, change: &mut dyn FnMut(&mut List) -> u64) -> u64 {
        self.list.write().unwrap_or_else(PoisonError::into_inner).as_mut().map_or(0, change)
    }

    /// Reads history from where the list ends to its own end.
    async fn read_on(
        &self,
        app: &App,
        now: Millis,
        on_list: impl Fn(&mut dyn FnMut(&mut List) -> u64) -> u64,
    ) -> Result<(), Stop> {
        let mut after = on_list(&mut |list| list.through);
        loop {
            let (ends, through, is_all) = self.ends(app, after).await?;
            after = on_list(&mut |list| {
                ends.iter().for_each(|(position, event)| list.told(*position, event, now));
                list.through = through.unwrap_or(list.through);
                list.through
            });
            if is_all {
                return Ok(());
            }
        }
    }

    /// A page of history after a position: the ends in it, the last position, and whether there is no more.
    async fn ends(&self, app: &App, after: u64) -> Result<(Vec<(u64, Event)>, Option<u64>, bool), Stop> {
        let (env, limit) = (Some(self.env.0), STEP);
        let query = EventQuery { subject: None, env, after: Some(after), since: None, limit };
        let stored = app.store.history(&query).await?;
        // One that cannot be read could be an end: nobody is told that all is known.
        let ends = stored.iter().filter(|stored| event::is_end(stored));
        let ends = ends.map(|stored| Ok((stored.position, event::read(stored)?)));
        let ends = ends.collect::<Result<Vec<_>, StoreError>>()?;
        let is_all = u32::try_from(stored.len()).is_ok_and(|n| n < limit);
        Ok((ends, stored.last().map(|last| last.position), is_all))
    }

    /// What history says of before the list: after `at`, up to `base`. Where to go on, unless that was all.
    pub(super) async fn past(
        &self,
        app: &App,
        (at, base): (u64, u64),
    ) -> Result<(Vec<Entry>, Option<u64>), Stop> {
        let (ends, through, is_all) = self.ends(app, at).await?;
        let now = app.now();
        let ends = ends.iter().filter(|(position, _)| *position <= base);
        let entries = ends.filter_map(|(position, event)| Entry::before(*position, event, now)).collect();
        Ok((entries, through.filter(|through| !is_all && *through < base)))
    }

    /// What had ended by now, as the records say it: history would have to be read for as long as a token can live, and
    /// dates an end by time to its instant, which may be long before it was committed.
    async fn begin(&self, app: &App, now: Millis) -> Result<List, Stop> {
        let line = app.line().await?;
        // First: what is committed while the records are read is in what is read of history afterwards.
        let mut list = List::new(line, app.store.head().await?);
        if let Some(found) = app.store.load(&[ledger_key(self.env)]).await?.into_iter().next().flatten() {
            let (ledger, _) = read_ledger(&found)?;
            ledger.raised.iter().for_each(|raised| list.raised(raised, now));
        }
        let instant = |at| Box::from(facet::instant(at));
        let (low, high) = (instant(now), instant(Millis(i64::MAX)));
        let mut query = Query {
            space: sessions(self.env),
            all: vec![Condition { any: vec![FacetRange { name: facet::TOKENS, low, high }] }],
            from: None,
            until: None,
            cursor: None,
            limit: STEP,
        };
        loop {
            let page = app.store.search(&query).await?;
            for found in &page.items {
                let (session, _) = crate::codec::read_session(found)?;
                list.found(&session, now);
            }
            match page.next {
                None => return Ok(list),
                next => query.cursor = next,
            }
        }
    }

    /// Where whoever has seen everything up to a position goes on. The list was read since they came.
    ///
    /// # Errors
    /// Faults.
    pub(super) async fn place(&self, app: &App, position: Position) -> Result<Start, Stop> {
        let place = || self.look(|list| list.place(position)).unwrap_or(Start::Begin);
        if place() != Start::Ahead {
            return Ok(place());
        }
        // Another node has read further, or what it read was of other environments.
        let head = app.store.head().await?;
        if position.at > head {
            return Ok(Start::Begin);
        }
        self.catch_up(app, instant()).await?;
        self.change(&mut |list| {
            list.reaches(head);
            list.through
        });
        Ok(place())
    }
}

impl App {
    /// Which line of history this is: a number that the store gets with the first list, and another one when it is put back to
    /// an earlier copy.
    async fn line(&self) -> Result<u64, Stop> {
        let find =
            async || self.store.load(&[line_key()]).await.map(|found| found.into_iter().next().flatten());
        if let Some(found) = find().await? {
            return Ok(read_line(&found)?);
        }
        let line = u64::from_be_bytes(self.draw_bytes()?);
        match self.store.commit(batch(self.now(), vec![put(write_line(line), 0)])).await {
            Ok(()) => Ok(line),
            Err(StoreError::Conflict) => {
                let found = find().await?.ok_or(Fault::Contended)?;
                Ok(read_line(&found)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// From now on no position is known that was told before: the store is an earlier copy of itself.
    ///
    /// # Errors
    /// Faults.
    pub(in super::super) async fn begin_line(&self) -> Result<(), Stop> {
        let found = self.store.load(&[line_key()]).await?.into_iter().next().flatten();
        let line = u64::from_be_bytes(self.draw_bytes()?);
        let op = put(write_line(line), found.map_or(0, |found| found.version));
        Ok(self.store.commit(batch(self.now(), vec![op])).await?)
    }
}
