//! Stored bytes: each value has one form, and anything else is damage, not another value.

mod keys;
mod logins;
mod moving;
mod origins;
mod several;
mod token_keys;
mod tokens;

use handstamp_core::device::Registered;
use handstamp_core::device::key::PublicKey;
use handstamp_core::event::{Actor, Event, EventKind};
use handstamp_core::id::{EnvironmentId, KeyId, SessionId, UserId};
use handstamp_core::policy::Origin;
use handstamp_core::policy::modes::Assurance;
use handstamp_core::policy::session_type::TypeName;
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::seats::{Held, Ledger};
use handstamp_core::session::{By, Client, End, State};
use handstamp_core::step_up::{Auth, Level};
use handstamp_core::subject::Subject;
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use handstamp_server::codec::bytes::{Reader, Writer};
use handstamp_server::codec::packed::Outline;
use handstamp_server::codec::seats::{read_seats, write_seats};
use handstamp_server::codec::session_type::{
    TypeRecord, read_session_type, session_types, write_session_type,
};
use handstamp_server::codec::{Unreadable, event, new_event, session};
use handstamp_server::store::{NewEvent, StoreError, StoredEvent, Versioned};

/// As it was written by the first version that had session types.
#[test]
fn a_session_type_reads_as_it_was_written() {
    let body = b"\x01\x08checkout\x03\xd0\x0f\x02\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x13{\"expires_in\":\"1h\"}";
    let env = EnvironmentId(7);
    let record = TypeRecord {
        name: TypeName::parse("checkout").unwrap(),
        number: 3,
        at: Millis(1_000),
        by: By::Key(KeyId([9; 16])),
        said: r#"{"expires_in":"1h"}"#.into(),
    };
    let written = write_session_type(env, &record);
    assert_eq!(written.body.escape_ascii().to_string(), body.escape_ascii().to_string());
    assert_eq!((&*written.key.id, written.key.space), (&b"checkout"[..], session_types(env)));
    let mut found = Versioned { record: written, version: 1 };
    assert!(read_session_type(&found).is_ok_and(|read| read == record));
    for cut in 0..body.len() {
        found.record.body.truncate(body.len() - cut - 1);
        assert!(matches!(read_session_type(&found), Err(StoreError::Damaged(_))), "{cut}");
    }
}

/// The rule that ended a session is told for as long as the session is readable.
#[test]
fn every_origin_of_an_end_is_kept() {
    for (origin, bytes) in [
        (Origin::Default, &b"\x01\x00"[..]),
        (Origin::Creation, b"\x01\x01"),
        (Origin::Stored, b"\x01\x02"),
        (Origin::Tag("org:*".into()), b"\x01\x03\x05org:*"),
        (Origin::Preset(Assurance::Aal2, None), b"\x01\x04\x04aal2\x00"),
        (Origin::SessionType("checkout".into()), b"\x01\x05\x08checkout"),
    ] {
        let Ok((mut read, seen)) = session::read(SessionId([7; 16]), &plain(0)) else { panic!("a session") };
        let (code, by) = (Code::SessionExpired, By::System);
        let rule = Some("absolute".into());
        let end =
            End { at: Millis(5), code, by, rule, origin: Some(origin.clone()), evidence: None, reason: None };
        read.state = State::Ended(Box::new(end));
        let written = session::write(&read, seen);
        assert!(written.windows(bytes.len()).any(|part| part == bytes), "{origin:?}");
        let again = session::read(SessionId([7; 16]), &written).ok().map(|(again, _)| again.state);
        assert_eq!(again, Some(read.state), "{origin:?}");
    }
}

fn number(bytes: &[u8]) -> Result<u64, Unreadable> {
    let body = [&[1], bytes].concat();
    let mut reader = Reader::new(&body, &[1])?;
    let number = reader.number()?;
    reader.end().map(|()| number)
}

#[test]
fn a_number_has_one_form() {
    for n in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        let mut w = Writer::new(1);
        w.number(n);
        let written = w.finish();
        assert_eq!(number(&written[1..]), Ok(n));
        // The same number with a digit of nothing behind it.
        let mut longer = written[1..].to_vec();
        if let Some(last) = longer.last_mut() {
            *last |= 0x80;
        }
        longer.push(0);
        assert_eq!(number(&longer), Err(Unreadable), "{n}");
    }
    for wrong in [&[][..], &[0x80], &[0xFF; 10], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]] {
        assert_eq!(number(wrong), Err(Unreadable), "{wrong:?}");
    }
}

