//! Whom an end of many spares: one session, live and the user's own, that the caller names.

use super::callers::Caller;
use super::control::Env;
use super::end::{Revoke, Target};
use super::objections::impersonated;
use super::records::{Decision, Stage};
use super::search::{Filter, Which};
use super::{App, Stop};
use handstamp_core::facet;
use handstamp_core::id::SessionId;
use handstamp_core::refusal::Code;
use handstamp_core::session::{Client, Session};
use handstamp_core::subject::Subject;
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::open;
use handstamp_core::transition::update::lift;

/// A session to keep, by its id or its token: a live one, in which nobody acts in the user's place.
pub enum Except {
    /// One of those that would end.
    Among(String),
    /// Any of the user whose sessions end. Where it lacks what else the filter asks for, it would not have ended anyway, and
    /// the others go: who ends "all my others of that kind" need not be of that kind.
    OfUser(String),
}

impl App {
    /// The session to keep.
    pub(super) async fn spared(
        &self,
        caller: &Caller,
        ask: &Revoke,
        except: &Except,
    ) -> Result<SessionId, Stop> {
        let (Except::Among(text) | Except::OfUser(text)) = except;
        let invalid = || Stop::code(Code::ExceptInvalid);
        let env = &caller.env;
        let id = match SessionId::parse(text) {
            Some(id) => id,
            None => open(Kind::Session, env.record.id, text, &self.keys).map_err(|_| invalid())?.session,
        };
        let loaded = self.load_session(env.record.id, id).await?.ok_or_else(invalid)?;
        let env = &self.env(env.record.id)?;
        if loaded.session.actor.is_some() {
            return self.noted(&caller.party(), id, Client::default(), Err(impersonated())).await;
        }
        let live = self.ended(env, &loaded.session, loaded.seen, self.now()).is_none();
        let fits = match (&ask.target, except) {
            (Target::Token(_), _) => false,
            (Target::Everybody, _) => true,
            (Target::Filter(filter), Except::Among(_)) => filter.fits(&loaded.session),
            (Target::Filter(filter), Except::OfUser(_)) => filter.user.as_ref() == Some(&loaded.session.user),
        };
        if live && fits { Ok(id) } else { Err(invalid()) }
    }

    /// Lifts a session over an epoch that is about to be raised to `at`.
    pub(super) async fn lift(&self, env: &Env, id: SessionId, at: u64) -> Result<(), Stop> {
        self.decide(id.bucket(), || async {
            let loaded =
                self.load_session(env.record.id, id).await?.ok_or_else(|| Stop::code(Code::ExceptInvalid))?;
            let now = self.now();
            let living = self.ground(env, now).living(&loaded.session, loaded.seen);
            let change = lift(living.map_err(|_| Stop::code(Code::ExceptInvalid))?, at);
            let mut stage = Stage::new(id.bucket(), now);
            stage.change(self, env, &loaded, None, &change, loaded.seen);
            Ok(Decision::Commit(stage, ()))
        })
        .await
    }
}

impl Filter {
    /// Whether a live session is among those that the filter names.
    pub(super) fn fits(&self, session: &Session) -> bool {
        let addresses = [session.client.ip, session.last_client.as_ref().and_then(|c| c.ip)];
        let in_network = |(ip, prefix)| {
            facet::network(ip, prefix).is_some_and(|(low, high)| {
                addresses.iter().flatten().any(|ip| (low..=high).contains(&facet::address(*ip)))
            })
        };
        self.which != Which::Ended
            && self.code.is_none()
            && self.user.as_ref().is_none_or(|user| *user == session.user)
            && self.tags.iter().all(|tag| session.has_tag(tag))
            && self.network.is_none_or(in_network)
            && self.browser.as_ref().is_none_or(|name| facet::browsers(session).any(|known| known == *name))
            && self.os.as_ref().is_none_or(|name| facet::systems(session).any(|known| known == *name))
            && self.device.is_none_or(|id| session.device.as_ref().is_some_and(|device| device.id == id))
            && self.created_after.is_none_or(|at| session.id.made_at() >= at)
            && self.created_before.is_none_or(|at| session.id.made_at() < at)
    }
}
