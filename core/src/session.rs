//! A session: one login of one user on one client.
//!
//! It is live or ended, and ended is terminal: the only function that ends one refuses an ended one, and no function
//! leads back. Its chain of generations belongs to [`crate::rotation`], its end in time to [`crate::expiry`].

use crate::agent::Agent;
use crate::device::Registered;
use crate::id::{KeyId, SessionId, UserId};
use crate::policy::Origin;
use crate::refusal::{Code, Evidence};
use crate::rotation::Chain;
use crate::sealing::Sealed;
use crate::step_up::Auth;
use crate::tag::{Group, Tag};
use crate::time::{Millis, Span};
use std::net::IpAddr;
use std::sync::Arc;

/// What is remembered of one login.
#[derive(Clone)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Sorted, each once.
    pub tags: Box<[HeldTag]>,
    /// Sorted, each once.
    pub groups: Box<[Group]>,
    /// The application's data, sealed.
    pub data: Option<Box<Sealed>>,
    /// When it was made.
    pub created_at: Millis,
    /// The last authentication; absolute time counts from here.
    pub authenticated_at: Millis,
    /// The environment's epoch counter at creation (see [`crate::epoch`]).
    pub born: u64,
    /// Asked for at creation; may only shorten.
    pub expires_in: Option<Span>,
    /// What stood when the session was last extended: loosening a policy never revives.
    pub limits: Limits,
    /// Its tokens.
    pub chain: Chain,
    /// From where it was made.
    pub client: Client,
    /// From where it was last used, when that differs.
    pub last_client: Option<Box<Client>>,
    /// The device it is bound to, from when it got one: nothing takes it off again.
    pub device: Option<Box<Registered>>,
    /// What was said of the last authentication.
    pub auth: Option<Box<Auth>>,
    /// Who acts in the user's place: set at creation, for good.
    pub actor: Option<Box<Actor>>,
    /// From where the user last authenticated, when that differs from `client`: what later requests are compared with.
    pub anchor: Option<Box<Client>>,
    /// No access token of it lives beyond this instant; `None`: none was ever made.
    pub tokens_until: Option<Millis>,
    /// Its place in the environment's status lists, from when it got one: nothing takes it away.
    pub status_index: Option<u64>,
    /// Live or ended.
    pub state: State,
}

/// Who acts in a user's place, and why: somebody of the support, say. Both people stand in every line of history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// The application's name for them: a user of their own.
    pub id: UserId,
    /// Why they do it, in the caller's words.
    pub reason: Box<str>,
}

impl Actor {
    /// What sessions of this kind carry, so that a policy can be hung on it.
    pub const TAG: &str = "kind:impersonation";
    /// How long such a session lasts where no policy says anything of [`Actor::TAG`].
    pub const LIFE: Span = Span::hours(1);
    /// The most bytes of a reason.
    pub const REASON: usize = 500;
}

/// A tag and the environment's epoch counter at the time the session got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldTag {
    /// The tag.
    pub tag: Tag,
    /// See [`crate::epoch`].
    pub since: u64,
}

/// The times that were in force at the last change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the last authentication.
    pub absolute: Span,
    /// From the last activity.
    pub idle: Span,
}

/// Who and what sat at the other end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Client {
    /// Canonical: a v4-mapped address is its v4 address.
    pub ip: Option<IpAddr>,
    /// As sent, at most [`Client::AGENT`] bytes.
    pub user_agent: Option<Arc<str>>,
    /// What was read of it when it came, with what client hints added.
    pub agent: Option<Arc<Agent>>,
}

impl Client {
    /// The most bytes of a user agent that are kept.
    pub const AGENT: usize = 512;
    /// In evidence, where no address is known.
    pub const NO_ADDRESS: &str = "unknown address";

    /// What a caller tells of a client, at first sight: nobody has read the agent yet. An empty agent is none; a long one
    /// is cut.
    pub fn told(ip: Option<IpAddr>, user_agent: Option<&str>) -> Client {
        Client { ip, user_agent: Client::cut(user_agent).map(Into::into), agent: None }
    }

    /// A user agent, cut to what is kept. An empty one is none.
    pub fn cut(user_agent: Option<&str>) -> Option<&str> {
        let agent = user_agent.filter(|agent| !agent.is_empty())?;
        agent.get(..agent.floor_char_boundary(Client::AGENT.min(agent.len())))
    }

    /// Reads an address, in its canonical form. Leading zeros are refused: they mean different things to different
    /// programs.
    pub fn read_ip(text: &str) -> Option<IpAddr> {
        text.parse().ok().map(canonical)
    }

    /// Whether nothing is known.
    pub const fn is_empty(&self) -> bool {
        self.ip.is_none() && self.user_agent.is_none()
    }

    /// For evidence: address and agent in one text.
    pub fn text(&self) -> String {
        let ip = self.ip.map_or_else(|| Client::NO_ADDRESS.to_owned(), |ip| ip.to_string());
        match &self.user_agent {
            Some(agent) => format!("{ip}, {agent}"),
            None => ip,
        }
    }
}

/// Folds a v4-mapped IPv6 address to its v4 address, so that each address has one form.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Live or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Not ended by anybody; time may still have ended it.
    Live,
    /// Terminal.
    Ended(Box<End>),
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// When.
    pub at: Millis,
    /// One of [`Code::ENDINGS`].
    pub code: Code,
    /// Who did it.
    pub by: By,
    /// The rule that ended it, for ends by rule.
    pub rule: Option<Box<str>>,
    /// Where the rule's value came from.
    pub origin: Option<Origin>,
    /// What was compared.
    pub evidence: Option<Evidence>,
    /// The reason the caller gave.
    pub reason: Option<Box<str>>,
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// A rule, or housekeeping.
    System,
    /// A holder of this access key.
    Key(KeyId),
    /// The client itself, by presenting its token.
    Client,
}

impl Session {
    /// Whether nobody has ended it. Whether time has is for [`crate::expiry`].
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// Ends it; an ended one stays as it is. Says whether this call ended it.
    #[must_use]
    pub fn end(&mut self, end: End) -> bool {
        if !self.is_live() {
            return false;
        }
        self.state = State::Ended(Box::new(end));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (text, canonical_text) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:cb00:7107", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(canonical(text.parse().unwrap()).to_string(), canonical_text);
        }
    }
}
