//! A value against the tests of a schema. Everything in which it does not fit is told at once, up to a bound; the work has a
//! bound, too, because alternatives in alternatives can ask for more than any server has.

use super::order;
use super::pattern::Pattern;
use super::{Counted, Id, Kinds, Node, Side, Slip, TOLD, Test, clipped, escaped};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// How much work one value may cost: some thousand times what a usual one does, some ten milliseconds.
const WORK: u64 = 200_000;
/// How deep schema and value together may lead.
const DEEPEST: u32 = 200;
/// The most bytes of a pointer, whose names somebody else has chosen.
const POINTER: usize = 500;

/// Everything in which a value does not fit.
pub(super) fn check(nodes: &[Node], value: &Value) -> Vec<Slip> {
    let mut check = Check { nodes, left: WORK, quiet: 0, slips: Vec::new() };
    check.node(0, value, &At::Root, 0);
    if check.left == 0 {
        let message = "to check this against its schema takes more work than one request may cost: make the data, or \
                       the alternatives of the schema, simpler";
        return vec![Slip::new("", message)];
    }
    check.slips
}

struct Check<'a> {
    nodes: &'a [Node],
    /// Nothing is done any more at 0, and nothing that was found counts.
    left: u64,
    /// Whether only the outcome is asked for.
    quiet: u32,
    slips: Vec<Slip>,
}

/// Where in the value.
enum At<'a> {
    Root,
    Member(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    fn pointer(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Member(above, name) => format!("{}/{}", above.pointer(), escaped(name)),
            At::Item(above, n) => format!("{}/{n}", above.pointer()),
        }
    }
}

impl<'a> Check<'a> {
    /// Whether it fits. When nobody needs to be told more, it ends with the first test that fails.
    fn node(&mut self, id: Id, value: &Value, at: &At<'_>, depth: u32) -> bool {
        let Some(node) = self.nodes.get(id) else { return true };
        if depth > DEEPEST {
            self.left = 0;
        }
        let mut fits = true;
        for test in &node.tests {
            self.spend(1);
            if self.is_over() {
                return false;
            }
            if !self.test(test, value, at, depth) {
                fits = false;
                // Nothing else is worth saying of a value of another type.
                if matches!(test, Test::Kinds(_)) {
                    return false;
                }
            }
        }
        fits
    }

    fn test(&mut self, test: &'a Test, value: &Value, at: &At<'_>, depth: u32) -> bool {
        match (test, value) {
            (Test::Never, _) => self.wrong(at, || "may not be here".to_owned()),
            (Test::Kinds(kinds), _) => {
                kinds.meets(Kinds::of(value))
                    || self.wrong(at, || {
                        let got = Kinds::of(value);
                        // Of a whole number the wider word is enough.
                        let got = if got.meets(Kinds(4)) { Kinds(2) } else { got };
                        format!("expected {}, not {}", kinds.words(), got.words())
                    })
            }
            (Test::Among(all), _) => {
                self.spend(all.iter().map(order::weight).sum::<u64>() / 4);
                all.iter().any(|one| order::values(one, value).is_eq())
                    || self.wrong(at, || format!("expected {}", choices(all)))
            }
            (Test::Bound(side, bound), Value::Number(number)) => {
                side.holds(order::numbers(number, bound))
                    || self.wrong(at, || format!("expected {} {bound}", side.words()))
            }
            (Test::Multiple(of), Value::Number(number)) => {
                order::is_multiple(number, of) || self.wrong(at, || format!("expected a multiple of {of}"))
            }
            (Test::Size(of, side, bound), _) => {
                let Some(count) = of.count(value) else { return true };
                side.holds(count.cmp(bound))
                    || self.wrong(at, || format!("expected {} {bound} {}", side.words(), of.words()))
            }
            (Test::Pattern(pattern), Value::String(text)) => {
                self.found(pattern, text)
                    || self.wrong(at, || {
                        format!("does not match the pattern {}", clipped(pattern.text().to_owned(), 200))
                    })
            }
            (Test::Members { known, patterns, others }, Value::Object(_)) => {
                self.members(known, patterns, *others, value, at, depth)
            }
            (Test::Names(id), Value::Object(members)) => self.all(members.keys(), |check, name| {
                check.node(*id, &Value::String(name.clone()), &At::Member(at, name), depth + 1)
            }),
            (Test::Required(names), Value::Object(_)) => self.required(names, value, at),
            (Test::Dependent(all), Value::Object(members)) => self.all(all, |check, (name, needs)| {
                !members.contains_key(&**name) || check.required(needs, value, at)
            }),
            (Test::Items { first, others }, Value::Array(items)) => {
                self.all(items.iter().enumerate(), |check, (n, item)| {
                    match first.get(n).or(others.as_ref()) {
                        Some(id) => check.node(*id, item, &At::Item(at, n), depth + 1),
                        None => true,
                    }
                })
            }
            (Test::Unique, Value::Array(items)) => {
                self.spend(4 * u64::try_from(items.len()).unwrap_or(u64::MAX));
                order::all_differ(items) || self.wrong(at, || "has an item twice".to_owned())
            }
            (Test::All(all), _) => self.all(all, |check, id| check.node(*id, value, at, depth + 1)),
            (Test::Any(all), _) => {
                all.iter().any(|id| self.quietly(*id, value, at, depth))
                    || self.wrong(at, || format!("fits none of {} alternatives", all.len()))
            }
            (Test::One(all), _) => {
                let fitting = all.iter().filter(|id| self.quietly(**id, value, at, depth)).count();
                fitting == 1
                    || self.wrong(at, || {
                        format!("fits {fitting} of {} alternatives, and must fit exactly one", all.len())
                    })
            }
            (Test::Not(id), _) => {
                !self.quietly(*id, value, at, depth)
                    || self.wrong(at, || "fits what the schema excludes (`not`)".to_owned())
            }
            (Test::If { when, then, otherwise }, _) => {
                let next = if self.quietly(*when, value, at, depth) { then } else { otherwise };
                next.is_none_or(|id| self.node(id, value, at, depth + 1))
            }
            // A test says nothing of values of other types.
            (
                Test::Bound(..)
                | Test::Multiple(_)
                | Test::Pattern(_)
                | Test::Members { .. }
                | Test::Names(_)
                | Test::Required(_)
                | Test::Dependent(_)
                | Test::Items { .. }
                | Test::Unique,
                _,
            ) => true,
        }
    }

