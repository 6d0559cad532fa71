//! May this request pass? The path everything else makes room for.
//!
//! Open the token (pure), find the session (memory, else the store), judge (pure). The cache answers only "newest
//! generation, allowed, nothing to do"; everything else is decided on a fresh load, in the bucket's turn.

mod afresh;

use super::access_tokens::{Draft, Order};
use super::control::Env;
use super::devices::prove::Device;
use super::kept::Kept;
use super::nodes::Good;
use super::rates::{Spent, Tab};
use super::view::{Current, View};
use super::{App, Fault, Stop};
use handstamp_core::agent::Agent;
use handstamp_core::device::challenge::Given;
use handstamp_core::device::{self, Asked};
use handstamp_core::expiry;
use handstamp_core::id::SessionId;
use handstamp_core::jose::claims::TYPE;
use handstamp_core::jose::jws;
use handstamp_core::judge::{Demand, Shown, Verdict, judge_shown};
use handstamp_core::policy::Effective;
use handstamp_core::policy::modes::OnAgent;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::session::Client;
use handstamp_core::step_up::Assured;
use handstamp_core::subject::{Endpoint, Subject};
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Millis;
use handstamp_core::token::opaque::open;
use handstamp_core::token::{Kind, Unreadable};
use handstamp_core::whereabouts::Whereabouts;
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked.
#[derive(Clone, Default)]
pub struct Ask<'a> {
    /// What the client presented.
    pub token: &'a str,
    /// From which address, in its canonical form.
    pub ip: Option<IpAddr>,
    /// By which agent, already cut to [`Client::AGENT`] bytes.
    pub user_agent: Option<&'a str>,
    /// Tags that the session must carry.
    pub tags: Vec<Tag>,
    /// Groups that it must be in.
    pub groups: Vec<Group>,
    /// Whether the caller can deliver a successor.
    pub rotate: bool,
    /// Whether this is activity.
    pub touch: bool,
    /// Always read through to the store.
    pub strong: bool,
    /// What came of the device.
    pub device: Device,
    /// What the caller asks of it, beside the policy.
    pub device_demand: device::Demand,
    /// How surely it must be the user.
    pub assured: Assured,
    /// Whether an access token will do, too, and for whom it must be.
    pub access: Option<Access<'a>>,
    /// An access token that is wanted beside the successor of a refresh token.
    pub order: Option<&'a Order>,
    /// Who pays: of a keyless door. `None` spends no session's budget.
    pub tab: Option<&'a Tab>,
}

/// An access token will do.
#[derive(Clone, Copy, Default)]
pub struct Access<'a> {
    /// For whom it must be; `None`: for the environment itself.
    pub audience: Option<&'a str>,
}

/// The answer.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of one answer; boxing would cost the hot path an allocation"
)]
pub enum Validated {
    /// It may pass, as memory knows.
    Current(Current),
    /// It may pass.
    Allowed {
        /// The session.
        view: Box<View>,
        /// The successor to deliver.
        issued: Option<Issued>,
        /// The challenge of the next proof, when this request brought one.
        challenge: Option<Box<Given>>,
        /// The access token that was ordered, still to be signed.
        draft: Option<Box<Draft>>,
        /// How long this may be told: see [`App::is_good`].
        good: Good,
    },
    /// It may not.
    Refused {
        /// Why.
        refusal: Box<Refusal>,
        /// Which session, when the token was genuine.
        session: Option<SessionId>,
        /// A fresh challenge, when a proof by its device is missing or stale.
        challenge: Option<Box<Given>>,
    },
}

