//! Reading durations: what is read is written and read back as itself.
#![no_main]

use handstamp_core::time::Span;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Span::parse(text) {
        Err(said) => assert!(!said.chars().any(char::is_control)),
        Ok(span) => {
            assert!(span >= Span(0));
            if span != Span::FOREVER {
                assert_eq!(Span::parse(&span.to_string()), Ok(span));
            }
        }
    }
});
