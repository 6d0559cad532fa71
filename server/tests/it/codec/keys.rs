//! Access keys as they are stored.

use handstamp_core::caller::{AccessKey, Home};
use handstamp_core::id::KeyId;
use handstamp_core::policy::modes::Rate;
use handstamp_core::secret::Verifier;
use handstamp_core::time::Millis;
use handstamp_core::token::Kind;
use handstamp_server::codec::control::{read_access_key, write_access_key};
use handstamp_server::store::{StoreError, Versioned};

fn suspended_key(rate_limit: Option<Rate>) -> AccessKey {
    AccessKey {
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
        rate_limit,
    }
}

/// A suspended key must not come back because its record was damaged.
#[test]
fn yes_and_no_have_one_form() {
    let key = suspended_key(None);
    let mut found = Versioned { record: write_access_key(&key, Millis(7)), version: 1 };
    assert!(read_access_key(&found).is_ok_and(|(read, used)| read.suspended && used == Millis(7)));
    // The flag is the last byte but two: nothing replaces the key, and it has no limit.
    let flag = found.record.body.len() - 3;
    for byte in 0..=u8::MAX {
        found.record.body[flag] = byte;
        match read_access_key(&found) {
            Ok((read, _)) => assert!(byte < 2 && read.suspended == (byte == 1), "{byte}"),
            Err(error) => assert!(byte >= 2 && matches!(error, StoreError::Damaged(_)), "{byte}: {error}"),
        }
    }
}

/// A limit is kept as it was written; keys of the first format have none, and a limit that is none is damage.
#[test]
fn the_limit_of_a_key() {
    for text in ["1/1s", "1000/1h", "4294967295/1d", "999/250s"] {
        let rate = Rate::parse(text).unwrap();
        let mut found =
            Versioned { record: write_access_key(&suspended_key(Some(rate)), Millis(0)), version: 1 };
        assert_eq!(read_access_key(&found).unwrap().0.rate_limit, Some(rate), "{text}");
        let last = found.record.body.len() - 1;
        found.record.body[last] = b'x';
        assert!(matches!(read_access_key(&found), Err(StoreError::Damaged(_))), "{text}");
    }
    let mut old = Versioned { record: write_access_key(&suspended_key(None), Millis(0)), version: 1 };
    assert_eq!((old.record.body[0], old.record.body.pop()), (2, Some(0)));
    assert!(matches!(read_access_key(&old), Err(StoreError::Damaged(_))), "the second format says so");
    old.record.body[0] = 1;
    assert!(read_access_key(&old).is_ok_and(|(key, _)| key.rate_limit.is_none() && key.suspended));
}
