//! A live session changes: tags, groups, data, idle time.

use super::callers::Caller;
use super::control::Env;
use super::limits::{Demand, Rules};
use super::read::no_session;
use super::records::{Decision, Loaded, Stage, open_data};
use super::search::Filter;
use super::seats::{Guest, Seats};
use super::view::View;
use super::{App, Fault, Stop};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use handstamp_core::caller::Scope;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::limit;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::Session;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Millis;
use handstamp_core::transition::update::{Objection, Patch, update};
use handstamp_core::transition::{Change, Impossible};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The most bytes of a session's data, as JSON text.
pub const DATA_MOST: usize = 16 * 1_024;

/// The most sessions that one call may change.
pub const UPDATE_MOST: usize = 1_000;

/// What is asked. The door has checked each value.
#[derive(Clone, Default)]
pub struct Update {
    /// Tags, groups, extension; its data is left to `data`.
    pub patch: Patch,
    /// What becomes of the data.
    pub data: DataChange,
}

/// A session that was changed.
pub struct Updated {
    /// As it is now.
    pub view: View,
    /// Who had to go for the tags that it has got.
    pub evicted: Vec<SessionId>,
}

/// What a change of many came to.
pub struct UpdatedAll {
    /// How many were changed.
    pub count: usize,
    /// The first hundred.
    pub sessions: Vec<SessionId>,
    /// Who had to go for the tags that they have got: the first hundred.
    pub evicted: Vec<SessionId>,
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

impl App {
    /// Changes one session.
    ///
    /// # Errors
    /// `not_found`, `session_ended`, `session_limit_reached`, bad input; faults.
    pub async fn update(&self, caller: &Caller, id: SessionId, ask: &Update) -> Result<Updated, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        let env_id = caller.env.record.id;
        let (mut evicted, mut waited) = (Vec::new(), 0);
        loop {
            let Some((loaded, rules, own)) = self.wanted(caller, id, ask).await? else {
                match self.make_update(caller, id, ask, &Seats::default(), &mut evicted).await? {
                    Some((done, _)) => return Ok(Updated { evicted, ..done }),
                    None => continue,
                }
            };
            let turns = self.seat_turns(env_id, &rules.limits).await;
            // Somebody else may have had the turn, and changed the same session.
            let same = self.wanted(caller, id, ask).await?;
            if same.is_none_or(|(_, wanted, _)| wanted != rules) {
                continue;
            }
            let guest = Guest { session: id, user: &loaded.session.user, own, but: Some(id) };
            let Some(seats) = self.take_seats(env_id, &rules, &guest).await? else {
                drop(turns);
                self.wait_for_seats(&mut waited).await?;
                continue;
            };
            evicted.extend(seats.evicted.iter().copied());
            let turns = seats.crowded.then_some(turns);
            let done = self.make_update(caller, id, ask, &seats, &mut evicted).await;
            drop(turns);
            match self.sit(env_id, &seats, id, done).await? {
                Some(done) => return Ok(Updated { evicted, ..done }),
                None => self.wait_for_seats(&mut waited).await?,
            }
        }
    }

    /// The seats that it needs, and the limits of its user's own sessions; `None`: it needs none. Nobody goes for a change
    /// that cannot be.
    async fn wanted(
        &self,
        caller: &Caller,
        id: SessionId,
        ask: &Update,
    ) -> Result<Option<(Loaded, Rules, Rules)>, Stop> {
        let env = self.env(caller.env.record.id)?;
        let effective = env.policy.of_tags(ask.patch.add_tags.iter().map(Tag::as_str));
        if effective.seats.is_empty() {
            return Ok(None);
        }
        let loaded = self.load_session(env.record.id, id).await?.ok_or_else(|| no_session(id))?;
        let after = self.changed(&env, &loaded, ask, caller, self.now())?.session;
        let rules = gained(limit::SEATS, &env, &loaded.session, &after);
        let own = gained(limit::RULE, &env, &loaded.session, &after);
        Ok((!rules.limits.is_empty()).then_some((loaded, rules, own)))
    }

    /// Changes it, on the seats that are held for it, in as many commits as it takes; `None`: it needs others.
    async fn make_update(
        &self,
        caller: &Caller,
        id: SessionId,
        ask: &Update,
        seats: &Seats,
        evicted: &mut Vec<SessionId>,
    ) -> Result<Option<(Updated, bool)>, Stop> {
        loop {
            match self.attempt_update(caller, id, ask, seats).await? {
                Attempt::Done(done, sits) => {
                    evicted.extend(done.evicted.iter().copied());
                    return Ok(Some((*done, sits)));
                }
                Attempt::Unseated => return Ok(None),
                Attempt::Crowded(user, rules) => {
                    let env = caller.env.record.id;
                    evicted.extend(self.evict_ahead(env, &user, &rules, Some(id)).await?);
                }
            }
        }
    }