impl Ask<'_> {
    /// Who is at the other end, for records and history.
    pub(super) fn client(&self) -> Client {
        Client { ip: self.ip, user_agent: self.user_agent.map(Into::into), agent: None }
    }

    /// The same, as rules read it.
    pub(super) fn endpoint(&self) -> Endpoint<'_> {
        Endpoint { ip: self.ip, user_agent: self.user_agent, agent: None }
    }

    /// The same question, for an answer that came too late to be told. A proof that was good for that answer is used up by it.
    pub fn again(&self, proved: bool) -> Self {
        Ask { strong: true, ..self.once_more(proved) }
    }

    /// The same where memory may answer if it knows again by then: for one of many, of whom the last would else be too late for
    /// the first.
    pub fn once_more(&self, proved: bool) -> Self {
        let device = if proved { Device::Ignored } else { self.device.clone() };
        Ask { device, ..self.clone() }
    }

    /// What it demands of a session; `read` is what its user agent says, where that is not the one of the session.
    pub(super) fn demand<'s>(&'s self, session: &'s impl Subject, read: Option<&'s Agent>) -> Demand<'s> {
        let known = session.anchor();
        let same =
            || known.agent.filter(|_| self.user_agent.is_some() && self.user_agent == known.user_agent);
        Demand {
            tags: &self.tags,
            groups: &self.groups,
            can_deliver: self.rotate,
            from: Whereabouts { ip: self.ip, agent: read.map(Agent::view).or_else(same) },
            assured: self.assured,
        }
    }

    /// Whether it comes from elsewhere than what is known of the session. What is not said is no news.
    pub(super) fn is_elsewhere(&self, session: &impl Subject) -> bool {
        let known = session.last_client().unwrap_or(session.client());
        (self.ip.is_some() && self.ip != known.ip)
            || (self.user_agent.is_some() && self.user_agent != known.user_agent)
    }
}

impl App {
    /// Judges a token.
    ///
    /// # Errors
    /// A fault only: every refusal is an answer.
    pub async fn validate(&self, env: &Arc<Env>, ask: Ask<'_>) -> Result<Validated, Stop> {
        match open(Kind::Session, env.record.id, ask.token, &self.keys) {
            Ok(token) => self.validate_shown(env, Shown::Token(&token), ask).await,
            Err(_) if ask.access.is_some() && jws::looks_like(ask.token) => {
                Box::pin(self.validate_access(env, ask)).await
            }
            // Where none is taken it does not matter whether it is a good one.
            Err(_) if jws::Unverified::read(ask.token, TYPE).is_ok() => {
                Ok(self.told(&ask, refused(unreadable(Unreadable::WrongKind), None)))
            }
            Err(why) => Ok(self.told(&ask, refused(unreadable(why), None))),
        }
    }

    /// The same for an access token.
    async fn validate_access(&self, env: &Arc<Env>, mut ask: Ask<'_>) -> Result<Validated, Stop> {
        let audience = ask.access.and_then(|Access { audience }| audience);
        ask.touch = false;
        // The keys are those of now: the rest of the request may have taken its time.
        let mut env = self.env(env.record.id)?;
        if self.has_others() && !self.knows_signer(&env, ask.token) {
            // Another node may have made the key a moment ago.
            self.keys_of_others().await?;
            env = self.env(env.record.id)?;
        }
        let env = &env;
        match self.read_access(env, ask.token, audience, self.now()) {
            Ok(claims) => self.validate_shown(env, Shown::Access(&claims), ask).await,
            Err(refusal) => Ok(self.told(&ask, refused(refusal, None))),
        }
    }

    async fn validate_shown(
        &self,
        env: &Arc<Env>,
        shown: Shown<'_>,
        ask: Ask<'_>,
    ) -> Result<Validated, Stop> {
        let (kept, good) = self.at_hand(env, shown.session(), ask.strong).await?;
        // What was ended at once, the rules and the time are those of now: a caller may have been recognised long before
        // the rest of its request came, and the store may have taken its time.
        let (before, env) = (env, self.env(env.record.id)?);
        if matches!(shown, Shown::Access(_))
            && !Arc::ptr_eq(before, &env)
            && !self.knows_signer(&env, ask.token)
        {
            return Ok(self.told(&ask, refused(unreadable(Unreadable::Malformed), None)));
        }
        let now = self.now();
        if let Some(kept) = kept
            && let Some(current) = self.pass(&env, (kept, good), shown, &ask, now)
            && !(ask.touch && self.must_be_written(current.whose(), &current.kept.mark, current.idle(), now))
        {
            if self.is_over(&ask, &env, &current.kept.subject(&current.outline)) {
                return Ok(self.told(&ask, over_budget(current.kept.id)));
            }
            if shown.is_activity() && ask.is_elsewhere(&current.kept.subject(&current.outline)) {
                self.observer.offer(current.kept.env, current.kept.id, ask.client());
            }
            if ask.touch {
                let kept = &current.kept;
                self.note_seen(current.whose(), &kept.mark, current.idle(), now).await?;
            }
            return Ok(self.told(&ask, Validated::Current(current)));
        }
        let answer = Box::pin(self.validate_afresh(&env, shown, &ask)).await?;
        Ok(self.told(&ask, answer))
    }

