//! The short form, against the JSON Schema that it stands for; and selectors.

use super::{check, refused};
use handstamp_server::schema::selector::Selector;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

#[test]
fn fields_types_and_marks() {
    let source = json!({
        "userId": "string", "age": "integer?", "nick?": "string", "roles": "string[]", "grid": "number[][]",
        "address?": { "city": "string", "zip": "string?" }, "extra": "any", "flags": "boolean[]?", "raw": "object?",
        "list": "array?",
    });
    let good = json!({ "userId": "u", "roles": ["a"], "grid": [[1, 2.5], []], "extra": null });
    assert_eq!(check(&source, &good), Vec::<String>::new());
    let all = json!({
        "userId": "u", "age": 3, "nick": "n", "roles": [], "grid": [], "address": { "city": "c", "zip": "z", "more": 1 },
        "extra": [1], "flags": [true], "raw": {}, "list": [1, "a"], "not named": 1,
    });
    assert_eq!(check(&source, &all), Vec::<String>::new());
    let mut told = check(
        &source,
        &json!({
            "age": "3", "nick": null, "roles": ["a", 1], "grid": [1], "address": { "zip": 5 }, "flags": [0], "raw": [], "list": {},
        }),
    );
    told.sort();
    assert_eq!(
        told,
        [
            "/address/city: is missing",
            "/address/zip: expected a text, not a number",
            "/age: expected a whole number, not a text",
            "/extra: is missing",
            "/flags/0: expected true or false, not a number",
            "/grid/0: expected a list, not a number",
            "/list: expected a list, not an object",
            "/nick: expected a text, not null",
            "/raw: expected an object, not a list",
            "/roles/1: expected a text, not a number",
            "/userId: is missing",
        ]
    );
    assert_eq!(check(&source, &json!([])), [": expected an object, not a list"]);
}

#[test]
fn what_is_no_short_form_is_told() {
    for (source, wanted) in [
        (json!({}), ": names no field"),
        (json!({ "a": {} }), "/a: names no field"),
        (
            json!({ "a": "user_123" }),
            "/a: is no type: write string, number, integer, boolean, object, array or any",
        ),
        (json!({ "a": "String" }), "/a: is no type"),
        (json!({ "a": "null" }), "/a: is no type"),
        (json!({ "a": "string??" }), "/a: is no type"),
        (json!({ "a": "string?[]" }), "/a: is no type"),
        (json!({ "a": { "b/c": { "d": "x" } } }), "/a/b~1c/d: is no type"),
        (json!({ "a": { "b": true } }), "/a/b: is no type"),
        (json!({ "a": "string", "a?": "string" }), "/a?: is there twice, with and without a ?"),
        // Which of the two it is, is said by `type`, `properties`, a `$` or what is neither text nor table.
        (json!({ "a": 5 }), "/a: is no keyword that this server knows"),
        (json!({ "type": "string", "a": "string" }), "/a: is no keyword"),
    ] {
        let told = refused(&source);
        assert!(told.iter().any(|line| line.contains(wanted)), "{source}: {told:?}");
    }
    // Words of JSON Schema are good names of fields.
    let fields =
        json!({ "items": "string[]", "title": "string", "not": { "minimum": "number" }, "format": "any" });
    assert_eq!(
        check(&fields, &json!({ "items": [], "title": "", "not": { "minimum": 1 }, "format": 0 })),
        Vec::<String>::new()
    );
}

#[test]
fn selectors_find_the_user() {
    let data = json!({ "userId": "ada", "n": 42, "big": u64::MAX, "neg": -7, "user": { "id": "u/1", "a~b": 3 },
        "float": 1.5, "whole": 1.0, "null": null, "flag": true, "list": ["x"] });
    let find = |text: &str| Selector::parse(text).unwrap().find(&data);
    for (text, found) in [
        ("$Session{userId}", "ada"),
        ("$Session{n}", "42"),
        ("$Session{big}", "18446744073709551615"),
        ("$Session{neg}", "-7"),
        ("$Session{user}{id}", "u/1"),
        ("$Session{user.id}", "u/1"),
        ("$Session{user}{a~b}", "3"),
    ] {
        assert_eq!(find(text).as_deref(), Ok(found), "{text}");
        assert_eq!(Selector::parse(text).unwrap().text(), text);
    }
    for (text, pointer, wanted) in [
        ("$Session{id}", "/id", "is missing"),
        ("$Session{user}{name}{x}", "/user/name", "is missing"),
        ("$Session{userId}{id}", "/userId/id", "is missing"),
        ("$Session{list}{0}", "/list/0", "is missing"),
        ("$Session{user}", "/user", "expected a text or a whole number"),
        ("$Session{float}", "/float", "expected a text or a whole number"),
        ("$Session{whole}", "/whole", "expected a text or a whole number"),
        ("$Session{null}", "/null", "expected a text or a whole number"),
        ("$Session{flag}", "/flag", "expected a text or a whole number"),
        ("$Session{x~y}", "/x~0y", "is missing"),
    ] {
        let slip = find(text).unwrap_err();
        assert_eq!(slip.pointer, pointer, "{text}");
        assert!(slip.message.starts_with(wanted), "{text}: {}", slip.message);
    }
    for bad in [
        "",
        "userId",
        "$Session",
        "$Session{}",
        "$Session{a",
        "$Session{a}b",
        "$Session{a}{}",
        "$Session{a}}",
        "$Session{{a}",
        "$Session{a..b}",
        "$Session{.a}",
        "$Session{a\n}",
        "$session{a}",
        " $Session{a}",
        "$Session{a} {b}",
        &format!("$Session{{{}}}", "a".repeat(200)),
    ] {
        assert!(Selector::parse(bad).is_err(), "{bad:?}");
    }
}

