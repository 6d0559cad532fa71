//! A session begins: the user's record is the fence, so that a creation and a mass end of one user never miss each
//! other, and two creations never find the same room.

mod again;

use self::again::Again;
use super::access_tokens::{AccessToken, Draft, Order, Places};
use super::callers::Caller;
use super::control::Env;
use super::devices::prove::{self, Introduction};
use super::limits::Rules;
use super::login::{Given, ToLogin, hand_over};
use super::records::{Decision, Loaded, Stage};
use super::seats::{Guest, Seats};
use super::types::user_of_new;
use super::view::View;
use super::{App, Stop};
use crate::codec::control::{Idempotency, read_idempotency, write_idempotency};
use crate::codec::{digest, idempotency_key};
use crate::store::{Expect, Op};
use bytes::Bytes;
use handstamp_core::agent::hints::Hints;
use handstamp_core::caller::Scope;
use handstamp_core::device::challenge::{Answerer, Challenge};
use handstamp_core::device::key::PublicKey;
use handstamp_core::event::Event;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::limit;
use handstamp_core::refusal::Code;
use handstamp_core::session::{Actor, Client};
use handstamp_core::subject::Endpoint;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Span;
use handstamp_core::transition::create::{NewSession, Proved, create_as};
use handstamp_core::user::User;
use handstamp_core::whereabouts;
use std::sync::Arc;

/// What is asked. The door has checked each value.
pub struct Create {
    /// Whose session it is; where nobody says so, its type's selector finds it in the data.
    pub user: Option<UserId>,
    /// Tags.
    pub tags: Vec<Tag>,
    /// Access groups.
    pub groups: Vec<Group>,
    /// JSON text.
    pub data: Option<String>,
    /// May shorten, never lengthen.
    pub expires_in: Option<Span>,
    /// Whether it gets a refresh token.
    pub refresh: bool,
    /// From where.
    pub client: Client,
    /// What its client hints add to its user agent.
    pub hints: Hints,
    /// The `Idempotency-Key`, and the body it came with.
    pub idempotency: Option<(String, Bytes)>,
    /// The device that logs in.
    pub device: Option<Introduction>,
    /// What is said of the authentication.
    pub auth: Option<Proved>,
    /// Who acts in the user's place.
    pub actor: Option<Actor>,
    /// An access token that is wanted beside the session's own.
    pub access: Option<Order>,
    /// The session is handed over by a one-time code: where the login leads back to, and what the code is bound to.
    pub login: Option<ToLogin>,
}

/// The new session and its credentials.
pub struct Made {
    /// The session.
    pub view: View,
    /// Shown once.
    pub given: Given,
    /// Who had to go for it.
    pub evicted: Vec<SessionId>,
    /// Whether the user is not known to have the device; `None` when there is none.
    pub new_device: Option<bool>,
    /// The access token that was ordered.
    pub access: Option<AccessToken>,
}

/// What an attempt comes to.
enum Attempt {
    /// It was made; and whether it sits on the seats that were held for it.
    Made(Box<Made>, Option<Box<Draft>>, bool),
    /// So many have to go for it that they go first.
    Crowded(Rules),
    /// Other seats are needed by now than were taken.
    Unseated,
}

impl App {
    /// Makes a session.
    ///
    /// # Errors
    /// `session_limit_reached`, refusals of the caller and of the idempotency key; faults.
    pub async fn create(&self, caller: &Caller, ask: Create) -> Result<Made, Stop> {
        self.allow(caller, Scope::SessionsWrite).await?;
        if ask.access.is_some() {
            self.allow(caller, Scope::TokensMint).await?;
            self.have_places(caller.env.record.id).await?;
        }
        if ask.actor.is_some() && ask.device.is_some() {
            return Err(Stop::code(Code::ImpersonationForbidden));
        }
        let env_id = caller.env.record.id;
        let login = match ask.login {
            Some(to) => Some(self.ahead(&caller.env, to).await?),
            None => None,
        };
        let data = ask.data.map(String::into_bytes);
        let user = match ask.user {
            Some(user) => user,
            None => {
                self.newest().await?;
                user_of_new(&*self.env(env_id)?, &ask.tags, data.as_deref(), None)?
            }
        };
        let key_id = caller.key().id;
        let mut client = ask.client.clone();
        let read = self.agent(client.user_agent.as_deref());
        client.agent =
            read.map(|agent| if ask.hints.is_empty() { agent } else { Arc::new(ask.hints.refine(&agent)) });
        self.cache.share_agent(&mut client);
        let again = ask.idempotency.as_ref().map(|(text, body)| {
            let body = digest(&[body]);
            let request = digest(&[&key_id.0, text.as_bytes(), &body]);
            Again { key: idempotency_key(env_id, key_id, text), text, body, request }
        });
        let mut tags = ask.tags;
        // Limits look at the tags before the session is made.
        tags.extend(ask.actor.as_ref().and_then(|_| Tag::parse(Actor::TAG).ok()));
        let new = NewSession {
            user,
            tags,
            groups: ask.groups,
            data,
            expires_in: ask.expires_in,
            refresh: ask.refresh,
            client,
            device: None,
            auth: ask.auth,
            actor: ask.actor,
            by: caller.by(),
            login,
            idempotency: again.as_ref().map(|again| again.request),
        };
        let order = ask.access.as_ref();
        let asking = Asking { caller, new, again, device: ask.device.as_ref(), order };
        self.seat_and_make(&asking).await.inspect_err(|stop| self.note_refused(&asking, stop))
    }

