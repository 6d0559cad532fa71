//! Reading access keys and publishable keys: what is read is written back as the same text.
#![no_main]

use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "session tokens have targets of their own")]
mod shape;

fuzz_target!(|data: &[u8]| {
    for kind in [Kind::AccessKey, Kind::PublishableKey] {
        let dressed = shape::dressed(kind, data);
        let read = Parts::read(kind, &dressed);
        assert_eq!(read.is_ok(), data.len() == 48);
        if let Ok(parts) = read {
            assert_eq!(parts.text().reveal(), dressed);
        }
        if let Ok(text) = std::str::from_utf8(data)
            && let Ok(parts) = Parts::read(kind, text)
        {
            assert_eq!(parts.text().reveal(), text);
        }
    }
});
