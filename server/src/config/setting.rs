//! How one value is read and shown, whichever layer it came from.
//!
//! A file gives typed values, an environment variable or a flag gives loose text. Each type of the configuration says
//! once what it makes of either, how it is shown, and what its JSON Schema is; the table of keys, the sample file, the
//! schema and `config show` all follow from that.

use handstamp_core::time::Span;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a layer said, before anybody knows whether it is right. No `Debug`: it may hold a secret.
#[derive(Clone)]
pub enum Given {
    /// From the environment, a flag or the table of defaults: a number or a list is written as text there.
    Loose(String),
    /// A string of the file.
    Text(String),
    /// A whole number of the file.
    Whole(i64),
    /// A number of the file that is not whole.
    Fraction(f64),
    /// `true` or `false` in the file.
    Flag(bool),
    /// An array of the file.
    List(Vec<Given>),
    /// A table of the file, in its order.
    Map(Vec<(String, Given)>),
    /// Something no key takes (a date).
    Other(&'static str),
}

impl Given {
    /// What it is, for an error message.
    pub fn word(&self) -> &'static str {
        match self {
            Given::Loose(_) | Given::Text(_) => "a text",
            Given::Whole(_) => "a number",
            Given::Fraction(_) => "a number with a fraction",
            Given::Flag(_) => "true or false",
            Given::List(_) => "a list",
            Given::Map(_) => "a table",
            Given::Other(word) => word,
        }
    }
}

/// A type of the configuration.
pub trait Setting: Sized {
    /// What a person calls it.
    const WORD: &'static str;

    /// Makes the value.
    ///
    /// # Errors
    /// A sentence that begins with a verb or the value, says what is wrong and what would be right.
    fn read(given: &Given) -> Result<Self, String>;

    /// As `config show` shows it; what it gives can be written into the file again. Secrets say `(set)`.
    fn show(&self) -> Json;

    /// JSON Schema of it.
    fn schema() -> Json;

    /// Its size in its smallest unit, for keys with a range.
    fn size(&self) -> Option<u64> {
        None
    }

    /// How a size is written.
    fn size_text(size: u64) -> String {
        size.to_string()
    }
}

/// A type that is one text in every layer.
pub trait Word: Sized {
    /// See [`Setting::WORD`].
    const NAME: &'static str;
    /// See [`Setting::read`].
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    fn parse(text: &str) -> Result<Self, String>;
    /// The text again.
    fn text(&self) -> String;
    /// A pattern, or a list of choices, for the schema.
    fn schema() -> Json {
        json!({"type": "string"})
    }
    /// See [`Setting::size`].
    fn size(&self) -> Option<u64> {
        None
    }
    /// See [`Setting::size_text`].
    fn size_text(size: u64) -> String {
        size.to_string()
    }
}

impl<T: Word> Setting for T {
    const WORD: &'static str = T::NAME;
    fn read(given: &Given) -> Result<T, String> {
        match given {
            Given::Loose(text) => T::parse(text.trim()),
            Given::Text(text) => T::parse(text),
            other => Err(format!("is {}: write {} in quotes", other.word(), T::NAME)),
        }
    }
    fn show(&self) -> Json {
        json!(self.text())
    }
    fn schema() -> Json {
        T::schema()
    }
    fn size(&self) -> Option<u64> {
        Word::size(self)
    }
    fn size_text(size: u64) -> String {
        <T as Word>::size_text(size)
    }
}

impl Setting for bool {
    const WORD: &'static str = "true or false";
    fn read(given: &Given) -> Result<bool, String> {
        match given {
            Given::Flag(flag) => Ok(*flag),
            Given::Loose(text) if text.trim() == "true" => Ok(true),
            Given::Loose(text) if text.trim() == "false" => Ok(false),
            Given::Loose(text) => Err(format!("`{}` is not true or false", text.escape_debug())),
            other => Err(format!("is {}: write true or false, without quotes", other.word())),
        }
    }
    fn show(&self) -> Json {
        json!(self)
    }
    fn schema() -> Json {
        json!({"type": "boolean"})
    }
}

impl Setting for u32 {
    const WORD: &'static str = "number";
    fn read(given: &Given) -> Result<u32, String> {
        let wrong =
            |text: &str| format!("`{}` is not a whole number from 0 to {}", text.escape_debug(), u32::MAX);
        match given {
            Given::Whole(n) => u32::try_from(*n).map_err(|_| wrong(&n.to_string())),
            Given::Loose(text) => text.trim().parse().map_err(|_| wrong(text)),
            other => Err(format!("is {}: write a whole number, without quotes", other.word())),
        }
    }
    fn show(&self) -> Json {
        json!(self)
    }
    fn schema() -> Json {
        json!({"type": "integer", "minimum": 0})
    }
    fn size(&self) -> Option<u64> {
        Some(u64::from(*self))
    }
}

