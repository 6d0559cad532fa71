//! Addresses of a PostgreSQL database: read, or refused with a sentence that repeats nothing; what is told of one holds no
//! password.
#![no_main]

use handstamp_server::store::postgres::Address;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Address::parse(text);
    let planted = format!("postgres://ada:PLANTED@{text}");
    match Address::parse(&planted) {
        Ok(address) => {
            let place = address.place();
            assert!(!place.contains("PLANTED") || text.contains("PLANTED"), "{place}");
            // Where it is can be read again.
            let (hosts, database) = place.split_once('/').expect("a place has a database");
            if database.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let again = Address::parse(&format!("postgres://ada@{hosts}/{database}"));
                assert_eq!(again.map(|again| again.place()).ok(), Some(place.clone()));
            }
            assert!(address.schema().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
        Err(why) => assert!(!why.to_string().contains("PLANTED"), "{why}"),
    }
});
