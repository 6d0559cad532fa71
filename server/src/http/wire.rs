//! What answers look like. Domain types know nothing of JSON: the wire owns its shapes, and no listing of them holds a
//! credential.

use crate::app::cache::Held;
use crate::app::read::Line;
use crate::app::view::View;
use handstamp_core::device::challenge::Given;
use handstamp_core::refusal::{Evidence, Refusal, Value, detail};
use handstamp_core::session::{By, Client, End, HeldTag};
use handstamp_core::tag::Group;
use handstamp_core::time::Millis;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::net::IpAddr;

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
    /// Since when a successor is out that nobody has presented.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    rotation_pending_since: Option<Time>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndBody<'a>>,
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

/// A line of history.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub struct EventBody<'a> {
    /// Rises in the order of commits.
    id: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// What happened.
    #[serde(rename = "type")]
    kind: &'static str,
    /// To which session; left out of what happened to a user or to the whole environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// To whom; left out of what happened to the whole environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::openapi::CodeList>)]
    code: Option<&'static str>,
    /// The rule that spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    /// Where the rule's value came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// What was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceBody<'a>>,
    /// What was changed, or the reason that the caller gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    /// From where.
    client: ClientBody<'a>,
    /// `system`, `client`, or the id of an access key.
    by: String,
    /// Who acted in the user's place, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<ActorBody<'a>>,
    /// How often, when a refusal that changed nothing was repeated: those of a minute after the first; of an hour when
    /// the session has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

/// Who acts in a user's place.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Actor)]
pub struct ActorBody<'a> {
    /// The application's name for them.
    id: &'a str,
    /// Why they do it.
    reason: &'a str,
}

/// What a rule compared. Durations are seconds.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = Evidence)]
pub enum EvidenceBody<'a> {
    /// A limit.
    Limit {
        /// What the rule allows.
        #[schema(value_type = serde_json::Value)]
        allowed: ValueBody<'a>,
        /// What was seen.
        #[schema(value_type = serde_json::Value)]
        seen: ValueBody<'a>,
    },
    /// A change.
    Change {
        /// What was known.
        #[schema(value_type = serde_json::Value)]
        before: ValueBody<'a>,
        /// What came.
        #[schema(value_type = serde_json::Value)]
        after: ValueBody<'a>,
    },
}

/// One value of evidence.
pub struct ValueBody<'a>(&'a Value);

impl Serialize for ValueBody<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Span(span) if span.0 % 1_000 == 0 => s.serialize_i64(span.as_secs()),
            Value::Span(span) => {
                let (seconds, ms) = (span.as_secs(), span.0.rem_euclid(1_000));
                serde_json::from_str::<serde_json::Number>(&format!("{seconds}.{ms:03}")).ok().serialize(s)
            }
            Value::Time(at) => Time(*at).serialize(s),
            Value::Number(n) => s.serialize_u64(*n),
            Value::Text(text) => s.serialize_str(text),
            Value::Texts(texts) => s.collect_seq(texts.iter().map(|t| &**t)),
        }
    }
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
            device: session
                .device
                .as_deref()
                .map(|device| BoundBody { id: device.id.to_string(), registered_at: Time(device.at) }),
            generation: session.chain.generation,
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
        ClientBody { ip: client.ip, user_agent: client.user_agent.as_deref() }
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

impl<'a> EventBody<'a> {
    /// A line of history.
    pub fn of(line: &'a Line) -> EventBody<'a> {
        let event = &line.event;
        EventBody {
            id: line.position.to_string(),
            at: Time(event.at),
            kind: event.kind.text(),
            session_id: event.session.map(|id| id.to_string()),
            user_id: event.user.as_ref().map(|user| user.as_str()),
            code: event.code.map(handstamp_core::refusal::Code::text),
            rule: event.rule.as_deref(),
            origin: event.origin.as_ref().map(handstamp_core::policy::Origin::text),
            evidence: event.evidence.as_ref().map(EvidenceBody::of),
            note: event.note.as_deref(),
            client: ClientBody::of(&event.client),
            by: by(&event.by),
            actor: event.actor.as_deref().map(|a| ActorBody { id: a.id.as_str(), reason: &a.reason }),
            count: Some(event.count).filter(|count| *count > 1),
        }
    }
}

impl<'a> EvidenceBody<'a> {
    /// Of a refusal, if it has any.
    pub fn of_refusal(refusal: &'a Refusal) -> Option<EvidenceBody<'a>> {
        refusal.evidence.as_ref().map(EvidenceBody::of)
    }
    fn of(evidence: &'a Evidence) -> EvidenceBody<'a> {
        match evidence {
            Evidence::Limit { allowed, seen } => {
                EvidenceBody::Limit { allowed: ValueBody(allowed), seen: ValueBody(seen) }
            }
            Evidence::Change { before, after } => {
                EvidenceBody::Change { before: ValueBody(before), after: ValueBody(after) }
            }
        }
    }
}

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
