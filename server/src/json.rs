//! JSON, read strictly: an object where an object is meant, each member once, no depth that a reader could choke on;
//! and, when it is not right, the place and what would be right. What was sent is not repeated: it may be a secret in
//! the wrong place.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// What is not right with a text: the place, as a JSON pointer (RFC 6901), and what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Where; empty: the whole.
    pub pointer: String,
    /// What would be right.
    pub message: String,
}

impl Wrong {
    /// Something about one place.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Wrong {
        Wrong { pointer: pointer.into(), message: message.into() }
    }
}

/// Whether the text of a `Content-Type` says JSON. It must be said: a browser cannot send that across origins without asking
/// first (ASVS 3.5.2).
pub fn is_said(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 17
            && kind.get(..12).is_some_and(|k| k.eq_ignore_ascii_case("application/"))
            && kind.ends_with("+json"))
}

/// For fields that choose whom a call ends or changes: they may be left out, but `null` is refused. It is what a missing
/// variable turns into, and taken for "left out" it would make the choice wider.
///
/// # Errors
/// What the value itself finds.
pub fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// How many objects and lists of session data may lie in each other.
pub const DEEPEST: usize = 64;

/// A `T` that was written as a JSON object. (What is derived for a struct would take a list of its values, too.)
#[derive(Default, Clone)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

/// A text that stays where it is in the body unless it has escapes. (`Cow` inside of an `Option` is always copied.)
pub struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// For members in which `null` is a value and not the same as nothing.
///
/// # Errors
/// What the value itself finds.
pub fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(d).map(Some)
}

/// Parses an object, and says where and what when it cannot.
///
/// # Errors
/// What is wrong, with a JSON pointer to the place.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Wrong> {
    serde_json::from_slice::<Object<T>>(bytes).map(|Object(value)| value).map_err(|_| explain::<T>(bytes))
}

/// Parses again, slowly, to name the place.
fn explain<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Wrong {
    if bytes.is_empty() {
        return Wrong::at("", "the body is empty; send a JSON object");
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, Object<T>>(&mut reader) else {
        return Wrong::at("", "there is something after the JSON object in the body");
    };
    let mut at = pointer(error.path());
    let error = error.into_inner();
    if !error.is_data() {
        return Wrong::at(at, format!("the body is not well-formed JSON: {error}"));
    }
    let text = error.to_string();
    if let Some(name) = named(&text) {
        at.push('/');
        at.push_str(&escaped(name));
    }
    Wrong::at(at, plain(&text))
}

/// Whether a value of the caller's own is sound: `at` is where it lies in the body.
///
/// # Errors
/// The first place at which it is not.
pub fn sound(at: &str, value: &RawValue) -> Result<(), Wrong> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    match (Sound { room: DEEPEST }).deserialize(tracked) {
        Ok(()) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            Err(Wrong::at(format!("{at}{}", pointer(&track.path())), plain(&text)))
        }
    }
}

/// The member that serde misses, or has met twice: its path leads to the object around it.
fn named(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("missing field `").or_else(|| text.strip_prefix("duplicate field `"))?;
    rest.split('`').next()
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for step in path {
        match step {
            serde_path_to_error::Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            serde_path_to_error::Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&escaped(key));
            }
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => {}
        }
    }
    pointer
}

/// A name inside of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What serde says, in words for whoever wrote the request, without the value that was sent.
fn plain(text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    if text.starts_with("missing field") {
        return "is missing".to_owned();
    }
    if let Some(rest) = text.strip_prefix("unknown field `") {
        // The name is in the pointer.
        let expected = rest.split_once("`, ").map_or("", |(_, expected)| expected);
        return format!(
            "unknown; {}",
            expected.replace("expected one of", "known are").replace("expected", "known is")
        );
    }
    if text.starts_with("duplicate field") {
        return "is there twice".to_owned();
    }
    let got = |text: &str| {
        let kind = text.split([' ', ',']).next().unwrap_or_default();
        match kind {
            "string" | "character" => "a text",
            "integer" | "floating" => "a number",
            "boolean" => "true or false",
            "sequence" => "a list",
            "map" => "an object",
            "null" | "unit" | "Option" => "null",
            _ => "something else",
        }
        .to_owned()
    };
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some((unexpected, expected)) =
            text.strip_prefix(prefix).and_then(|rest| rest.rsplit_once(", expected "))
        {
            return format!("expected {}, not {}", words(expected), got(unexpected));
        }
    }
    if text.starts_with("unknown variant") {
        let expected = text.rsplit_once("`, expected ").map_or("", |(_, expected)| expected);
        return format!("expected {expected}");
    }
    text.to_owned()
}

/// What serde expects, said to a person.
fn words(expected: &str) -> &str {
    match expected {
        "u64" | "u32" | "usize" => "a whole number, 0 or more",
        "i64" => "a whole number",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "any valid JSON value" => "a JSON value",
        other => other,
    }
}

/// Walks through a value and keeps nothing of it.
#[derive(Clone, Copy)]
struct Sound {
    room: usize,
}

impl Sound {
    fn inside<E: serde::de::Error>(self) -> Result<Sound, E> {
        let room = self.room.checked_sub(1);
        room.map(|room| Sound { room }).ok_or_else(|| {
            E::custom(format!("nested too deep: at most {DEEPEST} lists and objects may lie in each other"))
        })
    }
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let within = self.inside()?;
        while list.next_element_seed(within)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let within = self.inside()?;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let twice = !names.insert(name);
            map.next_value_seed(within)?;
            if twice {
                return Err(A::Error::custom(
                    "an object has the same member twice, and readers differ in which counts",
                ));
            }
        }
        Ok(())
    }
}
