//! What those are told who verify access tokens themselves: which sessions have ended of which a token could still live,
//! at once and for as long as that matters; as a whole, and as a stream from any place on.
//!
//! A stream says again and again up to which instant everything was told. That is never said of what was not read from
//! the store: when the store does not answer, the stream ends, and who listens knows that they know nothing.

mod list;
mod reader;

pub use list::{Entry, Position, What};
pub(super) use reader::Feeds;

use super::callers::Caller;
use super::control::Env;
use super::{App, Fault, Stop};
use crate::host::clock::{instant, pause};
use futures_util::stream::{self, Stream};
use handstamp_core::caller::Scope;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::EnvironmentId;
use handstamp_core::status::{LIST, Place, bits};
use handstamp_core::time::Millis;
use list::Start;
use reader::Feed;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often who listens is told up to when all was told.
const BEAT: Duration = Duration::from_millis(250);
/// How old what was read may be of which that is said.
const STALE: Duration = Duration::from_millis(100);
/// How many entries are told at once.
const TOGETHER: usize = 500;

/// All that is to be known at an instant.
pub struct Snapshot {
    /// From where on a stream tells what comes after it.
    pub position: Position,
    /// Everything that was committed before this instant is in it.
    pub as_of: Millis,
    feed: Arc<Feed>,
    numbers: (u64, u64),
}

/// What who listens is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Everything follows, and not only what is new: what was told on an earlier connection may be forgotten.
    Reset,
    /// Entries, in the order of commits; at least one. With each, where it is, if that is known.
    Entries(Vec<(Option<Position>, Entry)>),
    /// Everything that was committed before `as_of` was told; from `position` on goes who comes again.
    Beat {
        /// Up to where.
        position: Position,
        /// Up to when.
        as_of: Millis,
    },
}

/// How much of it is in memory, of one environment.
pub struct FeedUse {
    /// Which.
    pub environment: EnvironmentName,
    /// How many listen.
    pub listeners: usize,
    /// How many ends are known.
    pub entries: usize,
    /// How many bytes they take.
    pub bytes: usize,
}

impl App {
    /// Everything that who verifies access tokens of the caller's environment must know now.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn revocations(&self, caller: &Caller) -> Result<Snapshot, Stop> {
        caller.allow(Scope::TokensVerify)?;
        let env = self.env(caller.env.record.id)?;
        let feed = self.feeds.of(env.record.id);
        feed.catch_up(self, instant()).await?;
        let known = feed.look(|list| (list.position(list.through), list.as_of, (0, list.last())));
        let (position, as_of, numbers) = known.ok_or(Fault::Contended)?;
        Ok(Snapshot { position, as_of, feed, numbers })
    }

    /// The same from a position on, and what comes, without an end: until the server leaves, or the caller may no longer
    /// know it. `None`, and a position of another line of history, or of long ago: everything first.
    ///
    /// # Errors
    /// `insufficient_scope`; faults, before it begins; as its last item, when the store fails on the way.
    pub async fn follow_revocations(
        self: Arc<Self>,
        caller: Caller,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<Told, Stop>> + Send + 'static, Stop> {
        caller.allow(Scope::TokensVerify)?;
        let env = self.env(caller.env.record.id)?;
        let feed = self.feeds.of(env.record.id);
        let news = feed.listen();
        feed.catch_up(&self, instant()).await?;
        let place = match after {
            Some(after) => feed.place(&self, after).await?,
            None => Start::Begin,
        };
        let (at, past) = match place {
            Start::Here(number) => (number, None),
            Start::Before { at, base, number } => (number, Some((at, base))),
            Start::Ahead | Start::Begin => (0, None),
        };
        let (need, beat, told) = (None, instant(), !matches!(place, Start::Ahead | Start::Begin));
        let begin = Some(Listener { app: self, caller, feed, news, at, past, need, beat, told, owed: None });
        Ok(stream::unfold(begin, |listener| async {
            let mut listener = listener?;
            match listener.next().await {
                Ok(None) => None,
                Ok(Some(told)) => Some((Ok(told), Some(listener))),
                Err(stop) => Some((Err(stop), None)),
            }
        }))
    }

    /// A status list, as it is now.
    pub(super) async fn ended_places(&self, env: EnvironmentId, list: u64) -> Result<Vec<u8>, Stop> {
        let feed = self.feeds.of(env);
        feed.catch_up(self, instant()).await?;
        let bytes = feed.look(|known| {
            let places = known.alive(self.now()).filter_map(|entry| match &entry.what {
                What::Session { index, .. } => index.map(Place::of),
                What::Mass(_) => None,
            });
            bits(LIST, places.filter(|place| place.list == list).map(|place| place.index))
        });
        Ok(bytes.ok_or(Fault::Contended)?)
    }

    /// How much of it is in memory, for every environment by its name.
    pub fn feed_use(&self) -> Vec<FeedUse> {
        let used: HashMap<_, _> = self.feeds.usage().into_iter().collect();
        let of = |env: Arc<Env>| {
            let (listeners, entries, bytes) = used.get(&env.record.id).copied().unwrap_or_default();
            FeedUse { environment: env.record.name.clone(), listeners, entries, bytes }
        };
        self.all_environments().into_iter().map(of).collect()
    }
}

