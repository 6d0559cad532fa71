//! Notes of stores that are moved, as they are stored.

use handstamp_core::time::Millis;
use handstamp_server::codec::moving::{Moving, Stage, moving_key, read_moving, write_moving};
use handstamp_server::store::{StoreError, Versioned};

/// As they were written by the first version that moved stores.
#[test]
fn a_note_reads_as_it_was_written() {
    let head = [&[1][..], &[9; 16], b"\x09sqlite:/b", b"\xd0\x0f"].concat();
    for (stage, rest) in [
        (Stage::Filling { root: [8; 32] }, [&[0][..], &[8; 32]].concat()),
        (Stage::Gone, vec![1]),
        (Stage::Arrived, vec![2]),
    ] {
        let moving = Moving { id: [9; 16], other: "sqlite:/b".to_owned(), at: Millis(1_000), stage };
        let record = write_moving(&moving);
        let body = [head.clone(), rest].concat();
        assert_eq!(record.body.escape_ascii().to_string(), body.escape_ascii().to_string());
        assert_eq!(record.key, moving_key());
        let mut found = Versioned { record, version: 1 };
        assert_eq!(read_moving(&found), Ok(moving));
        // Half of a note must not be taken for another one: a service would start.
        for cut in 0..body.len() {
            found.record.body.truncate(body.len() - cut - 1);
            assert!(matches!(read_moving(&found), Err(StoreError::Damaged(_))), "{cut}");
        }
        found.record.body = [body.as_slice(), &[0]].concat();
        assert!(matches!(read_moving(&found), Err(StoreError::Damaged(_))));
    }
    let mut other =
        write_moving(&Moving { id: [9; 16], other: String::new(), at: Millis(0), stage: Stage::Gone });
    *other.body.last_mut().unwrap() = 3;
    assert!(read_moving(&Versioned { record: other, version: 1 }).is_err());
}
