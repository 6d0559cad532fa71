//! What stored bytes say of access tokens, and of ends of many at once.

use super::{line, plain, stored};
use handstamp_core::epoch::{Ledger, Scope};
use handstamp_core::event::{Event, EventKind, Mass};
use handstamp_core::facet;
use handstamp_core::id::{EnvironmentId, KeyId, SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::{By, End, State};
use handstamp_core::subject::Subject;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use handstamp_server::codec::control::{ledger_key, read_ledger, write_ledger};
use handstamp_server::codec::packed::Outline;
use handstamp_server::codec::status::{read_places, write_places};
use handstamp_server::codec::{event, new_event, session, session_record};
use handstamp_server::store::{Record, StoreError, Versioned};

const ENV: EnvironmentId = EnvironmentId(3);
const KEPT: SessionId = SessionId([7; 16]);

/// A session that never had an access token takes not a byte more for it, and one that had says until when.
#[test]
fn only_a_session_with_access_tokens_says_so() {
    let (mut session, seen) = session::read(KEPT, &plain(0)).unwrap();
    let without = session::write(&session, seen);
    assert_eq!(without[0], 2);
    for (until, index, golden) in [
        (Some(Millis(300)), None, &b"\x01\xd8\x04\x00"[..]),
        (Some(Millis(300)), Some(1_048_577), b"\x01\xd8\x04\x01\x81\x80\x40"),
        (None, Some(0), b"\x00\x01\x00"),
    ] {
        (session.tokens_until, session.status_index) = (until, index);
        let body = session::write(&session, seen);
        assert_eq!(body, [&[3], &without[1..], golden].concat());
        let (again, _) = session::read(KEPT, &body).unwrap();
        assert_eq!((again.tokens_until, again.status_index), (until, index));
        let outline = Outline::read(KEPT, &body).unwrap();
        let packed = outline.over(&body, [None; 2]);
        assert_eq!((packed.tokens_until(), packed.status_index()), (until, index));
        for end in without.len()..body.len() {
            assert!(session::read(KEPT, &body[..end]).is_err(), "{end}");
        }
        assert!(session::read(KEPT, &[&body[..], &[0]].concat()).is_err());
    }
    // Nothing to say has a format of its own.
    assert!(session::read(KEPT, &[&[3], &without[1..], b"\x00\x00"].concat()).is_err());
}

/// An ended session is kept, and found by it, for as long as one of its tokens can live, however short the retention.
#[test]
fn an_end_is_kept_for_as_long_as_its_tokens_can_live() {
    let (mut session, seen) = session::read(KEPT, &plain(0)).unwrap();
    session.tokens_until = Some(Millis(90_000));
    let found = |record: &Record| {
        let tokens = record.facets.iter().filter(|facet| facet.name == facet::TOKENS);
        tokens.map(|facet| facet.value.to_vec()).collect::<Vec<_>>()
    };
    let record = |session: &_, retention| session_record(ENV, session, Millis(5), seen, retention);
    let live = record(&session, Span(1));
    assert_eq!((live.forget_at, found(&live)), (None, vec![]));
    let (code, by) = (Code::SessionRevoked, By::System);
    let end = End { at: Millis(5), code, by, rule: None, origin: None, evidence: None, reason: None };
    session.state = State::Ended(Box::new(end));
    let ended = record(&session, Span(1));
    assert_eq!(
        (ended.forget_at, found(&ended)),
        (Some(Millis(90_000)), vec![90_000_u64.to_be_bytes().to_vec()])
    );
    assert_eq!(record(&session, Span(100_000)).forget_at, Some(Millis(100_005)));
    session.tokens_until = None;
    let ended = record(&session, Span(1));
    assert_eq!((ended.forget_at, found(&ended)), (Some(Millis(6)), vec![]));
}

#[test]
fn an_end_says_until_when_tokens_live_and_an_end_of_many_whom_it_ended() {
    let ended = Event {
        kind: EventKind::Ended,
        tokens_until: Some(Millis(300)),
        status_index: Some(1_048_577),
        ..line()
    };
    let body = event::write(&ended);
    assert!(body.ends_with(b"\x01\xd8\x04\x01\x81\x80\x40\x00"), "{}", body.escape_ascii());
    assert_eq!(event::read(&stored(new_event(ENV, &ended))), Ok(ended));

    let ada = UserId::new("ada").unwrap();
    let tags = ["org:acme", "role:admin"].map(|tag| Tag::parse(tag).unwrap()).to_vec();
    for (scope, except, golden) in [
        (Scope::All, None, &b"\x00\x00\x01\x00\x09\x00"[..]),
        (Scope::User(ada), None, b"\x00\x00\x01\x01\x03ada\x09\x00"),
        (
            Scope::Tags(tags),
            Some(KEPT),
            b"\x00\x00\x01\x02\x02\x08org:acme\x0arole:admin\x09\x01\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07",
        ),
    ] {
        let mut ledger = Ledger { counter: 8, raised: Vec::new() };
        let (by, reason) = (By::Key(KeyId([9; 16])), Some("stolen".into()));
        let raised = ledger.raise_except(scope.clone(), Millis(5), by.clone(), reason, except);
        assert_eq!(ledger.raised.first(), Some(&raised));
        let told = Event::revoked(&raised);
        assert_eq!(told.mass.as_deref(), Some(&Mass { scope, epoch: 9, except }));
        assert_eq!((told.at, &told.by, told.note.as_deref()), (Millis(5), &by, Some("stolen")));
        let body = event::write(&told);
        assert_eq!(body[..2], [5, 10]);
        assert!(body.ends_with(golden), "{}", body.escape_ascii());
        let mut line = stored(new_event(ENV, &told));
        assert_eq!(&*line.subject.id, b"environment");
        assert_eq!(event::read(&line), Ok(told));
        for end in body.len() - golden.len()..body.len() {
            line.body = body[..end].to_vec();
            assert!(matches!(event::read(&line), Err(StoreError::Damaged(_))), "{end}");
        }
    }
}

/// Bytes that earlier versions wrote, and today's.
#[test]
fn every_format_of_a_ledger_is_read() {
    let mut ledger = Ledger { counter: 8, raised: Vec::new() };
    ledger.raise_except(Scope::All, Millis(5), By::System, None, None);
    let read = |body: &[u8]| {
        let (facets, body) = (Vec::new(), body.to_vec());
        let record = Record { key: ledger_key(ENV), bucket: 0, facets, seen: None, forget_at: None, body };
        read_ledger(&Versioned { record, version: 1 })
    };
    assert_eq!(read(b"\x01\x09\x01\x00\x09\x0a\x00\x00\x00"), Ok((ledger.clone(), 9)));
    assert_eq!(read(b"\x02\x09\x01\x00\x09\x0a\x00\x00\x00\x0b"), Ok((ledger.clone(), 11)));
    let third = b"\x03\x09\x01\x00\x09\x0a\x00\x00\x00\x00\x0b";
    assert_eq!(read(third), Ok((ledger.clone(), 11)));
    assert_eq!(write_ledger(ENV, &ledger, 11).body, third);
    ledger.raised[0].except = Some(KEPT);
    let written = write_ledger(ENV, &ledger, 11).body;
    assert_eq!(written, [&third[..9], &[1], &[7; 16], &[11]].concat());
    assert_eq!(read(&written), Ok((ledger, 11)));
    assert!(read(&written[..written.len() - 1]).is_err());
}

/// How many places were given away, as it was first written; what cannot be read is damage, and gives no place twice.
#[test]
fn places_in_status_lists() {
    let record = write_places(ENV, 1_024);
    assert_eq!(
        (record.body.as_slice(), record.key.space.kind, record.forget_at),
        (&b"\x01\x80\x08"[..], 28, None)
    );
    let mut found = Versioned { record, version: 1 };
    assert_eq!(read_places(&found), Ok(1_024));
    for wrong in [&b"\x01\x80"[..], b"\x02\x80\x08", b"\x01\x80\x08\x00", b""] {
        found.record.body = wrong.to_vec();
        assert!(matches!(read_places(&found), Err(StoreError::Damaged(_))), "{wrong:?}");
    }
}
