//! Client hints: what browsers say in fields of their own since their user agents are frozen (User-Agent Client Hints).
//!
//! They tell what the text hides: the version of the system, the model, a browser that calls itself Chrome. They never
//! contradict it, for later requests of the session are judged by the text alone.
//!
//! The values are structured fields (RFC 8941), read strictly: what is not one is refused, not guessed at.

use super::change::brand;
use super::{Agent, Device, bounded};

/// The most bytes of a value.
pub const LONGEST: usize = 512;
/// The most brands of a list.
const BRANDS: usize = 16;

/// A browser's name and its version.
pub type Brand = (Box<str>, Box<str>);

/// What was hinted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hints {
    /// `Sec-CH-UA`: names and versions, some of them made up on purpose.
    pub brands: Vec<Brand>,
    /// `Sec-CH-UA-Platform`.
    pub platform: Option<Box<str>>,
    /// `Sec-CH-UA-Platform-Version`.
    pub platform_version: Option<Box<str>>,
    /// `Sec-CH-UA-Mobile`.
    pub mobile: Option<bool>,
    /// `Sec-CH-UA-Model`.
    pub model: Option<Box<str>>,
}

/// A text that is no such structured field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOne;

/// Reads a string: `"Windows"`.
///
/// # Errors
/// [`NotOne`].
pub fn string(text: &str) -> Result<Box<str>, NotOne> {
    let (value, rest) = quoted(within(text)?.trim_matches(' '))?;
    if rest.is_empty() { Ok(value) } else { Err(NotOne) }
}

/// Reads a boolean: `?1`.
///
/// # Errors
/// [`NotOne`].
pub fn boolean(text: &str) -> Result<bool, NotOne> {
    match text.trim_matches(' ') {
        "?0" => Ok(false),
        "?1" => Ok(true),
        _ => Err(NotOne),
    }
}

/// Reads a list of brands: `"Chromium";v="128", "Not;A=Brand";v="24"`.
///
/// # Errors
/// [`NotOne`].
pub fn brands(text: &str) -> Result<Vec<Brand>, NotOne> {
    let mut rest = within(text)?.trim_matches(' ');
    let mut list = Vec::new();
    while !rest.is_empty() {
        let (name, after) = quoted(rest)?;
        let (version, after) = match after.strip_prefix(';') {
            Some(after) => quoted(after.trim_start_matches(' ').strip_prefix("v=").ok_or(NotOne)?)?,
            None => (Box::default(), after),
        };
        list.push((name, version));
        let blank = [' ', '\t'];
        rest = match after.trim_start_matches(blank) {
            "" => "",
            after => {
                let next = after.strip_prefix(',').ok_or(NotOne)?.trim_start_matches(blank);
                // A comma at the end, or too many.
                if next.is_empty() || list.len() >= BRANDS {
                    return Err(NotOne);
                }
                next
            }
        };
    }
    Ok(list)
}

fn within(text: &str) -> Result<&str, NotOne> {
    if text.len() <= LONGEST { Ok(text) } else { Err(NotOne) }
}

/// A quoted text at the beginning, and what comes after it.
fn quoted(text: &str) -> Result<(Box<str>, &str), NotOne> {
    let inside = text.strip_prefix('"').ok_or(NotOne)?;
    let mut value = String::new();
    let mut chars = inside.char_indices();
    loop {
        match chars.next().ok_or(NotOne)? {
            (at, '"') => return Ok((value.into(), inside.get(at + 1..).unwrap_or_default())),
            (_, '\\') => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                _ => return Err(NotOne),
            },
            (_, c @ ' '..='~') => value.push(c),
            _ => return Err(NotOne),
        }
    }
}

impl Hints {
    /// Whether nothing was hinted.
    pub fn is_empty(&self) -> bool {
        *self == Hints::default()
    }

    /// Adds to what the text said.
    #[must_use]
    pub fn refine(&self, agent: &Agent) -> Agent {
        let mut refined = agent.clone();
        if !agent.is_browser {
            return refined;
        }
        let hidden = |(name, _): &&Brand| matches!(&**name, "Brave" | "Vivaldi");
        if agent.browser.as_deref().map(brand) == Some("Chrome")
            && let Some((name, _)) = self.brands.iter().find(hidden)
        {
            refined.browser = Some(name.clone());
        }
        let same =
            self.platform.as_deref().map(family).is_some_and(|hinted| agent.os.as_deref() == Some(hinted));
        if same {
            let version = self.platform_version.as_deref().zip(agent.os.as_deref());
            if let Some(version) = version.and_then(|(version, os)| told(os, version)) {
                refined.os_version = Some(version);
            }
            refined.model = self.model.as_deref().and_then(bounded).map(Into::into);
            if self.mobile == Some(true) && agent.device == Device::Other {
                refined.device = Device::Mobile;
            }
        }
        refined
    }
}

