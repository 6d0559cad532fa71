//! What the data of a session must look like: the useful part of JSON Schema (2020-12), and a short form of it. Pure: a
//! JSON value goes in, a list of places and sentences comes out.
//!
//! Schemas come from operators and data from applications; the work for both is bounded, whatever they are. Everything a
//! schema says is understood when it is saved, or refused there: no keyword is passed over, and nothing is fetched.
//!
//! * [`compile`]: from keywords to tests; [`chains`]: whether it ends. [`short`]: from the short form to keywords. [`pattern`]: regular expressions.
//! * [`check`]: a value against the tests. [`order`]: when two values are the same.
//! * [`selector`]: where in the data the user is named. [`session_type`]: all that a session type says.

use pattern::Pattern;
use serde_json::{Number, Value};
use std::collections::BTreeMap;
use std::fmt;

mod chains;
mod check;
mod compile;
mod order;
mod pattern;
pub mod selector;
pub mod session_type;
mod short;

/// The most bytes of a schema, as JSON text.
pub const LONGEST: usize = 16 * 1_024;
/// How many objects and lists of a schema may lie in each other.
pub const DEEPEST: usize = 32;
/// The most things that are told of one value.
pub const TOLD: usize = 20;

/// Something wrong with a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slip {
    /// A JSON pointer from the value on.
    pub pointer: String,
    /// What would be right. It repeats nothing of the value.
    pub message: String,
}

impl Slip {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Slip {
        Slip { pointer: pointer.into(), message: message.into() }
    }
}

/// A schema, ready for use.
pub struct Schema {
    source: Value,
    nodes: Box<[Node]>,
}

impl Schema {
    /// Reads a schema: JSON Schema, or the short form.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(source: &Value) -> Result<Schema, Vec<Slip>> {
        if !order::fits(source, DEEPEST) {
            let message =
                format!("nested too deep: at most {DEEPEST} tables and lists may lie in each other");
            return Err(vec![Slip::new("", message)]);
        }
        let length = source.to_string().len();
        if length > LONGEST {
            let message = format!("a schema has at most {LONGEST} bytes, this has {length}");
            return Err(vec![Slip::new("", message)]);
        }
        let nodes = match short::expanded(source)? {
            Some(long) => compile::compile(&long)?,
            None => compile::compile(source)?,
        };
        Ok(Schema { source: source.clone(), nodes })
    }

    /// As it was written.
    pub const fn source(&self) -> &Value {
        &self.source
    }

    /// Everything in which a value does not fit, up to [`TOLD`] things.
    pub fn check(&self, value: &Value) -> Vec<Slip> {
        check::check(&self.nodes, value)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Schema) -> bool {
        self.source == other.source
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

/// The place of a node among all of a schema; the first is the schema itself.
type Id = usize;

/// A schema or a part of one: a value fits when it passes all tests.
struct Node {
    /// In the order in which they are made; the type first.
    tests: Vec<Test>,
}

/// What one keyword, or several that belong together, ask of a value.
enum Test {
    /// Nothing fits.
    Never,
    /// `type`
    Kinds(Kinds),
    /// `enum`, `const`
    Among(Vec<Value>),
    /// `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`
    Bound(Side, Number),
    /// `multipleOf`
    Multiple(Number),
    /// `minLength` and its like: of what, which side, how many.
    Size(Counted, Side, u64),
    /// `pattern`
    Pattern(Pattern),
    /// `properties`, `patternProperties`, `additionalProperties`
    Members { known: BTreeMap<Box<str>, Id>, patterns: Vec<(Pattern, Id)>, others: Option<Id> },
    /// `propertyNames`
    Names(Id),
    /// `required`
    Required(Vec<Box<str>>),
    /// `dependentRequired`
    Dependent(BTreeMap<Box<str>, Vec<Box<str>>>),
    /// `prefixItems`, `items`
    Items { first: Vec<Id>, others: Option<Id> },
    /// `uniqueItems`
    Unique,
    /// `allOf`, `$ref`
    All(Vec<Id>),
    /// `anyOf`
    Any(Vec<Id>),
    /// `oneOf`
    One(Vec<Id>),
    /// `not`
    Not(Id),
    /// `if`, `then`, `else`
    If { when: Id, then: Option<Id>, otherwise: Option<Id> },
}

/// On which side of a bound a value may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Characters,
    Items,
    Members,
}

/// The types of JSON.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Kinds(u8);

impl Kinds {
    /// Each with its name in a schema, and as a person calls it.
    const ALL: [(&'static str, &'static str); 7] = [
        ("string", "a text"),
        ("number", "a number"),
        ("integer", "a whole number"),
        ("boolean", "true or false"),
        ("object", "an object"),
        ("array", "a list"),
        ("null", "null"),
    ];

    /// The type of that name alone; `None` when there is none.
    fn named(name: &str) -> Option<Kinds> {
        let at = Kinds::ALL.iter().position(|(known, _)| *known == name)?;
        Some(Kinds(1 << at))
    }

    const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Every type that a value is of.
    fn of(value: &Value) -> Kinds {
        Kinds(match value {
            Value::String(_) => 1,
            Value::Number(n) if order::is_whole(n) => 2 | 4,
            Value::Number(_) => 2,
            Value::Bool(_) => 8,
            Value::Object(_) => 16,
            Value::Array(_) => 32,
            Value::Null => 64,
        })
    }

    const fn meets(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    /// In words.
    fn words(self) -> String {
        let named = Kinds::ALL.iter().enumerate().filter(|(at, _)| self.0 >> at & 1 == 1);
        named.map(|(_, (_, word))| *word).collect::<Vec<_>>().join(", or ")
    }
}

/// As RFC 6901 writes a name in a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a text says, no longer than a sentence can bear.
fn clipped(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}
