//! One line of history: what happened, to a session or to a whole environment, when, from where, by which rule.

use crate::epoch::{Raised, Scope};
use crate::id::{SessionId, UserId};
use crate::policy::Origin;
use crate::refusal::{Code, Evidence, Refusal};
pub use crate::session::Actor;
use crate::session::{By, Client, End, Session};
use crate::tag::Tag;
use crate::time::{Millis, Span};
use crate::transition::create::NewSession;

/// What happened. The texts are stable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
    /// A request passed, and something about it is worth a line: another network, another browser.
    Noticed,
    /// The environment's rules were replaced.
    PolicyChanged,
    /// What was known of a user was erased.
    UserErased,
    /// The environment's origins were replaced.
    SettingsChanged,
    /// The one-time code of a login was exchanged: the session has reached the page it was for.
    LoginExchanged,
    /// All sessions of the environment, of a user, or with certain tags were ended at once.
    Revoked,
    /// A key behind access tokens got a successor.
    KeysRotated,
}

impl EventKind {
    /// All, in the order of the documentation.
    pub const ALL: [EventKind; 12] = [
        EventKind::Created,
        EventKind::RotatedByAuth,
        EventKind::Updated,
        EventKind::Refused,
        EventKind::Ended,
        EventKind::Noticed,
        EventKind::PolicyChanged,
        EventKind::UserErased,
        EventKind::SettingsChanged,
        EventKind::LoginExchanged,
        EventKind::Revoked,
        EventKind::KeysRotated,
    ];

    /// The stable text.
    pub const fn text(self) -> &'static str {
        match self {
            EventKind::Created => "session.created",
            EventKind::RotatedByAuth => "session.rotated_by_auth",
            EventKind::Updated => "session.updated",
            EventKind::Refused => "session.refused",
            EventKind::Ended => "session.ended",
            EventKind::Noticed => "session.noticed",
            EventKind::PolicyChanged => "policy.changed",
            EventKind::UserErased => "user.erased",
            EventKind::SettingsChanged => "settings.changed",
            EventKind::LoginExchanged => "session.login_exchanged",
            EventKind::Revoked => "sessions.revoked",
            EventKind::KeysRotated => "keys.rotated",
        }
    }

    /// Takes back what [`EventKind::text`] gave.
    pub fn parse(text: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.text() == text)
    }
}

/// An event. It names no credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When it happened; for ends by time, the instant of the end and not of its writing.
    pub at: Millis,
    /// To which session; `None` of what happened to a user or to a whole environment.
    pub session: Option<SessionId>,
    /// To whom; `None` of what happened to a whole environment.
    pub user: Option<UserId>,
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
    /// Who acted in the user's place.
    pub actor: Option<Box<Actor>>,
    /// Of a login that was refused, the tags that it asked for. None of anything else: what has a session has its tags.
    pub tags: Box<[Tag]>,
    /// How often, of refusals that changed nothing; 1 of everything else.
    pub count: u32,
    /// Of ends: no access token of the session lives beyond this instant; `None`: none was ever made.
    pub tokens_until: Option<Millis>,
    /// Of ends: the session's place in the status lists, if it has one.
    pub status_index: Option<u64>,
    /// Whom an end of many at once ended; of anything else `None`.
    pub mass: Option<Box<Mass>>,
}

/// An end of many at once (see [`crate::epoch`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mass {
    /// Whom it ended.
    pub scope: Scope,
    /// The environment's counter after it: it ended what is below.
    pub epoch: u64,
    /// The one session that was kept, if one was.
    pub except: Option<SessionId>,
}

impl Event {
    /// An event without a rule behind it.
    pub fn of(session: &Session, kind: EventKind, at: Millis, by: By, client: Client) -> Event {
        Event {
            session: Some(session.id),
            user: Some(session.user.clone()),
            actor: session.actor.clone(),
            client,
            ..Event::beside_sessions(kind, at, by)
        }
    }

    /// New rules are in force in the environment: which version of them, and what whoever put them in force says of it.
    pub fn policy_changed(at: Millis, by: By, version: u64, note: Option<&str>) -> Event {
        let note = match note {
            None => format!("version {version}"),
            Some(note) => format!("version {version}: {note}"),
        };
        Event { note: Some(note.into()), ..Event::beside_sessions(EventKind::PolicyChanged, at, by) }
    }

