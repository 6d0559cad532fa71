//! What nodes tell each other: it comes out as it went in, in notices that PostgreSQL takes.

use handstamp_server::store::postgres::notices::{LONGEST, MOST, Own, channel, committed, read, said};
use handstamp_server::store::{Change, Key, Space};
use proptest::prelude::*;
use std::collections::BTreeSet;

const OWN: [u8; 16] = [1; 16];
const OTHER: [u8; 16] = [2; 16];

fn keys() -> impl Strategy<Value = Vec<Key>> {
    let key = (any::<u8>(), 0..3_u64, prop::collection::vec(any::<u8>(), 1..=64));
    let key = key.prop_map(|(kind, env, id)| Key { space: Space { kind: kind % 3, env }, id: id.into() });
    prop::collection::vec(key, 0..600)
}

/// All that notices tell together.
fn heard(notices: &[String]) -> (BTreeSet<Key>, BTreeSet<u64>, bool) {
    let (mut records, mut told, mut anything) = (BTreeSet::new(), BTreeSet::new(), false);
    for notice in notices {
        assert!(notice.len() <= LONGEST && notice.is_ascii());
        match read(&OTHER, notice) {
            Some(Change::Committed { records: some, told: envs }) => {
                records.extend(some);
                told.extend(envs);
            }
            Some(Change::Anything) => anything = true,
            other => panic!("{other:?}"),
        }
        assert_eq!(read(&OWN, notice), None, "its own is heard");
    }
    (records, told, anything)
}

proptest! {
    #[test]
    fn everything_is_told(keys in keys(), told in prop::collection::vec(any::<u64>(), 0..40)) {
        let notices = committed(&OWN, &keys, &told);
        prop_assert!(notices.len() <= MOST);
        let (records, envs, anything) = heard(&notices);
        prop_assert!(!anything);
        prop_assert_eq!(records, keys.into_iter().collect());
        prop_assert_eq!(envs, told.into_iter().collect());
    }

    #[test]
    fn what_is_said_is_heard_by_all(message in prop::collection::vec(any::<u8>(), 0..=4_096)) {
        let notice = said(&OWN, &message);
        prop_assert!(notice.len() <= LONGEST);
        for node in [OWN, OTHER] {
            prop_assert_eq!(read(&node, &notice), Some(Change::Said(message.clone().into())));
        }
    }

    #[test]
    fn nonsense_is_anything(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(&OWN, &text), Some(Change::Anything));
        // Whatever it is, it can be read.
        let _ = read(&OWN, &handstamp_core::device::base64url::encode(&bytes));
    }
}

#[test]
fn too_much_is_anything() {
    assert_eq!(committed(&OWN, &[], &[]), Vec::<String>::new());
    let key = |n: u32| Key { space: Space { kind: 1, env: 1 }, id: n.to_be_bytes().into() };
    let few: Vec<Key> = (0..5_000).map(key).collect();
    assert!(committed(&OWN, &few, &[]).len() > 3);
    assert_eq!(heard(&committed(&OWN, &few, &[])).0.len(), 5_000);
    let many: Vec<Key> = (0..20_000).map(key).collect();
    let notices = committed(&OWN, &many, &[1, 2, 3]);
    assert_eq!(notices.len(), 1);
    assert_eq!(heard(&notices), (BTreeSet::new(), BTreeSet::new(), true));
    // Half a notice tells nothing by half.
    let whole = &committed(&OWN, &few[..10], &[7])[0];
    for end in 0..whole.len() {
        let heard = read(&OTHER, &whole[..end]);
        assert!(matches!(heard, Some(Change::Anything | Change::Committed { .. })), "{heard:?}");
    }
}

#[test]
fn a_channel_for_each_schema() {
    assert_ne!(channel("handstamp"), channel("handstamp2"));
    assert!(channel("handstamp").len() < 64);
    assert!(channel("handstamp").bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
}

/// A commit of which nobody knows whether it went through goes through long after: its own node hears of it.
#[test]
fn what_was_in_doubt_is_heard_of() {
    let own = Own::new(OWN);
    assert_eq!(own.name(), OWN);
    let key = Key { space: Space { kind: 1, env: 7 }, id: Box::new([9]) };
    for _ in 0..3 {
        let [notice] = &committed(&own.name(), std::slice::from_ref(&key), &[])[..] else { panic!() };
        assert_eq!(read(&own.name(), notice), None);
        own.doubt();
        let heard = Change::Committed { records: vec![key.clone()], told: Vec::new() };
        assert_eq!(read(&own.name(), notice), Some(heard));
    }
}
