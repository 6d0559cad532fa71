//! What one agent is to another: pairs made of the project's cases, and real ones that look alarming and are not.

use super::corpus;
use handstamp_core::agent::change::{Change, brand, change};
use handstamp_core::agent::rule::{Outcome, judge};
use handstamp_core::agent::{Agent, Device};
use handstamp_core::policy::modes::OnAgent;
use handstamp_core::policy::{Origin, Sourced};
use handstamp_server::agents::Agents;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Browsers of the cases, read.
fn browsers(agents: &Agents) -> Vec<Arc<Agent>> {
    let texts = corpus::cases("tests/test_ua.yaml").into_iter().map(|case| case.text);
    let read = texts.map(|text| agents.parse(&text));
    let mut known: Vec<Arc<Agent>> =
        read.filter(|agent| agent.is_browser && agent.os.is_some() && agent.major.is_some()).collect();
    known.sort_by_key(|agent| format!("{agent:?}"));
    known.dedup();
    known
}

/// Every pair of the cases, and what is expected of it by nothing but their names: this is the oracle, so it knows no
/// exception but those that it names.
#[test]
fn pairs_of_the_projects_cases() {
    let agents = Agents::default();
    let known = browsers(&agents);
    let mut counts: BTreeMap<Change, u32> = BTreeMap::new();
    let linux = ["Linux", "Ubuntu", "Debian", "Fedora", "Red Hat", "Gentoo", "Mandriva"];
    let mobile = [("iOS", "Mac OS X"), ("Android", "Linux"), ("Android", "Ubuntu")];
    for before in &known {
        for after in &known {
            let (a, b) = (before.view(), after.view());
            let (os_a, os_b) = (a.os.unwrap(), b.os.unwrap());
            // What has a test of its own below.
            let hard = |x: &str, y: &str| {
                mobile.contains(&(x, y))
                    || mobile.contains(&(y, x))
                    || linux.contains(&x) && linux.contains(&y)
                    || x.starts_with("Mac OS") && y.starts_with("Mac OS")
                    || x.starts_with("Windows ") && y.starts_with("Windows ")
            };
            if os_a != os_b && hard(os_a, os_b) {
                continue;
            }
            let makers = [a.browser.unwrap(), b.browser.unwrap()].map(brand);
            if makers[0] != makers[1]
                && makers.iter().all(|maker| ["Chrome", "Brave", "Vivaldi"].contains(maker))
            {
                continue;
            }
            let expected = match () {
                () if os_a != os_b => Change::OtherOs,
                () if makers[0] != makers[1] => Change::OtherBrowser,
                () if a.device != b.device && a.device != Device::Other && b.device != Device::Other => {
                    Change::OtherDeviceClass
                }
                () if b.major > a.major => Change::Upgrade,
                () if b.major < a.major => Change::Downgrade,
                () => Change::None,
            };
            assert_eq!(change(&a, &b), expected, "{a:?}\n{b:?}");
            *counts.entry(expected).or_default() += 1;
        }
    }
    println!("{} browsers; pairs: {counts:?}", known.len());
    assert!(
        Change::ALL.iter().all(|class| counts.get(class).is_some_and(|count| *count >= 50)),
        "{counts:?}"
    );
}

/// The same text with the next version in it is an upgrade, and back a downgrade.
#[test]
fn the_next_version_of_every_browser() {
    let agents = Agents::default();
    let mut tried = 0;
    for case in corpus::cases("tests/test_ua.yaml") {
        let before = agents.parse(&case.text);
        let Some(major) = before.major.filter(|_| before.is_browser) else { continue };
        let (old, new) = (format!("/{major}."), format!("/{}.", major + 1));
        if case.text.matches(&old).count() != 1 {
            continue;
        }
        let after = agents.parse(&case.text.replace(&old, &new));
        // A rule may be about this one version.
        if after.major != Some(major + 1) || (&after.browser, &after.os) != (&before.browser, &before.os) {
            continue;
        }
        assert_eq!(
            (change(&*before, &*after), change(&*after, &*before)),
            (Change::Upgrade, Change::Downgrade),
            "{}",
            case.text
        );
        tried += 1;
    }
    println!("{tried} browsers were updated");
    assert!(tried > 200, "{tried}");
}

