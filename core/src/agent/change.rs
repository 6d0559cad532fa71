//! Whether one user agent can be the other one some time later.
//!
//! What a browser says changes all the time without anything having moved: it is updated, it freezes parts of its text,
//! it is asked for the desktop's version of a page. None of that is news. Another browser, another system or another
//! kind of device is: the browser that holds a session does not become another one.

use super::{Agent, Device};

/// What became of a user agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Change {
    /// Nothing that counts.
    None,
    /// A newer major version of the same browser.
    Upgrade,
    /// An older major version of the same browser: rare, and no proof of anything.
    Downgrade,
    /// Another browser on the same system.
    OtherBrowser,
    /// Another system.
    OtherOs,
    /// The same browser and system on another kind of device.
    OtherDeviceClass,
}

impl Change {
    /// All of them.
    pub const ALL: &'static [Change] = &[
        Change::None,
        Change::Upgrade,
        Change::Downgrade,
        Change::OtherBrowser,
        Change::OtherOs,
        Change::OtherDeviceClass,
    ];

    /// The word of explanations.
    pub const fn text(self) -> &'static str {
        match self {
            Change::None => "none",
            Change::Upgrade => "upgrade",
            Change::Downgrade => "downgrade",
            Change::OtherBrowser => "other_browser",
            Change::OtherOs => "other_os",
            Change::OtherDeviceClass => "other_device_class",
        }
    }
}

/// From one to the other: the system speaks first, then the browser, then the device, then the version.
///
/// What one of the two does not say is not compared.
pub fn change<A: AsRef<str>, B: AsRef<str>>(before: &Agent<A>, after: &Agent<B>) -> Change {
    let (before, after) = (before.view(), after.view());
    let asked_for_desktop = is_desktop_mode(before, after) || is_desktop_mode(after, before);
    if !asked_for_desktop && differ(before.os.map(system), after.os.map(system)) {
        return Change::OtherOs;
    }
    if differ(before.browser.map(maker), after.browser.map(maker)) {
        return Change::OtherBrowser;
    }
    let device = |agent: Agent<&str>| Some(agent.device).filter(|device| *device != Device::Other);
    if !asked_for_desktop && differ(device(before), device(after)) {
        return Change::OtherDeviceClass;
    }
    match (before.major, after.major) {
        (Some(before), Some(after)) if before < after => Change::Upgrade,
        (Some(before), Some(after)) if before > after => Change::Downgrade,
        _ => Change::None,
    }
}

fn differ<T: PartialEq>(before: Option<T>, after: Option<T>) -> bool {
    before.is_some() && after.is_some() && before != after
}

/// The browser that people know behind a family of the data: the same one on a phone, on a tablet, inside of an app that
/// does not name itself (a web view is the system's own browser), or in a build for testers.
pub fn brand(family: &str) -> &str {
    match family {
        "Chrome Mobile" | "Chrome Mobile iOS" | "Chrome Mobile WebView" => "Chrome",
        "Mobile Safari" | "Mobile Safari UI/WKWebView" => "Safari",
        "Firefox Mobile" | "Firefox iOS" | "Firefox Beta" | "Firefox Alpha" => "Firefox",
        "Edge Mobile" => "Edge",
        "Opera Mobile" | "Opera Tablet" => "Opera",
        "IE Mobile" | "IE Large Screen" => "IE",
        "QQ Browser Mobile" | "QQ Browser Mini" => "QQ Browser",
        "DuckDuckGo Mobile" => "DuckDuckGo",
        family => family,
    }
}

/// As [`brand`]; and those whose text is Chrome's, word for word, unless a client hint names them.
fn maker(family: &str) -> &str {
    match brand(family) {
        "Brave" | "Vivaldi" => "Chrome",
        brand => brand,
    }
}

/// The system behind the many names of one: distributions come and go in the text of one and the same browser.
fn system(os: &str) -> &str {
    match os {
        "Ubuntu" | "Debian" | "Fedora" | "Red Hat" | "Gentoo" | "Mandriva" | "SUSE" | "CentOS"
        | "Arch Linux" | "Mint" | "Kubuntu" | "Slackware" | "PCLinuxOS" => "Linux",
        "Mac OS" => "Mac OS X",
        "Windows Mobile" => "Windows Phone",
        os => os,
    }
}

