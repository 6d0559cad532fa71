//! A session begins: the user's record is the fence, so that a creation and a mass end of one user never miss each
//! other.

use super::callers::Caller;
use super::control::Env;
use super::devices::prove::{self, Introduction};
use super::records::{Decision, Loaded, Stage};
use super::types::user_of_new;
use super::view::View;
use super::{App, Stop};
use crate::codec::control::{Idempotency, read_idempotency, write_idempotency};
use crate::codec::{digest, idempotency_key};
use crate::store::{Expect, Op};
use bytes::Bytes;
use handstamp_core::agent::hints::Hints;
use handstamp_core::caller::Scope;
use handstamp_core::device::challenge::Client as Ahead;
use handstamp_core::id::UserId;
use handstamp_core::refusal::Code;
use handstamp_core::rotation::Issued;
use handstamp_core::session::{Actor, Client};
use handstamp_core::subject::Endpoint;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Span;
use handstamp_core::transition::create::{NewSession, Proved, create, repeat};
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
}

/// The new session and its credentials.
pub struct Made {
    /// The session.
    pub view: View,
    /// Shown once.
    pub issued: Issued,
    /// Whether the user is not known to have the device; `None` when there is none.
    pub new_device: Option<bool>,
}

impl App {
    /// Makes a session.
    ///
    /// # Errors
    /// Refusals of the caller and of the idempotency key; faults.
    pub async fn create(&self, caller: &Caller, ask: Create) -> Result<Made, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        if ask.actor.is_some() && ask.device.is_some() {
            return Err(Stop::code(Code::ImpersonationForbidden));
        }
        let env_id = caller.env.record.id;
        let fits = |env: &Env| user_of_new(env, &ask.tags, ask.data.as_deref(), ask.user.as_ref());
        let user = match &ask.user {
            Some(user) => user.clone(),
            None => fits(&*self.env(env_id)?)?,
        };
        let bucket = self.keys.bucket(env_id, &user);
        let key_id = caller.key().id;
        let idempotency = ask.idempotency.as_ref().map(|(text, body)| (text, digest(&[body])));
        let request = idempotency.map(|(text, body)| digest(&[&key_id.0, text.as_bytes(), &body]));
        let mut client = ask.client.clone();
        let read = self.agent(client.user_agent.as_deref());
        client.agent =
            read.map(|agent| if ask.hints.is_empty() { agent } else { Arc::new(ask.hints.refine(&agent)) });
        self.cache.share_agent(&mut client);
        self.decide(bucket, || async {
            self.doubts().await?;
            let env = self.env(env_id)?;
            let now = self.now();
            let ground = self.ground(&env, now);
            let mut replaces = Expect::Absent;
            if let Some((text, body)) = &idempotency {
                let found = self.store.load(&[idempotency_key(env_id, key_id, text)]).await?;
                if let Some(found) = found.into_iter().next().flatten() {
                    let known = read_idempotency(&found)?;
                    if found.record.forget_at.is_none_or(|end| end > now) {
                        return Ok(Decision::Answer(self.again(caller, &known, *body, request).await?));
                    }
                    // Over, but not swept yet: the same name may be used anew.
                    replaces = Expect::Version(found.version);
                }
            }
            fits(&env)?;
            let device = match &ask.device {
                None => None,
                Some(device) => {
                    let from = Ahead::Login { user: Some(&user), from: Endpoint::from(&ask.client) };
                    Some((self.introduced(&env, device, from, None, now).await?, device.remember))
                }
            };
            let known = self.load_user(env_id, &user).await?;
            let new = NewSession {
                user: user.clone(),
                tags: ask.tags.clone(),
                groups: ask.groups.clone(),
                data: ask.data.clone().map(String::into_bytes),
                expires_in: ask.expires_in,
                refresh: false,
                auth: ask.auth.clone(),
                actor: ask.actor.clone(),
                client: client.clone(),
                device: device.map(|((key, _), _)| key),
                by: caller.by(),
                idempotency: request,
            };
            let made = create(ground, new, known.user, &self.draw()?)?;
            whereabouts::judge_first(&env.policy.of(&made.change.session), client.ip)?;
            let mut stage = Stage::new(bucket, now);
            stage.session(self, &env, None, &made.change.session, now);
            if let Some(user) = &made.change.user {
                stage.user(&env, bucket, known.expect, user);
            }
            stage.events(&env, &made.change.events);
            if let Some((text, body)) = &idempotency {
                let value = Idempotency { body: *body, session: made.change.session.id };
                let record =
                    write_idempotency(env_id, key_id, text, bucket, &value, now.plus(Span::hours(24)));
                stage.op(Op::Put { expect: replaces, record });
            }
            let mut new_device = None;
            if let Some(((key, challenge), remember)) = device {
                stage.op(prove::used(env_id, bucket, &challenge));
                let seen = (&user, key, remember, &client);
                new_device = Some(self.see_device(&env, seen, &mut stage, now).await?);
            }
            let view = self.view(
                &env,
                Loaded { session: made.change.session, seen: now, offered: now, version: 1 },
                now,
            )?;
            if view.ended.is_some() {
                let message = "is longer ago than a session may last: the user must authenticate again";
                return Err(Stop::field("/auth/at", message));
            }
            Ok(Decision::Commit(stage, Made { view, issued: made.issued, new_device }))
        })
        .await
    }

    /// The same request again: the same credentials, as long as nobody has presented them.
    async fn again(
        &self,
        caller: &Caller,
        known: &Idempotency,
        body: [u8; 32],
        request: Option<[u8; 32]>,
    ) -> Result<Made, Stop> {
        if known.body != body {
            return Err(Stop::code(Code::IdempotencyKeyReused));
        }
        let env = self.env(caller.env.record.id)?;
        let spent = || Stop::code(Code::IdempotencyKeySpent);
        let loaded = self.load_session(env.record.id, known.session).await?.ok_or_else(spent)?;
        let now = self.now();
        let request = request.ok_or_else(spent)?;
        let issued = repeat(self.ground(&env, now), &loaded.session, &request).ok_or_else(spent)?;
        let view = self.view(&env, loaded, now)?;
        if view.ended.is_some() {
            return Err(spent());
        }
        let new_device = match &view.session().device {
            None => None,
            Some(device) => {
                let session = view.session();
                Some(self.was_new(env.record.id, &session.user, device.key, session.created_at).await?)
            }
        };
        Ok(Made { view, issued, new_device })
    }
}
