//! From keywords to tests. What a keyword may say is checked here, each slip with its place; what no keyword of ours is, is
//! refused, because a word that is passed over looks like one that is obeyed.
//!
//! Nodes are compiled one after the other from a list of those that were met, so that neither depth nor a circle of
//! references costs more than the schema is long.

use super::chains::{CHAIN, chains};
use super::pattern::Pattern;
use super::{Counted, Id, Kinds, Node, Side, Slip, Test, escaped};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// The most parts of a schema.
const NODES: usize = 1_000;
/// The most bytes of all that the regular expressions of a schema are compiled to.
const PATTERNS: usize = 256 * 1_024;
/// The most that is told of one schema.
const TOLD: usize = 50;
/// Known, and without a meaning for what fits: they are for people and for other programs.
const NOTES: &[&str] = &[
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
];
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Compiles a schema.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn compile(root: &Value) -> Result<Box<[Node]>, Vec<Slip>> {
    let mut compiler = Compiler {
        root,
        known: BTreeMap::new(),
        nodes: Vec::new(),
        beside: Vec::new(),
        slips: Vec::new(),
        patterns: 0,
    };
    compiler.met(String::new(), root);
    // Every node that is met is put at the end of the list.
    while let Some((at, value)) = compiler.beside.get(compiler.nodes.len()).cloned() {
        let node = compiler.node(&at, value);
        compiler.nodes.push(node);
        if compiler.nodes.len() > NODES {
            compiler.slip("", format!("has more than {NODES} parts"));
            break;
        }
    }
    let Compiler { nodes, beside, mut slips, .. } = compiler;
    if slips.is_empty()
        && let Err(id) = chains(&nodes)
    {
        let at = beside.get(id).map_or("", |(at, _)| at);
        slips.push(Slip::new(
            at,
            format!(
                "leads back to itself, or through more than {CHAIN} alternatives and references, without looking deeper \
                 into the data"
            ),
        ));
    }
    slips.truncate(TOLD);
    if slips.is_empty() { Ok(nodes.into()) } else { Err(slips) }
}

struct Compiler<'a> {
    root: &'a Value,
    /// By their place in the schema.
    known: BTreeMap<String, Id>,
    nodes: Vec<Node>,
    /// All that were met, beside the nodes that are made of them.
    beside: Vec<(String, &'a Value)>,
    slips: Vec<Slip>,
    patterns: usize,
}

type Table<'a> = &'a Map<String, Value>;

impl<'a> Compiler<'a> {
    fn slip(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.slips.push(Slip::new(at, message));
    }

    /// A schema at a place; the same place is the same node.
    fn met(&mut self, at: String, value: &'a Value) -> Id {
        if let Some(id) = self.known.get(&at) {
            return *id;
        }
        let id = self.beside.len();
        self.known.insert(at.clone(), id);
        self.beside.push((at, value));
        id
    }

    fn node(&mut self, at: &str, value: &'a Value) -> Node {
        let mut tests = Vec::new();
        match value {
            Value::Bool(true) => {}
            Value::Bool(false) => tests.push(Test::Never),
            Value::Object(table) => self.table(at, table, &mut tests),
            _ => self.slip(at, "is no schema: write an object, or true or false"),
        }
        Node { tests }
    }

    fn table(&mut self, at: &str, table: Table<'a>, tests: &mut Vec<Test>) {
        if let Some(value) = table.get("type") {
            tests.extend(self.kinds(&format!("{at}/type"), value));
        }
        for (keyword, value) in table {
            let place = format!("{at}/{}", escaped(keyword));
            tests.extend(self.keyword(&place, keyword, value, at.is_empty()));
        }
        if ["properties", "patternProperties", "additionalProperties"].iter().any(|k| table.contains_key(*k))
        {
            tests.push(self.members(at, table));
        }
        if table.contains_key("prefixItems") || table.contains_key("items") {
            tests.push(self.items(at, table));
        }
        if let Some(when) = table.get("if") {
            let when = self.met(format!("{at}/if"), when);
            let mut side = |name: &str| Some(self.met(format!("{at}/{name}"), table.get(name)?));
            tests.push(Test::If { when, then: side("then"), otherwise: side("else") });
        } else if let Some(alone) = ["then", "else"].iter().find(|name| table.contains_key(**name)) {
            self.slip(format!("{at}/{alone}"), "means nothing without an `if` beside it");
        }
    }

