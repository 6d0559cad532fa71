//! A live session changes: tags, groups, data, idle time.

use super::callers::{Caller, Party};
use super::control::Env;
use super::limits::Rules;
use super::objections::{impersonated, objected};
use super::read::no_session;
use super::records::{Decision, Loaded, Stage, open_data};
use super::seats::{Guest, Seats};
use super::types::{check_change, parsed};
use super::view::View;
use super::{App, Fault, Stop};
use handstamp_core::caller::Scope;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::limit;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::session::{Client, Session};
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use handstamp_core::transition::create::Proved;
use handstamp_core::transition::update::{NoLogin, Patch, authenticate, update};
use handstamp_core::transition::{Change, Impossible};
use handstamp_core::whereabouts;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The most bytes of a session's data, as JSON text.
pub const DATA_MOST: usize = 16 * 1_024;

/// What is asked. The door has checked each value.
#[derive(Clone, Default)]
pub struct Update {
    /// Tags, groups, extension; its data is left to `data`.
    pub patch: Patch,
    /// What becomes of the data.
    pub data: DataChange,
}

impl Update {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.patch.is_empty() && matches!(self.data, DataChange::Keep)
    }
}

/// An authentication again.
pub struct Login {
    /// What is said of it.
    pub proved: Proved,
    /// From where, as far as it is known.
    pub client: Client,
}

/// A session that was changed.
pub struct Updated {
    /// As it is now.
    pub view: View,
    /// Its new credentials, after an authentication.
    pub issued: Option<Issued>,
    /// Who had to go for the tags that it has got.
    pub evicted: Vec<SessionId>,
}

/// A change, ready to be tried more than once.
#[derive(Clone, Copy)]
struct Asking<'a> {
    party: &'a Party,
    id: SessionId,
    ask: &'a Update,
    login: Option<&'a Login>,
}

/// The seats that a change needs, and the limits of its user's own sessions.
struct Wanted {
    user: UserId,
    seats: Rules,
    own: Rules,
}

/// What an attempt comes to.
enum Attempt {
    /// It was changed; and whether it sits on the seats that were held for it.
    Done(Box<Updated>, bool),
    /// So many have to go for it that they go first.
    Crowded(UserId, Rules),
    /// Other seats are needed by now than were taken.
    Unseated,
}

/// What becomes of a session's data.
#[derive(Clone, Default)]
pub enum DataChange {
    /// It stays.
    #[default]
    Keep,
    /// JSON text instead of it.
    Replace(String),
    /// A merge patch (RFC 7396).
    Merge(Box<RawValue>),
}

impl DataChange {
    /// Where it lies in a request.
    const fn place(&self) -> &'static str {
        match self {
            DataChange::Keep | DataChange::Replace(_) => "/data",
            DataChange::Merge(_) => "/data_patch",
        }
    }
}

impl App {
    /// Changes one session.
    ///
    /// # Errors
    /// `not_found`, `session_ended`, `session_limit_reached`, bad input; faults.
    pub async fn update(&self, caller: &Caller, id: SessionId, ask: &Update) -> Result<Updated, Stop> {
        self.allow(caller, Scope::SessionsWrite).await?;
        self.change(&caller.party(), id, ask, None).await
    }

    /// The user authenticated again, or more surely: both times restart, and the credentials rotate. What else is asked for
    /// is changed in the same commit.
    ///
    /// # Errors
    /// `impersonation_forbidden`, and those of [`App::update`].
    pub async fn authenticate(
        &self,
        caller: &Caller,
        id: SessionId,
        mut login: Login,
        ask: &Update,
    ) -> Result<Updated, Stop> {
        login.client.agent = self.agent(login.client.user_agent.as_deref());
        self.allow(caller, Scope::SessionsWrite).await?;
        self.change(&caller.party(), id, ask, Some(&login)).await
    }

    pub(super) async fn change(
        &self,
        party: &Party,
        id: SessionId,
        ask: &Update,
        login: Option<&Login>,
    ) -> Result<Updated, Stop> {
        let done = self.seat_and_change(Asking { party, id, ask, login }).await;
        let client = login.map_or_else(|| party.client.clone(), |login| login.client.clone());
        self.noted(party, id, client, done).await
    }

