//! What answers say of history: a line of it, and the evidence of a rule.

use super::{ClientBody, Time, by};
use crate::app::read::Line;
use handstamp_core::epoch::Scope;
use handstamp_core::event::Mass;
use handstamp_core::refusal::{Evidence, Refusal, Value};
use handstamp_core::tag::Tag;
use serde::{Serialize, Serializer};

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
    #[schema(value_type = Option<crate::http::openapi::CodeList>)]
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
    /// The tags that a login asked for, when it was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    /// How often, when a refusal that changed nothing was repeated: those of a minute after the first; of an hour when
    /// the session has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// Of ends: until when an access token of the session could live; left out when none was ever made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    tokens_until: Option<Time>,
    /// Of ends: the session's place in the status lists, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_index: Option<u64>,
    /// Whom `sessions.revoked` ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<MassBody<'a>>,
}

/// Whom an end of many at once ended: all with these tags, all of a user, or, where neither is said, everybody.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Revoked)]
pub struct MassBody<'a> {
    /// Every session that carries all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    /// Every session of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    /// The environment's counter after it: it ended what is below.
    epoch: u64,
    /// The one session that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<String>,
}

/// Who acts in a user's place.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Actor)]
pub struct ActorBody<'a> {
    /// The application's name for them.
    pub(in super::super) id: &'a str,
    /// Why they do it.
    pub(in super::super) reason: &'a str,
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
            tags: event.tags.iter().map(Tag::as_str).collect(),
            count: Some(event.count).filter(|count| *count > 1),
            tokens_until: event.tokens_until.map(Time),
            status_index: event.status_index,
            revoked: event.mass.as_deref().map(MassBody::of),
        }
    }
}

impl<'a> MassBody<'a> {
    fn of(mass: &'a Mass) -> MassBody<'a> {
        let (tags, user_id): (&[Tag], _) = match &mass.scope {
            Scope::All => (&[], None),
            Scope::User(user) => (&[], Some(user.as_str())),
            Scope::Tags(tags) => (tags, None),
        };
        let tags = tags.iter().map(Tag::as_str).collect();
        MassBody { tags, user_id, epoch: mass.epoch, except: mass.except.map(|id| id.to_string()) }
    }
}

impl<'a> EvidenceBody<'a> {
    /// Of a refusal, if it has any.
    pub fn of_refusal(refusal: &'a Refusal) -> Option<EvidenceBody<'a>> {
        refusal.evidence.as_ref().map(EvidenceBody::of)
    }
    /// Of evidence.
    pub fn of(evidence: &'a Evidence) -> EvidenceBody<'a> {
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