    fn keyword(&mut self, place: &str, keyword: &str, value: &'a Value, is_root: bool) -> Option<Test> {
        match keyword {
            // Those that stand together are taken together.
            "type"
            | "properties"
            | "patternProperties"
            | "additionalProperties"
            | "prefixItems"
            | "items"
            | "if"
            | "then"
            | "else" => None,
            "$schema" if is_root && value == DIALECT => None,
            "$schema" => {
                self.slip(place, format!("write {DIALECT} at the top, or leave it out"));
                None
            }
            "$id" if is_root => None,
            "$defs" | "definitions" => {
                self.named(place, value);
                None
            }
            "$ref" => self.reference(place, value),
            "enum" => match value {
                Value::Array(all) if !all.is_empty() => Some(Test::Among(all.clone())),
                _ => self.expected(place, "a list of at least one value"),
            },
            "const" => Some(Test::Among(vec![value.clone()])),
            "minimum" => self.number(place, value).map(|n| Test::Bound(Side::AtLeast, n)),
            "exclusiveMinimum" => self.number(place, value).map(|n| Test::Bound(Side::Above, n)),
            "maximum" => self.number(place, value).map(|n| Test::Bound(Side::AtMost, n)),
            "exclusiveMaximum" => self.number(place, value).map(|n| Test::Bound(Side::Below, n)),
            "multipleOf" => match self.number(place, value)? {
                of if of.as_f64().is_some_and(|n| n > 0.0) => Some(Test::Multiple(of)),
                _ => self.expected(place, "a number above 0"),
            },
            "minLength" => self.size(place, value, Counted::Characters, Side::AtLeast),
            "maxLength" => self.size(place, value, Counted::Characters, Side::AtMost),
            "minItems" => self.size(place, value, Counted::Items, Side::AtLeast),
            "maxItems" => self.size(place, value, Counted::Items, Side::AtMost),
            "minProperties" => self.size(place, value, Counted::Members, Side::AtLeast),
            "maxProperties" => self.size(place, value, Counted::Members, Side::AtMost),
            "pattern" => match value {
                Value::String(text) => self.pattern(place, text).map(Test::Pattern),
                _ => self.expected(place, "a regular expression"),
            },
            "propertyNames" => Some(Test::Names(self.met(place.to_owned(), value))),
            "required" => self.names(place, value).map(Test::Required),
            "dependentRequired" => self.dependent(place, value),
            "uniqueItems" => match value {
                Value::Bool(true) => Some(Test::Unique),
                Value::Bool(false) => None,
                _ => self.expected(place, "true or false"),
            },
            "allOf" => self.several(place, value).map(Test::All),
            "anyOf" => self.several(place, value).map(Test::Any),
            "oneOf" => self.several(place, value).map(Test::One),
            "not" => Some(Test::Not(self.met(place.to_owned(), value))),
            known if NOTES.contains(&known) => None,
            _ => {
                self.slip(place, "is no keyword that this server knows, and none is passed over");
                None
            }
        }
    }

    fn expected<T>(&mut self, place: &str, what: &str) -> Option<T> {
        self.slip(place, format!("expected {what}"));
        None
    }

    fn kinds(&mut self, place: &str, value: &Value) -> Option<Test> {
        const WHAT: &str =
            "a type, or a list of types: string, number, integer, boolean, object, array, null";
        let one = |name: &Value| name.as_str().and_then(Kinds::named);
        let kinds = match value {
            Value::Array(names) if !names.is_empty() => {
                names.iter().map(one).try_fold(Kinds::default(), |all, kind| Some(all.and(kind?)))
            }
            name => one(name),
        };
        match kinds {
            Some(kinds) => Some(Test::Kinds(kinds)),
            None => self.expected(place, WHAT),
        }
    }

    fn number(&mut self, place: &str, value: &Value) -> Option<Number> {
        match value {
            Value::Number(number) => Some(number.clone()),
            _ => self.expected(place, "a number"),
        }
    }

