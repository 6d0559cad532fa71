//! What kind of device a user agent runs on, by its words: the fewest that tell them apart.

use std::fmt;

/// A kind of device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Device {
    /// A desktop or laptop computer.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet or reader.
    Tablet,
    /// A television, or a box behind one.
    Tv,
    /// No device of a person: a crawler, a monitor.
    Bot,
    /// Not known, or something else.
    #[default]
    Other,
}

impl Device {
    /// All of them.
    pub const ALL: &'static [Device] =
        &[Device::Desktop, Device::Mobile, Device::Tablet, Device::Tv, Device::Bot, Device::Other];

    /// The word of answers.
    pub const fn text(self) -> &'static str {
        match self {
            Device::Desktop => "desktop",
            Device::Mobile => "mobile",
            Device::Tablet => "tablet",
            Device::Tv => "tv",
            Device::Bot => "bot",
            Device::Other => "other",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// In small letters, as all the lists here.
const TELEVISION: &[&str] = &[
    "smart-tv",
    "smarttv",
    "smart tv",
    "hbbtv",
    "googletv",
    "google tv",
    "android tv",
    "androidtv",
    "appletv",
    "apple tv",
    "netcast",
    "web0s",
    "crkey",
    "bravia",
    "roku",
    "viera",
    "aquos",
    "playstation",
    "xbox",
    "nintendo",
    "; aft",
    "netrange",
    "dtv",
    "tizen tv",
    "tv safari",
    "large screen",
];
const TABLET: &[&str] =
    &["ipad", "tablet", "kindle", "playbook", "silk/", "touchpad", "nexus 7", "nexus 10", "xoom"];
const PHONE: &[&str] = &[
    "iphone",
    "ipod",
    "windows phone",
    "iemobile",
    "opera mini",
    "opera mobi",
    "mobile",
    "phone",
    "symbian",
    "blackberry",
    "bb10",
    "midp",
    "fennec",
    "kaios",
    "webos",
    "series40",
    "series60",
];
const DESKTOP: &[&str] =
    &["windows", "macintosh", "mac os x", "x11", "linux", "cros ", "bsd", "solaris", "sunos"];
const ROBOT: &[&str] = &[
    "crawl",
    "spider",
    "slurp",
    "headless",
    "phantomjs",
    "archiver",
    "facebookexternalhit",
    "mediapartners",
    "bingpreview",
    "lighthouse",
    "pingdom",
    "scrap",
    "feedfetcher",
    "feedburner",
    "validator",
    "uptime",
    "http://",
    "https://",
    "nutch",
    "ptst/",
    "statuscake",
    "internetarchive",
    "gomezagent",
    "thumbnail",
    "web preview",
    "xenu",
    "newsgator",
    "datanyze",
];

/// Whether a robot speaks. Robots that mean well name themselves, mostly with an address to read about them; others look
/// like browsers, and nobody can tell.
pub fn is_robot(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    any(&text, ROBOT) || names_a_bot(&text)
}

/// `bot` at the end of a word (`Googlebot/2.1`), but for the phones of that name.
fn names_a_bot(text: &str) -> bool {
    text.match_indices("bot").any(|(at, word)| {
        let (before, after) =
            (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        !after.starts_with(|c: char| c.is_ascii_alphanumeric()) && !before.ends_with("cu")
    })
}

/// The kind of device of a browser, by the text it sent and the family of its system.
pub fn of(text: &str, os: Option<&str>) -> Device {
    let text = text.to_ascii_lowercase();
    let tv = matches!(os, Some("tvOS" | "ATV OS X" | "GoogleTV" | "Web0S" | "Roku" | "FireHbbTV"));
    if tv || any(&text, TELEVISION) {
        return Device::Tv;
    }
    if matches!(os, Some("Android")) {
        // Chrome for Android says `Mobile` on phones only, and others follow.
        let phone = text.contains("mobile") && !any(&text, TABLET);
        return if phone { Device::Mobile } else { Device::Tablet };
    }
    // The desktop's version of a page, asked for by a browser that still names itself as one of iOS.
    if matches!(os, Some("iOS")) && text.contains("macintosh") {
        return Device::Tablet;
    }
    // A Windows with a touch screen says `Tablet PC` on any laptop.
    let windows = matches!(os, Some("Windows"));
    match () {
        () if windows => Device::Desktop,
        () if any(&text, TABLET) => Device::Tablet,
        () if any(&text, PHONE) => Device::Mobile,
        () if any(&text, DESKTOP) => Device::Desktop,
        () => Device::Other,
    }
}

fn any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_devices() {
        for (text, os, expected) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Windows",
                Device::Desktop,
            ),
            ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)", "Windows", Device::Desktop),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148", "iOS", Device::Mobile),
            ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) Mobile/15E148", "iOS", Device::Tablet),
            (
                "Mozilla/5.0 (Linux; Android 10; K) Chrome/128.0.0.0 Mobile Safari/537.36",
                "Android",
                Device::Mobile,
            ),
            ("Mozilla/5.0 (Linux; Android 10; K) Chrome/128.0.0.0 Safari/537.36", "Android", Device::Tablet),
            ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/128.0.0.0", "Chrome OS", Device::Desktop),
            ("Mozilla/5.0 (Web0S; Linux/SmartTV) Chrome/79.0 Safari/537.36", "Web0S", Device::Tv),
            ("Mozilla/5.0 (Linux; Android 9; AFTT) Silk/100 like Chrome/100", "Android", Device::Tv),
            ("okhttp/4.12.0", "", Device::Other),
        ] {
            assert_eq!(of(text, Some(os).filter(|os| !os.is_empty())), expected, "{text}");
        }
    }

    #[test]
    fn robots_name_themselves() {
        for robot in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Twitterbot/1.0",
            "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/128.0.0.0 Safari/537.36",
            "Baiduspider",
        ] {
            assert!(is_robot(robot), "{robot}");
        }
        for person in [
            "Mozilla/5.0 (Linux; Android 7.0; CUBOT NOTE Plus) Chrome/64.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; Abbott Build) Chrome/64.0 Mobile",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/128.0.0.0 Safari/537.36",
            "",
        ] {
            assert!(!is_robot(person), "{person}");
        }
    }
}