/// The least that a session can be, in the first format, which knew no devices.
fn plain(awaiting: u8) -> Vec<u8> {
    let mut w = Writer::new(1);
    w.text("ada");
    (0..3).for_each(|_| w.byte(0)); // no tags, no groups, no data
    (0..3).for_each(|_| w.signed(1_000)); // made, authenticated, seen
    w.number(0);
    w.byte(0);
    (0..2).for_each(|_| w.signed(60_000)); // absolute, idle
    w.number(0); // the chain
    w.signed(1_000);
    w.byte(0);
    w.byte(1);
    w.fixed(&[5; 32]);
    w.byte(0);
    w.byte(0);
    w.byte(awaiting);
    w.number(0);
    w.number(0);
    (0..4).for_each(|_| w.byte(0)); // no address, no agent, no last client, live
    w.finish()
}

/// A flag in it that is neither yes nor no.
#[test]
fn a_damaged_session_is_damage() {
    let read = |awaiting| session::read(SessionId([7; 16]), &plain(awaiting)).map(|(s, _)| s.chain.awaiting);
    assert_eq!([read(0), read(1)], [Ok(false), Ok(true)]);
    assert_eq!([read(2), read(255)], [Err(Unreadable), Err(Unreadable)]);
}

fn line() -> Event {
    Event {
        kind: EventKind::Refused,
        at: Millis(1_234),
        session: Some(SessionId([7; 16])),
        user: Some(UserId::new("ada").unwrap()),
        code: Some(Code::SessionRevoked),
        rule: Some("epoch".into()),
        origin: None,
        evidence: Some(Evidence::Limit { allowed: Value::Number(1), seen: Value::Text("x".into()) }),
        note: Some("bye".into()),
        client: Client {
            ip: Some("203.0.113.7".parse().unwrap()),
            user_agent: Some("own".into()),
            agent: None,
        },
        by: By::Key(KeyId([9; 16])),
        actor: None,
        tags: Box::new([]),
        count: 3,
        tokens_until: None,
        status_index: None,
        mass: None,
    }
}

fn stored(new: NewEvent) -> StoredEvent {
    StoredEvent { position: 1, subject: new.subject, at: new.at, body: new.body }
}

/// Bytes that earlier versions wrote: they are in somebody's store.
#[test]
fn every_format_of_a_line_of_history_is_read() {
    let subject = new_event(EnvironmentId(3), &line()).subject;
    let read = |body: &[u8]| {
        let stored =
            StoredEvent { position: 1, subject: subject.clone(), at: Millis(1_234), body: body.to_vec() };
        event::read(&stored)
    };
    let middle = b"\x03ada\x01\x0fsession_revoked\x01\x05epoch\x00\x01\x00\x02\x01\x03\x01x\x01\x03bye\x04\xcb\x00\x71\x07\
        \x01\x03own\x02\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09";
    let first = [&b"\x01\x03"[..], middle].concat();
    assert_eq!(read(&first), Ok(Event { count: 1, ..line() }));
    let second = [&b"\x02\x03"[..], middle, b"\x03"].concat();
    assert_eq!(read(&second), Ok(line()));
    let third = [&b"\x03\x03\x01"[..], middle, b"\x03\x00"].concat();
    assert_eq!(read(&third), Ok(line()));
    let fourth = [&b"\x04\x03\x01"[..], middle, b"\x03\x00\x00"].concat();
    assert_eq!(read(&fourth), Ok(line()));
    let fifth = [&b"\x05\x03\x01"[..], middle, b"\x03\x00\x00\x00\x00\x00"].concat();
    assert_eq!(read(&fifth), Ok(line()));
    assert_eq!(event::write(&line()), fifth);
    let tagged =
        Event { tags: ["org:acme", "role:admin"].map(|tag| Tag::parse(tag).unwrap()).into(), ..line() };
    let with_tags = [&b"\x04\x03\x01"[..], middle, b"\x03\x00\x02\x08org:acme\x0arole:admin"].concat();
    assert_eq!(read(&with_tags), Ok(tagged));
    for whole in [first, second, third, fourth, fifth, with_tags] {
        assert!(read(&[&whole[..], &[0]].concat()).is_err(), "{}", whole[0]);
        assert!(read(&whole[..whole.len() - 1]).is_err(), "{}", whole[0]);
    }
}