/// An empty text is "none", so that an environment variable can take away what the file says.
impl<T: Setting> Setting for Option<T> {
    const WORD: &'static str = T::WORD;
    fn read(given: &Given) -> Result<Option<T>, String> {
        match given {
            Given::Loose(text) | Given::Text(text) if text.trim().is_empty() => Ok(None),
            given => T::read(given).map(Some),
        }
    }
    fn show(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::show)
    }
    fn schema() -> Json {
        T::schema()
    }
    fn size(&self) -> Option<u64> {
        self.as_ref().and_then(T::size)
    }
    fn size_text(size: u64) -> String {
        T::size_text(size)
    }
}

/// In the file an array; elsewhere separated by commas. An empty text is an empty list.
impl<T: Setting> Setting for Vec<T> {
    const WORD: &'static str = "list";
    fn read(given: &Given) -> Result<Vec<T>, String> {
        match given {
            Given::List(items) => items.iter().map(T::read).collect(),
            Given::Loose(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| T::read(&Given::Loose(part.to_owned())))
                .collect(),
            other => Err(format!("is {}: write a list such as [\"one\", \"two\"]", other.word())),
        }
    }
    fn show(&self) -> Json {
        self.iter().map(T::show).collect()
    }
    fn schema() -> Json {
        json!({"type": "array", "items": T::schema()})
    }
}

impl Word for SocketAddr {
    const NAME: &'static str = "an address and a port";
    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            format!(
                "`{}` is not an address and a port: write them such as \"127.0.0.1:7411\", \"[::1]:7411\", or \
                 \"0.0.0.0:7411\" for every address of the machine",
                text.escape_debug()
            )
        })
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Word for PathBuf {
    const NAME: &'static str = "a path";
    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("is not a path: write one such as \"/var/lib/handstamp\"".to_owned());
        }
        Ok(PathBuf::from(text))
    }
    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Word for Span {
    const NAME: &'static str = "a duration";
    fn parse(text: &str) -> Result<Span, String> {
        Span::parse(text)
    }
    fn text(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"})
    }
    fn size(&self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
    fn size_text(size: u64) -> String {
        Span(i64::try_from(size).unwrap_or(i64::MAX)).to_string()
    }
}

/// A number of bytes: `512MiB`, `"64KiB"`, or a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    fn parse(text: &str) -> Result<ByteSize, String> {
        let wrong = || {
            format!(
                "`{}` is not a size: write a number of bytes, or one with a unit such as \"512MiB\" or \"2GiB\"",
                text.escape_debug()
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim();
        let scale = if unit.is_empty() {
            1
        } else {
            UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1
        };
        number.checked_mul(scale).map(ByteSize).ok_or_else(wrong)
    }
}

impl Setting for ByteSize {
    const WORD: &'static str = "size in bytes";
    fn read(given: &Given) -> Result<ByteSize, String> {
        match given {
            Given::Whole(n) => {
                u64::try_from(*n).map(ByteSize).map_err(|_| format!("`{n}` is not a size: it is below zero"))
            }
            Given::Loose(text) | Given::Text(text) => ByteSize::parse(text.trim()),
            other => Err(format!("is {}: write a size such as \"512MiB\"", other.word())),
        }
    }
    fn show(&self) -> Json {
        json!(Self::size_text(self.0))
    }
    fn schema() -> Json {
        json!({"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+ *([KMGT]iB|[KMG]B|B)?$"})
    }
    fn size(&self) -> Option<u64> {
        Some(self.0)
    }
    fn size_text(size: u64) -> String {
        let exact = UNITS.iter().take(4).find(|(_, scale)| size > 0 && size.is_multiple_of(*scale));
        match exact {
            Some((name, scale)) => format!("{}{name}", size / scale),
            None => format!("{size}B"),
        }
    }
}

/// An enum whose values are words of the file.
macro_rules! choices {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// The word that stands in the file.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl $crate::config::setting::Word for $name {
            const NAME: &'static str = "a word";
            fn parse(text: &str) -> Result<$name, String> {
                $(if text.eq_ignore_ascii_case($text) { return Ok($name::$variant); })+
                Err(format!("`{}` is not one of {}", text.escape_debug(), [$($text),+].join(", ")))
            }
            fn text(&self) -> String {
                self.word().to_owned()
            }
            fn schema() -> serde_json::Value {
                serde_json::json!({"enum": [$($text),+]})
            }
        }
    };
}
pub(super) use choices;

/// Whole seconds of a duration such as `30d`, for flags of the command line and bodies of the API.
///
/// # Errors
/// A sentence that says what would be right.
pub fn seconds(text: &str) -> Result<i64, String> {
    let span = Span::parse(text)?;
    if span.0 % 1_000 != 0 {
        return Err(format!("`{text}` is not a number of whole seconds: write such as \"90s\""));
    }
    Ok(span.as_secs())
}
