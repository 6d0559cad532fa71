//! Clients themselves: whoever presents a session's token without an access key, at the doors for browsers. What they may
//! do, they do to their own session, or to the other sessions of the same user.

use super::callers::Party;
use super::control::Env;
use super::end::{Revoke, Revoked, Target};
use super::nodes::Good;
use super::objections::impersonated;
use super::rates::Tab;
use super::search::{Filter, Found};
use super::validate::{Ask, Validated};
use super::{App, Fault, Stop};
use handstamp_core::csrf::{self, Holder};
use handstamp_core::ending::ending;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::expiry::Ends;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::judge::{Bench, is_in_use};
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::session::{By, Client};
use handstamp_core::step_up::Level;
use handstamp_core::subject::{Subject, Times};
use handstamp_core::time::Millis;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::opaque::open;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A client whose session may pass.
pub struct Visitor {
    /// Where.
    pub env: Arc<Env>,
    /// Its session.
    pub session: SessionId,
    /// Whose that is.
    pub user: UserId,
    /// The session's tags, sorted.
    pub tags: Vec<String>,
    /// The groups it is in, sorted.
    pub groups: Vec<String>,
    /// The application's data: JSON text.
    pub data: Option<Box<str>>,
    /// The session's times.
    pub times: Times,
    /// Its last activity.
    pub seen: Millis,
    /// When time ends it.
    pub ends: Ends,
    /// What the last authentication proves, and how it was done.
    pub auth: Option<(Level, Vec<String>)>,
    /// Who acts in the user's place, and why.
    pub actor: Option<(String, String)>,
    /// The successor of the token, which is to be delivered.
    pub issued: Option<Issued>,
    /// How long this may be told: see [`App::is_good`].
    pub good: Good,
}

/// What becomes of a visit.
pub enum Visited {
    /// It may pass.
    In(Box<Visitor>),
    /// It may not: why, and which session it was when the token was genuine.
    Out(Box<Refusal>, Option<SessionId>),
}

impl Visitor {
    /// Whose CSRF token counts.
    pub fn holder(&self) -> Holder {
        Holder {
            env: self.env.record.id,
            session: self.session,
            authenticated_at: self.times.authenticated_at,
        }
    }

    fn read(
        env: &Arc<Env>,
        session: &impl Subject,
        data: Option<&[u8]>,
        seen: Millis,
        ends: Ends,
    ) -> Option<Visitor> {
        Some(Visitor {
            session: session.id(),
            user: UserId::new(session.user()).ok()?,
            tags: session.tags().map(|(tag, _)| tag.to_owned()).collect(),
            groups: session.groups().map(str::to_owned).collect(),
            data: data.and_then(|data| std::str::from_utf8(data).ok()).map(Into::into),
            times: session.times(),
            seen,
            ends,
            auth: session.level().map(|level| (level, session.methods().map(str::to_owned).collect())),
            actor: session.actor().map(|(id, reason)| (id.to_owned(), reason.to_owned())),
            issued: None,
            good: Good::ALWAYS,
            env: env.clone(),
        })
    }

    /// In the client's own name.
    fn party(&self, client: Client) -> Party {
        Party { env: self.env.clone(), by: By::Client, client }
    }
}

impl App {
    /// The environment of requests that bring no key.
    ///
    /// # Errors
    /// `not_found`: there is none of this name.
    pub fn env_of_visitors(&self, name: &EnvironmentName) -> Result<Arc<Env>, Stop> {
        self.control
            .load()
            .env_named(name)
            .ok_or_else(|| Stop::refuse(Code::NotFound, "there is no such environment"))
    }

    /// The environment of a publishable key, which is known to everybody and proves nothing.
    ///
    /// # Errors
    /// The refusals of keys.
    pub fn env_of_publishable(&self, presented: &str) -> Result<Arc<Env>, Stop> {
        let unknown = || Stop::code(Code::AccessKeyInvalid);
        let parts = Parts::read(Kind::PublishableKey, presented).map_err(|_| {
            if Kind::of(presented) == Some(Kind::AccessKey) {
                return Stop::refuse(
                    Code::AccessKeyInvalid,
                    "an access key was sent as a publishable one: it manages sessions, and does not belong into an \
                     app. Take it for known to others, and replace it",
                );
            }
            unknown()
        })?;
        let control = self.control.load();
        let key = control.key(parts.id).ok_or_else(unknown)?;
        let set = self.keys.set(key.key.key_id).ok_or_else(unknown)?;
        let now = self.now();
        key.key.judge(&parts.verifier(set), now)?;
        key.used.store(now.0, Ordering::Relaxed);
        match key.key.home {
            handstamp_core::caller::Home::Environment(id) => control.env(id).ok_or_else(unknown),
            handstamp_core::caller::Home::Operator => Err(unknown()),
        }
    }

    /// May this client pass? The same judgement as everywhere.
    ///
    /// # Errors
    /// A fault only: every refusal is an answer.
    pub async fn visit(&self, env: &Arc<Env>, ask: Ask<'_>) -> Result<Visited, Stop> {
        let damaged =
            || Stop::Fault(Fault::Store(crate::store::StoreError::Damaged("a session's user".to_owned())));
        let visitor = match self.validate(env, ask).await? {
            Validated::Current(current) => {
                let env = self.env(env.record.id)?;
                let session = current.kept.subject(&current.outline);
                let good = current.good;
                Visitor::read(&env, &session, current.kept.data(), current.seen, current.ends)
                    .map(|visitor| Visitor { good, ..visitor })
            }
            Validated::Allowed { view, issued, good, .. } => {
                let env = self.env(env.record.id)?;
                let (seen, ends) = (view.seen, Ends { ..view.ends });
                let data = view.held.data.as_deref().map(|data| data.get().as_bytes());
                Visitor::read(&env, view.session(), data, seen, ends).map(|visitor| Visitor {
                    issued,
                    good,
                    ..visitor
                })
            }
            Validated::Refused { refusal, session, .. } => return Ok(Visited::Out(refusal, session)),
        };
        visitor.map(|visitor| Visited::In(Box::new(visitor))).ok_or_else(damaged)
    }

