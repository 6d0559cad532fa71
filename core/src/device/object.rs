//! The JSON of a proof, and nothing else of JSON: an object of texts and whole numbers, one of which may be an object of
//! texts. No lists, fractions, `true` or `null`, because nothing in a proof is one.

use crate::jose::json::{self, Json};

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
    members(json::read_object(bytes)?, true)
}

fn members(object: json::Members, outer: bool) -> Option<Members> {
    if object.len() > MOST {
        return None;
    }
    let value = |value: Json| match value {
        Json::Text(text) => Some(Value::Text(text)),
        Json::Number(_) => value.whole().map(Value::Number),
        Json::Object(inner) if outer => members(inner, false).map(Value::Object),
        Json::Object(_) | Json::Null | Json::Bool(_) | Json::List(_) => None,
    };
    let all: Option<Vec<_>> = object.into_pairs().map(|(name, one)| Some((name, value(one)?))).collect();
    all.map(Members)
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
