//! Reading what other nodes say: what is understood is written again byte for byte, and takes no more memory than it is long.
#![no_main]

mod heap;

use handstamp_server::app::nodes::message::{Message, SESSIONS, Said};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(message) = heap::bounded(data, Message::read) else { return };
    assert_eq!(message.write(), data);
    if let Said::Asked { sessions, .. } = &message.said {
        assert!(sessions.len() <= SESSIONS);
    }
});
