//! When two JSON values are the same, and which comes first: numbers by what they are worth (`1` is `1.0`), objects
//! whatever the order of their members.

use serde_json::{Map, Number, Value};
use std::cmp::Ordering;

/// Whether a number has no fraction, however it is written.
pub(super) fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
}

/// Compares numbers by what they are worth; exactly, as long as both are whole and fit 64 bits.
pub(super) fn numbers(a: &Number, b: &Number) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (a.as_u64(), b.as_u64()) {
        return a.cmp(&b);
    }
    let worth = |n: &Number| n.as_f64().unwrap_or(0.0);
    worth(a).partial_cmp(&worth(b)).unwrap_or(Ordering::Equal)
}

/// Whether a number is a multiple of another one. Fractions are compared as closely as their digits mean it: 19.99 is a
/// multiple of 0.01.
pub(super) fn is_multiple(number: &Number, of: &Number) -> bool {
    if let (Some(number), Some(of)) = (number.as_i64(), of.as_i64()) {
        return number.checked_rem(of) == Some(0);
    }
    let worth = |n: &Number| n.as_f64().unwrap_or(0.0);
    let times = worth(number) / worth(of);
    if times.is_finite() {
        (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0)
    } else {
        worth(number) % worth(of) == 0.0
    }
}

/// A total order in which equal means the same value.
pub(super) fn values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            a.len().cmp(&b.len()).then_with(|| first(a.iter().zip(b).map(|(a, b)| values(a, b))))
        }
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let (mine, theirs) = (sorted(a), sorted(b));
            let members = mine.iter().zip(&theirs);
            first(members.map(|((a, x), (b, y))| a.cmp(b).then_with(|| values(x, y))))
        }),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    sorted
}

fn first(mut all: impl Iterator<Item = Ordering>) -> Ordering {
    all.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether no item of a list is there twice.
pub(super) fn all_differ(items: &[Value]) -> bool {
    let mut sorted: Vec<&Value> = items.iter().collect();
    sorted.sort_unstable_by(|a, b| values(a, b));
    sorted.windows(2).all(|pair| !matches!(pair, [a, b] if values(a, b).is_eq()))
}

/// Whether lists and objects lie in each other no deeper than `most`.
pub(super) fn fits(value: &Value, most: usize) -> bool {
    let inside = |value: &Value| most > 0 && fits(value, most - 1);
    match value {
        Value::Array(items) => most > 0 && items.iter().all(inside),
        Value::Object(members) => most > 0 && members.values().all(inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// How much work it is to compare with it.
pub(super) fn weight(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.values().map(weight).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
