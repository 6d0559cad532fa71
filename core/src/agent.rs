//! What a user agent says of itself: which browser, on which system, on what kind of device.
//!
//! Who reads the text knows its many spellings; here is only what was read, how it is said to a person, what counts as
//! another one ([`change`]), and what a policy makes of that ([`rule`]). Names are those of the uap-core data, such as
//! `Mobile Safari` and `Mac OS X`.

use std::fmt;

pub mod change;
pub mod device;
pub mod hints;
pub mod rule;

pub use device::Device;

/// What was read of a user agent. `T` is a text: [`Box<str>`] for one that is kept, `&str` for one that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Agent<T = Box<str>> {
    /// The family of the browser, robot or library. `None`: nobody knows it.
    pub browser: Option<T>,
    /// Its major version.
    pub major: Option<u32>,
    /// The family of the system.
    pub os: Option<T>,
    /// The version of the system, where it can be believed: most browsers have frozen what they say here.
    pub os_version: Option<T>,
    /// The model of the device, where a client hint named it.
    pub model: Option<T>,
    /// The kind of device.
    pub device: Device,
    /// Whether a person sits behind it. A robot, a library or a server that forwards its own agent is no browser.
    pub is_browser: bool,
}

/// The most bytes of each text of an [`Agent`]; some are cut out of what a stranger sent.
pub const TEXT: usize = 64;

/// Systems and their versions that browsers go on naming whatever they run on.
const FROZEN: &[(&str, &str)] = &[("Windows", "10"), ("Mac OS X", "10.15"), ("Android", "10")];

impl<T: AsRef<str>> Agent<T> {
    /// The same, to be looked at.
    pub fn view(&self) -> Agent<&str> {
        fn seen<T: AsRef<str>>(text: Option<&T>) -> Option<&str> {
            text.map(AsRef::as_ref)
        }
        Agent {
            browser: seen(self.browser.as_ref()),
            major: self.major,
            os: seen(self.os.as_ref()),
            os_version: seen(self.os_version.as_ref()),
            model: seen(self.model.as_ref()),
            device: self.device,
            is_browser: self.is_browser,
        }
    }

    /// For a list of one's own devices: `Firefox 128 on Windows`, `Safari 17 on iOS 17.5`, `Unknown browser`.
    pub fn display_name(&self) -> String {
        DisplayName(self.view()).to_string()
    }
}

impl Agent<&str> {
    /// The same, to be kept.
    pub fn keep(self) -> Agent {
        let kept = |text: Option<&str>| text.map(Box::from);
        Agent {
            browser: kept(self.browser),
            major: self.major,
            os: kept(self.os),
            os_version: kept(self.os_version),
            model: kept(self.model),
            device: self.device,
            is_browser: self.is_browser,
        }
    }
}

/// See [`Agent::display_name`]; written without an allocation.
pub struct DisplayName<'a>(pub Agent<&'a str>);

impl fmt::Display for DisplayName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agent = &self.0;
        f.write_str(agent.browser.map_or("Unknown browser", change::brand))?;
        if let Some(major) = agent.major {
            write!(f, " {major}")?;
        }
        if let Some(os) = agent.os {
            write!(f, " on {}", spoken(os, agent.device))?;
        }
        if let Some(version) = agent.os_version {
            write!(f, " {version}")?;
        }
        match agent.model {
            Some(model) => write!(f, " ({model})"),
            None => Ok(()),
        }
    }
}

/// What people call a system.
fn spoken(os: &str, device: Device) -> &str {
    match (os, device) {
        ("Mac OS X", _) => "macOS",
        ("iOS", Device::Tablet) => "iPadOS",
        ("ATV OS X", _) => "tvOS",
        (os, _) => os,
    }
}

/// A text within [`TEXT`], without what does not print; `None` when nothing is left.
pub fn bounded(text: &str) -> Option<&str> {
    let text = text.split(char::is_control).next().unwrap_or_default().trim();
    let end = (0..=TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let text = text.get(..end.min(text.len())).unwrap_or_default().trim_end();
    (!text.is_empty()).then_some(text)
}

/// The version of a system as far as it says something.
pub fn believed<'a>(os: &str, version: &'a str) -> Option<&'a str> {
    let frozen = FROZEN.iter().any(|(frozen, at)| {
        *frozen == os && version.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    if frozen { None } else { bounded(version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_people() {
        let agent = |browser, major, os, os_version, device| Agent {
            browser,
            major,
            os,
            os_version,
            model: None,
            device,
            is_browser: true,
        };
        let windows = agent(Some("Firefox"), Some(128), Some("Windows"), None, Device::Desktop);
        assert_eq!(windows.display_name(), "Firefox 128 on Windows");
        assert_eq!(windows.keep().view(), windows);
        for (said, expected) in [
            (
                agent(Some("Mobile Safari"), Some(17), Some("iOS"), Some("17.5"), Device::Mobile),
                "Safari 17 on iOS 17.5",
            ),
            (
                agent(Some("Mobile Safari"), Some(17), Some("iOS"), None, Device::Tablet),
                "Safari 17 on iPadOS",
            ),
            (
                agent(Some("Chrome"), Some(128), Some("Mac OS X"), None, Device::Desktop),
                "Chrome 128 on macOS",
            ),
            (agent(None, None, Some("Android"), None, Device::Mobile), "Unknown browser on Android"),
            (agent(Some("curl"), Some(8), None, None, Device::Other), "curl 8"),
            (agent(None, None, None, None, Device::Other), "Unknown browser"),
        ] {
            assert_eq!(said.display_name(), expected);
        }
        let pixel = Agent { model: Some("Pixel 8"), os_version: Some("14"), ..windows };
        assert_eq!(pixel.display_name(), "Firefox 128 on Windows 14 (Pixel 8)");
    }

    #[test]
    fn texts_are_bounded_and_print() {
        let long = "é".repeat(40);
        assert_eq!(bounded(&long).map(str::len), Some(64));
        assert_eq!(bounded(" a\u{1b}[31m"), Some("a"));
        assert_eq!(bounded(&format!("{} b", "a".repeat(63))).map(str::len), Some(63));
        assert_eq!([bounded(""), bounded(" \n"), bounded("\0x")], [None; 3]);
    }

    #[test]
    fn frozen_versions_are_not_believed() {
        for (os, version, expected) in [
            ("Windows", "10", None),
            ("Windows", "7", Some("7")),
            ("Mac OS X", "10.15", None),
            ("Mac OS X", "10.15.7", None),
            ("Mac OS X", "10.14.6", Some("10.14.6")),
            ("Android", "10", None),
            ("Android", "14", Some("14")),
            ("iOS", "17.5", Some("17.5")),
            ("iOS", "", None),
        ] {
            assert_eq!(believed(os, version), expected, "{os} {version}");
        }
    }
}