/// Whether `desktop` can be `handheld` that was asked for the desktop's version of a page, as iPads are from the start:
/// it then names the system its own descends from.
///
/// On a tablet that is daily life, and goes on over updates. On a phone somebody has to ask for it; there the version must be
/// the same, so that a session that went from a phone to a computer is still mostly seen.
fn is_desktop_mode(handheld: Agent<&str>, desktop: Agent<&str>) -> bool {
    let systems = matches!(
        (handheld.os.map(system), desktop.os.map(system)),
        (Some("iOS"), Some("Mac OS X")) | (Some("Android"), Some("Linux"))
    );
    let kinds = desktop.device == Device::Desktop
        && match handheld.device {
            Device::Tablet => true,
            Device::Mobile => handheld.major.is_some() && handheld.major == desktop.major,
            Device::Desktop | Device::Tv | Device::Bot | Device::Other => false,
        };
    systems && kinds && handheld.browser.map(maker) == desktop.browser.map(maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(browser: &'static str, major: u32, os: &'static str, device: Device) -> Agent<&'static str> {
        Agent {
            browser: Some(browser),
            major: Some(major),
            os: Some(os),
            device,
            is_browser: true,
            ..Agent::default()
        }
    }

    #[test]
    fn each_class_has_both_sides() {
        let before = agent("Chrome", 128, "Windows", Device::Desktop);
        for (after, expected) in [
            (before, Change::None),
            (agent("Chrome", 129, "Windows", Device::Desktop), Change::Upgrade),
            (agent("Chrome", 127, "Windows", Device::Desktop), Change::Downgrade),
            (agent("Firefox", 128, "Windows", Device::Desktop), Change::OtherBrowser),
            (agent("Edge", 128, "Windows", Device::Desktop), Change::OtherBrowser),
            (agent("Brave", 128, "Windows", Device::Desktop), Change::None),
            (agent("Chrome", 128, "Mac OS X", Device::Desktop), Change::OtherOs),
            (agent("Firefox", 128, "Mac OS X", Device::Desktop), Change::OtherOs),
            (agent("Chrome", 128, "Windows", Device::Tv), Change::OtherDeviceClass),
            (agent("Chrome", 128, "Windows", Device::Other), Change::None),
            (Agent { os: None, ..before }, Change::None),
            (Agent { browser: None, ..before }, Change::None),
            (Agent { major: None, ..before }, Change::None),
        ] {
            assert_eq!(change(&before, &after), expected, "{after:?}");
        }
        let phone = agent("Chrome Mobile", 128, "Android", Device::Mobile);
        let tablet = agent("Chrome Mobile", 128, "Android", Device::Tablet);
        assert_eq!(change(&phone, &tablet), Change::OtherDeviceClass);
        assert_eq!(
            change(&phone, &agent("Chrome Mobile WebView", 128, "Android", Device::Mobile)),
            Change::None
        );
        assert_eq!(change(&phone, &agent("Facebook", 128, "Android", Device::Mobile)), Change::OtherBrowser);
        let fox = agent("Firefox", 128, "Ubuntu", Device::Desktop);
        assert_eq!(change(&fox, &agent("Firefox", 129, "Linux", Device::Desktop)), Change::Upgrade);
    }

    #[test]
    fn the_desktops_version_of_a_page() {
        let safari = |major| agent("Safari", major, "Mac OS X", Device::Desktop);
        let ipad = agent("Mobile Safari", 17, "iOS", Device::Tablet);
        let iphone = agent("Mobile Safari", 17, "iOS", Device::Mobile);
        let tablet = agent("Chrome Mobile", 128, "Android", Device::Tablet);
        let phone = agent("Chrome Mobile", 128, "Android", Device::Mobile);
        let linux = |major| agent("Chrome", major, "Linux", Device::Desktop);
        for (before, after, expected) in [
            (ipad, safari(17), Change::None),
            (safari(17), ipad, Change::None),
            (ipad, safari(18), Change::Upgrade),
            (ipad, agent("Chrome", 128, "Mac OS X", Device::Desktop), Change::OtherOs),
            (ipad, agent("Safari", 17, "Windows", Device::Desktop), Change::OtherOs),
            (iphone, safari(17), Change::None),
            (iphone, safari(18), Change::OtherOs),
            (safari(16), iphone, Change::OtherOs),
            (tablet, linux(131), Change::Upgrade),
            (phone, linux(128), Change::None),
            (linux(128), phone, Change::None),
            (phone, linux(129), Change::OtherOs),
            (phone, agent("Chrome", 128, "Windows", Device::Desktop), Change::OtherOs),
            (phone, agent("Firefox", 128, "Linux", Device::Desktop), Change::OtherOs),
        ] {
            assert_eq!(change(&before, &after), expected, "{before:?} {after:?}");
        }
    }
}
