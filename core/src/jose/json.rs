//! The JSON inside of signed texts (RFC 8259), read strictly: no member twice, because readers differ in which of two
//! counts; bounded in depth and in members; whole texts only. Numbers stay as they were written.
//!
//! The core knows no JSON otherwise. Here it must: what a signature is checked over is this text, and what it says is part of
//! the decision.

use std::fmt::Write as _;

/// Objects and lists inside of each other, at most.
const DEPTH: usize = 16;
/// Members of one object, and items of one list, at most.
const MOST: usize = 512;

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// As it was written.
    Number(Box<str>),
    /// Without its escapes.
    Text(String),
    /// In its order.
    List(Vec<Json>),
    /// In its order.
    Object(Members),
}

/// The members of an object, each name once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members(Vec<(String, Json)>);

/// Reads one value with nothing after it; `None` of anything that is not exactly one.
pub fn read(bytes: &[u8]) -> Option<Json> {
    let mut reader = Reader { rest: std::str::from_utf8(bytes).ok()? };
    let value = reader.value(DEPTH)?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

/// Reads one object with nothing after it.
pub fn read_object(bytes: &[u8]) -> Option<Members> {
    match read(bytes)? {
        Json::Object(members) => Some(members),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => None,
    }
}

impl Json {
    /// A whole number, zero or more, written as one: no fraction and no exponent.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
        }
    }

    /// A text.
    pub fn into_text(self) -> Option<String> {
        match self {
            Json::Text(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => None,
        }
    }

    /// A list of texts and of nothing else.
    pub fn into_texts(self) -> Option<Vec<String>> {
        match self {
            Json::List(items) => items.into_iter().map(Json::into_text).collect(),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => None,
        }
    }

    /// An object.
    pub fn into_object(self) -> Option<Members> {
        match self {
            Json::Object(members) => Some(members),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => None,
        }
    }

    /// Appends it as JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) => out.push_str(text),
            Json::Text(text) => write_text(text, out),
            Json::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => members.write(out),
        }
    }
}

impl Members {
    /// Takes a member out.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
    /// Adds a member, unless there is one of this name: then it is given back.
    ///
    /// # Errors
    /// The value that found no place.
    pub fn add(&mut self, name: &str, value: Json) -> Result<(), Json> {
        if self.has(name) {
            return Err(value);
        }
        self.0.push((name.to_owned(), value));
        Ok(())
    }
    /// Whether it has a member of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
    /// A member.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
    /// Whether it has none, any more.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// How many it has.
    pub const fn len(&self) -> usize {
        self.0.len()
    }
    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
    /// All, taken apart.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, Json)> {
        self.0.into_iter()
    }
    /// Appends them as one JSON object.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            write_text(name, out);
            out.push(':');
            value.write(out);
        }
        out.push('}');
    }
}

