//! Reading user agents: whatever a stranger sends, little is kept of it, and that can be printed; it is the same agent
//! each time, and no text is another one than itself.
#![no_main]

use handstamp_core::agent::TEXT;
use handstamp_core::agent::change::{Change, change};
use handstamp_core::agent::hints::Hints;
use handstamp_core::session::Client;
use handstamp_server::agents::{Agents, cut};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static AGENTS: LazyLock<Agents> = LazyLock::new(Agents::default);

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let agent = AGENTS.parse(text);
    assert_eq!(agent, AGENTS.parse(text));
    assert_eq!(agent, AGENTS.parse(cut(text)));
    assert!(cut(text).len() <= Client::AGENT && text.starts_with(cut(text)));
    let view = agent.view();
    for part in [view.browser, view.os, view.os_version, view.model].into_iter().flatten() {
        assert!(!part.is_empty() && part.len() <= TEXT && !part.chars().any(char::is_control), "{part:?}");
    }
    assert!(!agent.is_browser || agent.browser.is_some());
    assert_eq!(change(&view, &view), Change::None);
    assert_eq!(view.keep(), *agent);
    assert_eq!(Hints::default().refine(&agent), *agent);
    assert!(AGENTS.remembered() <= 2 << 20);
});
