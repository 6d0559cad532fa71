//! What other nodes write into a channel of PostgreSQL: raw, and as bytes in the right dress. Whatever it is, it is read;
//! what is told is told again as itself; nothing but our own is left out.
#![no_main]

use handstamp_core::device::base64url;
use handstamp_server::store::Change;
use handstamp_server::store::postgres::notices::{committed, read, said};
use libfuzzer_sys::fuzz_target;

const OWN: [u8; 16] = [1; 16];
const OTHER: [u8; 16] = [2; 16];

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
    }
    check(&base64url::encode(data));
    // With a good head.
    for kind in [1, 2, 3] {
        check(&base64url::encode(&[&[1, kind], OTHER.as_slice(), data].concat()));
    }
});

fn check(text: &str) {
    match read(&OWN, text) {
        // Only what a node committed itself is left out.
        None => assert!(base64url::decode(text).is_some_and(|bytes| bytes.get(2..18) == Some(OWN.as_slice()))),
        Some(Change::Anything) => {}
        Some(Change::Said(message)) => {
            assert_eq!(read(&OWN, &said(&OWN, &message)), Some(Change::Said(message)));
        }
        Some(Change::Committed { mut records, mut told }) => {
            records.sort();
            records.dedup();
            told.sort_unstable();
            told.dedup();
            // An id that no record has is none that the store tells.
            if records.iter().any(|key| key.id.len() > 64) {
                return;
            }
            let notices = committed(&OTHER, &records, &told);
            let again = notices.iter().filter_map(|notice| read(&OWN, notice));
            let (mut all, mut envs) = (Vec::new(), Vec::new());
            for change in again {
                let Change::Committed { records, told } = change else { return };
                all.extend(records);
                envs.extend(told);
            }
            assert_eq!((all, envs), (records, told));
        }
    }
}
