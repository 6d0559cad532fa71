//! What a judgement reads of a session, in whatever form somebody keeps it.
//!
//! The record itself is one form. A cache keeps another, much smaller one, and is judged in place: the rules are the
//! same text for both, so they cannot tell different stories.

use crate::agent::Agent;
use crate::device::key::DeviceId;
use crate::id::SessionId;
use crate::rotation::Chain;
use crate::session::{Client, End, Limits, Session, State};
use crate::step_up::Level;
use crate::tag::{Group, Tag};
use crate::time::{Millis, Span};
use std::net::IpAddr;

/// A session, as far as rules look at it.
pub trait Subject {
    /// Its name.
    fn id(&self) -> SessionId;
    /// Whose it is.
    fn user(&self) -> &str;
    /// Each tag as `name:value`, and the epoch counter at the time the session got it; sorted, each once.
    fn tags(&self) -> impl Iterator<Item = (&str, u64)>;
    /// The groups it is in; sorted, each once.
    fn groups(&self) -> impl Iterator<Item = &str>;
    /// Its times.
    fn times(&self) -> Times;
    /// Its tokens.
    fn chain(&self) -> &Chain;
    /// From where it was made.
    fn client(&self) -> Endpoint<'_>;
    /// From where it was last used, when that differs.
    fn last_client(&self) -> Option<Endpoint<'_>>;
    /// The device it is bound to, and since when.
    fn device(&self) -> Option<(DeviceId, Millis)>;
    /// From where the user last authenticated.
    fn anchor(&self) -> Endpoint<'_>;
    /// What the last authentication proves; `None` when nobody said.
    fn level(&self) -> Option<Level>;
    /// How the user authenticated, when somebody said.
    fn methods(&self) -> impl Iterator<Item = &str>;
    /// Who acts in the user's place, and why.
    fn actor(&self) -> Option<(&str, &str)>;
    /// How it ended, if somebody ended it. Whether time has is for [`crate::expiry`].
    fn end(&self) -> Option<&End>;
    /// No access token of it lives beyond this instant; `None`: none was ever made.
    fn tokens_until(&self) -> Option<Millis>;
    /// Its place in the status lists, if it has one.
    fn status_index(&self) -> Option<u64>;

    /// Whether it carries the tag.
    fn has_tag(&self, tag: &Tag) -> bool {
        self.tags().any(|(held, _)| held == tag.as_str())
    }
    /// Whether it is in the group.
    fn in_group(&self, group: &Group) -> bool {
        self.groups().any(|held| held == group.as_str())
    }
}

/// The times of a session, each as in [`Session`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// When it was made.
    pub created_at: Millis,
    /// The last authentication.
    pub authenticated_at: Millis,
    /// The epoch counter at creation.
    pub born: u64,
    /// Asked for at creation; may only shorten.
    pub expires_in: Option<Span>,
    /// What stood when it was last extended.
    pub limits: Limits,
}

/// Who and what sat at the other end, as in [`Client`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Endpoint<'a> {
    /// The address.
    pub ip: Option<IpAddr>,
    /// The user agent.
    pub user_agent: Option<&'a str>,
    /// What was read of it.
    pub agent: Option<Agent<&'a str>>,
}

impl<'a> From<&'a Client> for Endpoint<'a> {
    fn from(client: &'a Client) -> Endpoint<'a> {
        Endpoint {
            ip: client.ip,
            user_agent: client.user_agent.as_deref(),
            agent: client.agent.as_deref().map(Agent::view),
        }
    }
}

impl Subject for Session {
    fn id(&self) -> SessionId {
        self.id
    }
    fn user(&self) -> &str {
        self.user.as_str()
    }
    fn tags(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tags.iter().map(|held| (held.tag.as_str(), held.since))
    }
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.as_str())
    }
    fn times(&self) -> Times {
        Times {
            created_at: self.created_at,
            authenticated_at: self.authenticated_at,
            born: self.born,
            expires_in: self.expires_in,
            limits: self.limits,
        }
    }
    fn chain(&self) -> &Chain {
        &self.chain
    }
    fn client(&self) -> Endpoint<'_> {
        Endpoint::from(&self.client)
    }
    fn last_client(&self) -> Option<Endpoint<'_>> {
        self.last_client.as_deref().map(Endpoint::from)
    }
    fn device(&self) -> Option<(DeviceId, Millis)> {
        self.device.as_deref().map(|device| (device.id, device.at))
    }
    fn anchor(&self) -> Endpoint<'_> {
        self.anchor.as_deref().map_or_else(|| Endpoint::from(&self.client), Endpoint::from)
    }
    fn level(&self) -> Option<Level> {
        self.auth.as_deref().map(|auth| auth.level)
    }
    fn methods(&self) -> impl Iterator<Item = &str> {
        self.auth.iter().flat_map(|auth| auth.methods.iter().map(|method| &**method))
    }
    fn actor(&self) -> Option<(&str, &str)> {
        self.actor.as_deref().map(|actor| (actor.id.as_str(), &*actor.reason))
    }
    fn end(&self) -> Option<&End> {
        match &self.state {
            State::Live => None,
            State::Ended(end) => Some(end),
        }
    }
    fn tokens_until(&self) -> Option<Millis> {
        self.tokens_until
    }
    fn status_index(&self) -> Option<u64> {
        self.status_index
    }
}
