//! Lists of origins, as they were written by the first version that had them.

use handstamp_core::id::{EnvironmentId, KeyId};
use handstamp_core::origin::WebOrigin;
use handstamp_core::session::By;
use handstamp_core::time::Millis;
use handstamp_server::codec::origins::{
    OriginList, Purpose, origin_lists, origins_key, purpose, read_origins, write_origins,
};
use handstamp_server::store::{StoreError, Versioned};

#[test]
fn a_list_reads_as_it_was_written() {
    let body = b"\x01\x03\xd0\x0f\x02\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x02\x11https://a.example\x15http://localhost:3000";
    let env = EnvironmentId(7);
    let origins =
        ["https://a.example", "http://localhost:3000"].map(|text| WebOrigin::parse(text).unwrap()).to_vec();
    let list = OriginList { number: 3, at: Millis(1_000), by: By::Key(KeyId([9; 16])), origins };
    for (named, id) in [(Purpose::Cors, "cors"), (Purpose::Redirect, "redirect-origins")] {
        let written = write_origins(origins_key(env, named), &list);
        assert_eq!(written.body.escape_ascii().to_string(), body.escape_ascii().to_string());
        assert_eq!((&*written.key.id, written.key.space), (id.as_bytes(), origin_lists(env)));
        assert!(purpose(&written.key).is_ok_and(|read| read == named));
        let mut found = Versioned { record: written, version: 1 };
        assert!(read_origins(&found).is_ok_and(|read| read == list));
        for cut in 0..body.len() {
            found.record.body.truncate(body.len() - cut - 1);
            assert!(matches!(read_origins(&found), Err(StoreError::Damaged(_))), "{cut}");
        }
        // What is no origin is damage, and never an origin that is allowed.
        found.record.body = body.to_vec();
        let last = found.record.body.len() - 1;
        found.record.body[last] = b'*';
        assert!(matches!(read_origins(&found), Err(StoreError::Damaged(_))));
        found.record.key.id = Box::from(*b"others");
        assert!(matches!(purpose(&found.record.key), Err(StoreError::Damaged(_))));
    }
}
