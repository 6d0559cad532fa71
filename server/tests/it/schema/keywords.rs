//! Each keyword, on both sides of what it asks.

use super::{check, refused, schema};
use serde_json::{Value, json};

#[test]
fn each_keyword_on_both_sides() {
    for (source, good, bad) in [
        (json!({ "type": "string" }), json!(["", "a"]), json!([1, null, [], {}, true])),
        (json!({ "type": "number" }), json!([1, 1.5, -3, 1e300]), json!(["1", null, true])),
        (json!({ "type": "integer" }), json!([1, -1, 1.0, 1e20, u64::MAX]), json!([1.5, "1", true])),
        (json!({ "type": "boolean" }), json!([true, false]), json!([0, "true", null])),
        (json!({ "type": "null" }), json!([null]), json!([0, "", false, [], {}])),
        (json!({ "type": ["array", "object"] }), json!([[], {}]), json!([null, "[]", 0])),
        (
            json!({ "enum": ["a", 1, { "b": [1, 2] }, null] }),
            json!(["a", 1, 1.0, { "b": [1.0, 2] }, null]),
            json!(["b", 2, { "b": [2, 1] }, { "b": [1, 2], "c": 0 }, false]),
        ),
        (json!({ "const": false }), json!([false]), json!([0, null, "", true])),
        (json!({ "minimum": 2 }), json!([2, 2.0, 2.1, 3, "1"]), json!([1, 1.9, -5])),
        (json!({ "exclusiveMinimum": 2 }), json!([2.1, 3]), json!([2, 2.0, 1])),
        (json!({ "maximum": 2.5 }), json!([2, 2.5, -9]), json!([2.6, 3])),
        (json!({ "exclusiveMaximum": 2.5 }), json!([2, 2.4]), json!([2.5, 3])),
        (
            json!({ "maximum": 9_007_199_254_740_993_u64 }),
            json!([9_007_199_254_740_993_u64]),
            json!([9_007_199_254_740_994_u64]),
        ),
        (json!({ "multipleOf": 3 }), json!([0, 3, -9, "x", 9.0]), json!([1, 10, 9.5])),
        (json!({ "multipleOf": 0.01 }), json!([19.99, 0.07, 1, 4.02]), json!([0.005, 19.995])),
        // Characters, not bytes.
        (json!({ "minLength": 2 }), json!(["ab", "äö", "😀😀", 5]), json!(["", "a", "😀"])),
        (json!({ "maxLength": 2 }), json!(["", "äö", "😀😀"]), json!(["abc", "äöü"])),
        (json!({ "minItems": 1 }), json!([[1], "", {}]), json!([[]])),
        (json!({ "maxItems": 1 }), json!([[], [1]]), json!([[1, 2]])),
        (json!({ "minProperties": 1 }), json!([{ "a": 1 }, []]), json!([{}])),
        (json!({ "maxProperties": 1 }), json!([{}, { "a": 1 }]), json!([{ "a": 1, "b": 2 }])),
        (
            json!({ "pattern": "^[a-f]\\d+$", "type": ["string", "number"] }),
            json!(["a1", "f09", 7]),
            json!(["g1", "a", "a1 ", "a٣", "a1\n"]),
        ),
        (json!({ "required": ["a", "b/c"] }), json!([{ "a": null, "b/c": 0 }, []]), json!([{ "a": 1 }, {}])),
        (
            json!({ "dependentRequired": { "card": ["address"] } }),
            json!([{}, { "card": 1, "address": 2 }]),
            json!([{ "card": 1 }]),
        ),
        (
            json!({ "properties": { "a": { "type": "string" }, "b": false } }),
            json!([{}, { "a": "x", "z": 1 }, 5]),
            json!([{ "a": 1 }, { "b": 1 }]),
        ),
        (
            json!({ "additionalProperties": { "type": "integer" }, "properties": { "a": true } }),
            json!([{ "a": "x", "b": 1 }]),
            json!([{ "b": "x" }]),
        ),
        (
            json!({ "patternProperties": { "^x-": { "type": "string" } }, "additionalProperties": false }),
            json!([{ "x-a": "v" }, {}]),
            json!([{ "x-a": 1 }, { "y": "v" }]),
        ),
        (
            json!({ "propertyNames": { "maxLength": 2 }, "minProperties": 0 }),
            json!([{ "ab": 1 }]),
            json!([{ "abc": 1 }]),
        ),
        (
            json!({ "items": { "type": "string" }, "minItems": 0 }),
            json!([[], ["a", "b"], {}]),
            json!([[1], ["a", null]]),
        ),
        (
            json!({ "prefixItems": [{ "type": "string" }, { "type": "integer" }], "items": false }),
            json!([["a", 1], ["a"], []]),
            json!([[1], ["a", 1, 2]]),
        ),
        (
            json!({ "uniqueItems": true }),
            json!([[], [1, 2, "1", [1], { "a": 1 }], "aa"]),
            json!([[1, 1.0], [{ "a": 1, "b": 2 }, 0, { "b": 2, "a": 1 }], [[], []]]),
        ),
        (json!({ "uniqueItems": false }), json!([[1, 1]]), json!([])),
        (json!({ "allOf": [{ "minimum": 2 }, { "maximum": 4 }] }), json!([2, 3, 4]), json!([1, 5])),
        (json!({ "anyOf": [{ "type": "string" }, { "minimum": 4 }] }), json!(["a", 4, null]), json!([3])),
        (json!({ "oneOf": [{ "minimum": 2 }, { "maximum": 4 }] }), json!([1, 5]), json!([2, 4, "both"])),
        (
            json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "not": { "type": "string" } }),
            json!([1, null]),
            json!(["a"]),
        ),
        (
            json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] }, "else": { "required": ["c"] }, "required": [] }),
            json!([{ "a": 1, "b": 1 }, { "c": 1 }]),
            json!([{ "a": 1 }, { "a": 1, "c": 1 }, {}, { "b": 1 }]),
        ),
        (
            json!({ "$ref": "#/$defs/a~1b%25", "$defs": { "a/b%": { "type": "string" } } }),
            json!(["x"]),
            json!([1]),
        ),
        // What has a keyword beside a reference is asked both.
        (
            json!({ "$ref": "#/$defs/a", "maxLength": 1, "$defs": { "a": { "type": "string" } } }),
            json!(["x"]),
            json!([1, "xy"]),
        ),
        (
            json!({ "$ref": "#/definitions/tree", "definitions": { "tree": { "type": "object",
            "properties": { "left": { "$ref": "#/definitions/tree" }, "leaf": { "type": "integer" } } } } }),
            json!([{ "left": { "left": { "leaf": 1 } } }]),
            json!([{ "left": { "left": { "leaf": "x" } } }, { "left": 1 }]),
        ),
        (
            json!({ "format": "email", "title": "t", "description": "d", "default": 5, "examples": [1], "$comment": "c",
            "deprecated": true, "readOnly": true, "writeOnly": false, "$id": "https://example.org/s" }),
            json!(["no address", 1]),
            json!([]),
        ),
        (json!(true), json!([1, "a"]), json!([])),
        (json!(false), json!([]), json!([1, "a", null])),
    ] {
        // Not to be taken for the short form.
        let mut source = source;
        if let Value::Object(table) = &mut source {
            table.insert("$comment".to_owned(), json!(""));
        }
        for value in good.as_array().unwrap() {
            assert_eq!(check(&source, value), Vec::<String>::new(), "{source} takes {value}");
        }
        for value in bad.as_array().unwrap() {
            assert!(!check(&source, value).is_empty(), "{source} refuses {value}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let source = json!({
        "type": "object", "required": ["userId", "a/b"], "additionalProperties": false,
        "properties": {
            "userId": { "type": ["string", "integer"] }, "a/b": true, "~": { "const": 3 },
            "cart": { "type": "array", "maxItems": 2, "items": { "$ref": "#/$defs/item" } },
            "plan": { "enum": ["free", "pro"] }, "mail": { "pattern": "@", "minLength": 5 },
            "choice": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
        },
        "$defs": { "item": { "type": "object", "required": ["sku"], "properties": { "n": { "minimum": 1 } } } },
    });
    let value = json!({
        "userId": 1.5, "~": 4, "cart": [{ "sku": "a" }, 7, { "n": 0 }], "plan": "gold", "mail": "s3nt",
        "choice": 1, "exrta": "s3nt",
    });
    let mut told = check(&source, &value);
    told.sort();
    assert_eq!(
        told,
        [
            "/a~1b: is missing",
            "/cart/1: expected an object, not a number",
            "/cart/2/n: expected at least 1",
            "/cart/2/sku: is missing",
            "/cart: expected at most 2 items",
            "/choice: fits none of 2 alternatives",
            "/exrta: unknown; known are a/b, cart, choice, mail, plan, userId, ~",
            "/mail: does not match the pattern @",
            "/mail: expected at least 5 characters",
            "/plan: expected one of \"free\", \"pro\"",
            "/userId: expected a text, or a whole number, not a number",
            "/~0: expected 3",
        ]
    );
    assert!(!told.iter().any(|line| line.contains("s3nt")), "what was sent is not repeated");
}

