//! A refresh token is exchanged for the next pair of tokens: the way of a validation, on a fresh load, by the same rules and
//! with the same line of history. What the exchange makes is on the disk before the answer, and a repeat is given it again.

use super::access_tokens::AccessToken;
use super::callers::Caller;
use super::validate::{Ask, Validated, unreadable};
use super::view::View;
use super::{App, Stop};
use handstamp_core::caller::Scope;
use handstamp_core::device::challenge::Given;
use handstamp_core::judge::Shown;
use handstamp_core::rotation::Issued;
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::open;
use handstamp_core::transition::Impossible;

/// What a refresh token was exchanged for.
pub struct Refreshed {
    /// The session.
    pub view: Box<View>,
    /// The next pair.
    pub issued: Issued,
    /// The challenge of the next proof, when this request brought one.
    pub challenge: Option<Box<Given>>,
    /// The access token that was ordered.
    pub access: Option<AccessToken>,
}

impl App {
    /// Exchanges a refresh token: `ask.token`. It is activity of the user, and needs nothing of memory: one load, and one
    /// commit where the chain moves on.
    ///
    /// # Errors
    /// `insufficient_scope`, and the codes of verdicts; faults.
    pub async fn refresh(&self, caller: &Caller, ask: Ask<'_>) -> Result<Refreshed, Stop> {
        self.allow(caller, Scope::SessionsWrite).await?;
        if ask.order.is_some() {
            self.allow(caller, Scope::TokensMint).await?;
            self.have_places(caller.env.record.id).await?;
        }
        let outcome = self.exchange(caller, Ask { rotate: true, touch: true, ..ask }).await;
        match &outcome {
            Ok(_) => self.refreshes.count(None),
            Err(Stop::Refused(refused)) => self.refreshes.count(Some(refused.refusal.code)),
            Err(Stop::Fault(_)) => {}
        }
        outcome
    }

    async fn exchange(&self, caller: &Caller, ask: Ask<'_>) -> Result<Refreshed, Stop> {
        let env = &caller.env;
        let token = open(Kind::Refresh, env.record.id, ask.token, &self.keys).map_err(unreadable)?;
        match Box::pin(self.validate_afresh(env, Shown::Token(&token), &ask)).await? {
            Validated::Allowed { view, issued: Some(issued), challenge, draft, good: _ } => {
                let access = match draft {
                    Some(draft) => Some(self.sign(env.record.id, *draft).await?),
                    None => None,
                };
                Ok(Refreshed { view, issued, challenge, access })
            }
            Validated::Refused { refusal, challenge, .. } => {
                Err(Stop::from(*refusal).with_challenge(challenge.map(|given| *given)))
            }
            Validated::Allowed { issued: None, .. } | Validated::Current(_) => {
                Err(Impossible("a refresh token was exchanged for nothing").into())
            }
        }
    }
}