    /// Changes it once there are seats for it, where a tag that it gets has seats.
    async fn seat_and_change(&self, asking: Asking<'_>) -> Result<Updated, Stop> {
        let (env, id) = (asking.party.env.record.id, asking.id);
        let (mut evicted, mut waited) = (Vec::new(), 0);
        loop {
            let Some(wanted) = self.wanted(asking).await? else {
                match self.make_update(asking, &Seats::default(), &mut evicted).await? {
                    Some((done, _)) => return Ok(Updated { evicted, ..done }),
                    None => continue,
                }
            };
            let turns = self.seat_turns(env, &wanted.seats.limits).await;
            // Somebody else may have had the turn, and changed the same session.
            let same = self.wanted(asking).await?;
            if same.is_none_or(|same| same.seats != wanted.seats) {
                continue;
            }
            let guest = Guest { session: id, user: &wanted.user, own: wanted.own, but: Some(id) };
            let Some(seats) = self.take_seats(env, &wanted.seats, &guest).await? else {
                drop(turns);
                self.wait_for_seats(&mut waited).await?;
                continue;
            };
            evicted.extend(seats.evicted.iter().copied());
            let turns = seats.crowded.then_some(turns);
            let done = self.make_update(asking, &seats, &mut evicted).await;
            drop(turns);
            match self.sit(env, &seats, id, done).await? {
                Some(done) => return Ok(Updated { evicted, ..done }),
                None => self.wait_for_seats(&mut waited).await?,
            }
        }
    }

    /// The seats that it needs; `None`: it needs none. Nobody goes for a change that cannot be.
    async fn wanted(&self, asking: Asking<'_>) -> Result<Option<Wanted>, Stop> {
        let env = self.env(asking.party.env.record.id)?;
        let coming = asking.ask.patch.add_tags.iter().map(Tag::as_str);
        if env.policy.of_tags(coming).seats.is_empty() {
            return Ok(None);
        }
        let id = asking.id;
        let loaded = self.load_session(env.record.id, id).await?.ok_or_else(|| no_session(id))?;
        let env = self.env(env.record.id)?;
        let after = self.changes(&env, &loaded, asking, self.now())?.0.session;
        let seats = gained(limit::SEATS, &env, &loaded.session, &after);
        let own = gained(limit::RULE, &env, &loaded.session, &after);
        Ok((!seats.limits.is_empty()).then_some(Wanted { user: loaded.session.user, seats, own }))
    }

    /// Changes it, on the seats that are held for it, in as many commits as it takes; `None`: it needs others.
    async fn make_update(
        &self,
        asking: Asking<'_>,
        seats: &Seats,
        evicted: &mut Vec<SessionId>,
    ) -> Result<Option<(Updated, bool)>, Stop> {
        loop {
            match self.attempt_update(asking, seats).await? {
                Attempt::Done(done, sits) => {
                    evicted.extend(done.evicted.iter().copied());
                    return Ok(Some((*done, sits)));
                }
                Attempt::Unseated => return Ok(None),
                Attempt::Crowded(user, rules) => {
                    let (env, id) = (asking.party.env.record.id, asking.id);
                    evicted.extend(self.evict_ahead(env, &user, &rules, Some(id)).await?);
                }
            }
        }
    }

    async fn attempt_update(&self, asking: Asking<'_>, seats: &Seats) -> Result<Attempt, Stop> {
        let Asking { party, id, ask, login } = asking;
        self.decide(id.bucket(), || async {
            self.doubts().await?;
            let loaded = self.load_session(party.env.record.id, id).await?.ok_or_else(|| no_session(id))?;
            let env = self.env(party.env.record.id)?;
            let now = self.now();
            let (mut change, issued) = self.changes(&env, &loaded, asking, now)?;
            if ask.is_empty() && login.is_none() {
                // It lives, and stays as it is.
                let view = self.view(&env, loaded, now)?;
                let done = Updated { view, issued: None, evicted: Vec::new() };
                return Ok(Decision::Answer(Attempt::Done(Box::new(done), false)));
            }
            let active = ask.patch.extend || login.is_some();
            let seen = if active { loaded.seen.max(now) } else { loaded.seen };
            let mut stage = Stage::new(id.bucket(), now);
            let (mut user, mut evicted) = (None, Vec::new());
            let needed = gained(limit::SEATS, &env, &loaded.session, &change.session).limits;
            if !seats.cover(&needed) {
                return Ok(Decision::Answer(Attempt::Unseated));
            }
            let sits = !needed.is_empty();
            if sits {
                seats.are_in_time(now)?;
            }
            let rules = gained(limit::RULE, &env, &loaded.session, &change.session);
            if !rules.limits.is_empty() {
                let known = self.load_user(env.record.id, &loaded.session.user).await?;
                let room = self.room(&env, &known.user, &rules, Some(id)).await?;
                if room.is_crowded() {
                    return Ok(Decision::Answer(Attempt::Crowded(loaded.session.user, rules)));
                }
                room.make(self, &env, &mut stage);
                // Also where nobody goes: so that nobody else finds the same room.
                change.user = Some(room.user());
                (user, evicted) = (Some(known), room.evicted());
            }
            stage.change(self, &env, &loaded, user.as_ref(), &change, seen);
            let after = Loaded { session: change.session, seen, offered: seen, version: loaded.version + 1 };
            let view = self.view(&env, after, now)?;
            let done = Updated { view, issued, evicted };
            Ok(Decision::Commit(stage, Attempt::Done(Box::new(done), sits)))
        })
        .await
    }

