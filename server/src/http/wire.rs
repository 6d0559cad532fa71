//! What answers look like. Domain types know nothing of JSON: the wire owns its shapes, and no listing of them holds a
//! credential.

use crate::app::cache::Held;
use crate::app::view::View;
use handstamp_core::agent::Agent;
use handstamp_core::device::challenge::Given;
use handstamp_core::refusal::detail;
use handstamp_core::session::{By, Client, End, HeldTag};
use handstamp_core::tag::Group;
use handstamp_core::time::Millis;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::net::IpAddr;

pub mod event;

pub use event::{ActorBody, EventBody, EvidenceBody};

/// An instant: RFC 3339, UTC, milliseconds.
#[derive(Clone, Copy)]
pub struct Time(pub Millis);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(std::str::from_utf8(&self.0.rfc3339()).unwrap_or_default())
    }
}

/// A page of a list.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Page)]
pub struct PageBody<T> {
    /// The items of this page. It may have fewer than asked for and still not be the last.
    pub(super) items: Vec<T>,
    /// To be sent as `cursor` for the next page; `null` on the last.
    pub(super) next_cursor: Option<String>,
}

/// A session.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
pub struct SessionBody<'a> {
    /// `ses_...`: no secret, never reused.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    id: &'a handstamp_core::id::SessionId,
    /// The application's name for the user.
    user_id: &'a str,
    /// `name:value`.
    #[serde(serialize_with = "tags")]
    #[schema(value_type = Vec<String>)]
    tags: &'a [HeldTag],
    /// The application's own data.
    #[schema(value_type = serde_json::Value)]
    data: Option<&'a RawValue>,
    /// Names of groups.
    #[serde(serialize_with = "groups")]
    #[schema(value_type = Vec<String>)]
    access_groups: &'a [Group],
    /// `live` or `ended`.
    state: &'static str,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// The last authentication.
    #[schema(value_type = String, format = DateTime)]
    authenticated_at: Time,
    /// The last activity.
    #[schema(value_type = String, format = DateTime)]
    last_active_at: Time,
    /// The earliest end that stands now.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// Counted from the last authentication.
    #[schema(value_type = String, format = DateTime)]
    absolute_expires_at: Time,
    /// Counted from the last activity.
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: Time,
    /// How the user authenticated, when somebody said.
    auth: Option<AuthBody<'a>>,
    /// Who acts in the user's place.
    actor: Option<ActorBody<'a>>,
    /// From where it was made.
    client: ClientBody<'a>,
    /// From where it was last used, when that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_client: Option<ClientBody<'a>>,
    /// The device it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<BoundBody>,
    /// The place of its newest token in the chain.
    generation: u32,
    /// True where its client has a refresh token: it rotates by that alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_refresh_token: Option<bool>,
    /// Since when a successor is out that nobody has presented.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    rotation_pending_since: Option<Time>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndBody<'a>>,
}

/// An authentication.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Auth)]
pub struct AuthBody<'a> {
    /// How.
    methods: Vec<&'a str>,
    /// How much it proves: 1 to 3.
    level: u8,
    /// When it was.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
}

/// The device that a session is bound to.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionDevice)]
pub struct BoundBody {
    /// The SHA-256 thumbprint of its public key (RFC 7638).
    id: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    registered_at: Time,
}

/// A challenge: what a device's proof answers, once, within five minutes.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[schema(as = DeviceChallenge)]
pub struct ChallengeBody {
    /// `dch_...`: the `jti` of the proof.
    challenge: Box<str>,
    /// Now, by the server's clock: a client whose clock is wrong can set its `iat` by it.
    #[schema(value_type = String, format = DateTime)]
    issued_at: Time,
    /// From then on it is stale.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
}

/// Who sat at the other end.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Client)]
pub struct ClientBody<'a> {
    /// Its address.
    #[schema(value_type = Option<String>)]
    ip: Option<IpAddr>,
    /// Its user agent, as sent.
    user_agent: Option<&'a str>,
    /// The family of its browser, as the uap-core project calls it, such as `Firefox` or `Mobile Safari`.
    browser: Option<&'a str>,
    /// The family of its system, such as `Windows` or `Mac OS X`.
    os: Option<&'a str>,
    /// `desktop`, `mobile`, `tablet`, `tv`, `bot` or `other`.
    device_type: Option<&'static str>,
    /// For a list of one's own devices: `Firefox 128 on Windows`.
    display_name: Option<String>,
}