/// The system as a user agent's reader calls it.
fn family(platform: &str) -> &str {
    match platform {
        "macOS" => "Mac OS X",
        "Chromium OS" => "Chrome OS",
        platform => platform,
    }
}

/// The version of a system as people know it.
fn told(os: &str, version: &str) -> Option<Box<str>> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next()??, parts.next().flatten().unwrap_or(0));
    match os {
        // It counts the versions of a part of the system: 11 began with 13.
        "Windows" => match major {
            0 => None,
            1..=12 => Some("10".into()),
            _ => Some("11".into()),
        },
        "Linux" => None,
        _ if minor == 0 => Some(major.to_string().into()),
        _ => Some(format!("{major}.{minor}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_fields_are_read_strictly() {
        assert_eq!(string("\"Windows\"").as_deref(), Ok("Windows"));
        assert_eq!(string(" \"a\\\"b\\\\c\" ").as_deref(), Ok("a\"b\\c"));
        assert_eq!(string("\"\"").as_deref(), Ok(""));
        let long = format!("\"{}\"", "a".repeat(LONGEST));
        for bad in [
            "",
            "Windows",
            "\"",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"é\"",
            "\"a\\b\"",
            "\"a\nb\"",
            "?1",
            "\"a\";v=1",
            &long,
        ] {
            assert_eq!(string(bad), Err(NotOne), "{bad}");
        }
        assert_eq!([boolean("?0"), boolean("?1")], [Ok(false), Ok(true)]);
        for bad in ["", "1", "true", "?2", "?", "??1", "\"?1\""] {
            assert_eq!(boolean(bad), Err(NotOne), "{bad}");
        }
        let list = brands("\"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\" ,\"Brave\"").unwrap();
        let names: Vec<(&str, &str)> = list.iter().map(|(name, version)| (&**name, &**version)).collect();
        assert_eq!(names, [("Chromium", "128"), ("Not;A=Brand", "24"), ("Brave", "")]);
        assert_eq!(brands(""), Ok(Vec::new()));
        let many = vec!["\"a\""; BRANDS + 1].join(",");
        for bad in [",", "\"a\",", "\"a\" \"b\"", "\"a\";v=1", "\"a\";w=\"1\"", "a", "\"a\",,\"b\"", &many] {
            assert_eq!(brands(bad), Err(NotOne), "{bad}");
        }
        assert_eq!(brands(&vec!["\"a\""; BRANDS].join(",")).map(|list| list.len()), Ok(BRANDS));
    }

    #[test]
    fn hints_tell_what_the_text_hides() {
        let agent = |os: &str, device| Agent {
            browser: Some("Chrome".into()),
            major: Some(128),
            os: Some(os.into()),
            device,
            is_browser: true,
            ..Agent::default()
        };
        let hints = |platform: &str, version: &str, model: &str| Hints {
            platform: Some(platform.into()),
            platform_version: Some(version.into()),
            model: Some(model.into()),
            ..Hints::default()
        };
        for (os, platform, version, model, expected) in [
            ("Windows", "Windows", "15.0.0", "", "Chrome 128 on Windows 11"),
            ("Windows", "Windows", "13.0.0", "", "Chrome 128 on Windows 11"),
            ("Windows", "Windows", "10.0.0", "", "Chrome 128 on Windows 10"),
            ("Windows", "Windows", "0.3.0", "", "Chrome 128 on Windows"),
            ("Windows", "macOS", "14.5.0", "x", "Chrome 128 on Windows"),
            ("Mac OS X", "macOS", "14.5.0", "", "Chrome 128 on macOS 14.5"),
            ("Android", "Android", "14.0.0", "Pixel 8", "Chrome 128 on Android 14 (Pixel 8)"),
            ("Android", "Android", "x", "", "Chrome 128 on Android"),
            ("Linux", "Linux", "6.8.0", "", "Chrome 128 on Linux"),
        ] {
            let refined = hints(platform, version, model).refine(&agent(os, Device::Desktop));
            assert_eq!(refined.display_name(), expected);
        }
        let brave =
            Hints { brands: brands("\"Chromium\";v=\"1\", \"Brave\";v=\"1\"").unwrap(), ..Hints::default() };
        assert_eq!(brave.refine(&agent("Windows", Device::Desktop)).browser.as_deref(), Some("Brave"));
        assert!(Hints::default().is_empty() && !brave.is_empty());
        let curl = Agent { is_browser: false, ..agent("Android", Device::Other) };
        assert_eq!(hints("Android", "14", "Pixel").refine(&curl), curl);
        let mobile = Hints { mobile: Some(true), ..hints("Android", "14", "") };
        assert_eq!(mobile.refine(&agent("Android", Device::Other)).device, Device::Mobile);
        assert_eq!(mobile.refine(&agent("Android", Device::Tablet)).device, Device::Tablet);
    }
}
