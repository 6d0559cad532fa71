//! One-time codes, as they were written by the first version that had them.

use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::login::{Ahead, Challenge, Pending};
use handstamp_core::redirect::ReturnTo;
use handstamp_core::secret::Verifier;
use handstamp_core::time::{Millis, Span};
use handstamp_server::codec::login::{login_key, read_login, write_login};
use handstamp_server::codec::several::{read_erased, write_erased};
use handstamp_server::store::{StoreError, Versioned};

fn pending(challenge: bool, used_at: Option<i64>) -> Pending {
    let return_to = ReturnTo::parse("https://a.example/x?y").unwrap();
    Pending {
        session: SessionId([7; 16]),
        verifier: Verifier::from_bytes([b'v'; 32]),
        ahead: Ahead { return_to, challenge: challenge.then_some(Challenge::from_bytes([b'c'; 32])) },
        until: Millis(1_000),
        used_at: used_at.map(Millis),
    }
}

#[test]
fn a_code_reads_as_it_was_written() {
    let (v, c) = ("v".repeat(32), "c".repeat(32));
    let to = "\\x15https://a.example/x?y";
    for (value, body) in [
        (pending(false, None), format!("\\x01{v}{to}\\x00\\xd0\\x0f\\x00")),
        (pending(true, None), format!("\\x01{v}{to}\\x01{c}\\xd0\\x0f\\x00")),
        (pending(true, Some(900)), format!("\\x01{v}{to}\\x01{c}\\xd0\\x0f\\x01\\x88\\x0e")),
    ] {
        let env = EnvironmentId(7);
        let written = write_login(env, &value);
        assert_eq!(written.body.escape_ascii().to_string(), body);
        assert_eq!(
            (&written.key, written.bucket),
            (&login_key(env, value.session), value.session.bucket().get())
        );
        assert_eq!((written.key.space.kind, &*written.key.id), (26, &[7; 16][..]));
        // A minute's code is known for ten minutes more.
        assert_eq!(written.forget_at, Some(Millis(601_000)));
        let body = written.body.clone();
        let mut found = Versioned { record: written, version: 1 };
        let read = read_login(&found).unwrap();
        assert_eq!((read.session, &read.ahead, read.until), (value.session, &value.ahead, value.until));
        assert!(read.verifier.matches(&value.verifier) && read.used_at == value.used_at);
        for cut in 0..body.len() {
            found.record.body.truncate(body.len() - cut - 1);
            assert!(matches!(read_login(&found), Err(StoreError::Damaged(_))), "{cut}");
        }
        // An address that nobody could have been led back to is damage, and never followed.
        found.record.body = body;
        let at = found.record.body.windows(5).position(|part| part == b"https").unwrap();
        found.record.body[at + 5] = b'_';
        assert!(matches!(read_login(&found), Err(StoreError::Damaged(_))));
        found.record.body[at + 5] = b':';
        assert!(read_login(&found).is_ok());
        found.record.key.id = Box::new([7; 15]);
        assert!(matches!(read_login(&found), Err(StoreError::Damaged(_))));
    }
}

/// What keeps lines about logins of an erased user from being written, as it was first written.
#[test]
fn an_erasing_reads_as_it_was_written() {
    let name = UserId::pseudonym([7; 16]);
    let record = write_erased(EnvironmentId(3), &name, Millis(1_000));
    assert_eq!(
        (record.body.as_slice(), record.key.space.kind, record.key.space.env),
        (&b"\x01\xd0\x0f"[..], 32, 3)
    );
    assert_eq!(
        (&*record.key.id, record.forget_at),
        (name.as_str().as_bytes(), Some(Millis(1_000).plus(Span::days(30))))
    );
    let mut found = Versioned { record, version: 1 };
    assert_eq!(read_erased(&found), Ok(Millis(1_000)));
    for wrong in [&b"\x01\xd0"[..], b"\x02\xd0\x0f", b"\x01\xd0\x0f\x00", b""] {
        found.record.body = wrong.to_vec();
        assert!(matches!(read_erased(&found), Err(StoreError::Damaged(_))), "{wrong:?}");
    }
}
