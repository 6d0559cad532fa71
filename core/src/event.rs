//! One line of history: what happened to a session, when, from where, by which rule.

use crate::id::{SessionId, UserId};
use crate::policy::Origin;
use crate::refusal::{Code, Evidence, Refusal};
use crate::session::{By, Client, End, Session};
use crate::time::{Millis, Span};

/// What happened. The texts are stable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventKind {
    /// A session began.
    Created,
    /// The user authenticated again, which rotated the credentials.
    RotatedByAuth,
    /// Tags, data, groups or times were changed.
    Updated,
    /// A request was refused in a way that history should know.
    Refused,
    /// A session ended.
    Ended,
}

impl EventKind {
    /// All, in the order of the documentation.
    pub const ALL: [EventKind; 5] = [
        EventKind::Created,
        EventKind::RotatedByAuth,
        EventKind::Updated,
        EventKind::Refused,
        EventKind::Ended,
    ];

    /// The stable text.
    pub const fn text(self) -> &'static str {
        match self {
            EventKind::Created => "session.created",
            EventKind::RotatedByAuth => "session.rotated_by_auth",
            EventKind::Updated => "session.updated",
            EventKind::Refused => "session.refused",
            EventKind::Ended => "session.ended",
        }
    }
}

/// An event. It names no credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When it happened; for ends by time, the instant of the end and not of its writing.
    pub at: Millis,
    /// To which session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Why, for refusals and ends.
    pub code: Option<Code>,
    /// The rule that spoke.
    pub rule: Option<Box<str>>,
    /// Where the rule's value came from.
    pub origin: Option<Origin>,
    /// What was compared.
    pub evidence: Option<Evidence>,
    /// The reason the caller gave, or what was changed.
    pub note: Option<Box<str>>,
    /// From where.
    pub client: Client,
    /// Who did it.
    pub by: By,
    /// How often, of refusals that changed nothing; 1 of everything else.
    pub count: u32,
}

impl Event {
    /// An event without a rule behind it.
    pub fn of(session: &Session, kind: EventKind, at: Millis, by: By, client: Client) -> Event {
        Event {
            kind,
            at,
            session: session.id,
            user: session.user.clone(),
            code: None,
            rule: None,
            origin: None,
            evidence: None,
            note: None,
            client,
            by,
            count: 1,
        }
    }

    /// How long refusals that change nothing are counted together: a minute; an hour once the session has ended, because
    /// a forgotten browser tab asks on for days and has nothing new to say.
    pub const fn window(session: &Session) -> Span {
        if session.is_live() { Span::minutes(1) } else { Span::hours(1) }
    }

    /// A refusal worth a line.
    pub fn refused(session: &Session, refusal: &Refusal, at: Millis, by: By, client: Client) -> Event {
        Event {
            code: Some(refusal.code),
            rule: Some(refusal.rule.into()),
            origin: refusal.origin.clone(),
            evidence: refusal.evidence.clone(),
            ..Event::of(session, EventKind::Refused, at, by, client)
        }
    }

    /// The end of a session.
    pub fn ended(session: &Session, end: &End, client: Client) -> Event {
        Event {
            code: Some(end.code),
            rule: end.rule.clone(),
            origin: end.origin.clone(),
            evidence: end.evidence.clone(),
            note: end.reason.clone(),
            ..Event::of(session, EventKind::Ended, end.at, end.by.clone(), client)
        }
    }
}
