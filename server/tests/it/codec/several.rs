//! What several nodes agree on, as it is stored.

use handstamp_core::lease::Lease;
use handstamp_core::time::Millis;
use handstamp_server::codec::several::{lease_key, line_key, read_lease, read_line, write_lease, write_line};
use handstamp_server::store::{Record, StoreError, Versioned};

/// Each prefix of a record, and one byte more, is damage.
fn only_whole<T>(record: &Record, read: impl Fn(&Versioned) -> Result<T, StoreError>) {
    for cut in 0..record.body.len() {
        let mut found = Versioned { record: record.clone(), version: 1 };
        found.record.body.truncate(cut);
        assert!(matches!(read(&found), Err(StoreError::Damaged(_))), "{cut}");
    }
    let mut found = Versioned { record: record.clone(), version: 1 };
    found.record.body.push(0);
    assert!(matches!(read(&found), Err(StoreError::Damaged(_))));
    found.record.body.pop();
    found.record.body[0] = 2;
    assert!(matches!(read(&found), Err(StoreError::Damaged(_))), "a format that nobody has written");
}

/// As it was written by the first version that had several nodes.
#[test]
fn the_name_of_a_line_reads_as_it_was_written() {
    let record = write_line(0x0123_4567_89ab_cdef);
    assert_eq!(record.body, b"\x01\x01\x23\x45\x67\x89\xab\xcd\xef");
    assert_eq!(record.key, line_key());
    only_whole(&record, read_line);
    assert_eq!(read_line(&Versioned { record, version: 1 }), Ok(0x0123_4567_89ab_cdef));
}

/// As it was written by the first version that had several nodes.
#[test]
fn a_lease_reads_as_it_was_written() {
    let lease = Lease { node: [7; 16], until: Millis(1_000) };
    let record = write_lease("house", &lease);
    assert_eq!(record.body, [&[1][..], &[7; 16], b"\xd0\x0f"].concat());
    assert_eq!(record.key, lease_key("house"));
    assert_ne!(record.key, lease_key("first start"));
    only_whole(&record, read_lease);
    assert_eq!(read_lease(&Versioned { record, version: 1 }), Ok(lease));
}
