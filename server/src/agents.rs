//! Who is at the other end: the text of a user agent is read once, and remembered by its text.
//!
//! The knowledge is that of the uap-core project (`server/data`). Nothing of it is made ready before the first text comes,
//! and then only the rules that a text calls for: a server that is never asked spends nothing on it.

mod known;
mod needles;
mod rules;
mod table;

use handstamp_core::agent::{Agent, believed, bounded, device};
use handstamp_core::session::Client;
use known::Known;
use rules::Rules;
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of texts and what was read of them that are remembered.
const REMEMBERED: usize = 2 << 20;

/// Reads user agents. One for the whole service.
pub struct Agents {
    known: Mutex<Known>,
    reader: Mutex<Option<Reader>>,
}

/// The rules of the data: for browsers, and for systems.
struct Reader {
    browsers: Rules,
    systems: Rules,
}

impl Default for Agents {
    fn default() -> Agents {
        Agents { known: Mutex::new(Known::new(REMEMBERED)), reader: Mutex::new(None) }
    }
}

impl Agents {
    /// What a text says. Of a text longer than [`Client::AGENT`] bytes, as much as that is read.
    pub fn parse(&self, text: &str) -> Arc<Agent> {
        let text = cut(text);
        if let Some(agent) = self.known().get(text) {
            return agent;
        }
        let agent = Arc::new(self.read(text));
        self.known().put(text, &agent);
        agent
    }

    /// Bytes that are remembered.
    pub fn remembered(&self) -> usize {
        self.known().bytes()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One text at a time: what the rules need to search with is kept once, not once for every thread.
    fn read(&self, text: &str) -> Agent {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.get_or_insert_with(Reader::new).read(text)
    }
}

impl Reader {
    fn new() -> Reader {
        let (browsers, systems) = table::sections();
        Reader { browsers: Rules::new(browsers), systems: Rules::new(systems) }
    }

    fn read(&mut self, text: &str) -> Agent {
        let browser = self.browsers.find(text);
        let system = self.systems.find(text).filter(|found| found.family != "Other");
        let os = system.as_ref().and_then(|found| bounded(&found.family));
        let robot = device::is_robot(text);
        let family = browser.as_ref().and_then(|found| bounded(&found.family));
        // Browsers have called themselves Mozilla for thirty years; nothing else has a reason to.
        let is_browser =
            family.is_some() && !robot && (text.starts_with("Mozilla/") || text.starts_with("Opera/"));
        let device = match () {
            () if robot => device::Device::Bot,
            () if is_browser => device::of(text, os),
            () => device::Device::Other,
        };
        let version = system
            .as_ref()
            .and_then(|found| Some([found.major.as_deref()?, found.minor.as_deref().unwrap_or("0")]));
        let version = version.map(|[major, minor]| match minor {
            "0" => major.to_owned(),
            minor => format!("{major}.{minor}"),
        });
        let os_version = version.as_deref().zip(os).and_then(|(version, os)| believed(os, version));
        let major = browser.as_ref().and_then(|found| found.major.as_deref()?.parse().ok());
        Agent { browser: family, major, os, os_version, model: None, device, is_browser }.keep()
    }
}

/// As much of a text as is looked at.
pub fn cut(text: &str) -> &str {
    let end = (0..=Client::AGENT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