#[test]
fn what_cannot_be_compiled_is_refused_with_its_place() {
    let circle = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/b" }] },
        "b": { "not": { "$ref": "#/$defs/a" } } } });
    for (source, wanted) in [
        (json!({ "type": "strin" }), "/type: expected a type, or a list of types"),
        (json!({ "type": [] }), "/type: expected a type"),
        (json!({ "type": "object", "propertys": {} }), "/propertys: is no keyword that this server knows"),
        (
            json!({ "properties": { "a": { "unevaluatedItems": false } } }),
            "/properties/a/unevaluatedItems: is no keyword",
        ),
        (
            json!({ "properties": { "a": 5 } }),
            "/properties/a: is no schema: write an object, or true or false",
        ),
        (json!({ "properties": [] }), "/properties: expected an object of schemas"),
        (json!({ "allOf": [] }), "/allOf: expected a list of at least one schema"),
        (json!({ "enum": [] }), "/enum: expected a list of at least one value"),
        (json!({ "minimum": "2" , "type": "number" }), "/minimum: expected a number"),
        (json!({ "multipleOf": 0 }), "/multipleOf: expected a number above 0"),
        (json!({ "maxLength": -1 }), "/maxLength: expected a whole number, 0 or more"),
        (json!({ "maxItems": 1.5 }), "/maxItems: expected a whole number"),
        (json!({ "required": ["a", 1] }), "/required: expected a list of names"),
        (
            json!({ "dependentRequired": { "a": "b" }, "type": "object" }),
            "/dependentRequired/a: expected a list of names",
        ),
        (json!({ "uniqueItems": 1 }), "/uniqueItems: expected true or false"),
        (
            json!({ "items": [true] }),
            "/items: expected one schema for all items; a list of schemas is called prefixItems",
        ),
        (json!({ "then": false }), "/then: means nothing without an `if` beside it"),
        (json!({ "type": "string", "pattern": "(" }), "/pattern: is not a regular expression of ECMA-262"),
        (json!({ "type": "string", "pattern": "(?=a)" }), "/pattern: looks around, or has flags"),
        (json!({ "type": "string", "pattern": "(a)\\1" }), "/pattern: is not a regular expression"),
        (json!({ "type": "string", "pattern": "\\p{L}" }), "/pattern: has a class by property"),
        (
            json!({ "patternProperties": { "[": true }, "type": "object" }),
            "/patternProperties/[: is not a regular",
        ),
        (
            json!({ "$ref": "https://example.org/schema" }),
            "/$ref: only references inside of the schema are followed",
        ),
        (json!({ "$ref": "other.json#/a" }), "/$ref: only references inside"),
        (json!({ "$ref": "file:///etc/passwd" }), "/$ref: only references inside"),
        (json!({ "$ref": "#name" }), "/$ref: only references inside"),
        (json!({ "$ref": "#/%zz" }), "/$ref: only references inside"),
        (json!({ "$ref": "#/$defs/none" }), "/$ref: there is nothing at this place"),
        (json!({ "$ref": "#/properties", "properties": { "a": true } }), "/properties/a: is no keyword"),
        (json!({ "$ref": "#" }), ": leads back to itself"),
        (circle, "leads back to itself"),
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
            "/$schema: write https://json-schema.org/draft/2020-12",
        ),
        (json!({ "properties": { "a": { "$id": "b" } } }), "/properties/a/$id: is no keyword"),
        (json!({ "$anchor": "a" }), "/$anchor: is no keyword"),
        (json!(5), ": is no schema"),
        (json!(["string"]), ": is no schema"),
        (Value::Null, ": is no schema"),
    ] {
        let told = refused(&source);
        assert!(told.iter().any(|line| line.contains(wanted)), "{source}: {told:?}");
    }
    // All of it at once.
    let told = refused(&json!({ "type": "x", "minimum": "y", "properties": { "a": { "z": 1 } }, "$ref": 5 }));
    assert_eq!(told.len(), 4, "{told:?}");
}

