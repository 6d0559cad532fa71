//! Reading RFC 3339: an instant that can be written is written and read back as itself.
#![no_main]

use handstamp_core::time::Millis;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Millis::parse(text) {
        Err(said) => assert!(!said.chars().any(char::is_control)),
        Ok(at) => {
            let written = at.to_string();
            let back = Millis::parse(&written).expect("what we write we read");
            // An offset can lead up to a day beyond the years 0 to 9999; there the text is clamped.
            assert!(back == at || written.starts_with("0000-01-01") || written.starts_with("9999-12-31"));
        }
    }
});
