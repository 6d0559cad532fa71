//! A line of history as bytes. Session and time are kept beside the body by the store.

use super::bytes::{Reader, Writer};
use super::control::{read_whom, write_whom};
use super::session::{
    read_by, read_client, read_evidence, read_origin, write_by, write_client, write_evidence, write_origin,
};
use super::{Unreadable, damaged, kind, session_id};
use crate::store::{StoreError, StoredEvent};
use handstamp_core::event::{Actor, Event, EventKind, Mass};
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;

/// 2: with a count at the end. 3: the user may be missing; an actor at the end. 4: tags after it. 5: after them what ends
/// say of access tokens, and whom an end of many ended.
const FORMAT: u8 = 5;

const ENDED: u8 = 4;
const REVOKED: u8 = 10;

/// Without session and time.
pub fn write(e: &Event) -> Vec<u8> {
    let mut w = Writer::new(FORMAT);
    w.byte(match e.kind {
        EventKind::Created => 0,
        EventKind::RotatedByAuth => 1,
        EventKind::Updated => 2,
        EventKind::Refused => 3,
        EventKind::Ended => ENDED,
        EventKind::PolicyChanged => 5,
        EventKind::UserErased => 6,
        EventKind::Noticed => 7,
        EventKind::SettingsChanged => 8,
        EventKind::LoginExchanged => 9,
        EventKind::Revoked => REVOKED,
        EventKind::KeysRotated => 11,
    });
    w.option(e.user.as_ref(), |w, user| w.text(user.as_str()));
    w.option(e.code, |w, code| w.text(code.text()));
    w.option(e.rule.as_deref(), Writer::text);
    w.option(e.origin.as_ref(), write_origin);
    w.option(e.evidence.as_ref(), write_evidence);
    w.option(e.note.as_deref(), Writer::text);
    write_client(&mut w, &e.client);
    write_by(&mut w, &e.by);
    w.number(u64::from(e.count));
    w.option(e.actor.as_deref(), |w, actor| {
        w.text(actor.id.as_str());
        w.text(&actor.reason);
    });
    w.number(u64::try_from(e.tags.len()).unwrap_or(u64::MAX));
    e.tags.iter().for_each(|tag| w.text(tag.as_str()));
    w.option(e.tokens_until, |w, until| w.signed(until.0));
    w.option(e.status_index, Writer::number);
    w.option(e.mass.as_deref(), |w, mass| {
        write_whom(w, &mass.scope);
        w.number(mass.epoch);
        w.option(mass.except, |w, id| w.fixed(&id.0));
    });
    w.finish()
}

/// Whether a line tells of an end, of one or of many: all that some readers look for among many lines.
pub fn is_end(stored: &StoredEvent) -> bool {
    matches!(stored.body.get(1), Some(&(ENDED | REVOKED)))
}

/// Reads a stored event.
///
/// # Errors
/// [`StoreError::Damaged`], naming what it is about.
pub fn read(stored: &StoredEvent) -> Result<Event, StoreError> {
    let session = session_id(&stored.subject);
    if session.is_none() && stored.subject.space.kind != kind::HISTORY {
        return Err(damaged(&stored.subject));
    }
    parse(session, stored.at, &stored.body).map_err(|_| damaged(&stored.subject))
}

fn parse(session: Option<SessionId>, at: Millis, body: &[u8]) -> Result<Event, Unreadable> {
    let mut r = Reader::new(body, &[1, 2, 3, 4, FORMAT])?;
    let user = |r: &mut Reader<'_>| UserId::new(r.text()?).map_err(|_| Unreadable);
    let kind = match r.byte()? {
        0 => EventKind::Created,
        1 => EventKind::RotatedByAuth,
        2 => EventKind::Updated,
        3 => EventKind::Refused,
        ENDED => EventKind::Ended,
        5 => EventKind::PolicyChanged,
        6 => EventKind::UserErased,
        7 => EventKind::Noticed,
        8 => EventKind::SettingsChanged,
        9 => EventKind::LoginExchanged,
        REVOKED => EventKind::Revoked,
        11 => EventKind::KeysRotated,
        _ => return Err(Unreadable),
    };
    let mut event = Event {
        kind,
        at,
        session,
        user: match r.format {
            1 | 2 => Some(user(&mut r)?),
            _ => r.option(user)?,
        },
        code: r.option(|r| Code::parse(r.text()?).ok_or(Unreadable))?,
        rule: r.option(|r| r.text().map(Into::into))?,
        origin: r.option(read_origin)?,
        evidence: r.option(read_evidence)?,
        note: r.option(|r| r.text().map(Into::into))?,
        client: read_client(&mut r)?,
        by: read_by(&mut r)?,
        count: match r.format {
            1 => 1,
            _ => u32::try_from(r.number()?).map_err(|_| Unreadable)?,
        },
        actor: match r.format {
            1 | 2 => None,
            _ => r.option(|r| Ok(Box::new(Actor { id: user(r)?, reason: r.text()?.into() })))?,
        },
        tags: match r.format {
            1..=3 => Box::default(),
            _ => {
                let count = r.number()?;
                if count > u64::try_from(Tag::MOST + 1).unwrap_or(u64::MAX) {
                    return Err(Unreadable);
                }
                (0..count).map(|_| Tag::parse(r.text()?).map_err(|_| Unreadable)).collect::<Result<_, _>>()?
            }
        },
        tokens_until: None,
        status_index: None,
        mass: None,
    };
    if r.format == FORMAT {
        event.tokens_until = r.option(|r| r.signed().map(Millis))?;
        event.status_index = r.option(Reader::number)?;
        event.mass = r.option(|r| {
            let (scope, epoch) = (read_whom(r)?, r.number()?);
            Ok(Box::new(Mass { scope, epoch, except: r.option(|r| r.fixed().map(SessionId))? }))
        })?;
    }
    r.end()?;
    Ok(event)
}
