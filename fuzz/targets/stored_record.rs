//! Reading every other stored record: the first byte says which reader, the rest is the body. What reads well is what
//! was written, byte for byte; older formats read to a value that the newest one keeps.
#![no_main]

mod heap;

use handstamp_core::id::{Bucket, EnvironmentId, KeyId, SessionId, UserId};
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use handstamp_server::codec::control::{self, access_key_key, environment_key, ledger_key, root_key};
use handstamp_server::codec::device::{device_record, read_device};
use handstamp_server::codec::login::{login_key, read_login, write_login};
use handstamp_server::codec::moving::{moving_key, read_moving, write_moving};
use handstamp_server::codec::origins::{Purpose, origins_key, read_origins, write_origins};
use handstamp_server::codec::policy;
use handstamp_server::codec::seats::{read_seats, seats_key, write_seats};
use handstamp_server::codec::session_type::{read_session_type, write_session_type};
use handstamp_server::codec::several::{
    erased_key, lease_key, line_key, read_erased, read_lease, read_line, write_erased, write_lease,
    write_line,
};
use handstamp_server::codec::token_keys::{read_token_keys, token_keys_key, write_token_keys};
use handstamp_server::codec::{
    CONTROL, control_key, event, idempotency_key, kind, read_user, session_key, user_record,
};
use handstamp_server::store::{Key, Record, StoreError, StoredEvent, Versioned};
use libfuzzer_sys::fuzz_target;

const ENV: EnvironmentId = EnvironmentId(7);
const ID: KeyId = KeyId([9; 16]);
const AT: Millis = Millis(1_700_000_000_000);

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    match which % 20 {
        0 => history(body),
        1 => keeps(root_key(), body, control::read_root, |root| control::write_root(root).body),
        2 => keeps(environment_key(ENV), body, control::read_environment, |env| {
            assert_eq!(env.id, ENV);
            control::write_environment(env).body
        }),
        3 => ledger(body),
        4 => purge(body),
        5 => keeps(policy::times_key(ENV), body, policy::read_times, |times| {
            policy::write_times(ENV, times).body
        }),
        6 => keeps(access_key_key(ID), body, control::read_access_key, |(key, used)| {
            assert!(key.id == ID && *used == AT);
            control::write_access_key(key, *used).body
        }),
        7 => keeps(idempotency_key(ENV, ID, "once"), body, control::read_idempotency, |value| {
            control::write_idempotency(ENV, ID, "once", CONTROL, value, AT).body
        }),
        8 => keeps(control_key(kind::USER, b"ada"), body, read_user, |user| {
            user_record(ENV, Bucket::new(1), user).body
        }),
        9 => rules(body),
        10 => keeps(control_key(kind::DEVICE, b"ada"), body, read_device, |known| {
            device_record(ENV, Bucket::new(1), known).body
        }),
        11 => keeps(control_key(kind::SESSION_TYPE, b"checkout"), body, read_session_type, |said| {
            write_session_type(ENV, said).body
        }),
        12 => {
            let tag = Tag::parse("org:acme").unwrap();
            keeps(seats_key(ENV, &tag), body, read_seats, |known| write_seats(ENV, &tag, known, AT).body);
        }
        13 => pages(body),
        16 => keeps(moving_key(), body, read_moving, |moving| write_moving(moving).body),
        17 => keeps(line_key(), body, read_line, |line| write_line(*line).body),
        18 => keeps(lease_key("house"), body, read_lease, |lease| write_lease("house", lease).body),
        19 => {
            let Ok(name) = UserId::new("erased_nobody") else { return };
            keeps(erased_key(ENV, &name), body, read_erased, |at| write_erased(ENV, &name, *at).body);
        }
        15 => keeps(token_keys_key(ENV), body, read_token_keys, |keys| write_token_keys(ENV, keys).body),
        _ => keeps(login_key(ENV, SessionId([7; 16])), body, read_login, |code| write_login(ENV, code).body),
    }
});

/// A section may lie there in any order; what it says is the same again.
fn rules(body: &[u8]) {
    // A section of five bytes is a whole set of rules, some 400 bytes, in a list and then in a node for eleven of them.
    let read = |body: &[u8]| policy::read_policy(&found(policy::policy_key(ENV), body));
    let Ok(version) = heap::bounded_by(8_192, 512, body, read) else { return };
    let again = policy::write_policy(policy::policy_key(ENV), &version).body;
    assert!(read(&again) == Ok(version));
}

/// A list may lie there in any order; what it says is the same again.
fn pages(body: &[u8]) {
    let key = || origins_key(ENV, Purpose::Cors);
    let Some(list) = value(key(), body, read_origins) else { return };
    let written = write_origins(key(), &list).body;
    let again = value(key(), &written, read_origins).map(|list| write_origins(key(), &list).body);
    assert!(again == Some(written));
}

fn found(key: Key, body: &[u8]) -> Versioned {
    let (facets, body) = (Vec::new(), body.to_vec());
    Versioned { record: Record { key, bucket: 0, facets, seen: Some(AT), forget_at: None, body }, version: 1 }
}

/// Reads; what cannot be read is damage.
fn value<T>(key: Key, body: &[u8], read: impl Fn(&Versioned) -> Result<T, StoreError>) -> Option<T> {
    let found = found(key, body);
    match heap::bounded(body, |_| read(&found)) {
        Ok(value) => Some(value),
        Err(StoreError::Damaged(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

fn keeps<T>(
    key: Key,
    body: &[u8],
    read: impl Fn(&Versioned) -> Result<T, StoreError>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    let Some(known) = value(key.clone(), body, &read) else { return };
    let written = write(&known);
    if body.first() < written.first() {
        // An older format: the newest keeps the value.
        assert_eq!(value(key, &written, &read).map(|again| write(&again)), Some(written));
    } else {
        assert_eq!(written, body);
    }
}

fn history(body: &[u8]) {
    let stored = |body: &[u8]| StoredEvent {
        position: 1,
        subject: session_key(ENV, SessionId([7; 16])),
        at: AT,
        body: body.to_vec(),
    };
    let old = stored(body);
    let Ok(read) = heap::bounded(body, |_| event::read(&old)) else { return };
    let written = event::write(&read);
    if body.first() < written.first() {
        assert_eq!(event::read(&stored(&written)), Ok(read));
    } else {
        assert_eq!(written, body);
    }
}

fn ledger(body: &[u8]) {
    let Some((ledger, reserved)) = value(ledger_key(ENV), body, control::read_ledger) else { return };
    let written = control::write_ledger(ENV, &ledger, reserved).body;
    if body.first() < written.first() {
        let again = value(ledger_key(ENV), &written, control::read_ledger);
        assert_eq!(again, Some((ledger, reserved)));
    } else {
        assert_eq!(written, body);
    }
}

fn purge(body: &[u8]) {
    let Some(at) = value(control_key(kind::PURGE, b"7"), body, control::read_purge) else { return };
    if body == [1] {
        assert_eq!(at, Millis(0));
    } else {
        assert_eq!(control::write_purge(at), body);
    }
}