/// Appends a text in quotes.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing into memory does not fail.
            control if control < ' ' => drop(write!(out, "\\u{:04x}", u32::from(control))),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_space();
        match self.rest.bytes().next()? {
            b'"' => self.text().map(Json::Text),
            b'{' => self.object(depth.checked_sub(1)?).map(Json::Object),
            b'[' => self.list(depth.checked_sub(1)?).map(Json::List),
            b'-' | b'0'..=b'9' => self.number().map(Json::Number),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, means: Json) -> Option<Json> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(means)
    }

    fn object(&mut self, depth: usize) -> Option<Members> {
        self.sign('{')?;
        let mut members = Members::default();
        if self.sign('}').is_some() {
            return Some(members);
        }
        loop {
            self.skip_space();
            let name = self.text()?;
            if members.has(&name) || members.0.len() == MOST {
                return None;
            }
            self.sign(':')?;
            members.0.push((name, self.value(depth)?));
            if self.sign(',').is_none() {
                self.sign('}')?;
                return Some(members);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Json>> {
        self.sign('[')?;
        let mut items = Vec::new();
        if self.sign(']').is_some() {
            return Some(items);
        }
        loop {
            if items.len() == MOST {
                return None;
            }
            items.push(self.value(depth)?);
            if self.sign(',').is_none() {
                self.sign(']')?;
                return Some(items);
            }
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// A sign of its own, with space before it.
    fn sign(&mut self, sign: char) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(sign)?;
        Some(())
    }

    fn number(&mut self) -> Option<Box<str>> {
        let all = self.rest;
        self.rest = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            self.digits()?;
        }
        if let Some(rest) = self.rest.strip_prefix(['e', 'E']) {
            self.rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            self.digits()?;
        }
        all.get(..all.len() - self.rest.len()).map(Into::into)
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<&str> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        (count > 0).then_some(digits)
    }

    fn text(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let plain = self.rest.find(['"', '\\'])?;
            let (before, rest) = self.rest.split_at_checked(plain)?;
            if before.bytes().any(|byte| byte < 0x20) {
                return None;
            }
            text.push_str(before);
            let mut rest = rest.chars();
            let ends = rest.next()? == '"';
            self.rest = rest.as_str();
            if ends {
                return Some(text);
            }
            text.push(self.escaped()?);
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        let mut rest = self.rest.chars();
        let letter = rest.next()?;
        self.rest = rest.as_str();
        Some(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.unit()?;
                if !(0xD800..0xDC00).contains(&first) {
                    return char::from_u32(first);
                }
                self.rest = self.rest.strip_prefix("\\u")?;
                let second = self.unit().filter(|unit| (0xDC00..0xE000).contains(unit))?;
                return char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00));
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Option<String> {
        let mut out = String::new();
        read(text.as_bytes())?.write(&mut out);
        Some(out)
    }

    #[test]
    fn values_are_read_and_written() {
        for (text, same) in [
            ("null", "null"),
            (" true ", "true"),
            ("[false,\t1 , -0.5e+3,\"x\"]", "[false,1,-0.5e+3,\"x\"]"),
            ("{\"a\" : {\"b\":[]} , \"c\":{}}", "{\"a\":{\"b\":[]},\"c\":{}}"),
            ("\"\\u00e9\\ud83d\\ude00\\\"\\/\\n\\u0001\"", "\"é😀\\\"/\\n\\u0001\""),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(written(text).as_deref(), Some(same), "{text}");
        }
        assert_eq!(read(b"18446744073709551615").unwrap().whole(), Some(u64::MAX));
        for text in ["18446744073709551616", "-1", "1.0", "1e3", "\"1\"", "null", "true", "[1]"] {
            assert_eq!(read(text.as_bytes()).unwrap().whole(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_or_could_be_read_in_two_ways() {
        const BAD: &str = r#"
{ } [ ] {}x {}{} [1,] [,1] {,} {"a"} {"a":} {"a":1,} {a:1} {'a':1} 01 - -01 1. .5 1e 1e+ +1 0x1 NaN Infinity tru True nul
{"a":1,"a":1} {"a":1,"\u0061":2} {"x":{"b":1,"b":2}} "\x" "\u12" "\u+123" "\ud800" "\udc00" "\ud800\u0041" " "\"#;
        let more = ["", " ", "[1 2]", "{\"a\":1 \"b\":2}", "\"\n\"", "\u{feff}{}", "{\u{a0}}", "// x\n1"];
        for text in BAD.split_whitespace().chain(more) {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(read(b"\"\xff\"").is_none());
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(deep(DEPTH).as_bytes()).is_some() && read(deep(DEPTH + 1).as_bytes()).is_none());
        let wide = |n: usize| format!("[{}]", vec!["1"; n].join(","));
        assert!(read(wide(MOST).as_bytes()).is_some() && read(wide(MOST + 1).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn texts_survive(text in "\\PC{0,40}|[\u{0}-\u{1f}\"\\\\]{0,9}") {
            let mut out = String::new();
            write_text(&text, &mut out);
            prop_assert_eq!(read(out.as_bytes()), Some(Json::Text(text)));
        }
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
