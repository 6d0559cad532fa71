//! The JSON of a proof, and nothing else of JSON: an object of texts and whole numbers, one of which may be an object of
//! texts. No member twice, because readers differ in which of two counts; no lists, fractions, `true` or `null`, because
//! nothing in a proof is one.
//!
//! The core knows no JSON otherwise. Here it must: what a signature is checked over is this text, and what it says is
//! part of the decision.

/// More members than any proof has.
const MOST: usize = 8;

/// The members of an object, in their order, each once.
#[derive(Default)]
pub(super) struct Members(Vec<(String, Value)>);

enum Value {
    Text(String),
    Number(u64),
    Object(Members),
}

/// Reads one object, with nothing after it.
pub(super) fn read(bytes: &[u8]) -> Option<Members> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: text };
    let members = reader.object(true)?;
    reader.skip_space();
    reader.rest.is_empty().then_some(members)
}

impl Members {
    /// Takes a text out.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Object(_) => None,
        }
    }
    /// Takes a number out.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        match self.take(name)? {
            Value::Number(number) => Some(number),
            Value::Text(_) | Value::Object(_) => None,
        }
    }
    /// Takes an object out.
    pub(super) fn object(&mut self, name: &str) -> Option<Members> {
        match self.take(name)? {
            Value::Object(members) => Some(members),
            Value::Text(_) | Value::Number(_) => None,
        }
    }
    /// Whether it has a member of this name, of whatever kind.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
    /// Whether everything was taken out.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn object(&mut self, outer: bool) -> Option<Members> {
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
            self.skip_space();
            let value = match self.rest.bytes().next()? {
                b'"' => Value::Text(self.text()?),
                b'{' if outer => Value::Object(self.object(false)?),
                b'0'..=b'9' => Value::Number(self.number()?),
                _ => return None,
            };
            members.0.push((name, value));
            if self.sign(',').is_none() {
                self.sign('}')?;
                return Some(members);
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

    fn number(&mut self) -> Option<u64> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at_checked(digits)?;
        // What follows makes a fraction of it, or an exponent; both have no business here.
        if (number.len() > 1 && number.starts_with('0')) || rest.starts_with(['.', 'e', 'E']) {
            return None;
        }
        self.rest = rest;
        number.parse().ok()
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

    #[test]
    fn objects_of_a_proof() {
        let mut members =
            read(br#" { "a" : "x\u00e9\ud83d\ude00\"\/\n", "n":1700000000 ,"o":{"b":""}} "#).unwrap();
        assert!(members.has("n") && !members.has("x"));
        assert_eq!(members.text("a").as_deref(), Some("xé😀\"/\n"));
        assert_eq!(members.number("n"), Some(1_700_000_000));
        assert_eq!(members.object("o").unwrap().text("b").as_deref(), Some(""));
        assert!(members.is_empty() && members.text("a").is_none());
        assert!(read(b"{}").unwrap().is_empty());
        assert!(read(br#"{"a":1}"#).unwrap().text("a").is_none(), "another kind");
        assert_eq!(read(br#"{"a":18446744073709551615}"#).unwrap().number("a"), Some(u64::MAX));
    }

    #[test]
    fn everything_else() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "\"a\"",
            "null",
            "{}x",
            "{}{}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":[]}",
            "{\"a\":true}",
            "{\"a\":null}",
            "{\"a\":-1}",
            "{\"a\":1.0}",
            "{\"a\":1e3}",
            "{\"a\":1E3}",
            "{\"a\":01}",
            "{\"a\":18446744073709551616}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"a\":{\"b\":{}}}",
            "{\"a\":{\"b\":1,\"b\":2}}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u+123\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "\u{feff}{}",
            "{\u{a0}}",
            "{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,\"8\":1,\"9\":1}",
        ] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(read(b"{\"a\":\"\xff\"}").is_none());
    }
}
