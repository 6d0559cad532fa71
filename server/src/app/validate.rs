//! May this request pass? The path everything else makes room for.
//!
//! Open the token (pure), find the session (memory, else the store), judge (pure). The cache answers only "newest
//! generation, allowed, nothing to do"; everything else is decided on a fresh load, in the bucket's turn.

use super::control::Env;
use super::devices::prove::{self, Device};
use super::kept::{Kept, Mark};
use super::rates::{Spent, Tab};
use super::records::{Decision, Loaded, Stage};
use super::view::{Current, View};
use super::{App, Fault, Stop};
use handstamp_core::agent::Agent;
use handstamp_core::device::Passed;
use handstamp_core::device::challenge::{self, Given};
use handstamp_core::event::Event;
use handstamp_core::expiry;
use handstamp_core::id::SessionId;
use handstamp_core::judge::{Demand, Effect, Verdict, judge, judge_refresh};
use handstamp_core::policy::Effective;
use handstamp_core::policy::modes::OnAgent;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::session::{By, Client};
use handstamp_core::step_up::Assured;
use handstamp_core::subject::Subject;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Millis;
use handstamp_core::token::opaque::{Opened, open};
use handstamp_core::token::{Kind, Unreadable};
use handstamp_core::transition::present::present;
use handstamp_core::whereabouts::Whereabouts;
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked.
#[derive(Default)]
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
    /// How surely it must be the user.
    pub assured: Assured,
    /// Who pays: of a keyless door. `None` spends no session's budget.
    pub tab: Option<&'a Tab>,
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
    fn client(&self) -> Client {
        Client { ip: self.ip, user_agent: self.user_agent.map(Into::into), agent: None }
    }

    /// What it demands of a session; `read` is what its user agent says, where that is not the one of the session.
    fn demand<'s>(&'s self, session: &'s impl Subject, read: Option<&'s Agent>) -> Demand<'s> {
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
    fn is_elsewhere(&self, session: &impl Subject) -> bool {
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
        let token = match open(Kind::Session, env.record.id, ask.token, &self.keys) {
            Ok(token) => token,
            Err(why) => {
                return Ok(self.told(&ask, refused(unreadable(why), None)));
            }
        };
        let kept = self.at_hand(env, &token, ask.strong).await?;
        // What was ended at once, the rules and the time are those of now: a caller may have been recognised long before
        // the rest of its request came, and the store may have taken its time.
        let env = self.env(env.record.id)?;
        let now = self.now();
        if let Some(kept) = kept
            && let Some(current) = self.pass(&env, kept, &token, &ask, now)
            && !(ask.touch && current.kept.mark.must_be_written(current.idle(), now))
        {
            if self.is_over(&ask, &env, &current.kept.subject(&current.outline)) {
                return Ok(self.told(&ask, over_budget(current.kept.id)));
            }
            if ask.is_elsewhere(&current.kept.subject(&current.outline)) {
                self.observer.offer(current.kept.env, current.kept.id, ask.client());
            }
            if ask.touch {
                let kept = &current.kept;
                self.seen((kept.env, kept.id), &kept.mark, current.idle(), now).await?;
            }
            return Ok(self.told(&ask, Validated::Current(current)));
        }
        let answer = Box::pin(self.validate_afresh(&env, &token, &ask)).await?;
        Ok(self.told(&ask, answer))
    }

    /// The record in memory, or loaded into it.
    pub(super) async fn at_hand(
        &self,
        env: &Env,
        token: &Opened,
        strong: bool,
    ) -> Result<Option<Arc<Kept>>, Fault> {
        if !strong && let Some(kept) = self.cache.get(env.record.id, token.session) {
            return Ok(Some(kept));
        }
        self.fetch(env, token.session).await
    }

    /// The one outcome that needs no fresh load.
    fn pass(
        &self,
        env: &Env,
        kept: Arc<Kept>,
        token: &Opened,
        ask: &Ask<'_>,
        now: Millis,
    ) -> Option<Current> {
        let outline = kept.outline()?;
        let session = kept.subject(&outline);
        let seen = kept.mark.last_seen();
        let effective = env.policy.of(&session);
        // A proof is used up, which is to be committed.
        if effective.device.value.asks(session.device().is_some()) {
            return None;
        }
        let read = self.other_agent(&session, &effective, ask);
        let demand = ask.demand(&session, read.as_deref());
        let ground = self.ground(env, now);
        let verdict = judge(&session, seen, token, ground.bench(), &effective, demand, now);
        if verdict != Verdict::PASS {
            return None;
        }
        let seen = if ask.touch { seen.max(now) } else { seen };
        let ends = expiry::ends(&session, seen, &effective);
        Some(Current { kept, outline, seen, ends })
    }

    /// What the request's user agent says, unless it is the one that the session is known by: then that is known.
    fn other_agent(&self, session: &impl Subject, policy: &Effective, ask: &Ask<'_>) -> Option<Arc<Agent>> {
        let known = session.anchor().user_agent;
        let looked_at = policy.user_agent.value != OnAgent::Ignore && ask.user_agent != known;
        if looked_at { self.agent(ask.user_agent) } else { None }
    }

    /// Who is at the other end, for history.
    fn client_of(&self, ask: &Ask<'_>) -> Client {
        Client { agent: self.agent(ask.user_agent), ..ask.client() }
    }

    /// Every other outcome, and the exchange of a refresh token: load, judge, commit.
    pub(super) async fn validate_afresh(
        &self,
        env: &Env,
        token: &Opened,
        ask: &Ask<'_>,
    ) -> Result<Validated, Stop> {
        let id = token.session;
        let decided = self.decide(id.bucket(), || async {
            // The ledger may have changed while this request waited for its turn.
            let env = self.env(env.record.id)?;
            let now = self.now();
            let Some(loaded) = self.load_session(env.record.id, id).await? else {
                let refusal = Refusal::plain(Code::SessionNotFound, "token");
                return Ok(Decision::Answer((refused(refusal, Some(id)), None)));
            };
            let effective = env.policy.of(&loaded.session);
            let read = self.other_agent(&loaded.session, &effective, ask);
            let demand = ask.demand(&loaded.session, read.as_deref());
            let ground = self.ground(&env, now);
            let judge_it = if token.kind == Kind::Refresh { judge_refresh } else { judge };
            let rule = |demand| {
                judge_it(&loaded.session, loaded.seen, token, ground.bench(), &effective, demand, now)
            };
            let mut verdict = rule(demand);
            let mut used = None;
            if verdict.refusal.is_none() {
                match self.judge_device(&env, &effective, &loaded, &ask.device, now).await? {
                    Ok(Passed::Unasked) => {}
                    Ok(Passed::Proved(challenge)) => used = Some(challenge),
                    Err(refusal) => {
                        // Who is not the device gets no successor; what is noted of the token stays noted.
                        let Verdict { effect, .. } = rule(Demand { can_deliver: false, ..demand });
                        verdict = Verdict { refusal: Some(refusal), effect, ..Verdict::PASS };
                    }
                }
            }
            // Paid before anything is noted or changed: a request over its budget leaves no trace in the session.
            let good = verdict.refusal.as_ref().is_none_or(|refusal| refusal.code.status() != 401);
            if good && self.is_over(ask, &env, &loaded.session) {
                return Ok(Decision::Answer((over_budget(id), None)));
            }
            if let Some(refusal) = &verdict.refusal
                && matches!(verdict.effect, Effect::Nothing | Effect::Note | Effect::StoreBehind)
            {
                let more = (verdict.effect == Effect::StoreBehind).then(|| "store_behind".into());
                let event = Event::refused(&loaded.session, refusal, now, By::Client, self.client_of(ask));
                let event = Event { note: more, ..event };
                self.behind.note(env.record.id, &loaded.session, refusal, event, now);
            }
            if let Some(what) = &verdict.noticed {
                let event = Event::noticed(&loaded.session, what, now, By::Client, self.client_of(ask));
                self.behind.note(env.record.id, &loaded.session, what, event, now);
            }
            let user = match verdict.effect {
                Effect::EndStolen | Effect::End | Effect::Settle => {
                    Some(self.load_user(env.record.id, &loaded.session.user).await?)
                }
                Effect::Nothing | Effect::Note | Effect::Rotate | Effect::Again | Effect::StoreBehind => None,
            };
            let record = user.as_ref().map(|u| u.user.clone());
            let record =
                record.unwrap_or_else(|| handstamp_core::user::User::new(loaded.session.user.clone()));
            let presented =
                present(ground, &loaded.session, loaded.seen, record, token, &verdict, &ask.client())?;
            let allowed = verdict.refusal.is_none();
            let seen = if allowed && ask.touch { loaded.seen.max(now) } else { loaded.seen };
            let mut stage = presented.change.as_ref().map(|change| {
                let mut stage = Stage::new(id.bucket(), now);
                stage.change(self, &env, &loaded, user.as_ref(), change, seen);
                stage
            });
            let mut later = None;
            let answer = match verdict.refusal {
                Some(refusal) => {
                    let to = challenge::Client::Session(id);
                    let fresh = self.challenge_with(refusal.code, env.record.id, to)?.map(Box::new);
                    Validated::Refused { refusal: Box::new(refusal), session: Some(id), challenge: fresh }
                }
                None => {
                    let after =
                        presented.change.map_or_else(|| loaded.session.clone(), |change| change.session);
                    let Loaded { offered, version, .. } = loaded;
                    let view = self.view(&env, Loaded { session: after, seen, offered, version }, now)?;
                    if ask.is_elsewhere(&view.held.session) {
                        self.observer.offer(env.record.id, id, ask.client());
                    }
                    if stage.is_none() && ask.touch {
                        let mark = Mark::new(loaded.seen, offered, true);
                        if used.is_some() {
                            // Only once nobody else has used the challenge.
                            later = Some((mark, view.idle()));
                        } else {
                            self.seen((env.record.id, id), &mark, view.idle(), now).await?;
                        }
                    }
                    let to = challenge::Client::Session(id);
                    let next = used.map(|_| self.give_challenge(env.record.id, to)).transpose()?;
                    let challenge = next.map(Box::new);
                    Validated::Allowed { view: Box::new(view), issued: presented.issued, challenge }
                }
            };
            if let Some(challenge) = &used {
                let stage = stage.get_or_insert_with(|| Stage::new(id.bucket(), now));
                stage.op(prove::used(env.record.id, id.bucket(), challenge));
            }
            Ok(match stage {
                Some(stage) => Decision::Commit(stage, (answer, later)),
                None => Decision::Answer((answer, later)),
            })
        });
        let (answer, later) = decided.await?;
        if let Some((mark, idle)) = later {
            self.seen((env.record.id, id), &mark, idle, self.now()).await?;
        }
        Ok(answer)
    }

    /// Pays for a request with a good session, and says whether its budget does not cover it.
    fn is_over(&self, ask: &Ask<'_>, env: &Env, session: &impl Subject) -> bool {
        ask.tab.is_some_and(|tab| matches!(self.spend_once(tab, env, session), Spent::Over(_)))
    }

    /// Counts the verdict.
    fn told(&self, ask: &Ask<'_>, answer: Validated) -> Validated {
        if let (Some(tab), Validated::Refused { refusal, .. }) = (ask.tab, &answer)
            && refusal.code.status() == 401
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
fn refused(refusal: Refusal, session: Option<SessionId>) -> Validated {
    Validated::Refused { refusal: Box::new(refusal), session, challenge: None }
}

/// The session is good, and its budget is spent for now.
fn over_budget(id: SessionId) -> Validated {
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
