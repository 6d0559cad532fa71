//! Reading client hints: a structured field is read as RFC 8941 writes it, or refused; and hints make no other agent of
//! one, but for its name.
#![no_main]

use handstamp_core::agent::change::{Change, change};
use handstamp_core::agent::hints::{Hints, LONGEST, boolean, brands, string};
use handstamp_core::agent::{Agent, Device, TEXT};
use libfuzzer_sys::fuzz_target;

/// A text as a structured field.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut hints = Hints::default();
    if let Ok(read) = string(text) {
        assert!(text.len() <= LONGEST && read.bytes().all(|b| (b' '..=b'~').contains(&b)));
        assert_eq!(quoted(&read), text.trim_matches(' '));
        assert_eq!(brands(text).map(|list| list.len()), Ok(1), "a list of one");
        hints.platform_version = Some(read.clone());
        hints.model = Some(read);
    }
    if let Ok(list) = brands(text) {
        let written: Vec<String> =
            list.iter().map(|(name, version)| format!("{};v={}", quoted(name), quoted(version))).collect();
        let written = written.join(", ");
        if written.len() <= LONGEST {
            assert_eq!(brands(&written).as_ref(), Ok(&list));
        }
        assert!(boolean(text).is_err());
        hints.brands = list;
    }
    for (os, platform) in [("Windows", "Windows"), ("Android", "Android"), ("Mac OS X", "macOS")] {
        let agent = Agent {
            browser: Some("Chrome".into()),
            major: Some(128),
            os: Some(os.into()),
            device: Device::Desktop,
            is_browser: true,
            ..Agent::default()
        };
        let refined = Hints { platform: Some(platform.into()), ..hints.clone() }.refine(&agent);
        assert_eq!(change(&agent, &refined), Change::None);
        assert_eq!((&refined.os, refined.major, refined.is_browser), (&agent.os, agent.major, true));
        let view = refined.view();
        assert!([view.os_version, view.model].into_iter().flatten().all(|part| part.len() <= TEXT));
    }
});
