//! What a rule can be set to: how each type of value is read from a file or a body, shown again, bounded, and which of two
//! is the stricter.

use super::modes::{Assurance, DeviceMode, OnAddress, OnAgent, OnLimit, Rate};
use crate::address::{Network, Networks};
use crate::refusal::Value;
use crate::tag::Tag;
use crate::time::Span;
use std::fmt;
use std::sync::Arc;

/// What a file or a body says, before anybody knows whether it is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Given<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Number(i64),
    /// A list of texts.
    Texts(Vec<&'a str>),
    /// Something no rule takes; how a person calls it.
    Other(&'static str),
}

impl Given<'_> {
    const fn word(&self) -> &'static str {
        match self {
            Given::Text(_) => "a text",
            Given::Number(_) => "a number",
            Given::Texts(_) => "a list",
            Given::Other(word) => word,
        }
    }
}

/// A type of value.
pub trait Setting: Sized + Clone {
    /// Makes the value.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    fn read(given: &Given<'_>) -> Result<Self, String>;
    /// As files and bodies say it.
    fn show(&self) -> Value;
    /// What holds when both are asked for.
    #[must_use]
    fn stricter(&self, other: &Self) -> Self;
    /// A preset names times only.
    fn of_span(_: Span) -> Option<Self> {
        None
    }
}

/// When a session token is rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Every(pub Option<Span>);

/// How often somebody may ask, if there is a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget(pub Option<Rate>);

/// Names of tags, sorted, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TagNames(Box<[Box<str>]>);

impl TagNames {
    /// Reads each name.
    ///
    /// # Errors
    /// A sentence about the first that is none.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<TagNames, String> {
        let mut read = names.into_iter().map(name).collect::<Result<Vec<_>, _>>()?;
        read.sort_unstable();
        read.dedup();
        Ok(TagNames(read.into()))
    }
    /// What holds where nobody says anything: the tenant of a session stays.
    pub(super) fn org() -> TagNames {
        TagNames(Box::new(["org".into()]))
    }
    /// Whether the name of this tag is among them.
    pub fn names(&self, tag: &str) -> bool {
        tag.split_once(':').is_some_and(|(name, _)| self.0.iter().any(|held| &**held == name))
    }
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

fn name(text: &str) -> Result<Box<str>, String> {
    let tag = Tag::parse(&format!("{text}:x")).ok().filter(|tag| tag.name() == text);
    tag.map(|_| text.into()).ok_or_else(|| {
        format!(
            "`{}` is not the name of a tag: 1 to 64 of a-z 0-9 _ - . beginning with a letter, without a value",
            text.escape_debug()
        )
    })
}

fn text<'a>(given: &Given<'a>, example: &str) -> Result<&'a str, String> {
    let Given::Text(text) = given else {
        return Err(format!("is {}: write a text such as \"{example}\"", given.word()));
    };
    Ok(text)
}

impl Setting for Span {
    fn read(given: &Given<'_>) -> Result<Span, String> {
        Span::parse(text(given, "30d")?)
    }
    fn show(&self) -> Value {
        Value::Text(self.to_string().into())
    }
    fn stricter(&self, other: &Span) -> Span {
        *self.min(other)
    }
    fn of_span(span: Span) -> Option<Span> {
        Some(span)
    }
}

impl Setting for Every {
    fn read(given: &Given<'_>) -> Result<Every, String> {
        match text(given, "15m")? {
            "never" => Ok(Every(None)),
            text => {
                Span::parse(text).map(|span| Every(Some(span))).map_err(|why| format!("{why}, or \"never\""))
            }
        }
    }
    fn show(&self) -> Value {
        Value::Text(self.0.map_or_else(|| "never".to_owned(), |span| span.to_string()).into())
    }
    fn stricter(&self, other: &Every) -> Every {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Every(Some(a.min(b))),
            (a, b) => Every(a.or(b)),
        }
    }
}

impl Setting for u32 {
    fn read(given: &Given<'_>) -> Result<u32, String> {
        let Given::Number(n) = given else {
            return Err(format!("is {}: write a whole number, without quotes", given.word()));
        };
        u32::try_from(*n).map_err(|_| format!("`{n}` is not a whole number from 0 to {}", u32::MAX))
    }
    fn show(&self) -> Value {
        Value::Number(u64::from(*self))
    }
    fn stricter(&self, other: &u32) -> u32 {
        *self.min(other)
    }
}

impl Budget {
    /// Reads `15000/1h`, or `off`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Budget, String> {
        match text {
            "off" => Ok(Budget(None)),
            text => {
                Rate::parse(text).map(|rate| Budget(Some(rate))).map_err(|why| format!("{why}, or \"off\""))
            }
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(rate) => rate.fmt(f),
        }
    }
}

impl Setting for Budget {
    fn read(given: &Given<'_>) -> Result<Budget, String> {
        Budget::parse(text(given, "15000/1h")?)
    }
    fn show(&self) -> Value {
        Value::Text(self.to_string().into())
    }
    fn stricter(&self, other: &Budget) -> Budget {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Budget(Some(a.stricter(b))),
            (a, b) => Budget(a.or(b)),
        }
    }
}

impl Setting for TagNames {
    fn read(given: &Given<'_>) -> Result<TagNames, String> {
        let Given::Texts(names) = given else {
            return Err(format!("is {}: write a list such as [\"org\", \"role\"]", given.word()));
        };
        TagNames::parse(names.iter().copied())
    }
    fn show(&self) -> Value {
        Value::Texts(self.0.to_vec())
    }
    fn stricter(&self, other: &TagNames) -> TagNames {
        let mut both: Vec<Box<str>> = self.0.iter().chain(&other.0).cloned().collect();
        both.sort_unstable();
        both.dedup();
        TagNames(both.into())
    }
}

/// Networks, in the order they were written.
impl Setting for Arc<Networks> {
    fn read(given: &Given<'_>) -> Result<Arc<Networks>, String> {
        let Given::Texts(texts) = given else {
            return Err(format!(
                "is {}: write a list such as [\"203.0.113.0/24\", \"2001:db8::/32\"]",
                given.word()
            ));
        };
        let networks = texts.iter().map(|text| Network::parse(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Networks::new(networks)))
    }
    fn show(&self) -> Value {
        Value::Texts(self.listed().iter().map(|network| network.to_string().into()).collect())
    }
    fn stricter(&self, _: &Arc<Networks>) -> Arc<Networks> {
        self.clone()
    }
}

/// A reason in an operator's own words.
impl Setting for Box<str> {
    fn read(given: &Given<'_>) -> Result<Box<str>, String> {
        let text = text(given, "why")?.trim();
        if text.is_empty() || text.len() > 500 || text.chars().any(char::is_control) {
            return Err("is 1 to 500 bytes without control characters".to_owned());
        }
        Ok(text.into())
    }
    fn show(&self) -> Value {
        Value::Text(self.clone())
    }
    fn stricter(&self, _: &Box<str>) -> Box<str> {
        self.clone()
    }
}

macro_rules! words {
    ($($mode:ident such as $example:literal),+) => { $(
        impl Setting for $mode {
            fn read(given: &Given<'_>) -> Result<$mode, String> {
                $mode::parse(text(given, $example)?)
            }
            fn show(&self) -> Value {
                Value::Text(self.text().into())
            }
            fn stricter(&self, other: &$mode) -> $mode {
                *self.max(other)
            }
        }
    )+ };
}
words!(
    OnLimit such as "end_oldest",
    OnAgent such as "end",
    OnAddress such as "ignore",
    DeviceMode such as "off",
    Assurance such as "aal2"
);
