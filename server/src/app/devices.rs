//! Devices: challenges for them, a session gets one, and those a user is known to have.

use super::callers::Caller;
use super::control::Env;
use super::objections::impersonated;
use super::read::no_session;
use super::records::{Decision, Loaded, Stage};
use super::validate::{Ask, Validated};
use super::view::View;
use super::{App, Fault, Stop};
use crate::codec::device::{device_key, device_record, devices_of, read_device};
use crate::store::{Expect, Op, Versioned};
use handstamp_core::caller::Scope;
use handstamp_core::device::challenge::{Answerer, Client as For, Given};
use handstamp_core::device::key::DeviceId;
use handstamp_core::device::known::{self, Known};
use handstamp_core::device::may_register;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use handstamp_core::subject::Endpoint;
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::open;
use handstamp_core::transition::bind::bind;

pub mod prove;

use prove::Introduction;

/// A session, as a caller names it.
pub enum Named {
    /// By what its client presented.
    Token(String),
    /// By its id, which is no secret: only a backend that knows whose it is may say so.
    Id(SessionId),
}

/// To whom a challenge is to be given.
pub enum Ahead {
    /// To the client of a session.
    Session(Named),
    /// To somebody who is about to log in, from there; as this user, where that is known.
    Login(Option<UserId>, Client),
}

/// What is asked for a session that gets its device.
pub struct Register {
    /// Which session.
    pub session: Named,
    /// The session that it must be, where the caller knows that beside a token.
    pub guard: Option<SessionId>,
    /// The proof, with its key.
    pub device: Introduction,
    /// From where.
    pub client: Client,
}