    /// Other settings are in force in the environment, and which.
    pub fn settings_changed(at: Millis, by: By, note: &str) -> Event {
        Event { note: Some(note.into()), ..Event::beside_sessions(EventKind::SettingsChanged, at, by) }
    }

    /// A key behind access tokens got a successor: which, from when on, and why.
    pub fn keys_rotated(at: Millis, by: By, note: &str) -> Event {
        Event { note: Some(note.into()), ..Event::beside_sessions(EventKind::KeysRotated, at, by) }
    }

    /// Something that happened to no session in particular.
    pub fn beside_sessions(kind: EventKind, at: Millis, by: By) -> Event {
        Event {
            kind,
            at,
            session: None,
            user: None,
            code: None,
            rule: None,
            origin: None,
            evidence: None,
            note: None,
            client: Client { ip: None, user_agent: None, agent: None },
            by,
            actor: None,
            tags: Box::new([]),
            count: 1,
            tokens_until: None,
            status_index: None,
            mass: None,
        }
    }

    /// Many were ended at once.
    pub fn revoked(raised: &Raised) -> Event {
        let user = match &raised.scope {
            Scope::User(user) => Some(user.clone()),
            Scope::All | Scope::Tags(_) => None,
        };
        let (scope, epoch, except) = (raised.scope.clone(), raised.at, raised.except);
        Event {
            user,
            note: raised.reason.clone(),
            mass: Some(Box::new(Mass { scope, epoch, except })),
            ..Event::beside_sessions(EventKind::Revoked, raised.when, raised.by.clone())
        }
    }

    /// How long refusals that change nothing are counted together: a minute; an hour once the session has ended, because
    /// a forgotten browser tab asks on for days and has nothing new to say.
    pub const fn window(session: &Session) -> Span {
        if session.is_live() { Span::minutes(1) } else { Span::hours(1) }
    }

    /// How long refusals of one user's logins are counted together.
    pub const LOGIN_WINDOW: Span = Span::minutes(1);

    /// A login that was refused.
    pub fn refused_login(login: &NewSession, refusal: &Refusal, at: Millis) -> Event {
        let mut tags = login.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        Event {
            user: Some(login.user.clone()),
            code: Some(refusal.code),
            rule: Some(refusal.rule.into()),
            origin: refusal.origin.clone(),
            evidence: refusal.evidence.clone(),
            client: login.client.clone(),
            actor: login.actor.clone().map(Box::new),
            tags: tags.into(),
            ..Event::beside_sessions(EventKind::Refused, at, login.by.clone())
        }
    }

    /// Whether this is a login that was refused: it is about a user, and about no session.
    pub fn is_refused_login(&self) -> bool {
        self.kind == EventKind::Refused && self.session.is_none() && self.user.is_some()
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

    /// What was noticed of a request that passed.
    pub fn noticed(session: &Session, what: &Refusal, at: Millis, by: By, client: Client) -> Event {
        Event { kind: EventKind::Noticed, ..Event::refused(session, what, at, by, client) }
    }

    /// The end of a session.
    pub fn ended(session: &Session, end: &End, client: Client) -> Event {
        Event {
            code: Some(end.code),
            rule: end.rule.clone(),
            origin: end.origin.clone(),
            evidence: end.evidence.clone(),
            note: end.reason.clone(),
            tokens_until: session.tokens_until,
            status_index: session.status_index,
            ..Event::of(session, EventKind::Ended, end.at, end.by.clone(), client)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_their_texts_are_one_to_one() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.text()), Some(kind));
        }
        assert_eq!(EventKind::parse("session"), None);
    }

    #[test]
    fn a_change_of_policy_is_about_no_session_and_nobody() {
        let event = Event::policy_changed(Millis(5), By::System, 7, Some("back to 3"));
        assert_eq!((event.session, &event.user, event.client.is_empty()), (None, &None, true));
        assert_eq!(event.note.as_deref(), Some("version 7: back to 3"));
        let silent = Event::policy_changed(Millis(5), By::System, 7, None);
        assert_eq!(silent.note.as_deref(), Some("version 7"));
    }
}
