//! Types of sessions: a session is of type NAME by its tag `type:NAME`, and a type may say how long its sessions last. It
//! can only shorten what the sections of the policy say, as `expires_in` at creation can.

use super::{Effective, Origin, Sourced};
use crate::tag::Tag;
use crate::time::Span;
use std::fmt;

/// The name of the tag that says of which type a session is.
pub const TAG: &str = "type";

/// The name of a type: 1 to 64 of `A-Z a-z 0-9 _ - .`, beginning with a letter or a digit. It stands in addresses, in
/// files and in tags, and must look the same in all of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TypeName(Box<str>);

impl TypeName {
    /// The most bytes.
    pub const LONGEST: usize = 64;

    /// Checks and keeps `text`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<TypeName, String> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= TypeName::LONGEST && text.bytes().all(good) {
            Ok(TypeName(text.into()))
        } else {
            Err("is not the name of a session type: 1 to 64 of A-Z a-z 0-9 _ - . beginning with a letter or a digit"
                .to_owned())
        }
    }
    /// The name alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The tag that its sessions carry.
    pub(super) fn tag(&self) -> String {
        format!("{TAG}:{}", self.0)
    }
    /// Whether a tag says so.
    pub(super) fn matches(&self, tag: &str) -> bool {
        tag.split_once(':') == Some((TAG, &self.0))
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type that a tag names, whether there is such a type or not.
pub fn named(tag: &Tag) -> Option<&str> {
    (tag.name() == TAG).then(|| tag.value())
}

/// How long the sessions of a type last, where it says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Life {
    /// From the last authentication; of sessions without a refresh token.
    pub expires_in: Option<Span>,
    /// The same of sessions with one: the life of the family.
    pub refresh_expires_in: Option<Span>,
}

impl Life {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.expires_in.is_none() && self.refresh_expires_in.is_none()
    }
}

impl Effective {
    /// Lays a type over what the sections say. Of several types the shortest time holds.
    pub(super) fn shorten(&mut self, name: &TypeName, life: &Life) {
        let times = [
            (&mut self.expires_in, life.expires_in),
            (&mut self.refresh_expires_in, life.refresh_expires_in),
        ];
        for (held, said) in times {
            if let Some(value) = said.filter(|said| held.as_ref().is_none_or(|held| *said < held.value)) {
                *held = Some(Sourced { value, origin: Origin::SessionType(name.as_str().into()) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_the_same_everywhere() {
        for good in ["a", "checkout-session", "2fa", "A.b_c-9", &"n".repeat(64)] {
            let name = TypeName::parse(good).unwrap();
            let tag = Tag::parse(&name.tag()).unwrap();
            assert_eq!((named(&tag), name.as_str()), (Some(good), good));
        }
        for bad in ["", ".", "..", "-a", "_a", "a b", "a/b", "a:b", "Ä", "a%", "*", &"n".repeat(65)] {
            assert!(TypeName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(named(&Tag::parse("types:a").unwrap()), None);
    }
}