    /// Makes it once there are seats for it, where one of its tags has seats.
    async fn seat_and_make(&self, asking: &Asking<'_>) -> Result<Made, Stop> {
        let env_id = asking.caller.env.record.id;
        let (mut evicted, mut waited) = (Vec::new(), 0);
        loop {
            let env = self.env(env_id)?;
            let rules = seats_for(&env, &asking.new);
            if rules.limits.is_empty() {
                match self.make(asking, &Seats::default(), None, &mut evicted).await? {
                    Some((made, _)) => return Ok(Made { evicted, ..made }),
                    None => continue,
                }
            }
            let turns = self.seat_turns(env_id, &rules.limits).await;
            self.newest().await?;
            let env = self.env(env_id)?;
            // Nobody goes for a request that was answered already, or that cannot be.
            if let Before::Made(made) = self.look_before(&env, asking).await? {
                return Ok(Made { evicted, ..*made });
            }
            self.rehearse(&env, asking)?;
            let session = self.draw()?.session(self.now(), self.keys.bucket(env_id, &asking.new.user));
            let guest =
                Guest { session, user: &asking.new.user, own: own_limits(&env, &asking.new), but: None };
            let Some(seats) = self.take_seats(env_id, &rules, &guest).await? else {
                drop(turns);
                self.wait_for_seats(&mut waited).await?;
                continue;
            };
            evicted.extend(seats.evicted.iter().copied());
            let turns = seats.crowded.then_some(turns);
            let made = self.make(asking, &seats, Some(session), &mut evicted).await;
            drop(turns);
            match self.sit(env_id, &seats, session, made).await? {
                Some(made) => return Ok(Made { evicted, ..made }),
                None => self.wait_for_seats(&mut waited).await?,
            }
        }
    }

    /// Makes it on the seats that are held for it, in as many commits as it takes; `None`: it needs others.
    async fn make(
        &self,
        asking: &Asking<'_>,
        seats: &Seats,
        id: Option<SessionId>,
        evicted: &mut Vec<SessionId>,
    ) -> Result<Option<(Made, bool)>, Stop> {
        loop {
            match self.attempt(asking, seats, id).await? {
                Attempt::Made(mut made, draft, sits) => {
                    evicted.extend(made.evicted.iter().copied());
                    if let Some(draft) = draft {
                        made.access = Some(self.sign(asking.caller.env.record.id, *draft).await?);
                    }
                    return Ok(Some((*made, sits)));
                }
                Attempt::Unseated => return Ok(None),
                Attempt::Crowded(rules) => {
                    let env = asking.caller.env.record.id;
                    // Nobody goes for a session whose access token cannot be made.
                    if asking.order.is_some() {
                        self.rehearse(&*self.env(env)?, asking)?;
                    }
                    evicted.extend(self.evict_ahead(env, &asking.new.user, &rules, None).await?);
                }
            }
        }
    }

    /// History knows of logins that a rule refused.
    fn note_refused(&self, asking: &Asking<'_>, stop: &Stop) {
        let Stop::Refused(refused) = stop else { return };
        let refusal = &refused.refusal;
        if refusal.code.is_by_rule() {
            let event = Event::refused_login(&asking.new, refusal, self.now());
            self.behind.note_login(asking.caller.env.record.id, &asking.new.user, refusal, event);
        }
    }