/// How a session ended.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = End)]
pub struct EndBody<'a> {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// Why.
    #[schema(value_type = super::openapi::CodeList)]
    code: &'static str,
    /// The same in a sentence, with numbers and origin.
    detail: String,
    /// `system`, `client`, or the id of an access key.
    by: String,
    /// The reason that the caller gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> SessionBody<'a> {
    /// A session as it stands at an instant.
    pub fn of(view: &'a View) -> SessionBody<'a> {
        let held: &Held = &view.held;
        let session = &held.session;
        SessionBody {
            id: &session.id,
            user_id: session.user.as_str(),
            tags: &session.tags,
            data: held.data.as_deref(),
            access_groups: &session.groups,
            state: if view.ended.is_some() { "ended" } else { "live" },
            created_at: Time(session.created_at),
            authenticated_at: Time(session.authenticated_at),
            last_active_at: Time(view.seen),
            expires_at: Time(view.ended.as_ref().map_or(view.ends.earliest(), |end| end.at)),
            absolute_expires_at: Time(view.ends.absolute),
            idle_expires_at: Time(view.ends.idle),
            client: ClientBody::of(&session.client),
            last_client: session.last_client.as_deref().map(ClientBody::of),
            auth: session.auth.as_deref().map(|auth| AuthBody {
                methods: auth.methods.iter().map(|method| &**method).collect(),
                level: auth.level.get(),
                at: Time(session.authenticated_at),
            }),
            actor: session
                .actor
                .as_deref()
                .map(|actor| ActorBody { id: actor.id.as_str(), reason: &actor.reason }),
            device: session
                .device
                .as_deref()
                .map(|device| BoundBody { id: device.id.to_string(), registered_at: Time(device.at) }),
            generation: session.chain.generation,
            has_refresh_token: session.chain.has_refresh().then_some(true),
            rotation_pending_since: session.chain.pending_since().map(Time),
            ended: view.ended.as_deref().map(EndBody::of),
        }
    }
}

impl From<Given> for ChallengeBody {
    fn from(given: Given) -> ChallengeBody {
        ChallengeBody { challenge: given.text, issued_at: Time(given.at), expires_at: Time(given.until) }
    }
}

impl<'a> ClientBody<'a> {
    /// Address and agent.
    pub(super) fn of(client: &'a Client) -> ClientBody<'a> {
        let agent = client.agent.as_deref();
        ClientBody {
            ip: client.ip,
            user_agent: client.user_agent.as_deref(),
            browser: agent.and_then(|agent| agent.browser.as_deref()),
            os: agent.and_then(|agent| agent.os.as_deref()),
            device_type: agent.map(|agent| agent.device.text()),
            display_name: agent.map(Agent::display_name),
        }
    }
}

impl<'a> EndBody<'a> {
    fn of(end: &'a End) -> EndBody<'a> {
        let rule = end.rule.as_deref().unwrap_or("ended");
        EndBody {
            at: Time(end.at),
            code: end.code.text(),
            detail: detail(end.code, rule, end.origin.as_ref(), end.evidence.as_ref()),
            by: by(&end.by),
            reason: end.reason.as_deref(),
        }
    }
}

/// `system`, `client`, or the id of an access key.
pub(super) fn by(by: &By) -> String {
    match by {
        By::System => "system".to_owned(),
        By::Client => "client".to_owned(),
        By::Key(id) => id.to_string(),
    }
}

fn text<T: std::fmt::Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}

fn tags<S: Serializer>(tags: &&[HeldTag], s: S) -> Result<S::Ok, S::Error> {
    let mut list = s.serialize_seq(Some(tags.len()))?;
    tags.iter().try_for_each(|held| list.serialize_element(held.tag.as_str()))?;
    list.end()
}

fn groups<S: Serializer>(groups: &&[Group], s: S) -> Result<S::Ok, S::Error> {
    let mut list = s.serialize_seq(Some(groups.len()))?;
    groups.iter().try_for_each(|group| list.serialize_element(group.as_str()))?;
    list.end()
}