/// ECMA-262, as JSON Schema means it: what our engine reads otherwise is translated.
#[test]
fn patterns_mean_what_they_mean_elsewhere() {
    for (pattern, good, bad) in [
        ("a", &["a", "bab"][..], &["b", ""][..]),
        ("^\\w+$", &["aZ_9"], &["ä", "a b"]),
        ("^[\\w.+-]+@[^@\\s]+\\.[a-z]{2,}$", &["a.b+c@x.org"], &["a@x", "ä@x.org", "a b@x.org"]),
        ("^\\d{2,3}$", &["12", "123"], &["1", "1234", "٣٣"]),
        ("^\\D$", &["a", "٣"], &["1"]),
        ("^\\S+$", &["ab"], &["a b", "a\u{a0}b", "a\u{feff}b"]),
        ("^\\W$", &["ä", " "], &["a"]),
        ("^.$", &["ä", "😀"], &["ab", "\n"]),
        ("^[^a]$", &["ä", "😀"], &["a", "ab"]),
        ("^[a[]+$", &["a[", "[["], &["]"]),
        ("^[a&&b]+$", &["a", "&", "b"], &["c"]),
        ("^[~~x]$", &["~", "x"], &["a"]),
        ("^[\\]\\\\-]$", &["]", "\\", "-"], &["a"]),
        ("^[\\d-]+$", &["1-2"], &["a"]),
        ("^\\/a\\/$", &["/a/"], &["a"]),
        ("\\bcat\\b", &["a cat.", "cat"], &["cats", "concat"]),
        ("^a\\Bb$", &["ab"], &["a b"]),
        ("^\\u00e4\\x41$", &["äA"], &["A"]),
        ("^(?:ab|cd){2}$", &["abcd"], &["ab"]),
        ("^(?<year>\\d{4})$", &["2026"], &["26"]),
        ("^$", &[""], &["a", "\n"]),
        ("", &["", "anything"], &[]),
        (
            "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
            &["9e3779b9-7f4a-7c15-9e37-79b97f4a7c15"],
            &["9e3779b97f4a7c159e3779b97f4a7c15"],
        ),
    ] {
        let schema = schema(&json!({ "type": "string", "pattern": pattern }));
        for text in good {
            assert_eq!(schema.check(&json!(text)), [], "{pattern} is in {text:?}");
        }
        for text in bad {
            assert!(!schema.check(&json!(text)).is_empty(), "{pattern} is not in {text:?}");
        }
    }
    for bad in ["(?i)a", "(?<=a)b", "(?<!a)b", "(?P<a>b)", "(?x: a)", "[]", "[^]", "[a--b]", "a\\", "[\\b-"] {
        refused(&json!({ "type": "string", "pattern": bad }));
    }
}