    fn members(
        &mut self,
        known: &BTreeMap<Box<str>, Id>,
        patterns: &[(Pattern, Id)],
        others: Option<Id>,
        value: &Value,
        at: &At<'_>,
        depth: u32,
    ) -> bool {
        let Value::Object(members) = value else { return true };
        self.all(members, |check, (name, value)| {
            let at = At::Member(at, name);
            let mut named = false;
            let mut fits = true;
            if let Some(id) = known.get(name.as_str()) {
                named = true;
                fits = check.node(*id, value, &at, depth + 1);
            }
            for (pattern, id) in patterns {
                if check.found(pattern, name) {
                    named = true;
                    fits &= check.node(*id, value, &at, depth + 1);
                }
            }
            match others.filter(|_| !named) {
                // The commonest slip deserves to be told what would be right.
                Some(id) if check.is_never(id) => {
                    let names: Vec<&str> = known.keys().map(|name| &**name).collect();
                    check.wrong(&at, || {
                        if names.is_empty() {
                            return "unknown".to_owned();
                        }
                        clipped(format!("unknown; known are {}", names.join(", ")), 300)
                    })
                }
                Some(id) => check.node(id, value, &at, depth + 1),
                None => fits,
            }
        })
    }

    fn required(&mut self, names: &[Box<str>], value: &Value, at: &At<'_>) -> bool {
        self.all(names, |check, name| {
            value.get(&**name).is_some() || check.wrong(&At::Member(at, name), || "is missing".to_owned())
        })
    }

    fn is_never(&self, id: Id) -> bool {
        self.nodes.get(id).is_some_and(|node| matches!(node.tests.as_slice(), [Test::Never]))
    }

    /// Whether all of them fit: each is looked at, as long as somebody wants to be told.
    fn all<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut fits: impl FnMut(&mut Self, T) -> bool,
    ) -> bool {
        let mut all = true;
        for item in items {
            self.spend(1);
            all &= fits(self, item);
            if self.is_over() || (!all && self.quiet > 0) {
                return all;
            }
        }
        all
    }

    fn quietly(&mut self, id: Id, value: &Value, at: &At<'_>, depth: u32) -> bool {
        self.quiet += 1;
        let fits = self.node(id, value, at, depth + 1);
        self.quiet -= 1;
        fits
    }

    fn found(&mut self, pattern: &Pattern, text: &str) -> bool {
        self.spend(pattern.work(text));
        self.left > 0 && pattern.is_in(text)
    }

    fn wrong(&mut self, at: &At<'_>, message: impl FnOnce() -> String) -> bool {
        if self.quiet == 0 && self.slips.len() < TOLD {
            let slip = Slip::new(clipped(at.pointer(), POINTER), message());
            // Two parts of a schema may ask for the same.
            if !self.slips.contains(&slip) {
                self.slips.push(slip);
            }
        }
        false
    }

    fn spend(&mut self, work: u64) {
        self.left = self.left.saturating_sub(work);
    }

    /// Whether there is nothing left to do: all work is spent, or all is told that will be.
    fn is_over(&self) -> bool {
        self.left == 0 || self.slips.len() >= TOLD
    }
}

impl Side {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Side::AtLeast => order.is_ge(),
            Side::Above => order.is_gt(),
            Side::AtMost => order.is_le(),
            Side::Below => order.is_lt(),
        }
    }
    const fn words(self) -> &'static str {
        match self {
            Side::AtLeast => "at least",
            Side::Above => "more than",
            Side::AtMost => "at most",
            Side::Below => "less than",
        }
    }
}

impl Counted {
    fn count(self, value: &Value) -> Option<u64> {
        let count = match (self, value) {
            (Counted::Characters, Value::String(text)) => text.chars().count(),
            (Counted::Items, Value::Array(items)) => items.len(),
            (Counted::Members, Value::Object(members)) => members.len(),
            (Counted::Characters | Counted::Items | Counted::Members, _) => return None,
        };
        u64::try_from(count).ok()
    }
    const fn words(self) -> &'static str {
        match self {
            Counted::Characters => "characters",
            Counted::Items => "items",
            Counted::Members => "members",
        }
    }
}

fn choices(all: &[Value]) -> String {
    match all {
        [one] => clipped(one.to_string(), 200),
        all => {
            let shown: Vec<String> = all.iter().take(20).map(|one| clipped(one.to_string(), 60)).collect();
            clipped(format!("one of {}", shown.join(", ")), 300)
        }
    }
}
