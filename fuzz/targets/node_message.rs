//! Reading what other nodes say: what is understood is written again byte for byte, and takes no more memory than it is long.
#![no_main]

mod heap;

use handstamp_server::app::nodes::message::{Message, SESSIONS, Said};
use handstamp_server::app::nodes::spent::{self, TOGETHER};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(message) = heap::bounded(data, Message::read) else { return };
    assert_eq!(message.write(), data);
    if let Said::Asked { sessions, .. } = &message.said {
        assert!(sessions.len() <= SESSIONS);
    }
    if let Said::Spent(bytes) = &message.said
        && let Ok(all) = heap::bounded(bytes, spent::read)
    {
        assert!(all.len() <= TOGETHER && all.iter().all(|one| one.name > 0));
    }
});