#[test]
fn lines_about_an_environment_and_about_somebody_in_anothers_place() {
    let policy = Event::policy_changed(Millis(9), By::System, 4, Some("tighter"));
    let new = new_event(EnvironmentId(3), &policy);
    assert_eq!(new.subject.space.env, 3);
    assert_eq!(event::read(&stored(new)), Ok(policy));
    let actor = Actor { id: UserId::new("grace").unwrap(), reason: "ticket 4711".into() };
    let acted = Event { actor: Some(Box::new(actor)), ..line() };
    assert_eq!(event::read(&stored(new_event(EnvironmentId(3), &acted))), Ok(acted));
    for kind in EventKind::ALL {
        let line = Event { kind, ..line() };
        assert_eq!(event::read(&stored(new_event(EnvironmentId(3), &line))), Ok(line));
    }
    // A line about a record that no line can be about.
    let mut wrong =
        stored(new_event(EnvironmentId(3), &Event::policy_changed(Millis(9), By::System, 4, None)));
    wrong.subject.space.kind = 13;
    assert!(matches!(event::read(&wrong), Err(StoreError::Damaged(_))));
}

#[test]
fn a_session_of_before_devices_has_none_and_a_device_is_kept() {
    let id = SessionId([7; 16]);
    let (mut session, seen) = session::read(id, &plain(1)).unwrap();
    assert!(session.device.is_none());
    // Nothing was read of the client's agent; no device, authentication, actor or anchor.
    let first = plain(1);
    let (body, live) = first.split_at(first.len() - 2);
    assert_eq!(
        session::write(&session, seen),
        [&[2], &body[1..], &[0], live, &[0; 4]].concat(),
        "the next format"
    );
    let mut key = [0; 32];
    // The public key of RFC 8032, section 7.1, test 1.
    let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    key.iter_mut()
        .enumerate()
        .for_each(|(n, b)| *b = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap());
    let device = Registered::new(PublicKey::from_bytes(&key).unwrap(), Millis(1_234));
    session.device = Some(Box::new(device.clone()));
    let body = session::write(&session, seen);
    let (again, _) = session::read(id, &body).unwrap();
    assert_eq!(again.device.as_deref(), Some(&device));
    let outline = Outline::read(id, &body).unwrap();
    assert_eq!(outline.over(&body, [None; 2]).device(), Some((device.id, Millis(1_234))));
    // Nothing of it may be missing, and a key that is none is damage.
    for end in plain(1).len()..body.len() {
        assert!(session::read(id, &body[..end]).is_err(), "{end}");
    }
    let at = body.len() - 32 - 2 - 3;
    let mut damaged = body.clone();
    damaged[at..at + 32].fill(0xff);
    assert!(session::read(id, &damaged).is_err());
}

/// A session of the first format, with user agents of which nothing was read: it is read as it was written, and its next
/// format says the same and more.
#[test]
fn a_session_of_the_first_format() {
    let body = |format: u8, agents: &[u8]| {
        let mut w = Writer::new(format);
        w.text("ada");
        (0..3).for_each(|_| w.byte(0));
        (0..3).for_each(|_| w.signed(1_000));
        w.number(0);
        w.byte(0);
        (0..2).for_each(|_| w.signed(60_000));
        w.number(0);
        w.signed(1_000);
        w.byte(0);
        w.byte(1);
        w.fixed(&[5; 32]);
        (0..2).for_each(|_| w.byte(0));
        w.byte(0);
        (0..2).for_each(|_| w.number(0));
        w.fixed(&[4, 203, 0, 113, 7, 1]);
        w.text("Firefox/128");
        w.fixed(agents);
        w.fixed(&[1, 0, 1]); // a last client without an address
        w.text("curl/8");
        w.fixed(agents);
        w.byte(0);
        if format == 2 {
            w.fixed(&[0; 4]);
        }
        w.finish()
    };
    let id = SessionId([7; 16]);
    let (old, seen) = session::read(id, &body(1, &[])).unwrap();
    assert_eq!(old.client.user_agent.as_deref(), Some("Firefox/128"));
    assert_eq!(old.client.ip, Some([203, 0, 113, 7].into()));
    assert_eq!(old.last_client.as_ref().and_then(|last| last.user_agent.as_deref()), Some("curl/8"));
    assert!(old.client.agent.is_none() && old.last_client.as_ref().is_some_and(|last| last.agent.is_none()));
    assert_eq!(session::write(&old, seen), body(2, &[0]), "the same, in today's format");

    let agent = [&[1, 1, 7][..], b"Firefox", &[1, 128, 1, 1, 7], b"Windows", &[0, 0, 0, 1]].concat();
    let (new, seen) = session::read(id, &body(2, &agent)).unwrap();
    assert_eq!(
        new.client.agent.as_ref().map(|agent| agent.display_name()).as_deref(),
        Some("Firefox 128 on Windows")
    );
    assert!(
        new.client.agent.as_ref().is_some_and(|agent| agent.is_browser && agent.device.text() == "desktop")
    );
    assert_eq!(session::write(&new, seen), body(2, &agent));

    for (at, byte) in [(agent.len() - 2, 6), (agent.len() - 1, 2), (0, 2)] {
        let mut damaged = agent.clone();
        damaged[at] = byte;
        assert!(session::read(id, &body(2, &damaged)).is_err(), "{at}");
    }
    assert!(session::read(id, &body(1, &[0])).is_err() && session::read(id, &body(4, &[0])).is_err());
}

