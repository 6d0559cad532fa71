//! A line of history as bytes. Session and time are kept beside the body by the store.

use super::bytes::{Reader, Writer};
use super::session::{
    read_by, read_client, read_evidence, read_origin, write_by, write_client, write_evidence, write_origin,
};
use super::{Unreadable, damaged, session_id};
use crate::store::{StoreError, StoredEvent};
use handstamp_core::event::{Event, EventKind};
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::time::Millis;

/// 2: with a count at the end.
const FORMAT: u8 = 2;

/// Without session and time.
pub fn write(e: &Event) -> Vec<u8> {
    let mut w = Writer::new(FORMAT);
    w.byte(match e.kind {
        EventKind::Created => 0,
        EventKind::RotatedByAuth => 1,
        EventKind::Updated => 2,
        EventKind::Refused => 3,
        EventKind::Ended => 4,
    });
    w.text(e.user.as_str());
    w.option(e.code, |w, code| w.text(code.text()));
    w.option(e.rule.as_deref(), Writer::text);
    w.option(e.origin.as_ref(), write_origin);
    w.option(e.evidence.as_ref(), write_evidence);
    w.option(e.note.as_deref(), Writer::text);
    write_client(&mut w, &e.client);
    write_by(&mut w, &e.by);
    w.number(u64::from(e.count));
    w.finish()
}

/// Reads a stored event.
///
/// # Errors
/// [`StoreError::Damaged`], naming the session.
pub fn read(stored: &StoredEvent) -> Result<Event, StoreError> {
    let id = session_id(&stored.subject).ok_or_else(|| damaged(&stored.subject))?;
    parse(id, stored.at, &stored.body).map_err(|_| damaged(&stored.subject))
}

fn parse(session: SessionId, at: Millis, body: &[u8]) -> Result<Event, Unreadable> {
    let mut r = Reader::new(body, &[1, FORMAT])?;
    let kind = match r.byte()? {
        0 => EventKind::Created,
        1 => EventKind::RotatedByAuth,
        2 => EventKind::Updated,
        3 => EventKind::Refused,
        4 => EventKind::Ended,
        _ => return Err(Unreadable),
    };
    let event = Event {
        kind,
        at,
        session,
        user: UserId::new(r.text()?).map_err(|_| Unreadable)?,
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
    };
    r.end()?;
    Ok(event)
}