    fn size(&mut self, place: &str, value: &Value, of: Counted, side: Side) -> Option<Test> {
        match value.as_u64() {
            Some(count) => Some(Test::Size(of, side, count)),
            None => self.expected(place, "a whole number, 0 or more"),
        }
    }

    fn pattern(&mut self, place: &str, text: &str) -> Option<Pattern> {
        let pattern = Pattern::read(text).map_err(|why| self.slip(place, why)).ok()?;
        self.patterns += pattern.size();
        if self.patterns > PATTERNS {
            self.slip(place, "is too large together with the other expressions of the schema");
            return None;
        }
        Some(pattern)
    }

    fn names(&mut self, place: &str, value: &Value) -> Option<Vec<Box<str>>> {
        let names = value.as_array().and_then(|all| all.iter().map(|n| n.as_str().map(Into::into)).collect());
        if names.is_none() { self.expected(place, "a list of names") } else { names }
    }

    fn dependent(&mut self, place: &str, value: &Value) -> Option<Test> {
        let Value::Object(table) = value else {
            return self.expected(place, "an object of lists of names");
        };
        let mut all = BTreeMap::new();
        for (name, value) in table {
            all.insert(name.as_str().into(), self.names(&format!("{place}/{}", escaped(name)), value)?);
        }
        Some(Test::Dependent(all))
    }

    fn several(&mut self, place: &str, value: &'a Value) -> Option<Vec<Id>> {
        match value {
            Value::Array(all) if !all.is_empty() => {
                Some(all.iter().enumerate().map(|(n, one)| self.met(format!("{place}/{n}"), one)).collect())
            }
            _ => self.expected(place, "a list of at least one schema"),
        }
    }

    /// An object of schemas.
    fn named(&mut self, place: &str, value: &'a Value) -> BTreeMap<Box<str>, Id> {
        let Value::Object(table) = value else {
            self.slip(place, "expected an object of schemas");
            return BTreeMap::new();
        };
        let met = |(name, value): (&'a String, &'a Value)| {
            (name.as_str().into(), self.met(format!("{place}/{}", escaped(name)), value))
        };
        table.iter().map(met).collect()
    }

    fn members(&mut self, at: &str, table: Table<'a>) -> Test {
        let known = table
            .get("properties")
            .map(|value| self.named(&format!("{at}/properties"), value))
            .unwrap_or_default();
        let place = format!("{at}/patternProperties");
        let by_pattern =
            table.get("patternProperties").map(|value| self.named(&place, value)).unwrap_or_default();
        let mut patterns = Vec::new();
        for (text, id) in by_pattern {
            let pattern = self.pattern(&format!("{place}/{}", escaped(&text)), &text);
            patterns.extend(pattern.map(|pattern| (pattern, id)));
        }
        let others = table
            .get("additionalProperties")
            .map(|value| self.met(format!("{at}/additionalProperties"), value));
        Test::Members { known, patterns, others }
    }

    fn items(&mut self, at: &str, table: Table<'a>) -> Test {
        let place = format!("{at}/items");
        let first = table
            .get("prefixItems")
            .and_then(|value| self.several(&format!("{at}/prefixItems"), value))
            .unwrap_or_default();
        let others = match table.get("items") {
            Some(Value::Array(_)) => {
                self.expected(&place, "one schema for all items; a list of schemas is called prefixItems")
            }
            Some(value) => Some(self.met(place, value)),
            None => None,
        };
        Test::Items { first, others }
    }

    /// A schema elsewhere in this one. Nothing is ever fetched.
    fn reference(&mut self, place: &str, value: &Value) -> Option<Test> {
        let Some(text) = value.as_str() else { return self.expected(place, "a text such as #/$defs/name") };
        let pointer = text.strip_prefix('#').and_then(unescaped);
        let Some(pointer) = pointer.filter(|pointer| pointer.is_empty() || pointer.starts_with('/')) else {
            self.slip(place, "only references inside of the schema are followed, such as #/$defs/name");
            return None;
        };
        let root = self.root;
        let Some(found) = root.pointer(&pointer) else {
            self.slip(place, "there is nothing at this place of the schema");
            return None;
        };
        Some(Test::All(vec![self.met(pointer, found)]))
    }
}

/// A pointer out of the fragment of an address, where letters may stand as `%24`.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}