    async fn attempt(
        &self,
        asking: &Asking<'_>,
        seats: &Seats,
        id: Option<SessionId>,
    ) -> Result<Attempt, Stop> {
        let (env_id, new) = (asking.caller.env.record.id, &asking.new);
        let bucket = self.keys.bucket(env_id, &new.user);
        self.decide(bucket, || async {
            self.doubts().await?;
            let known = self.load_user(env_id, &new.user).await?;
            let env = self.env(env_id)?;
            let (replaces, device) = match self.look_before(&env, asking).await? {
                Before::Made(made) => return Ok(Decision::Answer(Attempt::Made(made, None, false))),
                Before::Free { replaces, device } => (replaces, device),
            };
            if !seats.cover(&seats_for(&env, new).limits) {
                return Ok(Decision::Answer(Attempt::Unseated));
            }
            let rules = own_limits(&env, new);
            let room = self.room(&env, &known.user, &rules, None).await?;
            if room.is_crowded() {
                return Ok(Decision::Answer(Attempt::Crowded(rules)));
            }
            let now = room.now;
            seats.are_in_time(now)?;
            let new = NewSession { device: device.as_ref().map(|(key, _)| *key), ..new.clone() };
            let (entropy, ground) = (self.draw()?, self.ground(&env, now));
            let id = id.unwrap_or_else(|| entropy.session(now, bucket));
            let mut made = create_as(ground, id, new, room.user(), &entropy)?;
            let draft =
                self.ordered_beside(&env, &mut made.change.session, asking.order, (now, Places::Take))?;
            let mut stage = Stage::new(bucket, now);
            room.make(self, &env, &mut stage);
            stage.session(self, &env, None, &made.change.session, now);
            if let Some(user) = &made.change.user {
                stage.user(&env, bucket, known.expect, user);
            }
            stage.events(&env, &made.change.events);
            if let Some(again) = &asking.again {
                let value = Idempotency { body: again.body, session: made.change.session.id };
                let (key, until) = (asking.caller.key().id, now.plus(Span::hours(24)));
                let record = write_idempotency(env_id, key, again.text, bucket, &value, until);
                stage.op(Op::Put { expect: replaces, record });
            }
            let given = hand_over(env_id, &mut stage, made.issued, made.code);
            let mut new_device = None;
            if let (Some((key, challenge)), Some(of)) = (device, asking.device) {
                stage.op(prove::used(env_id, bucket, &challenge));
                let seen = (&asking.new.user, key, of.remember, &asking.new.client);
                new_device = Some(self.see_device(&env, seen, &mut stage, now).await?);
            }
            let after = Loaded { session: made.change.session, seen: now, offered: now, version: 1 };
            let view = self.view(&env, after, now)?;
            if view.ended.is_some() {
                return Err(too_long_ago());
            }
            let evicted = room.evicted();
            let made = Made { view, given, evicted, new_device, access: None };
            Ok(Decision::Commit(stage, Attempt::Made(Box::new(made), draft, true)))
        })
        .await
    }

    /// Whether it may be made at all, or was made before: before anybody has to go for it.
    async fn look_before(&self, env: &Env, asking: &Asking<'_>) -> Result<Before, Stop> {
        let mut replaces = Expect::Absent;
        if let Some(again) = &asking.again {
            let found = self.store.load(std::slice::from_ref(&again.key)).await?;
            if let Some(found) = found.into_iter().next().flatten() {
                let known = read_idempotency(&found)?;
                let now = self.now();
                if found.record.forget_at.is_none_or(|end| end > now) {
                    return Ok(Before::Made(Box::new(self.again(asking, &known, again).await?)));
                }
                // Over, but not swept yet: the same name may be used anew.
                replaces = Expect::Version(found.version);
            }
        }
        let new = &asking.new;
        let effective = env.policy.of_tags(new.tags.iter().map(Tag::as_str));
        whereabouts::judge_first(&effective, new.client.ip)?;
        user_of_new(env, &new.tags, new.data.as_deref(), Some(&new.user))?;
        let device = match asking.device {
            None => None,
            Some(device) => {
                let by = Answerer::Login(Some(&new.user), Endpoint::from(&new.client));
                Some(self.introduced(env, device, by, self.now()).await?)
            }
        };
        Ok(Before::Free { replaces, device })
    }

    /// Whether a session that is made now would live, before anybody has to go for it.
    fn rehearse(&self, env: &Env, asking: &Asking<'_>) -> Result<(), Stop> {
        let (now, new) = (self.now(), &asking.new);
        let (id, user) = (SessionId::floor(now), User::new(new.user.clone()));
        let mut made = create_as(self.ground(env, now), id, new.clone(), user, &self.draw()?)?;
        self.ordered_beside(env, &mut made.change.session, asking.order, (now, Places::Look))?;
        match self.ended(env, &made.change.session, now, now) {
            None => Ok(()),
            Some(_) => Err(too_long_ago()),
        }
    }
}

fn too_long_ago() -> Stop {
    Stop::field("/auth/at", "is longer ago than a session may last: the user must authenticate again")
}

/// The limits of the user's own sessions, for a new one.
fn own_limits(env: &Env, new: &NewSession) -> Rules {
    let effective = env.policy.of_tags(new.tags.iter().map(Tag::as_str));
    let mut limits = limit::of_new(limit::RULE, &effective.max_sessions, &new.tags);
    limits.retain(|limit| limit.is_for(new.actor.is_some()));
    Rules { limits, mode: effective.on_limit.value }
}

/// The limits of all users' sessions, for a new one.
fn seats_for(env: &Env, new: &NewSession) -> Rules {
    let effective = env.policy.of_tags(new.tags.iter().map(Tag::as_str));
    let mut limits = limit::of_new(limit::SEATS, &effective.seats, &new.tags);
    limits.retain(|limit| limit.is_for(new.actor.is_some()));
    Rules { limits, mode: effective.on_limit.value }
}

/// A creation, ready to be tried more than once.
struct Asking<'a> {
    caller: &'a Caller,
    /// But for its device.
    new: NewSession,
    again: Option<Again<'a>>,
    device: Option<&'a Introduction>,
    order: Option<&'a Order>,
}

/// What is known before anybody looks for room.
enum Before {
    /// The same request was answered with this.
    Made(Box<Made>),
    /// Nothing stands against it.
    Free {
        /// What a first use of its `Idempotency-Key` expects of that key's record.
        replaces: Expect,
        /// The device that introduced itself, and the challenge that it used.
        device: Option<(PublicKey, Challenge)>,
    },
}