    /// Whose CSRF token is to be shown before a request with this token may change anything; `None` where no live session
    /// stands behind the token, so that there is nothing to change, and never on the word of memory alone: it may not know that
    /// the session was active elsewhere. Its session pays for the request, unless the token is one of long ago. `strong`: as the
    /// store has it.
    ///
    /// # Errors
    /// Faults.
    pub async fn holder(
        &self,
        env: &Arc<Env>,
        token: &str,
        tab: &Tab,
        strong: bool,
    ) -> Result<Option<Holder>, Stop> {
        let Ok(opened) = open(Kind::Session, env.record.id, token, &self.keys) else { return Ok(None) };
        let (Some(kept), _) = self.at_hand(env, opened.session, strong).await? else { return Ok(None) };
        let Some(outline) = kept.outline() else { return Ok(None) };
        let session = kept.subject(&outline);
        let env = self.env(env.record.id)?;
        let (seen, policy, now) = (kept.mark.last_seen(), env.policy.of(&session), self.now());
        if ending(&session, seen, &env.ledger, &policy, now).is_some() {
            return if strong { Ok(None) } else { Box::pin(self.holder(&env, token, tab, true)).await };
        }
        let bench = Bench { env: env.record.id, ledger: &env.ledger, keys: &self.keys };
        if is_in_use(&session, &opened, bench, &policy, now) {
            self.spend_once(tab, &env, &session);
        }
        Ok(Some(Holder::of(env.record.id, &session)))
    }

    /// Judges a CSRF token.
    ///
    /// # Errors
    /// `csrf_token_invalid`.
    pub fn judge_csrf(&self, holder: Holder, presented: Option<&str>) -> Result<(), Refusal> {
        csrf::judge(holder, presented, &self.keys)
    }

    /// A CSRF token: `known`, when it is a good one, else a fresh one. And whether it is fresh.
    ///
    /// # Errors
    /// Faults.
    pub fn csrf_token(&self, holder: Holder, known: Option<&str>) -> Result<(String, bool), Stop> {
        match known {
            Some(known) if csrf::is_good(holder, known, &self.keys) => Ok((known.to_owned(), false)),
            _ => Ok((csrf::make(holder, self.draw_bytes()?, &self.keys), true)),
        }
    }

    /// The CSRF token that goes beside a new token of the session.
    pub fn csrf_token_beside(&self, holder: Holder, token: &str) -> String {
        csrf::beside(holder, token, &self.keys)
    }

    /// Whether the session's cookie is to be sent again: at most once a minute.
    pub fn cookie_is_due(&self, visitor: &Visitor) -> bool {
        self.once_a_minute(visitor.env.record.id, visitor.session)
    }

    /// The client logs out, with a token of whatever generation. Whether this call ended it.
    ///
    /// # Errors
    /// Faults.
    pub async fn log_out_visitor(&self, env: &Arc<Env>, token: &str, client: &Client) -> Result<bool, Stop> {
        let Ok(opened) = open(Kind::Session, env.record.id, token, &self.keys) else { return Ok(false) };
        let ended = self.end_one(env, opened.session, None, &By::Client, client, None).await?;
        Ok(ended.unwrap_or(false))
    }

    /// The user's live sessions, newest first.
    ///
    /// # Errors
    /// A cursor of another search; faults.
    pub async fn own_sessions(
        &self,
        visitor: &Visitor,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Found, Stop> {
        self.search_in(&visitor.env, &mine(visitor), limit, cursor).await
    }

    /// Ends one of the user's sessions. Whether this call did.
    ///
    /// # Errors
    /// `not_found`, also of another user's; `impersonation_forbidden`; faults.
    pub async fn end_own(&self, visitor: &Visitor, id: SessionId, client: &Client) -> Result<bool, Stop> {
        if id != visitor.session {
            self.for_themselves(visitor, client).await?;
        }
        let ended = self.end_one(&visitor.env, id, Some(&visitor.user), &By::Client, client, None).await?;
        ended.ok_or_else(|| super::read::no_session(id))
    }

    /// Ends all of the user's sessions but this one. How many.
    ///
    /// # Errors
    /// `impersonation_forbidden`; faults.
    pub async fn end_others(&self, visitor: &Visitor, client: Client) -> Result<u64, Stop> {
        self.for_themselves(visitor, &client).await?;
        let (filter, party) = (mine(visitor), visitor.party(client));
        let ask =
            Revoke { target: Target::Filter(filter.clone()), except: None, dry_run: false, reason: None };
        match self.end_of_user(&party, &visitor.user, &filter, Some(visitor.session), &ask).await? {
            Revoked::Ended { count, .. } => Ok(count),
            Revoked::Raised { .. } => Ok(0),
        }
    }

    /// Who acts in a user's place does not touch the user's other sessions (design, section 4; ASVS 7.4.5).
    async fn for_themselves(&self, visitor: &Visitor, client: &Client) -> Result<(), Stop> {
        if visitor.actor.is_none() {
            return Ok(());
        }
        let party = visitor.party(client.clone());
        self.noted(&party, visitor.session, client.clone(), Err(impersonated())).await
    }
}

fn mine(visitor: &Visitor) -> Filter {
    Filter { user: Some(visitor.user.clone()), ..Filter::default() }
}