    /// What becomes of a loaded session.
    pub(super) fn changed(
        &self,
        env: &Env,
        loaded: &Loaded,
        ask: &Update,
        party: &Party,
        now: Millis,
    ) -> Result<Change, Stop> {
        let living = self.ground(env, now).living(&loaded.session, loaded.seen).map_err(ended)?;
        let data = new_data(env, &loaded.session, &ask.data)?;
        let old = || open_data(env, &loaded.session)?.map(|data| parsed(data.get().as_bytes())).transpose();
        check_change(env, &loaded.session, &ask.patch, ask.data.place(), data.as_deref(), old)?;
        let patch = Patch { data, ..ask.patch.clone() };
        update(living, &patch, party.by.clone(), &self.draw()?)?.map_err(objected)
    }

    /// The same with the authentication that comes with it, and the credentials that come of that.
    fn changes(
        &self,
        env: &Env,
        loaded: &Loaded,
        Asking { party, ask, login, .. }: Asking<'_>,
        now: Millis,
    ) -> Result<(Change, Option<Issued>), Stop> {
        let change = if login.is_some() && ask.is_empty() {
            Change { session: loaded.session.clone(), user: None, events: Vec::new() }
        } else {
            self.changed(env, loaded, ask, party, now)?
        };
        let Some(login) = login else { return Ok((change, None)) };
        let (change, issued) = self.logged_in(env, loaded, change, login, party, now)?;
        Ok((change, Some(issued)))
    }

    /// The same, after an authentication of its user: both times restart, and the credentials rotate.
    fn logged_in(
        &self,
        env: &Env,
        loaded: &Loaded,
        first: Change,
        login: &Login,
        party: &Party,
        now: Millis,
    ) -> Result<(Change, Issued), Stop> {
        let living = self.ground(env, now).living(&first.session, loaded.seen).map_err(ended)?;
        // Whoever may not log in from there may not do so again either; and where addresses are compared, the new one must
        // be known, or the user would be asked for ever.
        whereabouts::judge_first(&env.policy.of(&first.session), login.client.ip)?;
        let done =
            authenticate(living, login.proved.clone(), &login.client, party.by.clone(), &self.draw()?)?;
        let (change, issued) = done.map_err(|why| match why {
            NoLogin::Impersonated => impersonated(),
            NoLogin::Older => Stop::field("/auth/at", "is before the last authentication of the session"),
        })?;
        let events = first.events.into_iter().chain(change.events).collect();
        Ok((Change { events, ..change }, issued))
    }
}

/// The limits in which a session begins to count by a change of its tags.
pub(super) fn gained(rule: &'static str, env: &Env, before: &Session, after: &Session) -> Rules {
    let (was, effective) = (env.policy.of(before), env.policy.of(after));
    let limits = if rule == limit::SEATS {
        limit::of_gained(rule, &was.seats, &effective.seats, before, after)
    } else {
        limit::of_gained(rule, &was.max_sessions, &effective.max_sessions, before, after)
    };
    Rules { limits, mode: effective.on_limit.value }
}

fn new_data(env: &Env, session: &Session, change: &DataChange) -> Result<Option<Vec<u8>>, Stop> {
    let text = match change {
        DataChange::Keep => return Ok(None),
        DataChange::Replace(text) => text.clone(),
        DataChange::Merge(patch) => {
            let current = open_data(env, session)?;
            let merged = merge(current.as_deref(), patch);
            merged.map_err(|_| Fault::Impossible(Impossible("session data is no JSON")))?.get().to_owned()
        }
    };
    if text.len() > DATA_MOST {
        let sent = if matches!(change, DataChange::Merge(_)) { "/data_patch" } else { "/data" };
        return Err(Stop::field(
            sent,
            format!("session data has at most {DATA_MOST} bytes, this has {}", text.len()),
        ));
    }
    Ok(Some(text.into_bytes()))
}

/// RFC 7396, on the texts: what the patch does not name stays as it was written, to the last digit of its numbers.
fn merge(target: Option<&RawValue>, patch: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let Some(changes) = members(patch)? else { return Ok(patch.to_owned()) };
    let mut merged = target.map_or(Ok(None), members)?.unwrap_or_default();
    for (name, value) in changes {
        if value.get() == "null" {
            merged.remove(&name);
        } else {
            let value = merge(merged.get(&name).map(|known| &**known), &value)?;
            merged.insert(name, value);
        }
    }
    serde_json::value::to_raw_value(&merged)
}

/// The members of an object; `None` of anything else.
fn members(value: &RawValue) -> serde_json::Result<Option<BTreeMap<String, Box<RawValue>>>> {
    if value.get().starts_with('{') { serde_json::from_str(value.get()).map(Some) } else { Ok(None) }
}

pub(super) fn ended(why: Refusal) -> Stop {
    Stop::refuse(Code::SessionEnded, format!("the session has ended ({}): {}", why.code.text(), why.detail()))
}
