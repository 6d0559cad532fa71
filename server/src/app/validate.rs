//! May this request pass? The path everything else makes room for.
//!
//! Open the token (pure), find the session (memory, else the store), judge (pure). The cache answers only "newest
//! generation, allowed, nothing to do"; everything else is decided on a fresh load, in the bucket's turn.

use super::callers::Caller;
use super::control::Env;
use super::kept::{Kept, Mark};
use super::records::{Decision, Loaded, Stage};
use super::view::{Current, View};
use super::{App, Fault, Stop};
use handstamp_core::expiry;
use handstamp_core::id::SessionId;
use handstamp_core::judge::{Demand, Effect, Verdict, judge};
use handstamp_core::policy::Policy;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::session::Client;
use handstamp_core::subject::Subject;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Millis;
use handstamp_core::token::opaque::{Opened, open};
use handstamp_core::token::{Kind, Unreadable};
use handstamp_core::transition::present::present;
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
    },
    /// It may not.
    Refused {
        /// Why.
        refusal: Box<Refusal>,
        /// Which session, when the token was genuine.
        session: Option<SessionId>,
    },
}

impl Ask<'_> {
    /// Who is at the other end, for records and history.
    fn client(&self) -> Client {
        Client { ip: self.ip, user_agent: self.user_agent.map(Into::into), agent: None }
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
    pub async fn validate(&self, caller: &Caller, ask: Ask<'_>) -> Result<Validated, Stop> {
        let env = &caller.env;
        let token = match open(Kind::Session, env.record.id, ask.token, &self.keys) {
            Ok(token) => token,
            Err(why) => {
                return Ok(
                    self.told(Validated::Refused { refusal: Box::new(unreadable(why)), session: None })
                );
            }
        };
        let kept = self.at_hand(env, &token, ask.strong).await?;
        // What was ended at once, the rules and the time are those of now: a caller may have been recognised long before
        // the rest of its request came, and the store may have taken its time.
        let env = self.env(env.record.id)?;
        let policy = self.policy.load();
        let now = self.now();
        if let Some(kept) = kept
            && let Some(current) = self.pass(&env, &policy, kept, &token, &ask, now)
            && !(ask.touch && current.kept.mark.must_be_written(current.idle(), now))
        {
            if ask.touch {
                let kept = &current.kept;
                self.seen((kept.env, kept.id), &kept.mark, current.idle(), now).await?;
            }
            return Ok(self.told(Validated::Current(current)));
        }
        drop(policy);
        let answer = Box::pin(self.validate_afresh(&env, &token, &ask)).await?;
        Ok(self.told(answer))
    }

    /// The record in memory, or loaded into it.
    async fn at_hand(&self, env: &Env, token: &Opened, strong: bool) -> Result<Option<Arc<Kept>>, Fault> {
        if !strong && let Some(kept) = self.cache.get(env.record.id, token.session) {
            return Ok(Some(kept));
        }
        self.fetch(env, token.session).await
    }

    /// The one outcome that needs no fresh load.
    fn pass(
        &self,
        env: &Env,
        policy: &Policy,
        kept: Arc<Kept>,
        token: &Opened,
        ask: &Ask<'_>,
        now: Millis,
    ) -> Option<Current> {
        let outline = kept.outline()?;
        let session = kept.subject(&outline);
        let seen = kept.mark.last_seen();
        let effective = policy.effective(session.times().expires_in, session.chain().has_refresh());
        let demand = Demand { tags: &ask.tags, groups: &ask.groups, can_deliver: ask.rotate };
        let ground = self.ground(env, policy, now);
        let verdict = judge(&session, seen, token, ground.bench(), &effective, demand, now);
        if verdict != (Verdict { refusal: None, effect: Effect::Nothing, adopt: false }) {
            return None;
        }
        if ask.is_elsewhere(&session) {
            self.observer.offer(kept.env, kept.id, ask.client());
        }
        let seen = if ask.touch { seen.max(now) } else { seen };
        let ends = expiry::ends(&session, seen, &effective);
        Some(Current { kept, outline, seen, ends })
    }

    /// Every other outcome: load, judge, commit.
    async fn validate_afresh(&self, env: &Env, token: &Opened, ask: &Ask<'_>) -> Result<Validated, Stop> {
        let id = token.session;
        self.decide(id.bucket(), || async {
            // The ledger may have changed while this request waited for its turn.
            let env = self.env(env.record.id)?;
            let now = self.now();
            let policy = self.policy.load();
            let Some(loaded) = self.load_session(env.record.id, id).await? else {
                let refusal = Box::new(Refusal::plain(Code::SessionNotFound, "token"));
                return Ok(Decision::Answer(Validated::Refused { refusal, session: Some(id) }));
            };
            let effective = policy.effective(loaded.session.expires_in, loaded.session.chain.has_refresh());
            let demand = Demand { tags: &ask.tags, groups: &ask.groups, can_deliver: ask.rotate };
            let ground = self.ground(&env, &policy, now);
            let verdict = judge(&loaded.session, loaded.seen, token, ground.bench(), &effective, demand, now);
            if let Some(refusal) = &verdict.refusal
                && matches!(verdict.effect, Effect::Nothing | Effect::Note | Effect::StoreBehind)
            {
                let more = (verdict.effect == Effect::StoreBehind).then_some("store_behind");
                self.behind.note(env.record.id, (&loaded.session, refusal), ask.client(), more, now);
            }
            let user = match verdict.effect {
                Effect::EndStolen | Effect::Settle => {
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
            let stage = presented.change.as_ref().map(|change| {
                let mut stage = Stage::new(id.bucket(), now);
                stage.change(self, &env, &loaded, user.as_ref(), change, seen);
                stage
            });
            let answer = match verdict.refusal {
                Some(refusal) => Validated::Refused { refusal: Box::new(refusal), session: Some(id) },
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
                        self.seen((env.record.id, id), &mark, view.idle(), now).await?;
                    }
                    Validated::Allowed { view: Box::new(view), issued: presented.issued }
                }
            };
            Ok(match stage {
                Some(stage) => Decision::Commit(stage, answer),
                None => Decision::Answer(answer),
            })
        })
        .await
    }

    /// Counts the verdict.
    fn told(&self, answer: Validated) -> Validated {
        self.verdicts.count(match &answer {
            Validated::Current(_) | Validated::Allowed { .. } => None,
            Validated::Refused { refusal, .. } => Some(refusal.code),
        });
        answer
    }
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