/// A field of the short form: its name, whether it may be missing, and how, and what it is.
#[derive(Clone, Debug)]
enum Kind {
    Word(&'static str),
    List(Box<Kind>),
    Table(Vec<(String, bool, Kind)>),
}

fn fields() -> impl Strategy<Value = Vec<(String, bool, Kind)>> {
    let word = prop::sample::select(vec!["string", "number", "integer", "boolean", "object", "array", "any"]);
    let leaf = prop_oneof![
        3 => word.clone().prop_map(Kind::Word),
        1 => word.prop_map(|word| Kind::List(Box::new(Kind::Word(word)))),
    ];
    let kind = leaf.prop_recursive(2, 8, 3, |inner| {
        prop::collection::btree_map("[a-c]", (any::<bool>(), inner), 1..4).prop_map(|fields| {
            Kind::Table(fields.into_iter().map(|(name, (optional, kind))| (name, optional, kind)).collect())
        })
    });
    prop::collection::btree_map("[a-d/~]", (any::<bool>(), kind), 1..5).prop_map(|fields| {
        fields.into_iter().map(|(name, (optional, kind))| (name, optional, kind)).collect()
    })
}

/// As the short form writes it. The mark of a word stands behind the word or behind the name.
fn written(fields: &[(String, bool, Kind)], mark_names: bool) -> Value {
    let one = |(name, optional, kind): &(String, bool, Kind)| {
        let text = |kind: &Kind| match kind {
            Kind::Word(word) => (*word).to_owned(),
            Kind::List(inner) => match &**inner {
                Kind::Word(word) => format!("{word}[]"),
                Kind::List(_) | Kind::Table(_) => unreachable!("lists are of words"),
            },
            Kind::Table(_) => unreachable!("a table is no word"),
        };
        match kind {
            Kind::Table(inner) => {
                (format!("{name}{}", if *optional { "?" } else { "" }), written(inner, mark_names))
            }
            kind if *optional && mark_names => (format!("{name}?"), json!(text(kind))),
            kind if *optional => (name.clone(), json!(format!("{}?", text(kind)))),
            kind => (name.clone(), json!(text(kind))),
        }
    };
    Value::Object(fields.iter().map(one).collect::<Map<_, _>>())
}

/// Whether a value fits, said without any schema.
fn fits(fields: &[(String, bool, Kind)], value: &Value) -> bool {
    let Value::Object(members) = value else { return false };
    fields.iter().all(|(name, optional, kind)| match members.get(name) {
        None => *optional,
        Some(value) => is(kind, value),
    })
}

fn is(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Word("any") => true,
        Kind::Word("string") => value.is_string(),
        Kind::Word("number") => value.is_number(),
        Kind::Word("integer") => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        Kind::Word("boolean") => value.is_boolean(),
        Kind::Word("object") => value.is_object(),
        Kind::Word(_) => value.is_array(),
        Kind::List(inner) => value.as_array().is_some_and(|items| items.iter().all(|item| is(inner, item))),
        Kind::Table(inner) => fits(inner, value),
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        (-4_i32..4).prop_map(|n| json!(f64::from(n) / 2.0)),
        "[a-z]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d/~]", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A value that is likely to fit, so that both answers are met.
fn likely(kind: &Kind, of: &Value) -> Value {
    match kind {
        Kind::Word("string") => json!("s"),
        Kind::Word("number") => json!(1.5),
        Kind::Word("integer") => json!(1.0),
        Kind::Word("boolean") => json!(true),
        Kind::Word("object") => json!({}),
        Kind::Word("array") => json!([of]),
        Kind::Word(_) => of.clone(),
        Kind::List(inner) => json!([likely(inner, of)]),
        Kind::Table(inner) => {
            Value::Object(inner.iter().map(|(name, _, kind)| (name.clone(), likely(kind, of))).collect())
        }
    }
}

proptest! {
    #[test]
    fn the_short_form_says_what_it_looks_like(fields in fields(), value in values(), drop in any::<prop::sample::Index>()) {
        let mut near = Map::new();
        for (name, _, kind) in &fields {
            near.insert(name.clone(), likely(kind, &value));
        }
        let mut nearer = near.clone();
        nearer.remove(&fields[drop.index(fields.len())].0);
        for value in [value, Value::Object(near), Value::Object(nearer)] {
            let expected = fits(&fields, &value);
            for mark_names in [false, true] {
                let source = written(&fields, mark_names);
                prop_assert_eq!(check(&source, &value).is_empty(), expected, "{} {}", source, value);
            }
        }
    }
}
