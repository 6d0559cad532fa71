//! Stored bytes: each value has one form, and anything else is damage, not another value.

use handstamp_core::caller::{AccessKey, Home};
use handstamp_core::id::{EnvironmentId, KeyId, SessionId};
use handstamp_core::policy::Origin;
use handstamp_core::policy::modes::Assurance;
use handstamp_core::policy::session_type::TypeName;
use handstamp_core::refusal::Code;
use handstamp_core::secret::Verifier;
use handstamp_core::session::{By, End};
use handstamp_core::time::Millis;
use handstamp_core::token::Kind;
use handstamp_server::codec::bytes::{Reader, Writer};
use handstamp_server::codec::control::{read_access_key, write_access_key};
use handstamp_server::codec::session_type::{
    TypeRecord, read_session_type, session_types, write_session_type,
};
use handstamp_server::codec::{Unreadable, session};
use handstamp_server::store::{StoreError, Versioned};

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
        let Ok((mut read, seen)) = session::read(SessionId([7; 16]), &least(0)) else { panic!("a session") };
        let (code, by) = (Code::SessionExpired, By::System);
        let rule = Some("absolute".into());
        let end =
            End { at: Millis(5), code, by, rule, origin: Some(origin.clone()), evidence: None, reason: None };
        assert!(read.end(end));
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

/// A suspended key must not come back because its record was damaged.
#[test]
fn yes_and_no_have_one_form() {
    let key = AccessKey {
        id: KeyId([9; 16]),
        kind: Kind::AccessKey,
        name: "web servers".into(),
        home: Home::Operator,
        scopes: Vec::new(),
        verifier: Verifier::from_bytes([8; 32]),
        key_id: 1,
        created_at: Millis(5),
        expires_at: None,
        suspended: true,
        replaced_by: None,
    };
    let mut found = Versioned { record: write_access_key(&key, Millis(7)), version: 1 };
    assert!(read_access_key(&found).is_ok_and(|(read, used)| read.suspended && used == Millis(7)));
    // The flag is the last byte but one: nothing replaces the key.
    let flag = found.record.body.len() - 2;
    for byte in 0..=u8::MAX {
        found.record.body[flag] = byte;
        match read_access_key(&found) {
            Ok((read, _)) => assert!(byte < 2 && read.suspended == (byte == 1), "{byte}"),
            Err(error) => assert!(byte >= 2 && matches!(error, StoreError::Damaged(_)), "{byte}: {error}"),
        }
    }
}

/// The least that a session can be, with a flag in it.
fn least(awaiting: u8) -> Vec<u8> {
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

/// A flag that is neither yes nor no.
#[test]
fn a_damaged_session_is_damage() {
    let read = |awaiting| session::read(SessionId([7; 16]), &least(awaiting)).map(|(s, _)| s.chain.awaiting);
    assert_eq!([read(0), read(1)], [Ok(false), Ok(true)]);
    assert_eq!([read(2), read(255)], [Err(Unreadable), Err(Unreadable)]);
}
