//! Stored bytes: each value has one form, and anything else is damage, not another value.

use handstamp_core::caller::{AccessKey, Home};
use handstamp_core::id::{KeyId, SessionId};
use handstamp_core::secret::Verifier;
use handstamp_core::time::Millis;
use handstamp_core::token::Kind;
use handstamp_server::codec::bytes::{Reader, Writer};
use handstamp_server::codec::control::{read_access_key, write_access_key};
use handstamp_server::codec::{Unreadable, session};
use handstamp_server::store::{StoreError, Versioned};

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

/// The least that a session can be, with a flag in it that is neither yes nor no.
#[test]
fn a_damaged_session_is_damage() {
    let body = |awaiting: u8| {
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
    };
    let read = |awaiting| session::read(SessionId([7; 16]), &body(awaiting)).map(|(s, _)| s.chain.awaiting);
    assert_eq!([read(0), read(1)], [Ok(false), Ok(true)]);
    assert_eq!([read(2), read(255)], [Err(Unreadable), Err(Unreadable)]);
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
    assert!(session::read(id, &body(1, &[0])).is_err() && session::read(id, &body(3, &[0])).is_err());
}
