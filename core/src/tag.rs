//! Tags: `name:value` on a session. Policies hang on them.

use std::fmt;

/// One tag. The name is 1 to 64 of `a-z 0-9 _ - .`, beginning with a letter; the value is 1 to 128 bytes without
/// control characters or commas (proxies carry tags in a comma-separated header).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    text: Box<str>,
    colon: u8,
}

impl Tag {
    /// The most tags of one session.
    pub const MOST: usize = 32;
    /// What would be right. It repeats nothing of what was sent, which may be a secret in the wrong place.
    pub const FORM: &str = "write a tag as name:value; the name is 1 to 64 of a-z 0-9 _ - . beginning with a letter, the value 1 to \
         128 bytes without control characters or commas, and not *";

    /// Reads `name:value`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Tag, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err(format!("`{}` is not a tag: write it as name:value", text.escape_debug()));
        };
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
        let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if name.len() > 64 || !starts || !name.bytes().all(good) {
            return Err(format!(
                "`{}` is not a tag name: 1 to 64 of a-z 0-9 _ - . beginning with a letter",
                name.escape_debug()
            ));
        }
        if value.is_empty() || value.len() > 128 || value.chars().any(|c| c.is_control() || c == ',') {
            return Err(format!(
                "the value of tag `{name}` has 1 to 128 bytes without control characters or commas"
            ));
        }
        if value == "*" {
            return Err(format!(
                "`{name}:*` stands for every value in a policy; a session carries a real value"
            ));
        }
        let colon =
            u8::try_from(name.len()).map_err(|_| "a tag name has at most 64 characters".to_owned())?;
        Ok(Tag { text: text.into(), colon })
    }
    /// The whole `name:value`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The part before the colon.
    pub fn name(&self) -> &str {
        self.text.get(..usize::from(self.colon)).unwrap_or_default()
    }
    /// The part after the colon.
    pub fn value(&self) -> &str {
        self.text.get(usize::from(self.colon) + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An access group: a name of 1 to 128 bytes without control characters or commas.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Group(Box<str>);

impl Group {
    /// The most access groups of one session.
    pub const MOST: usize = 64;

    /// Checks and keeps `text`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Group, String> {
        if text.is_empty() || text.len() > 128 || text.chars().any(|c| c.is_control() || c == ',') {
            return Err("an access group has 1 to 128 bytes without control characters or commas".to_owned());
        }
        Ok(Group(text.into()))
    }
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let tag = Tag::parse("org:acme:eu").unwrap();
        assert_eq!((tag.name(), tag.value(), tag.as_str()), ("org", "acme:eu", "org:acme:eu"));
        for good in
            ["a:b", "role.x-1_y:Ä", &format!("{}:v", "n".repeat(64)), &format!("n:{}", "v".repeat(128))]
        {
            assert!(Tag::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "role",
            ":v",
            "role:",
            "Role:x",
            "1a:b",
            "a b:c",
            "a:b,c",
            "a:b\n",
            "a:*",
            &format!("{}:v", "n".repeat(65)),
            &format!("n:{}", "v".repeat(129)),
        ] {
            assert!(Tag::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups() {
        assert!(Group::parse("editors").is_ok() && Group::parse("a:b c").is_ok());
        assert!(
            Group::parse("").is_err()
                && Group::parse("a,b").is_err()
                && Group::parse(&"g".repeat(129)).is_err()
        );
    }
}