const WINDOWS_CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
const WINDOWS_CHROME_FULL: &str = "Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.6613.120 Safari/537.36";
const WINDOWS_EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36 Edg/128.0.0.0";
const WINDOWS_FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
const MAC_CHROME: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
const MAC_SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";
const LINUX_CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
const LINUX_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:129.0) Gecko/20100101 Firefox/129.0";
const UBUNTU_FIREFOX: &str = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const IPAD: &str = "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const IPAD_CHROME: &str = "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/128.0.6613.98 Mobile/15E148 Safari/604.1";
const IPAD_CHROME_DESKTOP: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/128 Version/11.1.1 Safari/605.1.15";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const IPHONE_WEBVIEW: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";
const IPHONE_FACEBOOK: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/476.0.0.45.107;FBBV/629]";
const PIXEL: &str = "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.6613.127 Mobile Safari/537.36";
const PIXEL_REDUCED: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Mobile Safari/537.36";
const PIXEL_NEXT: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36";
const PIXEL_WEBVIEW: &str = "Mozilla/5.0 (Linux; Android 13; Pixel 7 Build/TQ3A.230805.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/128.0.6613.127 Mobile Safari/537.36";
const TABLET: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
const PHONE_EDGE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Mobile Safari/537.36 EdgA/128.0.0.0";
const LINUX_EDGE: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36 Edg/128.0.0.0";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

#[test]
fn real_pairs() {
    let agents = Agents::default();
    use Change::{Downgrade, OtherBrowser, OtherDeviceClass, OtherOs, Upgrade};
    for (before, after, expected) in [
        // Reduced texts: the build number, the model and the version of the system go.
        (WINDOWS_CHROME_FULL, WINDOWS_CHROME, Change::None),
        (PIXEL, PIXEL_REDUCED, Change::None),
        (PIXEL, PIXEL_NEXT, Upgrade),
        (PIXEL_NEXT, PIXEL_REDUCED, Downgrade),
        // The desktop's version of a page.
        (IPAD, MAC_SAFARI, Change::None),
        (MAC_SAFARI, IPAD, Change::None),
        (IPAD_CHROME, IPAD_CHROME_DESKTOP, Change::None),
        (PIXEL_REDUCED, LINUX_CHROME, Change::None),
        (PHONE_EDGE, LINUX_EDGE, Change::None),
        (TABLET, LINUX_CHROME, Change::None),
        (IPHONE, MAC_SAFARI, Change::None),
        // Inside of apps.
        (IPHONE, IPHONE_WEBVIEW, Change::None),
        (PIXEL, PIXEL_WEBVIEW, Change::None),
        (IPHONE, IPHONE_FACEBOOK, OtherBrowser),
        // The name of a distribution goes.
        (UBUNTU_FIREFOX, LINUX_FIREFOX, Upgrade),
        // What did move.
        (MAC_CHROME, WINDOWS_CHROME, OtherOs),
        (WINDOWS_CHROME, PIXEL_REDUCED, OtherOs),
        (IPHONE, PIXEL, OtherOs),
        (IPAD, MAC_CHROME, OtherOs),
        (PIXEL_NEXT, LINUX_CHROME, OtherOs),
        (WINDOWS_CHROME, WINDOWS_FIREFOX, OtherBrowser),
        (WINDOWS_CHROME, WINDOWS_EDGE, OtherBrowser),
        (MAC_CHROME, MAC_SAFARI, OtherBrowser),
        (PIXEL_REDUCED, TABLET, OtherDeviceClass),
        (IPHONE, IPAD, OtherDeviceClass),
    ] {
        assert_eq!(change(&*agents.parse(before), &*agents.parse(after)), expected, "{before}\n{after}");
    }
}

#[test]
fn what_is_no_browser_ends_nothing() {
    let agents = Agents::default();
    let end = Sourced { value: OnAgent::End, origin: Origin::Default };
    let outcome = |before: &str, after: &str| {
        judge(&end, Some(agents.parse(before).view()), Some(agents.parse(after).view()))
    };
    for server in [
        "axios/1.7.2",
        "node",
        "okhttp/4.12.0",
        "python-requests/2.32",
        "curl/8.5.0",
        "Go-http-client/2.0",
        "Dart/3.4 (dart:io)",
        GOOGLEBOT,
        "x",
        "",
    ] {
        assert!(matches!(outcome(WINDOWS_CHROME, server), Outcome::Log(_)), "{server}");
        assert!(matches!(outcome(server, WINDOWS_CHROME), Outcome::Log(_)), "{server}");
        assert_eq!(outcome(server, server), Outcome::Allowed, "{server}");
    }
    assert!(matches!(outcome(MAC_CHROME, WINDOWS_CHROME), Outcome::End(_)));
}

#[test]
fn names_for_people() {
    let agents = Agents::default();
    for (text, expected) in [
        (WINDOWS_FIREFOX, "Firefox 128 on Windows"),
        (MAC_SAFARI, "Safari 17 on macOS"),
        (IPHONE, "Safari 17 on iOS 17.5"),
        (IPAD, "Safari 17 on iPadOS 17.5"),
        (PIXEL, "Chrome 128 on Android 13"),
        (PIXEL_REDUCED, "Chrome 128 on Android"),
        (WINDOWS_EDGE, "Edge 128 on Windows"),
        (IPHONE_FACEBOOK, "Facebook 476 on iOS 17.5"),
        ("curl/8.5.0", "curl 8"),
        ("my own client", "Unknown browser"),
    ] {
        assert_eq!(agents.parse(text).display_name(), expected);
    }
}