    async fn attempt_update(
        &self,
        caller: &Caller,
        id: SessionId,
        ask: &Update,
        seats: &Seats,
    ) -> Result<Attempt, Stop> {
        self.decide(id.bucket(), || async {
            self.doubts().await?;
            let env = self.env(caller.env.record.id)?;
            let loaded = self.load_session(env.record.id, id).await?.ok_or_else(|| no_session(id))?;
            let now = self.now();
            let mut change = self.changed(&env, &loaded, ask, caller, now)?;
            let seen = if ask.patch.extend { loaded.seen.max(now) } else { loaded.seen };
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
            Ok(Decision::Commit(stage, Attempt::Done(Box::new(Updated { view, evicted }), sits)))
        })
        .await
    }

    /// What becomes of a loaded session.
    fn changed(
        &self,
        env: &Env,
        loaded: &Loaded,
        ask: &Update,
        caller: &Caller,
        now: Millis,
    ) -> Result<Change, Stop> {
        let living = self.ground(env, now).living(&loaded.session, loaded.seen).map_err(ended)?;
        let patch = Patch { data: new_data(env, &loaded.session, &ask.data)?, ..ask.patch.clone() };
        update(living, &patch, caller.by(), &self.draw()?)?.map_err(objected)
    }

    /// Changes all live sessions of a filter: how many, and the first hundred. All are counted, and each is judged, before
    /// any is changed.
    ///
    /// # Errors
    /// `too_many_matches`, `session_limit_reached` and bad input, before anything has changed; faults.
    pub async fn update_all(
        &self,
        caller: &Caller,
        filter: &Filter,
        ask: &Update,
    ) -> Result<UpdatedAll, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        let mut ids = Vec::new();
        let mut demand = Demand::default();
        let mut cursor = None;
        loop {
            let (found, next) = self.candidates(&caller.env, filter, 1_000, cursor).await?;
            for loaded in &found {
                match self.changed(&caller.env, loaded, ask, caller, self.now()) {
                    Ok(change) => {
                        ids.push(loaded.session.id);
                        for rule in [limit::RULE, limit::SEATS] {
                            let rules = gained(rule, &caller.env, &loaded.session, &change.session);
                            demand.add(&rules, &loaded.session);
                        }
                    }
                    Err(Stop::Refused(why)) if why.refusal.code == Code::SessionEnded => {}
                    Err(why) => return Err(why),
                }
            }
            if ids.len() > UPDATE_MOST {
                return Err(Stop::refuse(
                    Code::TooManyMatches,
                    format!("more than {UPDATE_MOST} sessions match; nothing was changed"),
                ));
            }
            match next {
                None => break,
                next => cursor = next,
            }
        }
        self.is_met(&caller.env, demand).await?;
        // The first made first, as if each had been made with its new tags.
        ids.reverse();
        let changed: Vec<Option<(SessionId, Vec<SessionId>)>> = stream::iter(ids)
            .map(|id| async move {
                match self.update(caller, id, ask).await {
                    Ok(updated) => Ok(Some((id, updated.evicted))),
                    // It ended or was forgotten since it was counted.
                    Err(Stop::Refused(why))
                        if matches!(why.refusal.code, Code::SessionEnded | Code::NotFound) =>
                    {
                        Ok(None)
                    }
                    Err(other) => Err(other),
                }
            })
            .buffered(64)
            .try_collect()
            .await?;
        let (mut sessions, evicted): (Vec<_>, Vec<_>) = changed.into_iter().flatten().unzip();
        sessions.reverse();
        let count = sessions.len();
        sessions.truncate(100);
        Ok(UpdatedAll { count, sessions, evicted: evicted.into_iter().flatten().take(100).collect() })
    }
}

/// The limits in which a session begins to count by a change of its tags.
fn gained(rule: &'static str, env: &Env, before: &Session, after: &Session) -> Rules {
    let effective = env.policy.of(after);
    let caps = if rule == limit::SEATS { &effective.seats } else { &effective.max_sessions };
    let limits = limit::of_gained(rule, caps, before, after);
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

fn objected(why: Objection) -> Stop {
    match why {
        Objection::TooManyTags => {
            Stop::field("/tags/add", format!("a session carries at most {} tags", Tag::MOST))
        }
        Objection::TooManyGroups => Stop::field(
            "/access_groups/add",
            format!("a session is in at most {} access groups", Group::MOST),
        ),
        Objection::CreateOnly(tag, origin) => Stop::refuse(
            Code::TagCreateOnly,
            format!(
                "`{}` cannot change on a live session: create_only_tags names `{}`, by {}",
                tag.as_str(),
                tag.name(),
                origin.text()
            ),
        ),
    }
}