impl App {
    /// Makes a challenge. Nothing is stored until it is used.
    ///
    /// # Errors
    /// Refusals of the token; faults.
    pub fn challenge(&self, caller: &Caller, ahead: &Ahead) -> Result<Given, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = caller.env.record.id;
        let client = match ahead {
            Ahead::Session(Named::Id(id)) => For::Session(*id),
            Ahead::Session(Named::Token(text)) => {
                let opened = open(Kind::Session, env, text, &self.keys);
                For::Session(opened.map_err(super::validate::unreadable)?.session)
            }
            Ahead::Login(user, client) => For::Login { user: user.as_ref(), from: Endpoint::from(client) },
        };
        Ok(self.give_challenge(env, client)?)
    }

    /// A session gets its device; and whether its user was not known to have it.
    ///
    /// # Errors
    /// Refusals of the token and of the proof, `not_found` (also when it is not the guard's), `session_ended`, `already_exists` when it has one,
    /// `reauthentication_required` when its login was too long ago; faults.
    pub async fn register_device(&self, caller: &Caller, ask: &Register) -> Result<(View, bool), Stop> {
        caller.allow(Scope::SessionsWrite)?;
        let id = self.named(caller, &ask.session, &ask.client).await?;
        if let Some(guard) = ask.guard
            && guard != id
        {
            return Err(no_session(guard));
        }
        let done = self.bind_device(caller, id, ask).await;
        self.noted(&caller.party(), id, ask.client.clone(), done).await
    }

    async fn bind_device(
        &self,
        caller: &Caller,
        id: SessionId,
        ask: &Register,
    ) -> Result<(View, bool), Stop> {
        self.decide(id.bucket(), || async {
            self.doubts().await?;
            let env = caller.env.record.id;
            let loaded = self.load_session(env, id).await?.ok_or_else(|| no_session(id))?;
            let env = self.env(env)?;
            let now = self.now();
            let living = self.ground(&env, now).living(&loaded.session, loaded.seen);
            let living = living.map_err(super::update::ended)?;
            if loaded.session.actor.is_some() {
                return Err(impersonated());
            }
            // Before anything else: who comes too late is not told that a signature was right.
            may_register(loaded.session.authenticated_at, loaded.session.device.as_deref(), now)?;
            let by = Answerer::Session(id, Endpoint::from(&ask.client));
            let (key, challenge) = self.introduced(&env, &ask.device, by, now).await?;
            let change = bind(living, key, caller.by(), ask.client.clone())?;
            let mut stage = Stage::new(id.bucket(), now);
            stage.change(self, &env, &loaded, None, &change, loaded.seen);
            stage.op(prove::used(env.record.id, id.bucket(), &challenge));
            let remember = ask.device.remember;
            let user = &loaded.session.user;
            let new = self.see_device(&env, (user, key, remember, &ask.client), &mut stage, now).await?;
            let Loaded { seen, offered, version, .. } = loaded;
            let after = Loaded { session: change.session, seen, offered, version: version + 1 };
            let view = self.view(&env, after, now)?;
            Ok(Decision::Commit(stage, (view, new)))
        })
        .await
    }

    /// The session that is named. A token is judged like any other, but for the device that it is about to get.
    async fn named(&self, caller: &Caller, named: &Named, client: &Client) -> Result<SessionId, Stop> {
        let token = match named {
            Named::Id(id) => return Ok(*id),
            Named::Token(token) => token,
        };
        let ask = Ask {
            token,
            ip: client.ip,
            user_agent: client.user_agent.as_deref(),
            device: prove::Device::Ignored,
            strong: true,
            ..Ask::default()
        };
        match Box::pin(self.validate(&caller.env, ask)).await? {
            Validated::Current(current) => Ok(current.kept.id),
            Validated::Allowed { view, .. } => Ok(view.session().id),
            Validated::Refused { refusal, .. } => Err(Stop::from(*refusal)),
        }
    }

    /// The devices that a user is known to have, the last seen first.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn devices(&self, caller: &Caller, user: &UserId) -> Result<Vec<Known>, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let mut devices = self.known_devices(caller.env.record.id, user).await?;
        devices.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.id.cmp(&b.id)));
        Ok(devices)
    }

    pub(super) async fn known_devices(
        &self,
        env: handstamp_core::id::EnvironmentId,
        user: &UserId,
    ) -> Result<Vec<Known>, Stop> {
        let now = self.now();
        let found = self.find_devices(env, user).await?;
        let mut devices = Vec::with_capacity(found.len());
        for found in &found {
            let mut known = read_device(found)?;
            self.know(&mut known.client);
            if now < known.forget_at() {
                devices.push(known);
            }
        }
        Ok(devices)
    }

    async fn find_devices(
        &self,
        env: handstamp_core::id::EnvironmentId,
        user: &UserId,
    ) -> Result<Vec<Versioned>, Fault> {
        let mut query = devices_of(env, user, 1_000);
        let mut found = Vec::new();
        loop {
            let page = self.store.search(&query).await?;
            // What is left of a removed environment has no body any more.
            found.extend(page.items.into_iter().filter(|found| !found.record.body.is_empty()));
            match page.next {
                None => return Ok(found),
                next => query.cursor = next,
            }
        }
    }

    /// Forgets all devices of a user, for good.
    pub(super) async fn erase_devices(&self, env: &Env, user: &UserId) -> Result<(), Stop> {
        let env = env.record.id;
        let bucket = self.keys.bucket(env, user);
        self.decide(bucket, || async {
            let mut stage = Stage::new(bucket, self.now());
            let found = self.find_devices(env, user).await?;
            if found.is_empty() {
                return Ok(Decision::Answer(()));
            }
            for found in found {
                let expect = Expect::Version(found.version);
                stage.op(Op::Delete { key: found.record.key, expect });
            }
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }

    /// Names a device.
    ///
    /// # Errors
    /// `not_found`, bad input; faults.
    pub async fn name_device(
        &self,
        caller: &Caller,
        user: &UserId,
        id: DeviceId,
        name: &str,
    ) -> Result<Known, Stop> {
        let name = known::name(name).map_err(|why| Stop::field("/name", why))?;
        let named = |known: Known| Some(Known { name: Some(name.clone()), ..known });
        self.change_device(caller, user, id, named).await
    }

    /// Forgets a device: the next login with it is one from a new device. Its sessions go on, bound to it as before.
    ///
    /// # Errors
    /// `not_found`; faults.
    pub async fn forget_device(&self, caller: &Caller, user: &UserId, id: DeviceId) -> Result<Known, Stop> {
        self.change_device(caller, user, id, |_| None).await
    }

    async fn change_device(
        &self,
        caller: &Caller,
        user: &UserId,
        id: DeviceId,
        next: impl Fn(Known) -> Option<Known>,
    ) -> Result<Known, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        let env = caller.env.record.id;
        let bucket = self.keys.bucket(env, user);
        self.decide(bucket, || async {
            self.env(env)?;
            let now = self.now();
            let key = device_key(env, user, id);
            let missing = || Stop::refuse(Code::NotFound, "this user is not known to have that device");
            let found = self.store.load(std::slice::from_ref(&key)).await?;
            let found = found.into_iter().next().flatten().ok_or_else(missing)?;
            let mut known = read_device(&found)?;
            self.know(&mut known.client);
            if now >= known.forget_at() {
                return Err(missing());
            }
            let expect = Expect::Version(found.version);
            let mut stage = Stage::new(bucket, now);
            let after = match next(known.clone()) {
                Some(after) => {
                    stage.op(Op::Put { expect, record: device_record(env, bucket, &after) });
                    after
                }
                None => {
                    stage.op(Op::Delete { key, expect });
                    known
                }
            };
            Ok(Decision::Commit(stage, after))
        })
        .await
    }
}