impl Snapshot {
    /// The next entries; `None`: that was all.
    /// What is dead by `now` is left out.
    pub fn next(&mut self, now: Millis) -> Option<Vec<Entry>> {
        let (after, until) = self.numbers;
        if after >= until {
            return None;
        }
        let (some, through) = self.feed.look(|list| list.some(after, until, TOGETHER, now))?;
        self.numbers.0 = through;
        Some(some)
    }
}

/// Somebody who listens.
struct Listener {
    app: Arc<App>,
    caller: Caller,
    feed: Arc<Feed>,
    news: watch::Receiver<Instant>,
    /// The number of the last entry that was told; 0: none was.
    at: u64,
    /// What is to be told before that: from where on in history, and up to where.
    past: Option<(u64, u64)>,
    /// What was committed before this instant is to be read before anything is told; `None`: no need.
    need: Option<Instant>,
    /// When the next beat is due.
    beat: Instant,
    /// Whether it was said how it begins.
    told: bool,
    /// With what was told last, all was told up to here.
    owed: Option<(Position, Millis)>,
}

/// What a look at the list comes to.
enum Look {
    /// Entries, the number of the last of them, and, if they are the last of the list, up to where all is told with them.
    Some(Vec<(Option<Position>, Entry)>, u64, Option<(Position, Millis)>),
    All(Position, Millis),
}

impl Listener {
    /// What comes next; `None`: it is over. It is asked for as fast as who listens takes it.
    async fn next(&mut self) -> Result<Option<Told>, Stop> {
        if !self.told {
            self.told = true;
            return Ok(Some(Told::Reset));
        }
        loop {
            self.app.look_up().await?;
            if self.app.leaving.load(Ordering::Relaxed)
                || !self.app.still_may(&self.caller, Scope::TokensVerify)
            {
                return Ok(None);
            }
            if let Some((at, base)) = self.past {
                let (entries, more) = self.feed.past(&self.app, (at, base)).await?;
                self.past = more.map(|at| (at, base));
                if !entries.is_empty() {
                    return Ok(Some(Told::Entries(self.placed(entries))));
                }
                continue;
            }
            // Also while there is news without an end: who hears of no time trusts nothing that they hold.
            if let Some((position, as_of)) = self.owed.take()
                && self.is_due()
            {
                return Ok(Some(Told::Beat { position, as_of }));
            }
            if let Some(need) = self.need {
                self.feed.catch_up(&self.app, need).await?;
                self.need = None;
            }
            match self.look() {
                None => return Ok(None),
                Some(Look::Some(some, through, owed)) => {
                    (self.at, self.owed) = (through, owed);
                    if !some.is_empty() {
                        return Ok(Some(Told::Entries(some)));
                    }
                }
                Some(Look::All(position, as_of)) => {
                    if self.is_due() {
                        return Ok(Some(Told::Beat { position, as_of }));
                    }
                    self.wait(self.beat.saturating_duration_since(instant())).await;
                }
            }
        }
    }

    /// Entries of before the list, each with its place.
    fn placed(&self, entries: Vec<Entry>) -> Vec<(Option<Position>, Entry)> {
        let of = |entry: Entry| {
            let position = entry.position.and_then(|at| self.feed.look(|list| list.position(at)));
            (position, entry)
        };
        entries.into_iter().map(of).collect()
    }

    /// Whether a beat is due now; the next one is due a while after it.
    fn is_due(&mut self) -> bool {
        let now = instant();
        let due = now >= self.beat;
        if due {
            self.beat = now + BEAT;
        }
        due
    }

    fn look(&self) -> Option<Look> {
        let now = self.app.now();
        self.feed.look(|list| {
            let (some, through) = list.some(self.at, list.last(), TOGETHER, now);
            // In one look, or an entry could come between that nobody was told of.
            let all = (through == list.last()).then(|| (list.position(list.through), list.as_of));
            if let (true, Some((position, as_of))) = (some.is_empty(), all) {
                return Look::All(position, as_of);
            }
            let of = |entry: Entry| (entry.position.map(|at| list.position(at)), entry);
            Look::Some(some.into_iter().map(of).collect(), through, all)
        })
    }

    /// Until there is news, or the next beat is due. News that came since the last time, while something was on its way to who
    /// listens, is found here at once; and only here, so that who is far behind is told what is known before more is read.
    async fn wait(&mut self, beat: Duration) {
        tokio::select! {
            // When it came, not when this one woke: one reading that begins after it is enough for all who listen.
            _ = self.news.changed() => self.need = Some(*self.news.borrow()),
            () = pause(beat) => self.need = instant().checked_sub(STALE),
        }
    }
}