    /// The record in memory, or loaded into it; and how long it may be told. Whoever judges it takes the environment
    /// afterwards: what is known of that is no older.
    pub(super) async fn at_hand(
        &self,
        env: &Env,
        session: SessionId,
        strong: bool,
    ) -> Result<(Option<Arc<Kept>>, Good), Fault> {
        // The licence is looked at before the cache is: what was forgotten since it was given is not found.
        if !strong
            && let Some(good) = self.licence_of(session)
            && let Some(kept) = self.cache.get(env.record.id, session)
        {
            return Ok((Some(kept), good));
        }
        let good = self.good_if_read_now();
        Ok((self.fetch(env, session).await?, good))
    }

    /// The one outcome that needs no fresh load.
    fn pass(
        &self,
        env: &Env,
        (kept, good): (Arc<Kept>, Good),
        shown: Shown<'_>,
        ask: &Ask<'_>,
        now: Millis,
    ) -> Option<Current> {
        let outline = kept.outline()?;
        let session = kept.subject(&outline);
        let seen = kept.mark.last_seen();
        let effective = env.policy.of(&session);
        // A proof is used up, which is to be committed.
        if Asked::of(&effective.device, ask.device_demand).asks(session.device().is_some()) {
            return None;
        }
        let read = self.other_agent(&session, &effective, ask);
        let demand = ask.demand(&session, read.as_deref());
        let ground = self.ground(env, now);
        let verdict = judge_shown(&session, seen, shown, ground.bench(), &effective, demand, now);
        if verdict != Verdict::PASS {
            return None;
        }
        let seen = if ask.touch { seen.max(now) } else { seen };
        let ends = expiry::ends(&session, seen, &effective);
        Some(Current { kept, outline, seen, ends, good })
    }

    /// What the request's user agent says, unless it is the one that the session is known by: then that is known.
    pub(super) fn other_agent(
        &self,
        session: &impl Subject,
        policy: &Effective,
        ask: &Ask<'_>,
    ) -> Option<Arc<Agent>> {
        let known = session.anchor().user_agent;
        let looked_at = policy.user_agent.value != OnAgent::Ignore && ask.user_agent != known;
        if looked_at { self.agent(ask.user_agent) } else { None }
    }

    /// Who is at the other end, for history.
    pub(super) fn client_of(&self, ask: &Ask<'_>) -> Client {
        Client { agent: self.agent(ask.user_agent), ..ask.client() }
    }

    /// Pays for a request with a good session, and says whether its budget does not cover it.
    pub(super) fn is_over(&self, ask: &Ask<'_>, env: &Env, session: &impl Subject) -> bool {
        ask.tab.is_some_and(|tab| matches!(self.spend_once(tab, env, session), Spent::Over(_)))
    }

    /// Counts the verdict.
    fn told(&self, ask: &Ask<'_>, answer: Validated) -> Validated {
        if let (Some(tab), Validated::Refused { refusal, .. }) = (ask.tab, &answer)
            && refusal.code.denies_session()
        {
            tab.fail();
        }
        self.verdicts.count(match &answer {
            Validated::Current(_) | Validated::Allowed { .. } => None,
            Validated::Refused { refusal, .. } => Some(refusal.code),
        });
        answer
    }
}

/// A refusal without a challenge.
pub(super) fn refused(refusal: Refusal, session: Option<SessionId>) -> Validated {
    Validated::Refused { refusal: Box::new(refusal), session, challenge: None }
}

/// The session is good, and its budget is spent for now.
pub(super) fn over_budget(id: SessionId) -> Validated {
    refused(Refusal::plain(Code::RateLimitExceeded, "rate_limit"), Some(id))
}

/// What an unreadable token is called.
pub fn unreadable(why: Unreadable) -> Refusal {
    let code = match why {
        Unreadable::Missing => Code::TokenMissing,
        Unreadable::Malformed => Code::TokenMalformed,
        Unreadable::WrongKind => Code::TokenWrongKind,
    };
    Refusal::plain(code, "token")
}