#[test]
fn who_authenticated_how_from_where_and_in_whose_place_is_kept() {
    let id = SessionId([7; 16]);
    let (mut session, seen) = session::read(id, &plain(1)).unwrap();
    assert!(session.auth.is_none() && session.actor.is_none() && session.anchor.is_none());
    let methods = ["password", "otp"].map(|text| Auth::method(text).unwrap());
    let auth = Auth { methods: Box::new(methods), level: Level::new(2).unwrap() };
    let actor = Actor { id: UserId::new("grace").unwrap(), reason: "ticket 4711".into() };
    let anchor =
        Client { ip: Some("203.0.113.7".parse().unwrap()), user_agent: Some("own".into()), agent: None };
    session.auth = Some(Box::new(auth.clone()));
    session.actor = Some(Box::new(actor.clone()));
    session.anchor = Some(Box::new(anchor.clone()));
    let body = session::write(&session, seen);
    let (again, _) = session::read(id, &body).unwrap();
    assert_eq!(again.auth.as_deref(), Some(&auth));
    assert_eq!(again.actor.as_deref(), Some(&actor));
    assert_eq!(again.anchor.as_deref(), Some(&anchor));
    let outline = Outline::read(id, &body).unwrap();
    let packed = outline.over(&body, [None; 2]);
    assert_eq!((packed.level(), packed.actor()), (Level::new(2), Some(("grace", "ticket 4711"))));
    assert_eq!(packed.methods().collect::<Vec<_>>(), ["password", "otp"]);
    assert_eq!((packed.anchor().ip, packed.anchor().user_agent), (anchor.ip, Some("own")));
    for end in plain(1).len()..body.len() {
        assert!(session::read(id, &body[..end]).is_err(), "{end}");
    }
    // A level that nobody has.
    let at = body.windows(10).position(|some| some == b"\x02\x02\x08passwor").unwrap();
    for level in [0, 4] {
        let mut damaged = body.clone();
        damaged[at] = level;
        assert!(session::read(id, &damaged).is_err());
    }
    // A method that is no text is damage; it is not left out in silence.
    let mut damaged = body.clone();
    damaged[at + 3] = 0xfc;
    assert!(session::read(id, &damaged).is_err());
}

/// A ledger of seats as it was first written, byte by byte; and what is not one is damage.
#[test]
fn a_ledger_of_seats() {
    let ledger = Ledger {
        bases: vec![[9; 16]],
        counted_at: Millis(1_000),
        taken: 300,
        held: vec![Held { session: SessionId([7; 16]), until: Millis(-2) }],
    };
    let (env, tag) = (EnvironmentId(5), Tag::parse("org:acme").unwrap());
    let record = write_seats(env, &tag, &ledger, Millis(9));
    let rest = [&[0xD0, 0x0F, 0xAC, 0x02, 1][..], &[7; 16], &[3]].concat();
    let golden = [&[2, 1][..], &[9; 16], &rest].concat();
    assert_eq!((record.body.as_slice(), record.forget_at), (golden.as_slice(), Some(Millis(9))));
    assert_eq!((record.key.space.kind, &*record.key.id), (24, &b"org:acme"[..]));
    let mut found = Versioned { record, version: 1 };
    assert_eq!(read_seats(&found).as_ref(), Ok(&ledger));
    // As it was when there was one node.
    found.record.body = [&[1][..], &[9; 16], &rest].concat();
    assert_eq!(read_seats(&found), Ok(ledger));
    for wrong in [&golden[..golden.len() - 1], &[&golden[..], &[0]].concat(), &[&[3], &golden[1..]].concat()]
    {
        found.record.body = wrong.to_vec();
        assert!(matches!(read_seats(&found), Err(StoreError::Damaged(_))), "{wrong:?}");
    }
}
